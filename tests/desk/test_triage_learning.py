"""Learning from what agents decided."""

from __future__ import annotations

from sqlalchemy import select

from assistant.desk import learning
from assistant.desk.desk import Desk
from assistant.models import Message, TriageField, TriageFieldState, TriageResult
from tests.factories import make_ticket

DECIDED = ["delivery"] * 11 + ["billing"] * 11 + ["account"]


def decide(desk: Desk, number: int, label: str) -> None:
    ticket = make_ticket(desk, f"{label} question number {number}")
    with desk.db.begin() as session:
        message = session.scalars(select(Message).where(Message.conversation_id == ticket.conversation_id)).one()
        field = TriageField(
            name="category", value=label, probability=1.0, probabilities={label: 1.0}, state=TriageFieldState.ACCEPTED
        )
        result = TriageResult(
            ticket_id=ticket.id, message_id=message.id, text=message.text, model="none", mode="no_vlm", fields=[field]
        )
        session.add(result)


def test_a_label_that_one_ticket_has_does_not_keep_the_others_from_being_learned(desk: Desk) -> None:
    for number, label in enumerate(DECIDED):
        decide(desk, number, label)
    assert learning.learn(desk) == {"category": 22}
    with desk.db.read() as session:
        heads = learning.current_heads(session, desk)
    assert set(heads["category"].classes) == {"billing", "delivery"}
