"""One customer message from accepted to answered, on every rung of the ladder and when things break."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from assistant import worker
from assistant.desk import conversations, state, turns
from assistant.desk.access import CustomerPrincipal
from assistant.desk.conversations import Posted
from assistant.desk.desk import Desk
from assistant.desk.events import EventKind
from assistant.errors import EngineFailed
from assistant.media.files import Upload
from assistant.models import (
    Author,
    Conversation,
    ConversationState,
    Draft,
    Event,
    Evidence,
    Generation,
    Job,
    JobStatus,
    Message,
    Ticket,
    TriageResult,
)
from assistant.ports import Box, HandoffReason, Mode, TextLine
from assistant.runtime import Runtime
from tests.factories import make_agent, make_articles, make_conversation, make_ticket, make_upload
from tests.fakes import BreaksOff, FakeDecisions, FakeOCR, ManualClock, ScriptedChatModel, fake_capabilities

FACT = "Error E21 means that the pump draws no water from the tank. [1]"
LIE = "You get 500 euros for it. [1]"


def say(
    desk: Desk,
    text: str,
    *,
    into: Conversation | None = None,
    photo: bool = False,
    uploads: Sequence[Upload] = (),
) -> Posted:
    conversation = into or make_conversation(desk, name="Rosa")
    customer = CustomerPrincipal(conversation.id)
    uploads = [make_upload()] if photo else uploads
    return conversations.post_message(desk, customer, text=text, uploads=uploads, client_id=None)


def said(desk: Desk) -> list[tuple[Author, str]]:
    with desk.db.read() as session:
        rows = session.execute(select(Message.author, Message.text).order_by(Message.id)).all()
        return [(author, text) for author, text in rows]


def conversation(desk: Desk) -> Conversation:
    with desk.db.read() as session:
        return session.scalars(select(Conversation)).one()


@pytest.fixture
def writing(make_runtime: Callable[..., Runtime], tmp_path: Path) -> tuple[Desk, ScriptedChatModel]:
    """A desk whose model writes answers."""
    model = ScriptedChatModel()
    desk = make_runtime(capabilities=fake_capabilities(Mode.FULL_VLM, chat_model=model)).desk
    make_articles(desk, tmp_path / "articles")
    return desk, model


@pytest.fixture
def quoting(desk: Desk, tmp_path: Path) -> Desk:
    """A desk without a model."""
    make_articles(desk, tmp_path / "articles")
    return desk


def test_what_the_photo_shows_decides_what_is_answered(make_runtime: Callable[..., Runtime], tmp_path: Path) -> None:
    desk = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("BrewMaster 300", "E21"))).desk
    make_articles(desk, tmp_path / "articles")
    say(desk, "It blinks, what now?", photo=True)
    worker.run_until_idle(desk)
    assert "draws no water" in said(desk)[-1][1]
    with desk.db.read() as session:
        assert session.scalars(select(Evidence)).one()
        assert session.scalars(select(TriageResult)).one()


def test_a_photo_of_another_product_than_is_named_goes_to_a_person(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    desk = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("BrewMaster 300", "E21"))).desk
    make_articles(desk, tmp_path / "articles")
    say(desk, "My DustPilot R7 shows E21, what now?", photo=True)
    worker.run_until_idle(desk)
    assert conversation(desk).handoff_reason is HandoffReason.NEEDS_HUMAN
    assert Author.ASSISTANT not in [author for author, _ in said(desk)]


def test_a_job_that_runs_again_does_nothing_twice(quoting: Desk) -> None:
    posted = say(quoting, "What does E21 mean?", photo=True)
    worker.run_until_idle(quoting)
    before = said(quoting)
    turns.process_message(quoting, posted.message.id)
    assert said(quoting) == before
    with quoting.db.read() as session:
        assert len(session.scalars(select(TriageResult)).all()) == 1


def test_nobody_is_told_of_an_answer_that_will_not_come(quoting: Desk) -> None:
    """An agent has answered, and the assistant has the conversation again, before the message's turn came."""
    asked = say(quoting, "What does E21 mean?").message
    agent = make_agent(quoting.db, "alice").principal
    with quoting.db.begin() as session:
        conversation = session.get_one(Conversation, asked.conversation_id)
        state.take_over(session, conversation, agent)
        conversations.add_reply(session, conversation, author=Author.AGENT, agent=agent, text="It draws no water.")
        conversations.give_back(session, conversation)
    before = said(quoting)
    turns.process_message(quoting, asked.id)
    assert said(quoting) == before
    with quoting.db.read() as session:
        assert EventKind.ANSWER_STARTED not in session.scalars(select(Event.kind)).all()


def test_a_sentence_that_no_passage_supports_is_not_said(writing: tuple[Desk, ScriptedChatModel]) -> None:
    desk, model = writing
    model.default = f"{FACT} {LIE}"
    say(desk, "What does E21 mean?")
    worker.run_until_idle(desk)
    assert "draws no water" in said(desk)[-1][1]
    assert "500" not in said(desk)[-1][1]
    with desk.db.read() as session:
        assert sum(session.scalars(select(Generation.output_tokens))) > 0


def test_an_answer_that_stands_on_nothing_goes_to_a_person(writing: tuple[Desk, ScriptedChatModel]) -> None:
    desk, model = writing
    model.default = LIE
    say(desk, "What does E21 mean?")
    worker.run_until_idle(desk)
    assert conversation(desk).state is ConversationState.HANDED_OFF
    assert conversation(desk).handoff_reason is HandoffReason.UNSUPPORTED_ANSWER
    assert not any("500" in text for _, text in said(desk))


@pytest.mark.parametrize("reply", [EngineFailed("down"), BreaksOff("", EngineFailed("down"))])
def test_without_its_model_the_assistant_quotes(writing: tuple[Desk, ScriptedChatModel], reply: Exception) -> None:
    desk, model = writing
    model.enqueue(reply, reply, reply)
    say(desk, "What does E21 mean?")
    worker.run_until_idle(desk)
    assert said(desk)[-1][0] is Author.ASSISTANT
    assert "draws no water" in said(desk)[-1][1]


def test_what_nobody_wrote_about_goes_to_a_person(quoting: Desk) -> None:
    say(quoting, "Do you sponsor sailing clubs in Norway?")
    worker.run_until_idle(quoting)
    assert conversation(quoting).handoff_reason is HandoffReason.MISSING_KNOWLEDGE
    assert said(quoting)[-1][0] is Author.SYSTEM


def test_who_asks_on_is_not_told_the_same_again_but_gets_a_person(quoting: Desk) -> None:
    say(quoting, "What does E21 mean?")
    worker.run_until_idle(quoting)
    say(quoting, "Are you there?", into=conversation(quoting))
    worker.run_until_idle(quoting)
    assert [author for author, _ in said(quoting)].count(Author.ASSISTANT) == 1
    assert conversation(quoting).handoff_reason is HandoffReason.MISSING_KNOWLEDGE


def test_who_asks_something_else_gets_another_answer(quoting: Desk, tmp_path: Path) -> None:
    make_articles(quoting, tmp_path / "more", {"ice.md": "# Ice\n\nError E77 means that the compressor is iced up.\n"})
    say(quoting, "What does E21 mean?")
    worker.run_until_idle(quoting)
    say(quoting, "And what does E77 mean?", into=conversation(quoting))
    worker.run_until_idle(quoting)
    assert "iced up" in said(quoting)[-1][1]


def test_who_asks_for_a_person_gets_one(quoting: Desk) -> None:
    say(quoting, "I want to talk to a human, please")
    worker.run_until_idle(quoting)
    assert conversation(quoting).handoff_reason is HandoffReason.CUSTOMER_ASKED


def test_thanks_are_answered_and_need_no_draft(quoting: Desk) -> None:
    say(quoting, "What does E21 mean?")
    worker.run_until_idle(quoting)
    say(quoting, "Thank you!", into=conversation(quoting))
    worker.run_until_idle(quoting)
    assert [author for author, _ in said(quoting)] == [Author.CUSTOMER, Author.ASSISTANT] * 2
    assert conversation(quoting).state is ConversationState.ASSISTANT
    with quoting.db.begin() as session:
        conversations.hand_off(session, state.lock_conversation(session, 1), HandoffReason.CUSTOMER_ASKED)
    say(quoting, "Thanks a lot", into=conversation(quoting))
    worker.run_until_idle(quoting)
    with quoting.db.read() as session:
        drafts = session.scalars(select(Draft)).all()
        thanks = session.scalars(select(Message).where(Message.text == "Thanks a lot")).one()
        assert thanks.id not in [draft.answers_message_id for draft in drafts]


def test_an_answer_that_was_being_written_when_an_agent_took_over_is_dropped(
    writing: tuple[Desk, ScriptedChatModel],
) -> None:
    desk, model = writing
    agent = make_agent(desk.db, "alice", team="technical").principal

    def answer(_messages: object) -> str:
        with desk.db.begin() as session:
            row = state.lock_conversation(session, 1)
            state.take_over(session, row, agent)
        return FACT

    model.enqueue(answer)
    say(desk, "What does E21 mean?")
    worker.run_until_idle(desk)
    assert [author for author, _ in said(desk)] == [Author.CUSTOMER]
    assert conversation(desk).state is ConversationState.AGENT


def test_work_that_fails_for_good_hands_off_and_nobody_is_left_in_silence(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    class Broken(FakeOCR):
        def read(self, photo: bytes) -> list[object]:  # type: ignore[override]
            raise RuntimeError("the reader crashed")

    capabilities = fake_capabilities(ocr=Broken())
    runtime = make_runtime(capabilities=capabilities)
    desk = runtime.desk
    clock = ManualClock(desk.now())
    object.__setattr__(desk, "now", clock)
    object.__setattr__(capabilities.embeddings, "embed_documents", _boom)
    say(desk, "What does E21 mean?", photo=True)
    for _ in range(8):
        worker.run_until_idle(desk)
        clock.advance(timedelta(seconds=300))
    with desk.db.read() as session:
        assert JobStatus.DEAD in session.scalars(select(Job.status)).all()
    assert conversation(desk).handoff_reason is HandoffReason.ENGINE_DOWN
    assert said(desk)[-1][0] is Author.SYSTEM


@pytest.mark.parametrize(
    ("line", "box", "asks"),
    [
        ("SN: DP40718256", Box(0.4, 0.4, 1.0, 0.5), True),
        ("SN: DP40718256", Box(0.4, 0.4, 0.9, 0.5), False),
        ("SN: DP40718256", Box(0.0, 0.4, 1.0, 0.5), False),  # a close-up
        ("Welcome to our", Box(0.4, 0.4, 1.0, 0.5), False),
    ],
)
def test_a_number_that_runs_out_of_the_photo_is_asked_for_once(
    make_runtime: Callable[..., Runtime], line: str, box: Box, asks: bool
) -> None:
    desk = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR(TextLine(line, 0.9, box)))).desk
    message = say(desk, "Is this still under warranty?", photo=True).message
    worker.run_until_idle(desk)
    turns.process_message(desk, message.id)  # as after a crash
    asked = [text for author, text in said(desk) if author is Author.SYSTEM and "cut off" in text]
    assert (
        asked
        == ["A number at the edge of photo.jpg is cut off. Please take one more photo that shows all of it."] * asks
    )


def _boom(_texts: list[str]) -> list[list[float]]:
    raise RuntimeError("the embeddings crashed")


def test_a_ticket_by_the_api_gets_a_draft_and_nothing_is_sent(quoting: Desk) -> None:
    ticket = make_ticket(quoting, uploads=[make_upload()])
    worker.run_until_idle(quoting)
    assert [author for author, _ in said(quoting)] == [Author.CUSTOMER]
    with quoting.db.read() as session:
        draft = session.scalars(select(Draft).where(Draft.ticket_id == ticket.id)).one()
        assert draft.citations
        assert session.get_one(Ticket, ticket.id).triage_results


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("photos", [True, False])
def test_a_model_on_another_machine_sees_what_the_settings_allow(
    make_runtime: Callable[..., Runtime], tmp_path: Path, mask: bool, photos: bool
) -> None:
    model, decisions = ScriptedChatModel(default="The pump draws no water [1]."), FakeDecisions()
    remote = fake_capabilities(
        Mode.REMOTE, ocr=FakeOCR("E21", "Rosa Miller, 12 Baker Street"), chat_model=model, decisions=decisions,
        sees_photos=photos,
    )  # fmt: skip
    desk = make_runtime(capabilities=remote, remote_mask=mask, remote_photos=photos).desk
    make_articles(desk, tmp_path / "articles")
    say(desk, "My name is Rosa Miller, rosa@example.org. What does E21 mean?", photo=True)
    worker.run_until_idle(desk)
    assert "draws no water" in said(desk)[-1][1]
    told = "\n".join([*model.prompts, *(state for state, _, _ in decisions.asked)])
    assert "E21" in told
    assert [one in told for one in ("Rosa", "rosa@", "Baker")] == [not mask] * 3
    images = [block for messages in model.history for one in messages if not isinstance(one.content, str)
              for block in one.content if isinstance(block, dict) and block.get("type") != "text"]  # fmt: skip
    assert bool(images or any(shown for _, shown, _ in decisions.asked)) is photos
    with desk.db.read() as session:
        evidence = session.scalars(select(Evidence)).one()
    assert evidence.model == ("scripted" if photos else remote.without_model.model)
