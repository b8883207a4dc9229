"""Gaps in the knowledge base: questions it did not answer, grouped into articles to write.

There are three kinds: no passage answered or nothing but what had been said (`MISSING_KNOWLEDGE`,
`UNSUPPORTED_ANSWER`, `NOTHING_NEW`); an agent rewrote the draft, or
discarded it and replied; the customer said that the answer did not help. Personal data is masked before a question is
stored, because agents of every team see it.

Each question is processed once. It joins the nearest gap if that is near enough; the others are grouped into new gaps.
A gap that is done opens again when it is asked about later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Any

import numpy as np
from sqlalchemy import Select, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, defer

from assistant.db import utcnow
from assistant.desk import queue
from assistant.desk.access import AgentPrincipal
from assistant.desk.desk import Desk
from assistant.errors import NotFound
from assistant.knowledge.indexing import to_bytes
from assistant.models import (
    Author,
    Conversation,
    Draft,
    DraftStatus,
    Gap,
    GapKind,
    GapQuestion,
    GapState,
    Message,
    Ticket,
)
from assistant.ports import UNRELATED, Embedder, HandoffReason, Scale, WorkPriority
from assistant.retrieval.embedders import reader_of
from assistant.retrieval.fulltext import in_use
from assistant.retrieval.scales import usual_scale
from assistant.skills import language, personal_data
from assistant.text.clusters import beginning, shorten

LOOK = "look_for_gaps"
LOOK_EVERY = timedelta(hours=1)
# Least mean similarity between the questions of one gap. F1 of grouped pairs with all-MiniLM-L6-v2 at 0.50, 0.55, 0.60:
# 0.88, 0.89, 0.87 on the paraphrases of stackfaq; 0.40, 0.47, 0.48 on 800 questions of banking77.
TOGETHER = 0.55
# A reply that keeps less than this share of the draft's words, in order, is a rewrite.
_STILL_THE_DRAFT = 0.6
_AT_ONCE = 1_000
# From so many questions on, most pairs are of two gaps; and so many are compared.
_MANY, _COMPARED = 30, 500
_MOST_CHARS = 1_000
_MOST_TITLE = 160
_UNANSWERED = (HandoffReason.MISSING_KNOWLEDGE, HandoffReason.UNSUPPORTED_ANSWER, HandoffReason.NOTHING_NEW)


@dataclass(frozen=True)
class GapSummary:
    """An article to write: how often it was asked for, when first and last, and the newest examples."""

    gap: Gap
    count: int
    first_at: datetime
    last_at: datetime
    kinds: dict[GapKind, int]
    examples: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.gap.public_id,
            "title": self.gap.title,
            "state": self.gap.state.value,
            "count": self.count,
            "first_at": self.first_at.isoformat(),
            "last_at": self.last_at.isoformat(),
            "kinds": {kind.value: number for kind, number in self.kinds.items()},
            "examples": list(self.examples),
        }


@dataclass(frozen=True)
class _Question:
    message_id: int
    kind: GapKind
    text: str
    asked_at: datetime


def look(desk: Desk) -> int:
    """Process new questions. Returns how many. No transaction is open while the embedder works."""
    with desk.db.read() as session:
        questions = _new_questions(session)
    if not questions:
        return 0
    own = desk.embedders.own
    second = desk.embedders.second_to(own)
    readers = [reader_of(question.text, own, second)[0] for question in questions]
    read = {
        embedder: [question for question, reader in zip(questions, readers, strict=True) if reader is embedder]
        for embedder in (own, second)
        if embedder is not None and any(reader is embedder for reader in readers)
    }
    vectors = [_embed(embedder, asked) for embedder, asked in read.items()]
    usual = [usual_scale(embedder) for embedder in read]
    try:
        with desk.db.begin() as session:
            for (embedder, asked), rows, scale in zip(read.items(), vectors, usual, strict=True):
                least = TOGETHER if embedder.scale is not None else _least_cosine(session, embedder.name, rows, scale)
                _group(session, asked, rows, embedder.name, least=least)
    except IntegrityError:  # another process did so in the meantime; the rest is found next time
        return 0
    return len(questions)


def _embed(embedder: Embedder, questions: Sequence[_Question]) -> np.ndarray:
    """(n, d) float32, unit length."""
    vectors = np.asarray(embedder.embeddings.embed_documents([one.text for one in questions]), dtype=np.float32)
    unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def look_job(desk: Desk) -> None:
    """The job: look, and schedule the next look in an hour."""
    try:
        look(desk)
    finally:
        with desk.db.begin() as session:
            request_look(session, run_at=desk.now() + LOOK_EVERY)


def request_look(session: Session, *, run_at: datetime | None = None) -> None:
    queue.enqueue(session, LOOK, {}, key=LOOK, priority=WorkPriority.BATCH, run_at=run_at)


def is_behind(session: Session) -> bool:
    """Whether there are questions for the next look."""
    return bool(_new_questions(session))


def list_gaps(
    session: Session, *, state: GapState = GapState.OPEN, limit: int = 50, examples: int = 5
) -> list[GapSummary]:
    """Gaps that were asked about most, first; with two statements."""
    query = (
        select(Gap, func.count(GapQuestion.id), func.min(GapQuestion.asked_at), func.max(GapQuestion.asked_at))
        .join(GapQuestion, GapQuestion.gap_id == Gap.id)
        .where(Gap.state == state)
        .group_by(Gap.id)
        .order_by(func.count(GapQuestion.id).desc(), func.max(GapQuestion.asked_at).desc(), Gap.id)
        .limit(limit)
    )
    rows = session.execute(query).all()
    questions: dict[int, list[GapQuestion]] = {}
    chosen = GapQuestion.gap_id.in_([row[0].id for row in rows])
    newest = select(GapQuestion).where(chosen).order_by(GapQuestion.asked_at.desc(), GapQuestion.id.desc())
    for question in session.scalars(newest.options(defer(GapQuestion.embedding))):
        questions.setdefault(question.gap_id, []).append(question)
    summaries = []
    for gap, count, first_at, last_at in rows:
        kinds = dict(Counter(question.kind for question in questions[gap.id]))
        texts = dict.fromkeys(question.text for question in questions[gap.id])
        summaries.append(GapSummary(gap, count, _aware(first_at), _aware(last_at), kinds, tuple(texts)[:examples]))
    return summaries


def questions_of(session: Session, gap_id: int, *, limit: int = 20) -> list[str]:
    """What was asked, each question once, the newest first."""
    query = select(GapQuestion.text).where(GapQuestion.gap_id == gap_id).order_by(GapQuestion.asked_at.desc())
    return list(dict.fromkeys(session.scalars(query.limit(limit))))


def finish_gap(session: Session, public_id: str, *, by: AgentPrincipal | None = None) -> Gap:
    """Mark the article as written. Doing so twice is a no-op. If it is asked about later, the gap opens again."""
    gap = get_gap(session, public_id)
    if gap.state is not GapState.DONE:
        gap.state, gap.done_at = GapState.DONE, utcnow()
        gap.agent_id = by.agent_id if by is not None else None
    return gap


def get_gap(session: Session, public_id: str) -> Gap:
    gap = session.scalar(select(Gap).where(Gap.public_id == public_id))
    if gap is None:
        raise NotFound("There is no such gap.")
    return gap


def _aware(moment: Any) -> datetime:
    return moment if isinstance(moment, datetime) else datetime.fromisoformat(str(moment))


# Questions


def _new_questions(session: Session) -> list[_Question]:
    """For each message the strongest reason counts: what the customer said, then what the agent did."""
    found: dict[int, _Question] = {}
    for kind, rows in (
        (GapKind.NOT_HELPFUL, _not_helpful(session)),
        (GapKind.REWRITTEN, _rewritten(session)),
        (GapKind.NOT_FOUND, _not_found(session)),
    ):
        for message, subject in rows:
            text = _question_text(session, message, subject)
            if text and kind is GapKind.NOT_HELPFUL:
                text = " ".join([text, *_missing_in_answers(session, message)])
            if text and message.id not in found:
                found[message.id] = _Question(message.id, kind, text, message.created_at)
    return list(found.values())[:_AT_ONCE]


def _missing_in_answers(session: Session, question: Message) -> list[str]:
    """What its customer missed in the answers to it, masked."""
    later = select(Message).where(Message.conversation_id == question.conversation_id, Message.id > question.id)
    answers = takewhile(lambda one: one.author is not Author.CUSTOMER, session.scalars(later.order_by(Message.id)))
    missing = [one.feedback for one in answers if one.helpful is False and one.feedback]
    return [f"({_masked(session, text)})" for text in missing]


def _masked(session: Session, text: str) -> str:
    """Cut, and without personal data. What articles say is none."""
    return personal_data.mask(beginning(text, _MOST_CHARS), usual=lambda words: in_use(session, sorted(words)))


def _question_text(session: Session, message: Message, subject: str) -> str:
    """Masked and cut; short messages with their subject. "" for courtesies and calls for a person."""
    text = message.new_text
    if language.courtesy(text) is not None or language.wants_person(text):
        return ""
    if len(text.split()) < 6 and subject and subject not in text:
        text = f"{subject}. {text}"
    return _masked(session, " ".join(text.split()))


def _select_new() -> Select[Message, str]:
    """Customers' messages that have not been processed, with the ticket's subject."""
    seen = select(GapQuestion.message_id)
    return (
        select(Message, Ticket.subject)
        .join(Ticket, Ticket.conversation_id == Message.conversation_id)
        .where(Message.author == Author.CUSTOMER, Message.id.not_in(seen))
        .order_by(Message.id)
        .limit(_AT_ONCE)
    )


def _not_found(session: Session) -> Iterator[tuple[Message, str]]:
    """Questions whose draft is a handoff because knowledge was missing, and those after which a conversation was handed
    off for that reason."""
    drafted = select(Draft.answers_message_id).where(
        Draft.handoff_reason.in_(_UNANSWERED),
        Draft.status.not_in((DraftStatus.WITHDRAWN, DraftStatus.REPLACED)),
    )
    last_before = (
        select(func.max(Message.id))
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(
            Conversation.handoff_reason.in_(_UNANSWERED),
            Message.author == Author.CUSTOMER,
            Message.created_at <= Conversation.handed_off_at,
        )
        .group_by(Conversation.id)
    )
    query = _select_new().where(or_(Message.id.in_(drafted), Message.id.in_(last_before)))
    return ((row[0], row[1]) for row in session.execute(query))


def _rewritten(session: Session) -> Iterator[tuple[Message, str]]:
    """Questions whose draft an agent replaced: little of it was kept, or it was discarded and another reply was
    sent."""
    edited = _select_new().join(Draft, Draft.answers_message_id == Message.id).where(Draft.status == DraftStatus.EDITED)
    for message, subject, text, sent in session.execute(edited.add_columns(Draft.text, Draft.sent_text)):
        if text.strip() and sent and _kept_share(text, sent) < _STILL_THE_DRAFT:
            yield message, subject
    reply = (
        select(Message.conversation_id, func.max(Message.id).label("last"))
        .where(Message.author == Author.AGENT)
        .group_by(Message.conversation_id)
        .subquery()
    )
    discarded = (
        _select_new()
        .join(Draft, Draft.answers_message_id == Message.id)
        .join(reply, reply.c.conversation_id == Message.conversation_id)
        .where(Draft.status == DraftStatus.DISCARDED, Draft.text != "", reply.c.last > Message.id)
    )
    yield from ((row[0], row[1]) for row in session.execute(discarded))


def _not_helpful(session: Session) -> Iterator[tuple[Message, str]]:
    """The question before each answer that did not help."""
    poor = select(Message.id, Message.conversation_id).where(Message.helpful.is_(False)).subquery()
    before = (
        select(func.max(Message.id))
        .join(poor, poor.c.conversation_id == Message.conversation_id)
        .where(Message.author == Author.CUSTOMER, Message.id < poor.c.id)
        .group_by(poor.c.id)
    )
    return ((row[0], row[1]) for row in session.execute(_select_new().where(Message.id.in_(before))))


def _kept_share(draft: str, sent: str) -> float:
    """Share of the draft's words that were sent, in the same order."""
    words = draft.split()
    blocks = SequenceMatcher(None, words, sent.split(), autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks) / max(len(words), 1)


# Grouping


def _group(session: Session, questions: Sequence[_Question], vectors: np.ndarray, model: str, *, least: float) -> None:
    gaps, centres = _centres(session, model)
    new: list[int] = []
    for index, vector in enumerate(vectors):
        nearest = centres @ vector if len(gaps) else np.zeros(0, dtype=np.float32)
        if nearest.size and float(nearest.max()) >= least:
            _join(session, gaps[int(nearest.argmax())], questions[index], vector, model)
        else:
            new.append(index)
    for group in together(vectors[new], least):
        members = [new[place] for place in group]
        central = members[int((vectors[members] @ vectors[members].mean(axis=0)).argmax())]
        gap = Gap(title=shorten(questions[central].text, _MOST_TITLE))
        session.add(gap)
        session.flush()
        for index in members:
            _join(session, gap, questions[index], vectors[index], model)


def together(vectors: np.ndarray, least: float = TOGETHER) -> list[list[int]]:
    """Groups of rows, by average linkage: two groups are merged while the mean cosine between their rows is at least
    ``least``. ``vectors``: (n, d), unit length."""
    from sklearn.cluster import AgglomerativeClustering

    if len(vectors) < 2:
        return [[index] for index in range(len(vectors))]
    clustering = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=1.0 - least
    )
    groups: dict[int, list[int]] = {}
    for index, label in enumerate(clustering.fit_predict(vectors.astype(np.float64))):
        groups.setdefault(int(label), []).append(index)
    return sorted(groups.values())


def _least_cosine(session: Session, model: str, vectors: np.ndarray, usual: Scale) -> float:
    """`TOGETHER` as a cosine of an embedder that has a scale of its own. To some embedders, questions of one trade are
    more alike than the sentences that its ``usual`` scale was measured on (E5, of web applications: .85, not .76). So
    where there are many questions, the median of all pairs stands for unrelated ones."""
    known = select(GapQuestion.embedding).where(GapQuestion.embedding_model == model).order_by(GapQuestion.id.desc())
    stored = [np.frombuffer(data, dtype="<f4") for data in session.scalars(known.limit(_COMPARED))]
    rows = np.stack([*vectors, *stored])[:_COMPARED]
    unrelated = usual.cosine(UNRELATED)
    if len(rows) >= _MANY:
        unrelated = max(unrelated, float(np.median((rows @ rows.T)[np.triu_indices(len(rows), 1)])))
    return unrelated + (TOGETHER - UNRELATED) / usual.slope


def _centres(session: Session, model: str) -> tuple[list[Gap], np.ndarray]:
    """Every gap with the mean of its questions' vectors, whose product with a vector is the mean cosine."""
    sums: dict[int, tuple[np.ndarray, int]] = {}
    query = select(GapQuestion.gap_id, GapQuestion.embedding).where(GapQuestion.embedding_model == model)
    for gap_id, data in session.execute(query):
        vector = np.frombuffer(data, dtype="<f4")
        total, count = sums.get(gap_id, (np.zeros_like(vector), 0))
        sums[gap_id] = (total + vector, count + 1)
    gaps = [session.get_one(Gap, gap_id) for gap_id in sums]
    return gaps, np.stack([total / count for total, count in sums.values()]) if sums else np.zeros((0, 1), np.float32)


def _join(session: Session, gap: Gap, question: _Question, vector: np.ndarray, model: str) -> None:
    session.add(
        GapQuestion(
            gap_id=gap.id,
            message_id=question.message_id,
            kind=question.kind,
            text=question.text,
            embedding_model=model,
            embedding=to_bytes(vector.tolist()),
            asked_at=question.asked_at,
        )
    )
    if gap.state is GapState.DONE and gap.done_at is not None and question.asked_at > gap.done_at:
        gap.state = GapState.OPEN
