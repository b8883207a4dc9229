"""OCR: what is read where, and the second look for displays."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from assistant.engine.models import ocr
from assistant.engine.models.ocr import RapidOCR, with_displays
from assistant.lab.training.scenes import photograph
from assistant.lab.training.world import FIRST_EVALUATION_SEED
from assistant.ports import Box, TextLine
from tests.engine.conftest import encoded, picture, together

NAME = TextLine("WashPro 8", 0.9, Box(0.1, 0.1, 0.4, 0.2))
WHOLE = TextLine("E17", 0.9, Box(0.6, 0.1, 0.8, 0.3))
PART = TextLine("17", 0.9, Box(0.7, 0.1, 0.8, 0.3))


def test_text_is_read_where_it_stands_and_the_models_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[Mapping[str, Any] | None] = []
    load = ocr._load
    monkeypatch.setattr(ocr, "_load", lambda settings=None: (loads.append(settings), load(settings))[1])
    reader = RapidOCR()
    photo = encoded(picture("navy", "ERROR E21", size=(640, 320)))
    readings = together(lambda: reader.read(photo), 3)
    assert len(loads) == 2  # for the first look and the second
    for lines in readings:
        line = next(line for line in lines if "E21" in line.text)
        assert 0.5 < line.confidence <= 1.0
        assert 0.0 <= line.box.left < line.box.right <= 1.0
        assert 0.1 < line.box.top < line.box.bottom < 0.8


@pytest.mark.parametrize(("seed", "code"), [(6026, "C9"), (6131, "E48")])
def test_large_digits_of_separate_bars_are_read(seed: int, code: str) -> None:
    photo, scene = photograph(FIRST_EVALUATION_SEED + seed, long_side=800, kind="product")
    assert scene.code == code
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=88)
    lines = RapidOCR().read(stream.getvalue())
    assert code in [line.text for line in lines]
    assert len({line.text for line in lines}) == len(lines)


@pytest.mark.parametrize(
    ("blurred", "texts"),
    [
        ([WHOLE], ["WashPro 8", "E17"]),
        ([TextLine("E17", 0.9, Box(0.6, 0.5, 0.8, 0.7))], ["WashPro 8", "17", "E17"]),
        ([TextLine("E17", 0.5, Box(0.6, 0.1, 0.8, 0.3))], ["WashPro 8", "17"]),
        ([TextLine("E11", 0.9, Box(0.6, 0.1, 0.8, 0.3))], ["WashPro 8", "17"]),
        ([TextLine("日日", 0.9, Box(0.6, 0.5, 0.8, 0.7))], ["WashPro 8", "17"]),
        ([TextLine("7", 0.9, Box(0.6, 0.5, 0.8, 0.7))], ["WashPro 8", "17"]),
        ([WHOLE, replace(WHOLE, confidence=0.95)], ["WashPro 8", "E17"]),
        ([WHOLE, replace(WHOLE, text="E117")], ["WashPro 8", "17"]),
        ([TextLine("LUMORA", 0.9, Box(0.6, 0.5, 0.8, 0.7))], ["WashPro 8", "17"]),
    ],
    ids=[
        "whole for a part",
        "new",
        "unsure",
        "another reading",
        "no code",
        "too short",
        "twice",
        "in two ways",
        "a word",
    ],
)
def test_of_the_second_look_only_readings_of_displays_count(blurred: list[TextLine], texts: list[str]) -> None:
    assert [line.text for line in with_displays([NAME, PART], blurred)] == texts
