"""Heads that read cues out of a message, and the file that they ship in.

They look at the pieces of a message, about a sentence each. With the embedder that they were fitted for they see a
piece's sentence vector, through one hidden layer that all cues share; without it, its letters and words (hashed
n-grams, Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning"), weighted by how rare they are.
Those that hardly any example has say nothing themselves, but dilute the rest: what little a head knows of a message
full of strange names is no reason to cry danger. A message shows a cue if one of
its pieces does, and is a courtesy if all of them are. What comes out is made a probability by Platt's method (1999,
"Probabilistic Outputs for Support Vector Machines"), on messages that the heads had not seen. `lab.cues` fits them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from assistant.text.sentences import sentences

FILE = Path(__file__).with_name("cues.safetensors")
OUTPUTS = (
    "dangerous", "legal", "wants_person", "courtesy", "greets", "rejects",
    "urgent", "at_least_high", "at_least_normal", "negative", "positive", "needs_human",
)  # fmt: skip
# Of a message's pieces the least counts, not the most: one that is no courtesy is enough.
_BY_ALL = ("courtesy", "greets", "positive")
_BUCKETS = 2**18
_VECTORS = ("centre", "slope", "offset")
_LONGEST = 1000
_PIECES = 8


@dataclass(frozen=True)
class Heads:
    """``layers``: weights (features, units) and bias (units,), the last one's units being `OUTPUTS`; between them
    negative values become 0. Features are the vector's coordinates, less ``centre`` (d,), or with an empty ``embedder``
    the buckets ``known`` (features,), in ascending order, with their ``rarity`` (features,). ``slope`` and ``offset``
    (outputs,): from a message's score to its log odds."""

    embedder: str
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    centre: np.ndarray
    slope: np.ndarray
    offset: np.ndarray
    known: np.ndarray
    rarity: np.ndarray

    def pieces(self, texts: Sequence[str], vectors: np.ndarray | None = None) -> np.ndarray:
        """(n, outputs): the scores of pieces with their vectors (n, d)."""
        seen = weighted(counts(texts), self.known, self.rarity) if vectors is None else vectors - self.centre
        for number, (weights, bias) in enumerate(self.layers):
            seen = np.asarray((seen if number == 0 else np.maximum(seen, 0.0)) @ weights) + bias
        scores: np.ndarray = seen
        return scores

    def probabilities(self, pieces: np.ndarray) -> np.ndarray:
        """(outputs,): of a message, from the scores of its pieces (n, outputs)."""
        from scipy.special import expit

        odds: np.ndarray = expit(self.slope * pooled(pieces) + self.offset)
        return odds


def pieces_of(text: str) -> list[str]:
    """A message whole and, if there are several, its sentences. The first ones: what matters stands early."""
    text = text[:_LONGEST].strip()
    parts = sentences(text)[:_PIECES]
    return [text, *parts] if len(parts) > 1 else [text]


def counts(texts: Sequence[str]) -> Any:
    """(n, buckets) sparse: how often n-grams of letters occur, then those of words."""
    from scipy import sparse

    return sparse.hstack([hashed.transform(texts) for hashed in _hashed()]).tocsr()


def weighted(seen: Any, known: np.ndarray, rarity: np.ndarray) -> Any:
    """(n, features) sparse: the columns ``known`` of `counts`, times their ``rarity``. Letters and words of a message
    are brought to length 1 each, and what is unknown counts for that as if it were as rare as the rarest."""
    from scipy import sparse

    places = np.searchsorted(known, seen.indices).clip(max=len(known) - 1)
    is_known = known[places] == seen.indices
    amounts = seen.data * np.where(is_known, rarity[places], rarity.max())
    part = 2 * np.repeat(np.arange(seen.shape[0]), np.diff(seen.indptr)) + (seen.indices >= _BUCKETS)
    amounts /= np.sqrt(np.bincount(part, amounts**2))[part]
    return sparse.csr_matrix((np.where(is_known, amounts, 0), places, seen.indptr), shape=(seen.shape[0], len(known)))


def pooled(pieces: np.ndarray) -> np.ndarray:
    """(outputs,): the scores of a message from those of its pieces (n, outputs)."""
    by_all = np.isin(OUTPUTS, _BY_ALL)
    together: np.ndarray = np.where(by_all, pieces.min(axis=0), pieces.max(axis=0))
    return together


def save(heads: Sequence[Heads], file: Path) -> None:
    """Weights are kept in half precision."""
    from safetensors.numpy import save_file

    values: dict[str, np.ndarray] = {}
    for number, one in enumerate(heads):
        values |= {f"{number}.{name}": np.asarray(getattr(one, name), np.float32) for name in _VECTORS}
        values |= {f"{number}.known": one.known.astype(np.int32), f"{number}.rarity": one.rarity.astype(np.float16)}
        for layer, (weights, bias) in enumerate(one.layers):
            values[f"{number}.{layer}.weights"] = np.ascontiguousarray(weights, np.float16)
            values[f"{number}.{layer}.bias"] = np.asarray(bias, np.float32)
    shapes = [{"embedder": one.embedder, "layers": len(one.layers)} for one in heads]
    save_file(values, file, metadata={"heads": json.dumps(shapes)})


@cache
def load(file: Path = FILE) -> dict[str, Heads]:
    """By the name of the embedder; empty for letters alone."""
    from safetensors import safe_open

    with safe_open(file, framework="np") as opened:
        shapes = json.loads(opened.metadata()["heads"])
        values = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  (not a mapping)
    values = {name: own if own.dtype == np.int32 else own.astype(np.float32) for name, own in values.items()}
    found = {}
    for number, shape in enumerate(shapes):
        layers = [f"{number}.{layer}" for layer in range(shape["layers"])]
        found[shape["embedder"]] = Heads(
            shape["embedder"],
            tuple((values[f"{layer}.weights"], values[f"{layer}.bias"]) for layer in layers),
            **{name: values[f"{number}.{name}"] for name in (*_VECTORS, "known", "rarity")},
        )
    return found


@cache
def _hashed() -> tuple[Any, Any]:
    from sklearn.feature_extraction.text import HashingVectorizer

    common = {"n_features": _BUCKETS, "dtype": np.float32, "norm": None}
    # Words of one letter, marks and emoji count, too.
    words = re.compile(r"\w+|[^\w\s]").findall
    return (
        HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), **common),
        HashingVectorizer(tokenizer=words, token_pattern=None, ngram_range=(1, 2), **common),
    )
