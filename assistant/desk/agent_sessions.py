"""Browsers in which agents are signed in: begun, recognised by a token, listed, and ended from anywhere.

The cookie holds the token, the database decides: a session ends by signing out, here or from another browser, with the
password, with the account, after `Settings.session_idle_hours` without a request, and after `Settings.session_days`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, joinedload

from assistant.db import Database, utcnow
from assistant.desk.access import AgentPrincipal
from assistant.models import Agent, AgentSession
from assistant.settings import Settings

_SEEN_EVERY = timedelta(minutes=5)
KEEP = timedelta(days=30)  # once they are over
_LONGEST = 300  # characters of what a browser says that it is


@dataclass(frozen=True)
class SignedIn:
    """An agent in a browser."""

    principal: AgentPrincipal
    session_id: str


def begin(session: Session, principal: AgentPrincipal, *, address: str, browser: str) -> str:
    """Returns the token, which is not kept."""
    token = secrets.token_urlsafe(32)
    where = {"address": address, "browser": browser[:_LONGEST]}
    session.add(AgentSession(agent_id=principal.agent_id, token_hash=_hash(token), **where))
    return token


def authenticate(db: Database, settings: Settings, token: str) -> SignedIn | None:
    """Whose token it is; None if its session is over or its agent deactivated."""
    now = utcnow()
    with db.read() as session:
        query = select(AgentSession).where(AgentSession.token_hash == _hash(token), *_valid(settings, now))
        query = query.options(joinedload(AgentSession.agent).joinedload(Agent.team))
        row = session.scalar(query)
        if row is None or row.agent.deactivated_at is not None:
            return None
        signed_in = SignedIn(AgentPrincipal.of(row.agent), row.public_id)
    if now - row.last_used_at > _SEEN_EVERY:
        with (
            suppress(DBAPIError),
            db.begin() as session,
        ):  # a page is worth more than the time at which it was asked for
            session.execute(update(AgentSession).where(AgentSession.id == row.id).values(last_used_at=now))
    return signed_in


def valid_sessions(session: Session, settings: Settings, principal: AgentPrincipal) -> Sequence[AgentSession]:
    """The agent's own, the one used last first."""
    query = select(AgentSession).where(AgentSession.agent_id == principal.agent_id, *_valid(settings, utcnow()))
    return session.scalars(query.order_by(AgentSession.last_used_at.desc(), AgentSession.id.desc())).all()


def end(session: Session, agent_id: int, *, only: str | None = None, all_but: str | None = None) -> int:
    """End an agent's sessions: all, the one with the id ``only``, or all but the one with the id ``all_but``. Returns
    how many there were; ended ones are left out."""
    query = update(AgentSession).where(AgentSession.agent_id == agent_id, AgentSession.ended_at.is_(None))
    if only is not None:
        query = query.where(AgentSession.public_id == only)
    if all_but is not None:
        query = query.where(AgentSession.public_id != all_but)
    return int(session.execute(query.values(ended_at=utcnow())).rowcount)  # type: ignore[attr-defined]


def sweep(db: Database, settings: Settings, *, now: datetime) -> None:
    """Forget sessions that have long been over."""
    before = now - KEEP
    with db.begin() as session:
        over = AgentSession.created_at < before - timedelta(days=settings.session_days)
        session.execute(delete(AgentSession).where(over | (AgentSession.ended_at < before)))


def _valid(settings: Settings, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        AgentSession.ended_at.is_(None),
        AgentSession.last_used_at > now - timedelta(hours=settings.session_idle_hours),
        AgentSession.created_at > now - timedelta(days=settings.session_days),
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
