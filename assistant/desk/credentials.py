"""Passwords of agents, and links to choose one. They lead to a principal of `access`.

Browsers are in `sessions` (of customers) and `agent_sessions`, keys of machines in `api_keys`.
"""

from __future__ import annotations

import hashlib
import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from assistant.db import Database
from assistant.desk import agent_sessions, links
from assistant.desk.access import AgentPrincipal
from assistant.errors import Invalid, NotFound, Unauthenticated
from assistant.models import Agent
from assistant.settings import Settings
from assistant.text.folding import address

# Fewer, and a password can be guessed by who tries for long: zxcvbn's "safely unguessable" begins here.
_GUESSES = 10**8
_LOOKED_AT = 72  # characters: zxcvbn takes no more
_passwords = PasswordHasher()


def set_password(session: Session, agent: Agent, password: str, *, one_time: bool = False) -> None:
    """Also reactivates the agent. A one-time password must be changed at the next sign-in."""
    agent.password_hash = hash_password(password, agent.name, agent.email)
    agent.must_change_password = one_time
    agent.deactivated_at = None


def no_password() -> str:
    """In place of a hash: no password is right, and links made for another one are over."""
    return "!" + secrets.token_urlsafe(16)


def has_no_password(agent: Agent) -> bool:
    return agent.password_hash.startswith("!")


def password_link(settings: Settings, agent: Agent) -> str:
    """Address of the page where the agent chooses a password: good for a week, once."""
    return f"{settings.base_url}/console/join/{links.sign(settings, links.Purpose.JOIN, _link_subject(agent))}"


def reset_password(session: Session, agent: Agent) -> None:
    """Until they choose another by a link they cannot sign in with one; their sessions end. A sign-in provider may name
    another account as theirs."""
    agent_sessions.end(session, agent.id)
    agent.password_hash, agent.must_change_password, agent.oidc_subject = no_password(), False, None


def agent_of_link(
    session: Session, settings: Settings, token: str, purpose: links.Purpose = links.Purpose.JOIN
) -> Agent:
    """Raises `NotFound` if the link has been used, is too old, or was made for a password that changed meanwhile."""
    public_id, _, _ = (subject := links.read(settings, purpose, token)).partition(" ")
    agent = session.scalar(select(Agent).where(Agent.public_id == public_id, Agent.deactivated_at.is_(None)))
    if agent is None or not secrets.compare_digest(subject, _link_subject(agent)):
        raise NotFound("This link has been used or has expired. Ask an admin for a new one.")
    return agent


def choose_password(db: Database, settings: Settings, token: str, *, password: str) -> AgentPrincipal:
    """By a link, which is used up. Raises `NotFound` as `agent_of_link` does."""
    with db.read() as session:
        owner = agent_of_link(session, settings, token)
    digest = hash_password(password, owner.name, owner.email)
    with db.begin() as session:
        agent = agent_of_link(session, settings, token)
        agent_sessions.end(session, agent.id)
        agent.password_hash, agent.must_change_password = digest, False
        session.flush()
        return AgentPrincipal.of(agent)


def halfway_token(session: Session, settings: Settings, agent: AgentPrincipal) -> str:
    """Whoever has it has proved the first of two factors, some minutes ago at most."""
    subject = _link_subject(session.get_one(Agent, agent.agent_id))
    return links.sign(settings, links.Purpose.SECOND_STEP, subject)


def halfway(session: Session, settings: Settings, token: str) -> tuple[AgentPrincipal, str]:
    """Who it is, and their address. Raises `NotFound` as `agent_of_link` does."""
    agent = agent_of_link(session, settings, token, links.Purpose.SECOND_STEP)
    return AgentPrincipal.of(agent), agent.email


def _link_subject(agent: Agent) -> str:
    """Another one once the password is another one."""
    return f"{agent.public_id} {hashlib.sha256(agent.password_hash.encode()).hexdigest()[:32]}"


def change_password(db: Database, agent: AgentPrincipal, *, current: str, new: str) -> None:
    """An agent changes their own password; the current one proves who they are. All their sessions end."""
    with db.read() as session:
        owner = session.get_one(Agent, agent.agent_id)
    sign_in(db, email=owner.email, password=current)
    if new == current:
        raise Invalid("Choose a password that differs from the current one.", field="new")
    digest = hash_password(new, owner.name, owner.email)
    with db.begin() as session:
        row = session.get_one(Agent, agent.agent_id)
        row.password_hash, row.must_change_password = digest, False
        agent_sessions.end(session, row.id)


def hash_password(password: str, *about: str) -> str:
    """Raises `Invalid` for one that is short or easy to guess, as by what it says ``about`` its owner (zxcvbn)."""
    from zxcvbn import zxcvbn  # takes a tenth of a second

    if len(password) < 10:
        raise Invalid("A password needs at least 10 characters.", field="password")
    if zxcvbn(password[:_LOOKED_AT], [word for text in about for word in text.split()])["guesses"] < _GUESSES:
        easy = "This password is easy to guess. Take four or more words that have nothing to do with each other."
        raise Invalid(easy, field="password")
    return _passwords.hash(password)


def sign_in(db: Database, *, email: str, password: str) -> AgentPrincipal:
    """Check a password. An unknown address and a wrong password give the same answer and take the same time."""
    with db.read() as session:
        agent = session.scalar(select(Agent).where(Agent.email == address(email)).options(joinedload(Agent.team)))
    known = agent is not None and agent.deactivated_at is None
    stored = agent.password_hash if agent is not None and known else _unknown_agent_hash()
    try:
        _passwords.verify(stored, password)
    except (VerificationError, InvalidHashError):
        known = False
    if agent is None or not known:
        raise Unauthenticated("Wrong e-mail address or password.")
    return AgentPrincipal.of(agent)


@cache
def _unknown_agent_hash() -> str:
    """Hash of a password nobody has: verifying against it takes as long as against a real one."""
    return _passwords.hash(secrets.token_urlsafe(16))
