"""Customers, agents and what tickets are sorted by, through the API."""

from __future__ import annotations

from flask.testing import FlaskClient

from assistant.desk import api_keys
from assistant.desk.desk import Desk
from tests.factories import bearer, make_agent, make_inbox, make_ticket

API = "/api/v1"
Key = dict[str, str]


def test_a_customer_is_found_by_the_shops_own_id_and_by_address(client: FlaskClient, key: Key, desk: Desk) -> None:
    make_ticket(desk, requester_external_id="C-17", requester_email="Rosa@Example.org", requester_name="Rosa")
    make_ticket(desk, requester_email="kim@example.org")
    for query in ({"external_id": "C-17"}, {"email": "rosa@example.ORG"}, {"q": "ros"}):
        [found] = client.get(f"{API}/customers", query_string=query, headers=key).json["customers"]
        assert (found["name"], found["external_id"], found["email"]) == ("Rosa", "C-17", "rosa@example.org")
    assert client.get(f"{API}/customers/{found['id']}", headers=key).json == found
    page = client.get(f"{API}/customers", query_string={"limit": 1}, headers=key).json
    rest = client.get(f"{API}/customers", query_string={"cursor": page["next_cursor"]}, headers=key).json
    assert [page["customers"][0]["email"], rest["customers"][0]["email"]] == ["kim@example.org", "rosa@example.org"]
    assert rest["next_cursor"] is None


def test_a_key_for_some_inboxes_sees_the_customers_and_tags_of_those(client: FlaskClient, desk: Desk, key: Key) -> None:
    make_inbox(desk.db, "outdoor")
    elsewhere = make_ticket(desk, requester_email="kim@example.org")
    client.patch(f"{API}/tickets/{elsewhere.public_id}", json={"tags": ["secret"]}, headers=key)
    make_ticket(desk, requester_email="rosa@example.org", inbox="outdoor")
    with desk.db.begin() as session:
        limits = api_keys.Limits(inboxes=["outdoor"])
        limited = bearer(api_keys.add(session, name="outdoor", scopes=["tickets:read"], limits=limits)[1])
    [found] = client.get(f"{API}/customers", headers=limited).json["customers"]
    assert found["email"] == "rosa@example.org"
    hidden = client.get(f"{API}/customers", headers=key).json["customers"][-1]
    assert client.get(f"{API}/customers/{hidden['id']}", headers=limited).status_code == 404
    assert client.get(f"{API}/tags", headers=limited).json == {"tags": []}
    assert client.get(f"{API}/tags", headers=key).json == {"tags": ["secret"]}
    assert [one["key"] for one in client.get(f"{API}/inboxes", headers=limited).json["inboxes"]] == ["outdoor"]


def test_agents_and_teams_are_listed_with_what_tickets_are_given_by(client: FlaskClient, key: Key, desk: Desk) -> None:
    agent = make_agent(desk.db, "ann", team="technical")
    [shown] = client.get(f"{API}/agents", headers=key).json["agents"]
    assert (shown["id"], shown["team"], shown["role"]) == (agent.public_id, "technical", "agent")
    assert "technical" in [one["key"] for one in client.get(f"{API}/teams", headers=key).json["teams"]]
    ticket = make_ticket(desk)
    given = client.patch(f"{API}/tickets/{ticket.public_id}", json={"assignee_id": shown["id"]}, headers=key)
    assert given.json["assignee"]["id"] == shown["id"]
