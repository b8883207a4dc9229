"""Making what the index needs: vectors of passages and of their headings, and PostgreSQL's index of them.

A vector is made once for each text and embedder, however many passages have the text. Headings follow after passages,
which are ranked without them until then. Imports lock the served embedder while they store an article (`hold_served`),
so that no switch happens in between.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from sqlalchemy import Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from assistant.db import Database
from assistant.models import EmbeddingModel, EmbeddingModelState, Passage, UnitVectors, Vector, VectorKind
from assistant.ports import USUAL_STANDING, Embedder, Scale, Standing
from assistant.progress import Progress, no_progress
from assistant.retrieval.scales import embed_questions, scale_of, standing_of, usual_scale
from assistant.retrieval.vectors import pack_units, text_hash
from assistant.text.units import REVISION, units_of

Key = TypeVar("Key")

# Texts per call; between two calls, other threads' queries get their turn.
_AT_ONCE = 32
# Passages that are sorted by length together.
_WINDOW = 512
# Passages whose units are embedded together.
_UNITS_OF = 64
_DELETED_AT_ONCE = 2000
# The scale is measured on so many passages, and on no fewer different headings than these.
_MEASURED, _LEAST_MEASURED = 80, 10
# How passages stand out is measured among so many of them.
_MEASURED_AGAINST = 20_000
# The number of passages from which PostgreSQL gets an index of vectors, and the memory to build it.
INDEX_FROM = 20_000
_BUILD_MEMORY = "2GB"
# An index whose building was interrupted exists but is not used.
_INVALID = "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('{name}') AND NOT indisvalid"


class NotServed(Exception):
    """Raised instead of storing vectors of an embedder that is not the served one."""

    def __init__(self, served: EmbeddingModel) -> None:
        super().__init__(served.name)
        self.served = served


def hold_served(session: Session, name: str, source: str = "") -> None:
    """Keep the embedder called ``name`` served until this transaction ends. If there is none yet, it becomes the served
    one. Raises `NotServed` if another is."""
    state = EmbeddingModel.state == EmbeddingModelState.SERVED
    served = session.scalar(select(EmbeddingModel).where(state).with_for_update(read=True))
    if served is None:
        session.add(EmbeddingModel(name=name, source=source, state=EmbeddingModelState.SERVED))
        session.flush()
    elif served.name != name:
        raise NotServed(served)


def keep_vectors(session: Session, kind: VectorKind, vectors: Mapping[str, bytes], *, embedding_model: str) -> None:
    """Store vectors by content hash; existing ones stay as they are."""
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    rows = [
        {"content_hash": digest, "embedding_model": embedding_model, "kind": kind, "embedding": vector}
        for digest, vector in vectors.items()
    ]
    if rows:
        session.execute(insert(Vector).on_conflict_do_nothing(), rows)


def known_vectors(db: Database, digests: Sequence[str], *, embedding_model: str) -> dict[str, bytes]:
    """Content hash to vector, for those that the database has."""
    vectors: dict[str, bytes] = {}
    columns = select(Vector.content_hash, Vector.embedding).where(Vector.embedding_model == embedding_model)
    with db.read() as session:
        for start in range(0, len(digests), _WINDOW):
            vectors |= dict(
                session.execute(columns.where(Vector.content_hash.in_(digests[start : start + _WINDOW]))).all()
            )
    return vectors


def in_batches(texts: Mapping[Key, str], embedder: Embedder) -> Iterator[dict[Key, Sequence[float]]]:
    """The texts' vectors, shortest texts first: a batch takes as long as its longest text."""
    order = sorted(texts, key=lambda key: len(texts[key]))
    for start in range(0, len(order), _AT_ONCE):
        some = order[start : start + _AT_ONCE]
        yield dict(zip(some, embedder.embeddings.embed_documents([texts[key] for key in some]), strict=True))


def embed_passages(db: Database, embedder: Embedder, *, progress: Progress = no_progress) -> None:
    """Embed the passages that have no vector of this embedder. Resumes after a kill; stops early if the embedder is no
    longer wanted."""

    def store(passages: Mapping[str, Passage], progress: Progress) -> bool:
        texts = {digest: passage.indexed for digest, passage in passages.items()}
        return _store(db, VectorKind.PASSAGE, texts, embedder, progress)

    counts = count_embedded(db, embedder.name)
    _complete(db, _without_vector(embedder.name), store, counts, _WINDOW, progress, "Embedding passages")


def embed_headings(db: Database, embedder: Embedder, *, progress: Progress = no_progress) -> int:
    """Embed the headings that have no vector yet. Returns how many. Resumes after a kill."""
    with db.read() as session:
        headings = session.scalars(select(Passage.heading).distinct()).all()
        known = select(Vector.content_hash).where(Vector.embedding_model == embedder.name)
        have = set(session.scalars(known.where(Vector.kind == VectorKind.HEADING)))
    missing = {digest: heading for heading in headings if (digest := text_hash(heading)) not in have}
    _store(db, VectorKind.HEADING, missing, embedder, progress)
    return len(missing)


def calibrate(db: Database, embedder: Embedder) -> None:
    """Measure the embedder's scale and the passages' standing by it on the knowledge base, with the headings' vectors,
    and store both. If the knowledge base is small, they are the usual ones."""
    scale, standing = embedder.scale or _measured_scale(db, embedder), _measured_standing(db, embedder.name)
    values = {"floor": scale.floor, "slope": scale.slope, "own": standing.own, "others": standing.others}
    with db.begin() as session:
        session.execute(update(EmbeddingModel).where(EmbeddingModel.name == embedder.name).values(values))


def _measured_scale(db: Database, embedder: Embedder) -> Scale:
    with db.read() as session:
        own = (Vector.content_hash == Passage.content_hash, Vector.embedding_model == embedder.name)
        query = select(Passage.heading, Vector.embedding).join(Vector, and_(*own))
        # In the order of hashes they are a random sample, and the same one every time.
        rows = session.execute(query.order_by(Passage.content_hash).limit(_MEASURED)).all()
    # Of headings that say the same, as "Cleaning" in every manual, one.
    vectors = {heading.rpartition(" > ")[2]: np.frombuffer(vector, dtype="<f4") for heading, vector in rows}
    if len(vectors) < _LEAST_MEASURED:
        return usual_scale(embedder, asked=True)
    return scale_of(embed_questions(embedder, list(vectors)), np.stack(list(vectors.values())))


def _measured_standing(db: Database, embedding_model: str) -> Standing:
    """Of headings taken as questions."""
    with db.read() as session:
        of_headings = (Vector.embedding_model == embedding_model, Vector.kind == VectorKind.HEADING)
        asked = select(Vector.content_hash, Vector.embedding).where(*of_headings)
        rows = session.execute(asked.order_by(Vector.content_hash).limit(_MEASURED)).all()
        own = (Vector.content_hash == Passage.content_hash, Vector.embedding_model == embedding_model)
        passages = select(Passage.article_id, Passage.heading, Vector.embedding).join(Vector, and_(*own))
        found = session.execute(passages.order_by(Passage.content_hash).limit(_MEASURED_AGAINST)).all()
    answering = {text_hash(heading): article for article, heading, _ in found}
    questions = {digest: np.frombuffer(vector, dtype="<f4") for digest, vector in rows if digest in answering}
    if len(questions) < _LEAST_MEASURED:
        return USUAL_STANDING
    vectors = np.stack([np.frombuffer(vector, dtype="<f4") for *_, vector in found])
    owners = np.array([article for article, *_ in found])
    right = np.array([answering[digest] for digest in questions])
    return standing_of(vectors @ np.stack(list(questions.values())).T, owners[:, None] == right)


def lacks_units(session: Session, embedding_model: str) -> bool:
    """Whether there are passages whose units have no vectors of the model."""
    return session.scalar(_without_units(embedding_model).limit(1)) is not None


def embed_units(db: Database, embedder: Embedder, *, progress: Progress = no_progress) -> None:
    """Embed the units of passages that have no vectors of them yet. Resumes after a kill."""
    lacking = _without_units(embedder.name)
    with db.read() as session:
        total = session.execute(select(func.count()).select_from(lacking.subquery())).scalar_one()
    store = partial(_store_units, db, embedder)
    _complete(db, lacking, store, (0, total), _UNITS_OF, progress, "Embedding sentences")


def is_complete(session: Session, embedding_model: str) -> bool:
    """Whether every passage has a vector of the model."""
    return session.scalar(_without_vector(embedding_model).limit(1)) is None


def count_embedded(db: Database, embedding_model: str) -> tuple[int, int]:
    """How many passages have a vector of the model, and how many there are."""
    with db.read() as session:
        total = session.execute(select(func.count()).select_from(Passage)).scalar_one()
        missing = session.execute(select(func.count()).select_from(_without_vector(embedding_model).subquery()))
        return total - int(missing.scalar_one()), total


def sweep_vectors(db: Database) -> None:
    """Delete vectors of texts that no article has any more, and of embedders that are no longer wanted."""
    wanted = select(EmbeddingModel.name)
    ours = Vector.kind.in_((VectorKind.PASSAGE, VectorKind.HEADING))
    while _delete(db, select(Vector.id).where(ours, Vector.embedding_model.not_in(wanted)).limit(_DELETED_AT_ONCE)):
        pass  # in pieces, because there may be many and others want to write
    with db.begin() as session:
        # Locked, so that no import relies on a vector that is about to be deleted.
        session.execute(select(EmbeddingModel.id).with_for_update())
        used = exists().where(Passage.content_hash == Vector.content_hash)
        session.execute(delete(Vector).where(Vector.kind == VectorKind.PASSAGE, ~used))
        used = exists().where(Passage.content_hash == UnitVectors.content_hash)
        session.execute(delete(UnitVectors).where(or_(~used, UnitVectors.embedding_model.not_in(wanted))))
        headings = {text_hash(heading) for heading in session.scalars(select(Passage.heading).distinct())}
        stored = session.execute(select(Vector.id, Vector.content_hash).where(Vector.kind == VectorKind.HEADING))
        gone = [row[0] for row in stored if row[1] not in headings]
        for start in range(0, len(gone), _DELETED_AT_ONCE):
            session.execute(delete(Vector).where(Vector.id.in_(gone[start : start + _DELETED_AT_ONCE])))


def to_bytes(vector: Iterable[float]) -> bytes:
    """A vector as stored: float32, little-endian, unit length."""
    row = np.asarray(list(vector), dtype="<f4")
    return bytes((row / max(float(np.linalg.norm(row)), 1e-12)).astype("<f4").tobytes())


def index_vectors(db: Database, *, embedding_model: str, index_from: int = INDEX_FROM) -> bool:
    """On PostgreSQL, create the HNSW index of this model's passages once there are ``index_from``; with fewer, an exact
    search is as fast. Passages can be searched and changed meanwhile. Returns whether there is an index."""
    if db.is_sqlite:
        return False
    with db.read() as session:
        vectors = select(Vector.embedding).where(
            Vector.embedding_model == embedding_model, Vector.kind == VectorKind.PASSAGE
        )
        one = session.scalar(vectors.limit(1))
        count = session.execute(select(func.count()).select_from(vectors.subquery())).scalar_one()
    if one is None or count < index_from:
        return False
    dimensions = len(one) // 4
    name = _index_name(embedding_model)
    quoted = embedding_model.replace("'", "''").replace("%", "%%")
    # PostgreSQL builds an index concurrently only outside a transaction.
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if connection.exec_driver_sql(_INVALID.format(name=name)).scalar_one_or_none():
            connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
        connection.exec_driver_sql(f"SET maintenance_work_mem = '{_BUILD_MEMORY}'")
        connection.exec_driver_sql(
            f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON vectors USING hnsw "
            f"((embedding::halfvec({dimensions})) halfvec_ip_ops) "
            f"WHERE embedding_model = '{quoted}' AND kind = 'passage'"
        )
        connection.exec_driver_sql("RESET maintenance_work_mem")
    return True


def drop_index(db: Database, *, embedding_model: str) -> None:
    """Drop this model's index of vectors, if there is one."""
    if not db.is_sqlite:
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"DROP INDEX CONCURRENTLY IF EXISTS {_index_name(embedding_model)}")


def _index_name(embedding_model: str) -> str:
    return f"fts_hnsw_{hashlib.sha256(embedding_model.encode()).hexdigest()[:16]}"


def _without_vector(embedding_model: str) -> Select[Passage]:
    """Selects the passages that have no vector of the model."""
    own = (Vector.content_hash == Passage.content_hash, Vector.embedding_model == embedding_model)
    return select(Passage).where(~exists().where(*own))


def _without_units(embedding_model: str) -> Select[Passage]:
    """Selects the passages without vectors of their units, as they are cut now."""
    own = (UnitVectors.content_hash == Passage.content_hash, UnitVectors.embedding_model == embedding_model)
    return select(Passage).where(~exists().where(*own, UnitVectors.revision == REVISION))


def _complete(
    db: Database,
    lacking: Select[Passage],
    store: Callable[[Mapping[str, Passage], Progress], bool],
    counts: tuple[int, int],
    at_once: int,
    progress: Progress,
    what: str,
) -> None:
    """Store what the ``lacking`` passages lack, so many by so many, by content hash, until ``store`` returns False.
    ``counts``: how many are done of how many, to begin with."""
    done, total = counts
    last = 0
    while True:
        progress(done, total, what)
        with db.read() as session:
            some = session.scalars(lacking.where(Passage.id > last).order_by(Passage.id).limit(at_once)).all()
        if not some:
            return

        def add(stored: int, _total: int, _what: str, before: int = done) -> None:
            progress(min(before + stored, total), total, what)

        if not store({passage.content_hash: passage for passage in some}, add):
            return
        last = some[-1].id
        done = min(done + len(some), total)


def _store_units(db: Database, embedder: Embedder, passages: Mapping[str, Passage], _progress: Progress) -> bool:
    """Embed the units of passages (by content hash) and store them, with no transaction open while the model works.
    Returns False if vectors of this model are no longer wanted."""
    texts = {
        (digest, unit.position): f"{passage.heading}\n{unit.compared}"
        for digest, passage in passages.items()
        for unit in units_of(passage.text)
    }
    vectors: dict[tuple[str, int], Sequence[float]] = {}
    for some in in_batches(texts, embedder):
        vectors |= some
    of: dict[str, list[Sequence[float]]] = {digest: [] for digest in passages}
    for digest, position in texts:
        of[digest].append(vectors[digest, position])
    packed = {digest: pack_units(np.asarray(rows, dtype=np.float32)) for digest, rows in of.items()}
    with db.begin() as session:
        model = select(EmbeddingModel.id).where(EmbeddingModel.name == embedder.name)
        if session.scalar(model.with_for_update(read=True)) is None:
            return False
        old = and_(UnitVectors.content_hash.in_(packed), UnitVectors.embedding_model == embedder.name)
        session.execute(delete(UnitVectors).where(old))
        own = {"embedding_model": embedder.name, "revision": REVISION}
        rows = [{"content_hash": digest, "embeddings": blob, **own} for digest, blob in packed.items()]
        insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
        session.execute(insert(UnitVectors).on_conflict_do_nothing(), rows)
    return True


def _store(db: Database, kind: VectorKind, texts: Mapping[str, str], embedder: Embedder, progress: Progress) -> bool:
    """Embed texts (by hash) in batches, storing each batch, with no transaction open while the model works. Stops and
    returns False if vectors of this model are no longer wanted."""
    stored = 0
    for embedded in in_batches(texts, embedder):
        progress(stored, len(texts), f"Embedding {kind.value}s")
        vectors = {digest: to_bytes(vector) for digest, vector in embedded.items()}
        with db.begin() as session:
            model = select(EmbeddingModel.id).where(EmbeddingModel.name == embedder.name)
            if session.scalar(model.with_for_update(read=True)) is None:
                return False
            keep_vectors(session, kind, vectors, embedding_model=embedder.name)
        stored += len(vectors)
    progress(len(texts), len(texts), f"Embedding {kind.value}s")
    return True


def _delete(db: Database, ids: Select[int]) -> bool:
    with db.begin() as session:
        some = session.scalars(ids).all()
        session.execute(delete(Vector).where(Vector.id.in_(some)))
    return bool(some)
