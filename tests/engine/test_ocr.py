"""OCR: what is read where, in which direction; thin, long and turned pictures; displays; and what
happens when the OCR process fails."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import cast

import numpy as np
import psutil
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from assistant.engine.ocr import RapidOCR, reading, seven_segments
from assistant.engine.ocr.displays import with_displays
from assistant.engine.ocr.finding import find_lines
from assistant.engine.ocr.models import Models
from assistant.engine.ocr.pieces import cut, fit
from assistant.engine.ocr.reader import likely_turn
from assistant.engine.ocr.seven_segments import write
from assistant.errors import EngineFailed, NotReady
from assistant.lab.evaluation.displays import FIRST_SEED as FIRST_DISPLAY
from assistant.lab.evaluation.displays import draw_photo, evaluate_displays
from assistant.lab.training.display_lines import draw_display_line
from assistant.lab.training.display_reader import Network, collate
from assistant.lab.training.scenes import photograph
from assistant.lab.training.world import FIRST_EVALUATION_SEED
from assistant.ports import Box, TextLine
from assistant.sandbox.worker import Limits, Worker
from tests.engine.conftest import encoded, picture, together

NAME = TextLine("WashPro 8", 0.9, Box(0.1, 0.1, 0.4, 0.2))
WHOLE = TextLine("E17", 0.9, Box(0.6, 0.1, 0.8, 0.3))
PART = TextLine("17", 0.9, Box(0.7, 0.1, 0.8, 0.3))
RECEIPT = (
    "LUMORA HOME STORE",
    "12 Harbour Street",
    "Date 14/03/2026",
    "Kettle K2   39.90",
    "TOTAL   39.90",
    "Thank you",
)


@pytest.fixture(scope="module")
def ocr() -> Iterator[RapidOCR]:
    reader = RapidOCR()
    yield reader
    reader.close()


def written(*lines: str, size: tuple[int, int], height: int = 40, step: int = 90) -> Image.Image:
    """Black on white, line below line."""
    page = Image.new("RGB", size, "white")
    for number, line in enumerate(lines):
        ImageDraw.Draw(page).text((30, 30 + number * step), line, fill="black", font=ImageFont.load_default(height))
    return page


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def ocr_process() -> psutil.Process:
    """The one that runs."""
    children = psutil.Process().children(recursive=True)
    return next(child for child in children if any("ocr.reader" in part for part in child.cmdline()))


def test_text_is_read_where_it_stands_by_one_process(ocr: RapidOCR) -> None:
    photo = encoded(picture("navy", "ERROR E21", size=(640, 320)))
    ocr.read(photo)
    process = ocr_process()
    for lines in together(lambda: RapidOCR().read(photo), 3):
        line = next(line for line in lines if "E21" in line.text)
        assert 0.5 < line.confidence <= 1.0
        assert 0.0 <= line.box.left < line.box.right <= 1.0
        assert 0.1 < line.box.top < line.box.bottom < 0.8
        assert line.turn == 0
    assert ocr_process().pid == process.pid


@pytest.mark.parametrize(
    "size",
    [(600, 2), (2000, 1), (1, 2000), (1600, 7), (717, 51), (51, 717), (3000, 10), (1600, 90), (60, 1600), (1, 1)],
)
def test_a_thin_picture_takes_no_more_than_any_other(ocr: RapidOCR, size: tuple[int, int]) -> None:
    ocr.read(png(Image.new("RGB", size, "grey")))
    assert ocr_process().memory_info().rss < reading._LIMITS.memory


@pytest.mark.parametrize("size", [(717, 51), (1600, 64), (2400, 60)])
def test_a_single_line_is_read_lying_and_standing(ocr: RapidOCR, size: tuple[int, int]) -> None:
    strip = Image.new("RGB", size, "white")
    ImageDraw.Draw(strip).text((12, 6), "ERROR E21 PUMP", fill="black", font=ImageFont.load_default(40))
    assert "E21" in ocr.read(png(strip))[0].text
    assert "E21" in ocr.read(png(strip.transpose(Image.Transpose.ROTATE_90)))[0].text


def test_a_long_screenshot_is_read_from_top_to_bottom_each_line_once(ocr: RapidOCR) -> None:
    lines = [f"Message {number} of the chat" for number in range(100, 160)]
    read = [line.text for line in ocr.read(png(written(*lines, size=(1080, 5600))))]
    assert [text.replace(" ", "") for text in read] == [line.replace(" ", "") for line in lines]


def test_a_wide_panorama_is_read_across_its_seams(ocr: RapidOCR) -> None:
    words = [f"SHELF{number}" for number in range(10, 24)]
    wide = Image.new("RGB", (6000, 500), "white")
    for number, word in enumerate(words):
        place = (20 + 430 * number, 150 + number % 3 * 90)
        ImageDraw.Draw(wide).text(place, word, fill="black", font=ImageFont.load_default(40))
    assert sorted(line.text for line in ocr.read(png(wide))) == words


@pytest.mark.parametrize("width", [30, 400, 1080, 1600, 5000])
@pytest.mark.parametrize("height", [2001, 12_000, 40_000])
def test_pieces_cover_a_long_picture_and_are_bounded(width: int, height: int) -> None:
    size = fit(Image.new("L", (width, height))).size
    pieces = cut(size)
    assert (pieces[0].top, pieces[-1].bottom) == (0, size[1])
    assert all(before.bottom - after.top >= 100 for before, after in pairwise(pieces))
    searched = [(one.right - one.left) * (one.bottom - one.top) * one.scale**2 for one in pieces]
    assert max(searched) < 3.1e6
    assert sum(searched) < 12e6


class DarkPlaces:
    """In place of `Models`: takes what is dark for lines, and keeps how many pixels each search had."""

    def __init__(self) -> None:
        self.searched: list[int] = []

    def scale(self, _picture: np.ndarray) -> float:
        return 1.0

    def detect(self, picture: np.ndarray) -> np.ndarray:
        return self.detect_at(picture, 1.0)[0]

    def detect_at(self, picture: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        step = round(1 / scale)
        dark = picture[::step, ::step, 0] < 128
        self.searched.append(dark.size)
        places = ndimage.find_objects(ndimage.label(dark)[0])
        edges = [(across.start, down.start, across.stop, down.stop) for down, across in places]
        lines = [[(left, top), (right, top), (right, low), (left, low)] for left, top, right, low in edges]
        return np.array(lines, np.float32).reshape(-1, 4, 2) * step, dark.astype(np.float32)


@pytest.mark.parametrize(
    ("lines", "searched"),
    [
        ([(200, 300, 500, 60)], 0.25),  # large letters: left, top, width, height
        ([(200, 300, 500, 60), (900, 700, 100, 12)], 0.35),
        ([(200, 300, 500, 60), (200, 370, 100, 12)], 0.5),  # small ones beside them: both again
        ([(100, top, 1400, 14) for top in range(40, 1100, 60)], 1.25),
    ],
)
def test_a_picture_is_searched_as_finely_as_its_letters_are_small(
    lines: list[tuple[int, int, int, int]], searched: float
) -> None:
    picture = np.full((1200, 1600, 3), 255, np.uint8)
    for left, top, width, height in lines:
        picture[top : top + height, left : left + width] = 0
    models = DarkPlaces()
    found = find_lines(cast("Models", models), picture)
    assert {tuple(one.min(0).round().astype(int)) for one in found} == {(left, top) for left, top, _, _ in lines}
    assert len(found) == len(lines)
    assert sum(models.searched) <= searched * 1600 * 1200


def test_small_print_is_read_beside_large_letters(ocr: RapidOCR) -> None:
    page = written("ERROR E21", size=(1600, 1200), height=90)
    ImageDraw.Draw(page).text((1200, 1100), "Serial 4711-0815", fill="black", font=ImageFont.load_default(20))
    read = " ".join(line.text for line in ocr.read(png(page)))
    assert "E21" in read
    assert "4711-0815" in read


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_turned_photo_is_read_as_if_it_were_upright(ocr: RapidOCR, turn: int) -> None:
    """``turn``: by how much it must be turned clockwise, which is how far it was turned the other way."""
    upright = written(*RECEIPT, size=(700, 620))
    lines = ocr.read(png(upright.rotate(turn, expand=True)))
    assert "39.90" in lines[-2].text
    assert [line.text.split()[0].upper() for line in lines][:3] == ["LUMORA", "12", "DATE"]
    assert {line.turn for line in lines} == {turn}
    first, last = lines[0].box, lines[-1].box
    assert {
        0: first.bottom < last.top,
        90: first.right < last.left,
        180: first.top > last.bottom,
        270: first.left > last.right,
    }[turn]


def test_a_word_on_its_side_does_not_turn_the_photo() -> None:
    lines = [NAME, WHOLE, replace(PART, text="Made in", turn=270)]
    assert likely_turn(lines) == 0
    assert likely_turn([replace(line, turn=180) for line in lines]) == 180
    assert likely_turn([]) == 0


def test_a_process_that_is_ended_in_the_middle_costs_no_reading(ocr: RapidOCR) -> None:
    photo = png(written(*RECEIPT, size=(700, 620)))
    ocr.read(photo)
    killed = threading.Timer(0.1, os.kill, (ocr_process().pid, signal.SIGKILL))
    killed.start()
    assert "LUMORA" in ocr.read(photo)[0].text
    killed.join()
    assert "LUMORA" in ocr.read(photo)[0].text


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(b"segfault", "signal 11"), (b"slow bomb", "memory"), (b"sleep", "longer than"), (b"raise", "ZeroDivisionError")],
)
def test_a_photo_that_harms_the_process_is_not_read_and_the_next_one_is(
    monkeypatch: pytest.MonkeyPatch, fault: bytes, reason: str
) -> None:
    limits = Limits(memory=300 << 20, seconds=2, counts_reserved=False)
    with Worker("tests.hostile_readers:misbehave", limits) as worker:
        monkeypatch.setattr(reading, "_process", lambda: worker)
        with pytest.raises(EngineFailed, match=reason):
            RapidOCR().read(fault)
        with pytest.raises(EngineFailed, match="ZeroDivisionError"):
            RapidOCR().read(b"raise")


def test_a_photo_that_does_not_decode_is_not_read(ocr: RapidOCR) -> None:
    with pytest.raises(EngineFailed, match="cannot be read"):
        ocr.read(b"no photo")


def test_the_process_ends_with_the_server_and_starts_again(ocr: RapidOCR) -> None:
    ocr.warm_up()
    ocr.read(png(written("E21", size=(300, 200))))
    process = ocr_process()
    ocr.close()
    assert not process.is_running()
    assert ocr.read(png(written("E21", size=(300, 200))))


def test_without_rapidocr_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "installed", lambda: False)
    with pytest.raises(NotReady, match="pip install"):
        RapidOCR().read(b"")


@pytest.mark.parametrize(("seed", "code"), [(6026, "C9"), (6131, "E48")])
def test_large_digits_of_separate_bars_are_read(ocr: RapidOCR, seed: int, code: str) -> None:
    photo, scene = photograph(FIRST_EVALUATION_SEED + seed, long_side=800, kind="product")
    assert scene.code == code
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=88)
    lines = ocr.read(stream.getvalue())
    assert code in [line.text for line in lines]
    assert len({line.text for line in lines}) == len(lines)


@pytest.fixture(scope="module")
def display() -> tuple[Image.Image, str, Box]:
    """A photo of a display, what it shows, and where."""
    photo, shown, edges = draw_photo(FIRST_DISPLAY)
    return Image.open(io.BytesIO(photo)).convert("RGB"), shown, Box(*edges)


def test_most_displays_are_read_and_hardly_any_wrongly(ocr: RapidOCR) -> None:
    report = evaluate_displays(ocr, photos=8)
    assert report.right >= 5
    assert report.wrong <= 1


def test_a_display_is_read_by_its_own_reader_whatever_else_was_read_there(
    display: tuple[Image.Image, str, Box],
) -> None:
    image, shown, place = display
    misread = TextLine(shown[1:], 0.95, place)
    for lines in ([NAME], [NAME, misread]):
        assert [line.text for line in with_displays(image, lines)] == [NAME.text, shown.upper()]


def test_a_display_that_the_two_readers_see_differently_is_not_told(display: tuple[Image.Image, str, Box]) -> None:
    image, shown, place = display
    longer = TextLine(shown + "17", 0.95, place)
    assert with_displays(image, [longer]) == [TextLine("", 0.0, place)]


def test_printed_text_is_no_display() -> None:
    page = written("Total 39.90", "17:30", "E21 008", size=(900, 400))
    lines = [TextLine("17:30", 0.99, Box(0.03, 0.3, 0.2, 0.42))]
    assert with_displays(page, lines) == lines


def test_the_reader_of_displays_computes_what_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crop, _ = draw_display_line(Random(5))
    network = Network().eval()
    pictures, _, _ = collate([(crop, "")])
    with torch.no_grad():
        expected = network(pictures)[:, 0].exp().numpy()
    write(network.folded(), tmp_path / "weights.safetensors")
    monkeypatch.setattr(seven_segments, "FILE", tmp_path / "weights.safetensors")
    seven_segments._network.cache_clear()
    try:
        assert np.abs(seven_segments.scores(np.asarray(crop)) - expected).max() < 0.01
    finally:
        seven_segments._network.cache_clear()
