"""The vectors of all passages in a matrix for each embedder, as they are in the database now. On PostgreSQL they stay
there.

The matrices are kept in memory and refreshed article by article: a counter in the database, raised by triggers on every
change, tells that something changed, and an article's ``updated_at`` tells which. Passages change no other way: whoever
replaces them updates their article.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from sqlalchemy import and_, select, text
from sqlalchemy.orm import Session, aliased

from assistant.models import Article, Passage, UnitVectors, Vector
from assistant.retrieval.fulltext import Filters, count, frequent_lexemes
from assistant.text import units

_ARTICLES_AT_ONCE = 500
_MOST_MASKS = 32
_MOST_HEADINGS = 20_000
NO_PRODUCT = 0
_UNIT_SCALE = 127


@dataclass(frozen=True)
class Vectors:
    """An immutable snapshot. Row i of each matrix is passage ``ids[i]``, of the article at ``places[i]``."""

    version: int
    ids: np.ndarray  # (n,) int64, passage ids, ascending
    # By the embedder's name, (n, d) float32: unit length, or zero for a passage without a vector; d = 0 if none has
    # one. None if the vectors stay in the database.
    matrices: Mapping[str, np.ndarray] | None
    places: np.ndarray  # (n,) int32, into ``articles``
    articles: tuple[ArticleRow, ...]
    counts: dict[str, int] = field(default_factory=dict)  # word to how many passages have it; filled on demand
    frequent: dict[str, int] = field(default_factory=dict)  # see `frequent_lexemes`
    masks: dict[Filters, np.ndarray] = field(default_factory=dict)  # results of `allowed`

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def in_memory(self) -> bool:
        return self.matrices is not None

    def allowed(self, filters: Filters) -> np.ndarray:
        """(n,) bool: which passages may be found at all."""
        filters = replace(filters, products=())
        mask = self.masks.get(filters)
        if mask is None:
            seen = set(filters.visibilities)
            spoken = {language.lower() for language in filters.languages}
            fits = [
                article.visibility in seen
                and (not spoken or article.language.lower() in spoken)
                and (None in (filters.inbox, article.inbox_id) or article.inbox_id == filters.inbox)
                for article in self.articles
            ]
            mask = np.array(fits, dtype=bool)[self.places]
            if len(self.masks) < _MOST_MASKS:
                self.masks[filters] = mask
        return mask

    def written_in(self, languages: Sequence[str]) -> np.ndarray:
        """(n,) bool: which passages are in one of the languages."""
        spoken = [article.language.lower().partition("-")[0] in languages for article in self.articles]
        written: np.ndarray = np.array(spoken, dtype=bool)[self.places]
        return written

    def rows(self, ids: Sequence[int]) -> np.ndarray:
        """Rows of passage ids; ids that this snapshot does not have are left out."""
        wanted = np.asarray(ids, dtype=np.int64)
        found = np.searchsorted(self.ids, wanted)
        found = np.where(found < len(self.ids), found, 0)
        rows: np.ndarray = found[self.ids[found] == wanted] if len(self.ids) else found[:0]
        return rows

    @cached_property
    def _group_numbers(self) -> dict[str, int]:
        products = sorted({product_name(article.product or "") for article in self.articles} - {""})
        return {"": NO_PRODUCT, **{product: number for number, product in enumerate(products, start=NO_PRODUCT + 1)}}

    @cached_property
    def groups(self) -> np.ndarray:
        """(n,) int64: passages about the same product have the same number; those about none have `NO_PRODUCT`."""
        numbers = [self._group_numbers[product_name(article.product or "")] for article in self.articles]
        groups: np.ndarray = np.array(numbers, dtype=np.int64)[self.places]
        return groups

    def groups_of(self, products: Sequence[str]) -> list[int]:
        """The groups of the products that passages are about."""
        names = {product_name(product) for product in products} - {""}
        return sorted(self._group_numbers[name] for name in names & self._group_numbers.keys())

    @cached_property
    def products(self) -> list[str]:
        """Every product of the knowledge base."""
        return sorted({article.product for article in self.articles if article.product})


@dataclass(frozen=True)
class ArticleRow:
    id: int
    updated_at: datetime
    visibility: str
    language: str
    product: str | None
    inbox_id: int | None


class VectorCache:
    """The newest `Vectors`, of these embedding models. Thread-safe: one thread refreshes them, the others wait for
    it."""

    def __init__(self, embedding_models: Sequence[str]) -> None:
        self._models = tuple(embedding_models)
        self._lock = threading.Lock()
        self._vectors: Vectors | None = None

    def current(self, session: Session) -> Vectors:
        """``session``: a read transaction that has not read anything yet, so it sees the newest state."""
        version = int(session.execute(text("SELECT version FROM passages_fts_version")).scalar_one())
        vectors = self._vectors
        if vectors is not None and vectors.version == version:
            return vectors
        with self._lock:
            if self._vectors is None or self._vectors.version < version:
                self._vectors = _refresh(session, self._models, version, self._vectors)
            return self._vectors


class HeadingVectors:
    """Vectors of headings, read from the database on demand and cached. Thread-safe."""

    def __init__(self, embedding_model: str) -> None:
        self._model = embedding_model
        self._known: dict[str, np.ndarray] = {}

    def cosines(self, session: Session, headings: Sequence[str], query: np.ndarray) -> np.ndarray:
        """(n,) cosines with the query; -1 for a heading without a vector."""
        digests = [text_hash(heading) for heading in headings]
        known = self._known
        missing = sorted(set(digests) - known.keys())
        if missing:
            if len(known) > _MOST_HEADINGS:
                known = self._known = {}
                missing = sorted(set(digests))
            columns = select(Vector.content_hash, Vector.embedding)
            read = columns.where(Vector.content_hash.in_(missing), Vector.embedding_model == self._model)
            known.update({digest: np.frombuffer(blob, dtype="<f4") for digest, blob in session.execute(read)})
        return np.array([known[one] @ query if one in known else -1.0 for one in digests], dtype=np.float32)


def unit_cosines(
    session: Session, content_hashes: Sequence[str], query: np.ndarray, *, embedding_model: str
) -> Mapping[str, np.ndarray]:
    """For each passage whose units (`text.units`) have vectors, by its content hash, their cosines in order."""
    stored = select(UnitVectors.content_hash, UnitVectors.embeddings).where(
        UnitVectors.content_hash.in_(content_hashes),
        UnitVectors.embedding_model == embedding_model,
        UnitVectors.revision == units.REVISION,
    )
    return {
        digest: np.frombuffer(blob, dtype=np.int8).reshape(-1, len(query)) @ query / _UNIT_SCALE
        for digest, blob in session.execute(stored)
    }


def pack_units(vectors: np.ndarray) -> bytes:
    """Unit vectors (n, d) as `UnitVectors` keeps them: cosines are then right to about 0.005."""
    return bytes(np.rint(vectors * _UNIT_SCALE).astype(np.int8).tobytes())


def text_hash(words: str) -> str:
    """The key that a text's vector is stored under."""
    return hashlib.sha256(words.encode()).hexdigest()


def occurrences(session: Session, vectors: Vectors, words: Sequence[str]) -> dict[str, int]:
    """How many passages have each word; the database is asked once per snapshot."""
    missing = [word for word in words if word not in vectors.counts]
    if missing:
        if not vectors.frequent:
            vectors.frequent.update(frequent_lexemes(session, passages=len(vectors)))
        found = count(session, missing, frequent=vectors.frequent, passages=len(vectors))
        vectors.counts.update(found)
    return {word: vectors.counts[word] for word in words}


def product_name(product: str) -> str:
    """The same for all spellings of a product: "BrewMaster 300", "brewmaster-300"."""
    return re.sub(r"[\W_]+", "", product.casefold())


def _refresh(session: Session, models: Sequence[str], version: int, old: Vectors | None) -> Vectors:
    """The old rows of unchanged articles, and the rows of the others from the database."""
    articles = _articles(session)
    known = {article.id: article for article in old.articles} if old is not None else {}
    same = {article.id for article in articles if known.get(article.id) == article}
    changed = [article.id for article in articles if article.id not in same]
    ids, owners, matrices = _read_passages(session, models, changed)
    if old is not None and same:
        owner = np.array([article.id for article in old.articles], dtype=np.int64)[old.places]
        kept = np.isin(owner, list(same))
        ids, owners = np.concatenate([old.ids[kept], ids]), np.concatenate([owner[kept], owners])
        if matrices is not None and old.matrices is not None:
            matrices = {model: _stack(old.matrices[model][kept], matrix) for model, matrix in matrices.items()}
    order = np.argsort(ids, kind="stable")
    if np.any(order[1:] < order[:-1]):
        ids, owners = ids[order], owners[order]
        matrices = {model: matrix[order] for model, matrix in matrices.items()} if matrices is not None else None
    article_ids = np.array([article.id for article in articles], dtype=np.int64)
    places = np.searchsorted(article_ids, owners).astype(np.int32)
    return Vectors(version=version, ids=ids, matrices=matrices, places=places, articles=tuple(articles))


def _stack(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Both matrices in one; one without vectors (d = 0) becomes rows of zeros."""
    width = max(above.shape[1], below.shape[1])
    parts = [part if part.shape[1] else np.zeros((len(part), width), "<f4") for part in (above, below)]
    return np.concatenate(parts)


def _articles(session: Session) -> list[ArticleRow]:
    columns = (Article.id, Article.updated_at, Article.visibility, Article.language, Article.product, Article.inbox_id)
    rows = session.execute(select(*columns).order_by(Article.id))
    return [ArticleRow(row[0], row[1], row[2].value, *row[3:]) for row in rows]


def _read_passages(
    session: Session, models: Sequence[str], articles: Sequence[int]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray] | None]:
    """Ids (n,) and article ids (n,) of the articles' passages, and their vectors (n, d) by model; None on
    PostgreSQL."""
    query = select(Passage.id, Passage.article_id)
    in_memory = session.get_bind().dialect.name == "sqlite"
    for model in models if in_memory else ():
        vector = aliased(Vector)
        own = and_(vector.content_hash == Passage.content_hash, vector.embedding_model == model)
        query = query.add_columns(vector.embedding).outerjoin(vector, own)
    rows: list[Any] = []
    for start in range(0, len(articles), _ARTICLES_AT_ONCE):
        some = articles[start : start + _ARTICLES_AT_ONCE]
        rows.extend(session.execute(query.where(Passage.article_id.in_(some))))
    ids, owners = (np.array([row[column] for row in rows], dtype=np.int64) for column in (0, 1))
    if not in_memory:
        return ids, owners, None
    return ids, owners, {model: _matrix([row[2 + place] for row in rows]) for place, model in enumerate(models)}


def _matrix(blobs: Sequence[bytes | None]) -> np.ndarray:
    length = max((len(blob) for blob in blobs if blob is not None), default=0)
    nothing = bytes(length)
    joined = b"".join(blob if blob is not None else nothing for blob in blobs)
    return np.frombuffer(joined, dtype="<f4").reshape(len(blobs), length // 4)
