"""The knowledge base as it is read: passages for a query or a photo. `imports` fills it, `sources` says from where."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from assistant.desk.desk import Desk
from assistant.errors import Unsupported
from assistant.media.files import Upload
from assistant.media.photo import Photo, normalise
from assistant.models import Article, Visibility
from assistant.retrieval.index import Filters, Hit, Index
from assistant.skills.answer_request import AnswerRequest, build_query, products_of
from assistant.skills.read_photo import read_photo


def search_articles(
    index: Index, query: str, *, product: str | None = None, internal: bool = False, limit: int = 8
) -> list[Hit]:
    """Passages for a query. ``internal``: include what only agents may read."""
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
    """Passages for what photos show, and for ``query`` if given: by what is read in the photos and, with a photo
    embedder, by figures that resemble them. Nothing is stored. Raises `Unsupported` or what `normalise` raises."""
    photos = []
    for upload in uploads:
        photo = normalise(upload, desk.photo_limits)
        if not isinstance(photo, Photo):
            raise Unsupported(f"{upload.filename} is not a photo.")
        photos.append(photo.data)
    read = tuple(read_photo(photo, capabilities=desk.capabilities, taxonomy=desk.taxonomy) for photo in photos)
    request = AnswerRequest(query, evidence=read, photos=tuple(photos), product=product)
    visibilities = tuple(Visibility) if internal else (Visibility.PUBLIC,)
    products = (product,) if product else products_of(request, desk.index.products_in)
    filters = Filters(visibilities=visibilities, products=products)
    return desk.index.search(build_query(request), photos=photos, filters=filters, limit=limit)


def count_articles(session: Session) -> int:
    return session.scalar(select(func.count()).select_from(Article)) or 0
