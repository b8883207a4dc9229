"""The learned head: what agents' decisions add to what is known of a field's options without them.

Descriptions and examples of the options are tickets of theirs, so no option is unknown to the head. For a ticket x

    p(option | x) ~ prior(option | x) ** a * exp(score(option | x) / t + start(option)),

a log-linear pool of prior and `scorer` (Genest and Zidek 1986). Weight and temperature maximise the likelihood of
decisions that the scores were not fitted on (Guo et al. 2017, "On Calibration of Modern Neural Networks"): the fewer
decisions, the closer the result stays to the prior. Decisions only show options that somebody has decided, so the head
would unlearn the others. They get a head start, as large as options need whose decisions are hidden for a trial.

`novelty` detects tickets that belong to none of the options: those unlike any known ticket, or those the head is unsure
about.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from assistant.errors import Invalid
from assistant.skills.priors import Neighbour
from assistant.skills.scorer import Scorer, Tickets
from assistant.text.folding import fold

Blend = tuple[float, float, float]  # weights of words, meaning, both
# The default first, then the alternatives that held-out tickets may favour.
_BLENDS: tuple[Blend, ...] = (
    (1.0, 0.5, 2.0),
    (0.5, 1.0, 2.0),
    (0.5, 2.0, 2.0),
    (0.0, 1.0, 1.0),
    (0.0, 1.0, 0.0),
    (1.0, 0.0, 1.0),
)
_FOLDS = 4
# From this many tickets on, one held-out quarter is enough to choose weights and temperature.
_ONE_FOLD_FROM = 3000
# An option with so many decisions needs no head start; with so many it needs half of it.
_ENOUGH, _HALF_KNOWN = 30, 3.0
_MOST_HIDDEN = 1000
_NEIGHBOURS = 5
SEVERAL = 3
_NUMBERS = re.compile(r"\d+")
_NOVELTY_QUANTILE = 0.98


@dataclass(frozen=True)
class Pool:
    """How prior and scores are combined: see the module's formula. ``blend``: weights of the scorer's three views;
    ``starts`` (options,) or 0."""

    blend: Blend
    prior_weight: float
    temperature: float
    starts: np.ndarray | float = 0.0

    def logits(self, scores: np.ndarray, priors: np.ndarray) -> np.ndarray:
        """``scores`` (3, n, options), ``priors`` (n, options)."""
        pooled: np.ndarray = self.prior_weight * _logs(priors) + _blend(scores, self.blend) / self.temperature
        return pooled + self.starts

    def probabilities(self, scores: np.ndarray, priors: np.ndarray) -> np.ndarray:
        """Rows sum to 1."""
        from scipy.special import softmax

        probabilities: np.ndarray = softmax(self.logits(scores, priors), axis=1)
        return probabilities


@dataclass(frozen=True)
class Head:
    """Fitted on decided tickets; immutable and thread-safe."""

    scorer: Scorer
    pool: Pool
    decisions: int  # of agents, that it was fitted on
    neighbours: np.ndarray  # (n, d) float16, unit length: the known tickets
    owners: np.ndarray  # (n,) their ids in the database; 0 of what is no ticket
    decided: np.ndarray  # (n,) their labels, as places in `classes`
    typical_novelty: float  # exceeded by only 2 % of tickets that belong to the options
    agreed: Mapping[str, str]  # label of each text that was decided several times and never otherwise, by its digest

    @property
    def classes(self) -> tuple[str, ...]:
        """The options, in the order of the probabilities' columns."""
        return self.scorer.classes

    def predict(
        self, texts: Sequence[str] | np.ndarray, vectors: np.ndarray, priors: np.ndarray | None = None
    ) -> np.ndarray:
        """Probabilities (n, classes) for texts, their unit-length embeddings (n, d) and priors (n, classes)."""
        scores = self.scorer.scores(texts, vectors)
        return self.pool.probabilities(scores, np.ones(scores.shape[1:]) if priors is None else priors)

    def novelty(self, probabilities: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """(n,): higher for tickets that are unlike those of the classes."""
        return _novelty(probabilities, _nearness(vectors, self.neighbours, skip_self=False))

    def is_foreign(self, probabilities: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        """(n,) bool: more novel than 98 % of the tickets that belong to the classes."""
        foreign: np.ndarray = self.novelty(probabilities, vectors) > self.typical_novelty
        return foreign

    def nearest(self, vector: np.ndarray, *, count: int = 3) -> tuple[Neighbour, ...]:
        """Of the decided tickets, those with the most similar meaning to a vector (d,) of unit length."""
        tickets = np.flatnonzero(self.owners)
        similarities = self.neighbours[tickets].astype(np.float32) @ np.asarray(vector, dtype=np.float32)
        found: dict[int, Neighbour] = {}
        for place in np.argsort(-similarities, kind="stable"):
            row = tickets[place]
            owner, value = int(self.owners[row]), self.classes[self.decided[row]]
            found.setdefault(owner, Neighbour(owner, value, float(similarities[place])))
            if len(found) == count:
                break
        return tuple(found.values())

    def settled(self, text: str) -> str | None:
        """The option that agents decided `SEVERAL` times for these very words, whatever the numbers in them, and never
        otherwise; None if there is none."""
        return self.agreed.get(_digest(text))

    def refine(self, prior: Mapping[str, float], text: str, vector: np.ndarray) -> tuple[dict[str, float], bool]:
        """For one ticket: (the prior's options with their new probabilities, whether it is foreign to all of them).

        An option that is newer than the head keeps its share."""
        shares = np.array([[prior.get(option, 0.0) for option in self.classes]])
        known = float(shares.sum())
        row = np.asarray(vector, dtype=np.float32)[None]
        probabilities = self.predict([text], row, shares)
        learned = dict(zip(self.classes, probabilities[0], strict=True))
        left = sum(learned[option] for option in self.classes if option in prior) or 1.0
        refined = {
            option: known * float(learned[option]) / left if option in learned else share
            for option, share in prior.items()
        }
        return refined, bool(self.is_foreign(probabilities, row)[0])

    def to_bytes(self) -> bytes:
        """A NumPy archive without pickles."""
        meta = {
            "blend": self.pool.blend,
            "prior_weight": self.pool.prior_weight,
            "temperature": self.pool.temperature,
            "starts": np.broadcast_to(self.pool.starts, len(self.classes)).tolist(),
            "decisions": self.decisions,
            "typical_novelty": self.typical_novelty,
            "agreed": self.agreed,
        }
        arrays = {name: getattr(self, name) for name in ("neighbours", "owners", "decided")}
        arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays, **self.scorer.to_arrays())
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Head:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            meta = json.loads(arrays["meta"].tobytes())
            pool = Pool(tuple(meta["blend"]), meta["prior_weight"], meta["temperature"], np.array(meta["starts"]))
            scorer = Scorer.from_arrays(arrays)
            agreed = meta.get("agreed", {})  # heads of before 0.3 have none, nor do they know their tickets
            known = arrays["neighbours"]
            owners, decided = (
                arrays[name] if name in arrays else np.zeros(len(known), np.int64) for name in ("owners", "decided")
            )
            novelty = meta["typical_novelty"]
            return cls(scorer, pool, meta["decisions"], known, owners, decided, novelty, agreed)


class Heads(dict[str, Head]):
    """One field's heads, by the name of the embedder whose vectors they take. ``revision``: of stored ones."""

    revision = ""

    def to_bytes(self) -> bytes:
        """A NumPy archive without pickles."""
        buffer = io.BytesIO()
        arrays = {f"head_{name}": np.frombuffer(head.to_bytes(), np.uint8) for name, head in self.items()}
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Heads:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            heads = cls({name.removeprefix("head_"): Head.from_bytes(arrays[name].tobytes()) for name in arrays})
        heads.revision = hashlib.blake2b(data, digest_size=8).hexdigest()
        return heads


@dataclass(frozen=True)
class Fitted:
    """A head, and what heads of the same recipe said of tickets that they were not fitted on: ``held_back``
    (m, classes) probabilities of the tickets ``rows`` (m,)."""

    head: Head
    rows: np.ndarray
    held_back: np.ndarray


def fit_head(
    tickets: Tickets,
    *,
    priors: np.ndarray | None = None,
    examples: Tickets | None = None,
) -> Fitted:
    """Fit a head on decided tickets: at least two with different labels, else `Invalid`.

    ``examples``: descriptions and example sentences, labelled with their options. ``priors`` (n, classes): what is
    known of each ticket without any decision, over all labels of tickets and examples in alphabetical order.
    """
    known = tickets if examples is None else tickets + examples
    classes = np.unique(known.labels.astype(str))
    if len(np.unique(tickets.labels.astype(str))) < 2:
        raise Invalid("Learning needs tickets with at least two different labels.")
    if priors is None:
        priors = np.ones((len(tickets), len(classes)))
    targets = np.searchsorted(classes, tickets.labels.astype(str))
    rows, scores = _held_back_scores(tickets, examples, classes)
    pool = _choose(scores, priors[rows], targets[rows])
    counts = np.bincount(targets, minlength=len(classes))
    if examples is not None and counts.min() < _ENOUGH:
        start = _head_start(tickets, examples, priors, targets, pool)
        pool = replace(pool, starts=start * _newness(counts))
    held_back = pool.probabilities(scores, priors[rows])
    neighbours = known.vectors.astype(np.float16)
    nearness = _nearness(tickets.vectors[rows], neighbours, skip_self=True)
    head = Head(
        scorer=Scorer.fit(known),
        pool=pool,
        decisions=len(tickets),
        neighbours=neighbours,
        owners=known.ids,
        decided=np.searchsorted(classes, known.labels.astype(str)),
        typical_novelty=float(np.quantile(_novelty(held_back, nearness), _NOVELTY_QUANTILE)),
        agreed=_agreed(tickets),
    )
    return Fitted(head, rows, held_back)


def _agreed(tickets: Tickets) -> dict[str, str]:
    labels: dict[str, list[str]] = defaultdict(list)
    for text, label in zip(tickets.texts, tickets.labels, strict=True):
        labels[_digest(text)].append(str(label))
    return {digest: own[0] for digest, own in labels.items() if len(own) >= SEVERAL and len(set(own)) == 1}


def _digest(text: str) -> str:
    return hashlib.blake2b(_NUMBERS.sub("0", fold(text)).encode(), digest_size=8).hexdigest()


def _held_back_scores(tickets: Tickets, examples: Tickets | None, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows, scores (3, m, classes)) of tickets, each scored by models that were not fitted on it."""
    rows, scores = [], []
    for learn, held in _folds(tickets.labels):
        known = tickets[learn] if examples is None else tickets[learn] + examples
        if len(np.unique(known.labels.astype(str))) > 1:
            rows.append(held)
            scores.append(_scores(known, tickets[held], classes))
    if not rows:
        raise Invalid("Learning needs more than one ticket of a label, or examples.")
    return np.concatenate(rows), np.concatenate(scores, axis=1)


def _scores(known: Tickets, asked: Tickets, classes: np.ndarray) -> np.ndarray:
    """(3, n, classes). A class that ``known`` lacks counts as the least likely."""
    scorer = Scorer.fit(known)
    found = scorer.scores(asked.texts, asked.vectors)
    scores = np.repeat(found.min(axis=2, keepdims=True), len(classes), axis=2)
    scores[:, :, np.searchsorted(classes, scorer.classes)] = found
    return scores


def _head_start(tickets: Tickets, examples: Tickets, priors: np.ndarray, targets: np.ndarray, pool: Pool) -> float:
    """What an option without decisions needs beside those with: the start that gives tickets of options whose decisions
    are hidden, and held-back tickets of the others, the highest likelihood. Both kinds weigh the same."""
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    classes = np.unique(examples.labels.astype(str))
    decided = np.random.default_rng(0).permutation(np.unique(targets))
    trials = []
    for number, (learn, held) in enumerate(_folds(tickets.labels)):
        hidden = np.isin(targets, decided[number :: min(_FOLDS, len(decided))])
        shown = learn[~hidden[learn]]
        asked = np.union1d(held, np.flatnonzero(hidden)[:_MOST_HIDDEN])
        scores = _scores(tickets[shown] + examples, tickets[asked], classes)
        newness = _newness(np.bincount(targets[shown], minlength=len(classes)))
        trials.append((pool.logits(scores, priors[asked]), newness, targets[asked], hidden[asked]))

    def loss(start: float) -> float:
        kinds: tuple[list[float], list[float]] = [], []
        for logits, newness, right, hidden in trials:
            said = log_softmax(logits + start * newness, axis=1)[np.arange(len(right)), right]
            kinds[0].extend(said[hidden])
            kinds[1].extend(said[~hidden])
        return -sum(float(np.mean(kind)) for kind in kinds if kind)

    return float(minimize_scalar(loss, bounds=(0.0, 6.0), method="bounded").x)


def _newness(counts: np.ndarray) -> np.ndarray:
    """(options,): 1 without decisions, a half with `_HALF_KNOWN`, next to nothing with many."""
    newness: np.ndarray = _HALF_KNOWN / (_HALF_KNOWN + counts)
    return newness


def _folds(labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows to learn from, rows to hold back): each label's tickets are dealt to the folds in turn."""
    random = np.random.default_rng(0)
    order = random.permutation(len(labels))
    fold = np.empty(len(labels), dtype=int)
    for number, label in enumerate(np.unique(labels.astype(str))):
        own = order[labels[order].astype(str) == label]
        fold[own] = (np.arange(len(own)) + number) % _FOLDS
    for number in range(1 if len(labels) >= _ONE_FOLD_FROM else _FOLDS):
        held = fold == number
        if held.any() and not held.all():
            yield np.flatnonzero(~held), np.flatnonzero(held)


# Of the penalty on the logarithms of weight and temperature: half the inverse variances of normal priors around 0. How
# sure the prior should be differs little between sets (`priors.temperature`); how much scores say is not known before.
_CAUTION = np.array([8.0, 1.0])


def _choose(scores: np.ndarray, priors: np.ndarray, targets: np.ndarray) -> Pool:
    """The pool that gives the held-out tickets' labels the highest likelihood.

    An alternative to the default blend is chosen only if it is better by more than the standard error of the
    difference between tickets, so that a few tickets decide nothing (the one-standard-error rule, Hastie et al., "The
    Elements of Statistical Learning", 7.10).
    """
    pools = [fit_pool(blend, scores, priors, targets) for blend in _BLENDS]
    losses = [
        -np.log(np.maximum(p.probabilities(scores, priors)[np.arange(len(targets)), targets], 1e-12)) for p in pools
    ]
    best = min(range(1, len(pools)), key=lambda number: float(losses[number].mean()))
    gain = losses[0] - losses[best]
    return pools[best] if gain.mean() > gain.std() / np.sqrt(len(gain)) else pools[0]


def fit_pool(blend: Blend, scores: np.ndarray, priors: np.ndarray, targets: np.ndarray) -> Pool:
    """The weight and temperature that maximise the likelihood of ``targets`` (n,).

    Targets are smoothed as if one more ticket had been wrong (Platt 1999, "Probabilistic Outputs for Support Vector
    Machines"): thirty right answers do not make the next one certain. `_CAUTION` keeps both near 1, the prior as it is
    and scores that say little, until tickets say otherwise.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    doubt = 1.0 / (len(targets) + 2)
    sure, score = _logs(priors), _blend(scores, blend)

    def loss(logs: np.ndarray) -> float:
        said = log_softmax(np.exp(logs[0]) * sure + np.exp(logs[1]) * score, axis=1)
        right = said[np.arange(len(targets)), targets]
        wrong = (said.sum(axis=1) - right) / (score.shape[1] - 1)
        return -float(((1 - doubt) * right + doubt * wrong).sum()) + float((_CAUTION * logs**2).sum())

    found = minimize(loss, np.zeros(2), method="L-BFGS-B", bounds=[(-5.0, 2.0), (-5.0, 5.0)]).x
    return Pool(blend, float(np.exp(found[0])), float(np.exp(-found[1])))


def _logs(priors: np.ndarray) -> np.ndarray:
    """Of shares that sum to 1 or not, none of them impossible."""
    logs: np.ndarray = np.log(np.maximum(priors, 1e-6))
    return logs


def _blend(scores: np.ndarray, blend: Sequence[float]) -> np.ndarray:
    blended: np.ndarray = np.tensordot(np.asarray(blend) / sum(blend), scores, axes=1)
    return blended


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
