"""The taxonomy: the categories, teams and products that triage chooses from, configured in a TOML file. Products that
were learned from photos join it.

Labels outside it are impossible by construction: whatever proposes or stores a label takes its options from here.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant import sample
from assistant.errors import NotReady
from assistant.text.identifiers import certain
from assistant.text.names import Names

# The option for "not about any of our products". No product may have this key.
NO_PRODUCT = "none"
# Longer identifiers are serial and order numbers, which no two tickets share.
_LONGEST_CODE = 6
_MOST_CODES = 3


@dataclass(frozen=True)
class Label:
    """One option. ``examples`` are sentences as customers write them; ``aliases`` are a product's other names.
    ``inboxes``: keys of those that a product is sold through; none: all. ``learned``: a product that the file does not
    have; it is known by photos of it, not by its name on something."""

    key: str
    name: str
    description: str = ""
    examples: tuple[str, ...] = ()
    team: str | None = None
    aliases: tuple[str, ...] = ()
    inboxes: tuple[str, ...] = ()
    learned: bool = field(default=False, repr=False)


@dataclass(frozen=True)
class Taxonomy:
    categories: tuple[Label, ...]
    teams: tuple[Label, ...]
    products: tuple[Label, ...]

    @cached_property
    def of_file(self) -> tuple[Label, ...]:
        """The products that were not learned."""
        return tuple(one for one in self.products if not one.learned)

    def of_inbox(self, key: str) -> Taxonomy:
        """With the products of one inbox only."""
        products = tuple(one for one in self.products if not one.inboxes or key in one.inboxes)
        return self if products == self.products else replace(self, products=products)

    @cached_property
    def product_names(self) -> tuple[tuple[str, str], ...]:
        """Every name of a product with the product's key."""
        return tuple((name, product.key) for product in self.products for name in (product.name, *product.aliases))

    @cached_property
    def _names(self) -> Names:
        return Names(self.product_names)

    @cached_property
    def _printed_names(self) -> Names:
        printed = replace(self, products=self.of_file).product_names
        return Names(tuple(pair for pair in printed if pair[0] != pair[0].lower()))

    def products_in(self, text: str) -> list[str]:
        """Keys of the products named in the text, the longest name first."""
        return list(self._names.find(text).keys)

    def products_printed_in(self, text: str) -> list[str]:
        """Keys of the file's products whose names are printed on something. A name in small letters, such as "iron",
        says what kind of thing it is: that also stands on what is no product of ours."""
        return list(self._printed_names.find(text).keys)

    def places_of(self, product: str, text: str) -> list[tuple[int, int]]:
        """Where the text names the product with this key: (start, end) in characters."""
        return [(start, end) for start, end, keys in self._names.find(text).places if product in keys]

    def without_products(self, text: str) -> str:
        """The text without names of products."""
        return self._names.find(text).rest

    def codes_in(self, texts: Iterable[str]) -> list[str]:
        """Up to three canonical codes in texts, those first that most of them have. Names of products are none."""
        counts: dict[str, int] = {}
        for text in texts:
            for code in certain(self.without_products(text)):
                if len(code) <= _LONGEST_CODE:
                    counts[code] = counts.get(code, 0) + 1
        return sorted(counts, key=lambda code: (-counts[code], code))[:_MOST_CODES]

    def product_named(self, title: str, opening: str) -> str | None:
        """The key of the only product in an article's title or, if the title has none, in its opening."""
        named = self.products_in(title) or self.products_in(opening)
        return named[0] if len(named) == 1 else None

    @cached_property
    def revision(self) -> str:
        """Changes with anything that triage chooses from."""
        return hashlib.sha256(repr((self.categories, self.teams, self.products)).encode()).hexdigest()[:12]

    @cached_property
    def products_hash(self) -> str:
        """Changes when products are renamed."""
        names = sorted((product.key, product.name, *product.aliases) for product in self.products)
        return hashlib.sha256(repr(names).encode()).hexdigest()[:8]

    @cached_property
    def names_by_key(self) -> dict[str, str]:
        """What products are called."""
        return {product.key: product.name for product in self.products}

    def product_name(self, key: str) -> str:
        return self.names_by_key.get(key, key)


def load_taxonomy(path: Path | None = None) -> Taxonomy:
    """Read a taxonomy file, the sample company's by default. Raises `NotReady` that says where the error is."""
    path = path or sample.taxonomy_path()
    try:
        file = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise NotReady(
            f"The taxonomy {path.name} cannot be read: {error.strerror}. Check ASSISTANT_TAXONOMY."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NotReady(f"The taxonomy {path.name} is not valid TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = " > ".join(str(part) for part in first["loc"])
        raise NotReady(f"The taxonomy {path.name} has an error at {place}: {first['msg']}.") from error
    rows = (file.categories, file.teams, file.products)
    taxonomy = Taxonomy(*(tuple(row.to_label() for row in group) for group in rows))
    _check(taxonomy, path.name)
    return taxonomy


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    key: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    name: str = Field(min_length=1)
    description: str = ""
    examples: list[str] = Field(default_factory=list)
    team: str | None = None
    aliases: list[str] = Field(default_factory=list)
    inboxes: list[str] = Field(default_factory=list)

    def to_label(self) -> Label:
        examples, aliases = tuple(self.examples), tuple(self.aliases)
        return Label(self.key, self.name, self.description, examples, self.team, aliases, tuple(self.inboxes))


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    categories: list[_Row] = Field(min_length=2)
    teams: list[_Row] = Field(min_length=1)
    products: list[_Row] = Field(default_factory=list)


def _check(taxonomy: Taxonomy, filename: str) -> None:
    for kind in ("categories", "teams", "products"):
        keys = [label.key for label in getattr(taxonomy, kind)]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise NotReady(f"The taxonomy {filename} repeats keys in {kind}: {', '.join(sorted(twice))}.")
    teams = {team.key for team in taxonomy.teams}
    for category in taxonomy.categories:
        if category.team is not None and category.team not in teams:
            raise NotReady(f"The taxonomy {filename}: category {category.key} has an unknown team, {category.team}.")
        if not category.description and not category.examples:
            raise NotReady(f"The taxonomy {filename}: category {category.key} needs a description or examples.")
    if any(product.key == NO_PRODUCT for product in taxonomy.products):
        raise NotReady(f"The taxonomy {filename}: the product key {NO_PRODUCT!r} is reserved; choose another one.")
