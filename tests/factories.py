"""Plain functions that make what tests begin with. What they make is real: rows through services, files that decode."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from PIL import Image, ImageDraw
from sqlalchemy import insert, select
from werkzeug.test import TestResponse

from assistant.db import Database, new_public_id, utcnow
from assistant.desk import agent_sessions, api_keys, credentials, inboxes, people, state, tickets
from assistant.desk.access import AgentPrincipal, MachinePrincipal, Scope
from assistant.desk.desk import Desk
from assistant.desk.tickets import NewTicket
from assistant.knowledge import embedding, sources
from assistant.knowledge.imports import import_folder
from assistant.knowledge.indexing import calibrate, embed_headings, embed_units
from assistant.media.files import Upload
from assistant.models import (
    DEFAULT_INBOX,
    Agent,
    AgentRole,
    Article,
    Conversation,
    ConversationState,
    Customer,
    Figure,
    Inbox,
    SourceKind,
    Team,
    Ticket,
)

PASSWORD = "correct horse battery"
EVERY_SCOPE = tuple(Scope)

BREWMASTER = """\
---
product: brewmaster-300
---
# BrewMaster 300: error codes

## E21: the pump draws no water

Error E21 means that the pump draws no water from the tank. Fill the tank to the mark, push it down until it clicks, and
press the start button for three seconds.
"""


@dataclass(frozen=True)
class Persona:
    """An agent who can sign in with `PASSWORD`."""

    email: str
    principal: AgentPrincipal

    @property
    def public_id(self) -> str:
        return self.principal.public_id


def make_agent(
    db: Database, name: str, *, team: str | None = None, admin: bool = False, role: AgentRole = AgentRole.AGENT
) -> Persona:
    """``team``: the key of one of the sample's teams."""
    with db.begin() as session:
        agent = Agent(
            email=f"{name}@example.org",
            name=name.title(),
            password_hash=_password_hash(),
            role=AgentRole.ADMIN if admin else role,
            team=people.find_team(session, team) if team else None,
        )
        session.add(agent)
        session.flush()
        return Persona(agent.email, AgentPrincipal.of(agent))


def signed_in_client(app: Flask, db: Database, agent: Persona) -> FlaskClient:
    """A client with a session of the agent's, begun without the form."""
    client = app.test_client()
    with db.begin() as session:
        token = agent_sessions.begin(session, agent.principal, address="127.0.0.1", browser="a test")
    with client.session_transaction() as cookie:
        cookie["_user_id"], cookie["_fresh"] = token, True
    return client


def make_key(db: Database, *scopes: Scope) -> str:
    """An API key's secret, with these scopes or all of them."""
    with db.begin() as session:
        return api_keys.add(session, name="shop", scopes=[scope.value for scope in scopes or EVERY_SCOPE])[1]


def make_machine(db: Database) -> MachinePrincipal:
    return api_keys.authenticate(db, make_key(db))


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def make_photo(
    text: str = "", *, size: tuple[int, int] = (640, 480), kind: str = "JPEG", colour: str = "white", **save: Any
) -> bytes:
    """An encoded image with ``text`` on it and colours in a corner; ``save`` goes to Pillow, e.g. ``exif``."""
    image = Image.new("RGB", size, colour)
    draw = ImageDraw.Draw(image)
    draw.rectangle((size[0] // 8, size[1] // 4, size[0] * 7 // 8, size[1] * 3 // 4), outline="black", width=3)
    draw.text((size[0] // 4, size[1] // 2), text, fill="black")
    draw.rectangle((0, 0, size[0] // 20, size[1] // 20), fill="orange")
    buffer = io.BytesIO()
    image.save(buffer, kind, **save)
    return buffer.getvalue()


def make_upload(filename: str = "photo.jpg", data: bytes | None = None, content_type: str = "image/jpeg") -> Upload:
    return Upload(filename, content_type, make_photo(filename) if data is None else data)


def make_ticket(
    desk: Desk,
    text: str = "My coffee machine shows E21 and blinks red.",
    *,
    team: str | None = None,
    uploads: Sequence[Upload] = (),
    **fields: Any,
) -> Ticket:
    """A ticket as the API opens it, its job still waiting. ``fields`` are those of `NewTicket`."""
    new = NewTicket(text=text, uploads=tuple(uploads), **fields)
    opened = tickets.open_ticket(desk, make_machine(desk.db), new).ticket
    if team is not None:
        with desk.db.begin() as session:
            row = session.get_one(Ticket, opened.id)
            row.team_id = opened.team_id = people.find_team(session, team).id
    return opened


def make_conversation(
    desk: Desk, *, name: str | None = None, email: str | None = None, inbox: str = DEFAULT_INBOX
) -> Conversation:
    """A conversation in an inbox's widget, of a new visitor, still without messages."""
    with desk.db.begin() as session:
        customer, where = Customer(name=name, email=email), inboxes.find(session, inbox)
        return state.begin_conversation(session, customer, channel="widget", inbox=where)


class Browser:
    """A browser with the widget, over HTTP: its session, and its conversation once that has begun."""

    def __init__(self, client: FlaskClient, *, origin: str | None = None, **session: Any) -> None:
        self.client, self.origin, self.conversation = client, origin, ""
        self.open(**session)

    def open(self, **session: Any) -> TestResponse:
        """Begin or continue the session; ``session`` is the body."""
        answer = self.client.post("/widget/v1/sessions", json=session, headers=self._page)
        if answer.status_code < 300:
            self.token = answer.json["token"]
        return answer

    @property
    def _page(self) -> dict[str, str]:
        return {"Widget-Origin": self.origin} if self.origin else {}

    @property
    def headers(self) -> dict[str, str]:
        return {**bearer(self.token), **self._page}

    @property
    def path(self) -> str:
        return f"/widget/v1/conversations/{self.conversation}"

    def say(self, text: str, *photos: tuple[str, bytes], client_id: str = "") -> TestResponse:
        """Post a message: the first one begins the conversation."""
        files = [(io.BytesIO(data), name) for name, data in photos]
        where = f"{self.path}/messages" if self.conversation else "/widget/v1/conversations"
        form = {"text": text, "client_id": client_id, "photos": files}
        answer = self.client.post(where, headers=self.headers, data=form, content_type="multipart/form-data")
        if answer.status_code < 300 and not self.conversation:
            self.conversation = answer.json["conversation"]["id"]
        return answer

    def get(self, path: str = "", **options: Any) -> TestResponse:
        """Of the conversation, by default all of it."""
        return self.client.get(self.path + path, headers=self.headers, **options)

    @property
    def messages(self) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = self.get().json["messages"]
        return shown


def make_inbox(db: Database, key: str, *, name: str = "", **settings: Any) -> Inbox:
    """``settings`` are those of `InboxSettings`."""
    with db.begin() as session:
        inbox = inboxes.add(session, key)
        inbox.name = name
        inboxes.change(inbox, settings)
        return inbox


def make_noise(db: Database, count: int, *, team: str | None = None) -> None:
    """Many tickets of other customers, as bare rows: what a query must not return, and not slow down for."""
    now = utcnow()
    with db.begin() as session:
        team_id = session.execute(select(Team.id).where(Team.key == team)).scalar_one() if team else None
        customer = people.find_or_add_customer(session, name="Noise", email="noise@example.net")
        common = {"customer_id": customer.id, "inbox_id": inboxes.default(session).id, "channel": "api"}
        rows: list[dict[str, Any]] = [{"public_id": new_public_id("cnv"), **common} for _ in range(count)]
        ids = session.scalars(
            insert(Conversation).values(state=ConversationState.HANDED_OFF).returning(Conversation.id), rows
        ).all()
        session.execute(
            insert(Ticket),
            [
                {
                    "public_id": new_public_id("tck"),
                    "conversation_id": conversation_id,
                    "requester_id": customer.id,
                    "subject": f"Noise {number}",
                    "team_id": team_id,
                    "created_at": now,
                    "updated_at": now,
                }
                for number, conversation_id in enumerate(ids)
            ],
        )


def make_articles(desk: Desk, folder: Path, articles: Mapping[str, str] | None = None) -> None:
    """Import articles (file name to Markdown; by default one that explains E21) into the knowledge base."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (articles or {"brewmaster.md": BREWMASTER}).items():
        (folder / name).write_text(text, encoding="utf-8")
    embedder = embedding.serving(desk)
    import_folder(desk.db, path=folder, source=folder.name, embedder=embedder)
    embed_headings(desk.db, embedder)
    embed_units(desk.db, embedder)
    calibrate(desk.db, embedder)
    desk.index.refresh()


def make_figure(desk: Desk, folder: Path, *, visibility: str = "public", text: str = "VALVE") -> str:
    """The public id of a figure in an article of its own, imported as the source ``folder``'s name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "valve.png").write_bytes(make_photo(text, kind="PNG"))
    text = "# Valve\n\nTurn the valve to the left.\n\n![The valve behind the flap](valve.png)\n"
    (folder / "valve.md").write_text(f"---\nvisibility: {visibility}\n---\n{text}", encoding="utf-8")
    with desk.db.begin() as session:
        source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(folder))
    sources.sync(desk, source.id)
    with desk.db.read() as session:
        query = select(Figure.public_id).join(Figure.article).where(Article.source == source.name)
        return session.execute(query).scalar_one()


def make_customer(db: Database, **fields: Any) -> Customer:
    with db.begin() as session:
        return people.find_or_add_customer(session, **fields)


@cache
def _password_hash() -> str:
    """Hashing a password is slow on purpose: once is enough."""
    return credentials.hash_password(PASSWORD)
