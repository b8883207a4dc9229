"""The first admin of an installation that has none, by a link that `assistant serve` prints: whoever starts the server
may set it up, and nobody who merely finds it on the network."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.desk import inboxes, links, people
from assistant.desk.access import AgentPrincipal
from assistant.desk.links import Purpose
from assistant.errors import NotFound
from assistant.models import Agent, AgentRole, Inbox
from assistant.settings import Settings

_SUBJECT = "first-admin"


def is_needed(session: Session) -> bool:
    return session.scalar(select(Agent.id).limit(1)) is None


def url(settings: Settings) -> str:
    """Of the page that sets it up."""
    return f"{settings.base_url}/console/setup/{links.sign(settings, Purpose.SETUP, _SUBJECT)}"


def check(session: Session, settings: Settings, token: str) -> None:
    """Raises `NotFound` for a link that is not ours or too old, and once there is an agent."""
    if links.read(settings, Purpose.SETUP, token) != _SUBJECT or not is_needed(session):
        raise NotFound("This has been set up already. Sign in, or ask an admin for an invitation.")


def begin(
    session: Session, settings: Settings, token: str, *, company: str, email: str, name: str, password: str
) -> AgentPrincipal:
    """Add the first admin, and name the default inbox after the company. Raises what `check` and `add_agent` raise."""
    session.scalars(select(Inbox.id).with_for_update()).all()  # of two who come at once, the second finds it done
    check(session, settings, token)
    agent = people.add_agent(session, email=email, name=name, password=password, role=AgentRole.ADMIN)
    if company.strip() and company.strip() != settings.company:
        inboxes.configure(session, inboxes.default(session), settings, {"name": company.strip()})
    return AgentPrincipal.of(agent)
