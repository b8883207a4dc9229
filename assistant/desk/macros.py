"""Macros: a text with placeholders and actions, of one agent, a team or everybody, used with one press.

Everybody changes their own, leads also their team's and admins all. Their text is put into the reply, and their actions
are done with it when it is sent: until then nothing has happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session, joinedload

from assistant.db import utcnow
from assistant.desk import actions, placeholders
from assistant.desk.access import AgentPrincipal, MachinePrincipal, Staff
from assistant.errors import Invalid, NotAllowed, NotFound
from assistant.models import Macro, Ticket

LONGEST_NAME = 80


class Scope(StrEnum):
    MINE = "mine"
    TEAM = "team"
    ALL = "all"


@dataclass(frozen=True)
class MacroText:
    """What somebody wants a macro to be. ``actions``: JSON, not checked yet."""

    name: str
    text: str
    actions: Sequence[dict[str, Any]]
    scope: Scope


def usable(session: Session, by: Staff) -> list[Macro]:
    """What an agent may use, the most used first; a machine what no agent has alone."""
    query = select(Macro).where(_is_for(by)).options(joinedload(Macro.agent), joinedload(Macro.team))
    return list(session.scalars(query.order_by(Macro.uses.desc(), Macro.name)))


def find(session: Session, by: Staff, public_id: str) -> Macro:
    macro = session.scalar(select(Macro).where(Macro.public_id == public_id, _is_for(by)))
    if macro is None:
        raise NotFound("There is no such macro.")
    return macro


def may_change(agent: AgentPrincipal, macro: Macro) -> bool:
    is_teams = macro.team_id is not None and macro.team_id == agent.team_id
    return agent.is_admin or macro.agent_id == agent.agent_id or (agent.leads and is_teams)


def scopes(agent: AgentPrincipal) -> list[Scope]:
    """Whose macros an agent may make."""
    teams = [Scope.TEAM] if agent.leads and agent.team_id is not None else []
    return [Scope.MINE, *teams, *([Scope.ALL] if agent.is_admin else [])]


def save(session: Session, agent: AgentPrincipal, wanted: MacroText, *, public_id: str | None = None) -> Macro:
    """Add a macro or, with an id, change one. Raises `Invalid` saying what is wrong with it."""
    name = " ".join(wanted.name.split())
    if not name or len(name) > LONGEST_NAME:
        raise Invalid(f"A macro needs a name of at most {LONGEST_NAME} characters.", field="name")
    text = placeholders.check(session, wanted.text.strip())
    parsed = actions.parse(session, list(wanted.actions))
    if not text and not parsed:
        raise Invalid("A macro needs a text or something to do.", field="text")
    macro = _changeable(session, agent, public_id) if public_id is not None else Macro(name=name)
    macro.name, macro.text, macro.updated_at = name, text, utcnow()
    macro.actions = [action.to_json() for action in parsed]
    _give_to(macro, agent, wanted.scope)
    session.add(macro)
    session.flush()
    return macro


def remove(session: Session, agent: AgentPrincipal, public_id: str) -> None:
    session.delete(_changeable(session, agent, public_id))


def text_for(macro: Macro, ticket: Ticket, by: Staff) -> str:
    """Its text as it reads for a ticket."""
    return placeholders.fill(macro.text, ticket, writer=by.name)


def perform(session: Session, by: Staff, ticket: Ticket, macro: Macro) -> actions.Applied:
    """Do its actions, and count that it was used."""
    session.execute(update(Macro).where(Macro.id == macro.id).values(uses=Macro.uses + 1))
    return actions.apply(session, ticket, actions.parse(session, macro.actions), by)


def _changeable(session: Session, agent: AgentPrincipal, public_id: str) -> Macro:
    macro = find(session, agent, public_id)
    if not may_change(agent, macro):
        who, whose = ("a lead", "a team") if macro.team_id is not None else ("an admin", "everybody")
        raise NotAllowed(f"Only {who} changes macros that {whose} has.")
    return macro


def _give_to(macro: Macro, agent: AgentPrincipal, scope: Scope) -> None:
    if scope is Scope.TEAM and agent.team_id is None:
        raise Invalid("You are in no team.", field="scope")
    if scope not in scopes(agent):
        who, whom = ("an admin", "everybody") if scope is Scope.ALL else ("a lead", "the team")
        raise NotAllowed(f"Only {who} makes macros for {whom}.")
    if scope is Scope.MINE:
        macro.agent_id, macro.team_id = macro.agent_id or agent.agent_id, None
    else:
        macro.agent_id, macro.team_id = None, (macro.team_id or agent.team_id) if scope is Scope.TEAM else None


def _is_for(agent: Staff) -> ColumnElement[bool]:
    if isinstance(agent, MachinePrincipal):
        return Macro.agent_id.is_(None)
    everybodys = and_(Macro.agent_id.is_(None), Macro.team_id.is_(None))
    teams = Macro.team_id == agent.team_id if agent.team_id is not None else Macro.id.is_(None)
    return or_(everybodys, teams, Macro.agent_id == agent.agent_id)
