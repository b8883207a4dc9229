"""Extractive answers: the sentences, steps and table rows that answer the question, quoted verbatim.

Used where no model is allowed to write, and whenever that model is down.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings

from assistant.text.identifiers import spot
from assistant.text.sentences import sentences
from assistant.text.words import stems

# Quotes come from this many of the best passages.
_FROM_PASSAGES = 8
_MOST_UNITS = 40
_MOST_WORDS = 110
_MOST_ROWS = 3
# A neighbour of the best unit is quoted too if it scores at least this share of the best score.
_HELPS = 0.72
# Bonus for a unit with all the question's distinctive words. Tuned by the words that quotes share with the reference
# answers of emanual_tv and anthropic_docs: F1 .40 and .37 with it, .38 and .35 without.
_DISTINCTIVE = 0.2
_STEP = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s+")
_BULLET = re.compile(r"^\s*[-*•]\s+")
# A link or picture; neither part of it contains another one.
_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:(?!\]\()[^)])*\)")
# "Floor area: 80 square feet": a name of a few words and a short value that is not a sentence.
_FACT = re.compile(r"(?:[^\s:?!.]+ ){0,4}[^\s:?!.]{2,}:\s+\S.{0,100}(?<![.!?])")
_FEWEST_FACTS = 3


@dataclass(frozen=True)
class Unit:
    """What is quoted as a whole: a sentence, a list of steps, a table row, a fact, or the answer to a listed question.

    ``quote`` is the passage's own text; for an answer it includes the question.
    """

    text: str
    quote: str
    passage: int
    position: int
    kind: str  # sentence, steps, row, answer, fact
    codes: frozenset[str] = frozenset()


def extract(
    question: str,
    codes: Sequence[str],
    passages: Sequence[Document],
    embeddings: Embeddings,
    *,
    distinctive: Collection[str] = (),
) -> list[Unit]:
    """The units that answer, in reading order; empty if there are no passages. ``distinctive``: stems of the question
    that few of the passages contain.

    Table rows with one of the question's codes come first, then the best-scoring unit with the neighbours that help:
    a list brings along the sentence that introduces it, and the other way round.
    """
    near = [unit for number, passage in enumerate(passages[:_FROM_PASSAGES]) for unit in units(passage, number)]
    if not near:
        return []
    rows = _coded_rows(near, codes, passages)
    others = [unit for unit in near if unit.kind != "row"][:_MOST_UNITS] or near[:_MOST_UNITS]
    scores = _scores(question, set(codes), others, passages, embeddings)
    scores += _DISTINCTIVE * _shares(distinctive, others, passages)
    if not rows:
        return _with_neighbours(others, int(np.argmax(scores)), scores)
    # The row says what to do. Add to it only what explains the code.
    explained = [i for i, unit in enumerate(others) if unit.kind != "row" and _explains(unit, rows, codes, passages)]
    if not explained:
        return rows
    best = max(explained, key=lambda index: scores[index])
    return rows + [unit for unit in _with_neighbours(others, best, scores) if unit not in rows]


def units(passage: Document, number: int) -> list[Unit]:
    """Split passage ``number`` into units, in their order."""
    found: list[Unit] = []
    for block in re.split(r"\n\s*\n", passage.page_content):
        lines = [line for line in block.splitlines() if line.strip()]
        if lines and lines[0].lstrip().startswith("|"):
            found += _rows(lines, number, len(found))
        elif facts := _facts(lines, number, len(found)):
            found += facts
        elif lines and any(_STEP.match(line) for line in lines):
            found += _steps(lines, number, len(found))
        else:
            text = " ".join(line.strip().lstrip("#> ").strip() for line in lines)
            found += [Unit(s, s, number, len(found) + i, "sentence") for i, s in enumerate(sentences(text))]
    return found


def _rows(lines: Sequence[str], passage: int, position: int) -> list[Unit]:
    """Table rows as sentences: "E21: The pump draws no water. Fill the tank." """
    body = [line for line in lines[1:] if not re.fullmatch(r"[\s|:-]+", line)]
    found = []
    for offset, line in enumerate(body):
        first, *others = [cell for part in line.strip().strip("|").split("|") if (cell := _plain(part))] or [""]
        if first:
            rest = " ".join(cell if cell.endswith((".", "!", "?")) else f"{cell}." for cell in others)
            text = f"{first}: {rest}" if rest else first
            found.append(Unit(text, line.strip(), passage, position + offset, "row", frozenset(spot(first))))
    return found


def _facts(lines: Sequence[str], passage: int, position: int) -> list[Unit]:
    """A list of facts such as technical data: one unit for each line. Empty unless every line is a fact."""
    plain = [_BULLET.sub("", _plain(line)) for line in lines]
    if len(lines) < _FEWEST_FACTS or not all(_FACT.fullmatch(line) for line in plain):
        return []
    return [Unit(line, lines[at].strip(), passage, position + at, "fact") for at, line in enumerate(plain)]


def _steps(lines: Sequence[str], passage: int, position: int) -> list[Unit]:
    """The list as one unit; text before it in the same block becomes a sentence."""
    first = next(index for index, line in enumerate(lines) if _STEP.match(line))
    intro = " ".join(line.strip() for line in lines[:first])
    found = [Unit(intro, intro, passage, position, "sentence")] if intro else []
    answers = _answers(lines[first:], passage, position + len(found))
    if answers:
        return [*found, *answers]
    steps = "\n".join(_plain(line) for line in lines[first:])
    return [*found, Unit(steps, "\n".join(lines[first:]), passage, position + len(found), "steps")]


def _answers(lines: Sequence[str], passage: int, position: int) -> list[Unit]:
    """A list of questions with their answers: one unit for each answer. Empty unless every item is both."""
    starts = [index for index, line in enumerate(lines) if _STEP.match(line)]
    items = [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]
    found = []
    for number, item in enumerate(items):
        whole = _STEP.sub("", _plain(" ".join(line.strip() for line in item)), count=1)
        question, mark, answer = whole.partition("? ")
        if not mark or not answer.strip():
            return []
        found.append(Unit(answer.strip(), f"{question}? {answer.strip()}", passage, position + number, "answer"))
    return found


def _plain(text: str) -> str:
    """The text without Markdown's marks, links reduced to their words."""
    return re.sub(r"\*\*|__|`", "", _LINK.sub(r"\1", text)).strip()


def _coded_rows(near: Sequence[Unit], codes: Sequence[str], passages: Sequence[Document]) -> list[Unit]:
    """Rows whose first cell is one of the codes: all of the best passage, and one for each further product."""
    rows = [unit for unit in near if unit.kind == "row" and unit.codes & set(codes)]
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
    return same and bool(set(spot(passages[unit.passage].page_content)) & set(codes))


def _scores(
    question: str, codes: set[str], candidates: Sequence[Unit], passages: Sequence[Document], embeddings: Embeddings
) -> np.ndarray:
    """How well each unit answers: similarity to the question, its passage's score, codes shared with the question."""
    # An answer is compared along with the question it belongs to, which says best what it answers.
    compared = [unit.quote if unit.kind == "answer" else unit.text for unit in candidates]
    headings = [passages[unit.passage].metadata.get("heading", "") for unit in candidates]
    texts = [f"{heading}\n{text}" for heading, text in zip(headings, compared, strict=True)]
    vectors = np.asarray(embeddings.embed_documents(texts), dtype=np.float32)
    meaning = vectors @ np.asarray(embeddings.embed_query(question), dtype=np.float32)
    passage = np.array([float(passages[unit.passage].metadata.get("score", 0.0)) for unit in candidates])
    coded = np.array([bool(codes & set(spot(unit.text))) for unit in candidates], dtype=float)
    scores: np.ndarray = meaning + 0.3 * passage + 0.2 * coded
    return scores


def _shares(distinctive: Collection[str], candidates: Sequence[Unit], passages: Sequence[Document]) -> np.ndarray:
    """For each unit, the share of the distinctive stems that it or its heading contains."""
    if not distinctive:
        return np.zeros(len(candidates))
    texts = (f"{passages[unit.passage].metadata.get('heading', '')}\n{unit.quote}" for unit in candidates)
    return np.array([len(set(distinctive).intersection(stems(text))) / len(distinctive) for text in texts])


def _with_neighbours(candidates: Sequence[Unit], best: int, scores: np.ndarray) -> list[Unit]:
    """The best unit with its neighbours in the same passage, as long as they help and the quote stays short.

    Answers and facts stand alone: the next one is about something else."""
    if candidates[best].kind in ("answer", "fact"):
        return [candidates[best]]
    first = last = best
    if candidates[best].kind == "steps" and _adjacent(candidates, best - 1, best):
        first -= 1
    words = sum(map(_words, candidates[first : last + 1]))
    for index in range(best + 1, len(candidates)):
        words += _words(candidates[index])
        if not _leads_on(candidates, index - 1, index, scores, best) or words > _MOST_WORDS:
            break
        last = index
    words = sum(map(_words, candidates[first : last + 1]))
    while first > 0 and _leads_on(candidates, first, first - 1, scores, best):
        words += _words(candidates[first - 1])
        if words > _MOST_WORDS:
            break
        first -= 1
    return list(candidates[first : last + 1])


def _leads_on(candidates: Sequence[Unit], known: int, index: int, scores: np.ndarray, best: int) -> bool:
    """Whether the unit is next to one that is quoted, and helps as well."""
    unit = candidates[index]
    helps = unit.kind == "steps" or scores[index] >= _HELPS * scores[best]
    return _adjacent(candidates, *sorted((known, index))) and helps and unit.kind not in ("answer", "fact")


def _adjacent(candidates: Sequence[Unit], first: int, second: int) -> bool:
    if first < 0:
        return False
    before, after = candidates[first], candidates[second]
    return before.passage == after.passage and after.position - before.position == 1


def _words(unit: Unit) -> int:
    return len(unit.text.split())
