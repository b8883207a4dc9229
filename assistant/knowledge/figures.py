"""Pictures of articles: normalised and stored like customers' photos, and read once.

What was read is kept as evidence, by the picture's bytes and the model's revision. So they are not read again after an
import was killed or the text around them has changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from statistics import median

from sqlalchemy import Select, delete, exists, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from assistant.desk import evidence
from assistant.desk.desk import Desk
from assistant.errors import AssistantError, Gone, NotFound, Unsupported
from assistant.knowledge.indexing import keep_vectors, to_bytes
from assistant.knowledge.replacing import KeptPicture
from assistant.media.files import Upload
from assistant.media.photo import Photo, normalise
from assistant.models import Evidence, Figure, Passage, PassageFigure, Vector, VectorKind
from assistant.ports import TextLine
from assistant.progress import Progress, no_progress
from assistant.retrieval.loaders import Picture
from assistant.skills.read_photo import PhotoEvidence, read_photo

# Pictures with fewer pixels on the shorter side are icons and bullets.
_LEAST_SIDE = 64
_EMBED_AT_ONCE = 8


def keep_picture(desk: Desk, picture: Picture) -> KeptPicture | None:
    """Store a picture and read it. None for decoration. Raises an `AssistantError` if it is not a supported picture."""
    photo = normalise(Upload("picture", None, picture.read()), desk.photo_limits)
    if not isinstance(photo, Photo):
        raise Unsupported("its format is not supported. Use JPEG, PNG, WebP, GIF or HEIC")
    if min(photo.width, photo.height) < _LEAST_SIDE:
        return None
    sha256, thumbnail = desk.storage.put(photo.data), desk.storage.put(photo.thumbnail)
    evidence = _read_or_recall(desk, photo, sha256)
    read = _text_of(evidence, desk, is_page=picture.is_page) if evidence is not None else ""
    return KeptPicture(sha256, thumbnail, photo.content_type, photo.width, photo.height, read)


def get_figure(session: Session, public_id: str, *, internal: bool = False, inbox_id: int | None = None) -> Figure:
    """Raises `NotFound` if there is no such figure, if its article is for agents only and ``internal`` is not set, or
    if it is for the customers of another inbox than ``inbox_id``."""
    figure = session.scalar(select(Figure).where(Figure.public_id == public_id))
    if figure is None or not figure.article.may_be_read(internal=internal, inbox_id=inbox_id):
        raise NotFound("There is no such figure.")
    return figure


def figures_beside(session: Session, passage_ids: Sequence[str]) -> dict[str, list[Figure]]:
    """Public ids of passages to the figures beside them, with one statement."""
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
    """Make the vectors of figures that have none, for search by photo, and delete those of other models. Returns how
    many it made. Resumes after a kill."""
    embedder = desk.capabilities.photo_embedder
    if embedder is None:
        return 0
    with desk.db.read() as session:
        missing = session.scalars(_without_vector(embedder.name)).all()
    for start in range(0, len(missing), _EMBED_AT_ONCE):
        progress(start, len(missing), "Embedding pictures")
        some = missing[start : start + _EMBED_AT_ONCE]
        pictures = _pictures_of(desk, some)
        embedded = embedder.embed(list(pictures.values())) if pictures else []
        vectors = {sha256: to_bytes(vector) for sha256, vector in zip(pictures, embedded, strict=True)}
        with desk.db.begin() as session:
            keep_vectors(session, VectorKind.PICTURE, vectors, embedding_model=embedder.name)
    with desk.db.begin() as session:
        gone = ~exists().where(Figure.sha256 == Vector.content_hash)
        old = or_(Vector.embedding_model != embedder.name, gone)
        session.execute(delete(Vector).where(Vector.kind == VectorKind.PICTURE, old))
    return len(missing)


def _pictures_of(desk: Desk, digests: Iterable[str]) -> dict[str, bytes]:
    """The bytes of those that are not lost."""
    found = {}
    for sha256 in digests:
        with suppress(Gone):
            found[sha256] = desk.storage.get(sha256)
    return found


def lacks_vectors(session: Session, name: str) -> bool:
    """Whether there are figures without a vector of this photo embedder."""
    return session.scalar(_without_vector(name).limit(1)) is not None


def _without_vector(name: str) -> Select[str]:
    own = (Vector.content_hash == Figure.sha256, Vector.embedding_model == name)
    return select(Figure.sha256).distinct().where(~exists().where(*own))


def _read_or_recall(desk: Desk, photo: Photo, sha256: str) -> PhotoEvidence | None:
    """What the picture shows, read with no transaction open unless it was read before. None if reading fails: the
    article is imported all the same."""
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
        pass  # another import has read the same picture in the meantime
    return read


def _text_of(read: PhotoEvidence, desk: Desk, *, is_page: bool) -> str:
    """The paragraphs of a page; else the caption, if a model wrote it, and the text in the picture."""
    if is_page:
        return _paragraphs(read.visible_text)
    caption = [read.caption.value] if desk.capabilities.writes_answers else []
    return "\n".join([*caption, *(line.text for line in read.visible_text)])


def _paragraphs(lines: Sequence[TextLine]) -> str:
    """The text of a page. A gap of more than a line's height starts a new paragraph."""
    if not lines:
        return ""
    height = median(line.box.bottom - line.box.top for line in lines)
    text = lines[0].text
    for above, below in pairwise(lines):
        text += ("\n\n" if below.box.top - above.box.bottom > height else "\n") + below.text
    return text
