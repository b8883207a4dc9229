"""The widget of an inbox: what its page is given, who may frame it, and the questions before the first message."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from flask.testing import FlaskClient

from assistant.db import Database
from assistant.desk.desk import Desk
from assistant.desk.inboxes import archive, find, keep_logo
from tests.factories import Browser, make_inbox, make_photo

QUESTIONS = [
    {"key": "order", "text": "Order number", "required": True},
    {"key": "topic", "text": "What is it about?", "choices": ["Delivery", "Repair"]},
]


def config_of(page: str) -> dict[str, Any]:
    found = re.search(r"data-config='([^']*)'", page)
    assert found is not None
    config: dict[str, Any] = json.loads(html.unescape(found[1]))
    return config


def test_each_inbox_has_its_own_page(client: FlaskClient, desk: Desk) -> None:
    look = {"greeting": "Willkommen <b>", "quick_replies": ["Wo ist sie?"], "accent": "#8a1c7c", "language": "de"}
    make_inbox(desk.db, "acme", name="Acme & Co", origins=["https://acme.example"], **look)
    with desk.db.begin() as session:
        keep_logo(find(session, "acme"), desk.settings, "logo.png", make_photo(kind="PNG"))
    page = client.get("/widget/?inbox=acme", headers={"Accept-Language": "fr"})
    config = config_of(page.text)
    assert (config["company"], config["inbox"], config["language"]) == ("Acme & Co", "acme", "de")
    assert (config["accent"], config["origins"]) == ("#8a1c7c", ["https://acme.example"])
    assert "frame-ancestors 'self' https://acme.example" in page.headers["Content-Security-Policy"]
    assert "Willkommen &lt;b&gt;" in page.text
    assert "data-reply>Wo ist sie?</button>" in page.text
    assert config_of(client.get("/widget/?inbox=acme&language=it").text)["language"] == "it", "the page's comes first"
    logo = client.get("/widget/v1/logo?inbox=acme")
    assert (logo.status_code, logo.mimetype) == (200, "image/jpeg")
    assert client.get("/widget/v1/logo").status_code == 404
    usual = client.get("/widget/").text
    assert config_of(usual)["company"] == desk.settings.company
    assert "data-reply" not in usual


def test_a_site_that_is_not_of_the_inbox_is_told_where_to_add_it(client: FlaskClient, db: Database) -> None:
    make_inbox(db, "acme", origins=["https://acme.example"])
    make_inbox(db, "bolt", origins=["https://bolt.example"])
    assert client.get("/widget/?inbox=acme&origin=https://acme.example").status_code == 200
    refused = client.get("/widget/?inbox=acme&origin=https://bolt.example")
    assert refused.status_code == 403
    assert "assistant inboxes set acme --origin" in html.unescape(refused.text)


def test_an_unknown_or_archived_inbox_is_a_clear_problem(client: FlaskClient, db: Database) -> None:
    make_inbox(db, "acme")
    with db.begin() as session:
        archive(find(session, "acme"))
    for path in ("/widget/?inbox=acme", "/widget/v1/documents/art_00000000000000000000?inbox=acme"):
        assert client.get(path).status_code == 404
    answer = client.post("/widget/v1/sessions", json={"inbox": "acme"})
    assert (answer.status_code, "archived" in answer.json["detail"]) == (404, True)
    for path in ("loader.js", "shell.js?inbox=acne"):
        script = client.get(f"/widget/{path}")
        assert script.status_code == 200
    assert "assistant inboxes list" in script.text


def test_required_answers_come_before_the_first_message_and_are_shown_to_agents(
    client: FlaskClient, desk: Desk, key: dict[str, str]
) -> None:
    make_inbox(desk.db, "bolt", prechat={"name": "required", "questions": QUESTIONS})
    browser = Browser(client, inbox="bolt")

    def begin(**answers: str) -> Any:
        form = {"text": "Hello", "prechat": json.dumps(answers)}
        return client.post("/widget/v1/conversations", headers=browser.headers, data=form)

    assert (begin(order="4711").status_code, begin(order="4711").json["field"]) == (422, "name")
    browser.open(token=browser.token, inbox="bolt", name="Rosa")
    for answers, field in (({}, "order"), ({"order": "4711", "topic": "Love"}, "topic")):
        refused = begin(**answers)
        assert (refused.status_code, refused.json["field"]) == (422, field)
        assert refused.json["notice"]["code"] == "prechat_missing"
    assert begin(order="4711", topic="Repair", other="x").status_code == 201
    [ticket] = client.get("/api/v1/tickets?inbox=bolt", headers=key).json["tickets"]
    shown = client.get(f"/api/v1/tickets/{ticket['id']}", headers=key).json
    assert shown["prechat"] == [
        {"question": "Order number", "answer": "4711"},
        {"question": "What is it about?", "answer": "Repair"},
    ]
    assert client.post("/widget/v1/conversations", headers=browser.headers, data={"prechat": "[1]"}).status_code == 422
