"""Files that are missing or damaged in storage: they cost themselves, and everybody is told."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from apiflask import APIFlask
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant import worker
from assistant.cli import main
from assistant.db import Database, check
from assistant.desk import feed
from assistant.desk.desk import Desk
from assistant.desk.events import Audience, EventKind
from assistant.desk.files import NAMED_IN, lost_files, sweep
from assistant.knowledge import sources
from assistant.models import Article, Attachment, Draft, Evidence, FileCondition, Job, JobStatus, TriageResult
from assistant.ports import Mode
from assistant.runtime import Runtime
from tests.desk.test_turns import FACT, conversation, said, say
from tests.factories import Persona, make_articles, make_figure, make_photo, make_ticket, make_upload
from tests.fakes import FakeOCR, ManualClock, ScriptedChatModel, fake_capabilities


def path_of(desk: Desk, sha256: str) -> Path:
    return Path(desk.settings.attachments_url) / sha256[:2] / sha256[2:]


def attachments(desk: Desk) -> list[Attachment]:
    with desk.db.read() as session:
        return list(session.scalars(select(Attachment).order_by(Attachment.id)))


def remove(desk: Desk, file: Attachment) -> None:
    path_of(desk, file.sha256).unlink()


def damage(desk: Desk, file: Attachment) -> None:
    path = path_of(desk, file.sha256)
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def empty(desk: Desk, file: Attachment) -> None:
    path_of(desk, file.sha256).write_bytes(b"")


def make_unreadable_image(desk: Desk, file: Attachment) -> None:
    path_of(desk, file.sha256).write_bytes(make_photo("another photo"))


LOSSES = [remove, damage, empty, make_unreadable_image]


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize("mode", [Mode.NO_VLM, Mode.FULL_VLM])
def test_a_lost_photo_costs_itself_and_not_the_ticket(
    make_runtime: Callable[..., Runtime], tmp_path: Path, lose: Callable[[Desk, Attachment], None], mode: Mode
) -> None:
    model = ScriptedChatModel(default=FACT) if mode is Mode.FULL_VLM else None
    desk = make_runtime(capabilities=fake_capabilities(mode, ocr=FakeOCR("E21"), chat_model=model)).desk
    make_articles(desk, tmp_path / "articles")
    uploads = [make_upload("lost.jpg", make_photo("a")), make_upload("kept.jpg", make_photo("b"))]
    make_ticket(desk, "What does E21 mean?", uploads=uploads)
    lost, kept = attachments(desk)
    lose(desk, lost)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert session.scalars(select(Job).where(Job.status == JobStatus.DEAD)).all() == []
        assert session.scalars(select(TriageResult)).one()
        assert "draws no water" in session.scalars(select(Draft)).one().text
        assert [row.sha256 for row in session.scalars(select(Evidence))] == [kept.sha256]
    expected = FileCondition.MISSING if lose is remove else FileCondition.DAMAGED
    assert [file.condition for file in attachments(desk)] == [expected, FileCondition.READY]


@pytest.mark.parametrize("mode", [Mode.NO_VLM, Mode.FULL_VLM])
def test_later_messages_of_a_conversation_that_lost_its_photos_are_answered(
    make_runtime: Callable[..., Runtime], tmp_path: Path, mode: Mode
) -> None:
    model = ScriptedChatModel(default=FACT) if mode is Mode.FULL_VLM else None
    desk = make_runtime(capabilities=fake_capabilities(mode, ocr=FakeOCR("E21"), chat_model=model)).desk
    make_articles(desk, tmp_path / "articles")
    say(desk, "What does E21 mean?", photo=True)
    worker.run_until_idle(desk)
    shutil.rmtree(desk.settings.attachments_url)
    Path(desk.settings.attachments_url).mkdir()
    before = len(said(desk))
    say(desk, "And what does the pump draw?", into=conversation(desk))
    worker.run_until_idle(desk)
    assert len(said(desk)) > before + 1
    with desk.db.read() as session:
        assert session.scalars(select(Job).where(Job.status == JobStatus.DEAD)).all() == []


def test_customer_agent_and_machine_are_told(
    desk: Desk, client: FlaskClient, key: dict[str, str], sign_in: Callable[[Persona], FlaskClient], dora: Persona
) -> None:
    ticket = make_ticket(desk, uploads=[make_upload("display.jpg"), make_upload("log.txt", b"a log", "text/plain")])
    for file in attachments(desk):
        remove(desk, file)
    photo, log = attachments(desk)
    for file in (photo, log):
        answer = client.get(f"/api/v1/attachments/{file.public_id}", headers=key)
        assert answer.status_code == 410
        assert answer.json["code"] == "gone"
        assert answer.json["condition"] == "missing"
        assert file.filename in answer.json["detail"]
    shown = client.get(f"/api/v1/tickets/{ticket.public_id}", headers=key).json
    assert [one["condition"] for one in shown["messages"][0]["attachments"]] == ["missing", "missing"]
    page = sign_in(dora).get(f"/console/tickets/{ticket.public_id}").get_data(as_text=True)
    assert page.count("no longer in storage") == 2
    assert "Reading the photo" not in page
    with desk.db.read() as session:
        events = feed.after(session, 0, conversation_id=ticket.conversation_id, audience=Audience.CUSTOMER)
    updates = [event.payload for event in events if event.kind == EventKind.MESSAGE_UPDATED]
    assert [one["condition"] for one in updates[-1]["attachments"]] == ["missing", "missing"]


def test_a_lost_thumbnail_is_replaced_by_its_photo(desk: Desk, client: FlaskClient, key: dict[str, str]) -> None:
    make_ticket(desk, uploads=[make_upload()])
    (photo,) = attachments(desk)
    assert photo.thumbnail_sha256 is not None
    path_of(desk, photo.thumbnail_sha256).unlink()
    small = client.get(f"/api/v1/attachments/{photo.public_id}?thumbnail=true", headers=key)
    assert small.status_code == 200
    assert attachments(desk)[0].condition is FileCondition.READY


def test_a_photo_that_comes_back_from_a_backup_is_read(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask], key: dict[str, str]
) -> None:
    runtime = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("E21")))
    desk = runtime.desk
    make_ticket(desk, uploads=[make_upload()])
    (photo,) = attachments(desk)
    saved = path_of(desk, photo.sha256).read_bytes()
    remove(desk, photo)
    worker.run_until_idle(desk)
    path_of(desk, photo.sha256).write_bytes(saved)
    client = make_app(runtime).test_client()
    assert client.get(f"/api/v1/attachments/{photo.public_id}", headers=key).status_code == 200
    assert attachments(desk)[0].condition is FileCondition.READY
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert session.scalars(select(Evidence)).one().sha256 == photo.sha256


def test_a_storage_that_is_away_loses_nothing(desk: Desk) -> None:
    clock = ManualClock(desk.now() + timedelta(seconds=1))
    object.__setattr__(desk, "now", clock)
    make_ticket(desk, uploads=[make_upload()])
    folder = Path(desk.settings.attachments_url)
    folder.rename(folder.with_name("unmounted"))
    worker.run_until_idle(desk)
    assert attachments(desk)[0].condition is FileCondition.READY
    folder.with_name("unmounted").rename(folder)
    clock.advance(timedelta(minutes=5))
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert session.scalars(select(Evidence)).one()


def test_the_check_names_every_lost_file(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_ticket(desk, uploads=[make_upload("display.jpg"), make_upload("log.txt", b"a log", "text/plain")])
    make_figure(desk, tmp_path / "kb")
    assert list(lost_files(desk.db, desk.storage)) == []
    photo, log = attachments(desk)
    damage(desk, photo)
    remove(desk, log)
    found = list(lost_files(desk.db, desk.storage))
    assert len(found) == 2
    assert any("display.jpg is damaged" in line for line in found)
    assert any("log.txt is missing" in line for line in found)
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(desk.settings.data_dir))
    outcome = CliRunner().invoke(main, ["db", "check"])
    assert outcome.exit_code == 1
    assert "log.txt is missing" in outcome.output


@pytest.mark.parametrize("offset", [0, 40, 8192])
def test_a_corrupt_database_is_said_in_words(desk: Desk, offset: int) -> None:
    desk.db.close()
    path = desk.settings.data_dir / "assistant.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 4000)
    problems = check(Database(desk.settings.sqlalchemy_url))
    assert problems
    assert any("estore a backup" in problem for problem in problems)


def test_a_database_that_is_away_is_said_in_words(tmp_path: Path) -> None:
    (problem,) = check(Database("postgresql+psycopg://127.0.0.1:9/none?connect_timeout=2"))
    assert "cannot be read" in problem


def test_what_no_row_names_is_swept_once_it_is_old_and_nothing_else(desk: Desk, tmp_path: Path) -> None:
    make_ticket(desk, uploads=[make_upload("display.jpg"), make_upload("log.txt", b"a log", "text/plain")])
    make_figure(desk, tmp_path / "kb")
    orphan = desk.storage.put(b"stored before a crash")
    partial = Path(desk.settings.attachments_url) / "aa" / "partial-x"
    partial.parent.mkdir(exist_ok=True)
    partial.write_bytes(b"half a f")
    assert sweep(desk.db, desk.storage, now=desk.now()) == 0
    assert sweep(desk.db, desk.storage, now=desk.now() + timedelta(hours=25)) == 2
    assert not desk.storage.exists(orphan)
    assert list(lost_files(desk.db, desk.storage)) == []


def test_a_column_that_names_files_cannot_be_forgotten(desk: Desk) -> None:
    """Evidence, hashes and pairs are about a photo and outlive it; vectors and addresses have other digests."""
    columns = {
        f"{table.name}.{column.name}"
        for table in Attachment.metadata.sorted_tables
        for column in table.columns
        if "sha256" in column.name and table.name not in ("evidence", "photo_hashes", "photo_copies", "mail_refusals")
    }
    assert columns == {str(column.expression) for column in NAMED_IN}


def test_a_source_keeps_the_articles_of_a_file_that_was_lost(desk: Desk) -> None:
    uploads = [make_upload(f"{name}.md", f"# {name}\n\nAbout {name}.".encode()) for name in ("pump", "valve")]
    source = sources.add_files(desk, uploads, name="Manuals")
    sources.sync(desk, source.id)
    with desk.db.read() as session:
        file = sources.files_of(session, source)[0]
    path_of(desk, file.sha256).unlink()
    report = sources.sync(desk, source.id)
    assert [place for place, _ in report.failed] == ["pump.md"]
    with desk.db.read() as session:
        assert len(session.scalars(select(Article)).all()) == 2
