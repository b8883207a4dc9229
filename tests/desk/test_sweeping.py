"""What ends by its age alone goes, and nothing else; README.md says when."""

from __future__ import annotations

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from assistant import worker
from assistant.db import Base, utcnow
from assistant.desk import (
    agent_sessions,
    feed,
    files,
    idempotency,
    mail,
    proofs,
    queue,
    sessions,
    sweeping,
    uploads,
    usage,
)
from assistant.desk.desk import Desk
from assistant.models import Alert, AlertKind, Draft, Generation, Mail, MailState, Message, Ticket, TriageResult
from assistant.text.letters import Letter, Paragraph
from tests.factories import make_agent, make_articles, make_ticket

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def number_of(desk: Desk, model: type[Base]) -> int:
    with desk.db.read() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def test_runs_of_models_go_after_their_time_and_what_they_made_stays(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "_AT_ONCE", 1)
    make_articles(desk, tmp_path / "help")
    make_ticket(desk, "My coffee machine shows E21 and blinks red. What does E21 mean?")
    worker.run_until_idle(desk)
    now, kept = utcnow(), (Draft, TriageResult, Message, Ticket)
    runs, before = number_of(desk, Generation), [number_of(desk, model) for model in kept]
    assert runs > 1
    assert all(before)
    sweeping.sweep(desk, now=now + sweeping.KEEP_GENERATIONS - timedelta(hours=1))
    assert number_of(desk, Generation) == runs
    sweeping.sweep(desk, now=now + sweeping.KEEP_GENERATIONS + timedelta(hours=1))
    assert number_of(desk, Generation) == 0
    assert [number_of(desk, model) for model in kept] == before


def test_of_alerts_those_go_that_were_read_long_ago(desk: Desk) -> None:
    agent, now = make_agent(desk.db, "ada"), utcnow()
    tickets = [make_ticket(desk) for _ in range(3)]
    long_ago = now - sweeping.KEEP_ALERTS - timedelta(hours=1)
    with desk.db.begin() as session:
        for ticket, read_at in zip(tickets, (None, long_ago, now), strict=True):
            told = {"agent_id": agent.principal.agent_id, "ticket_id": ticket.id, "kind": AlertKind.WRITTEN}
            session.add(Alert(**told, created_at=long_ago, read_at=read_at))
    sweeping.sweep(desk, now=now)
    with desk.db.read() as session:
        assert set(session.scalars(select(Alert.ticket_id))) == {tickets[0].id, tickets[2].id}


def test_of_mails_those_go_that_are_over_and_belong_to_no_conversation(desk: Desk) -> None:
    now, ticket = utcnow(), make_ticket(desk)
    with desk.db.begin() as session:
        letter = Letter("A code", (Paragraph("123456"),), "en")
        for state in MailState:
            for conversation in (ticket.conversation, None):
                row = mail.enqueue(session, letter, to="rosa@example.org", conversation=conversation)
                session.flush()
                session.execute(update(Mail).where(Mail.id == row.id).values(state=state))
    sweeping.sweep(desk, now=now + sweeping.KEEP_MAILS - timedelta(hours=1))
    assert number_of(desk, Mail) == 2 * len(MailState)
    sweeping.sweep(desk, now=now + sweeping.KEEP_MAILS + timedelta(hours=1))
    with desk.db.read() as session:
        alone = set(session.scalars(select(Mail.state).where(Mail.conversation_id.is_(None))))
    assert alone == {MailState.QUEUED}
    assert number_of(desk, Mail) == len(MailState) + 1


def test_the_copy_from_before_an_upgrade_goes_once_nobody_goes_back(desk: Desk) -> None:
    place, now = Path(str(desk.db.engine.url.database)), utcnow()
    copies = [place.with_name(f"{place.name}.upgraded-from-{revision}") for revision in ("a", "b")]
    for copy, age in zip(copies, (timedelta(hours=1), -timedelta(hours=1)), strict=True):
        copy.write_bytes(b"")
        then = (now - sweeping.KEEP_COPIES - age).timestamp()
        os.utime(copy, (then, then))
    sweeping.sweep(desk, now=now)
    assert [copy.exists() for copy in copies] == [False, True]
    assert place.exists()


PERIODS = {
    "Runs of models": sweeping.KEEP_GENERATIONS,
    "What agents were told": sweeping.KEEP_ALERTS,
    "Copies of a SQLite database": sweeping.KEEP_COPIES,
    "Mails of no conversation": sweeping.KEEP_MAILS,
    "Events": feed.KEEP,
    "What webhooks were told": feed.KEEP,
    "Answers to requests": idempotency.ANSWERED_FOR,
    "Jobs that are done": queue.KEEP_FINISHED,
    "Sessions of widgets": sessions.KEEP,
    "Agents' sessions": agent_sessions.KEEP,
    "Codes by mail": proofs.KEEP,
    "What a visitor stored": usage.KEEP,
    "Files that nothing names": files.SWEEP_AFTER,
    "Uploads of a machine": uploads.KEEP,
}


@pytest.mark.parametrize("what", PERIODS)
def test_readme_says_for_how_long_it_is_kept(what: str) -> None:
    [row] = re.findall(rf"(?m)^\| {re.escape(what)}[^|]*\|([^|]*)\|$", README)
    days = PERIODS[what].days
    assert f"{days} day{'s' if days > 1 else ''}" in row
