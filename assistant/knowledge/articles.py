"""The knowledge base as it is read: finding passages, listing articles. `imports` fills it, `sources` knows whence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from assistant.db import Database
from assistant.desk.desk import Desk
from assistant.errors import NotFound, Unsupported
from assistant.knowledge.imports import Importer, ImportReport
from assistant.media.files import Upload
from assistant.media.photo import Photo, normalise
from assistant.models import Article, Figure, Passage, Visibility
from assistant.ports import Embedder
from assistant.progress import Progress, no_progress
from assistant.retrieval.index import Filters, Hit, Index
from assistant.retrieval.loaders import list_articles as list_files
from assistant.skills.answer_request import AnswerRequest, build_query, product_of
from assistant.skills.read_photo import read_photo

__all__ = ["ImportReport", "import_folder", "search_articles", "search_by_photo"]


def import_folder(
    db: Database,
    *,
    path: Path,
    source: str,
    embedder: Embedder,
    progress: Progress = no_progress,
) -> ImportReport:
    """Make the articles of ``source`` those of the folder (or file) at ``path``, without their pictures.

    Raises `NotFound` or `Invalid` if there is nothing to import at all: a mistyped path does not empty the knowledge
    base."""
    importer = Importer(db, source, embedder, progress=progress)
    return importer.run(list_files(path))


def search_articles(
    index: Index, query: str, *, product: str | None = None, internal: bool = False, limit: int = 8
) -> list[Hit]:
    """Passages for people and machines that look something up. ``internal``: also what only agents may read."""
    visibilities = (Visibility.PUBLIC, Visibility.INTERNAL) if internal else (Visibility.PUBLIC,)
    filters = Filters(visibilities=visibilities, products=(product,) if product else ())
    return index.search(query, filters=filters, limit=limit)


def search_by_photo(
    desk: Desk,
    uploads: Sequence[Upload],
    query: str = "",
    *,
    product: str | None = None,
    internal: bool = False,
    limit: int = 8,
) -> list[Hit]:
    """Passages for what photos show, and for ``query`` if there is one: by what is read in them and, with a photo
    embedder, by figures that look like them. Nothing is stored. Raises what is wrong with a file."""
    photos = []
    for upload in uploads:
        photo = normalise(upload, desk.photo_limits)
        if not isinstance(photo, Photo):
            raise Unsupported(f"{upload.filename} is no photo.")
        photos.append(photo.data)
    read = tuple(read_photo(photo, capabilities=desk.capabilities, taxonomy=desk.taxonomy) for photo in photos)
    request = AnswerRequest(query, evidence=read, photos=tuple(photos), product=product)
    named = product or product_of(request)
    visibilities = tuple(Visibility) if internal else (Visibility.PUBLIC,)
    filters = Filters(visibilities=visibilities, products=(named,) if named else ())
    return desk.index.search(build_query(request), photos=photos, filters=filters, limit=limit)


def count_articles(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Article)) or 0


def list_articles(
    session: Session, *, source: str | None = None, internal: bool = False, after: str | None = None, limit: int = 50
) -> list[Article]:
    """Articles by title, without their passages; ``after``: the public id of the last one seen.

    ``internal``: also what only agents may read. Raises `NotFound` for an ``after`` that is not there (any more)."""
    query = select(Article).order_by(Article.title, Article.id).limit(limit)
    if source is not None:
        query = query.where(Article.source == source)
    if not internal:
        query = query.where(Article.visibility == Visibility.PUBLIC)
    if after is not None:
        last = get_article(session, after, internal=internal)
        query = query.where(tuple_(Article.title, Article.id) > (last.title, last.id))
    return list(session.scalars(query))


def get_article(session: Session, public_id: str, *, internal: bool = False) -> Article:
    """The article; `NotFound` if there is none, or only agents may read it and ``internal`` is not given."""
    article = session.scalar(select(Article).where(Article.public_id == public_id))
    if article is None or (article.visibility is not Visibility.PUBLIC and not internal):
        raise NotFound("There is no such article.")
    return article


def passages_of(session: Session, article: Article) -> list[Passage]:
    """The article's passages in reading order."""
    query = select(Passage).where(Passage.article_id == article.id).order_by(Passage.position)
    return list(session.scalars(query))


def get_figure(session: Session, public_id: str, *, internal: bool = False) -> Figure:
    """A figure of an article; `NotFound` as for its article."""
    figure = session.scalar(select(Figure).where(Figure.public_id == public_id))
    if figure is None or (figure.article.visibility is not Visibility.PUBLIC and not internal):
        raise NotFound("There is no such figure.")
    return figure
