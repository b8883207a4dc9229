"""Photos that look alike: each is hashed when it is read, older ones by a job, and near hashes are looked up by index.

Photos count as alike up to `ALIKE` bits. Of 125 photos (parcels, groceries, receipts, screenshots, signs), so are all
copies that were encoded anew at a quality of 20, halved or quartered; of copies cropped at each edge by 1 % .98, by 2 %
.91, by 3 % .75, by 5 % .34. Of 7,750 pairs of different photos one is: two receipts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from assistant.desk import queue
from assistant.desk.attachments import read_file
from assistant.desk.desk import Desk
from assistant.errors import Gone
from assistant.media.likeness import bands_of, distance, hash_of, near
from assistant.models import Attachment, AttachmentKind, Author, FileCondition, Message, PhotoHash
from assistant.ports import WorkPriority

HASH = "hash_photos"  # the job
ALIKE = 11
_AT_ONCE = 200
_MOST, _FEW = 2000, 6  # hashes that are compared, with how many of a ticket
_PARTS = (PhotoHash.part_0, PhotoHash.part_1, PhotoHash.part_2, PhotoHash.part_3)


def remember(desk: Desk, photos: Sequence[Attachment]) -> None:
    """Hash these photos, unless that is done."""
    with desk.db.read() as session:
        known = select(PhotoHash.sha256).where(PhotoHash.sha256.in_({photo.sha256 for photo in photos}))
        left = {photo.sha256: photo for photo in photos}
        for sha256 in session.scalars(known):
            del left[sha256]
    for sha256, photo in left.items():
        value = _hash(desk, photo)
        parts = dict(zip([part.key for part in _PARTS], bands_of(value), strict=True)) if value is not None else {}
        with desk.db.begin() as session:
            if session.scalar(select(PhotoHash.id).where(PhotoHash.sha256 == sha256)) is None:
                session.add(PhotoHash(sha256=sha256, value=value, **parts))


def request(session: Session) -> None:
    """Have the photos hashed that were there before hashes were."""
    queue.enqueue(session, HASH, {}, key=HASH, priority=WorkPriority.BATCH)


def hash_job(desk: Desk) -> None:
    """The job: some of the photos without a hash, the newest first; then again, so that others get their turn."""
    with desk.db.read() as session:
        left = select(Attachment).join(Attachment.message).outerjoin(PhotoHash, PhotoHash.sha256 == Attachment.sha256)
        left = left.where(Attachment.kind == AttachmentKind.PHOTO, Message.author == Author.CUSTOMER)
        left = left.where(Attachment.condition != FileCondition.REMOVED)
        left = left.where(PhotoHash.id.is_(None)).order_by(Attachment.id.desc()).limit(_AT_ONCE)
        photos = session.scalars(left).all()
    remember(desk, photos)
    if len(photos) == _AT_ONCE:
        with desk.db.begin() as session:
            request(session)


def hashes_of(session: Session, photos: Iterable[Attachment]) -> list[int]:
    """Of the few newest that have been hashed."""
    digests = {photo.sha256 for photo in photos}
    hashed = select(PhotoHash.value).where(PhotoHash.sha256.in_(digests), PhotoHash.value.is_not(None))
    return [value for value in session.scalars(hashed.order_by(PhotoHash.id.desc()).limit(_FEW)) if value is not None]


def alike(session: Session, own: Sequence[int]) -> dict[str, int]:
    """The digests of stored photos that look like one of those with these hashes, with how many bits are different."""
    if not own:
        return {}
    own = own[:_FEW]
    near_ones = select(PhotoHash).where(or_(*map(_shares_a_part, own))).order_by(PhotoHash.id.desc()).limit(_MOST)
    bits = {
        one.sha256: min(distance(one.value, value) for value in own)
        for one in session.scalars(near_ones)
        if one.value is not None
    }
    return {sha256: count for sha256, count in bits.items() if count <= ALIKE}


def _shares_a_part(value: int) -> ColumnElement[bool]:
    """Whether a hash can be alike: else every part of it differs in more bits."""
    parts = zip(_PARTS, bands_of(value), strict=True)
    return or_(*(part.in_(near(band, ALIKE // len(_PARTS))) for part, band in parts))


def _hash(desk: Desk, photo: Attachment) -> int | None:
    try:
        return hash_of(read_file(desk, photo))
    except Gone:
        return None
