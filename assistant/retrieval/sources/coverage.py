"""How much of a file's text is in its article, so that nothing is lost without a word.

What a file holds is found by a reading that knows no structure, and compared with the article word by word. Both are
counted in letters and digits: marks and blanks differ with every format.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

# An import warns of a file of which less than this was kept.
LEAST = 0.9
# Words are compared, but single characters in scripts without blanks between words.
_TOKEN = re.compile(r"[぀-ヿ㐀-鿿豈-﫿가-힣฀-๿]|[^\W_぀-ヿ㐀-鿿豈-﫿가-힣฀-๿]+")
_UNSEEN = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))


@dataclass(frozen=True)
class Coverage:
    """Letters and digits: ``found`` in the file, ``kept`` of them in the article, and ``left_out`` on purpose, by what
    they are ("navigation")."""

    found: int = 0
    kept: int = 0
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """What was kept of what should have been, 0 to 1."""
        wanted = self.found - sum(self.left_out.values())
        return self.kept / wanted if wanted > 0 else 1.0

    @property
    def is_low(self) -> bool:
        return self.share < LEAST

    def __add__(self, other: Self) -> Coverage:
        left_out = Counter(self.left_out) + Counter(other.left_out)
        return Coverage(self.found + other.found, self.kept + other.kept, dict(left_out))

    def describe(self) -> str:
        left_out = "".join(f", {reason} {count:,}" for reason, count in self.left_out.items())
        return f"{self.share:.0%} of its text is kept ({self.found:,} characters found, {self.kept:,} kept{left_out})"


def measure(found: Iterable[str], kept: Iterable[str], left_out: Mapping[str, Iterable[str]] | None = None) -> Coverage:
    """Compare the texts of a file with those of its article. What the article repeats counts as often as the file has
    it."""
    missing = _words(found)
    total = _characters(missing)
    taken = missing & _words(kept)
    missing -= taken
    reasons = {}
    for reason, texts in (left_out or {}).items():
        gone = missing & _words(texts)
        missing -= gone
        if gone:
            reasons[reason] = _characters(gone)
    return Coverage(total, _characters(taken), reasons)


def count(texts: Iterable[str]) -> int:
    """The letters and digits of texts."""
    return _characters(_words(texts))


def _words(texts: Iterable[str]) -> Counter[str]:
    words: Counter[str] = Counter()
    for text in texts:
        words.update(_TOKEN.findall(unicodedata.normalize("NFKC", text.translate(_UNSEEN)).casefold()))
    return words


def _characters(words: Counter[str]) -> int:
    return sum(len(word) * count for word, count in words.items())
