"""Learning from what agents decided: when a head is fitted, tried, served, taken back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from assistant.db import Database, utcnow
from assistant.desk import access, learning
from assistant.desk.access import Scope
from assistant.desk.assess import assess
from assistant.desk.desk import Desk
from assistant.errors import Conflict
from assistant.models import HeadState, Message, TriageField, TriageFieldState, TriageHead, TriageResult
from assistant.payloads import LearnedHead
from assistant.runtime import Runtime
from assistant.skills import cues
from assistant.skills.triage import TriagedField, learn_field, triage
from tests.factories import make_inbox, make_machine, make_ticket

TOPICS = {"delivery": "parcel courier tracking shipped", "how_to": "clean filter setting button"}


def decide(desk: Desk, texts: Sequence[str], labels: Sequence[str]) -> None:
    """Agents accept ``labels`` as the category."""
    for text, label in zip(texts, labels, strict=True):
        ticket = make_ticket(desk, text)
        with desk.db.begin() as session:
            message = session.scalars(select(Message).where(Message.conversation_id == ticket.conversation_id)).one()
            field = TriageField(
                name="category",
                value=label,
                probability=1.0,
                probabilities={label: 1.0},
                state=TriageFieldState.ACCEPTED,
                decided_at=utcnow(),
            )
            session.add(
                TriageResult(
                    ticket_id=ticket.id,
                    message_id=message.id,
                    text=message.text,
                    model="none",
                    mode="no_vlm",
                    fields=[field],
                )
            )


def decide_everyday(desk: Desk, count: int) -> None:
    labels = [list(TOPICS)[number % 2] for number in range(count)]
    decide(desk, [f"{TOPICS[label]} {number}" for number, label in enumerate(labels)], labels)


def heads(desk: Desk) -> list[LearnedHead]:
    with desk.db.read() as session:
        return learning.list_heads(session)


def serving(desk: Desk) -> int | None:
    """The number of decisions of the head that serves the category."""
    with desk.db.read() as session:
        head = learning.current_heads(session, desk).get("category")
        return head[desk.capabilities.embedding_model].decisions if head is not None else None


def test_ten_decisions_teach_and_the_next_fitting_waits_for_ten_more(desk: Desk) -> None:
    decide_everyday(desk, 9)
    assert learning.learn(desk) == {}
    decide_everyday(desk, 1)
    assert learning.learn(desk) == {"category": 10}
    assert learning.learn(desk) == {}
    (head,) = heads(desk)
    assert (head.field, head.state, head.decisions) == ("category", HeadState.SERVED, 10)
    assert head.labels == {"delivery": 6, "how_to": 4}
    assert head.trial.decisions == 10
    assert head.trial.head.accuracy > head.trial.before.accuracy


def test_what_was_learned_decides_and_says_from_how_many_decisions(desk: Desk) -> None:
    decide_everyday(desk, 20)
    learning.learn(desk)
    with desk.db.read() as session:
        learned = learning.current_heads(session, desk)
    field, *_ = triage("courier tracking parcel", capabilities=desk.capabilities, taxonomy=desk.taxonomy, heads=learned)
    assert field.value == "delivery"
    assert [(source.kind, source.decisions) for source in field.sources] == [("learned", 20), ("similarity", 0)]
    assert set(field.probabilities) == {label.key for label in desk.taxonomy.categories}


def test_the_nearest_decided_tickets_are_named_to_whoever_may_read_them(desk: Desk, db: Database) -> None:
    decide_everyday(desk, 20)
    before = assess(desk, text="courier tracking parcel 4", with_draft=False).triage.revision
    learning.learn(desk)
    reader, other = make_machine(db), make_inbox(db, "other")
    askers = {
        "reads": reader,
        "may not read": replace(reader, scopes=frozenset({Scope.TRIAGE})),
        "for another inbox": replace(reader, inbox_ids=frozenset({other.id})),
        "nobody": None,
    }
    told, revisions = {}, set()
    for name, by in askers.items():
        found = assess(desk, text="courier tracking parcel 4", with_draft=False, by=by).triage
        told[name] = found.fields[0].sources[0].nearest
        revisions.add(found.revision)
    assert [bool(nearest) for nearest in told.values()] == [True, False, False, False]
    assert {one.value for one in told["reads"]} == {"delivery"}
    similarities = [one.similarity for one in told["reads"]]
    assert similarities == sorted(similarities, reverse=True)
    with db.read() as session:
        nearest = access.access_ticket(session, reader, told["reads"][0].ticket.id)
        assert nearest.number == told["reads"][0].ticket.number
    assert len(revisions) == 1
    assert revisions != {before}, "what was learned changes what is said"


@pytest.mark.parametrize("text", ["Smoke comes out of the filter.", "The parcel with the courier is on fire"])
def test_danger_is_not_made_less_likely_by_what_was_learned_elsewhere(desk: Desk, text: str) -> None:
    decide_everyday(desk, 30)
    learning.learn(desk)
    with desk.db.read() as session:
        learned = learning.current_heads(session, desk)
    before, after = (
        triage(text, capabilities=desk.capabilities, taxonomy=desk.taxonomy, heads=heads)[0] for heads in ({}, learned)
    )
    assert after.probabilities[before.value] >= before.probability
    assert after.abstained <= before.abstained


@pytest.mark.parametrize(("danger", "least"), [(0.02, 0.02), (0.3, 0.3), (0.8, 0.8)])
def test_what_is_merely_urgent_is_learned_to_be_less_so_and_danger_keeps_its_share(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, danger: float, least: float
) -> None:
    def read(text: str, *_: object) -> cues.Cues:
        is_outage = "outage" in text
        signals = {**dict.fromkeys(cues.SIGNALS, 0.01), "dangerous": danger if is_outage else 0.01}
        urgent = 0.9 if is_outage else 0.1
        shares = {"urgent": urgent, "high": 0.05, "normal": 0.9 - urgent, "low": 0.05}
        fields = {name: dict.fromkeys(values, 1 / len(values)) for name, values in cues.FIELDS.items()}
        return cues.Cues(signals, {**fields, "priority": shares}, trained=True)

    monkeypatch.setattr(cues, "read", read)
    kinds = [("weekly outage report number", "low"), ("invoice for order", "normal")]
    texts = [f"{kinds[number % 2][0]} {number}" for number in range(60)]
    labels = [kinds[number % 2][1] for number in range(60)]
    known = {"capabilities": desk.capabilities, "taxonomy": desk.taxonomy}
    heads = {"priority": learn_field("priority", texts, labels, **known).heads}
    field = next(one for one in triage("weekly outage report", heads=heads, **known) if one.name == "priority")
    assert field.probabilities["urgent"] >= least - 1e-6
    assert (field.value == "low") == (danger < 0.5)


def test_only_several_decisions_about_the_very_words_teach_that_something_is_no_danger(desk: Desk) -> None:
    words = "There is smoke coming out of fog machine {}."
    others = "There is smoke coming out of popcorn machine {}."
    decide(desk, [words.format(number) for number in range(3)], ["how_to"] * 3)
    decide(desk, [others.format(number) for number in range(3)], ["how_to", "how_to", "safety"])
    decide_everyday(desk, 14)
    learning.learn(desk)
    with desk.db.read() as session:
        learned = learning.current_heads(session, desk)

    def category(text: str) -> TriagedField:
        return triage(text, capabilities=desk.capabilities, taxonomy=desk.taxonomy, heads=learned)[0]

    known = category(words.format(77).upper())
    assert (known.value, known.sources[0].kind, known.abstained) == ("how_to", "learned", False)
    assert known.probability >= 0.8
    for text in (others.format(77), "Smoke comes out of the fog machine, and the cable is on fire."):
        before = triage(text, capabilities=desk.capabilities, taxonomy=desk.taxonomy)[0]
        after = category(text)
        assert after.probabilities[before.value] >= before.probability


def test_values_that_the_taxonomy_no_longer_has_teach_nothing(desk: Desk) -> None:
    decide(desk, [f"cellar {number}" for number in range(5)], ["vinyl_records"] * 5)
    decide_everyday(desk, 10)
    learning.learn(desk)
    assert heads(desk)[0].labels == {"delivery": 5, "how_to": 5}


def test_decisions_that_are_all_the_same_teach_nothing(desk: Desk) -> None:
    decide(desk, [f"parcel {number}" for number in range(12)], ["delivery"] * 12)
    assert learning.learn(desk) == {}


def test_a_head_that_foresees_less_than_what_serves_waits(desk: Desk) -> None:
    """The serving head knows these labels, drawn by lot, by heart: nobody who has not seen them foresees as much."""
    texts = [f"number{number} word{number * 7}" for number in range(40)]
    labels = [str(label) for label in np.random.default_rng(0).permutation(["delivery", "how_to"] * 20)]
    lesson = learn_field("category", texts, labels, capabilities=desk.capabilities, taxonomy=desk.taxonomy)
    with desk.db.begin() as session:
        session.add(
            TriageHead(
                field="category",
                embedding_model=desk.capabilities.embedding_model,
                label_count=20,
                labels={},
                payload=lesson.heads.to_bytes(),
                state=HeadState.SERVED,
                trial={
                    "decisions": 20,
                    "head": {"accuracy": 1.0, "calibration_error": 0.0},
                    "before": {"accuracy": 0.5, "calibration_error": 0.0},
                    "worse": False,
                },
                created_at=utcnow() - timedelta(days=1),
            )
        )
    decide(desk, texts, labels)
    learning.learn(desk)
    new, old = heads(desk)
    assert (new.state, new.trial.worse) == (HeadState.WAITING, True)
    assert new.trial.head.accuracy < new.trial.before.accuracy
    assert old.state is HeadState.SERVED


def test_a_head_is_taken_back_and_later_ones_wait_until_one_is_promoted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        decide_everyday(desk, 10)
        learning.learn(desk)
    assert serving(desk) == 20
    with desk.db.begin() as session:
        before = learning.roll_back(session, "category")
    assert before is not None
    assert serving(desk) == before.decisions == 10
    with desk.db.begin() as session:
        assert learning.roll_back(session, "category") is None
    assert serving(desk) is None
    with desk.db.begin() as session, pytest.raises(Conflict, match="No learned head serves"):
        learning.roll_back(session, "category")

    monkeypatch.setattr(learning, "_KEPT", 1)  # what was rolled back is remembered, however many heads follow
    for count in (30, 40):
        decide_everyday(desk, 10)
        assert learning.learn(desk) == {"category": count}
        assert serving(desk) is None
    with desk.db.begin() as session:
        assert learning.promote(session, "category").decisions == 40
    assert serving(desk) == 40
    decide_everyday(desk, 10)
    learning.learn(desk)
    assert serving(desk) == 50


def test_there_is_nothing_to_promote_before_a_head_waits(desk: Desk) -> None:
    with desk.db.begin() as session, pytest.raises(Conflict, match="No head"):
        learning.promote(session, "category")


def test_another_embedder_learns_the_same_decisions_anew(desk: Desk) -> None:
    decide_everyday(desk, 10)
    learning.learn(desk)
    other = replace(desk, capabilities=replace(desk.capabilities, embedding_model="other"), heads={})
    assert serving(other) is None
    assert learning.learn(other) == {"category": 10}
    assert serving(other) == 10
    assert [head.state for head in heads(desk)] == [HeadState.SERVED, HeadState.REPLACED]


def test_two_desks_in_one_process_do_not_share_learned_heads(
    desk: Desk, make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    other = make_runtime(database_url=f"sqlite:///{tmp_path / 'other.db'}").desk
    decide_everyday(desk, 10)
    decide_everyday(other, 20)
    for one in (desk, other):
        learning.learn(one)
    assert (serving(desk), serving(other)) == (10, 20)
