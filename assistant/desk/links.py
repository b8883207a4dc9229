"""Links that we send: signed, limited in time, each good for one purpose. Whoever has the mail may follow them."""

from __future__ import annotations

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
    UNSUBSCRIBE = "unsubscribe"  # mail about replies, to one address


_LASTS = {
    Purpose.OPEN: timedelta(days=14),
    Purpose.JOIN: timedelta(days=7),
    Purpose.SETUP: timedelta(days=1),
    Purpose.UNSUBSCRIBE: timedelta(days=400),  # mails are kept for long, and "no" should not expire
}


def sign(settings: Settings, purpose: Purpose, subject: str) -> str:
    """``subject``: what the link is about."""
    claims = {"sub": subject, "aud": f"link:{purpose.value}", "exp": utcnow() + _LASTS[purpose]}
    return jwt.encode(claims, settings.signing_key(), algorithm="HS256")


def read(settings: Settings, purpose: Purpose, token: str) -> str:
    """What the link is about. Raises `NotFound` if we did not sign it for this, or its time is over."""
    try:
        claims = jwt.decode(
            token,
            settings.signing_key(),
            algorithms=["HS256"],
            audience=f"link:{purpose.value}",
            options={"require": ["exp", "sub"]},
        )
    except jwt.InvalidTokenError as error:
        raise NotFound(Notice("link_expired")) from error
    return str(claims["sub"])


def conversation_url(settings: Settings, conversation: Conversation) -> str:
    """Opens the conversation on a page of ours. What follows the # is not sent, logged or passed on by browsers."""
    key = conversation.inbox.key
    inbox = "" if key == DEFAULT_INBOX else f"?inbox={key}"
    return f"{settings.base_url}/widget/{inbox}#link={sign(settings, Purpose.OPEN, conversation.public_id)}"


def unsubscribe_url(settings: Settings, address: str) -> str:
    return f"{settings.base_url}/mail/unsubscribe?token={sign(settings, Purpose.UNSUBSCRIBE, address)}"
