"""Where a text names people and places them: names and postal addresses, told by what they look like and stand beside.

A small convolutional tagger without a library: each word is the mean of learned vectors of its character n-grams, so a
name that was never seen is known by its parts, and three layers look at the seven words on either side, so "may" is
told from "May". Scripts without blanks are read sign by sign. `lab.training.people` trains it and says on what.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources
from itertools import groupby, pairwise
from zlib import crc32

import numpy as np
import regex

BITS = 17  # of a bucket's number
TRAITS = 12  # of a token, beside its letters
REACH = 2  # tokens on either side that a layer sees, times its dilation
DILATIONS = (1, 2, 1)
NOTHING, NAME, ADDRESS = range(3)

# A span is told if one of its tokens is so likely, and goes on as far as each is likelier than not. Chosen on messages
# of our own that were kept out of training (`lab.training.people`).
SURE = (1.0, 0.96, 0.99)
_GOES_ON = 0.4
_AT_ONCE = 4_000  # tokens
_LONGEST_GRAM = 4
_LONGEST_WORD = 24

_SIGNS = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_TOKEN = regex.compile(
    rf"[{_SIGNS}][\p{{M}}ー]*|[\p{{L}}--[{_SIGNS}]][\p{{L}}\p{{M}}--[{_SIGNS}]]*"
    rf"(?:['’](?!s\b)[\p{{L}}--[{_SIGNS}]][\p{{L}}\p{{M}}--[{_SIGNS}]]*)*|\p{{Nd}}+|\n|[^\s]",
    regex.V1,
)
_SIGN = regex.compile(rf"[{_SIGNS}]")
_NUMBER = regex.compile(r"\p{Nd}+")
_ENDS = frozenset(".!?…。！？\n")


@dataclass(frozen=True)
class Found:
    """``text[start:end]`` is a name or an address, told with this probability."""

    start: int
    end: int
    kind: int
    probability: float


@dataclass(frozen=True)
class Token:
    start: int
    end: int
    text: str


def spot(text: str, sure: Sequence[float] = SURE) -> list[Found]:
    """Names and addresses in reading order, without overlaps. ``sure``: for each kind, from which probability on."""
    tokens = tokenize(text)
    if not tokens:
        return []
    parts = [_model().tag(tokens[at : at + _AT_ONCE]) for at in range(0, len(tokens), _AT_ONCE)]
    probabilities = np.concatenate(parts)
    runs = ((run, kind) for kind in (NAME, ADDRESS) for run in _runs(probabilities, kind))
    found = (_span(tokens, probabilities, run, kind) for run, kind in runs)
    likely = (one for one in found if one is not None and one.probability >= sure[one.kind])
    return sorted(likely, key=lambda one: one.start)


def tokenize(text: str) -> list[Token]:
    """Words, numbers, ends of lines and other signs; each sign of a script without blanks."""
    return [Token(match.start(), match.end(), match.group()) for match in _TOKEN.finditer(text)]


def describe(tokens: Sequence[Token]) -> tuple[list[np.ndarray], np.ndarray]:
    """The buckets of each token's n-grams, int64, and its traits (n, `TRAITS`), 0 or 1."""
    texts = ["", *(token.text for token in tokens), ""]
    buckets = [
        _sign_buckets(before, token, after) if _SIGN.match(token) else _buckets(token)
        for before, token, after in zip(texts, texts[1:], texts[2:], strict=False)
    ]
    words = [token.text for token in tokens if token.text[0].isalpha() and token.text.lower() != token.text.upper()]
    capitals = sum(word[0].isupper() for word in words)
    whole = (not capitals, capitals > 0.6 * len(words), all(word.isupper() for word in words))
    traits = np.zeros((len(tokens), TRAITS), dtype=np.float32)
    for row, (before, token) in enumerate(pairwise([None, *tokens])):
        assert token is not None  # noqa: S101 - only the first is
        traits[row] = _traits(before, token, whole)
    return buckets, traits


def _traits(before: Token | None, token: Token, whole: tuple[bool, bool, bool]) -> tuple[bool, ...]:
    word = token.text
    return (
        word[0].isupper(),
        len(word) > 1 and word.isupper(),
        word.islower(),
        word[0].isdigit(),
        not word[0].isalnum(),
        word == "\n",
        before is not None and before.end < token.start,
        before is None or before.text in _ENDS,
        len(word) == 1,
        *whole,
    )


@lru_cache(maxsize=50_000)
def _buckets(word: str) -> np.ndarray:
    """Of a word and of its n-grams with its ends; of a number its length alone, which says what it may be."""
    if _NUMBER.fullmatch(word):
        return _hashed([f"#{min(len(word), 12)}"])
    plain = f"<{unicodedata.normalize('NFKC', word).lower().replace('’', chr(39))[:_LONGEST_WORD]}>"
    grams = {plain[at : at + n] for n in range(1, _LONGEST_GRAM + 1) for at in range(len(plain) - n + 1)}
    return _hashed(sorted({*grams, f"={plain}"} - {"<", ">"}))


@lru_cache(maxsize=50_000)
def _sign_buckets(before: str, sign: str, after: str) -> np.ndarray:
    return _hashed([f"s{sign}", f"b{before}{sign}", f"a{sign}{after}", f"t{before}{sign}{after}"])


def _hashed(grams: Sequence[str]) -> np.ndarray:
    return np.array([crc32(gram.encode()) >> (32 - BITS) for gram in grams], dtype=np.int64)


def _runs(probabilities: np.ndarray, kind: int) -> list[tuple[int, int]]:
    """(first, after the last) of tokens in a row that are of this kind rather than of another."""
    likely = (probabilities[:, kind] >= _GOES_ON) & (
        probabilities.argmax(axis=1) != (ADDRESS if kind == NAME else NAME)
    )
    runs = []
    for is_one, group in groupby(range(len(likely)), key=lambda number: bool(likely[number])):
        numbers = list(group)
        if is_one:
            runs.append((numbers[0], numbers[-1] + 1))
    return runs


def _span(tokens: Sequence[Token], probabilities: np.ndarray, run: tuple[int, int], kind: int) -> Found | None:
    """The run without punctuation at its ends; None of punctuation alone, or of an address without a number."""
    first, end = run
    while first < end and not tokens[first].text[0].isalnum():
        first += 1
    while end > first and not tokens[end - 1].text[0].isalnum():
        end -= 1
    if first == end:
        return None
    words = [token.text for token in tokens[first:end]]
    if kind == ADDRESS and not any(char.isnumeric() for word in words for char in word):
        return None
    return Found(tokens[first].start, tokens[end - 1].end, kind, float(probabilities[first:end, kind].max()))


@dataclass(frozen=True)
class Tagger:
    """Weights as `lab.training.people` writes them. Read-only, so threads share them.

    ``vectors`` (buckets, d); ``layers``: weights (5 w, out) and bias (out,) of each layer; ``head``: (out, 3), (3,)."""

    vectors: np.ndarray
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    head: tuple[np.ndarray, np.ndarray]

    def tag(self, tokens: Sequence[Token]) -> np.ndarray:
        """The probabilities of nothing, name and address for each token, (n, 3)."""
        buckets, traits = describe(tokens)
        starts = np.cumsum([0, *(len(one) for one in buckets[:-1])])
        sums = np.add.reduceat(self.vectors[np.concatenate(buckets)].astype(np.float32), starts)
        seen = np.concatenate([sums / np.array([[len(one)] for one in buckets]), traits], axis=1)
        for number, (dilation, (weights, bias)) in enumerate(zip(DILATIONS, self.layers, strict=True)):
            out = np.maximum(_around(seen, dilation) @ weights + bias, 0)
            seen = out if number == 0 else seen + out
        weights, bias = self.head
        odds = seen @ weights + bias
        odds = np.exp(odds - odds.max(axis=1, keepdims=True))
        shares: np.ndarray = odds / odds.sum(axis=1, keepdims=True)
        return shares


def _around(seen: np.ndarray, dilation: int) -> np.ndarray:
    """Each row beside its neighbours', (n, 5 w); beyond the ends are zeros."""
    padded = np.pad(seen, ((REACH * dilation, REACH * dilation), (0, 0)))
    return np.concatenate([padded[at * dilation : at * dilation + len(seen)] for at in range(2 * REACH + 1)], axis=1)


@cache
def _model() -> Tagger:
    with resources.files("assistant.text").joinpath("people.npz").open("rb") as file, np.load(file) as stored:
        *layers, head = (
            (stored[f"weights{number}"].astype(np.float32), stored[f"bias{number}"].astype(np.float32))
            for number in range(len(DILATIONS) + 1)
        )
        return Tagger(stored["vectors"], tuple(layers), head)  # the first layer's weights hold the vectors' scale
