"""What may go wrong in a reader: run by `test_sandbox` in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from assistant.errors import Invalid, TooLarge


def echo(data: bytes, *, times: int = 1) -> bytes:
    os.write(1, b"as a library prints to standard output")
    return data * times


def process_id(_data: bytes) -> bytes:
    return str(os.getpid()).encode()


def environment(_data: bytes) -> bytes:
    return "\n".join(os.environ).encode()


def misbehave(data: bytes) -> bytes:
    """By what the file says; a well-behaved file gives the process's id."""
    actions = {
        b"refuse": _refuse,
        b"too large": _refuse_size,
        b"raise": lambda: 1 // 0,
        b"kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        b"segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        b"exit": lambda: os._exit(0),
        b"bomb": lambda: bytearray(8 << 30),
        b"slow bomb": _grow,
        b"loop": _loop,
        b"sleep": lambda: time.sleep(60),
        b"garbage": _write_garbage,
        b"flood": lambda: sys.stderr.write("flood\n" * 5_000_000),
        b"child": _start_child,
        b"read": sys.stdin.read,
    }
    if data in actions:
        actions[data]()
    return b"x" * 2_000_000 if data == b"much" else process_id(data)


class Warm:
    """Counts how often this process was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, data: bytes) -> bytes:
        self.calls += 1
        return f"{self.calls} {misbehave(data).decode()}".encode()


class DoesNotLoad:
    def __init__(self) -> None:
        raise RuntimeError("the model is missing")


def _refuse() -> None:
    raise Invalid("has no pages", field="photos")


def _refuse_size() -> None:
    raise TooLarge("has 7 pages", limit=5)


def _grow() -> None:
    kept = []
    while True:
        kept.append(b"x" * (8 << 20))
        time.sleep(0.01)


def _start_child() -> None:
    """Waits for a process of its own, which can be told by the id of the one that runs the tests."""
    program = f"import time; time.sleep(60)  # {os.getppid()}"
    subprocess.run([sys.executable, "-c", program], check=True)


def _loop() -> None:
    while True:
        pass


def _write_garbage() -> None:
    """To every pipe there is, the one for replies included."""
    for descriptor in range(3, 20):
        try:
            os.write(descriptor, b"garbage" * 100)
        except OSError:
            continue
