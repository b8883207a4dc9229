"""Grounding: does a passage support a sentence? What it does not support is not said.

Support is measured without a model, so that it is the same on every rung of the ladder and cannot be talked into
anything: every number and identifier of the sentence must stand in the passage, a negation must not appear or vanish,
and enough of the sentence's content words must be there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from assistant.retrieval.identifiers import canonical

# A sentence is said if its passage supports it at least this much.
SUPPORTED = 0.6

_STOP = frozenset(
    "a an the and or but if then so as at by for from in into is are was were be been being of off on onto out over to "
    "up with without it its this that these those there here you your we our us they them their he she i me my can "
    "could should would will shall may might must do does did done have has had which who whom whose what when where "
    "why how also just please than too very any some all each".split()
)
_NEGATIONS = frozenset("not no never none cannot don't doesn't isn't aren't won't can't without nor nicht kein keine nie".split())
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_CODE = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])[\w-]+\b")
_CITATION = re.compile(r"\s*\[\d+\]")


@dataclass(frozen=True)
class Support:
    """Which of the passages supports a sentence best, and how much (0 to 1)."""

    passage: int
    score: float


def support(sentence: str, passage: str) -> float:
    """How far ``passage`` supports ``sentence``, 0 to 1; 0 if a number, code or negation does not hold.

    The share of the sentence's content words that the passage has, longer words counting more (by the square root of
    their length): they carry more of the meaning.
    """
    sentence = _CITATION.sub("", sentence)
    if not _numbers_hold(sentence, passage) or not _negation_holds(sentence, passage):
        return 0.0
    words = _content(sentence)
    if not words:
        return 0.0
    known = {_stem(word) for word in _content(passage)}
    weights = [math.sqrt(len(word)) for word in words]
    found = sum(weight for word, weight in zip(words, weights, strict=True) if _stem(word) in known)
    return found / sum(weights)


def best_support(sentence: str, passages: Sequence[str]) -> Support:
    """The passage that supports the sentence best; score 0 and passage -1 if there is none."""
    scores = [support(sentence, passage) for passage in passages]
    if not scores:
        return Support(-1, 0.0)
    best = max(range(len(scores)), key=scores.__getitem__)
    return Support(best, scores[best])


def sentences(text: str) -> list[str]:
    """The sentences of a text. Abbreviations, decimals and numbered steps do not end one."""
    parts = re.split(r"(?<=[.!?…])(?:\s*\[\d+\])*\s+(?=[^a-zà-ÿ\d\s])|\n+", text.strip())
    return [part.strip() for part in parts if part and part.strip()]


def _content(text: str) -> list[str]:
    words = [word.lower() for word in _WORD.findall(text)]
    return [word for word in words if word not in _STOP and word not in _NEGATIONS]


def _stem(word: str) -> str:
    """A light stem, the same for both sides: plural, past and progressive endings go."""
    for ending in ("ations", "ation", "ings", "ing", "ies", "ied", "edly", "ed", "es", "s", "ly", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _numbers_hold(sentence: str, passage: str) -> bool:
    numbers = {number.replace(",", ".") for number in _NUMBER.findall(passage)}
    codes = {canonical(code) for code in _CODE.findall(passage)}
    if any(canonical(code) not in codes for code in _CODE.findall(sentence)):
        return False
    plain = _CODE.sub(" ", sentence)
    return all(number.replace(",", ".") in numbers for number in _NUMBER.findall(plain))


def _negation_holds(sentence: str, passage: str) -> bool:
    """A negated sentence needs a negation near its words in the passage, and the other way round.

    Compared with the part of the passage that shares most words with the sentence.
    """
    parts = sentences(passage) or [passage]
    words = {_stem(word) for word in _content(sentence)}
    nearest = max(parts, key=lambda part: len(words & {_stem(word) for word in _content(part)}))
    return _negated(sentence) == _negated(nearest)


def _negated(text: str) -> bool:
    return any(word.lower().replace("’", "'") in _NEGATIONS for word in _WORD.findall(text))
