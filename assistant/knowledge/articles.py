"""The knowledge base as it is read: passages for a query or a photo, and whole articles. `imports` fills it, `sources`
says from where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select, tuple_
from sqlalchemy.orm import Session, joinedload

from assistant.desk import products as own_products
from assistant.desk.desk import Desk
from assistant.errors import NotFound, Unsupported
from assistant.knowledge.figures import figures_beside
from assistant.media.files import Upload
from assistant.media.photo import Photo, normalise
from assistant.models import Article, Figure, Visibility
from assistant.retrieval.index import Filters, Hit, Index
from assistant.retrieval.splitting import SEPARATOR, is_of_picture
from assistant.skills.answer import NEARLY
from assistant.skills.answer_request import AnswerRequest, build_query, products_of
from assistant.skills.read_photo import read_photo
from assistant.wording import Notice

# Of an article several passages may be among the best.
_PASSAGES_EACH = 4


def search_articles(
    index: Index,
    query: str,
    *,
    product: str | None = None,
    internal: bool = False,
    inbox_id: int | None = None,
    limit: int = 8,
) -> list[Hit]:
    """Passages for a query. ``internal``: include what only agents may read. ``inbox_id``: only what the inbox's
    customers may read; always given where a customer searches."""
    visibilities = (Visibility.PUBLIC, Visibility.INTERNAL) if internal else (Visibility.PUBLIC,)
    filters = Filters(visibilities=visibilities, products=(product,) if product else (), inbox=inbox_id)
    return index.search(query, filters=filters, limit=limit)


def search_by_photo(
    desk: Desk,
    uploads: Sequence[Upload],
    query: str = "",
    *,
    product: str | None = None,
    internal: bool = False,
    inbox_id: int | None = None,
    limit: int = 8,
) -> list[Hit]:
    """Passages for what photos show, and for ``query`` if given: by what is read in the photos and, with a photo
    embedder, by figures that resemble them. Nothing is stored. Raises `Unsupported` or what `normalise` raises."""
    photos = []
    for upload in uploads:
        photo = normalise(upload, desk.photo_limits)
        if not isinstance(photo, Photo):
            raise Unsupported(f"{upload.filename} is not a photo.")
        photos.append(photo.data)
    capabilities = own_products.reading(desk)
    read = tuple(read_photo(photo, capabilities=capabilities, taxonomy=desk.taxonomy) for photo in photos)
    request = AnswerRequest(query, evidence=read, photos=tuple(photos), product=product)
    visibilities = tuple(Visibility) if internal else (Visibility.PUBLIC,)
    products = (product,) if product else products_of(request, desk.index.products_in)
    filters = Filters(visibilities=visibilities, products=products, inbox=inbox_id)
    return desk.index.search(build_query(request), photos=photos, filters=filters, limit=limit)


def find_articles(
    index: Index, query: str, filters: Filters, *, language: str | None = None, limit: int = 5
) -> list[Hit]:
    """The articles for a query, best first, each by its best passage. Those in the reader's ``language`` come before
    others that are hardly better."""
    found: dict[str, Hit] = {}
    for hit in index.search(query, filters=filters, limit=_PASSAGES_EACH * limit):
        found.setdefault(hit.document.metadata["article_id"], hit)
    hits = list(found.values())
    fitting = [hit for hit in hits if hit.document.metadata["language"].split("-")[0] == language]
    near = [hit for hit in fitting if hit.score >= NEARLY * hits[0].score]
    return [*near, *(hit for hit in hits if hit not in near)][:limit]


@dataclass(frozen=True)
class Section:
    """``headings``: those below the title. ``figures``: beside the text, each once in an article."""

    headings: tuple[str, ...]
    text: str
    page: int | None
    figures: tuple[Figure, ...]


def list_articles(
    session: Session,
    *,
    inbox_ids: frozenset[int] | None = None,
    updated_since: datetime | None = None,
    after: tuple[datetime, int] | None = None,
    limit: int = 50,
) -> list[Article]:
    """Public articles, those that were changed last come last; after the place ``after``. ``inbox_ids``: only what
    customers of these may read."""
    order = (Article.updated_at, Article.id)
    query = select(Article).where(Article.visibility == Visibility.PUBLIC).order_by(*order).limit(limit)
    if inbox_ids is not None:
        query = query.where(or_(Article.inbox_id.is_(None), Article.inbox_id.in_(inbox_ids)))
    if updated_since is not None:
        query = query.where(Article.updated_at >= updated_since)
    if after is not None:
        query = query.where(tuple_(*order) > tuple_(*after))
    return list(session.scalars(query.options(joinedload(Article.inbox))))


def read_public_article(
    session: Session, public_id: str, inbox_ids: frozenset[int] | None = None
) -> tuple[Article, list[Section]]:
    """A public article in reading order; ``inbox_ids``: only if customers of these may read it. Raises `NotFound`."""
    article, sections = read_any_article(session, public_id)
    is_theirs = inbox_ids is None or article.inbox_id is None or article.inbox_id in inbox_ids
    if article.visibility is not Visibility.PUBLIC or not is_theirs:
        raise NotFound("There is no such article.")
    return article, sections


def read_article(session: Session, public_id: str, *, inbox_id: int) -> tuple[Article, list[Section]]:
    """A public article in reading order. Raises `NotFound` if there is none of that id, or not for this inbox's
    customers."""
    article = session.scalar(select(Article).where(Article.public_id == public_id))
    if article is None or not article.may_be_read(internal=False, inbox_id=inbox_id):
        raise NotFound(Notice("article_gone"))
    return article, _sections(session, article)


def read_any_article(session: Session, public_id: str) -> tuple[Article, list[Section]]:
    """For agents: whoever may read it. Raises `NotFound` if there is none of that id."""
    article = session.scalar(select(Article).where(Article.public_id == public_id))
    if article is None:
        raise NotFound("There is no such article.")
    return article, _sections(session, article)


def _sections(session: Session, article: Article) -> list[Section]:
    beside = figures_beside(session, [passage.public_id for passage in article.passages])
    shown: set[int] = set()
    sections: list[Section] = []
    for passage in article.passages:
        figures = beside.get(passage.public_id, [])
        if any(is_of_picture(passage.text, alt=one.alt, caption=one.caption) for one in figures):
            continue
        fresh = tuple(one for one in figures if one.id not in shown)
        shown.update(one.id for one in fresh)
        headings = _below_title(passage.heading, article.title)
        if sections and sections[-1].headings == headings:
            last = sections.pop()
            both = f"{last.text}\n\n{passage.text}"
            sections.append(Section(headings, both, last.page, (*last.figures, *fresh)))
        else:
            sections.append(Section(headings, passage.text, passage.page, fresh))
    return sections


def _below_title(heading: str, title: str) -> tuple[str, ...]:
    parts = heading.split(SEPARATOR)
    return tuple(parts[parts.index(title) + 1 :] if title in parts else parts)


def count_articles(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Article)) or 0
