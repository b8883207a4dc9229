"""Lights that shine on any device, found in the pixels where no model knows it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from assistant import sample
from assistant.lab.evaluation.lights import evaluate_lights
from assistant.ports import Box, Mode, Seen, TextLine
from assistant.skills.read_photo import PhotoEvidence, Reading, read_photo
from assistant.skills.taxonomy import load_taxonomy
from tests.fakes import FakeOCR, FakeSight, fake_capabilities

TAXONOMY = load_taxonomy(sample.taxonomy_path())
TINTS = {"green": (0.05, 1.0, 0.12), "red": (1.0, 0.03, 0.02), "blue": (0.03, 0.2, 1.0)}
WIDTH, HEIGHT = 640, 480


def device(*colours: str, turned: bool = False, grey: bool = False, even: bool = False) -> bytes:
    """A dark box on a desk whose lights shine in a row, one of each colour, as a camera sees it: burnt-out middles with
    a glow. ``even``: the same as a picture of a screen, with painted dots."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (150, 140, 128))
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((70, 120, 570, 360), 12, fill=(38, 38, 41))
    pen.rectangle((100, 300, 200, 335), fill=(20, 20, 20))
    linear = 0.6 * (np.asarray(image) / 255.0) ** 2.2
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    for number, colour in enumerate(colours):
        x, y = 180 + 110 * number, 200
        away = np.hypot(columns - x, rows - y) / 6
        if even:
            pen.ellipse((x - 6, y - 6, x + 6, y + 6), fill=tuple(round(255 * part) for part in TINTS[colour]))
        light = 8 * np.clip(1.5 - away, 0, 1) + 0.35 * np.exp(-(away**2) / 9)
        linear = linear + light[..., None] * np.array(TINTS[colour])
    if not even:
        noise = np.random.default_rng(0).normal(0, 0.012, linear.shape)
        image = Image.fromarray((255 * (linear + noise).clip(0, 1) ** (1 / 2.2)).astype(np.uint8))
    image = image.rotate(180) if turned else image
    stream = io.BytesIO()
    image.convert("L" if grey else "RGB").convert("RGB").save(stream, "PNG" if even else "JPEG", quality=90)
    return stream.getvalue()


def lights(photo: bytes, *text: TextLine, mode: Mode = Mode.NO_VLM, **parts: object) -> Reading | None:
    capabilities = fake_capabilities(mode, ocr=FakeOCR(*text), **parts)  # type: ignore[arg-type]
    evidence = read_photo(photo, capabilities=capabilities, taxonomy=TAXONOMY)
    again = PhotoEvidence.from_json(evidence.to_fields(), evidence.visible_text_json())
    assert again.to_fields() == evidence.to_fields()
    return evidence.lights


def below(number: int, text: str, turn: int = 0) -> TextLine:
    x = (180 + 110 * number) / WIDTH
    return TextLine(text, 0.95, Box(x - 0.03, 218 / HEIGHT, x + 0.03, 232 / HEIGHT), turn)


def test_lights_of_an_unknown_device_are_told_with_their_labels() -> None:
    photo = device("green", "red", "green")
    told = lights(photo, below(0, "PWR"), below(1, "STATUS"), TextLine("Model 7", 0.9, Box(0.1, 0.9, 0.3, 0.95)))
    assert told is not None
    assert (told.value, told.labels) == ("green, red, green", ("PWR", "STATUS", ""))
    assert told.confidence >= 0.9
    for number, box in enumerate(told.parts):
        assert box.left < (180 + 110 * number) / WIDTH < box.right
    unfamiliar = FakeSight(Seen(False, ("homelink-x1", 1.0), ("", 1.0), (("blue", 1.0),)))
    assert lights(photo, below(0, "PWR"), mode=Mode.SMALL_VLM, sight=unfamiliar) is not None
    one = lights(device("blue"), below(0, "PWR"))
    assert one is not None
    assert (one.value, one.parts, one.region is not None) == ("blue", (), True)


def test_of_lights_no_more_is_told_than_can_be_known() -> None:
    row = ("red", "green", "red")
    assert lights(device(*row, grey=True), below(0, "PWR")) is None
    assert lights(device(*row, even=True), below(0, "PWR")) is None  # dots on a screen
    for photo, text in ((device(*row), ()), (device(*row, turned=True), (below(0, "PWR", 180),))):
        told = lights(photo, *text)
        assert told is not None
        assert (told.value, told.labels) == ("green, red", ())
    assert lights(device(), below(0, "PWR")) is None


@pytest.mark.slow
def test_what_finds_lights_is_measured_on_devices_that_it_was_not_fitted_to() -> None:
    unknown, recognised = evaluate_lights(40, []).scores
    assert unknown.right >= 0.85
    assert unknown.dark <= 1
    assert recognised.claimed >= unknown.claimed > 0.1
