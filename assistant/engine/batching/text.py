"""Incremental detokenization: text goes out once no later token can change it.

So a reader never sees half a character or half a stop string.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from assistant.engine.batching.request import TextDelta

# Seconds between deltas, except before the first: nobody reads faster, and waking every reader for every token takes
# time from generating them.
_INTERVAL = 0.03


class TextStream:
    """The text of one generation. ``emit`` gets its deltas."""

    def __init__(self, tokenizer: Any, stop: tuple[str, ...], emit: Callable[[TextDelta], None]) -> None:
        self._detokenizer = Detokenizer(tokenizer)
        self._stop = stop
        self._emit = emit
        self._pending = ""  # may be the beginning of a stop string
        self._final = ""  # not sent yet
        self._sent_at = 0.0
        self.stopped = False

    def push(self, tokens: list[int]) -> None:
        """Add tokens; those after a stop string are ignored."""
        if not self.stopped:
            self._add(self._detokenizer.push(tokens))
            self._finalize(len(self._pending) - max((overlap(self._pending, stop) for stop in self._stop), default=0))
            if monotonic() - self._sent_at >= _INTERVAL:
                self._send()

    def end(self) -> None:
        """Send what was held back."""
        if not self.stopped:
            self._add(self._detokenizer.flush())
            self._finalize(len(self._pending))
        self._send()

    def _add(self, text: str) -> None:
        self._pending += text
        starts = [start for stop in self._stop if (start := self._pending.find(stop)) >= 0]
        if starts:
            self._finalize(min(starts))
            self._pending = ""
            self.stopped = True

    def _finalize(self, length: int) -> None:
        self._final, self._pending = self._final + self._pending[:length], self._pending[length:]

    def _send(self) -> None:
        if self._final:
            self._emit(TextDelta(self._final))
            self._final, self._sent_at = "", monotonic()


class Detokenizer:
    """Tokens to text, a few at a time. The parts joined are what decoding all tokens at once gives; only that with
    byte fallback decoding at once also loses valid bytes next to invalid ones.

    Decoding starts at the first token of the last part, because some tokenizers write a word differently at the
    beginning of a text than inside it.

    Not `tokenizers.DecodeStream`: on 3,000 token sequences with byte fallback, invalid bytes included, it raised
    "Invalid prefix encountered" on 242, after which a stream is lost, and it cannot flush an unfinished character at
    the end (940 of 3,000 byte-level sequences lacked it).
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._decoded = 0  # how many of them are text already

    def push(self, tokens: list[int]) -> str:
        """The text that these tokens complete; empty while the last character is unfinished."""
        self._tokens += tokens
        new = self.flush()
        if not new or new.endswith("\ufffd"):
            return ""
        self._tokens = self._tokens[self._decoded :]
        self._decoded = len(self._tokens)
        return new

    def flush(self) -> str:
        """The text still held back, its last character finished or not."""
        return self._decode(self._tokens)[len(self._decode(self._tokens[: self._decoded])) :]

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True)) if tokens else ""


def overlap(text: str, stop: str) -> int:
    """The length of the longest end of ``text`` that ``stop`` begins with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
