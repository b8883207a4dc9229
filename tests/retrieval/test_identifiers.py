"""Identifiers and names of products: what they tell about passages, the same on each database."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from assistant.desk.desk import Desk
from assistant.retrieval.index import Filters, Hit, Index
from assistant.runtime import Runtime
from assistant.text.identifiers import canonical
from tests.factories import make_articles

PRODUCTS = ("Nimbus Q7", "Nimbus Q7 Plus", "Nimbus Z90")
SUBJECTS = (
    "door", "hinge", "handle", "lamp", "fan", "belt", "cable", "plug", "fuse", "clock", "timer", "tray", "shelf",
    "filter", "hose", "valve", "seal", "glass", "knob", "dial", "motor", "brush", "wheel", "spring", "magnet", "sensor",
    "speaker", "buzzer", "heater", "grill", "drawer", "basket", "lid", "foot", "screw", "panel", "label", "gasket",
    "switch", "socket", "antenna", "battery", "charger", "remote", "strap", "case", "cover", "nozzle", "pump", "tank",
    "blade", "bearing", "pulley", "bracket", "rail", "roller", "duct", "vent", "coil", "probe", "hook", "latch",
    "bulb", "cord", "fin", "jug", "mat", "net", "pin", "rack",
)  # fmt: skip


def _rows() -> list[dict[str, str]]:
    """An article for each part of the first product and for some of the others, a list of codes for two of them, and
    articles about none."""
    rows = [
        {"title": f"{product}: {subject}", "text": f"How the {subject} is taken out and put back.", "product": product}
        for number, product in enumerate(PRODUCTS)
        for subject in (SUBJECTS[-8:] if number else SUBJECTS)
    ]
    rows += [
        {"title": f"{product}: codes", "text": f"E41: {cause}. F9: {other}.", "product": product}
        for product, cause, other in (("Nimbus Q7", "overheated", "too damp"), ("Nimbus Z90", "blocked", "too dry"))
    ]
    rows.append({"title": "Warranty", "text": "The warranty lasts three years. Keep the receipt of the purchase."})
    rows.append({"title": "Adapters", "text": "The adapter A5 fits the Nimbus Q7 and nothing else."})
    return [{"id": f"a{number}", **row} for number, row in enumerate(rows)]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def desk(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime], tmp_path: Path) -> Desk:
    changes = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    desk = make_runtime(**changes).desk
    make_articles(desk, tmp_path / "kb", {"parts.jsonl": "\n".join(map(json.dumps, _rows()))})
    return desk


def _titles(hits: Sequence[Hit]) -> list[str]:
    return [hit.document.metadata["article_title"] for hit in hits]


def _first(index: Index, query: str, **filters: tuple[str, ...]) -> Hit:
    return index.search(query, filters=Filters(**filters))[0]  # type: ignore[arg-type]


def test_a_product_in_the_question_is_a_preference_and_does_not_drown_what_is_asked(desk: Desk) -> None:
    """Every passage of the product carries its name, and there are more of them than candidates."""
    questions = (
        "How do I take out the {part} of my {product}?", "{product}: how is the {part} put back",
        "I own the {product}. The {part} must be taken out", "the {part} is stuck ({product})",
        "{part}? it is a {product}!",
    )  # fmt: skip
    for number, question in enumerate(questions):
        for product in (*PRODUCTS, "nimbus z-90"):
            part = SUBJECTS[-1 - number]
            right = product if product in PRODUCTS else "Nimbus Z90"
            assert _titles(desk.index.search(question.format(part=part, product=product)))[0] == f"{right}: {part}"


def test_the_number_of_a_model_alone_names_the_product_too(desk: Desk) -> None:
    assert _titles(desk.index.search("how is the rack of the Z90 taken out"))[0] == "Nimbus Z90: rack"


def test_an_article_about_no_product_is_found_although_the_product_is_named(desk: Desk) -> None:
    assert _titles(desk.index.search("How long does the warranty of my Nimbus Q7 last?"))[0] == "Warranty"
    assert _titles(desk.index.search("Which adapter fits the Nimbus Q7?"))[0] == "Adapters"


def test_a_real_code_comes_first_beside_a_name_with_digits(desk: Desk) -> None:
    for question in ("My Nimbus Z90 shows E41, the jug, the mat and the net are fine", "Z90 e-41", "E41 (Nimbus Z90)"):
        hit = _first(desk.index, question)
        assert (hit.document.metadata["article_title"], hit.codes) == ("Nimbus Z90: codes", ("E41",))
        assert hit.document.metadata["fits"] is True


def test_what_the_names_of_products_consist_of_is_told_from_codes(desk: Desk) -> None:
    metadata = _first(desk.index, "Nimbus Z90 shows E41").document.metadata
    assert (metadata["codes"], metadata["names"]) == (["E41"], [canonical("Z90")])
    named_by_number = _first(desk.index, "Z90 shows E41").document.metadata
    assert (named_by_number["codes"], named_by_number["names"]) == (["E41"], [canonical("Z90")])


def test_a_code_of_another_product_is_not_the_products(desk: Desk) -> None:
    """The code is known, but not of this product: nothing of the other one comes first because of it."""
    hit = _first(desk.index, "What does E41 on the Nimbus Q7 Plus mean?")
    assert hit.document.metadata["elsewhere"] == ["E41"]
    assert hit.document.metadata["unknown"] == []
    assert hit.codes == ()
    known = _first(desk.index, "what does E41 mean", products=("nimbus-z90",))
    assert (known.document.metadata["article_title"], known.document.metadata["elsewhere"]) == ("Nimbus Z90: codes", [])


def test_a_code_that_no_article_has_is_said_to_be_unknown(desk: Desk) -> None:
    metadata = _first(desk.index, "Nimbus Z90 shows E77, what now?").document.metadata
    assert (metadata["unknown"], metadata["elsewhere"], metadata["codes"]) == (["E77"], [], [])
    assert _first(desk.index, "error 41").document.metadata["unknown"] == []
    assert _first(desk.index, "I paid 1500 for it").document.metadata["unknown"] == [], "not surely a code"


def test_names_of_products_that_articles_do_not_state_are_known_from_the_taxonomy(desk: Desk) -> None:
    index = Index(desk.db, desk.embedders, product_names=[("Cloudy", "nimbus-z90"), ("Nimbus Z90", "nimbus-z90")])
    assert index.products_in("my CLOUDYは") == ["nimbus-z90"]
    assert index.products_in("the Nimbus Z90 and the Q7? Nimbus Q7!") == ["nimbus-z90", "Nimbus Q7"]
    assert _titles(index.search("the rack of my cloudy is taken out"))[0] == "Nimbus Z90: rack"
