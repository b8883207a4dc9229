"""The console over HTTP: who sees what, what every action does, and that nothing typed is lost."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import event, select, update

import assistant
from assistant import worker
from assistant.db import Database, utcnow
from assistant.desk import agent_sessions, conversations, credentials, drafts, people
from assistant.desk.access import CustomerPrincipal
from assistant.desk.desk import Desk
from assistant.errors import Invalid
from assistant.models import (
    Agent,
    AgentRole,
    AgentSession,
    Attachment,
    Conversation,
    ConversationState,
    Draft,
    DraftStatus,
    Evidence,
    Message,
    MessageVisibility,
    Ticket,
    TicketStatus,
    TriageField,
    TriageFieldState,
)
from assistant.ports import Capabilities
from assistant.runtime import Runtime
from assistant.settings import Settings
from assistant.web import console_live, console_panels, console_words
from tests.factories import (
    PASSWORD,
    Persona,
    make_agent,
    make_articles,
    make_conversation,
    make_customer,
    make_ticket,
    make_upload,
    signed_in_client,
)
from tests.fakes import FakeOCR, fake_capabilities

SignIn = Callable[[Persona], FlaskClient]
HTMX = {"HX-Request": "true"}
VENDOR = Path(assistant.__file__).parent / "web" / "static" / "vendor" / "htmx"


@pytest.fixture
def capabilities() -> Capabilities:
    return fake_capabilities(ocr=FakeOCR("BrewMaster 300", "E21"))


@pytest.fixture
def ticket(desk: Desk, tmp_path: Path) -> Ticket:
    """Alice's team's: a photo that was read, triaged, with a cited draft."""
    make_articles(desk, tmp_path / "articles")
    opened = make_ticket(
        desk,
        subject="Coffee machine blinks",
        requester_name="Maria Keller",
        requester_email="maria@example.org",
        uploads=[make_upload("machine.jpg")],
    )
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        session.get_one(Ticket, opened.id).team_id = people.find_team(session, "technical").id
    return opened


@pytest.fixture
def page(ticket: Ticket) -> str:
    return f"/console/tickets/{ticket.public_id}"


@pytest.fixture
def draft(db: Database, ticket: Ticket) -> Draft:
    with db.read() as session:
        found = session.scalars(select(Draft).where(Draft.ticket_id == ticket.id)).one()
    assert "pump draws no water" in found.text
    return found


# Coming in


CLOSED = (
    "/console/",
    "/console/?tab=all&q=secret",
    "/console/rows",
    "/console/knowledge",
    "/console/password",
    "/console/tickets/{ticket}",
    "/console/tickets/{ticket}/thread",
    "/console/tickets/{ticket}/draft",
    "/console/attachments/{photo}",
)


def test_every_page_asks_to_sign_in_and_remembers_where_one_wanted_to_go(
    client: FlaskClient, db: Database, ticket: Ticket, page: str
) -> None:
    photo = photo_of(db, ticket).public_id
    for path in CLOSED:
        response = client.get(path.format(ticket=ticket.public_id, photo=photo))
        assert response.status_code == 302, path
        assert response.location.startswith("/console/sign-in?next=/console/"), path
        assert "Coffee" not in response.text
    for stream in ("/console/events", f"{page}/events"):
        assert client.get(stream).status_code == 401, stream


def test_sign_in_takes_address_and_password_and_leads_where_one_wanted_to_go(
    client: FlaskClient, alice: Persona, page: str
) -> None:
    response = submit(client, f"/console/sign-in?next={page}", email=alice.email, password=PASSWORD)
    assert (response.status_code, response.location) == (302, page)
    assert client.get(page).status_code == 200


@pytest.mark.parametrize("password", ["wrong horse battery", ""])
@pytest.mark.parametrize("email", ["alice@example.org", "nobody@example.org"])
def test_wrong_address_and_wrong_password_get_the_same_answer(
    client: FlaskClient, alice: Persona, email: str, password: str
) -> None:
    response = submit(client, "/console/sign-in", email=email, password=password)
    assert response.status_code == 401
    assert "Wrong e-mail address or password." in response.text
    assert client.get("/console/").status_code == 302


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example/console/",
        "//evil.example/console/",
        "/\\evil.example",
        "/console/\\evil.example",
        "/console//evil.example",
        "/console/../api/v1",
        "javascript:alert(1)",
        "/widget/",
        "/console/sign-out",
        "http:/console/",
        "\thttps://evil.example",
    ],
)
def test_signing_in_never_leads_to_another_site(client: FlaskClient, alice: Persona, wanted: str) -> None:
    response = submit(client, "/console/sign-in", query={"next": wanted}, email=alice.email, password=PASSWORD)
    assert (response.status_code, response.location) == (302, "/console/")


def test_one_time_password_must_be_changed_before_anything_else(client: FlaskClient, db: Database, page: str) -> None:
    eve = make_agent(db, "eve", admin=True)
    with db.begin() as session:
        agent = session.scalars(select(Agent).where(Agent.email == eve.email)).one()
        credentials.set_password(session, agent, "a one-time secret", one_time=True)
    submit(client, "/console/sign-in", email=eve.email, password="a one-time secret")
    assert client.get(page).location == "/console/password"
    assert client.get(page, headers=HTMX).headers["HX-Redirect"] == "/console/password"
    form = {"current": "a one-time secret", "new": "my very own words", "again": "my very own words"}
    for refused in ({"again": "other"}, {"current": "wrong"}, {"new": "short", "again": "short"}):
        assert submit(client, "/console/password", **{**form, **refused}).status_code in (401, 422)
    assert client.get(page).location == "/console/password"
    assert submit(client, "/console/password", **form).location == "/console/"
    assert client.get(page).status_code == 200
    assert credentials.sign_in(db, email=eve.email, password="my very own words").name == "Eve"


@pytest.mark.parametrize("easy", ["password12", "1234567890", "qwertzuiop", "aaaaaaaaaaaa", "eve.adams@example.org"])
def test_a_password_that_is_easy_to_guess_is_refused(db: Database, easy: str) -> None:
    with db.begin() as session, pytest.raises(Invalid, match="easy to guess"):
        people.add_agent(session, email="eve.adams@example.org", name="Eve Adams", password=easy)


def cookie_of(client: FlaskClient) -> str:
    with client.session_transaction() as session:
        return str(session["_user_id"])


def test_signing_out_ends_the_session_also_for_whoever_has_its_cookie(sign_in: SignIn, alice: Persona) -> None:
    client, thief = sign_in(alice), sign_in(alice)
    stolen = cookie_of(client)
    assert submit(client, "/console/sign-out", at="/console/").location == "/console/sign-in"
    assert client.get("/console/").status_code == 302
    with thief.session_transaction() as session:
        session["_user_id"] = stolen
    assert thief.get("/console/").status_code == 302


def test_who_is_signed_in_sees_where_and_ends_it_from_here(
    client: FlaskClient, sign_in: SignIn, alice: Persona, bob: Persona
) -> None:
    phone, lost, bobs = sign_in(alice), sign_in(alice), sign_in(bob)
    submit(client, "/console/sign-in", email=alice.email, password=PASSWORD)
    page = client.get("/console/account").text
    assert page.count("a test") >= 2
    assert "This browser" in page
    one, other = re.findall(r'name="session" value="(ase_\w+)"', page)
    submit(client, "/console/sessions/end", at="/console/account", session=one)
    assert sorted([phone.get("/console/").status_code, lost.get("/console/").status_code]) == [200, 302]
    submit(bobs, "/console/sessions/end", at="/console/account", session=other)  # not his
    assert 200 in (phone.get("/console/").status_code, lost.get("/console/").status_code)
    submit(client, "/console/sessions/end", at="/console/account")
    assert [one.get("/console/").status_code for one in (phone, lost, client, bobs)] == [302, 302, 200, 200]


@pytest.mark.parametrize("change", ["password", "role", "leaves", "reset"])
def test_what_changes_an_account_ends_its_sessions(
    sign_in: SignIn, db: Database, settings: Settings, alice: Persona, change: str
) -> None:
    here, elsewhere = sign_in(alice), sign_in(alice)
    if change == "password":
        form = {"current": PASSWORD, "new": "my very own words", "again": "my very own words"}
        submit(here, "/console/password", **form)
        assert here.get("/console/").status_code == 200  # who changed it goes on
    else:
        with db.begin() as session:
            agent = session.scalars(select(Agent).where(Agent.email == alice.email)).one()
            if change == "role":
                people.change_agent(session, agent, {"role": AgentRole.LEAD})
            elif change == "leaves":
                people.deactivate_agent(session, agent)
            else:
                credentials.reset_password(session, agent)
    assert elsewhere.get("/console/").status_code == 302


def test_sessions_end_when_they_are_not_used_and_in_any_case(
    sign_in: SignIn, db: Database, settings: Settings, alice: Persona
) -> None:
    client = sign_in(alice)
    idle, whole = timedelta(hours=settings.session_idle_hours), timedelta(days=settings.session_days)
    for changes, answer in (
        ({"last_used_at": utcnow() - idle / 2}, 200),
        ({"last_used_at": utcnow() - idle - timedelta(minutes=1)}, 302),
        ({"last_used_at": utcnow(), "created_at": utcnow() - whole - timedelta(minutes=1)}, 302),
    ):
        with db.begin() as session:
            session.execute(update(AgentSession).values(**changes))
        assert client.get("/console/").status_code == answer
        if answer == 200:  # it was used
            with db.read() as session:
                assert session.scalars(select(AgentSession.last_used_at)).one() > utcnow() - timedelta(minutes=1)
    agent_sessions.sweep(db, settings, now=utcnow() + timedelta(days=40))
    with db.read() as session:
        assert session.scalars(select(AgentSession)).all() == []


def test_guessing_passwords_is_slowed_down(
    runtime: Runtime, make_app: Callable[..., Any], alice: Persona, bob: Persona
) -> None:
    client = make_app(runtime, limited=True).test_client()
    statuses = [submit(client, "/console/sign-in", email=alice.email, password="guess").status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]
    right = submit(client, "/console/sign-in", email=f" {alice.email.upper()} ", password=PASSWORD)
    assert (right.status_code, "wait a moment" in right.text) == (429, True)
    colleague = submit(client, "/console/sign-in", email=bob.email, password=PASSWORD)
    assert colleague.status_code == 302


@pytest.mark.slow
def test_trying_one_password_on_many_accounts_is_slowed_down(runtime: Runtime, make_app: Callable[..., Any]) -> None:
    client = make_app(runtime, limited=True).test_client()
    statuses = [
        submit(client, "/console/sign-in", email=f"{number}@example.org", password="guess").status_code
        for number in range(31)
    ]
    assert statuses == [401] * 30 + [429]


def test_right_passwords_are_not_counted(runtime: Runtime, make_app: Callable[..., Any], alice: Persona) -> None:
    client = make_app(runtime, limited=True).test_client()
    for _ in range(8):
        assert submit(client, "/console/sign-in", email=alice.email, password=PASSWORD).status_code == 302


def test_a_session_ends_when_the_agent_is_deactivated(
    sign_in: SignIn, db: Database, alice: Persona, desk: Desk
) -> None:
    client = sign_in(alice)
    assert client.get("/console/").status_code == 200
    with db.begin() as session:
        session.get_one(Agent, alice.principal.agent_id).deactivated_at = desk.now()
    assert client.get("/console/").status_code == 302


ACTIONS = ("take-over", "assign", "set-status", "solve", "reopen", "reply", "triage/category")


def test_nothing_is_done_without_a_csrf_token(
    sign_in: SignIn, db: Database, alice: Persona, ticket: Ticket, page: str
) -> None:
    client = sign_in(alice)
    for action in ACTIONS:
        response = client.post(f"{page}/{action}", data={"text": "hello", "status": "on_hold", "value": "how_to"})
        assert response.status_code == 400, action
    with db.read() as session:
        row = session.get_one(Ticket, ticket.id)
        assert (row.status, row.agent_id) == (TicketStatus.NEW, None)
        assert len(conversations.all_messages(session, row.conversation_id)) == 1


def test_what_was_typed_stays_on_the_page_of_one_who_was_signed_out(sign_in: SignIn, alice: Persona, page: str) -> None:
    """htmx puts the refusal where messages are shown; it replaces no panel and leads nowhere."""
    client = sign_in(alice)
    token = csrf_of(client.get(page).text)
    with client.session_transaction() as session:
        del session["_user_id"]
    response = client.post(f"{page}/reply", data={"text": "hello", "csrf_token": token}, headers=HTMX)
    assert response.status_code == 401
    assert response.headers["HX-Retarget"] == "#notice"
    assert "HX-Redirect" not in response.headers
    assert response.text.strip().startswith("<p")
    assert "Sign in again in another tab" in response.text


# Who sees what


def test_agent_of_another_team_finds_nothing_of_a_ticket(
    sign_in: SignIn, charlie: Persona, db: Database, ticket: Ticket, draft: Draft, page: str
) -> None:
    client = sign_in(charlie)
    photo = photo_of(db, ticket)
    token = csrf_of(client.get("/console/").text)
    for path in (page, f"{page}/thread", f"{page}/draft", f"{page}/events", f"/console/attachments/{photo.public_id}"):
        assert client.get(path).status_code == 404, path
    actions = [f"{page}/{action}" for action in ACTIONS]
    actions += [f"{page}/drafts/{draft.public_id}/{what}" for what in ("send", "discard")]
    for path in [*actions, f"{page}/evidence/{photo.public_id}", f"{page}/photos/{photo.public_id}/questions"]:
        response = client.post(path, data={"csrf_token": token, "text": "hi", "status": "open", "caption": "x"})
        assert response.status_code == 404, path
    for tab in ("waiting", "mine", "assistant", "all", "solved"):
        listed = client.get(f"/console/?tab={tab}").text
        assert "Coffee machine" not in listed
        assert counts_of(listed)["All"] == 0
    with db.read() as session:
        assert session.get_one(Draft, draft.id).status is DraftStatus.PROPOSED
        assert session.get_one(Ticket, ticket.id).status is TicketStatus.NEW


def test_stream_of_the_queue_never_says_what_happened(
    sign_in: SignIn, desk: Desk, alice: Persona, charlie: Persona, ticket: Ticket
) -> None:
    with desk.db.begin() as session:
        drafts.reply(session, alice.principal, session.get_one(Ticket, ticket.id), "Nobody else's business")
    news = first_frames(sign_in(charlie), "/console/events?last_event_id=0", until="event: queue")
    assert "data: {}" in news
    assert "business" not in news
    assert ticket.public_id not in news


def test_a_stream_is_given_back_when_its_page_is_left(
    app: APIFlask, sign_in: SignIn, alice: Persona, page: str
) -> None:
    streams, agent_id = app.extensions[console_live.STREAMS], alice.principal.agent_id
    response = sign_in(alice).get(f"{page}/events", buffered=False)
    assert (response.status_code, streams.count(agent_id)) == (200, 1)
    response.close()
    assert streams.count(agent_id) == 0


def test_one_agents_streams_end_oldest_first_and_all_together_are_bounded() -> None:
    streams = console_live.AgentStreams()
    first, second, third = (streams.enter(1, each=2, together=3) for _ in range(3))
    assert (first.is_set(), second.is_set(), third.is_set()) == (True, False, False)
    assert streams.enter(2, each=2, together=3) is not None
    assert streams.enter(3, each=2, together=3) is None
    streams.leave(1, first)  # had ended already: nothing to give back
    assert streams.count(1) == 2
    streams.leave(1, second)
    assert streams.enter(3, each=2, together=3) is not None


def test_customer_is_shown_neither_the_note_nor_that_there_is_one(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket, page: str
) -> None:
    client = sign_in(alice)
    answer = submit(client, f"{page}/note", at=page, text="He is difficult.", **as_htmx())
    assert "He is difficult." in answer.text
    submit(client, f"{page}/reply", at=page, text="So is she.", internal="1")  # as pages from before notes had a form
    with db.read() as session:
        conversation_id = session.get_one(Ticket, ticket.id).conversation_id
        notes = conversations.all_messages(session, conversation_id)[-2:]
        assert [(note.text, note.visibility) for note in notes] == [
            ("He is difficult.", MessageVisibility.INTERNAL),
            ("So is she.", MessageVisibility.INTERNAL),
        ]
        assert "difficult" not in str([m.text for m in conversations.public_messages(session, conversation_id)])
        # A note takes nothing over: the conversation still waits.
        assert session.get_one(Conversation, conversation_id).state is ConversationState.HANDED_OFF


# The queue


# A ticket


def test_page_shows_photo_evidence_triage_and_the_cited_draft(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket, page: str
) -> None:
    html = sign_in(alice).get(page).text
    assert f"/console/attachments/{photo_of(db, ticket).public_id}" in html
    assert html.count("<rect data-line=") == 2
    assert re.search(r'name="line-1" value="E21"', html)
    assert "cannot tell" in html
    for field in ("Category", "Priority", "Sentiment", "Language", "Team", "Needs a person"):
        assert f">{field}</label>" in html
    assert "not sure" in html
    assert "from the photo" in html
    assert "by similarity" in html
    assert re.search(r'class="cite" popovertarget="\w+-source-1"', html)
    assert "means that the pump draws no water from the tank" in html
    assert "BrewMaster 300: error codes" in html
    assert "OCR reads photos; answers are quoted from articles." in html


def test_without_ocr_no_page_says_that_it_reads_photos(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    runtime = make_runtime(capabilities=fake_capabilities(ocr=None))
    client = signed_in_client(make_app(runtime), runtime.desk.db, make_agent(runtime.desk.db, "alan", admin=True))
    html = client.get("/console/").text
    assert "OCR is off: text in photos is not read. Answers are quoted from articles." in html
    ticket = make_ticket(runtime.desk, "It leaks", uploads=[make_upload()])
    worker.run_until_idle(runtime.desk)
    html = client.get(f"/console/tickets/{ticket.public_id}").text
    assert "Read from this photo" in html
    assert "<small>OCR</small>" not in html


@pytest.mark.parametrize(("confidence", "shown"), [(0.95, "Sure"), (0.8, "Likely · 80%"), (0.4, "Unsure · 40%")])
def test_a_draft_says_how_sure_the_assistant_is(
    sign_in: SignIn, alice: Persona, db: Database, draft: Draft, page: str, confidence: float, shown: str
) -> None:
    with db.begin() as session:
        session.get_one(Draft, draft.id).confidence = confidence
    tag = re.search(r'<span class="tag confidence-\w+"[^>]*>([^<]*)</span>', sign_in(alice).get(page).text)
    assert tag is not None
    assert tag.group(1) == shown


def test_an_agent_is_told_where_text_and_photo_differ(
    sign_in: SignIn, alice: Persona, desk: Desk, db: Database
) -> None:
    opened = make_ticket(desk, "My coffee machine shows E77.", uploads=[make_upload()])
    worker.run_until_idle(desk)
    with db.begin() as session:
        session.get_one(Ticket, opened.id).team_id = people.find_team(session, "technical").id
    html = sign_in(alice).get(f"/console/tickets/{opened.public_id}").text
    assert "Code: the customer wrote <bdi>E77</bdi>, the photo shows <bdi>E21</bdi>." in html


def test_options_of_a_field_come_likeliest_first_and_only_from_the_taxonomy(
    sign_in: SignIn, alice: Persona, db: Database, desk: Desk, ticket: Ticket, page: str
) -> None:
    html = sign_in(alice).get(page).text
    shown = re.findall(r'<option value="([^"]+)"', select_of(html, "field-category"))
    with db.read() as session:
        field = session.scalars(select(TriageField).where(TriageField.name == "category")).one()
    assert shown[0] == field.value
    assert set(shown) == {category.key for category in desk.taxonomy.categories}
    assert shown == sorted(shown, key=lambda key: -field.probabilities[key])


def test_why_a_field_has_its_value_is_told_on_demand(
    sign_in: SignIn, alice: Persona, charlie: Persona, desk: Desk
) -> None:
    opened = make_ticket(desk, "<b>My</b> BrewMaster 300 leaks. Hello.", uploads=[make_upload()], team="technical")
    page = f"/console/tickets/{opened.public_id}"
    client = sign_in(alice)
    assert "Why?" not in client.get(page).text
    assert client.get(f"{page}/why").status_code == 404
    worker.run_until_idle(desk)
    assert f'hx-get="{page}/why"' in client.get(page).text
    html = client.get(f"{page}/why").text
    reasons = dict(re.findall(r"<b>([^<]+)</b>(.*?)</p>", html, re.DOTALL))
    assert "BrewMaster" in reasons["Product"]
    assert "loses without it" in html
    assert "<b>My" not in html
    assert sign_in(charlie).get(f"{page}/why").status_code == 404


def test_photo_is_for_those_who_may_see_the_ticket_and_never_runs(
    sign_in: SignIn, alice: Persona, bob: Persona, db: Database, ticket: Ticket
) -> None:
    photo = photo_of(db, ticket)
    for persona in (alice, bob):
        response = sign_in(persona).get(f"/console/attachments/{photo.public_id}")
        assert (response.status_code, response.content_type) == (200, "image/jpeg")
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response.headers["Content-Security-Policy"]
    small = sign_in(alice).get(f"/console/attachments/{photo.public_id}?thumbnail=1")
    assert 0 < len(small.data) < photo.byte_size


def test_accepting_and_overriding_a_field_is_stored_and_applied(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket, page: str
) -> None:
    client = sign_in(alice)
    answer = submit(client, f"{page}/triage/priority", at=page, value="urgent", **as_htmx())
    assert answer.status_code == 200
    assert 'id="triage"' in answer.text
    assert 'id="status"' in answer.text
    submit(client, f"{page}/triage/product", at=page)
    with db.read() as session:
        fields = {field.name: field for field in session.scalars(select(TriageField))}
        row = session.get_one(Ticket, ticket.id)
        assert row.priority == "urgent"
        assert fields["priority"].label == "urgent"
        assert fields["priority"].agent_id == alice.principal.agent_id
        assert fields["product"].state is TriageFieldState.ACCEPTED
        assert row.product == "brewmaster-300"


@pytest.mark.parametrize("value", ["broken_vase", "device_fault; drop", "Device fault"])
def test_value_outside_the_taxonomy_is_refused_in_words_and_changes_nothing(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket, page: str, value: str
) -> None:
    before = field_state(db, "category")
    answer = submit(sign_in(alice), f"{page}/triage/category", at=page, value=value, **as_htmx())
    assert answer.status_code == 422
    assert "is not a category. Choose from:" in error_of(answer.text)
    assert "HX-Retarget" not in answer.headers
    assert field_state(db, "category") == before
    assert submit(sign_in(alice), f"{page}/triage/colour", at=page, value="red", **as_htmx()).status_code == 404


def test_ticket_that_goes_to_another_team_leads_back_to_the_queue(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket, page: str
) -> None:
    client = sign_in(alice)
    answer = submit(client, f"{page}/triage/team", at=page, value="orders", **as_htmx())
    assert answer.headers["HX-Redirect"] == "/console/"
    assert "now belongs to another team" in client.get("/console/").text


def test_who_had_a_ticket_open_is_told_where_it_went_and_nobody_else(
    sign_in: SignIn, alice: Persona, bob: Persona, db: Database, ticket: Ticket, page: str
) -> None:
    client, his = sign_in(alice), sign_in(bob)
    submit(client, f"{page}/presence", at=page)
    token = csrf_of(client.get(page).text)
    with db.begin() as session:
        session.get_one(Ticket, ticket.id).team = people.find_team(session, "orders")
    told = f"#{ticket.number} is now with the team Orders and billing, which you do not belong to."
    shown = client.get(f"{page}?place=tab%3Dmine")
    assert shown.status_code == 404
    assert told in shown.text
    assert 'href="/console/?tab=mine"' in shown.text
    assert "Coffee machine" not in shown.text
    there = {**HTMX, "HX-Current-URL": f"http://localhost{page}?place=tab%3Dmine"}
    for answer in (
        client.get(f"{page}/status", headers=there),
        client.post(f"{page}/reply", data={"csrf_token": token, "text": "My long answer"}, headers=there),
    ):
        assert (answer.status_code, told in answer.text, "<html" in answer.text) == (404, True, False)
        assert answer.headers["HX-Retarget"] == "#live", "in the place of the page, not in a corner"
        assert 'href="/console/?tab=mine"' in answer.text
    plain = client.post(f"{page}/reply", data={"csrf_token": token, "text": "My long answer"})
    assert "My long answer" in plain.text, "typed text stays without scripts, too"
    stranger = his.get(page)
    assert (stranger.status_code, "There is no such ticket." in stranger.text) == (404, True)
    assert "Orders" not in stranger.text
    assert client.get(page).status_code == 404


def test_corrected_evidence_is_stored_and_shown_and_the_rest_stays_as_it_was_read(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket, page: str
) -> None:
    client = sign_in(alice)
    form = form_of(client.get(page).text, "evidence/")
    answer = submit(
        client, form.pop("action"), at=page, **{**form, "condition": "damaged", "line-1": "E27"}, **as_htmx()
    )
    assert answer.status_code == 200
    assert "corrected by an agent" in answer.text
    assert "Read as <bdi>E21</bdi>" in answer.text
    with db.read() as session:
        read, row = session.scalars(select(Evidence).order_by(Evidence.id))
        assert (read.state, [line["text"] for line in read.visible_text]) == ("read", ["BrewMaster 300", "E21"])
        assert (row.state, row.corrected_by_id, row.corrects) == ("corrected", alice.principal.agent_id, read)
        assert row.fields["condition"] == {"value": "damaged", "confidence": 1.0, "region": None}
        assert row.fields["product"]["confidence"] < 1
        assert [line["text"] for line in row.visible_text] == ["BrewMaster 300", "E27"]
        assert row.visible_text[1]["region"] is not None
    removed = form_of(client.get(page).text, "evidence/")
    submit(client, removed.pop("action"), at=page, **{**removed, "line-0": ""})
    with db.read() as session:
        newest = session.scalars(select(Evidence).order_by(Evidence.id.desc())).first()
        assert newest is not None
        assert [line["text"] for line in newest.visible_text] == ["E27"]
    assert "Removed: <bdi>BrewMaster 300</bdi>" in client.get(page).text


@pytest.mark.parametrize(
    ("writes", "likes", "language"),
    [((), "de-AT,de;q=0.9,en;q=0.5", "de"), (("fr", "de"), "en, de", "de"), (("fr",), "en", "fr"), ((), "sv", "en")],
)
def test_a_caption_is_told_in_the_language_of_whoever_reads_it(
    sign_in: SignIn, alice: Persona, db: Database, page: str, writes: tuple[str, ...], likes: str, language: str
) -> None:
    with db.begin() as session:
        session.get_one(Agent, alice.principal.agent_id).languages = list(writes)
    html = sign_in(alice).get(page, headers={"Accept-Language": likes}).text
    text = {"de": "Text:", "fr": "texte :", "en": "text:"}[language]
    assert f'<p lang="{language}" dir="ltr"><bdi data-field="product" tabindex="0">BrewMaster 300</bdi>' in html
    assert (
        f'<bdi data-line="0" tabindex="0">{text} BrewMaster 300</bdi> · <bdi data-line="1" tabindex="0">E21</bdi>'
        in html
    )
    assert f'alt="BrewMaster 300 · {text} BrewMaster 300 · E21" lang="{language}"' in html


def test_a_caption_follows_corrections_until_somebody_writes_their_own(
    sign_in: SignIn, alice: Persona, page: str, ticket: Ticket, key: dict[str, str]
) -> None:
    client = sign_in(alice)
    german = {"Accept-Language": "de"}
    form = form_of(client.get(page, headers=german).text, "evidence/")
    path = form.pop("action")
    submit(client, path, at=page, **{**form, "condition": "leaking", "lights": "red"}, **as_htmx())
    assert "BrewMaster 300</bdi> · <bdi>Leck</bdi> · <bdi>Licht: rot</bdi>" in client.get(page, headers=german).text
    form = form_of(client.get(page, headers=german).text, "evidence/")
    submit(client, path, at=page, **{**form, "caption": "Eine Pfütze"}, **as_htmx())
    html = client.get(page, headers=german).text
    assert ">Eine Pfütze</textarea>" in html
    assert "Licht: rot" not in html
    whole = client.get(f"/api/v1/tickets/{ticket.public_id}", headers=key).json
    read = whole["messages"][0]["attachments"][0]["evidence"]
    assert (read["caption"]["value"], read["is_composed"], read["original"]["is_composed"]) == (
        "Eine Pfütze",
        False,
        True,
    )
    assert [one["code"] for one in read["salient"]] == ["product", "condition", "lights", "text", "text"]


def test_correction_of_what_was_read_again_meanwhile_is_refused(
    sign_in: SignIn, alice: Persona, bob: Persona, db: Database, page: str
) -> None:
    seen_by_alice = form_of(sign_in(alice).get(page).text, "evidence/")
    seen_by_bob = dict(seen_by_alice)
    submit(sign_in(bob), seen_by_bob.pop("action"), at=page, **{**seen_by_bob, "line-1": "E27"})
    late = submit(
        sign_in(alice), seen_by_alice.pop("action"), at=page, **{**seen_by_alice, "line-1": "E99"}, **as_htmx()
    )
    assert late.status_code == 409
    assert "read again since you opened it" in error_of(late.text)
    with db.read() as session:
        newest = session.scalars(select(Evidence).order_by(Evidence.id.desc())).first()
        assert newest is not None
        assert newest.visible_text[1]["text"] == "E27"


def test_photo_of_another_ticket_cannot_be_corrected_through_this_one(
    sign_in: SignIn, dora: Persona, desk: Desk, page: str
) -> None:
    other = make_ticket(desk, uploads=[make_upload("other.jpg")])
    worker.run_until_idle(desk)
    path = f"{page}/evidence/{photo_of(desk.db, other).public_id}"
    assert submit(sign_in(dora), path, at=page, caption="mine", **as_htmx()).status_code == 404


# Answering


def test_draft_is_sent_as_it_is_with_its_citations(
    sign_in: SignIn, alice: Persona, db: Database, draft: Draft, page: str
) -> None:
    answer = submit(sign_in(alice), f"{page}/drafts/{draft.public_id}/send", at=page, text=draft.text, **as_htmx())
    assert answer.status_code == 200
    for panel in ("draft", "thread", "status"):
        assert f'<section id="{panel}"' in answer.text
    with db.read() as session:
        row = session.get_one(Draft, draft.id)
        message = session.get_one(Message, row.message_id)
        assert (row.status, message.text) == (DraftStatus.SENT, draft.text)
        assert message.citations
        assert message.agent_id == alice.principal.agent_id


def test_edited_draft_is_stored_as_edited_and_sent_as_edited(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket, draft: Draft, page: str
) -> None:
    edited = f"Dear Maria,\r\n\r\n{draft.text}\r\nKind regards"
    response = submit(sign_in(alice), f"{page}/drafts/{draft.public_id}/send", at=page, text=edited)
    assert (response.status_code, response.location) == (302, page)
    with db.read() as session:
        row = session.get_one(Draft, draft.id)
        message = session.get_one(Message, row.message_id)
        assert row.status is DraftStatus.EDITED
        assert message.text == row.sent_text == edited.replace("\r\n", "\n")
        assert message.visibility is MessageVisibility.PUBLIC
        assert message.citations  # of the sentences that were left as they were
        ticket_row = session.get_one(Ticket, ticket.id)
        assert (ticket_row.status, ticket_row.agent_id) == (TicketStatus.PENDING, alice.principal.agent_id)


def test_discarded_draft_leaves_the_reply_box(
    sign_in: SignIn, alice: Persona, db: Database, draft: Draft, page: str
) -> None:
    client = sign_in(alice)
    answer = submit(client, f"{page}/drafts/{draft.public_id}/discard", at=page, **as_htmx())
    assert 'id="reply-text"' in answer.text
    assert "draft-text-" not in answer.text
    with db.read() as session:
        assert session.get_one(Draft, draft.id).status is DraftStatus.DISCARDED


def test_reason_is_said_where_there_is_no_draft(sign_in: SignIn, alice: Persona, desk: Desk, page: str) -> None:
    lost = make_ticket(desk, "Do you sponsor sailing clubs?", subject="Sailing")
    worker.run_until_idle(desk)
    html = sign_in(alice).get(f"/console/tickets/{lost.public_id}").text
    assert "No article answers this." in html
    assert 'id="reply-text"' in html


def test_draft_that_a_colleague_has_sent_is_not_sent_again_and_the_text_is_kept(
    sign_in: SignIn, alice: Persona, bob: Persona, db: Database, draft: Draft, ticket: Ticket, page: str
) -> None:
    send = f"{page}/drafts/{draft.public_id}/send"
    submit(sign_in(bob), send, at=page, text=draft.text)
    late = submit(sign_in(alice), send, at=page, text="My own careful words", **as_htmx())
    assert late.status_code == 409
    assert "already been sent" in error_of(late.text)
    assert "My own careful words" in textarea_of(late.text, "reply-text")
    with db.read() as session:
        texts = [message.text for message in conversations.all_messages(session, ticket.conversation_id)]
    assert "My own careful words" not in texts
    assert texts.count(draft.text) == 1


def test_pressing_send_twice_sends_once_and_says_nothing_is_wrong(
    sign_in: SignIn, alice: Persona, db: Database, draft: Draft, ticket: Ticket, page: str
) -> None:
    client = sign_in(alice)
    for _ in range(2):
        answer = submit(client, f"{page}/drafts/{draft.public_id}/send", at=page, text="The same words", **as_htmx())
        assert (answer.status_code, error_of(answer.text)) == (200, "")
    with db.read() as session:
        texts = [message.text for message in conversations.all_messages(session, ticket.conversation_id)]
    assert texts.count("The same words") == 1


@pytest.mark.parametrize("action", ["take-over", "reply", "drafts/{draft}/send"])
def test_one_who_did_not_see_that_a_colleague_took_over_is_told_first(
    sign_in: SignIn, alice: Persona, bob: Persona, db: Database, ticket: Ticket, draft: Draft, page: str, action: str
) -> None:
    path = f"{page}/{action.format(draft=draft.public_id)}"
    submit(sign_in(bob), f"{page}/take-over", at=page, taken_by="")
    client = sign_in(alice)
    late = submit(client, path, at=page, text="Hello from Alice", taken_by="", **as_htmx())
    assert late.status_code == 409
    assert "Bob has taken over this conversation" in error_of(late.text)
    if action != "take-over":
        assert "Hello from Alice" in late.text
    with db.read() as session:
        assert session.get_one(Ticket, ticket.id).agent_id == bob.principal.agent_id
        assert len(conversations.all_messages(session, ticket.conversation_id)) == 1
    # The answer shows that Bob has it: done again, it counts.
    assert f'name="taken_by" value="{bob.public_id}"' in late.text
    again = submit(client, path, at=page, text="Hello from Alice", taken_by=bob.public_id, **as_htmx())
    assert again.status_code == 200
    with db.read() as session:
        assert session.get_one(Ticket, ticket.id).agent_id == alice.principal.agent_id


def test_taking_over_drops_what_the_assistant_was_writing(sign_in: SignIn, alice: Persona, desk: Desk) -> None:
    conversation = make_conversation(desk, name="Maria")
    customer = CustomerPrincipal(conversation.id)
    conversations.post_message(desk, customer, text="My machine shows E21", uploads=[], client_id=None)
    with desk.db.read() as session:
        opened = session.scalars(select(Ticket).where(Ticket.conversation_id == conversation.id)).one()
        turn = session.get_one(Conversation, conversation.id).turn
    page = f"/console/tickets/{opened.public_id}"
    assert submit(sign_in(alice), f"{page}/take-over", at=page, **as_htmx()).status_code == 200
    worker.run_until_idle(desk)  # the answer that was due: a draft for Alice now
    with desk.db.read() as session:
        row = session.get_one(Conversation, conversation.id)
        assert (row.state, row.agent_id) == (ConversationState.AGENT, alice.principal.agent_id)
        assert row.turn > turn
        said = conversations.public_messages(session, conversation.id)
        assert [message.author.value for message in said] == ["customer"]
        assert session.scalar(select(Draft).where(Draft.ticket_id == opened.id)) is not None


def test_empty_reply_is_refused_in_words(sign_in: SignIn, alice: Persona, page: str) -> None:
    for refused in ("", "   \n "):
        answer = submit(sign_in(alice), f"{page}/reply", at=page, text=refused, **as_htmx())
        assert (answer.status_code, error_of(answer.text)) == (422, "The reply is empty.")


def test_a_draft_is_withdrawn_by_ones_own_reply_by_solving_and_by_the_next_question(
    sign_in: SignIn, alice: Persona, desk: Desk, ticket: Ticket, draft: Draft, page: str
) -> None:
    client = sign_in(alice)
    assert f"draft-text-{draft.public_id}" in client.get(page).text

    def status_of(latest: Draft) -> tuple[DraftStatus, bool]:
        shown = client.get(f"{page}/draft", headers=HTMX).text
        with desk.db.read() as session:
            return session.get_one(Draft, latest.id).status, "draft-text-" in shown

    def newest() -> Draft:
        with desk.db.read() as session:
            return session.scalars(select(Draft).where(Draft.ticket_id == ticket.id).order_by(Draft.id.desc())).first()

    def ask() -> None:
        customer = CustomerPrincipal(ticket.conversation_id)
        text = "It is a BrewMaster 300: what does E21 mean?"
        conversations.post_message(desk, customer, text=text, uploads=[], client_id=None)

    submit(client, f"{page}/reply", at=page, text="I will call you.")
    assert status_of(draft) == (DraftStatus.WITHDRAWN, False)
    ask()
    worker.run_until_idle(desk)
    second = newest()
    assert status_of(second) == (DraftStatus.PROPOSED, True)
    ask()
    assert status_of(second) == (DraftStatus.WITHDRAWN, False)
    worker.run_until_idle(desk)
    third = newest()
    assert status_of(third) == (DraftStatus.PROPOSED, True)
    submit(client, f"{page}/solve", at=page)
    assert status_of(third) == (DraftStatus.WITHDRAWN, False)


def test_a_reply_can_solve_the_ticket(sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket, page: str) -> None:
    refused = submit(sign_in(alice), f"{page}/reply", at=page, text="Bye.", then="gone", **as_htmx())
    assert (refused.status_code, "Bye." in textarea_of(refused.text, "reply-text")) == (422, True)
    submit(sign_in(alice), f"{page}/reply", at=page, text="Glad to help.", then="solved")
    with db.read() as session:
        assert session.get_one(Ticket, ticket.id).status is TicketStatus.SOLVED
        said = conversations.all_messages(session, ticket.conversation_id)
        assert [message.text for message in said[1:]] == ["Glad to help."]


def test_a_long_conversation_is_shown_from_its_end_and_its_beginning_is_loaded(
    sign_in: SignIn, alice: Persona, desk: Desk, ticket: Ticket, page: str
) -> None:
    with desk.db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        for number in range(60):
            drafts.add_note(session, alice.principal, row, f"Note {number}.")
    client = sign_in(alice)

    def shown(path: str) -> list[str]:
        return re.findall(r'<div class="text" dir="auto"[^>]*>(Note \d+)\.</div>', client.get(path, headers=HTMX).text)

    first = shown(page)
    assert first == [f"Note {number}" for number in range(60 - console_panels.SHOWN, 60)]
    more = re.search(r'hx-get="([^"]*before=(\w+))"', client.get(page).text)
    assert more is not None
    assert shown(more.group(1)) + first == [f"Note {number}" for number in range(60 - 2 * console_panels.SHOWN, 60)]
    assert shown(f"{page}/thread?from={more.group(2)}") == first  # a renewal keeps what was loaded
    assert len(shown(f"{page}?shown=200")) == 60
    for nonsense in ("from=msg_nonsense", "before=msg_nonsense", "shown=many", "shown=-1"):
        assert client.get(f"{page}/thread?{nonsense}").status_code == 200, nonsense


def test_a_panel_asks_for_what_it_shows_alone(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket, page: str
) -> None:
    client = sign_in(alice)
    client.get(page)
    with db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        for number in range(60):
            drafts.add_note(session, alice.principal, row, f"Note {number}.")
    asked = {}
    for panel in console_panels.PANELS:
        with counted(db) as statements:
            assert client.get(f"{page}/{panel}", headers=HTMX).status_code == 200
        asked[panel] = len(statements)
        about_photos = [one for one in statements if "FROM evidence" in one or "FROM attachments" in one]
        assert panel in ("thread", "similar") or len(about_photos) <= 1, (panel, about_photos)
    assert max(asked.values()) <= 21, asked


def test_status_and_assignment_are_set_and_a_solved_ticket_reopens(
    sign_in: SignIn, alice: Persona, bob: Persona, db: Database, ticket: Ticket, page: str
) -> None:
    client = sign_in(alice)

    def state() -> tuple[str, int | None]:
        with db.read() as session:
            row = session.get_one(Ticket, ticket.id)
            return row.status.value, row.agent_id

    submit(client, f"{page}/set-status", at=page, status="on_hold")
    submit(client, f"{page}/assign", at=page, agent=bob.public_id)
    assert state() == ("on_hold", bob.principal.agent_id)
    submit(client, f"{page}/assign", at=page, agent="")
    submit(client, f"{page}/solve", at=page)
    assert state() == ("solved", alice.principal.agent_id)
    late = submit(client, f"{page}/set-status", at=page, status="pending", **as_htmx())
    assert (late.status_code, "already been solved" in error_of(late.text)) == (409, True)
    submit(client, f"{page}/solve", at=page)
    submit(client, f"{page}/reopen", at=page)
    assert state() == ("open", alice.principal.agent_id)
    for refused in ({"status": "closed"}, {"status": "nonsense"}):
        assert submit(client, f"{page}/set-status", at=page, **refused, **as_htmx()).status_code == 422
    assert submit(client, f"{page}/assign", at=page, agent="agt_nobody", **as_htmx()).status_code == 404
    assert state() == ("open", alice.principal.agent_id)


def test_without_scripts_a_refusal_is_the_page_with_message_and_text(
    sign_in: SignIn, alice: Persona, bob: Persona, draft: Draft, page: str
) -> None:
    submit(sign_in(bob), f"{page}/drafts/{draft.public_id}/discard", at=page)
    late = submit(sign_in(alice), f"{page}/drafts/{draft.public_id}/send", at=page, text="Kept words")
    assert late.status_code == 409
    assert "<!doctype html>" in late.text
    assert "already been discarded" in error_of(late.text)
    assert "Kept words" in textarea_of(late.text, "reply-text")


def test_other_tickets_of_a_customer_are_offered_but_only_those_one_may_see(
    sign_in: SignIn, alice: Persona, desk: Desk, page: str
) -> None:
    mine = {"requester_email": "maria@example.org", "requester_name": "Maria Keller"}
    make_ticket(desk, "hello", subject="An older question", team="technical", **mine)
    make_ticket(desk, "hello", subject="About an invoice", team="orders", **mine)
    make_customer(desk.db, name="Maria Keller", email="another@example.org")
    html = sign_in(alice).get(page).text
    assert "An older question" in html
    assert "About an invoice" not in html


def test_tags_are_put_on_and_taken_off_and_a_bad_one_is_refused(
    sign_in: SignIn, alice: Persona, db: Database, ticket: Ticket, page: str
) -> None:
    client = sign_in(alice)
    for name in ("Refund", "refund", "<b>VIP</b>"):
        assert submit(client, f"{page}/tags", at=page, tag=name, **as_htmx()).status_code == 200
    html = client.get(f"{page}/status", headers=HTMX).text
    assert re.findall(r'<bdi>([^<]*)</bdi><button name="remove"', html) == ["&lt;b&gt;VIP&lt;/b&gt;", "Refund"]
    assert submit(client, f"{page}/tags", at=page, remove="Refund", **as_htmx()).status_code == 200
    refused = submit(client, f"{page}/tags", at=page, tag=" ", **as_htmx())
    assert (refused.status_code, "needs a name" in error_of(refused.text)) == (422, True)
    with db.read() as session:
        assert [tag.name for tag in session.get_one(Ticket, ticket.id).tags] == ["<b>VIP</b>"]


# Articles


def test_articles_are_found_with_scores_and_reasons_and_internal_ones_are_marked(
    sign_in: SignIn, alice: Persona, desk: Desk, tmp_path: Path
) -> None:
    internal = "---\nvisibility: internal\n---\n# Goodwill\n\nFor E21 within three years we pay the repair.\n"
    client = sign_in(alice)
    assert "No results." in client.get("/console/knowledge?q=E21").text
    make_articles(desk, tmp_path / "kb", {"goodwill.md": internal})
    html = client.get("/console/knowledge?q=E21+repair").text
    assert "Internal: never shown to customers" in html
    assert "<mark>E21</mark>" in html
    assert "<mark>repair</mark>" in html
    assert "similarity 0." in html
    assert client.get("/console/knowledge?q=%00").status_code == 200


# What every page keeps to


def test_no_page_has_anything_inline_and_every_page_is_under_the_policy(
    sign_in: SignIn, client: FlaskClient, alice: Persona, desk: Desk, ticket: Ticket, page: str
) -> None:
    signed_in = sign_in(alice)
    pages = [signed_in.get(path) for path in ("/console/?tab=all", "/console/rows", page, "/console/password")]
    pages += [signed_in.get(f"{page}/{panel}", headers=HTMX) for panel in console_panels.PANELS]
    pages += [signed_in.get("/console/knowledge?q=E21"), signed_in.get("/console/tickets/tck_" + "0" * 20)]
    pages += [client.get("/console/sign-in"), signed_in.get("/console/nonsense")]
    pages += [submit(signed_in, f"{page}/triage/category", at=page, value="nonsense")]
    for response in pages:
        policy = response.headers["Content-Security-Policy"]
        nonce = re.search(r"script-src 'self' 'nonce-([\w-]+)'", policy)
        assert nonce is not None
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers.get("Cache-Control") == "no-store"
        tags = re.findall(r"<[a-zA-Z][^>]*>", response.text)
        for tag in tags:
            assert not re.search(r"""\s(on\w+|style|hx-on\S*)\s*=""", tag), tag
            assert "javascript:" not in tag
            assert "[" not in "".join(re.findall(r'hx-trigger="([^"]*)"', tag)), f"{tag} needs eval"
            if re.search(r"\shx-(get|post)=", tag):
                assert f'hx-nonce="{nonce.group(1)}"' in tag
            if tag.startswith("<script"):
                assert f'nonce="{nonce.group(1)}"' in tag
                assert re.search(r'\ssrc="/static/\w{16}/(vendor|console)/', tag)
        assert "<style" not in response.text


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", '<b hx-get="/console/">']
)
def test_what_customers_write_is_text_everywhere(
    sign_in: SignIn, alice: Persona, make_runtime: Callable[..., Runtime], make_app: Callable[..., Any], text: str
) -> None:
    runtime = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR(text)))
    opened = make_ticket(
        runtime.desk, f"{text} E21", subject=text, requester_name=text, uploads=[make_upload(f"{text}.jpg")]
    )
    worker.run_until_idle(runtime.desk)
    client = signed_in_client(make_app(runtime), runtime.desk.db, alice)
    for path in ("/console/?tab=all", f"/console/tickets/{opened.public_id}", f"/console/knowledge?q={text}"):
        html = client.get(path).text
        assert text not in html or text == "{{ 7 * 7 }}"
        assert ">49<" not in html


def test_htmx_is_the_version_its_readme_says() -> None:
    lines = re.findall(r"^ {4}(\w{64})  (\S+)$", (VENDOR / "README.md").read_text(), re.MULTILINE)
    assert {name for _, name in lines} == {path.name for path in VENDOR.glob("*.js")}
    for digest, name in lines:
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
    assert b'version="4.0.1"' in (VENDOR / "htmx.min.js").read_bytes()


def test_cited_text_is_the_text_again_with_each_source_numbered_once() -> None:
    def citation(index: int, sentence: str, quote: str) -> dict[str, Any]:
        where = {"article_id": "art_1", "article_title": "Errors", "heading": "E21", "url": "javascript:alert(1)"}
        return {"sentence_index": index, "sentence": sentence, "quote": quote, "support": 0.9, **where}

    text = "Hello.\n\nFill the tank. Press start. Bye."
    found = [
        citation(1, "Press start.", "b"),
        citation(0, "Fill the tank.", "a"),
        citation(1, "Press start.", "a"),
        citation(2, "No longer there.", "c"),
    ]
    parts = console_words.cited(text, found)
    assert "".join(segment.text for segment in parts.segments) == text
    numbered = {segment.text: [source.number for source in segment.sources] for segment in parts.segments}
    assert numbered == {"Hello.\n\n": [], "Fill the tank.": [1], " ": [], "Press start.": [2, 1], " Bye.": []}
    assert [(source.number, source.quote) for source in parts.sources] == [(1, "a"), (2, "b"), (3, "c")]
    assert {source.url for source in parts.sources} == {None}
    assert all(segment.head + segment.last_word == segment.text for segment in parts.segments)
    row = console_words.cited("E21.", [citation(0, "E21.", "| Code | Meaning |\n|---|---|\n| E21 | **Pump** |")])
    assert row.sources[0].table == (["Code", "Meaning"], ["E21", "Pump"])
    assert parts.sources[0].table == ()


@pytest.mark.parametrize("path", ["", "/help"])
def test_the_bare_address_leads_to_the_console(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask], path: str
) -> None:
    given = {"public_url": f"https://shop.example{path}", "trusted_proxies": ("127.0.0.1",)}
    assert make_app(make_runtime(**given)).test_client().get(f"{path}/").location == f"{path}/console/"


# What the tests look with


def csrf_of(html: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', html)
    assert found is not None, html[:300]
    return found.group(1)


def as_htmx() -> dict[str, Any]:
    return {"headers": HTMX}


def submit(
    client: FlaskClient,
    path: str,
    *,
    at: str | None = None,
    headers: dict[str, str] | None = None,
    query: dict[str, str] | None = None,
    **fields: Any,
) -> Any:
    """Send a form as the page ``at`` (by default the one it is sent to) would, with its CSRF token."""
    token = csrf_of(client.get(at or path).text)
    return client.post(path, data={**fields, "csrf_token": token}, headers=headers, query_string=query)


def photo_of(db: Database, ticket: Ticket) -> Attachment:
    with db.read() as session:
        query = select(Attachment).join(Attachment.message).where(Message.conversation_id == ticket.conversation_id)
        return session.scalars(query).one()


def field_state(db: Database, name: str) -> tuple[str, str | None, str]:
    with db.read() as session:
        field = session.scalars(select(TriageField).where(TriageField.name == name)).one()
        row = session.get_one(Ticket, field.result.ticket_id)
        return field.state.value, field.corrected_value, str(getattr(row, name))


def counts_of(html: str) -> dict[str, int]:
    found = re.findall(r'<a id="tab-[^>]*>([^<]*?) <span class="count">(\d+)</span>', html)
    return {name: int(count) for name, count in found}


def select_of(html: str, element_id: str) -> str:
    return html.split(f'<select id="{element_id}"')[1].split("</select>", maxsplit=1)[0]


def textarea_of(html: str, element_id: str) -> str:
    return html.split(f'<textarea id="{element_id}"')[1].split(">", 1)[1].split("</textarea>", maxsplit=1)[0]


def error_of(html: str) -> str:
    found = re.search(r'<p class="error" role="alert">([^<]*)</p>', html)
    return found.group(1).replace("&#39;", "'") if found is not None else ""


def form_of(html: str, action: str) -> dict[str, str]:
    """What a browser would send of the first form whose action contains ``action``."""
    form = next(part for part in html.split("<form ")[1:] if action in part.split(">")[0]).split("</form>")[0]
    values = dict(re.findall(r'<input (?!type="checkbox")[^>]*?name="([^"]+)" value="([^"]*)"', form))
    values |= dict(re.findall(r'<textarea [^>]*?name="([^"]+)"[^>]*>([^<]*)</textarea>', form))
    for name, options in re.findall(r'<select [^>]*?name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        values[name] = re.findall(r'<option value="([^"]*)" selected', options)[0]
    values.pop("csrf_token")
    found = re.search(r'action="([^"]+)"', form)
    assert found is not None
    return {**values, "action": found.group(1)}


def first_frames(client: FlaskClient, path: str, *, until: str) -> str:
    response = client.get(path, buffered=False)
    read = ""
    for frame in response.iter_encoded():
        read += frame.decode()
        if until in read:
            break
    response.close()
    return read


@contextmanager
def counted(db: Database) -> Iterator[list[str]]:
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(db.engine, "before_cursor_execute", count)
    try:
        yield statements
    finally:
        event.remove(db.engine, "before_cursor_execute", count)
