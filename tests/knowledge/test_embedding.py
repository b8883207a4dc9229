"""Changing the embedder: search and imports go on with the old one until no passage is without its new vector."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from apiflask import APIFlask
from click.testing import CliRunner
from sqlalchemy import func, select

from assistant import doctor, worker
from assistant.cli import main
from assistant.db import Database
from assistant.desk.desk import Desk
from assistant.knowledge import embedding, indexing, sources
from assistant.models import EmbeddingModel, EmbeddingModelState, Job, JobStatus, Passage, Vector, VectorKind
from assistant.ports import Capabilities, Embedder
from assistant.runtime import Runtime, build
from assistant.settings import Settings
from tests.factories import make_agent, make_articles, signed_in_client
from tests.fakes import HashEmbeddings, fake_capabilities
from tests.processes import Process, Tell

OLD, NEW = "hash-512", "hash-64"


class Watched(HashEmbeddings):
    """Calls ``before`` with the number of texts embedded so far, before each batch of articles."""

    def __init__(self, dimensions: int, before: Callable[[int], None] = lambda _embedded: None) -> None:
        super().__init__(dimensions)
        self.before = before

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if len(texts) > 1:
            self.before(self.embedded)
        return super().embed_documents(texts)


def _capabilities(embeddings: HashEmbeddings, *, old_is_here: bool = True) -> Capabilities:
    """Settings that name another embedder than before; the old one can be opened again if it ``is_here``."""

    def reopen(source: str) -> Embedder | None:
        return Embedder(HashEmbeddings(512), OLD, source) if old_is_here and source == "old" else None

    name = f"hash-{embeddings.dimensions}"
    capabilities = fake_capabilities(embeddings=embeddings, embedding_model=name, reopen_embedder=reopen)
    return replace(capabilities, embedding_source="old" if name == OLD else "new")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def start(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime]) -> Callable[[Capabilities], Desk]:
    """``start(capabilities)``: a desk with these, on the same database every time, as after a restart."""
    changes = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}

    def started(capabilities: Capabilities) -> Desk:
        return make_runtime(capabilities=capabilities, **changes).desk

    return started


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kb"


def _pages(count: int) -> dict[str, str]:
    return {f"{n}.md": f"# Page {n}\n\nThe lever number {n} opens the valve of tank {n * 7}." for n in range(count)}


def _found(desk: Desk, query: str) -> str:
    hit = desk.index.search(query)[0]
    assert hit.similarity is not None
    assert hit.similarity > 0.2, "not by words alone"
    return str(hit.document.metadata["article_title"])


def _models_of(db: Database, kind: VectorKind = VectorKind.PASSAGE) -> dict[str, int]:
    with db.read() as session:
        query = select(Vector.embedding_model, func.count()).where(Vector.kind == kind)
        return dict(session.execute(query.group_by(Vector.embedding_model)).all())


def _status(db: Database) -> tuple[str, str | None]:
    with db.read() as session:
        status = embedding.status(session)
    assert status is not None
    return status.served, status.wanted


Start = Callable[[Capabilities], Desk]


def test_search_stays_with_the_old_embedder_until_every_passage_has_its_new_vector(start: Start, folder: Path) -> None:
    make_articles(start(_capabilities(HashEmbeddings(512))), folder, _pages(80))
    seen: list[tuple[str, str, dict[str, int]]] = []

    def look(_embedded: int) -> None:
        seen.append((_found(desk, "lever number 11"), desk.index.embedding_model, _models_of(desk.db)))

    desk = start(_capabilities(Watched(64, look)))
    assert _status(desk.db) == (OLD, NEW)
    assert _found(desk, "lever number 42") == "Page 42"
    worker.run_until_idle(desk)
    assert len(seen) >= 3
    assert {(title, model) for title, model, _ in seen} == {("Page 11", OLD)}
    assert [models.get(NEW, 0) for _, _, models in seen[:3]] == [0, 32, 64]
    assert _found(desk, "lever number 42") == "Page 42"
    assert desk.index.embedding_model == NEW
    assert _status(desk.db) == (NEW, None)
    assert _models_of(desk.db) == {NEW: 80}
    assert _models_of(desk.db, VectorKind.HEADING) == {NEW: 80}, "the old ones are removed"


def test_another_process_follows_the_switch_without_a_restart(start: Start, folder: Path) -> None:
    first = start(replace(_capabilities(HashEmbeddings(512)), reopen_embedder=_opens_new))
    make_articles(first, folder, _pages(5))
    assert (_found(first, "lever number 3"), first.index.embedding_model) == ("Page 3", OLD)
    worker.run_until_idle(start(_capabilities(HashEmbeddings(64))))
    assert (_found(first, "lever number 3"), first.index.embedding_model) == ("Page 3", NEW)
    make_articles(first, folder, {"late.md": "# Late\n\nA crank closes the flap."})
    assert _models_of(first.db) == {NEW: 6}, "imports follow too"


def _opens_new(source: str) -> Embedder | None:
    return Embedder(HashEmbeddings(64), NEW, source) if source == "new" else None


def test_an_article_that_is_imported_while_the_switch_runs_is_found_before_and_after(
    start: Start, folder: Path
) -> None:
    make_articles(start(_capabilities(HashEmbeddings(512))), folder, _pages(40))
    titles: list[str] = []

    def add(embedded: int) -> None:
        if embedded == 32:  # in the middle
            source_folder = folder.parent / "more"
            source_folder.mkdir()
            (source_folder / "late.md").write_text("# Late\n\nThe crank closes the flap.")
            with desk.db.begin() as session:
                source = sources.add_source(
                    session, kind=sources.SourceKind.FOLDER, location=str(source_folder), name="more"
                )
            sources.sync(desk, source.id)
            titles.append(_found(desk, "crank flap"))

    desk = start(_capabilities(Watched(64, add)))
    worker.run_until_idle(desk)
    assert titles == ["Late"]
    assert _status(desk.db) == (NEW, None)
    assert _found(desk, "crank flap") == "Late"
    assert _models_of(desk.db) == {NEW: 41}


def test_an_import_that_began_before_the_switch_stores_with_the_new_embedder(start: Start, folder: Path) -> None:
    """No article can slip past the switch with an old vector only."""
    make_articles(start(_capabilities(HashEmbeddings(512))), folder, _pages(3))
    pages = folder.parent / "more"
    pages.mkdir()
    (pages / "late.md").write_text("# Late\n\n## One\n\nThe crank closes the flap.\n\n## Two\n\nThe flap is red.")
    capabilities = _capabilities(HashEmbeddings(64))

    class Switching(HashEmbeddings):
        """The switch takes place while the article is being embedded with the old embedder."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            worker.run_until_idle(desk)
            return super().embed_documents(texts)

    desk = start(replace(capabilities, reopen_embedder=lambda source: Embedder(Switching(512), OLD, source)))
    with desk.db.begin() as session:
        source = sources.add_source(session, kind=sources.SourceKind.FOLDER, location=str(pages), name="more")
    assert sources.sync(desk, source.id).added == 1
    assert _status(desk.db) == (NEW, None)
    assert _models_of(desk.db) == {NEW: 5}
    assert _found(desk, "crank flap") == "Late"


def test_settings_that_change_back_in_the_middle_leave_everything_as_it_was(start: Start, folder: Path) -> None:
    make_articles(start(_capabilities(HashEmbeddings(512))), folder, _pages(40))

    def back(embedded: int) -> None:
        if embedded == 32:
            start(_capabilities(HashEmbeddings(512)))

    desk = start(_capabilities(Watched(64, back)))
    worker.run_until_idle(desk)
    assert _status(desk.db) == (OLD, None)
    assert _models_of(desk.db) == {OLD: 40}
    assert _found(start(_capabilities(HashEmbeddings(512))), "lever number 7") == "Page 7"


def test_without_the_old_embedder_words_find_what_has_no_new_vector_yet(start: Start, folder: Path) -> None:
    make_articles(start(_capabilities(HashEmbeddings(512))), folder, _pages(40))
    desk = start(_capabilities(HashEmbeddings(64), old_is_here=False))
    assert _status(desk.db) == (NEW, NEW)
    with desk.db.read() as session:
        status = embedding.status(session)
    assert status is not None
    assert status.describe() == "hash-64: 0 of 40 passages embedded; the others are found by words"
    hit = desk.index.search("lever number 11")[0]
    assert (hit.document.metadata["article_title"], hit.similarity) == ("Page 11", 0.0)
    worker.run_until_idle(desk)
    assert _found(desk, "lever number 11") == "Page 11"
    assert _status(desk.db) == (NEW, None)
    assert _models_of(desk.db) == {NEW: 40}


def test_a_start_with_the_same_embedder_asks_for_nothing(start: Start, folder: Path) -> None:
    desk = start(_capabilities(HashEmbeddings(512)))
    make_articles(desk, folder, _pages(2))
    indexing.calibrate(desk.db, embedding.serving(desk))
    start(_capabilities(HashEmbeddings(512)))
    with desk.db.read() as session:
        assert session.scalar(select(func.count()).select_from(Job).where(Job.name == embedding.EMBED)) == 0
    start(_capabilities(HashEmbeddings(64)))
    start(_capabilities(HashEmbeddings(64)))
    with desk.db.read() as session:
        jobs = session.scalars(select(Job).where(Job.name == embedding.EMBED)).all()
    assert [job.status for job in jobs] == [JobStatus.QUEUED], "asked twice, it is done once"


def test_an_embedder_that_fails_leaves_search_as_it_was(start: Start, folder: Path) -> None:
    make_articles(start(_capabilities(HashEmbeddings(512))), folder, _pages(40))

    def fail(embedded: int) -> None:
        if embedded == 32:
            raise RuntimeError("out of memory")

    desk = start(_capabilities(Watched(64, fail)))
    while worker.run_once(desk):
        pass
    assert _status(desk.db) == (OLD, NEW)
    assert _models_of(desk.db) == {OLD: 40, NEW: 32}
    assert _found(desk, "lever number 7") == "Page 7"
    whole = HashEmbeddings(64)
    embedding.embed(start(_capabilities(whole)))
    assert _status(desk.db) == (NEW, None)
    assert whole.embedded == 40 - 32 + 40 + 40, "what was made is not made again; headings and sentences were not"


def switch(tell: Tell, data: Path) -> None:
    """Tells of every batch before it is embedded."""

    def before(embedded: int) -> None:
        tell(embedded)
        time.sleep(0.1)

    def reopen(source: str) -> Embedder:
        return Embedder(HashEmbeddings(512), OLD, source)

    new = fake_capabilities(
        embeddings=Watched(64, before), embedding_model=NEW, embedding_source="new", reopen_embedder=reopen
    )
    embedding.embed(build(Settings(data_dir=data, workers=0), capabilities=new).desk)


@pytest.mark.slow
@pytest.mark.parametrize("batches", [1, 4, 7, 9])
def test_a_switch_that_is_killed_goes_on_where_it_was(
    make_runtime: Callable[..., Runtime], folder: Path, tmp_path: Path, batches: int
) -> None:
    """Killed among the passages, among the headings, and near the switch itself."""
    old = make_runtime(capabilities=_capabilities(HashEmbeddings(512))).desk
    make_articles(old, folder, _pages(160))
    process = Process(switch, tmp_path / "var")
    for _ in range(batches):
        process.hear()
    process.kill()
    made = _models_of(old.db).get(NEW, 0)
    assert made == min(32 * (batches - 1), 160)
    assert _found(old, "lever number 120") == "Page 120"
    new = HashEmbeddings(64)
    desk = make_runtime(capabilities=_capabilities(new)).desk
    assert _status(desk.db) == (OLD, NEW)
    worker.run_until_idle(desk)
    assert _status(desk.db) == (NEW, None)
    headings = 32 * max(batches - 1 - 5, 0)
    assert new.embedded == 480 - made - headings, "passages, headings, sentences"
    assert _models_of(desk.db) == {NEW: 160}
    assert _found(desk, "lever number 120") == "Page 120"


def test_searches_and_imports_during_a_switch_never_fail_nor_miss(start: Start, folder: Path) -> None:
    make_articles(start(_capabilities(HashEmbeddings(512))), folder, _pages(96))
    desk = start(_capabilities(Watched(64, lambda _embedded: time.sleep(0.05))))
    wrong: list[str] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                if (title := _found(desk, "lever number 33")) != "Page 33":
                    wrong.append(title)
            except Exception as error:
                wrong.append(repr(error))

    def change() -> None:
        number = 0
        while not over.is_set():
            number += 1
            try:
                page = folder.parent / "more"
                page.mkdir(exist_ok=True)
                (page / "late.md").write_text(f"# Late\n\nThe crank closes flap {number}.")
                with desk.db.begin() as session:
                    kind = sources.SourceKind.FOLDER
                    source = sources.add_source(session, kind=kind, location=str(page), name="more")
                sources.sync(desk, source.id)
            except Exception as error:
                wrong.append(repr(error))

    threads = [threading.Thread(target=ask), threading.Thread(target=change)]
    for thread in threads:
        thread.start()
    worker.run_until_idle(desk)
    time.sleep(0.2)
    over.set()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert _status(desk.db) == (NEW, None)
    with desk.db.read() as session:
        assert indexing.is_complete(session, NEW)
        passages = session.scalar(select(func.count()).select_from(Passage))
    assert passages == 97


def test_vectors_of_texts_that_are_gone_are_swept_away(start: Start, folder: Path) -> None:
    desk = start(_capabilities(HashEmbeddings(512)))
    make_articles(desk, folder, {**_pages(3), "secret.md": "# Jane Doe's kettle\n\nIt leaks."})
    (folder / "secret.md").unlink()
    make_articles(desk, folder, _pages(3))
    indexing.sweep_vectors(desk.db)
    assert _models_of(desk.db) == {OLD: 3}
    assert _models_of(desk.db, VectorKind.HEADING) == {OLD: 3}
    assert _found(desk, "lever number 2") == "Page 2"


def test_only_one_embedder_is_ever_served(start: Start) -> None:
    desk = start(_capabilities(HashEmbeddings(512)))
    with desk.db.read() as session:
        models = session.scalars(select(EmbeddingModel)).all()
    assert [(model.name, model.source, model.state) for model in models] == [(OLD, "old", EmbeddingModelState.SERVED)]


@pytest.mark.slow  # the doctor asks torch what there is
def test_status_doctor_and_console_tell_of_a_switch(
    make_runtime: Callable[..., Runtime],
    make_app: Callable[..., APIFlask],
    folder: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_articles(make_runtime(capabilities=_capabilities(HashEmbeddings(512))).desk, folder, _pages(40))
    said: list[str] = []

    def told() -> str:
        status = CliRunner().invoke(main, ["kb", "status"]).output
        [search] = [check for check in doctor.run(settings) if check.name == "search"]
        page = client.get("/console/knowledge/sources").get_data(as_text=True)
        return "\n".join([status, search.status, search.detail, page])

    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(settings.data_dir))
    runtime = make_runtime(capabilities=_capabilities(Watched(64, lambda embedded: said.append(told()))))
    with runtime.desk.db.begin() as session:
        sources.add_source(session, kind=sources.SourceKind.FOLDER, location=str(folder), name="kb")
    client = signed_in_client(make_app(runtime), runtime.desk.db, make_agent(runtime.desk.db, "dora", admin=True))
    worker.run_until_idle(runtime.desk)
    assert "Searched with hash-512, until hash-64 is ready: 0 of 40 passages embedded" in said[0]
    assert "warn\nhash-512, until hash-64 is ready: 0 of 40 passages embedded" in said[0]
    assert "Search uses hash-512 until every passage is embedded with hash-64." in said[0]
    after = told()
    assert "Searched with hash-64\n" in after
    assert "ok\nuses hash-64" in after
    assert "Search uses" not in after
