"""Outgoing mail, sent to a real server: what it says, and what becomes of it when the server is difficult."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from assistant import doctor, worker
from assistant.db import Database
from assistant.desk import mail, state
from assistant.desk.desk import Desk
from assistant.errors import Invalid, NotReady, Unavailable
from assistant.mailer import SMTP, open_mailer
from assistant.models import Mail, MailState
from assistant.runtime import Runtime
from assistant.text.letters import Code, Letter, Link, Paragraph, Said
from tests.factories import make_customer
from tests.fakes import ManualClock
from tests.mail_server import PASSWORD, Mailbox, make_certificate, open_mailbox

LETTER = Letter("Hello", (Paragraph("Good morning."),), "en")


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with open_mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def closed() -> int:
    """A port at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("openssl"):
        pytest.skip("needs openssl: apt install openssl")
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def desk(mailbox: Mailbox, make_runtime: Callable[..., Runtime]) -> Desk:
    desk = make_runtime(smtp_url=SecretStr(f"smtp://{mailbox.url}"), mail_from="Our shop <help@shop.example>").desk
    object.__setattr__(desk, "now", ManualClock(desk.now() + timedelta(minutes=1)))
    return desk


def send(desk: Desk, letter: Letter = LETTER, *, to: str = "kim@example.org", **more: object) -> Mail:
    with desk.db.begin() as session:
        written = mail.enqueue(session, letter, to=to, **more)  # type: ignore[arg-type]
    worker.run_until_idle(desk)
    return fate(desk.db, written)


def fate(db: Database, written: Mail) -> Mail:
    with db.read() as session:
        return session.get_one(Mail, written.id)


def later(desk: Desk, by: timedelta) -> None:
    assert isinstance(desk.now, ManualClock)
    desk.now.advance(by)
    worker.run_until_idle(desk)


def test_a_mail_says_the_same_in_plain_text_and_in_html(desk: Desk, mailbox: Mailbox) -> None:
    blocks = (
        Paragraph("Zwei Antworten & mehr:"),
        Said("Ada <b>", "14:02", "Erste Zeile\n<script>alert(1)</script>"),
        Code("123 456"),
        Link("Öffnen", "https://shop.example/?a=1&b=2"),
    )
    send(desk, Letter("Überraschung für Sie", blocks, "de"), to="Kim@Bücher.example")
    [received] = mailbox.mails
    assert received["Subject"] == "Überraschung für Sie"
    assert (received["From"], received["To"]) == ("Our shop <help@shop.example>", "Kim@xn--bcher-kva.example")
    assert received["Content-Language"] == "de"
    plain, html = (received.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    said = plain.get_content().splitlines()
    assert said[2:5] == ["Ada <b> (14:02):", "> Erste Zeile", "> <script>alert(1)</script>"]
    assert said[-1] == "https://shop.example/?a=1&b=2"
    assert '<html lang="de" dir="ltr">' in html.get_content()
    assert "<script>" not in html.get_content()
    assert 'href="https://shop.example/?a=1&amp;b=2"' in html.get_content()
    assert "123 456" in html.get_content()


def test_mails_of_a_conversation_are_one_thread_that_can_be_unsubscribed_with_one_click(
    desk: Desk, mailbox: Mailbox
) -> None:
    customer = make_customer(desk.db, email="kim@example.org")
    with desk.db.begin() as session:
        conversation = state.begin_conversation(session, customer, channel="widget")
    url = "https://shop.example/unsubscribe?token=x"
    first, second = (send(desk, conversation=conversation, unsubscribe_url=url) for _ in range(2))
    one, two = mailbox.mails
    root = f"<{conversation.public_id}@shop.example>"
    assert one["Message-ID"] == f"<{first.public_id}@shop.example>"
    assert (one["In-Reply-To"], one["References"]) == (root, root)
    assert two["Message-ID"] == f"<{second.public_id}@shop.example>"
    assert two["In-Reply-To"] == one["Message-ID"]
    assert two["References"] == f"{root} {one['Message-ID']}"
    assert one["Auto-Submitted"] == "auto-generated"
    assert one["List-Unsubscribe"] == f"<{url}>"
    assert one["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert abs(parsedate_to_datetime(str(one["Date"])) - first.created_at) < timedelta(seconds=1)
    assert send(desk).state is MailState.SENT  # about nothing in particular
    assert mailbox.mails[2]["References"] is None
    assert mailbox.mails[2]["List-Unsubscribe"] is None


def test_what_was_said_is_not_kept_once_it_is_sent(desk: Desk) -> None:
    sent = send(desk)
    assert (sent.state, sent.text, sent.html) == (MailState.SENT, "", "")
    assert sent.sent_at is not None


@pytest.mark.parametrize("bad", ["a@b.example\nBcc: c@d.example", "a@b.example, c@d.example", "a", "@", "", "a@b c"])
def test_only_one_address_is_an_address(desk: Desk, mailbox: Mailbox, bad: str) -> None:
    with pytest.raises(Invalid, match="is not an e-mail address"):
        send(desk, to=bad)
    worker.run_until_idle(desk)
    assert mailbox.raw == []


def test_no_header_can_be_smuggled_in(desk: Desk, mailbox: Mailbox) -> None:
    evil = "Hello\r\nBcc: everybody@example.org\r\n\r\nBuy now"
    send(desk, Letter(evil, (Said(evil, evil, evil), Link(evil, "https://a.example\r\n\r\nx")), "en"))
    assert mailbox.recipients == [["kim@example.org"]]
    [received] = mailbox.mails
    assert received["Bcc"] is None
    assert received["Subject"] == "Hello Bcc: everybody@example.org Buy now"


def test_a_mail_that_is_put_off_is_sent_later(desk: Desk, mailbox: Mailbox) -> None:
    mailbox.answers = ["451 4.7.1 greylisted, try again", "450 4.2.0 still"]
    waiting = send(desk)
    assert (waiting.state, waiting.tries) == (MailState.QUEUED, 1)
    assert waiting.reason is not None
    assert "451" in waiting.reason
    later(desk, timedelta(seconds=10))
    assert fate(desk.db, waiting).tries == 1
    later(desk, timedelta(seconds=30))
    assert fate(desk.db, waiting).tries == 2
    later(desk, timedelta(minutes=2))
    assert fate(desk.db, waiting).state is MailState.SENT
    assert len(mailbox.mails) == 1


def test_a_refused_mail_is_not_tried_again(desk: Desk, mailbox: Mailbox) -> None:
    mailbox.answers = ["554 5.7.1 looks like spam"]
    mailbox.unknown = {"nobody@example.org"}
    for refused, said in ((send(desk), "554"), (send(desk, to="nobody@example.org"), "550 5.1.1 no such user")):
        assert refused.state is MailState.REFUSED
        assert refused.reason is not None
        assert said in refused.reason
    later(desk, timedelta(days=3))
    assert mailbox.raw == []


def test_a_server_that_stays_away_is_asked_ever_less_often_until_the_mail_expires(
    make_runtime: Callable[..., Runtime], mailbox: Mailbox, closed: int
) -> None:
    desk = make_runtime(smtp_url=SecretStr(f"smtp://127.0.0.1:{closed}"), mail_from="help@shop.example").desk
    object.__setattr__(desk, "now", ManualClock(desk.now() + timedelta(minutes=1)))
    waiting = send(desk)
    assert waiting.reason is not None
    assert "cannot be used" in waiting.reason
    assert "ASSISTANT_SMTP_URL" in waiting.reason
    for _ in range(25):
        later(desk, timedelta(hours=2))
    over = fate(desk.db, waiting)
    assert over.state is MailState.EXPIRED
    assert 24 <= over.tries <= 26  # in 48 hours, two at a time
    object.__setattr__(desk, "mailer", SMTP(f"smtp://{mailbox.url}"))
    later(desk, timedelta(days=1))
    assert mailbox.raw == []


def test_a_server_that_is_away_is_left_alone_for_a_while() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        server = SMTP(f"smtp://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(Unavailable, match="Connection refused"):
            server.check()
        silent.listen()
        silent.settimeout(0.2)
        with pytest.raises(Unavailable, match="Connection refused"):  # what it said before: nobody connects
            server.send(EmailMessage())
        with pytest.raises(TimeoutError):
            silent.accept()


def test_a_server_that_says_nothing_holds_nobody_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant.mailer._SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unavailable, match="timed out"):
        SMTP(f"smtp://127.0.0.1:{silent.getsockname()[1]}").check()


@pytest.mark.parametrize("url", ["smtp://", "http://mail.example", "mail.example:25"])
def test_what_is_no_mail_server_is_not_opened(url: str) -> None:
    with pytest.raises(NotReady, match="ASSISTANT_SMTP_URL must be"):
        open_mailer(url)


def test_a_password_is_sent_over_tls_with_a_valid_certificate_only(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = "user:p%40ss%3Aword%2F"
    with open_mailbox(auth=True) as plain:
        with pytest.raises(Unavailable, match="no STARTTLS"):
            SMTP(f"smtp://{user}@{plain.url}").check()
        assert plain.passwords == []
    for kind in ("starttls", "smtps"):
        scheme = "smtps" if kind == "smtps" else "smtp"
        with open_mailbox(certificate, auth=True, tls=kind) as secured:
            with pytest.raises(Unavailable, match="self-signed certificate"):
                SMTP(f"{scheme}://{user}@{secured.url}").check()
            with monkeypatch.context() as trusting:
                trusting.setenv("SSL_CERT_FILE", str(certificate.parent / "certificate.pem"))
                SMTP(f"{scheme}://{user}@{secured.url}").check()
                with pytest.raises(Unavailable, match="535"):
                    SMTP(f"{scheme}://user:wrong@{secured.url}").check()
            assert set(secured.passwords) == {PASSWORD, "wrong"}


def test_without_a_password_tls_is_used_where_it_is_offered(
    certificate: Path, make_runtime: Callable[..., Runtime]
) -> None:
    with open_mailbox(certificate) as secured:
        desk = make_runtime(smtp_url=SecretStr(f"smtp://{secured.url}"), mail_from="help@shop.example").desk
        assert send(desk).state is MailState.SENT
        assert secured.secured == [True]


def test_without_a_mail_server_nothing_is_promised_and_nothing_sent(make_runtime: Callable[..., Runtime]) -> None:
    desk = make_runtime().desk
    assert not desk.sends_mail
    assert send(desk).state is MailState.REFUSED
    console = make_runtime(smtp_url=SecretStr("console:")).desk
    assert console.sends_mail
    assert send(console).state is MailState.SENT


def test_the_doctor_asks_the_mail_server(make_runtime: Callable[..., Runtime], mailbox: Mailbox, closed: int) -> None:
    def said(**changes: object) -> tuple[str, str]:
        [check] = doctor._run_check(doctor._mail, make_runtime(**changes).settings)
        return check.status, check.detail

    sender = {"mail_from": "help@shop.example"}
    assert said(smtp_url=SecretStr(f"smtp://{mailbox.url}"), **sender) == (
        "ok",
        "is sent from Our shop <help@shop.example>",
    )
    status, detail = said(smtp_url=SecretStr(f"smtp://127.0.0.1:{closed}"), **sender)
    assert (status, "Connection refused" in detail) == ("fail", True)
    assert said(smtp_url=SecretStr("console:")) == ("warn", "is only written to the log")
    assert said() == ("warn", "is not sent")


def test_mail_goes_with_its_transaction(desk: Desk, mailbox: Mailbox) -> None:
    class Undone(Exception):
        pass

    with pytest.raises(Undone), desk.db.begin() as session:  # noqa: PT012
        mail.enqueue(session, LETTER, to="kim@example.org")
        raise Undone
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert session.scalars(select(Mail)).all() == []
    assert mailbox.raw == []
