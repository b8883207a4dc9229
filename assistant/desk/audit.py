"""The audit log: who signed in, changed settings, read or erased a whole customer. Added to, read, never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.db import Database
from assistant.desk.access import AgentPrincipal, Staff
from assistant.models import Agent, APIKey, AuditEntry
from assistant.text.folding import address as folded


def record(
    session: Session,
    who: Staff,
    action: str,
    *,
    address: str,
    subject: str = "",
    fields: Sequence[str] = (),
) -> None:
    """Names of ``fields`` alone are kept: values may be secrets, or customers'."""
    name = _name_of(session, who)
    session.add(AuditEntry(agent=name, action=action, address=address, subject=subject, fields=sorted(fields)))


def record_look(db: Database, who: Staff, action: str, *, address: str, subject: str, now: datetime) -> None:
    """Somebody, or a machine with a key, looks at what is not masked. Once a day for each of them and each subject."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with db.read() as session:
        name = _name_of(session, who)
        same = select(AuditEntry.id).where(AuditEntry.at >= today, AuditEntry.agent == name)
        same = same.where(AuditEntry.action == action, AuditEntry.subject == subject)
        if session.scalar(same.limit(1)) is not None:
            return
    with db.begin() as session:
        session.add(AuditEntry(agent=name, action=action, address=address, subject=subject))


def _name_of(session: Session, who: Staff) -> str:
    """An agent's address; of a key its public id, which stays when it is renamed or replaced."""
    if isinstance(who, AgentPrincipal):
        return session.get_one(Agent, who.agent_id).email
    return session.get_one(APIKey, who.key_id).public_id


def record_command(session: Session, *, user: str, action: str, subject: str, fields: Sequence[str] = ()) -> None:
    """A command was given on the machine itself, by this user of it."""
    entry = AuditEntry(agent=user, action=action, address="command line", subject=subject, fields=sorted(fields))
    session.add(entry)


def record_retention(session: Session, inbox: str, removed: Mapping[str, int], *, user: str | None) -> None:
    """What an inbox's retention rules have removed, by the daily job or at the wish of a ``user`` of the machine."""
    what = ", ".join(f"{name} {count}" for name, count in sorted(removed.items()))
    address = "worker" if user is None else "command line"
    session.add(AuditEntry(agent=user or "retention", action="retention", address=address, subject=f"{inbox}: {what}"))


def record_refusal(session: Session, *, email: str, address: str, action: str = "sign_in_refused") -> None:
    """Somebody could not sign in. An address that no agent has is not kept: people type passwords there."""
    known = session.scalar(select(Agent.email).where(Agent.email == folded(email)))
    session.add(AuditEntry(agent=known or "unknown", action=action, address=address, subject=""))


def entries(
    session: Session, *, who: str = "", what: str = "", before: int | None = None, limit: int | None = None
) -> Sequence[AuditEntry]:
    """The newest first, older than the one with the id ``before``; of one agent, and of actions that begin so."""
    query = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit)
    if who:
        query = query.where(AuditEntry.agent == folded(who))
    if what:
        query = query.where(AuditEntry.action.startswith(what, autoescape=True))
    if before is not None:
        query = query.where(AuditEntry.id < before)
    return session.scalars(query).all()
