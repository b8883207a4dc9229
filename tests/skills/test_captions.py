"""What a caption names, by codes with their places: of what was read, and of what agents have corrected."""

from __future__ import annotations

from dataclasses import replace

import pytest

from assistant import sample
from assistant.ports import Box, Mode, Seen, TextLine
from assistant.skills.captions import Salient, salient, seen_in, troubles_in
from assistant.skills.read_photo import CANNOT_TELL, DIFFERENT, PhotoEvidence, Reading, read_photo
from assistant.skills.taxonomy import load_taxonomy
from tests.factories import make_photo
from tests.fakes import FakeOCR, FakeSight, ScriptedChatModel, fake_capabilities

TAXONOMY = load_taxonomy(sample.taxonomy_path())
LEFT, RIGHT = Box(0.1, 0.1, 0.2, 0.2), Box(0.8, 0.1, 0.9, 0.2)
UNKNOWN = Reading(CANNOT_TELL, 1.0)
NOTHING = PhotoEvidence(Reading("A photo.", 1.0, composed={}), UNKNOWN, UNKNOWN, Reading("ok", 1.0))


def seen(of: str, *, damage: str = "", ocr: FakeOCR | None = None) -> PhotoEvidence:
    parts = fake_capabilities(
        Mode.SMALL_VLM, sight=FakeSight(Seen(True, (of, 0.9), (damage, 0.9))), ocr=ocr or FakeOCR()
    )
    return stored(read_photo(make_photo(), capabilities=parts, taxonomy=TAXONOMY))


def stored(evidence: PhotoEvidence) -> PhotoEvidence:
    return PhotoEvidence.from_json(evidence.to_fields(), evidence.visible_text_json())


def told(evidence: PhotoEvidence) -> list[tuple[str, str]]:
    return [(one.code, one.value) for one in salient(evidence)]


def test_a_kind_of_damage_is_named_as_long_as_the_condition_is_that() -> None:
    parcel = seen("parcel", damage="crushed box")
    assert told(parcel) == [("thing", "parcel"), ("condition", "crushed box")]
    assert salient(parcel)[1].regions == (Box(0.4, 0.4, 0.6, 0.6),)
    assert told(replace(parcel, condition=Reading("leaking", 1.0))) == [("thing", "parcel"), ("condition", "leaking")]
    assert told(replace(parcel, condition=Reading("intact", 1.0))) == [("thing", "parcel")]


def test_a_product_is_named_by_its_key_and_text_line_by_line_with_its_place() -> None:
    evidence = seen("homelink-x1", ocr=FakeOCR("HomeLink X1", "E21"))
    assert told(evidence)[0] == ("product", "homelink-x1")
    lines = [one for one in salient(evidence) if one.code == "text"]
    assert [(one.value, one.regions) for one in lines] == [
        (line.text, (line.box,)) for line in stored(evidence).visible_text
    ]


def test_a_long_text_is_named_as_far_as_a_caption_has_room() -> None:
    lines = tuple(TextLine(f"{number} " + "word " * 20, 0.9, LEFT) for number in range(4))
    text = [one.value for one in salient(replace(NOTHING, visible_text=lines))]
    assert [one[0] for one in text] == ["0", "1"]
    assert text[1].endswith("…")


@pytest.mark.parametrize(
    ("lights", "said"),
    [
        (Reading("red", 0.9, LEFT), [Salient("lights", "red", "lights", 0.9, (LEFT,))]),
        (Reading("red", 0.9, parts=(LEFT, RIGHT)), [Salient("lights", "red", "lights", 0.9, (LEFT, RIGHT), n=2)]),
        (
            Reading("green, off", 0.9, parts=(LEFT, RIGHT), labels=("POWER", "")),
            [
                Salient("light", "green", "lights", 0.9, (LEFT,), "POWER"),
                Salient("light", "off", "lights", 0.9, (RIGHT,), "2"),
            ],
        ),
        (  # corrected by an agent: there are fewer
            Reading("green, red", 1.0, parts=(LEFT, RIGHT, LEFT)),
            [Salient("light", "green", "lights", 1.0, (), "1"), Salient("light", "red", "lights", 1.0, (), "2")],
        ),
        (Reading(DIFFERENT, 0.7), [Salient("lights", DIFFERENT, "lights", 0.7)]),
        (UNKNOWN, []),
    ],
)
def test_lights_are_named_together_or_one_by_one_with_what_is_beside_them(lights: Reading, said: list[Salient]) -> None:
    assert list(salient(stored(replace(NOTHING, lights=lights)))) == said


def test_numbers_of_a_receipt_are_named_and_what_cannot_be_told_is_not() -> None:
    evidence = replace(NOTHING, total=Reading("€12.50", 0.9, LEFT), date=Reading(CANNOT_TELL, 1.0))
    assert salient(evidence) == (Salient("total", "€12.50", "total", 0.9, (LEFT,)),)


def test_why_text_is_missing_is_a_code() -> None:
    evidence = read_photo(make_photo(), capabilities=fake_capabilities(ocr=None), taxonomy=TAXONOMY)
    assert told(stored(evidence)) == [("trouble", "no_ocr")]


def test_a_caption_that_a_model_wrote_is_not_composed() -> None:
    writes = ScriptedChatModel(default='{"caption": "A grey box on a table."}')
    parts = fake_capabilities(Mode.FULL_VLM, chat_model=writes, ocr=FakeOCR())
    written = stored(read_photo(make_photo(), capabilities=parts, taxonomy=TAXONOMY))
    assert written.caption.composed is None
    assert stored(NOTHING).caption.composed == {}


def test_what_is_shown_and_what_of_it_is_wrong_in_words() -> None:
    def told(condition: str, lights: str | None = None) -> tuple[list[str], list[str]]:
        fields = {"condition": {"value": condition}, "lights": {"value": lights} if lights else None}
        return seen_in(fields), troubles_in(fields)

    assert told("leaking", "red, green, red") == (["leaking", "red light", "green light"], ["leaking", "red light"])
    assert told("intact", "off") == (["intact", "light off"], [])
    assert told("part present") == (["part present"], [])
    assert told("torn seam", "amber") == (["torn seam", "amber light"], ["torn seam", "amber light"])
    assert told(CANNOT_TELL, "different") == told(CANNOT_TELL, CANNOT_TELL) == told(CANNOT_TELL) == ([], [])
    assert seen_in({}) == []
