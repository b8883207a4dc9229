"""Words and stems: what a text is searched and compared by.

One light stemmer and one stop list serve search, answering and grounding. Snowball's English stemmer was tried on
anthropic_docs, emanual_tv and stackfaq. It ranks alike (nDCG@10 .812, .842, .978; this one .810, .842, .978), but finds
support too easily: of questions whose correct article had been left out it still answered 83, 75 and 50 % (this one 76,
74 and 48 %), and of sentences from other articles' answers (no such answers in stackfaq) 7 and 42 % counted as
supported (this one 7 and 40 %).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache

import regex

from assistant.text.folding import fold

# Distinct words of a query that are searched for: enough for a long message.
QUERY_WORDS = 64
STOP_WORDS = frozenset(
    "a an and are as at be but by can could do does did for from had has have hi hello how i if in into is it its "
    "me my no not of on or our please so than thank thanks that the their them then there they this to up us was we "
    "were what when where which who why will with would you your am been being he she him her his about just also "
    "very get got any some".split()
)
_WORD = re.compile(r"\w+")
# Scripts without blanks between words. Their words are found by pairs of characters.
UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}ー\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]"
_PIECE = regex.compile(rf"(?V1)(?P<run>{UNSPACED}+)|[[\w\p{{M}}]--{UNSPACED}]+")
_CHARACTER = regex.compile(r"\P{M}\p{M}*|\p{M}+")


def words_of(text: str) -> list[str]:
    """The words of a text, folded, in order. Of scripts without blanks, every character and every pair of them."""
    return _WORD.findall(text.lower()) if text.isascii() else list(_pieces(text, single=True))


def places_of_words(text: str) -> list[tuple[int, int]]:
    """(start, end) of each word, in characters."""
    return [match.span() for match in _WORD.finditer(text)]


def count_words(text: str) -> int:
    """How many words a text has; two characters of a script without blanks count as one."""
    pieces = _PIECE.finditer(text)
    return sum(1 if piece["run"] is None else (len(piece["run"]) + 1) // 2 for piece in pieces)


def searchable(text: str) -> str | None:
    """The text as the word index takes it; None if the index does the same by itself."""
    return None if text.isascii() else " ".join(words_of(text))


def _pieces(text: str, *, single: bool) -> Iterator[str]:
    """``single``: also the characters that are part of a pair."""
    for piece in _PIECE.finditer(fold(text)):
        if piece["run"] is None:
            yield piece[0]
            continue
        characters = _CHARACTER.findall(piece["run"])
        for place, character in enumerate(characters):
            if single or len(characters) == 1:
                yield character
            if place + 1 < len(characters):
                yield character + characters[place + 1]


def query_words(query: str) -> list[str]:
    """The words to search for, each once, without stop words unless there are no others."""
    words = dict.fromkeys(word for word in _pieces(query, single=False) if len(word) < 60)
    telling = [word for word in words if word not in STOP_WORDS]
    return (telling or list(words))[:QUERY_WORDS]


def stems(passage: str) -> list[str]:
    """The stem of every word, in order."""
    return [stem(word) for word in words_of(passage)]


def known_stems(passage: str, wanted: Collection[str], *, searched: str | None = None) -> list[str]:
    """As `stems`, with "" in place of words whose stem cannot be ``wanted``, so that most words need no stemming.
    ``searched``: what `searchable` made of the passage, if that is known."""
    # A stem starts with its word's first two letters, or is a single letter.
    prefixes = {one[:2] for one in wanted}
    words = words_of(passage) if searched is None else searched.split()
    return [stem(word) if word[:2] in prefixes or word[:1] in prefixes else "" for word in words]


@lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """A light English stem for comparing words: plural, past and progressive endings are cut. The full-text index uses
    the database's own stemmer."""
    if len(word) < 4 or word.endswith("ss"):
        return word
    if len(word) == 4:
        return word.removesuffix("s")
    word = re.sub(r"(?:ies|ied)$", "y", word)
    word = re.sub(r"(?:ingly|edly|ing|ed|ly|es|s|e)$", "", word)
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] else word
