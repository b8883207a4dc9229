"""How well and how fast the right article is found on labelled questions, beside BM25, embeddings and rank fusion.

Ours is the index that ships: the articles are imported into a database of their own, and every question goes through
`Index.search`. The other three search the very passages that this import made. An article is as good as its best
passage. A question counts by

* Recall@5: the share of its right articles among the first five,
* MRR@10: 1 / place of the first right one,
* nDCG@10 with gains 0 and 1 (Järvelin & Kekäläinen 2002),

and every mean carries a 95 % interval from a percentile bootstrap over the questions (Efron 1979). Times are for one
search with the question's embedding known; the embedding's own time is said apart.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from sqlalchemy import select

from assistant.db import Database, migrate
from assistant.knowledge.articles import import_folder
from assistant.knowledge.indexing import embed_headings
from assistant.lab.evaluation.misspelling import questions as spellings
from assistant.lab.evaluation.retrieval_set import Question, RetrievalSet, read_set
from assistant.models import Article, Passage, Vector
from assistant.ports import Capabilities
from assistant.progress import Progress, no_progress
from assistant.retrieval.embedders import Embedders
from assistant.retrieval.index import Index
from assistant.text.words import query_words, stem, stems

OURS, WORDS, MEANING, RANKS = "ours", "BM25", "embeddings", "RRF"
OTHERS = (WORDS, MEANING, RANKS)
CODES = "codes as people spell and readers misread them"
MEASURES = ("recall_5", "mrr_10", "ndcg_10")
_DEPTH = 10
# Passages asked of the index: so many that ten articles are among them.
_PASSAGES = 50
# Rank fusion's usual constant (Cormack et al. 2009), and Okapi BM25's.
_RRF, _K1, _B = 60, 1.2, 0.75
_RESAMPLED = 1000


@dataclass(frozen=True)
class Mean:
    """A mean over questions with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Score:
    """``top_1``: the share of questions whose first article is right. Milliseconds without the embedding."""

    method: str
    recall_5: Mean
    mrr_10: Mean
    ndcg_10: Mean
    top_1: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True)
class Asked:
    """One file of questions. ``lead``: nDCG@10 of ours over the best other method, question by question."""

    name: str
    questions: int
    scores: tuple[Score, ...]
    lead: Mean

    @property
    def best_other(self) -> Score:
        return max((score for score in self.scores if score.method != OURS), key=lambda score: score.ndcg_10.value)


@dataclass(frozen=True)
class SetReport:
    """One folder. ``embedding_ms``: the median time that one question's embedding took."""

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
        """Each file of questions with its name: the set's, and the file's if the set has several."""
        return [
            (one.path if len(one.asked) == 1 else f"{one.path}: {asked.name}", asked)
            for one in self.sets
            for asked in one.asked
        ]

    def means(self) -> dict[str, dict[str, float]]:
        """Method to its measures' means over all files of questions, each file counted alike."""
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
        """Tables for people."""
        lines: list[str] = []
        for one in self.sets:
            lines.append(f"{one.path}: {one.articles} articles, {one.passages} passages")
            for asked in one.asked:
                lines += [
                    f"{asked.name}, {asked.questions} questions",
                    f"{'':12}{'Recall@5':>22}{'MRR@10':>22}{'nDCG@10':>22}{'first':>8}{'p50 ms':>9}{'p95 ms':>9}",
                    *map(_line, asked.scores),
                    f"nDCG@10 of ours over {asked.best_other.method}: {_shown(asked.lead, sign='+')}",
                    "",
                ]
        if len(self.asked) > 1:
            lines += [
                f"Mean of {len(self.asked)} sets of questions",
                f"{'':12}{'Recall@5':>10}{'MRR@10':>10}{'nDCG@10':>10}",
            ]
            lines += [
                f"{method:12}" + "".join(f"{means[measure]:>10.3f}" for measure in MEASURES)
                for method, means in self.means().items()
            ]
        embedding = float(np.median([one.embedding_ms for one in self.sets]))
        lines.append(
            f"[95 % intervals], seed {self.seed}. Times without the question's embedding: {embedding:.1f} ms more."
        )
        return "\n".join(lines)

    def plot(self, path: Path) -> None:
        """Write bars with intervals (PNG): one row a file of questions, one panel a measure."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 0.8 + 1.5 * len(self.asked)), layout="constrained")
        axes = figure.subplots(len(self.asked), len(MEASURES), squeeze=False, sharex=True)
        for row, (name, asked) in zip(axes, self.asked, strict=True):
            for panel, measure, title in zip(row, MEASURES, ("Recall@5", "MRR@10", "nDCG@10"), strict=True):
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
    seed: int = 0,
    progress: Progress | None = None,
) -> Report:
    """Measure on folders as `retrieval_set` reads them. Raises `Invalid` if one of them is none.

    ``models``: whose embeddings are used."""
    tell = progress or no_progress
    labelled = [read_set(path) for path in paths]
    return Report(seed, tuple(_set_report(one, models, seed=seed, tell=tell) for one in labelled))


def _set_report(labelled: RetrievalSet, models: Capabilities, *, seed: int, tell: Progress) -> SetReport:
    asked = dict(labelled.questions)
    if labelled.codes:
        asked[CODES] = tuple(
            Question(text, labelled.codes[code]) for code, text in spellings(labelled.codes, seed=seed)
        )
    known = _KnownEmbeddings(models.embeddings)
    known.learn([question.text for questions in asked.values() for question in questions], tell)
    with _imported(labelled, replace(models, embeddings=known), tell) as (db, index):
        corpus = _Corpus.read(db, models.embedding_model)
        methods = _methods(index, corpus, known)
        measured = [_measured(name, asked[name], methods, seed=seed, tell=tell) for name in sorted(asked)]
    return SetReport(labelled.folder.name, len(corpus.names), len(corpus.owner), known.median_ms, tuple(measured))


@contextmanager
def _imported(labelled: RetrievalSet, models: Capabilities, tell: Progress) -> Iterator[tuple[Database, Index]]:
    """The articles in a database of their own, through the import that everybody uses."""
    with tempfile.TemporaryDirectory(prefix="retrieval-") as folder:
        for file in labelled.articles:
            copy = Path(folder, "articles", file.relative_to(labelled.folder))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        url = f"sqlite:///{folder}/assistant.db"
        migrate(url)
        db = Database(url)
        try:
            import_folder(
                db,
                path=Path(folder, "articles"),
                source="set",
                embedder=models.embedder,
                progress=tell,
            )
            index = Index(db, Embedders(models.embedder))
            embed_headings(db, models.embedder, progress=tell)
            yield db, index
        finally:
            db.close()


class _KnownEmbeddings(Embeddings):
    """Embeds questions once, beforehand, and times it; articles as they come."""

    def __init__(self, inner: Embeddings) -> None:
        self._inner = inner
        self._known: dict[str, list[float]] = {}
        self._seconds: list[float] = []

    def learn(self, texts: Sequence[str], tell: Progress) -> None:
        wanted = list(dict.fromkeys(texts))
        for done, text in enumerate(wanted):
            tell(done, len(wanted), "Embedding questions")
            started = perf_counter()
            self._known[text] = self._inner.embed_query(text)
            self._seconds.append(perf_counter() - started)

    @property
    def median_ms(self) -> float:
        return 1000 * float(np.median(self._seconds))

    def embed_query(self, text: str) -> list[float]:
        return self._known[text] if text in self._known else self._inner.embed_query(text)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._inner.embed_documents(texts)


@dataclass(frozen=True)
class _Corpus:
    """What the usual methods search: passages as stems with vectors. ``owner`` (n,): places in ``names``, the articles'
    ids in the set; ``known_as``: those by the ids that the index knows them by."""

    names: tuple[str, ...]
    known_as: Mapping[str, str]
    owner: np.ndarray
    words: tuple[Counter[str], ...]
    vectors: np.ndarray

    @classmethod
    def read(cls, db: Database, model: str) -> _Corpus:
        with db.read() as session:
            query = select(Article.source_key, Passage.heading, Passage.text, Vector.embedding).join(Passage.article)
            query = query.join(Vector, Vector.content_hash == Passage.content_hash)
            rows = session.execute(query.where(Vector.embedding_model == model).order_by(Passage.id)).all()
            known_as = {
                public_id: _name(key)
                for public_id, key in session.execute(select(Article.public_id, Article.source_key))
            }
        names = tuple(dict.fromkeys(_name(key) for key, *_ in rows))
        places = {name: place for place, name in enumerate(names)}
        return cls(
            names,
            known_as,
            np.array([places[_name(key)] for key, *_ in rows]),
            tuple(Counter(stems(f"{heading}\n{text}")) for _, heading, text, _ in rows),
            np.array([np.frombuffer(blob, dtype="<f4") for *_, blob in rows]),
        )

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.array([sum(words.values()) for words in self.words], dtype=np.float64)

    @cached_property
    def rarity(self) -> dict[str, float]:
        having = Counter(word for words in self.words for word in words)
        return {word: math.log(1 + (len(self.words) - n + 0.5) / (n + 0.5)) for word, n in having.items()}

    @cached_property
    def postings(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Word to the passages that have it, and how often."""
        found: dict[str, list[tuple[int, int]]] = {}
        for row, words in enumerate(self.words):
            for word, times in words.items():
                found.setdefault(word, []).append((row, times))
        return {
            word: (np.array([r for r, _ in pairs]), np.array([t for _, t in pairs])) for word, pairs in found.items()
        }

    def bm25(self, question: str) -> np.ndarray:
        """(articles,) Okapi BM25 of each article's best passage, over stems without stop words."""
        scores = np.zeros(len(self.words))
        length = _K1 * (1 - _B + _B * self.lengths / self.lengths.mean())
        for word in {stem(word) for word in query_words(question)} & self.postings.keys():
            rows, times = self.postings[word]
            scores[rows] += self.rarity[word] * times * (_K1 + 1) / (times + length[rows])
        return self.best(scores)

    def meaning(self, vector: Sequence[float]) -> np.ndarray:
        """(articles,) the cosine of each article's best passage."""
        return self.best(self.vectors @ np.asarray(vector, dtype=np.float32))

    def best(self, scores: np.ndarray) -> np.ndarray:
        best = np.full(len(self.names), -np.inf)
        np.maximum.at(best, self.owner, scores)
        return best


def _name(key: str) -> str:
    """An article's id in its set. Rows of JSON lines are numbered by the import where an id stands twice."""
    if "#" in key:
        return key.split("#", 1)[1].split("~", 1)[0]
    return Path(key).with_suffix("").as_posix()


Method = Callable[[str], list[str]]


def _methods(index: Index, corpus: _Corpus, known: _KnownEmbeddings) -> Mapping[str, Method]:
    """Each gives article ids for a question, best first."""

    def ours(question: str) -> list[str]:
        hits = index.search(question, limit=_PASSAGES)
        return list(dict.fromkeys(corpus.known_as[hit.document.metadata["article_id"]] for hit in hits))[:_DEPTH]

    def first(scores: np.ndarray) -> list[str]:
        return [corpus.names[place] for place in np.argsort(-scores, kind="stable")[:_DEPTH]]

    def fused(question: str) -> list[str]:
        both = (corpus.bm25(question), corpus.meaning(known.embed_query(question)))
        return first(sum((1 / (_RRF + 1 + np.argsort(np.argsort(-one, kind="stable")))) for one in both))  # type: ignore[arg-type]

    return {
        OURS: ours,
        WORDS: lambda question: first(corpus.bm25(question)),
        MEANING: lambda question: first(corpus.meaning(known.embed_query(question))),
        RANKS: fused,
    }


def _measured(
    name: str, questions: Sequence[Question], methods: Mapping[str, Method], *, seed: int, tell: Progress
) -> Asked:
    """All methods on the same questions, in turn, so that a busy moment hits them alike."""
    measured = {method: np.zeros((len(questions), 4)) for method in methods}
    seconds = {method: np.zeros(len(questions)) for method in methods}
    for search in methods.values():  # what is made on first use is not part of a search
        search(questions[0].text)
    for row, question in enumerate(questions):
        tell(row, len(questions), f"Searching: {name}")
        for method, search in methods.items():
            started = perf_counter()
            found = search(question.text)
            seconds[method][row] = perf_counter() - started
            measured[method][row] = judge(found, question.gold)
    draws = np.random.default_rng(seed).integers(len(questions), size=(_RESAMPLED, len(questions)))
    scores = tuple(_score(method, measured[method], seconds[method], draws) for method in methods)
    best = max((score for score in scores if score.method != OURS), key=lambda score: score.ndcg_10.value).method
    return Asked(name, len(questions), scores, _mean(measured[OURS][:, 2] - measured[best][:, 2], draws))


def judge(found: Sequence[str], gold: frozenset[str]) -> tuple[float, float, float, float]:
    """(Recall@5, MRR@10, nDCG@10, whether the first is right) of articles in order, each once."""
    right = [article in gold for article in found[:_DEPTH]]
    gain = sum(1 / math.log2(place + 2) for place, hit in enumerate(right) if hit)
    ideal = sum(1 / math.log2(place + 2) for place in range(min(len(gold), _DEPTH)))
    first = next((1 / (place + 1) for place, hit in enumerate(right) if hit), 0.0)
    return sum(right[:5]) / len(gold), first, gain / ideal, float(bool(right) and right[0])


def _score(method: str, measured: np.ndarray, seconds: np.ndarray, draws: np.ndarray) -> Score:
    recall, mrr, ndcg = (_mean(measured[:, column], draws) for column in range(3))
    p50, p95 = (1000 * float(at) for at in np.percentile(seconds, (50, 95)))
    return Score(method, recall, mrr, ndcg, float(measured[:, 3].mean()), p50, p95)


def _mean(values: np.ndarray, draws: np.ndarray) -> Mean:
    low, high = np.percentile(values[draws].mean(axis=1), (2.5, 97.5))
    return Mean(float(values.mean()), float(low), float(high))


def _line(score: Score) -> str:
    means = "".join(f"{_shown(getattr(score, measure)):>22}" for measure in MEASURES)
    return f"{score.method:12}{means}{score.top_1:>8.3f}{score.p50_ms:>9.1f}{score.p95_ms:>9.1f}"


def _shown(mean: Mean, *, sign: str = "") -> str:
    return f"{mean.value:{sign}.3f} [{mean.low:{sign}.3f}, {mean.high:{sign}.3f}]"
