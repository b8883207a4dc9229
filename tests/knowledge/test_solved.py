"""Answers of solved tickets: proposed masked, seen by whom the ticket is, used only once approved."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import delete, func, select

from assistant import worker
from assistant.desk import drafts, tickets
from assistant.desk.desk import Desk
from assistant.errors import Invalid, NotFound
from assistant.knowledge import articles as knowledge
from assistant.knowledge import solved, sources
from assistant.models import Conversation, SolvedAnswer, SolvedState, Ticket, TicketStatus
from tests.factories import Persona, make_articles, make_ticket

QUESTION = "Hello, my name is Rosa Miller. My jukebox eats vinyl records, call +49 30 901820."
ANSWER = "Dear Rosa, please open the lid and turn the yellow wheel until the arm is free again. Alice"


def _solve(
    desk: Desk, agent: Persona, *, answer: str = ANSWER, team: str = "technical", text: str = QUESTION
) -> Ticket:
    ticket = make_ticket(desk, text, team=team, requester_name="Rosa Miller", subject="Jukebox")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        drafts.reply(session, agent.principal, row, answer)
        tickets.set_status(session, row, TicketStatus.SOLVED)
    return ticket


def _sync(desk: Desk) -> None:
    with desk.db.begin() as session:
        source = sources.request_solved(session)
    sources.sync(desk, source.id)


def _proposals(desk: Desk, agent: Persona) -> list[SolvedAnswer]:
    with desk.db.read() as session:
        return [answer for answer, _ in solved.list_proposed(session, agent.principal)]


def _approve(desk: Desk, agent: Persona, proposal: SolvedAnswer, **changes: str) -> None:
    with desk.db.begin() as session:
        texts = {"question": proposal.question, "answer": proposal.answer, **changes}
        solved.approve(session, agent.principal, proposal.public_id, **texts)


def test_a_solved_ticket_is_proposed_once_with_personal_data_masked(desk: Desk, alice: Persona) -> None:
    _solve(desk, alice)
    _sync(desk)
    _sync(desk)
    [proposal] = _proposals(desk, alice)
    assert proposal.question == "Jukebox\nHello, my name is [name]. My jukebox eats vinyl records, call [phone]."
    assert proposal.answer.startswith("Dear [name], please open the lid")
    assert proposal.answer.endswith("[name]")


def test_names_that_no_article_knows_are_masked_and_words_of_articles_are_not(
    desk: Desk, alice: Persona, tmp_path: Path
) -> None:
    _solve(
        desk, alice, text=QUESTION + " The one from Rosa's uncle Bertram Quill, with the Wurlitzer Bubbler, was fine."
    )
    _solve(desk, alice, answer="Mr Quill wrote that the Bubbler of his Wurlitzer needs oil: please ask Bertram for it.")
    make_articles(desk, tmp_path / "articles", {"oil.md": "# The Wurlitzer\n\nIts Bubbler needs oil once a year."})
    _sync(desk)
    answered, asked = _proposals(desk, alice)  # the newest ticket is looked at first
    assert "uncle [name], with the Wurlitzer Bubbler," in asked.question
    assert answered.answer == "Mr [name] wrote that the Bubbler of his Wurlitzer needs oil: please ask [name] for it."


def test_nothing_is_used_before_an_agent_has_approved_it(desk: Desk, alice: Persona) -> None:
    _solve(desk, alice)
    _sync(desk)
    assert knowledge.search_articles(desk.index, "jukebox vinyl lid") == []
    [proposal] = _proposals(desk, alice)
    _approve(desk, alice, proposal, question="What if the jukebox eats vinyl records?")
    _sync(desk)
    [hit] = knowledge.search_articles(desk.index, "jukebox vinyl lid")
    assert hit.document.metadata["article_title"] == "What if the jukebox eats vinyl records?"
    assert "yellow wheel" in hit.document.page_content
    assert _proposals(desk, alice) == []


def test_an_answer_that_is_put_away_is_not_proposed_again(desk: Desk, alice: Persona) -> None:
    _solve(desk, alice)
    _sync(desk)
    with desk.db.begin() as session:
        solved.reject(session, alice.principal, _proposals(desk, alice)[0].public_id)
    _sync(desk)
    assert _proposals(desk, alice) == []
    with desk.db.read() as session:
        assert knowledge.count_articles(session) == 0


def test_an_agent_of_another_team_neither_sees_nor_approves_it(desk: Desk, alice: Persona, charlie: Persona) -> None:
    _solve(desk, alice)
    _sync(desk)
    [proposal] = _proposals(desk, alice)
    assert _proposals(desk, charlie) == []
    with pytest.raises(NotFound):
        _approve(desk, charlie, proposal)
    with desk.db.begin() as session, pytest.raises(NotFound):
        solved.reject(session, charlie.principal, proposal.public_id)


def test_an_article_needs_a_question_and_an_answer(desk: Desk, alice: Persona) -> None:
    _solve(desk, alice)
    _sync(desk)
    [proposal] = _proposals(desk, alice)
    for empty in ({"question": " "}, {"answer": ""}):
        with pytest.raises(Invalid):
            _approve(desk, alice, proposal, **empty)


def test_tickets_without_an_agents_answer_of_some_length_are_not_proposed(desk: Desk, alice: Persona) -> None:
    _solve(desk, alice, answer="Done!")
    ticket = make_ticket(desk, QUESTION)
    with desk.db.begin() as session:
        tickets.set_status(session, session.get_one(Ticket, ticket.id), TicketStatus.SOLVED)
    make_ticket(desk, "An open one.")
    _sync(desk)
    assert _proposals(desk, alice) == []


def test_with_the_ticket_goes_the_article(desk: Desk, alice: Persona) -> None:
    ticket = _solve(desk, alice)
    _sync(desk)
    _approve(desk, alice, _proposals(desk, alice)[0])
    _sync(desk)
    with desk.db.begin() as session:
        session.execute(delete(Conversation).where(Conversation.id == ticket.conversation_id))
    _sync(desk)
    with desk.db.read() as session:
        assert knowledge.count_articles(session) == 0
        assert session.scalar(select(func.count()).where(SolvedAnswer.state == SolvedState.APPROVED)) == 0
