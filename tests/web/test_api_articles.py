"""Articles through the API: listed, read, written as versions, published, withdrawn; and macros."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from assistant import worker
from assistant.desk import api_keys, audit, inboxes, macros
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.errors import Conflict
from assistant.knowledge import writing
from assistant.models import ArticleVersion
from tests.factories import BREWMASTER, bearer, make_agent, make_articles, make_inbox, make_key, make_ticket

ARTICLES, WRITTEN = "/api/v1/articles", "/api/v1/written-articles"
TEXT = "## Lid\n\nError E27 means that the lid is open. Close the lid until it clicks.\n\n## Light\n\nIt blinks."
Key = dict[str, str]


@pytest.fixture
def writer(desk: Desk) -> Key:
    return bearer(make_key(desk.db, Scope.KNOWLEDGE_READ, Scope.KNOWLEDGE_WRITE))


def write(client: FlaskClient, key: Key, **more: Any) -> Any:
    return client.post(WRITTEN, json={"title": "Error E27", "text": TEXT, **more}, headers=key)


def test_an_article_from_the_draft_to_its_end(client: FlaskClient, desk: Desk, writer: Key, tmp_path: Path) -> None:
    make_articles(desk, tmp_path / "articles", {"brewmaster.md": BREWMASTER})
    made = write(client, writer, product="brewmaster-300")
    assert made.status_code == 201, made.text
    where, first = made.headers["Location"], made.headers["ETag"]
    assert (made.json["version"], made.json["published_version"], made.json["article_id"]) == (1, None, None)
    assert (made.json["saved_by"]["kind"], made.json["visibility"]) == ("key", "public")
    worker.run_until_idle(desk)
    assert [one["title"] for one in client.get(ARTICLES, headers=writer).json["articles"]] == [
        "BrewMaster 300: error codes"
    ]

    published = client.post(f"{where}/publish", headers={**writer, "If-Match": first})
    assert published.json["published_version"] == 1
    worker.run_until_idle(desk)
    served = client.get(where, headers=writer).json
    listed = client.get(ARTICLES, headers=writer).json["articles"][-1]
    assert (listed["written_id"], listed["id"], listed["product"]) == (
        served["id"],
        served["article_id"],
        "brewmaster-300",
    )
    read = client.get(f"{ARTICLES}/{listed['id']}", headers=writer).json
    assert [one["headings"][-1] for one in read["sections"]] == ["Lid", "Light"]
    found = client.get(f"{ARTICLES}/search?query=E27", headers=writer).json["passages"]
    assert found[0]["article_id"] == listed["id"]
    changed_at = listed["updated_at"]

    changed = client.patch(
        where, json={"text": "E27: close the lid.", "publish": True}, headers={**writer, "If-Match": first}
    )
    assert (changed.json["version"], changed.json["published_version"], changed.json["title"]) == (2, 2, "Error E27")
    late = client.patch(where, json={"title": "Other"}, headers={**writer, "If-Match": first})
    assert (late.status_code, late.json["code"]) == (412, "precondition_failed")
    same = client.patch(where, json={"title": "Error E27", "text": None}, headers=writer)
    assert same.json["version"] == 2
    worker.run_until_idle(desk)
    newer = client.get(ARTICLES, query_string={"updated_since": changed_at}, headers=writer).json["articles"]
    assert [one["written_id"] for one in newer] == [served["id"]]
    assert newer[0]["updated_at"] > changed_at
    page = client.get(f"{ARTICLES}?limit=1", headers=writer).json
    rest = client.get(ARTICLES, query_string={"cursor": page["next_cursor"]}, headers=writer).json
    assert [len(page["articles"]), len(rest["articles"]), rest["next_cursor"]] == [1, 1, None]

    assert client.delete(where, headers=writer).status_code == 409
    assert client.post(f"{where}/withdraw", headers=writer).json["published_version"] is None
    worker.run_until_idle(desk)
    assert client.get(f"{ARTICLES}/{listed['id']}", headers=writer).status_code == 404
    assert client.delete(where, headers=writer).status_code == 204
    assert client.get(where, headers=writer).status_code == 404
    with desk.db.read() as session:
        noted = [one.action.removeprefix("api.") for one in audit.entries(session)]
    assert noted[::-1] == [
        "write_article",
        "publish_written_article",
        *["update_written_article"] * 2,
        "withdraw_written_article",
        "remove_written_article",
    ]


def test_agents_and_machines_write_one_article_and_are_told_of_each_other(
    client: FlaskClient, desk: Desk, writer: Key
) -> None:
    made = write(client, writer).json
    agent = make_agent(desk.db, "ada").principal
    with desk.db.begin() as session:
        content = writing.Content("Error E27", "Another text.")
        writing.save(session, agent, content, public_id=made["id"], based_on=1)
    shown = client.get(f"{WRITTEN}/{made['id']}", headers=writer).json
    assert (shown["version"], shown["saved_by"]["name"], shown["text"]) == (2, "Ada", "Another text.")
    client.patch(f"{WRITTEN}/{made['id']}", json={"text": "The key's text."}, headers=writer)
    with desk.db.begin() as session, pytest.raises(Conflict, match="shop has saved version 3"):
        writing.save(session, agent, content, public_id=made["id"], based_on=1)


def test_an_article_about_a_product_that_is_no_longer_known_can_be_changed(
    client: FlaskClient, desk: Desk, writer: Key
) -> None:
    made = write(client, writer, product="brewmaster-300").json
    with desk.db.begin() as session:
        session.execute(update(ArticleVersion).values(product="ridge-tent"))
    address = f"{WRITTEN}/{made['id']}"
    changed = client.patch(address, json={"title": "Error E28"}, headers=writer)
    assert (changed.status_code, changed.json["title"], changed.json["product"]) == (200, "Error E28", "ridge-tent")
    assert client.patch(address, json={"product": "another-tent"}, headers=writer).json["field"] == "product"


def test_a_key_for_an_inbox_writes_for_it_alone(client: FlaskClient, desk: Desk, writer: Key) -> None:
    for name in ("acme", "other"):
        make_inbox(desk.db, name)
    with desk.db.begin() as session:
        scopes = ["knowledge:read", "knowledge:write"]
        key = bearer(api_keys.add(session, name="acme", scopes=scopes, limits={"inboxes": ["acme"]})[1])
        assert inboxes.find(session, "acme").id
    everybodys, others = write(client, writer).json["id"], write(client, writer, inbox="other", publish=True).json["id"]
    worker.run_until_idle(desk)
    assert write(client, key).json["field"] == "inbox"
    assert write(client, key, inbox="other").status_code == 403
    mine = write(client, key, inbox="acme", publish=True).json["id"]
    worker.run_until_idle(desk)
    assert [one["id"] for one in client.get(WRITTEN, headers=key).json["articles"]] == [mine]
    assert [one["written_id"] for one in client.get(ARTICLES, headers=key).json["articles"]] == [mine]
    for hidden in (everybodys, others):
        assert client.get(f"{WRITTEN}/{hidden}", headers=key).status_code == 404
        assert client.post(f"{WRITTEN}/{hidden}/publish", headers=key).status_code == 404
    page = client.get(f"{WRITTEN}?limit=2", headers=writer).json
    rest = client.get(WRITTEN, query_string={"cursor": page["next_cursor"]}, headers=writer).json
    assert [one["id"] for one in (*page["articles"], *rest["articles"])] == [everybodys, others, mine]
    assert client.get(f"{WRITTEN}?cursor=x", headers=writer).json["field"] == "cursor"
    elsewhere = client.get(ARTICLES, headers=writer).json["articles"]
    hidden = next(one["id"] for one in elsewhere if one["inbox"] == "other")
    assert client.get(f"{ARTICLES}/{hidden}", headers=key).status_code == 404
    assert client.patch(f"{WRITTEN}/{mine}", json={"inbox": None}, headers=key).json["field"] == "inbox"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"title": " "}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"text": 7}, "text"),
        ({"product": "toaster"}, "product"),
        ({"language": "english!"}, "language"),
        ({"visibility": "secret"}, "visibility"),
        ({"inbox": "nowhere"}, "inbox"),
        ({"publish": True, "text": "# Only a title"}, "text"),
        ({"html": "<b>"}, "html"),
    ],
)
def test_what_is_no_article_is_refused_and_nothing_is_stored(
    client: FlaskClient, writer: Key, wrong: dict[str, Any], field: str
) -> None:
    refused = write(client, writer, **wrong)
    assert (refused.status_code, refused.json["field"]) == (422, field), refused.text
    assert client.get(WRITTEN, headers=writer).json["articles"] == []


def test_internal_articles_are_for_those_who_write(client: FlaskClient, desk: Desk, writer: Key) -> None:
    write(client, writer, visibility="internal", publish=True)
    worker.run_until_idle(desk)
    assert client.get(ARTICLES, headers=writer).json["articles"] == []
    (shown,) = client.get(WRITTEN, headers=writer).json["articles"]
    assert (shown["visibility"], shown["published_version"]) == ("internal", 1)
    assert client.get(f"{ARTICLES}/{shown['article_id']}", headers=writer).status_code == 404


def test_a_macro_is_listed_and_done_to_a_ticket(client: FlaskClient, key: Key, desk: Desk) -> None:
    boss = make_agent(desk.db, "boss", admin=True).principal
    with desk.db.begin() as session:
        for name, scope in (("Late parcel", macros.Scope.ALL), ("My own", macros.Scope.MINE)):
            does = [{"name": "add_tag", "arguments": {"tag": "late"}}, {"name": "assign", "arguments": {"agent": "me"}}]
            text = "Dear {{customer.first_name|customer}}, it is on its way."
            wanted = macros.MacroText(name, text, does[: 1 if scope is macros.Scope.ALL else 2], scope)
            macros.save(session, boss, wanted)
        hidden = macros.usable(session, boss)[-1].public_id
    (shown,) = client.get("/api/v1/macros", headers=key).json["macros"]
    assert (shown["name"], shown["team"], shown["uses"]) == ("Late parcel", None, 0)
    assert shown["actions"] == [{"name": "add_tag", "arguments": {"tag": "late"}}]
    assert client.get(f"/api/v1/macros/{shown['id']}", headers=key).json == shown
    assert client.get(f"/api/v1/macros/{hidden}", headers=key).status_code == 404
    ticket = make_ticket(desk, requester_name="Rosa Quendel")
    place = f"/api/v1/tickets/{ticket.public_id}"
    old = client.get(place, headers=key).headers["ETag"]
    client.patch(place, json={"tags": ["x"]}, headers=key)
    where = f"{place}/macros/{shown['id']}/apply"
    assert client.post(where, headers={**key, "If-Match": old}).status_code == 412
    done = client.post(where, headers=key).json
    assert "Rosa, it is on its way" in done["text"]
    assert done["ticket"]["tags"] == ["late", "x"]
    assert client.get("/api/v1/macros", headers=key).json["macros"][0]["uses"] == 1
    assert client.post(f"{place}/macros/{hidden}/apply", headers=key).status_code == 404
