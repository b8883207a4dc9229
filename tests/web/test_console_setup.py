"""An empty installation is set up in the browser, by whoever has the link that `assistant serve` prints."""

from __future__ import annotations

from pathlib import Path

from flask.testing import FlaskClient

from assistant.desk import inboxes, links, setup
from assistant.desk.desk import Desk
from assistant.desk.links import Purpose
from tests.factories import PASSWORD, make_articles
from tests.web.test_console import submit

FIELDS = {"company": "Lumora", "name": "Ada", "email": "ada@example.org", "password": PASSWORD, "again": PASSWORD}


def test_from_an_empty_database_to_a_first_answer(client: FlaskClient, desk: Desk, tmp_path: Path) -> None:
    address = setup.url(desk.settings).removeprefix(desk.settings.base_url)
    assert client.get("/console/setup/nonsense").status_code == 404
    other = links.sign(desk.settings, Purpose.JOIN, "first-admin")
    assert client.get(f"/console/setup/{other}").status_code == 404
    for wrong in ({"again": "another one"}, {"password": "short", "again": "short"}, {"email": "nobody"}):
        answer = submit(client, address, **FIELDS | wrong)
        assert (answer.status_code, 'value="Ada"' in answer.text) == (422, True), wrong
    begun = submit(client, address, **FIELDS)
    assert begun.headers["Location"].endswith("/settings/start")
    with desk.db.read() as session:
        assert inboxes.brand(inboxes.default(session), desk.settings) == "Lumora"
    # Once there is somebody, the link is worth nothing.
    assert client.get(address).status_code == 404
    assert client.post(address, data=FIELDS).status_code in (400, 404)

    start = "/console/settings/start"
    page = client.get(start).text
    assert "None yet" in page
    assert "/widget/loader.js" in page
    assert "A person would get it." in submit(client, start, question="What does E21 mean?").text
    make_articles(desk, tmp_path / "articles")
    answered = submit(client, start, question="My coffee machine shows E21. What does it mean?").text
    assert "the pump draws no water" in answered
