"""Attachment bytes: kept once, read back whole, refused in words."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assistant.errors import Gone, NotFound, NotReady, Unavailable
from assistant.storage import REWRITE_AFTER, Storage
from tests.buckets import Bucket

DATA = b"a photo's bytes" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "attachments"


@pytest.fixture(params=["folder", "file url", "object store"])
def storage(request: pytest.FixtureRequest, folder: Path) -> Storage:
    """The same behaviour on a folder and on what obstore offers beside it."""
    return Storage.open(
        {"folder": str(folder), "file url": folder.as_uri(), "object store": "memory:///"}[request.param]
    )


def test_what_was_put_is_read_back_by_its_sha256(storage: Storage) -> None:
    noise = storage.put(b"something else")
    assert storage.put(DATA) == SHA256
    assert storage.get(SHA256) == DATA
    assert storage.exists(SHA256)
    assert storage.get(noise) == b"something else"


def test_empty_bytes_can_be_kept(storage: Storage) -> None:
    assert storage.get(storage.put(b"")) == b""


def test_what_was_never_put_is_not_found(storage: Storage) -> None:
    storage.put(b"something else")
    assert not storage.exists(SHA256)
    with pytest.raises(NotFound):
        storage.get(SHA256)


def test_deleting_twice_is_a_no_op(storage: Storage) -> None:
    storage.put(DATA)
    storage.delete(SHA256)
    storage.delete(SHA256)
    assert not storage.exists(SHA256)


def test_check_passes_and_leaves_nothing_behind(folder: Path) -> None:
    Storage.open(str(folder)).check()
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "AB" * 32, "0" * 63, "0" * 64 + "\n"])
def test_a_name_that_is_no_sha256_reaches_no_file(folder: Path, name: str) -> None:
    storage = Storage.open(str(folder))
    (folder.parent / "etc").mkdir()
    (folder.parent / "etc" / "passwd").write_text("secret")
    for use in (storage.get, storage.exists, storage.delete):
        with pytest.raises(NotFound):
            use(name)


def test_no_folder_holds_all_files(folder: Path) -> None:
    Storage.open(str(folder)).put(DATA)
    assert (folder / SHA256[:2] / SHA256[2:]).read_bytes() == DATA


def test_the_folder_is_made_also_below_folders_that_do_not_exist_and_with_spaces(tmp_path: Path) -> None:
    deep = tmp_path / "my data" / "attachments"
    for url in (str(deep), deep.as_uri()):
        Storage.open(url).put(DATA)
    assert [path.parent.parent for path in tmp_path.rglob("*") if path.is_file()] == [deep]


def test_putting_twice_writes_once(folder: Path) -> None:
    storage = Storage.open(str(folder))
    storage.put(DATA)
    path = folder / SHA256[:2] / SHA256[2:]
    written = path.stat().st_mtime_ns
    storage.put(DATA)
    assert path.stat().st_mtime_ns == written


def test_a_file_that_a_power_cut_left_empty_is_written_again(folder: Path) -> None:
    storage = Storage.open(str(folder))
    storage.put(DATA)
    (folder / SHA256[:2] / SHA256[2:]).write_bytes(b"")
    storage.put(DATA)
    assert storage.get(SHA256) == DATA


def test_a_damaged_file_is_not_handed_out(folder: Path) -> None:
    storage = Storage.open(str(folder))
    storage.put(DATA)
    (folder / SHA256[:2] / SHA256[2:]).write_bytes(b"X" + DATA[1:])
    with pytest.raises(Gone, match="damaged"):
        storage.get(SHA256)


def test_a_file_that_was_damaged_is_mended_by_whoever_sends_it_again(folder: Path) -> None:
    storage = Storage.open(str(folder))
    storage.put(DATA)
    path = folder / SHA256[:2] / SHA256[2:]
    path.write_bytes(b"X" + DATA[1:])
    long_ago = time.time() - 2 * REWRITE_AFTER.total_seconds()
    os.utime(path, (long_ago, long_ago))
    storage.put(DATA)
    assert storage.get(SHA256) == DATA


def test_every_file_is_listed_and_an_old_one_that_is_put_again_is_young(storage: Storage) -> None:
    storage.put(DATA)
    storage.put(b"other")
    listed = {file.sha256: file for file in storage.list()}
    assert listed.keys() == {SHA256, hashlib.sha256(b"other").hexdigest()}
    assert listed[SHA256].size == len(DATA)
    assert not storage.delete_if_older(listed[SHA256], datetime.now(UTC) - timedelta(hours=1))
    assert storage.exists(SHA256)
    assert storage.delete_if_older(listed[SHA256], datetime.now(UTC) + timedelta(hours=1))
    assert not storage.exists(SHA256)


def test_a_folder_that_is_not_mounted_is_no_reason_to_call_files_missing_or_to_write_elsewhere(folder: Path) -> None:
    storage = Storage.open(str(folder))
    storage.put(DATA)
    folder.rename(folder.with_name("unmounted"))
    with pytest.raises(NotReady, match="folder does not exist"):
        storage.get(SHA256)
    with pytest.raises(NotReady):
        storage.put(b"other")
    assert not folder.exists()


def test_only_we_may_read_what_customers_sent(folder: Path) -> None:
    Storage.open(str(folder)).put(DATA)
    assert (folder / SHA256[:2] / SHA256[2:]).stat().st_mode & 0o077 == 0


def test_a_file_and_its_name_are_on_the_disk_before_it_is_acknowledged(tmp_path: Path) -> None:
    """As the kernel sees it: the file is synced before it gets its name, and the folder after."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    script = f"from assistant.storage import Storage; Storage.open({str(tmp_path / 'a')!r}).put(b'x' * 9)"
    trace = tmp_path / "trace"
    command = [strace, "-f", "-y", "-e", "trace=fsync,rename", "-o", str(trace), sys.executable, "-c", script]
    subprocess.run(command, check=True, timeout=120, cwd=Path(__file__).parents[1])
    calls = [
        line.split(" ", 1)[1].strip() for line in trace.read_text().splitlines() if "fsync" in line or "ren" in line
    ]
    named = [call.split("(")[0] + (" file" if "partial-" in call else " folder") for call in calls]
    assert named == ["fsync folder", "fsync file", "rename file", "fsync folder"]


def test_many_threads_putting_the_same_bytes_leave_one_whole_file(folder: Path) -> None:
    storage = Storage.open(str(folder))
    threads = [threading.Thread(target=storage.put, args=(DATA,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [path for path in folder.rglob("*") if path.is_file()] == [folder / SHA256[:2] / SHA256[2:]]
    assert storage.get(SHA256) == DATA


def test_a_storage_that_went_away_is_said_in_words_without_its_path(folder: Path) -> None:
    storage = Storage.open(str(folder))
    shutil.rmtree(folder)
    folder.write_text("a file where the folder was")
    for use in (lambda: storage.put(DATA), storage.check):
        with pytest.raises(NotReady, match="try again later") as caught:
            use()
        assert str(folder) not in caught.value.message


@pytest.mark.parametrize("url", ["gopher://nowhere", "{file}/below"])
def test_an_address_that_cannot_be_opened_names_its_setting(tmp_path: Path, url: str) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    with pytest.raises(NotReady, match="ASSISTANT_STORAGE_URL") as caught:
        Storage.open(url.format(file=file))
    assert str(tmp_path) not in caught.value.message


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """Over plain http, found through the environment."""
    bucket = Bucket()
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    yield bucket
    bucket.stop()


def test_a_bucket_over_plain_http_keeps_files(bucket: Bucket) -> None:
    storage = Storage.open("s3://photos/prefix")
    assert storage.get(storage.put(DATA)) == DATA
    storage.check()
    storage.probe()
    storage.delete(SHA256)
    assert not storage.exists(SHA256)


def test_a_bucket_that_stops_is_away_and_serves_again_when_it_is_back(bucket: Bucket) -> None:
    storage = Storage.open("s3://photos")
    storage.put(DATA)
    bucket.stop()
    for use in (lambda: storage.put(b"more"), lambda: storage.get(SHA256), storage.probe, storage.check):
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            use()
        assert caught.value.cause == "storage_away"
        assert "127.0.0.1" not in caught.value.message
    bucket.start()
    assert storage.get(SHA256) == DATA


@pytest.mark.parametrize(
    ("status", "code", "cause", "said"),
    [
        (403, "AccessDenied", "storage_refuses", "credentials"),
        (403, "SignatureDoesNotMatch", "storage_refuses", "credentials"),
        (403, "InvalidAccessKeyId", "storage_refuses", "credentials"),
        (401, "Unauthorized", "storage_refuses", "credentials"),
        (500, "InternalError", "storage_away", "an error of its own"),
        (503, "SlowDown", "storage_away", "an error of its own"),
        (507, "XMinioStorageFull", "storage_away", "an error of its own"),
    ],
)
def test_why_a_bucket_refuses_is_said(bucket: Bucket, status: int, code: str, cause: str, said: str) -> None:
    bucket.refuses = (status, code)
    storage = Storage.open("s3://photos")
    for use in (storage.check, storage.probe):
        with pytest.raises(Unavailable, match=said) as caught:
            use()
        assert caught.value.cause == cause


def test_a_bucket_that_does_not_exist_is_said(bucket: Bucket) -> None:
    with pytest.raises(Unavailable, match="no such bucket"):
        Storage.open("s3://other").check()
