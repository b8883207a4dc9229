"""The people of the desk: customers, agents and their teams."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.db import utcnow
from assistant.desk import search
from assistant.desk.credentials import hash_password
from assistant.desk.desk import Desk
from assistant.desk.files import keep_picture
from assistant.errors import Conflict, Invalid, NotFound
from assistant.media.files import Upload
from assistant.models import Agent, AgentRole, Customer, Team, VerifiedBy
from assistant.text.folding import address

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|[^@\s]+@localhost")


def add_agent(
    session: Session,
    *,
    email: str,
    name: str,
    password: str,
    role: AgentRole = AgentRole.AGENT,
    team_key: str | None = None,
    must_change_password: bool = False,
) -> Agent:
    email = address(email)
    if not _EMAIL.fullmatch(email):
        raise Invalid(f"{email!r} is not an e-mail address.", field="email")
    if session.scalar(select(Agent).where(Agent.email == email)) is not None:
        raise Conflict(f"There is already an agent with the address {email}.")
    agent = Agent(
        email=email,
        name=name.strip() or email,
        password_hash=hash_password(password),
        role=role,
        team=find_team(session, team_key) if team_key else None,
        must_change_password=must_change_password,
    )
    session.add(agent)
    session.flush()
    return agent


def active_agents(session: Session) -> list[Agent]:
    """Everyone a ticket can be assigned to, by name."""
    return list(session.scalars(select(Agent).where(Agent.deactivated_at.is_(None)).order_by(Agent.name)))


def find_agent(session: Session, public_id: str) -> Agent:
    """One whom a ticket can be assigned to."""
    agent = session.scalar(select(Agent).where(Agent.public_id == public_id, Agent.deactivated_at.is_(None)))
    if agent is None:
        raise NotFound("There is no such agent.")
    return agent


def all_teams(session: Session) -> list[Team]:
    """By name."""
    return list(session.scalars(select(Team).order_by(Team.name)))


def set_picture(desk: Desk, agent_id: str, picture: Upload | None) -> None:
    """Keep an agent's picture, or remove it. Raises what `files.keep_picture` raises."""
    kept = None if picture is None else keep_picture(desk.storage, desk.settings, picture)
    with desk.db.begin() as session:
        find_agent(session, agent_id).picture_sha256 = kept


def agent_with_picture(session: Session, sha256: str) -> Agent:
    agent = session.scalars(select(Agent).where(Agent.picture_sha256 == sha256).limit(1)).first()
    if agent is None:
        raise NotFound("This is nobody's picture.")
    return agent


def find_team(session: Session, key: str) -> Team:
    team = session.scalar(select(Team).where(Team.key == key))
    if team is None:
        keys = ", ".join(session.scalars(select(Team.key).order_by(Team.key))) or "none yet"
        raise NotFound(f"There is no team {key!r}. Teams: {keys}.")
    return team


def sync_teams(session: Session, teams: dict[str, str]) -> None:
    """Make the teams of the taxonomy (key to name) exist. Teams that left it stay: tickets may point at them."""
    existing = {team.key: team for team in session.scalars(select(Team))}
    for key, name in teams.items():
        if key not in existing:
            session.add(Team(key=key, name=name))
        elif existing[key].name != name:
            existing[key].name = name


def find_or_add_customer(
    session: Session, *, name: str | None = None, email: str | None = None, external_id: str | None = None
) -> Customer:
    """The customer whom a machine with a key names: by its own id of them, else by e-mail address, or a new one.

    Two ids are two customers, even with one address. Whoever only typed an address in the widget is not found by it.
    """
    email = address(email) if email else None
    customer = _find_customer(session, email, external_id)
    if customer is not None:
        return customer
    known = {"verified_at": utcnow(), "verified_by": VerifiedBy.API}
    try:
        with session.begin_nested():
            customer = Customer(name=name or None, email=email, external_id=external_id or None, **known)
            session.add(customer)
            session.flush()
            return customer
    except IntegrityError:
        customer = _find_customer(session, email, external_id)  # a parallel request of the same customer was first
        if customer is None:
            raise
        return customer


def _find_customer(session: Session, email: str | None, external_id: str | None) -> Customer | None:
    if external_id:
        return session.scalar(select(Customer).where(Customer.external_id == external_id))
    return find_by_address(session, email) if email else None


def rename(session: Session, customer: Customer, *, name: str | None, email: str | None) -> None:
    """Take up what is said now of a customer; None: nothing is. Their tickets are found by it."""
    was = (customer.name, customer.email)
    customer.name, customer.email = name or customer.name, email or customer.email
    if (customer.name, customer.email) != was and customer.id is not None:
        search.index_requests_of(session, customer)


def find_by_address(session: Session, email: str) -> Customer | None:
    """The customer known by this address, and by no id of a site."""
    query = select(Customer).where(
        Customer.email == email, Customer.external_id.is_(None), Customer.verified_at.is_not(None)
    )
    return session.scalar(query.order_by(Customer.id).limit(1))


def find_customers(session: Session, who: str) -> Sequence[Customer]:
    """Customers with this public id, external id or e-mail address. Raises `NotFound` if there are none."""
    is_meant = or_(Customer.public_id == who, Customer.external_id == who, Customer.email == address(who))
    found = session.scalars(select(Customer).where(is_meant).order_by(Customer.id)).all()
    if not found:
        raise NotFound(f"There is no customer {who!r}: name an id (cus_…), an external id or an e-mail address.")
    return found
