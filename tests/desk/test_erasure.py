"""A person is handed everything that is known of them, and erased without a trace, and stays erased."""

from __future__ import annotations

import io
import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import func, select

from assistant import worker
from assistant.cli import main
from assistant.db import Base, snapshot
from assistant.desk import customers, drafts, erasure, people, search
from assistant.desk.desk import Desk
from assistant.models import Author, Customer, CustomerNote, Evidence, Gap, GapKind, GapQuestion, Message, Ticket
from assistant.runtime import Runtime, build
from assistant.storage import REWRITE_AFTER
from tests.factories import Persona, make_agent, make_articles, make_photo, make_ticket, make_upload
from tests.fakes import FakeOCR, fake_capabilities
from tests.web.test_console import submit

SECRET = "Quittenmarmelade"  # in nothing but what Rosa wrote
READ = "ZX81QQ"  # and in her photo alone
SignIn = Callable[[Persona], FlaskClient]


@pytest.fixture
def runtime(make_runtime: Callable[..., Runtime]) -> Runtime:
    return make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("BrewMaster 300", f"SN {READ}-204")))


@pytest.fixture
def rosa(desk: Desk, tmp_path: Path) -> str:
    """Her public id. She has written two tickets with a photo each, one of which Bert has sent, too."""
    make_articles(desk, tmp_path / "articles")
    who = {"requester_name": "Rosa Quendel", "requester_email": "rosa@example.org"}
    shared, own = (make_upload("a.jpg", make_photo("shared")), make_upload("b.jpg", make_photo("own")))
    make_ticket(desk, f"{SECRET} in the pump", uploads=[shared], **who)
    ticket = make_ticket(desk, f"More {SECRET}, see photo", uploads=[own], **who)
    make_ticket(desk, "Mine leaks", uploads=[make_upload("c.jpg", make_photo("shared"))], requester_name="Bert")
    worker.run_until_idle(desk)
    agent = make_agent(desk.db, "ada", admin=True).principal
    with desk.db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        customer = session.get_one(Customer, row.requester_id)
        customers.add_note(session, agent, customer, f"Likes {SECRET}")
        drafts.add_note(session, agent, row, f"Sent her {SECRET}")
        asked = session.scalars(select(Message).where(Message.conversation_id == row.conversation_id)).first()
        assert asked is not None
        session.add(Gap(title=f"{SECRET}?", questions=[question(asked, f"{SECRET}?")]))
        return customer.public_id


def question(message: Message, text: str) -> GapQuestion:
    asked = {"message_id": message.id, "asked_at": message.created_at, "text": text}
    return GapQuestion(kind=GapKind.NOT_FOUND, embedding_model="hash", embedding=bytes(16), **asked)


def age(desk: Desk) -> None:
    """Make all files old enough to be deleted at once."""
    long_ago = time.time() - 2 * REWRITE_AFTER.total_seconds()
    for path in Path(desk.settings.attachments_url).rglob("*"):
        os.utime(path, (long_ago, long_ago))


def erase(desk: Desk, public_id: str) -> erasure.Receipt:
    age(desk)
    return erasure.erase(desk.db, desk.storage, desk.settings.data_dir, [public_id])


def counts(desk: Desk) -> dict[str, int]:
    with desk.db.read() as session:
        return {
            one.name: session.scalar(select(func.count()).select_from(one)) or 0 for one in Base.metadata.sorted_tables
        }


def test_every_table_goes_with_a_person_or_says_why_not() -> None:
    derived = {table.name for table in erasure.derived_tables()}
    names = {table.name for table in Base.metadata.sorted_tables}
    assert derived.isdisjoint(erasure.APART)
    assert names - derived == names & set(erasure.APART)


def test_what_is_erased_is_nowhere_and_what_is_others_stays(desk: Desk, rosa: str) -> None:
    before, files = counts(desk), {one.sha256 for one in desk.storage.list()}
    receipt = erase(desk, rosa)
    after = counts(desk)
    assert receipt.customers == (rosa,)
    assert {name: before[name] - after[name] for name in before if before[name] != after[name]} == receipt.rows
    assert receipt.rows["tickets"] == receipt.rows["attachments"] == 2
    assert (receipt.files, receipt.later) == (len(files) - len({one.sha256 for one in desk.storage.list()}), 0)
    assert receipt.files == 2  # her own photo and its small version, not those of the one that Bert sent, too
    with desk.db.read() as session:
        assert len(session.scalars(select(Evidence)).all()) == 1
        assert session.scalars(select(Ticket.id).where(search.has(session, SECRET))).all() == []
        assert session.scalars(select(Ticket.subject)).all() == ["Mine leaks"]
    worker.run_until_idle(desk)  # what was being worked on for her ends quietly
    kept = b"".join(path.read_bytes() for path in desk.settings.data_dir.glob("assistant.db*"))
    for trace in (SECRET, SECRET.lower(), "rosa@example.org", "Quendel", "quendel"):
        assert trace.encode() not in kept, trace


def test_who_was_merged_is_the_same_person(desk: Desk, rosa: str) -> None:
    ada = make_agent(desk.db, "eve", admin=True).principal
    make_ticket(desk, "It is me", requester_name="Rosie", requester_email="rosie@example.org")
    with desk.db.begin() as session:
        one, other = (people.find_customers(session, who)[0] for who in (rosa, "rosie@example.org"))
        into, away = customers.stays(one, other)
        customers.merge(session, ada, one, other)
        both = {into.public_id, away.public_id}
    assert set(erase(desk, rosa).customers) == both
    with desk.db.read() as session:
        assert session.scalars(select(Customer.name)).all() == ["Bert"]


def test_a_gap_with_questions_of_others_is_called_by_one_of_them(desk: Desk, rosa: str) -> None:
    with desk.db.begin() as session:
        bert = session.scalars(select(Message).where(Message.text == "Mine leaks")).one()
        gap = session.scalars(select(Gap)).one()
        gap.questions.append(question(bert, "Does it leak?"))
    erase(desk, rosa)
    with desk.db.read() as session:
        assert session.scalars(select(Gap.title)).all() == ["Does it leak?"]


def test_a_restored_backup_is_erased_from_again(desk: Desk, rosa: str, tmp_path: Path) -> None:
    snapshot(desk.db, tmp_path / "backup.db")
    erase(desk, rosa)
    desk.db.close()
    place = desk.settings.data_dir / "assistant.db"
    for path in place.parent.glob("assistant.db*"):
        path.unlink()
    shutil.copy(tmp_path / "backup.db", place)
    again = build(desk.settings, capabilities=fake_capabilities())
    with again.desk.db.read() as session:
        assert session.scalars(select(Customer.name)).all() == ["Bert"]
    again.close()


def test_files_that_were_just_stored_are_left_to_the_sweep(desk: Desk, rosa: str) -> None:
    receipt = erasure.erase(desk.db, desk.storage, desk.settings.data_dir, [rosa])
    assert (receipt.files, receipt.later) == (0, 2)


def test_what_is_known_is_handed_over_without_secrets(desk: Desk, rosa: str, tmp_path: Path) -> None:
    with desk.db.read() as session:
        customer = people.find_customers(session, rosa)[0]
    erasure.write_archive(desk.db, desk.storage, customer, tmp_path / "rosa.zip")
    with zipfile.ZipFile(tmp_path / "rosa.zip") as archive:
        person = json.loads(archive.read("person.json"))
        assert len([name for name in archive.namelist() if name.startswith("files/")]) == 2
    assert [one["email"] for one in person["customers"]] == ["rosa@example.org"]
    assert {one["text"] for one in person["messages"] if one["author"] == Author.CUSTOMER} >= {f"{SECRET} in the pump"}
    assert READ in json.dumps(person["evidence"])
    assert [one["text"] for one in person["customer_notes"]] == [f"Likes {SECRET}"]
    assert "Mine leaks" not in json.dumps(person)
    assert not erasure._SECRET & {name for rows in person.values() for row in rows for name in row}


def test_admins_export_and_erase_in_the_console_and_nobody_else(desk: Desk, rosa: str, sign_in: SignIn) -> None:
    path = f"/console/customers/{rosa}"
    agent, admin = (
        sign_in(make_agent(desk.db, "bob", team="technical")),
        sign_in(make_agent(desk.db, "eve", admin=True)),
    )
    assert f"{path}/erase" not in agent.get(path).text
    assert [agent.get(f"{path}/{what}").status_code for what in ("export", "erase")] == [403, 403]
    with admin.get(f"{path}/export") as exported:
        assert "person.json" in zipfile.ZipFile(io.BytesIO(exported.data)).namelist()
    assert "2 tickets" in admin.get(f"{path}/erase").text
    done = submit(admin, f"{path}/erase")
    assert done.status_code == 200
    assert rosa in done.text
    assert admin.get(path).status_code == 404


def test_the_command_line_asks_first_and_prints_a_receipt(
    desk: Desk, rosa: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(desk.settings.data_dir))
    refused = CliRunner().invoke(main, ["customers", "erase", rosa], input="n\n")
    assert refused.exit_code != 0
    with desk.db.read() as session:
        assert session.scalars(select(CustomerNote)).all()
    done = CliRunner().invoke(main, ["customers", "erase", "rosa@example.org", "--yes", "--json"])
    assert json.loads(done.stdout)["rows"]["tickets"] == 2
    assert CliRunner().invoke(main, ["customers", "erase", rosa, "--yes"]).exit_code == 1
