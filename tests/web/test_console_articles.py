"""Articles in the browser: browsed, written, compared, tried, published through the import, and withdrawn."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from assistant import worker
from assistant.db import utcnow
from assistant.desk.desk import Desk
from assistant.knowledge import articles, sources, writing
from assistant.models import (
    AgentRole,
    Article,
    Figure,
    Gap,
    GapKind,
    GapQuestion,
    GapState,
    SourceKind,
    Ticket,
    Visibility,
    WrittenArticle,
)
from tests.factories import Persona, make_agent, make_articles, make_inbox, make_photo, make_ticket
from tests.web.test_console import csrf_of, submit

SignIn = Callable[[Persona], FlaskClient]
BASE = "/console/knowledge/articles"
TEXT = "## Descaling\n\nPour vinegar and water into the tank of the BrewMaster 300 and press Clean for five seconds."


@pytest.fixture
def lead(sign_in: SignIn, desk: Desk) -> FlaskClient:
    return sign_in(make_agent(desk.db, "lea", role=AgentRole.LEAD))


def write(client: FlaskClient, text: str = TEXT, **more: str) -> str:
    """The address of the editor of a new draft."""
    fields = {"title": "Descaling the BrewMaster 300", "visibility": "public"} | more
    answer = submit(client, f"{BASE}/write", text=text, **fields)
    assert answer.status_code == 302, answer.text
    return str(answer.headers["Location"])


def save(client: FlaskClient, address: str, suffix: str = "", **fields: str) -> TestResponse:
    typed = {"title": "Descaling the BrewMaster 300", "text": TEXT, "visibility": "public"} | fields
    return submit(client, f"{address}{suffix}", at=address, **typed)


def found(desk: Desk, query: str) -> list[str]:
    desk.index.refresh()
    return [hit.document.metadata["article_title"] for hit in articles.search_articles(desk.index, query)]


def test_an_article_is_written_published_changed_and_withdrawn(lead: FlaskClient, desk: Desk) -> None:
    address = write(lead)
    worker.run_until_idle(desk)
    assert found(desk, "descaling vinegar") == []  # a draft
    assert "Drafts" in lead.get(BASE).text
    assert save(lead, address, "/publish", based_on="1").status_code == 302
    worker.run_until_idle(desk)
    assert found(desk, "descaling vinegar") == ["Descaling the BrewMaster 300"]
    with desk.db.read() as session:
        served = session.scalars(select(Article)).one()
        assert (served.source, served.product, served.visibility) == (
            writing.SOURCE_NAME, "brewmaster-300", Visibility.PUBLIC,
        )  # fmt: skip
    assert address in lead.get(BASE).text
    assert "vinegar and water" in lead.get(f"{BASE}/{served.public_id}").text

    save(lead, address, based_on="1", text=TEXT.replace("vinegar", "citric acid"), visibility="internal")
    worker.run_until_idle(desk)
    assert found(desk, "descaling vinegar") == ["Descaling the BrewMaster 300"]  # version 2 is a draft
    changed = lead.get(f"{address}/versions/2").text
    assert re.search(r'class="removed"[^>]*><span class="hidden">Removed: </span>Pour vinegar', changed)
    assert "Visibility: internal" in changed
    save(lead, address, "/publish", based_on="2", text=TEXT.replace("vinegar", "citric acid"), visibility="internal")
    worker.run_until_idle(desk)
    assert found(desk, "descaling citric acid") == []  # for agents
    submit(lead, f"{address}/withdraw", at=address)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert session.scalars(select(Article)).all() == []
        assert [one.number for one in session.scalars(select(WrittenArticle)).one().versions] == [1, 2]
    assert submit(lead, f"{address}/remove", at=address).status_code == 302
    assert lead.get(address).status_code == 404


def test_nothing_typed_is_lost_and_nobody_overwrites_another(lead: FlaskClient, sign_in: SignIn, desk: Desk) -> None:
    address = write(lead)
    eve = sign_in(make_agent(desk.db, "eve", team="technical"))
    assert save(eve, address, based_on="1", text="Eve was faster.").status_code == 302
    late = save(lead, address, based_on="1", text="Lea was later.")
    assert late.status_code == 409
    for told in ("Eve has saved version 2 meanwhile", "Lea was later.", "/versions/2", 'name="based_on" value="2"'):
        assert told in late.text, told
    assert save(lead, address, based_on="2", text="Lea was later.").status_code == 302
    assert save(lead, address, based_on="3", text="Lea was later.").status_code == 302  # nothing new: no version
    assert "Version 4" not in lead.get(address).text
    assert save(lead, address, based_on="3", title=" ", text="kept").status_code == 422
    wrong = save(lead, address, based_on="3", language="no language at all", text="kept")
    assert (wrong.status_code, "kept" in wrong.text) == (422, True)
    # An agent writes; a lead publishes.
    assert save(eve, address, "/publish", based_on="3").status_code == 403
    assert "Save and publish" not in eve.get(address).text
    viewer = sign_in(make_agent(desk.db, "vic", role=AgentRole.VIEWER))
    assert "disabled" in viewer.get(address).text
    assert viewer.post(address, data={"csrf_token": csrf_of(viewer.get(address).text)}).status_code == 403
    empty = write(lead, text="")
    refused = save(lead, empty, "/publish", based_on="1", text="")
    assert (refused.status_code, "needs a text" in refused.text) == (422, True)


def test_the_preview_shows_markdown_and_runs_nothing_of_it(lead: FlaskClient, desk: Desk) -> None:
    address = write(lead)
    text = "**Turn** <script>alert(1)</script> [x](javascript:alert(1)) ![p](https://evil.example/p.png)"
    text += " ![v](picture-1.jpg)"
    shown = save(lead, address, then="preview", text=text)
    assert shown.status_code == 200
    preview = shown.text.split('class="preview"')[1].split("</section>")[0]
    assert "<strong>Turn</strong>" in preview
    assert "<script" not in preview
    assert "evil.example" not in preview
    assert "href" not in preview
    assert "/pictures/picture-1.jpg" in preview
    assert "alert(1)" in shown.text  # and what was typed stays
    assert "Version 2" not in lead.get(address).text


def test_a_pasted_picture_becomes_a_figure_of_the_article(lead: FlaskClient, desk: Desk) -> None:
    address = write(lead)
    token = csrf_of(lead.get(address).text)

    def paste(data: bytes, name: str = "image.png") -> TestResponse:
        form = {"csrf_token": token, "picture": (io.BytesIO(data), name)}
        return lead.post(f"{address}/pictures", data=form, content_type="multipart/form-data")

    picture = make_photo("VALVE", kind="PNG")
    name = paste(picture).json["name"]
    assert paste(picture).json["name"] == name
    assert paste(b"<html>").status_code in (415, 422)
    assert lead.get(f"{address}/pictures/{name}").mimetype == "image/jpeg"
    assert lead.get(f"{address}/pictures/other.jpg").status_code == 404
    save(lead, address, "/publish", based_on="1", text=f"{TEXT}\n\n![The valve behind the flap]({name})")
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert session.scalars(select(Figure)).one().alt == "The valve behind the flap"


def test_a_gap_becomes_an_article_that_is_tried_on_its_questions(lead: FlaskClient, desk: Desk, tmp_path: Path) -> None:
    make_articles(desk, tmp_path / "articles")
    question = "How do I descale the BrewMaster 300 with vinegar?"
    ticket = make_ticket(desk, question)
    with desk.db.begin() as session:
        message = session.get_one(Ticket, ticket.id).conversation.messages[0]
        gap = Gap(title="How to descale")
        asked = {"kind": GapKind.NOT_FOUND, "embedding_model": "m", "embedding": b"", "asked_at": utcnow()}
        gap.questions.append(GapQuestion(message_id=message.id, text=question, **asked))
        session.add(gap)
        session.flush()
        gap_id = gap.public_id
    assert f"write?gap={gap_id}" in lead.get("/console/knowledge/gaps").text
    begun = lead.get(f"{BASE}/write?gap={gap_id}").text
    assert 'value="How to descale"' in begun
    assert question in begun
    address = write(lead, gap=gap_id)
    tried = save(
        lead, address, based_on="1", then="try", questions="What does E21 mean?\nWho won the election in Peru?"
    )
    results = re.findall(r'<span class="tag \w+">([^<]+)</span> [\d%]+ <span dir="auto">([^<]+)</span>', tried.text)
    assert results == [
        ("Answered by another article", "What does E21 mean?"),
        ("Not answered", "Who won the election in Peru?"),
        ("Answered by this", question),
    ]
    with desk.db.read() as session:
        assert session.scalars(select(Article.source)).all() == ["articles"]  # nothing of it is served yet
    save(lead, address, "/publish", based_on="1")
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert session.scalars(select(Gap)).one().state is GapState.DONE
    assert "Answered by this" in save(lead, address, based_on="1", then="try").text  # the served one does not compete


def test_imported_articles_are_read_here_and_changed_where_they_come_from(
    lead: FlaskClient, sign_in: SignIn, desk: Desk, tmp_path: Path
) -> None:
    make_inbox(desk.db, "acme", name="Acme")
    make_articles(desk, tmp_path / "manuals")
    write(lead, inbox="acme")
    with desk.db.read() as session:
        imported = session.scalars(select(Article)).one()
    listed = lead.get(BASE).text
    assert f"{BASE}/{imported.public_id}" in listed
    page = lead.get(f"{BASE}/{imported.public_id}").text
    assert "the next import would take back" in page
    assert "draws no water" in page
    assert "Edit" not in page
    assert lead.get(f"{BASE}?q=nothing+of+that").text.count("<tr>") == 0
    assert lead.get(f"{BASE}?source=manuals&after={imported.public_id}").text.count("<tr>") == 0
    with desk.db.begin() as session:
        source = sources.request_written(session)
        assert source.kind is SourceKind.WRITTEN
    admin = sign_in(make_agent(desk.db, "ada", admin=True))
    refused = submit(admin, f"/console/knowledge/sources/{source.public_id}/remove", at="/console/knowledge/sources")
    assert (refused.status_code, "withdrawn one by one" in refused.text) == (409, True)
