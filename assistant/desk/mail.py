"""Outgoing mail: written in the transaction of what it is about, delivered by a job.

A server that is away, or says "later" (4xx), is asked again with growing pauses until the mail expires. A refusal (5xx)
is final. Both are recorded with the mail. A process that dies between the server's "taken" and our record sends a mail
again: under the same Message-ID, by which mail programs drop the second one.

Mails about a conversation are one thread: they refer to ``<its public id@our domain>`` and to each other.
"""

from __future__ import annotations

from datetime import timedelta
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

import structlog
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from assistant.db import new_public_id, utcnow
from assistant.desk import queue
from assistant.desk.desk import Desk
from assistant.errors import Invalid, Unavailable, Undeliverable
from assistant.faults import describe
from assistant.models import Conversation, Mail, MailState, Ticket
from assistant.ports import WorkPriority
from assistant.ports.mail import Mailer
from assistant.settings import Settings
from assistant.text.folding import address as folded
from assistant.text.letters import Letter, Paragraph, Small
from assistant.wording import Notice

log = structlog.get_logger(__name__)

DELIVER = "deliver_mail"
KEEP_TRYING = timedelta(days=2)
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=30), timedelta(hours=2)
_REFERENCES = 10  # of a long thread: the root and the newest


def enqueue(
    session: Session,
    letter: Letter,
    *,
    to: str,
    conversation: Conversation | None = None,
    unsubscribe_url: str | None = None,
    keep_trying: timedelta = KEEP_TRYING,
    priority: WorkPriority = WorkPriority.DRAFT,
) -> Mail:
    """Write a mail and the job that delivers it. ``to``: one address. ``unsubscribe_url``: must accept a POST without
    cookies or confirmation (RFC 8058). Raises `Invalid` if ``to`` is no address."""
    mail = Mail(
        conversation_id=conversation.id if conversation is not None else None,
        recipient=parse_address(to).addr_spec,
        subject=_subject(session, letter, conversation),
        text=letter.plain(),
        html=letter.html(),
        language=letter.language,
        unsubscribe_url=unsubscribe_url,
        expires_at=utcnow() + keep_trying,
    )
    session.add(mail)
    session.flush()
    queue.enqueue(session, DELIVER, {"mail_id": mail.id}, priority=priority)
    return mail


def _subject(session: Session, letter: Letter, conversation: Conversation | None) -> str:
    """With the ticket's number, if there is one: whoever calls about a mail can name it."""
    subject = " ".join(letter.subject.split())
    if conversation is None:
        return subject
    number = session.scalar(select(Ticket.number).where(Ticket.conversation_id == conversation.id))
    return f"{subject} [#{number}]" if number is not None else subject


def deliver(desk: Desk, mail_id: int) -> None:
    """Try once to deliver a mail; if it may be taken later, a job for that is enqueued. A no-op for one whose fate is
    known."""
    with desk.db.read() as session:
        mail = session.get(Mail, mail_id)
        if mail is None or mail.state is not MailState.QUEUED:
            return
        thread = _thread(session, mail)
    try:
        desk.mailer.send(_message(desk.settings, mail, thread))
    except Undeliverable as error:
        _record(desk, mail_id, MailState.REFUSED, reason=error.message)
        log.warning("mail.refused", mail=mail.public_id)  # the reply may repeat the address
    except Unavailable as error:
        _try_later(desk, mail_id, error)
    else:
        _record(desk, mail_id, MailState.SENT)


def try_out(settings: Settings, mailer: Mailer, to: str) -> None:
    """Hand a mail to the server now, without a job. Raises `Invalid` for what is no address, and what the server
    says."""
    letter = Letter(
        f"Test mail from the support desk of {settings.company}",
        (Paragraph("Mail from the support desk arrives here."), Small("Somebody asked for this in the settings.")),
        "en",
    )
    mail = Mail(
        public_id=new_public_id("eml"),
        recipient=parse_address(to).addr_spec,
        subject=letter.subject,
        text=letter.plain(),
        html=letter.html(),
        language=letter.language,
        created_at=utcnow(),
    )
    mailer.send(_message(settings, mail, []))


def counts(session: Session) -> dict[MailState, int]:
    found = dict(session.execute(select(Mail.state, func.count()).group_by(Mail.state)).all())
    return {state: found.get(state, 0) for state in MailState}


def problems(session: Session, *, limit: int = 20) -> list[Mail]:
    """What the server did not take, or has not taken yet, the newest first."""
    query = select(Mail).where(Mail.reason.is_not(None)).order_by(Mail.id.desc())
    return list(session.scalars(query.limit(limit)))


def _try_later(desk: Desk, mail_id: int, error: Unavailable) -> None:
    now = desk.now()
    with desk.db.begin() as session:
        mail = session.get_one(Mail, mail_id)
        run_at = now + min(_FIRST_PAUSE * 2**mail.tries, _LONGEST_PAUSE)
        mail.tries += 1
        mail.reason = error.message
        if run_at < mail.expires_at:
            queue.enqueue(session, DELIVER, {"mail_id": mail.id}, run_at=run_at)
        else:
            _close(mail, MailState.EXPIRED)
    is_over = mail.state is MailState.EXPIRED
    said = describe(error) if error.cause == "mail_away" else error.cause
    log.warning("mail.expired" if is_over else "mail.delayed", mail=mail.public_id, tries=mail.tries, error=said)


def _record(desk: Desk, mail_id: int, state: MailState, *, reason: str | None = None) -> None:
    with desk.db.begin() as session:
        mail = session.get_one(Mail, mail_id)
        mail.tries += 1
        mail.reason = reason
        mail.sent_at = desk.now() if state is MailState.SENT else None
        _close(mail, state)


def _close(mail: Mail, state: MailState) -> None:
    mail.state = state
    mail.text = mail.html = ""


def _message(settings: Settings, mail: Mail, thread: list[str]) -> EmailMessage:
    """``thread``: local parts of the Message-IDs before this one, oldest first."""
    sender = settings.sender
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = sender
    message["To"] = parse_address(mail.recipient)
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(mail.created_at)
    message["Message-ID"] = _message_id(mail.public_id, sender)
    if thread:
        message["In-Reply-To"] = _message_id(thread[-1], sender)
        message["References"] = " ".join(_message_id(one, sender) for one in thread)
    message["Auto-Submitted"] = "auto-generated"
    if mail.unsubscribe_url is not None:
        message["List-Unsubscribe"] = f"<{mail.unsubscribe_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    message["Content-Language"] = mail.language  # here, or the first of the alternatives takes it along
    return message


def parse_address(text: str) -> Address:
    """One address, its domain in ASCII: mail servers know no other. Raises `Invalid` for anything else."""
    try:
        address = Address(addr_spec=text)
        domain = address.domain.encode("idna").decode()
        return Address(username=address.username, domain=domain)
    except (ValueError, MessageError, IndexError) as error:  # IndexError: what the parser says to nothing
        raise Invalid(f"{text[:100]!r} is not an e-mail address.", field="email") from error


def typed_address(text: str) -> str:
    """The address that a customer typed, as it is stored. Raises `Invalid`, in their words, if it is none."""
    try:
        return folded(parse_address(text).addr_spec)
    except Invalid as error:
        raise Invalid(Notice("address_wrong"), field="email") from error


def _thread(session: Session, mail: Mail) -> list[str]:
    if mail.conversation_id is None:
        return []
    root = session.get_one(Conversation, mail.conversation_id).public_id
    earlier = select(Mail.public_id).where(
        Mail.conversation_id == mail.conversation_id, Mail.id < mail.id, Mail.state == MailState.SENT
    )
    newest = session.scalars(earlier.order_by(Mail.id.desc()).limit(_REFERENCES)).all()
    return [root, *reversed(newest)]


def _message_id(local_part: str, sender: Address) -> str:
    return f"<{local_part}@{sender.domain}>"
