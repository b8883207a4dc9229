"""The console's pages of the knowledge base: sources, gaps, answers to approve, figures; and who may do what."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from assistant import worker
from assistant.desk.desk import Desk
from assistant.knowledge import articles as knowledge
from assistant.knowledge import gaps, sources
from assistant.models import Article, Gap, GapState, SolvedAnswer, SolvedState, Source, SourceKind
from assistant.ports import Mode
from tests.documents import make_manual
from tests.factories import Persona, make_figure, make_ticket
from tests.fakes import fake_capabilities
from tests.injections import ATTACKS, Obedient
from tests.knowledge.test_solved import _solve

SignIn = Callable[[Persona], FlaskClient]
BASE = "/console/knowledge"


@pytest.fixture(autouse=True)
def _no_csrf(app: object) -> None:
    app.config["WTF_CSRF_ENABLED"] = False  # type: ignore[attr-defined]


def _count(desk: Desk) -> int:
    with desk.db.read() as session:
        return knowledge.count_articles(session)


def _source(desk: Desk) -> Source:
    with desk.db.read() as session:
        return session.scalars(select(Source)).one()


def _send(client: FlaskClient, *files: tuple[str, bytes], name: str = "manuals") -> object:
    data = {"name": name, "files": [(io.BytesIO(content), filename) for filename, content in files]}
    return client.post(f"{BASE}/sources/files", data=data, content_type="multipart/form-data", follow_redirects=True)


def test_an_admin_sends_files_in_and_they_become_articles(desk: Desk, sign_in: SignIn, dora: Persona) -> None:
    client = sign_in(dora)
    sent = _send(client, ("care.md", b"# Care\n\nWipe it."), ("manual.pdf", make_manual()))
    assert "Importing 2 files into manuals" in sent.text  # type: ignore[attr-defined]
    worker.run_until_idle(desk)
    assert _count(desk) == 2
    page = client.get(f"{BASE}/sources").text
    for shown in ("manuals", "Up to date", "2 articles", "care.md", "manual.pdf"):
        assert shown in page


def test_what_cannot_be_taken_is_said_and_nothing_is_kept(desk: Desk, sign_in: SignIn, dora: Persona) -> None:
    sent = _send(sign_in(dora), ("run.exe", b"MZ"))
    assert "run.exe is not a supported kind of file" in sent.text  # type: ignore[attr-defined]
    with desk.db.read() as session:
        assert sources.list_sources(session) == []


def test_what_could_not_be_read_is_listed_with_its_reason(desk: Desk, sign_in: SignIn, dora: Persona) -> None:
    client = sign_in(dora)
    _send(client, ("good.md", b"# A\n\nText."), ("bad.pdf", b"no pdf"))
    worker.run_until_idle(desk)
    page = client.get(f"{BASE}/sources").text
    assert "1 skipped because it could not be read" in page
    assert "is not a PDF, or is damaged" in page


def test_what_gives_an_ai_orders_is_left_out_and_shown_to_agents_alone(
    desk: Desk, sign_in: SignIn, dora: Persona
) -> None:
    client = sign_in(dora)
    order = next(attack.text for attack in ATTACKS if attack.name == "refund 1, plain")
    writes = dataclasses.replace(desk, capabilities=fake_capabilities(Mode.FULL_VLM, chat_model=Obedient()))
    _send(client, ("care.md", f"# Care\n\nWipe it with a cloth.\n\n{order}\n".encode()))
    for _ in range(2):  # the second import finds nothing changed
        worker.run_until_idle(writes)
        assert order in client.get(f"{BASE}/sources").text
        with desk.db.begin() as session:
            sources.request_sync(session, session.scalars(select(Source)).one())
    with desk.db.read() as session:
        article = session.scalars(select(Article)).one()
        assert [passage.text for passage in article.passages] == ["Wipe it with a cloth."]
    assert order in client.get(f"{BASE}/articles/{article.public_id}").text


def test_a_website_that_may_not_be_asked_shows_why(desk: Desk, sign_in: SignIn, dora: Persona) -> None:
    client = sign_in(dora)
    added = client.post(f"{BASE}/sources/website", data={"address": "http://127.0.0.1:9/", "every": "60"})
    assert added.status_code == 302
    worker.run_once(desk)
    page = client.get(f"{BASE}/sources").text
    assert "Failed" in page
    assert "private network" in page
    refused = client.post(f"{BASE}/sources/website", data={"address": "help.example.org"})
    assert (refused.status_code, "must begin with https://" in refused.text) == (422, True)


def test_sources_are_imported_now_rescheduled_and_removed(
    desk: Desk, sign_in: SignIn, dora: Persona, tmp_path: Path
) -> None:
    (tmp_path / "a.md").write_text("# A\n\nText.")
    with desk.db.begin() as session:
        source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(tmp_path))
    client, path = sign_in(dora), f"{BASE}/sources/{source.public_id}"
    assert client.post(f"{path}/sync").status_code == 302
    worker.run_until_idle(desk)
    assert _count(desk) == 1
    client.post(f"{path}/interval", data={"every": "60"})
    assert _source(desk).every_minutes == 60
    assert _source(desk).next_at is not None
    client.post(f"{path}/interval", data={"every": "0"})
    assert _source(desk).next_at is None
    assert client.post(f"{path}/interval", data={"every": "x"}).status_code == 422
    client.post(f"{path}/remove")
    assert _count(desk) == 0


def test_a_file_is_taken_out_with_its_article(desk: Desk, sign_in: SignIn, dora: Persona) -> None:
    client = sign_in(dora)
    _send(client, ("a.md", b"# A\n\nText."), ("b.md", b"# B\n\nText."))
    worker.run_until_idle(desk)
    client.post(f"{BASE}/sources/{_source(desk).public_id}/files/remove", data={"file": "a.md"})
    worker.run_until_idle(desk)
    assert _count(desk) == 1


def test_only_admins_change_where_articles_come_from(
    desk: Desk, sign_in: SignIn, alice: Persona, dora: Persona
) -> None:
    _send(sign_in(dora), ("a.md", b"# A\n\nText."))
    worker.run_until_idle(desk)
    client, path = sign_in(alice), f"{BASE}/sources/{_source(desk).public_id}"
    page = client.get(f"{BASE}/sources").text
    assert "manuals" in page
    assert "Remove" not in page
    for action in ("sync", "interval", "remove", "files/remove"):
        assert client.post(f"{path}/{action}").status_code == 403
    for action in ("website", "files", "solved"):
        assert client.post(f"{BASE}/sources/{action}").status_code == 403
    assert _count(desk) == 1


def test_a_page_is_renewed_only_while_something_is_imported(desk: Desk, sign_in: SignIn, alice: Persona) -> None:
    with desk.db.begin() as session:
        source = sources.add_source(session, kind=SourceKind.FOLDER, location="/nowhere")
        source.started_at, source.done, source.total = desk.now(), 3, 12
    client = sign_in(alice)
    rows = client.get(f"{BASE}/sources/rows").text
    assert "Importing 3 of 12" in rows
    assert 'hx-trigger="every 3s"' in rows
    with desk.db.begin() as session:
        session.get_one(Source, source.id).finished_at = desk.now()
    assert "every 3s" not in client.get(f"{BASE}/sources/rows").text


def test_gaps_are_shown_with_examples_and_marked_as_done(desk: Desk, sign_in: SignIn, alice: Persona) -> None:
    for text in ("Does the jukebox play <b>vinyl</b> records?", "Can the jukebox play vinyl records?"):
        make_ticket(desk, text)
    worker.run_until_idle(desk)
    gaps.look(desk)
    client = sign_in(alice)
    page = client.get(f"{BASE}/gaps").text
    assert "asked 2 times" in page
    assert "2 without an answer" in page
    assert "&lt;b&gt;vinyl" in page
    with desk.db.read() as session:
        gap = session.scalars(select(Gap)).one()
    assert "Marked as written:" in client.post(f"{BASE}/gaps/{gap.public_id}/done", follow_redirects=True).text
    assert gap.title.split("<")[0] not in client.get(f"{BASE}/gaps").text
    assert gap.title.split("<")[0] in client.get(f"{BASE}/gaps?state=done").text
    with desk.db.read() as session:
        assert session.scalars(select(Gap)).one().state is GapState.DONE
    assert client.post(f"{BASE}/gaps/gap_00000000000000000000/done").status_code == 404


def test_nothing_is_said_to_be_missing_before_the_newest_questions_were_looked_through(
    desk: Desk, sign_in: SignIn, alice: Persona
) -> None:
    make_ticket(desk, "Does the jukebox play vinyl records?")
    worker.run_until_idle(desk)
    client = sign_in(alice)
    page = client.get(f"{BASE}/gaps").text
    assert "Nothing is missing" not in page
    assert f'hx-get="{BASE}/gaps/rows"' in page
    worker.run_until_idle(desk)
    rows = client.get(f"{BASE}/gaps/rows").text
    assert "asked once" in rows
    assert "hx-get" not in rows


def test_an_agent_reads_changes_and_approves_an_answer(
    desk: Desk, sign_in: SignIn, alice: Persona, dora: Persona, charlie: Persona
) -> None:
    _solve(desk, alice)
    _solve(desk, alice, text="Where is the serial number of the jukebox?")
    assert sign_in(dora).post(f"{BASE}/sources/solved").status_code == 302
    worker.run_until_idle(desk)
    client = sign_in(alice)
    page = client.get(f"{BASE}/answers").text
    assert "my name is [name]" in page
    assert "Rosa" not in page
    with desk.db.read() as session:
        first, second = session.scalars(select(SolvedAnswer).order_by(SolvedAnswer.id))
    path = f"{BASE}/answers/{first.public_id}"
    assert client.post(f"{path}/approve", data={"question": "", "answer": "x"}).status_code == 422
    texts = {"question": "What if it eats records?", "answer": "Open the lid and turn the wheel."}
    assert sign_in(charlie).post(f"{path}/approve", data=texts).status_code == 404
    assert client.post(f"{path}/approve", data=texts).status_code == 302
    client.post(f"{BASE}/answers/{second.public_id}/reject")
    worker.run_until_idle(desk)
    assert _count(desk) == 1
    assert "What if it eats records?" in client.get(f"{BASE}?q=records").text
    with desk.db.read() as session:
        states = session.scalars(select(SolvedAnswer.state).order_by(SolvedAnswer.id)).all()
    assert list(states) == [SolvedState.APPROVED, SolvedState.REJECTED]


def test_figures_are_shown_to_agents_as_inert_pictures(
    desk: Desk, sign_in: SignIn, client: FlaskClient, alice: Persona, tmp_path: Path
) -> None:
    figure_id = make_figure(desk, tmp_path / "internal", visibility="internal")
    signed_in, path = sign_in(alice), f"{BASE}/figures/{figure_id}"
    assert f"{path}?thumbnail=1" in signed_in.get(f"{BASE}?q=turn+the+valve").text
    whole, small = signed_in.get(path), signed_in.get(f"{path}?thumbnail=1")
    assert (whole.mimetype, small.mimetype) == ("image/png", "image/jpeg")
    assert "immutable" in whole.headers["Cache-Control"]
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    assert client.get(path).status_code == 302  # to the sign-in
    assert signed_in.get(f"{BASE}/figures/fig_00000000000000000000").status_code == 404
