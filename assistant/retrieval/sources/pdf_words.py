"""The words of a PDF, by which lines are joined: a hyphen at the end of a line may or may not belong to its word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_WORD = re.compile(r"[^\W\d_]+(?:-[^\W\d_]+)*")
_LAST = re.compile(r"(?<![^\W\d_])(?<![^\W\d_]-)([^\W\d_]++(?:-[^\W\d_]++)*+)-$")
_FIRST = re.compile(r"[^\W\d_]+")
_HYPHENS = ("-", "\u00ad")


class Words:
    def __init__(self, pages: Iterable[str] = ()) -> None:
        """``pages``: the plain text of each."""
        self._counts: Counter[str] = Counter()
        for page in pages:
            is_cut = False
            for line in page.casefold().splitlines():
                words = _WORD.findall(line)
                # A part of a word, at the end of a line or at the beginning of the next, is none.
                first, is_cut = int(is_cut), line.rstrip().endswith(_HYPHENS)
                self._counts.update(words[first : -1 if is_cut else None])

    def join(self, text: str, following: str) -> str:
        """Joins lines, and the word that was hyphenated at the end of the first."""
        if not text.endswith("-") or len(text) < 2 or not text[-2].isalnum() or not following[:1].isalnum():
            return f"{text} {following}"
        last, first = _LAST.search(text), _FIRST.match(following)
        if last is None or first is None or not following[0].islower():
            return text + following  # as in "X-" and "40"
        before, after = last[1].casefold(), first[0].casefold()
        stand_alone = self._counts[before] and self._counts[after]  # elsewhere: then the hyphen is theirs
        if self._counts[before + after] or not (self._counts[f"{before}-{after}"] or stand_alone):
            return text[:-1] + following
        return text + following
