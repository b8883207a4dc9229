"""What a question about a photo asks for: a field of the evidence, something that is printed, or a look at the photo.

A head that ships with the product tells by the question's meaning, in every language that the multilingual embedder
reads. Without that embedder, one that is fitted to the same examples (`photo_questions.toml`) goes by letters, and is
right less often. `lab.evaluation.questions` fits and measures both.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from assistant.ports import Capabilities, Embedder
from assistant.text.folding import fold

SOMETHING_ELSE = "something else"  # that only a look at the photo answers
EXAMPLES = Path(__file__).with_name("photo_questions.toml")
FILE = Path(__file__).with_name("photo_questions.safetensors")
# Inverse strength of regularisation: of the questions that were held back, .92 are understood and .82 is claimed.
_STRENGTH = 100.0
_REMEMBERED = 512


@dataclass(frozen=True)
class Head:
    """``weights`` (d, classes), ``bias`` (classes,) and ``centre`` (d,) for vectors of the embedder with this name."""

    embedder: str
    classes: tuple[str, ...]
    weights: np.ndarray
    bias: np.ndarray
    centre: np.ndarray

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """(n, classes) for sentence vectors (n, d)."""
        from scipy.special import softmax

        shares: np.ndarray = softmax(centred(vectors, self.centre) @ self.weights + self.bias, axis=1)
        return shares


def asked_for(question: str, capabilities: Capabilities) -> Mapping[str, float]:
    """The probability of each thing that a question may ask for; they sum to 1."""
    embedder = reader(capabilities)
    shares = _by_letters(question) if embedder is None else _by_meaning(question, _Reader(embedder))
    return dict(zip(load().classes, shares, strict=True))


def reader(capabilities: Capabilities) -> Embedder | None:
    """The embedder that the head was fitted for, if it is installed."""
    embedders = (capabilities.second_embedder, capabilities.embedder)
    return next((one for one in embedders if one is not None and one.name == load().embedder), None)


@dataclass(frozen=True)
class _Reader:
    embedder: Embedder

    def __hash__(self) -> int:
        return hash(self.embedder.name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reader) and other.embedder.name == self.embedder.name


@lru_cache(maxsize=_REMEMBERED)
def _by_meaning(question: str, reader: _Reader) -> tuple[float, ...]:
    vector = np.asarray(reader.embedder.embeddings.embed_documents([question]), dtype=np.float32)
    return tuple(map(float, load().probabilities(vector)[0]))


@lru_cache(maxsize=_REMEMBERED)
def _by_letters(question: str) -> tuple[float, ...]:
    model, classes = letters()
    shares = dict(zip(classes, map(float, model.predict_proba([question])[0]), strict=True))
    return tuple(shares[name] for name in load().classes)


@cache
def letters() -> tuple[Any, tuple[str, ...]]:
    """(a scikit-learn pipeline that takes questions, its classes), fitted to the examples."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    questions, wanted = examples()
    counts = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), preprocessor=fold, sublinear_tf=True)
    each = OneVsRestClassifier(LogisticRegression(C=_STRENGTH, solver="liblinear"))  # half a second; softmax takes 15
    model = make_pipeline(counts, each).fit(questions, wanted)
    return model, tuple(map(str, model.classes_))


def examples() -> tuple[list[str], list[str]]:
    """(questions, what each asks for)."""
    known = tomllib.loads(EXAMPLES.read_text(encoding="utf-8"))
    pairs = [(question, name) for name, one in known.items() for question in one["asks"]]
    return [question for question, _ in pairs], [name for _, name in pairs]


def fit(vectors: np.ndarray, wanted: Sequence[str], embedder: str) -> Head:
    """A head for sentence vectors (n, d) of questions and what each of them asks for."""
    from sklearn.linear_model import LogisticRegression

    centre = vectors.mean(axis=0)
    fitted = LogisticRegression(C=_STRENGTH, max_iter=2000).fit(centred(vectors, centre), list(wanted))
    classes = tuple(map(str, fitted.classes_))
    return Head(embedder, classes, fitted.coef_.T, fitted.intercept_, centre)


def centred(vectors: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """What tells sentences of this embedder apart, at unit length."""
    apart = vectors - centre
    unit: np.ndarray = apart / np.linalg.norm(apart, axis=1, keepdims=True).clip(1e-9)
    return unit


def save(head: Head, path: Path = FILE) -> None:
    from safetensors.numpy import save_file

    tensors = {name: np.asarray(getattr(head, name), dtype=np.float16) for name in ("weights", "bias", "centre")}
    save_file(tensors, path, metadata={"embedder": head.embedder, "classes": "\n".join(head.classes)})


@cache
def load() -> Head:
    from safetensors import safe_open

    with safe_open(FILE, framework="numpy") as file:
        tensors = {name: file.get_tensor(name).astype(np.float32) for name in ("weights", "bias", "centre")}
        about = file.metadata()
    return Head(about["embedder"], tuple(about["classes"].split("\n")), **tensors)
