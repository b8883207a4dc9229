"""What an inbox keeps for some time is gone afterwards, everywhere; what is not over, or somebody else's, stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import select, update

from assistant import worker
from assistant.cli import main
from assistant.db import snapshot, utcnow
from assistant.desk import counting, inboxes, merging, reports, retention, rollup, search, state
from assistant.desk.desk import Desk
from assistant.desk.retention import Retention
from assistant.models import (
    Attachment,
    AuditEntry,
    Conversation,
    Customer,
    Evidence,
    FileCondition,
    Job,
    PhotoHash,
    ReportState,
    Ticket,
    TicketStatus,
    TriageResult,
)
from assistant.runtime import Runtime, build
from tests.desk.test_erasure import age
from tests.factories import Browser, Persona, make_articles, make_photo, make_ticket, make_upload
from tests.fakes import FakeOCR, SetClock, fake_capabilities
from tests.web.test_console import submit

SECRET = "Quittenmarmelade"
READ = "ZX81QQ"
SignIn = Callable[[Persona], FlaskClient]


@pytest.fixture
def runtime(make_runtime: Callable[..., Runtime]) -> Runtime:
    return make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("BrewMaster 300", f"SN {READ}-204")))


@pytest.fixture
def solved(desk: Desk, tmp_path: Path) -> Ticket:
    """Rosa's: with a photo of her own, and one that Bert has sent, too, whose ticket is open."""
    make_articles(desk, tmp_path / "articles")
    uploads = [make_upload("own.jpg", make_photo("own")), make_upload("both.jpg", make_photo("shared"))]
    ticket = make_ticket(desk, f"{SECRET} in the pump", uploads=uploads, requester_name="Rosa Quendel")
    make_ticket(desk, "Mine leaks", uploads=[make_upload("b.jpg", make_photo("shared"))], requester_name="Bert")
    worker.run_until_idle(desk)
    solve(desk, ticket)
    return ticket


def solve(desk: Desk, ticket: Ticket) -> None:
    with desk.db.begin() as session:
        state.change_ticket(session, session.get_one(Ticket, ticket.id), status=TicketStatus.SOLVED)


def keep(desk: Desk, **days: int | None) -> None:
    with desk.db.begin() as session:
        inboxes.change(inboxes.default(session), days)


def pass_days(desk: Desk, days: int) -> None:
    """Let the worker do what it does each day, so many days from now."""
    age(desk)
    later = replace(desk, now=SetClock(timedelta(days=days)))
    retention.request(later.db, now=later.now())
    worker.run_until_idle(later)


def bytes_kept(desk: Desk) -> bytes:
    return b"".join(path.read_bytes() for path in desk.settings.data_dir.glob("assistant.db*"))


def all_of(desk: Desk, model: Any) -> list[Any]:
    with desk.db.read() as session:
        return list(session.scalars(select(model).order_by(model.id)))


def figures(desk: Desk) -> dict[str, dict[str, tuple[int, float]]]:
    rollup.roll_up(desk)
    today = counting.day_of(utcnow(), "UTC")
    asked = reports.Asked(today - timedelta(days=30), today)
    with desk.db.read() as session:
        found = reports.totals(session, asked, list(counting.Measure))
    return {measure: {key: (one.count, one.total) for key, one in of.items()} for measure, of in found.items()}


def test_nothing_goes_by_default(desk: Desk, solved: Ticket) -> None:
    pass_days(desk, 5000)
    assert [one.condition for one in all_of(desk, Attachment)] == [FileCondition.READY] * 3
    assert [job for job in all_of(desk, Job) if job.name == retention.RETAIN] == []


def test_files_go_with_all_that_was_read_in_them_and_everybody_is_told(
    desk: Desk, solved: Ticket, key: dict[str, str], client: FlaskClient, sign_in: SignIn, dora: Persona
) -> None:
    own = all_of(desk, Attachment)[0]
    with desk.db.begin() as session:  # what an agent has corrected goes, too
        row = session.scalars(select(Evidence).where(Evidence.sha256 == own.sha256)).one()
        text = [{**line, "text": f"{READ}-corrected"} for line in row.visible_text]
        here = session.get_one(Ticket, solved.id).conversation_id
        copy = {name: getattr(row, name) for name in ("sha256", "revision", "model", "mode", "fields")}
        session.add(Evidence(**copy, visible_text=text, corrects_id=row.id, conversation_id=here))
    before, stored = figures(desk), {one.sha256 for one in desk.storage.list()}
    keep(desk, keep_files_days=30)
    pass_days(desk, 29)
    assert [one.condition for one in all_of(desk, Attachment)] == [FileCondition.READY] * 3
    pass_days(desk, 31)
    assert [one.condition for one in all_of(desk, Attachment)] == [FileCondition.REMOVED] * 2 + [FileCondition.READY]
    # Her own photo is nowhere; the one that Bert has sent, too, is his alone.
    assert stored - {one.sha256 for one in desk.storage.list()} == {own.sha256, own.thumbnail_sha256}
    shared = all_of(desk, Attachment)[2].sha256
    assert {one.sha256 for one in all_of(desk, Evidence)} == {one.sha256 for one in all_of(desk, PhotoHash)} == {shared}
    with desk.db.read() as session:
        assert session.scalars(select(Ticket.subject).where(search.has(session, READ))).all() == ["Mine leaks"]
        assert session.scalars(select(Ticket.id).where(search.has(session, SECRET))).all() == [solved.id]
    assert f"{READ}-corrected".encode() not in bytes_kept(desk)
    assert own.sha256.encode() not in bytes_kept(desk)
    # The ticket keeps its triage, and the reports their figures.
    assert all_of(desk, TriageResult)[0].ticket_id == solved.id
    assert figures(desk) == before
    # Told where it is shown.
    told = client.get(f"/api/v1/tickets/{solved.public_id}", headers=key).get_json()
    gone = told["messages"][0]["attachments"][0]
    assert (gone["condition"], gone["evidence"]) == ("removed", None)
    assert gone["removed_at"]
    refused = client.get(f"/api/v1/attachments/{gone['id']}", headers=key)
    assert (refused.status_code, refused.get_json()["condition"]) == (410, "removed")
    page = sign_in(dora).get(f"/console/tickets/{solved.public_id}").text
    assert "was removed, as the retention rules of its inbox say." in page
    assert gone["id"] not in page
    log = sign_in(dora).get("/console/settings/audit?what=retention").text
    assert "default: files 2" in log


def test_the_words_of_a_photo_that_nobody_else_has_sent_are_not_in_the_database(desk: Desk) -> None:
    ticket = make_ticket(desk, "See photo", uploads=[make_upload("own.jpg", make_photo("own"))])
    worker.run_until_idle(desk)
    solve(desk, ticket)
    assert READ.encode() in bytes_kept(desk)
    keep(desk, keep_files_days=1)
    pass_days(desk, 2)
    for trace in (READ, READ.lower()):
        assert trace.encode() not in bytes_kept(desk), trace
    worker.run_until_idle(desk)  # nobody reads it again, and nothing waits for it


def test_conversations_go_with_their_customers_and_reports_keep_their_figures(desk: Desk, solved: Ticket) -> None:
    before = figures(desk)
    assert before["opened"] == {"": (2, 0.0)}
    keep(desk, keep_conversations_days=30, keep_files_days=7)
    pass_days(desk, 31)
    assert [one.subject for one in all_of(desk, Ticket)] == ["Mine leaks"]
    assert [one.name for one in all_of(desk, Customer)] == ["Bert"]
    for trace in (SECRET, SECRET.lower(), "Quendel", "quendel", "own.jpg"):
        assert trace.encode() not in bytes_kept(desk), trace
    assert len(list(desk.storage.list())) == 2
    assert figures(desk) == before
    with desk.db.begin() as session:  # whatever is counted again, or counted in another way
        session.execute(update(ReportState).values(revision=0))
    assert figures(desk) == before
    receipt = all_of(desk, AuditEntry)[-1]
    assert (receipt.agent, receipt.subject) == ("retention", "default: conversations 1, customers 1, files 2")


def test_who_waits_is_never_let_go_of_and_who_was_answered_is(desk: Desk, client: FlaskClient) -> None:
    waiting = make_ticket(desk, "I wait", requester_name="Wilma")
    browser = Browser(client)
    browser.say("Thanks")
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        states = dict(session.execute(select(Ticket.subject, Conversation.state).join(Ticket.conversation)).all())
    assert states == {"I wait": "handed_off", "Thanks": "assistant"}
    keep(desk, keep_conversations_days=14)
    pass_days(desk, 100)
    assert [one.id for one in all_of(desk, Ticket)] == [waiting.id]


def test_what_was_merged_goes_no_sooner_than_the_ticket_that_shows_it(desk: Desk, dora: Persona) -> None:
    old, new = (make_ticket(desk, text, requester_email="rosa@example.org") for text in ("First", "Second"))
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        merging.merge(session, dora.principal, session.get_one(Ticket, old.id), session.get_one(Ticket, new.id))
    keep(desk, keep_conversations_days=14)
    pass_days(desk, 20)
    assert len(all_of(desk, Ticket)) == 2
    solve(desk, new)
    pass_days(desk, 40)
    assert all_of(desk, Ticket) == all_of(desk, Customer) == []


def test_a_customer_who_writes_again_is_kept_with_the_new_photo(desk: Desk, client: FlaskClient) -> None:
    """And what went before stays away after a restored backup, whose rules are older."""
    browser = Browser(client)
    browser.say("Look", ("old.jpg", make_photo("old")))
    worker.run_until_idle(desk)
    browser.client.post(f"{browser.path}/end", headers=browser.headers)
    snapshot(desk.db, desk.settings.data_dir.parent / "before.db")
    keep(desk, keep_files_days=3)
    pass_days(desk, 4)
    browser.say("And now?", ("new.jpg", make_photo("new")))
    worker.run_until_idle(desk)
    shown = [one for message in browser.messages for one in message["attachments"]]
    assert [(one["filename"], one["condition"]) for one in shown] == [("old.jpg", "removed"), ("new.jpg", "ready")]
    again = Retention(desk.db, desk.storage, desk.settings.data_dir, desk.taxonomy)
    assert again.repeat(now=desk.now()) is False
    assert [one.condition.value for one in all_of(desk, Attachment)] == ["removed", "ready"]
    restored = restore(desk, desk.settings.data_dir.parent / "before.db")
    assert [(one.filename, one.condition.value) for one in all_of(restored, Attachment)] == [("old.jpg", "removed")]
    restored.db.close()


def test_a_conversation_stays_away_after_an_older_backup_was_restored(desk: Desk, solved: Ticket) -> None:
    snapshot(desk.db, desk.settings.data_dir.parent / "before.db")
    keep(desk, keep_conversations_days=14)
    pass_days(desk, 15)
    restored = restore(desk, desk.settings.data_dir.parent / "before.db")
    assert [one.subject for one in all_of(restored, Ticket)] == ["Mine leaks"]
    assert [one.name for one in all_of(restored, Customer)] == ["Bert"]
    restored.db.close()


def restore(desk: Desk, backup: Path) -> Desk:
    """By hand: the database is put in its place."""
    desk.db.close()
    for path in desk.settings.data_dir.glob("assistant.db*"):
        path.unlink()
    shutil.copy(backup, desk.settings.data_dir / "assistant.db")
    return build(desk.settings, capabilities=fake_capabilities()).desk


def test_the_command_line_tells_what_would_go_and_lets_go_of_it(
    desk: Desk, solved: Ticket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(desk.settings.data_dir))
    age(desk)
    with desk.db.begin() as session:
        long_ago = utcnow() - timedelta(days=60)
        session.execute(update(Conversation).where(Conversation.id == 1).values(updated_at=long_ago))

    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["inboxes", *arguments])

    assert "everything is kept" in run("retention").output
    tried = json.loads(run("retention", "--keep-files-days", "50", "--json").stdout)
    assert [(one["kind"], one["files"], one["conversations"]) for one in tried] == [("files", 2, 1)]
    refused = run("set", "default", "--keep-files-days", "50", "--keep-conversations-days", "40")
    assert "files, kept for 50 days, go with their conversation" in refused.output
    assert run("set", "default", "--keep-conversations-days", "3").exit_code == 1
    assert run("set", "default", "--keep-conversations-days", "50").exit_code == 0
    assert "would go: conversations: 1, files: 2" in run("retention").output
    assert len(all_of(desk, Ticket)) == 2
    assert run("retention", "--apply", "--yes").exit_code == 0
    assert [one.subject for one in all_of(desk, Ticket)] == ["Mine leaks"]
    assert "untouched since" not in run("retention").output
    assert [one.action for one in all_of(desk, AuditEntry)][-2:] == ["retention", "command inboxes retention"]


def test_an_admin_sets_the_rules_in_the_console_and_is_told_what_will_go(
    desk: Desk, solved: Ticket, sign_in: SignIn, dora: Persona
) -> None:
    with desk.db.begin() as session:
        session.execute(update(Conversation).values(updated_at=utcnow() - timedelta(days=60)))
    admin = sign_in(dora)
    page = "/console/settings/inboxes/default"
    wrong = submit(admin, page, keep_files_days="90", keep_conversations_days="30")
    assert "files, kept for 90 days, go with their conversation" in wrong.text
    submit(admin, page, keep_files_days="20", keep_conversations_days="90")
    told = admin.get("/console/settings/inboxes").text
    assert "remove within a day: conversations: 0, files of others: 2" in told
    assert 'value="90"' in admin.get(page).text
