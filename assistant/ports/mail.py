"""What takes our mail to its recipients."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Protocol

from assistant.errors import Undeliverable


class Mailer(Protocol):
    def send(self, message: EmailMessage) -> None:
        """Hand the message over. Raises `Undeliverable` if it will never be taken, `Unavailable` if it may be later."""
        ...


class NoMailer:
    """Where none is set up, no mail is sent; nobody should be promised any."""

    def send(self, message: EmailMessage) -> None:
        raise Undeliverable("No mail server is set up: set ASSISTANT_SMTP_URL.")
