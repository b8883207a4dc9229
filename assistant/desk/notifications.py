"""Customers who are away learn of replies by mail.

* A reply (by an agent or the assistant) that stays unseen for some minutes is sent, and with it all others since.
* Whoever has the widget open before them sees replies as they come, so they get no mail. At night they do: mail waits.
* It goes to an address that the customer has proved, or typed in this very conversation; never to one that only the
  page around the widget named. An address that was merely typed gets our own words alone, so that nobody can have us
  send theirs to a stranger.
* Its owner can stop it with one click. What they ask for themselves (a transcript, a code) is still sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from assistant.db import utcnow
from assistant.desk import inboxes, links, mail, queue, state
from assistant.desk.access import CustomerPrincipal
from assistant.desk.attention import attention_to, is_unseen_reply
from assistant.desk.conversations import public_messages
from assistant.desk.desk import Desk
from assistant.desk.links import Purpose
from assistant.desk.subscribers import MAIL_UNREAD
from assistant.errors import Conflict, NotReady
from assistant.models import Attention, Author, Conversation, MailRefusal, Message
from assistant.text.folding import address as folded
from assistant.text.letters import Block, Letter, Link, Paragraph, Said, Small
from assistant.wording import ENGLISH, Notice, choose, language_of, show_time, word, word_all


@dataclass(frozen=True)
class Recipient:
    """``proved``: by a code, or by the site that the customer is signed in to."""

    address: str
    proved: bool


def mail_unread(desk: Desk, conversation_id: int) -> None:
    """Send the customer what they have not seen, once it has waited long enough; else look again at that time."""
    minutes = desk.settings.reply_mail_minutes
    if not minutes or not desk.sends_mail:
        return
    with desk.db.begin() as session:
        conversation = state.lock_conversation(session, conversation_id)
        known = attention_to(session, conversation_id)
        to = recipient(conversation, known)
        unseen = _unseen(session, known)
        if to is None or not unseen or refuses_mail(session, to.address):
            return
        due = unseen[0].created_at + timedelta(minutes=minutes)
        if desk.now() < due:
            payload = {"conversation_id": conversation_id}
            queue.enqueue(session, MAIL_UNREAD, payload, key=f"{MAIL_UNREAD}:{conversation_id}", run_at=due)
            return
        known.mailed_id = unseen[-1].id
        session.add(known)
        unsubscribe = links.unsubscribe_url(desk.settings, to.address)
        letter = _reply_letter(desk, session, conversation, to, unseen, unsubscribe)
        mail.enqueue(session, letter, to=to.address, conversation=conversation, unsubscribe_url=unsubscribe)


def recipient(conversation: Conversation, known: Attention) -> Recipient | None:
    """Where the customer may be told of replies; None if nowhere."""
    customer = conversation.customer
    proved = customer.email if customer.verified_at is not None else None
    if known.mail_to is not None:
        return Recipient(known.mail_to, proved=known.mail_to == proved)
    return Recipient(proved, proved=True) if proved else None


def set_address(session: Session, customer: CustomerPrincipal, typed: str) -> str:
    """Tell the customer of replies in this conversation at an address that they typed. The address, tidied up.

    Raises `Invalid` if it is none.
    """
    state.lock_conversation(session, customer.conversation_id)
    address = mail.typed_address(typed)
    known = attention_to(session, customer.conversation_id)
    known.mail_to = address
    session.add(known)
    return address


def send_transcript(desk: Desk, customer: CustomerPrincipal) -> str:
    """Mail the whole conversation to its customer. The address that it goes to.

    Raises `NotReady` without a mail server, `Conflict` without an address that the customer has proved: the words are
    theirs, and must not reach strangers by us.
    """
    if not desk.sends_mail:
        raise NotReady(Notice("no_mail_now"))
    with desk.db.begin() as session:
        conversation = state.lock_conversation(session, customer.conversation_id)
        to = recipient(conversation, attention_to(session, conversation.id))
        if to is None or not to.proved:
            raise Conflict(Notice("transcript_needs_proof"))
        letter = _transcript_letter(desk, conversation, public_messages(session, conversation.id))
        mail.enqueue(session, letter, to=to.address, conversation=conversation)
        return to.address


def refuse_mail(session: Session, address: str, *, refused: bool = True) -> None:
    """Record that the owner of an address wants no more mail about replies, or does again."""
    digest = _digest(address)
    known = session.get(MailRefusal, digest)
    if refused and known is None:
        session.add(MailRefusal(address_sha256=digest, created_at=utcnow()))
    elif not refused and known is not None:
        session.delete(known)


def refuses_mail(session: Session, address: str) -> bool:
    return session.get(MailRefusal, _digest(address)) is not None


def unsubscribe(session: Session, desk: Desk, token: str, *, refused: bool = True) -> str:
    """Do as the link in a mail says. The address. Raises `NotFound` unless it is a link of ours."""
    address = links.read(desk.settings, Purpose.UNSUBSCRIBE, token)
    refuse_mail(session, address, refused=refused)
    return address


def _digest(address: str) -> str:
    return hashlib.sha256(folded(address).encode()).hexdigest()


def _unseen(session: Session, known: Attention) -> Sequence[Message]:
    query = (
        select(Message)
        .outerjoin(Attention, Attention.conversation_id == Message.conversation_id)
        .where(Message.conversation_id == known.conversation_id, is_unseen_reply(), Message.id > (known.mailed_id or 0))
        .options(joinedload(Message.agent), selectinload(Message.attachments))
    )
    return session.scalars(query.order_by(Message.id)).all()


def _reply_letter(
    desk: Desk, session: Session, conversation: Conversation, to: Recipient, unseen: Sequence[Message], stop: str
) -> Letter:
    language, company = _speaks(conversation), inboxes.brand(conversation.inbox, desk.settings)
    values = {"company": company}
    asked = _asked(session, unseen[0]) if to.proved else None
    shown = [asked, *unseen] if asked is not None else unseen
    return Letter(
        word(Notice("mail_reply_subject", values), language),
        (
            Paragraph(word(Notice("mail_reply_intro", {"n": len(unseen), **values}), language)),
            *_said(shown, conversation, language, company),
            Link(word(Notice("mail_open"), language), links.conversation_url(desk.settings, conversation)),
            Small(word(Notice("mail_reply_why", values), language)),
            Link(word(Notice("mail_unsubscribe"), language), stop, small=True),
        ),
        language,
    )


def _transcript_letter(desk: Desk, conversation: Conversation, messages: Sequence[Message]) -> Letter:
    language, company = _speaks(conversation), inboxes.brand(conversation.inbox, desk.settings)
    values = {"company": company}
    return Letter(
        word(Notice("mail_transcript_subject", values), language),
        (
            Paragraph(word(Notice("mail_transcript_intro", values), language)),
            *_said(messages, conversation, language, company),
            Link(word(Notice("mail_open"), language), links.conversation_url(desk.settings, conversation)),
        ),
        language,
    )


def _asked(session: Session, reply: Message) -> Message | None:
    """What the customer said last before a reply."""
    query = select(Message).where(
        Message.conversation_id == reply.conversation_id, Message.id < reply.id, Message.author == Author.CUSTOMER
    )
    return session.scalar(query.order_by(Message.id.desc()).limit(1))


def _said(messages: Sequence[Message], conversation: Conversation, language: str, company: str) -> list[Block]:
    tag, zone = choose([conversation.language]) or language, inboxes.time_zone(conversation.inbox)
    return [
        Said(_author(message, language, company), show_time(message.created_at, tag, zone), _text(message, language))
        for message in messages
    ]


def _author(message: Message, language: str, company: str) -> str:
    match message.author:
        case Author.CUSTOMER:
            return word(Notice("you"), language)
        case Author.AGENT if message.agent is not None:
            return message.agent.name
        case Author.ASSISTANT:
            return word(Notice("assistant"), language)
        case _:
            return company


def _text(message: Message, language: str) -> str:
    notices = [Notice(one["code"], one["params"]) for one in message.notices or ()]
    text = word_all(notices, language) if notices else message.text
    return "\n".join([text, *(f"[{attachment.filename}]" for attachment in message.attachments)]).strip()


def _speaks(conversation: Conversation) -> str:
    return language_of(choose([conversation.language]) or ENGLISH)
