"""Who may do what: every route of the application, asked by every kind of caller, about things that exist."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import select, update
from werkzeug.routing import Rule

from assistant.db import Database, utcnow
from assistant.desk import agent_sessions, people
from assistant.desk.access import Scope
from assistant.models import AgentRole, APIKey, Attachment, Draft, Message, Ticket, WidgetSession
from assistant.runtime import Runtime
from assistant.worker import run_until_idle
from tests.factories import Browser, Persona, bearer, make_agent, make_articles, make_key, make_photo, signed_in_client

# What each route of the API needs; `console_roles` says the same of the console, and is not asked here.
SCOPES = {
    Scope.TICKETS_READ: (
        "list_tickets", "get_ticket", "get_triage", "get_similar", "list_drafts", "get_draft", "get_attachment",
        "get_product_photo", "list_fields", "list_events", "stream_events", "list_customers", "get_customer",
        "list_agents", "list_teams", "list_inboxes", "list_tags", "list_photo_questions", "compare_photos",
        "compare_with_reference", "list_macros", "get_macro",
    ),
    Scope.TICKETS_WRITE: (
        "open_ticket", "update_ticket", "add_message", "give_back", "triage_ticket", "decide_triage_field",
        "send_draft", "discard_draft", "correct_evidence", "add_note", "decide_triage_fields",
        "correct_all_evidence", "apply_macro", "ask_photo",
    ),
    Scope.TRIAGE: ("assess_ticket", "get_taxonomy", "add_batch", "get_batch", "list_batch_results", "remove_batch"),
    Scope.KNOWLEDGE_READ: ("search_articles", "get_figure", "list_articles", "get_article"),
    Scope.KNOWLEDGE_WRITE: (
        "list_written_articles", "write_article", "get_written_article", "update_written_article",
        "publish_written_article", "withdraw_written_article", "remove_written_article",
    ),
    Scope.WEBHOOKS: (
        "list_webhooks", "add_webhook", "get_webhook", "update_webhook", "remove_webhook", "rotate_webhook_secret",
        "list_webhook_deliveries", "replay_webhook_delivery",
    ),
    Scope.KEYS: ("list_keys", "add_key", "get_managed_key", "update_key", "rotate_key", "revoke_key"),
    Scope.SETTINGS: (
        "list_taxonomy_versions", "get_taxonomy_version", "restore_taxonomy_version", "get_taxonomy_draft",
        "put_taxonomy_draft", "discard_taxonomy_draft", "publish_taxonomy_draft", "try_taxonomy_draft",
        "get_taxonomy_overlap", "list_heads", "roll_back_head", "serve_head",
    ),
}  # fmt: skip
SCOPE_OF = {f"api.{endpoint}": scope for scope, endpoints in SCOPES.items() for endpoint in endpoints}
UPLOADING = ("api.upload_attachments", "api.remove_attachment")  # what a ticket or a triage is made with
ANY_KEY = {"api.get_key"}
# Pages and files that anybody may ask for, and the doors at which one says who one is.
OPEN = {
    "start",
    "static", "api.openapi", "api.docs", "embedding.get_loader", "embedding.get_shell", "embedding.get_types",
    "embedding.show_documentation", "embedding.get_pinned", "widget.show_widget", "widget.get_logo",
    "widget.get_picture", "widget.get_words", "widget.show_demo", "widget.get_figure", "widget.get_document",
    "widget.sessions.open_session", "widget.help.search_articles", "widget.help.get_article", "mails.ask",
    "mails.unsubscribe", "health.livez", "health.readyz", "console.sign_in", "console.sign_in_oidc", "console.join",
    "console.setup.first_admin",
    "metrics.metrics",  # of this machine: see test_health
}  # fmt: skip
# Whoever has not taken the first step is led to it.
SECOND_STEPS = ("console.sign_in_code", "console.sign_in_oidc_done")
# Of the console: what needs an admin, by the beginning of an endpoint's name. All else that changes something is for
# anybody but viewers.
ADMINS_ONLY = ("console.admin.", "console.customers.erase", "console.customers.export")
ADMINS_CHANGE = (
    "console.knowledge.add_", "console.knowledge.sync_", "console.knowledge.set_", "console.knowledge.remove_",
)  # fmt: skip
LEADS_ONLY = (
    "console.reports.agents", "console.reports.outbreaks", "console.customers.merge", "console.customers.undo_merge",
    "console.articles.publish", "console.articles.withdraw", "console.articles.remove",
)  # fmt: skip
FOR_ALL = (
    "console.sign_in", "console.sign_in_code", "console.join", "console.setup.first_admin", "console.sign_out",
    "console.password", "console.end_sessions", "console.second_factor.begin", "console.second_factor.confirm",
    "console.second_factor.renew_codes", "console.second_factor.turn_off",
)  # fmt: skip
# Where 401 and the sign-in page say something else: that a password is wrong, that one has signed out.
DOORS = ("console.sign_in", "console.password", "console.sign_out", "console.end_sessions")
# Of one ticket: only for those who may see it.
OF_A_TICKET = ("console.ticket.", "console.drafts.", "console.related.", "console.attachment")
# After these the caller has no session any more.
LAST = ("widget.sessions.end_session", "widget.sessions.renew_token")
REFUSED, HIDDEN = (401, 403), (401, 403, 404)


@dataclass
class World:
    """A customer's ticket of the team `technical`, with a photo and a draft. ``ids``: values of routes' arguments."""

    app: APIFlask
    db: Database
    ids: dict[str, str]
    widget: Browser


@pytest.fixture
def world(runtime: Runtime, make_app: Callable[..., APIFlask], tmp_path: Any) -> World:
    app, db = make_app(runtime), runtime.desk.db
    app.config["WTF_CSRF_ENABLED"] = False  # that is not what decides here
    make_articles(runtime.desk, tmp_path / "articles")
    make_agent(db, "boss", admin=True)
    widget = Browser(app.test_client())
    widget.say("My coffee machine shows E21", ("photo.jpg", make_photo("E21")))
    widget.client.post(f"{widget.path}/handoff", headers=widget.headers, json={})
    run_until_idle(runtime.desk)
    with db.begin() as session:
        ticket = session.scalars(select(Ticket)).one()
        ticket.team = people.find_team(session, "technical")
        ids = {
            "ticket_id": ticket.public_id,
            "conversation_id": widget.conversation,
            "attachment_id": session.scalars(select(Attachment.public_id)).one(),
            "public_id": session.scalars(select(Attachment.public_id)).one(),
            "message_id": session.scalars(select(Message.public_id).order_by(Message.id)).first() or "",
            "draft_id": session.scalars(select(Draft.public_id)).first() or "drf_" + "a" * 20,
        }
    return World(app, db, ids, widget)


def url_of(world: World, rule: Rule) -> str:
    """With ids of what exists where there is one; else of what does not: who may is told so."""
    fixed = {"number": "1", "name": "thread", "field": "category", "kind": "loader", "digest": "0" * 16}
    fixed |= {"inbox_key": "nonsense", "team_key": "nonsense", "field_key": "nonsense", "filename": "x", "sha256": "0"}
    fixed |= {"version": "0" * 16}  # of scripts; of categories, the file's
    values = {name: world.ids.get(name) or fixed.get(name, "tck_" + "a" * 20) for name in rule.arguments}
    return world.app.url_map.bind("localhost").build(rule.endpoint, values)


def agent(world: World, role: AgentRole, team: str | None) -> Persona:
    return make_agent(world.db, "one", team=team, role=role)


def who_has_left(world: World) -> FlaskClient:
    persona = agent(world, AgentRole.ADMIN, "technical")
    client = signed_in_client(world.app, world.db, persona)
    with world.db.begin() as session:
        people.deactivate_agent(session, people.colleague(session, persona.email))
    return client


def whose_session_was_ended(world: World) -> FlaskClient:
    persona = agent(world, AgentRole.ADMIN, "technical")
    client = signed_in_client(world.app, world.db, persona)
    with world.db.begin() as session:
        agent_sessions.end(session, persona.principal.agent_id)
    return client


def with_headers(world: World, headers: Mapping[str, str]) -> FlaskClient:
    client = world.app.test_client()
    for name, value in headers.items():
        client.environ_base["HTTP_" + name.upper().replace("-", "_")] = value
    return client


def revoked_key(world: World) -> FlaskClient:
    secret = make_key(world.db)
    with world.db.begin() as session:
        session.execute(update(APIKey).values(revoked_at=utcnow()))
    return with_headers(world, bearer(secret))


def expired_key(world: World) -> FlaskClient:
    secret = make_key(world.db)
    with world.db.begin() as session:
        session.execute(update(APIKey).values(expires_at=utcnow()))
    return with_headers(world, bearer(secret))


def expired_visitor(world: World) -> FlaskClient:
    with world.db.begin() as session:
        session.execute(update(WidgetSession).values(expires_at=utcnow()))
    return with_headers(world, world.widget.headers)


def another_visitor(world: World) -> FlaskClient:
    other = Browser(world.app.test_client())
    other.say("Where is my parcel?")
    return with_headers(world, other.headers)


CALLERS: dict[str, Callable[[World], FlaskClient]] = {
    "anonymous": lambda world: world.app.test_client(),
    "customer": lambda world: with_headers(world, world.widget.headers),
    "another customer": another_visitor,
    "customer whose session is over": expired_visitor,
    **{
        f"key for {scope}": lambda world, scope=scope: with_headers(world, bearer(make_key(world.db, scope)))  # type: ignore[misc]
        for scope in Scope
    },
    "revoked key": revoked_key,
    "expired key": expired_key,
    **{
        f"{role} of the team": lambda world, role=role: signed_in_client(
            world.app, world.db, agent(world, role, "technical")
        )  # type: ignore[misc]
        for role in AgentRole
    },
    **{
        f"{role} of another team": lambda world, role=role: signed_in_client(
            world.app, world.db, agent(world, role, "orders")
        )  # type: ignore[misc]
        for role in (AgentRole.VIEWER, AgentRole.AGENT, AgentRole.LEAD)
    },
    "admin who has left": who_has_left,
    "admin whose session was ended": whose_session_was_ended,
}


def refusals(caller: str, rule: Rule, method: str) -> tuple[int, ...]:
    """The statuses of which one must come; none if the caller may."""
    endpoint = rule.endpoint
    if endpoint in OPEN:
        return ()
    if endpoint in SCOPE_OF:
        return () if caller == f"key for {SCOPE_OF[endpoint]}" else REFUSED
    if endpoint in UPLOADING:
        return () if caller in (f"key for {Scope.TICKETS_WRITE}", f"key for {Scope.TRIAGE}") else REFUSED
    if endpoint in ANY_KEY:
        return () if caller.startswith("key for ") else REFUSED
    if endpoint.startswith("widget."):
        return _of_a_visitor(caller, rule)
    assert endpoint.startswith("console."), f"{endpoint} is in none of the tables here"
    return _of_an_agent(caller, endpoint, method)


def _of_an_agent(caller: str, endpoint: str, method: str) -> tuple[int, ...]:
    role, _, team = caller.partition(" of ")
    if not team or endpoint in SECOND_STEPS:
        return REFUSED
    if not may(AgentRole(role), endpoint, method):
        return REFUSED
    sees = team == "the team" or role in ("lead", "admin")
    return HIDDEN if endpoint.startswith(OF_A_TICKET) and not sees else ()


def may(role: AgentRole, endpoint: str, method: str) -> bool:
    if endpoint in LEADS_ONLY:
        return role in (AgentRole.LEAD, AgentRole.ADMIN)
    if endpoint.startswith(ADMINS_ONLY) or (method == "POST" and endpoint.startswith(ADMINS_CHANGE)):
        return role is AgentRole.ADMIN
    return method == "GET" or endpoint in FOR_ALL or role is not AgentRole.VIEWER


def _of_a_visitor(caller: str, rule: Rule) -> tuple[int, ...]:
    if caller == "customer":
        return ()
    if caller == "another customer":
        return HIDDEN if "conversation_id" in rule.arguments else ()
    return REFUSED


@pytest.mark.parametrize("caller", CALLERS)
def test_every_route_lets_in_those_who_may_and_nobody_else(world: World, caller: str) -> None:
    client, wrong, tried = CALLERS[caller](world), [], 0
    for rule in sorted(world.app.url_map.iter_rules(), key=lambda rule: rule.endpoint in LAST):
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            if rule.endpoint in DOORS and method == "POST":
                continue
            status = ask(client, method, url_of(world, rule))
            expected = refusals(caller, rule, method)
            if (status in expected) if expected else (status not in REFUSED):
                tried += 1
            else:
                wrong.append((rule.endpoint, method, status, expected or "let in"))
    assert wrong == []
    assert tried > 200


def ask(client: FlaskClient, method: str, url: str) -> int:
    """The status; 401 for being led to the sign-in page."""
    body = {"data": io.BytesIO(b"{}"), "content_type": "application/json"} if method != "GET" else {}
    response = client.open(url, method=method, **body)
    location = response.headers.get("Location", "")
    response.close()
    return 401 if response.status_code in (302, 303) and "/console/sign-in" in location else response.status_code
