"""The people of the desk: customers, agents and their teams."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TypedDict

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from assistant.db import utcnow
from assistant.desk import agent_sessions, search
from assistant.desk.access import AgentPrincipal
from assistant.desk.credentials import hash_password, no_password
from assistant.desk.desk import Desk
from assistant.desk.files import keep_picture
from assistant.errors import Conflict, Invalid, NotAllowed, NotFound
from assistant.media.files import Upload
from assistant.models import Agent, AgentRole, Customer, CustomerMerge, Team, Ticket, TicketStatus, VerifiedBy
from assistant.oidc import Person
from assistant.text.folding import address

_LANGUAGE = re.compile(r"[a-z]{2,3}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+|[^@\s]+@localhost")


class AgentChanges(TypedDict, total=False):
    name: str
    role: AgentRole
    team: str | None  # its key
    languages: Iterable[str]  # codes


def add_agent(
    session: Session,
    *,
    email: str,
    name: str,
    password: str | None,
    role: AgentRole = AgentRole.AGENT,
    team_key: str | None = None,
    must_change_password: bool = False,
) -> Agent:
    """Without a ``password`` they choose one by a link (`credentials.password_link`)."""
    email = address(email)
    if not _EMAIL.fullmatch(email):
        raise Invalid(f"{email!r} is not an e-mail address.", field="email")
    if session.scalar(select(Agent).where(Agent.email == email)) is not None:
        raise Conflict(f"There is already an agent with the address {email}.")
    agent = Agent(
        email=email,
        name=name.strip() or email,
        password_hash=hash_password(password, name, email) if password is not None else no_password(),
        role=role,
        team=find_team(session, team_key) if team_key else None,
        must_change_password=must_change_password,
    )
    session.add(agent)
    session.flush()
    return agent


def all_agents(session: Session, *, after: str | None = None, limit: int | None = None) -> list[Agent]:
    """Everyone who can or could sign in, by address; those after the address ``after``."""
    query = select(Agent).options(selectinload(Agent.team)).order_by(Agent.email).limit(limit)
    return list(session.scalars(query.where(Agent.email > after) if after is not None else query))


def active_agents(session: Session) -> list[Agent]:
    """Everyone a ticket can be assigned to, by name."""
    return list(session.scalars(_assignable().order_by(Agent.name)))


def active_by_team(session: Session) -> dict[str, list[str]]:
    """Names of those who work a team's tickets, by its key."""
    found: dict[str, list[str]] = {}
    for key, name in session.execute(
        select(Team.key, Agent.name).join(Agent.team).where(Agent.deactivated_at.is_(None)).order_by(Agent.name)
    ):
        found.setdefault(key, []).append(name)
    return found


def find_agent(session: Session, public_id: str) -> Agent:
    """One whom a ticket can be assigned to."""
    agent = session.scalar(_assignable().where(Agent.public_id == public_id))
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
        colleague(session, agent_id).picture_sha256 = kept


def agent_with_picture(session: Session, sha256: str) -> Agent:
    agent = session.scalars(select(Agent).where(Agent.picture_sha256 == sha256).limit(1)).first()
    if agent is None:
        raise NotFound("This is nobody's picture.")
    return agent


def _assignable() -> Select[Agent]:
    return select(Agent).where(Agent.deactivated_at.is_(None), Agent.role != AgentRole.VIEWER)


def colleague(session: Session, who: str) -> Agent:
    """Whoever has this public id or e-mail address, also one who can sign in no longer."""
    agent = session.scalar(select(Agent).where(or_(Agent.public_id == who, Agent.email == address(who))))
    if agent is None:
        raise NotFound(f"There is no agent {who!r}.")
    return agent


def change_agent(session: Session, agent: Agent, changes: AgentChanges) -> None:
    """What is not given stays. Raises `Conflict` rather than leave the installation without an admin."""
    if changes.get("role", AgentRole.ADMIN) is not AgentRole.ADMIN:
        _keep_an_admin(session, agent)
    if "team" in changes:
        agent.team = find_team(session, changes["team"]) if changes["team"] else None
    if "languages" in changes:
        agent.languages = _languages(changes["languages"])
    if "name" in changes:
        agent.name = changes["name"].strip() or agent.email
    if changes.get("role", agent.role) is not agent.role:
        agent.role = changes["role"]
        agent_sessions.end(session, agent.id)
    session.flush()


def admit(desk: Desk, person: Person, role: AgentRole | None) -> AgentPrincipal:
    """The agent who has signed in with this account of a provider's before, else who has its verified address, in this
    role from now on (None: in theirs).

    Raises `NotAllowed` if there is none: nobody becomes an agent by signing in. The only admin stays one."""
    with desk.db.begin() as session:
        known = select(Agent).where(Agent.oidc_subject == person.subject, Agent.deactivated_at.is_(None))
        agent = session.scalar(known) or _by_address(session, person)
        agent.oidc_subject = person.subject
        if role is not None and role is not agent.role:
            with suppress(Conflict):
                change_agent(session, agent, {"role": role})
        return AgentPrincipal.of(agent)


def _by_address(session: Session, person: Person) -> Agent:
    """Addresses change hands: one that an account of this provider has been used with is of no use to another one."""
    if person.email is None:
        raise NotAllowed("The sign-in provider does not say that your e-mail address is verified.")
    email = address(person.email)
    agent = session.scalar(select(Agent).where(Agent.email == email, Agent.deactivated_at.is_(None)))
    if agent is None:
        raise NotAllowed(f"No agent has the address {email}. Ask an admin to invite you.")
    issuer = person.subject.partition(" ")[0]
    if agent.oidc_subject is not None and agent.oidc_subject.partition(" ")[0] == issuer:
        raise NotAllowed(
            f"{email} belongs to another account of the sign-in provider. Ask an admin to reset your password."
        )
    return agent


def deactivate_agent(session: Session, agent: Agent) -> int:
    """They can sign in no longer, and their sessions end. Returns how many open tickets are still assigned to them.

    Raises `Conflict` rather than leave the installation without an admin.
    """
    _keep_an_admin(session, agent)
    agent.deactivated_at, agent.oidc_subject = utcnow(), None
    agent_sessions.end(session, agent.id)
    session.flush()
    is_open = Ticket.agent_id == agent.id, Ticket.status.not_in([TicketStatus.SOLVED, TicketStatus.CLOSED])
    return session.scalar(select(func.count(Ticket.id)).where(*is_open)) or 0


def _keep_an_admin(session: Session, agent: Agent) -> None:
    """Locks the admins, so that two cannot leave at once."""
    query = select(Agent.id).where(Agent.role == AgentRole.ADMIN, Agent.deactivated_at.is_(None))
    admins = set(session.scalars(query.with_for_update()))
    if admins == {agent.id}:
        raise Conflict(f"{agent.name} is the only admin. Make somebody else an admin first.")


def _languages(codes: Iterable[str]) -> list[str]:
    chosen = list(dict.fromkeys(code.strip().lower() for code in codes if code.strip()))
    if wrong := [code for code in chosen if not _LANGUAGE.fullmatch(code)]:
        raise Invalid(f"{wrong[0][:40]!r} is not the code of a language, such as de or pt.", field="languages")
    return chosen


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
    if not email:
        return None
    return find_by_address(session, email) or _merged_from(session, email)


def _merged_from(session: Session, email: str) -> Customer | None:
    """Whom the customer known by this address has been merged into. Only machines are told: whoever proves the address
    in a browser is not thereby somebody whom an agent took for them."""
    query = select(CustomerMerge).join(CustomerMerge.away).where(*_known_by(email)).order_by(CustomerMerge.id)
    merge, customer = session.scalars(query.limit(1)).first(), None
    while merge is not None:
        customer = merge.into
        merge = session.scalar(select(CustomerMerge).where(CustomerMerge.from_id == customer.id))
    return customer


def rename(session: Session, customer: Customer, *, name: str | None, email: str | None) -> None:
    """Take up what is said now of a customer; None: nothing is. Their tickets are found by it."""
    was = (customer.name, customer.email)
    customer.name, customer.email = name or customer.name, email or customer.email
    if (customer.name, customer.email) != was and customer.id is not None:
        search.index_requests_of(session, customer)


def find_by_address(session: Session, email: str) -> Customer | None:
    """The customer known by this address, and by no id of a site."""
    query = select(Customer).where(*_known_by(email), Customer.id.not_in(select(CustomerMerge.from_id)))
    return session.scalar(query.order_by(Customer.id).limit(1))


def _known_by(email: str) -> tuple[ColumnElement[bool], ...]:
    return Customer.email == email, Customer.external_id.is_(None), Customer.verified_at.is_not(None)


def find_customers(session: Session, who: str) -> Sequence[Customer]:
    """Customers with this public id, external id or e-mail address. Raises `NotFound` if there are none."""
    is_meant = or_(Customer.public_id == who, Customer.external_id == who, Customer.email == address(who))
    found = session.scalars(select(Customer).where(is_meant).order_by(Customer.id)).all()
    if not found:
        raise NotFound(f"There is no customer {who!r}: name an id (cus_…), an external id or an e-mail address.")
    return found
