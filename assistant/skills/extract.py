"""Extractive answers: the sentences, steps and table rows of the passages that answer, quoted as they stand.

Used on every rung of the ladder below a model that may write, and whenever that model is down.
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

# Only these many of the best passages are quoted from.
_FROM_PASSAGES = 8
_MOST_UNITS = 40
_MOST_WORDS = 110
_MOST_ROWS = 3
# A neighbour of the best unit helps that scores so much of it.
_HELPS = 0.72
# What a unit gains that has all that the question is about beyond its passages' common topic. Chosen by the words that
# quotes share with the reference answers of emanual_tv and anthropic_docs: F1 .40 and .37, .38 and .35 without.
_TELLING = 0.2
_STEP = re.compile(r"\s*(?:\d+[.)]|[-*•])\s+")
_BULLET = re.compile(r"\s*[-*•]\s+")
# "Floor area: 80 square feet": a name of few words, and what is to be said of it, short and no sentence.
_FACT = re.compile(r"(?:[^\s:?!.]+ ){0,4}[^\s:?!.]{2,}:\s+\S.{0,100}(?<![.!?])")
_FEWEST_FACTS = 3


@dataclass(frozen=True)
class Unit:
    """What is quoted whole: a sentence, a list of steps, a table row, or the answer to a listed question.

    ``quote`` is the passage's own text: with an answer, its question too.
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
    telling: Collection[str] = (),
) -> list[Unit]:
    """The units that answer, in the order they should be read; empty if there are no passages. ``telling``: stems of
    the question that few of the passages have.

    Rows of tables that carry a code of the question come first; then the stretch around the unit that is nearest in
    meaning to the question: a list brings the sentence that introduces it, a heading sentence its list.
    """
    near = [unit for number, passage in enumerate(passages[:_FROM_PASSAGES]) for unit in units(passage, number)]
    if not near:
        return []
    rows = _coded_rows(near, codes, passages)
    others = [unit for unit in near if unit.kind != "row"][:_MOST_UNITS] or near[:_MOST_UNITS]
    scores = _scores(question, set(codes), others, passages, embeddings) + _TELLING * _told(telling, others, passages)
    if rows:  # the row says what to do; more only from where the code is explained, too
        explained = [
            i for i, unit in enumerate(others) if unit.kind != "row" and _explains(unit, rows, codes, passages)
        ]
        if not explained:
            return rows
        best = max(explained, key=lambda index: scores[index])
        return rows + [unit for unit in _stretch(others, best, scores) if unit not in rows]
    return _stretch(others, int(np.argmax(scores)), scores)


def units(passage: Document, number: int) -> list[Unit]:
    """Cut a passage into what may be quoted, in its order."""
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
    made = []
    for offset, line in enumerate(body):
        cells = [_plain(cell) for cell in line.strip().strip("|").split("|")]
        told = [cell for cell in cells if cell]
        if told:
            rest = " ".join(cell if cell.endswith((".", "!", "?")) else f"{cell}." for cell in told[1:])
            text = f"{told[0]}: {rest}" if rest else told[0]
            made.append(Unit(text, line.strip(), passage, position + offset, "row", frozenset(spot(told[0]))))
    return made


def _facts(lines: Sequence[str], passage: int, position: int) -> list[Unit]:
    """A list of what is what, such as technical data: each line for itself. Empty if not every line says such."""
    plain = [_BULLET.sub("", _plain(line)) for line in lines]
    if len(lines) < _FEWEST_FACTS or not all(_FACT.fullmatch(line) for line in plain):
        return []
    return [Unit(line, lines[at].strip(), passage, position + at, "fact") for at, line in enumerate(plain)]


def _steps(lines: Sequence[str], passage: int, position: int) -> list[Unit]:
    """A list stays whole; text before it in the same block is a sentence of its own."""
    first = next(index for index, line in enumerate(lines) if _STEP.match(line))
    intro = " ".join(line.strip() for line in lines[:first])
    found = [Unit(intro, intro, passage, position, "sentence")] if intro else []
    answers = _answers(lines[first:], passage, position + len(found))
    if answers:
        return [*found, *answers]
    steps = "\n".join(_plain(line) for line in lines[first:])
    return [*found, Unit(steps, "\n".join(lines[first:]), passage, position + len(found), "steps")]


def _answers(lines: Sequence[str], passage: int, position: int) -> list[Unit]:
    """A list of questions, each with its answer, is no list of steps: each answer stands for itself.

    Empty if not every item of the list asks something and answers it.
    """
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
    """Markdown's marks taken out, its links reduced to their words."""
    return re.sub(r"\*\*|__|`", "", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)).strip()


def _coded_rows(near: Sequence[Unit], codes: Sequence[str], passages: Sequence[Document]) -> list[Unit]:
    """Rows whose first cell is one of the codes: the first passage's, or one a product if it is not known which."""
    rows = [unit for unit in near if unit.kind == "row" and unit.codes & set(codes)]
    seen: set[str | None] = set()
    kept = []
    for row in rows:
        product = passages[row.passage].metadata.get("product")
        if row.passage == rows[0].passage or product not in seen:
            kept.append(row)
        seen.add(product)
    return kept[:_MOST_ROWS]


def _explains(unit: Unit, rows: Sequence[Unit], codes: Sequence[str], passages: Sequence[Document]) -> bool:
    """Whether a unit stands in a passage that tells more about a row's code, of the same article."""
    article = passages[rows[0].passage].metadata.get("article_id")
    same = passages[unit.passage].metadata.get("article_id") == article
    return same and bool(set(spot(passages[unit.passage].page_content)) & set(codes))


def _scores(
    question: str, codes: set[str], candidates: Sequence[Unit], passages: Sequence[Document], embeddings: Embeddings
) -> np.ndarray:
    """How well each unit answers: its meaning, its passage's score, and codes it shares with the question."""
    texts = [f"{passages[unit.passage].metadata.get('heading', '')}\n{_compared(unit)}" for unit in candidates]
    vectors = np.asarray(embeddings.embed_documents(texts), dtype=np.float32)
    meaning = vectors @ np.asarray(embeddings.embed_query(question), dtype=np.float32)
    passage = np.array([float(passages[unit.passage].metadata.get("score", 0.0)) for unit in candidates])
    coded = np.array([bool(codes & set(spot(unit.text))) for unit in candidates], dtype=float)
    scores: np.ndarray = meaning + 0.3 * passage + 0.2 * coded
    return scores


def _told(telling: Collection[str], candidates: Sequence[Unit], passages: Sequence[Document]) -> np.ndarray:
    """The share of the telling stems that each unit has, or its heading."""
    if not telling:
        return np.zeros(len(candidates))
    texts = (f"{passages[unit.passage].metadata.get('heading', '')}\n{unit.quote}" for unit in candidates)
    return np.array([len(set(telling).intersection(stems(text))) / len(telling) for text in texts])


def _compared(unit: Unit) -> str:
    """The question that an answer belongs to says best what it answers."""
    return unit.quote if unit.kind == "answer" else unit.text


def _stretch(candidates: Sequence[Unit], best: int, scores: np.ndarray) -> list[Unit]:
    """The best unit with its neighbours in the same passage, as far as they help and the length allows.

    The answer to one question does not lead on to that of the next, nor does one fact."""
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
    """Whether the unit stands beside one that is quoted and helps, too."""
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
