"""What is found on PostgreSQL, by whom: filters apply before anything is ranked, by words, codes and meaning alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text, update

from assistant.db import utcnow
from assistant.desk.desk import Desk
from assistant.models import Article, Visibility
from assistant.retrieval.fulltext import count, find_code, frequent_lexemes, in_use
from assistant.retrieval.index import Filters
from assistant.runtime import Runtime
from tests.factories import make_articles

pytestmark = pytest.mark.postgres

PUBLIC = Filters()
AGENTS = Filters(visibilities=tuple(Visibility))


@pytest.fixture
def desk(make_runtime: Callable[..., Runtime], postgres_url: str, tmp_path: Path) -> Desk:
    """A hundred internal articles that fit better than the public one, a German one, and noise."""
    desk = make_runtime(database_url=postgres_url).desk
    secret = "---\nvisibility: internal\n---\n# Secret {n}\n\nThe pump. Pump pump pump! GW-7741: refund 40 euros."
    pages = {f"s{n}.md": secret.format(n=n) for n in range(100)}
    pages["water.md"] = "# Water\n\nAmong many other things there is a pump, too, in the machine with part GW-7741."
    pages["de.md"] = "---\nlanguage: de\n---\n# Pumpe\n\nDie Pumpe, pump, Teil GW-7741."
    pages |= {f"n{n}.md": f"# Noise {n}\n\nOther things about lamps and lights." for n in range(20)}
    make_articles(desk, tmp_path / "kb", pages)
    return desk


def _titles(desk: Desk, query: str, filters: Filters = PUBLIC) -> list[str]:
    return [hit.document.metadata["article_title"] for hit in desk.index.search(query, filters=filters, limit=40)]


@pytest.mark.parametrize("query", ["pump", "GW-7741", "gw 7741", "how much may I refund, pump pump", "Secret 7"])
def test_internal_passages_never_reach_a_public_search_nor_crowd_out_what_may_be_seen(desk: Desk, query: str) -> None:
    found = _titles(desk, query)
    assert "Water" in found
    assert not any(title.startswith("Secret") for title in found)
    assert any(title.startswith("Secret") for title in _titles(desk, query, AGENTS))


def test_a_language_filter_is_strict(desk: Desk) -> None:
    assert _titles(desk, "pump GW-7741", Filters(languages=("de",))) == ["Pumpe"]
    assert _titles(desk, "pump", Filters(languages=("fr",))) == []
    assert _titles(desk, "pump", Filters(visibilities=())) == []


def test_an_article_that_becomes_internal_is_gone_at_once(desk: Desk) -> None:
    assert "Water" in _titles(desk, "pump")
    with desk.db.begin() as session:
        internal = update(Article).where(Article.title == "Water")
        session.execute(internal.values(visibility=Visibility.INTERNAL, updated_at=utcnow()))
    assert "Water" not in _titles(desk, "pump")


def test_identifiers_are_found_by_their_own_index_within_the_filters(desk: Desk) -> None:
    with desk.db.read() as session:
        assert len(find_code(session, "GW7741", filters=PUBLIC, limit=500)) == 2
        assert len(find_code(session, "GW7741", filters=AGENTS, limit=500)) == 102
        assert len(find_code(session, "GW7741", filters=AGENTS, limit=5)) == 5
        assert find_code(session, "GW774", filters=AGENTS, limit=5) == []
        session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = session.execute(text("EXPLAIN SELECT 1 FROM passages WHERE string_to_array(codes, ' ') @> ARRAY['E21']"))
        assert "fts_passages_codes" in "\n".join(plan.scalars())


def test_frequent_words_are_known_from_statistics_and_rare_ones_counted(desk: Desk) -> None:
    words = ["pump", "lamps", "machine", "the", "absent"]
    exact = {"pump": 102, "lamps": 20, "machine": 1, "the": 122, "absent": 0}
    with desk.db.begin() as session:  # on a slow machine the server itself has looked by now
        session.execute(text("ALTER TABLE passages SET (autovacuum_enabled = false)"))
        session.execute(text("DELETE FROM pg_statistic WHERE starelid = 'passages'::regclass"))
    with desk.db.read() as session:
        assert in_use(session, words) == {"pump", "lamps", "machine", "the"}
        assert frequent_lexemes(session, passages=122) == {}, "nobody has looked yet"
        assert count(session, words, frequent={}, passages=122) == exact
    with desk.db.engine.connect() as connection:
        connection.execute(text("ANALYZE passages"))
        connection.commit()
    with desk.db.read() as session:
        frequent = frequent_lexemes(session, passages=122)
        assert frequent["pump"] == pytest.approx(102, abs=2)
        assert count(session, words, frequent=frequent, passages=122) == pytest.approx(exact, abs=2)
