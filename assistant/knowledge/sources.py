"""Where articles come from: folders, websites, uploaded files, answers of solved tickets; imported now or on schedule.

A source records how its last import went. After a kill, the job's next run resumes the import from what is stored, and
does not fetch a website's pages again that were read in that visit. The next scheduled import is enqueued at the end of
each import, however it ended.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session, joinedload

from assistant.db import utcnow
from assistant.desk import inboxes, queue
from assistant.desk.desk import Desk
from assistant.errors import AssistantError, Conflict, Gone, Invalid, NotFound, TooLarge
from assistant.knowledge import embedding, figures, indexing, solved, writing
from assistant.knowledge.imports import Importer, ImportReport
from assistant.media.files import Upload, safe_filename
from assistant.models import Article, Source, SourceFile, SourceKind, SourcePage
from assistant.ports import WorkPriority
from assistant.progress import Progress, both, no_progress, throttled
from assistant.retrieval.loaders import SUFFIXES, ArticleSource, Listing, list_articles
from assistant.retrieval.sources.website import list_website
from assistant.skills import screening

log = structlog.get_logger(__name__)

SYNC = "sync_source"
SOLVED_NAME = "solved-tickets"
LEAST_MINUTES = 5
_MOST_FILES = 2_000
_MOST_FILE_BYTES = 100_000_000
# What is listed of one import, and how much of each is stored for display.
_LISTED = ("failed", "files", "incomplete", "screened")
_MOST_SHOWN = 200
_SAVE_EVERY = 2.0  # seconds
# How long after its start a killed visit to a website is resumed; later, its first pages are out of date.
_RESUME_WITHIN = timedelta(hours=24)


@dataclass(frozen=True)
class SourceState:
    """A source, its number of articles, and its state: new, running, failed, ok."""

    source: Source
    articles: int

    @property
    def state(self) -> str:
        if self.source.is_running:
            return "running"
        if self.source.error is not None:
            return "failed"
        return "ok" if self.source.finished_at is not None else "new"

    def to_json(self) -> dict[str, Any]:
        source = self.source
        moments = {name: getattr(source, name) for name in ("started_at", "finished_at", "next_at")}
        return {
            "id": source.public_id,
            "name": source.name,
            "kind": source.kind.value,
            "location": source.location,
            "inbox": source.inbox.key if source.inbox is not None else None,
            "state": self.state,
            "articles": self.articles,
            "every_minutes": source.every_minutes,
            "done": source.done,
            "total": source.total,
            **{name: moment.isoformat() if moment is not None else None for name, moment in moments.items()},
            "error": source.error,
            "report": source.report,
        }


def add_source(
    session: Session,
    *,
    kind: SourceKind,
    location: str = "",
    name: str | None = None,
    every: int | None = None,
    inbox: str | None = None,
) -> Source:
    """Add a source, or change the one of that name. ``every``: minutes between imports, 0 for none, None to keep what
    is set. ``inbox``: as in `limit_source`, None to keep what is set. Nothing is imported yet."""
    name = _valid_name(name or _default_name(kind, location))
    if every is not None and every != 0 and every < LEAST_MINUTES:
        raise Invalid(f"An interval is at least {LEAST_MINUTES} minutes.", field="every")
    source = session.scalar(select(Source).where(Source.name == name))
    if source is None:
        source = Source(name=name, kind=kind, location=location)
        session.add(source)
    elif source.kind is not kind:
        raise Conflict(
            f"There is already a source {name!r} of another kind ({source.kind.value}). Choose another name."
        )
    source.location = location
    if every is not None:
        source.every_minutes = every or None
        source.next_at = None
    session.flush()
    if inbox is not None:
        limit_source(session, source, inbox)
    return source


def limit_source(session: Session, source: Source, inbox: str) -> None:
    """Let only customers of the inbox with this key (or `inboxes.ALL_INBOXES`) read the source's articles. At once for
    articles that are stored; those that name an inbox themselves get it back with the next import."""
    inbox_id = inboxes.find(session, inbox).id if inbox != inboxes.ALL_INBOXES else None
    followed = Article.inbox_id.is_not_distinct_from(source.inbox_id)
    changed = update(Article).where(Article.source == source.name, followed)
    session.execute(changed.values(inbox_id=inbox_id, updated_at=utcnow()))
    source.inbox_id = inbox_id
    session.flush()
    session.expire(source, ["inbox"])


def add_website(
    session: Session, *, address: str, name: str | None = None, every: int | None = None, inbox: str | None = None
) -> Source:
    """Add a website by its address or that of its sitemap. Raises `Invalid` for any other address."""
    parts = urlsplit(address.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise Invalid("The address must begin with https:// or http:// and contain no password.", field="address")
    return add_source(session, kind=SourceKind.WEBSITE, location=address.strip(), name=name, every=every, inbox=inbox)


def add_files(desk: Desk, uploads: Sequence[Upload], *, name: str, inbox: str | None = None) -> Source:
    """Add files to a source of files; one with the same name is replaced. Opens its own transaction."""
    stored: list[tuple[str, str, int]] = []
    for upload in uploads:
        filename = safe_filename(upload.filename)
        if Path(filename).suffix.lower() not in SUFFIXES:
            supported = ", ".join(sorted(SUFFIXES))
            raise Invalid(f"{filename} is not a supported kind of file. Supported: {supported}.", field="files")
        if len(upload.data) > _MOST_FILE_BYTES:
            raise TooLarge(f"{filename} is larger than {_MOST_FILE_BYTES / 1e6:.0f} MB.", limit=_MOST_FILE_BYTES)
        stored.append((filename, desk.storage.put(upload.data), len(upload.data)))
    if not stored:
        raise Invalid("Choose at least one file.", field="files")
    with desk.db.begin() as session:
        source = add_source(session, kind=SourceKind.FILES, name=name, inbox=inbox)
        known = {file.name: file for file in session.scalars(_files_of(source))}
        if len(known.keys() | {filename for filename, _, _ in stored}) > _MOST_FILES:
            raise TooLarge(f"A source can have at most {_MOST_FILES:,} files.", limit=_MOST_FILES)
        for filename, sha256, size in stored:
            row = known.setdefault(filename, SourceFile(source_id=source.id, name=filename))
            row.sha256, row.byte_size = sha256, size
            session.add(row)
        request_sync(session, source)
        return source


def remove_file(session: Session, source: Source, name: str) -> None:
    """Remove a file; its articles are removed by the import that this requests."""
    session.execute(delete(SourceFile).where(SourceFile.source_id == source.id, SourceFile.name == name))
    request_sync(session, source)


def files_of(session: Session, source: Source) -> list[SourceFile]:
    return list(session.scalars(_files_of(source)))


def remove_source(session: Session, source: Source) -> int:
    """Remove a source and all its articles. Returns how many there were. Raises `Conflict` for what is written in the
    console: that is withdrawn there, article by article."""
    if source.kind is SourceKind.WRITTEN:
        raise Conflict("Articles that are written here are withdrawn one by one, on their pages.")
    gone = session.execute(delete(Article).where(Article.source == source.name).returning(Article.id)).all()
    session.delete(source)
    return len(gone)


def find_source(session: Session, name: str) -> Source:
    source = session.scalar(select(Source).where(Source.name == name))
    if source is None:
        names = ", ".join(session.scalars(select(Source.name).order_by(Source.name))) or "none yet"
        raise NotFound(f"There is no source {name!r}. Sources: {names}.")
    return source


def get_source(session: Session, public_id: str) -> Source:
    source = session.scalar(select(Source).where(Source.public_id == public_id))
    if source is None:
        raise NotFound("There is no such source.")
    return source


def list_sources(session: Session) -> list[SourceState]:
    """Every source by name, with its number of articles; with two statements."""
    counts = dict(session.execute(select(Article.source, func.count()).group_by(Article.source)).all())
    sources = session.scalars(select(Source).options(joinedload(Source.inbox)).order_by(Source.name))
    return [SourceState(source, counts.get(source.name, 0)) for source in sources]


def request_sync(session: Session, source: Source) -> None:
    """Have the next free worker import the source. Requested twice, it is imported once."""
    queue.enqueue(session, SYNC, {"source_id": source.id}, key=_key(source.id), priority=WorkPriority.BATCH)


def set_interval(session: Session, source: Source, minutes: int | None, *, now: datetime) -> None:
    """From now on, import it every so many minutes, or (None) only on request."""
    if minutes is not None and minutes < LEAST_MINUTES:
        raise Invalid(f"An interval is at least {LEAST_MINUTES} minutes.", field="every")
    source.every_minutes = minutes
    queue.cancel(session, _key(source.id))
    _schedule(session, source, now)


def request_solved(session: Session) -> Source:
    """Have the next free worker look through solved tickets and import what was approved."""
    source = add_source(session, kind=SourceKind.SOLVED)
    request_sync(session, source)
    return source


def request_written(session: Session) -> Source:
    """Have the next free worker serve what is published of the articles written in the console."""
    source = add_source(session, kind=SourceKind.WRITTEN, name=writing.SOURCE_NAME)
    request_sync(session, source)
    return source


def sync_job(desk: Desk, source_id: int) -> None:
    """The job: import the source. Errors are stored with it; a source that was removed needs nothing."""
    with desk.db.read() as session:
        if session.get(Source, source_id) is None:
            return
    try:
        sync(desk, source_id)
    except AssistantError as error:  # stored with the source, which is tried again at its next time
        log.warning("source.failed", source=source_id, error=error.message)


def sync(desk: Desk, source_id: int, *, progress: Progress = no_progress) -> ImportReport:
    """Import a source now. The outcome is stored with it; errors are raised too."""
    source = _begin(desk, source_id)
    try:
        with _listing(desk, source) as listing:
            importer = Importer(
                desk.db,
                source.name,
                embedding.serving(desk),
                reopen=partial(embedding.open_embedder, desk.embedders),
                second=desk.embedders.second_to(embedding.serving(desk)),
                taxonomy=desk.taxonomy,
                keep_picture=partial(figures.keep_picture, desk),
                progress=both(progress, throttled(partial(_save_progress, desk, source_id), seconds=_SAVE_EVERY)),
                screens=desk.settings.kb_screening,
                screen=screening.screen_by(desk.capabilities),
                inbox_id=source.inbox_id,
                stored=partial(_note_page, desk, source) if source.kind is SourceKind.WEBSITE else None,
            )
            report = importer.run(listing)
        for embedder in (importer.embedder, importer.second):
            if embedder is not None:
                indexing.embed_headings(desk.db, embedder, progress=progress)
                indexing.index_vectors(desk.db, embedding_model=embedder.name)
                if report.changed or embedding.unmeasured(desk.db, embedder):
                    indexing.calibrate(desk.db, embedder)
                indexing.embed_units(desk.db, embedder, progress=progress)
        if report.figures:
            figures.embed_pictures(desk, progress=progress)
        if report.updated or report.removed:
            indexing.sweep_vectors(desk.db)
    except Exception as error:
        reason = error.message if isinstance(error, AssistantError) else f"{type(error).__name__}: {error}"
        _end(desk, source_id, error=reason[:1000])
        raise
    except KeyboardInterrupt:
        _end(desk, source_id, error="Stopped before the end. What was imported stays; import again to continue.")
        raise
    _end(desk, source_id, report=report)
    return report


def _begin(desk: Desk, source_id: int) -> Source:
    """Record the start, unless this resumes a killed import."""
    now = desk.now()
    with desk.db.begin() as session:
        source = session.get(Source, source_id)
        if source is None:
            raise NotFound("There is no such source.")
        resumed = source.is_running and source.started_at is not None and now - source.started_at < _RESUME_WITHIN
        if not resumed:
            source.started_at = now
        source.finished_at, source.done, source.total = None, 0, 0
        return source


def _end(desk: Desk, source_id: int, *, report: ImportReport | None = None, error: str | None = None) -> None:
    with desk.db.begin() as session:
        source = session.get(Source, source_id)
        if source is None:
            return
        source.finished_at, source.error = desk.now(), error
        if report is not None:
            shown = report.to_json()
            shown |= {f"{name}_count": len(shown[name]) for name in _LISTED}
            shown |= {name: shown[name][:_MOST_SHOWN] for name in _LISTED}
            source.report = shown
        _schedule(session, source, desk.now())


def _schedule(session: Session, source: Source, now: datetime) -> None:
    source.next_at = now + source.every if source.every is not None else None
    if source.next_at is not None:
        payload = {"source_id": source.id}
        queue.enqueue(session, SYNC, payload, key=_key(source.id), priority=WorkPriority.BATCH, run_at=source.next_at)


@contextmanager
def _listing(desk: Desk, source: Source) -> Iterator[Listing]:
    """What the source holds now. Files that had to be copied here for it are deleted afterwards."""
    if source.kind is SourceKind.FOLDER:
        yield list_articles(Path(source.location))
    elif source.kind is SourceKind.WEBSITE:
        yield _website(desk, source)
    elif source.kind is SourceKind.SOLVED:
        yield solved.list_answers(desk)
    elif source.kind is SourceKind.WRITTEN:
        yield writing.list_published(desk)
    else:
        with tempfile.TemporaryDirectory(prefix="articles-") as folder:
            with desk.db.read() as session:
                files = files_of(session, source)
            lost: dict[str, str] = {}
            for file in files:
                try:
                    (Path(folder) / file.name).write_bytes(desk.storage.get(file.sha256))
                except Gone as error:
                    lost[file.name] = f"{error.message} Add it again."
            # If all files were removed, so are the articles.
            listing = list_articles(Path(folder)) if len(files) > len(lost) else Listing()
            for name, reason in lost.items():
                listing.fail(name, reason, doubtful=name)
            yield listing


def _website(desk: Desk, source: Source) -> Listing:
    with desk.db.read() as session:
        pages = list(session.scalars(select(SourcePage).where(SourcePage.source_id == source.id)))
        stored = set(session.scalars(select(Article.source_key).where(Article.source == source.name)))
    # A page whose article is missing is read again, whatever was recorded about it.
    known: Mapping[str, Mapping[str, str]] = {page.url: page.validators for page in pages if page.url in stored}
    start = source.started_at
    done = frozenset(page.url for page in pages if page.url in stored and start is not None and page.read_at >= start)
    return list_website(source.location, fetch=desk.fetch, known=known, done=done, pause=desk.settings.kb_pause)


def _note_page(desk: Desk, source: Source, key: str, article: ArticleSource | None) -> None:
    """Record that the current version of a page is stored."""
    with desk.db.begin() as session:
        page = session.scalar(select(SourcePage).where(SourcePage.source_id == source.id, SourcePage.url == key))
        if page is None:
            page = SourcePage(source_id=source.id, url=key, validators={})
            session.add(page)
        if article is not None:
            page.validators = dict(article.validators)
        page.read_at = desk.now()


def _save_progress(desk: Desk, source_id: int, done: int, total: int, _what: str) -> None:
    with desk.db.begin() as session:
        source = session.get(Source, source_id)
        if source is not None:
            source.done, source.total = done, total


def _files_of(source: Source) -> Select[SourceFile]:
    return select(SourceFile).where(SourceFile.source_id == source.id).order_by(SourceFile.name)


def _key(source_id: int) -> str:
    return f"{SYNC}:{source_id}"


def _valid_name(name: str) -> str:
    name = " ".join(name.split())
    if not name or len(name) > 100 or not name.isprintable():
        raise Invalid("A source needs a name of at most 100 printable characters.", field="name")
    return name


def _default_name(kind: SourceKind, location: str) -> str:
    if kind is SourceKind.WEBSITE:
        return urlsplit(location).hostname or location
    if kind is SourceKind.SOLVED:
        return SOLVED_NAME
    return re.split(r"[/\\]", location.rstrip("/\\"))[-1] or "articles"
