"""Fusion: one score out of meaning, words and identifiers. Pure arithmetic on what the index found.

    score = meaning + 1.2 · (1 - lead) · coverage · words        (then what is added for a product, an identifier)

* meaning: a third of the passage's cosine and two thirds of the better one of the passage's and its heading's: an
  answer need not look like its question, but the heading above it often does.
* words: what share of the query's *information* the passage has, of the summed rarity (idf) of all query words. A
  quarter for BM25 (divided by the most it could be), a quarter for the words that occur at all, and half for pairs:
  query words next to each other that are next to each other in the passage (at most one word between).
* coverage: the share that the best passage has of the query's words. Where the knowledge base does not speak the words
  of the question, those that it shares by chance say little.
* lead: how far the best cosine is ahead of the others. Where meaning is sure of itself, words have less to say.

Rank fusion knows neither. The constants are the same for every corpus. They were chosen on the five public sets that
the figures are of, after some two thousand settings of this and like formulas had been tried there, so these flatter:
mean nDCG@10 0.917, rank fusion 0.884, BM25 0.872, embeddings 0.838, all on the same passages. To be expected elsewhere
is rather what the best setting of four sets gives on the fifth, 0.911 (of 1344 settings, which gave 0.886 to 0.920 on
all five). A setting with a better mean (0.920) was passed over, because embeddings alone beat it on one set; on another
set, of thirty questions, BM25 alone is better than this (0.988 against 0.975).

A question in a language that the embedder does not read leans on words: those that the knowledge base does not know are
not missing but foreign, and do not count. How, was chosen among some thirty ways on the one set of such questions there
was, and has been measured on no other.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from assistant.text.words import stem

_HEADING = 2 / 3
_WORDS = 1.2
# What each share is worth in a full match.
_BM25, _COVERAGE, _PAIRS = 0.25, 0.25, 0.5
# BM25's usual constants, and the length that passages are cut to.
_K1, _B, _USUAL_WORDS = 1.2, 0.75, 120
# How sure meaning is: the lead of the best passage over the one at this place.
LEAD_OVER = 5
# The product that the question is about is worth so much, an article about no product half of it.
PRODUCT_BONUS = 0.25
# A figure beside it that looks exactly like the photo is worth as much: there was no labelled set to choose it on.
PICTURE_BONUS = 0.25
# A number without a sign that it is a code may be a year, a price, a size: it adds, it does not come first.
NUMBER_BONUS = 0.3
# The most that meaning, words and a product can give: shown as 1.
_FULL = 1.0 + _WORDS + PRODUCT_BONUS


@dataclass(frozen=True)
class QueryWords:
    """The query's stems in order with their rarity. ``information`` is the rarity of all of them."""

    rarity: Mapping[str, float]

    @cached_property
    def information(self) -> float:
        return sum(self.rarity.values())

    @cached_property
    def pairs(self) -> dict[tuple[str, str], float]:
        """Neighbours in the query (stop words left out) and what it tells to find them together."""
        words = list(self.rarity)
        return {pair: self.rarity[pair[0]] + self.rarity[pair[1]] for pair in pairwise(words)}


@dataclass(frozen=True)
class WordMatch:
    """Shares, 0 to 1, of the query's information: all in all, and of the words that occur at all."""

    match: float
    coverage: float


def query_of(counts: Mapping[str, int], *, passages: int, only_known: bool = False) -> QueryWords:
    """``counts``: the query's words in order, and how many of all passages have each (BM25's idf).

    ``only_known``: leave out words that no passage has."""
    rarity: dict[str, float] = {}
    for word, having in counts.items():
        if having or not only_known:
            known = min(having, passages)
            rarity.setdefault(stem(word), math.log(1 + (passages - known + 0.5) / (known + 0.5)))
    return QueryWords(rarity)


def word_match(query: QueryWords, *, heading: Sequence[str], text: Sequence[str]) -> WordMatch:
    """``heading`` and ``text``: stems in order."""
    if not query.information:
        return WordMatch(0.0, 0.0)
    words = [*heading, *text]
    rarity = query.rarity
    places = [(place, word) for place, word in enumerate(words) if word in rarity]
    counts = Counter(word for _, word in places)
    length = 1 - _B + _B * len(words) / _USUAL_WORDS
    coverage = sum(rarity[word] for word in counts) / query.information
    bm25 = sum(rarity[word] * times / (times + _K1 * length) for word, times in counts.items()) / query.information
    match = _COVERAGE * coverage + _BM25 * bm25
    pairs = query.pairs
    if not pairs:
        return WordMatch(match / (_COVERAGE + _BM25), coverage)
    near = _neighbours(places)
    together = sum(tells for pair, tells in pairs.items() if pair in near) / sum(pairs.values())
    return WordMatch(match + _PAIRS * together, coverage)


def _neighbours(places: Sequence[tuple[int, str]]) -> set[tuple[str, str]]:
    """Pairs of words, in order, with at most one word between them."""
    found = set()
    for index, (place, word) in enumerate(places):
        for later, other in places[index + 1 : index + 3]:
            if later - place <= 2:
                found.add((word, other))
    return found


def lead(similarities: np.ndarray) -> float:
    """How far the best cosine is ahead, 0 to 1: of the way from the fifth best to 1, the part that it has gone."""
    if len(similarities) < 2:
        return 0.0
    place = min(LEAD_OVER, len(similarities) - 1)
    best = -np.partition(-similarities, (0, place))
    return float(np.clip((best[0] - best[place]) / max(1.0 - best[place], 1e-6), 0.0, 1.0))


def fuse(
    *,
    similarities: np.ndarray,
    headings: np.ndarray,
    matches: Sequence[WordMatch],
    lead: float,
    bonuses: np.ndarray,
    reads: bool = True,
) -> np.ndarray:
    """Scores of the candidates, 0 to 1. Arrays are (n,): cosines of passages and of their headings, and what is added
    for product and number; ``lead`` is that of the whole corpus; ``reads``: whether the embedder reads the query."""
    words = np.array([match.match for match in matches], dtype=np.float32)
    if reads:
        coverage = max((match.coverage for match in matches), default=0.0)
        best = np.maximum(similarities, headings)
        meaning = (1 - _HEADING) * similarities + _HEADING * best
        words = _WORDS * (1.0 - lead) * coverage * words
    else:
        meaning = similarities
    scores: np.ndarray = ((meaning.clip(0.0) + words + bonuses) / _FULL).clip(0.0, 1.0)
    return scores


def identifiers_first(scores: np.ndarray, identifiers: np.ndarray) -> np.ndarray:
    """Half of the scale belongs to passages that carry the query's identifiers.

    ``identifiers``: (n,) summed rarity of the identifiers shared with the query. Unchanged if nobody has one."""
    most = float(identifiers.max(initial=0.0))
    if most <= 0.0:
        return scores
    raised: np.ndarray = 0.5 * scores + 0.5 * identifiers / most
    return raised
