"""The taxonomy: the categories, teams and products that triage chooses from. Configuration, in TOML.

A label outside it is impossible by construction: everything that proposes or stores a label takes its options here.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assistant.errors import NotReady

# The option for "this is about none of our products". No product may have this key.
NO_PRODUCT = "none"


@dataclass(frozen=True)
class Label:
    """One option. ``examples`` are sentences customers write; ``aliases`` other names that a product goes by."""

    key: str
    name: str
    description: str = ""
    examples: tuple[str, ...] = ()
    team: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Taxonomy:
    categories: tuple[Label, ...]
    teams: tuple[Label, ...]
    products: tuple[Label, ...]

    @cached_property
    def _product_patterns(self) -> list[tuple[re.Pattern[str], str]]:
        """Longest name first: "BrewMaster 300 Pro" must not be taken for "BrewMaster"."""
        names = {(name, product.key) for product in self.products for name in (product.name, *product.aliases)}
        ordered = sorted(names, key=lambda pair: (-len(pair[0]), pair))
        return [(_name_pattern(name), key) for name, key in ordered]

    def products_in(self, text: str) -> list[str]:
        """Keys of the products that a text names, in the order of the length of the name that was found."""
        found: dict[str, None] = {}
        for pattern, key in self._product_patterns:
            if pattern.search(text):
                found[key] = None
                text = pattern.sub(" ", text)
        return list(found)

    def product_named(self, title: str, opening: str) -> str | None:
        """The key of the one product that an article's title names; if it names none, the one that its opening does."""
        named = self.products_in(title) or self.products_in(opening)
        return named[0] if len(named) == 1 else None

    @cached_property
    def products_hash(self) -> str:
        """Changes when products get other names."""
        names = sorted((product.key, product.name, *product.aliases) for product in self.products)
        return hashlib.sha256(repr(names).encode()).hexdigest()[:8]

    def product_name(self, key: str) -> str:
        return next((product.name for product in self.products if product.key == key), key)


def load_taxonomy(path: Path) -> Taxonomy:
    """Read a taxonomy file. Raises `NotReady` naming the place that is wrong."""
    try:
        file = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise NotReady(
            f"The taxonomy {path.name} cannot be read: {error.strerror}. Check ASSISTANT_TAXONOMY."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NotReady(f"The taxonomy {path.name} is not TOML: {error}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = " > ".join(str(part) for part in first["loc"])
        raise NotReady(f"The taxonomy {path.name} is wrong at {place}: {first['msg']}.") from error
    taxonomy = Taxonomy(*(tuple(_label(row) for row in rows) for rows in (file.categories, file.teams, file.products)))
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


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    categories: list[_Row] = Field(min_length=2)
    teams: list[_Row] = Field(min_length=1)
    products: list[_Row] = Field(default_factory=list)


def _label(row: Any) -> Label:
    return Label(row.key, row.name, row.description, tuple(row.examples), row.team, tuple(row.aliases))


def _check(taxonomy: Taxonomy, filename: str) -> None:
    for kind in ("categories", "teams", "products"):
        keys = [label.key for label in getattr(taxonomy, kind)]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise NotReady(f"The taxonomy {filename} has {kind} twice: {', '.join(sorted(twice))}.")
    teams = {team.key for team in taxonomy.teams}
    for category in taxonomy.categories:
        if category.team is not None and category.team not in teams:
            raise NotReady(f"The taxonomy {filename}: category {category.key} names the unknown team {category.team}.")
        if not category.description and not category.examples:
            raise NotReady(f"The taxonomy {filename}: category {category.key} needs a description or examples.")
    if any(product.key == NO_PRODUCT for product in taxonomy.products):
        raise NotReady(f"The taxonomy {filename}: {NO_PRODUCT!r} means no product; choose another key.")


def _name_pattern(name: str) -> re.Pattern[str]:
    """The name as people and readers of photos write it: any case, spaces and hyphens optional between its parts."""
    parts = re.findall(r"[^\W\d_]+|\d+", name)
    return re.compile(r"(?<!\w)" + r"[\W_]{0,2}".join(map(re.escape, parts)) + r"(?!\w)", re.IGNORECASE)
