"""Photos of one ticket compared with each other: what has changed since the customer's earlier photo. And a photo
compared with the reference photo that it is most like: what looks otherwise than on an intact product."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from assistant import payloads
from assistant.desk import access, products
from assistant.desk.access import Staff
from assistant.desk.attachments import read_file
from assistant.desk.desk import Desk
from assistant.desk.evidence import IS_PHOTO, evidence_of, to_value
from assistant.errors import Conflict, Invalid, NotFound
from assistant.models import Attachment, AttachmentKind, Author, FileCondition, Message
from assistant.skills.compare_photos import against_reference, compare_photos
from assistant.skills.read_photo import PhotoEvidence

_TRIED = 3  # of earlier photos, each half a second


def compare(desk: Desk, principal: Staff, photo_id: str, other_id: str) -> payloads.Comparison:
    """Two photos of one ticket, in whatever order; the earlier one is the one of before.

    Raises `Invalid` for photos of two tickets, and `Conflict` if one has not been read yet."""
    with desk.db.read() as session:
        pair = sorted((access.access_attachment(session, principal, one) for one in (photo_id, other_id)), key=_order)
        tickets = {one.message.conversation_id for one in pair}
    before, after = pair
    if before.id == after.id or len(tickets) > 1:
        raise Invalid("Name two photos of one ticket.")
    if any(one.kind is not AttachmentKind.PHOTO or one.condition is FileCondition.REMOVED for one in pair):
        raise Invalid("Only photos that are still there can be compared.")
    return _compared(desk, before, after)


def compare_with_earlier(desk: Desk, principal: Staff, photo_id: str) -> payloads.Comparison:
    """A photo and, of the newest photos of earlier messages, the first that it can be compared with, else the newest.

    Raises `NotFound` without an earlier one, and `Conflict` if it has not been read yet."""
    with desk.db.read() as session:
        after = access.access_attachment(session, principal, photo_id)
        earlier = _photos(after.message.conversation_id).where(Attachment.message_id < after.message_id)
        newest = earlier.order_by(Attachment.message_id.desc(), Attachment.position).limit(_TRIED)
        candidates = session.scalars(newest).all()
    if not candidates:
        raise NotFound("There is no earlier photo in this ticket.")
    found = [_compared(desk, candidates[0], after)]
    for before in candidates[1:]:
        if found[-1].reason is None:
            break
        found.append(_compared(desk, before, after))
    return found[-1] if found[-1].reason is None else found[0]


def compare_with_reference(desk: Desk, principal: Staff, photo_id: str) -> payloads.ReferenceComparison:
    """A photo and the reference photo of its own product that it is most like, or an intact one if that shows damage:
    where the photo looks otherwise.

    Raises `NotFound` if no own product was recognised in it by its looks, or if of that no intact reference photo is
    left, `Invalid` for a file that is no photo, `Gone` if its bytes or the reference photo's are, and `Conflict` if it
    has not been read yet."""
    with desk.db.read() as session:
        photo = access.access_attachment(session, principal, photo_id)
    if photo.kind is not AttachmentKind.PHOTO:
        raise Invalid("Only photos can be compared.")
    data = read_file(desk, photo)  # before what was read in it: with a photo that is removed, that goes, too
    with desk.db.read() as session:
        [seen] = _read(session, photo)
        nearest, product = seen.product.reference, seen.product.value
        if not nearest:
            raise NotFound("No own product was recognised in this photo by its looks.")
        reference = products.intact_reference(session, product, nearest)
    if reference is None:
        raise NotFound("There is no reference photo to compare with: its product has none, or none intact.")
    found = against_reference(products.reference_photo(desk, reference), data, seen)
    return payloads.ReferenceComparison.of(found, reference=reference, photo=photo, product=product)


def later_photos(session: Session, conversation_ids: Sequence[int]) -> frozenset[str]:
    """The customers' photos before which there is another one, of an earlier message of the same conversation."""
    rows = session.execute(
        select(Message.conversation_id, Attachment.message_id, Attachment.public_id)
        .join(Attachment.message)
        .where(Message.conversation_id.in_(conversation_ids), *_IS_COMPARED)
        .order_by(Attachment.message_id)
    ).all()
    first: dict[int, int] = {}
    for conversation, message, _ in rows:
        first.setdefault(conversation, message)
    return frozenset(photo for conversation, message, photo in rows if message > first[conversation])


_IS_COMPARED = (IS_PHOTO, Message.author == Author.CUSTOMER)


def _photos(conversation_id: int) -> Select[Attachment]:
    own = Message.conversation_id == conversation_id
    return select(Attachment).join(Attachment.message).where(own, *_IS_COMPARED).options(joinedload(Attachment.message))


def _order(photo: Attachment) -> tuple[int, int]:
    return photo.message_id, photo.position


def _compared(desk: Desk, before: Attachment, after: Attachment) -> payloads.Comparison:
    with desk.db.read() as session:
        was, now = _read(session, before, after)
    found = compare_photos(read_file(desk, before), read_file(desk, after), (was, now), desk.taxonomy)
    return payloads.Comparison.of(found, before=before, after=after)


def _read(session: Session, *photos: Attachment) -> list[PhotoEvidence]:
    """What was read in each. Raises `Conflict` if one has not been read yet."""
    rows = evidence_of(session, photos)
    if any(one.sha256 not in rows for one in photos):
        raise Conflict("A photo has not been read yet. Try again in a few seconds.")
    return [to_value(rows[one.sha256]) for one in photos]
