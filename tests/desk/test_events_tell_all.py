"""Whoever follows events alone sees what a reload shows, whatever customers, agents, machines and the assistant do."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant import payloads, worker
from assistant.desk import conversations, drafts, evidence, feed, ratings, state, tickets, triage
from assistant.desk.access import AgentPrincipal, CustomerPrincipal, MachinePrincipal, Staff
from assistant.desk.corrections import correct_evidence
from assistant.desk.desk import Desk
from assistant.desk.events import Audience, EventKind
from assistant.errors import AssistantError, EngineFailed
from assistant.models import Attachment, Author, Conversation, Draft, Message, Ticket, TicketStatus
from assistant.ports import HandoffReason, Mode
from assistant.runtime import Runtime
from tests.factories import (
    make_agent,
    make_articles,
    make_conversation,
    make_machine,
    make_photo,
    make_ticket,
    make_upload,
)
from tests.fakes import BreaksOff, ScriptedChatModel, fake_capabilities

TEXTS = st.sampled_from(
    ["What does E21 mean?", "Do you sponsor sailing clubs?", "Thank you!", "I want to talk to a human, please"]
)
REPLIES = st.sampled_from(
    [
        "Error E21 means that the pump draws no water from the tank. [1]",
        "You get 500 euros for it. [1]",
        BreaksOff("Error E21", EngineFailed("down")),
    ]
)
_numbers = itertools.count(1)


class Picture:
    """What a client knows of one conversation: what it loaded at first, and every event since."""

    def __init__(self, loaded: dict[str, Any]) -> None:
        self.conversation = loaded["conversation"]
        self.ticket = loaded["ticket"]
        self.messages = {message["id"]: message for message in loaded["messages"]}
        self.evidence: dict[str, Any] = loaded["evidence"]
        self.drafts = {draft["id"]: draft for draft in loaded["drafts"]}
        self.triage = loaded["triage"]

    def apply(self, kind: EventKind, payload: dict[str, Any]) -> None:
        if "ticket" in payload and kind is not EventKind.DRAFT_UPDATED:
            self.ticket = payload["ticket"]
        match kind:
            case EventKind.MESSAGE_CREATED | EventKind.MESSAGE_UPDATED | EventKind.NOTE_CREATED:
                self.messages[payload["id"]] = dict(payload)  # a rating changes it, for agents alone
            case EventKind.MESSAGE_RATED:
                self.messages[payload["message"]] |= {name: payload[name] for name in ("helpful", "feedback")}
            case EventKind.CONVERSATION_RATED:
                self.conversation = {**self.conversation, "rating": payload, "asks_rating": False}
            case EventKind.CONVERSATION_UPDATED:
                self.conversation = payload
                if self.ticket is not None:
                    new = {"conversation_state": payload["state"], "handoff_reason": payload["reason"]}
                    self.ticket = {**self.ticket, **new}
            case EventKind.TICKET_TRIAGED | EventKind.TRIAGE_DECIDED:
                self.triage = payload["triage"]
            case EventKind.DRAFT_UPDATED:
                self.drafts[payload["draft"]["id"]] = payload["draft"]
            case EventKind.EVIDENCE_READ | EventKind.EVIDENCE_CORRECTED:
                self.evidence[payload["attachment"]] = payload["evidence"]

    def shown(self) -> dict[str, Any]:
        return {
            "conversation": {**self.conversation, "queue_position": None},  # others move it: it is polled
            "ticket": self.ticket,
            "messages": list(self.messages.values()),
            "evidence": self.evidence,
            "drafts": list(self.drafts.values()),
            "triage": self.triage,
        }


def load(session: Session, conversation_id: int, audience: Audience) -> dict[str, Any]:
    """The same, loaded afresh."""
    conversation = session.get_one(Conversation, conversation_id)
    shown = payloads.Conversation.of(conversation, queue_position=0).to_json()
    if audience is Audience.CUSTOMER:
        said = [payloads.Message.of(one).to_json() for one in conversations.public_messages(session, conversation_id)]
        for message in said:  # agents alone see ratings come in; the customer gets them as the answer to their own
            message["helpful"] = message["feedback"] = None
        return {
            "conversation": shown, "ticket": None, "messages": said, "evidence": {}, "drafts": [], "triage": None
        }  # fmt: skip
    ticket = session.scalar(select(Ticket).where(Ticket.conversation_id == conversation_id))
    said = [payloads.Message.of(one).to_json() for one in conversations.all_messages(session, conversation_id)]
    photos = evidence.photos_of(session, session.scalars(select(Message.id).filter_by(conversation_id=conversation_id)))
    read = evidence.evidence_of(session, photos)
    current = ticket.current_triage if ticket is not None else None
    return {
        "conversation": shown,
        "ticket": payloads.TicketSummary.of(ticket).to_json() if ticket is not None else None,
        "messages": said,
        "evidence": {
            photo.public_id: payloads.Evidence.stored(read[photo.sha256], filename=photo.filename).to_json()
            for photo in photos
            if photo.sha256 in read
        },
        "drafts": [payloads.Draft.of(draft).to_json() for draft in (ticket.drafts if ticket is not None else [])],
        "triage": payloads.Triage.of(current).to_json() if current is not None else None,
    }


class Clients(RuleBasedStateMachine):
    """Two clients of every conversation, its customer and an agent, and people who do things to it."""

    desk: Desk
    model: ScriptedChatModel
    agents: tuple[AgentPrincipal, ...]
    machine: MachinePrincipal
    known = Bundle("known")  # ids of conversations

    @initialize(target=known, text=TEXTS)
    def begin(self, text: str) -> Any:
        # Every example has a photo of its own, which several messages may carry: what one has read, the next knows not.
        self.photo = make_photo(str(next(_numbers)), size=(64, 48))
        self.pictures: dict[tuple[int, Audience], Picture] = {}
        with self.desk.db.read() as session:
            self.seen = feed.last_event_id(session)
        api = make_ticket(self.desk, text, uploads=[make_upload(data=self.photo)]).conversation_id
        widget = make_conversation(self.desk, name="Rosa").id
        for conversation_id in (api, widget):
            self._open_clients(conversation_id)
        self.customer_writes(widget, text, with_photo=True)
        return multiple(api, widget)

    def _open_clients(self, conversation_id: int) -> None:
        with self.desk.db.read() as session:
            self.seen = feed.last_event_id(session)
            for audience in Audience:
                self.pictures[conversation_id, audience] = Picture(load(session, conversation_id, audience))

    # The customer

    @rule(conversation_id=known, text=TEXTS, with_photo=st.booleans())
    def customer_writes(self, conversation_id: int, text: str, with_photo: bool) -> None:
        uploads = [make_upload(data=self.photo)] if with_photo else []
        customer = CustomerPrincipal(conversation_id)
        conversations.post_message(self.desk, customer, text=text, uploads=uploads, client_id=None)

    @rule(conversation_id=known)
    def customer_asks_for_a_person(self, conversation_id: int) -> None:
        with self.desk.db.begin() as session:
            conversation = state.lock_conversation(session, conversation_id)
            conversations.hand_off(session, conversation, HandoffReason.CUSTOMER_ASKED)

    @rule(conversation_id=known, helpful=st.sampled_from([True, False, None]))
    def customer_rates_an_answer(self, conversation_id: int, helpful: bool | None) -> None:
        with self.desk.db.begin() as session:
            said = select(Message).filter_by(conversation_id=conversation_id, author=Author.ASSISTANT)
            answer = session.scalars(said).first()
            if answer is not None:
                customer = CustomerPrincipal(conversation_id)
                missing = "The valve." if helpful is False else None
                conversations.rate_answer(session, customer, answer.public_id, helpful=helpful, feedback=missing)

    @rule(conversation_id=known, score=st.sampled_from([None, 1, 5]))
    def customer_ends_or_rates_the_conversation(self, conversation_id: int, score: int | None) -> None:
        customer = CustomerPrincipal(conversation_id)
        with suppress(AssistantError), self.desk.db.begin() as session:
            if score is None:
                conversations.end(session, customer)
            else:
                ratings.rate(session, customer, score=score)

    # The assistant

    @rule(reply=REPLIES, jobs=st.integers(1, 6))
    def assistant_works(self, reply: Any, jobs: int) -> None:
        self.model.enqueue(*[reply] * 3)
        for _ in range(jobs):
            worker.run_once(self.desk)

    # Agents and machines

    def _act(self, conversation_id: int, act: Callable[[Session, Ticket], Any]) -> None:
        """Refusals are fine: whatever is done is told."""
        with suppress(AssistantError), self.desk.db.begin() as session:
            act(session, session.scalars(select(Ticket).filter_by(conversation_id=conversation_id)).one())

    def _staff(self, number: int) -> Staff:
        return (*self.agents, self.machine)[number]

    @rule(conversation_id=known, agent=st.integers(0, 1))
    def agent_takes_over(self, conversation_id: int, agent: int) -> None:
        def act(session: Session, _: Ticket) -> None:
            state.take_over(session, state.lock_conversation(session, conversation_id), self.agents[agent])

        self._act(conversation_id, act)

    @rule(conversation_id=known)
    def agent_gives_back(self, conversation_id: int) -> None:
        def act(session: Session, _: Ticket) -> None:
            conversations.give_back(session, state.lock_conversation(session, conversation_id))

        self._act(conversation_id, act)

    @rule(conversation_id=known, agent=st.integers(0, 1), is_note=st.booleans())
    def agent_writes(self, conversation_id: int, agent: int, is_note: bool) -> None:
        write = drafts.add_note if is_note else drafts.reply
        self._act(conversation_id, lambda session, row: write(session, self.agents[agent], row, "I see."))

    @rule(conversation_id=known, agent=st.integers(0, 1), is_solved=st.booleans())
    def agent_solves_or_reopens(self, conversation_id: int, agent: int, is_solved: bool) -> None:
        move = tickets.solve if is_solved else tickets.reopen
        self._act(conversation_id, lambda session, row: move(session, row, self.agents[agent]))

    @rule(conversation_id=known, status=st.sampled_from(TicketStatus))
    def machine_sets_the_status(self, conversation_id: int, status: TicketStatus) -> None:
        self._act(conversation_id, lambda session, row: tickets.set_status(session, row, status))

    @rule(conversation_id=known, agent=st.sampled_from([None, 0, 1]))
    def machine_assigns(self, conversation_id: int, agent: int | None) -> None:
        to = self.agents[agent].public_id if agent is not None else None
        self._act(conversation_id, lambda session, row: tickets.assign(session, row, to))

    @rule(conversation_id=known, by=st.integers(0, 2), text=st.sampled_from([None, "", "Better."]))
    def draft_is_sent_or_discarded(self, conversation_id: int, by: int, text: str | None) -> None:
        def act(session: Session, row: Ticket) -> None:
            draft = session.scalars(select(Draft).filter_by(ticket_id=row.id).order_by(Draft.id.desc())).first()
            if draft is not None and text == "":
                drafts.discard_draft(session, self._staff(by), row, draft)
            elif draft is not None:
                drafts.send_draft(session, self._staff(by), row, draft, text=text)

        self._act(conversation_id, act)

    @rule(conversation_id=known, by=st.integers(0, 2), field=st.sampled_from(["priority", "team", "product"]))
    def triage_is_decided(self, conversation_id: int, by: int, field: str) -> None:
        value = {"priority": "urgent", "team": "orders", "product": None}[field]

        def act(session: Session, row: Ticket) -> None:
            triage.decide_field(session, self._staff(by), row, field, taxonomy=self.desk.taxonomy, value=value)

        self._act(conversation_id, act)

    @rule(conversation_id=known, agent=st.integers(0, 1), word=st.sampled_from(["leaking", "damaged"]))
    def agent_corrects_evidence(self, conversation_id: int, agent: int, word: str) -> None:
        def act(session: Session, _: Ticket) -> None:
            sent = select(Attachment).join(Attachment.message).where(Message.conversation_id == conversation_id)
            photo = session.scalars(sent).first()
            if photo is not None:
                correct_evidence(
                    session, self.agents[agent], photo.public_id, {"condition": word}, taxonomy=self.desk.taxonomy
                )

        self._act(conversation_id, act)

    @invariant()
    def what_events_told_is_what_a_reload_shows(self) -> None:
        with self.desk.db.read() as session:
            for event in feed.after(session, self.seen, conversation_id=None, audience=Audience.AGENT):
                self.seen = event.id
                for audience in {Audience.AGENT, Audience(event.audience)}:
                    assert event.conversation_id is not None
                    if (event.conversation_id, audience) in self.pictures:
                        self.pictures[event.conversation_id, audience].apply(EventKind(event.kind), event.payload)
            for (conversation_id, audience), picture in self.pictures.items():
                assert picture.shown() == load(session, conversation_id, audience)

    @invariant()
    def a_conversation_is_closed_exactly_while_its_ticket_is_done(self) -> None:
        with self.desk.db.read() as session:
            for ticket in session.scalars(select(Ticket)):
                assert (ticket.conversation.state == "closed") == (ticket.status in state.DONE)


@pytest.mark.slow
def test_events_alone_tell_what_a_reload_shows(make_runtime: Callable[..., Runtime], tmp_path: Path) -> None:
    model = ScriptedChatModel(default="Error E21 means that the pump draws no water from the tank. [1]")
    desk = make_runtime(capabilities=fake_capabilities(Mode.FULL_VLM, chat_model=model)).desk
    make_articles(desk, tmp_path / "articles")
    agents = tuple(make_agent(desk.db, name, admin=True).principal for name in ("alice", "dora"))
    parts = {"desk": desk, "model": model, "agents": agents, "machine": make_machine(desk.db)}
    machine = type("TheseClients", (Clients,), parts)
    limits = settings(
        max_examples=15,
        stateful_step_count=25,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=limits)
