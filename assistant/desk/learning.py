"""Learning to triage: heads fitted on what agents accepted and overrode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from assistant.desk.desk import Desk
from assistant.desk.events import Recorded, TriageDecided
from assistant.desk.queue import NewJob
from assistant.models import TriageField, TriageFieldState, TriageHead, TriageResult
from assistant.ports import WorkPriority
from assistant.skills.triage import Head, fit_head

LEARN = "learn_triage"  # the job that fits the heads again
# Fit again after this many new decisions, and only fields with at least this many labels.
LEARN_EVERY = 10
LEARN_FROM = 20
LEARN_AT_MOST = 20_000
DECIDED = (TriageFieldState.ACCEPTED, TriageFieldState.OVERRIDDEN)


def learn(desk: Desk) -> dict[str, int]:
    """Fit a head for every field that has enough decided tickets. Returns the number of labels of each."""
    with desk.db.read() as session:
        labelled = _labels_by_field(session)
    fitted: dict[str, int] = {}
    for name, pairs in labelled.items():
        if len(pairs) < LEARN_FROM or len({label for _, label in pairs}) < 2:
            continue
        texts, labels = [text for text, _ in pairs], [label for _, label in pairs]
        head = fit_head(texts, labels, embeddings=desk.capabilities.embeddings)
        with desk.db.begin() as session:
            model = desk.capabilities.embedding_model
            row = TriageHead(field=name, embedding_model=model, label_count=len(pairs), payload=head.to_bytes())
            session.add(row)
        fitted[name] = len(pairs)
    return fitted


def current_heads(session: Session, desk: Desk) -> dict[str, Head]:
    """The newest head of each field that was fitted on the desk's embedding model."""
    embedding_model = desk.capabilities.embedding_model
    newest = (
        select(func.max(TriageHead.id)).where(TriageHead.embedding_model == embedding_model).group_by(TriageHead.field)
    )
    rows = session.execute(select(TriageHead.id, TriageHead.field).where(TriageHead.id.in_(newest)))
    return {field: _head(session, desk, head_id) for head_id, field in rows}


def _head(session: Session, desk: Desk, head_id: int) -> Head:
    """Parsed once: a head never changes after it is stored."""
    head = desk.heads.get(head_id)
    if head is None:
        if len(desk.heads) > 32:
            desk.heads.clear()
        head = desk.heads[head_id] = Head.from_bytes(session.get_one(TriageHead, head_id).payload)
    return head


def learn_after_decision(session: Session, recorded: Recorded) -> Iterable[NewJob]:
    """Subscriber: fit the heads again after every `LEARN_EVERY` decisions."""
    if isinstance(recorded.event, TriageDecided):
        count = session.execute(select(func.count()).where(TriageField.state.in_(DECIDED))).scalar_one()
        if count >= LEARN_FROM and count % LEARN_EVERY == 0:
            yield NewJob(LEARN, {}, key=LEARN, priority=WorkPriority.BATCH)


def _labels_by_field(session: Session) -> dict[str, list[tuple[str, str]]]:
    """For each field, the newest (text, label) pairs that agents decided."""
    query = (
        select(TriageField, TriageResult.text)
        .join(TriageField.result)
        .where(TriageField.state.in_(DECIDED), TriageResult.outdated.is_(False))
        .order_by(TriageField.id.desc())
        .limit(LEARN_AT_MOST)
    )
    labelled: dict[str, list[tuple[str, str]]] = {}
    for row, text in session.execute(query):
        if row.label is not None:
            labelled.setdefault(row.name, []).append((text, row.label))
    return {name: _without_singletons(pairs) for name, pairs in labelled.items()}


def _without_singletons(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without labels that occur once: one example teaches nothing, and none could be held out."""
    counts = Counter(label for _, label in pairs)
    return [(text, label) for text, label in pairs if counts[label] > 1]
