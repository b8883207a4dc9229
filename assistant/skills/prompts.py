"""The model's prompts: Jinja templates, untrusted text fenced, within a token budget.

Customers' messages, text in photos and articles are data. Each is fenced by two lines with a boundary that is random
for every prompt, so no text can close its own fence.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from assistant.text.clusters import beginning

Item = TypeVar("Item")


def render(name: str, **values: Any) -> str:
    """Render ``templates/prompts/NAME``. In it, ``{{ text | fenced }}`` marks text as data."""
    boundary = secrets.token_hex(6)
    template = _environment().get_template(name)
    return template.render(boundary=boundary, fenced=lambda text: fence(text, boundary), **values).strip()


def fence(text: str, boundary: str) -> str:
    """``text`` as data between two boundary lines; occurrences of the boundary in it are removed."""
    return f"<<<data {boundary}\n{text.replace(boundary, '')}\ndata {boundary}>>>"


def count_tokens(text: str) -> int:
    """An estimate without a tokenizer: one token per four characters, at least one per word."""
    return max(len(text) // 4, len(text.split()))


def fit(items: Sequence[Item], *, budget: int, cost: Callable[[Item], int], keep_last: int = 1) -> tuple[Item, ...]:
    """The newest items, at the end of the list, that fit into ``budget`` tokens. The last ``keep_last`` always stay."""
    fitting: list[Item] = []
    for index, item in enumerate(reversed(items)):
        price = cost(item)
        if index >= keep_last and price > budget:
            break
        budget -= price
        fitting.append(item)
    return tuple(reversed(fitting))


def shorten(text: str, *, budget: int) -> str:
    """The text without its middle if it is too long: beginning and end say the most."""
    if count_tokens(text) <= budget:
        return text
    characters = max(8, 4 * budget - 8) // 2
    head = beginning(text, characters)
    return f"{head} […] {text[len(beginning(text, len(text) - characters)) :]}"


@cache
def _environment() -> Environment:
    package = Path(__file__).parents[1]
    folders = [package.parent / "templates" / "prompts", package / "_templates" / "prompts"]
    # Prompts are not HTML: escaping would change what the model reads.
    return Environment(  # noqa: S701
        loader=FileSystemLoader(folders), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
