"""Conversations: start one, post to it, rate an answer, hand off, and read what was said.

`state` decides who answers a conversation and when it is closed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NotRequired, TypedDict, Unpack

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from assistant.db import take_turns, utcnow
from assistant.desk import evidence, feed, inboxes, queue, state
from assistant.desk import uploads as uploaded_files
from assistant.desk.access import (
    AgentPrincipal,
    CustomerPrincipal,
    SessionPrincipal,
    access_conversation,
    visible_conversations,
)
from assistant.desk.attachments import PreparedFiles, RejectedFile, check_files, prepare_files
from assistant.desk.courtesy import is_courtesy
from assistant.desk.desk import Desk
from assistant.desk.events import MessageRated, MessageUpdated
from assistant.desk.subscribers import PROCESS_MESSAGE
from assistant.desk.uploads import Named, NoUpload
from assistant.errors import Conflict, Invalid, NotFound, Unauthenticated
from assistant.media.files import Upload
from assistant.models import (
    Attachment,
    Author,
    Citation,
    Conversation,
    ConversationState,
    Customer,
    Inbox,
    Message,
    MessageVisibility,
    UploadedFile,
)
from assistant.ports import HandoffReason
from assistant.skills import language
from assistant.text import languages
from assistant.text.clusters import shorten
from assistant.text.mail import own_words
from assistant.wording import Notice, word_all

_SUBJECT_LENGTH = 80
_USED_ID = "This client_id was used for a different message. Use a new one for each message."


@dataclass(frozen=True)
class Posted:
    """The stored message and the files that were refused. ``repeated``: it had been stored before. ``begun``: it is the
    first of a new conversation."""

    message: Message
    rejected: tuple[RejectedFile, ...] = ()
    repeated: bool = False
    begun: bool = False


class NewMessage(TypedDict):
    """A customer's message as it comes in. `post_message` says what its parts are."""

    text: str
    uploads: Sequence[Upload]
    client_id: str | None
    visitor: NotRequired[str | None]
    site_context: NotRequired[Mapping[str, str] | None]


def start_conversation(
    desk: Desk,
    principal: SessionPrincipal,
    *,
    after: str | None = None,
    language: str | None = None,
    prechat: Mapping[str, str] | None = None,
    **new: Unpack[NewMessage],
) -> Posted:
    """Post a first message. It begins a conversation, unless one has begun since the browser last looked (``after``:
    the newest that it knows): tabs that each wrote while offline make one conversation.

    ``language``: what the customer's page or browser speaks. ``prechat``: answers to the inbox's questions, by their
    keys. Everything else is as in `post_message`. Raises `Invalid` if the inbox requires an answer that is missing.
    """
    check_text(desk, new["text"])
    if not new["text"].strip() and not new["uploads"]:
        raise Invalid(Notice("message_empty"), field="text")
    with desk.db.begin() as session:
        customer = session.get(Customer, principal.customer_id, with_for_update=True)
        if customer is None:  # it has become another one's just now
            raise Unauthenticated("This session was ended. Begin a new one.")
        known = _conversation_of(session, principal, new["client_id"]) or _newer_than(session, principal, after)
        if known is None:
            inbox = session.get_one(Inbox, principal.inbox_id)
            answers = inboxes.prechat_answers(inbox, customer, prechat or {})
            begun = state.begin_conversation(session, customer, channel="widget", inbox=inbox, language=language)
            begun.prechat = answers
    posted = post_message(desk, CustomerPrincipal(known or begun.id), **new)
    return replace(posted, begun=known is None)


def _conversation_of(session: Session, principal: SessionPrincipal, client_id: str | None) -> int | None:
    """Where this message has been stored already."""
    query = visible_conversations(principal).join(Message).where(Message.client_id == client_id)
    return session.scalar(query.with_only_columns(Conversation.id)) if client_id else None


def _newer_than(session: Session, principal: SessionPrincipal, after: str | None) -> int | None:
    newest = session.scalar(visible_conversations(principal).order_by(Conversation.id.desc()).limit(1))
    return newest.id if newest is not None and newest.public_id != after else None


def own_conversations(session: Session, principal: SessionPrincipal) -> list[tuple[Conversation, Message]]:
    """What this browser may see, newest first, each with the last message that its customer may read."""
    last = (
        select(func.max(Message.id))
        .where(Message.conversation_id == Conversation.id, Message.visibility == MessageVisibility.PUBLIC)
        .correlate(Conversation)
        .scalar_subquery()
    )
    query = visible_conversations(principal).join(Message, Message.id == last).add_columns(Message)
    return [(row[0], row[1]) for row in session.execute(query.order_by(Conversation.id.desc()))]


def post_message(
    desk: Desk,
    customer: CustomerPrincipal,
    *,
    text: str,
    uploads: Sequence[Upload],
    client_id: str | None,
    visitor: str | None = None,
    site_context: Mapping[str, str] | None = None,
    named: Named | None = None,
) -> Posted:
    """Accept a customer's message. One sent again with the same ``client_id``, also in another conversation of theirs,
    is stored once. ``visitor``: for whom files are counted, e.g. an address. ``site_context``: what the customer's page
    said with it. ``named``: what was uploaded for it.

    Raises `Conflict` if another message has that ``client_id``: this one would be lost; `NoUpload` for an upload that
    there is not.
    """
    check_text(desk, text)
    ids = named.ids[: desk.settings.photos_per_message] if named is not None else ()

    def known() -> Posted | None:
        with desk.db.read() as session:
            repeated = _find_message(session, customer.conversation_id, client_id)
        if repeated is None:
            return None
        _require_same_text(repeated, text)
        checked = check_files(desk, uploads, besides=len(ids))
        sent = {*ids, *(file.content.sha256 for file in checked.files)}
        return _acknowledge_repeat(repeated, sent, checked.rejected)

    if (posted := known()) is not None:
        return posted
    try:
        uploaded = _uploaded(desk, named)
    except NoUpload:
        if (posted := known()) is not None:  # it was stored meanwhile, and has taken them
            return posted
        raise
    files = prepare_files(desk, uploads, uploaded=uploaded, conversation_id=customer.conversation_id, visitor=visitor)
    require_content(text, files)
    courtesy = _is_courtesy(desk, customer, text) if not files.attachments else False
    with desk.db.begin() as session:
        if client_id is not None:
            take_turns(session, f"message {client_id}")  # or two conversations would each store it at once
        conversation = state.lock_conversation(session, access_conversation(session, customer).id)
        repeated = _find_message(session, conversation.id, client_id)
        if repeated is not None:
            _require_same_text(repeated, text)
            stored = {one.sha256 for one in files.attachments[len(files.used) :]}
            return _acknowledge_repeat(repeated, {*ids, *stored}, files.rejected)
        message = add_customer_message(
            session,
            conversation,
            text=text,
            files=files,
            client_id=client_id,
            courtesy=courtesy,
            site_context=site_context,
        )
    return Posted(message, files.rejected)


def _uploaded(desk: Desk, named: Named | None) -> Sequence[UploadedFile]:
    if named is None or not named.ids:
        return ()
    with desk.db.read() as session:
        return uploaded_files.find(session, named.machine, named.ids, now=desk.now())


def _is_courtesy(desk: Desk, customer: CustomerPrincipal, text: str) -> bool:
    """Whether a text is nothing but a greeting or thanks, by its meaning. While the assistant answers, its letters
    tell, and nobody waits for the embedder."""
    with desk.db.read() as session:
        is_answering = access_conversation(session, customer).state is ConversationState.ASSISTANT
    return language.courtesy(own_words(text), capabilities=None if is_answering else desk.capabilities) is not None


def _require_same_text(message: Message, text: str) -> None:
    if message.text != text.strip():
        raise Conflict(_USED_ID)


def _acknowledge_repeat(message: Message, sent: set[str], rejected: tuple[RejectedFile, ...]) -> Posted:
    """``sent``: its files, by their digests or ids."""
    # Left out after they had arrived, files are stored: what is shown says so. More of them would be lost.
    if not sent <= {name for one in message.attachments for name in (one.public_id, one.sha256)}:
        raise Conflict(_USED_ID)
    return Posted(message, rejected, repeated=True)


def check_text(desk: Desk, text: str) -> None:
    if len(text) > desk.settings.message_max_chars:
        raise Invalid(Notice("text_too_long", {"n": desk.settings.message_max_chars}), field="text")


def require_content(text: str, files: PreparedFiles) -> None:
    """Raise unless there is text or an accepted file. If its only content was a refused file, raise that refusal."""
    if text.strip() or files.attachments:
        return
    if files.rejected:
        raise files.rejected[0].error
    raise Invalid(Notice("message_empty"), field="text")


def add_customer_message(
    session: Session,
    conversation: Conversation,
    *,
    text: str,
    files: PreparedFiles,
    client_id: str | None = None,
    subject: str | None = None,
    site_context: Mapping[str, str] | None = None,
    courtesy: bool | None = None,
) -> Message:
    """Add the message and open or reopen its ticket, unless it is a courtesy (None: its letters tell). The work that
    answers it follows from the event."""
    message = Message(
        author=Author.CUSTOMER,
        text=text.strip(),
        client_id=client_id,
        attachments=list(files.attachments),
        courtesy=courtesy,
    )
    uploaded_files.use(session, files.used)
    message.courtesy = polite = is_courtesy(message)
    state.receive(
        session,
        conversation,
        message,
        subject=subject or _subject(text, files),
        courtesy=polite,
        site_context=site_context,
    )
    evidence.tell_known(session, message.attachments)
    return message


def _subject(text: str, files: PreparedFiles) -> str:
    lines = own_words(text).splitlines()
    if not lines:
        return "Photo" if files.attachments else "Message"
    return shorten(lines[0].strip(), _SUBJECT_LENGTH)


class Reply(TypedDict):
    """What the assistant or an agent says. ``confidence``: that it answers the question, 0 to 1."""

    text: str
    agent: NotRequired[AgentPrincipal | None]
    visibility: NotRequired[MessageVisibility]
    citations: NotRequired[Sequence[Citation]]
    attachments: NotRequired[Sequence[Attachment]]
    confidence: NotRequired[float | None]


def add_reply(session: Session, conversation: Conversation, *, author: Author, **said: Unpack[Reply]) -> Message:
    """Add what the assistant or an agent says."""
    agent = said.get("agent")
    message = Message(
        author=author,
        text=said["text"],
        agent_id=agent.agent_id if agent is not None else None,
        visibility=said.get("visibility", MessageVisibility.PUBLIC),
        citations=list(said.get("citations", ())),
        attachments=list(said.get("attachments", ())),
        confidence=said.get("confidence"),
    )
    return state.add_message(session, conversation, message)


def rate_answer(
    session: Session, customer: CustomerPrincipal, public_id: str, *, helpful: bool | None, feedback: str | None = None
) -> Message:
    """Record whether an answer helped (None: withdrawn), and of one that did not, what is missing in it (None: as
    before). Only the assistant's messages can be rated."""
    query = select(Message).where(
        Message.public_id == public_id,
        Message.conversation_id == customer.conversation_id,
        Message.author == Author.ASSISTANT,
        Message.visibility == MessageVisibility.PUBLIC,
    )
    message = session.scalar(query)
    if message is None:
        raise NotFound("There is no such answer.")
    _rate(session, message, helpful, feedback)
    return message


def reject_answer(session: Session, message: Message) -> None:
    """Record that a customer's message rejects the assistant's answer before it. A no-op if something else was said
    last, or the customer has rated the answer."""
    query = select(Message).where(
        Message.conversation_id == message.conversation_id,
        Message.id < message.id,
        Message.author.in_((Author.ASSISTANT, Author.AGENT)),
        Message.visibility == MessageVisibility.PUBLIC,
    )
    answer = session.scalar(query.order_by(Message.id.desc()).limit(1))
    if answer is not None and answer.author is Author.ASSISTANT and answer.citations and answer.helpful is None:
        _rate(session, answer, helpful=False)


def _rate(session: Session, answer: Message, helpful: bool | None, feedback: str | None = None) -> None:
    feedback = (feedback or answer.feedback) if helpful is False else None
    if (answer.helpful, answer.feedback) != (helpful, feedback):
        answer.helpful, answer.feedback = helpful, feedback
        feed.append(session, answer.conversation_id, MessageRated(answer))


def set_failed(session: Session, message: Message, *, failed: bool) -> None:
    """Record and tell whether the assistant has given up on a message."""
    message.failed = failed
    feed.append(session, message.conversation_id, MessageUpdated(message))


def hand_off(session: Session, conversation: Conversation, reason: HandoffReason) -> None:
    """Give the conversation to a person and tell the customer. A no-op if a person has it or is being waited for."""
    if state.hand_off(session, conversation, reason):
        # The place in the line is not among them: it moves, and what is said here stays.
        notices = [Notice(f"handoff_{reason.value}"), Notice("sees_everything"), Notice("come_back_later")]
        tell(session, conversation, notices)


def give_back(session: Session, conversation: Conversation) -> None:
    """Let the assistant answer again, and tell the customer. It also answers what has been left open. A no-op if it has
    the conversation. Raises `Conflict` where it cannot have it."""
    if state.give_back(session, conversation):
        tell(session, conversation, [Notice("given_back"), Notice("person_any_time")])


def end(session: Session, customer: CustomerPrincipal) -> Conversation:
    """The customer ends the conversation; their next question reopens it. A no-op if it is closed, or if nothing has
    been said."""
    conversation = state.lock_conversation(session, access_conversation(session, customer).id)
    if state.end(session, conversation):
        tell(session, conversation, [Notice("conversation_ended")])
    return conversation


def tell(session: Session, conversation: Conversation, notices: Sequence[Notice]) -> None:
    """Tell the customer something that nobody has written."""
    told = [notice.to_json() for notice in notices]
    state.add_message(session, conversation, Message(author=Author.SYSTEM, text=word_all(notices), notices=told))


def language_of(conversation: Conversation, messages: Sequence[Message]) -> str | None:
    """The language that the customer writes, if it is certain."""
    prior = languages.expected(conversation.language)
    written = "\n".join(message.new_text for message in messages if message.author is Author.CUSTOMER)
    spoken, sure = languages.detect(written, prior)
    return spoken if written and sure > languages.SURE else None


def jobs_ahead(session: Session, conversation: Conversation) -> int | None:
    """Jobs that run before the customer's newest message here is processed; None once that has begun."""
    newest = last_customer_message(session, conversation.id)
    if newest is None:
        return None
    return queue.jobs_ahead(session, PROCESS_MESSAGE, {"message_id": newest.id}, now=utcnow())


def public_messages(session: Session, conversation_id: int) -> Sequence[Message]:
    """Messages the customer may read, oldest first, with attachments and citations loaded."""
    query = _message_query(conversation_id).where(Message.visibility == MessageVisibility.PUBLIC)
    return session.scalars(query).all()


def all_messages(session: Session, conversation_id: int) -> Sequence[Message]:
    """Messages including notes, for agents."""
    return session.scalars(_message_query(conversation_id)).all()


@dataclass(frozen=True)
class Window:
    """A part of a conversation, oldest first. ``earlier``: how many messages are before it."""

    messages: Sequence[Message]
    earlier: int


def message_window(
    session: Session,
    conversation_ids: Collection[int],
    *,
    since: str | None = None,
    before: str | None = None,
    limit: int,
) -> Window:
    """The newest messages of conversations including notes, at most ``limit``: all of those from ``since`` on, if that
    is more, or the last ones ``before`` another (both public ids, ignored if unknown)."""
    query = _message_query(*conversation_ids)
    if before is not None and (end := _id_of(session, conversation_ids, before)) is not None:
        query = query.where(Message.id < end)
    beginning = _id_of(session, conversation_ids, since) if since is not None else None
    of_page = query.with_only_columns(Message.id).order_by(None).order_by(Message.id.desc()).limit(limit)
    ids = session.scalars(of_page.options()).all()
    first = min([*ids, beginning] if beginning is not None else ids, default=0)
    messages = session.scalars(query.where(Message.id >= first)).all()
    count = select(func.count()).where(Message.conversation_id.in_(conversation_ids), Message.id < first)
    return Window(messages, session.execute(count).scalar_one())


def _id_of(session: Session, conversation_ids: Collection[int], public_id: str) -> int | None:
    query = select(Message.id).where(Message.conversation_id.in_(conversation_ids), Message.public_id == public_id)
    return session.scalar(query)


def last_customer_message(session: Session, conversation_id: int) -> Message | None:
    query = select(Message).where(Message.conversation_id == conversation_id, Message.author == Author.CUSTOMER)
    return session.scalar(query.order_by(Message.id.desc()).limit(1))


def _find_message(session: Session, conversation_id: int, client_id: str | None) -> Message | None:
    """In any conversation of the same customer: one whose response was lost may be sent again in a newer one."""
    if client_id is None:
        return None
    whose = select(Conversation.customer_id).where(Conversation.id == conversation_id).scalar_subquery()
    theirs = select(Conversation.id).where(Conversation.customer_id == whose)
    return session.scalars(
        _with_all(select(Message).where(Message.conversation_id.in_(theirs), Message.client_id == client_id))
    ).first()


def _message_query(*conversation_ids: int) -> Select[Message]:
    return _with_all(select(Message).where(Message.conversation_id.in_(conversation_ids)))


def _with_all(query: Select[Message]) -> Select[Message]:
    """Oldest first, with what a payload says of each."""
    parts = (joinedload(Message.agent), selectinload(Message.attachments), selectinload(Message.citations))
    return query.order_by(Message.id).options(*parts)
