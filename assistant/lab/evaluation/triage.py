"""Accuracy and calibration of the learned triage on labelled tickets, beside common classifiers on the same split.

Splits are stratified by label. A small set is split five ways and every ticket measured once: a fifth of a thousand
tickets is too few for a calibration error. Rows labelled `OUTSIDE` belong to no class: they are never trained on, and
show whether such tickets are detected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assistant.errors import Invalid
from assistant.lab import statistics
from assistant.lab.rows import read_rows
from assistant.lab.tables import table
from assistant.ports import Embedder
from assistant.progress import Progress, no_progress
from assistant.skills.priors import examples, shares_by_similarity
from assistant.skills.scorer import Tickets
from assistant.skills.taxonomy import Label
from assistant.skills.triage_head import fit_head

OUTSIDE = "oos"
FEW = (10, 50, 300)
FOLDS = 5
# From this many tickets on, one fifth is measured; of smaller sets all five.
ONE_FOLD_FROM = 4000
BINS = 15
_EMBED_AT_ONCE = 256


@dataclass(frozen=True)
class Score:
    """One classifier, trained on ``learned_from`` tickets. Without probabilities there is no Brier score or ECE.
    ``error_by_chance``: the ECE on so few tickets if every probability held."""

    method: str
    examples: str  # "10 per label" or "all"
    learned_from: int
    measured_on: int
    accuracy: float
    macro_f1: float
    brier: float | None = None
    calibration_error: float | None = None
    error_by_chance: float | None = None
    outside_auroc: float | None = None


@dataclass(frozen=True)
class Report:
    path: str
    label_field: str
    labels: int
    seed: int
    scores: tuple[Score, ...]
    reliability: tuple[statistics.Bin, ...]  # of the triage trained on all tickets

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """Text tables."""
        header = ("", "trained on", "accuracy", "macro-F1", "Brier", "ECE", "by chance", "outside")
        lines = [f"{self.path}: {self.label_field}, {self.labels} labels, seed {self.seed}"]
        for amount in dict.fromkeys(score.examples for score in self.scores):
            scores = [score for score in self.scores if score.examples == amount]
            lines += ["", f"Trained on {amount}, measured on {scores[0].measured_on}"]
            lines += table(header, [
                (one.method, one.learned_from, one.accuracy, one.macro_f1, one.brier, one.calibration_error,
                 one.error_by_chance, one.outside_auroc)
                for one in scores
            ])  # fmt: skip
        lines.append(
            f"\nECE: expected calibration error, {BINS} bins; by chance: on so few tickets, if every probability held. "
            "outside: AUROC of detecting tickets of no label."
        )
        return "\n".join(lines)

    def plot(self, path: Path) -> None:
        """Write a reliability diagram (PNG): how often the triage is right by the probability it gives."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="calibrated")
        sure, right, tickets = (np.array(column) for column in zip(*self.reliability, strict=True))
        axes.plot(sure, right, marker="o", markersize=3, label="triage")
        axes.bar(sure, tickets / tickets.sum(), width=0.8 / BINS, alpha=0.25, label="share of tickets")
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability", ylabel="share that was right", title=self.path)
        axes.legend(loc="upper left")
        figure.savefig(path, format="png", dpi=150)


@dataclass(frozen=True)
class _Guess:
    """One classifier's output for some tickets: class indices, and what else it provides."""

    labels: np.ndarray
    probabilities: np.ndarray | None = None
    novelty: np.ndarray | None = None
    outside_novelty: np.ndarray | None = None


def evaluate_triage(
    path: Path,
    *,
    embedder: Embedder,
    label_field: str = "label",
    per_class: int = 10,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Report:
    """Measure on a JSONL file or a folder of them, with ``text``, ``label_field`` and optionally ``subject`` or
    ``title``.

    Trains on `FEW` tickets, on ``per_class`` tickets of each label, and on all.
    """
    texts, labels = read_tickets(path, label_field)
    vectors = []
    for start in range(0, len(texts), _EMBED_AT_ONCE):
        some = texts[start : start + _EMBED_AT_ONCE]
        vectors.append(np.asarray(embedder.embeddings.embed_documents(some), dtype=np.float32))
        progress(start + len(some), len(texts), "Embedding")
    tickets = Tickets.of(texts, np.concatenate(vectors), labels)
    return measure(
        tickets,
        path=path.name,
        label_field=label_field,
        per_class=per_class,
        seed=seed,
        embedder=embedder,
        progress=progress,
    )


def read_tickets(path: Path, label_field: str) -> tuple[list[str], list[str]]:
    """(texts, labels). Raises `Invalid` that names the wrong line."""
    texts, labels = [], []
    for row in read_rows(path):
        if "text" not in row.values or label_field not in row.values:
            raise row.error(f"expected text and {label_field}")
        subject = row.values.get("subject") or row.values.get("title") or ""
        texts.append(f"{subject}\n{row.values['text']}".strip())
        labels.append(str(row.values[label_field]))
    if not texts:
        raise Invalid(f"{path} holds no tickets. Expected *.jsonl with text and {label_field} on every line.")
    return texts, labels


def measure(
    tickets: Tickets,
    *,
    path: str,
    label_field: str,
    per_class: int,
    seed: int,
    embedder: Embedder,
    progress: Progress = no_progress,
) -> Report:
    """Like `evaluate_triage`, for tickets that are already embedded."""
    outside = tickets[tickets.labels == OUTSIDE]
    inside = tickets[_frequent(tickets.labels) & (tickets.labels != OUTSIDE)]
    classes = np.unique(inside.labels)
    if len(classes) < 2:
        raise Invalid(f"{path} has too few tickets: at least two labels with {FOLDS} each are needed.")
    folds = list(_folds(inside.labels, seed))
    scores: list[Score] = []
    bins: tuple[statistics.Bin, ...] = ()
    few = [count for count in FEW if count < len(folds[0][0])]
    amounts = [*(f"{count} in all" for count in few), f"{per_class} per label", "all"]
    for number, amount in enumerate(amounts):
        # A sample of few tickets lacks labels, which the usual classifiers cannot do without.
        methods = {"triage": METHODS["triage"]} if number < len(few) else METHODS
        parts: dict[str, list[_Guess]] = {name: [] for name in methods}
        targets, learned_from = [], []
        for at, (learn, held) in enumerate(folds):
            if number < len(few):
                chosen = np.random.default_rng(seed).permutation(learn)[: few[number]]
            else:
                chosen = learn if amount == "all" else _sample(inside.labels, learn, per_class, seed)
            for name, method in methods.items():
                parts[name].append(method(_Task(inside[chosen], inside[held], outside, classes, embedder)))
            targets.append(np.searchsorted(classes, inside.labels[held]))
            learned_from.append(len(chosen))
            progress(number * len(folds) + at + 1, len(amounts) * len(folds), "Training")
        truth = np.concatenate(targets)
        for name, guesses in parts.items():
            scores.append(_score(name, amount, int(np.mean(learned_from)), truth, guesses))
        ours = next(iter(parts.values()))
        bins = tuple(_reliability(np.concatenate([_probabilities(guess) for guess in ours]), truth))
    return Report(path, label_field, len(classes), seed, tuple(scores), bins)


def calibration_error(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Expected calibration error of ``probabilities`` (n, classes) for ``targets`` (n,), over `BINS` bins."""
    return statistics.calibration_error(_reliability(probabilities, targets))


def _reliability(probabilities: np.ndarray, targets: np.ndarray) -> Iterator[statistics.Bin]:
    return statistics.reliability(probabilities.max(axis=1), probabilities.argmax(axis=1) == targets, bins=BINS)


def _score(method: str, examples: str, learned_from: int, truth: np.ndarray, guesses: Sequence[_Guess]) -> Score:
    from sklearn.metrics import f1_score, roc_auc_score

    said = np.concatenate([guess.labels for guess in guesses])
    score: dict[str, Any] = {}
    if guesses[0].probabilities is not None:
        probabilities = np.concatenate([_probabilities(guess) for guess in guesses])
        wanted = np.eye(probabilities.shape[1])[truth]
        score["brier"] = float(((probabilities - wanted) ** 2).sum(axis=1).mean())
        score["calibration_error"] = calibration_error(probabilities, truth)
        score["error_by_chance"] = statistics.error_by_chance(probabilities.max(axis=1), bins=BINS)
    pairs = [(g.novelty, g.outside_novelty) for g in guesses if g.novelty is not None and g.outside_novelty is not None]
    if pairs and len(pairs[0][1]):
        novel = np.concatenate([np.concatenate(pair) for pair in pairs])
        foreign = np.concatenate([np.repeat([0, 1], [len(own), len(other)]) for own, other in pairs])
        score["outside_auroc"] = float(roc_auc_score(foreign, novel))
    return Score(
        method,
        examples,
        learned_from,
        len(truth),
        float((said == truth).mean()),
        float(f1_score(truth, said, average="macro")),
        **score,
    )


def _probabilities(guess: _Guess) -> np.ndarray:
    assert guess.probabilities is not None  # noqa: S101 - only called for classifiers that have them
    return guess.probabilities


@dataclass(frozen=True)
class _Task:
    learn: Tickets
    held: Tickets
    outside: Tickets
    classes: np.ndarray
    embedder: Embedder


def _triage_head(task: _Task) -> _Guess:
    """Each label is an option that is described by its name, as the least that an operator has to write."""
    options = [Label(key, key.replace("_", " ")) for key in map(str, task.classes)]
    priors = [
        shares_by_similarity(part.vectors, options, task.embedder) for part in (task.learn, task.held, task.outside)
    ]
    head = fit_head(task.learn, priors=priors[0], examples=examples(options, task.embedder)).head
    probabilities = head.predict(task.held.texts, task.held.vectors, priors[1])
    outside_novelty = np.zeros(0)
    if len(task.outside):
        outside = head.predict(task.outside.texts, task.outside.vectors, priors[2])
        outside_novelty = head.novelty(outside, task.outside.vectors)
    novelty = head.novelty(probabilities, task.held.vectors)
    return _Guess(probabilities.argmax(axis=1), probabilities, novelty, outside_novelty)


def _words_alone(task: _Task) -> _Guess:
    features = _words(task.learn)
    return _linear_svm(features.transform(task.learn.texts), features.transform(task.held.texts), task)


def _words_and_meaning(task: _Task) -> _Guess:
    from scipy import sparse

    features = _words(task.learn)
    known, asked = (sparse.hstack([features.transform(p.texts), p.vectors]).tocsr() for p in (task.learn, task.held))
    return _linear_svm(known, asked, task)


def _meaning_alone(task: _Task) -> _Guess:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10.0, max_iter=1000).fit(task.learn.vectors, task.learn.labels.astype(str))
    probabilities = model.predict_proba(task.held.vectors)
    return _Guess(probabilities.argmax(axis=1), probabilities)


def _words(learn: Tickets) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    parts = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    return make_union(words, parts).fit(learn.texts)


def _linear_svm(learn: Any, held: Any, task: _Task) -> _Guess:
    from sklearn.svm import LinearSVC

    said = LinearSVC(C=1.0, random_state=0).fit(learn, task.learn.labels.astype(str)).predict(held)
    return _Guess(np.searchsorted(task.classes.astype(str), said))


METHODS: dict[str, Callable[[_Task], _Guess]] = {
    "triage": _triage_head,
    "TF-IDF + SVM": _words_alone,
    "embedding + logistic": _meaning_alone,
    "TF-IDF, embedding + SVM": _words_and_meaning,
}


def _frequent(labels: np.ndarray) -> np.ndarray:
    """(n,) bool: tickets of labels with enough tickets for every fold."""
    names, counts = np.unique(labels.astype(str), return_counts=True)
    frequent: np.ndarray = np.isin(labels.astype(str), names[counts >= FOLDS])
    return frequent


def _folds(labels: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    from sklearn.model_selection import StratifiedKFold

    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(labels, labels.astype(str))
    for number, fold in enumerate(folds):
        if number == 0 or len(labels) < ONE_FOLD_FROM:
            yield fold


def _sample(labels: np.ndarray, rows: np.ndarray, per_class: int, seed: int) -> np.ndarray:
    """At most ``per_class`` of the rows of each label."""
    random = np.random.default_rng(seed)
    shuffled = random.permutation(rows)
    return np.concatenate([shuffled[labels[shuffled] == label][:per_class] for label in np.unique(labels[rows])])
