"""Which product the text in a photo speaks for: words of its names, its codes, and what its reference photos show.

OCR misreads letters, so words are compared by their pairs and triples of letters. A word counts the more, the fewer
products have one like it: the company's name, which all have, says nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from assistant.text.folding import fold
from assistant.text.words import words_of

# How alike two words must be to be taken for the same one, misread. Of no word more than so many letters are compared.
_ALIKE, _LONGEST = 0.5, 24
# A word that is read in a reference photo may be anything that stood beside the product; its names are its own.
_READ = 1.0


@dataclass(frozen=True)
class Wording:
    """``names`` of each product, and the ``texts`` of all reference photos, each with the number of its product."""

    names: tuple[tuple[str, ...], ...]
    texts: tuple[tuple[int, str], ...] = ()

    def scores(self, text: str, *, without: int | None = None) -> np.ndarray:
        """(products,): how much the text speaks for each; 0 where it says nothing. ``without``: the number of a
        reference photo that does not count."""
        found = np.zeros(len(self.names))
        for word in set(_words(text)):
            known = self._known(word, without)
            if known.any():
                found += known * np.log(len(self.names) / max(1.0, float(known.sum())))
        return found

    def _known(self, word: str, without: int | None) -> np.ndarray:
        """(products,): how surely it is a word of each, 0 to 1."""
        known = np.zeros(len(self.names))
        shared: dict[int, int] = defaultdict(int)
        own = _grams(word)
        for gram in own:
            for place in self._places.get(gram, ()):
                shared[place] += 1
        for place, count in shared.items():
            entry = self._vocabulary[place]
            alike = count / (len(own) * entry.grams) ** 0.5
            if alike >= _ALIKE and entry.only_in != without:
                known[entry.product] = max(known[entry.product], alike * entry.weight)
        return known

    @cached_property
    def _words_of(self) -> Mapping[tuple[int, str], set[int]]:
        """By product and word: the photos it is read in; none for words of names."""
        found: dict[tuple[int, str], set[int]] = defaultdict(set)
        for photo, (product, text) in enumerate(self.texts):
            for word in _words(text):
                found[product, word].add(photo)
        named = {(product, word) for product, names in enumerate(self.names) for name in names for word in _words(name)}
        return found | {key: set() for key in named}

    @cached_property
    def _vocabulary(self) -> list[_Entry]:
        return [
            _Entry(product, 1.0 if not photos else _READ, len(_grams(word)), min(photos) if len(photos) == 1 else _MANY)
            for (product, word), photos in self._words_of.items()
        ]

    @cached_property
    def _places(self) -> Mapping[str, Sequence[int]]:
        """In which entries of the vocabulary each gram occurs."""
        found: dict[str, list[int]] = defaultdict(list)
        for place, (_, word) in enumerate(self._words_of):
            for gram in _grams(word):
                found[gram].append(place)
        return found


_MANY = -1


@dataclass(frozen=True)
class _Entry:
    """A product's word. ``only_in``: the number of the only photo it was read in, else `_MANY`."""

    product: int
    weight: float
    grams: int
    only_in: int


def _words(text: str) -> list[str]:
    """Shorter ones than three letters are noise of OCR, unless there are digits in them or each letter is a word."""
    found = (word[:_LONGEST] for word in words_of(fold(text)))
    return [word for word in found if len(word) > 2 or not word.isascii() or any(map(str.isdigit, word))]


def _grams(word: str) -> frozenset[str]:
    """Its pairs and triples of letters, ends marked."""
    marked = f"<{word}>"
    return frozenset(marked[at : at + size] for size in (2, 3) for at in range(len(marked) - size + 1))
