"""Photos that are copies of each other: of customers, and of the company itself (figures of articles, reference photos
of own products).

Each photo is hashed when it is read. A job finds the codes of its points, what it may be a copy of, and whether it is
one by the pixels (`media.copies`), and keeps the pairs. Where that has not been done, or cannot be without OpenCV, near
hashes count as alike, up to `ALIKE` bits: looked up by index.

`assistant eval copies` measures both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, func, or_, select, union
from sqlalchemy.orm import Session

from assistant.desk import queue
from assistant.desk.attachments import read_file
from assistant.desk.desk import Desk
from assistant.errors import Gone
from assistant.media import copies, opencv
from assistant.media.likeness import BITS, bands_of, distance, hash_of, near
from assistant.models import (
    Attachment,
    AttachmentKind,
    Author,
    Figure,
    FileCondition,
    Message,
    PhotoCopy,
    PhotoHash,
    ProductPhoto,
)
from assistant.ports import WorkPriority

HASH = "hash_photos"  # the job
ALIKE = 11
_AT_ONCE = 50
_MOST, _FEW = 2000, 6  # hashes that are compared, with how many of a ticket
_SEARCHED = 20_000  # newest photos whose points are compared, in 50 ms
_CHECKED = 6  # photos with a near hash, by their pixels
_PARTS = (PhotoHash.part_0, PhotoHash.part_1, PhotoHash.part_2, PhotoHash.part_3)


@dataclass(frozen=True)
class Hash:
    """Of a photo; ``is_compared``: whether its copies are known, so that its hash need not say."""

    value: int
    is_compared: bool = False


def remember(desk: Desk, photos: Sequence[Attachment]) -> None:
    """Hash these photos, unless that is done; their copies are found by the job."""
    with desk.db.read() as session:
        known = select(PhotoHash.sha256).where(PhotoHash.sha256.in_({photo.sha256 for photo in photos}))
        left = {photo.sha256: photo for photo in photos}
        for sha256 in session.scalars(known):
            del left[sha256]
    for sha256, photo in left.items():
        try:
            value = hash_of(read_file(desk, photo))
        except Gone:
            value = None
        with desk.db.begin() as session:
            _store(session, sha256, value)
            if opencv.is_installed():
                request(session)


def request(session: Session) -> None:
    """Have the photos compared that have not been: new ones, and those that were there before this could be done."""
    queue.enqueue(session, HASH, {}, key=HASH, priority=WorkPriority.BATCH)


def hash_job(desk: Desk) -> None:
    """The job: some of the photos that are left, the newest first; then again, so that others get their turn."""
    with desk.db.read() as session:
        left = session.scalars(_left()).all()
        searched = _Searched(session) if left and opencv.is_installed() else None
    for sha256 in left:
        _compare(desk, sha256, searched)
    if len(left) == _AT_ONCE:
        with desk.db.begin() as session:
            request(session)


def hashes_of(session: Session, photos: Iterable[Attachment]) -> list[Hash]:
    """Of the few newest that have been hashed."""
    rows = session.execute(
        select(PhotoHash.value, PhotoHash.points.is_not(None))
        .where(PhotoHash.sha256.in_({photo.sha256 for photo in photos}), PhotoHash.value.is_not(None))
        .order_by(PhotoHash.id.desc())
        .limit(_FEW)
    )
    return [Hash(value, is_compared) for value, is_compared in rows if value is not None]


def alike(session: Session, digests: Iterable[str], own: Sequence[Hash]) -> dict[str, int]:
    """The digests of stored photos that are copies of these, or look like one with these hashes, with how many bits are
    different. Of photos that have been compared by their pixels, those decide."""
    if not own:
        return {}
    found = dict.fromkeys(digests, 0)
    found |= {other: 0 for others in pairs_of(session, found).values() for other in others}
    own = own[:_FEW]
    columns = PhotoHash.sha256, PhotoHash.value, PhotoHash.points.is_not(None)
    near_ones = select(*columns).where(or_(*(_shares_a_part(one.value) for one in own)))
    for sha256, value, is_compared in session.execute(near_ones.order_by(PhotoHash.id.desc()).limit(_MOST)):
        undecided = [one.value for one in own if not (is_compared and one.is_compared)]
        bits = min((distance(value, one) for one in undecided if value is not None), default=BITS)
        if bits <= ALIKE:
            found.setdefault(sha256, bits)
    return found


def pairs_of(session: Session, digests: Iterable[str]) -> dict[str, set[str]]:
    """For each of these photos that has any, its copies with other bytes."""
    found: dict[str, set[str]] = {}
    wanted = set(digests)
    either = or_(PhotoCopy.sha256.in_(wanted), PhotoCopy.other_sha256.in_(wanted))
    for one, other in session.execute(select(PhotoCopy.sha256, PhotoCopy.other_sha256).where(either)):
        found.setdefault(one, set()).add(other)
        found.setdefault(other, set()).add(one)
    return {sha256: others for sha256, others in found.items() if sha256 in wanted}


class _Searched:
    """The codes of the newest photos, for as long as a job runs."""

    def __init__(self, session: Session) -> None:
        newest = select(PhotoHash.sha256, PhotoHash.points).where(PhotoHash.points != b"")
        rows = session.execute(newest.order_by(PhotoHash.id.desc()).limit(_SEARCHED)).all()
        self._digests = [sha256 for sha256, _ in rows]
        self._codes = [codes or b"" for _, codes in rows]

    def add(self, sha256: str, codes: bytes) -> None:
        self._digests.append(sha256)
        self._codes.append(codes)

    def candidates(self, points: copies.Points) -> dict[str, bool]:
        """Digests of what may be a copy, and whether it is mirrored."""
        found = copies.candidates(points, self._codes)
        return {self._digests[one.number]: one.is_mirrored for one in reversed(found)}


def _left() -> Select[str]:
    """Digests of photos of customers, figures and reference photos that are not hashed or not compared."""
    sent = select(Attachment.id, Attachment.sha256).join(Attachment.message)
    sent = sent.where(Attachment.kind == AttachmentKind.PHOTO, Message.author == Author.CUSTOMER)
    sent = sent.where(Attachment.condition != FileCondition.REMOVED)
    every = union(sent, select(Figure.id, Figure.sha256), select(ProductPhoto.id, ProductPhoto.sha256)).subquery()
    is_done = PhotoHash.points.is_not(None) if opencv.is_installed() else PhotoHash.id.is_not(None)
    done = select(PhotoHash.id).where(PhotoHash.sha256 == every.c.sha256, is_done).exists()
    left = select(every.c.sha256).where(~done).group_by(every.c.sha256)
    return left.order_by(func.max(every.c.id).desc()).limit(_AT_ONCE)


def _compare(desk: Desk, sha256: str, searched: _Searched | None) -> None:
    """Hash a photo, and find its copies among those that have been compared."""
    try:
        photo = desk.storage.get(sha256)
    except Gone:
        with desk.db.begin() as session:
            _store(session, sha256, None, points=b"" if searched is not None else None)
        return
    value = hash_of(photo)
    if searched is None:
        with desk.db.begin() as session:
            _store(session, sha256, value)
        return
    points = copies.points_of(photo)
    found = _copies(desk, photo, value, searched.candidates(points))
    with desk.db.begin() as session:
        _store(session, sha256, value, points=points.to_bytes())
        known = pairs_of(session, [sha256]).get(sha256, set())
        for other in sorted(found - known - {sha256}):
            session.add(PhotoCopy(sha256=sha256, other_sha256=other))
    searched.add(sha256, points.to_bytes())


def _copies(desk: Desk, photo: bytes, value: int | None, candidates: dict[str, bool]) -> set[str]:
    """Which of the candidates, and of the photos with a near hash, are copies by their pixels. Where these say nothing,
    the hash does."""
    hashed: set[str] = set()
    if value is not None:
        with desk.db.read() as session:
            bits = alike(session, (), [Hash(value)])
        hashed = set(sorted(bits, key=lambda one: bits[one])[:_CHECKED])
    tried = [*candidates.items(), *((one, False) for one in hashed if candidates.get(one) is not False)]
    original = copies.Original(photo) if tried else None
    found = set()
    for sha256, is_mirrored in tried:
        with suppress(Gone):
            other = desk.storage.get(sha256)
            is_copy = original.is_copied_by(other, is_mirrored=is_mirrored) if original is not None else False
            if is_copy or (is_copy is None and sha256 in hashed):
                found.add(sha256)
    return found


def _store(session: Session, sha256: str, value: int | None, *, points: bytes | None = None) -> None:
    row = session.scalar(select(PhotoHash).where(PhotoHash.sha256 == sha256))
    if row is None:
        parts = dict(zip([part.key for part in _PARTS], bands_of(value), strict=True)) if value is not None else {}
        row = PhotoHash(sha256=sha256, value=value, **parts)
        session.add(row)
    if points is not None:
        row.points = points


def _shares_a_part(value: int) -> ColumnElement[bool]:
    """Whether a hash can be alike: else every part of it differs in more bits."""
    parts = zip(_PARTS, bands_of(value), strict=True)
    return or_(*(part.in_(near(band, ALIKE // len(_PARTS))) for part, band in parts))
