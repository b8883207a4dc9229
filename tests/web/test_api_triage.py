"""Triage, drafts, the stateless assessment and the knowledge base through the API."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from assistant.db import Database
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.models import Article, Conversation, Draft, Evidence, Message, Ticket, TriageField, TriageResult
from assistant.ports import Mode
from assistant.runtime import Runtime
from assistant.worker import run_until_idle
from tests.factories import BREWMASTER, bearer, make_articles, make_key, make_photo, make_ticket, make_upload
from tests.fakes import FakeDecisions, FakeOCR, ScriptedChatModel, fake_capabilities

Key = dict[str, str]
QUESTION = "My BrewMaster 300 shows E21, what does it mean?"
MISSING = "tck_00000000000000000000"


def test_a_short_text_is_in_the_language_that_it_is_said_to_be_in(client: FlaskClient, key: Key, desk: Desk) -> None:
    def language(assessed: Any) -> str:
        return next(str(one["value"]) for one in assessed["triage"]["fields"] if one["name"] == "language")

    told = client.post("/api/v1/triage", json={"text": "4711", "language": "pt-BR", "with_draft": False}, headers=key)
    assert language(told.json) == "pt"
    tickets = [{"text": "4711", "language": "pt-BR"}, {"text": "4711", "language": "de"}]
    body = {"tickets": tickets, "with_draft": False}
    batch = client.post("/api/v1/triage/batch", json=body, headers=key).json["id"]
    run_until_idle(desk)
    results = client.get(f"/api/v1/triage/batches/{batch}/results", headers=key).json["results"]
    assert [language(one["result"]) for one in results] == ["pt", "de"]
    assert results[0]["result"]["triage"]["fields"] == told.json["triage"]["fields"]
    assert client.post("/api/v1/triage", json={"text": "ok", "language": "?"}, headers=key).status_code == 422


@pytest.fixture
def articles(desk: Desk, tmp_path: Path) -> None:
    internal = "---\nvisibility: internal\n---\n# Goodwill\n\n## E21 goodwill\n\nE21: pay 50 euros of goodwill.\n"
    make_articles(desk, tmp_path / "articles", {"brewmaster.md": BREWMASTER, "goodwill.md": internal})


@pytest.fixture
def ticket(desk: Desk, articles: None) -> str:
    """The address of a ticket that the workers have triaged and drafted."""
    address = f"/api/v1/tickets/{make_ticket(desk, QUESTION).public_id}"
    run_until_idle(desk)
    return address


def count(db: Database, kind: type[Any]) -> int:
    with db.read() as session:
        return session.execute(select(func.count()).select_from(kind)).scalar_one()


# Triage of a ticket


def test_triage_is_404_until_done_and_can_be_asked_for_now(
    client: FlaskClient, key: Key, desk: Desk, db: Database
) -> None:
    ticket = make_ticket(desk, QUESTION, uploads=[make_upload()])
    url = f"/api/v1/tickets/{ticket.public_id}/triage"
    early = client.get(url, headers=key)
    assert early.status_code == 404
    assert "not been triaged" in early.json["detail"]

    now = client.post(url, headers=key)
    assert now.status_code == 200
    assert (now.json["model"], now.json["mode"]) == ("none", "no_vlm")
    assert count(db, Evidence) == 1  # the photo was read for it
    assert client.get(url, headers=key).json == now.json

    assert client.post(url, headers=key).json == now.json
    run_until_idle(desk)  # the job finds it done, and drafts
    assert client.get(url, headers=key).json == now.json
    assert (count(db, TriageResult), count(db, Evidence), count(db, Draft)) == (1, 1, 1)


DANGER = "My coffee machine is on fire, smoke and flames come out of it!"


def test_what_somebody_sets_of_a_ticket_stays_when_triage_comes_later_or_again(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    sees = FakeDecisions({"priority": {"low": 0.98, "normal": 0.02}, "team": {"technical": 0.98, "orders": 0.02}})
    runtime = make_runtime(capabilities=fake_capabilities(Mode.SMALL_VLM, decisions=sees))
    client, key = make_app(runtime).test_client(), bearer(make_key(runtime.desk.db))
    before, between, never = (make_ticket(runtime.desk, QUESTION).public_id for _ in range(3))

    def change(ticket_id: str) -> None:
        changes = {"priority": "high", "team": "orders"}
        assert client.patch(f"/api/v1/tickets/{ticket_id}", json=changes, headers=key).status_code == 200

    change(before)
    run_until_idle(runtime.desk)
    change(between)
    client.post(f"/api/v1/tickets/{between}/messages", json={"text": "It still does."}, headers=key)
    run_until_idle(runtime.desk)
    now = {one: client.get(f"/api/v1/tickets/{one}", headers=key).json for one in (before, between, never)}
    routed = {one: (ticket["priority"], ticket["team"]["key"]) for one, ticket in now.items()}
    assert routed == {before: ("high", "orders"), between: ("high", "orders"), never: ("low", "technical")}
    proposed = {field["name"]: field["value"] for field in now[before]["triage"]["fields"]}
    assert proposed["priority"] == "low"


def test_danger_raises_the_priority_that_was_set_before_anybody_knew_and_not_the_one_set_since(
    desk: Desk, client: FlaskClient, key: Key
) -> None:
    url = f"/api/v1/tickets/{make_ticket(desk, DANGER).public_id}"
    client.patch(url, json={"priority": "high"}, headers=key)
    run_until_idle(desk)
    assert client.get(url, headers=key).json["priority"] == "urgent"
    client.patch(url, json={"priority": "high"}, headers=key)
    client.post(f"{url}/messages", json={"text": DANGER}, headers=key)
    run_until_idle(desk)
    assert client.get(url, headers=key).json["priority"] == "high"


def test_every_field_says_what_decided_it(client: FlaskClient, key: Key, ticket: str) -> None:
    triage = client.get(f"{ticket}/triage", headers=key).json
    fields = {field["name"]: field["sources"] for field in triage["fields"]}
    nothing = {"decisions": 0, "words": [], "shown": [], "nearest": []}
    start = triage["text"].index("BrewMaster 300")
    place = {"text": "BrewMaster 300", "start": start, "end": start + len("BrewMaster 300")}
    assert fields["product"] == [{**nothing, "kind": "words", "words": [place]}]
    assert fields["category"] == [{**nothing, "kind": "similarity"}] == fields["team"]
    assert all(fields.values())


def test_a_photo_that_names_the_product_is_named_with_the_place(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    runtime = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("Nordwind", "BrewMaster 300")))
    client, key = make_app(runtime).test_client(), bearer(make_key(runtime.desk.db))
    ticket = make_ticket(runtime.desk, "It drips.", uploads=[make_upload("a.jpg"), make_upload("b.jpg")])
    stored = client.post(f"/api/v1/tickets/{ticket.public_id}/triage", headers=key).json
    shown = client.get(f"/api/v1/tickets/{ticket.public_id}", headers=key).json["messages"][0]["attachments"]

    def places(triage: Any) -> list[Any]:
        product = next(one for one in triage["fields"] if one["name"] == "product")
        assert [source["kind"] for source in product["sources"]] == ["photo"]
        return [
            (one["photo"], one["attachment_id"], one["field"], one["region"]) for one in product["sources"][0]["shown"]
        ]

    region = shown[0]["evidence"]["product"]["region"]
    assert region is not None
    assert places(stored) == [(number, photo["id"], "product", region) for number, photo in enumerate(shown)]
    data = {"text": "It drips.", "photos": (io.BytesIO(make_photo("a")), "a.jpg")}
    assessed = client.post("/api/v1/triage", data=data, headers=key).json
    assert places(assessed["triage"]) == [(0, None, "product", region)]


def test_what_a_field_depends_on_is_what_it_loses_without_it(client: FlaskClient, key: Key, articles: None) -> None:
    def triage(text: str, *, explain: bool = False) -> dict[str, Any]:
        body = {"text": text, "with_draft": False, "explain": explain}
        fields = client.post("/api/v1/triage", json=body, headers=key).json["triage"]["fields"]
        return {field["name"]: field for field in fields}

    text = "Hello all. My BrewMaster 300 shows E21 and leaks on the table. Thanks!"
    explained = triage(text, explain=True)
    assert explained["product"]["influences"][0]["words"]["text"] in ("BrewMaster", "300")
    assert any(field["influences"] for name, field in explained.items() if name != "product")
    for name, field in explained.items():
        for one in field["influences"]:
            start, end = one["words"]["start"], one["words"]["end"]
            assert text[start:end] == one["words"]["text"]
            left = {
                other["value"]: other["probability"]
                for other in triage(text[:start] + text[end:])[name]["alternatives"]
            }
            assert one["change"] == pytest.approx(field["probability"] - left[field["value"]], abs=0.001)
    assert all(field["influences"] is None for field in triage(text).values())


def test_other_tickets_with_the_fault_and_photos_that_look_alike_are_told_to_whoever_may_read_them(
    client: FlaskClient, key: Key, desk: Desk, db: Database
) -> None:
    photo = make_photo("a")
    first = make_ticket(desk, QUESTION, uploads=[make_upload("a.jpg", photo)])
    make_ticket(desk, "Where is my parcel?")
    run_until_idle(desk)
    seen = {"id": first.public_id, "number": first.number, "external_id": None}

    def asked(key: Key) -> Any:
        data = {"text": QUESTION, "photos": (io.BytesIO(photo), "mine.jpg"), "with_draft": "false"}
        return client.post("/api/v1/triage", data=data, headers=key).json["similar"]

    found = asked(key)
    fault = found["fault"]
    assert (fault["product"], fault["codes"], fault["shows"]) == ("brewmaster-300", ["E21"], [])
    assert (found["tickets"], found["newest"], found["outbreak"]) == (1, [seen], None)
    assert [(one["ticket"], one["same"]) for one in found["photos"]] == [(seen, True)]
    assert asked(bearer(make_key(db, Scope.TRIAGE))) is None
    second = make_ticket(desk, QUESTION)
    own = client.get(f"/api/v1/tickets/{second.public_id}/similar", headers=key).json
    assert (own["fault"], own["photos"]) == (None, [])  # it has not been triaged
    client.post(f"/api/v1/tickets/{second.public_id}/triage", headers=key)
    own = client.get(f"/api/v1/tickets/{second.public_id}/similar", headers=key).json
    assert own["newest"] == [seen]


def test_without_a_code_the_fault_is_what_the_photos_show(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    model = FakeDecisions({"condition": "leaking", "lights": "red", "product": "brewmaster-300"})
    runtime = make_runtime(capabilities=fake_capabilities(Mode.SMALL_VLM, decisions=model))
    client, key = make_app(runtime).test_client(), bearer(make_key(runtime.desk.db))
    data = {"text": "See my photo.", "photos": (io.BytesIO(make_photo("a")), "a.jpg"), "with_draft": "false"}
    fault = client.post("/api/v1/triage", data=data, headers=key).json["similar"]["fault"]
    assert (fault["product"], fault["codes"], fault["shows"]) == ("brewmaster-300", [], ["leaking", "red light"])
    assert fault["query"] == 'product:brewmaster-300 shows:leaking shows:"red light" created:<7d'


def test_a_stored_ticket_is_explained_with_its_photos(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    runtime = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("Nordwind", "BrewMaster 300")))
    client, key = make_app(runtime).test_client(), bearer(make_key(runtime.desk.db))
    ticket = make_ticket(runtime.desk, "It drips.", uploads=[make_upload("a.jpg")])
    url = f"/api/v1/tickets/{ticket.public_id}/triage"
    assert client.get(url, query_string={"explain": "true"}, headers=key).status_code == 404
    client.post(url, headers=key)
    fields = client.get(url, query_string={"explain": "true"}, headers=key).json["fields"]
    product = next(field for field in fields if field["name"] == "product")
    (first, *_) = product["influences"]
    assert (first["photo"], first["field"], first["value"]) in (
        (0, "product", "brewmaster-300"),
        (0, "visible_text", "BrewMaster 300"),
    )
    assert first["region"] is not None
    assert (first["regions"], first["reference"]) == ([], None)
    assert first["change"] > 0.5


def test_a_further_message_is_triaged_anew(client: FlaskClient, key: Key, ticket: str, db: Database) -> None:
    client.post(f"{ticket}/messages", json={"text": "Also: where is my refund for order 17?"}, headers=key)
    first = client.get(f"{ticket}/triage", headers=key).json
    second = client.post(f"{ticket}/triage", headers=key).json
    assert first["created_at"] < second["created_at"]
    assert count(db, TriageResult) == 2


def test_triage_now_and_the_worker_at_once_leave_one_result(app: APIFlask, key: Key, desk: Desk, db: Database) -> None:
    ticket = make_ticket(desk, QUESTION, uploads=[make_upload()])
    start, answers = threading.Barrier(3), []

    def ask() -> None:
        start.wait()
        answers.append(app.test_client().post(f"/api/v1/tickets/{ticket.public_id}/triage", headers=key))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    start.wait()
    run_until_idle(desk)
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    assert (count(db, TriageResult), count(db, Evidence)) == (1, 1)


def test_a_field_is_accepted_and_overridden(client: FlaskClient, key: Key, ticket: str, db: Database) -> None:
    proposed = {f["name"]: f for f in client.get(f"{ticket}/triage", headers=key).json["fields"]}

    accepted = client.patch(f"{ticket}/triage/category", headers=key)
    assert accepted.status_code == 200
    field = next(f for f in accepted.json["fields"] if f["name"] == "category")
    assert (field["status"], field["value"]) == ("accepted", proposed["category"]["value"])

    overridden = client.patch(f"{ticket}/triage/priority", json={"value": "urgent"}, headers=key).json
    field = next(f for f in overridden["fields"] if f["name"] == "priority")
    assert (field["status"], field["corrected_value"]) == ("overridden", "urgent")
    shown = client.get(ticket, headers=key).json
    assert (shown["priority"], shown["category"]) == ("urgent", proposed["category"]["value"])
    again = client.patch(f"{ticket}/triage/priority", json={"value": "urgent"}, headers=key).json
    assert again == overridden
    with db.read() as session:
        decided = session.scalars(select(TriageField).where(TriageField.decided_at.is_not(None))).all()
        assert {field.name: field.label for field in decided} == {
            "category": proposed["category"]["value"],
            "priority": "urgent",
        }


def test_a_label_outside_the_taxonomy_is_refused(client: FlaskClient, key: Key, ticket: str) -> None:
    before = client.get(ticket, headers=key).json
    refused = client.patch(f"{ticket}/triage/category", json={"value": "sales"}, headers=key)
    assert refused.status_code == 422
    assert "device_fault" in refused.json["detail"]  # what could have been said instead
    assert client.patch(f"{ticket}/triage/colour", json={"value": "red"}, headers=key).status_code == 404
    assert client.patch(f"{ticket}/triage/%00", json={"value": "red"}, headers=key).status_code == 404
    assert client.get(ticket, headers=key).json == before


# Drafts


def test_a_draft_is_sent_once_with_its_citations(client: FlaskClient, key: Key, ticket: str, db: Database) -> None:
    (draft,) = client.get(f"{ticket}/drafts", headers=key).json["drafts"]
    assert draft["citations"]
    assert 0.0 < draft["confidence"] <= 1.0
    assert (draft["model"], draft["mode"]) == ("none", "no_vlm")
    assert client.get(f"{ticket}/drafts/{draft['id']}", headers=key).json == draft

    sent = client.post(f"{ticket}/drafts/{draft['id']}/send", headers=key)
    assert sent.status_code == 200
    assert (sent.json["message"]["author"], sent.json["message"]["text"]) == ("assistant", draft["text"])
    assert [c["quote"] for c in sent.json["message"]["citations"]] == [c["quote"] for c in draft["citations"]]
    assert (sent.json["draft"]["status"], sent.json["draft"]["model"]) == ("sent", "none")
    messages = count(db, Message)

    again = client.post(f"{ticket}/drafts/{draft['id']}/send", json={"text": "another text"}, headers=key)
    assert again.json == sent.json
    assert count(db, Message) == messages
    whole = client.get(ticket, headers=key).json
    assert whole["status"] == "pending"
    assert [message["confidence"] for message in whole["messages"]] == [None, draft["confidence"]]
    assert client.post(f"{ticket}/drafts/{draft['id']}/discard", headers=key).status_code == 409


def test_an_edited_draft_says_so_and_keeps_both_texts(client: FlaskClient, key: Key, ticket: str) -> None:
    (draft,) = client.get(f"{ticket}/drafts", headers=key).json["drafts"]
    sent = client.post(f"{ticket}/drafts/{draft['id']}/send", json={"text": " Please descale it. "}, headers=key).json
    assert (sent["message"]["text"], sent["message"]["citations"]) == ("Please descale it.", [])
    assert (sent["draft"]["status"], sent["draft"]["text"]) == ("edited", draft["text"])
    assert sent["draft"]["sent_text"] == "Please descale it."


def test_an_empty_or_endless_reply_is_refused_and_the_draft_still_waits(
    client: FlaskClient, key: Key, ticket: str, desk: Desk
) -> None:
    (draft,) = client.get(f"{ticket}/drafts", headers=key).json["drafts"]
    for text in ("", "  ", "x" * (desk.settings.message_max_chars + 1)):
        assert client.post(f"{ticket}/drafts/{draft['id']}/send", json={"text": text}, headers=key).status_code == 422
    assert client.get(f"{ticket}/drafts/{draft['id']}", headers=key).json == draft


def test_a_discarded_draft_is_not_sent(client: FlaskClient, key: Key, ticket: str) -> None:
    (draft,) = client.get(f"{ticket}/drafts", headers=key).json["drafts"]
    discarded = client.post(f"{ticket}/drafts/{draft['id']}/discard", headers=key)
    assert discarded.json["status"] == "discarded"
    assert client.post(f"{ticket}/drafts/{draft['id']}/discard", headers=key).json == discarded.json
    assert client.post(f"{ticket}/drafts/{draft['id']}/send", headers=key).status_code == 409


def test_a_draft_sent_by_two_at_once_is_sent_once(app: APIFlask, key: Key, ticket: str, db: Database) -> None:
    (draft,) = app.test_client().get(f"{ticket}/drafts", headers=key).json["drafts"]
    start, answers = threading.Barrier(4), []

    def send(text: str) -> None:
        start.wait()
        url = f"{ticket}/drafts/{draft['id']}/send"
        answers.append(app.test_client().post(url, json={"text": text}, headers=key))

    threads = [threading.Thread(target=send, args=(f"reply {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 4
    assert len({answer.json["message"]["id"] for answer in answers}) == 1


def test_a_draft_belongs_to_its_ticket(client: FlaskClient, key: Key, ticket: str, desk: Desk) -> None:
    (draft,) = client.get(f"{ticket}/drafts", headers=key).json["drafts"]
    other = f"/api/v1/tickets/{make_ticket(desk, 'another').public_id}"
    for method, end in (("get", ""), ("post", "/send"), ("post", "/discard")):
        response = getattr(client, method)(f"{other}/drafts/{draft['id']}{end}", headers=key)
        assert response.status_code == 404


# Assessing without storing


def test_an_assessment_has_everything_and_stores_nothing(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask], tmp_path: Path
) -> None:
    ocr = FakeOCR("E21", "ADD WATER")
    runtime = make_runtime(capabilities=fake_capabilities(ocr=ocr))
    make_articles(runtime.desk, tmp_path / "articles")
    key = bearer(make_key(runtime.desk.db))
    data = {
        "text": "What does the display mean?",
        "photos": [(io.BytesIO(make_photo("E21")), "display.jpg"), (io.BytesIO(b"\xff\xd8\xff no"), "broken.jpg")],
    }
    response = make_app(runtime).test_client().post("/api/v1/triage", data=data, headers=key)

    assert response.status_code == 200
    found = response.json
    assert (found["triage"]["model"], found["triage"]["mode"]) == ("none", "no_vlm")
    assert [(e["filename"], [line["text"] for line in e["visible_text"]]) for e in found["evidence"]] == [
        ("display.jpg", ["E21", "ADD WATER"])
    ]
    assert "E21" in found["passages"][0]["matched_codes"] or "e21" in str(found["passages"][0]["matched_codes"]).lower()
    assert found["passages"][0]["article_title"] == "BrewMaster 300: error codes"
    assert {f["name"] for f in found["triage"]["fields"]} >= {"category", "priority", "needs_human"}
    assert [file["filename"] for file in found["rejected_files"]] == ["broken.jpg"]
    for kind in (Ticket, Conversation, Message, Evidence, Draft):
        assert count(runtime.desk.db, kind) == 0


def shape(value: Any) -> Any:
    """The names in an object and, of a list, those in its first item."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    return [shape(value[0])] if isinstance(value, list) and value else None


def test_an_assessment_and_a_stored_ticket_show_the_same_objects(client: FlaskClient, key: Key, articles: None) -> None:
    data = {"text": "My BrewMaster 300 shows E21, what does it mean?", "photos": (io.BytesIO(make_photo()), "a.jpg")}
    found = client.post("/api/v1/triage", data=data, content_type="multipart/form-data", headers=key).json
    data = {**data, "photos": (io.BytesIO(make_photo()), "a.jpg")}
    opened = client.post("/api/v1/tickets", data=data, content_type="multipart/form-data", headers=key).json
    client.post(f"/api/v1/tickets/{opened['id']}/triage", headers=key)
    stored = client.get(f"/api/v1/tickets/{opened['id']}", headers=key).json

    assert shape(found["triage"]) == shape(stored["triage"])
    assert shape(found["evidence"][0]) == shape(stored["messages"][0]["attachments"][0]["evidence"])
    for field in stored["triage"]["fields"]:
        shares = [one["probability"] for one in field["alternatives"]]
        assert shares == sorted(shares, reverse=True)


def test_an_assessment_by_json_says_what_is_not_known(client: FlaskClient, key: Key, articles: None) -> None:
    response = client.post("/api/v1/triage", json={"text": "Who won the chess championship of 1927?"}, headers=key)
    draft = response.json["draft"]
    assert (draft["text"], draft["handoff_reason"], draft["citations"]) == ("", "missing_knowledge", [])
    assert response.json["evidence"] == []


def test_an_assessment_of_photos_alone_is_taken(client: FlaskClient, key: Key, articles: None) -> None:
    data = {"photos": [(io.BytesIO(make_photo("E21")), "display.jpg")]}
    response = client.post("/api/v1/triage", data=data, headers=key)
    assert response.status_code == 200
    assert len(response.json["evidence"]) == 1


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"subject": "  ", "text": "\n"}])
def test_an_assessment_of_nothing_is_refused(client: FlaskClient, key: Key, body: dict[str, str]) -> None:
    assert client.post("/api/v1/triage", json=body, headers=key).status_code == 422


def test_an_assessment_takes_no_more_photos_than_a_message(client: FlaskClient, key: Key, desk: Desk) -> None:
    most = desk.settings.photos_per_message
    photos = [(io.BytesIO(make_photo(str(n), size=(80, 60))), f"{n}.jpg") for n in range(most + 1)]
    found = client.post("/api/v1/triage", data={"text": "x", "photos": photos}, headers=key).json
    assert len(found["evidence"]) == most
    assert [file["status"] for file in found["rejected_files"]] == [413]


def test_with_a_full_model_the_draft_is_written_and_says_by_which(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask], tmp_path: Path
) -> None:
    writes = ScriptedChatModel(default="E21 means that the pump draws no water from the tank. [1]")
    capabilities = fake_capabilities(
        Mode.FULL_VLM, model="scripted-8b", chat_model=writes, decisions=FakeDecisions({"category": "device_fault"})
    )
    runtime = make_runtime(capabilities=capabilities)
    make_articles(runtime.desk, tmp_path / "articles")
    client, key = make_app(runtime).test_client(), bearer(make_key(runtime.desk.db))

    found = client.post("/api/v1/triage", json={"text": QUESTION}, headers=key).json

    assert (found["triage"]["model"], found["triage"]["mode"]) == ("scripted-8b", "full_vlm")
    assert found["draft"]["text"].startswith("E21 means that the pump draws no water")
    assert found["draft"]["citations"][0]["article_title"] == "BrewMaster 300: error codes"
    category = next(field for field in found["triage"]["fields"] if field["name"] == "category")
    assert category["value"] == "device_fault"


# Knowledge and taxonomy


def test_articles_are_found_and_internal_ones_are_not(
    client: FlaskClient, key: Key, articles: None, db: Database
) -> None:
    assert count(db, Article) == 2
    page = client.get("/api/v1/articles/search?query=E21+pump&limit=3", headers=key).json
    assert page["passages"][0]["article_title"] == "BrewMaster 300: error codes"
    assert {passage["visibility"] for passage in page["passages"]} == {"public"}
    assert (page["model"], page["mode"]) == ("hash-512", "no_vlm")
    assert "goodwill" not in str(client.get("/api/v1/articles/search?query=goodwill+euros", headers=key).json).lower()


@pytest.mark.parametrize(
    "query", ["query=", "", "query=x&limit=0", "query=%00", "query=x&limit=51", "query=" + "x" * 2001]
)
def test_a_search_that_makes_no_sense_is_refused(client: FlaskClient, key: Key, query: str) -> None:
    assert client.get(f"/api/v1/articles/search?{query}", headers=key).status_code == 422


@pytest.mark.parametrize(
    "query", ['"', "NEAR(", "a AND", "*", "heading:", "()", "-x", "'; --", "😀", "\u202e", "a" * 2000]
)
def test_a_search_takes_any_text(client: FlaskClient, key: Key, articles: None, query: str) -> None:
    assert client.get("/api/v1/articles/search", query_string={"query": query}, headers=key).status_code == 200


def test_the_taxonomy_names_every_value_that_triage_may_give(client: FlaskClient, key: Key, ticket: str) -> None:
    taxonomy = client.get("/api/v1/taxonomy", headers=key).json
    assert {label["key"] for label in taxonomy["teams"]} >= {"technical", "orders"}
    for field in client.get(f"{ticket}/triage", headers=key).json["fields"]:
        assert {one["value"] for one in field["alternatives"]} <= set(taxonomy["allowed_values"][field["name"]])


@pytest.mark.parametrize("method", ["get", "post"])
def test_triage_of_a_ticket_that_is_not_there_is_a_404(client: FlaskClient, key: Key, method: str) -> None:
    assert getattr(client, method)(f"/api/v1/tickets/{MISSING}/triage", headers=key).status_code == 404


def test_whoever_waits_gets_the_triage_once_it_is_done(client: FlaskClient, key: Key, desk: Desk) -> None:
    url = f"/api/v1/tickets/{make_ticket(desk, QUESTION).public_id}/triage"
    assert client.get(url, query_string={"wait": 1}, headers=key).status_code == 404
    threading.Timer(0.3, run_until_idle, (desk,)).start()
    assert client.get(url, query_string={"wait": 20}, headers=key).status_code == 200


def test_fields_say_what_they_need_and_a_ticket_that_is_not_stored_where_words_and_photo_disagree(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    runtime = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("Nordwind BrewMaster 300", "E27")))
    client, key = make_app(runtime).test_client(), bearer(make_key(runtime.desk.db))
    data = {"text": "My BrewMaster 300 shows E21.", "photos": (io.BytesIO(make_photo("E27")), "a.jpg")}
    assessed = client.post("/api/v1/triage", data=data, headers=key).json
    assert [(one["about"], one["written"], one["shown"]) for one in assessed["contradictions"]] == [
        ("code", "E21", "E27")
    ]
    for field in assessed["triage"]["fields"]:
        assert 0 < field["threshold"] < 1
        if not field["abstained"] and field["name"] in ("category", "type", "sentiment"):
            assert field["probability"] >= field["threshold"]
