"""Inboxes: their settings are checked where they are set, and what one leaves empty is as in the installation's."""

from __future__ import annotations

from typing import Any

import pytest

from assistant.db import Database, utcnow
from assistant.desk import inboxes, people
from assistant.desk.desk import Desk
from assistant.errors import Invalid, NotFound
from assistant.models import Conversation, Customer, Inbox, Ticket
from tests.factories import make_conversation, make_ticket


def test_conversations_and_tickets_without_an_inbox_are_the_default_ones(desk: Desk) -> None:
    started, opened = make_conversation(desk), make_ticket(desk)
    with desk.db.read() as session:
        default = inboxes.default(session)
        for conversation_id in (started.id, opened.conversation_id):
            assert session.get_one(Conversation, conversation_id).inbox is default
        assert inboxes.brand(default, desk.settings) == desk.settings.company
        assert inboxes.settings_of(default) == inboxes.InboxSettings()


def test_tickets_go_to_the_team_of_their_inbox(desk: Desk) -> None:
    with desk.db.begin() as session:
        inboxes.default(session).team = people.find_team(session, "orders")
    opened = make_ticket(desk)
    with desk.db.read() as session:
        team = session.get_one(Ticket, opened.id).team
        assert team is not None
        assert team.key == "orders"


def test_a_customer_who_is_known_need_not_say_who_they_are() -> None:
    inbox = Inbox(settings={"prechat": {"name": "required", "email": "required"}})
    with pytest.raises(Invalid):
        inboxes.prechat_answers(inbox, Customer(name="Rosa"), {})
    assert inboxes.prechat_answers(inbox, Customer(verified_at=utcnow()), {}) is None


def test_only_the_default_inbox_has_the_origins_of_the_settings(desk: Desk) -> None:
    settings = desk.settings.model_copy(update={"widget_origins": ["https://shop.example"]})
    own = {"origins": ["https://acme.example/", "https://ACME.example"]}
    acme, default = (Inbox(key=key, settings=own) for key in ("acme", "default"))
    assert inboxes.origins(acme, settings) == ("https://acme.example",)
    assert inboxes.origins(default, settings) == ("https://acme.example", "https://shop.example")


def test_an_inbox_that_is_unknown_or_archived_is_not_found(db: Database) -> None:
    with db.begin() as session:
        session.add(Inbox(key="old", archived_at=utcnow()))
    with db.read() as session:
        with pytest.raises(NotFound, match="no inbox 'acme'"):
            inboxes.find(session, "acme")
        with pytest.raises(NotFound, match="archived"):
            inboxes.find(session, "old")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": "#fff"}, "colour: is no setting of an inbox. They are: language, greeting"),
        ({"accent": "green"}, "accent: 'green' does not fit. Colour of the brand, e.g. `#0b6e5f`."),
        ({"origins": ["shop.example"]}, "shop.example is no origin: write https://"),
        ({"contact": "the office"}, "contact: write an e-mail address"),
        (
            {"prechat": {"questions": [{"key": "Order number", "text": "?"}]}},
            "questions.0.key: 'Order number' does not fit.",
        ),
        ({"hours": {"zone": "Berlin", "week": {}}}, "hours.zone: is no time zone"),
        ({"prechat": {"phone": "required"}}, "prechat.phone: "),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_wrong(values: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid) as refused:
        inboxes.read_settings(values)
    assert message in refused.value.message
