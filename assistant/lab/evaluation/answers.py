"""Whether the assistant answers what it can, and is silent where it cannot.

The articles of a retrieval set are imported as in the product, and every question is asked three ways: as it is, with
its right articles hidden (nothing may be said), and of another set's articles (another domain). An answer counts as
right if it cites a right article and shares enough words with the reference answer, or cites another article and shares
most of them; without a reference, the article decides. That judges in rough: read some with ``--show``.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from sqlalchemy import update

from assistant.db import Database
from assistant.desk.reports import Verdict
from assistant.lab.evaluation.baselines import Corpus
from assistant.lab.evaluation.retrieval import temporary_index
from assistant.lab.evaluation.retrieval_set import Question, RetrievalSet, read_set, sample_set
from assistant.lab.statistics import calibration_error, reliability
from assistant.lab.tables import Cell, table
from assistant.models import Article, Visibility
from assistant.ports import Capabilities
from assistant.progress import Progress, no_progress
from assistant.retrieval.index import Filters
from assistant.skills.answer import Answer, AnswerSkill
from assistant.skills.answer_request import AnswerRequest
from assistant.skills.answerability import Signals
from assistant.text.words import query_words, stem

PRESENT, HIDDEN, FOREIGN = "article present", "article left out", "of another domain"
BINS = 10
_PASSAGES = 8
# The share of words that answer and reference must have in common, of those of the shorter one: with a right article
# cited, and with another one, which may say the same.
_SHARED, _SAME = 0.4, 0.7


@dataclass(frozen=True)
class Asked:
    """One question and what was said. ``confidence``: also of what stayed unsaid. ``cpu``: seconds, with search and
    the question's embedding. ``signals``: what the confidence is made from, if it was asked for."""

    way: str
    question: str
    answer: str
    cited: tuple[str, ...]
    confidence: float
    right: bool
    cpu: float
    signals: Signals | None = None


@dataclass(frozen=True)
class Score:
    """``accepted``: of what was answered, the share that is right."""

    way: str
    questions: int
    answered: float
    accepted: float | None


@dataclass(frozen=True)
class SetReport:
    name: str
    threshold: float
    asked: tuple[Asked, ...]

    def score(self, way: str) -> Score:
        asked = [one for one in self.asked if one.way == way]
        said = [one for one in asked if one.confidence >= self.threshold and one.answer]
        accepted = sum(one.right for one in said) / len(said) if said else None
        return Score(way, len(asked), len(said) / max(1, len(asked)), accepted)

    @property
    def ways(self) -> list[str]:
        return list(dict.fromkeys(one.way for one in self.asked))


@dataclass(frozen=True)
class Report:
    seed: int
    sets: tuple[SetReport, ...]

    @property
    def bands(self) -> list[tuple[float, float, int]]:
        """(mean confidence, share that was right, answers) by tenths of the confidence, whether said or not."""
        asked = [one for report in self.sets for one in report.asked]
        sure = np.array([one.confidence for one in asked])
        return list(reliability(sure, np.array([one.right for one in asked], dtype=float), bins=BINS))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """Text tables."""
        lines = []
        for one in self.sets:
            cpu = 1000 * float(np.median([asked.cpu for asked in one.asked]))
            lines.append(
                f"{one.name}: answers from a confidence of {one.threshold:.2f}; {cpu:.0f} ms of CPU a question"
            )
            scores = map(one.score, one.ways)
            rows = ((score.way, score.questions, score.answered, score.accepted) for score in scores)
            lines += [*table(("", "questions", "answered", "of those right"), rows), ""]
        lines += table(("confidence", "right", "answers"), ((f"{sure:.2f}", right, n) for sure, right, n in self.bands))
        lines.append(
            f"ECE {calibration_error(self.bands):.3f}, {BINS} bands of all answers, said or not; seed {self.seed}"
        )
        return "\n".join(lines)

    def examples(self, number: int) -> str:
        """The first questions of each set and way, with what was said or would have been."""
        lines = []
        for report in self.sets:
            for way in report.ways:
                for one in [asked for asked in report.asked if asked.way == way][:number]:
                    said = "said" if one.confidence >= report.threshold else "not said"
                    judged = "right" if one.right else "wrong"
                    lines += [
                        f"[{report.name}, {way}] {one.question}",
                        f"  {said} at {one.confidence:.2f}, {judged}: {one.answer or '(nothing)'}",
                        f"  from: {', '.join(one.cited) or '-'}",
                    ]
        return "\n".join(lines)


def evaluate_answers(
    paths: Sequence[Path],
    *,
    models: Capabilities,
    threshold: float,
    count: int,
    seed: int = 0,
    with_sample: bool = False,
    with_signals: bool = False,
    progress: Progress = no_progress,
) -> Report:
    """Ask up to ``count`` questions of each set each way. ``with_sample``: those of the sample company, too. Raises
    `Invalid` for a folder that is no retrieval set."""
    labelled = [*map(read_set, paths), *([sample_set()] if with_sample else [])]
    chosen = [_sample(one, count, seed) for one in labelled]
    reports = []
    for number, one in enumerate(labelled):
        others = [question for place, asked in enumerate(chosen) if place != number for question in asked]
        foreign = random.Random(seed).sample(others, min(count, len(others)))
        with temporary_index(one, models, progress, units=True) as (db, index):
            retriever = index.retriever(Filters(visibilities=(Visibility.PUBLIC,)), limit=_PASSAGES)
            skill = AnswerSkill(models, retriever, threshold=0.0)
            known_as = Corpus.read(db, models.embedding_model).known_as
            ask = partial(_ask, skill, known_as, with_signals=with_signals)
            asked = list(_ask_all(db, ask, known_as, chosen[number], foreign, progress))
        reports.append(SetReport(one.name, threshold, tuple(asked)))
    return Report(seed, tuple(reports))


def render_verdicts(verdicts: Sequence[Verdict]) -> str:
    """A table: for each tenth of the confidence, how many answers were accepted and what became of them."""
    if not verdicts:
        return "No answer with a confidence has been sent, edited, discarded or rated yet."
    sure = np.array([verdict.confidence for verdict in verdicts])
    bands = list(reliability(sure, np.array([verdict.accepted for verdict in verdicts], dtype=float), bins=BINS))
    outcomes = sorted({verdict.outcome for verdict in verdicts})
    places = np.minimum((sure * BINS).astype(int), BINS - 1)
    counts = [
        Counter(verdict.outcome for verdict, place in zip(verdicts, places, strict=True) if place == one)
        for one in np.unique(places)
    ]
    rows: list[list[Cell]] = [
        [f"{mean:.2f}", accepted, number, *(count[outcome] for outcome in outcomes)]
        for (mean, accepted, number), count in zip(bands, counts, strict=True)
    ]
    lines = table(("confidence", "accepted", "answers", *outcomes), rows)
    return "\n".join([*lines, f"ECE {calibration_error(bands):.3f}, {BINS} bands, {len(verdicts)} answers"])


def _sample(labelled: RetrievalSet, count: int, seed: int) -> list[Question]:
    questions = [question for _, asked in sorted(labelled.questions.items()) for question in asked]
    return random.Random(seed).sample(questions, min(count, len(questions)))


def _ask_all(
    db: Database,
    ask: Callable[[Question, str], Asked],
    known_as: Mapping[str, str],
    questions: Sequence[Question],
    foreign: Sequence[Question],
    progress: Progress,
) -> Iterator[Asked]:
    for done, question in enumerate(questions):
        progress(done, len(questions) + len(foreign), "Asking")
        yield ask(question, PRESENT)
        right = [public_id for public_id, name in known_as.items() if name in question.gold]
        _set_visibility(db, right, Visibility.INTERNAL)
        yield ask(question, HIDDEN)
        _set_visibility(db, right, Visibility.PUBLIC)
    for done, question in enumerate(foreign, start=len(questions)):
        progress(done, len(questions) + len(foreign), "Asking")
        yield ask(question, FOREIGN)


def _set_visibility(db: Database, articles: Collection[str], visibility: Visibility) -> None:
    with db.begin() as session:
        session.execute(update(Article).where(Article.public_id.in_(articles)).values(visibility=visibility))


def _ask(skill: AnswerSkill, known_as: Mapping[str, str], question: Question, way: str, *, with_signals: bool) -> Asked:
    request = AnswerRequest(text=question.text)
    started = process_time()
    answer = skill.invoke(request)
    cpu = process_time() - started
    cited = {known_as[citation.article_id] for said in answer.sentences for citation in said.citations}
    right = way != FOREIGN and _agrees(answer, question.answer, sourced=not cited.isdisjoint(question.gold))
    signals = skill.signals(request) if with_signals and answer.sentences else None
    return Asked(way, question.text, answer.text, tuple(sorted(cited)), answer.confidence, right, cpu, signals)


def _agrees(answer: Answer, reference: str, *, sourced: bool) -> bool:
    """Whether answer and reference share enough words; without a reference, whether a right article is cited."""
    if not reference or not answer.text:
        return sourced
    expected, said = ({stem(word) for word in query_words(text)} for text in (reference, answer.text))
    return len(expected & said) >= (_SHARED if sourced else _SAME) * min(len(expected), len(said))
