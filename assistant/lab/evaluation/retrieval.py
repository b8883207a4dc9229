"""How well and how fast the right article is found for labelled questions, beside BM25, embeddings and rank fusion.

Ours is the index in the product: the articles are imported into a temporary database, and every question goes through
`Index.search`. The other methods search the passages of the same import. An article scores as its best passage.
Measured for every question:

* Recall@5: the share of its right articles among the first five,
* MRR@10: 1 / rank of the first right one,
* nDCG@10 with gains 0 and 1 (Järvelin & Kekäläinen 2002).

Every mean has a 95 % bootstrap interval over the questions. Times are for one search without the question's embedding,
whose time is reported separately.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from assistant.db import Database, migrate
from assistant.knowledge.embedding import adopt_second
from assistant.knowledge.imports import Importer
from assistant.knowledge.indexing import calibrate, embed_headings, embed_units
from assistant.lab.evaluation.baselines import Corpus
from assistant.lab.evaluation.misspelling import questions as spellings
from assistant.lab.evaluation.retrieval_set import Question, RetrievalSet, naming, read_set
from assistant.lab.statistics import Mean, bootstrap_samples
from assistant.lab.tables import table
from assistant.ports import Capabilities
from assistant.progress import Progress, no_progress
from assistant.retrieval.embedders import Embedders
from assistant.retrieval.index import Index
from assistant.retrieval.loaders import ArticleSource, list_articles

OURS, WORDS, MEANING, RANKS = "ours", "BM25", "embeddings", "RRF"
OTHERS = (WORDS, MEANING, RANKS)
CODES = "codes as people spell and readers misread them"
MEASURES = ("recall_5", "mrr_10", "ndcg_10")
_TITLES = ("Recall@5", "MRR@10", "nDCG@10")
_DEPTH = 10
# Passages requested from the index: enough to contain ten articles.
_PASSAGES = 50


@dataclass(frozen=True)
class Score:
    """``top_1``: the share of questions whose first article is right. Times exclude the question's embedding."""

    method: str
    recall_5: Mean
    mrr_10: Mean
    ndcg_10: Mean
    top_1: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Asked:
    """One file of questions. ``lead``: how much our nDCG@10 exceeds the best other method's, question by question."""

    name: str
    questions: int
    scores: tuple[Score, ...]
    lead: Mean

    @property
    def best_other(self) -> Score:
        return max((score for score in self.scores if score.method != OURS), key=lambda score: score.ndcg_10.value)


@dataclass(frozen=True)
class SetReport:
    """One folder. ``embedding_ms``: median time to embed one question."""

    path: str
    articles: int
    passages: int
    embedding_ms: float
    asked: tuple[Asked, ...]


@dataclass(frozen=True)
class Report:
    seed: int
    sets: tuple[SetReport, ...]

    @property
    def asked(self) -> list[tuple[str, Asked]]:
        """Each file of questions with its name: the set's and, if it has several files, the file's."""
        return [
            (one.path if len(one.asked) == 1 else f"{one.path}: {asked.name}", asked)
            for one in self.sets
            for asked in one.asked
        ]

    def means(self) -> dict[str, dict[str, float]]:
        """For each method, the means of its measures over all files of questions, equally weighted."""
        scores = [{score.method: score for score in asked.scores} for _, asked in self.asked]
        return {
            method: {
                measure: float(np.mean([getattr(one[method], measure).value for one in scores])) for measure in MEASURES
            }
            for method in (OURS, *OTHERS)
        }

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "means": self.means()}

    def render(self) -> str:
        """Text tables."""
        lines: list[str] = []
        for one in self.sets:
            lines.append(f"{one.path}: {one.articles} articles, {one.passages} passages")
            for asked in one.asked:
                lines += [
                    f"{asked.name}, {asked.questions} questions",
                    *table(("", *_TITLES, "first", "p50 ms", "p95 ms"), map(_cells, asked.scores)),
                    f"nDCG@10 of ours minus {asked.best_other.method}'s: {_with_interval(asked.lead, sign='+')}",
                    "",
                ]
        if len(self.asked) > 1:
            lines.append(f"Mean of {len(self.asked)} sets of questions")
            lines += table(("", *_TITLES), ((method, *means.values()) for method, means in self.means().items()))
        embedding = float(np.median([one.embedding_ms for one in self.sets]))
        lines.append(f"[95 % intervals], seed {self.seed}. Add {embedding:.1f} ms to the times for the embedding.")
        return "\n".join(lines)

    def plot(self, path: Path) -> None:
        """Write bars with intervals (PNG): one row for each file of questions, one panel for each measure."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 0.8 + 1.5 * len(self.asked)), layout="constrained")
        axes = figure.subplots(len(self.asked), len(MEASURES), squeeze=False, sharex=True)
        for row, (name, asked) in zip(axes, self.asked, strict=True):
            for panel, measure, title in zip(row, MEASURES, _TITLES, strict=True):
                means = [getattr(score, measure) for score in asked.scores]
                spread = [[m.value - m.low for m in means], [m.high - m.value for m in means]]
                names = [score.method for score in asked.scores]
                colours = ["tab:blue" if method == OURS else "0.7" for method in names]
                panel.barh(names, [m.value for m in means], xerr=spread, color=colours, capsize=2)
                panel.invert_yaxis()
                panel.set(xlim=(0, 1))
                panel.set_title(f"{name}: {title}", fontsize=9)
        figure.savefig(path, format="png", dpi=120)


def evaluate_retrieval(
    paths: Sequence[Path],
    *,
    models: Capabilities,
    product: str | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Report:
    """Measure on retrieval sets with the embeddings of ``models``. ``product``: every article is about it, and every
    question names it. Raises `Invalid` for a folder that is not a set."""
    labelled = [read_set(path) for path in paths]
    return Report(seed, tuple(_set_report(one, models, product, seed=seed, progress=progress) for one in labelled))


def _set_report(
    labelled: RetrievalSet, models: Capabilities, product: str | None, *, seed: int, progress: Progress
) -> SetReport:
    asked = dict(labelled.questions)
    if labelled.codes:
        asked[CODES] = tuple(
            Question(text, labelled.codes[code]) for code, text in spellings(labelled.codes, seed=seed)
        )
    if product is not None:
        asked = {
            name: tuple(replace(one, text=naming(one.text, product, number)) for number, one in enumerate(questions))
            for name, questions in asked.items()
        }
    known = _KnownEmbeddings(models.embeddings)
    known.learn([question.text for questions in asked.values() for question in questions], progress)
    timed = [known]
    if models.second_embedder is not None:
        timed.append(_KnownEmbeddings(models.second_embedder.embeddings))
        models = replace(models, second_embedder=replace(models.second_embedder, embeddings=timed[1]))
    embedding = replace(models, embeddings=known)
    with temporary_index(labelled, embedding, progress, product=product) as (db, index):
        corpus = Corpus.read(db, models.embedding_model)
        methods = _methods(index, corpus, known)
        results = [_measure(name, asked[name], methods, timed, seed=seed, progress=progress) for name in sorted(asked)]
    return SetReport(labelled.name, len(corpus.names), len(corpus.owner), known.median_ms, tuple(results))


@contextmanager
def temporary_index(
    labelled: RetrievalSet,
    models: Capabilities,
    progress: Progress,
    *,
    product: str | None = None,
    units: bool = False,
) -> Iterator[tuple[Database, Index]]:
    """The articles in a temporary database, stored by the product's own import; all about ``product``, if given.
    ``units``: with vectors of their sentences, which quoting needs."""
    with tempfile.TemporaryDirectory(prefix="retrieval-") as folder:
        for file in labelled.articles:
            copy = Path(folder, "articles", file.relative_to(labelled.folder))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        url = f"sqlite:///{folder}/assistant.db"
        migrate(url)
        db = Database(url)
        try:
            embedders = Embedders(models.embedder, second=models.second_embedder)
            adopt_second(db, embedders)
            second = embedders.second_to(models.embedder)
            listing = list_articles(Path(folder, "articles"))
            if product is not None:
                listing.found = [replace(found, read=partial(_about, found.read, product)) for found in listing.found]
            Importer(db, "set", models.embedder, second=second, progress=progress).run(listing)
            for embedder in (models.embedder, second):
                if embedder is not None:
                    embed_headings(db, embedder, progress=progress)
                    calibrate(db, embedder)
                    if units:
                        embed_units(db, embedder, progress=progress)
            yield db, Index(db, embedders, product_names=labelled.product_names)
        finally:
            db.close()


def _about(read: Callable[[], ArticleSource | None], product: str) -> ArticleSource | None:
    article = read()
    return None if article is None else replace(article, product=product)


class _KnownEmbeddings(Embeddings):
    """Embeds each question once, and times that; articles on demand."""

    def __init__(self, inner: Embeddings) -> None:
        self._inner = inner
        self._known: dict[str, list[float]] = {}
        self._seconds: list[float] = []

    def learn(self, texts: Sequence[str], progress: Progress) -> None:
        wanted = list(dict.fromkeys(texts))
        for done, text in enumerate(wanted):
            progress(done, len(wanted), "Embedding questions")
            self.embed_query(text)

    @property
    def seconds(self) -> float:
        """Spent so far on questions."""
        return sum(self._seconds)

    @property
    def median_ms(self) -> float:
        return 1000 * float(np.median(self._seconds))

    def embed_query(self, text: str) -> list[float]:
        if text not in self._known:
            started = perf_counter()
            self._known[text] = self._inner.embed_query(text)
            self._seconds.append(perf_counter() - started)
        return self._known[text]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._inner.embed_documents(texts)


Method = Callable[[str], list[str]]


def _methods(index: Index, corpus: Corpus, known: _KnownEmbeddings) -> Mapping[str, Method]:
    """Each returns article ids for a question, best first."""

    def ours(question: str) -> list[str]:
        hits = index.search(question, limit=_PASSAGES)
        return list(dict.fromkeys(corpus.known_as[hit.document.metadata["article_id"]] for hit in hits))[:_DEPTH]

    def first(scores: np.ndarray) -> list[str]:
        return [corpus.names[place] for place in np.argsort(-scores, kind="stable")[:_DEPTH]]

    return {
        OURS: ours,
        WORDS: lambda question: first(corpus.bm25(question)),
        MEANING: lambda question: first(corpus.meaning(known.embed_query(question))),
        RANKS: lambda question: first(corpus.fused(question, known.embed_query(question))),
    }


def _measure(
    name: str,
    questions: Sequence[Question],
    methods: Mapping[str, Method],
    timed: Sequence[_KnownEmbeddings],
    *,
    seed: int,
    progress: Progress,
) -> Asked:
    """All methods, in turn for every question, so that a busy machine affects them alike."""
    measures = {method: np.zeros((len(questions), 4)) for method in methods}
    seconds = {method: np.zeros(len(questions)) for method in methods}
    for search in methods.values():  # warm up: caches that are built on first use are not part of a search
        search(questions[0].text)
    for row, question in enumerate(questions):
        progress(row, len(questions), f"Searching: {name}")
        for method, search in methods.items():
            embedding = sum(one.seconds for one in timed)
            started = perf_counter()
            found = search(question.text)
            elapsed = perf_counter() - started
            seconds[method][row] = elapsed - (sum(one.seconds for one in timed) - embedding)
            measures[method][row] = judge(found, question.gold)
    samples = bootstrap_samples(len(questions), seed=seed)
    scores = tuple(_score(method, measures[method], seconds[method], samples) for method in methods)
    best = max((score for score in scores if score.method != OURS), key=lambda score: score.ndcg_10.value).method
    return Asked(name, len(questions), scores, Mean.of(measures[OURS][:, 2] - measures[best][:, 2], samples))


def judge(found: Sequence[str], gold: frozenset[str]) -> tuple[float, float, float, float]:
    """(Recall@5, MRR@10, nDCG@10, 1 if the first is right else 0) of distinct articles, best first."""
    right = [article in gold for article in found[:_DEPTH]]
    gain = sum(1 / math.log2(place + 2) for place, hit in enumerate(right) if hit)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(len(gold), _DEPTH)))
    first = next((1 / (place + 1) for place, hit in enumerate(right) if hit), 0.0)
    return sum(right[:5]) / len(gold), first, gain / ideal, float(bool(right) and right[0])


def _score(method: str, measures: np.ndarray, seconds: np.ndarray, samples: np.ndarray) -> Score:
    recall, mrr, ndcg = (Mean.of(measures[:, column], samples) for column in range(3))
    p50, p95 = (1000 * float(at) for at in np.percentile(seconds, (50, 95)))
    return Score(method, recall, mrr, ndcg, float(measures[:, 3].mean()), p50, p95)


def _cells(score: Score) -> tuple[str | float, ...]:
    means = (_with_interval(getattr(score, measure)) for measure in MEASURES)
    return (score.method, *means, score.top_1, f"{score.p50_ms:.1f}", f"{score.p95_ms:.1f}")


def _with_interval(mean: Mean, *, sign: str = "") -> str:
    return f"{mean.value:{sign}.3f} [{mean.low:{sign}.3f}, {mean.high:{sign}.3f}]"
