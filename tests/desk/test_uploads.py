"""What may be stored, how much of it, and what a malware scanner has to say."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant import doctor, worker
from assistant.desk import conversations
from assistant.desk.access import CustomerPrincipal
from assistant.desk.conversations import Posted
from assistant.desk.desk import Desk
from assistant.errors import Conflict, Invalid, NotReady, TooLarge, Unavailable, Unsupported
from assistant.media.files import Upload
from assistant.models import Attachment, FileCondition, Message
from assistant.runtime import Runtime
from assistant.scanner import Clamd
from tests.factories import Browser, Persona, make_conversation, make_ticket, make_upload
from tests.fakes import ManualClock

# The test file that every scanner knows, in two parts so that none finds this one.
EICAR = (r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-" + "ANTIVIRUS-TEST-FILE!$H+H*").encode()
LIMIT = 100_000


class FakeClamd(socketserver.ThreadingTCPServer):
    """clamd's protocol, and one signature."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.url = f"tcp://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        command = b""
        while not command.endswith(b"\0"):
            command += self.rfile.read(1)
        if command == b"zPING\0":
            self.wfile.write(b"PONG\0")
            return
        assert command == b"zINSTREAM\0"
        data = b""
        while length := int.from_bytes(self.rfile.read(4), "big"):
            data += self.rfile.read(length)
            if len(data) > 1_000_000:
                self.wfile.write(b"INSTREAM size limit exceeded. ERROR\0")
                return
        self.wfile.write(b"stream: Eicar-Signature FOUND\0" if EICAR in data else b"stream: OK\0")


@pytest.fixture
def clamd() -> Iterator[FakeClamd]:
    with FakeClamd() as server:
        yield server
        server.shutdown()


@pytest.fixture
def closed() -> str:
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def text_file(name: str = "log.txt", data: bytes = b"12:00 E21") -> Upload:
    return Upload(name, "text/plain", data)


def post(
    desk: Desk,
    *uploads: Upload,
    into: int | None = None,
    client_id: str | None = None,
    visitor: str | None = "a",
    text: str = "See the file",
) -> Posted:
    conversation_id = into or make_conversation(desk).id
    customer = CustomerPrincipal(conversation_id)
    return conversations.post_message(desk, customer, text=text, uploads=uploads, client_id=client_id, visitor=visitor)


def conditions(desk: Desk) -> list[FileCondition]:
    with desk.db.read() as session:
        return list(session.scalars(select(Attachment.condition).order_by(Attachment.id)))


def stored_bytes(desk: Desk) -> int:
    return sum(file.size for file in desk.storage.list())


# The scanner


@pytest.mark.parametrize(
    ("name", "data"), [("virus.txt", EICAR), ("a.zip", b"PK\3\4" + EICAR), ("big.txt", b"x" * 900_000 + EICAR)]
)
def test_malware_is_not_stored_and_its_sender_is_told(
    make_runtime: Callable[..., Runtime], clamd: FakeClamd, name: str, data: bytes
) -> None:
    desk = make_runtime(scanner=clamd.url).desk
    posted = post(desk, text_file(name, data), text_file())
    assert [file.filename for file in posted.rejected] == [name]
    assert "malware" in posted.rejected[0].error.message
    assert conditions(desk) == [FileCondition.READY]
    assert stored_bytes(desk) == len(b"12:00 E21")
    with pytest.raises(Invalid, match="malware"):
        post(desk, text_file(name, data), text="")


def test_what_came_while_the_scanner_was_away_is_marked_and_scanned_later(
    make_runtime: Callable[..., Runtime],
    make_app: Callable[..., APIFlask],
    clamd: FakeClamd,
    closed: str,
    key: dict[str, str],
) -> None:
    runtime = make_runtime(scanner=closed)
    desk = runtime.desk
    clock = ManualClock(desk.now() + timedelta(seconds=1))
    object.__setattr__(desk, "now", clock)
    post(desk, text_file("clean.txt"), text_file("virus.txt", EICAR))
    worker.run_until_idle(desk)
    assert conditions(desk) == [FileCondition.UNSCANNED] * 2
    object.__setattr__(desk, "scanner", Clamd(clamd.url))
    clock.advance(timedelta(hours=2))
    worker.run_until_idle(desk)
    assert conditions(desk) == [FileCondition.READY, FileCondition.INFECTED]
    client = make_app(runtime).test_client()
    with desk.db.read() as session:
        ids = session.scalars(select(Attachment.public_id).order_by(Attachment.id)).all()
    answers = [client.get(f"/api/v1/attachments/{one}", headers=key) for one in ids]
    assert [answer.status_code for answer in answers] == [200, 410]
    assert answers[1].json["condition"] == "infected"


def test_a_scanner_that_stays_away_is_asked_ever_less_often(make_runtime: Callable[..., Runtime], closed: str) -> None:
    desk = make_runtime(scanner=closed).desk
    clock = ManualClock(desk.now() + timedelta(seconds=1))
    object.__setattr__(desk, "now", clock)
    post(desk, text_file())
    for _ in range(10):
        worker.run_until_idle(desk)
        clock.advance(timedelta(hours=1))
    assert conditions(desk) == [FileCondition.UNSCANNED]


def test_a_file_that_the_scanner_finds_too_large_is_not_called_clean(clamd: FakeClamd) -> None:
    with pytest.raises(Unavailable):
        Clamd(clamd.url).scan(bytes(3_000_000))


def test_photos_need_no_scanner(make_runtime: Callable[..., Runtime], closed: str) -> None:
    desk = make_runtime(scanner=closed).desk
    post(desk, make_upload())
    assert conditions(desk) == [FileCondition.READY]


def test_a_unix_socket_serves_as_well(tmp_path: Path) -> None:
    class Unix(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

    path = tmp_path / "clamd.sock"
    with Unix(str(path), _Session) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        scanner = Clamd(f"unix://{path}")
        scanner.check()
        assert scanner.scan(b"harmless") is None
        assert scanner.scan(b"") is None
        assert scanner.scan(EICAR) == "Eicar-Signature"
        server.shutdown()


@pytest.mark.parametrize("url", ["clamd", "http://127.0.0.1:3310", "tcp://127.0.0.1", "unix://"])
def test_an_address_that_is_none_is_said_at_start(url: str) -> None:
    with pytest.raises(NotReady, match="ASSISTANT_SCANNER"):
        Clamd(url)


@pytest.mark.slow
def test_the_doctor_asks_the_scanner_and_the_disk(
    make_runtime: Callable[..., Runtime], clamd: FakeClamd, closed: str
) -> None:
    found = {}
    for url in (clamd.url, closed):
        settings = make_runtime(scanner=url, disk_reserve=10**18).settings
        found[url] = {check.name: check.status for check in doctor.run(settings)}
    assert (found[clamd.url]["scanner"], found[closed]["scanner"]) == ("ok", "fail")
    assert found[closed]["disk"] == "fail"


# Kinds


@pytest.mark.parametrize(
    ("name", "data", "risk"),
    [
        ("setup.exe", b"MZ", "program"),
        ("page.html", b"<p>", "active"),
        ("x.svg", b"<svg xmlns='x'/>", "active"),
        ("a.docm", b"PK\3\4", "macros"),
    ],
)
def test_risky_files_are_marked_for_agents_and_only_ever_downloaded(
    desk: Desk,
    client: FlaskClient,
    key: dict[str, str],
    sign_in: Callable[[Persona], FlaskClient],
    dora: Persona,
    name: str,
    data: bytes,
    risk: str,
) -> None:
    ticket = make_ticket(desk, uploads=[Upload(name, "text/html", data)])
    (shown,) = client.get(f"/api/v1/tickets/{ticket.public_id}", headers=key).json["messages"][0]["attachments"]
    assert shown["risk"] == risk
    download = client.get(f"/api/v1/attachments/{shown['id']}", headers=key)
    assert download.content_type == "application/octet-stream"
    assert download.headers["Content-Disposition"].startswith("attachment")
    assert "Careful" in sign_in(dora).get(f"/console/tickets/{ticket.public_id}").get_data(as_text=True)


def test_risky_files_are_refused_where_the_operator_says_so(make_runtime: Callable[..., Runtime]) -> None:
    desk = make_runtime(risky_files="refuse", file_types=["txt", "step"]).desk
    uploads = [text_file("setup.exe", b"MZ"), text_file("x.svg", b"<svg xmlns='x'/>"), text_file("a.pdf", b"%PDF-1")]
    posted = post(desk, *uploads, text_file(), text_file("part.step"), make_upload())
    assert [type(file.error) for file in posted.rejected] == [Unsupported] * 3
    assert len(conditions(desk)) == 3


# Limits


def test_a_conversation_holds_only_so_much_and_the_text_still_arrives(make_runtime: Callable[..., Runtime]) -> None:
    desk = make_runtime(conversation_max_bytes=LIMIT).desk
    conversation = make_conversation(desk)
    for number in range(5):
        data = bytes([65 + number]) * 40_000
        posted = post(desk, text_file(f"{number}.txt", data), into=conversation.id, visitor=None)
        assert bool(posted.rejected) is (number >= 2)
    assert "MB" in posted.rejected[0].error.message
    assert stored_bytes(desk) <= LIMIT
    with pytest.raises(TooLarge):
        post(desk, text_file("x.txt", b"y" * 40_000), into=conversation.id, text="")
    with desk.db.read() as session:
        assert len(session.scalars(select(Message)).all()) == 5


@pytest.mark.parametrize("changes", [{"visitor_daily_bytes": LIMIT}, {"visitor_daily_files": 2}])
def test_a_visitor_stores_only_so_much_a_day_however_many_conversations_are_begun(
    make_runtime: Callable[..., Runtime], changes: dict[str, int]
) -> None:
    desk = make_runtime(**changes).desk
    clock = ManualClock(desk.now())
    object.__setattr__(desk, "now", clock)
    refused = [bool(post(desk, text_file(data=bytes([65 + n]) * 40_000)).rejected) for n in range(5)]
    assert refused == [False, False, True, True, True]
    assert not post(desk, text_file(data=b"other"), visitor="another").rejected
    clock.advance(timedelta(days=1))
    assert not post(desk, text_file(data=b"tomorrow")).rejected


def test_visitors_at_once_do_not_exceed_the_limit(make_runtime: Callable[..., Runtime]) -> None:
    desk = make_runtime(visitor_daily_files=5).desk
    threads = [threading.Thread(target=post, args=(desk, text_file(data=bytes([65 + n]) * 99))) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(conditions(desk)) == 5


def test_addresses_are_not_kept(desk: Desk) -> None:
    post(desk, text_file(), visitor="192.0.2.77")
    dump = "\n".join(desk.db.engine.raw_connection().driver_connection.iterdump())  # type: ignore[union-attr]
    assert "192.0.2.77" not in dump


def test_a_repeated_message_stores_nothing(desk: Desk) -> None:
    conversation = make_conversation(desk)
    first = post(desk, text_file(), into=conversation.id, client_id="one")
    before = stored_bytes(desk)
    again = post(desk, text_file(), into=conversation.id, client_id="one")
    assert again.repeated
    assert again.message.id == first.message.id
    without = post(desk, into=conversation.id, client_id="one")  # left out once it had arrived
    assert without.repeated
    assert without.message.attachments
    for number in range(10):
        with pytest.raises(Conflict):
            post(desk, text_file(data=bytes([65 + number]) * 50_000), into=conversation.id, client_id="one")
    assert stored_bytes(desk) == before


def test_the_last_of_the_disk_is_kept_for_others(make_runtime: Callable[..., Runtime]) -> None:
    desk = make_runtime(disk_reserve=10**18).desk
    with pytest.raises(Unavailable, match="send text only"):
        post(desk, text_file())
    assert stored_bytes(desk) == 0
    assert not post(desk).rejected


def test_a_visitor_who_sends_and_sends_fills_no_disk(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    runtime = make_runtime(visitor_daily_bytes=1_000_000)
    client = make_app(runtime).test_client()
    for number in range(40):
        if number % 8 == 0:
            browser = Browser(client)
        answer = browser.say("x", (f"{number}.txt", bytes([65 + number]) * 200_000))
        assert answer.status_code == 201
    assert stored_bytes(runtime.desk) == 1_000_000
    assert answer.json["rejected_files"][0]["status"] == 413
