"""Categories changed in the console: as a draft, which is tried on past tickets, and which counts once it is published.

What was published takes the place of the categories of the taxonomy file; teams and products stay the file's. Every
process sees it within `LOOK_EVERY`, the one that publishes at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from time import monotonic
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from assistant.db import Database, utcnow
from assistant.desk.access import AgentPrincipal
from assistant.errors import Conflict, Invalid, NotFound
from assistant.models import TaxonomyVersion
from assistant.skills.taxonomy import Label, Taxonomy

LOOK_EVERY = 30.0  # seconds
_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_FEWEST = 2


class Taxonomies:
    """The taxonomy that counts now."""

    def __init__(self, db: Database, file: Taxonomy) -> None:
        self.file = file
        self._db = db
        self._version: int | None = None
        self._current = file
        self.refresh()

    def current(self) -> Taxonomy:
        if monotonic() - self._looked_at > LOOK_EVERY:
            with suppress(SQLAlchemyError):  # while the database is away, what was known goes on
                self.refresh()
        return self._current

    def refresh(self) -> None:
        """See what has been published."""
        self._looked_at = monotonic()
        with self._db.read() as session:
            row = _published(session)
            if (row.id if row is not None else None) != self._version:
                self._current = current(session, self.file)
                self._version = row.id if row is not None else None


def current(session: Session, file: Taxonomy) -> Taxonomy:
    """What was published last; the file's if nothing was."""
    row = _published(session)
    return file if row is None else replace(file, categories=_labels(row.categories, file))


def draft(session: Session, file: Taxonomy) -> tuple[Label, ...] | None:
    """The categories that somebody works on; None: nobody does."""
    row = _draft(session)
    return None if row is None else _labels(row.categories, file)


def put(session: Session, file: Taxonomy, by: AgentPrincipal, label: Label, *, is_new: bool = False) -> None:
    """Add a category to the draft, or change the one of that key. Raises `Invalid` that says what is wrong."""
    known = _worked_on(session, file)
    if not _KEY.fullmatch(label.key):
        raise Invalid(f"{label.key[:40]!r} is no key: take small letters, digits, _ and -.", field="key")
    if is_new and any(one.key == label.key for one in known):
        raise Conflict(f"There is already a category {label.key!r}.")
    if not label.name:
        raise Invalid("A category needs a name.", field="name")
    if not label.description and not label.examples:
        raise Invalid("A category needs a description or examples: triage works from them.", field="description")
    if label.team is not None and label.team not in {team.key for team in file.teams}:
        raise Invalid(f"There is no team {label.team!r}.", field="team")
    changed = [label if one.key == label.key else one for one in known]
    _save(session, by, changed if label in changed else [*changed, label])


def drop(session: Session, file: Taxonomy, by: AgentPrincipal, key: str) -> None:
    """Leave a category out of the draft."""
    known = _worked_on(session, file)
    find(known, key)
    if len(known) <= _FEWEST:
        raise Invalid(f"Triage chooses from at least {_FEWEST} categories.", field="key")
    _save(session, by, [one for one in known if one.key != key])


def find(categories: Sequence[Label], key: str) -> Label:
    label = next((one for one in categories if one.key == key), None)
    if label is None:
        raise NotFound("There is no such category.")
    return label


def publish(session: Session, by: AgentPrincipal) -> None:
    """From now on new messages are triaged by the draft. What was triaged stays as it is."""
    row = _draft(session, to_change=True)
    if row is None:
        raise Conflict("There is nothing to publish: the categories are as they count.")
    row.published_at, row.agent_id = utcnow(), by.agent_id


def discard(session: Session) -> None:
    session.execute(delete(TaxonomyVersion).where(TaxonomyVersion.published_at.is_(None)))


def _published(session: Session) -> TaxonomyVersion | None:
    query = select(TaxonomyVersion).where(TaxonomyVersion.published_at.is_not(None))
    return session.scalar(query.order_by(TaxonomyVersion.id.desc()).limit(1))


def _draft(session: Session, *, to_change: bool = False) -> TaxonomyVersion | None:
    query = select(TaxonomyVersion).where(TaxonomyVersion.published_at.is_(None))
    newest = query.order_by(TaxonomyVersion.id.desc()).limit(1)
    return session.scalar(newest.with_for_update() if to_change else newest)


def _worked_on(session: Session, file: Taxonomy) -> tuple[Label, ...]:
    row = _draft(session, to_change=True)
    return current(session, file).categories if row is None else _labels(row.categories, file)


def _save(session: Session, by: AgentPrincipal, categories: Sequence[Label]) -> None:
    row = _draft(session)
    if row is None:
        row = TaxonomyVersion()
        session.add(row)
    row.categories = [_written(label) for label in categories]
    row.agent_id, row.created_at = by.agent_id, utcnow()
    session.flush()


def _written(label: Label) -> dict[str, Any]:
    kept = {name: value for name, value in asdict(label).items() if name not in ("aliases", "inboxes")}
    return {**kept, "examples": list(label.examples)}


def _labels(rows: Sequence[Mapping[str, Any]], file: Taxonomy) -> tuple[Label, ...]:
    """A team that has left the file is none."""
    teams = {team.key for team in file.teams}
    return tuple(
        Label(
            row["key"],
            row["name"],
            row["description"],
            tuple(row["examples"]),
            row["team"] if row["team"] in teams else None,
        )
        for row in rows
    )
