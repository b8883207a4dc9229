"""What counts when a customer's message is processed: words, photos and product of the conversation up to it.

The newest message counts first. What it names or shows beats what was named or shown before, and photos of other
products do not speak for it. The context begins where the customer last reopened the conversation: what was said and
shown for a solved ticket has been dealt with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import select
from sqlalchemy.orm import Session

from assistant.desk import conversations
from assistant.desk.courtesy import is_courtesy
from assistant.desk.evidence import evidence_of, photos_of, to_value
from assistant.models import Attachment, Author, Conversation, Evidence, Message, Ticket
from assistant.skills.answer_request import Turn
from assistant.skills.read_photo import PhotoEvidence
from assistant.skills.taxonomy import Taxonomy

_LONGEST = 4000  # characters that triage reads


@dataclass(frozen=True)
class Context:
    """``messages``: the public ones from the context's beginning to the ``message`` itself, oldest first, without
    customers' courtesies in between; ``replies``: those that followed it. ``photos`` of each message by its id,
    ``evidence`` by the photos' sha256. ``subject``: the ticket's, unless the context began later. ``site``: what the
    customer's page says of the visit (`desk.site_context`)."""

    message: Message
    messages: Sequence[Message]
    replies: Sequence[Message]
    subject: str
    photos: Mapping[int, Sequence[Attachment]]
    evidence: Mapping[str, Evidence]
    taxonomy: Taxonomy
    site: Mapping[str, str]

    @property
    def text(self) -> str:
        """What the customer wrote, the newest first, and what their page says: for triage."""
        *earlier, newest = (self._words(one) for one in self.messages if one.author is Author.CUSTOMER)
        page = (f"{name.replace('_', ' ')}: {value}" for name, value in self.site.items())
        return "\n".join(text for text in (newest, *reversed(earlier), *page) if text)[:_LONGEST]

    @property
    def history(self) -> tuple[Turn, ...]:
        """What was said before the message and in reply to it, oldest first."""
        said = [one for one in (*self.messages[:-1], *self.replies) if one.author is not Author.SYSTEM]
        return tuple(Turn(one.author.value, self._words(one)) for one in said)

    @property
    def opening(self) -> str:
        """The subject, if the message opened the ticket."""
        return self.subject if len(self.messages) == 1 else ""

    def rejected(self, *, handed_off: bool) -> frozenset[tuple[str, str]]:
        """(article id, heading) of passages whose answer did not help: the customer said so, or needs a person now."""
        answers = [one for one in (*self.messages, *self.replies) if one.author is Author.ASSISTANT]
        return frozenset(
            (citation.article_public_id, citation.heading)
            for answer in answers
            if handed_off or answer.helpful is False
            for citation in answer.citations
        )

    @cached_property
    def named(self) -> tuple[Message, tuple[str, ...]] | None:
        """The newest message that names or shows products, and which. Of several products in one message, those count
        that are both written and shown."""
        for one in reversed(self.messages):
            if one.author is Author.CUSTOMER:
                written = self.taxonomy.products_in(self._words(one))
                shown = [reading.shown_product for reading in self._read(one) if reading.shown_product is not None]
                keys = [key for key in written if key in shown] or [*written, *shown]
                if keys:
                    return one, tuple(dict.fromkeys(keys))
        return None

    @property
    def products(self) -> tuple[str, ...]:
        """What has been named or shown last, else what the customer's page is about."""
        if self.named is not None:
            return self.named[1]
        return tuple(dict.fromkeys(self.taxonomy.products_in("\n".join(self.site.values()))))

    @property
    def product(self) -> str | None:
        """The only product that is named; of several that are shown, the one in the newest photo."""
        if self.named is None:
            return None
        message, keys = self.named
        shown = [read.shown_product for read in self._read(message) if read.shown_product in keys]
        return keys[0] if len(keys) == 1 else shown[-1] if shown else None

    @property
    def is_mixed(self) -> bool:
        """Whether the message's photos show several products and its words do not say which one it is about."""
        if self.named is None or self.named[0] is not self.message or len(self.named[1]) == 1:
            return False
        return len({read.shown_product for read in self._read(self.message)} - {None}) > 1

    @cached_property
    def counting_photos(self) -> Sequence[Attachment]:
        """The photos that speak for the message, oldest first: the newest that say anything about its product. Codes
        and lights of older photos, and of other products', would answer another question."""
        keys = (self.product,) if self.product is not None else ()
        counting: list[Attachment] = []
        for one in reversed(self.messages):
            photos = [photo for photo in self.photos.get(one.id, ()) if self._is_about(photo, one, keys)]
            counting = [*photos, *counting]
            if any(self._says_something(photo) for photo in photos):
                break
        return counting

    @property
    def read_photos(self) -> list[Attachment]:
        """The counting photos that have been read."""
        return [photo for photo in self.counting_photos if photo.sha256 in self.evidence]

    @property
    def counting_evidence(self) -> tuple[PhotoEvidence, ...]:
        """Of `read_photos`."""
        return tuple(to_value(self.evidence[photo.sha256]) for photo in self.read_photos)

    def _words(self, message: Message) -> str:
        """The message's new text, with the subject if it opened the ticket."""
        text = message.new_text
        if self.subject and message is self.messages[0] and self.subject not in text:
            return f"{self.subject}\n{text}".strip()
        return text

    def _read(self, message: Message) -> list[PhotoEvidence]:
        found = (self.evidence.get(photo.sha256) for photo in self.photos.get(message.id, ()))
        return [to_value(row) for row in found if row is not None]

    def _is_about(self, photo: Attachment, message: Message, keys: Sequence[str]) -> bool:
        """Whether a photo may show one of these products: by what it shows, else by what its message names."""
        row = self.evidence.get(photo.sha256)
        shown = to_value(row).shown_product if row is not None else None
        about = [shown] if shown is not None else self.taxonomy.products_in(self._words(message))
        return not keys or not about or any(key in keys for key in about)

    def _says_something(self, photo: Attachment) -> bool:
        row = self.evidence.get(photo.sha256)
        if row is None:
            return False
        read = to_value(row)
        return bool(read.shows or [line for line in read.visible_text if not self.taxonomy.products_in(line.text)])


def context_of(session: Session, message: Message, taxonomy: Taxonomy) -> Context:
    """The context of a customer's message, with whatever has been read in its photos."""
    conversation = session.get_one(Conversation, message.conversation_id)
    subject = session.execute(select(Ticket.subject).where(Ticket.conversation_id == conversation.id)).scalar_one()
    after = conversation.context_after_id or 0
    public = conversations.public_messages(session, conversation.id)
    messages = [one for one in public if one.id == message.id or (after < one.id < message.id and not is_courtesy(one))]
    photos = photos_of(session, [one.id for one in messages if one.author is Author.CUSTOMER])
    by_message: dict[int, list[Attachment]] = {}
    for photo in photos:
        by_message.setdefault(photo.message_id, []).append(photo)
    return Context(
        message=message,
        messages=messages,
        replies=[one for one in public if one.id > message.id and one.author is not Author.CUSTOMER],
        subject="" if after else subject,
        photos=by_message,
        evidence=evidence_of(session, photos),
        taxonomy=taxonomy,
        site=conversation.site_context,
    )
