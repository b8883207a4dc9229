"""Vectors on PostgreSQL: half floats, their index, and what migrations make of rows that are there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from sqlalchemy import Engine, create_engine, text

from assistant.db import migrate, migration_config
from assistant.desk.desk import Desk
from assistant.knowledge.indexing import drop_index, index_vectors
from assistant.ports import Embedder
from assistant.runtime import Runtime
from tests.factories import make_articles
from tests.fakes import HashEmbeddings, fake_capabilities

pytestmark = pytest.mark.postgres

MODEL = "it's 100% :named"


@pytest.fixture
def desk(make_runtime: Callable[..., Runtime], postgres_url: str, tmp_path: Path) -> Desk:
    capabilities = fake_capabilities(embedding_model=MODEL)
    desk = make_runtime(database_url=postgres_url, capabilities=capabilities).desk
    pages = {f"{n}.md": f"# Page {n}\n\nThe lever {n} opens the valve of tank {n * 7}." for n in range(60)}
    secret = "---\nvisibility: internal\n---\n# Secret {n}\n\nThe lever {n} opens the valve of the safe."
    make_articles(desk, tmp_path / "kb", {**pages, **{f"s{n}.md": secret.format(n=n) for n in range(60)}})
    return desk


def _indexes(engine: Engine) -> dict[str, bool]:
    """Name to whether it is valid, of the indexes of vectors."""
    query = "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname LIKE 'fts_hnsw%'"
    with engine.connect() as connection:
        return dict(connection.execute(text(query)).all())  # type: ignore[arg-type]


def _titles(desk: Desk, query: str) -> list[str]:
    return [hit.document.metadata["article_title"] for hit in desk.index.search(query)]


def test_the_index_of_vectors_is_made_once_there_are_enough_passages(desk: Desk) -> None:
    before = _titles(desk, "valve of tank 77")
    assert not index_vectors(desk.db, embedding_model=MODEL)
    assert not index_vectors(desk.db, embedding_model="unknown", index_from=1)
    assert _indexes(desk.db.engine) == {}
    assert index_vectors(desk.db, embedding_model=MODEL, index_from=100)
    assert list(_indexes(desk.db.engine).values()) == [True]
    assert index_vectors(desk.db, embedding_model=MODEL, index_from=100), "again does no harm"
    assert _titles(desk, "valve of tank 77") == before
    drop_index(desk.db, embedding_model=MODEL)
    assert _indexes(desk.db.engine) == {}


def test_the_search_uses_the_index_and_internal_neighbours_do_not_fill_it(desk: Desk) -> None:
    """Nearer internal passages are passed over within the index, however many they are."""
    index_vectors(desk.db, embedding_model=MODEL, index_from=100)
    [name] = _indexes(desk.db.engine)
    scans = text("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = :name")
    with desk.db.engine.connect() as connection:
        connection.execute(text("ALTER DATABASE " + desk.db.engine.url.database + " SET enable_seqscan = off"))  # type: ignore[operator]
        connection.execute(text("ALTER DATABASE " + desk.db.engine.url.database + " SET enable_sort = off"))  # type: ignore[operator]
        connection.commit()
    desk.db.engine.dispose()
    found = _titles(desk, "the valve of the safe")
    assert len(found) == 8
    assert all(title.startswith("Page") for title in found)
    desk.db.engine.dispose()  # counters are told when a session ends
    with desk.db.engine.connect() as connection:
        assert connection.execute(scans, {"name": name}).scalar_one() > 0


def test_an_index_whose_making_was_killed_is_made_anew(desk: Desk) -> None:
    index_vectors(desk.db, embedding_model=MODEL, index_from=100)
    [name] = _indexes(desk.db.engine)
    with desk.db.engine.connect() as connection:
        connection.execute(
            text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass(:name)"), {"name": name}
        )
        connection.commit()
    assert _indexes(desk.db.engine) == {name: False}
    assert index_vectors(desk.db, embedding_model=MODEL, index_from=100)
    assert _indexes(desk.db.engine) == {name: True}


ARTICLE = """INSERT INTO articles (id, public_id, source, source_key, title, language, visibility, content_hash,
    created_at, updated_at) VALUES (1, 'art_1', 's', 'k', 'Valve', 'en', 'public', '', now(), now())"""
PASSAGE = """INSERT INTO passages (public_id, article_id, position, heading, text, codes, content_hash, embedding_model,
    embedding) VALUES (:id, 1, :position, 'Valve', :text, 'E21', :hash, :model, :embedding)"""


@pytest.mark.parametrize("others", [0, 2500], ids=["few", "more than a batch"])
def test_rows_of_the_first_version_keep_their_vectors_through_every_migration_and_back(
    empty_postgres_url: str, others: int
) -> None:
    embeddings = HashEmbeddings(64)
    texts = ["Turn it left.", "Turn it right.", "Turn it left.", *(f"Number {n}." for n in range(others))]
    vectors = np.array([embeddings.embed_query(words) for words in texts], dtype="<f4")
    migrate(empty_postgres_url, revision="knowledge_sources")
    engine = create_engine(empty_postgres_url)
    with engine.begin() as connection:
        connection.execute(text(ARTICLE))
        rows = [
            {
                "id": f"psg_{n}",
                "position": n,
                "text": words,
                "hash": words,
                "model": "hash-64",
                "embedding": vectors[n].tobytes(),
            }
            for n, words in enumerate(texts)
        ]
        connection.execute(text(PASSAGE), rows)
    migrate(empty_postgres_url, revision="vectors")
    with engine.connect() as connection:
        kept = connection.execute(text("SELECT embedding::text FROM passages ORDER BY position")).scalars().all()
    halves = np.array([np.fromstring(row.strip("[]"), sep=",") for row in kept])
    assert np.abs(halves - vectors).max() < 0.001
    migrate(empty_postgres_url)
    with engine.connect() as connection:
        stored = dict(connection.execute(text("SELECT content_hash, embedding::text FROM vectors")).all())  # type: ignore[arg-type]
        models = connection.execute(text("SELECT name, source, state FROM embedding_models")).all()
    assert len(stored) == len(set(texts)), "the same text has one vector"
    assert [stored[words] for words in texts] == list(kept)
    assert [tuple(model) for model in models] == [("hash-64", "hash-64", "served")]
    command.downgrade(migration_config(empty_postgres_url), "knowledge_sources")
    with engine.connect() as connection:
        query = text("SELECT embedding, embedding_model FROM passages ORDER BY position")
        back = connection.execute(query).all()
    assert {row[1] for row in back} == {"hash-64"}
    assert np.abs(np.array([np.frombuffer(row[0], dtype="<f4") for row in back]) - vectors).max() < 0.001
    engine.dispose()
    migrate(empty_postgres_url)


def test_an_embedder_is_the_same_whatever_its_name_holds(desk: Desk) -> None:
    assert Embedder(HashEmbeddings(), MODEL).name == desk.index.embedding_model
    hit = desk.index.search("valve of tank 77")[0]
    assert hit.similarity is not None
    assert hit.similarity > 0.5
