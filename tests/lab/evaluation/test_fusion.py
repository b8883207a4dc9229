"""`assistant eval fusion`: text and photo of drawn tickets, each alone and together."""

from __future__ import annotations

from pathlib import Path

from assistant.lab.evaluation import fusion
from assistant.skills.taxonomy import load_taxonomy
from tests.fakes import FakeOCR, fake_capabilities

TAXONOMY = load_taxonomy(None)


def test_what_is_missing_is_left_to_what_is_there(tmp_path: Path) -> None:
    tickets = fusion.scenes(5, TAXONOMY)
    assert len({one.truth["category"] for one in tickets}) == 5
    report = fusion.evaluate_fusion(
        {"scenes": tickets}, capabilities=fake_capabilities(ocr=FakeOCR("invoice")), taxonomy=TAXONOMY
    )
    found = {(one.condition, one.field, one.method): one.accuracy for one in report.scores}
    assert {key[0] for key in found} == {"both", "no photo", "no text", "blurred", "dark", "wrong photo"}
    for field in fusion.FIELDS:
        assert found["no photo", field, "late"] == found["no photo", field, "text"] == found["both", field, "text"]
        assert found["no text", field, "late"] == found["no text", field, "photo"]
        assert ("no photo", field, "photo") not in found
    assert "wrong photo" in report.render()
    report.plot(tmp_path / "bars.png")
    assert (tmp_path / "bars.png").stat().st_size > 1000
