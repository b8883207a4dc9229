"""The reference photo that a customer's photo is most like, for agents and machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from assistant import worker
from assistant.desk.desk import Desk
from assistant.desk.products import NewPhoto, learn_products
from assistant.media.files import Upload
from assistant.ports import Capabilities
from tests.factories import Persona, make_ticket
from tests.fakes import ColourFeatures, fake_capabilities
from tests.products import PRODUCTS, shot


@pytest.fixture
def capabilities() -> Capabilities:
    return fake_capabilities(photo_features=ColourFeatures())


def test_the_nearest_reference_photo_is_shown_beside_the_customers(
    sign_in: Callable[[Persona], FlaskClient], alice: Persona, client: FlaskClient, key: dict[str, str], desk: Desk
) -> None:
    names = {product: name for product, (name, *_) in PRODUCTS.items()}
    photos = [NewPhoto(one, Upload(f"{n}.jpg", None, shot(one, n))) for one in PRODUCTS for n in range(3)]
    learn_products(desk, photos, names)
    upload = Upload("mine.jpg", None, shot("tent", 20))
    ticket = make_ticket(desk, "Which one is it?", uploads=[upload], team="technical")
    worker.run_until_idle(desk)

    shown = client.get(f"/api/v1/tickets/{ticket.public_id}", headers=key).json
    product: dict[str, Any] = shown["messages"][0]["attachments"][0]["evidence"]["product"]
    assert product["value"] == "tent"
    address = f"product-photos/{product['reference']}"
    agent = sign_in(alice)
    assert f'<img src="/console/{address}"' in agent.get(f"/console/tickets/{ticket.public_id}").text
    for answer in (agent.get(f"/console/{address}"), client.get(f"/api/v1/{address}", headers=key)):
        assert (answer.status_code, answer.content_type) == (200, "image/jpeg")
        assert answer.data.startswith(b"\xff\xd8")
        assert "sandbox" in answer.headers["Content-Security-Policy"]
    own = shown["messages"][0]["attachments"][0]["id"]
    for other in ("0" * 64, own, desk.storage.put(b"another file")):
        assert agent.get(f"/console/product-photos/{other}").status_code == 404
        assert client.get(f"/api/v1/product-photos/{other}", headers=key).status_code == 404
