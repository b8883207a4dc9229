"""What limits an API key: its last day, its inboxes, the addresses it may come from; and another in its place."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import event, select, update

from assistant import worker
from assistant.db import Database, utcnow
from assistant.desk import api_keys
from assistant.desk.access import Scope
from assistant.desk.api_keys import Limits
from assistant.desk.desk import Desk
from assistant.errors import Conflict, Invalid
from assistant.models import APIKey
from assistant.runtime import Runtime
from tests.factories import EVERY_SCOPE, Persona, bearer, make_inbox, make_key, make_ticket, make_upload
from tests.web.test_console import submit

TICKETS = "/api/v1/tickets"
LIST = "/console/settings/keys"
TODAY = datetime.now(UTC).date()


def limited(db: Database, **limits: Any) -> dict[str, str]:
    with db.begin() as session:
        _, secret = api_keys.add(session, name="shop", scopes=list(EVERY_SCOPE), limits=Limits(**limits))  # type: ignore[typeddict-item]
    return bearer(secret)


def set_all(db: Database, **values: Any) -> None:
    with db.begin() as session:
        session.execute(update(APIKey).values(**values))


def test_a_key_is_told_what_it_may_do(client: FlaskClient, db: Database) -> None:
    make_inbox(db, "outdoor")
    shown = client.get("/api/v1/key", headers=limited(db, inboxes=["outdoor"])).json
    usual = "120 per minute"
    assert shown == {"name": "shop", "scopes": sorted(EVERY_SCOPE), "inboxes": ["outdoor"], "rate_limit": usual}
    few = client.get("/api/v1/key", headers=bearer(make_key(db, Scope.METRICS))).json
    assert (few["scopes"], few["inboxes"]) == (["metrics"], [])
    assert client.get("/api/v1/key").status_code == 401


def test_a_key_may_have_a_limit_of_its_own(runtime: Runtime, make_app: Callable[..., APIFlask], db: Database) -> None:
    client = make_app(runtime, limited=True).test_client()
    few, many = limited(db, rate_limit=" 3 per minute; 100 per hour "), limited(db, rate_limit="600 per minute")
    assert client.get("/api/v1/key", headers=few).json["rate_limit"] == "3 per minute; 100 per hour"
    seen = [client.get(TICKETS, headers=few) for _ in range(3)]
    assert [one.status_code for one in seen] == [200, 200, 429]
    assert [one.headers["RateLimit-Limit"] for one in seen[:2]] == ["3", "3"]
    assert [one.headers["RateLimit-Remaining"] for one in seen[:2]] == ["1", "0"]
    assert client.get(TICKETS, headers=many).headers["RateLimit-Limit"] == "600"
    assert client.get(TICKETS, headers=limited(db)).headers["RateLimit-Limit"] == "120"
    assert client.get("/api/v1/key", headers=bearer("ask_unknown")).status_code == 401


@pytest.mark.parametrize(
    "change",
    [
        {"expires_at": utcnow() - timedelta(seconds=1)},
        {"networks": ["192.0.2.0/24", "2001:db8::/32"]},
        {"revoked_at": utcnow()},
        {"key_hash": "another", "previous_until": utcnow() - timedelta(seconds=1)},
    ],
    ids=["expired", "elsewhere", "revoked", "replaced"],
)
def test_whoever_is_refused_is_not_told_why(client: FlaskClient, db: Database, change: dict[str, Any]) -> None:
    key = limited(db, expires_on=TODAY, networks=["127.0.0.1"])
    assert client.get(TICKETS, headers=key).status_code == 200
    unknown = client.get(TICKETS, headers=bearer("ask_unknown"))
    if "previous_until" in change:
        with db.read() as session:
            change = change | {"previous_hash": session.scalars(select(APIKey.key_hash)).one()}
    set_all(db, **change)
    refused = client.get(TICKETS, headers=key)
    assert (refused.status_code, refused.json) == (401, unknown.json)
    assert "assistant keys list" in refused.json["detail"]


def test_a_network_holds_the_addresses_in_it(client: FlaskClient, db: Database) -> None:
    key = limited(db, networks=["10.1.0.0/16", "2001:db8::/32"])
    for address, status in (
        ("10.1.255.1", 200), ("10.2.0.1", 401), ("2001:db8::7", 200), ("2001:db9::7", 401), ("::ffff:10.1.2.3", 200),
        ("nonsense", 401),
    ):  # fmt: skip
        client.environ_base["REMOTE_ADDR"] = address
        assert client.get(TICKETS, headers=key).status_code == status, address


def test_a_key_for_an_inbox_sees_and_writes_its_tickets_alone(client: FlaskClient, desk: Desk) -> None:
    make_inbox(desk.db, "acme")
    photo = make_upload()
    mine, other = make_ticket(desk, inbox="acme", uploads=[photo]), make_ticket(desk, uploads=[photo])
    key, all_ = limited(desk.db, inboxes=["acme"]), limited(desk.db)
    assert [one["id"] for one in client.get(TICKETS, headers=key).json["tickets"]] == [mine.public_id]
    assert client.get(TICKETS, headers=key, query_string={"inbox": "default"}).json["tickets"] == []
    files = {
        ticket: client.get(f"{TICKETS}/{ticket.public_id}", headers=all_).json["messages"][0]["attachments"][0]["id"]
        for ticket in (mine, other)
    }
    for ticket, found in ((mine, True), (other, False)):
        path = f"{TICKETS}/{ticket.public_id}"
        for method, where, body in (
            ("get", path, None),
            ("patch", path, {"status": "pending"}),
            ("post", f"{path}/messages", {"text": "And now?"}),
            ("get", f"{path}/drafts", None),
            ("post", f"{path}/triage", None),
            ("get", f"/api/v1/attachments/{files[ticket]}", None),
        ):
            answer = getattr(client, method)(where, headers=key, json=body)
            assert (answer.status_code != 404) is found, (method, where, answer.text)
            answer.close()
    everywhere = {"fields": {"product": "brewmaster-300"}, "everywhere": True}
    correct = f"/api/v1/attachments/{files[mine]}/evidence"
    assert client.patch(correct, headers=key, json=everywhere).status_code == 403


def test_a_key_for_an_inbox_opens_assesses_and_searches_there_alone(client: FlaskClient, desk: Desk) -> None:
    make_inbox(desk.db, "acme")
    key = limited(desk.db, inboxes=["acme"])
    text = {"text": "It leaks"}
    refusals = []
    for inbox, status in (("acme", 201), ("default", 403), ("nowhere", 403)):
        answer = client.post(TICKETS, headers=key, json=text | {"inbox": inbox})
        assert answer.status_code == status, inbox
        refusals += [answer.json["detail"]] if status == 403 else []
        assessed = client.post("/api/v1/triage", headers=key, json=text | {"inbox": inbox})
        found = client.get("/api/v1/articles/search", headers=key, query_string={"query": "leak", "inbox": inbox})
        assert {assessed.status_code, found.status_code} == {status if status == 403 else 200}, inbox
    assert client.post(TICKETS, headers=key, json=text).status_code == 403
    assert client.get("/api/v1/articles/search?query=leak", headers=key).status_code == 422
    assert len(set(refusals)) == 1  # whether there is such an inbox is not told


def test_of_a_key_that_is_replaced_both_are_valid_for_a_while(client: FlaskClient, db: Database) -> None:
    old = limited(db, networks=["127.0.0.1"])
    with db.begin() as session:
        public_id = session.scalars(select(APIKey.public_id)).one()
        with pytest.raises(Invalid):
            api_keys.rotate(session, public_id, grace=timedelta(days=91))
        new = bearer(api_keys.rotate(session, public_id, grace=timedelta(hours=1)))
    assert [client.get(TICKETS, headers=key).status_code for key in (old, new)] == [200, 200]
    set_all(db, previous_until=utcnow() - timedelta(seconds=1))
    assert [client.get(TICKETS, headers=key).status_code for key in (old, new)] == [401, 200]
    with db.begin() as session:
        newest = bearer(api_keys.rotate(session, public_id, grace=timedelta()))
    assert [client.get(TICKETS, headers=key).status_code for key in (new, newest)] == [401, 200]
    with db.begin() as session:
        api_keys.revoke(session, public_id)
        with pytest.raises(Conflict):
            api_keys.rotate(session, public_id)
    assert client.get(TICKETS, headers=newest).status_code == 401


def test_use_is_kept_once_a_minute(client: FlaskClient, db: Database) -> None:
    key, statements = limited(db), []
    event.listen(db.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for number in range(3):
        client.environ_base["REMOTE_ADDR"] = f"192.0.2.{number}"
        assert client.get(TICKETS, headers=key).status_code == 200
    assert len([one for one in statements if "UPDATE api_keys" in one]) == 1
    set_all(db, last_used_at=utcnow() - timedelta(seconds=61))
    client.get(TICKETS, headers=key)
    with db.read() as session:
        row = session.scalars(select(APIKey)).one()
        assert row.last_used_from == "192.0.2.2"
        assert row.last_used_at is not None
        assert utcnow() - row.last_used_at < timedelta(seconds=30)


def test_an_admin_limits_and_replaces_keys_in_the_console(
    sign_in: Callable[[Persona], FlaskClient], client: FlaskClient, db: Database, dora: Persona
) -> None:
    make_inbox(db, "acme")
    admin = sign_in(dora)
    form = {
        "name": "shop",
        "scope": ["tickets:read"],
        "inbox": ["acme"],
        "networks": "127.0.0.1\n10.0.0.0/8",
        "rate_limit": "600 per minute",
    }
    over = submit(admin, f"{LIST}/add", expires="2020-01-01", **form)
    assert (over.status_code, "must be to come" in over.text, "10.0.0.0/8" in over.text) == (422, True, True)
    made = submit(admin, f"{LIST}/add", expires=TODAY.isoformat(), **form)
    old = secret_on(made.text)
    assert client.get(TICKETS, headers=bearer(old)).status_code == 200
    listed = admin.get(LIST).text
    for told in (
        "inbox acme, from 127.0.0.1/32, from 10.0.0.0/8, until",
        TODAY.isoformat(),
        "from 127.0.0.1<",
        "600 per minute",
    ):
        assert told in listed, told
    with db.read() as session:
        page = f"{LIST}/{session.scalars(select(APIKey)).one().public_id}"
    assert submit(admin, page, networks="192.0.2.7").status_code == 302
    assert client.get(TICKETS, headers=bearer(old)).status_code == 401
    assert submit(admin, page, networks="").status_code == 302
    new = secret_on(submit(admin, f"{page}/rotate", grace="0").text)
    assert [client.get(TICKETS, headers=bearer(key)).status_code for key in (old, new)] == [401, 200]


def secret_on(page: str) -> str:
    found = re.search(r"ask_[\w-]+", page)
    assert found is not None, page
    return found[0]


def test_a_key_that_only_writes_reads_nothing_of_what_was_written(client: FlaskClient, desk: Desk) -> None:
    ticket = make_ticket(desk, "My machine shows E21")
    worker.run_until_idle(desk)
    writes, reads = (bearer(make_key(desk.db, *scopes)) for scopes in ((Scope.TICKETS_WRITE,), tuple(Scope)))
    place = f"/api/v1/tickets/{ticket.public_id}"
    whole = client.patch(place, headers=reads, json={}).json
    assert whole["messages"]
    assert whole["drafts"]
    told = client.patch(place, headers=writes, json={"priority": "urgent"})
    assert (told.status_code, told.json["priority"]) == (200, "urgent")
    assert [told.json[name] for name in ("messages", "drafts", "prechat", "links", "rating")] == [[], [], [], [], None]
    body = {"text": "E21 again", "requester": {"email": "rosa@example.org"}}
    opened = client.post("/api/v1/tickets", headers=writes, json=body)
    assert (opened.status_code, opened.json["messages"]) == (201, [])
