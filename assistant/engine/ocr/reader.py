"""What the OCR process runs: a photo to its lines.

Photos without an orientation come upside down or sideways. The reading says so at no cost, since every line has a
direction; if most are not upright, the photo is turned and read again.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from time import monotonic, thread_time

from PIL import Image

from assistant.engine.ocr.displays import with_displays
from assistant.engine.ocr.lines import in_reading_order, legible, read_lines
from assistant.engine.ocr.models import Models
from assistant.engine.ocr.pieces import MOST_SIDE, fit
from assistant.ports import TextLine

# Seconds until reading stops with what it has: of this thread's processor time, which is as much by the clock if the
# machine is idle; and by the clock, before the sandbox ends it.
_SECONDS, _MOST_SECONDS = 14.0, 100.0
# What a photo must be turned by, clockwise; photos are small enough that this takes no time.
_TURNS = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}
# Turned, a photo must read nearly as well, since each line was turned for reading before.
_AS_LEGIBLE = 0.9
# Words this short stand on their side or upside down in upright photos, too.
_LEAST_LETTERS = 3


class Reader:
    """Loads the models; an instance reads a photo to JSON, a list of [text, confidence, box, turn]."""

    def __init__(self) -> None:
        self._models = Models()

    def __call__(self, photo: bytes) -> bytes:
        ends_at, latest = thread_time() + _SECONDS, monotonic() + _MOST_SECONDS
        with Image.open(io.BytesIO(photo)) as image:
            lines = self._lines_of(fit(image.convert("RGB")), lambda: thread_time() > ends_at or monotonic() > latest)
        return json.dumps([[line.text, line.confidence, astuple(line.box), line.turn] for line in lines]).encode()

    def _lines_of(self, image: Image.Image, is_late: Callable[[], bool]) -> list[TextLine]:
        lines, turn = self._read(image, is_late), 0
        guess = likely_turn(lines)
        if guess:
            again = self._read(image.transpose(_TURNS[guess]), is_late)
            if not likely_turn(again) and legible(again) > _AS_LEGIBLE * legible(lines):
                lines, turn = again, guess
        return [replace(line, box=line.box.turned_back(turn), turn=turn) for line in in_reading_order(lines)]

    def _read(self, image: Image.Image, is_late: Callable[[], bool]) -> list[TextLine]:
        """Displays count for the direction, too: upside down, their digits look like others."""
        lines = read_lines(self._models, image, is_late=is_late)
        return lines if is_late() or max(image.size) > MOST_SIDE else with_displays(image, lines)


def likely_turn(lines: Sequence[TextLine]) -> int:
    """What most of the text must be turned by, clockwise in degrees, to be upright."""
    votes: Counter[int] = Counter()
    for line in lines:
        if len(line.text) >= _LEAST_LETTERS:
            votes[line.turn] += len(line.text)
    turn, most = max(votes.items(), key=lambda vote: vote[1], default=(0, 0))
    return turn if most > sum(votes.values()) / 2 else 0
