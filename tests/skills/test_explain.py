"""What a triage field depends on in photos: each share is the difference to the same photo, read without that."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from assistant import sample
from assistant.ports import Mode, Seen
from assistant.skills.explain import Influence, Ticket, explain, without_line, without_reading
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence, read_photo
from assistant.skills.taxonomy import load_taxonomy
from assistant.skills.triage import TriagedField, triage
from tests.factories import make_photo
from tests.fakes import FakeOCR, FakeSight, fake_capabilities

TAXONOMY = load_taxonomy(sample.taxonomy_path())
TEXT = "It does not work any more."
LINES = ("HomeLink X1", "Please return the parcel to the shop", "E21")
HUB = Seen(True, ("homelink-x1", 0.9), ("", 0.9), (("green", 0.9),))
UNLIT = Seen(True, ("homelink-x1", 0.9), ("", 0.9))


def read(*lines: str, seen: Seen | None = HUB) -> PhotoEvidence:
    sight = FakeSight(seen) if seen is not None else None
    parts = fake_capabilities(Mode.SMALL_VLM, sight=sight, ocr=FakeOCR(*lines))
    return read_photo(make_photo(), capabilities=parts, taxonomy=TAXONOMY)


def run(ticket: Ticket) -> list[TriagedField]:
    parts = fake_capabilities()
    return triage(ticket.text, evidence=ticket.evidence, capabilities=parts, taxonomy=TAXONOMY)


def read_without(one: Influence, lines: Sequence[str], seen: Seen | None) -> tuple[PhotoEvidence, ...] | None:
    """The photo read anew as if it did not show that; None of what cannot be left out by itself."""
    if one.line is not None:
        return (read(*(line for number, line in enumerate(lines) if number != one.line), seen=seen),)
    if one.field == "lights":
        return (read(*lines, seen=UNLIT),)
    return () if one.photo is not None and one.field is None else None


@pytest.mark.parametrize(("lines", "seen"), [(LINES, None), (LINES[1:], HUB), (("E21",), HUB), ((), HUB)])
def test_what_a_field_loses_without_part_of_a_photo_is_what_it_loses_if_the_photo_is_read_without_it(
    lines: tuple[str, ...], seen: Seen | None
) -> None:
    whole = Ticket(TEXT, (read(*lines, seen=seen),))
    fields = {field.name: field for field in run(whole)}
    compared = 0
    for name, found in explain(whole, run).items():
        for one in found:
            evidence = read_without(one, lines, seen)
            if evidence is not None:
                left = {field.name: field.probabilities for field in run(Ticket(TEXT, evidence))}
                lost = fields[name].probability - left[name].get(fields[name].value, 0.0)
                assert one.change == pytest.approx(lost, abs=1e-6), (name, one)
                compared += 1
    assert compared


def test_a_name_in_a_photo_of_a_product_that_is_seen_as_well_is_not_what_it_is_known_by() -> None:
    seen, read_alone = read("HomeLink X1"), read("HomeLink X1", seen=None)
    assert without_line(seen, 0).product.value == "homelink-x1"
    assert without_line(read_alone, 0).product.value == CANNOT_TELL


@pytest.mark.parametrize(
    ("seen", "lines"),
    [
        (HUB, ()),
        (HUB, ("POWER", "a; b.")),
        (Seen(True, ("parcel", 0.9), ("crushed box", 0.9)), ("VoltBank 500",)),
        (Seen(True, ("washpro-8", 0.9), ("leak", 0.9), (("red", 0.9), ("off", 0.8))), ()),
    ],
)
@pytest.mark.parametrize("name", ["product", "lights", "condition"])
def test_what_is_taken_away_is_named_nowhere_else(seen: Seen, lines: tuple[str, ...], name: str) -> None:
    evidence = read(*lines, seen=seen)
    rest = without_reading(evidence, name)
    product = TAXONOMY.product_name(evidence.product.value)
    gone = {"product": product, "lights": "lights: ", "condition": seen.damage[0]}[name]
    caption = rest.caption.value.split("; text: ")[0]
    assert not gone or gone not in caption
    others = {"product", "lights", "condition"} - {name}
    assert all(getattr(rest, one) == getattr(evidence, one) for one in others)
    assert rest.text == evidence.text
    assert rest.caption.value.endswith(".")
