"""Pictures of articles: normalised and stored like a customer's photo, and read once.

What was read is kept as evidence, by the picture's bytes and the model's revision: an import that is killed, or an
article that changes around its pictures, does not read them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from sqlalchemy import Select, delete, exists, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.desk import evidence
from assistant.desk.desk import Desk
from assistant.errors import AssistantError, Unsupported
from assistant.knowledge.imports import KeptPicture
from assistant.knowledge.indexing import keep_vectors, to_bytes
from assistant.media.files import Upload
from assistant.media.photo import Photo, normalise
from assistant.models import Evidence, Figure, Passage, PassageFigure, Vector, VectorKind
from assistant.ports import TextLine
from assistant.progress import Progress, no_progress
from assistant.retrieval.loaders import Picture
from assistant.skills.read_photo import PhotoEvidence, read_photo

# Smaller ones are icons and bullets: pixels on the shorter side.
_LEAST_SIDE = 64
_EMBED_AT_ONCE = 8


def keep_picture(desk: Desk, picture: Picture) -> KeptPicture | None:
    """Store a picture and read it. None for decoration. Raises an `AssistantError` if it is no picture that we take."""
    photo = normalise(Upload("picture", None, picture.read()), desk.photo_limits)
    if not isinstance(photo, Photo):
        raise Unsupported("it is in no format that is taken: JPEG, PNG, WebP, GIF or HEIC")
    if min(photo.width, photo.height) < _LEAST_SIDE:
        return None
    sha256, thumbnail = desk.storage.put(photo.data), desk.storage.put(photo.thumbnail)
    found = _read(desk, photo, sha256)
    read = (_paragraphs(found.visible_text) if picture.is_page else _words(desk, found)) if found is not None else ""
    return KeptPicture(sha256, thumbnail, photo.content_type, photo.width, photo.height, read)


def figures_beside(session: Session, passage_ids: Sequence[str]) -> dict[str, list[Figure]]:
    """Public ids of passages to the figures that belong beside them; one statement."""
    query = (
        select(Passage.public_id, Figure)
        .join(PassageFigure, PassageFigure.passage_id == Passage.id)
        .join(Figure, Figure.id == PassageFigure.figure_id)
        .where(Passage.public_id.in_(passage_ids))
        .order_by(Figure.id)
    )
    found: dict[str, list[Figure]] = {}
    for passage_id, figure in session.execute(query):
        found.setdefault(passage_id, []).append(figure)
    return found


def embed_pictures(desk: Desk, *, progress: Progress = no_progress) -> int:
    """Make the vectors of figures that have none, for the search by photo; those of another model go. Returns how
    many. Killed, it goes on where it was."""
    embedder = desk.capabilities.photo_embedder
    if embedder is None:
        return 0
    with desk.db.read() as session:
        missing = session.scalars(_without_vector(embedder.name)).all()
    for start in range(0, len(missing), _EMBED_AT_ONCE):
        progress(start, len(missing), "Embedding pictures")
        some = missing[start : start + _EMBED_AT_ONCE]
        made = embedder.embed([desk.storage.get(sha256) for sha256 in some])
        vectors = {sha256: to_bytes(vector) for sha256, vector in zip(some, made, strict=True)}
        with desk.db.begin() as session:
            keep_vectors(session, VectorKind.PICTURE, vectors, embedding_model=embedder.name)
    with desk.db.begin() as session:
        gone = ~exists().where(Figure.sha256 == Vector.content_hash)
        old = or_(Vector.embedding_model != embedder.name, gone)
        session.execute(delete(Vector).where(Vector.kind == VectorKind.PICTURE, old))
    return len(missing)


def lacks_vectors(session: Session, name: str) -> bool:
    """Whether there are figures without a vector of this photo embedder."""
    return session.scalar(_without_vector(name).limit(1)) is not None


def _without_vector(name: str) -> Select[str]:
    own = (Vector.content_hash == Figure.sha256, Vector.embedding_model == name)
    return select(Figure.sha256).distinct().where(~exists().where(*own))


def _read(desk: Desk, photo: Photo, sha256: str) -> PhotoEvidence | None:
    """What can be read in the picture, with no transaction open; None if the reader fails: the rest still goes in."""
    capabilities = desk.capabilities
    with desk.db.read() as session:
        query = select(Evidence).where(Evidence.sha256 == sha256, Evidence.revision == capabilities.revision)
        known = session.scalar(query)
    if known is not None:
        return evidence.to_value(known)
    try:
        read = read_photo(photo.data, capabilities=capabilities, taxonomy=desk.taxonomy)
    except AssistantError:
        return None
    row = evidence.to_row(read, sha256, evidence.reader_of(read, capabilities))
    try:
        with desk.db.begin() as session:
            session.add(row)
    except IntegrityError:
        pass  # another import has read the same picture meanwhile
    return read


def _words(desk: Desk, read: PhotoEvidence) -> str:
    """What the picture shows: the model's caption, if one has looked at it, and the text in it."""
    caption = [read.caption.value] if desk.capabilities.writes_answers else []
    return "\n".join([*caption, *(line.text for line in read.visible_text)])


def _paragraphs(lines: Sequence[TextLine]) -> str:
    """The text of a page: lines with more than a line's height between them are paragraphs of their own."""
    if not lines:
        return ""
    height = median(line.box.bottom - line.box.top for line in lines)
    text = lines[0].text
    for above, below in pairwise(lines):
        text += ("\n\n" if below.box.top - above.box.bottom > height else "\n") + below.text
    return text
