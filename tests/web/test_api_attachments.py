"""Files that are uploaded first and named later: by tickets, messages, triage and batches."""

from __future__ import annotations

import io
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from assistant.db import Database
from assistant.desk import erasure, files, sweeping, uploads
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.models import Attachment, BatchFile, Customer, FileCondition, Message, Ticket, UploadedFile
from assistant.worker import run_until_idle
from tests.factories import bearer, make_articles, make_key, make_photo
from tests.fakes import ManualClock

ATTACHMENTS, TICKETS, TRIAGE = "/api/v1/attachments", "/api/v1/tickets", "/api/v1/triage"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
Key = dict[str, str]


def sent(client: FlaskClient, key: Key, *given: tuple[str, bytes], status: int = 201, **headers: str) -> Any:
    form = {"files": [(io.BytesIO(data), name) for name, data in given]}
    response = client.post(ATTACHMENTS, data=form, content_type="multipart/form-data", headers={**key, **headers})
    assert response.status_code == status, response.text
    return response.json


def upload(client: FlaskClient, key: Key, name: str = "display.jpg", data: bytes | None = None) -> str:
    return str(sent(client, key, (name, data or make_photo(name)))["attachments"][0]["id"])


def count(db: Database, kind: type[Any]) -> int:
    with db.read() as session:
        return session.execute(select(func.count()).select_from(kind)).scalar_one()


def test_what_was_uploaded_is_taken_by_a_ticket_and_a_message_once(
    client: FlaskClient, key: Key, desk: Desk, db: Database
) -> None:
    photos = [(f"{n}.png", make_photo(str(n), kind="PNG")) for n in range(3)]
    answer = sent(client, key, *photos, ("bad.gif", b"GIF89a"), ("drawing.svg", SVG), ("log.txt", b"12:00 E21"))
    assert [one["filename"] for one in answer["rejected_files"]] == ["bad.gif"]
    first, second, third, drawing, log = answer["attachments"]
    assert (first["kind"], log["kind"], log["size"]) == ("photo", "file", 9)
    assert drawing["risk"] is not None
    assert client.delete(f"{ATTACHMENTS}/{drawing['id']}", headers=key).status_code == 204
    assert first["expires_at"] > desk.now().isoformat()
    shown = client.get(f"{ATTACHMENTS}/{first['id']}", headers=key)
    assert (shown.status_code, len(shown.data)) == (200, first["size"])

    body = {"text": "See photos", "attachments": [first["id"], log["id"]]}
    opened = client.post(TICKETS, json=body, headers={**key, "Idempotency-Key": "open-1"})
    assert opened.status_code == 201
    attached = opened.json["messages"][0]["attachments"]
    assert [(one["id"], one["filename"]) for one in attached] == [(first["id"], "0.png"), (log["id"], "log.txt")]
    again = client.post(TICKETS, json=body, headers={**key, "Idempotency-Key": "open-1"})
    assert (again.status_code, again.data) == (201, opened.data)
    used = client.post(TICKETS, json=body, headers=key)
    assert (used.status_code, used.json["field"]) == (422, "attachments")
    assert client.delete(f"{ATTACHMENTS}/{first['id']}", headers=key).status_code == 404

    path = f"{TICKETS}/{opened.json['id']}/messages"
    form = {"text": "More", "attachments": [second["id"], third["id"]], "client_id": "m-1"}
    files = [(io.BytesIO(make_photo("new")), "new.jpg")]
    posted = client.post(path, data={**form, "photos": files}, headers=key)
    assert [one["filename"] for one in posted.json["message"]["attachments"]] == ["1.png", "2.png", "new.jpg"]
    repeated = client.post(path, json=form, headers=key)
    assert (repeated.status_code, repeated.json["message"]["id"]) == (200, posted.json["message"]["id"])
    other = client.post(path, json={**form, "attachments": [upload(client, key)]}, headers=key)
    assert other.status_code == 409
    assert count(db, UploadedFile) == 1
    run_until_idle(desk)
    evidence = client.get(f"{TICKETS}/{opened.json['id']}", headers=key).json["messages"][0]["attachments"]
    assert evidence[0]["evidence"]["status"] == "read"


def test_limits_count_what_was_uploaded_and_what_comes_with_it(client: FlaskClient, key: Key, desk: Desk) -> None:
    most = desk.settings.photos_per_message
    ids = [upload(client, key, f"{n}.jpg") for n in range(most + 1)]
    photo = (io.BytesIO(make_photo("x")), "x.jpg")
    opened = client.post(TICKETS, data={"text": "x", "attachments": ids[:-2], "photos": [photo]}, headers=key)
    assert (len(opened.json["messages"][0]["attachments"]), opened.json["rejected_files"]) == (most, [])
    left = [*ids[-2:], *(upload(client, key, f"again {n}.jpg") for n in range(most - 1))]
    photo = (io.BytesIO(make_photo("y")), "y.jpg")
    opened = client.post(TICKETS, data={"text": "x", "attachments": left, "photos": [photo]}, headers=key)
    assert len(opened.json["messages"][0]["attachments"]) == most
    assert [one["filename"] for one in opened.json["rejected_files"]] == [f"again {most - 2}.jpg", "y.jpg"]
    assert client.get(f"{ATTACHMENTS}/{left[-1]}", headers=key).status_code == 200  # it is free for another message
    object.__setattr__(desk.settings, "conversation_max_bytes", 1)
    path = f"{TICKETS}/{opened.json['id']}/messages"
    full = client.post(path, json={"text": "x", "attachments": left[-1:]}, headers=key).json
    assert (full["message"]["attachments"], full["rejected_files"][0]["status"]) == ([], 413)


def test_nobody_else_sees_or_uses_it(client: FlaskClient, key: Key, db: Database) -> None:
    mine, other = upload(client, key), bearer(make_key(db))
    for headers in (other, bearer(make_key(db, Scope.TRIAGE))):
        assert client.get(f"{ATTACHMENTS}/{mine}", headers=headers).status_code in (403, 404)
        assert client.delete(f"{ATTACHMENTS}/{mine}", headers=headers).status_code == 404
        assert client.post(TRIAGE, json={"text": "x", "attachments": [mine]}, headers=headers).status_code == 422
    unknown = client.post(TICKETS, json={"text": "x", "attachments": ["att_" + "a" * 20]}, headers=key).json
    assert client.post(TICKETS, json={"text": "x", "attachments": [mine]}, headers=other).json["detail"] == unknown[
        "detail"
    ].replace("att_" + "a" * 20, mine)
    assert client.post(TICKETS, json={"text": "x", "attachments": [mine, mine]}, headers=key).status_code == 422
    batch = {"tickets": [{"text": "x"}, {"text": "y", "attachments": [mine]}]}
    assert client.post(f"{TRIAGE}/batch", json=batch, headers=other).status_code == 422
    assert count(db, Ticket) == 0
    assert client.delete(f"{ATTACHMENTS}/{mine}", headers=key).status_code == 204
    assert client.get(f"{ATTACHMENTS}/{mine}", headers=key).status_code == 404
    lacking = bearer(make_key(db, Scope.TICKETS_READ))
    assert "tickets:write or triage" in sent(client, lacking, ("a.jpg", b"x"), status=403)["detail"]


def test_triage_reads_it_alone_and_in_a_batch_as_if_it_had_come_with_it(
    client: FlaskClient, desk: Desk, db: Database, tmp_path: Path
) -> None:
    make_articles(desk, tmp_path / "articles")
    key = bearer(make_key(db, Scope.TRIAGE))
    photo = make_photo("E21", kind="JPEG", quality=70)
    uploaded, log = upload(client, key, "display.jpg", photo), upload(client, key, "log.txt", b"12:00 E21")
    text = "What does my machine show?"
    alone = client.post(TRIAGE, data={"text": text, "photos": (io.BytesIO(photo), "display.jpg")}, headers=key).json
    named = client.post(TRIAGE, json={"text": text, "attachments": [uploaded, log]}, headers=key).json
    tickets = [{"text": text, "attachments": [uploaded, log]}, {"attachments": [uploaded]}, {"text": " "}]
    batch = client.post(f"{TRIAGE}/batch", json={"tickets": tickets}, headers=key).json
    assert client.delete(f"{ATTACHMENTS}/{uploaded}", headers=key).status_code == 204
    sweeping.sweep(desk, now=desk.now() + timedelta(hours=25))  # the batch still needs the file
    assert count(db, UploadedFile) == 0
    run_until_idle(desk)
    results = client.get(f"{TRIAGE}/batches/{batch['id']}/results", headers=key).json["results"]
    for one in (alone, named, results[0]["result"]):
        (one["draft"] or {}).pop("created_at", None)
        for when in ("created_at", "seconds"):
            del one["triage"][when]
        del one["timing"]
        assert [evidence["filename"] for evidence in one["evidence"]] == ["display.jpg"]
    assert [one["filename"] for one in named["rejected_files"]] == ["log.txt"]
    assert named | {"rejected_files": []} == alone
    assert results[0]["result"] == named
    assert results[1]["result"]["evidence"] == named["evidence"]
    assert results[2]["error"]["status"] == 422
    assert count(db, BatchFile) == 0


def test_what_is_not_used_goes_with_its_file_and_what_is_used_with_its_customer(
    client: FlaskClient, key: Key, desk: Desk, db: Database, tmp_path: Path
) -> None:
    kept, taken = upload(client, key, "kept.jpg"), upload(client, key, "taken.jpg")
    with db.read() as session:
        digests = {one.public_id: one.sha256 for one in session.scalars(select(UploadedFile))}
    client.post(TICKETS, json={"text": "x", "attachments": [taken]}, headers=key)
    assert set(digests.values()) <= files_named(db)
    later = desk.now() + uploads.KEEP
    clock = ManualClock(later)
    object.__setattr__(desk, "now", clock)
    assert client.get(f"{ATTACHMENTS}/{kept}", headers=key).status_code == 404
    assert client.post(TICKETS, json={"text": "x", "attachments": [kept]}, headers=key).status_code == 422
    sweeping.sweep(desk, now=later + timedelta(minutes=5))
    assert not desk.storage.exists(digests[kept])
    assert desk.storage.exists(digests[taken])
    with db.read() as session:
        customer = session.scalars(select(Customer.public_id)).one()
    erasure.erase(db, desk.storage, tmp_path, [customer])
    assert digests[taken] not in files_named(db)


def files_named(db: Database) -> set[str]:
    with db.read() as session:
        return files.named(session)


def test_hostile_files_and_forms_are_refused(client: FlaskClient, key: Key, desk: Desk, db: Database) -> None:
    many = [(f"{n}.jpg", make_photo(str(n))) for n in range(9)]
    answer = sent(client, key, *many, ("bomb.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 50))
    refused = [one["filename"] for one in answer["rejected_files"]]
    assert len(answer["attachments"]) == min(9, desk.settings.photos_per_message)
    assert "bomb.png" in refused or len(refused) == 10 - desk.settings.photos_per_message
    kept = count(db, UploadedFile)
    object.__setattr__(desk.settings, "risky_files", "refuse")
    assert sent(client, key, ("x.svg", SVG), status=415)["code"]
    assert client.post(ATTACHMENTS, json={"files": []}, headers=key).status_code == 415
    for form in ({}, {"text": "x", "files": (io.BytesIO(make_photo("x")), "x.jpg")}):
        response = client.post(ATTACHMENTS, data=form, content_type="multipart/form-data", headers=key)
        assert response.status_code == 422
    half = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + make_photo("x")[:900]
    response = client.post(ATTACHMENTS, data=half, content_type="multipart/form-data; boundary=x", headers=key)
    assert response.status_code == 400
    assert count(db, UploadedFile) == kept


def test_an_upload_is_repeated_byte_for_byte_and_nothing_is_stored_while_storage_is_away(
    client: FlaskClient, key: Key, desk: Desk, db: Database
) -> None:
    once = {"Idempotency-Key": "upload-1"}
    folder = Path(desk.settings.attachments_url)
    aside = folder.rename(folder.with_name("aside"))
    folder.write_text("no folder")
    assert sent(client, key, ("a.jpg", make_photo("a")), status=503, **once)["code"] == "unavailable"
    assert count(db, UploadedFile) == 0
    folder.unlink()
    aside.rename(folder)
    first = sent(client, key, ("a.jpg", make_photo("a")), **once)
    assert sent(client, key, ("a.jpg", make_photo("a")), **once) == first
    sent(client, key, ("a.jpg", make_photo("b")), status=422, **once)
    assert count(db, UploadedFile) == 1
    uploaded = first["attachments"][0]["id"]
    folder.rename(folder.with_name("aside"))
    folder.write_text("no folder")
    assert client.post(TRIAGE, json={"attachments": [uploaded]}, headers=key).status_code == 503
    opened = client.post(TICKETS, json={"text": "x", "attachments": [uploaded]}, headers=key)
    assert opened.status_code == 201  # its file is stored, nothing else is needed
    folder.unlink()
    folder.with_name("aside").rename(folder)


@pytest.mark.parametrize("path", ["", "/messages"])
def test_of_many_at_once_one_takes_it(app: APIFlask, client: FlaskClient, key: Key, db: Database, path: str) -> None:
    ticket = client.post(TICKETS, json={"text": "x"}, headers=key).json["id"]
    where = f"{TICKETS}/{ticket}{path}" if path else TICKETS
    before = count(db, Message)
    for once in ({"Idempotency-Key": "same"}, {}):
        body = {"text": "photo", "attachments": [upload(client, key)]}
        seen = at_once(app, where, body, {**key, **once})
        expected = [201] * 6 if once else [201] + [422] * 5
        assert sorted(status for status, _ in seen) == expected
        assert len({data for status, data in seen if status == 201}) == 1
    assert count(db, Message) == before + 2
    assert count(db, Attachment) == 2


def at_once(app: APIFlask, where: str, body: dict[str, Any], headers: Key) -> list[tuple[int, bytes]]:
    seen: list[tuple[int, bytes]] = []
    meeting = threading.Barrier(6)

    def post() -> None:
        meeting.wait()
        response = app.test_client().post(where, json=body, headers=headers)
        seen.append((response.status_code, response.data))

    threads = [threading.Thread(target=post) for _ in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return seen


def test_what_the_scanner_has_not_seen_is_scanned_once_it_is_attached(
    client: FlaskClient, key: Key, desk: Desk
) -> None:
    log = upload(client, key, "log.txt", b"12:00 E21")
    with desk.db.begin() as session:
        session.scalars(select(UploadedFile)).one().condition = FileCondition.UNSCANNED
    opened = client.post(TICKETS, json={"text": "x", "attachments": [log]}, headers=key).json
    assert opened["messages"][0]["attachments"][0]["condition"] == "unscanned"
    run_until_idle(desk)
    with desk.db.read() as session:
        assert session.scalars(select(Attachment)).one().condition is FileCondition.READY
