"""Pictures that move: the frames worth looking at, on one sheet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Decoded at most, over all frames; twice as much, because those chosen are decoded again.
_MOST_FRAMES, _MOST_PIXELS = 1000, 200_000_000
# Frames compared with each other at most: of a longer animation, every second, fourth and so on.
_MOST_COMPARED = 64
_ON_SHEET = 4
# Frames are compared at this side, in squares of this side; one differs if some square does by this many levels of 255.
_SIDE, _SQUARE, _DIFFERENT = 128, 8, 16.0
# A frame with less detail than this share of the richest one's is a blank one, or one that is fading in.
_POOR = 0.25
_GAP = 8

Plain = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Frames:
    """``shown``: which frames, from 0, out of ``total``; the animation may have more if it ``goes_on``."""

    images: tuple[Image.Image, ...]
    shown: tuple[int, ...]
    total: int
    goes_on: bool


def look(image: Image.Image, plain: Plain, open_again: Callable[[], Image.Image]) -> Frames | None:
    """Up to four frames that differ and show the most; None for a picture of one frame.

    ``plain`` turns a frame as it is decoded into one in RGB, of the size to keep. What follows a damaged frame is
    ignored, as players do. The file is opened again for the frames that are shown, because decoders lose their place
    if they are sent back from the middle.
    """
    seen, total, goes_on = _compare(image, plain) if _moves(image) else ({}, 1, False)
    if total < 2:
        return None
    shown = _choose(seen)
    images = []
    with open_again() as again:
        for number in shown:
            again.seek(number)
            images.append(plain(again))
    return Frames(tuple(images), tuple(shown), total, goes_on)


def _moves(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # what follows the first frame is damaged
        return False


def _compare(image: Image.Image, plain: Plain) -> tuple[dict[int, NDArray[np.float32]], int, bool]:
    """Some frames, small and grey, by number; how many frames there are, and whether there are more."""
    seen: dict[int, NDArray[np.float32]] = {}
    step = 1
    most = min(_MOST_FRAMES, max(2, _MOST_PIXELS // (image.width * image.height)))
    for number in range(most):
        try:
            image.seek(number)
            if number % step == 0:
                small = plain(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
                seen[number] = np.asarray(small, dtype=np.float32)
        except Exception:  # the end, or damage, of which decoders tell in many ways
            return seen, number, False
        if len(seen) > _MOST_COMPARED:
            step *= 2
            seen = {one: pixels for one, pixels in seen.items() if one % step == 0}
    return seen, most, True


def _choose(seen: dict[int, NDArray[np.float32]]) -> list[int]:
    """The richest frame, then again and again the one that differs most from all chosen."""
    detail = {number: float(np.abs(np.diff(pixels, axis=1)).mean()) for number, pixels in seen.items()}
    chosen = [max(detail, key=lambda number: detail[number])]
    rich = [number for number in seen if detail[number] >= _POOR * detail[chosen[0]]]
    while len(chosen) < _ON_SHEET:
        apart = {number: min(_difference(seen[number], seen[one]) for one in chosen) for number in rich}
        farthest = max(apart, key=lambda number: apart[number])
        if apart[farthest] < _DIFFERENT:
            break
        chosen.append(farthest)
    return sorted(chosen)


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Of the square that differs most: the digits of a display may be all that changes."""
    squares = np.abs(one - other).reshape(_SIDE // _SQUARE, _SQUARE, _SIDE // _SQUARE, _SQUARE)
    return float(squares.mean(axis=(1, 3)).max())


def sheet(images: tuple[Image.Image, ...], max_side: int) -> Image.Image:
    """The frames side by side, or in two rows, in reading order, scaled to fit ``max_side``."""
    if len(images) == 1:
        return images[0]
    width, height = images[0].size
    across = 2 if len(images) > 2 or width <= height else 1
    down = -(-len(images) // across)
    factor = min(1.0, (max_side - _GAP) / max(width * across, height * down))
    width, height = max(1, round(width * factor)), max(1, round(height * factor))
    page = Image.new("RGB", (across * (width + _GAP) - _GAP, down * (height + _GAP) - _GAP), "white")
    for at, image in enumerate(images):
        page.paste(image.resize((width, height)), (at % across * (width + _GAP), at // across * (height + _GAP)))
    return page
