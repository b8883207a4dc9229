"""A reply while it leaves: what the client does not take at once waits here, so that no thread waits for a client."""

from __future__ import annotations

import errno
import socket
import time
from collections import deque
from typing import Any

# A stream whose client takes nothing for so many seconds is given up.
PATIENCE = 20.0


class Departure:
    """A connection's socket, as gunicorn writes to it. One thread at a time: the answering one, then the poller's."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pending: deque[memoryview] = deque()
        self._taken_at = 0.0
        self.size = 0  # of what waits
        self.taken = 0  # of all that has left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, data: bytes) -> None:
        """Send it now or later. Raises `BrokenPipeError` if the client stopped reading a while ago."""
        if not self._pending:
            self._taken_at = time.monotonic()
        self._pending.append(memoryview(data))
        self.size += len(data)
        if not self.flush() and time.monotonic() > self._taken_at + PATIENCE:
            raise BrokenPipeError(errno.EPIPE, "the client does not read")

    def flush(self) -> bool:
        """Send what the client takes now; whether that was all."""
        while self._pending:
            try:
                sent = self._sock.send(self._pending[0], socket.MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                return False
            self._taken_at = time.monotonic()
            self.size -= sent
            self.taken += sent
            rest = self._pending.popleft()[sent:]
            if rest:
                self._pending.appendleft(rest)
        return True
