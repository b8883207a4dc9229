"""How a colleague gets in: by a link that they follow once to choose a password, mailed if there is a mail server.

The link is also returned, to be shown once: whoever has it can sign in as the colleague. Console and command line do
the same by these functions.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from assistant.desk import credentials, mail, people
from assistant.desk.people import AgentChanges
from assistant.errors import Conflict
from assistant.models import Agent
from assistant.settings import Settings
from assistant.text.letters import Letter, Link, Paragraph, Small

_LANGUAGE = "en"  # of the console


@dataclass(frozen=True)
class Invitation:
    agent: Agent
    url: str
    is_mailed: bool


def invite(session: Session, settings: Settings, *, email: str, changes: AgentChanges) -> Invitation:
    """Add an agent who has no password yet. Raises as `people.add_agent` and `people.change_agent` do."""
    agent = people.add_agent(session, email=email, name=changes.get("name", ""), password=None)
    people.change_agent(session, agent, changes)
    return _sent(session, settings, agent, f"You can work at the support desk of {settings.company} now.")


def reset(session: Session, settings: Settings, agent: Agent) -> Invitation:
    """The password is no longer right, every session of the agent ends, and a link leads to another password.

    Raises `Conflict` if they can sign in no longer anyway.
    """
    if agent.deactivated_at is not None:
        raise Conflict(f"{agent.name} is deactivated. Reactivate them instead.")
    credentials.reset_password(session, agent)
    return _sent(session, settings, agent, f"Your password at the support desk of {settings.company} was reset.")


def reactivate(session: Session, settings: Settings, agent: Agent) -> Invitation:
    """One who left can come back, with a password of their choice. Raises `Conflict` if they are there."""
    if agent.deactivated_at is None:
        raise Conflict(f"{agent.name} is active.")
    agent.deactivated_at = None
    credentials.reset_password(session, agent)
    return _sent(session, settings, agent, f"You can work at the support desk of {settings.company} again.")


def _sent(session: Session, settings: Settings, agent: Agent, why: str) -> Invitation:
    session.flush()
    url = credentials.password_link(settings, agent)
    if settings.smtp_url:
        letter = Letter(
            f"Support desk of {settings.company}",
            (
                Paragraph(f"{why} Choose a password to sign in as {agent.email}."),
                Link("Choose a password", url),
                Small("The link works once, for a week. If it has expired, ask your admin for another one."),
            ),
            _LANGUAGE,
        )
        mail.enqueue(session, letter, to=agent.email)
    return Invitation(agent, url, bool(settings.smtp_url))
