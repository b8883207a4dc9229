"""Tickets through the API: opening, listing, changing, adding to, and the bytes of their attachments."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import event, func, select, update

from assistant.db import Database, utcnow
from assistant.desk import idempotency, state
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.models import Attachment, Customer, Evidence, IdempotencyKey, Job, JobStatus, Message, Priority, Ticket
from assistant.runtime import Runtime
from assistant.worker import run_once, run_until_idle
from tests.factories import (
    Persona,
    bearer,
    make_articles,
    make_inbox,
    make_key,
    make_noise,
    make_photo,
    make_ticket,
    make_upload,
)

TICKETS = "/api/v1/tickets"
Key = dict[str, str]


def count(db: Database, kind: type[Any]) -> int:
    with db.read() as session:
        return session.execute(select(func.count()).select_from(kind)).scalar_one()


def form(text: str, *photos: tuple[str, bytes], **fields: str) -> dict[str, Any]:
    files = [(io.BytesIO(data), name) for name, data in photos]
    return {"data": {"text": text, "photos": files, **fields}, "content_type": "multipart/form-data"}


# Opening


def test_json_opens_a_ticket_and_queues_its_work(client: FlaskClient, key: Key, db: Database) -> None:
    body = {
        "subject": "Coffee machine",
        "text": "It shows E21.",
        "requester": {"name": "Rosa", "email": "Rosa@Example.org", "external_id": "C-1"},
    }
    response = client.post(TICKETS, json=body, headers=key)

    assert response.status_code == 201
    assert response.json["subject"] == "Coffee machine"
    assert response.json["number"] == 1001
    assert response.json["status"] == "new"
    assert response.json["conversation_state"] == "handed_off"
    assert [message["text"] for message in response.json["messages"]] == ["It shows E21."]
    assert response.json["triage"] is None
    assert response.json["rejected_files"] == []
    with db.read() as session:
        customer = session.scalars(select(Customer)).one()
        assert (customer.name, customer.email, customer.external_id) == ("Rosa", "rosa@example.org", "C-1")
        assert session.scalars(select(Job)).one().status is JobStatus.QUEUED


def test_a_ticket_comes_to_the_inbox_that_it_names(client: FlaskClient, key: Key, db: Database) -> None:
    make_inbox(db, "acme")
    named = client.post(TICKETS, headers={**key, "Idempotency-Key": "1"}, json={"text": "Hello", "inbox": "acme"})
    assert named.json["inbox"] == "acme"
    assert client.post(TICKETS, headers=key, **form("Hello", inbox="acme")).json["inbox"] == "acme"
    assert client.post(TICKETS, headers=key, json={"text": "Hello"}).json["inbox"] == "default"
    other = client.post(TICKETS, headers={**key, "Idempotency-Key": "1"}, json={"text": "Hello"})
    assert other.status_code == 422, "another inbox is another request"
    wrong = client.post(TICKETS, headers=key, json={"text": "Hello", "inbox": "acne"})
    assert (wrong.status_code, wrong.json["field"]) == (422, "inbox")
    for inbox, found in (("acme", 2), ("default", 1), ("acne", 0)):
        listed = client.get(TICKETS, headers=key, query_string={"inbox": inbox}).json["tickets"]
        assert [ticket["inbox"] for ticket in listed] == [inbox] * found


def test_a_ticket_brings_its_senders_id_tags_context_and_language(
    client: FlaskClient, key: Key, desk: Desk, db: Database, sign_in: Callable[[Persona], FlaskClient], dora: Persona
) -> None:
    context = {"order": "A-17", "items": 3, "member": True, "page": "/cart", "nothing": " "}
    body = {
        "text": "ok",
        "external_id": "shop/17",
        "tags": ["Returns", "returns"],
        "context": context,
        "language": "de",
    }
    opened = client.post(TICKETS, json=body, headers={**key, "Idempotency-Key": "1"})
    ticket = opened.json
    assert (opened.status_code, ticket["external_id"], ticket["tags"]) == (201, "shop/17", ["Returns"])
    assert ticket["context"] == {"order": "A-17", "items": "3", "member": "yes", "page": "/cart"}
    again = client.post(TICKETS, json={"text": "other", "external_id": "shop/17"}, headers=key)
    assert (again.status_code, again.json["id"]) == (409, ticket["id"])
    replayed = client.post(TICKETS, json=body, headers={**key, "Idempotency-Key": "1"})
    assert (replayed.status_code, replayed.data) == (201, opened.data)
    other = bearer(make_key(db))
    form_fields = {"external_id": "shop/17", "context.order": "A-18", "language": "de-AT"}
    second = client.post(TICKETS, headers=other, **form("x", **form_fields))
    assert (second.status_code, second.json["context"]) == (201, {"order": "A-18"})
    assert count(db, Ticket) == 2
    short = client.post(TICKETS, json={"text": "4711", "language": "pt-BR"}, headers=key).json

    run_until_idle(desk)
    assert client.get(f"{TICKETS}/{short['id']}", headers=key).json["language"] == "pt"
    listed = client.get(TICKETS, headers=key, query_string={"external_id": "shop/17"}).json["tickets"]
    assert [one["id"] for one in listed] == [second.json["id"], ticket["id"]]
    events = client.get("/api/v1/events", headers=key, query_string={"cursor": "evt_0"}).json["events"]
    assert {one["ticket"]["external_id"] for one in events} == {"shop/17", None}
    writing = bearer(make_key(db, Scope.TICKETS_WRITE))
    changed = client.patch(f"{TICKETS}/{ticket['id']}", json={"tags": []}, headers=writing).json
    assert (changed["external_id"], changed["context"]) == ("shop/17", {})
    page = sign_in(dora).get(f"/console/tickets/{ticket['id']}").text
    assert all(told in page for told in ("shop/17", "Sent with it", "A-17"))


def test_an_id_that_a_sender_uses_twice_at_once_opens_one_ticket(app: APIFlask, key: Key, db: Database) -> None:
    meeting, seen = threading.Barrier(5), []

    def post() -> None:
        meeting.wait()
        response = app.test_client().post(TICKETS, json={"text": "x", "external_id": "17"}, headers=key)
        seen.append((response.status_code, response.json["id"]))

    threads = [threading.Thread(target=post) for _ in range(5)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(status for status, _ in seen) == [201, 409, 409, 409, 409]
    assert len({ticket for _, ticket in seen}) == 1
    assert count(db, Ticket) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"external_id": ""}, {"external_id": "x" * 301}, {"tags": ["a,b"]}, {"tags": ["x" * 41]}, {"tags": [""]},
        {"tags": [str(n) for n in range(31)]}, {"language": "German please"}, {"language": "d"},
        {"context": {"bad name": "x"}}, {"context": {"x": "y" * 201}}, {"context": {"x": None}},
        {"context": {"x": ["y"]}}, {"context": {f"n{n}": "x" for n in range(21)}}, {"context": {"x": "\0"}},
    ],
)  # fmt: skip
def test_what_a_ticket_cannot_bring_is_refused(client: FlaskClient, key: Key, db: Database, wrong: Any) -> None:
    refused = client.post(TICKETS, json={"text": "x", **wrong}, headers=key)
    assert refused.status_code == 422
    assert refused.json["field"].split(".")[0].rstrip("s") in str(wrong)
    assert count(db, Ticket) == 0


def test_form_with_photos_opens_the_same_ticket_as_json(client: FlaskClient, key: Key, db: Database) -> None:
    response = client.post(
        TICKETS,
        **form("See photo", ("a.jpg", make_photo("E21")), subject="Help", requester_email="rosa@example.org"),
        headers=key,
    )

    assert response.status_code == 201
    (attachment,) = response.json["messages"][0]["attachments"]
    assert (attachment["kind"], attachment["filename"], attachment["width"]) == ("photo", "a.jpg", 640)
    assert response.json["subject"] == "Help"
    with db.read() as session:
        assert session.scalars(select(Customer)).one().email == "rosa@example.org"


def test_one_customer_is_one_row_however_many_tickets(client: FlaskClient, key: Key, db: Database) -> None:
    for text in ("first", "second"):
        body = {"text": text, "requester": {"email": "rosa@example.org" if text == "first" else "ROSA@example.org"}}
        assert client.post(TICKETS, json=body, headers=key).status_code == 201
    assert count(db, Customer) == 1
    assert count(db, Ticket) == 2


def test_refused_files_are_reported_and_the_rest_goes_in(client: FlaskClient, key: Key) -> None:
    cut = make_photo("cut", size=(900, 700))[:2000]
    photos = [("good.jpg", make_photo("1")), ("cut.jpg", cut), ("empty.png", b""), ("notes.txt", b"hello")]
    response = client.post(TICKETS, **form("several", *photos), headers=key)

    assert response.status_code == 201
    kinds = {a["filename"]: a["kind"] for a in response.json["messages"][0]["attachments"]}
    assert kinds == {"good.jpg": "photo", "notes.txt": "file"}
    refused = {file["filename"]: file for file in response.json["rejected_files"]}
    assert set(refused) == {"cut.jpg", "empty.png"}
    for name, file in refused.items():
        assert file["status"] == 422
        assert file["code"] == "invalid"
        assert name in file["detail"]


def test_files_under_any_field_name_are_taken(client: FlaskClient, key: Key) -> None:
    data = {"text": "x", "image": (io.BytesIO(make_photo("a")), "a.jpg"), "file2": (io.BytesIO(b"log"), "b.log")}
    response = client.post(TICKETS, data=data, headers=key)
    assert [a["filename"] for a in response.json["messages"][0]["attachments"]] == ["a.jpg", "b.log"]


def test_more_photos_than_allowed_are_refused_one_by_one(client: FlaskClient, key: Key, desk: Desk) -> None:
    most = desk.settings.photos_per_message
    photos = [(f"{n}.jpg", make_photo(str(n), size=(80, 60))) for n in range(most + 2)]
    response = client.post(TICKETS, **form("many", *photos), headers=key)
    assert response.status_code == 201
    assert len(response.json["messages"][0]["attachments"]) == most
    assert [file["status"] for file in response.json["rejected_files"]] == [413, 413]


@pytest.mark.parametrize("name", ["../../etc/passwd.jpg", "a\x00b.jpg", 'x"\r\nSet-Cookie: a=b', "\u202egpj.exe.jpg"])
def test_hostile_file_names_are_made_harmless(client: FlaskClient, key: Key, db: Database, name: str) -> None:
    response = client.post(TICKETS, **form("x", (name, make_photo("a"))), headers=key)
    assert response.status_code == 201
    (attachment,) = response.json["messages"][0]["attachments"]
    assert attachment["filename"].isprintable()
    assert "/" not in attachment["filename"]
    shown = client.get(f"/api/v1/attachments/{attachment['id']}", headers=key)
    assert shown.status_code == 200
    assert "Set-Cookie" not in shown.headers


@pytest.mark.parametrize("body", [{}, {"text": "  \n "}, {"subject": " "}])
def test_a_ticket_of_nothing_is_refused(client: FlaskClient, key: Key, db: Database, body: dict[str, str]) -> None:
    response = client.post(TICKETS, json=body, headers=key)
    assert response.status_code == 422
    assert response.json["field"] == "text"
    assert count(db, Ticket) == 0


def test_if_all_it_had_was_a_refused_photo_the_refusal_is_the_answer(client: FlaskClient, key: Key) -> None:
    response = client.post(TICKETS, **form("", ("drawing.tif", b"II*\0" + bytes(100))), headers=key)
    assert response.status_code == 415
    assert "TIFF" in response.json["detail"]


def test_text_longer_than_the_limit_is_refused(client: FlaskClient, key: Key, desk: Desk) -> None:
    exactly = "x" * desk.settings.message_max_chars
    assert client.post(TICKETS, json={"text": exactly}, headers=key).status_code == 201
    assert client.post(TICKETS, json={"text": exactly + "x"}, headers=key).status_code == 422


# Idempotency


def test_the_same_request_opens_one_ticket(client: FlaskClient, key: Key, db: Database) -> None:
    headers = {**key, "Idempotency-Key": "order-17"}
    request = ("text", ("a.jpg", make_photo("a")), ("broken.jpg", b"\xff\xd8\xff broken"))
    first = client.post(TICKETS, **form(*request), headers=headers)
    again = client.post(TICKETS, **form(*request), headers=headers)

    assert (first.status_code, again.status_code, again.data) == (201, 201, first.data)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json == first.json  # the refused file too: whoever missed the first answer must learn of it
    assert [file["filename"] for file in again.json["rejected_files"]] == ["broken.jpg"]
    assert (count(db, Ticket), count(db, Message), count(db, Job)) == (1, 1, 1)


def test_a_key_used_for_another_request_is_a_conflict(client: FlaskClient, key: Key, db: Database) -> None:
    headers = {**key, "Idempotency-Key": "order-17"}
    assert client.post(TICKETS, json={"text": "one"}, headers=headers).status_code == 201
    response = client.post(TICKETS, json={"text": "two"}, headers=headers)
    assert (response.status_code, response.json["field"]) == (422, "Idempotency-Key")
    assert count(db, Ticket) == 1


def test_a_refused_request_does_not_use_its_key_up(client: FlaskClient, key: Key, db: Database) -> None:
    headers = {**key, "Idempotency-Key": "order-17"}
    assert client.post(TICKETS, json={"text": ""}, headers=headers).status_code == 422
    assert count(db, IdempotencyKey) == 0
    assert client.post(TICKETS, json={"text": "now with text"}, headers=headers).status_code == 201


@pytest.mark.parametrize("value", ["", "x" * 201, "tab\there", "ü", "\x01"])
def test_an_unusable_idempotency_key_is_refused(client: FlaskClient, key: Key, value: str) -> None:
    response = client.post(TICKETS, json={"text": "x"}, headers={**key, "Idempotency-Key": value})
    assert response.status_code == 422
    assert response.json["field"] == "Idempotency-Key"


def test_the_same_request_from_many_threads_at_once_opens_one_ticket(app: APIFlask, key: Key, db: Database) -> None:
    headers, start, answers = {**key, "Idempotency-Key": "at-once"}, threading.Barrier(6), []

    def send() -> None:
        client = app.test_client()
        start.wait()
        answers.append(client.post(TICKETS, **form("x", ("a.jpg", make_photo("a"))), headers=headers))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.data for answer in answers}) == 1
    assert (count(db, Ticket), count(db, Message), count(db, Job)) == (1, 1, 1)


def test_whatever_is_written_can_be_sent_again(client: FlaskClient, key: Key, desk: Desk, db: Database) -> None:
    ticket = make_ticket(desk)
    url = f"{TICKETS}/{ticket.public_id}"
    headers = {**key, "Idempotency-Key": "change-1"}
    first = client.patch(url, json={"tags": ["first"]}, headers=headers)
    client.patch(url, json={"tags": ["second"]}, headers=key)
    again = client.patch(url, json={"tags": ["first"]}, headers=headers)
    assert (again.status_code, again.data, again.headers["Idempotent-Replayed"]) == (200, first.data, "true")
    assert client.get(url, headers=key).json["tags"] == ["second"]
    assert client.patch(url, json={"tags": ["third"]}, headers=headers).status_code == 422

    said = {**key, "Idempotency-Key": "message-1"}
    first = client.post(f"{url}/messages", json={"text": "Once"}, headers=said)
    again = client.post(f"{url}/messages", json={"text": "Once"}, headers=said)
    assert (first.status_code, again.status_code, again.data) == (201, 201, first.data)
    db_answers_lost(db)
    made_anew = client.post(f"{url}/messages", json={"text": "Once"}, headers=said)
    assert made_anew.json["message"]["id"] == first.json["message"]["id"]
    assert count(db, Message) == 2


def db_answers_lost(db: Database) -> None:
    """As if the process had died before it knew how to answer."""
    with db.begin() as session:
        session.execute(update(IdempotencyKey).values(status=None, headers=None, body=None))


def test_notes_are_for_agents_and_made_once_also_by_many_at_once(app: APIFlask, key: Key, desk: Desk) -> None:
    url = f"{TICKETS}/{make_ticket(desk).public_id}"
    headers, start, answers = {**key, "Idempotency-Key": "note-1"}, threading.Barrier(4), []

    def send() -> None:
        client = app.test_client()
        start.wait()
        answers.append(client.post(f"{url}/notes", json={"text": "Paid by card"}, headers=headers))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(answer.status_code, answer.data) for answer in answers} == {(201, answers[0].data)}
    messages = app.test_client().get(url, headers=key).json["messages"]
    assert [one["visibility"] for one in messages if one["text"] == "Paid by card"] == ["internal"]


def test_an_answer_that_was_lost_is_made_anew(client: FlaskClient, key: Key, db: Database) -> None:
    headers = {**key, "Idempotency-Key": "order-17"}
    first = client.post(TICKETS, json={"text": "Hello"}, headers=headers)
    db_answers_lost(db)
    again = client.post(TICKETS, json={"text": "Hello"}, headers=headers)
    assert (again.status_code, again.json["id"]) == (201, first.json["id"])
    assert count(db, Ticket) == 1


def test_after_a_day_a_key_tells_what_was_made(client: FlaskClient, key: Key, db: Database) -> None:
    headers = {**key, "Idempotency-Key": "order-17"}
    first = client.post(TICKETS, json={"text": "Hello"}, headers=headers)
    with db.begin() as session:
        session.execute(update(IdempotencyKey).values(created_at=utcnow() - timedelta(hours=25)))
    late = client.post(TICKETS, json={"text": "Hello"}, headers=headers)
    assert (late.status_code, late.json["id"]) == (409, first.json["id"])
    idempotency.sweep(db, now=utcnow())
    with db.read() as session:
        assert session.scalars(select(IdempotencyKey.body)).all() == [None]
    assert client.post(TICKETS, json={"text": "Hello"}, headers=headers).json["id"] == first.json["id"]
    assert count(db, Ticket) == 1


# Reading


def test_a_ticket_tells_how_much_is_done_before_it(client: FlaskClient, key: Key, desk: Desk) -> None:
    def before(ticket: Ticket) -> int | None:
        told: int | None = client.get(f"{TICKETS}/{ticket.public_id}", headers=key).json["jobs_ahead"]
        return told

    tickets = [make_ticket(desk, text) for text in ("one", "two", "three")]
    assert [before(ticket) for ticket in tickets] == [0, 1, 2]
    run_once(desk)
    assert [before(ticket) for ticket in tickets] == [None, 0, 1]
    run_until_idle(desk)
    assert [before(ticket) for ticket in tickets] == [None, None, None]


def test_a_worked_ticket_shows_evidence_triage_and_a_cited_draft(
    client: FlaskClient, key: Key, desk: Desk, tmp_path: Any
) -> None:
    make_articles(desk, tmp_path / "articles")
    ticket = make_ticket(desk, "My BrewMaster 300 shows E21, what does it mean?", uploads=[make_upload("a.jpg")])
    run_until_idle(desk)

    shown = client.get(f"{TICKETS}/{ticket.public_id}", headers=key).json

    (attachment,) = shown["messages"][0]["attachments"]
    assert attachment["evidence"]["quality"]["confidence"] > 0
    assert attachment["evidence"]["status"] == "read"
    assert {"category", "priority", "product", "team", "needs_human"} <= {f["name"] for f in shown["triage"]["fields"]}
    for field in shown["triage"]["fields"]:
        assert 0 <= field["probability"] <= 1
        assert field["alternatives"][0] == {"value": field["value"], "probability": field["probability"]}
    (draft,) = shown["drafts"]
    assert draft["status"] == "proposed"
    assert any(citation["article_title"] == "BrewMaster 300: error codes" for citation in draft["citations"])
    for said in (shown["triage"], draft, attachment["evidence"]):
        assert (said["model"], said["mode"]) == ("none", "no_vlm")


def test_corrected_evidence_keeps_what_was_read_and_is_drafted_on_again(
    client: FlaskClient, key: Key, desk: Desk, tmp_path: Any
) -> None:
    make_articles(desk, tmp_path / "articles")
    ticket = make_ticket(desk, "What does E21 mean?", uploads=[make_upload("a.jpg")])
    run_until_idle(desk)
    (photo,) = client.get(f"{TICKETS}/{ticket.public_id}", headers=key).json["messages"][0]["attachments"]
    path = f"/api/v1/attachments/{photo['id']}/evidence"

    corrected = client.patch(path, headers=key, json={"fields": {"condition": "leaking"}}).json

    assert (corrected["condition"]["value"], corrected["original"]["condition"]["value"]) == ("leaking", "cannot tell")
    assert (corrected["status"], corrected["corrected_for"]) == ("corrected", "ticket")
    run_until_idle(desk)
    shown = client.get(f"{TICKETS}/{ticket.public_id}", headers=key).json
    assert [draft["status"] for draft in shown["drafts"]] == ["withdrawn", "proposed"]
    assert shown["messages"][0]["attachments"][0]["evidence"] == corrected
    for body in ({"fields": {"colour": "red"}}, {"lines": [{"index": 9, "text": "E1"}]}, {"fields": {"product": ""}}):
        assert client.patch(path, headers=key, json=body).status_code == 422


def test_a_message_says_what_of_it_is_new(client: FlaskClient, key: Key, desk: Desk) -> None:
    text = "It drips again.\n\nOn 3 Nov 2026, at 08:15, Care wrote:\n> Change the seal.\n> Then close the lid."
    ticket = make_ticket(desk, text)
    (message,) = client.get(f"{TICKETS}/{ticket.public_id}", headers=key).json["messages"]
    assert (message["text"], message["new_text"]) == (text, "It drips again.")
    assert [part["quoted"] for part in message["parts"]] == [False, True]


@pytest.mark.parametrize("path", ["/tck_00000000000000000000", "/tck_0", "/1", "/tck_'%20OR%201=1", "/%00"])
def test_a_ticket_that_is_not_there_is_a_404(client: FlaskClient, key: Key, path: str) -> None:
    response = client.get(TICKETS + path, headers=key)
    assert response.status_code == 404
    assert response.content_type == "application/problem+json"


def test_lists_filter_and_noise_stays_out(
    client: FlaskClient, key: Key, desk: Desk, db: Database, alice: Persona
) -> None:
    make_noise(db, 30, team="orders")
    wanted = make_ticket(desk, "needle", team="technical", requester_email="rosa@example.org")
    with db.begin() as session:
        row = session.get_one(Ticket, wanted.id)
        state.change_ticket(session, row, category="device_fault", product="brewmaster-300", priority=Priority.URGENT)
        state.take_over(session, row.conversation, alice.principal)
    filters = (
        "status=open",
        "status=open,pending",
        "priority=urgent",
        "category=device_fault",
        "product=brewmaster-300",
        "team=technical",
        f"assignee_id={alice.public_id}",
        "requester_email=ROSA@example.org",
        "q=NEEDLE",
        "conversation_state=agent&q=needle",
    )
    for query in filters:
        page = client.get(f"{TICKETS}?{query}", headers=key).json
        assert [ticket["id"] for ticket in page["tickets"]] == [wanted.public_id], query
    others = client.get(f"{TICKETS}?unassigned=true", headers=key).json["tickets"]
    assert wanted.public_id not in {ticket["id"] for ticket in others}
    assert len(others) == 30
    for query in ("q=100%25", "q=_eedle", "conversation_state=closed", "team=nobody"):
        assert client.get(f"{TICKETS}?{query}", headers=key).json["tickets"] == [], query


SUBJECTS = {
    "Überhitzung am Motor": ("überhitzung", "UBERHITZUNG", "motor überhitz"),
    "Café crème machine": ("cafe creme", "CAFÉ"),
    "Straße 5, 2. Stock": ("STRASSE", "strasse 5"),
    "İSTANBUL'a kargo": ("istanbul", "ıstanbul"),
    "Η συσκευή δεν ανάβει ΌΛΗ ΜΈΡΑ ΧΩΡΊΣ ΛΌΓΟΣ": ("συσκευη", "λόγος"),
    "Ёлка не горит": ("елка", "ЁЛКА"),
    "الجهاز لا يَعْمَل أبدًا": ("يعمل", "ابدا"),
    "הַמַּכְשִׁיר לא נדלק": ("המכשיר",),
    "ｶﾒﾗが動きません": ("カメラ", "かめら"),
    "指示灯一直闪烁": ("示灯", "闪烁"),
    "เครื่องไม่ทำงาน": ("ไม่ทำงาน",),
    "डिवाइस चालू नहीं": ("चालू",),
    "기기가 켜지지 않아요": ("켜지지",),
    "Thiết bị hỏng": ("thiet bi",),
    "Pralka Łódź zepsuta": ("lodz",),
    "Ｅ２１ on the display": ("e21",),
}


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_subject_is_found_whatever_its_script_capitals_and_accents(
    client: FlaskClient, key: Key, desk: Desk, db: Database, subject: str
) -> None:
    make_noise(db, 3)
    make_ticket(desk, "x", subject=subject)
    for typed in SUBJECTS[subject]:
        page = client.get(TICKETS, query_string={"q": typed}, headers=key).json
        assert [ticket["subject"] for ticket in page["tickets"]] == [subject], typed


def test_an_address_is_found_however_it_is_written(client: FlaskClient, key: Key, desk: Desk) -> None:
    make_ticket(desk, "x", requester_email="Jose\u0301@Example.org")
    page = client.get(TICKETS, query_string={"requester_email": "JOSÉ@example.org"}, headers=key).json
    assert len(page["tickets"]) == 1


def test_a_subject_taken_from_a_message_ends_between_characters(client: FlaskClient, key: Key) -> None:
    for text in ("👨‍👩‍👧‍👦" * 30, "E21 " + "コーヒーマシンが動きません" * 9, "y" * 200):
        subject = client.post(TICKETS, json={"text": text}, headers=key).json["subject"]
        assert 70 <= len(subject) <= 80
        assert subject.endswith("…")
        assert text.startswith(subject[:-1])
        assert not subject.endswith("\u200d…")


@pytest.mark.parametrize(
    "query",
    ["status=bogus", "limit=0", "limit=101", "limit=x", "cursor=tck_x", "unassigned=maybe", "q=%00", "page=2"],
)
def test_a_filter_that_makes_no_sense_is_refused(client: FlaskClient, key: Key, query: str) -> None:
    response = client.get(f"{TICKETS}?{query}", headers=key)
    assert response.status_code == 422
    assert response.json["field"] == query.partition("=")[0]


def test_cursors_give_every_ticket_once_while_new_ones_arrive(
    client: FlaskClient, key: Key, desk: Desk, db: Database
) -> None:
    make_noise(db, 25)
    seen: list[str] = []
    cursor = ""
    while True:
        page = client.get(f"{TICKETS}?limit=10{cursor}", headers=key).json
        seen += [ticket["id"] for ticket in page["tickets"]]
        make_ticket(desk, "arrived meanwhile")
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) == 25


def test_a_list_takes_a_constant_number_of_statements(client: FlaskClient, key: Key, desk: Desk, db: Database) -> None:
    def statements(limit: int) -> int:
        ran: list[str] = []
        note = lambda *args: ran.append(args[2])  # noqa: E731
        event.listen(db.engine, "before_cursor_execute", note)
        assert len(client.get(f"{TICKETS}?limit={limit}", headers=key).json["tickets"]) == limit
        event.remove(db.engine, "before_cursor_execute", note)
        return len([statement for statement in ran if statement.startswith("SELECT")])

    make_noise(db, 120)
    for number in range(20):
        make_ticket(desk, f"ticket {number}", requester_email=f"{number}@example.org", team="technical")
    run_until_idle(desk)
    statements(1)  # the first request also notes that the key was used
    assert statements(2) == statements(100) <= 5


# Changing


def test_status_and_agent_are_changed(client: FlaskClient, key: Key, desk: Desk, alice: Persona) -> None:
    url = f"{TICKETS}/{make_ticket(desk).public_id}"
    changed = client.patch(url, json={"status": "on_hold", "assignee_id": alice.public_id}, headers=key)
    assert (changed.json["status"], changed.json["assignee"]["id"]) == ("on_hold", alice.public_id)
    assert client.patch(url, json={}, headers=key).json["assignee"]["id"] == alice.public_id
    assert client.patch(url, json={"assignee_id": None}, headers=key).json["assignee"] is None


def test_tags_priority_team_and_a_pause_are_set_and_taken_back(client: FlaskClient, key: Key, desk: Desk) -> None:
    url = f"{TICKETS}/{make_ticket(desk).public_id}"
    wanted = {"tags": ["VIP", "refund", "vip"], "priority": "high", "team": "orders"}
    changed = client.patch(url, json={**wanted, "snoozed_until": "2990-01-01T00:00:00Z"}, headers=key).json
    assert changed["tags"] == ["refund", "VIP"]
    assert (changed["priority"], changed["team"]["key"]) == ("high", "orders")
    assert changed["snoozed_until"].startswith("2990-01-01T00:00")
    assert client.get(TICKETS, headers=key).json["tickets"][0]["tags"] == ["refund", "VIP"]
    back = client.patch(url, json={"tags": [], "team": None, "snoozed_until": None}, headers=key).json
    assert (back["tags"], back["team"], back["snoozed_until"], back["priority"]) == ([], None, None, "high")
    for refused in ({"tags": ["a,b"]}, {"snoozed_until": "2020-01-01T00:00:00Z"}, {"priority": "huge"}):
        assert client.patch(url, json=refused, headers=key).status_code == 422, refused
    assert client.patch(url, json={"team": "nowhere"}, headers=key).status_code == 404


def test_solving_closes_the_conversation_and_solving_again_changes_nothing(
    client: FlaskClient, key: Key, desk: Desk
) -> None:
    url = f"{TICKETS}/{make_ticket(desk).public_id}"
    first = client.patch(url, json={"status": "solved"}, headers=key).json
    assert (first["status"], first["conversation_state"]) == ("solved", "closed")
    assert client.patch(url, json={"status": "solved"}, headers=key).json == first


def test_unknown_agents_statuses_and_fields_are_refused(client: FlaskClient, key: Key, desk: Desk) -> None:
    url = f"{TICKETS}/{make_ticket(desk).public_id}"
    assert client.patch(url, json={"assignee_id": "agt_00000000000000000000"}, headers=key).status_code == 404
    assert client.patch(url, json={"status": "done"}, headers=key).status_code == 422
    assert client.patch(url, json={"subject": "Other"}, headers=key).json["field"] == "subject"
    assert client.get(url, headers=key).json["status"] == "new"


def test_a_closed_ticket_is_reopened_by_its_customer_only(client: FlaskClient, key: Key, desk: Desk) -> None:
    url = f"{TICKETS}/{make_ticket(desk).public_id}"
    client.patch(url, json={"status": "closed"}, headers=key)
    assert client.patch(url, json={"status": "open"}, headers=key).status_code == 409
    assert client.post(f"{url}/messages", json={"text": "still broken"}, headers=key).status_code == 201
    assert client.get(url, headers=key).json["status"] == "open"


# Adding


def test_a_further_message_is_stored_once_and_worked_on(
    client: FlaskClient, key: Key, desk: Desk, db: Database
) -> None:
    url = f"{TICKETS}/{make_ticket(desk, 'first').public_id}"
    request = form("and a photo", ("b.jpg", make_photo("b")), ("bad.png", b"no image"), client_id="m-2")
    first = client.post(f"{url}/messages", **request, headers=key)
    request = form("and a photo", ("b.jpg", make_photo("b")), ("bad.png", b"no image"), client_id="m-2")
    again = client.post(f"{url}/messages", **request, headers=key)

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == again.json
    assert first.json["message"]["author"] == "customer"
    assert [file["filename"] for file in first.json["rejected_files"]] == ["bad.png"]
    assert [m["text"] for m in client.get(url, headers=key).json["messages"]] == ["first", "and a photo"]
    run_until_idle(desk)
    assert (count(db, Message), count(db, Evidence)) == (2, 1)


def test_another_message_under_the_same_id_is_refused_and_not_lost(client: FlaskClient, key: Key, desk: Desk) -> None:
    url = f"{TICKETS}/{make_ticket(desk, 'first').public_id}/messages"
    assert client.post(url, json={"text": "more", "client_id": "m-1"}, headers=key).status_code == 201
    refused = client.post(url, json={"text": "something else", "client_id": "m-1"}, headers=key)
    assert (refused.status_code, refused.json["code"]) == (409, "conflict")


def test_a_message_to_a_ticket_that_is_not_there_is_a_404(client: FlaskClient, key: Key, db: Database) -> None:
    response = client.post(f"{TICKETS}/tck_00000000000000000000/messages", json={"text": "x"}, headers=key)
    assert response.status_code == 404
    assert count(db, Message) == 0


# Attachments


@pytest.fixture
def attachments(client: FlaskClient, key: Key) -> dict[str, dict[str, Any]]:
    """A photo with an EXIF block and a file that only pretends to be HTML, by file name."""
    exif = Image.Exif()
    exif[0x010F] = "SECRET-CAMERA"
    files = [("a.jpg", make_photo("a", exif=exif)), ("page.html", b"<script>alert(1)</script>")]
    opened = client.post(TICKETS, **form("x", *files), headers=key).json
    return {shown["filename"]: shown for shown in opened["messages"][0]["attachments"]}


def test_a_photo_comes_back_normalised_and_as_a_thumbnail(
    client: FlaskClient, key: Key, attachments: dict[str, dict[str, Any]]
) -> None:
    url = f"/api/v1/attachments/{attachments['a.jpg']['id']}"
    photo, thumbnail = client.get(url, headers=key), client.get(f"{url}?thumbnail=1", headers=key)
    assert b"SECRET-CAMERA" not in photo.data
    assert photo.content_type == attachments["a.jpg"]["content_type"]
    assert len(photo.data) == attachments["a.jpg"]["size"]
    assert thumbnail.content_type == "image/jpeg"
    assert max(Image.open(io.BytesIO(thumbnail.data)).size) == 320
    assert client.get(f"{url}?thumbnail=perhaps", headers=key).status_code == 422


def test_a_file_is_only_ever_a_download(client: FlaskClient, key: Key, attachments: dict[str, dict[str, Any]]) -> None:
    for query in ("", "?thumbnail=1"):
        response = client.get(f"/api/v1/attachments/{attachments['page.html']['id']}{query}", headers=key)
        assert response.content_type == "application/octet-stream"
        assert response.headers["Content-Disposition"].startswith("attachment")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response.headers["Content-Security-Policy"]


def test_an_attachment_is_not_shown_without_a_key(
    client: FlaskClient,
    sign_in: Callable[[Persona], FlaskClient],
    attachments: dict[str, Any],
    db: Database,
    alice: Persona,
) -> None:
    url = f"/api/v1/attachments/{attachments['a.jpg']['id']}"
    assert count(db, Attachment) == 2
    assert client.get(url).status_code == 401
    assert sign_in(alice).get(url).status_code == 401  # the session of an agent opens no API


# Keeping a copy


def test_whoever_follows_by_change_sees_every_change(client: FlaskClient, key: Key, desk: Desk) -> None:
    made = [make_ticket(desk, f"Ticket {number}") for number in range(5)]
    run_until_idle(desk)
    url = f"{TICKETS}/{made[0].public_id}"
    page = client.get(TICKETS, query_string={"sort": "changed", "limit": 2}, headers=key).json
    seen = [one["id"] for one in page["tickets"]]
    client.patch(url, json={"tags": ["late"]}, headers=key)  # one that has been read already
    while page["next_cursor"]:
        query = {"sort": "changed", "limit": 2, "cursor": page["next_cursor"]}
        page = client.get(TICKETS, query_string=query, headers=key).json
        seen += [one["id"] for one in page["tickets"]]
    assert set(seen) == {one.public_id for one in made}
    assert seen[-1] == made[0].public_id
    assert seen.count(made[0].public_id) == 2


def test_only_what_has_changed_since_is_listed(client: FlaskClient, key: Key, desk: Desk) -> None:
    make_ticket(desk, "before")
    run_until_idle(desk)
    moment = utcnow()
    changed = make_ticket(desk, "after")
    query = {"updated_since": moment.isoformat(), "sort": "changed"}
    assert [one["id"] for one in client.get(TICKETS, query_string=query, headers=key).json["tickets"]] == [
        changed.public_id
    ]
    for wrong in ({"updated_since": "yesterday"}, {"sort": "changed", "cursor": "x"}, {"sort": "changed", "q": "x"}):
        assert client.get(TICKETS, query_string=wrong, headers=key).status_code == 422


def test_a_change_of_what_has_changed_meanwhile_is_refused(client: FlaskClient, key: Key, desk: Desk) -> None:
    url = f"{TICKETS}/{make_ticket(desk).public_id}"
    read = client.get(url, headers=key).headers["ETag"]
    first = client.patch(url, json={"tags": ["mine"]}, headers={**key, "If-Match": read})
    assert first.status_code == 200
    late = client.patch(url, json={"tags": ["theirs"]}, headers={**key, "If-Match": read})
    assert (late.status_code, late.json["code"]) == (412, "precondition_failed")
    assert client.get(url, headers=key).json["tags"] == ["mine"]
    again = client.patch(url, json={"tags": ["both"]}, headers={**key, "If-Match": first.headers["ETag"]})
    assert again.status_code == 200
    assert client.patch(url, json={"tags": []}, headers={**key, "If-Match": "*"}).status_code == 200
    assert client.patch(url, json={"tags": []}, headers={**key, "If-Match": "x"}).status_code == 422


# How it answers


def test_what_is_new_has_an_address(client: FlaskClient, key: Key) -> None:
    made = client.post(TICKETS, json={"text": "Hello"}, headers=key)
    assert client.get(made.headers["Location"], headers=key).json["id"] == made.json["id"]


def test_long_answers_are_compressed_for_those_who_take_that(client: FlaskClient, key: Key, desk: Desk) -> None:
    url = f"{TICKETS}/{make_ticket(desk).public_id}"
    plain = client.get(url, headers=key)
    assert "Content-Encoding" not in plain.headers
    packed = client.get(url, headers={**key, "Accept-Encoding": "br, gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert "Accept-Encoding" in packed.headers["Vary"]
    assert "Content-Encoding" not in client.get(url, headers={**key, "Accept-Encoding": "gzip;q=0"}).headers


def test_answers_tell_what_is_left_of_the_limit(make_app: Callable[..., APIFlask], runtime: Runtime, key: Key) -> None:
    client = make_app(runtime, limited=True).test_client()
    first, second = (client.get(TICKETS, headers=key).headers for _ in range(2))
    assert int(second["RateLimit-Remaining"]) == int(first["RateLimit-Remaining"]) - 1
    assert int(first["RateLimit-Limit"]) > 0
    assert 0 <= int(first["RateLimit-Reset"]) <= 60
    assert "Retry-After" not in first
