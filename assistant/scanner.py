"""The malware scanner: clamd over its own protocol (INSTREAM), by TCP or a Unix socket."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from assistant.errors import NotReady, Unavailable

_SECONDS = 10.0  # for each step: connecting, taking a piece, answering
_PIECE = 1 << 16
_LONGEST_ANSWER = 4096


class Clamd:
    """Thread-safe: every scan has a connection of its own."""

    def __init__(self, url: str) -> None:
        """``url``: ``tcp://host:port`` or ``unix:///path``. Raises `NotReady` if it is neither."""
        parts = urlsplit(url)
        is_unix, is_tcp = parts.scheme == "unix" and parts.path, parts.scheme == "tcp" and parts.hostname and parts.port
        if not (is_unix or is_tcp):
            raise NotReady("ASSISTANT_SCANNER must be tcp://host:port or unix:///path.")
        self._path = parts.path if is_unix else None
        self._address = (parts.hostname, parts.port)

    def scan(self, data: bytes) -> str | None:
        """The name of the malware in ``data``; None if it is clean. Raises `Unavailable` if clamd does not say."""
        pieces = (data[start : start + _PIECE] for start in range(0, len(data), _PIECE))
        stream = b"".join(len(piece).to_bytes(4, "big") + piece for piece in pieces)
        answer = self._ask(b"zINSTREAM\0" + stream + bytes(4))
        name, _, verdict = answer.removeprefix("stream: ").rpartition(" ")
        if verdict == "FOUND":
            return name
        if answer == "stream: OK":
            return None
        raise _away(f"it answered {answer[:100]!r}")

    def check(self) -> None:
        """Raises `Unavailable` unless clamd answers."""
        answer = self._ask(b"zPING\0")
        if answer != "PONG":
            raise _away(f"it answered {answer[:100]!r}")

    def _ask(self, command: bytes) -> str:
        try:
            with self._connect() as connection:
                connection.sendall(command)
                answer = b""
                while piece := connection.recv(_LONGEST_ANSWER - len(answer)):
                    answer += piece
        except OSError as error:
            raise _away(error.strerror or "it does not answer in time") from error
        return answer.rstrip(b"\0\n").decode("utf-8", "replace")

    def _connect(self) -> socket.socket:
        if self._path is None:
            return socket.create_connection(self._address, timeout=_SECONDS)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_SECONDS)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return connection


def _away(reason: str) -> Unavailable:
    return Unavailable(f"The malware scanner cannot be used: {reason}. Check ASSISTANT_SCANNER.", cause="scanner_away")
