"""Which words, photos and products of a conversation count when a message is processed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from assistant import worker
from assistant.desk import conversations, state, tickets
from assistant.desk.access import CustomerPrincipal
from assistant.desk.desk import Desk
from assistant.media.files import Upload
from assistant.models import (
    Author,
    Conversation,
    ConversationState,
    Draft,
    Message,
    Ticket,
    TicketStatus,
    TriageField,
    TriageResult,
)
from assistant.ports import HandoffReason
from assistant.runtime import Runtime
from tests.desk.test_corrections import ARTICLES, drafted
from tests.factories import Persona, make_articles, make_conversation, make_photo, make_ticket, make_upload
from tests.fakes import FakeOCR, fake_capabilities

MORE = {
    "kettle.md": "# Kettles\n\n## Descaling\n\nDescale your kettle with two spoons of citric acid.\n\n"
    "## Cable\n\nThe cable of the kettle winds up below its base.\n"
}


@pytest.fixture
def desk(make_runtime: Callable[..., Runtime], tmp_path: Path) -> Desk:
    desk = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("BrewMaster 300", "E21"))).desk
    make_articles(desk, tmp_path / "articles", {**ARTICLES, **MORE})
    return desk


def read_in_photos(desk: Desk, *lines: str) -> None:
    """What OCR reads from now on."""
    object.__setattr__(desk.capabilities, "ocr", FakeOCR(*lines))


def photo(name: str) -> Upload:
    return make_upload(data=make_photo(name))


def open_chat(desk: Desk) -> CustomerPrincipal:
    return CustomerPrincipal(make_conversation(desk, name="Mia").id)


def tell(
    desk: Desk, customer: CustomerPrincipal, text: str, uploads: Sequence[Upload] = (), *, work: bool = True
) -> None:
    conversations.post_message(desk, customer, text=text, uploads=uploads, client_id=None)
    if work:
        worker.run_until_idle(desk)


def replies(desk: Desk) -> list[str]:
    with desk.db.read() as session:
        said = session.scalars(select(Message).where(Message.author != Author.CUSTOMER).order_by(Message.id))
        return [f"{one.author}: {one.text}" for one in said]


def the_ticket(desk: Desk) -> tuple[Ticket, Conversation]:
    with desk.db.read() as session:
        ticket = session.scalars(select(Ticket)).one()
        return ticket, session.get_one(Conversation, ticket.conversation_id)


def proposed(desk: Desk, name: str) -> str:
    """What the newest triage proposes."""
    with desk.db.read() as session:
        query = select(TriageField.value).join(TriageField.result).where(TriageField.name == name)
        return session.scalars(query.order_by(TriageResult.id.desc())).first() or ""


# Quoted words


def test_danger_in_a_quoted_mail_is_not_urgent_and_danger_in_new_words_is(desk: Desk) -> None:
    quoted = "On 3 Nov 2026, at 08:15, Care wrote:\n> If smoke comes out, unplug it: it may catch fire."
    make_ticket(desk, f"How do I descale the kettle?\n\nKind regards\nMia Berg\nBerg Solicitors\n\n{quoted}")
    worker.run_until_idle(desk)
    assert proposed(desk, "priority") != "urgent"
    with desk.db.read() as session:
        message = session.scalars(select(Message)).one()
        draft = session.scalars(select(Draft)).one()
        assert ("smoke" in message.text, "Solicitors" in message.text) == (True, True)
        assert session.scalars(select(Ticket)).one().subject == "How do I descale the kettle?"
    assert "citric acid" in draft.text
    make_ticket(desk, f"Smoke comes out of the kettle!\n\n{quoted}")
    worker.run_until_idle(desk)
    assert proposed(desk, "priority") == "urgent"


# Products and photos


def test_the_product_named_now_beats_the_one_in_an_older_photo(desk: Desk) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "What is this?", [photo("first")])
    assert "pump" in replies(desk)[-1]
    tell(desk, customer, "And what does E21 mean on the DustPilot R7?")
    assert "brush" in replies(desk)[-1]
    assert "pump" not in replies(desk)[-1]
    assert the_ticket(desk)[0].product == "dustpilot-r7"


def test_codes_of_a_new_photo_count_before_those_of_an_older_one(desk: Desk) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "What is this?", [photo("first")])
    read_in_photos(desk, "E27")
    tell(desk, customer, "Now it shows this", [photo("second")])
    assert "lid is open" in replies(desk)[-1]


def test_a_photo_is_remembered_while_the_customer_asks_on_about_it(desk: Desk) -> None:
    read_in_photos(desk, "E27")
    customer = open_chat(desk)
    tell(desk, customer, "", [photo("first")])
    tell(desk, customer, "It is the BrewMaster 300")
    assert "lid is open" in "\n".join(replies(desk))


def test_of_photos_of_two_products_only_those_of_the_one_in_question_count(desk: Desk) -> None:
    machine, robot = photo("machine"), photo("robot")
    ticket = make_ticket(desk, "The DustPilot R7 stopped. What does this mean?", uploads=[machine, robot])
    with desk.db.read() as session:
        stored = [one.sha256 for one in session.scalars(select(Message)).one().attachments]
    by_sha256 = dict(zip(stored, [("BrewMaster 300", "E27"), ("DustPilot R7", "E21")], strict=True))
    object.__setattr__(desk.capabilities, "ocr", FakeOCR(by_sha256=by_sha256))
    worker.run_until_idle(desk)
    text = drafted(desk, ticket)[-1][1]
    assert ("brush" in text, "lid" in text, "pump" in text) == (True, False, False)


def test_photos_of_two_products_without_a_word_on_which_go_to_a_person(desk: Desk) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "What does it mean?", [photo("machine"), photo("robot")], work=False)
    with desk.db.read() as session:
        stored = [one.sha256 for one in session.scalars(select(Message)).one().attachments]
    by_sha256 = dict(zip(stored, [("BrewMaster 300", "E27"), ("DustPilot R7", "E21")], strict=True))
    object.__setattr__(desk.capabilities, "ocr", FakeOCR(by_sha256=by_sha256))
    worker.run_until_idle(desk)
    assert the_ticket(desk)[1].handoff_reason is HandoffReason.NEEDS_HUMAN


# Solved tickets


def solve(desk: Desk, by: Persona) -> None:
    with desk.db.begin() as session:
        tickets.solve(session, session.scalars(select(Ticket)).one(), by.principal)


def test_after_a_solved_ticket_the_same_question_is_answered_again(desk: Desk, dora: Persona) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "How do I descale the kettle?")
    solve(desk, dora)
    tell(desk, customer, "How do I descale the kettle?")
    assert ["citric acid" in one for one in replies(desk)] == [True, True]


def test_photos_codes_and_product_of_a_solved_ticket_do_not_leak_into_the_next_question(
    desk: Desk, dora: Persona
) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "What is this?", [photo("first")])
    solve(desk, dora)
    tell(desk, customer, "Where does the cable of the kettle wind up?")
    assert "winds up" in replies(desk)[-1]
    assert "pump" not in replies(desk)[-1]


def test_an_agent_who_reopens_a_ticket_keeps_its_context(desk: Desk, dora: Persona) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "What is this?", [photo("first")])
    solve(desk, dora)
    with desk.db.begin() as session:
        tickets.reopen(session, session.scalars(select(Ticket)).one(), dora.principal)
    assert the_ticket(desk)[1].context_after_id is None


# Thanks


@pytest.mark.parametrize("thanks", ["Thank you!", "Vielen Dank", "merci"])
@pytest.mark.parametrize("where", ["assistant", "handed_off", "agent", "closed"])
def test_thanks_move_nothing(desk: Desk, dora: Persona, where: str, thanks: str) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "How do I descale the kettle?")
    with desk.db.begin() as session:
        conversation = state.lock_conversation(session, customer.conversation_id)
        ticket = session.scalars(select(Ticket)).one()
        if where == "handed_off":
            conversations.hand_off(session, conversation, HandoffReason.CUSTOMER_ASKED)
        elif where == "agent":
            state.take_over(session, conversation, dora.principal)
            state.change_ticket(session, ticket, status=TicketStatus.PENDING)
        elif where == "closed":
            tickets.solve(session, ticket)
    worker.run_until_idle(desk)
    before, said = the_ticket(desk), replies(desk)
    with desk.db.read() as session:
        drafts = len(session.scalars(select(Draft)).all())
    tell(desk, customer, thanks)
    after = the_ticket(desk)
    assert after[0].status == before[0].status
    assert (after[1].state, after[1].handed_off_at, after[1].turn) == (
        before[1].state,
        before[1].handed_off_at,
        before[1].turn,
    )
    assert after[1].state is ConversationState(where)
    new = replies(desk)[len(said) :]
    assert len(new) <= (where in ("assistant", "closed"))
    assert all(one.startswith("assistant:") and "article" not in one for one in new)
    with desk.db.read() as session:
        assert len(session.scalars(select(Draft)).all()) == drafts


def test_thanks_in_advance_do_not_cost_the_answer(desk: Desk) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "How do I descale the kettle?", work=False)
    tell(desk, customer, "Thank you!")
    assert "citric acid" in replies(desk)[0]
    assert the_ticket(desk)[1].state is ConversationState.ASSISTANT


def test_thanks_before_a_handoff_leave_the_draft_to_the_question(desk: Desk) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "How do I descale the kettle?")
    tell(desk, customer, "Thanks")
    with desk.db.begin() as session:
        conversation = state.lock_conversation(session, customer.conversation_id)
        conversations.hand_off(session, conversation, HandoffReason.CUSTOMER_ASKED)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        answered = session.get_one(Message, session.scalars(select(Draft)).one().answers_message_id)
    assert answered.text == "How do I descale the kettle?"


def test_thanks_that_go_on_are_a_question(desk: Desk) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "How do I descale the kettle?")
    tell(desk, customer, "Thanks! And where does the cable of the kettle wind up?")
    assert "winds up" in replies(desk)[-1]


# What did not help


def test_the_draft_after_a_handoff_does_not_repeat_the_answer(desk: Desk) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "What is this?", [photo("first")])
    assert "pump draws no water" in replies(desk)[-1]
    with desk.db.begin() as session:
        conversation = state.lock_conversation(session, customer.conversation_id)
        conversations.hand_off(session, conversation, HandoffReason.CUSTOMER_ASKED)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        draft = session.scalars(select(Draft)).one()
    assert "pump draws no water" not in draft.text
    if not draft.text:
        assert draft.handoff_reason is HandoffReason.NOTHING_NEW


@pytest.mark.parametrize("words", ["That did not help, I have already tried it.", "Das hat nicht geholfen."])
def test_an_answer_that_the_customer_rejects_in_words_did_not_help_and_is_not_repeated(desk: Desk, words: str) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "How do I descale the kettle?")
    tell(desk, customer, words)
    assert ["citric acid" in one for one in replies(desk)].count(True) == 1
    with desk.db.read() as session:
        answers = session.scalars(select(Message).where(Message.author == Author.ASSISTANT).order_by(Message.id)).all()
        assert answers[0].helpful is False
        assert all(one.helpful is None for one in answers[1:])


def test_what_the_customer_rated_stays_rated_and_what_an_agent_said_is_not_the_assistants(
    desk: Desk, dora: Persona
) -> None:
    customer = open_chat(desk)
    tell(desk, customer, "How do I descale the kettle?")
    with desk.db.begin() as session:
        [answer] = session.scalars(select(Message).where(Message.author == Author.ASSISTANT))
        conversations.rate_answer(session, customer, answer.public_id, helpful=True)
    tell(desk, customer, "That did not help.")
    with desk.db.begin() as session:
        assert session.get_one(Message, answer.id).helpful is True
        conversation = state.lock_conversation(session, customer.conversation_id)
        session.get_one(Message, answer.id).helpful = None
        state.take_over(session, conversation, dora.principal)
        conversations.add_reply(session, conversation, author=Author.AGENT, text="Try vinegar.", agent=dora.principal)
    tell(desk, customer, "That did not help.")
    with desk.db.read() as session:
        assert session.get_one(Message, answer.id).helpful is None


def test_who_is_told_all_there_is_gets_a_person_who_knows_that(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    desk = make_runtime(capabilities=fake_capabilities()).desk
    make_articles(desk, tmp_path / "articles", {"one.md": "# E77\n\nError E77 means that the compressor is iced up.\n"})
    customer = open_chat(desk)
    tell(desk, customer, "What does E77 mean?")
    tell(desk, customer, "But what does E77 mean?")
    assert the_ticket(desk)[1].handoff_reason is HandoffReason.NOTHING_NEW
