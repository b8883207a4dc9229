"""The customer's second photo of a device beside the first, and a photo beside a reference photo of its product: for
agents on its card, for machines by name."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from functools import cache

import httpx
import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import delete, select, update

from assistant import worker
from assistant.client import Client, Problem
from assistant.desk import api_keys
from assistant.desk.access import Scope
from assistant.desk.desk import Desk
from assistant.desk.products import NewPhoto, learn_products
from assistant.lab.evaluation.pairs import drawn
from assistant.media.files import Upload
from assistant.models import Attachment, Evidence, FileCondition, ProductPhoto, Ticket
from assistant.ports import Capabilities
from assistant.runtime import Runtime
from tests.factories import Persona, bearer, make_agent, make_inbox, make_key, make_ticket, signed_in_client
from tests.fakes import ColourFeatures, FakeOCR, fake_capabilities
from tests.products import shot
from tests.web.test_console import HTMX, photo_of


@pytest.fixture
def ocr() -> FakeOCR:
    return FakeOCR("BrewMaster 300")


@pytest.fixture
def capabilities(ocr: FakeOCR) -> Capabilities:
    return fake_capabilities(ocr=ocr)


def test_what_has_changed_since_the_earlier_photo(
    sign_in: Callable[[Persona], FlaskClient], alice: Persona, client: FlaskClient, key: dict[str, str], desk: Desk
) -> None:
    pair = drawn(4, changed=True)
    ticket = make_ticket(desk, "It blinks.", uploads=[Upload("1.jpg", None, pair.one)], team="technical")
    worker.run_until_idle(desk)
    agent = sign_in(alice)
    page = f"/console/tickets/{ticket.public_id}"
    assert "/comparison" not in agent.get(page).text
    sent = client.post(
        f"/api/v1/tickets/{ticket.public_id}/messages",
        headers=key,
        data={"text": "Still?", "photos": (io.BytesIO(pair.other), "2.jpg")},
    )
    assert sent.status_code == 201, sent.text
    worker.run_until_idle(desk)
    shown = client.get(f"/api/v1/tickets/{ticket.public_id}", headers=key).json
    first, second = (one["id"] for message in shown["messages"] for one in message["attachments"])
    address = f"{page}/photos/{second}/comparison"
    text = agent.get(page).text
    assert f'hx-get="{address}"' in text
    assert first + "/comparison" not in text
    card = agent.get(address, headers=HTMX).text
    assert "The same product: BrewMaster 300." in card
    assert "Something changed" in card
    assert card.count('<svg class="changes"') == 2

    for one, other in ((first, second), (second, first)):
        found = client.get(f"/api/v1/attachments/{one}/compare/{other}", headers=key).json
        assert (found["before"], found["after"], found["reason"]) == (first, second, None)
        assert len(found["changes"]) == 1
    other = make_ticket(desk, "Another.", uploads=[Upload("3.jpg", None, pair.one)])
    photo = client.get(f"/api/v1/tickets/{other.public_id}", headers=key).json["messages"][0]["attachments"][0]["id"]
    refused = client.get(f"/api/v1/attachments/{first}/compare/{photo}", headers=key)
    assert (refused.status_code, refused.json["detail"]) == (422, "Name two photos of one ticket.")
    assert client.get(f"/api/v1/attachments/{first}/compare/{first}", headers=key).status_code == 422
    assert client.get(f"/api/v1/attachments/{first}/compare/{ticket.public_id}", headers=key).status_code == 404


NO_PRODUCT, NO_REFERENCE = "No own product was recognised", "There is no reference photo to compare with"


@cache
def photos() -> dict[str, bytes]:
    """Of a robot intact and damaged, of another own product, and of something else."""
    pair = drawn(4, changed=True)
    others = {"tent": shot("tent", 20), "foreign": shot("nothing of ours", 1)}
    return {"intact": pair.one, "robot": pair.other, **others}


@pytest.fixture
def shop(make_runtime: Callable[..., Runtime]) -> Runtime:
    """Of a shop's own products, a robot has been learned intact and damaged."""
    runtime = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR(), photo_features=ColourFeatures()))
    robots = [
        NewPhoto("robot", Upload(f"{condition}.jpg", None, photo), condition)
        for photo, condition in ((photos()["intact"], "intact"), (photos()["robot"], "damaged"))
    ]
    others = [NewPhoto(one, Upload(f"{n}.jpg", None, shot(one, n))) for one in ("tent", "bottle") for n in range(3)]
    learn_products(runtime.desk, [*robots, *others], {"robot": "Robot", "tent": "Ridge Tent", "bottle": "Bottle"})
    return runtime


def opened(desk: Desk, name: str, *, team: str | None = None) -> tuple[Ticket, Attachment]:
    """A ticket with one of the `photos`, which has been read."""
    ticket = make_ticket(desk, f"What is it? {name}", uploads=[Upload("1.jpg", None, photos()[name])], team=team)
    worker.run_until_idle(desk)
    return ticket, photo_of(desk.db, ticket)


def beside(photo: Attachment) -> str:
    return f"/api/v1/attachments/{photo.public_id}/compare/reference"


def test_a_photo_beside_the_reference_photo_of_its_product(shop: Runtime, make_app: Callable[..., APIFlask]) -> None:
    desk = shop.desk
    agent = signed_in_client(make_app(shop), desk.db, make_agent(desk.db, "ada", admin=True))
    shown = {}
    for name in ("robot", "tent", "foreign"):
        ticket, _ = opened(desk, name)
        page = agent.get(f"/console/tickets/{ticket.public_id}").text
        [address] = re.findall(r'hx-get="([^"]+/reference)"', page) or [None]
        shown[name] = agent.get(address, headers=HTMX).text if address else None
    assert shown["foreign"] is None
    assert "Looks otherwise" in (shown["robot"] or ""), "than intact: it is most like the one that is damaged"
    assert (shown["robot"] or "").count("<rect") == 2
    assert "Compared with a reference photo of the product" in (shown["robot"] or "")
    assert "Cannot compare the pictures" in (shown["tent"] or ""), "drawn somewhere else before another wall"


def test_a_machine_is_told_where_a_photo_looks_otherwise_than_its_reference(
    shop: Runtime, make_app: Callable[..., APIFlask]
) -> None:
    app, desk = make_app(shop), shop.desk
    client, key = app.test_client(), bearer(make_key(desk.db, Scope.TICKETS_READ))
    ticket, photo = opened(desk, "robot")
    answer = client.get(beside(photo), headers=key)
    found = answer.json
    assert (answer.status_code, found["photo"], found["product"]) == (200, photo.public_id, "robot")
    assert (found["reason"], [one[:15] for one in found["words"]]) == (None, ["Looks otherwise"])
    assert 0.4 < found["overlap"] <= 1
    reference = client.get(f"/api/v1/product-photos/{found['reference']}", headers=key)
    assert reference.status_code == 200
    assert found["reference"] != photo.sha256, "the one that it is most like is damaged, too"
    with desk.db.read() as session:
        condition = select(ProductPhoto.condition).where(ProductPhoto.sha256 == found["reference"])
        assert session.scalar(condition) == "intact"

    (change,) = found["changes"]
    agent = signed_in_client(app, desk.db, make_agent(desk.db, "ada", admin=True))
    card = agent.get(f"/console/tickets/{ticket.public_id}/photos/{photo.public_id}/reference", headers=HTMX).text
    boxes = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)"', card)
    assert [tuple(map(float, box)) for box in boxes] == [tuple(change[side][:2]) for side in ("before", "after")]

    _, other = opened(desk, "tent")
    told = client.get(beside(other), headers=key).json
    assert (told["product"], told["reason"], told["changes"], told["overlap"]) == ("tent", "not_alike", [], 0)
    assert told["words"][0].startswith("Cannot compare the pictures")

    transport = httpx.WSGITransport(app=app)  # type: ignore[arg-type]
    with Client("http://localhost", make_key(desk.db), transport=transport) as program:
        assert program.compare_with_reference(photo.public_id) == found
        with pytest.raises(Problem, match=NO_PRODUCT) as refused:
            program.compare_with_reference(opened(desk, "foreign")[1].public_id)
        assert refused.value.status == 404
        with pytest.raises(Problem, match="two photos of one ticket"):
            program.compare_photos(photo.public_id, other.public_id)


def test_without_a_product_or_an_intact_reference_of_it_there_is_nothing_to_compare_with(
    shop: Runtime, make_app: Callable[..., APIFlask]
) -> None:
    client, desk = make_app(shop).test_client(), shop.desk
    key = bearer(make_key(desk.db))

    def refused(photo: Attachment) -> str:
        answer = client.get(beside(photo), headers=key)
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")
        return str(answer.json["detail"])

    assert NO_PRODUCT in refused(opened(desk, "foreign")[1])
    _, photo = opened(desk, "robot")
    fields = {"fields": {"product": "brewmaster-300"}}
    corrected = client.patch(f"/api/v1/attachments/{photo.public_id}/evidence", json=fields, headers=key)
    assert corrected.status_code == 200, corrected.text
    assert NO_PRODUCT in refused(photo), "that of the robot shows another product"
    _, again = opened(desk, "robot")  # in a ticket for which nothing was corrected
    assert client.get(beside(again), headers=key).status_code == 200
    with desk.db.begin() as session:
        session.execute(update(ProductPhoto).where(ProductPhoto.condition == "intact").values(condition="bent"))
    assert NO_REFERENCE in refused(again), "all that are left show damage"


def test_whose_photo_it_is_not_learns_nothing_and_what_is_no_photo_any_more_is_refused(
    shop: Runtime, make_app: Callable[..., APIFlask]
) -> None:
    app, desk = make_app(shop), shop.desk
    client, key = app.test_client(), bearer(make_key(desk.db))
    ticket, photo = opened(desk, "robot", team="technical")
    make_inbox(desk.db, "acme")
    with desk.db.begin() as session:
        limits = api_keys.Limits(inboxes=["acme"])
        foreign = bearer(api_keys.add(session, name="acme", scopes=["tickets:read"], limits=limits)[1])
    answer = client.get(beside(photo), headers=foreign)
    assert (answer.status_code, answer.json["detail"]) == (404, "There is no such attachment.")
    writes = bearer(make_key(desk.db, Scope.TICKETS_WRITE))
    assert [client.get(beside(photo), headers=one).status_code for one in (writes, {})] == [403, 401]
    card = f"/console/tickets/{ticket.public_id}/photos/{photo.public_id}/reference"
    for team, status in (("technical", 200), ("orders", 404)):
        agent = signed_in_client(app, desk.db, make_agent(desk.db, team, team=team))
        assert agent.get(card, headers=HTMX).status_code == status

    form = {"text": "The log.", "photos": (io.BytesIO(b"12:00 it stops"), "robot.txt")}
    message = client.post(f"/api/v1/tickets/{ticket.public_id}/messages", headers=key, data=form).json["message"]
    address = f"/api/v1/attachments/{message['attachments'][0]['id']}/compare/reference"
    assert client.get(address, headers=key).status_code == 422
    with desk.db.begin() as session:
        session.execute(delete(Evidence).where(Evidence.sha256 == photo.sha256))
    unread = client.get(beside(photo), headers=key)
    assert (unread.status_code, unread.json["code"]) == (409, "conflict")
    with desk.db.begin() as session:
        session.get_one(Attachment, photo.id).condition = FileCondition.REMOVED
    removed = client.get(beside(photo), headers=key)
    assert (removed.status_code, removed.json["condition"]) == (410, "removed")
