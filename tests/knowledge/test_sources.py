"""Sources: imported now, on schedule, again after a kill; with their figures."""

from __future__ import annotations

import dataclasses
import io
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import func, select

from assistant.db import Database
from assistant.desk.desk import Desk
from assistant.desk.taxonomies import Taxonomies
from assistant.errors import AssistantError, Conflict, Invalid, NotFound
from assistant.knowledge import articles as knowledge
from assistant.knowledge import figures, sources
from assistant.media.files import Upload
from assistant.models import Article, Figure, Job, JobStatus, Passage, PassageFigure, Source, SourceKind
from assistant.outbound import Reply, Request
from assistant.ports import Mode
from assistant.runtime import Runtime, build
from assistant.settings import Settings
from assistant.worker import run_once, run_until_idle
from tests.documents import make_manual
from tests.factories import make_figure, make_photo
from tests.fakes import FakeOCR, ManualClock, ScriptedChatModel, fake_capabilities
from tests.injections import ATTACKS, Obedient
from tests.processes import Process, Tell

PAGE = "# Valve\n\nTurn the valve to the left.\n\n![The valve](valve.png)\n\nThen close the flap.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "manuals"
    folder.mkdir()
    (folder / "valve.md").write_text(PAGE)
    (folder / "valve.png").write_bytes(make_photo("VALVE", kind="PNG"))
    return folder


@pytest.fixture
def ocr() -> FakeOCR:
    return FakeOCR("OPEN", "SHUT")


@pytest.fixture
def desk(make_runtime: Callable[..., Runtime], ocr: FakeOCR) -> Desk:
    runtime = make_runtime(capabilities=fake_capabilities(ocr=ocr))
    return dataclasses.replace(runtime.desk, now=ManualClock())


def _add(desk: Desk, folder: Path, **given: object) -> Source:
    with desk.db.begin() as session:
        return sources.add_source(session, kind=SourceKind.FOLDER, location=str(folder), **given)  # type: ignore[arg-type]


def _get(desk: Desk, source: Source) -> Source:
    with desk.db.read() as session:
        return session.get_one(Source, source.id)


def _texts(db: Database) -> list[str]:
    with db.read() as session:
        return list(session.scalars(select(Passage.text).order_by(Passage.article_id, Passage.position)))


def _figures(db: Database) -> list[Figure]:
    with db.read() as session:
        return list(session.scalars(select(Figure).order_by(Figure.id)))


def test_a_figure_is_a_passage_of_its_own_and_stands_beside_its_text(desk: Desk, folder: Path) -> None:
    report = sources.sync(desk, _add(desk, folder).id)
    assert (report.passages, report.figures) == (2, 1)
    assert _texts(desk.db)[1] == "The valve\n\nTurn the valve to the left.\n\nThe picture shows: OPEN · SHUT"
    with desk.db.read() as session:
        passages = list(session.scalars(select(Passage.public_id).order_by(Passage.position)))
        beside = figures.figures_beside(session, passages)
    assert [[figure.alt for figure in beside[passage]] for passage in passages] == [["The valve"], ["The valve"]]


def test_what_is_read_in_a_figure_can_be_found(desk: Desk, folder: Path) -> None:
    sources.sync(desk, _add(desk, folder).id)
    hits = knowledge.search_articles(desk.index, "the lever says shut")
    assert "SHUT" in hits[0].document.page_content


def test_figures_are_stored_without_metadata_and_read_once(desk: Desk, folder: Path, ocr: FakeOCR) -> None:
    exif = Image.Exif()
    exif[0x010E] = "taken at home"
    (folder / "valve.png").unlink()
    (folder / "valve.jpg").write_bytes(make_photo("VALVE", exif=exif))
    (folder / "valve.md").write_text(PAGE.replace(".png", ".jpg"))
    source = _add(desk, folder)
    sources.sync(desk, source.id)
    [figure] = _figures(desk.db)
    with Image.open(io.BytesIO(desk.storage.get(figure.sha256))) as image:
        assert dict(image.getexif()) == {}
    (folder / "valve.md").write_text(PAGE.replace(".png", ".jpg") + "\nChanged.\n")
    assert sources.sync(desk, source.id).updated == 1
    assert len(ocr.photos) == 1
    assert _figures(desk.db)[0].public_id == figure.public_id  # the same picture keeps its address


def test_a_figure_that_left_its_article_goes(desk: Desk, folder: Path) -> None:
    source = _add(desk, folder)
    sources.sync(desk, source.id)
    (folder / "valve.md").write_text("# Valve\n\nTurn the valve to the left.\n")
    sources.sync(desk, source.id)
    assert _figures(desk.db) == []
    with desk.db.read() as session:
        assert session.scalar(select(func.count()).select_from(PassageFigure)) == 0


def test_a_picture_that_cannot_be_read_is_left_out_and_the_article_goes_in(desk: Desk, folder: Path) -> None:
    (folder / "valve.png").write_bytes(b"\x89PNG broken")
    report = sources.sync(desk, _add(desk, folder).id)
    assert (report.added, report.figures) == (1, 0)
    assert report.failed[0][0] == "valve.md"
    assert "a picture was left out" in report.failed[0][1]


def test_small_pictures_are_decoration(desk: Desk, folder: Path) -> None:
    (folder / "valve.png").write_bytes(make_photo(size=(32, 32), kind="PNG"))
    report = sources.sync(desk, _add(desk, folder).id)
    assert (report.figures, report.failed) == (0, ())


def test_a_manual_is_found_by_its_text_its_figures_and_its_scanned_pages(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    desk = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("WARRANTY", "TWO YEARS"))).desk
    (tmp_path / "washpro.pdf").write_bytes(make_manual())
    report = sources.sync(desk, _add(desk, tmp_path / "washpro.pdf").id)
    assert (report.added, report.figures) == (1, 2)
    texts = _texts(desk.db)
    assert "WARRANTY\nTWO YEARS" in [text.replace("\n\n", "\n") for text in texts]
    assert any(text.startswith("Figure 1: The filter behind the flap") for text in texts)
    assert sources.sync(desk, _add(desk, tmp_path / "washpro.pdf").id).unchanged == 1


def test_an_internal_figure_is_not_there_for_the_public(desk: Desk, tmp_path: Path) -> None:
    figure_id = make_figure(desk, tmp_path / "internal", visibility="internal")
    with desk.db.read() as session:
        assert figures.get_figure(session, figure_id, internal=True).public_id == figure_id
        with pytest.raises(NotFound):
            figures.get_figure(session, figure_id)


# How an import went, and when the next one is


def test_a_source_remembers_how_its_import_went(desk: Desk, folder: Path) -> None:
    (folder / "bad.md").write_bytes(b"\0")
    source = _add(desk, folder)
    sources.sync(desk, source.id)
    with desk.db.read() as session:
        [state] = sources.list_sources(session)
    shown = state.to_json()
    assert (shown["state"], shown["articles"], shown["error"], shown["next_at"]) == ("ok", 1, None, None)
    assert shown["report"]["failed"] == [{"key": "bad.md", "reason": "is not a text file"}]
    assert (shown["done"], shown["total"]) == (1, 1)


def test_what_went_wrong_is_kept_and_what_is_stored_stays(desk: Desk, folder: Path) -> None:
    source = _add(desk, folder)
    sources.sync(desk, source.id)
    folder.rename(folder.with_name("moved"))
    with pytest.raises(NotFound):
        sources.sync(desk, source.id)
    assert "There is no file or folder" in str(_get(desk, source).error)
    assert len(_texts(desk.db)) == 2
    folder.with_name("moved").rename(folder)
    sources.sync(desk, source.id)
    assert _get(desk, source).error is None


def test_an_import_that_was_stopped_does_not_seem_to_run_on(desk: Desk, folder: Path) -> None:
    def stop(_done: int, _total: int, _what: str) -> None:
        raise KeyboardInterrupt

    source = _add(desk, folder)
    with pytest.raises(KeyboardInterrupt):
        sources.sync(desk, source.id, progress=stop)
    stopped = _get(desk, source)
    assert not stopped.is_running
    assert "import again to continue" in str(stopped.error)


def _clock(desk: Desk) -> ManualClock:
    assert isinstance(desk.now, ManualClock)
    return desk.now


def test_a_source_with_an_interval_is_imported_again_at_its_time(desk: Desk, folder: Path) -> None:
    source = _add(desk, folder, every=60)
    sources.sync(desk, source.id)
    assert run_until_idle(desk) == 0
    (folder / "new.md").write_text("# New\n\nText.")
    _clock(desk).advance(timedelta(minutes=59))
    assert run_until_idle(desk) == 0
    _clock(desk).advance(timedelta(minutes=2))
    assert run_once(desk)
    with desk.db.read() as session:
        assert knowledge.count_articles(session) == 2
    assert _get(desk, source).next_at == _clock(desk)() + timedelta(hours=1)


def test_the_schedule_goes_on_after_a_failure(desk: Desk, folder: Path) -> None:
    source = _add(desk, folder, every=60)
    sources.sync(desk, source.id)
    folder.rename(folder.with_name("moved"))
    _clock(desk).advance(timedelta(minutes=61))
    assert run_once(desk)
    assert _get(desk, source).error is not None
    folder.with_name("moved").rename(folder)
    _clock(desk).advance(timedelta(minutes=61))
    assert run_once(desk)
    assert _get(desk, source).error is None
    with desk.db.read() as session:
        assert session.scalar(select(func.count()).where(Job.status == JobStatus.DEAD)) == 0


def test_asked_for_twice_it_is_imported_once_and_before_its_time(desk: Desk, folder: Path) -> None:
    source = _add(desk, folder, every=60)
    sources.sync(desk, source.id)
    with desk.db.begin() as session:
        sources.request_sync(session, source)
        sources.request_sync(session, source)
        waiting = session.scalars(select(Job).where(Job.status == JobStatus.QUEUED)).all()
    assert len(waiting) == 1
    _clock(desk).at = waiting[0].run_at
    assert run_once(desk)
    assert not run_once(desk)


def test_an_interval_can_be_taken_away(desk: Desk, folder: Path) -> None:
    source = _add(desk, folder, every=60)
    sources.sync(desk, source.id)
    with desk.db.begin() as session:
        sources.set_interval(session, session.get_one(Source, source.id), None, now=desk.now())
    _clock(desk).advance(timedelta(days=2))
    assert run_until_idle(desk) == 0
    with desk.db.begin() as session, pytest.raises(Invalid):
        sources.set_interval(session, session.get_one(Source, source.id), 1, now=desk.now())


def test_a_source_that_is_removed_takes_its_articles_and_its_jobs_with_it(desk: Desk, folder: Path) -> None:
    source = _add(desk, folder, every=60)
    sources.sync(desk, source.id)
    with desk.db.begin() as session:
        assert sources.remove_source(session, sources.find_source(session, "manuals")) == 1
    _clock(desk).advance(timedelta(hours=2))
    run_until_idle(desk)
    assert _texts(desk.db) == []
    with desk.db.read() as session, pytest.raises(NotFound, match="none yet"):
        sources.find_source(session, "manuals")


def test_a_name_belongs_to_one_kind_of_source(desk: Desk, folder: Path) -> None:
    _add(desk, folder)
    with desk.db.begin() as session, pytest.raises(Conflict):
        sources.add_website(session, address="https://help.example.org", name="manuals")
    for address in ("help.example.org", "ftp://x.org", "https://user:pw@x.org", "file:///etc"):
        with desk.db.begin() as session, pytest.raises(Invalid):
            sources.add_website(session, address=address)


# Files that were sent in


def test_files_that_were_sent_in_are_imported_replaced_and_taken_out(desk: Desk) -> None:
    def send(name: str, text: str) -> Source:
        return sources.add_files(desk, [Upload(name, None, text.encode())], name="uploads")

    send("../../a.md", "# A\n\nOne.")
    source = send("b.md", "# B\n\nTwo.")
    sources.sync(desk, source.id)
    assert _texts(desk.db) == ["One.", "Two."]
    send("a.md", "# A\n\nChanged.")
    sources.sync(desk, source.id)
    assert sorted(_texts(desk.db)) == ["Changed.", "Two."]
    for name in ("a.md", "b.md"):
        with desk.db.begin() as session:
            sources.remove_file(session, source, name)
        sources.sync(desk, source.id)
    assert _texts(desk.db) == []


def test_what_is_no_article_is_not_taken(desk: Desk) -> None:
    with pytest.raises(Invalid, match=r"run\.exe is not a supported kind of file"):
        sources.add_files(desk, [Upload("run.exe", None, b"MZ")], name="uploads")
    with pytest.raises(Invalid):
        sources.add_files(desk, [], name="uploads")


# A website, really served


class _Site(BaseHTTPRequestHandler):
    pages = 24
    asked: list[str] = []  # noqa: RUF012  (each test looks at its own site's, one at a time)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        base = f"http://{self.headers['Host']}"
        if self.path == "/sitemap.xml":
            entries = "".join(f"<url><loc>{base}/p{n}</loc></url>" for n in range(self.pages))
            body = f"<urlset>{entries}</urlset>"
        elif self.path.startswith("/p"):
            body = f"<main><h1>Page {self.path[2:]}</h1><p>Text of page {self.path[2:]}.</p></main>"
        else:
            self.send_error(404)
            return
        tag = '"1"'
        unchanged = self.path.startswith("/p") and self.headers["If-None-Match"] == tag
        self.send_response(304 if unchanged else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        if not unchanged:
            self.wfile.write(body.encode())

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture
def site() -> Iterator[str]:
    _Site.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_website_of_the_private_network_is_only_read_if_that_is_meant(desk: Desk, site: str) -> None:
    with desk.db.begin() as session:
        source = sources.add_website(session, address=f"{site}/sitemap.xml")
    with pytest.raises(AssistantError, match="private network"):
        sources.sync(desk, source.id)
    assert _Site.asked == []


def test_a_page_that_has_not_changed_is_asked_for_and_not_sent_again(desk: Desk) -> None:
    asked: list[Request] = []

    def fetch(request: Request) -> Reply:
        asked.append(request)
        if request.url.endswith("sitemap.xml"):
            return Reply(200, {}, b"<urlset><url><loc>https://x.example/a</loc></url></urlset>")
        if "If-None-Match" in request.headers:
            return Reply(304, {}, b"")
        return (
            Reply(200, {"etag": "1"}, b"<h1>A</h1><p>Text.</p>") if request.url.endswith("/a") else Reply(404, {}, b"")
        )

    settings = desk.settings.model_copy(update={"kb_pause": 0.0})
    desk = dataclasses.replace(desk, fetch=fetch, settings=settings)
    with desk.db.begin() as session:
        source = sources.add_website(session, address="https://x.example/sitemap.xml")
    assert sources.sync(desk, source.id).added == 1
    _clock(desk).advance(timedelta(hours=1))
    report = sources.sync(desk, source.id)
    assert (report.unchanged, report.removed) == (1, 0)
    assert asked[-1].headers == {"If-None-Match": "1"}


def visit(tell: Tell, folder: Path, address: str) -> None:
    """Tells how many pages were new, and how many had not changed."""
    settings = Settings(data_dir=folder, kb_private_addresses=True, kb_pause=0.2, workers=0)
    runtime = build(settings, capabilities=fake_capabilities())
    with runtime.desk.db.begin() as session:
        source = sources.add_website(session, address=address)
    report = sources.sync(runtime.desk, source.id)
    tell((report.added, report.unchanged))


@pytest.mark.slow
def test_a_visit_that_is_killed_goes_on_where_it_was(desk: Desk, site: str, tmp_path: Path) -> None:
    """Pages are stored when they have waited for a while: here the visit is killed after that, in its middle."""
    folder = tmp_path / "var"  # the desk's own
    process = Process(visit, folder, f"{site}/sitemap.xml")
    ends_at = time.monotonic() + 240
    stored = 0
    while time.monotonic() < ends_at and not 0 < stored < _Site.pages:
        time.sleep(0.1)
        with desk.db.read() as session:
            stored = session.scalar(select(func.count()).select_from(Article)) or 0
    process.kill()
    with desk.db.read() as session:
        before = session.scalar(select(func.count()).select_from(Article)) or 0
        assert 0 < before < _Site.pages
        assert session.scalars(select(Source)).one().is_running
    _Site.asked.clear()
    assert Process(visit, folder, f"{site}/sitemap.xml").hear() == (_Site.pages - before, before)
    asked = len([path for path in _Site.asked if path.startswith("/p")])
    # A kill between storing a page and noting that it was read costs one request more.
    assert _Site.pages - before <= asked <= _Site.pages - before + 1
    assert len(_texts(desk.db)) == _Site.pages


def _products(desk: Desk) -> dict[str, str | None]:
    with desk.db.read() as session:
        return dict(session.execute(select(Article.source_key, Article.product)).all())


def test_an_article_has_the_one_product_that_its_title_or_opening_names(desk: Desk, tmp_path: Path) -> None:
    pages = {
        "title.md": "# BrewMaster 300 manual\n\nUnlike the DustPilot R7 it makes coffee.",
        "opening.md": "# Information about item 12\n\nThank you for choosing the BrewMaster 300.\n\n## More\n\nText.",
        "said.md": "---\nproduct: dustpilot-r7\n---\n# BrewMaster 300 and its friends\n\nText.",
        "two.md": "# Our machines\n\nThe BrewMaster 300 and the DustPilot R7.",
        "late.md": "# Shipping\n\n" + "Parcels take two days. " * 30 + "\n\n## Else\n\nThe BrewMaster 300 is heavy.",
    }
    place = tmp_path / "manuals"
    place.mkdir()
    for name, page in pages.items():
        (place / name).write_text(page)
    source = _add(desk, place)
    sources.sync(desk, source.id)
    expected = {
        "title.md": "brewmaster-300",
        "opening.md": "brewmaster-300",
        "said.md": "dustpilot-r7",
        "two.md": None,
        "late.md": None,
    }
    assert _products(desk) == expected
    assert sources.sync(desk, source.id).unchanged == 5
    fewer = dataclasses.replace(desk.taxonomy, products=desk.taxonomy.products[1:])
    report = sources.sync(dataclasses.replace(desk, taxonomies=Taxonomies(desk.db, fewer)), source.id)
    assert report.updated == 5, "other products, other answers to what an article is about"
    assert _products(desk)["title.md"] != "brewmaster-300"


def test_what_diverts_the_model_is_left_out_unless_an_operator_wants_it(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    desk = make_runtime(capabilities=fake_capabilities(Mode.FULL_VLM, chat_model=Obedient())).desk
    folder = tmp_path / "kb"
    folder.mkdir()
    order = next(attack.text for attack in ATTACKS if attack.name == "refund 1, plain")
    (folder / "a.md").write_text(f"# Returns\n\nPrint the label.\n\n{order}\n\nPack the parcel.\n")
    source = _add(desk, folder)
    first, again = sources.sync(desk, source.id), sources.sync(desk, source.id)
    assert again.unchanged == 1
    assert first.screened == again.screened == {"a.md": [order]}
    assert "left out: 1" in first.summary()
    assert first.incomplete == {}, "it was left out on purpose"
    without = dataclasses.replace(desk, capabilities=fake_capabilities())
    report = sources.sync(without, source.id)
    assert (report.unchanged, report.screened) == (1, first.screened), "who has no model leaves it as it is"
    wanted = dataclasses.replace(desk, settings=desk.settings.model_copy(update={"kb_screening": False}))
    report = sources.sync(wanted, source.id)
    assert (report.updated, report.screened) == (1, {})
    with desk.db.read() as session:
        assert order in "".join(session.scalars(select(Passage.text)))


def test_what_could_not_be_tried_on_the_model_is_tried_by_the_next_import(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    model = ScriptedChatModel().enqueue(RuntimeError("out of memory"))
    desk = make_runtime(capabilities=fake_capabilities(Mode.FULL_VLM, chat_model=model)).desk
    folder = tmp_path / "kb"
    folder.mkdir()
    (folder / "a.md").write_text(f"# Returns\n\n{ATTACKS[0].text}\n")
    source = _add(desk, folder)
    report = sources.sync(desk, source.id)
    assert (report.added, report.screened) == (1, {})
    assert "was not tried on the model" in report.failed[0][1]
    better = dataclasses.replace(desk, capabilities=fake_capabilities(Mode.FULL_VLM, chat_model=Obedient()))
    report = sources.sync(better, source.id)
    assert (report.updated, list(report.screened), report.failed) == (1, ["a.md"], ())


def test_a_file_of_which_too_little_is_kept_is_named_at_every_import(desk: Desk, tmp_path: Path) -> None:
    folder = tmp_path / "kb"
    folder.mkdir()
    deep = f"<p>Above.</p>{'<div>' * 400}<p>{'Too deep to be read. ' * 9}</p>"
    (folder / "deep.html").write_text(deep)
    (folder / "faq.csv").write_text("question,answer\nWhere?,Here.\nWhen?,Now.\nBroken row,with,too many cells in it\n")
    (folder / "whole.html").write_text("<nav><a href=a>Kettles</a></nav><main><h1>Care</h1><p>Wipe it.</p></main>")
    source = _add(desk, folder)
    first, again = sources.sync(desk, source.id), sources.sync(desk, source.id)
    assert (again.added, again.updated) == (0, 0)
    assert first.files == again.files
    assert list(first.incomplete) == ["deep.html", "faq.csv"]
    assert first.files["whole.html"].left_out == {"navigation": 7}
    assert "Text kept: " in first.summary()
    with desk.db.read() as session:
        [state] = sources.list_sources(session)
    report = state.to_json()["report"]
    assert [one["key"] for one in report["incomplete"]] == ["deep.html", "faq.csv"]
    assert (report["files_count"], report["characters"]["kept"]) == (3, sum(one["kept"] for one in report["files"]))
