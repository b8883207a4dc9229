"""Inboxes: what each one's widget looks like and asks, which sites may embed it, and the secrets of signed identities.

The default inbox needs no configuration: what it leaves empty is as in the settings of the installation.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, tzinfo
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, object_session

from assistant.db import utcnow
from assistant.desk import people, queue, sealing
from assistant.desk.access import MachinePrincipal
from assistant.desk.files import keep_picture
from assistant.desk.hours import Hours
from assistant.errors import Conflict, Invalid, NotAllowed, NotFound
from assistant.media.files import Upload
from assistant.models import DEFAULT_INBOX, Customer, Inbox
from assistant.settings import Settings, origin_of
from assistant.storage import Storage
from assistant.wording import Notice

Ask = Literal["no", "optional", "required"]
ALL_INBOXES = "all"  # where one may be chosen, says that none is: no inbox has this key
RECOUNT = "recount_deadlines"  # of tickets, once business hours have changed; handled by `tickets`
BESIDE = ("name", "team", "logo")  # settings of an inbox that are not in `InboxSettings`; a logo can only be taken back
_MOST_ANSWER = 1_000
_LONGEST_KEPT = 36_500  # days
_KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


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
Filters = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1, max_length=300)], ...],
    BeforeValidator(_listed),
    AfterValidator(_unique),
]
Lines = Annotated[tuple[Line, ...], BeforeValidator(_listed), AfterValidator(_unique)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Question(_Part):
    """Something to ask before the first message, answered by one of ``choices``, or in words if there are none."""

    key: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$", description="Small letters, digits and hyphens: `order`.")
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
    answer_threshold: float | None = Field(
        None, ge=0, le=1, description="Confidence from which the assistant answers; ASSISTANT_ANSWER_THRESHOLD if none."
    )
    never_answer: Filters = Field(
        (), max_length=20, description="Which tickets a person answers, as in the search box: `category:safety`."
    )
    never_say: Lines = Field(
        (), max_length=200, description="Words and phrases that the assistant never says: `full refund`."
    )
    keep_files_days: int | None = Field(
        None,
        ge=1,
        le=_LONGEST_KEPT,
        description="How long files are kept once their conversation is over; else for good.",
    )
    # Links in mails lead to a conversation for 14 days.
    keep_conversations_days: int | None = Field(
        None, ge=14, le=_LONGEST_KEPT, description="How long conversations that are over are kept; for good if none."
    )
    tone: str = Field("", max_length=300, description="How answers sound that a model writes, e.g. `Short, no jargon.`")

    @field_validator("keep_conversations_days")
    @classmethod
    def _outlasts_files(cls, days: int | None, info: ValidationInfo) -> int | None:
        files = info.data.get("keep_files_days")
        if days is not None and files is not None and files > days:
            raise ValueError(f"files, kept for {files} days, go with their conversation: give it at least as many")
        return days


def find(session: Session, key: str, *, archived: bool = False) -> Inbox:
    """The inbox that pages name by ``key``. Raises `NotFound` if there is none, or if it is archived and that is not
    allowed."""
    inbox = session.scalar(select(Inbox).where(Inbox.key == key))
    if inbox is None:
        raise NotFound(f"There is no inbox {key[:60]!r}. `assistant inboxes list` shows them all.")
    if inbox.archived_at is not None and not archived:
        raise NotFound(f"The inbox {key!r} is archived. `assistant inboxes archive {key} --restore` brings it back.")
    return inbox


def named(session: Session, key: str) -> Inbox:
    """As `find`, where the key is one value of a request. Raises `Invalid`."""
    try:
        return find(session, key)
    except NotFound as error:
        raise Invalid(error.message, field="inbox") from error


def for_machine(session: Session, machine: MachinePrincipal, key: str) -> Inbox:
    """As `named`. Raises `NotAllowed` if the machine's key is not for the inbox, whether or not that exists."""
    if machine.inbox_ids is None:
        return named(session, key)
    if session.scalar(select(Inbox.id).where(Inbox.key == key, Inbox.id.in_(machine.inbox_ids))) is None:
        advice = "Name one of those as `inbox`, or ask an admin for another key."
        raise NotAllowed(f"This key is for some inboxes only. {advice}")
    return named(session, key)


def keys_of(session: Session, ids: Collection[int] | None) -> list[str]:
    """Their keys, in alphabetical order."""
    return list(session.scalars(select(Inbox.key).where(Inbox.id.in_(ids or ())).order_by(Inbox.key)))


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
        raise Invalid(f"{place}: {_wrong(first)}", field=place) from error


def _wrong(error: Mapping[str, Any]) -> str:
    """What is wrong, of an error as pydantic describes it."""
    if error["type"] == "extra_forbidden":
        return f"is no setting of an inbox. They are: {', '.join(InboxSettings.model_fields)}."
    fields = {**InboxSettings.model_fields, **Prechat.model_fields, **Question.model_fields}
    field = fields.get(str(error["loc"][-1]))
    if error["type"] == "string_pattern_mismatch" and field is not None and field.description:
        return f"{error['input']!r} does not fit. {field.description}"
    return f"{error['msg'].removeprefix('Value error, ')}."


def add(session: Session, key: str) -> Inbox:
    """Raises `Invalid` if ``key`` cannot be one, `Conflict` if there is an inbox of that key."""
    if not _KEY.fullmatch(key) or key == ALL_INBOXES:
        raise Invalid(f"{key!r} is no key: take up to 40 small letters, digits and hyphens, not {ALL_INBOXES!r}.")
    if session.scalar(select(Inbox.id).where(Inbox.key == key)) is not None:
        raise Conflict(f"There is already an inbox {key!r}. Change it with: assistant inboxes set {key}")
    inbox = Inbox(key=key, name="", settings={})
    session.add(inbox)
    session.flush()
    return inbox


def change(inbox: Inbox, values: Mapping[str, Any]) -> None:
    """Change some of its settings (`InboxSettings`); None takes one back. Raises `Invalid`."""
    kept = {name: value for name, value in {**inbox.settings, **values}.items() if value is not None}
    hours = inbox.settings.get("hours")
    inbox.settings = read_settings(kept).model_dump(mode="json", exclude_defaults=True)
    session = object_session(inbox)
    if session is not None and inbox.settings.get("hours") != hours:
        recount(session)


def recount(session: Session, *, after_id: int = 0) -> None:
    """Have all tickets that are not done count anew when they are due, by a job."""
    queue.enqueue(session, RECOUNT, {"after_id": after_id}, key=f"{RECOUNT}:{after_id}")


def configure(
    session: Session,
    inbox: Inbox,
    settings: Settings,
    values: Mapping[str, Any],
    *,
    logo: tuple[str, bytes] | None = None,
) -> None:
    """Change what ``values`` name: `BESIDE`, or fields of `InboxSettings`; None takes one back. ``logo``: name and
    bytes of a file. Raises `Invalid`, `NotFound` for a team, and what `keep_logo` raises."""
    if unknown := set(values) - {*BESIDE, *InboxSettings.model_fields}:
        choices = ", ".join((*BESIDE, *InboxSettings.model_fields))
        raise Invalid(f"{', '.join(sorted(unknown))} is no setting of an inbox. Choose from: {choices}.")
    change(inbox, {name: value for name, value in values.items() if name not in BESIDE})
    if "name" in values:
        inbox.name = (values["name"] or "").strip()
    if "team" in values:
        inbox.team = people.find_team(session, values["team"]) if values["team"] else None
    if "logo" in values:
        inbox.logo_sha256 = None
    if logo is not None:
        keep_logo(inbox, settings, *logo)
    session.flush()


def renew_secret(inbox: Inbox, settings: Settings) -> str:
    """A new secret for signed identities, which is returned. The one that it replaces stays valid, the one before that
    does not."""
    secret = secrets.token_hex(32)
    inbox.secret, inbox.previous_secret = sealing.seal(settings, secret), inbox.secret
    return secret


def withdraw_previous_secret(inbox: Inbox) -> None:
    """From now on only the newest is valid."""
    inbox.previous_secret = None


def archive(inbox: Inbox) -> None:
    """Serve its widget no longer. Its conversations stay, and agents go on answering them. Raises `Conflict` for the
    default inbox."""
    if inbox.key == DEFAULT_INBOX:
        raise Conflict("The default inbox cannot be archived: pages that name none, and the API, use it.")
    inbox.archived_at = inbox.archived_at or utcnow()


def restore(inbox: Inbox) -> None:
    """Serve it again."""
    inbox.archived_at = None


def all_inboxes(session: Session) -> list[Inbox]:
    """The default one first, then by key."""
    rows = session.scalars(select(Inbox).options(joinedload(Inbox.team)).order_by(Inbox.key))
    return sorted(rows, key=lambda inbox: inbox.key != DEFAULT_INBOX)


def prechat_answers(inbox: Inbox, customer: Customer, given: Mapping[str, str]) -> list[dict[str, str]] | None:
    """What a customer answered before the first message, as ``{"question", "answer"}`` in the form's order.

    Raises `Invalid` that names what is required and missing, or is not one of the choices.
    """
    form = settings_of(inbox).prechat
    is_known = customer.verified_at is not None  # they are who they are, whatever they type
    for name, value in (("name", customer.name), ("email", customer.email)):
        if getattr(form, name) == "required" and not value and not is_known:
            raise Invalid(Notice("prechat_missing"), field=name)
    answers = []
    for question in form.questions:
        answer = given.get(question.key, "")[:_MOST_ANSWER]
        is_no_choice = bool(answer and question.choices) and answer not in question.choices
        if is_no_choice or (question.required and not answer):
            raise Invalid(Notice("prechat_missing"), field=question.key)
        if answer:
            answers.append({"question": question.text, "answer": answer})
    return answers or None


def keep_logo(inbox: Inbox, settings: Settings, filename: str, data: bytes) -> None:
    """Store its picture. Raises what `files.keep_picture` raises."""
    storage = Storage.open(settings.attachments_url)
    inbox.logo_sha256 = keep_picture(storage, settings, Upload(filename, None, data))


def problems(session: Session, settings: Settings, teams: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with inboxes, with what to do. ``teams``: the keys of those that there are."""
    for inbox in all_inboxes(session):
        if inbox.archived_at is not None:
            continue
        advice = f"assistant inboxes set {inbox.key}"
        try:
            own = settings_of(inbox)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            yield f"{inbox.key}: {place} {first['msg']}", f"Set it anew: {advice}"
            continue
        if inbox.key != DEFAULT_INBOX and not own.origins:
            yield f"{inbox.key}: no site may embed it", f"{advice} --origin https://…"
        secure = settings.base_url.startswith("https://")
        for origin in own.origins if not secure else ():
            if origin.startswith("https://"):
                told = f"{inbox.key}: {origin} is HTTPS, but this server is not: browsers refuse that"
                yield told, "Set ASSISTANT_PUBLIC_URL to an address with https://"
        if inbox.team is not None and inbox.team.key not in teams:
            yield f"{inbox.key}: the team {inbox.team.key} is not in the taxonomy", f"{advice} --team …"


def brand(inbox: Inbox, settings: Settings) -> str:
    """The name that its customers read."""
    return inbox.name or settings.company


def time_zone(inbox: Inbox) -> tzinfo:
    """That of its business hours; UTC if it has none."""
    hours = settings_of(inbox).hours
    return ZoneInfo(hours.zone) if hours is not None else UTC


def origins(inbox: Inbox, settings: Settings) -> tuple[str, ...]:
    """The sites that may embed its widget: its own, and those of the settings for the default inbox."""
    own = settings_of(inbox).origins
    return _unique((*own, *settings.widget_origins)) if inbox.key == DEFAULT_INBOX else own


def valid_secrets(inbox: Inbox, settings: Settings) -> tuple[str, ...]:
    """The secrets that may have signed an identity, the newest first; none if the inbox knows no signed identities."""
    return tuple(sealing.unseal(settings, sealed) for sealed in (inbox.secret, inbox.previous_secret) if sealed)
