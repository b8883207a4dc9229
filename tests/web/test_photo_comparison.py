"""The customer's second photo of a device beside the first: for agents on its card, for machines by name."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient

from assistant import worker
from assistant.desk.desk import Desk
from assistant.desk.products import NewPhoto, learn_products
from assistant.lab.evaluation.pairs import drawn
from assistant.media.files import Upload
from assistant.ports import Capabilities
from assistant.runtime import Runtime
from tests.factories import Persona, make_agent, make_ticket, signed_in_client
from tests.fakes import ColourFeatures, FakeOCR, fake_capabilities
from tests.products import shot
from tests.web.test_console import HTMX


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


def test_a_photo_beside_the_reference_photo_of_its_product(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    pair = drawn(4, changed=True)
    runtime = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR(), photo_features=ColourFeatures()))
    desk = runtime.desk
    robots = [
        NewPhoto("robot", Upload(f"{condition}.jpg", None, photo), condition)
        for photo, condition in ((pair.one, "intact"), (pair.other, "damaged"))
    ]
    others = [NewPhoto(one, Upload(f"{n}.jpg", None, shot(one, n))) for one in ("tent", "bottle") for n in range(3)]
    learn_products(desk, [*robots, *others], {"robot": "Robot", "tent": "Ridge Tent", "bottle": "Bottle"})
    agent = signed_in_client(make_app(runtime), desk.db, make_agent(desk.db, "ada", admin=True))
    photos = {"robot": pair.other, "tent": shot("tent", 20), "foreign": shot("nothing of ours", 1)}
    shown = {}
    for name, photo in photos.items():
        ticket = make_ticket(desk, f"What is it? {name}", uploads=[Upload("1.jpg", None, photo)])
        worker.run_until_idle(desk)
        page = agent.get(f"/console/tickets/{ticket.public_id}").text
        [address] = re.findall(r'hx-get="([^"]+/reference)"', page) or [None]
        shown[name] = agent.get(address, headers=HTMX).text if address else None
    assert shown["foreign"] is None
    assert "Looks otherwise" in (shown["robot"] or ""), "than intact: it is most like the one that is damaged"
    assert (shown["robot"] or "").count("<rect") == 2
    assert "Compared with a reference photo of the product" in (shown["robot"] or "")
    assert "Cannot compare the pictures" in (shown["tent"] or ""), "drawn somewhere else before another wall"
