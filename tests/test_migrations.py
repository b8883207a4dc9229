"""Migrations make the tables that the models describe, on SQLite and on PostgreSQL, from nothing and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from click.testing import CliRunner
from sqlalchemy import create_engine, inspect, select, text, update

from assistant.cli import main
from assistant.db import Database, check, migrate, migration_config, pending
from assistant.desk import attention, search
from assistant.models import (
    Article,
    Attachment,
    AttachmentKind,
    Attention,
    Author,
    Conversation,
    Customer,
    EmbeddingModel,
    Evidence,
    EvidenceState,
    Message,
    Passage,
    Rating,
    Ticket,
    Vector,
    VectorKind,
    VerifiedBy,
)
from assistant.retrieval.fulltext import Filters, find
from tests.conftest import upgrade

ARTICLE = """INSERT INTO articles (id, public_id, source, source_key, title, language, visibility, content_hash,
    created_at, updated_at) VALUES (1, 'art_1', 's', 'k', 'Valve', 'en', 'public', '', '2026-01-01', '2026-01-01')"""
PASSAGE = """INSERT INTO passages (public_id, article_id, position, heading, text, codes, content_hash, embedding_model,
    embedding) VALUES (:id, 1, :position, 'Valve', :text, '', :hash, 'all-MiniLM-L6-v2@53aa5117', :embedding)"""
CUSTOMER = "INSERT INTO customers (id, public_id, created_at) VALUES (1, 'cus_1', '2026-01-01')"
CONVERSATION = """INSERT INTO conversations (id, public_id, customer_id, channel, state, turn, created_at, updated_at)
    VALUES (:id, :public_id, 1, 'api', :state, 1, '2026-01-01', '2026-01-01')"""
TICKET = """INSERT INTO tickets (public_id, conversation_id, requester_id, subject, status, priority, created_at,
    updated_at) VALUES (:public_id, :id, 1, 'Valve', :status, 'low', '2026-01-01', '2026-01-01')"""

WORDS_SQLITE = "INSERT INTO fts_tickets (rowid, words) VALUES (:id, :words)"
WORDS_POSTGRESQL = "INSERT INTO fts_tickets (ticket_id, words) VALUES (:id, array_to_tsvector(CAST(:words AS text[])))"

MESSAGE = """INSERT INTO messages (public_id, conversation_id, author, visibility, text, failed, created_at)
    VALUES ('msg_1', 1, 'customer', 'public', :text, false, '2026-01-01')"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(command, "upgrade", upgrade)  # each migration is what is tested
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'assistant.db'}"
    else:
        yield request.getfixturevalue("empty_postgres_url")


def test_an_empty_database_becomes_the_one_the_models_describe(url: str) -> None:
    migrate(url)
    migrate(url)  # again does no harm
    command.check(migration_config(url))
    database = Database(url)
    assert check(database) == []
    database.close()


def test_what_would_be_done_is_listed_and_what_was_there_before_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(tmp_path))
    url = f"sqlite:///{tmp_path / 'assistant.db'}"
    migrate(url, revision="inboxes")
    with closing(sqlite3.connect(tmp_path / "assistant.db")) as connection:
        connection.execute(CUSTOMER)
        connection.commit()
    listed = CliRunner().invoke(main, ["db", "upgrade", "--dry-run"])
    assert "articles_of_inboxes: " in listed.output
    assert "\ninboxes: " not in listed.output
    assert len(listed.output.splitlines()) == len(pending(url)) + 1 > 10
    assert list(tmp_path.glob("*upgraded*")) == []
    assert CliRunner().invoke(main, ["db", "upgrade"]).exit_code == 0
    assert pending(url) == []
    assert "already" in CliRunner().invoke(main, ["db", "upgrade", "--dry-run"]).output
    [kept] = tmp_path.glob("*upgraded*")
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT public_id FROM customers").fetchone() == ("cus_1",)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("inboxes",)


def test_a_database_of_a_newer_version_is_left_alone_and_everybody_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(tmp_path))
    url = f"sqlite:///{tmp_path / 'assistant.db'}"
    migrate(url)
    with closing(sqlite3.connect(tmp_path / "assistant.db")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of_tomorrow'")
        connection.commit()
    commands = (["doctor"], ["db", "upgrade"], ["db", "upgrade", "--dry-run"], ["db", "check"], ["serve"], ["worker"])
    for command_line in commands:
        said = CliRunner().invoke(main, command_line)
        assert said.exit_code == 1, command_line
        assert "newer version has upgraded the database" in said.output, command_line


def test_the_way_down_leaves_nothing_behind(url: str) -> None:
    migrate(url)
    command.downgrade(migration_config(url), "base")
    engine = create_engine(url)
    assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
    engine.dispose()


def test_articles_of_the_first_version_are_found_after_every_migration(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'assistant.db'}"
    migrate(url, revision="vectors")
    engine, vector = create_engine(url), np.array([1.0, 0.0], dtype="<f4").tobytes()
    with engine.begin() as connection:
        connection.execute(text(ARTICLE))
        for number, words in enumerate(("Turn it left.", "Turn it right.", "Turn it left.")):
            values = {"id": f"psg_{number}", "position": number, "text": words, "hash": words, "embedding": vector}
            connection.execute(text(PASSAGE), values)
    engine.dispose()
    migrate(url)
    database = Database(url)
    assert check(database) == []
    with database.read() as session:
        assert find(session, ["left"], filters=Filters(), limit=9) == [1, 3]
        stored = session.scalars(select(Vector).order_by(Vector.content_hash)).all()
        model = session.scalars(select(EmbeddingModel)).one()
    assert [(one.content_hash, one.kind, one.embedding) for one in stored] == [
        ("Turn it left.", VectorKind.PASSAGE, vector),
        ("Turn it right.", VectorKind.PASSAGE, vector),
    ]
    assert (model.name, model.source) == ("all-MiniLM-L6-v2@53aa5117", "auto")
    with database.begin() as session:  # the word index still learns of changes
        session.execute(update(Passage).where(Passage.position == 1).values(text="Turn it left, too."))
    with database.read() as session:
        assert sorted(find(session, ["left"], filters=Filters(), limit=9)) == [1, 2, 3]
    database.close()
    command.downgrade(migration_config(url), "vectors")
    engine = create_engine(url)
    with engine.connect() as connection:
        back = connection.execute(text("SELECT embedding_model, embedding FROM passages ORDER BY position")).all()
    engine.dispose()
    assert [tuple(row) for row in back] == [("all-MiniLM-L6-v2@53aa5117", vector)] * 3


def test_conversations_that_had_drifted_from_their_tickets_follow_them(url: str) -> None:
    migrate(url, revision="embedding_models")
    engine = create_engine(url)
    # Status of the ticket, state of its conversation before and after.
    rows = [
        ("open", "closed", "handed_off"),
        ("solved", "agent", "closed"),
        ("closed", "handed_off", "closed"),
        ("pending", "agent", "agent"),
    ]
    with engine.begin() as connection:
        connection.execute(text(CUSTOMER))
        for number, (status, state, _) in enumerate(rows, start=1):
            values = {"id": number, "public_id": f"x_{number}", "state": state, "status": status}
            connection.execute(text(CONVERSATION), values)
            connection.execute(text(TICKET), values)
    engine.dispose()
    migrate(url)
    database = Database(url)
    with database.read() as session:
        conversations = session.scalars(select(Conversation).order_by(Conversation.id)).all()
    assert [one.state for one in conversations] == [after for _, _, after in rows]
    assert [one.handed_off_at is not None for one in conversations] == [True, False, False, False]
    assert [one.turn for one in conversations] == [2, 2, 2, 1]
    database.close()


def test_subjects_of_before_are_found_without_their_accents(url: str) -> None:
    migrate(url, revision="one_writer_of_state")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(CUSTOMER))
        for number, subject in enumerate(("Überhitzung", "Ventil"), start=1):
            values = {"id": number, "public_id": f"x_{number}", "state": "closed", "status": "closed"}
            connection.execute(text(CONVERSATION), values)
            connection.execute(text(TICKET.replace("'Valve'", ":subject")), {**values, "subject": subject})
    engine.dispose()
    migrate(url)
    database = Database(url)
    with database.read() as session:
        found = [
            session.scalars(select(Ticket.id).where(search.has(session, word))).all() for word in ("UBERHITZUNG", "ven")
        ]
    assert found == [[1], [2]]
    database.close()


def test_tickets_of_before_have_numbers_and_none_is_given_out_twice(url: str) -> None:
    migrate(url, revision="articles_of_inboxes")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(CUSTOMER))
        default = connection.execute(text("SELECT id FROM inboxes")).scalar_one()
        conversation = CONVERSATION.replace("(id,", "(inbox_id, site_context, id,").replace(
            "(:id,", f"({default}, '{{}}', :id,"
        )
        for number in (1, 2, 3):
            values = {"id": number, "public_id": f"x_{number}", "state": "closed", "status": "closed"}
            connection.execute(text(conversation), values)
            if number < 3:
                connection.execute(text(TICKET), values)
    engine.dispose()
    migrate(url)
    database = Database(url)
    with database.begin() as session:
        old = session.scalars(select(Ticket).order_by(Ticket.id)).all()
        assert [one.number for one in old] == [1001, 1002]
        session.delete(old[-1])
        session.flush()
        new = Ticket(conversation_id=3, requester_id=1, subject="Valve")
        session.add(new)
        session.flush()
        assert new.number == 1003
        assert session.scalars(select(Ticket.id).where(search.has(session, "1001"))).all() == [1]
        kept = session.scalars(text(f"SELECT {'rowid' if database.is_sqlite else 'ticket_id'} FROM fts_tickets")).all()
        assert kept == [1], "the words of a ticket that is gone are gone"
        assert session.scalars(select(Ticket.subject).where(Ticket.number == 1003)).all() == ["Valve"]
    database.close()


def test_conversations_of_before_are_in_the_default_inbox(url: str) -> None:
    migrate(url, revision="notices")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(CUSTOMER))
        connection.execute(text(CONVERSATION), {"id": 1, "public_id": "cnv_1", "state": "assistant"})
    engine.dispose()
    migrate(url)
    database = Database(url)
    with database.read() as session:
        assert session.get_one(Conversation, 1).site_context == {}
        inbox = session.get_one(Conversation, 1).inbox
        assert (inbox.key, inbox.name, inbox.settings) == ("default", "", {})
        assert inbox.created_at.tzinfo is not None
    database.close()


def test_conversations_and_messages_of_before_have_no_rating(url: str) -> None:
    migrate(url, revision="site_context")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(CUSTOMER))
        later = CONVERSATION.replace("(id,", "(inbox_id, site_context, id,").replace("(:id,", "(1, '{}', :id,")
        connection.execute(text(later), {"id": 1, "public_id": "cnv_1", "state": "closed"})
        connection.execute(text(MESSAGE), {"text": "Thanks"})
    engine.dispose()
    migrate(url)
    database = Database(url)
    with database.begin() as session:
        conversation = session.get_one(Conversation, 1)
        assert (conversation.asks_rating, conversation.rating) == (False, None)
        [message] = conversation.messages
        assert (message.courtesy, message.feedback) == (None, None)
        session.add(Rating(conversation=conversation, score=5))
    database.close()
    command.downgrade(migration_config(url), "site_context")


def test_articles_of_before_are_for_every_inbox_and_those_of_one_for_agents_after_the_way_down(url: str) -> None:
    migrate(url, revision="inboxes")
    engine = create_engine(url)
    insert = "INSERT INTO passages (public_id, article_id, position, heading, text, codes, content_hash)"
    with engine.begin() as connection:
        connection.execute(text(ARTICLE))
        connection.execute(text(f"{insert} VALUES ('psg_1', 1, 0, 'Valve', 'Turn it left.', '', 'x')"))
    engine.dispose()
    migrate(url)
    database = Database(url)
    for owner, found in ((None, [1]), (1, []), (None, [1]), (1, [])):
        with database.begin() as session:
            session.execute(update(Article).values(inbox_id=owner))
        with database.read() as session:
            assert find(session, ["left"], filters=Filters(inbox=2), limit=9) == found
            assert find(session, ["left"], filters=Filters(inbox=1), limit=9) == [1]
    database.close()
    command.downgrade(migration_config(url), "inboxes")
    engine = create_engine(url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT visibility FROM articles")).scalar_one() == "internal"
    engine.dispose()


def test_passages_of_before_are_found_in_every_script(url: str) -> None:
    migrate(url, revision="passage_pages")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(ARTICLE))
        insert = """INSERT INTO passages (public_id, article_id, position, heading, text, codes, content_hash)
            VALUES (:text, 1, :position, 'Valve', :text, '', :text)"""
        for position, words in enumerate(("Überhitzung", "指示灯闪烁", "plain")):
            connection.execute(text(insert), {"text": words, "position": position})
    engine.dispose()
    migrate(url)
    database = Database(url)
    with database.read() as session:
        found = [
            find(session, [word], filters=Filters(), limit=9) for word in ("uberhitzung", "闪烁", "plain", "valve")
        ]
    assert [len(one) for one in found] == [1, 1, 1, 3]
    database.close()
    command.downgrade(migration_config(url), "passage_pages")
    database = Database(url)
    with database.read() as session:
        assert len(find(session, ["plain"], filters=Filters(), limit=9)) == 1
    database.close()


def test_customers_of_before_are_known_if_a_machine_named_them(url: str) -> None:
    migrate(url, revision="mails")
    engine = create_engine(url)
    # E-mail address, external id, channel of their conversation, who says so.
    rows = [
        (None, None, "widget", None),
        ("rosa@example.org", None, "widget", None),
        ("rosa@example.org", None, "api", VerifiedBy.API),
        (None, "42", "widget", VerifiedBy.API),
    ]
    customer = """INSERT INTO customers (id, public_id, email, external_id, created_at)
        VALUES (:id, :public_id, :email, :external_id, '2026-01-01')"""
    conversation = """INSERT INTO conversations (id, public_id, customer_id, inbox_id, channel, state, turn, created_at,
        updated_at) VALUES (:id, :public_id, :id, 1, :channel, 'closed', 1, '2026-01-01', '2026-01-01')"""
    with engine.begin() as connection:
        for number, (email, external_id, channel, _) in enumerate(rows, start=1):
            values = {"id": number, "public_id": f"x_{number}", "email": email, "external_id": external_id}
            connection.execute(text(customer), values)
            connection.execute(text(conversation), {**values, "channel": channel})
    engine.dispose()
    migrate(url)
    database = Database(url)
    with database.read() as session:
        customers = session.scalars(select(Customer).order_by(Customer.id)).all()
    assert [one.verified_by for one in customers] == [known for *_, known in rows]
    assert [one.verified_at is not None for one in customers] == [known is not None for *_, known in rows]
    database.close()


def test_what_was_said_before_has_been_seen(url: str) -> None:
    migrate(url, revision="widget_sessions")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(CUSTOMER))
        inbox = connection.execute(text("SELECT id FROM inboxes")).scalar_one()
        conversation = CONVERSATION.replace("channel,", "inbox_id, channel,").replace("1, 'api'", f"1, {inbox}, 'api'")
        insert = """INSERT INTO messages (id, public_id, conversation_id, author, visibility, text, failed, created_at)
            VALUES (:id, :public_id, 1, 'agent', :visibility, 'Hm', :failed, '2026-01-01')"""
        connection.execute(text(conversation), {"id": 1, "public_id": "cnv_1", "state": "agent"})
        for number, visibility in enumerate(("public", "public", "internal"), start=1):
            values = {"id": number, "public_id": f"msg_{number}", "visibility": visibility, "failed": False}
            connection.execute(text(insert), values)
    engine.dispose()
    migrate(url)
    database = Database(url)
    with database.read() as session:
        known = session.scalars(select(Attention)).one()
        assert (known.conversation_id, known.seen_id, known.delivered_id, known.mailed_id) == (1, 2, 2, None)
        assert attention.unread(session, [1]) == {}
    database.close()


def test_tickets_of_before_are_found_by_what_their_photos_show(url: str) -> None:
    """As an agent has corrected it, else as it was read last."""
    migrate(url, revision="photo_copies")
    database = Database(url)
    with database.begin() as session:
        inbox = session.scalar(text("SELECT id FROM inboxes"))
        customer = Customer(name="Rosa")
        rows = []
        for _ in range(2):
            conversation = Conversation(customer=customer, inbox_id=inbox, channel="api")
            session.add(conversation)
            session.flush()
            rows.append(Ticket(conversation_id=conversation.id, requester=customer, subject="Valve"))
            message = Message(conversation_id=conversation.id, author=Author.CUSTOMER, text="Look.")
            photo = {"kind": AttachmentKind.PHOTO, "sha256": "a", "filename": "a.jpg", "content_type": "image/jpeg"}
            session.add_all([rows[-1], message, Attachment(message=message, byte_size=1, **photo)])
        session.flush()
        of = {"sha256": "a", "model": "none", "mode": "no_vlm", "visible_text": []}
        fields = [{"condition": {"value": value}} for value in ("intact", "damaged", "leaking")]
        session.add_all(Evidence(revision=str(at), fields=one, **of) for at, one in enumerate(fields[:2]))
        session.flush()
        first, second = (row.id for row in rows)
        corrects = session.scalars(select(Evidence).where(Evidence.revision == "1")).one()
        session.add(
            Evidence(
                revision="1", fields=fields[2], conversation_id=rows[1].conversation_id, corrects=corrects,
                state=EvidenceState.CORRECTED, **of,
            )
        )  # fmt: skip
        for row in rows:
            words = {"id": row.id, "words": ["valve"] if not database.is_sqlite else "valve"}
            session.execute(text(WORDS_SQLITE if database.is_sqlite else WORDS_POSTGRESQL), words)
    database.close()
    migrate(url)
    database = Database(url)
    with database.read() as session:
        found = [
            session.scalars(select(Ticket.id).where(search.shows(session, [one]))).all()
            for one in ("intact", "damaged", "leaking")
        ]
        assert session.scalars(select(Ticket.id).where(search.has(session, "valve"))).all() == [first, second]
    assert found == [[], [first], [second]]
    database.close()
