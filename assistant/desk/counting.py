"""What reports count of tickets: each on the day it was opened, with all that has become of it since."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from difflib import SequenceMatcher
from enum import StrEnum
from math import log2
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, case, select
from sqlalchemy.orm import Session

from assistant.desk.state import ASSISTANT_CHANNELS, DONE
from assistant.models import (
    Agent,
    Attachment,
    AttachmentKind,
    Author,
    Conversation,
    Draft,
    DraftStatus,
    Evidence,
    Message,
    MessageVisibility,
    Rating,
    SLAClock,
    SLATarget,
    Ticket,
    TriageField,
    TriageFieldState,
    TriageResult,
)
from assistant.skills.captions import troubles_in
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy
from assistant.text.mail import own_words

# Raised where something else is counted: then all days are counted again.
REVISION = 4
# Whoever does not come back within this time has not come back.
COMES_BACK_WITHIN = timedelta(hours=72)
_BINS = 10
_DECIDED = (TriageFieldState.ACCEPTED, TriageFieldState.OVERRIDDEN)
# Durations are counted in steps of a fifth, from a quarter of a minute on: medians are that exact.
_SHORTEST, _STEPS = 15.0, 4
_HANDOFF = "handoff_"
_ENDED = "conversation_ended"
_POOR = 2
_SPEAKERS = (Author.CUSTOMER, Author.ASSISTANT)


class Measure(StrEnum):
    """What is counted, by which key; what ``total`` adds up."""

    OPENED = "opened"
    SOLVED = "solved"  # by the day it was solved, ISO
    HOUR = "hour"  # "0-13": Monday, from 13 to 14 o'clock
    CHANNEL = "channel"
    CATEGORY = "category"
    PRODUCT = "product"
    LANGUAGE = "language"
    PRIORITY = "priority"
    FIRST_RESPONSE = "first_response"  # by `bucket`; seconds
    RESOLUTION = "resolution"  # the same
    SLA = "sla"  # "first_response:met", ":missed"
    OUTCOME = "outcome"  # `Outcome`
    HANDOFF = "handoff"  # by its reason
    FAULT = (
        "fault"  # "brewmaster-300|code|E21", "brewmaster-300|shows|red light", "brewmaster-300|category|device_fault"
    )
    DRAFT = "draft"  # by its status
    DRAFT_RATING = "draft_rating"  # by an agent: "helpful", "not_helpful"
    EDIT = "edit"  # share of words changed, in tenths; the share
    ASKED = "asked"  # for a rating
    RATING = "rating"  # score
    TRIAGE = "triage"  # "category:accepted", ":overridden"
    CALIBRATION = "calibration"  # "category:8": decisions on what was .8 to .9 probable; of these, accepted
    PROBABILITY = "probability"  # the same; their probabilities
    PHOTO = "photo"  # "read", "corrected", "field:product"
    REPLIES = "replies"  # by agent, as the following
    AGENT_TICKETS = "agent_tickets"
    AGENT_SOLVED = "agent_solved"
    AGENT_RATING = "agent_rating"  # score
    AGENT_RESPONSE = "agent_response"  # first responses; seconds


class Outcome(StrEnum):
    """What became of a conversation that the assistant was in. Of several, the first that is true."""

    PERSON = "person"  # one was asked for, or wrote
    UNANSWERED = "unanswered"  # the assistant has not answered what was asked last
    NOT_HELPED = "not_helped"  # its customer said so, or rated it 1 or 2
    REOPENED = "reopened"  # its customer asked again within 72 hours after it was closed
    HELPED = "helped"  # its customer said so, ended it, or rated it 3 or better
    UNDECIDED = "undecided"  # the 72 hours are not over
    SILENT = "silent"  # nothing more was heard: perhaps it helped


def day_of(moment: datetime, zone: str) -> date:
    return moment.astimezone(ZoneInfo(zone)).date()


def bucket(seconds: float) -> str:
    return str(max(0, int(_STEPS * log2(max(seconds, _SHORTEST) / _SHORTEST))))


def quantile(counts: dict[str, int], share: float) -> float | None:
    """Seconds that this share of the durations, counted by `bucket`, take at most; None of none."""
    left = share * sum(counts.values())
    for step, count in sorted((int(step), count) for step, count in counts.items()):
        if count and left <= count:
            return _SHORTEST * 2 ** ((step + left / count) / _STEPS)
        left -= count
    return None


def within(counts: dict[str, int], seconds: float) -> float:
    """How many of the durations, counted by `bucket`, are not longer."""
    end = _STEPS * log2(max(seconds, _SHORTEST) / _SHORTEST)
    return sum(count * min(max(end - int(step), 0.0), 1.0) for step, count in counts.items())


Of = tuple[date, int, int | None]  # day of opening, inbox and team
Key = tuple[Of, str, str]  # of these; the measure, and its key


@dataclass
class Tally:
    """How many there are, and the total of what was measured."""

    counts: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(lambda: [0, 0.0]))

    def add(self, of: Of, measure: Measure, key: str | None = "", total: float = 0.0) -> None:
        if key is not None:
            entry = self.counts[of, measure.value, key]
            entry[0] += 1
            entry[1] += total


def count(session: Session, opened: ColumnElement[bool], zone: str, taxonomy: Taxonomy, *, now: datetime) -> Tally:
    """All that is counted of the tickets of which this holds."""
    tally = Tally()
    tickets = session.execute(_tickets().where(opened)).all()
    of = {ticket.id: _of(ticket, zone) for ticket in tickets}
    said: dict[int, list[Any]] = defaultdict(list)
    for message in session.execute(_messages().where(opened).order_by(Message.id)):
        said[message.conversation_id].append(message)
    for ticket in tickets:
        _count_ticket(tally, of[ticket.id], ticket, zone)
        _count_talk(tally, of[ticket.id], ticket, said[ticket.conversation_id], now=now)
    first_by = {ticket.id: _first_agent(said[ticket.conversation_id]) for ticket in tickets}
    for clock in session.execute(_clocks().where(opened)):
        _count_clock(tally, of[clock.ticket_id], clock, first_by[clock.ticket_id])
    for draft in session.execute(_drafts().where(opened)):
        _count_draft(tally, of[draft.ticket_id], draft)
    for decision in session.execute(_decisions().where(opened)):
        _count_decision(tally, of[decision.ticket_id], decision)
    read = _count_photos(session, tally, opened, of)
    for ticket in tickets:
        told = [*_told(ticket, said[ticket.conversation_id]), *read[ticket.id].words]
        _count_faults(tally, of[ticket.id], ticket, told, read[ticket.id].troubles, taxonomy)
    return tally


def _of(ticket: Any, zone: str) -> Of:
    return day_of(ticket.created_at, zone), ticket.inbox_id, ticket.team_id


def _tickets() -> Any:
    return (
        select(
            Ticket.id,
            Ticket.conversation_id,
            Ticket.created_at,
            Ticket.solved_at,
            Ticket.status,
            Ticket.subject,
            Ticket.priority,
            Ticket.category,
            Ticket.product,
            Ticket.language,
            Ticket.team_id,
            Agent.public_id.label("agent"),
            Conversation.channel,
            Conversation.inbox_id,
            Conversation.context_after_id,
            Conversation.rating_asked_turn,
            Rating.score,
        )
        .join(Conversation, Conversation.id == Ticket.conversation_id)
        .outerjoin(Agent, Agent.id == Ticket.agent_id)
        .outerjoin(Rating, Rating.conversation_id == Ticket.conversation_id)
    )


def _messages() -> Any:
    return (
        select(
            Message.conversation_id,
            Message.id,
            Message.author,
            Message.helpful,
            Message.courtesy,
            Message.notices,
            Message.created_at,
            case((Message.author == Author.CUSTOMER, Message.text), else_=None).label("text"),
            Agent.public_id.label("agent"),
        )
        .join(Ticket, Ticket.conversation_id == Message.conversation_id)
        .outerjoin(Agent, Agent.id == Message.agent_id)
        .where(Message.visibility == MessageVisibility.PUBLIC)
    )


def _clocks() -> Any:
    columns = (SLAClock.ticket_id, SLAClock.target, SLAClock.began_at, SLAClock.ended_at, SLAClock.due_at)
    return select(*columns, SLAClock.breached_at).join(Ticket, Ticket.id == SLAClock.ticket_id)


def _drafts() -> Any:
    columns = (Draft.ticket_id, Draft.status, Draft.text, Draft.sent_text, Draft.helpful)
    drafts = select(*columns).where(Draft.text != "")
    return drafts.join(Ticket, Ticket.id == Draft.ticket_id)


def _decisions() -> Any:
    return (
        select(TriageResult.ticket_id, TriageField.name, TriageField.state, TriageField.probability)
        .join(TriageResult, TriageResult.id == TriageField.result_id)
        .join(Ticket, Ticket.id == TriageResult.ticket_id)
        .where(TriageField.state.in_(_DECIDED))
    )


def _count_ticket(tally: Tally, of: Of, ticket: Any, zone: str) -> None:
    shown = ticket.created_at.astimezone(ZoneInfo(zone))
    tally.add(of, Measure.OPENED)
    tally.add(of, Measure.HOUR, f"{shown.weekday()}-{shown.hour}")
    tally.add(of, Measure.CHANNEL, ticket.channel)
    tally.add(of, Measure.CATEGORY, ticket.category or "")
    tally.add(of, Measure.PRODUCT, ticket.product or "")
    tally.add(of, Measure.LANGUAGE, ticket.language or "")
    tally.add(of, Measure.PRIORITY, ticket.priority.value)
    is_solved = ticket.solved_at is not None and ticket.status in DONE
    if is_solved:
        tally.add(of, Measure.SOLVED, day_of(ticket.solved_at, zone).isoformat())
    tally.add(of, Measure.ASKED, "" if ticket.rating_asked_turn is not None else None)
    if ticket.score is not None:
        tally.add(of, Measure.RATING, str(ticket.score), ticket.score)
    if ticket.agent is not None:
        tally.add(of, Measure.AGENT_TICKETS, ticket.agent)
        tally.add(of, Measure.AGENT_SOLVED, ticket.agent if is_solved else None)
        if ticket.score is not None:
            tally.add(of, Measure.AGENT_RATING, ticket.agent, ticket.score)


def _told(ticket: Any, said: Sequence[Any]) -> Iterator[str]:
    """What its customer wrote."""
    yield ticket.subject
    yield from (own_words(message.text) for message in said if message.text)


def _count_faults(
    tally: Tally, of: Of, ticket: Any, texts: Sequence[str], troubles: Iterable[str], taxonomy: Taxonomy
) -> None:
    if ticket.product in (None, NO_PRODUCT):
        return
    for code in taxonomy.codes_in(texts):
        tally.add(of, Measure.FAULT, f"{ticket.product}|code|{code}")
    for trouble in troubles:
        tally.add(of, Measure.FAULT, f"{ticket.product}|shows|{trouble}")
    tally.add(of, Measure.FAULT, f"{ticket.product}|category|{ticket.category}" if ticket.category else None)


def _count_talk(tally: Tally, of: Of, ticket: Any, said: Sequence[Any], *, now: datetime) -> None:
    for message in said:
        tally.add(of, Measure.REPLIES, message.agent if message.author is Author.AGENT else None)
        for code in _codes(message):
            tally.add(of, Measure.HANDOFF, code.removeprefix(_HANDOFF) if code.startswith(_HANDOFF) else None)
    if ticket.channel in ASSISTANT_CHANNELS:
        tally.add(of, Measure.OUTCOME, _outcome(ticket, said, now=now).value)
    if ticket.solved_at is not None and ticket.status in DONE and any(one.author is Author.AGENT for one in said):
        seconds = (ticket.solved_at - ticket.created_at).total_seconds()
        tally.add(of, Measure.RESOLUTION, bucket(seconds), seconds)


def _codes(message: Any) -> Iterator[str]:
    if message.author is Author.SYSTEM:
        yield from (notice["code"] for notice in message.notices or ())


def _outcome(ticket: Any, said: Sequence[Any], *, now: datetime) -> Outcome:
    codes = {code for message in said for code in _codes(message)}
    spoken = [one for one in said if one.author in _SPEAKERS and not one.courtesy]
    if any(code.startswith(_HANDOFF) for code in codes) or any(one.author is Author.AGENT for one in said):
        return Outcome.PERSON
    if not spoken or spoken[-1].author is not Author.ASSISTANT:
        return Outcome.UNANSWERED
    last = spoken[-1]
    if last.helpful is False or (ticket.score is not None and ticket.score <= _POOR):
        return Outcome.NOT_HELPED
    if _was_reopened(ticket, said):
        return Outcome.REOPENED
    if last.helpful or _ENDED in codes or ticket.score is not None:
        return Outcome.HELPED
    return Outcome.UNDECIDED if now < last.created_at + COMES_BACK_WITHIN else Outcome.SILENT


def _was_reopened(ticket: Any, said: Sequence[Any]) -> bool:
    """Whether its customer asked again soon after it was closed."""
    reopened = ticket.context_after_id
    before = [one for one in said if reopened is not None and one.id <= reopened]
    after = [one for one in said if reopened is not None and one.id > reopened]
    return bool(before and after) and after[0].created_at <= before[-1].created_at + COMES_BACK_WITHIN


def _first_agent(said: Sequence[Any]) -> str | None:
    return next((one.agent for one in said if one.author is Author.AGENT), None)


def _count_clock(tally: Tally, of: Of, clock: Any, agent: str | None) -> None:
    if clock.breached_at is not None or (clock.due_at is not None and clock.ended_at is not None):
        tally.add(of, Measure.SLA, f"{clock.target.value}:{'missed' if clock.breached_at else 'met'}")
    if clock.target is SLATarget.FIRST_RESPONSE and clock.ended_at is not None and agent is not None:
        seconds = (clock.ended_at - clock.began_at).total_seconds()
        tally.add(of, Measure.FIRST_RESPONSE, bucket(seconds), seconds)
        tally.add(of, Measure.AGENT_RESPONSE, agent, seconds)


def _count_draft(tally: Tally, of: Of, draft: Any) -> None:
    tally.add(of, Measure.DRAFT, draft.status.value)
    if draft.helpful is not None:
        tally.add(of, Measure.DRAFT_RATING, "helpful" if draft.helpful else "not_helpful")
    if draft.status is DraftStatus.EDITED and draft.sent_text:
        share = _share_changed(draft.text.split(), draft.sent_text.split())
        tally.add(of, Measure.EDIT, str(min(int(10 * share), 9)), share)


def _share_changed(before: Sequence[str], after: Sequence[str]) -> float:
    """Words put in, taken out or replaced, of the words of the longer text."""
    steps = SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    changed = sum(max(i2 - i1, j2 - j1) for step, i1, i2, j1, j2 in steps if step != "equal")
    return min(1.0, changed / max(len(before), len(after), 1))


def _count_decision(tally: Tally, of: Of, decision: Any) -> None:
    accepted = decision.state is TriageFieldState.ACCEPTED
    tally.add(of, Measure.TRIAGE, f"{decision.name}:{decision.state.value}")
    key = f"{decision.name}:{min(int(_BINS * decision.probability), _BINS - 1)}"
    tally.add(of, Measure.CALIBRATION, key, float(accepted))
    tally.add(of, Measure.PROBABILITY, key, decision.probability)


@dataclass
class _Read:
    """What a ticket's photos say and show."""

    words: list[str] = field(default_factory=list)
    troubles: set[str] = field(default_factory=set)


def _count_photos(session: Session, tally: Tally, opened: ColumnElement[bool], of: dict[int, Of]) -> dict[int, _Read]:
    """Photos that were read, and what agents corrected in them, here or everywhere. Returns what was read by ticket."""
    sent = (
        select(Ticket.id, Ticket.conversation_id, Attachment.sha256)
        .join(Message, Message.conversation_id == Ticket.conversation_id)
        .join(Attachment, Attachment.message_id == Message.id)
        .where(opened, Attachment.kind == AttachmentKind.PHOTO)
        .distinct()
    )
    photos = session.execute(sent).all()
    shas = {photo.sha256 for photo in photos}
    read: dict[str, list[Evidence]] = defaultdict(list)
    for sha in _portions(sorted(shas), 500):
        for evidence in session.scalars(select(Evidence).where(Evidence.sha256.in_(sha)).order_by(Evidence.id)):
            read[evidence.sha256].append(evidence)
    found: dict[int, _Read] = defaultdict(_Read)
    for ticket_id, conversation_id, sha256 in photos:
        if not read[sha256]:
            continue
        tally.add(of[ticket_id], Measure.PHOTO, "read")
        counts = [one for one in read[sha256] if one.corrects and one.conversation_id in (None, conversation_id)]
        if counts:
            tally.add(of[ticket_id], Measure.PHOTO, "corrected")
            for name in sorted(set().union(*(_corrected(one) for one in counts))):
                tally.add(of[ticket_id], Measure.PHOTO, f"field:{name}")
        # The newest reading, or the one that was corrected for this conversation.
        readings = counts or [one for one in read[sha256] if not one.corrects]
        best = max(readings, key=lambda one: (one.conversation_id is not None, one.id), default=None)
        if best is not None:
            found[ticket_id].words += [str(line.get("text") or "") for line in best.visible_text]
            found[ticket_id].troubles.update(troubles_in(best.fields))
    return found


def _portions(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _corrected(evidence: Evidence) -> set[str]:
    """The names of what an agent has changed. A caption that only follows what else was changed is not among them."""
    before = evidence.corrects
    if before is None:
        return set()
    old, new = ({name: value.get("value") for name, value in one.fields.items()} for one in (before, evidence))
    lines = [[line.get("text") for line in one.visible_text] for one in (before, evidence)]
    changed = {name for name in old | new if old.get(name) != new.get(name)}
    changed |= {"visible_text"} if lines[0] != lines[1] else set()
    return changed - {"caption"} or changed
