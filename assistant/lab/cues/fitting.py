"""Fitting the heads that read cues, and measuring them on messages of seeds and languages that they have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from assistant.lab.cues.examples import Example, examples
from assistant.ports import Embedder
from assistant.progress import Progress, no_progress
from assistant.skills.cue_heads import OUTPUTS, Heads, counts, pieces_of, pooled, weighted
from assistant.skills.cues import FIELDS, SIGNALS

_FOLDS = 4
_EMBED_AT_ONCE = 64
_RIDGE = 10.0  # inverse strength of the penalty on the letters' weights
_SHARED_BY = 2  # seeds that an n-gram has to stand in to count
# Of the networks over sentence vectors, chosen on messages of held-out seeds.
_NETWORKS = 3
_HIDDEN, _DROPPED, _DECAY, _RATE = 128, 0.3, 0.1, 2e-3
_EPOCHS, _BATCH = 15, 128
_SPREAD = 20.0  # mean length of the centred vectors, so that a unit's input has about variance one
_NOISE = 0.5  # standard deviation of the noise added to each coordinate: other words for the same


@dataclass(frozen=True)
class Messages:
    """``labels`` (n, outputs): 1, 0 or nan; ``rows``: for each message the rows of its pieces, the whole first;
    ``texts`` and ``vectors`` (pieces, d): of all pieces."""

    examples: Sequence[Example]
    labels: np.ndarray
    rows: Sequence[np.ndarray]
    texts: Sequence[str]
    vectors: np.ndarray | None


def shipped_messages(embedder: Embedder | None, progress: Progress = no_progress) -> Messages:
    """The messages that the shipped heads are fitted on."""
    return prepare(examples(), embedder, progress)


def prepare(made: Sequence[Example], embedder: Embedder | None, progress: Progress = no_progress) -> Messages:
    """Split into pieces, embedded if there is an embedder."""
    pieces = [pieces_of(example.text) for example in made]
    texts = list(dict.fromkeys(text for some in pieces for text in some))
    at = {text: row for row, text in enumerate(texts)}
    vectors = None
    if embedder is not None:
        parts = []
        for start in range(0, len(texts), _EMBED_AT_ONCE):
            some = texts[start : start + _EMBED_AT_ONCE]
            parts.append(np.asarray(embedder.embeddings.embed_documents(some), np.float32))
            progress(start + len(some), len(texts), "Embedding")
        vectors = np.concatenate(parts)
    rows = [np.array([at[text] for text in some]) for some in pieces]
    return Messages(made, np.array([_labels(example) for example in made]), rows, texts, vectors)


def fit(messages: Messages, *, embedder: str = "") -> Heads:
    """Heads fitted on all messages; their probabilities are those of heads that had not seen the message's seed."""
    scores = held_out(messages, by_seed(messages.examples))
    slope, offset = _platt(scores, messages.labels)
    heads = _weights(messages, np.arange(len(messages.examples)), embedder)
    return replace(heads, slope=slope, offset=offset)


def held_out(messages: Messages, folds: Sequence[np.ndarray]) -> np.ndarray:
    """(n, outputs): each message's scores by heads fitted without its fold; nan for those of no fold."""
    scores = np.full(messages.labels.shape, np.nan)
    for fold in folds:
        learn = np.setdiff1d(np.arange(len(messages.examples)), fold)
        heads = _weights(messages, learn, "")
        rows = np.unique(np.concatenate([messages.rows[message] for message in fold]))
        vectors = None if messages.vectors is None else messages.vectors[rows]
        pieces = heads.pieces([messages.texts[row] for row in rows], vectors)
        for message in fold:
            scores[message] = pooled(pieces[np.searchsorted(rows, messages.rows[message])])
    return scores


def by_seed(made: Sequence[Example]) -> list[np.ndarray]:
    """Folds that keep together what was made from one seed."""
    from sklearn.model_selection import GroupKFold

    lines = [example.line for example in made]
    return [held for _, held in GroupKFold(_FOLDS, shuffle=True, random_state=0).split(lines, groups=lines)]


def by_language(made: Sequence[Example]) -> list[np.ndarray]:
    """A fold a language but English: how well do the others speak for it?"""
    spoken = np.array([example.language for example in made])
    return [np.flatnonzero(spoken == language) for language in dict.fromkeys(spoken.tolist()) if language != "en"]


def _labels(example: Example) -> list[float]:
    """In the order of `OUTPUTS`."""
    priority, feeling, human = (example.label(name) for name in ("priority", "sentiment", "needs_human"))
    levels = FIELDS["priority"]
    shown: dict[str, bool | None] = {name: example.shows(name) for name in SIGNALS}
    for name, level in (("at_least_normal", 1), ("at_least_high", 2), ("urgent", 3)):
        shown[name] = None if priority is None else levels.index(priority) >= level
    for name in ("negative", "positive"):
        shown[name] = None if feeling is None else feeling == name
    shown["needs_human"] = None if human is None else human == "yes"
    return [np.nan if shown[name] is None else float(bool(shown[name])) for name in OUTPUTS]


def _weights(messages: Messages, learn: np.ndarray, embedder: str) -> Heads:
    """Fitted on whole messages; not calibrated."""
    wholes = np.array([messages.rows[message][0] for message in learn])
    labels = messages.labels[learn]
    centre, known, rarity = np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32)
    if messages.vectors is None:
        seen = counts([messages.texts[row] for row in wholes])
        known, rarity = _shared(seen, [messages.examples[message].line for message in learn])
        layers = [_by_letters(weighted(seen, known, rarity), labels)]
    else:
        vectors = messages.vectors[wholes]
        centre = vectors.mean(axis=0)
        layers = _by_meaning(vectors - centre, labels)
    one = np.ones(len(OUTPUTS), np.float32)
    return Heads(embedder, tuple(layers), centre, slope=one, offset=one * 0, known=known, rarity=rarity)


def _shared(seen: Any, lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(columns of ``seen`` (n, buckets) that have something in messages of several seeds, one of ``lines`` each; their
    inverse document frequency, a seed being a document)."""
    from scipy import sparse

    seeds = np.unique(lines, return_inverse=True)[1]
    members = sparse.csr_matrix((np.ones(len(seeds)), (seeds, np.arange(len(seeds)))))
    having = np.asarray((members @ abs(seen) > 0).sum(axis=0)).ravel()
    known = np.flatnonzero(having >= _SHARED_BY).astype(np.int32)
    return known, np.log((1 + members.shape[0]) / (1 + having[known])).astype(np.float32) + 1


def _by_letters(seen: Any, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(weights, bias) of a logistic regression for each output."""
    from sklearn.linear_model import LogisticRegression

    fitted = []
    for number in range(len(OUTPUTS)):
        known = ~np.isnan(labels[:, number])
        model = LogisticRegression(C=_RIDGE, solver="liblinear", max_iter=300, class_weight="balanced")
        fitted.append(model.fit(seen[known], labels[known, number] > 0))
    return (
        np.stack([model.coef_[0] for model in fitted], axis=1).astype(np.float32),
        np.array([model.intercept_[0] for model in fitted], np.float32),
    )


def _by_meaning(vectors: np.ndarray, labels: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two layers, fitted on all outputs together; what is unknown costs nothing. The mean of several networks that
    begin and see noise differently is one network with their units side by side."""
    import torch
    from torch import nn

    random = torch.Generator().manual_seed(0)
    scale = _SPREAD / float(np.linalg.norm(vectors, axis=1).mean())
    seen, known = torch.tensor(vectors * scale), torch.tensor(~np.isnan(labels)).float()
    wanted = torch.tensor(np.nan_to_num(labels)).float()
    sizes = (vectors.shape[1], _HIDDEN, len(OUTPUTS))
    layers = [
        nn.Parameter((2 * torch.rand(_NETWORKS, rows, units, generator=random) - 1) / inputs**0.5)
        for inputs, units in pairwise(sizes)
        for rows in (inputs, 1)  # weights, bias
    ]
    # A rare cue counts more, by the root of how rare it is.
    rarity = torch.tensor(np.sqrt(np.nansum(labels == 0, axis=0) / np.nansum(labels == 1, axis=0))).float()
    loss = nn.BCEWithLogitsLoss(pos_weight=rarity, reduction="none")
    optimizer = torch.optim.AdamW(layers, lr=_RATE, weight_decay=_DECAY)
    weights, bias, last_weights, last_bias = layers
    for _ in range(_EPOCHS):
        for rows in torch.split(torch.randperm(len(seen), generator=random), _BATCH):
            noise = torch.randn(_NETWORKS, *seen[rows].shape, generator=random)
            hidden = torch.relu(torch.baddbmm(bias, seen[rows] + _NOISE * noise, weights))
            kept = torch.rand(hidden.shape, generator=random) >= _DROPPED
            scores = torch.baddbmm(last_bias, hidden * kept / (1 - _DROPPED), last_weights)
            cost = (loss(scores, wanted[rows].expand_as(scores)) * known[rows]).sum() / known[rows].sum()
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()
    first, first_bias, last, bias_of_last = (layer.detach().numpy() for layer in layers)
    return [
        (np.concatenate(first, axis=1) * scale, first_bias.ravel()),
        (np.concatenate(last) / _NETWORKS, bias_of_last.mean(axis=0).ravel()),
    ]


def _platt(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(slope, offset), each (outputs,)."""
    from sklearn.linear_model import LogisticRegression

    fitted: list[Any] = []
    for number in range(len(OUTPUTS)):
        known = ~np.isnan(labels[:, number]) & ~np.isnan(scores[:, number])
        fitted.append(LogisticRegression(C=1e3).fit(scores[known, number : number + 1], labels[known, number] > 0))
    slope, offset = ([getattr(model, name).item() for model in fitted] for name in ("coef_", "intercept_"))
    return np.array(slope, np.float32), np.array(offset, np.float32)
