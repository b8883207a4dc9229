"""A conversation and its messages, as customers, agents and machines see them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Self

from pydantic import Field

from assistant import models
from assistant.errors import AssistantError
from assistant.models import AttachmentKind, Author, ConversationState, FileCondition, MessageVisibility
from assistant.payloads.payload import Payload, Score
from assistant.ports import HandoffReason
from assistant.skills.answer import Answer


class Rating(Payload):
    """How a conversation was, by its customer."""

    score: int = Field(ge=1, le=5, description="5 is best.")
    comment: str
    rated_at: datetime
    changeable_until: datetime

    @classmethod
    def of(cls, rating: models.Rating) -> Self:
        return cls(
            score=rating.score,
            comment=rating.comment,
            rated_at=rating.updated_at,
            changeable_until=rating.changeable_until,
        )


class Conversation(Payload):
    """Who is answering, and how long a customer waits for a person."""

    id: str
    state: ConversationState
    queue_position: int | None = Field(description="1 is next; null unless the customer waits for a person.")
    agent_name: str | None
    agent_picture: str | None = Field(description="Of the agent's picture: `/widget/v1/pictures/…`.")
    reason: HandoffReason | None = Field(description="Why it was handed off.")
    asks_rating: bool = Field(description="Whether its customer is asked now how it was.")
    rating: Rating | None

    @classmethod
    def of(cls, conversation: models.Conversation, *, queue_position: int) -> Self:
        """``queue_position`` is 0 unless the customer waits for a person."""
        agent = conversation.agent if conversation.state is ConversationState.AGENT else None
        return cls(
            id=conversation.public_id,
            state=conversation.state,
            queue_position=queue_position or None,
            agent_name=agent.name if agent is not None else None,
            agent_picture=agent.picture_sha256 if agent is not None else None,
            reason=conversation.handoff_reason,
            asks_rating=conversation.asks_rating,
            rating=Rating.of(conversation.rating) if conversation.rating is not None else None,
        )


class Attention(Payload):
    """How far each side has come, by the id of the newest message."""

    delivered: str | None = Field(description="That a browser of the customer has received.")
    seen: str | None = Field(description="That the customer had before their eyes.")
    seen_at: datetime | None
    seen_by_agents: str | None = Field(description="Of the customer's, that an agent had before their eyes.")
    seen_by_agents_at: datetime | None

    @classmethod
    def of(cls, attention: models.Attention) -> Self:
        def name(message: models.Message | None) -> str | None:
            return message.public_id if message is not None else None

        return cls(
            delivered=name(attention.delivered),
            seen=name(attention.seen),
            seen_at=attention.seen_at,
            seen_by_agents=name(attention.seen_by_agents),
            seen_by_agents_at=attention.seen_by_agents_at,
        )


class Attachment(Payload):
    """A file on a message. The bytes are at `/api/v1/attachments/{id}`."""

    id: str
    kind: AttachmentKind
    filename: str
    content_type: str
    size: int = Field(description="Bytes.")
    width: int | None
    height: int | None
    condition: FileCondition = Field(description="Unless it is `ready` or `unscanned`, the bytes cannot be had.")
    removed_at: datetime | None = Field(description="When it was removed by the inbox's retention rules; else null.")
    risk: str | None = Field(description="What opening the file might do, e.g. `program` or `macros`; null if nothing.")

    @classmethod
    def of(cls, attachment: models.Attachment) -> Self:
        return cls(
            id=attachment.public_id,
            kind=attachment.kind,
            filename=attachment.filename,
            content_type=attachment.content_type,
            size=attachment.byte_size,
            width=attachment.width,
            height=attachment.height,
            condition=attachment.condition,
            removed_at=attachment.removed_at,
            risk=attachment.risk,
        )


class Figure(Payload):
    """A picture beside a cited passage. The bytes are at `/api/v1/figures/{id}`."""

    id: str
    alt: str
    width: int
    height: int

    @classmethod
    def of(cls, figure: models.Figure) -> Self:
        return cls(id=figure.public_id, alt=figure.alt, width=figure.width, height=figure.height)


def at_page(url: str | None, page: int | None) -> str | None:
    """The address of a page of a document, as browsers' viewers understand it."""
    return f"{url}#page={page}" if url and page and "#" not in url else url


class Citation(Payload):
    """A link from one sentence of an answer to the passage that supports it."""

    sentence_index: int
    sentence: str
    article_id: str
    article_title: str
    heading: str
    quote: str
    url: str | None = Field(description="Of the article; of its page, if it has pages.")
    page: int | None = Field(
        description="In a PDF file, from 1. Without a `url`, the file is at `/widget/v1/documents/{article_id}`, with "
        "the key of the ticket's inbox: `?inbox=`."
    )
    support: Score = Field(
        description="How well the passage carries the sentence as an answer to the question, 0 to 1."
    )
    passage_id: str | None = Field(description="Null in stored answers: an article's passages change.")
    figures: tuple[Figure, ...]

    @classmethod
    def of(cls, citation: models.Citation) -> Self:
        return cls(
            sentence_index=citation.sentence_index,
            sentence=citation.sentence,
            article_id=citation.article_public_id,
            article_title=citation.article_title,
            heading=citation.heading,
            quote=citation.quote,
            url=at_page(citation.url, citation.page),
            page=citation.page,
            support=citation.support,
            passage_id=None,
            figures=tuple(Figure.of(figure) for figure in citation.figures),
        )

    @classmethod
    def of_answer(cls, answer: Answer) -> Iterator[Self]:
        for sentence in answer.sentences:
            for citation in sentence.citations:
                yield cls(
                    sentence_index=sentence.index,
                    sentence=sentence.text,
                    article_id=citation.article_id,
                    article_title=citation.article_title,
                    heading=citation.heading,
                    quote=citation.quote,
                    url=at_page(citation.url, citation.page),
                    page=citation.page,
                    support=citation.support,
                    passage_id=citation.passage_id,
                    figures=(),
                )


class MessagePart(Payload):
    text: str
    quoted: bool = Field(description="Quoted mail, a signature or a disclaimer.")


class Notice(Payload):
    """What the product tells a customer, by its code, for whoever words it in the customer's language."""

    code: str
    params: dict[str, str | int | float]


class Message(Payload):
    """A message as its customer sees it; `visibility` is `internal` for notes, which only agents and machines get."""

    id: str
    client_id: str | None = Field(description="The sender's own id of the message.")
    author: Author
    author_name: str | None = Field(description="An agent's name.")
    author_picture: str | None = Field(description="Of an agent's picture: `/widget/v1/pictures/…`.")
    visibility: MessageVisibility
    text: str = Field(description="All of it.")
    new_text: str = Field(description="Without quoted mail, signature and disclaimer: what was written now.")
    parts: tuple[MessagePart, ...] = Field(description="The text cut at what is quoted; empty if nothing is.")
    notices: tuple[Notice, ...] = Field(description="Of a message by the system: what its text says, code by code.")
    helpful: bool | None = Field(description="Whether the customer says that an answer helped; null if they have not.")
    feedback: str | None = Field(description="What the customer misses in an answer that did not help.")
    failed: bool = Field(description="The assistant could not process the customer's message: a person has to read it.")
    created_at: datetime
    attachments: tuple[Attachment, ...]
    citations: tuple[Citation, ...]

    @classmethod
    def of(cls, message: models.Message) -> Self:
        parts = message.parts
        return cls(
            id=message.public_id,
            client_id=message.client_id,
            author=message.author,
            author_name=message.agent.name if message.agent is not None else None,
            author_picture=message.agent.picture_sha256 if message.agent is not None else None,
            visibility=message.visibility,
            text=message.text,
            new_text=message.new_text,
            parts=tuple(MessagePart(text=part.text, quoted=not part.own) for part in parts) if len(parts) > 1 else (),
            notices=tuple(Notice(**notice) for notice in message.notices or ()),
            helpful=message.helpful,
            feedback=message.feedback,
            failed=message.failed,
            created_at=message.created_at,
            attachments=tuple(Attachment.of(attachment) for attachment in message.attachments),
            citations=tuple(Citation.of(citation) for citation in message.citations),
        )


class RejectedFile(Payload):
    """A file that was not accepted; `status`, `code`, `detail` and `notice` as in a problem document."""

    filename: str
    status: int
    code: str
    detail: str
    notice: Notice | None = Field(description="What `detail` says, by its code; null if it has none.")

    @classmethod
    def of(cls, filename: str, error: AssistantError) -> Self:
        return cls(
            filename=filename,
            status=error.status,
            code=error.code,
            detail=error.message,
            notice=Notice(**error.notice.to_json()) if error.notice is not None else None,
        )
