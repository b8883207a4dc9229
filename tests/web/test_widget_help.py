"""The help articles in the widget: found and read without a session, and none that are for agents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flask.testing import FlaskClient
from sqlalchemy import select, text

from assistant import worker
from assistant.desk import inboxes
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.models import Article, Citation, Draft
from tests.factories import Persona, bearer, make_articles, make_figure, make_inbox, make_key, make_ticket

API = "/widget/v1"
LAMP = """\
# The lamp

Look at the lamp first.

## Colours

### On the lid

| Lamp | Meaning |
|---|---|
| Red | The heater is broken |

1. Unplug it.
2. Wait.
"""


def test_articles_are_found_once_each_and_read_in_order(client: FlaskClient, desk: Desk, tmp_path: Path) -> None:
    make_articles(desk, tmp_path / "help", {"lamp.md": LAMP, "tent.md": "# The tent\n\nIt is green."})
    found = client.get(f"{API}/articles?query=lamp+red+heater").json["articles"]
    assert [one["title"] for one in found].count("The lamp") == 1
    assert (found[0]["title"], found[0]["heading"]) == ("The lamp", "On the lid")
    assert "Red: The heater is broken." in found[0]["excerpt"] or "Lamp" in found[0]["excerpt"]
    article = client.get(f"{API}/articles/{found[0]['id']}").json
    assert [section["headings"] for section in article["sections"]] == [[], ["Colours", "On the lid"]]
    assert article["sections"][1]["text"].endswith("| Red | The heater is broken |\n\n1. Unplug it.\n2. Wait.")
    for nothing in ("", "?query=", "?query=%20%00"):
        assert client.get(f"{API}/articles{nothing}").json == {"articles": []}


def test_of_articles_that_fit_alike_those_in_the_readers_language_come_first(
    client: FlaskClient, desk: Desk, tmp_path: Path
) -> None:
    front = "---\nlanguage: {}\n---\n# {}\n\nE21: pump, tank, {}."
    texts = {"a.md": front.format("en", "Pump", "water"), "b.md": front.format("de", "Pumpe", "Wasser")}
    make_articles(desk, tmp_path / "help", texts)
    for language, first in (("de", "Pumpe"), ("en-GB", "Pump")):
        found = client.get(f"{API}/articles?query=E21+pump+tank&language={language}").json["articles"]
        assert [found[0]["title"], len(found)] == [first, 2]


def test_figures_stand_in_the_article_and_what_was_read_in_them_does_not(
    client: FlaskClient, desk: Desk, tmp_path: Path
) -> None:
    figure = make_figure(desk, tmp_path / "manual")
    [found] = client.get(f"{API}/articles?query=turn+the+valve").json["articles"]
    [section] = client.get(f"{API}/articles/{found['id']}").json["sections"]
    assert section["text"] == "Turn the valve to the left."
    assert [one["id"] for one in section["figures"]] == [figure]
    assert client.get(f"{API}/figures/{figure}").mimetype == "image/png"


def test_what_is_for_the_customers_of_one_inbox_is_neither_found_nor_read_in_another(
    client: FlaskClient, desk: Desk, tmp_path: Path
) -> None:
    make_inbox(desk.db, "acme")
    make_inbox(desk.db, "bolt")
    figure = make_figure(desk, tmp_path / "manual")
    with desk.db.begin() as session:
        article = session.scalars(select(Article)).one()
        article.inbox_id, article_id = inboxes.find(session, "acme").id, article.public_id
    addresses = (f"{API}/articles/{article_id}", f"{API}/figures/{figure}")
    for asked, status, found in (("&inbox=acme", 200, [article_id]), ("&inbox=bolt", 404, []), ("", 404, [])):
        articles = client.get(f"{API}/articles?query=turn+the+valve{asked}").json["articles"]
        assert [one["id"] for one in articles] == found
        assert [client.get(f"{address}?{asked}").status_code for address in addresses] == [status, status]
    assert client.get(f"{API}/articles?query=valve&inbox=acne").status_code == 404


def test_articles_for_agents_are_neither_found_nor_read(client: FlaskClient, desk: Desk, tmp_path: Path) -> None:
    make_articles(desk, tmp_path / "help", {"secret.md": "---\nvisibility: internal\n---\n# Goodwill\n\nGive 20 %."})
    assert client.get(f"{API}/articles?query=goodwill").json["articles"] == []
    with desk.db.read() as session:
        article = session.execute(select(Article.public_id)).scalar_one()
    for public_id in (article, "art_00000000000000000000"):
        gone = client.get(f"{API}/articles/{public_id}")
        assert (gone.status_code, gone.json["notice"]["code"]) == (404, "article_gone")


def test_what_was_stored_as_an_address_and_runs_something_is_no_link_anywhere(
    client: FlaskClient, sign_in: Callable[[Persona], FlaskClient], alice: Persona, desk: Desk, tmp_path: Path
) -> None:
    make_articles(desk, tmp_path / "help")
    ticket = make_ticket(desk, "My coffee machine shows E21 and blinks red. What does E21 mean?", team="technical")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        for table in ("articles", "citations"):
            session.execute(text(f"UPDATE {table} SET url = 'javascript:alert(1)'"))  # as versions before may have
        assert session.scalars(select(Draft)).all()
        assert set(session.scalars(select(Citation.url))) == {None}
        article = session.scalars(select(Article.public_id)).first()
    assert client.get(f"{API}/articles/{article}").json["url"] is None
    key = bearer(make_key(desk.db, Scope.TICKETS_READ, Scope.KNOWLEDGE_READ))
    [found, *_] = client.get("/api/v1/articles/search?query=E21", headers=key).json["passages"]
    assert found["url"] is None
    [draft] = client.get(f"/api/v1/tickets/{ticket.public_id}/drafts", headers=key).json["drafts"]
    assert {citation["url"] for citation in draft["citations"]} == {None}
    agent = sign_in(alice)
    pages = (
        "/console/knowledge?q=E21",
        f"/console/knowledge/articles/{article}",
        f"/console/tickets/{ticket.public_id}",
    )
    for page in pages:
        answer = agent.get(page)
        assert (answer.status_code, "E21" in answer.text, "javascript:" in answer.text) == (200, True, False), page
