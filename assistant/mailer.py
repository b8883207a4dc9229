"""Outgoing mail: handed to one SMTP server or, in development, written to the log."""

from __future__ import annotations

import smtplib
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from email.message import EmailMessage
from time import monotonic
from urllib.parse import unquote, urlsplit

import structlog

from assistant.errors import NotReady, Unavailable, Undeliverable
from assistant.ports.mail import Mailer, NoMailer

log = structlog.get_logger(__name__)

CONSOLE = "console:"
_PORTS = {"smtp": 587, "smtps": 465}
_SECONDS = 10.0  # for each step of a delivery
# After a server could not be reached it is left alone for so long: each try holds a worker.
_LEFT_ALONE = 30.0


def open_mailer(url: str | None) -> Mailer:
    """``url``: as `SMTP` takes it, or ``console:``. Raises `NotReady` if it is neither."""
    if url is None:
        return NoMailer()
    return Console() if url == CONSOLE else SMTP(url)


class Console:
    """Writes mails to the log, whole: for development only, they say what customers said."""

    def send(self, message: EmailMessage) -> None:
        body = message.get_body(("plain",))
        text = body.get_content().splitlines() if body is not None else []
        log.info("mail.written", to=message["To"], subject=message["Subject"], text="\n".join(text))


class SMTP:
    """A mail server. Thread-safe: every mail has a connection of its own.

    ``smtps`` is TLS from the start. With ``smtp``, STARTTLS is used where it is offered; a password is only ever sent
    over TLS with a valid certificate. Without a password any certificate will do, as between mail servers (RFC 7435).
    """

    def __init__(self, url: str, *, left_alone: float = _LEFT_ALONE) -> None:
        """``url``: ``smtp://user:password@host:587`` or ``smtps://…``; user, password and port may be missing."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise NotReady("ASSISTANT_SMTP_URL must be smtp://user:password@host:587, smtps://… or console:.")
        self._is_tls = parts.scheme == "smtps"
        self._host, self._port = parts.hostname, parts.port or _PORTS[parts.scheme]
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        self._pause = left_alone
        self._away_until = -left_alone
        self._reason = ""
        self._lock = threading.Lock()

    def send(self, message: EmailMessage) -> None:
        with self._lock:
            if monotonic() < self._away_until:
                raise _away(self._reason)
        with self._connection() as server, _taken():
            server.send_message(message)

    def check(self) -> None:
        """Raises `Unavailable` unless the server lets us in."""
        with self._connection() as server:
            server.noop()

    @contextmanager
    def _connection(self) -> Iterator[smtplib.SMTP]:
        """A server that has accepted us."""
        try:
            with closing(self._connect()) as server:
                self._enter(server)
                yield server
                with suppress(OSError, smtplib.SMTPException):  # it may have left before us
                    server.quit()
        except (OSError, smtplib.SMTPException) as error:
            reason = _reason(error)
            with self._lock:
                self._away_until, self._reason = monotonic() + self._pause, reason
            raise _away(reason) from error

    def _connect(self) -> smtplib.SMTP:
        if self._is_tls:
            return smtplib.SMTP_SSL(self._host, self._port, timeout=_SECONDS, context=self._tls())
        return smtplib.SMTP(self._host, self._port, timeout=_SECONDS)

    def _enter(self, server: smtplib.SMTP) -> None:
        server.ehlo()
        if not self._is_tls and server.has_extn("starttls"):
            server.starttls(context=self._tls())
            server.ehlo()
        elif not self._is_tls and self._password:
            raise smtplib.SMTPNotSupportedError("it offers no STARTTLS, and a password is never sent without")
        if self._user:
            server.login(self._user, self._password)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if not self._is_tls and not self._password:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@contextmanager
def _taken() -> Iterator[None]:
    """What the server says to one mail: no means never (5xx) or later (4xx)."""
    try:
        yield
    except smtplib.SMTPRecipientsRefused as error:
        code, reply = next(iter(error.recipients.values()))
        raise _refusal(code, reply) from error
    except smtplib.SMTPDataError as error:
        raise _refusal(error.smtp_code, error.smtp_error) from error
    except smtplib.SMTPNotSupportedError as error:  # an address in Unicode, for a server that takes only ASCII
        raise Undeliverable(f"The mail server cannot take this address: {error}.") from error


def _refusal(code: int, reply: bytes | str) -> Undeliverable | Unavailable:
    said = f"{code} {_text(reply)}"
    if code >= 500:
        return Undeliverable(f"The mail server refuses this mail: {said}")
    return Unavailable(f"The mail server does not take this mail yet: {said}", cause="mail_delayed")


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return f"it answered {error.smtp_code} {_text(error.smtp_error)}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS: {getattr(error, 'verify_message', '') or error.reason or 'the connection ended'}"
    if isinstance(error, OSError) and not isinstance(error, smtplib.SMTPException):
        return error.strerror or "it does not answer in time"
    return str(error) or type(error).__name__


def _text(reply: bytes | str) -> str:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    return " ".join(text.split())[:300]


def _away(reason: str) -> Unavailable:
    return Unavailable(f"The mail server cannot be used: {reason}. Check ASSISTANT_SMTP_URL.", cause="mail_away")
