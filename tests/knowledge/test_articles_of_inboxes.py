"""Articles of one inbox are not found, shown or cited in another, on either database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from assistant import worker
from assistant.desk import conversations, inboxes
from assistant.desk.access import CustomerPrincipal
from assistant.desk.desk import Desk
from assistant.errors import NotFound
from assistant.knowledge import articles as knowledge
from assistant.knowledge import figures, sources
from assistant.models import Citation, Conversation, Inbox, Message, Source, SourceKind
from assistant.retrieval.fulltext import find, find_code
from assistant.retrieval.index import Filters
from assistant.runtime import Runtime
from tests.factories import make_articles, make_conversation, make_figure, make_inbox

PUMP = "Error {code} means that the pump draws no water. Fill the tank up to the mark."


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def desk(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime], tmp_path: Path) -> Desk:
    """Two inboxes, an article for each, and one for both; more that fit better are Bolt's."""
    changes = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    desk = make_runtime(**changes).desk
    for key in ("acme", "bolt"):
        make_inbox(desk.db, key, name=key.title())
    pages = {f"b{n}.md": f"---\ninbox: bolt\n---\n# Bolt {n}\n\n{PUMP.format(code='GW-7741')}" for n in range(70)}
    pages["acme.md"] = f"---\ninbox: acme\n---\n# Acme\n\nAmong others: {PUMP.format(code='GW-7741')}"
    pages["both.md"] = "# Both\n\nThe warranty lasts two years, for the pump too."
    make_articles(desk, tmp_path / "kb", pages)
    return desk


def _inbox_id(desk: Desk, key: str) -> int:
    with desk.db.read() as session:
        return inboxes.find(session, key).id


def _found(desk: Desk, query: str, key: str | None) -> set[str]:
    """Titles without their numbers."""
    filters = Filters(inbox=_inbox_id(desk, key) if key is not None else None)
    hits = desk.index.search(query, filters=filters, limit=80)
    return {hit.document.metadata["article_title"].split()[0] for hit in hits}


def test_what_another_inbox_has_is_neither_found_nor_cited_and_crowds_nothing_out(desk: Desk) -> None:
    for query in ("pump", "GW-7741", "gw 7741", "what does the pump draw?", "Bolt 7"):
        assert "Bolt" not in _found(desk, query, "acme")
        assert "Acme" not in _found(desk, query, "bolt")
        assert _found(desk, query, "default") <= {"Both"}
        assert "Acme" in _found(desk, query, "acme") or query == "Bolt 7"
        assert "Bolt" in _found(desk, query, None)
    hits = knowledge.search_articles(desk.index, "pump", inbox_id=_inbox_id(desk, "acme"))
    assert {hit.document.metadata["article_title"] for hit in hits} == {"Acme", "Both"}
    # What the index finds is checked again: here it is not.
    acme = Filters(inbox=_inbox_id(desk, "acme"))
    with desk.db.read() as session:
        for filters, most in ((acme, 2), (replace(acme, inbox=_inbox_id(desk, "default")), 1)):
            assert len(find(session, ["pump"], filters=filters, limit=99)) == most
            assert len(find_code(session, "GW7741", filters=filters, limit=99)) == most - 1
    for key in ("acme", "bolt", "default"):
        customer = CustomerPrincipal(make_conversation(desk, inbox=key).id)
        conversations.post_message(desk, customer, text="What does GW-7741 mean?", uploads=(), client_id=None)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        query = select(Inbox.key, Citation.article_title).join(Citation.message).join(Message.conversation)
        cited = set(session.execute(query.join(Conversation.inbox)).all())
    assert ("acme", "Acme") in cited
    assert all(title.lower().startswith(key) for key, title in cited)


def test_a_source_is_limited_at_once_and_so_are_its_figures_and_later_articles(desk: Desk, tmp_path: Path) -> None:
    figure_id = make_figure(desk, tmp_path / "parts")
    acme, bolt = _inbox_id(desk, "acme"), _inbox_id(desk, "bolt")
    with desk.db.begin() as session:
        source = session.scalars(select(Source).where(Source.name == "parts")).one()
        sources.limit_source(session, source, "acme")
    assert _found(desk, "turn the valve", "acme") >= {"Valve"}
    assert "Valve" not in _found(desk, "turn the valve", "bolt")
    with desk.db.read() as session:
        assert figures.get_figure(session, figure_id, inbox_id=acme).public_id == figure_id
        with pytest.raises(NotFound):
            figures.get_figure(session, figure_id, inbox_id=bolt)
    (tmp_path / "parts" / "lever.md").write_text("# Lever\n\nPull the lever.")
    sources.sync(desk, source.id)
    assert "Lever" not in _found(desk, "pull the lever", "bolt")
    assert {"Lever", "Valve"} <= _found(desk, "lever valve", "acme")
    with desk.db.begin() as session:
        sources.limit_source(session, session.get_one(Source, source.id), inboxes.ALL_INBOXES)
    assert {"Lever", "Valve"} <= _found(desk, "lever valve", "bolt")


def test_an_article_for_an_unknown_inbox_is_nobodys(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "fine.md").write_text("# Fine\n\nA pump.")
    (folder / "typo.md").write_text("---\ninbox: amce\n---\n# Typo\n\nA pump.")
    with desk.db.begin() as session:
        source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(folder), inbox="acme")
    report = sources.sync(desk, source.id)
    assert report.failed == (("typo.md", "is for the inbox 'amce', which does not exist"),)
    assert "Typo" not in _found(desk, "pump", None)
    assert "Fine" not in _found(desk, "pump", "bolt")
