"""The sample company, Lumora: articles, taxonomy, tickets and photos for the demo. All invented for this product."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

COMPANY = "Lumora"
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class DemoTicket:
    """A ticket as a customer sends it. ``photos`` are files that exist."""

    requester_name: str
    requester_email: str
    subject: str
    text: str
    photos: tuple[Path, ...]


def articles_dir() -> Path:
    """Markdown with front matter: title, product (a key of the taxonomy), language, visibility, url."""
    return _HERE / "articles"


def taxonomy_path() -> Path:
    return _HERE / "taxonomy.toml"


def photos_dir() -> Path:
    return _HERE / "photos"


def demo_tickets() -> tuple[DemoTicket, ...]:
    """In a fixed order: the demo's idempotency keys contain their numbers."""
    rows = tomllib.loads((_HERE / "tickets.toml").read_text(encoding="utf-8"))["tickets"]
    return tuple(DemoTicket(**{**row, "photos": tuple(photos_dir() / name for name in row["photos"])}) for row in rows)
