"""`assistant.client` against the application, and what it does where nobody answers."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from apiflask import APIFlask
from sqlalchemy import func, select

from assistant.client import BatchTicket, Client, Problem
from assistant.client import calls as sending
from assistant.db import Database
from assistant.desk import custom_fields
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.models import Ticket
from assistant.worker import run_until_idle
from tests.factories import make_articles, make_key, make_photo

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def connect(app: APIFlask, db: Database) -> Iterator[Callable[..., Client]]:
    """``connect(Scope.TRIAGE)``: a client whose key has these scopes, or all."""
    opened: list[Client] = []

    def make(*scopes: Scope) -> Client:
        transport = httpx.WSGITransport(app=app)  # type: ignore[arg-type]
        opened.append(Client("http://localhost", make_key(db, *scopes), transport=transport))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'flask', 'sqlalchemy', 'numpy', 'langchain_core', 'pydantic', 'PIL'}"
    script = f"import sys, assistant.client\nloaded = {heavy} & set(sys.modules)\nassert not loaded, loaded"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]


def test_a_ticket_from_opening_to_the_answer(connect: Callable[..., Client], desk: Desk, tmp_path: Path) -> None:
    make_articles(desk, tmp_path / "articles")
    with desk.db.begin() as session:
        custom_fields.add(session, "Order", "text")
    (tmp_path / "display.png").write_bytes(make_photo("E21", kind="PNG"))
    client = connect()
    ticket = client.open_ticket(
        "My coffee machine shows E21, what should I do?",
        subject="Coffee machine",
        requester={"name": "Rosa", "email": "rosa@example.org", "external_id": "c-17"},
        fields={"order": "A-17"},
        external_id="shop-17",
        tags=["pump"],
        context={"page": "/cart", "items": 2},
        language="en",
        photos=[tmp_path / "display.png", ("bad.gif", b"no photo")],
    )
    assert (ticket["subject"], ticket["fields"]) == ("Coffee machine", {"order": "A-17"})
    assert (ticket["tags"], ticket["context"]) == (["pump"], {"page": "/cart", "items": "2"})
    assert [one["id"] for one in client.list_tickets(external_id="shop-17")] == [ticket["id"]]
    with pytest.raises(Problem) as known:
        client.open_ticket("Again", external_id="shop-17")
    assert (known.value.status, known.value.document["id"]) == (409, ticket["id"])
    assert [one["filename"] for one in ticket["rejected_files"]] == ["bad.gif"]
    (attachment,) = ticket["messages"][0]["attachments"]
    assert client.get_attachment(attachment["id"])
    with pytest.raises(TimeoutError):
        client.wait_for_triage(ticket["id"], timeout=0)
    run_until_idle(desk)
    done = client.wait_for_triage(ticket["id"], timeout=0)
    assert done["drafts"]
    assert {one["name"] for one in client.triage_ticket(ticket["id"])["fields"]} >= {"priority", "category"}
    assert client.decide(ticket["id"], "priority", "high")["fields"]
    assert client.get_triage(ticket["id"], explain=True)["fields"][0]["influences"] is not None
    (decided,) = client.decide_all([{"number": ticket["number"], "field": "priority", "value": "low"}])
    assert (decided["status"], decided["value"]) == ("overridden", "low")
    sent = client.send_draft(ticket["id"], done["drafts"][-1]["id"] or "", text="Descale it.")
    assert sent["draft"]["status"] == "edited"
    assert client.add_note(ticket["id"], "Paid by card.")["visibility"] == "internal"
    with pytest.raises(Problem) as refused:
        client.update_ticket(ticket["id"], version=ticket["version"], status="solved")
    assert refused.value.status == 412
    now = client.get_ticket(ticket["id"])["version"]
    changed = client.update_ticket(ticket["id"], version=now, status="solved", tags=["pump"], fields={"order": None})
    assert (changed["status"], changed["tags"], changed["fields"]) == ("solved", ["pump"], {})
    uploaded = client.upload([("c.png", make_photo("c", kind="PNG")), ("bad.gif", b"no photo")])
    assert [one["filename"] for one in uploaded["rejected_files"]] == ["bad.gif"]
    (third,) = (one["id"] for one in uploaded["attachments"])
    assert client.get_attachment(third)
    assert client.triage("It does it again.", attachments=[third])["evidence"]
    photos = [("b.png", make_photo("b", kind="PNG"))]
    posted = client.add_message(ticket["id"], "It does it again.", photos=photos, attachments=[third])
    assert [one["filename"] for one in posted["message"]["attachments"]] == ["c.png", "b.png"]
    with pytest.raises(Problem):
        client.remove_upload(third)
    assert client.get_ticket(ticket["id"])["status"] == "open"


def test_what_is_not_stored_is_triaged_and_articles_are_found(
    connect: Callable[..., Client], desk: Desk, tmp_path: Path
) -> None:
    make_articles(desk, tmp_path / "articles")
    client = connect(Scope.TRIAGE, Scope.KNOWLEDGE_READ)
    assert client.key()["scopes"] == ["knowledge:read", "triage"]
    with pytest.raises(Problem) as late:
        client.triage("It leaks", deadline_seconds=1e-6, priority="batch")
    assert late.value.code == "deadline"
    assessment = client.triage(
        "My coffee machine shows E21.", language="en", photos=[("a.png", make_photo("a", kind="PNG"))]
    )
    assert [one["filename"] for one in assessment["evidence"]] == ["a.png"]
    explained = client.triage("My coffee machine is on fire.", with_draft=False, explain=True)
    assert (explained["draft"], explained["timing"]["draft"]) == (None, None)
    assert any(one["influences"] for one in explained["triage"]["fields"])
    assert client.search_articles("coffee machine", limit=1)[0]["text"]
    with pytest.raises(Problem) as refused:
        next(client.list_tickets())
    assert (refused.value.status, refused.value.code) == (403, "forbidden")


def test_a_batch_is_waited_for(connect: Callable[..., Client], desk: Desk) -> None:
    client = connect()
    (photo,) = client.upload([("a.png", make_photo("a", kind="PNG"))])["attachments"]
    tickets: list[BatchTicket] = [{"text": "It leaks.", "reference": "a", "attachments": [photo["id"]]}, {"text": " "}]
    batch = client.triage_batch(tickets, with_draft=False)
    assert batch["total"] == 2
    with pytest.raises(TimeoutError, match="0 of 2"):
        list(client.batch_results(batch["id"], timeout=0))
    run_until_idle(desk)
    first, second = client.batch_results(batch["id"])
    assert first["result"] is not None
    assert (first["reference"], first["result"]["draft"], len(first["result"]["evidence"])) == ("a", None, 1)
    assert second["error"] is not None


def test_categories_are_worked_on_and_published(connect: Callable[..., Client]) -> None:
    admin = connect(Scope.SETTINGS).administration
    draft, etag = admin.taxonomy_draft()
    assert not draft["exists"]
    first, *rest = draft["categories"]
    _, newer = admin.put_taxonomy_draft([*rest, {"key": "boats", "name": "Boats", "description": "x"}], if_match=etag)
    with pytest.raises(Problem) as late:
        admin.publish_taxonomy_draft(if_match=etag)
    assert late.value.status == 412
    assert admin.try_taxonomy_draft(newest=5)["moved"] == []
    assert admin.taxonomy_overlap(limit=1)[0]["by_words"]
    published = admin.publish_taxonomy_draft(if_match=newer)
    assert [one["version"] for one in admin.taxonomy_versions()] == [published["version"], 0]
    assert admin.taxonomy_version(0)["categories"] == [first, *rest]
    restored, last = admin.restore_taxonomy_version(0)
    assert restored["removed"] == ["boats"]
    admin.discard_taxonomy_draft(if_match=last)


def test_keys_and_articles_are_made_changed_and_ended(connect: Callable[..., Client], desk: Desk) -> None:
    client = connect()
    admin = client.administration
    made = admin.add_key("till", ["triage"], networks=["127.0.0.1"])
    assert made["secret"] != admin.rotate_key(made["id"], grace_hours=0)["secret"]
    assert admin.update_key(made["id"], name="till 2", networks=[])["networks"] == []
    assert admin.revoke_key(made["id"])["state"] == "revoked"
    assert {one["name"] for one in admin.list_keys()} >= {"till 2"}
    assert admin.learned()["heads"] == []
    with pytest.raises(Problem, match="No learned head serves"):
        admin.roll_back_head("priority")
    article = admin.write_article(title="Error E27", text="Close the lid.", publish=True)
    run_until_idle(desk)
    (served,) = client.list_articles()
    assert client.get_article(served["id"])["sections"][0]["text"] == "Close the lid."
    _, etag = admin.written_article(article["id"])
    changed, newer = admin.update_article(article["id"], if_match=etag, text="Shut the lid.")
    assert (changed["version"], changed["published_version"], newer) == (2, 1, '"2"')
    assert admin.publish_article(article["id"], if_match=newer)["published_version"] == 2
    assert admin.withdraw_article(article["id"])["published_version"] is None
    admin.remove_article(article["id"])
    assert list(admin.written_articles()) == []
    assert client.list_macros() == []


def test_lists_go_over_all_pages(connect: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect()
    ids = [client.open_ticket(f"It leaks {number}.", subject=f"Leak {number}")["id"] for number in range(5)]
    get = sending.Calls.get

    def few(self: sending.Calls, path: str, query: Any = None, **rest: Any) -> Any:
        return get(self, path, {**query, "limit": 2}, **rest)

    monkeypatch.setattr(sending.Calls, "get", few)
    assert [one["id"] for one in client.list_tickets(status=["new", "open"], unassigned=True)] == ids[::-1]
    assert list(client.list_tickets(status=["closed", "solved"])) == []


def test_events_go_on_where_the_program_was(connect: Callable[..., Client], desk: Desk) -> None:
    client = connect()
    start = client.events(follow=False)
    assert list(start) == []
    ticket = client.open_ticket("It leaks.")
    run_until_idle(desk)
    events = client.events(start.cursor, follow=False)
    first = next(iter(events))
    assert (first["type"], first["ticket"]["id"]) == ("ticket.created", ticket["id"])
    rest = list(client.events(events.cursor, follow=False))
    assert rest
    assert first["id"] not in {one["id"] for one in rest}
    other = threading.Timer(0.2, client.open_ticket, ("It leaks, too.",))
    other.start()
    waited = next(iter(client.events(rest[-1]["id"], types=["ticket.created"])))
    other.join()
    assert waited["ticket"]["id"] != ticket["id"]


def test_what_is_wrong_is_said(connect: Callable[..., Client]) -> None:
    client = connect()
    with pytest.raises(Problem) as wrong:
        client.open_ticket("Hello", requester={"email": "nonsense"})
    assert (wrong.value.status, wrong.value.code, wrong.value.field) == (422, "invalid", "requester.email")
    assert "422 invalid" in str(wrong.value)
    with pytest.raises(Problem) as missing:
        client.get_ticket("tic_" + "0" * 20)
    assert missing.value.status == 404
    assert client.request("GET", "/fields") == {"fields": []}


# A server that fails


class Flaky:
    """Answers as it is told, then as the application; ``seen``: method, path and Idempotency-Key of each request."""

    def __init__(self, app: APIFlask | None, *troubles: str) -> None:
        self.troubles, self.seen = list(troubles), list[tuple[str, str, str | None]]()
        self._forward = httpx.Client(transport=httpx.WSGITransport(app=app)) if app is not None else None  # type: ignore[arg-type]

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        self.seen.append((request.command, request.path, request.headers.get("Idempotency-Key")))
        trouble = self.troubles.pop(0) if self.troubles else ""
        answer = None
        if not trouble or trouble == "lost":
            assert self._forward is not None
            url = f"http://localhost{request.path}"
            answer = self._forward.request(request.command, url, content=body, headers=dict(request.headers.items()))
        if trouble in ("lost", "cut"):
            request.connection.close()
            return
        status = int(trouble.partition(" ")[0]) if trouble else answer.status_code  # type: ignore[union-attr]
        request.send_response(status)
        if retry_after := trouble.partition(" ")[2]:
            request.send_header("Retry-After", retry_after)
        request.send_header("Content-Type", answer.headers["Content-Type"] if answer is not None else "text/html")
        content = answer.content if answer is not None else b"<h1>Trouble</h1>"
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


@contextmanager
def serving(flaky: Flaky) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            self.close_connection = True
            flaky.handle(self)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Those that the client makes, without making them."""
    made: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", made.append)
    return made


def test_a_write_whose_answer_is_lost_is_done_once(app: APIFlask, db: Database, pauses: list[float]) -> None:
    flaky = Flaky(app, "503", "lost", "cut", "429 7")
    with serving(flaky) as url, Client(url, make_key(db)) as client:
        client.open_ticket("It leaks.", photos=[("a.png", make_photo("a", kind="PNG"))])
    assert len(flaky.seen) == 5
    assert len(set(flaky.seen)) == 1  # the same key each time
    assert flaky.seen[0][2]
    with db.read() as session:
        assert session.scalar(select(func.count()).select_from(Ticket)) == 1
    assert pauses[-1] >= 7


def test_it_gives_up_after_some_attempts_and_at_once_where_waiting_does_not_help(
    db: Database, pauses: list[float]
) -> None:
    flaky = Flaky(None, "503", "503", "503 9999", "404", "200")
    with serving(flaky) as url, Client(url, make_key(db), attempts=2) as client:
        for calls in (2, 3, 4):
            with pytest.raises(Problem) as refused:
                client.key()
            assert len(flaky.seen) == calls
        assert (refused.value.status, refused.value.code) == (404, "")
        with pytest.raises(Problem, match="no JSON"):
            client.key()
    with Client(url, "ask_x", attempts=2) as client, pytest.raises(httpx.ConnectError):
        client.key()
    assert len(pauses) == 2


def test_the_example_of_the_readme_runs(
    app: APIFlask, db: Database, desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = (one for one in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "assistant.client" in one)
    (tmp_path / "display.jpg").write_bytes(make_photo("E21"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KEY", make_key(db))
    with serving(Flaky(app)) as url:
        ended = threading.Event()
        work = threading.Thread(target=lambda: [run_until_idle(desk) for _ in iter(lambda: ended.wait(0.1), True)])
        work.start()
        try:
            exec(example.replace("https://support.example.org", url), {"print": lambda *_: None})
        finally:
            ended.set()
            work.join()
    with db.read() as session:
        assert session.scalars(select(Ticket)).one().status == "pending"
