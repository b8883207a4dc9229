"""The process a reader runs in: ``python -m assistant.sandbox.child READER ADDRESS_SPACE``; started by `worker`.

It answers requests on its standard input until that is closed. Imports next to nothing, since starting it is a large
part of the time a photo takes.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from importlib import import_module
from typing import IO, Any

from assistant.errors import AssistantError

REQUEST = struct.Struct(">IdIQ")  # CPU seconds, seconds, bytes of options (JSON), of data; options and data follow
REPLY = struct.Struct(">cQ")  # kind, bytes; the body follows
READY, NOT_READY, RESULT, REFUSED, FAILED, NO_MEMORY = b".", b"?", b"+", b"-", b"!", b"M"

Reader = Callable[..., bytes]

# Seconds after which a process ends by itself, in case its server was killed meanwhile and nobody else ends it.
_GRACE = 2.0


def main(name: str, address_space: int) -> None:
    requests, replies = _private_streams()
    _limit(resource.RLIMIT_CORE, 0)
    if address_space:
        _limit(resource.RLIMIT_AS, address_space)
    try:
        read = _find(name)
    except Exception as error:
        _send(replies, NOT_READY, _describe(error))
        return
    _send(replies, READY)
    while header := requests.read(REQUEST.size):
        cpu_seconds, seconds, options_size, data_size = REQUEST.unpack(header)
        options = json.loads(requests.read(options_size))
        used = resource.getrusage(resource.RUSAGE_SELF)
        _limit(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime) + 1 + cpu_seconds)
        signal.setitimer(signal.ITIMER_REAL, seconds + _GRACE)
        _send(replies, *_reply(read, requests.read(data_size), options))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _private_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Requests and replies. What a library prints goes to standard error, and what it reads from standard input is
    empty."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return requests, replies


def _limit(kind: int, limit: int) -> None:
    """The soft limit alone: a limit on CPU time is raised again for the next file."""
    _, hard = resource.getrlimit(kind)
    try:
        resource.setrlimit(kind, (limit, hard))
    except (ValueError, OSError):
        return  # macOS takes no limit on address space; `worker` watches memory, too


def _find(name: str) -> Reader:
    module, _, attribute = name.partition(":")
    found = getattr(import_module(module), attribute)
    read: Reader = found() if isinstance(found, type) else found
    return read


def _reply(read: Reader, data: bytes, options: dict[str, Any]) -> tuple[bytes, bytes]:
    try:
        return RESULT, read(data, **options)
    except AssistantError as error:
        refusal = {"code": error.code, "message": error.message, "fields": error.fields}
        return REFUSED, json.dumps(refusal).encode()
    except MemoryError:
        return NO_MEMORY, b""
    except Exception as error:
        return FAILED, _describe(error)


def _describe(error: Exception) -> bytes:
    return f"{type(error).__name__}: {error}".encode(errors="replace")[:2000]


def _send(replies: IO[bytes], kind: bytes, body: bytes = b"") -> None:
    replies.write(REPLY.pack(kind, len(body)))
    replies.write(body)
    replies.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
