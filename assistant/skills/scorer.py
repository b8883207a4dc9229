"""Scores of a ticket for each class by three linear models that see it differently.

One-vs-rest models of words alone (TF-IDF of words and character n-grams), of meaning alone (the sentence embedding),
and of both. Scores are standardised, so that they can be summed; `triage_head` makes probabilities of them.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_VIEWS = ("words", "meaning", "both")
_MOST_WORDS, _MOST_PARTS = 60_000, 90_000


@dataclass(frozen=True)
class Tickets:
    """texts (n,), vectors (n, d) of unit length, labels (n,); ids (n,) of those that are in the database, else 0."""

    texts: np.ndarray
    vectors: np.ndarray
    labels: np.ndarray
    ids: np.ndarray

    @classmethod
    def of(
        cls, texts: Sequence[str], vectors: np.ndarray, labels: Sequence[str], ids: Sequence[int] | None = None
    ) -> Tickets:
        known = np.zeros(len(texts), np.int64) if ids is None else np.array(ids, np.int64)
        return cls(np.array(texts, dtype=object), np.asarray(vectors), np.array(labels, dtype=object), known)

    def __getitem__(self, rows: np.ndarray) -> Tickets:
        return Tickets(self.texts[rows], self.vectors[rows], self.labels[rows], self.ids[rows])

    def __len__(self) -> int:
        return len(self.labels)

    def __add__(self, other: Tickets) -> Tickets:
        return Tickets(
            np.concatenate([self.texts, other.texts]),
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.ids, other.ids]),
        )


@dataclass(frozen=True)
class _Linear:
    """``x @ weights + bias``. weights (features, classes), bias (classes,)."""

    weights: np.ndarray
    bias: np.ndarray
    scale: float  # standard deviation of the raw scores on the training tickets

    def scores(self, features: Any) -> np.ndarray:
        """Mean 0 for every ticket, the same spread for every model."""
        raw = np.asarray(features @ self.weights) + self.bias
        standard: np.ndarray = (raw - raw.mean(axis=1, keepdims=True)) / self.scale
        return standard


@dataclass(frozen=True)
class Scorer:
    """Immutable and thread-safe. ``classes`` are in alphabetical order."""

    classes: tuple[str, ...]
    linears: tuple[_Linear, _Linear, _Linear]
    vectorizers: tuple[Any, Any]

    @classmethod
    def fit(cls, data: Tickets) -> Scorer:
        """Needs two classes. Rare ones weigh as much as frequent ones."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC

        classes = tuple(sorted(set(map(str, data.labels))))
        vectorizers = (_word_vectorizer().fit(data.texts), _part_vectorizer().fit(data.texts))
        words, meaning, both = _views(vectorizers, data.texts, data.vectors)
        # The gradient is a mean over tickets and shrinks with the number of classes: a fixed tolerance stops at once.
        logistic = LogisticRegression(C=50.0, max_iter=300, tol=1e-3 / len(classes), class_weight="balanced")
        support = {"C": 1.0, "tol": 1e-3, "max_iter": 300, "random_state": 0, "class_weight": "balanced"}
        linears = (
            _fit_linear(LinearSVC(**support), words, data.labels),
            _fit_linear(logistic, meaning, data.labels),
            _fit_linear(LinearSVC(**support), both, data.labels),
        )
        return cls(classes, linears, vectorizers)

    def scores(self, texts: Sequence[str] | np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """(3, n, classes): by words, meaning, both."""
        views = _views(self.vectorizers, texts, np.asarray(vectors, dtype=np.float32))
        return np.stack([linear.scores(view) for linear, view in zip(self.linears, views, strict=True)])

    def to_arrays(self) -> dict[str, np.ndarray]:
        """For a NumPy archive without pickles."""
        arrays: dict[str, np.ndarray] = {}
        for name, linear in zip(_VIEWS, self.linears, strict=True):
            arrays |= {f"{name}_weights": linear.weights.astype(np.float16), f"{name}_bias": linear.bias}
        for name, vectorizer in zip(("word", "part"), self.vectorizers, strict=True):
            arrays[f"{name}_idf"] = vectorizer.idf_
            arrays[f"{name}_terms"] = _text("\n".join(vectorizer.get_feature_names_out()))
        scales = [linear.scale for linear in self.linears]
        return arrays | {"scorer": _text(json.dumps({"classes": self.classes, "scales": scales}))}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Scorer:
        meta = json.loads(arrays["scorer"].tobytes())
        words, meaning, both = (
            _Linear(arrays[f"{name}_weights"].astype(np.float32), arrays[f"{name}_bias"], scale)
            for name, scale in zip(_VIEWS, meta["scales"], strict=True)
        )
        word, part = (
            _load_terms(new(), arrays[f"{name}_terms"].tobytes().decode().split("\n"), arrays[f"{name}_idf"])
            for name, new in (("word", _word_vectorizer), ("part", _part_vectorizer))
        )
        return cls(tuple(meta["classes"]), (words, meaning, both), (word, part))


def _views(
    vectorizers: tuple[Any, Any], texts: Sequence[str] | np.ndarray, vectors: np.ndarray
) -> tuple[Any, np.ndarray, Any]:
    from scipy import sparse

    words = sparse.hstack([vectorizer.transform(texts) for vectorizer in vectorizers]).tocsr()
    both = sparse.hstack([words, sparse.csr_matrix(vectors)]).tocsr()
    return words, vectors, both


def _fit_linear(model: Any, features: Any, labels: np.ndarray) -> _Linear:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # reaching the iteration limit is fine: the last digits change nothing
        model.fit(features, labels.astype(str))
    weights, bias = model.coef_.T, model.intercept_
    if weights.shape[1] == 1:  # scikit-learn gives one column for two classes
        weights, bias = np.hstack([-weights, weights]), np.concatenate([-bias, bias])
    raw = np.asarray(features @ weights) + bias
    return _Linear(weights.astype(np.float32), bias.astype(np.float32), float(raw.std()) or 1.0)


def _text(text: str) -> np.ndarray:
    return np.frombuffer(text.encode(), np.uint8)


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
