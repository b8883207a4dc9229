"""What the identifiers of a query tell about passages.

An identifier that few passages carry says which passage answers. One that many carry, such as the name of a product
that stands above every passage about it, says nothing about that. "Few" is counted among the passages about the same
product, so that a code that nine machines share still tells the passages of each machine apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from assistant.retrieval.fulltext import READ_AT_MOST, READ_AT_MOST_POSTGRESQL, Filters, find_code
from assistant.retrieval.vectors import NO_PRODUCT, Vectors
from assistant.text.identifiers import certain, other_forms, spot
from assistant.text.names import Names

_MOST_CODES = 16
# An identifier in this many passages of an article or product may be its name.
_NAMES_FROM = 3
# The weight of an identifier that tells a passage from others: at most about twenty carry it.
_TELLING = 0.25
# It is the product's name if nearly all of its passages carry it.
_NEARLY_ALL = 0.8


@dataclass(frozen=True)
class Identifier:
    """``rows``: the passages that carry it, ascending. ``about``: those, and the passages of articles that it names;
    ``weights``, (len(about),) 0 to 1: how much it says about each. ``sure``: whether it cannot be a mere number."""

    code: str
    sure: bool
    rows: np.ndarray
    about: np.ndarray
    weights: np.ndarray
    articles: np.ndarray  # places of the articles that it names
    groups: np.ndarray  # groups of passages (`Vectors.groups`) whose product it names

    def limited_to(self, fits: np.ndarray) -> Identifier:
        """As it counts if only passages that fit, (n,) bool, can be meant."""
        kept = fits[self.about]
        rows = self.rows[fits[self.rows]]
        return replace(self, rows=rows, about=self.about[kept], weights=self.weights[kept])

    def says(self, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) its weights for these passages; 0 for those that it says nothing about."""
        weights = np.zeros(len(rows), dtype=np.float32)
        if len(self.about):
            places = np.searchsorted(self.about, rows).clip(max=len(self.about) - 1)
            here = self.about[places] == rows
            weights[here] = self.weights[places[here]]
        return weights

    def tells(self, row: int) -> bool:
        """Whether the passage carries it, and few others do."""
        return bool(row in self.rows and self.says(np.array([row]))[0] >= _TELLING)

    def names(self, vectors: Vectors, row: int) -> bool:
        """Whether it is the name of the passage's article or product, or in too many passages to tell them apart."""
        named = vectors.places[row] in self.articles or vectors.groups[row] in self.groups
        return bool(named or (row in self.rows and not self.tells(row)))


@dataclass(frozen=True)
class Asked:
    """What a query names. ``products``: those of the filter, else those that the query names; ``groups`` and ``about``:
    their groups of passages and the passages themselves. ``identifiers``: as they count for these products. ``names``:
    identifiers that are part of a product's name. ``elsewhere``: those that only passages about other products carry;
    ``unknown``: those that none carries."""

    products: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()
    about: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    identifiers: tuple[Identifier, ...] = ()
    names: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def preference(self, vectors: Vectors, rows: np.ndarray) -> np.ndarray:
        """(len(rows),) 1 for passages about the products and of articles that an identifier names, 0.5 for passages
        about no product, 0 for those about others; 0 for all if nothing is named."""
        groups = vectors.groups[rows]
        preferred = np.isin(groups, self.groups).astype(np.float32)
        if self.products or self.groups:
            preferred[groups == NO_PRODUCT] = 0.5
        for one in self.identifiers:
            preferred[np.isin(vectors.places[rows], one.articles)] = 1.0
        return preferred

    def of(self, vectors: Vectors, row: int) -> dict[str, Any]:
        """What is known of a passage. ``codes``: the identifiers that it carries and few others do. ``names``: those
        that name its product or article, or are in too many passages to tell them apart. ``fits``: whether it is about
        the products; None if it is about none, or none is known. ``elsewhere``, ``unknown``: as above, the same for all
        passages."""
        group = vectors.groups[row]
        of_none = group == NO_PRODUCT or not (self.products or self.groups)
        return {
            "codes": [one.code for one in self.identifiers if one.tells(row)],
            "names": [*self.names, *(one.code for one in self.identifiers if one.names(vectors, row))],
            "fits": None if of_none else bool(group in self.groups),
            "elsewhere": list(self.elsewhere),
            "unknown": list(self.unknown),
        }


def asked_in(session: Session, vectors: Vectors, text: str, *, filters: Filters, names: Names) -> Asked:
    """``names``: of products, with the products as keys."""
    allowed = vectors.allowed(filters)
    named = names.find(text)
    found = _identifiers(session, vectors, named.rest, filters=filters, allowed=allowed)
    products = filters.products or named.keys
    groups = vectors.groups_of(products) if products else sorted({int(g) for one in found for g in one.groups})
    limited = found
    if products or groups:
        fits = np.isin(vectors.groups, [*groups, NO_PRODUCT])
        limited = [one.limited_to(fits) for one in found]
    return Asked(
        products=tuple(products),
        groups=tuple(groups),
        about=np.flatnonzero(np.isin(vectors.groups, groups) & allowed) if groups else np.zeros(0, dtype=np.int64),
        identifiers=tuple(limited),
        names=tuple(sorted(set(spot(text)) - set(spot(named.rest)))),
        elsewhere=tuple(
            one.code for one, own in zip(found, limited, strict=True) if len(one.rows) > len(own.rows) == 0
        ),
        unknown=tuple(_unknown(found)),
    )


def _identifiers(
    session: Session, vectors: Vectors, text: str, *, filters: Filters, allowed: np.ndarray
) -> list[Identifier]:
    """``allowed``, (n,) bool: the passages that may be found."""
    most = READ_AT_MOST if vectors.in_memory else READ_AT_MOST_POSTGRESQL
    sure = certain(text)
    found = []
    for code in spot(text)[:_MOST_CODES]:
        rows = vectors.rows(_find_any_form(session, code, filters, limit=most))
        identifier = _identifier(vectors, code, rows[allowed[rows]], allowed=allowed, sure=code in sure)
        # Not all of its passages have been read, and so many say nothing.
        found.append(identifier if len(rows) < most else replace(identifier, weights=0 * identifier.weights))
    return found


def _find_any_form(session: Session, code: str, filters: Filters, *, limit: int) -> list[int]:
    """Ids of passages with the identifier; if there are none, with the nearest other form of it that occurs."""
    for form in (code, *other_forms(code)):
        if found := find_code(session, form, filters=filters, limit=limit):
            return found
    return []


def _identifier(vectors: Vectors, code: str, rows: np.ndarray, *, allowed: np.ndarray, sure: bool) -> Identifier:
    articles = _named_articles(vectors, rows)
    about = rows
    if len(articles):
        about = np.union1d(rows, np.flatnonzero(np.isin(vectors.places, articles) & allowed))
    sizes = np.bincount(vectors.groups[allowed])
    carrying = np.bincount(vectors.groups[about], minlength=len(sizes))
    weights = np.array([_weight(n, of) for n, of in zip(carrying.tolist(), sizes.tolist(), strict=True)])
    named = np.flatnonzero((carrying >= _NAMES_FROM) & (carrying >= _NEARLY_ALL * sizes))
    groups = named[named != NO_PRODUCT]
    return Identifier(code, sure, rows, about, weights[vectors.groups[about]], articles, groups)


def _weight(carrying: int, of: int) -> float:
    """1 if one passage carries it, 0 if all of many do."""
    return (1 - (carrying - 1) / of) / (1 + math.log(carrying)) if carrying else 0.0


def _named_articles(vectors: Vectors, rows: np.ndarray) -> np.ndarray:
    """Places of the articles that an identifier names, as "X4" names the manual of the TrailMaster X4: it occurs in the
    first passage and in several others. The whole article is about it, whether a passage repeats it or not."""
    places, counts = np.unique(vectors.places[rows], return_counts=True)
    often = places[counts >= _NAMES_FROM]
    first = np.array([np.argmax(vectors.places == place) for place in often], dtype=np.int64)
    named: np.ndarray = often[np.isin(first, rows)]
    return named


def _unknown(identifiers: Sequence[Identifier]) -> list[str]:
    """The identifiers that no passage carries and that are not another spelling of one that some passage carries."""
    known = [one.code for one in identifiers if len(one.rows)]
    return [
        one.code
        for one in identifiers
        if one.sure
        and not len(one.rows)
        and not any(one.code == f"E{code}" or code == f"E{one.code}" for code in known)
    ]
