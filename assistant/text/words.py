"""Words and stems: what a text is searched and compared by."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

# Of a long message, this many different words are looked at.
QUERY_WORDS = 64
_WORD = re.compile(r"\w+")
_STOP_WORDS = frozenset(
    "a an and are as at be but by can could do does did for from had has have hi hello how i if in into is it its "
    "me my no not of on or our please so than thank thanks that the their them then there they this to up us was we "
    "were what when where which who why will with would you your am been being he she him her his about just also "
    "very get got any some".split()
)


def query_words(query: str) -> list[str]:
    """The words to search for: each once, without those that are in almost every sentence."""
    words = dict.fromkeys(word for word in _WORD.findall(query.lower()) if len(word) < 60)
    telling = [word for word in words if word not in _STOP_WORDS]
    return (telling or list(words))[:QUERY_WORDS]


def stems(passage: str) -> list[str]:
    """The words of a text in order, cut to what their forms have in common."""
    return [stem(word) for word in _WORD.findall(passage.lower())]


def known_stems(passage: str, wanted: Collection[str]) -> list[str]:
    """As `stems`, with nothing in the place of words that are surely not ``wanted``: most need no stemming then."""
    # A stem has its word's first two letters, or is a single one.
    begin = {one[:2] for one in wanted}
    return [stem(word) if word[:2] in begin or word[:1] in begin else "" for word in _WORD.findall(passage.lower())]


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A light English stemmer for comparing words; the full-text index uses its own."""
    if len(word) < 4 or word.endswith("ss"):
        return word
    if len(word) == 4:
        return word.removesuffix("s")
    word = re.sub(r"(?:ies|ied)$", "y", word)
    word = re.sub(r"(?:ingly|edly|ing|ed|ly|es|s|e)$", "", word)
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] else word
