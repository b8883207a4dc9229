"""`assistant eval photos`: what it reads, compares and shows."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from assistant import sample
from assistant.errors import Invalid
from assistant.lab.evaluation.photos import Case, Report, compared, contact_sheet, evaluate_photos, read_cases, reported
from assistant.lab.evaluation.scenes import drawn, evaluate_scenes
from assistant.media.photo import Limits
from assistant.ports import Box, Capabilities, TextLine
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence, Reading
from assistant.skills.taxonomy import load_taxonomy
from tests.fakes import FakeDecisions

TAXONOMY = load_taxonomy(sample.taxonomy_path())
EVIDENCE = PhotoEvidence(
    caption=Reading("A machine.", 0.9),
    product=Reading("brewmaster-300", 0.8, Box(0.1, 0.1, 0.5, 0.5)),
    condition=Reading("intact", 0.7),
    quality=Reading("good", 0.9),
    visible_text=(TextLine("SN: DP4O718256", 0.6, Box(0, 0, 1, 0.1)), TextLine("E21", 0.9, Box(0.4, 0.4, 0.6, 0.6))),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = sample.demo_tickets()[0].photos[0]
    (tmp_path / "a.jpg").write_bytes(source.read_bytes())
    row = {"photo": "a.jpg", "expected": {"product": "none", "code": "E21", "lights": ["red"]}}
    (tmp_path / "photos.jsonl").write_text(json.dumps(row), encoding="utf-8")
    return tmp_path


@pytest.fixture
def report(folder: Path, capabilities: Capabilities) -> tuple[Report, list[Case]]:
    cases = read_cases(folder, limits=Limits())
    without = replace(capabilities, ocr=None)
    return evaluate_photos(cases, path="set", capabilities=without, taxonomy=TAXONOMY), cases


def test_fields_codes_and_signs_are_compared_each_in_its_way() -> None:
    expected = {"product": "washpro-8", "condition": "intact", "code": "E21", "serial": "DP40718256"}
    found = {one.field: one for one in compared(Case("a", b"", expected, {}), EVIDENCE)}
    assert {field: one.right for field, one in found.items()} == {
        "product": False, "condition": True, "code": True, "serial": False,
    }  # fmt: skip
    assert found["serial"].alike == pytest.approx(0.9)
    assert found["serial"].read == "SN: DP4O718256"


@pytest.mark.parametrize(("box", "inside"), [(Box(0.2, 0.2, 0.4, 0.4), 1.0), (Box(0.6, 0.6, 0.9, 0.9), 0.0)])
def test_a_region_counts_if_its_centre_lies_in_the_true_box(box: Box, inside: float) -> None:
    case = Case("a", b"", {"product": "brewmaster-300"}, {"product": (box,)})
    assert [one.inside for one in compared(case, EVIDENCE)] == [inside]


def test_of_several_lights_each_counts() -> None:
    boxes = (Box(0.1, 0.1, 0.2, 0.2), Box(0.8, 0.1, 0.9, 0.2))
    lights = Reading("red, off", 0.9, Box(0.1, 0.1, 0.6, 0.2), parts=(boxes[0], Box(0.4, 0.1, 0.6, 0.2)))
    case = Case("a", b"", {"lights": "red, off"}, {"lights": boxes})
    assert [one.inside for one in compared(case, replace(EVIDENCE, lights=lights))] == [0.5]


def test_what_was_not_read_at_all_is_no_wrong_probability() -> None:
    unread = Case("a", b"", {"lights": CANNOT_TELL}, {})
    red = Case("b", b"", {"lights": "red"}, {})
    seen = replace(EVIDENCE, lights=Reading("red", 0.9))
    outcomes = [*compared(unread, EVIDENCE), *compared(red, seen)]
    (score,) = reported("set", "model", outcomes, photos=2, seconds=0.0).scores
    assert score.accuracy == 1.0
    assert score.calibration_error == pytest.approx(0.1)


def test_a_labelled_folder_is_read_and_what_was_wrong_is_shown(
    report: tuple[Report, list[Case]], tmp_path: Path
) -> None:
    measured, cases = report
    scores = {score.field: score for score in measured.scores}
    assert scores["product"].accuracy == 1.0  # nobody looked, and "none" was expected
    assert scores["lights"].accuracy == 1.0  # found in the pixels, without a model
    assert scores["code"].accuracy == 0.0
    assert [one["field"] for one in measured.to_json()["wrong"]] == ["code"]
    assert "product" in measured.render()
    measured.plot(tmp_path / "plot.png")
    contact_sheet(measured, cases, tmp_path / "sheet.png")
    for name in ("plot.png", "sheet.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("line", ["{", "[]", '{"photo": "a.jpg"}', '{"photo": "gone.jpg", "expected": {}}'])
def test_a_line_that_is_no_photo_is_named(folder: Path, line: str) -> None:
    file = folder / "photos.jsonl"
    file.write_text(file.read_text(encoding="utf-8") + "\n" + line, encoding="utf-8")
    with pytest.raises(Invalid, match=r"photos\.jsonl, line 2"):
        read_cases(folder, limits=Limits())


def test_a_receipt_is_about_the_product_that_it_names() -> None:
    about = {scene.case.expected["product"] for scene in drawn(4, kind="receipt")}
    assert about - {CANNOT_TELL} <= {product.key for product in TAXONOMY.products}
    assert about != {CANNOT_TELL}


def test_drawn_scenes_need_a_model_that_decides(capabilities: Capabilities) -> None:
    scenes = drawn(2)
    assert [scene.case.photo[:2] for scene in scenes] == [b"\xff\xd8"] * 2
    with pytest.raises(Invalid, match="ASSISTANT_MODEL"):
        evaluate_scenes(scenes, capabilities=replace(capabilities, decisions=None), taxonomy=TAXONOMY)


def test_questions_are_asked_of_the_photo_and_again_without_it(capabilities: Capabilities) -> None:
    decisions = FakeDecisions({"fact": "yes"})
    scenes = drawn(2, kind="product")
    report = evaluate_scenes(scenes, capabilities=replace(capabilities, decisions=decisions), taxonomy=TAXONOMY)
    calls = len({one.state for one in scenes[1].asked})
    seen, withheld = decisions.asked[-2 * calls : -calls], decisions.asked[-calls:]
    assert {photos for _, photos, _ in seen} == {(scenes[1].case.photo,)}
    assert [(state, asked) for state, _, asked in seen] == [(state, asked) for state, _, asked in withheld]
    assert not any(photos for _, photos, _ in withheld)
    photos = {score.field: score.photos for score in report.scores}
    assert photos["question: fact"] == 2
    assert photos["question"] == photos["question without the photo"] == sum(len(scene.asked) for scene in scenes)
