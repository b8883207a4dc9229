"""Tokens to text, as they come: a piece goes out once no later token can change it.

So a reader never sees half a character or half a stop string.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from assistant.engine.batching.request import Piece

# Pieces go out so many seconds apart at least, but the first at once: nobody reads faster, and waking every reader for
# every token takes the time that the tokens are made in.
_APART = 0.03


class TextStream:
    """The text of one generation. ``emit`` gets its pieces."""

    def __init__(self, tokenizer: Any, stop: tuple[str, ...], emit: Callable[[Piece], None]) -> None:
        self._detokenizer = Detokenizer(tokenizer)
        self._stop = stop
        self._emit = emit
        self._pending = ""  # text that a stop string may have begun in
        self._ready = ""  # text that is final and has not gone out
        self._sent_at = 0.0
        self.stopped = False

    def push(self, tokens: list[int]) -> None:
        """Take tokens; those after a stop string are ignored."""
        if not self.stopped:
            self._take(self._detokenizer.add(tokens))
            self._settle(len(self._pending) - max((overlap(self._pending, stop) for stop in self._stop), default=0))
            if monotonic() - self._sent_at >= _APART:
                self._send()

    def end(self) -> None:
        """Give out what was held back."""
        if not self.stopped:
            self._take(self._detokenizer.rest())
            self._settle(len(self._pending))
        self._send()

    def _take(self, text: str) -> None:
        self._pending += text
        places = [place for stop in self._stop if (place := self._pending.find(stop)) >= 0]
        if places:
            self._settle(min(places))
            self._pending = ""
            self.stopped = True

    def _settle(self, length: int) -> None:
        self._ready, self._pending = self._ready + self._pending[:length], self._pending[length:]

    def _send(self) -> None:
        if self._ready:
            self._emit(Piece(self._ready))
            self._ready, self._sent_at = "", monotonic()


class Detokenizer:
    """Tokens to text, a few at a time. The pieces joined are what decoding all tokens at once gives.

    Decoding starts at the last piece's first token, because some tokenizers write a word differently at the beginning
    of a text than inside it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._known = 0  # how many of them are text already

    def add(self, tokens: list[int]) -> str:
        """The text that these tokens complete; empty while the last character is not whole."""
        self._tokens += tokens
        new = self._new()
        if not new or new.endswith("\ufffd"):
            return ""
        self._tokens = self._tokens[self._known :]
        self._known = len(self._tokens)
        return new

    def rest(self) -> str:
        """What is left at the end, whole or not."""
        return self._new()

    def _new(self) -> str:
        return self._decode(self._tokens)[len(self._decode(self._tokens[: self._known])) :]

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True)) if tokens else ""


def overlap(text: str, stop: str) -> int:
    """The length of the longest end of ``text`` that ``stop`` begins with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
