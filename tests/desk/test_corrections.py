"""An agent corrects what was read in a photo: triage and draft of the ticket follow, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from sqlalchemy import select

from assistant import worker
from assistant.desk import drafts, tickets, triage, turns
from assistant.desk.corrections import correct_evidence
from assistant.desk.desk import Desk
from assistant.desk.evidence import evidence_of
from assistant.errors import Conflict, Invalid
from assistant.models import Attachment, Draft, DraftStatus, Event, Evidence, Ticket
from assistant.runtime import Runtime
from tests.factories import Persona, make_articles, make_ticket, make_upload
from tests.fakes import FakeOCR, fake_capabilities

ARTICLES = {
    "brewmaster.md": "---\nproduct: brewmaster-300\n---\n# BrewMaster 300\n\n"
    "## E21\n\nError E21 means that the pump draws no water.\n\n## E27\n\nError E27 means that the lid is open.\n",
    "dustpilot.md": "---\nproduct: dustpilot-r7\n---\n# DustPilot R7\n\n"
    "## E21\n\nError E21 means that the brush is stuck.\n",
}


@pytest.fixture
def desk(make_runtime: Callable[..., Runtime], tmp_path: Path) -> Desk:
    """A desk that reads BrewMaster 300 and E21 in every photo."""
    desk = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("BrewMaster 300", "E21"))).desk
    make_articles(desk, tmp_path / "articles", ARTICLES)
    return desk


@pytest.fixture
def ticket(desk: Desk) -> Ticket:
    ticket = make_ticket(desk, "What does this mean?", uploads=[make_upload()])
    worker.run_until_idle(desk)
    return ticket


def correct(
    desk: Desk, by: Persona, ticket: Ticket, changes: Mapping[str, str], everywhere: bool = False, **lines: str
) -> None:
    """``line1``: the new text of the line with index 1."""
    numbered = {int(name.removeprefix("line")): text for name, text in lines.items()}
    with desk.db.begin() as session:
        photo = photo_of(session, ticket).public_id
        correct_evidence(
            session, by.principal, photo, changes, lines=numbered, everywhere=everywhere, taxonomy=desk.taxonomy
        )


def photo_of(session: object, ticket: Ticket) -> Attachment:
    sent = select(Attachment).join(Attachment.message).order_by(Attachment.id)
    photos = session.scalars(sent)  # type: ignore[attr-defined]
    return next(one for one in photos if one.message.conversation_id == ticket.conversation_id)


def counting(desk: Desk, ticket: Ticket) -> Evidence:
    with desk.db.read() as session:
        photo = photo_of(session, ticket)
        return evidence_of(session, [photo])[photo.sha256]


def drafted(desk: Desk, ticket: Ticket) -> list[tuple[DraftStatus, str]]:
    with desk.db.read() as session:
        query = select(Draft).where(Draft.ticket_id == ticket.id).order_by(Draft.id)
        return [(draft.status, draft.text) for draft in session.scalars(query)]


def test_triage_and_draft_follow_the_corrected_product(desk: Desk, ticket: Ticket, alice: Persona) -> None:
    ((status, text),) = drafted(desk, ticket)
    assert (status, "pump" in text) == (DraftStatus.PROPOSED, True)
    correct(desk, alice, ticket, {"product": "dustpilot-r7"}, line0="DustPilot R7")
    assert [status for status, _ in drafted(desk, ticket)] == [DraftStatus.WITHDRAWN]  # at once
    worker.run_until_idle(desk)
    (was, _), (status, text) = drafted(desk, ticket)
    assert (was, status, "brush" in text) == (DraftStatus.WITHDRAWN, DraftStatus.PROPOSED, True)
    with desk.db.read() as session:
        assert session.get_one(Ticket, ticket.id).product == "dustpilot-r7"


def test_product_and_caption_follow_corrected_text(desk: Desk, ticket: Ticket, alice: Persona) -> None:
    correct(desk, alice, ticket, {}, line0="DustPilot R7", line1="E27")
    row = counting(desk, ticket)
    assert row.fields["product"]["value"] == "dustpilot-r7"
    assert "E27" in row.fields["caption"]["value"]
    assert "E21" not in row.fields["caption"]["value"]


def test_what_was_read_is_kept_and_boxes_stay(desk: Desk, ticket: Ticket, alice: Persona) -> None:
    before = counting(desk, ticket)
    correct(desk, alice, ticket, {"product": "dustpilot-r7"}, line1="E27")
    correct(desk, alice, ticket, {"condition": "damaged"})
    row = counting(desk, ticket)
    assert row.corrects is not None
    assert (row.corrects.id, row.corrects.fields) == (before.id, before.fields)
    assert row.fields["product"]["region"] == before.fields["product"]["region"] is not None
    assert row.visible_text[1] == {**before.visible_text[1], "text": "E27", "confidence": 1.0}


@pytest.mark.parametrize("everywhere", [False, True])
def test_the_agent_chooses_whether_it_counts_elsewhere(
    desk: Desk, ticket: Ticket, alice: Persona, everywhere: bool
) -> None:
    other = make_ticket(desk, "And what is this?", uploads=[make_upload()])
    worker.run_until_idle(desk)
    correct(desk, alice, ticket, {"condition": "damaged"}, everywhere)
    worker.run_until_idle(desk)
    later = make_ticket(desk, "Again", uploads=[make_upload()])
    worker.run_until_idle(desk)
    assert counting(desk, ticket).fields["condition"]["value"] == "damaged"
    for one in (other, later):
        assert (counting(desk, one).fields["condition"]["value"] == "damaged") is everywhere
    assert [status for status, _ in drafted(desk, other)] == [DraftStatus.PROPOSED]  # only this ticket is done again


def test_a_tickets_own_correction_outlasts_one_for_all(desk: Desk, ticket: Ticket, alice: Persona) -> None:
    other = make_ticket(desk, "And what is this?", uploads=[make_upload()])
    worker.run_until_idle(desk)
    correct(desk, alice, ticket, {"condition": "damaged"})
    correct(desk, alice, other, {"condition": "leaking"}, True)
    assert counting(desk, ticket).fields["condition"]["value"] == "damaged"
    assert counting(desk, other).fields["condition"]["value"] == "leaking"


def test_what_agents_decided_stays(desk: Desk, ticket: Ticket, alice: Persona) -> None:
    with desk.db.begin() as session:
        row = tickets.load_ticket(session, alice.principal, ticket.public_id)
        triage.decide_field(session, alice.principal, row, "priority", taxonomy=desk.taxonomy, value="low")
    correct(desk, alice, ticket, {"product": "dustpilot-r7"})
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        row = tickets.load_ticket(session, alice.principal, ticket.public_id)
        assert row.current_triage is not None
        assert {field.name: field.label for field in row.current_triage.fields}["priority"] == "low"
        assert row.priority == "low"


def test_a_correction_twice_is_one(desk: Desk, ticket: Ticket, alice: Persona) -> None:
    correct(desk, alice, ticket, {"condition": "damaged"}, True)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        before = len(session.scalars(select(Event)).all()), len(session.scalars(select(Evidence)).all())
    correct(desk, alice, ticket, {"condition": "damaged"}, True)
    assert worker.run_until_idle(desk) == 0
    with desk.db.read() as session:
        assert (len(session.scalars(select(Event)).all()), len(session.scalars(select(Evidence)).all())) == before


def test_a_sent_draft_is_not_taken_back(desk: Desk, ticket: Ticket, alice: Persona) -> None:
    with desk.db.begin() as session:
        row = tickets.load_ticket(session, alice.principal, ticket.public_id)
        drafts.send_draft(session, alice.principal, row, row.drafts[0])
    correct(desk, alice, ticket, {"product": "dustpilot-r7"})
    worker.run_until_idle(desk)
    assert [status for status, _ in drafted(desk, ticket)] == [DraftStatus.SENT]


def test_a_withdrawn_draft_cannot_be_sent(desk: Desk, ticket: Ticket, alice: Persona) -> None:
    correct(desk, alice, ticket, {"product": "dustpilot-r7"})
    with desk.db.begin() as session:
        row = tickets.load_ticket(session, alice.principal, ticket.public_id)
        with pytest.raises(Conflict, match="withdrawn"):
            drafts.send_draft(session, alice.principal, row, row.drafts[0])


def test_what_was_begun_before_a_correction_does_not_outlast_it(
    desk: Desk, alice: Persona, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One correction comes while the triage is being made, another while the draft is."""
    ticket = make_ticket(desk, "What does this mean?", uploads=[make_upload()])
    make_answer, make_triage = turns.answer_skill, triage.run_triage

    def triage_interrupted(*args: object, **options: object) -> object:
        made = make_triage(*args, **options)  # type: ignore[arg-type]
        monkeypatch.undo()
        correct(desk, alice, ticket, {}, line1="E27")
        monkeypatch.setattr(turns, "answer_skill", answer_interrupted)
        return made

    def answer_interrupted(*args: object) -> object:
        monkeypatch.undo()
        correct(desk, alice, ticket, {}, line0="DustPilot R7", line1="E21")
        return make_answer(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(triage, "run_triage", triage_interrupted)
    worker.run_until_idle(desk)
    ((status, text),) = drafted(desk, ticket)
    assert (status, "brush" in text) == (DraftStatus.PROPOSED, True)
    with desk.db.read() as session:
        assert session.get_one(Ticket, ticket.id).product == "dustpilot-r7"


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"colour": "red"}, "colour"), ({"product": "kettle"}, "product"), ({"lights": "red, pink"}, "lights")],
)
def test_values_that_do_not_exist_are_refused(
    desk: Desk, ticket: Ticket, alice: Persona, changes: dict[str, str], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        correct(desk, alice, ticket, changes)
    assert refused.value.fields["field"] == field
