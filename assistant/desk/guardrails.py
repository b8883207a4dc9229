"""What an inbox's assistant may say by itself: from which confidence on, to which tickets never, which words and
phrases never, and in which tone.

They are settings of the inbox (`inboxes.InboxSettings`). What may not be answered is handed to a person, who gets a
draft as for every other ticket. What is never said is left out of answers and drafts where they are made (the answer
skill); here it is looked for in what others write: machines are refused, agents are asked whether they mean it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, and_, false, or_, select
from sqlalchemy.orm import Session

from assistant.desk import conditions, inboxes
from assistant.desk.access import MachinePrincipal
from assistant.desk.conditions import Asking
from assistant.desk.inboxes import InboxSettings
from assistant.errors import Invalid
from assistant.models import Inbox, Ticket
from assistant.settings import Settings
from assistant.skills.taxonomy import Taxonomy
from assistant.text.phrases import first_in

_NOBODY = MachinePrincipal(0, "the inbox", frozenset())


class NeverSaid(Invalid):
    """A reply has something that its inbox never says: an agent who means it must confirm it."""


def threshold(own: InboxSettings, settings: Settings) -> float:
    return settings.answer_threshold if own.answer_threshold is None else own.answer_threshold


def require_sayable(inbox: Inbox, text: str) -> None:
    """Raises `NeverSaid`."""
    if (phrase := first_in(text, inboxes.settings_of(inbox).never_say)) is not None:
        raise NeverSaid(f"This inbox never says “{phrase}”. Nothing was sent.", field="text")


def check(session: Session, taxonomy: Taxonomy, filters: Iterable[str], *, now: datetime) -> None:
    """Raises `Invalid` that says which of the filters cannot be understood, and why."""
    for query in filters:
        try:
            _compiled(session, taxonomy, query, now)
        except Invalid as error:
            raise Invalid(f"{query!r}: {error.message}", field="never_answer") from error


def may_answer(session: Session, taxonomy: Taxonomy, inbox: Inbox, ticket_id: int, *, now: datetime) -> bool:
    """Whether no filter finds the ticket. One that cannot be understood any more finds every ticket: a person looks."""
    filters = inboxes.settings_of(inbox).never_answer
    try:
        found = [_compiled(session, taxonomy, query, now) for query in filters]
    except Invalid:
        return False
    return session.scalar(select(Ticket.id).where(Ticket.id == ticket_id, or_(false(), *found))) is None


def _compiled(session: Session, taxonomy: Taxonomy, query: str, now: datetime) -> ColumnElement[bool]:
    found = conditions.compiled(session, conditions.parse(query), Asking(_NOBODY, taxonomy, now))
    if not found:
        raise Invalid("This means every ticket.")
    return and_(*found)
