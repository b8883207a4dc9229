"""Fine-tuning on tickets: better adapters are kept, others are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from assistant import sample
from assistant.engine.checkpoint import Checkpoint
from assistant.errors import Invalid
from assistant.lab.training.adapter import Lesson, fine_tune, read_lessons, split
from assistant.settings import Settings
from assistant.skills.taxonomy import load_taxonomy
from tests.engine.tiny import save_idefics3

TAXONOMY = load_taxonomy(sample.taxonomy_path())
PHOTO = sample.demo_tickets()[0].photos[0]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return Checkpoint(str(save_idefics3(tmp_path_factory.mktemp("base"))))


@pytest.fixture(scope="module")
def lessons(tmp_path_factory: pytest.TempPathFactory) -> list[Lesson]:
    """A desk where every ticket is an urgent one: easily learned, and only from the tickets."""
    folder = tmp_path_factory.mktemp("tickets")
    (folder / PHOTO.name).write_bytes(PHOTO.read_bytes())
    rows = [{"text": f"red light number {number}", "triage": {"priority": "urgent"}} for number in range(24)]
    rows[0] |= {"photos": [PHOTO.name], "evidence": {"product": "brewmaster-300", "lights": "red"}}
    (folder / "tickets.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return read_lessons(folder / "tickets.jsonl", TAXONOMY)


def test_tickets_become_questions_with_the_answers_that_people_gave(lessons: list[Lesson]) -> None:
    assert [lesson.question.key for lesson in lessons[:4]] == ["priority", "product", "lights", "priority"]
    assert lessons[1].photos[0].name == PHOTO.name
    learned, held = split(lessons)
    assert {lesson.ticket for lesson in learned}.isdisjoint(lesson.ticket for lesson in held)


def test_an_adapter_that_is_better_on_held_back_tickets_is_kept(
    base: Checkpoint, lessons: list[Lesson], tmp_path: Path
) -> None:
    outcome = fine_tune(base, lessons, settings=Settings(), folder=tmp_path / "adapter", epochs=3, rate=2e-3)
    assert outcome.better
    assert outcome.after.loss < outcome.before.loss
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_an_adapter_that_is_no_better_is_not_kept(base: Checkpoint, lessons: list[Lesson], tmp_path: Path) -> None:
    outcome = fine_tune(base, lessons, settings=Settings(), folder=tmp_path / "adapter", epochs=1, rate=0.0)
    assert not outcome.better
    assert not (tmp_path / "adapter").exists()


def test_too_few_tickets_are_refused(lessons: list[Lesson]) -> None:
    with pytest.raises(Invalid, match="at least 20 tickets"):
        split(lessons[:5])


@pytest.mark.parametrize("line", ["{", "[]", '{"triage": {}}', '{"text": "a", "photos": ["gone.jpg"]}'])
def test_a_line_that_is_no_ticket_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "tickets.jsonl"
    file.write_text('{"text": "a", "triage": {}}\n' + line, encoding="utf-8")
    with pytest.raises(Invalid, match=r"tickets\.jsonl, line 2"):
        read_lessons(file, TAXONOMY)
