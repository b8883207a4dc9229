"""Own products: learned in versions, tried before they serve, used where photos are read, taken back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import select

from assistant import worker
from assistant.db import utcnow
from assistant.desk import erasure, evidence, products
from assistant.desk.assess import read_evidence
from assistant.desk.corrections import correct_evidence
from assistant.desk.desk import Desk
from assistant.desk.files import sweep
from assistant.desk.products import NewPhoto, learn_products
from assistant.errors import Conflict, Invalid, NotFound, NotReady, Unsupported
from assistant.media.files import Upload
from assistant.models import (
    Attachment,
    Customer,
    Evidence,
    HeadState,
    ProductHead,
    ProductPhoto,
    Ticket,
    TriageField,
    TriageFieldState,
)
from assistant.payloads import ProductVersion
from assistant.runtime import Runtime
from assistant.skills.read_photo import CANNOT_TELL, product_question
from assistant.skills.taxonomy import NO_PRODUCT
from tests.desk.test_turns import say
from tests.factories import make_agent
from tests.fakes import ColourFeatures, fake_capabilities
from tests.products import PRODUCTS, shot

NAMES = {key: name for key, (name, *_) in PRODUCTS.items()}


@pytest.fixture
def desk(make_runtime: Callable[..., Runtime]) -> Desk:
    return make_runtime(capabilities=fake_capabilities(photo_features=ColourFeatures())).desk


def photos(*numbers: int, of: tuple[str, ...] = tuple(PRODUCTS), shown: str | None = None) -> list[NewPhoto]:
    return [
        NewPhoto(key, Upload(f"{number}.jpg", None, shot(shown or key, number))) for key in of for number in numbers
    ]


def learn(desk: Desk, new: list[NewPhoto], *, afresh: bool = False) -> ProductVersion:
    return learn_products(desk, new, NAMES, afresh=afresh)


def states(desk: Desk) -> list[HeadState]:
    with desk.db.read() as session:
        return list(session.scalars(select(ProductHead.state).order_by(ProductHead.id)))


def product_in(desk: Desk, key: str, number: int) -> str:
    return read_evidence(desk, Upload("photo.jpg", None, shot(key, number))).product.value


def test_a_customers_photo_is_read_by_what_was_learned(desk: Desk) -> None:
    say(desk, "Which one is this?", uploads=[Upload("photo.jpg", None, shot("tent", 20))])
    worker.run_until_idle(desk)
    first = learn(desk, photos(0, 1, 2))
    assert first.state is HeadState.SERVED
    assert first.products == dict.fromkeys(sorted(PRODUCTS), 3)
    assert first.trial.photos == 12
    assert first.trial.accuracy == 1.0
    say(desk, "And this one?", uploads=[Upload("photo.jpg", None, shot("tent", 20))])
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        rows = session.scalars(select(Evidence).order_by(Evidence.id)).all()
        before, after = map(evidence.to_value, rows)
        assert rows[1].revision == f"{rows[0].revision}+products-{first.version}"
        assert before.product.value == CANNOT_TELL
        assert after.product.value == "tent"
        assert after.product.confidence > 0.5
        field = session.scalars(select(TriageField).where(TriageField.name == "product")).all()[-1]
        assert (field.value, field.state) == ("tent", TriageFieldState.PROPOSED)
        assert session.scalars(select(Ticket.product).order_by(Ticket.id)).all() == [None, "tent"]
        reference = session.scalars(select(ProductPhoto).where(ProductPhoto.sha256 == after.product.reference)).one()
        assert (reference.product, reference.filename in ("0.jpg", "1.jpg", "2.jpg")) == ("tent", True)
        sent = session.scalars(select(Attachment)).first()
        assert sent is not None
        assert evidence.to_value(evidence.evidence_of(session, [sent])[sent.sha256]).product.value == "tent"
    assert desk.storage.exists(reference.sha256)


def test_tickets_are_sorted_by_what_was_learned_as_long_as_it_serves(
    desk: Desk, make_runtime: Callable[..., Runtime]
) -> None:
    other = make_runtime().desk  # another process on the same database
    assert "tent" not in other.taxonomy.names_by_key
    learn(desk, photos(0, 1))
    assert desk.taxonomy.names_by_key.items() >= NAMES.items()
    assert triaged_product(desk, f"My {NAMES['tent']} has a hole") == ("tent", TriageFieldState.PROPOSED)
    assert triaged_product(desk, "It has a hole", shot("bottle", 20)) == ("bottle", TriageFieldState.PROPOSED)
    assert triaged_product(desk, "My BrewMaster 300 leaks") == ("brewmaster-300", TriageFieldState.PROPOSED)
    other.taxonomies.refresh()
    assert other.taxonomy == desk.taxonomy
    with desk.db.begin() as session:
        products.roll_back(session)
    desk.taxonomies.refresh()  # as after half a minute
    assert triaged_product(desk, f"My {NAMES['tent']} has a hole")[1] is TriageFieldState.ABSTAINED


def test_a_photo_shows_what_was_learned_by_its_looks_not_by_a_name_on_something(desk: Desk) -> None:
    learn(desk, photos(0, 1))
    assert desk.taxonomy.products_in(f"a {NAMES['tent']}") == ["tent"]
    assert desk.taxonomy.products_printed_in(NAMES["tent"]) == []
    assert desk.taxonomy.products_printed_in("BrewMaster 300") == ["brewmaster-300"]
    assert set(product_question(desk.taxonomy).options) == {*desk.taxonomies.file.names_by_key, NO_PRODUCT}


def triaged_product(desk: Desk, text: str, *sent: bytes) -> tuple[str, TriageFieldState]:
    say(desk, text, uploads=[Upload("photo.jpg", None, one) for one in sent])
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        field = session.scalars(select(TriageField).where(TriageField.name == "product")).all()[-1]
        return field.value, field.state


def test_versions_add_up_are_tried_and_taken_back(desk: Desk) -> None:
    few = ("tent", "bottle")
    first = learn(desk, photos(0, 1, 2, of=few))
    second = learn(desk, photos(0, 1, 2))
    assert [first.products, second.products] == [dict.fromkeys(sorted(few), 3), dict.fromkeys(sorted(PRODUCTS), 3)]
    assert states(desk) == [HeadState.REPLACED, HeadState.SERVED]
    assert product_in(desk, "camp-stove", 20) == "camp-stove"
    # Tents in the folder of bottles: the photos of before become less likely.
    third = learn(desk, [*photos(0, 1, 2), *photos(5, 6, 7, of=("bottle",), shown="tent")])
    assert (third.state, third.trial.worse) == (HeadState.WAITING, True)
    assert product_in(desk, "tent", 20) == "tent"
    with desk.db.begin() as session:
        before = products.roll_back(session)
    assert before is not None
    assert before.version == first.version
    assert product_in(desk, "camp-stove", 20) == CANNOT_TELL
    with desk.db.begin() as session:
        assert products.roll_back(session) is None
    assert product_in(desk, "tent", 20) == CANNOT_TELL
    with desk.db.begin() as session:
        with pytest.raises(Conflict):
            products.roll_back(session)
        with pytest.raises(NotFound):
            products.show_version(session)
        products.promote(session, second.version)
        assert products.show_version(session).version == second.version
        assert [one.version for one in products.list_versions(session)] == [3, 2, 1]
    assert product_in(desk, "camp-stove", 20) == "camp-stove"


def test_a_condition_that_was_learned_is_evidence_and_can_be_corrected_to(desk: Desk) -> None:
    new = [
        NewPhoto("bottle", Upload(f"{number}.jpg", None, shot("bottle", number, worn)), condition)
        for condition, worn in (("intact", ""), ("Torn_seal", "damaged"))
        for number in range(4)
    ]
    version = learn(desk, [*new, *photos(0, 1, of=("tent",))])
    [told] = version.trial.conditions
    assert (told.product, told.kind, told.conditions) == ("bottle", "damage", {"intact": 4, "torn seal": 4})
    assert (told.photos, told.right, told.claimed, told.claimed_right) == (8, 8, 8, 8)
    again = learn(desk, photos(0, of=("bottle",)))  # says nothing of the photo's condition, so what was said stays
    assert again.trial.conditions[0].conditions == {"intact": 4, "torn seal": 4}
    agent = make_agent(desk.db, "mia", admin=True).principal
    say(desk, "Is it broken?", uploads=[Upload("photo.jpg", None, shot("bottle", 30, "damaged"))])
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        [row] = session.scalars(select(Evidence)).all()
        seen = evidence.to_value(row)
        assert (seen.product.value, seen.condition.value) == ("bottle", "torn seal")
        photo = session.scalars(select(ProductPhoto).where(ProductPhoto.sha256 == seen.condition.reference)).one()
        assert (photo.condition, photo.product) == ("torn seal", "bottle")
        attachment = session.scalars(select(Attachment)).one()
        with pytest.raises(Invalid):
            correct_evidence(session, agent, attachment.public_id, {"condition": "sad"}, taxonomy=desk.taxonomy)
        changed = correct_evidence(
            session, agent, attachment.public_id, {"condition": "intact"}, taxonomy=desk.taxonomy
        )
        assert changed.fields["condition"]["value"] == "intact"
        assert evidence.to_value(changed).condition.reference == "", "the torn one speaks for it no longer"
        assert evidence.to_value(changed).product.reference == seen.product.reference
        correct_evidence(session, agent, attachment.public_id, {"condition": "torn seal"}, taxonomy=desk.taxonomy)
    with pytest.raises(Invalid, match="no kind of condition"):
        NewPhoto("tent", Upload("a.jpg", None, b""), "torn", "mood")


def test_a_photo_that_an_agent_corrected_is_learned_from_until_its_customer_goes(desk: Desk) -> None:
    key = desk.taxonomy.products[0].key
    learn_products(desk, [NewPhoto(key, Upload("0.jpg", None, shot("tent", 0))), *photos(0, 1, of=("bottle",))], NAMES)
    agent = make_agent(desk.db, "mia", admin=True).principal
    say(desk, "It is dented.", uploads=[Upload("rosas-tent.jpg", None, shot("nothing", 3))])
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        photo, customer = session.scalars(select(Attachment)).one(), session.scalars(select(Customer)).one()
        assert products.corrected_photos(session, desk) == []
        said = {"product": key, "condition": "damaged"}
        correct_evidence(session, agent, photo.public_id, said, taxonomy=desk.taxonomy)
        [found] = products.corrected_photos(session, desk)
        assert (found.product, found.state, found.sha256) == (key, ("damaged", "damage"), photo.sha256)
        assert products.hand_in_corrected(session, desk) == 1
        assert products.corrected_photos(session, desk) == []
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        version = products.show_version(session)
        assert version.products == {key: 2, "bottle": 2}
        row = session.scalars(select(ProductPhoto).where(ProductPhoto.is_customers)).one()
        assert (row.sha256, row.condition, "rosa" in row.filename) == (photo.sha256, "damaged", False)
    assert product_in(desk, "bottle", 20) == "bottle"
    receipt = erasure.erase(desk.db, desk.storage, desk.settings.data_dir, [customer.public_id])
    assert receipt.rows["product_photos"] == 1
    with desk.db.read() as session:
        assert products.show_version(session).products == {key: 1, "bottle": 2}
        assert products.mistaken(session, desk, version.version) == {}
        assert not session.scalars(select(ProductPhoto).where(ProductPhoto.sha256 == photo.sha256)).all()
    assert len(products.reading(desk).products._recogniser.catalogue.references) == 3  # type: ignore[union-attr]


def test_photos_live_as_long_as_a_version_names_them(desk: Desk) -> None:
    two = ("tent", "bottle")
    learn(desk, photos(0, of=two))
    again = learn(desk, photos(1, 2, of=two), afresh=True)
    later = utcnow() + timedelta(days=2)
    assert sweep(desk.db, desk.storage, now=later) == 0
    for _ in range(7):
        again = learn(desk, photos(1, 2, of=two), afresh=True)
    with desk.db.read() as session:
        assert {photo.filename for photo in session.scalars(select(ProductPhoto))} == {"1.jpg", "2.jpg"}
        assert len(session.scalars(select(ProductHead)).all()) == 6
    assert sweep(desk.db, desk.storage, now=later) == 2
    assert again.products == {"bottle": 2, "tent": 2}


def test_what_cannot_be_learned_says_why_and_changes_nothing(desk: Desk, make_runtime: Callable[..., Runtime]) -> None:
    with pytest.raises(Invalid, match="0 photos"):
        learn(desk, [])
    with pytest.raises((Invalid, Unsupported)):
        learn(desk, [NewPhoto("tent", Upload("tent.jpg", None, b"no photo"))])
    assert states(desk) == []
    with pytest.raises(NotReady, match="No features of photos"):
        learn(make_runtime(capabilities=fake_capabilities()).desk, photos(0))
