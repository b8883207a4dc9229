"""Links that we send: signed, limited in time, each good for one purpose. Whoever has the mail may follow them.

What a browser keeps for us between two requests is signed in the same way."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from enum import StrEnum

import jwt

from assistant.db import utcnow
from assistant.errors import NotFound
from assistant.models import DEFAULT_INBOX, Conversation
from assistant.settings import Settings
from assistant.wording import Notice


class Purpose(StrEnum):
    OPEN = "open"  # one conversation
    JOIN = "join"  # an agent chooses one
    SETUP = "setup"  # the first admin of an installation
    SECOND_STEP = "second_step"  # an agent whose password was right
    KNOWN_BROWSER = "known_browser"  # accounts that somebody has signed in to
    UNSUBSCRIBE = "unsubscribe"  # mail about replies, to one address


_LASTS = {
    Purpose.OPEN: timedelta(days=14),
    Purpose.JOIN: timedelta(days=7),
    Purpose.SETUP: timedelta(days=1),
    Purpose.SECOND_STEP: timedelta(minutes=5),
    Purpose.KNOWN_BROWSER: timedelta(days=180),
    Purpose.UNSUBSCRIBE: timedelta(days=400),  # mails are kept for long, and "no" should not expire
}


def sign(settings: Settings, purpose: Purpose, subject: str) -> str:
    """``subject``: what the link is about."""
    claims = {"sub": subject, "aud": f"link:{purpose.value}", "exp": utcnow() + _LASTS[purpose]}
    return jwt.encode(claims, settings.signing_key(), algorithm="HS256")


def read(settings: Settings, purpose: Purpose, token: str) -> str:
    """What the link is about. Raises `NotFound` if we did not sign it for this, or its time is over."""
    subject = signed_subject(settings, token, audience=f"link:{purpose.value}")
    if subject is None:
        raise NotFound(Notice("link_expired"))
    return subject


def signed_subject(settings: Settings, token: str, *, audience: str) -> str | None:
    """What a token is about that we signed for this audience, with the secret key in use or one of before."""
    for key in settings.signing_keys():
        with suppress(jwt.InvalidTokenError):
            required = {"require": ["exp", "sub"]}
            return str(jwt.decode(token, key, algorithms=["HS256"], audience=audience, options=required)["sub"])  # type: ignore[arg-type]
    return None


def conversation_url(settings: Settings, conversation: Conversation) -> str:
    """Opens the conversation on a page of ours. What follows the # is not sent, logged or passed on by browsers."""
    key = conversation.inbox.key
    inbox = "" if key == DEFAULT_INBOX else f"?inbox={key}"
    return f"{settings.base_url}/widget/{inbox}#link={sign(settings, Purpose.OPEN, conversation.public_id)}"


def unsubscribe_url(settings: Settings, address: str) -> str:
    return f"{settings.base_url}/mail/unsubscribe?token={sign(settings, Purpose.UNSUBSCRIBE, address)}"
