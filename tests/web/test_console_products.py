"""Own products in the console: photos handed in, learned from by a job, versions looked at, taken back and served."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from assistant import worker
from assistant.db import Database
from assistant.desk import products
from assistant.desk.assess import read_evidence
from assistant.desk.desk import Desk
from assistant.media.files import Upload
from assistant.models import ProductPhoto
from assistant.ports import Capabilities
from assistant.runtime import Runtime
from tests.factories import make_agent, make_ticket, signed_in_client
from tests.fakes import ColourFeatures, fake_capabilities
from tests.products import PRODUCTS, shot
from tests.web.test_console import submit

BASE = "/console/settings/products"


@pytest.fixture
def capabilities() -> Capabilities:
    return fake_capabilities(photo_features=ColourFeatures())


@pytest.fixture
def admin(app: APIFlask, db: Database) -> FlaskClient:
    return signed_in_client(app, db, make_agent(db, "ada", admin=True))


def files(key: str, *numbers: int) -> list[tuple[io.BytesIO, str]]:
    return [(io.BytesIO(shot(key, number)), f"{key} {number}.jpg") for number in numbers]


def read(desk: Desk, key: str) -> str:
    return read_evidence(desk, Upload("a.jpg", None, shot(key, 20))).product.value


def test_products_are_taught_in_the_browser_and_taken_back(admin: FlaskClient, desk: Desk) -> None:
    assert "Nothing learned yet" in admin.get(BASE).text
    for key, (name, *_) in PRODUCTS.items():
        answer = submit(admin, f"{BASE}/add", name=name, photos=files(key, 0, 1, 2))
        assert (answer.status_code, answer.location) == (302, BASE)
    assert "12 new photos are being learned from" in admin.get(BASE).text
    assert read(desk, "tent") == "cannot tell"
    worker.run_until_idle(desk)
    shown = admin.get(BASE).text
    assert "being learned" not in shown
    assert "Version 1" in shown
    assert read(desk, "tent") == "ridge-tent"
    with desk.db.read() as session:
        assert session.scalars(select(func.count(ProductPhoto.id))).one() == 12
        assert products.show_version(session).products == dict.fromkeys(
            ["bottle", "camp-stove", "head-lamp", "ridge-tent"], 3
        )
    assert "Ridge Tent" in admin.get(f"{BASE}/1").text  # which the taxonomy does not know
    assert "ridge-tent" in admin.get(f"{BASE}/1").text
    asked = make_ticket(desk, "What is it?", uploads=[Upload("a.jpg", None, shot("tent", 20))])
    worker.run_until_idle(desk)
    page = admin.get(f"/console/tickets/{asked.public_id}").text
    assert re.search(r'<p lang="en" dir="ltr"><bdi[^>]*>Ridge Tent</bdi>', page)
    assert '<option value="ridge-tent" selected>Ridge Tent</option>' in page
    assert submit(admin, f"{BASE}/1/take-back").status_code == 302
    assert "None serves now." in admin.get(BASE).text
    assert submit(admin, f"{BASE}/1/serve").status_code == 302
    assert read(desk, "bottle") == "bottle"
    assert admin.get(f"{BASE}/99").status_code == 404


def test_what_a_photo_is_mistaken_for_is_said(admin: FlaskClient, desk: Desk) -> None:
    wrong = [*files("tent", 0, 1, 2), *files("bottle", 3)]
    submit(admin, f"{BASE}/add", name="Tent", photos=wrong)
    submit(admin, f"{BASE}/add", name="Bottle", photos=files("bottle", 0, 1, 2))
    worker.run_until_idle(desk)
    assert "bottle 3.jpg: Bottle (" in admin.get(f"{BASE}/1").text


def test_photos_that_are_learned_from_at_once_are_all_in_the_version_that_serves(
    admin: FlaskClient, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn, others = products.learn, [key for key in PRODUCTS if key != "tent"]

    def learn_meanwhile(*args: object, **options: object) -> object:
        monkeypatch.undo()
        new = [products.NewPhoto(key, Upload(f"{n}.jpg", None, shot(key, n))) for key in others for n in range(2)]
        products.learn_products(desk, new, {})
        return learn(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(products, "learn", learn_meanwhile)
    submit(admin, f"{BASE}/add", name="Tent", photos=files("tent", 0, 1))
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert products.show_version(session).products == dict.fromkeys(sorted(PRODUCTS), 2)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": " ", "photos": files("tent", 0)}, "Say which product"),
        ({"name": "Tent"}, "at least one photo"),
        ({"name": "Tent", "photos": [*files("tent", 0), (io.BytesIO(b"%PDF-1.7"), "a.pdf")]}, "a.pdf is not a photo"),
    ],
)
def test_what_cannot_be_learned_from_is_refused_as_a_whole(
    admin: FlaskClient, desk: Desk, fields: dict[str, object], said: str
) -> None:
    answer = submit(admin, f"{BASE}/add", **fields)
    assert answer.status_code == 422
    assert said in answer.text
    with desk.db.read() as session:
        assert products.waiting(session) == 0


def test_without_features_it_is_said_what_to_install(
    make_runtime: Callable[..., Runtime], make_app: Callable[..., APIFlask]
) -> None:
    runtime = make_runtime(capabilities=fake_capabilities())
    admin = signed_in_client(make_app(runtime), runtime.desk.db, make_agent(runtime.desk.db, "ada", admin=True))
    answer = submit(admin, f"{BASE}/add", name="Tent", photos=files("tent", 0))
    assert answer.status_code == 503
    assert "pip install" in answer.text


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("BrewMaster_300", "brewmaster-300"), ("brewmaster 300", "brewmaster-300"), ("Zelt Größe 2", "zelt-grosse-2"),
        ("", ""), ("  ", ""),
    ],
)  # fmt: skip
def test_a_name_has_a_key(desk: Desk, name: str, key: str) -> None:
    assert products.key_of(name, desk.taxonomy) == key
    assert products.key_of("ソーラー", desk.taxonomy) != products.key_of("ランプ", desk.taxonomy)
