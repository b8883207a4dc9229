"""Changed categories, tried on past tickets before they count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from assistant.desk import learning
from assistant.desk.desk import Desk
from assistant.models import Ticket, TriageResult
from assistant.skills.taxonomy import Label
from assistant.skills.triage import categorise

TRIED_ON = 100  # of the newest tickets


@dataclass(frozen=True)
class Assigned:
    """``category``: None where triage is not sure of the likeliest, of which ``probability`` is."""

    category: str | None
    probability: float


@dataclass(frozen=True)
class Moved:
    """A ticket whose category would be another one."""

    ticket: Ticket
    now: Assigned
    then: Assigned


@dataclass(frozen=True)
class Trial:
    """``right``: of the ``decided`` tickets whose category an agent has decided, how many triage gets right now, and
    would then."""

    looked_at: int
    moved: Sequence[Moved]
    decided: int
    right: tuple[int, int]


def try_out(desk: Desk, categories: Sequence[Label], *, tickets: int = TRIED_ON) -> Trial:
    """Triage the newest tickets by their text alone, as it is done now and as it would be. Stores nothing."""
    with desk.db.read() as session:
        rows = _newest(session, tickets)
        heads = learning.current_heads(session, desk)
    plain, now = desk.capabilities.without_model, desk.taxonomy
    taxonomies = (now, replace(now, categories=tuple(categories)))
    moved, labels = [], []
    for row in rows:
        found = categorise(row.text, capabilities=plain, taxonomies=taxonomies, heads=heads)
        told = [Assigned(None if field.abstained else field.value, field.probability) for field in found]
        if told[0].category != told[1].category:
            moved.append(Moved(row.ticket, *told))
        decided = next((field.label for field in row.fields if field.name == "category"), None)
        if decided is not None:
            labels.append((told[0].category == decided, told[1].category == decided))
    right = sum(before for before, _ in labels), sum(after for _, after in labels)
    return Trial(len(rows), moved, len(labels), right)


def _newest(session: Session, count: int) -> Sequence[TriageResult]:
    """Of each of the newest tickets, its newest triage."""
    query = (
        select(TriageResult)
        .where(TriageResult.outdated.is_(False))
        .options(joinedload(TriageResult.ticket), selectinload(TriageResult.fields))
        .order_by(TriageResult.ticket_id.desc(), TriageResult.id.desc())
        .limit(2 * count)
    )
    newest: dict[int, TriageResult] = {}
    for row in session.scalars(query):
        newest.setdefault(row.ticket_id, row)
    return list(newest.values())[:count]
