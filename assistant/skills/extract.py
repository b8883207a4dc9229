"""Extractive answers: the sentences, steps and table rows that answer the question, quoted verbatim.

Used where no model is allowed to write, and whenever that model is down. What answers is about the question and says
something that the question did not: a sentence that only repeats it, or its heading, is never what is looked for.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from assistant.text.identifiers import spot
from assistant.text.units import Kind, Unit, units_of
from assistant.text.words import STOP_WORDS, stem, words_of

# Quotes come from this many of the best passages.
_FROM_PASSAGES = 8
# Of passages whose units have no vectors yet, so many are embedded now.
_MOST_EMBEDDED = 40
# A quote that is not a list or table as a whole has at most so many words; a short paragraph is quoted whole.
_MOST_WORDS, _PARAGRAPH = 110, 70
_MOST_ROWS = 3
_WHOLE_TABLE = 15
# A neighbour of the best unit is quoted too if it scores at least this share of the best score.
_HELPS = 0.72
# Bonus for a unit with all the question's distinctive words. Tuned by the words that quotes share with the reference
# answers of emanual_tv and anthropic_docs.
_DISTINCTIVE = 0.2
# Bonus for a unit that says nothing but new, and the share of a sentence's score that is its paragraph's. Both were set
# by reading answers to questions about the sample.
_NEW, _AROUND = 0.1, 0.5
# Weights of the passage's score, and of an identifier that unit and question share. A table, which says more than a
# sentence, may be a little less similar.
_PASSAGE, _CODED, _TABLE = 0.3, 0.2, 0.05
# Similarities of unrelated texts differ by about so much.
_CLEARLY = 0.1
# What stands under so many headings among the passages found is about none of them.
_EVERYWHERE = 3
_TABLES = (Kind.TABLE, Kind.ROW, Kind.ITEM)
_ALONE = (Kind.ANSWER, Kind.FACT)


def extract(
    question: str,
    codes: Sequence[str],
    passages: Sequence[Document],
    embeddings: Embeddings,
    *,
    distinctive: Collection[str] = (),
    shown: str = "",
) -> list[Unit]:
    """The units that answer, in reading order; empty if there are none. ``distinctive``: stems of the question that few
    of the passages contain. ``shown``: what photos show, in words.

    Table rows with one of the question's codes come first, then the best-scoring unit with the neighbours that help: a
    list or table brings along the sentence that introduces it, and the other way round.
    """
    found = [unit for number, passage in enumerate(passages[:_FROM_PASSAGES]) for unit in units(passage, number)]
    rows = _coded_rows(found, codes, passages)
    others = _Candidates(found, passages, f"{question}\n{shown}", codes)
    scores = others.scores(question, embeddings, distinctive)
    if rows:
        # The row says what to do. Add to it only what explains the code.
        scores[[not _explains(unit, rows, codes, passages) for unit in found]] = -np.inf
    best = int(np.argmax(scores)) if found else -1
    if best < 0 or not np.isfinite(scores[best]):
        return rows
    return rows + [unit for unit in others.quote(best, scores) if unit not in rows]


def units(passage: Document, number: int) -> list[Unit]:
    """The units of passage ``number``, in their order."""
    return units_of(passage.page_content, number)


def _coded_rows(found: Sequence[Unit], codes: Sequence[str], passages: Sequence[Document]) -> list[Unit]:
    """Rows whose first cell is one of the codes: all of the best passage, and one for each further product, unless the
    question is clearly more about the best: "the coffee machine shows E21"."""
    similarities = [float(passage.metadata.get("similarity") or 0.0) for passage in passages]
    rows = [unit for unit in found if unit.kind is Kind.ROW and unit.codes & set(codes)]
    rows.sort(key=lambda row: -similarities[row.passage])
    rows = [row for row in rows if similarities[row.passage] > similarities[rows[0].passage] - _CLEARLY]
    seen: set[str | None] = set()
    chosen = []
    for row in rows:
        product = passages[row.passage].metadata.get("product")
        if row.passage == rows[0].passage or product not in seen:
            chosen.append(row)
        seen.add(product)
    return chosen[:_MOST_ROWS]


def _explains(unit: Unit, rows: Sequence[Unit], codes: Sequence[str], passages: Sequence[Document]) -> bool:
    """Whether the unit's passage belongs to the same article as the rows and mentions the code too."""
    article = passages[rows[0].passage].metadata.get("article_id")
    same = passages[unit.passage].metadata.get("article_id") == article
    return (
        same
        and unit.kind not in (Kind.ROW, Kind.TABLE)
        and bool(set(spot(passages[unit.passage].page_content)) & set(codes))
    )


class _Candidates:
    """All units of the passages, in order, and what is new in each."""

    def __init__(
        self, found: Sequence[Unit], passages: Sequence[Document], question: str, codes: Collection[str]
    ) -> None:
        self._units = found
        self._passages = passages
        self._codes = set(codes)
        self._asked = _content(question)
        self._stems = [_content(unit.text) for unit in found]
        counts = Counter(word for own in self._stems for word in own)
        self._weights = {word: math.log((1 + len(found)) / count) for word, count in counts.items()}
        self._headings = [_content(_heading(passage)) for passage in passages]
        self._sections: defaultdict[str, set[str]] = defaultdict(set)
        for unit in found:
            self._sections[unit.text].add(_heading(passages[unit.passage]).rsplit(" > ", 1)[-1])

    def scores(self, question: str, embeddings: Embeddings, distinctive: Collection[str]) -> np.ndarray:
        """(n,) how well each unit answers; -inf for what cannot be an answer. It is the similarity to the question,
        and how much of it is new, its passage's score, and the words and identifiers that only few have."""
        passage = np.array([float(self._passages[unit.passage].metadata.get("score", 0.0)) for unit in self._units])
        coded = np.array([bool(self._codes & set(spot(unit.text))) for unit in self._units], dtype=float)
        addressed = np.array([self._share(unit, own, distinctive) for unit, own in self._each()])
        new = np.array([self._new(unit, own) for unit, own in self._each()])
        scores = self._meaning(question, embeddings) + _PASSAGE * passage + _CODED * coded
        scores += _DISTINCTIVE * addressed + _NEW * new
        scores += _TABLE * np.array([unit.kind is Kind.TABLE for unit in self._units], dtype=float)
        scores = (1 - _AROUND) * scores + _AROUND * self._around(scores)
        scores[new == 0.0] = -np.inf
        return np.asarray(scores)

    def quote(self, best: int, scores: np.ndarray) -> list[Unit]:
        """The best unit and what belongs to it."""
        unit = self._units[best]
        if unit.kind in _ALONE:
            return [unit]
        if unit.kind in _TABLES:
            return self._of_table(best)
        if best + 1 < len(self._units) and self._units[best + 1].kind in _TABLES and self._are_adjacent(best, best + 1):
            return self._of_table(best + 1, introduced=True)
        first, last = self._paragraph(best)
        first, last = self._widened(first, last, scores, scores[best])
        quoted = self._units[first : last + 1]
        return [one for one in quoted if one.kind is not Kind.QUESTION and not self._is_furniture(one)]

    def _each(self) -> Iterator[tuple[Unit, frozenset[str]]]:
        return zip(self._units, self._stems, strict=True)

    def _meaning(self, question: str, embeddings: Embeddings) -> np.ndarray:
        """(n,) cosines of question and unit: those that the index gave, else computed."""
        meaning = np.zeros(len(self._units))
        missing = []
        for number, unit in enumerate(self._units):
            known = self._passages[unit.passage].metadata.get("units") or ()
            if unit.position < len(known):
                meaning[number] = known[unit.position]
            else:
                missing.append(number)
        if missing := missing[:_MOST_EMBEDDED]:
            texts = [
                f"{_heading(self._passages[unit.passage])}\n{unit.compared}"
                for unit in (self._units[number] for number in missing)
            ]
            vectors = np.asarray(embeddings.embed_documents(texts), dtype=np.float32)
            meaning[missing] = vectors @ np.asarray(embeddings.embed_query(question), dtype=np.float32)
        return meaning

    def _around(self, scores: np.ndarray) -> np.ndarray:
        """(n,) the mean score of each unit's paragraph."""
        blocks: defaultdict[tuple[int, int, bool], list[int]] = defaultdict(list)
        for number, unit in enumerate(self._units):
            blocks[unit.passage, unit.block, unit.kind is Kind.SENTENCE].append(number)
        means = scores.copy()
        for (_, _, is_paragraph), members in blocks.items():
            if is_paragraph:
                means[members] = scores[members].mean()
        return means

    def _share(self, unit: Unit, own: frozenset[str], distinctive: Collection[str]) -> float:
        """The share of the distinctive stems that the unit, its question or its heading contains."""
        if not distinctive:
            return 0.0
        known = own | _content(f"{unit.asked} {unit.under}") | self._headings[unit.passage]
        return len(known.intersection(distinctive)) / len(distinctive)

    def _new(self, unit: Unit, own: frozenset[str]) -> float:
        """The share of the unit's words that neither the question nor the headings have; 0 for what is no answer."""
        if unit.kind is Kind.QUESTION or self._is_furniture(unit) or not own:
            return 0.0
        return len(own - self._asked - self._headings[unit.passage]) / len(own)

    def _is_furniture(self, unit: Unit) -> bool:
        return len(self._sections[unit.text]) >= _EVERYWHERE

    def _are_adjacent(self, first: int, second: int) -> bool:
        return first >= 0 and self._units[first].passage == self._units[second].passage

    def _of_table(self, member: int, *, introduced: bool = False) -> list[Unit]:
        """The rows or alternatives that the question names, else the table as a whole. What introduces it is said with
        several rows, and if it is itself what answers best: ``introduced``."""
        place = (self._units[member].passage, self._units[member].block)
        block = [at for at, unit in enumerate(self._units) if (unit.passage, unit.block) == place]
        table = [at for at in block if self._units[at].kind in (Kind.ROW, Kind.ITEM)]
        chosen = self._named(table, member) or (table if len(table) <= _WHOLE_TABLE else [member])
        lead = next(at for at in block if self._units[at].kind in _TABLES) - 1
        leads = introduced or len(chosen) > 1
        leads = leads and self._are_adjacent(lead, lead + 1) and self._units[lead].kind is Kind.SENTENCE
        said = [self._units[at] for at in chosen]
        if len(said) > 1:
            said = [replace(unit, text=f"- {unit.text}") for unit in said]
        return [self._units[lead], *said] if leads else said

    def _named(self, table: Sequence[int], best: int) -> list[int]:
        """The rows that have most of the question's telling words: those that some rows have and others have not. Where
        the table itself answers best, only the names of rows tell. Of rows with equally telling words, those with the
        best one's are meant."""
        by_name = self._units[best].kind is Kind.TABLE
        names = [self._name(at) if by_name else self._name(at, of=Kind.ITEM) or self._stems[at] for at in table]
        common = frozenset[str].intersection(*names)
        telling = {at: (own & self._asked) - common for at, own in zip(table, names, strict=True)}
        weights = {at: sum(self._weights[word] for word in own) for at, own in telling.items()}
        most = max(weights.values())
        named = [at for at in table if most > 0 and weights[at] > 0.99 * most]
        return [at for at in named if best not in named or telling[at] == telling[best]][:_MOST_ROWS]

    def _name(self, at: int, *, of: Kind | None = None) -> frozenset[str]:
        unit = self._units[at]
        return _content(unit.name) if of is None or unit.kind is of else frozenset()

    def _paragraph(self, best: int) -> tuple[int, int]:
        """First and last of the unit's paragraph if that is short, else the unit alone. Steps have their lead-in."""
        unit = self._units[best]
        if unit.kind is Kind.STEPS:
            leads = self._are_adjacent(best - 1, best) and self._units[best - 1].kind is Kind.SENTENCE
            return best - leads, best
        before = list(takewhile(lambda one: self._in_block(one, unit), reversed(self._units[:best])))
        after = list(takewhile(lambda one: self._in_block(one, unit), self._units[best + 1 :]))
        if sum(map(_words, [*before, unit, *after])) > _PARAGRAPH:
            return best, best
        return best - len(before), best + len(after)

    def _in_block(self, one: Unit, unit: Unit) -> bool:
        return (one.passage, one.block, one.kind) == (unit.passage, unit.block, Kind.SENTENCE)

    def _widened(self, first: int, last: int, scores: np.ndarray, best: float) -> tuple[int, int]:
        """With the neighbours in the same passage, as long as they help and the quote stays short."""
        words = sum(map(_words, self._units[first : last + 1]))
        while last + 1 < len(self._units) and self._leads_on(last, last + 1, scores, best):
            words += _words(self._units[last + 1])
            if words > _MOST_WORDS and self._units[last + 1].kind is not Kind.STEPS:
                break
            last += 1
        while first > 0 and self._leads_on(first, first - 1, scores, best):
            words += _words(self._units[first - 1])
            if words > _MOST_WORDS:
                break
            first -= 1
        return first, last

    def _leads_on(self, known: int, index: int, scores: np.ndarray, best: float) -> bool:
        """Whether the unit next to one that is quoted helps as well."""
        kind = self._units[index].kind
        helps = kind is Kind.STEPS or (kind is Kind.SENTENCE and scores[index] >= _HELPS * best)
        return helps and self._are_adjacent(*sorted((known, index)))


def _content(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in words_of(text) if word not in STOP_WORDS)


def _heading(passage: Document) -> str:
    return str(passage.metadata.get("heading", ""))


def _words(unit: Unit) -> int:
    return len(unit.text.split())
