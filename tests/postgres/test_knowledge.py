"""Sources, figures and gaps on PostgreSQL: the same code as on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from assistant import worker
from assistant.knowledge import articles as knowledge
from assistant.knowledge import figures, gaps, sources
from assistant.runtime import Runtime
from tests.factories import make_figure, make_ticket

pytestmark = pytest.mark.postgres


def test_a_source_is_imported_twice_and_its_figure_stands_beside_its_text(
    make_runtime: Callable[..., Runtime], postgres_url: str, tmp_path: Path
) -> None:
    desk = make_runtime(database_url=postgres_url).desk
    figure_id = make_figure(desk, tmp_path / "manual")
    assert make_figure(desk, tmp_path / "manual") == figure_id
    hits = knowledge.search_articles(desk.index, "turn the valve")
    with desk.db.read() as session:
        beside = figures.figures_beside(session, [hit.document.metadata["passage_id"] for hit in hits])
        assert {figure.public_id for found in beside.values() for figure in found} == {figure_id}
        [state] = sources.list_sources(session)
    assert (state.state, state.articles) == ("ok", 1)


def test_questions_without_an_answer_become_a_gap(make_runtime: Callable[..., Runtime], postgres_url: str) -> None:
    desk = make_runtime(database_url=postgres_url).desk
    for text in ("Does the jukebox play vinyl records?", "Can the jukebox play vinyl records?"):
        make_ticket(desk, text)
    worker.run_until_idle(desk)
    assert gaps.look(desk) == 2
    with desk.db.read() as session:
        [gap] = gaps.list_gaps(session)
    assert gap.count == 2
