"""Inboxes: what each one's widget looks like and asks, which sites may embed it, and the secrets of signed identities.

The default inbox needs no configuration: what it leaves empty is as in the settings of the installation.
"""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.desk.hours import Hours
from assistant.errors import Invalid, NotFound
from assistant.models import DEFAULT_INBOX, Inbox
from assistant.settings import Settings, origin_of

Ask = Literal["no", "optional", "required"]


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _listed(value: Any) -> Any:
    """JSON has lists only."""
    return tuple(value) if isinstance(value, list) else value


def _reachable(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]\S*|[^@\s]+@[^@\s]+\.[^@\s]+", value):
        raise ValueError("write an e-mail address, or an address that begins with https://")
    return value


Line = Annotated[str, StringConstraints(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f]*$")]
Lines = Annotated[tuple[Line, ...], BeforeValidator(_listed), AfterValidator(_unique)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Question(_Part):
    """Something to ask before the first message, answered by one of ``choices``, or in words if there are none."""

    key: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$", description="What the answer is stored under.")
    text: Line
    choices: Lines = Field((), max_length=20)
    required: bool = False


class Prechat(_Part):
    """The form before the first message. Nothing is asked by default."""

    name: Ask = "no"
    email: Ask = "no"
    questions: Annotated[tuple[Question, ...], BeforeValidator(_listed)] = Field((), max_length=10)


class InboxSettings(_Part):
    """What an inbox sets beside name, team, logo and secrets. Empty: as in the settings, or nothing."""

    language: str | None = Field(
        None,
        pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$",
        description="Of the widget, e.g. `de` or `pt-BR`, where the page names none.",
    )
    greeting: str = Field("", max_length=500, description="Shown before the first message instead of the usual one.")
    quick_replies: Lines = Field((), max_length=8, description="First messages that one click sends.")
    accent: str | None = Field(None, pattern=r"^#[0-9A-Fa-f]{6}$", description="Colour of the brand, e.g. `#0b6e5f`.")
    origins: Annotated[
        tuple[Annotated[str, AfterValidator(origin_of)], ...], BeforeValidator(_listed), AfterValidator(_unique)
    ] = Field((), description="Sites that may embed the widget, e.g. `https://shop.example`.")
    contact: Annotated[str, AfterValidator(_reachable)] | None = Field(
        None, description="Where to turn while the widget cannot be reached: an e-mail address, or a page."
    )
    hours: Hours | None = Field(None, description="When people answer; at any time if there are none.")
    prechat: Prechat = Prechat()


def find(session: Session, key: str) -> Inbox:
    """The inbox that pages name by ``key``. Raises `NotFound` if there is none, or if it is archived."""
    inbox = session.scalar(select(Inbox).where(Inbox.key == key))
    if inbox is None:
        raise NotFound(f"There is no inbox {key[:60]!r}. `assistant inboxes list` shows them all.")
    if inbox.archived_at is not None:
        raise NotFound(f"The inbox {key!r} is archived. `assistant inboxes set {key} --restore` brings it back.")
    return inbox


def default(session: Session) -> Inbox:
    """The inbox of pages that name none, and of tickets from elsewhere."""
    return session.scalars(select(Inbox).where(Inbox.key == DEFAULT_INBOX)).one()


def settings_of(inbox: Inbox) -> InboxSettings:
    return InboxSettings.model_validate(inbox.settings)


def read_settings(values: dict[str, Any]) -> InboxSettings:
    """Raises `Invalid` that names the setting and says what is wrong with it."""
    try:
        return InboxSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        known = ", ".join(InboxSettings.model_fields)
        wrong = f"is no setting of an inbox. They are: {known}" if first["type"] == "extra_forbidden" else first["msg"]
        raise Invalid(f"{place}: {wrong.removeprefix('Value error, ')}.", field=place) from error


def renew_secret(inbox: Inbox) -> str:
    """A new secret for signed identities, which is returned. The one that it replaces stays valid, the one before that
    does not."""
    inbox.secret, inbox.previous_secret = secrets.token_hex(32), inbox.secret
    return inbox.secret


def withdraw_previous_secret(inbox: Inbox) -> None:
    """From now on only the newest is valid."""
    inbox.previous_secret = None


def brand(inbox: Inbox, settings: Settings) -> str:
    """The name that its customers read."""
    return inbox.name or settings.company


def origins(inbox: Inbox, settings: Settings) -> tuple[str, ...]:
    """The sites that may embed its widget: its own, and those of the settings for the default inbox."""
    own = settings_of(inbox).origins
    return _unique((*own, *settings.widget_origins)) if inbox.key == DEFAULT_INBOX else own


def valid_secrets(inbox: Inbox) -> tuple[str, ...]:
    """The secrets that may have signed an identity, the newest first; none if the inbox knows no signed identities."""
    return tuple(secret for secret in (inbox.secret, inbox.previous_secret) if secret)
