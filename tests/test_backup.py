"""A backup holds everything or is none, says when it is damaged, and brings back all but those who were erased."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apiflask import APIFlask
from click.testing import CliRunner
from sqlalchemy import func, select

from assistant import backup, backup_schedule, doctor
from assistant.cli import main
from assistant.db import Database, check
from assistant.desk import erasure, search
from assistant.desk.desk import Desk
from assistant.desk.files import lost_files
from assistant.errors import Conflict, Invalid, NotReady, Unavailable
from assistant.models import Attachment, Customer, Ticket
from assistant.runtime import Runtime, open_database
from assistant.settings import Settings
from assistant.storage import Storage
from assistant.worker import Workers
from tests.factories import make_photo, make_ticket, make_upload

WORD = "Quittenmarmelade"


@pytest.fixture
def desk(desk: Desk) -> Desk:
    """Of a shop with two customers, each with a photo of their own."""
    for name in ("Rosa", "Bert"):
        photo = make_upload(f"{name}.jpg", make_photo(name))
        make_ticket(desk, f"{WORD} of {name}", uploads=[photo], requester_name=name)
    (desk.settings.data_dir / "widget").mkdir()
    (desk.settings.data_dir / "widget" / "loader.0123456789abcdef.js").write_text("// pinned")
    return desk


@pytest.fixture
def made(desk: Desk, tmp_path: Path) -> Path:
    backup.create(desk.settings, desk.db, desk.storage, tmp_path / "b.zip", with_secret=True)
    return tmp_path / "b.zip"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "elsewhere")


def names(settings: Settings) -> list[str | None]:
    """Of the customers there, after checking that nothing is broken and that their tickets are found."""
    database = open_database(settings)
    assert check(database) == []
    assert list(lost_files(database, Storage.open(settings.attachments_url))) == []
    with database.read() as session:
        found = list(session.scalars(select(Customer.name).order_by(Customer.id)))
        assert len(session.scalars(select(Ticket.id).where(search.has(session, WORD))).all()) == len(found)
    database.close()
    return found


def digests(settings: Settings) -> set[str | None]:
    return {one.sha256 for one in Storage.open(settings.attachments_url).list()}


def test_everything_comes_back_on_another_machine(desk: Desk, made: Path, elsewhere: Settings) -> None:
    manifest = backup.verify(made)
    done = backup.restore(made, elsewhere)
    assert names(elsewhere) == ["Rosa", "Bert"]
    assert digests(elsewhere) == digests(desk.settings)
    assert (done.files, done.erased, done.aside, done.has_secret) == (manifest.files, (), None, True)
    assert elsewhere.signing_key() == desk.settings.signing_key()
    assert (elsewhere.data_dir / "widget" / "loader.0123456789abcdef.js").read_text() == "// pinned"
    assert sorted(path.name for path in elsewhere.data_dir.iterdir()) == [
        "assistant.db", "attachments", "secret.key", "widget"
    ]  # fmt: skip


def test_what_it_makes_is_for_its_owner_only(made: Path, elsewhere: Settings) -> None:
    old = os.umask(0)
    try:
        backup.restore(made, elsewhere)
    finally:
        os.umask(old)
    for path in (made, elsewhere.data_dir, *elsewhere.data_dir.iterdir()):
        assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path


def test_whoever_was_erased_since_stays_erased_and_their_files_do_not_come_back(
    desk: Desk, made: Path, elsewhere: Settings
) -> None:
    with desk.db.read() as session:
        rosa = session.scalars(select(Customer).where(Customer.name == "Rosa")).one().public_id
        of_rosa = session.scalars(select(Attachment.sha256).where(Attachment.filename == "Rosa.jpg")).one()
    erasure.erase(desk.db, desk.storage, desk.settings.data_dir, [rosa])
    elsewhere.data_dir.mkdir()
    shutil.copy(desk.settings.data_dir / erasure.LIST, elsewhere.data_dir)
    done = backup.restore(made, elsewhere)
    assert done.erased == (rosa,)
    assert names(elsewhere) == ["Bert"]
    assert of_rosa not in digests(elsewhere)
    kept = b"".join(path.read_bytes() for path in elsewhere.data_dir.glob("assistant.db*"))
    assert b"Rosa" not in kept


def test_the_list_of_erasures_is_in_the_backup_and_joins_that_of_the_folder(
    desk: Desk, tmp_path: Path, elsewhere: Settings
) -> None:
    erasure.add_to_list(desk.settings.data_dir, json.dumps({"customers": ["cus_one", "cus_both"]}))
    backup.create(desk.settings, desk.db, desk.storage, tmp_path / "c.zip")
    erasure.add_to_list(elsewhere.data_dir, json.dumps({"customers": ["cus_other", "cus_both"]}))
    done = backup.restore(tmp_path / "c.zip", elsewhere)
    lines = (elsewhere.data_dir / erasure.LIST).read_text().splitlines()
    assert sorted(one for line in lines for one in json.loads(line)["customers"]) == [
        "cus_both",
        "cus_one",
        "cus_other",
    ]
    assert not done.has_secret


def test_a_database_in_the_way_is_kept_unless_told_and_then_set_aside(desk: Desk, made: Path) -> None:
    make_ticket(desk, f"{WORD} of Carla", requester_name="Carla")
    with pytest.raises(Conflict, match="--replace"):
        backup.restore(made, desk.settings)
    desk.db.close()
    with closing(Database(desk.settings.sqlalchemy_url)) as other:
        with other.read() as session:
            assert session.scalar(select(func.count()).select_from(Ticket)) == 3
        with pytest.raises(Conflict, match="in use"):
            backup.restore(made, desk.settings, replace=True)
    assert names(desk.settings) == ["Rosa", "Bert", "Carla"]
    done = backup.restore(made, desk.settings, replace=True)
    assert names(desk.settings) == ["Rosa", "Bert"]
    assert done.aside is not None
    with closing(sqlite3.connect(done.aside)) as before:
        assert before.execute("SELECT count(*) FROM customers").fetchone() == (3,)


def test_a_damaged_database_is_replaced(desk: Desk, made: Path) -> None:
    place = desk.settings.data_dir / "assistant.db"
    desk.db.close()
    place.write_bytes(b"\0" * 100_000)
    done = backup.restore(made, desk.settings, replace=True)
    assert names(desk.settings) == ["Rosa", "Bert"]
    assert done.aside is not None
    assert done.aside.read_bytes() == b"\0" * 100_000


def changed(made: Path, target: Path, change: Callable[[str, bytes], bytes | None]) -> Path:
    """The backup with other content: a well-formed archive."""
    with zipfile.ZipFile(made) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            if (data := change(name, old.read(name))) is not None:
                new.writestr(name, data)
    return target


def test_what_is_damaged_is_told_and_not_restored(made: Path, elsewhere: Settings, tmp_path: Path) -> None:
    whole, bad = made.read_bytes(), tmp_path / "bad.zip"
    for content in (b"", b"no archive", whole[: len(whole) // 2], whole[:-1], whole[:500] + b"\1\2\3" + whole[503:]):
        bad.write_bytes(content)
        with pytest.raises(Invalid, match="Take another one"):
            backup.restore(bad, elsewhere)
    file = next(name for name in backup.verify(made).entries if name.startswith("files/"))
    for which, said in ((file, "differs"), ("manifest.json", "no backup"), ("assistant.db", "differs")):
        with pytest.raises(Invalid, match=said):
            backup.verify(changed(made, bad, lambda name, data, which=which: b"{}" if name == which else data))
    with pytest.raises(Invalid, match="missing in it"):
        backup.verify(changed(made, bad, lambda name, data: None if name == file else data))
    assert not elsewhere.data_dir.exists() or list(elsewhere.data_dir.iterdir()) == []


def test_a_damaged_database_in_it_is_told_even_if_the_sums_are_right(
    desk: Desk, tmp_path: Path, elsewhere: Settings
) -> None:
    place = desk.settings.data_dir / "assistant.db"
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("DELETE FROM conversations WHERE id = 1")
        connection.commit()
    backup.create(desk.settings, desk.db, desk.storage, tmp_path / "c.zip")
    with pytest.raises(Invalid, match=r"database in .* is damaged"):
        backup.restore(tmp_path / "c.zip", elsewhere)
    assert list(elsewhere.data_dir.iterdir()) == []


def test_a_backup_of_a_newer_version_says_what_to_do(made: Path, elsewhere: Settings, tmp_path: Path) -> None:
    def newer(name: str, data: bytes) -> bytes:
        return data.replace(backup.verify(made).revision.encode(), b"of_tomorrow") if name == "manifest.json" else data

    with pytest.raises(NotReady, match=r"newer version .* Install that version"):
        backup.restore(changed(made, tmp_path / "new.zip", newer), elsewhere)


def test_the_secret_key_is_encrypted_with_a_passphrase(desk: Desk, tmp_path: Path, elsewhere: Settings) -> None:
    file, said = tmp_path / "c.zip", "correct horse"
    backup.create(desk.settings, desk.db, desk.storage, file, with_secret=True, passphrase=said)
    assert desk.settings.signing_key().encode() not in file.read_bytes()
    for wrong, problem in ((None, "--passphrase"), ("correct hors", "passphrase is wrong")):
        with pytest.raises(Invalid, match=problem):
            backup.restore(file, elsewhere, passphrase=wrong)
        assert list(elsewhere.data_dir.iterdir()) == []
    assert backup.restore(file, elsewhere, passphrase=said).has_secret
    assert elsewhere.signing_key() == desk.settings.signing_key()


def test_an_installation_keeps_its_own_secret_key(made: Path, elsewhere: Settings) -> None:
    own = elsewhere.signing_key()
    assert not backup.restore(made, elsewhere).has_secret
    assert elsewhere.signing_key() == own


def test_a_lost_file_is_told_and_does_not_stop_it(desk: Desk, tmp_path: Path) -> None:
    lost = next(iter(desk.storage.list())).sha256
    assert lost is not None
    desk.storage.delete(lost)
    manifest = backup.create(desk.settings, desk.db, desk.storage, tmp_path / "c.zip")
    assert manifest.lost == (lost,)
    assert backup.verify(tmp_path / "c.zip").lost == (lost,)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for the database, and not for all of it twice."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True, timeout=60).returncode:
        pytest.skip("Cannot mount a small file system here (needs root).")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True, timeout=60)


def test_a_full_disk_is_said_and_leaves_nothing_behind(desk: Desk, made: Path, full_disk: Path) -> None:
    with pytest.raises(NotReady, match="disk is full"):
        backup.create(desk.settings, desk.db, desk.storage, full_disk / "b.zip")
    assert list(full_disk.iterdir()) == []
    with pytest.raises(NotReady, match="disk is full"):
        backup.restore(made, Settings(data_dir=full_disk / "var"))
    assert [path.name for path in (full_disk / "var").iterdir() if path.name != "attachments"] == []


def test_the_commands_make_check_and_restore(
    desk: Desk, tmp_path: Path, elsewhere: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "c.zip")
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(desk.settings.data_dir))
    made = CliRunner().invoke(main, ["backup", "create", file, "--secret-key"])
    assert "files" in made.output
    assert "can sign in as anybody" in made.output
    again = CliRunner().invoke(main, ["backup", "create", file])
    assert (again.exit_code, "Choose another name" in again.output) == (1, True)
    assert "undamaged" in CliRunner().invoke(main, ["backup", "verify", file]).output
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(elsewhere.data_dir))
    restored = CliRunner().invoke(main, ["backup", "restore", file])
    assert restored.exit_code == 0, restored.output
    assert names(elsewhere) == ["Rosa", "Bert"]
    assert CliRunner().invoke(main, ["backup", "restore", file]).exit_code == 1


@pytest.fixture
def scheduled(desk: Desk) -> Desk:
    settings = desk.settings.model_copy(update={"backup_hours": 6, "backup_keep": 2})
    return replace(desk, settings=settings)


def make_if_due(desk: Desk, now: datetime) -> Path | None:
    return backup_schedule.make_if_due(desk.settings, desk.db, desk.storage, now=now)


def test_backups_are_made_when_they_are_due_and_the_newest_are_kept(scheduled: Desk) -> None:
    begun, folder = datetime(2026, 5, 1, tzinfo=UTC), scheduled.settings.data_dir / "backups"
    folder.mkdir()
    (folder / "assistant-by-hand.zip").touch()
    (folder / ".partial-of-a-killed-process").mkdir()
    made = [make_if_due(scheduled, begun + timedelta(hours=hour)) for hour in range(14)]
    assert [number for number, path in enumerate(made) if path is not None] == [0, 6, 12]
    kept = sorted(path.name for path in folder.glob("*.zip"))
    assert kept == ["assistant-20260501T060000Z.zip", "assistant-20260501T120000Z.zip", "assistant-by-hand.zip"]
    assert list(folder.glob(".partial*")) == []
    backup.verify(folder / kept[0])
    state = backup_schedule.state(scheduled.settings, now=begun + timedelta(hours=13))
    assert state == backup_schedule.State(begun + timedelta(hours=12), None)


def test_a_backup_that_fails_is_told_until_one_succeeds(scheduled: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, now = scheduled.settings, datetime.now(UTC)
    attachments = Path(settings.attachments_url)
    aside = attachments.rename(attachments.with_name("aside"))
    with pytest.raises(Unavailable):
        make_if_due(scheduled, now)
    state = backup_schedule.state(settings, now=now)
    assert state is not None
    assert "could not be read" in (state.problem or "")
    aside.rename(attachments)
    assert make_if_due(scheduled, now + timedelta(minutes=1)) is None, "not tried again at once"
    assert make_if_due(scheduled, now + timedelta(minutes=20)) is not None
    assert backup_schedule.state(settings, now=now + timedelta(minutes=20)).problem is None  # type: ignore[union-attr]
    late = backup_schedule.state(settings, now=now + timedelta(hours=13))
    assert "Is a worker running?" in ((late and late.problem) or "")


def test_a_worker_makes_one_and_readiness_and_doctor_know_it(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    runtime = make_runtime(backup_hours=1)
    ready = make_app(runtime).test_client()
    before = ready.get("/readyz").json
    assert before["status"] == "degraded"
    assert "no backup yet" in before["degraded_reason"]
    workers = Workers(runtime.desk, count=1)
    workers.start()
    ends_at = time.monotonic() + 60
    while not ready.get("/readyz").json["last_backup_at"] and time.monotonic() < ends_at:
        time.sleep(0.1)
    workers.stop()
    assert ready.get("/readyz").json["degraded_reason"] is None
    told = {one.name: one for one in doctor.run(runtime.settings)}["backups"]
    assert (told.status, told.detail[:9]) == ("ok", "newest of")
