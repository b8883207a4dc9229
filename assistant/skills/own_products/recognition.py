"""Recognising an operator's own products: what a photo's look and its text say together, and when to say nothing.

A photo is compared with every reference photo by frozen features of crops. How alike they are counts by how far it is
above what photos of anything else reach (`_Nulls`): some products look like many things. Look and text make the logits
of a softmax over the products, whose two weights are fitted to photos whose reference was left out. A product that has
one photo only has none to leave out: there, retakes stand in (`views.retake`).

The softmax is not sure enough: it adds up many products that are a little alike, each of which is never the right one,
and photos whose reference was left out are harder than those to come, which have it. So how sure it is of the likeliest
product is fitted as well, to the same photos, from what it is worth on public ones (`Weights.sure`).

A photo of something else is told by its likeness to the nearest reference photo: a product is claimed only above a
bound that few photos exceed whose own product was left out, or which are of other things altogether.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from assistant.skills.own_products.views import ASKED, KNOWN
from assistant.skills.own_products.wording import Wording

# Of the most similar pairs of crops, the mean of so many.
_PAIRS = 4
# Weights of look (in standard deviations of other photos') and of text, before there is anything to fit them to; and
# how strongly they are held there: half the inverse variance of their logarithms.
_USUAL, _CAUTION = (2.0, 1.0), (1.0, 2.0)
# The share that may be claimed: of photos of products that were left out, which resemble the others; of other things.
_RELATED, _FOREIGN = 0.05, 0.02
# `Weights.sure` before there is anything to fit it to, and how strongly it is held there. Found on retakes of 22 of the
# groceries in README.md. Of the 21 others, with one and three reference photos each, it brings the calibration error
# from .11 and .09 to .05 and .06; chance alone makes .05 and .08 of so few.
_SURELY, _HELD = (-0.25, 2.1), 20.0
# How alike photos of unlike things are on average, and how much that varies; as much as so many photos tell.
_USUALLY, _SPREAD, _FEW = 0.5, 0.1, 3


NONE = -1
_NEVER = 2.0  # no likeness is higher


@dataclass(frozen=True)
class Case:
    """What is known of one photo: (references,) how ``alike`` it is to each, (products,) its ``look``, the highest of
    those, and its ``text``; -inf: not looked for. ``product``: the number of its own, or `NONE`."""

    alike: np.ndarray
    look: np.ndarray
    text: np.ndarray
    product: int = NONE

    def logits(self, usual: np.ndarray, spread: float, look: float, text: float) -> np.ndarray:
        """(products,), see `Weights`."""
        found: np.ndarray = look * (self.look - usual) / spread + text * self.text
        return found

    def without_own(self) -> Case:
        """As if its product were not there."""
        look = self.look.copy()
        look[self.product] = -np.inf
        return replace(self, look=look, product=NONE)


@dataclass(frozen=True)
class Views:
    """``vectors`` (crops, d) of a photo, unit length, all of `views.crops`, and the ``text`` in it."""

    vectors: np.ndarray
    text: str = ""


@dataclass(frozen=True)
class Reference:
    """A photo of a product: of the key ``product``, with the sha256 of its bytes. ``condition`` of a ``kind`` that it
    shows, if one was given, and ``glow``: the likeliest light of each colour (`glow_of`)."""

    product: str
    sha256: str
    views: Views
    condition: str = ""
    kind: str = ""
    glow: tuple[float, ...] = ()


@dataclass(frozen=True)
class Weights:
    """What is fitted. ``usual`` (products,): how alike photos of other things are to each, on average; ``spread``:
    their standard deviation; ``look`` and ``text``: factors of the logits; ``bound`` on the likeness;
    ``conditions``: see `conditions.Conditions`; ``sure``: what is added to the likeliest product's log odds (see
    `_ahead`). By default nothing is, as in versions from before it was fitted."""

    usual: tuple[float, ...]
    spread: float
    look: float
    text: float
    bound: float
    conditions: Sequence[Any] = ()
    sure: tuple[float, float] = (0.0, 0.0)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Weights:
        known = cls(**stored)
        return replace(known, usual=tuple(known.usual), sure=(known.sure[0], known.sure[1]))


@dataclass(frozen=True)
class Guess:
    """``probabilities`` (products,) if it is one of them. Of the ``best`` one: the number of its ``nearest`` reference
    photo, the ``likeness`` to that, whether it is ``known``, that is, more alike than other things are, and ``clear``:
    by look and text as they are, more than all others together. How sure that makes one is no reason to claim more."""

    probabilities: np.ndarray
    nearest: int
    likeness: float
    known: bool
    clear: bool

    @property
    def best(self) -> int:
        return int(self.probabilities.argmax())

    @property
    def probability(self) -> float:
        return float(self.probabilities.max())

    @property
    def claimed(self) -> bool:
        return self.known and self.clear


@dataclass(frozen=True)
class Catalogue:
    """What is compared with: ``names`` by key, with other names and codes after the first, and reference photos."""

    names: Mapping[str, tuple[str, ...]]
    references: tuple[Reference, ...]

    @cached_property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.names)

    @cached_property
    def products(self) -> np.ndarray:
        """(references,): the number of the product of each."""
        numbers = {key: number for number, key in enumerate(self.keys)}
        return np.array([numbers[one.product] for one in self.references])

    @cached_property
    def wording(self) -> Wording:
        texts = tuple((int(n), one.views.text) for n, one in zip(self.products, self.references, strict=True))
        return Wording(tuple(self.names.values()), texts)

    @cached_property
    def known(self) -> np.ndarray:
        """(references * crops, d) float32."""
        return np.concatenate([one.views.vectors[list(KNOWN)] for one in self.references]).astype(np.float32)

    def alike(self, views: Views) -> np.ndarray:
        """(references,): how alike the photo is to each."""
        asked = views.vectors[list(ASKED)] if len(views.vectors) > len(ASKED) else views.vectors
        pairs = (asked.astype(np.float32) @ self.known.T).reshape(len(asked), len(self.references), -1)
        best = np.sort(pairs.transpose(1, 0, 2).reshape(len(self.references), -1), axis=1)
        return np.asarray(best[:, -_PAIRS:].mean(axis=1))

    def case(self, views: Views, *, without: int | None = None, product: int = NONE) -> Case:
        """What look and text say of a photo. ``without``: the number of a reference photo that does not count; a
        product that has no other is not looked for."""
        alike = self.alike(views)
        if without is not None:
            alike[without] = -np.inf
        look = np.full(len(self.keys), -np.inf)
        np.maximum.at(look, self.products, alike)
        return Case(alike, look, self.wording.scores(views.text, without=without), product)


@dataclass(frozen=True)
class Recogniser:
    """A catalogue with its fitted weights; immutable and thread-safe."""

    catalogue: Catalogue
    weights: Weights

    def guess(self, views: Views, *, without: int | None = None) -> Guess:
        """``without``: as for `Catalogue.case`."""
        return self.judge(self.catalogue.case(views, without=without))

    def trial(self) -> dict[tuple[str, str], np.ndarray]:
        """(products,) probabilities of each reference photo, by product and sha256, as if it were none. Only of
        products that have others."""
        counts = np.bincount(self.catalogue.products)
        return {
            (one.product, one.sha256): self.guess(one.views, without=number).probabilities
            for number, one in enumerate(self.catalogue.references)
            if counts[self.catalogue.products[number]] > 1
        }

    def related(self) -> list[Guess]:
        """What is said of each reference photo if its product is unknown; empty with one product."""
        numbers = [int(number) for number in self.catalogue.products]
        views = [one.views for one in self.catalogue.references] if len(self.catalogue.keys) > 1 else []
        cases = [self.catalogue.case(one, product=number) for one, number in zip(views, numbers, strict=False)]
        return [self.judge(case.without_own()) for case in cases]

    def judge(self, case: Case) -> Guess:
        weights = self.weights
        logits = case.logits(np.array(weights.usual), weights.spread, weights.look, weights.text)
        own = np.where(self.catalogue.products == logits.argmax(), case.alike, -np.inf)
        nearest = int(own.argmax())
        likeness = float(own[nearest])
        clear = len(logits) == 1 or _odds(logits) >= 0
        return Guess(_probabilities(logits, weights.sure), nearest, likeness, likeness > weights.bound, clear)


def fit(catalogue: Catalogue, *, retakes: Sequence[tuple[int, Views]] = (), others: Sequence[Views] = ()) -> Recogniser:
    """``retakes``: with the numbers of the reference photos that they were made from. ``others``: photos of other
    things. Needs at least one product."""
    numbers = [int(number) for number in catalogue.products]
    several = np.bincount(numbers, minlength=len(catalogue.keys)) > 1
    left_out = [
        catalogue.case(one.views, without=number, product=numbers[number])
        for number, one in enumerate(catalogue.references)
    ]
    own = [case for case in left_out if several[case.product]]
    own += [catalogue.case(views, product=numbers[number]) for number, views in retakes]
    related = [case.without_own() for case in left_out]
    foreign = [catalogue.case(views) for views in others]
    usual, spread = _nulls([*related, *foreign])
    look, text = _factors(own, usual, spread)
    sure = _sureness([(case.logits(usual, spread, look, text), case.product) for case in own])
    blind = Recogniser(catalogue, Weights(tuple(usual.tolist()), spread, look, text, -np.inf, sure=sure))
    bound = max(
        _bound([blind.judge(case) for case in cases if np.isfinite(case.look).any()], share)
        for cases, share in ((related, _RELATED), (foreign, _FOREIGN))
    )
    if not np.isfinite(bound):  # nothing else has been seen, so nobody knows how alike other things are
        bound = _NEVER
    return Recogniser(catalogue, replace(blind.weights, bound=bound))


def _nulls(foreign: Sequence[Case]) -> tuple[np.ndarray, float]:
    """`Weights.usual` and `Weights.spread`. A product of which few photos tell has nearly the usual of all."""
    looks = np.ma.masked_invalid(np.array([case.look for case in foreign]))
    if looks.count() == 0:
        return np.full(looks.shape[1], _USUALLY), _SPREAD
    overall = float(looks.mean())
    sums, counts = looks.sum(axis=0).filled(0.0), looks.count(axis=0)
    usual = (sums + _FEW * overall) / (counts + _FEW)
    spread = float((looks - usual).std())
    return usual, (looks.count() * spread + _FEW * _SPREAD) / (looks.count() + _FEW)


def _factors(own: Sequence[Case], usual: np.ndarray, spread: float) -> tuple[float, float]:
    """Of look and text: those that give the photos' products the highest likelihood, as if one more had been wrong
    (Platt 1999), and not too far from the usual ones."""
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    if len(usual) == 1:  # there is nothing to choose from
        return _USUAL
    wrong = 1 / (len(own) + 2)

    def loss(logs: np.ndarray) -> float:
        look, text = np.exp(logs) * _USUAL
        said = 0.0
        for case in own:
            logits = case.logits(usual, spread, look, text)
            right = logits[case.product] - logsumexp(logits)
            others = logsumexp(np.delete(logits, case.product)) - logsumexp(logits)
            said -= (1 - wrong) * right + wrong * others
        return said + float((np.array(_CAUTION) * logs**2).sum())

    found = np.exp(minimize(loss, np.zeros(2), method="Nelder-Mead").x) * _USUAL
    return float(found[0]), float(found[1])


def _odds(logits: np.ndarray) -> float:
    """The log odds of the likeliest of several products."""
    *others, best = np.sort(logits)
    return float(best - np.logaddexp.reduce(others))


def _ahead(logits: np.ndarray) -> np.ndarray:
    """(2,): how far the likeliest of several products is ahead of the next one, and the same, soon 1. Both are 0 if
    they are alike: then nothing may make it surer of either."""
    second, best = np.sort(logits)[-2:]
    return np.array([best - second, np.tanh(best - second)])


def _probabilities(logits: np.ndarray, sure: tuple[float, float]) -> np.ndarray:
    """(products,): the softmax, but the likeliest as sure as `Weights.sure` says; the others share the rest, none of
    them more than it."""
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    best = int(shares.argmax())
    others = np.delete(shares, best)
    if not others.any() or sure == (0.0, 0.0):
        return np.asarray(shares)
    others /= others.sum()
    chance = 1 / (1 + np.exp(-_odds(logits) - float(_ahead(logits) @ sure)))
    chance = max(chance, float(others.max() / (1 + others.max())))
    return np.insert((1 - chance) * others, best, chance)


def _sureness(told: Sequence[tuple[np.ndarray, int]]) -> tuple[float, float]:
    """`Weights.sure` from the logits and the products of photos: logistic regression of whether the likeliest product
    is theirs (Platt 1999), held to what is usual."""
    from scipy.optimize import minimize

    told = [(logits, product) for logits, product in told if np.isfinite(logits).sum() > 1]
    if not told:
        return _SURELY
    odds = np.array([_odds(logits) for logits, _ in told])
    ahead = np.array([_ahead(logits) for logits, _ in told])
    right = np.array([float(logits.argmax() == product) for logits, product in told])
    aims = right * (1 - 2 / (len(right) + 2)) + 1 / (len(right) + 2)

    def loss(sure: np.ndarray) -> float:
        said = odds + ahead @ sure
        return float((np.logaddexp(0, said) - aims * said).sum() + _HELD * ((sure - _SURELY) ** 2).sum())

    first, second = minimize(loss, np.array(_SURELY), method="L-BFGS-B", bounds=((-0.9, None), (0, None))).x
    return float(first), float(second)


def _bound(guesses: Sequence[Guess], share: float) -> float:
    """The likeness that at most this share of foreign photos exceeds; none of them if there are few."""
    ordered = sorted((guess.likeness for guess in guesses), reverse=True)
    return ordered[int(share * len(ordered))] if ordered else -np.inf
