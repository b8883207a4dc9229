"""Keys of machines: made, limited, replaced, revoked, and recognised. Each leads to a principal of `access`.

A key may end on a day, be for some inboxes, be accepted from some networks only, and make more or fewer requests than
others. Whoever is refused is not told
why: a stolen key says nothing about what it would need.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from ipaddress import ip_address, ip_network
from typing import Literal, TypedDict

from sqlalchemy import and_, or_, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from assistant.db import Database, utcnow
from assistant.desk import inboxes
from assistant.desk.access import MachinePrincipal, Scope
from assistant.errors import Conflict, Invalid, NotAllowed, NotFound, Unauthenticated
from assistant.models import APIKey
from assistant.settings import checked_rate_limit

PREFIX = "ask_"
GRACE = timedelta(hours=24)
LONGEST_GRACE = timedelta(days=90)
_SEEN_EVERY = timedelta(minutes=1)
_REFUSED = (
    "This API key is not accepted. It is unknown, expired, replaced, revoked or not for the address that you ask from: "
    "an admin sees which under Settings → API keys, or with: assistant keys list"
)


class Limits(TypedDict, total=False):
    """What is not given stays as it is; of a new key, nothing limits it."""

    expires_on: date | None  # the last day, in UTC
    inboxes: Iterable[str]  # their keys; none: every inbox
    networks: Iterable[str]  # addresses or networks; none: every address
    rate_limit: str | None  # like "600 per minute"; none: as the settings say for all


def add(session: Session, *, name: str, scopes: Sequence[str], limits: Limits | None = None) -> tuple[APIKey, str]:
    """Make a key. The secret is returned once and never stored."""
    known = {scope.value for scope in Scope}
    unknown = sorted(set(scopes) - known)
    if unknown or not scopes:
        raise Invalid(
            f"Unknown scope {', '.join(unknown) or '(none)'}. Choose from: {', '.join(sorted(known))}", field="scope"
        )
    if not name.strip():
        raise Invalid("A key needs a name.", field="name")
    secret = _new_secret()
    key = APIKey(name=name, key_hash=_hash(secret), scopes=sorted(set(scopes)), inbox_ids=[], networks=[])
    limit(session, key, limits or {})
    session.add(key)
    session.flush()
    return key, secret


def limit(session: Session, key: APIKey, limits: Limits) -> None:
    """Raises `Invalid` for a day that is over, an inbox that does not exist, or what is no network or rate."""
    if "expires_on" in limits:
        key.expires_at = _end_of(limits["expires_on"])
    if "inboxes" in limits:
        key.inbox_ids = sorted({inboxes.named(session, one).id for one in limits["inboxes"]})
    if "networks" in limits:
        key.networks = [_network(one) for one in limits["networks"]]
    if "rate_limit" in limits:
        key.rate_limit = _rate(limits["rate_limit"])


@dataclass(frozen=True)
class Power:
    """What a key may do, as far as another one may be given no more of it. Empty limits: none."""

    scopes: frozenset[str]
    inbox_ids: frozenset[int]
    networks: tuple[str, ...]
    expires_at: datetime | None

    @classmethod
    def of(cls, key: APIKey) -> Power:
        return cls(frozenset(key.scopes), frozenset(key.inbox_ids), tuple(key.networks), key.expires_at)

    def beyond(self, other: Power) -> str | None:
        """What it may do that ``other`` may not, in words; None: nothing."""
        if more := self.scopes - other.scopes:
            return f"the scope {', '.join(sorted(more))}"
        if other.inbox_ids and not (self.inbox_ids and self.inbox_ids <= other.inbox_ids):
            return "other inboxes"
        if other.networks and not (self.networks and all(_is_within(one, other.networks) for one in self.networks)):
            return "other networks"
        if other.expires_at is not None and (self.expires_at is None or self.expires_at > other.expires_at):
            return f"a time after {other.expires_at:%Y-%m-%d}"
        return None


def _is_within(network: str, others: Iterable[str]) -> bool:
    own = ip_network(network)
    return any(own.version == (wide := ip_network(one)).version and own.subnet_of(wide) for one in others)  # type: ignore[arg-type]


def power_of(session: Session, machine: MachinePrincipal) -> Power:
    return Power.of(session.get_one(APIKey, machine.key_id))


def add_for(
    session: Session, machine: MachinePrincipal, *, name: str, scopes: Sequence[str], limits: Limits
) -> tuple[APIKey, str]:
    """A key that a machine makes: it may do no more than the machine's own, ends no later, and makes no keys itself.
    Limits that are not given are the machine's."""
    own = session.get_one(APIKey, machine.key_id)
    power = Power.of(own)
    if Scope.KEYS in scopes:
        raise NotAllowed("A key for keys is made by a person only, in the console or with: assistant keys add")
    _require_inboxes(session, machine, limits)
    key, secret = add(session, name=name, scopes=scopes)
    key.expires_at, key.inbox_ids, key.networks = own.expires_at, list(own.inbox_ids), list(own.networks)
    key.rate_limit = own.rate_limit
    limit(session, key, limits)
    _require_within(key, power)
    session.flush()
    return key, secret


def change_for(
    session: Session, machine: MachinePrincipal, public_id: str, *, name: str | None, limits: Limits
) -> APIKey:
    """Raises `NotAllowed` if it could do more than the machine's own then, which may only limit itself."""
    power = power_of(session, machine)
    key = find_for(session, machine, public_id)
    if name is not None:
        key.name = name
    _require_inboxes(session, machine, limits)
    limit(session, key, limits)
    _require_within(key, power)
    return key


def keys_for(session: Session, machine: MachinePrincipal) -> list[APIKey]:
    """Those that a machine may manage, itself included, as `all_keys` sorts them."""
    power = power_of(session, machine)
    return [key for key in all_keys(session) if _is_managed(key, machine, power)]


def find_for(session: Session, machine: MachinePrincipal, public_id: str) -> APIKey:
    """A key that a machine may manage."""
    key = find(session, public_id)
    if not _is_managed(key, machine, power_of(session, machine)):
        raise NotFound(f"There is no API key {public_id!r}.")
    return key


def _is_managed(key: APIKey, machine: MachinePrincipal, power: Power) -> bool:
    is_peer = Scope.KEYS in key.scopes
    return key.id == machine.key_id or (not is_peer and Power.of(key).beyond(power) is None)


def _require_inboxes(session: Session, machine: MachinePrincipal, limits: Limits) -> None:
    """Whether there are others than the machine's is not told."""
    for inbox in limits.get("inboxes", ()):
        inboxes.for_machine(session, machine, inbox)


def _require_within(key: APIKey, power: Power) -> None:
    if (more := Power.of(key).beyond(power)) is not None:
        raise NotAllowed(f"A key gives no other more than it has: yours is not for {more}.")


def all_keys(session: Session) -> Sequence[APIKey]:
    """The newest first, those that are valid before those that are not."""
    return session.scalars(select(APIKey).order_by(APIKey.revoked_at.is_not(None), APIKey.id.desc())).all()


def find(session: Session, public_id: str) -> APIKey:
    key = session.scalar(select(APIKey).where(APIKey.public_id == public_id))
    if key is None:
        raise NotFound(f"There is no API key {public_id!r}.")
    return key


def inbox_keys(session: Session, key: APIKey) -> list[str]:
    """Of the inboxes that it is for; none: every one."""
    return inboxes.keys_of(session, key.inbox_ids)


def state_of(key: APIKey) -> Literal["active", "expired", "revoked"]:
    now = utcnow()
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "active"


def rotate(session: Session, public_id: str, *, grace: timedelta = GRACE) -> str:
    """Another secret for the key, which is returned once. The one that it replaces is valid for ``grace``; one before
    that is not any more. Raises `Conflict` if the key is not valid, `Invalid` for too long a time."""
    key = find(session, public_id)
    if state_of(key) != "active":
        raise Conflict(f"The key {key.name} is {state_of(key)}. Make a new one.")
    if not timedelta() <= grace <= LONGEST_GRACE:
        raise Invalid(f"The previous key can stay valid for 0 to {LONGEST_GRACE.days} days.", field="grace")
    secret = _new_secret()
    key.previous_hash, key.previous_until = key.key_hash, utcnow() + grace
    key.key_hash = _hash(secret)
    return secret


def revoke(session: Session, public_id: str) -> APIKey:
    """It is refused from now on, and so is the one that it replaced. Twice is a no-op."""
    key = find(session, public_id)
    key.revoked_at = key.revoked_at or utcnow()
    return key


def authenticate(db: Database, secret: str, *, address: str | None = None) -> MachinePrincipal:
    """The machine behind a key that comes from ``address``, or `Unauthenticated`."""
    digest, now = _hash(secret), utcnow()
    replaced = and_(APIKey.previous_hash == digest, APIKey.previous_until > now)
    with db.read() as session:
        key = session.scalar(select(APIKey).where(or_(APIKey.key_hash == digest, replaced)))
    if key is None or state_of(key) != "active" or not _is_from(key.networks, address):
        raise Unauthenticated(_REFUSED)
    if key.last_used_at is None or now - key.last_used_at >= _SEEN_EVERY:
        used = {"last_used_at": now, "last_used_from": address}
        with suppress(DBAPIError), db.begin() as session:  # an answer is worth more than the time of the question
            session.execute(update(APIKey).where(APIKey.id == key.id).values(**used))
    return _principal(key)


def machine_of(session: Session, key_id: int) -> MachinePrincipal | None:
    """For work that it has asked for before. None if its key is not valid any more."""
    key = session.get(APIKey, key_id)
    return _principal(key) if key is not None and state_of(key) == "active" else None


def _principal(key: APIKey) -> MachinePrincipal:
    only = frozenset(key.inbox_ids) if key.inbox_ids else None
    return MachinePrincipal(key.id, key.name, frozenset(map(Scope, key.scopes)), only, key.rate_limit)


def _end_of(day: date | None) -> datetime | None:
    if day is None:
        return None
    end = datetime.combine(day, time(23, 59, 59), UTC)
    if end <= utcnow():
        raise Invalid("The last day of a key must be to come.", field="expires_on")
    return end


def _rate(text: str | None) -> str | None:
    if text is None or not text.strip():
        return None
    try:
        return checked_rate_limit(text.strip())
    except ValueError as error:
        raise Invalid(f"{error}.", field="rate_limit") from error


def _network(text: str) -> str:
    try:
        return str(ip_network(text.strip(), strict=False))
    except ValueError as error:
        example = "Write for example 203.0.113.7 or 10.0.0.0/8."
        raise Invalid(f"{text.strip()[:60]!r} is no address or network. {example}", field="networks") from error


def _is_from(networks: Sequence[str], address: str | None) -> bool:
    if not networks:
        return True
    try:
        given = ip_address(address or "")
    except ValueError:
        return False
    plain = getattr(given, "ipv4_mapped", None) or given
    return any(plain in ip_network(network) for network in networks)


def _new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(30)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
