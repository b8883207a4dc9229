"""Search by photo: the figures of articles that resemble it, and through them the passages beside them.

A photo is compared with every figure that may be seen; there are far fewer of them than passages. What a cosine means
differs between models, and between knowledge bases (in some, all pictures look alike), so a figure counts by how far it
stands out from the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import structlog
from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from assistant.models import Article, Figure, PassageFigure, Vector
from assistant.ports import PhotoEmbedder
from assistant.retrieval.fulltext import Filters

log = structlog.get_logger(__name__)

# A photo finds at most this many figures.
_MOST = 12
# About the cosine of unrelated photos with the usual models; where all figures look alike, the median is higher.
_UNLIKE = 0.5


def look(embedder: PhotoEmbedder | None, photos: Sequence[bytes]) -> np.ndarray | None:
    """(k, d) vectors of the photos. None without photos, or if the embedder fails: the search continues without."""
    if embedder is None or not photos:
        return None
    try:
        return np.asarray(embedder.embed(photos), dtype=np.float32)
    except Exception as error:
        log.warning("photo_embeddings.failed", name=embedder.name, error=type(error).__name__)
        return None


def resembling(session: Session, photos: np.ndarray, *, model: str, filters: Filters) -> dict[int, float]:
    """Passage id to how much a figure beside it resembles one of the photos, above 0 to 1, highest first."""
    query = (
        select(Figure.id, Vector.embedding)
        .join(Figure.article)
        .join(Vector, Vector.content_hash == Figure.sha256)
        .where(Vector.embedding_model == model, Article.visibility.in_(filters.visibilities))
    )
    if filters.languages:
        query = query.where(func.lower(Article.language).in_([language.lower() for language in filters.languages]))
    if filters.inbox is not None:
        query = query.where(or_(Article.inbox_id.is_(None), Article.inbox_id == filters.inbox))
    rows = session.execute(query).all()
    if not rows:
        return {}
    figures = np.array([np.frombuffer(row[1], dtype="<f4") for row in rows])
    alike = resemblance((figures @ photos.T).max(axis=1))
    best = {rows[place][0]: float(alike[place]) for place in np.argsort(-alike)[:_MOST] if alike[place] > 0}
    beside = select(PassageFigure.passage_id, PassageFigure.figure_id).where(PassageFigure.figure_id.in_(best))
    found: dict[int, float] = {}
    for passage_id, figure_id in session.execute(beside):
        found[passage_id] = max(found.get(passage_id, 0.0), best[figure_id])
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


def resemblance(cosines: np.ndarray) -> np.ndarray:
    """(n,) cosines as shares of the way from this knowledge base's usual cosine to 1, 0 to 1."""
    usual = min(max(float(np.median(cosines)) if len(cosines) > 2 else _UNLIKE, _UNLIKE), 1 - 1e-6)
    shares: np.ndarray = ((cosines - usual) / (1 - usual)).clip(0.0, 1.0)
    return shares
