"""A real mail server on the loopback that keeps what it is sent, and can be told to be difficult."""

from __future__ import annotations

import email
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

PASSWORD = "p@ss:word/"


class Mailbox:
    """``answers``: what the server says to the next mails at their end, e.g. "451 later"; then it takes them."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.recipients: list[list[str]] = []
        self.secured: list[bool] = []
        self.answers: list[str] = []
        self.unknown: set[str] = set()
        self.passwords: list[str] = []
        self.url = ""

    @property
    def mails(self) -> list[EmailMessage]:
        return [email.message_from_bytes(raw, policy=default) for raw in self.raw]  # type: ignore[arg-type]

    async def handle_RCPT(  # noqa: N802  (named by aiosmtpd)
        self, _server: Any, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.unknown:
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answers:
            return self.answers.pop(0)
        assert isinstance(envelope.content, bytes)
        self.raw.append(envelope.content)
        self.recipients.append(envelope.rcpt_tos)
        self.secured.append(session.ssl is not None)
        return "250 OK"

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.passwords.append(data.password.decode())
        return AuthResult(success=data.password.decode() == PASSWORD, handled=False)


@contextmanager
def open_mailbox(certificate: Path | None = None, *, auth: bool = False, tls: str = "starttls") -> Iterator[Mailbox]:
    """``certificate``: a PEM file with its key, for STARTTLS or (``tls="smtps"``) TLS from the start."""
    mailbox = Mailbox()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    options: dict[str, Any] = {"hostname": "127.0.0.1", "port": 0}
    if tls == "smtps":
        options["ssl_context"] = context
    else:
        options["tls_context"] = context
    if auth:
        options |= {"authenticator": mailbox.authenticate, "auth_require_tls": tls != "smtps" and context is not None}
    server = _Server(mailbox, **options)
    server.start()
    try:
        mailbox.url = f"127.0.0.1:{server.server.sockets[0].getsockname()[1]}"
        yield mailbox
    finally:
        server.stop()


class _Server(Controller):
    """On any free port."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


def make_certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, with its key in the same file."""
    path = folder / "server.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command, *names], check=True, capture_output=True, timeout=60)
    with path.open("ab") as file:
        file.write((folder / "certificate.pem").read_bytes())
    return path
