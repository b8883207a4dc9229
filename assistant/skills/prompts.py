"""The model's prompts: Jinja files, with untrusted text fenced, within a budget of tokens.

Customers' words, text in photos and articles are data. Each is put between two lines with a boundary that is drawn
anew for every prompt, so that no text can close its own fence.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

Item = TypeVar("Item")


def render(name: str, **values: Any) -> str:
    """Render ``templates/prompts/NAME``. In it, ``{{ text | fenced }}`` marks text as data."""
    boundary = secrets.token_hex(6)
    template = _environment().get_template(name)
    return template.render(boundary=boundary, fenced=lambda text: fence(text, boundary), **values).strip()


def fence(text: str, boundary: str) -> str:
    """``text`` as data between two boundary lines; anything in it that looks like the boundary is taken out."""
    return f"<<<data {boundary}\n{text.replace(boundary, '')}\ndata {boundary}>>>"


def count_tokens(text: str) -> int:
    """An estimate where no tokenizer is at hand: four characters a token, never less than one a word."""
    return max(len(text) // 4, len(text.split()))


def fit(items: Sequence[Item], *, budget: int, cost: Callable[[Item], int], keep_last: int = 1) -> tuple[Item, ...]:
    """The newest items (the last ones) that fit into ``budget`` tokens: the oldest go first, the last ones never."""
    kept: list[Item] = []
    for index, item in enumerate(reversed(items)):
        price = cost(item)
        if index >= keep_last and price > budget:
            break
        budget -= price
        kept.append(item)
    return tuple(reversed(kept))


def shorten(text: str, *, budget: int) -> str:
    """A text that is too long, with its middle left out: beginning and end say most."""
    if count_tokens(text) <= budget:
        return text
    characters = max(8, 4 * budget - 8) // 2
    return f"{text[:characters]} […] {text[-characters:]}"


@cache
def _environment() -> Environment:
    package = Path(__file__).parents[1]
    folders = [package.parent / "templates" / "prompts", package / "_templates" / "prompts"]
    # These are prompts, not pages: escaping for HTML would change what the model reads.
    return Environment(  # noqa: S701
        loader=FileSystemLoader(folders), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
