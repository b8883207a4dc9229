"""Two photos of one device: what has changed, in words and boxes; and when nothing can be said."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from PIL import Image, ImageDraw

from assistant.lab.evaluation.pairs import drawn
from assistant.lab.training.world import taxonomy as sample_taxonomy
from assistant.media import comparing, opencv
from assistant.ports import Box, TextLine
from assistant.sample.canvas import through_camera
from assistant.skills.compare_photos import compare_photos
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence, Reading

UNREAD = Reading(CANNOT_TELL, 1.0)


def read(*lines: TextLine, lights: str = "", product: str = "") -> PhotoEvidence:
    return PhotoEvidence(
        caption=Reading("A photo.", 1.0),
        product=Reading(product, 0.9) if product else UNREAD,
        condition=UNREAD,
        quality=Reading("good", 1.0),
        visible_text=lines,
        lights=Reading(lights, 0.9) if lights else None,
    )


def grey(photo: bytes) -> bytes:
    stream = io.BytesIO()
    Image.open(io.BytesIO(photo)).convert("L").convert("RGB").save(stream, "JPEG")
    return stream.getvalue()


def test_changes_between_two_photos_are_boxed_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    taxonomy = sample_taxonomy()
    pair = drawn(4, changed=True)  # of a device, from two angles, in other light
    assert pair.place is not None
    first, second = (product.key for product in taxonomy.products[:2])
    was = read(TextLine("E4", 0.9, Box(0.4, 0.4, 0.5, 0.5)), lights="red", product=first)
    now = read(TextLine("POWER", 0.9, pair.place), lights="green", product=first)
    found = compare_photos(pair.one, pair.other, (was, now), taxonomy)
    assert found.reason is None
    [change] = found.changes
    middle = ((change.after.left + change.after.right) / 2, (change.after.top + change.after.bottom) / 2)
    assert pair.place.left < middle[0] < pair.place.right
    assert pair.place.top < middle[1] < pair.place.bottom
    assert change.near == "POWER"
    assert "Lights: was red, is now green." in found.words
    assert "Code E4 is not to be read any more." in found.words
    assert any(said.startswith("Something changed ") and "“POWER”" in said for said in found.words)

    same = drawn(3, changed=False)
    found = compare_photos(same.one, same.other, (was, was), taxonomy)
    assert (found.reason, found.changes) == (None, ())
    assert "Lights: still red." in found.words
    assert "Code E4 is still there." in found.words
    assert any(said.startswith("No difference is visible") for said in found.words)

    dark = replace(now, lights=UNREAD)
    found = compare_photos(same.one, grey(same.other), (was, dark), taxonomy)
    assert "Lights cannot be compared: a photo has no colours." in found.words
    found = compare_photos(pair.one, same.one, (read(), read()), taxonomy)
    assert (found.reason, found.changes, found.overlap) == ("not_alike", (), 0.0)
    found = compare_photos(pair.one, pair.other, (was, replace(now, product=Reading(second, 0.9))), taxonomy)
    assert found.reason == "another_product"
    monkeypatch.setattr(opencv, "is_installed", lambda: False)
    found = compare_photos(pair.one, pair.other, (was, now), taxonomy)
    assert found.reason == "not_installed"
    assert "Lights: was red, is now green." in found.words


def test_pictures_without_anything_to_hold_on_to_cannot_be_compared() -> None:
    plain = Image.new("RGB", (900, 700), (120, 120, 120))
    ImageDraw.Draw(plain).ellipse((300, 300, 420, 420), fill=(200, 30, 30))
    photos = []
    for seed in (1, 2):
        stream = io.BytesIO()
        through_camera(plain.resize((2400, 1800)), seed=seed).save(stream, "JPEG")
        photos.append(stream.getvalue())
    assert comparing.overlay(*photos) is None
    tiny = io.BytesIO()
    Image.new("RGB", (3, 1)).save(tiny, "PNG")
    assert comparing.overlay(tiny.getvalue(), photos[0]) is None
