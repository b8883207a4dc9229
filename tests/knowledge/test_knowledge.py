"""Importing articles: incremental, whole, and safe against kills and neighbours."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import select, text

from assistant.db import Database
from assistant.desk.desk import Desk
from assistant.errors import Conflict, Invalid, NotFound
from assistant.knowledge import articles as knowledge
from assistant.knowledge.imports import ImportReport, import_folder
from assistant.models import Article, Passage
from assistant.ports import Embedder
from tests.fakes import HashEmbeddings
from tests.processes import Process, Tell

MODEL = "hash-512"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "kb"
    folder.mkdir()
    return folder


@pytest.fixture
def embeddings() -> HashEmbeddings:
    return HashEmbeddings()


def _write(folder: Path, **pages: str) -> None:
    for name, body in pages.items():
        (folder / f"{name}.md").write_text(f"# {name.title()}\n\n{body}\n", encoding="utf-8")


def _import(db: Database, folder: Path, embeddings: HashEmbeddings, *, model: str = MODEL) -> ImportReport:
    return import_folder(db, path=folder, source="manuals", embedder=Embedder(embeddings, model))


def _counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.added, report.updated, report.unchanged, report.removed


def _state(db: Database) -> dict[str, list[str]]:
    """Source key to the texts of its passages in order."""
    with db.read() as session:
        query = select(Article.source_key, Passage.text).join(Passage.article).order_by(Article.id, Passage.position)
        found: dict[str, list[str]] = {}
        for key, passage in session.execute(query):
            found.setdefault(key, []).append(passage)
        return found


def test_an_unchanged_folder_costs_nothing_the_second_time(
    db: Database, folder: Path, embeddings: HashEmbeddings
) -> None:
    _write(folder, one="Text one.", two="Text two.")
    assert _counts(_import(db, folder, embeddings)) == (2, 0, 0, 0)
    before = embeddings.embedded
    assert _counts(_import(db, folder, embeddings)) == (0, 0, 2, 0)
    assert embeddings.embedded == before


def test_only_the_changed_passage_of_a_changed_article_is_embedded_again(
    db: Database, folder: Path, embeddings: HashEmbeddings
) -> None:
    _write(folder, one="## A\n\nFirst.\n\n## B\n\nSecond.\n\n## C\n\nThird.", two="Text two.")
    _import(db, folder, embeddings)
    before = embeddings.embedded
    _write(folder, one="## A\n\nFirst.\n\n## B\n\nChanged.\n\n## C\n\nThird.")
    assert _counts(_import(db, folder, embeddings)) == (0, 1, 1, 0)
    assert embeddings.embedded - before == 1
    assert _state(db)["one.md"] == ["First.", "Changed.", "Third."]


def test_articles_that_left_the_folder_go_and_other_sources_stay(
    db: Database, folder: Path, tmp_path: Path, embeddings: HashEmbeddings
) -> None:
    _write(folder, one="Text one.", two="Text two.")
    other = tmp_path / "faq"
    other.mkdir()
    _write(other, one="Another source.")
    import_folder(db, path=other, source="faq", embedder=Embedder(embeddings, MODEL))
    _import(db, folder, embeddings)
    (folder / "two.md").unlink()
    assert _counts(_import(db, folder, embeddings)) == (0, 0, 1, 1)
    with db.read() as session:
        kept = session.execute(select(Article.source, Article.source_key).order_by(Article.source)).all()
    assert list(kept) == [("faq", "one.md"), ("manuals", "one.md")]


def test_an_article_that_cannot_be_read_just_now_stays_as_it_was(
    db: Database, folder: Path, embeddings: HashEmbeddings
) -> None:
    _write(folder, one="Text one.")
    (folder / "c#.md").write_text("# C sharp\n\nText.")
    _import(db, folder, embeddings)
    (folder / "c#.md").write_bytes(b"\0\0\0")
    report = _import(db, folder, embeddings)
    assert report.failed == (("c#.md", "is not a text file"),)
    assert report.removed == 0
    assert _state(db)["c#.md"] == ["Text."]


def test_rows_of_a_file_with_a_broken_row_stay_and_empty_rows_do_not_stop_removal(
    db: Database, folder: Path, embeddings: HashEmbeddings
) -> None:
    def write(*lines: str) -> None:
        (folder / "faq.jsonl").write_text("\n".join(lines))

    one, two, empty = '{"id": 1, "text": "One."}', '{"id": 2, "text": "Two."}', '{"id": 3, "text": ""}'
    write(one, two, empty)
    assert _import(db, folder, embeddings).added == 2
    write(one, '{"id": 2, "te', empty)
    assert _import(db, folder, embeddings).removed == 0
    write(one, empty)
    assert _import(db, folder, embeddings).removed == 1
    assert list(_state(db)) == ["faq.jsonl#1"]


def test_a_mistyped_path_does_not_empty_the_knowledge_base(
    db: Database, folder: Path, tmp_path: Path, embeddings: HashEmbeddings
) -> None:
    _write(folder, one="Text one.")
    _import(db, folder, embeddings)
    with pytest.raises(NotFound):
        _import(db, tmp_path / "typo", embeddings)
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid):
        _import(db, tmp_path / "empty", embeddings)
    (tmp_path / "empty" / "bad.md").write_bytes(b"\0")
    with pytest.raises(NotFound, match=r"bad\.md is not a text file"):
        _import(db, tmp_path / "empty", embeddings)
    assert list(_state(db)) == ["one.md"]


def test_an_import_with_another_embedder_than_the_one_that_is_served_is_refused(db: Database, folder: Path) -> None:
    _write(folder, one="Text one.")
    _import(db, folder, HashEmbeddings())
    _write(folder, one="Text one.", two="Text two.")
    with pytest.raises(Conflict, match="hash-512"):
        _import(db, folder, HashEmbeddings(64), model="hash-64")
    assert list(_state(db)) == ["one.md"]


def test_progress_goes_up_to_all_of_it(db: Database, folder: Path, embeddings: HashEmbeddings) -> None:
    _write(folder, one="Text one.", two="Text two.", three="Text three.")
    seen: list[tuple[int, int]] = []
    import_folder(
        db, path=folder, source="manuals", embedder=Embedder(embeddings, MODEL),
        progress=lambda done, total, _what: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_an_article_is_replaced_as_a_whole_or_not_at_all(db: Database, folder: Path) -> None:
    """What fails in the middle leaves every article as a whole of one version."""
    _write(folder, **{f"a{n}": f"## Old {n}\n\nOld.\n\n## More\n\nOld, too." for n in range(90)})
    _import(db, folder, HashEmbeddings())
    _write(folder, **{f"a{n}": f"## New {n}\n\nNew.\n\n## More\n\nNew, too." for n in range(90)})

    class FailsLater(HashEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            if self.embedded > 120:
                raise RuntimeError("out of memory")
            return super().embed_documents(texts)

    with pytest.raises(RuntimeError):
        _import(db, folder, FailsLater())
    states = {tuple(passages) for passages in _state(db).values()}
    assert states == {("Old.", "Old, too."), ("New.", "New, too.")}


def test_no_transaction_is_open_while_passages_are_embedded(db: Database, folder: Path) -> None:
    class Writes(HashEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            with db.begin() as session:  # would wait 30 s for an open write transaction
                session.execute(text("UPDATE passages_fts_version SET version = version + 1"))
            return super().embed_documents(texts)

    _write(folder, **{f"a{n}": "Text." for n in range(70)})
    started = time.perf_counter()
    assert _import(db, folder, Writes()).added == 70
    assert time.perf_counter() - started < 25


def test_two_imports_at_once_leave_one_of_each(db: Database, folder: Path) -> None:
    pages = {f"a{n}": f"## One\n\nText {n}.\n\n## Two\n\nMore {n}." for n in range(60)}
    _write(folder, **pages)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _import(db, folder, HashEmbeddings())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert _state(db) == {f"a{n}.md": [f"Text {n}.", f"More {n}."] for n in sorted(range(60), key=str)}


class Slow(HashEmbeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        time.sleep(0.05)
        return super().embed_documents(texts)


def import_slowly(tell: Tell, url: str, folder: Path) -> None:
    """Tells how many articles are done."""
    import_folder(
        Database(url), path=folder, source="manuals", embedder=Embedder(Slow(), MODEL),
        progress=lambda done, _total, _what: tell(done),
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_import_continues_where_it_was(db: Database, folder: Path) -> None:
    rows = [json.dumps({"id": f"r{n:03}", "title": f"Row {n}", "text": f"Text of row {n}."}) for n in range(400)]
    (folder / "faq.jsonl").write_text("\n".join(rows))
    url = db.engine.url.render_as_string(hide_password=False)
    process = Process(import_slowly, url, folder)
    while process.hear() < 150:
        pass
    process.kill()
    kept = _state(db)
    assert 0 < len(kept) < 400
    assert all(len(passages) == 1 for passages in kept.values())
    embeddings = HashEmbeddings()
    assert _counts(_import(db, folder, embeddings)) == (400 - len(kept), 0, len(kept), 0)
    assert embeddings.embedded == 400 - len(kept)
    assert len(_state(db)) == 400


@pytest.fixture
def library(desk: Desk, folder: Path) -> Desk:
    _write(folder, apple="Public text.", cherry="Public, too.", elder="Last.")
    (folder / "banana.md").write_text("---\nvisibility: internal\n---\n# Banana\n\nFor agents.")
    _import(desk.db, folder, HashEmbeddings())
    return desk


def test_searching_shows_internal_articles_only_to_agents(library: Desk) -> None:
    assert "Banana" not in {
        hit.document.metadata["article_title"] for hit in knowledge.search_articles(library.index, "agents")
    }
    hits = knowledge.search_articles(library.index, "agents", internal=True)
    assert hits[0].document.metadata["article_title"] == "Banana"
