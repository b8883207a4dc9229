"""What agents decided, written out and read back for fine-tuning."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from assistant import worker
from assistant.desk.corrections import correct_evidence
from assistant.desk.desk import Desk
from assistant.desk.lessons import export_lessons
from assistant.errors import Invalid
from assistant.models import Attachment, TriageField, TriageFieldState
from tests.factories import make_agent, make_ticket, make_upload


@pytest.mark.slow
def test_what_agents_decided_and_corrected_is_what_is_learned_from(desk: Desk, tmp_path: Path) -> None:
    from assistant.lab.training.adapter import read_lessons

    make_ticket(desk, "Nobody looked at this one.")
    make_ticket(desk, "It drips, see the photo.", uploads=[make_upload()])
    worker.run_until_idle(desk)
    agent = make_agent(desk.db, "Alice", admin=True).principal
    with desk.db.begin() as session:
        photo = session.scalars(select(Attachment)).one()
        correct_evidence(session, agent, photo.public_id, {"condition": "leaking"}, taxonomy=desk.taxonomy)
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        field = session.scalars(
            select(TriageField)
            .join(TriageField.result)
            .where(TriageField.name == "priority")
            .order_by(TriageField.id.desc())
        ).first()
        assert field is not None
        field.state, field.corrected_value = TriageFieldState.OVERRIDDEN, "high"
    file = export_lessons(desk.db, desk.storage, tmp_path / "lessons")
    (row,) = map(json.loads, file.read_text().splitlines())
    assert row["triage"] == {"priority": "high"}
    assert row["evidence"]["condition"] == "leaking"
    lessons = {lesson.question.key: lesson for lesson in read_lessons(file, desk.taxonomy)}
    assert (lessons["priority"].answer, lessons["condition"].answer) == ("high", "leaking")
    assert all(photo.read_bytes() for photo in lessons["condition"].photos)


def test_without_decisions_there_is_nothing_to_learn_from(desk: Desk, tmp_path: Path) -> None:
    make_ticket(desk, "Nobody looked at this one.")
    worker.run_until_idle(desk)
    with pytest.raises(Invalid, match="nothing to learn from"):
        export_lessons(desk.db, desk.storage, tmp_path)
