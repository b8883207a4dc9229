"""What a message shows before anything was learned: danger, legal terms, wishes, courtesy, urgency, feelings."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from assistant.engine.models.multilingual import offline_multilingual
from assistant.skills import cue_heads, cues
from assistant.skills.cues import FIELDS, SIGNALS
from assistant.skills.language import courtesy, wants_person
from tests.fakes import fake_capabilities

LETTERS_ALONE = fake_capabilities()


def test_every_probability_is_one_and_every_distribution_sums_to_one() -> None:
    for text in ("", " ", "👍", "It shows E21", "x" * 5000, "\x00", "¿?", "Thanks. " * 400):
        shown = cues.read(text, LETTERS_ALONE)
        assert set(shown.signals) == set(SIGNALS)
        assert all(0.0 <= probability <= 1.0 for probability in shown.signals.values())
        for name, options in FIELDS.items():
            assert tuple(shown.fields[name]) == options
            assert all(share >= -1e-6 for share in shown.fields[name].values())
            assert sum(shown.fields[name].values()) == pytest.approx(1.0, abs=1e-6)


def test_danger_is_urgent_and_for_a_person_whatever_else_is_said() -> None:
    shown = cues.read("Thanks a lot, great shop! There is smoke coming out of my toaster.", LETTERS_ALONE)
    danger = shown.signals["dangerous"]
    assert shown.fields["priority"]["urgent"] >= danger - 1e-6
    assert shown.fields["needs_human"]["yes"] >= danger - 1e-6


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    shipped = cue_heads.load()
    cue_heads.save(list(shipped.values()), tmp_path / "again.safetensors")
    again = cue_heads.load(tmp_path / "again.safetensors")
    assert set(again) == set(shipped)
    for name, heads in shipped.items():
        np.testing.assert_array_equal(heads.slope, again[name].slope)
        for layer, layer_again in zip(heads.layers, again[name].layers, strict=True):
            np.testing.assert_array_equal(layer[0], layer_again[0])
    assert cue_heads.FILE.stat().st_size < 2_500_000


@pytest.mark.parametrize("text", ["👍", "Thanks!", "thank you so much", "Vielen Dank", "merci beaucoup", "ok, gracias"])
def test_common_courtesies_are_known_without_an_embedder(text: str) -> None:
    assert courtesy(text) is not None


@pytest.mark.parametrize("text", ["E21", "The display shows F07", "Die Lampe geht nicht", "Where is my invoice?", "?"])
def test_without_an_embedder_content_is_no_courtesy(text: str) -> None:
    assert courtesy(text) is None


@pytest.mark.parametrize("text", ["I want to talk to a person", "Ich möchte mit einem Mitarbeiter sprechen"])
def test_a_plain_wish_for_a_person_is_heard_without_an_embedder(text: str) -> None:
    assert wants_person(text)


@pytest.mark.slow
def test_goods_that_are_damaged_or_make_a_noise_are_no_danger_and_dangers_are_found() -> None:
    # Nothing in this file may be used for fitting.
    lines = Path(__file__).with_name("unseen_messages.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    capabilities = fake_capabilities(second_embedder=offline_multilingual())
    dangerous = {row["text"]: cues.read(row["text"], capabilities).shows("dangerous") for row in rows}
    cried = [row["text"] for row in rows if row["priority"] != "urgent" and dangerous[row["text"]]]
    missed = [row["text"] for row in rows if row["priority"] == "urgent" and not dangerous[row["text"]]]
    assert len(cried) <= 0.08 * sum(row["priority"] != "urgent" for row in rows), cried
    assert len(missed) <= 0.11 * sum(row["priority"] == "urgent" for row in rows), missed
