"""The file that an article with pages was read from, so that a citation can lead to its page."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import exists, select

from assistant.desk import inboxes
from assistant.desk.desk import Desk
from assistant.errors import NotFound
from assistant.media.files import Upload
from assistant.models import Article, Passage, Source, SourceFile, SourceKind

_PDF = "application/pdf"


def read_document(desk: Desk, article_id: str, *, internal: bool = False, inbox: str | None = None) -> Upload:
    """Raises `NotFound` if there is no such article, if it has no pages, if its file has gone, if it is for agents only
    and ``internal`` is not set, or if it is for the customers of another inbox than the one with the key ``inbox``."""
    with desk.db.read() as session:
        has_pages = exists().where(Passage.article_id == Article.id, Passage.page.is_not(None))
        article = session.scalar(select(Article).where(Article.public_id == article_id, has_pages))
        source = session.scalar(select(Source).where(Source.name == article.source)) if article is not None else None
        inbox_id = inboxes.find(session, inbox).id if inbox is not None else None
        if article is None or source is None or not article.may_be_read(internal=internal, inbox_id=inbox_id):
            raise NotFound("There is no such document.")
        own = (SourceFile.source_id == source.id, SourceFile.name == article.source_key)
        file = session.scalar(select(SourceFile).where(*own)) if source.kind is SourceKind.FILES else None
    if file is not None:
        data: bytes | None = desk.storage.get(file.sha256)
    else:
        data = _pdf_in_folder(source, article.source_key) if source.kind is SourceKind.FOLDER else None
    if data is None or not data.startswith(b"%PDF"):
        raise NotFound("The document is no longer where it was imported from.")
    return Upload(Path(article.source_key).name, _PDF, data)


def _pdf_in_folder(source: Source, key: str) -> bytes | None:
    """A file of the source's folder, or the one file that it is; never one that a link leads out to."""
    place = Path(source.location)
    root = place if place.is_dir() else place.parent
    try:
        file = (root / key).resolve()
        is_inside = file.is_relative_to(root.resolve()) and (place.is_dir() or file == place.resolve())
        return file.read_bytes() if is_inside and file.suffix.lower() == ".pdf" else None
    except OSError:
        return None
