"""The learned head: a linear classifier over a ticket's words and sentence embedding, with calibrated probabilities.

Three one-vs-rest linear models see the ticket differently: words alone (TF-IDF of words and character n-grams), meaning
alone (the sentence embedding), and both. Their standardised scores are summed with weights chosen on held-out tickets
and divided by a temperature fitted on the same tickets (Guo et al. 2017, "On Calibration of Modern Neural Networks").
One recipe serves every field and every installation.

`novelty` detects tickets that belong to none of the classes: those unlike any training ticket, or those the classifier
is unsure about.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings

from assistant.errors import Invalid

# Weights of (words, meaning, both): the default first, then the alternatives that held-out tickets may favour.
_BLENDS = ((1.0, 0.5, 2.0), (0.5, 1.0, 2.0), (0.5, 2.0, 2.0), (0.0, 1.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 1.0))
_MEANING_SCALE = 1.0  # of the embedding relative to unit-length word features, where both are used
_FOLDS = 4
# From this many tickets on, one held-out quarter is enough to choose weights and temperature.
_ONE_FOLD_FROM = 3000
_NEIGHBOURS = 5
_NOVELTY_QUANTILE = 0.98
_MOST_WORDS, _MOST_PARTS = 60_000, 90_000


@dataclass(frozen=True)
class Linear:
    """One-vs-rest scores ``x @ weights + bias``. weights (features, classes), bias (classes,)."""

    weights: np.ndarray
    bias: np.ndarray
    scale: float  # standard deviation of the raw scores on the training tickets


@dataclass(frozen=True)
class Head:
    """Fitted on labelled tickets; immutable and thread-safe."""

    classes: tuple[str, ...]
    words: Linear
    meaning: Linear
    both: Linear
    blend: tuple[float, float, float]
    temperature: float
    vectorizers: tuple[Any, Any]
    neighbours: np.ndarray  # (n, d) float16, unit length: the training tickets
    typical_novelty: float  # exceeded by only 2 % of tickets that belong to the classes

    def predict(self, texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:
        """Probabilities (n, classes) for texts and their unit-length embeddings (n, d); rows sum to 1."""
        parts = _Features(_word_features(self.vectorizers, texts), np.asarray(vectors, dtype=np.float32))
        linears = (self.words, self.meaning, self.both)
        scores = [_score(linear, features) for linear, features in zip(linears, parts.views(), strict=True)]
        return _probabilities(scores, self.blend, self.temperature)

    def novelty(self, probabilities: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """(n,): higher for tickets that are unlike those of the classes."""
        return _novelty(probabilities, _nearness(vectors, self.neighbours, skip_self=False))

    def is_foreign(self, probabilities: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """(n,) bool: more novel than 98 % of the tickets that belong to the classes."""
        foreign: np.ndarray = self.novelty(probabilities, vectors) > self.typical_novelty
        return foreign

    def distribution(self, text: str, vector: Sequence[float]) -> tuple[Mapping[str, float], bool]:
        """For one ticket: (probability of every class, whether it is foreign to all of them)."""
        row = np.asarray([vector], dtype=np.float32)
        probabilities = self.predict([text], row)
        foreign = bool(self.is_foreign(probabilities, row)[0])
        return dict(zip(self.classes, map(float, probabilities[0]), strict=True)), foreign

    def to_bytes(self) -> bytes:
        """A NumPy archive without pickles."""
        arrays: dict[str, np.ndarray] = {"neighbours": self.neighbours}
        for name in ("words", "meaning", "both"):
            linear: Linear = getattr(self, name)
            arrays |= {f"{name}_weights": linear.weights.astype(np.float16), f"{name}_bias": linear.bias}
        for name, vectorizer in zip(("word", "part"), self.vectorizers, strict=True):
            arrays[f"{name}_idf"] = vectorizer.idf_
            arrays[f"{name}_terms"] = np.frombuffer("\n".join(vectorizer.get_feature_names_out()).encode(), np.uint8)
        meta = {
            "classes": self.classes,
            "blend": self.blend,
            "temperature": self.temperature,
            "typical_novelty": self.typical_novelty,
            "scales": [self.words.scale, self.meaning.scale, self.both.scale],
        }
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Head:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            meta = json.loads(arrays["meta"].tobytes())
            linears = {
                name: Linear(arrays[f"{name}_weights"].astype(np.float32), arrays[f"{name}_bias"], scale)
                for name, scale in zip(("words", "meaning", "both"), meta["scales"], strict=True)
            }
            vectorizers = tuple(
                _load_terms(new(), arrays[f"{name}_terms"].tobytes().decode().split("\n"), arrays[f"{name}_idf"])
                for name, new in (("word", _word_vectorizer), ("part", _part_vectorizer))
            )
            return cls(
                classes=tuple(meta["classes"]),
                blend=tuple(meta["blend"]),
                temperature=meta["temperature"],
                vectorizers=(vectorizers[0], vectorizers[1]),
                neighbours=arrays["neighbours"],
                typical_novelty=meta["typical_novelty"],
                **linears,
            )


def fit_head(
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    embeddings: Embeddings | None = None,
    vectors: np.ndarray | None = None,
) -> Head:
    """Fit a head on labelled tickets: at least two classes with at least two tickets each, else `Invalid`.

    ``vectors`` (n, d), of unit length, may be given instead of ``embeddings``.
    """
    counts = Counter(labels)
    if len(counts) < 2 or min(counts.values()) < 2:
        raise Invalid("Learning needs at least two labels with two tickets each.")
    if vectors is None:
        if embeddings is None:
            raise Invalid("Learning needs embeddings.")
        vectors = np.asarray(embeddings.embed_documents(list(texts)), dtype=np.float32)
    rows, classes = np.asarray(texts, dtype=object), np.asarray(labels, dtype=object)
    return _fit(_Tickets(rows, np.asarray(vectors, dtype=np.float32), classes))


@dataclass(frozen=True)
class _Tickets:
    texts: np.ndarray  # (n,)
    vectors: np.ndarray  # (n, d)
    labels: np.ndarray  # (n,)

    def __getitem__(self, rows: np.ndarray) -> _Tickets:
        return _Tickets(self.texts[rows], self.vectors[rows], self.labels[rows])


@dataclass(frozen=True)
class _Features:
    words: Any  # (n, v) sparse
    vectors: np.ndarray  # (n, d)

    def views(self) -> tuple[Any, np.ndarray, Any]:
        from scipy import sparse

        both = sparse.hstack([self.words, sparse.csr_matrix(self.vectors * _MEANING_SCALE)]).tocsr()
        return self.words, self.vectors, both


def _fit(data: _Tickets) -> Head:
    """Choose blend and temperature on held-out tickets, then fit everything on all tickets."""
    classes = np.unique(data.labels)
    targets = np.searchsorted(classes, data.labels)
    held_rows, held_scores = _held_back_scores(data, classes)
    blend, temperature = _choose(held_scores, targets[held_rows])
    linears, vectorizers = _fit_linears(data, classes)
    held = _probabilities(held_scores, blend, temperature)
    known = data.vectors.astype(np.float16)
    nearness = _nearness(data.vectors[held_rows], known, skip_self=True)
    return Head(
        classes=tuple(str(label) for label in classes),
        words=linears[0],
        meaning=linears[1],
        both=linears[2],
        blend=blend,
        temperature=temperature,
        vectorizers=vectorizers,
        neighbours=known,
        typical_novelty=float(np.quantile(_novelty(held, nearness), _NOVELTY_QUANTILE)),
    )


def _held_back_scores(data: _Tickets, classes: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """(rows, scores of the three models) of tickets, each scored by models that were not fitted on it."""
    from sklearn.model_selection import StratifiedKFold

    smallest = min(int((data.labels == label).sum()) for label in classes)
    folds = StratifiedKFold(max(2, min(_FOLDS, smallest)), shuffle=True, random_state=0)
    splits = list(folds.split(data.texts, data.labels))
    if len(data.labels) >= _ONE_FOLD_FROM:
        splits = splits[:1]
    rows, scores = [], []
    for learn, held in splits:
        linears, vectorizers = _fit_linears(data[learn], classes)
        views = _Features(_word_features(vectorizers, data.texts[held]), data.vectors[held]).views()
        scores.append([_score(linear, view) for linear, view in zip(linears, views, strict=True)])
        rows.append(held)
    return np.concatenate(rows), [np.concatenate(parts) for parts in zip(*scores, strict=True)]


def _fit_linears(data: _Tickets, classes: np.ndarray) -> tuple[tuple[Linear, Linear, Linear], tuple[Any, Any]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    vectorizers = (_word_vectorizer().fit(data.texts), _part_vectorizer().fit(data.texts))
    words, meaning, both = _Features(_word_features(vectorizers, data.texts), data.vectors).views()
    # The gradient is a mean over tickets and shrinks with the number of classes: a fixed tolerance would stop at once.
    logistic = LogisticRegression(C=50.0, max_iter=300, tol=1e-3 / len(classes))
    support = {"C": 1.0, "tol": 1e-3, "max_iter": 300, "random_state": 0}
    return (
        (
            _linear(LinearSVC(**support), words, data.labels, classes),
            _linear(logistic, meaning, data.labels, classes),
            _linear(LinearSVC(**support), both, data.labels, classes),
        ),
        vectorizers,
    )


def _linear(model: Any, features: Any, labels: np.ndarray, classes: np.ndarray) -> Linear:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # reaching the iteration limit is fine: the last digits change nothing
        model.fit(features, labels.astype(str))
    weights, bias = model.coef_.T, model.intercept_
    if weights.shape[1] == 1:  # scikit-learn gives one column for two classes
        weights, bias = np.hstack([-weights, weights]), np.concatenate([-bias, bias])
    if len(model.classes_) != len(classes):
        raise Invalid("A label has too few tickets to learn from. Label more tickets.")
    fitted = Linear(weights.astype(np.float32), bias.astype(np.float32), 1.0)
    return Linear(fitted.weights, fitted.bias, float(_raw(fitted, features).std()) or 1.0)


def _choose(scores: Sequence[np.ndarray], targets: np.ndarray) -> tuple[tuple[float, float, float], float]:
    """The blend, with its temperature, that gives the held-out tickets' labels the highest likelihood.

    An alternative to the default blend is chosen only if it is better by more than the standard error of the
    difference between tickets, so that a few tickets decide nothing (the one-standard-error rule, Hastie et al., "The
    Elements of Statistical Learning", 7.10).
    """
    default, *others = [_Choice.of(blend, scores, targets) for blend in _BLENDS]
    best = min(others, key=lambda choice: float(choice.losses.mean()))
    gain = default.losses - best.losses
    chosen = best if gain.mean() > gain.std() / np.sqrt(len(gain)) else default
    return chosen.blend, chosen.temperature


@dataclass(frozen=True)
class _Choice:
    blend: tuple[float, float, float]
    temperature: float
    losses: np.ndarray  # (n,) negative log-likelihood of each held-out ticket's label

    @classmethod
    def of(cls, blend: tuple[float, float, float], scores: Sequence[np.ndarray], targets: np.ndarray) -> _Choice:
        temperature = fit_temperature(_blend(scores, blend), targets)
        probabilities = _probabilities(scores, blend, temperature)
        right = probabilities[np.arange(len(targets)), targets]
        return cls(blend, temperature, -np.log(np.maximum(right, 1e-12)))


def fit_temperature(scores: np.ndarray, targets: np.ndarray) -> float:
    """The divisor of ``scores`` (n, classes) that maximises the likelihood of ``targets`` (n,) under a softmax.

    Targets are smoothed as if one more ticket had been wrong (Platt 1999, "Probabilistic Outputs for Support Vector
    Machines"): thirty right answers do not make the next one certain.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    doubt = 1.0 / (len(targets) + 2)

    def loss(log_temperature: float) -> float:
        logs = log_softmax(scores / np.exp(log_temperature), axis=1)
        right = logs[np.arange(len(targets)), targets]
        wrong = (logs.sum(axis=1) - right) / (scores.shape[1] - 1)
        return -float(((1 - doubt) * right + doubt * wrong).mean())

    found = minimize_scalar(loss, bounds=(-5.0, 3.0), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x))


def _probabilities(scores: Sequence[np.ndarray], blend: Sequence[float], temperature: float) -> np.ndarray:
    from scipy.special import softmax

    probabilities: np.ndarray = softmax(_blend(scores, blend) / temperature, axis=1)
    return probabilities


def _blend(scores: Sequence[np.ndarray], blend: Sequence[float]) -> np.ndarray:
    total: np.ndarray = sum(
        (weight * part for weight, part in zip(blend, scores, strict=True)), np.zeros_like(scores[0])
    )
    return total / sum(blend)


def _score(linear: Linear, features: Any) -> np.ndarray:
    """Standardised scores: mean 0 for every ticket, the same spread for every model."""
    raw = _raw(linear, features)
    standard: np.ndarray = (raw - raw.mean(axis=1, keepdims=True)) / linear.scale
    return standard


def _raw(linear: Linear, features: Any) -> np.ndarray:
    raw: np.ndarray = np.asarray(features @ linear.weights) + linear.bias
    return raw


def _nearness(vectors: np.ndarray, known: np.ndarray, *, skip_self: bool) -> np.ndarray:
    """(n,): mean cosine to the nearest known tickets. ``skip_self``: the vectors are among the known ones."""
    nearest = np.empty(len(vectors), dtype=np.float32)
    library = known.astype(np.float32)
    first = 1 if skip_self else 0
    count = min(_NEIGHBOURS + first, len(library))
    for start in range(0, len(vectors), 512):
        similarities = np.asarray(vectors[start : start + 512], dtype=np.float32) @ library.T
        top = -np.sort(-np.partition(similarities, -count, axis=1)[:, -count:], axis=1)[:, first:]
        nearest[start : start + 512] = top.mean(axis=1) if top.shape[1] else 1.0
    return nearest


def _novelty(probabilities: np.ndarray, nearness: np.ndarray) -> np.ndarray:
    """Distance from everything known, plus a quarter of the classifier's doubt."""
    novelty: np.ndarray = 1.0 - nearness + 0.25 * (1.0 - probabilities.max(axis=1))
    return novelty


def _word_vectorizer() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=_MOST_WORDS, dtype=np.float32)


def _part_vectorizer() -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, max_features=_MOST_PARTS, dtype=np.float32
    )


def _load_terms(vectorizer: Any, terms: Sequence[str], idf: np.ndarray) -> Any:
    vectorizer.vocabulary = {term: number for number, term in enumerate(terms)}
    vectorizer._validate_vocabulary()
    vectorizer.idf_ = idf
    return vectorizer


def _word_features(vectorizers: Sequence[Any], texts: Sequence[str] | np.ndarray) -> Any:
    from scipy import sparse

    return sparse.hstack([vectorizer.transform(texts) for vectorizer in vectorizers]).tocsr()
