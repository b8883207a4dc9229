"""Categories changed by admins and by machines: as a draft, which is tried on past tickets, and which counts once it is
published.

What was published takes the place of the categories of the taxonomy file; teams stay the file's, and so do products,
which those of the version that serves join (`assistant.desk.products`). Every process sees it within `LOOK_EVERY`, the
one that publishes at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from time import monotonic
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, joinedload

from assistant.db import Database, take_turns, utcnow
from assistant.desk.access import AgentPrincipal, Staff
from assistant.errors import Conflict, Invalid, NotFound, PreconditionFailed
from assistant.models import Agent, APIKey, HeadState, ProductHead, TaxonomyVersion
from assistant.skills.taxonomy import NO_PRODUCT, Label, Taxonomy

LOOK_EVERY = 30.0  # seconds
OF_FILE = 0  # the version of the taxonomy file's categories
_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_FEWEST = 2


@dataclass(frozen=True)
class Version:
    """Categories as they counted once, or are worked on. ``by``: who published or last saved them, as far as they are
    still known. The file's have neither ``at`` nor ``by``."""

    number: int
    categories: tuple[Label, ...]
    at: datetime | None = None
    by: Agent | APIKey | None = None


class Taxonomies:
    """The taxonomy that counts now."""

    def __init__(self, db: Database, file: Taxonomy) -> None:
        self.file = file
        self._db = db
        self._seen: tuple[int | None, int | None] = (None, None)
        self._current = file
        self.refresh()

    def current(self) -> Taxonomy:
        if monotonic() - self._looked_at > LOOK_EVERY:
            with suppress(SQLAlchemyError):  # while the database is away, what was known goes on
                self.refresh()
        return self._current

    def refresh(self) -> None:
        """See what has been published, and which products have been learned."""
        self._looked_at = monotonic()
        with self._db.read() as session:
            published, (products, _) = _published(session), _learned(session)
            seen = (published.id if published else None, products)
            if seen != self._seen:
                self._current, self._seen = current(session, self.file), seen


def current(session: Session, file: Taxonomy) -> Taxonomy:
    """The categories that were published last, the file's if none were; the products of the file and those learned."""
    row, (_, learned) = _published(session), _learned(session)
    taxonomy = file if row is None else replace(file, categories=_labels(row.categories, file))
    known = {NO_PRODUCT, *(product.key for product in file.products)}
    labels = tuple(
        Label(key, name, aliases=tuple(aliases), learned=True)
        for key, (name, *aliases) in sorted(learned.items())
        if key not in known
    )
    return replace(taxonomy, products=(*file.products, *labels)) if labels else taxonomy


def draft(session: Session, file: Taxonomy) -> Version | None:
    """What somebody works on; None: nobody does."""
    row = _draft(session)
    return None if row is None else _version(row, file, row.created_at)


def versions(session: Session, file: Taxonomy) -> list[Version]:
    """All that counted, the newest first; the last is the file's."""
    query = select(TaxonomyVersion).where(TaxonomyVersion.published_at.is_not(None))
    query = query.order_by(TaxonomyVersion.id.desc())
    rows = session.scalars(query.options(joinedload(TaxonomyVersion.agent), joinedload(TaxonomyVersion.api_key)))
    published = [_version(row, file, row.published_at) for row in rows]
    return [*published, Version(OF_FILE, file.categories)]


def find_version(session: Session, file: Taxonomy, number: int) -> Version:
    found = next((one for one in versions(session, file) if one.number == number), None)
    if found is None:
        raise NotFound("There is no such version of the categories.")
    return found


def revision(session: Session, file: Taxonomy) -> str:
    """Of what a change of the draft begins with, in digits: another one whenever that is something else."""
    known = _worked_on(session, file)
    digest = hashlib.sha256(repr([_written(label) for label in known]).encode()).digest()
    return str(int.from_bytes(digest[:7]))


def require_revision(session: Session, file: Taxonomy, expected: str | None) -> None:
    """Raises `PreconditionFailed` if what a change begins with is not in the revision ``expected``; None: whatever it
    is. Others who change it wait until the transaction is over."""
    _lock(session)
    if expected is not None and revision(session, file) != expected:
        raise PreconditionFailed("The draft has been changed since. Read it again, and decide anew.")


def put(session: Session, file: Taxonomy, by: Staff, label: Label, *, is_new: bool = False) -> None:
    """Add a category to the draft, or change the one of that key. Raises `Invalid` that says what is wrong."""
    _lock(session)
    known = _worked_on(session, file)
    _check(label, file)
    if is_new and any(one.key == label.key for one in known):
        raise Conflict(f"There is already a category {label.key!r}.")
    changed = [label if one.key == label.key else one for one in known]
    _save(session, by, changed if label in changed else [*changed, label])


def put_all(session: Session, file: Taxonomy, by: Staff, labels: Sequence[Label]) -> None:
    """Put these in the place of the draft's categories. Raises `Invalid` that names the place of what is wrong."""
    _lock(session)
    _check_count(labels)
    seen: set[str] = set()
    for at, label in enumerate(labels):
        place = f"categories.{at}."
        _check(label, file, place)
        if label.key in seen:
            raise Invalid(f"The category {label.key!r} is there twice.", field=f"{place}key")
        seen.add(label.key)
    _save(session, by, labels)


def drop(session: Session, file: Taxonomy, by: Staff, key: str) -> None:
    """Leave a category out of the draft."""
    _lock(session)
    known = _worked_on(session, file)
    find(known, key)
    left = [one for one in known if one.key != key]
    _check_count(left)
    _save(session, by, left)


def restore(session: Session, file: Taxonomy, by: Staff, number: int, *, replaces: bool = False) -> None:
    """Bring the categories of a version back, as a draft. ``replaces``: in the place of one that there is."""
    _lock(session)
    if not replaces and _draft(session) is not None:
        raise Conflict("Somebody works on a draft. Publish or discard it first.")
    _save(session, by, find_version(session, file, number).categories)


def _check(label: Label, file: Taxonomy, place: str = "") -> None:
    if not _KEY.fullmatch(label.key):
        raise Invalid(f"{label.key[:40]!r} is no key: take small letters, digits, _ and -.", field=f"{place}key")
    if not label.name:
        raise Invalid("A category needs a name.", field=f"{place}name")
    if not label.description and not label.examples:
        raise Invalid(
            "A category needs a description or examples: triage works from them.", field=f"{place}description"
        )
    teams = [team.key for team in file.teams]
    if label.team is not None and label.team not in teams:
        known = f"Choose from: {', '.join(teams)}."
        raise Invalid(f"There is no team {label.team[:40]!r}. {known}", field=f"{place}team")


def _check_count(labels: Sequence[Label]) -> None:
    if len(labels) < _FEWEST:
        raise Invalid(f"Triage chooses from at least {_FEWEST} categories.", field="categories")


def find(categories: Sequence[Label], key: str) -> Label:
    label = next((one for one in categories if one.key == key), None)
    if label is None:
        raise NotFound("There is no such category.")
    return label


def publish(session: Session, by: Staff) -> int:
    """From now on new messages are triaged by the draft. What was triaged stays as it is. Returns its number."""
    _lock(session)
    row = _draft(session)
    if row is None:
        raise Conflict("There is nothing to publish: the categories are as they count.")
    row.published_at = utcnow()
    _sign(row, by)
    session.flush()
    return row.id


def discard(session: Session) -> None:
    _lock(session)
    session.execute(delete(TaxonomyVersion).where(TaxonomyVersion.published_at.is_(None)))


def _lock(session: Session) -> None:
    take_turns(session, "draft of categories")


def _published(session: Session) -> TaxonomyVersion | None:
    query = select(TaxonomyVersion).where(TaxonomyVersion.published_at.is_not(None))
    return session.scalar(query.order_by(TaxonomyVersion.id.desc()).limit(1))


def _learned(session: Session) -> tuple[int | None, dict[str, list[str]]]:
    """The version of the products that serves, and their names by their keys."""
    query = select(ProductHead.id, ProductHead.names).where(ProductHead.state == HeadState.SERVED)
    number, names = session.execute(query).one_or_none() or (None, {})
    return number, names


def _draft(session: Session) -> TaxonomyVersion | None:
    query = select(TaxonomyVersion).where(TaxonomyVersion.published_at.is_(None))
    return session.scalar(query.order_by(TaxonomyVersion.id.desc()).limit(1))


def _worked_on(session: Session, file: Taxonomy) -> tuple[Label, ...]:
    row = _draft(session)
    return current(session, file).categories if row is None else _labels(row.categories, file)


def _save(session: Session, by: Staff, categories: Iterable[Label]) -> None:
    row = _draft(session)
    if row is None:
        row = TaxonomyVersion()
        session.add(row)
    row.categories = [_written(label) for label in categories]
    row.created_at = utcnow()
    _sign(row, by)
    session.flush()


def _sign(row: TaxonomyVersion, by: Staff) -> None:
    row.agent_id, row.api_key_id = (by.agent_id, None) if isinstance(by, AgentPrincipal) else (None, by.key_id)


def _version(row: TaxonomyVersion, file: Taxonomy, at: datetime | None) -> Version:
    return Version(row.id, _labels(row.categories, file), at, row.agent or row.api_key)


def _written(label: Label) -> dict[str, Any]:
    kept = {name: value for name, value in asdict(label).items() if name not in ("aliases", "inboxes", "learned")}
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
