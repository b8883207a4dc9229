"""Learning to triage: heads fitted on what agents accepted and overrode, tried before they serve, and taken back.

A new head is tried on decisions that it did not learn from. If it finds them less likely than what serves now, by more
than chance explains, it waits. A field whose head a person rolled back is left alone: new heads wait until one of them
is promoted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session, defer

from assistant import payloads
from assistant.db import utcnow
from assistant.desk.desk import Desk
from assistant.desk.events import Recorded, TriageDecided
from assistant.desk.queue import NewJob
from assistant.errors import Conflict
from assistant.models import HeadState, TriageField, TriageFieldState, TriageHead, TriageResult
from assistant.ports import WorkPriority
from assistant.skills.calibration import calibration_error, reliability
from assistant.skills.triage import Head, Heads, Lesson, learn_field
from assistant.skills.triage_fields import LEARNED_FIELDS, allowed_values

LEARN = "learn_triage"  # the job that fits the heads again
# A field is fitted again after this many new decisions, or a tenth more if that is more.
LEARN_EVERY = 10
LEARN_AT_MOST = 20_000
DECIDED = (TriageFieldState.ACCEPTED, TriageFieldState.OVERRIDDEN)
_KEPT = 5  # newest heads of a field, beside what serves and what a person rolled back


@dataclass(frozen=True)
class _Decision:
    text: str
    label: str
    ticket_id: int
    decided_at: datetime


def learn(desk: Desk) -> dict[str, int]:
    """Fit a head for every field with enough new decisions. Returns how many decisions each has learned from."""
    fitted = {}
    for name in LEARNED_FIELDS:
        with desk.db.read() as session:
            decisions = _decisions(session, name, allowed_values(desk.taxonomy, name))
            due = _is_due(_heads_of(session, name), len(decisions), desk.capabilities.embedding_model)
        if due and len({decision.label for decision in decisions}) > 1:
            _learn_field(desk, name, decisions)
            fitted[name] = len(decisions)
    return fitted


def current_heads(session: Session, desk: Desk) -> dict[str, Heads]:
    """The heads that serve each field. After a change of the embedder a field has none until `learn`, which follows it,
    has fitted it anew."""
    serving = TriageHead.state == HeadState.SERVED, TriageHead.embedding_model == desk.capabilities.embedding_model
    rows = session.execute(select(TriageHead.id, TriageHead.field).where(*serving))
    return {field: _parsed(session, desk, head_id) for head_id, field in rows}


def list_heads(session: Session) -> list[payloads.LearnedHead]:
    """All that are kept, by field, the newest first."""
    query = select(TriageHead).options(defer(TriageHead.payload)).order_by(TriageHead.field, TriageHead.id.desc())
    return [payloads.LearnedHead.of(head) for head in session.scalars(query)]


def count_decisions(session: Session, desk: Desk) -> dict[str, payloads.FieldDecisions]:
    """What agents decided of each field that is learned, and from how many decisions on it is fitted again."""
    says = func.coalesce(TriageField.corrected_value, TriageField.value)
    query = (
        select(TriageField.name, says, func.count())
        .join(TriageField.result)
        .where(
            TriageField.name.in_(LEARNED_FIELDS),
            TriageField.state.in_(DECIDED),
            TriageResult.outdated.is_(False),
        )
        .group_by(TriageField.name, says)
    )
    values: dict[str, dict[str, int]] = {name: {} for name in LEARNED_FIELDS}
    for name, value, count in session.execute(query):
        if value in allowed_values(desk.taxonomy, name):
            values[name][value] = count
    model = desk.capabilities.embedding_model
    learned = {name: _learned_from(_heads_of(session, name), model) for name in LEARNED_FIELDS}
    return {
        name: payloads.FieldDecisions(
            field=name,
            decisions=sum(counts.values()),
            values=dict(sorted(counts.items(), key=lambda pair: -pair[1])),
            learned_again_at=learned[name] + _due_after(learned[name]),
        )
        for name, counts in values.items()
    }


def roll_back(session: Session, field: str) -> payloads.LearnedHead | None:
    """Stop serving the field's head. Returns the one before it, which serves instead; None: there is none, and the
    field is triaged as before its first decision."""
    heads = _heads_of(session, field)
    serving = _serving(heads)
    if serving is None:
        raise Conflict(f"No learned head serves the field {field!r}.")
    _move(serving, HeadState.ROLLED_BACK)
    before = next((head for head in heads if head.id < serving.id and head.state is HeadState.REPLACED), None)
    if before is None:
        return None
    _move(before, HeadState.SERVED)
    return payloads.LearnedHead.of(before)


def promote(session: Session, field: str) -> payloads.LearnedHead:
    """Serve the field's newest head that waits or was rolled back, whatever its trial says."""
    heads = _heads_of(session, field)
    chosen = next((head for head in heads if head.state in (HeadState.WAITING, HeadState.ROLLED_BACK)), None)
    if chosen is None:
        raise Conflict(f"No head of the field {field!r} waits to be promoted.")
    _serve(heads, chosen)
    return payloads.LearnedHead.of(chosen)


def learn_after_decision(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Subscriber: see after every `LEARN_EVERY` decisions whether a field has enough to be fitted again."""
    if isinstance(recorded.event, TriageDecided):
        count = session.execute(select(func.count()).where(TriageField.state.in_(DECIDED))).scalar_one()
        if count % LEARN_EVERY == 0:
            yield NewJob(LEARN, {}, key=LEARN, priority=WorkPriority.BATCH)


def _is_due(heads: Sequence[TriageHead], decisions: int, embedding_model: str) -> bool:
    learned = _learned_from(heads, embedding_model)
    return decisions - learned >= _due_after(learned)


def _learned_from(heads: Sequence[TriageHead], embedding_model: str) -> int:
    """How many decisions the newest head for the embedder was fitted on."""
    return next((head.label_count for head in heads if head.embedding_model == embedding_model), 0)


def _due_after(learned: int) -> int:
    """How many new decisions make a field be fitted again."""
    return max(LEARN_EVERY, learned // 10)


def _learn_field(desk: Desk, name: str, decisions: Sequence[_Decision]) -> None:
    texts, labels = [decision.text for decision in decisions], [decision.label for decision in decisions]
    ids = [decision.ticket_id for decision in decisions]
    lesson = learn_field(name, texts, labels, ids=ids, capabilities=desk.capabilities, taxonomy=desk.taxonomy)
    with desk.db.read() as session:
        serving = _serving(_heads_of(session, name))
        usable = serving is not None and serving.embedding_model == desk.capabilities.embedding_model
        before = _parsed(session, desk, serving.id)[serving.embedding_model] if serving is not None and usable else None
        since = serving.created_at if serving is not None and usable else None
    trial = _try(lesson, before, [since is None or decision.decided_at > since for decision in decisions])
    with desk.db.begin() as session:
        heads = _heads_of(session, name)
        head = TriageHead(
            field=name,
            embedding_model=desk.capabilities.embedding_model,
            label_count=len(labels),
            labels=dict(Counter(labels).most_common()),
            payload=lesson.heads.to_bytes(),
            state=HeadState.WAITING,
            trial=trial.model_dump(),
        )
        session.add(head)
        if not (trial.worse or _is_rolled_back(heads)):
            _serve(heads, head)
        for old in heads[_KEPT - 1 :]:
            if old.state in (HeadState.REPLACED, HeadState.WAITING):
                session.delete(old)


def _try(lesson: Lesson, before: Head | None, fresh: Sequence[bool]) -> payloads.Trial:
    """On the held-back tickets that ``before`` has not learned from either, by ``fresh`` (n,)."""
    rows = np.flatnonzero(np.asarray(fresh)[lesson.fitted.rows])
    places = lesson.fitted.rows[rows]
    targets = lesson.targets[places]
    new, old = lesson.fitted.held_back[rows], lesson.served_by(before, places)
    hits = np.arange(len(targets)), targets
    gain = np.log(np.maximum(new[hits], 1e-6)) - np.log(np.maximum(old[hits], 1e-6))
    worse = len(gain) > 0 and gain.mean() < -gain.std() / np.sqrt(len(gain))
    return payloads.Trial(
        decisions=len(targets), head=_figures(new, targets), before=_figures(old, targets), worse=bool(worse)
    )


def _figures(probabilities: np.ndarray, targets: np.ndarray) -> payloads.Figures:
    right = probabilities.argmax(axis=1) == targets
    error = calibration_error(reliability(probabilities.max(axis=1), right))
    return payloads.Figures(accuracy=float(right.mean()) if len(right) else 0.0, calibration_error=error)


def _serve(heads: Sequence[TriageHead], chosen: TriageHead) -> None:
    for head in heads:
        if head.state is HeadState.SERVED:
            _move(head, HeadState.REPLACED)
    _move(chosen, HeadState.SERVED)


def _move(head: TriageHead, state: HeadState) -> None:
    head.state, head.state_since = state, utcnow()


def _heads_of(session: Session, field: str) -> Sequence[TriageHead]:
    """The newest first, without their payloads."""
    query = select(TriageHead).options(defer(TriageHead.payload)).where(TriageHead.field == field)
    return session.scalars(query.order_by(TriageHead.id.desc())).all()


def _serving(heads: Sequence[TriageHead]) -> TriageHead | None:
    return next((head for head in heads if head.state is HeadState.SERVED), None)


def _is_rolled_back(heads: Sequence[TriageHead]) -> bool:
    """Whether the newest head that has ever served was rolled back."""
    served = next((head for head in heads if head.state is not HeadState.WAITING), None)
    return served is not None and served.state is HeadState.ROLLED_BACK


def _parsed(session: Session, desk: Desk, head_id: int) -> Heads:
    """Parsed once: a head never changes after it is stored."""
    head = desk.heads.get(head_id)
    if head is None:
        if len(desk.heads) > 32:
            desk.heads.clear()
        head = desk.heads[head_id] = Heads.from_bytes(session.get_one(TriageHead, head_id).payload)
    return head


def _decisions(session: Session, name: str, allowed: Sequence[str]) -> list[_Decision]:
    """The newest that agents made about a field, for values that it still has."""
    query = (
        select(TriageField, TriageResult.text, TriageResult.ticket_id)
        .join(TriageField.result)
        .where(
            TriageField.name == name,
            TriageField.state.in_(DECIDED),
            TriageResult.outdated.is_(False),
        )
        .order_by(TriageField.id.desc())
        .limit(LEARN_AT_MOST)
    )
    found = session.execute(query)
    return [
        _Decision(text, label, ticket_id, row.decided_at or utcnow())
        for row, text, ticket_id in found
        if (label := row.label) is not None and label in allowed
    ]
