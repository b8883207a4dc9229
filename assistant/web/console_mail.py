"""Settings: outgoing mail as it is set up, what could not be delivered, and a test mail."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from flask import url_for

from assistant.desk import mail, people
from assistant.mailer import CONSOLE
from assistant.models import MailState
from assistant.settings import Settings
from assistant.web import auth, console_words
from assistant.web.console_pages import Cell, Field, Row, To, blueprint, form, given, listed, said
from assistant.web.context import desk
from assistant.web.responses import Reply

_FATES = {
    MailState.QUEUED: "waiting",
    MailState.SENT: "sent",
    MailState.REFUSED: "refused by the server",
    MailState.EXPIRED: "given up",
}


@blueprint.get("/mail")
def mail_settings() -> Reply:
    with desk().db.read() as session:
        counts, problems = mail.counts(session), mail.problems(session)
    rows = [Row(name, (Cell(text),), note=variable) for name, variable, text in _in_use(desk().settings)]
    rows.append(Row("Mails", (Cell(", ".join(f"{counts[state]} {fate}" for state, fate in _FATES.items())),)))
    rows += [
        Row(one.recipient, (Cell(f"{console_words.words(one.state.value)}: {one.reason}"),), note=one.subject)
        for one in problems
    ]
    return listed(
        "mail_settings",
        "Outgoing mail",
        ("Setting", "In use"),
        rows,
        add=To("Send a test mail", url_for("console.admin.try_mail")) if desk().sends_mail else None,
        about="Set in the environment or in assistant.toml. Below stands what a mail server has not taken.",
        nothing="",
    )


@blueprint.route("/mail/test", methods=["GET", "POST"])
def try_mail() -> Reply:
    """Send a mail to try."""

    def fields() -> Sequence[Field]:
        with desk().db.read() as session:
            own = people.find_agent(session, auth.agent().public_id).email
        return (Field("to", "To", own, "email", required=True, hint="It is sent at once, and says nothing of note."),)

    def done() -> Reply:
        mail.try_out(desk().settings, desk().mailer, given("to"))
        return said(f"The mail server has taken a mail to {given('to')}. See whether it arrives.", "mail_settings")

    return form("mail_settings", "Send a test mail", fields, done, button="Send")


def _in_use(settings: Settings) -> list[tuple[str, str, str]]:
    """What it is called, the setting's name, and its value without any secret."""
    minutes = settings.reply_mail_minutes
    return [
        ("Server", "ASSISTANT_SMTP_URL", _server(settings)),
        ("Sender", "ASSISTANT_MAIL_FROM", str(settings.sender) if settings.smtp_url else "–"),
        (
            "Replies that are not seen in the widget",
            "ASSISTANT_REPLY_MAIL_MINUTES",
            f"are mailed after {minutes} minutes" if minutes else "are never mailed",
        ),
    ]


def _server(settings: Settings) -> str:
    if settings.smtp_url is None:
        return "None: nobody is sent mail"
    address = settings.smtp_url.get_secret_value()
    if address == CONSOLE:
        return "None: mails are written to the log, for development"
    url = urlsplit(address)
    port = f":{url.port}" if url.port else ""
    tls = "TLS" if url.scheme == "smtps" else "STARTTLS where it is offered"
    who = f", as {unquote(url.username)}" if url.username else ", without signing in"
    return f"{url.hostname}{port}, {tls}{who}{' with a password' if url.password else ''}"
