"""What agents prove after their password: a code from an app (TOTP, RFC 6238), or one of ten recovery codes.

The app's secret is stored encrypted; each time step counts once, and so does each recovery code, of which only the
SHA-256 is kept: it has 80 random bits.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyotp
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from assistant.db import utcnow
from assistant.desk import agent_sessions, sealing
from assistant.desk.access import AgentPrincipal
from assistant.errors import Conflict, Invalid
from assistant.models import Agent, RecoveryCode
from assistant.settings import Settings

RECOVERY_CODES = 10
_DRIFT = 1  # steps by which the clock of a phone may be wrong
_WRONG = "This code is wrong, or was used already. Wait for the next one, and see whether your phone's clock is right."


@dataclass(frozen=True)
class Key:
    """What an app needs: the key to type, in groups of four, or the address that opens the app."""

    typed: str
    uri: str


def is_missing(settings: Settings, agent: AgentPrincipal) -> bool:
    """Whether their role requires one that they have not set up."""
    return agent.role.value in settings.second_factor_roles and not agent.has_second_factor


def begin(session: Session, settings: Settings, agent: AgentPrincipal) -> None:
    """Make a key that counts once it is confirmed. Raises `Conflict` if there is a confirmed one."""
    row = _locked(session, agent)
    if row.totp_since is not None:
        raise Conflict("You have a second factor already. Turn it off before you set up another one.")
    row.totp_secret = sealing.seal(settings, pyotp.random_base32())


def unconfirmed(session: Session, settings: Settings, agent: AgentPrincipal) -> Key | None:
    """The key that `begin` has made, until it is confirmed."""
    row = session.get_one(Agent, agent.agent_id)
    if row.totp_secret is None or row.totp_since is not None:
        return None
    secret = sealing.unseal(settings, row.totp_secret)
    uri = pyotp.TOTP(secret).provisioning_uri(name=row.email, issuer_name=settings.company)
    return Key(" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)), uri)


def confirm(session: Session, settings: Settings, agent: AgentPrincipal, code: str) -> list[str]:
    """A code of the app proves that it has the key, which counts from now on. Returns the recovery codes.

    Raises `Invalid` if the code is wrong, `Conflict` if there is nothing to confirm."""
    row = _locked(session, agent)
    if row.totp_secret is None or row.totp_since is not None:
        raise Conflict("There is nothing to confirm. Begin with a new key.")
    if not _takes_step(settings, row, code):
        raise Invalid(_WRONG, field="code")
    row.totp_since = utcnow()
    return _new_codes(session, row)


def prove(session: Session, settings: Settings, agent: AgentPrincipal, code: str) -> None:
    """Use up a code of the app or a recovery code. Raises `Invalid` if it is wrong or has been used."""
    row = _locked(session, agent)
    if row.totp_since is None or not (_takes_step(settings, row, code) or _takes_recovery_code(session, row, code)):
        raise Invalid(_WRONG, field="code")


def renew_codes(session: Session, settings: Settings, agent: AgentPrincipal, code: str) -> list[str]:
    """Ten other recovery codes; those of before are over. Raises as `prove` does."""
    prove(session, settings, agent, code)
    return _new_codes(session, session.get_one(Agent, agent.agent_id))


def codes_left(session: Session, agent: AgentPrincipal) -> int:
    left = RecoveryCode.agent_id == agent.agent_id, RecoveryCode.used_at.is_(None)
    return session.scalar(select(func.count(RecoveryCode.id)).where(*left)) or 0


def turn_off(session: Session, settings: Settings, agent: AgentPrincipal, code: str) -> None:
    """Raises as `prove` does."""
    prove(session, settings, agent, code)
    _forget(session, session.get_one(Agent, agent.agent_id))


def reset(session: Session, agent: Agent) -> None:
    """For one who has lost theirs: it is gone, and their sessions end. Raises `Conflict` if they have none."""
    if agent.totp_secret is None:
        raise Conflict(f"{agent.name} has no second factor.")
    _forget(session, agent)
    agent_sessions.end(session, agent.id)


def _locked(session: Session, agent: AgentPrincipal) -> Agent:
    """So that of two requests with one code only the first counts."""
    return session.get_one(Agent, agent.agent_id, with_for_update=True)


def _takes_step(settings: Settings, row: Agent, code: str, now: datetime | None = None) -> bool:
    if row.totp_secret is None:
        return False
    app, now = pyotp.TOTP(sealing.unseal(settings, row.totp_secret)), now or utcnow()
    typed = "".join(code.split())
    for drift in range(-_DRIFT, _DRIFT + 1):
        at = now + timedelta(seconds=drift * app.interval)
        step = app.timecode(at)
        is_new = row.totp_step is None or step > row.totp_step
        if is_new and secrets.compare_digest(app.at(at).encode(), typed.encode(errors="replace")):
            row.totp_step = step
            return True
    return False


def _takes_recovery_code(session: Session, row: Agent, code: str) -> bool:
    known = RecoveryCode.agent_id == row.id, RecoveryCode.code_hash == _hash(code), RecoveryCode.used_at.is_(None)
    used = session.execute(update(RecoveryCode).where(*known).values(used_at=utcnow()))
    return bool(used.rowcount)  # type: ignore[attr-defined]


def _new_codes(session: Session, row: Agent) -> list[str]:
    session.execute(delete(RecoveryCode).where(RecoveryCode.agent_id == row.id))
    codes = [base64.b32encode(secrets.token_bytes(10)).decode().lower() for _ in range(RECOVERY_CODES)]
    session.add_all(RecoveryCode(agent_id=row.id, code_hash=_hash(code)) for code in codes)
    return ["-".join(code[at : at + 4] for at in range(0, 16, 4)) for code in codes]


def _forget(session: Session, row: Agent) -> None:
    session.execute(delete(RecoveryCode).where(RecoveryCode.agent_id == row.id))
    row.totp_secret = row.totp_since = row.totp_step = None


def _hash(code: str) -> str:
    """However it is grouped, in capitals or not."""
    plain = "".join(character for character in code.lower() if character.isalnum())
    return hashlib.sha256(plain.encode(errors="replace")).hexdigest()
