"""Auto-assignment: tickets of a team that wait for a person go to one of its agents by themselves.

* `round_robin`: to whom none was given for the longest time. `least_busy`: to who has the fewest to work on.
* The most urgent first, then the longest waiting. Agents who are away, or have as many as their capacity, get none.
  What nobody can take waits, until somebody comes back, solves one or gets more capacity.
* Only what waits for a person and is nobody's is given to anybody. An agent may always take or be given more by hand.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, case, func, or_, select
from sqlalchemy.orm import Session

from assistant.db import utcnow
from assistant.desk import queue, state
from assistant.desk.desk import Desk
from assistant.desk.people import find_team
from assistant.desk.subscribers import ASSIGN
from assistant.errors import Invalid, NotFound
from assistant.models import (
    Agent,
    AgentRole,
    Assignment,
    Conversation,
    ConversationState,
    Priority,
    Team,
    Ticket,
    TicketStatus,
)

MOST = 1000  # tickets at once that a capacity may allow
_WORKED_ON = (TicketStatus.NEW, TicketStatus.OPEN)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def set_assignment(session: Session, team_key: str, how: str) -> Team:
    """How the tickets of a team are given out. Raises `Invalid` with what is possible."""
    team = find_team(session, team_key)
    if how not in list(Assignment):
        raise Invalid(f"{how!r} is none of {', '.join(Assignment)}.", field="assignment")
    team.assignment = Assignment(how)
    session.flush()
    look(session, team.id)
    return team


def set_capacity(session: Session, agent: Agent, capacity: int | None) -> None:
    """How many tickets an agent is given to work on at once; None: any number."""
    if capacity is not None and not 0 <= capacity <= MOST:
        raise Invalid(f"A capacity is from 0 to {MOST}.", field="capacity")
    agent.capacity = capacity
    session.flush()
    look(session, agent.team_id)


def set_away(session: Session, agent: Agent, *, away: bool) -> None:
    """Whether an agent is given tickets. They keep those that they have. What they are already is a no-op."""
    if away != (agent.away_since is not None):
        agent.away_since = utcnow() if away else None
        session.flush()
        look(session, agent.team_id)


def named(session: Session, email: str) -> Agent:
    agent = session.scalar(select(Agent).where(Agent.email == email.strip().lower(), Agent.deactivated_at.is_(None)))
    if agent is None:
        raise NotFound(f"There is no agent {email!r}.")
    return agent


def overview(session: Session) -> list[dict[str, Any]]:
    """Every team, with its agents."""
    agents = session.scalars(select(Agent).where(Agent.deactivated_at.is_(None)).order_by(Agent.email)).all()
    return [
        {
            "team": team.key,
            "assignment": team.assignment.value,
            "agents": [
                {"email": agent.email, "capacity": agent.capacity, "away": agent.away_since is not None}
                for agent in agents
                if agent.team_id == team.id
            ],
        }
        for team in session.scalars(select(Team).order_by(Team.key))
    ]


def look(session: Session, team_id: int | None) -> None:
    """Have a team's waiting tickets given out, by a job."""
    if team_id is not None:
        queue.enqueue(session, ASSIGN, {"team_id": team_id}, key=f"{ASSIGN}:{team_id}")


def assign_waiting(desk: Desk, team_id: int) -> None:
    """Job: give out what waits for a team, one ticket in a transaction."""
    while _assign_one(desk, team_id):
        pass


def _assign_one(desk: Desk, team_id: int) -> bool:
    with desk.db.begin() as session:
        # One at a time for a team, so that nobody is given more than they can take. Tickets may still point at it.
        query = select(Team).where(Team.id == team_id, Team.assignment != Assignment.OFF)
        team = session.scalar(query.with_for_update(key_share=True))
        if team is None:
            return False
        ticket, agent = _next_ticket(session, team_id), _next_agent(session, team)
        if ticket is None or agent is None:
            return False
        conversation = state.lock_conversation(session, ticket.conversation_id)
        session.refresh(ticket)
        if conversation.state is ConversationState.HANDED_OFF and ticket.agent_id is None:
            state.change_ticket(session, ticket, agent=agent)
            agent.given_at = utcnow()
        return True


def _next_ticket(session: Session, team_id: int) -> Ticket | None:
    urgency = case({one.value: rank for rank, one in enumerate(Priority)}, value=Ticket.priority)
    query = (
        select(Ticket)
        .join(Ticket.conversation)
        .where(
            Ticket.team_id == team_id,
            Ticket.agent_id.is_(None),
            Ticket.status.in_(_WORKED_ON),
            Ticket.snoozed_until.is_(None),
            Conversation.state == ConversationState.HANDED_OFF,
        )
    )
    return session.scalar(query.order_by(urgency.desc(), Conversation.handed_off_at, Ticket.id).limit(1))


def _next_agent(session: Session, team: Team) -> Agent | None:
    """Who gets the next ticket; None if nobody can take one."""
    works_on = and_(Ticket.agent_id == Agent.id, Ticket.status.in_(_WORKED_ON), Ticket.snoozed_until.is_(None))
    count = func.count(Ticket.id)
    query = (
        select(Agent, count)
        .outerjoin(Ticket, works_on)
        .where(Agent.team_id == team.id, Agent.role != AgentRole.VIEWER)
        .where(Agent.deactivated_at.is_(None), Agent.away_since.is_(None))
        .group_by(Agent.id)
        .having(or_(Agent.capacity.is_(None), count < Agent.capacity))
    )
    free = [(agent, number) for agent, number in session.execute(query)]
    if team.assignment is Assignment.LEAST_BUSY:
        return min(free, key=lambda one: (one[1], one[0].given_at or _NEVER, one[0].id), default=(None, 0))[0]
    return min(free, key=lambda one: (one[0].given_at or _NEVER, one[0].id), default=(None, 0))[0]
