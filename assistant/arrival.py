"""A request while it arrives. Knows when nothing more is missing; what the request says is for the real parser.

Whoever makes the two disagree gains nothing: the parser gets exactly these bytes and then their end, so no thread ever
waits for a client.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum, auto
from tempfile import SpooledTemporaryFile

# Far more than browsers, proxies and tokens need.
MAX_HEAD = 32_768
_READ = 65_536
# Longer bodies wait in a temporary file.
_IN_MEMORY = 262_144
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,15})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding:", re.IGNORECASE | re.MULTILINE)
_FORM = re.compile(rb"^content-type:[ \t]*multipart/form-data", re.IGNORECASE | re.MULTILINE)
_CONTINUE = re.compile(rb"^expect:[ \t]*100-continue", re.IGNORECASE | re.MULTILINE)
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;.*)?")
_MAX_CHUNK_LINE = 4096


class Stage(Enum):
    """What is awaited. From ``NOTHING`` on nothing is; after that one, the connection can be used again."""

    FIRST_BYTE = auto()
    HEAD = auto()
    BODY = auto()
    NOTHING = auto()
    MALFORMED = auto()
    HEAD_TOO_LARGE = auto()
    BODY_TOO_LARGE = auto()


class Arrival:
    """One request. ``max_body``, ``max_form``: limits of its body, in bytes; only a form may carry files."""

    def __init__(self, *, max_body: int, max_form: int) -> None:
        self.stage = Stage.FIRST_BYTE
        self.size = 0
        self.rest = b""  # what came after its end: the beginning of the next request
        self.expects_continue = False
        self._limits = max_body, max_form
        self._head = bytearray()
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by `close`
        self._missing = 0
        self._chunks: _Chunks | None = None

    @property
    def wanted(self) -> int:
        """How many bytes to read at most."""
        return min(_READ, self._missing) if self.stage is Stage.BODY and self._chunks is None else _READ

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self.stage is Stage.BODY:
            self._add_body(data)
            return
        self.stage = Stage.HEAD
        searched = max(0, len(self._head) - 3)
        self._head += data
        end = self._head.find(b"\r\n\r\n", searched) + 4
        if end < 4:
            if len(self._head) > MAX_HEAD:
                self.stage = Stage.HEAD_TOO_LARGE
            return
        body = bytes(self._head[end:])
        del self._head[end:]
        self._file.write(self._head)
        self._expect_body()
        if self.stage is Stage.BODY:
            self._add_body(body)
        else:
            self.rest = body

    def pieces(self) -> Iterator[bytes]:
        """All of it, for the parser."""
        self._file.seek(0)
        return iter(lambda: self._file.read(_READ), b"")

    def close(self) -> None:
        self._file.close()

    def _expect_body(self) -> None:
        max_body, max_form = self._limits
        limit = max_form if _FORM.search(self._head) else max_body
        self.expects_continue = _CONTINUE.search(self._head) is not None
        lengths = [int(length) for length in _LENGTH.findall(self._head)]
        if _CHUNKED.search(self._head):
            # With a length as well it could be read in two ways, and the parser refuses it.
            self.stage = Stage.MALFORMED if lengths else Stage.BODY
            self._chunks = _Chunks(limit)
            return
        self._missing = lengths[0] if lengths else 0
        if self._missing > limit:
            self.stage = Stage.BODY_TOO_LARGE
        else:
            self.stage = Stage.BODY if self._missing else Stage.NOTHING

    def _add_body(self, data: bytes) -> None:
        if self._chunks is not None:
            end = self._chunks.find_end(data)
            if self._chunks.is_malformed:
                self.stage = Stage.MALFORMED
            elif end is None and self._chunks.is_too_large:
                self.stage = Stage.BODY_TOO_LARGE
        else:
            end = self._missing if len(data) >= self._missing else None
            self._missing -= len(data)
        self._file.write(data[:end])
        if end is not None:
            self.stage, self.rest = Stage.NOTHING, data[end:]


class _Chunks:
    """Finds the end of a chunked body."""

    def __init__(self, limit: int) -> None:
        self._allowed = limit + MAX_HEAD
        self._skip = 0
        self._line = bytearray()
        self._in_trailer = False
        self.is_malformed = False

    @property
    def is_too_large(self) -> bool:
        return self._allowed < 0

    def find_end(self, data: bytes) -> int | None:
        """Where the body ends in ``data``; None if later, or if it is malformed."""
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            line_end = data.find(b"\n", at) + 1
            self._line += data[at : line_end or len(data)]
            self._allowed -= (line_end or len(data)) - at
            at = line_end or len(data)
            if line_end:
                line, self._line = self._line.rstrip(b"\r\n"), bytearray()
                if self._in_trailer and not line:
                    return at
                if not self._in_trailer:
                    self._begin_chunk(line)
            self.is_malformed |= len(self._line) > _MAX_CHUNK_LINE
            if self.is_malformed:
                return None
        return None

    def _begin_chunk(self, line: bytearray) -> None:
        match = _CHUNK.fullmatch(line)
        size = int(match[1], 16) if match is not None else 0
        self.is_malformed = match is None
        self._in_trailer = size == 0
        self._skip = size + 2 if size else 0  # with its line end
        self._allowed -= size
