"""What agents and customers have made of answers, by the assistant's confidence."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant import worker
from assistant.desk import drafts, reports
from assistant.desk.access import Staff
from assistant.desk.desk import Desk
from assistant.lab.evaluation.answers import render_verdicts
from assistant.models import Author, Draft, Message, Ticket
from tests.factories import make_agent, make_articles, make_ticket


def test_what_became_of_answers_is_told_by_confidence(desk: Desk, tmp_path: Path) -> None:
    make_articles(desk, tmp_path)
    agent = make_agent(desk.db, "alice").principal
    outcomes = ("sent", "edited", "discarded", "sent")
    tickets = [make_ticket(desk, f"My coffee machine shows E21, what is it? ({number})") for number in range(5)]
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        found = [session.scalars(select(Draft).where(Draft.ticket_id == ticket.id)).one() for ticket in tickets]
        for draft, outcome, confidence in zip(found[:4], outcomes, (0.95, 0.75, 0.35, 0.92), strict=True):
            draft.confidence = confidence
            _decide(session, agent, draft, outcome)
        found[4].confidence = None  # from before it was measured
        _decide(session, agent, found[4], "sent")
        rated = Message(author=Author.ASSISTANT, text="Yes.", helpful=False, confidence=0.72)
        rated.conversation_id = session.get_one(Ticket, tickets[0].id).conversation_id
        session.add(rated)
    with desk.db.read() as session:
        verdicts = reports.verdicts(session)
    assert sorted((one.confidence, one.outcome, one.accepted) for one in verdicts) == [
        (0.35, "discarded", False),
        (0.72, "not helped", False),
        (0.75, "edited", False),
        (0.92, "sent", True),
        (0.95, "sent", True),
    ]
    lines = [line.split() for line in render_verdicts(verdicts).splitlines()]
    assert lines[0] == ["confidence", "accepted", "answers", "discarded", "edited", "not", "helped", "sent"]
    assert [line[:3] for line in lines[1:4]] == [["0.35", "0.000", "1"], ["0.73", "0.000", "2"], ["0.94", "1.000", "2"]]
    assert "5 answers" in render_verdicts(verdicts)
    assert "yet" in render_verdicts([])


def _decide(session: Session, agent: Staff, draft: Draft, outcome: str) -> None:
    ticket = session.get_one(Ticket, draft.ticket_id)
    if outcome == "discarded":
        drafts.discard_draft(session, agent, ticket, draft)
    else:
        drafts.send_draft(session, agent, ticket, draft, text="Bleed the pump." if outcome == "edited" else None)
