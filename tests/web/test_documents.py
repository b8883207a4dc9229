"""Citations of PDF files say the page and lead to it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant.desk.desk import Desk
from assistant.knowledge import sources
from assistant.media.files import Upload
from assistant.models import Article, Source, SourceKind, Visibility
from assistant.retrieval.loaders import load
from assistant.retrieval.splitting import cut
from assistant.worker import run_until_idle
from tests.factories import Browser, make_inbox


@cache
def _manual() -> bytes:
    """A chapter a page."""
    from fpdf import FPDF

    pdf = FPDF()
    for heading, text in (
        ("Toaster T6", "The toaster T6 browns bread on six levels."),
        ("Crumb tray", "Pull the crumb tray out at the back of the toaster and wash it by hand once a week."),
        ("Code K-9", "Code K-9 means that the lever of the toaster is stuck. Unplug it and push the lever up."),
    ):
        pdf.add_page()
        pdf.set_font("helvetica", "B", 16)
        pdf.multi_cell(0, 8, heading, new_x="LMARGIN", new_y="NEXT")
        pdf.set_font("helvetica", size=11)
        pdf.multi_cell(0, 6, text)
    return bytes(pdf.output())


def _article(desk: Desk) -> Article:
    with desk.db.read() as session:
        return session.scalars(select(Article)).one()


def _cited(client: FlaskClient, desk: Desk) -> dict[str, Any]:
    browser = Browser(client)
    assert browser.say("My toaster shows code K-9. What does K-9 mean?").status_code == 201
    run_until_idle(desk)
    return next(
        citation for message in browser.messages for citation in message["citations"] if "K-9" in citation["quote"]
    )


@pytest.mark.parametrize("kind", [SourceKind.FILES, SourceKind.FOLDER])
def test_a_citation_of_a_pdf_says_its_page_and_leads_to_the_file(
    client: FlaskClient, desk: Desk, tmp_path: Path, kind: SourceKind
) -> None:
    if kind is SourceKind.FILES:
        source = sources.add_files(desk, [Upload("manual of the toaster.pdf", None, _manual())], name="manuals")
    else:
        (tmp_path / "kitchen").mkdir()
        (tmp_path / "kitchen" / "manual of the toaster.pdf").write_bytes(_manual())
        with desk.db.begin() as session:
            source = sources.add_source(session, kind=kind, location=str(tmp_path))
    sources.sync(desk, source.id)
    citation = _cited(client, desk)
    assert (citation["page"], citation["url"]) == (3, None)
    found = client.get(f"/widget/v1/documents/{citation['article_id']}")
    assert (found.status_code, found.data, found.mimetype) == (200, _manual(), "application/pdf")
    assert found.headers["Content-Disposition"] == 'inline; filename="manual of the toaster.pdf"'


def test_a_document_for_agents_only_of_another_inbox_or_that_has_gone_is_not_given_to_customers(
    client: FlaskClient, desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "manual.pdf").write_bytes(_manual())
    with desk.db.begin() as session:
        source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(tmp_path))
    sources.sync(desk, source.id)
    address = f"/widget/v1/documents/{_article(desk).public_id}"
    assert client.get(address).status_code == 200
    with desk.db.begin() as session:
        session.scalars(select(Article)).one().visibility = Visibility.INTERNAL
    assert client.get(address).status_code == 404
    with desk.db.begin() as session:
        session.scalars(select(Article)).one().visibility = Visibility.PUBLIC
    make_inbox(desk.db, "acme")
    with desk.db.begin() as session:
        sources.limit_source(session, session.get_one(Source, source.id), "acme")
    assert client.get(address).status_code == 404, "of another inbox"
    address += "?inbox=acme"
    assert client.get(address).status_code == 200
    (tmp_path / "manual.pdf").unlink()
    (tmp_path / "manual.pdf").symlink_to("/etc/hostname")
    assert client.get(address).status_code == 404


def test_a_passage_begins_on_the_page_of_its_first_block(tmp_path: Path) -> None:
    (tmp_path / "manual.pdf").write_bytes(_manual())
    [article] = load(tmp_path / "manual.pdf").articles
    passages = cut(article).passages
    assert [(passage.heading.split(" > ")[-1], passage.page) for passage in passages] == [
        ("Toaster T6", 1), ("Crumb tray", 2), ("Code K-9", 3),
    ]  # fmt: skip
