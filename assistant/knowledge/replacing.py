"""An article as the database keeps it: its row, passages, their vectors and its figures, replaced together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from assistant.db import Database, utcnow
from assistant.knowledge.indexing import hold_served, keep_vectors
from assistant.models import Article, Figure, Passage, PassageFigure, VectorKind, Visibility
from assistant.ports import Embedder
from assistant.retrieval.loaders import ArticleSource
from assistant.retrieval.splitting import FigureText, PassageText
from assistant.text.clusters import beginning

# Characters of a text that was left out, which are kept to be shown.
_SHOWN = 500


@dataclass(frozen=True)
class KeptPicture:
    """A picture whose bytes are in storage. ``read``: what was read in it; for a page, paragraphs separated by blank
    lines."""

    sha256: str
    thumbnail_sha256: str
    content_type: str
    width: int
    height: int
    read: str = ""


@dataclass(frozen=True)
class FigureRow:
    """A figure to store, and the positions of the passages it stands beside."""

    text: FigureText
    kept: KeptPicture
    passages: tuple[int, ...]


@dataclass(frozen=True)
class Prepared:
    """An article waiting to be embedded and stored. ``screened``: what was left out of it as orders to an AI."""

    article: ArticleSource
    digest: str
    inbox_id: int | None
    passages: tuple[PassageText, ...]
    figures: tuple[FigureRow, ...]
    screened: tuple[str, ...] = ()


def save(
    db: Database, source: str, new: Prepared, vectors: Mapping[str, Mapping[str, bytes]], embedder: Embedder
) -> None:
    """``vectors``: by the embedder's name and the passage's content hash. ``embedder``: the served one."""
    article = new.article
    with db.begin() as session:
        hold_served(session, embedder.name, embedder.source)
        # Locked where the database does not serialise writers itself: the other import's passages must be seen.
        query = select(Article).where(Article.source == source, Article.source_key == article.key).with_for_update()
        row = session.scalar(query)
        if row is None:
            row = Article(source=source, source_key=article.key)
            session.add(row)
        else:
            session.execute(delete(Passage).where(Passage.article_id == row.id))
        row.title, row.url, row.product = article.title, article.url, article.product
        row.language, row.visibility = article.language, Visibility(article.visibility)
        row.inbox_id = new.inbox_id
        # The index tells by the time what has changed, so it is set even if nothing else differs.
        row.content_hash, row.updated_at = new.digest, utcnow()
        row.coverage = vars(article.coverage) if article.coverage is not None else None
        row.screened = [beginning(text, _SHOWN) for text in new.screened] or None
        session.flush()
        for name, known in vectors.items():
            own = {passage.content_hash: known[passage.content_hash] for passage in new.passages}
            keep_vectors(session, VectorKind.PASSAGE, own, embedding_model=name)
        passages = _passage_rows(row.id, new.passages)
        session.add_all(passages)
        session.flush()
        _save_figures(session, row.id, new.figures, passages)


def _passage_rows(article_id: int, passages: Sequence[PassageText]) -> list[Passage]:
    return [
        Passage(
            article_id=article_id,
            position=position,
            heading=passage.heading,
            text=passage.text,
            page=passage.page,
            codes=passage.codes,
            content_hash=passage.content_hash,
        )
        for position, passage in enumerate(passages)
    ]


def _save_figures(session: Session, article_id: int, figures: Sequence[FigureRow], passages: Sequence[Passage]) -> None:
    """A figure that the article had before keeps its row; one that has left is deleted."""
    old = {row.sha256: row for row in session.scalars(select(Figure).where(Figure.article_id == article_id))}
    new: dict[str, tuple[Figure, set[int]]] = {}
    for figure in figures:
        kept, picture = figure.kept, figure.text.picture
        row = old.pop(kept.sha256, None) or (new[kept.sha256][0] if kept.sha256 in new else None)
        row = row or Figure(article_id=article_id, sha256=kept.sha256)
        row.thumbnail_sha256, row.content_type = kept.thumbnail_sha256, kept.content_type
        row.width, row.height = kept.width, kept.height
        row.alt, row.caption = picture.alt or picture.caption, picture.caption
        session.add(row)
        new.setdefault(kept.sha256, (row, set()))[1].update(figure.passages)
    for row in old.values():
        session.delete(row)
    session.flush()
    session.add_all(
        PassageFigure(passage_id=passages[position].id, figure_id=row.id)
        for row, positions in new.values()
        for position in sorted(positions)
    )
