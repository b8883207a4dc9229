"""Hostile files cost one call: never the server, its memory, its time, or the next file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest

from assistant.errors import Invalid, NotReady, TooLarge
from assistant.sandbox.worker import Limits, OverLimit, ReaderCrashed, ReaderFailed, Worker, run

LIMITS = Limits(memory=1 << 30, cpu_seconds=20, seconds=30, output=1_000_000)


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker("tests.hostile_readers:misbehave", LIMITS) as worker:
        yield worker


def misbehave(data: bytes, limits: Limits = LIMITS) -> bytes:
    return run("tests.hostile_readers:misbehave", data, limits)


def test_a_reader_gets_the_file_and_its_options_and_gives_bytes() -> None:
    data = bytes(range(256)) * 2000
    assert run("tests.hostile_readers:echo", data, Limits(), times=3) == data * 3
    assert run("tests.hostile_readers:echo", b"", LIMITS) == b""


def test_a_reader_sees_no_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSISTANT_REMOTE_API_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    names = run("tests.hostile_readers:environment", b"", LIMITS).decode().split()
    assert "PATH" in names
    assert [name for name in names if "KEY" in name] == []


def test_a_refusal_is_the_readers_own_error() -> None:
    with pytest.raises(Invalid, match="has no pages") as refused:
        misbehave(b"refuse")
    assert refused.value.fields == {"field": "photos"}
    assert not isinstance(refused.value, ReaderFailed)
    with pytest.raises(TooLarge, match="has 7 pages") as too_large:
        misbehave(b"too large")
    assert not isinstance(too_large.value, OverLimit)


def test_an_error_the_reader_should_not_raise_is_named() -> None:
    with pytest.raises(ReaderFailed, match="ZeroDivisionError"):
        misbehave(b"raise")


@pytest.mark.parametrize(("data", "how"), [(b"kill", "signal 9"), (b"segfault", "signal 11"), (b"exit", "status 0")])
def test_a_crash_is_told_from_a_refusal_and_a_limit(data: bytes, how: str) -> None:
    with pytest.raises(ReaderCrashed, match=how):
        misbehave(data)


def test_garbage_instead_of_a_reply_is_a_crash() -> None:
    with pytest.raises((ReaderCrashed, OverLimit)):
        misbehave(b"garbage")


def test_memory_taken_at_once_is_refused() -> None:
    with pytest.raises(OverLimit, match="1 GB of memory") as over:
        misbehave(b"bomb")
    assert over.value.resource == "memory"


def test_memory_is_watched_where_the_system_does_not_limit_it() -> None:
    limits = Limits(memory=200 << 20, counts_reserved=False)
    with pytest.raises(OverLimit, match="memory"):
        misbehave(b"slow bomb", limits)


def test_an_endless_loop_ends_with_its_processor_time() -> None:
    with pytest.raises(OverLimit, match="1 seconds of processor time"):
        misbehave(b"loop", Limits(cpu_seconds=1))


@pytest.mark.parametrize("data", [b"sleep", b"loop", b"child"])
def test_what_takes_too_long_is_ended_with_all_that_it_started(data: bytes) -> None:
    with pytest.raises(OverLimit, match=r"longer than 0\.5 seconds") as over:
        misbehave(data, Limits(seconds=0.5))
    assert over.value.resource == "time"
    mark = f"# {os.getpid()}"
    left = [one for one in psutil.process_iter(["cmdline"]) if mark in " ".join(one.info["cmdline"] or ())]
    assert psutil.wait_procs(left, timeout=5)[1] == []


def test_a_result_beyond_its_limit_is_not_taken() -> None:
    with pytest.raises(OverLimit, match="more than 1 MB"):
        misbehave(b"much")


def test_a_flood_on_standard_error_neither_blocks_nor_fills_the_memory(worker: Worker) -> None:
    before = psutil.Process().memory_info().rss
    assert int(worker.call(b"flood"))  # 30 MB
    assert psutil.Process().memory_info().rss - before < 20_000_000


def test_a_reader_that_reads_standard_input_finds_nothing_there(worker: Worker) -> None:
    assert int(worker.call(b"read"))


@pytest.mark.parametrize(
    "reader", ["tests.no_such:module", "tests.hostile_readers:absent", "tests.hostile_readers:DoesNotLoad"]
)
def test_a_reader_that_does_not_start_is_a_fault_of_the_installation(reader: str) -> None:
    with pytest.raises(NotReady, match="does not start"):
        run(reader, b"", LIMITS)


def test_a_warm_process_serves_one_call_after_another() -> None:
    with Worker("tests.hostile_readers:Warm", LIMITS) as worker:
        first, second = (worker.call(b"").split() for _ in range(2))
        assert (first[0], second[0]) == (b"1", b"2")
        assert first[1] == second[1]
        with pytest.raises(Invalid, match="has no pages"):
            worker.call(b"refuse")
        assert worker.call(b"").startswith(b"4 ")


@pytest.mark.parametrize("data", [b"kill", b"bomb", b"much", b"garbage"])
def test_a_crash_or_a_limit_costs_a_warm_process_the_one_call(worker: Worker, data: bytes) -> None:
    first = worker.call(b"")
    with pytest.raises((ReaderCrashed, OverLimit)):
        worker.call(data)
    assert worker.call(b"") != first


def test_processor_time_is_counted_anew_for_each_file() -> None:
    with Worker("tests.hostile_readers:misbehave", Limits(cpu_seconds=1)) as worker:
        first = worker.call(b"")
        for _ in range(3):
            worker.call(b"flood")
        with pytest.raises(OverLimit, match="processor time"):
            worker.call(b"loop")
        assert worker.call(b"") != first


def test_a_process_that_was_killed_while_idle_costs_nothing(worker: Worker) -> None:
    first = int(worker.call(b""))
    os.kill(first, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(first)], timeout=5)
    assert int(worker.call(b"")) != first


def test_a_process_is_replaced_after_so_many_calls() -> None:
    with Worker("tests.hostile_readers:Warm", LIMITS, most_calls=2) as worker:
        assert [worker.call(b"").split()[0] for _ in range(5)] == [b"1", b"2", b"1", b"2", b"1"]


def test_threads_take_turns_at_one_process(worker: Worker) -> None:
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(worker.call(b""))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert len(set(answers)) == 1


def test_closing_ends_the_process_and_a_call_starts_another() -> None:
    worker = Worker("tests.hostile_readers:misbehave", LIMITS)
    first = int(worker.call(b""))
    worker.close()
    worker.close()
    assert not psutil.pid_exists(first)
    assert int(worker.call(b"")) != first
    worker.close()


_SERVER = """
import sys
from assistant.sandbox.worker import Limits, Worker
worker = Worker("tests.hostile_readers:misbehave", Limits(seconds=1))
print(worker.call(b"").decode(), flush=True)
if sys.argv[1] == "idle":
    sys.stdin.read()
worker.call(b"sleep")
"""


@pytest.mark.parametrize("state", ["idle", "reading"])
def test_a_process_ends_with_the_server_that_was_killed(state: str) -> None:
    command = [sys.executable, "-c", _SERVER, state]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        reader = psutil.Process(int(server.stdout.readline()))
        server.kill()
    assert psutil.wait_procs([reader], timeout=20)[1] == []
