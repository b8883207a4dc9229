"""What triage has learned, through the API: told, rolled back, served again."""

from __future__ import annotations

from flask.testing import FlaskClient

from assistant.desk import audit, learning
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from tests.desk.test_triage_learning import decide_everyday
from tests.factories import bearer, make_key

HEADS = "/api/v1/triage/heads"


def test_a_head_is_told_rolled_back_and_served_again(client: FlaskClient, desk: Desk) -> None:
    key = bearer(make_key(desk.db, Scope.SETTINGS))
    decide_everyday(desk, 9)
    told = client.get(HEADS, headers=key).json
    categories = next(one for one in told["fields"] if one["field"] == "category")
    assert told["heads"] == []
    assert categories == {
        "field": "category",
        "decisions": 9,
        "values": {"delivery": 5, "how_to": 4},
        "learned_again_at": 10,
    }
    assert client.post(f"{HEADS}/category/roll-back", headers=key).status_code == 409
    decide_everyday(desk, 2)
    learning.learn(desk)
    told = client.get(HEADS, headers=key).json
    assert next(one for one in told["fields"] if one["field"] == "category")["learned_again_at"] == 21
    (head,) = told["heads"]
    assert (head["state"], head["decisions"], sum(head["labels"].values())) == ("served", 11, 11)
    assert head["trial"]["decisions"] == 11
    assert client.post(f"{HEADS}/category/roll-back", headers=key).json == {"field": "category", "head": None}
    assert client.get(HEADS, headers=key).json["heads"][0]["state"] == "rolled_back"
    served = client.post(f"{HEADS}/category/serve", headers=key).json
    assert (served["head"]["id"], served["head"]["state"]) == (head["id"], "served")
    for wrong in ("colour", "product", "%00"):
        assert client.post(f"{HEADS}/{wrong}/serve", headers=key).status_code == 404
    with desk.db.read() as session:
        noted = [(one.action, one.subject) for one in audit.entries(session)]
    assert noted == [("api.serve_head", "category"), ("api.roll_back_head", "category")]
