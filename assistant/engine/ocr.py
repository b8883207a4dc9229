"""Reading text in photos with rapidocr: lines with boxes and confidences, in reading order.

The models come with the package; nothing is ever fetched. Loaded once, on first use.
"""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from assistant.errors import NotReady
from assistant.ports import Box, TextLine

# Characters of small screenshots are too low for the detector: they are read enlarged to this side.
_LEAST_SIDE = 900


class RapidOCR:
    """Thread-safe: one photo at a time, onnxruntime uses the cores within it."""

    def __init__(self) -> None:
        self._loaded: Any = None
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        try:
            return f"rapidocr-{version('rapidocr')}"
        except PackageNotFoundError:
            return "rapidocr"

    def read(self, photo: bytes) -> list[TextLine]:
        image = _open(photo)
        with self._lock:
            result = self._engine()(image)
        if result is None or result.boxes is None:
            return []
        height, width = image.shape[:2]
        lines = [
            TextLine(text.strip(), float(score), _box(corners, width, height))
            for corners, text, score in zip(result.boxes, result.txts, result.scores, strict=True)
            if text.strip()
        ]
        return in_reading_order(lines)

    def _engine(self) -> Any:
        if self._loaded is None:
            self._loaded = _load()
        return self._loaded


def installed() -> bool:
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


def in_reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """Top to bottom; lines whose middles lie within half a line's height of each other, left to right."""
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=lambda line: line.box.top + line.box.bottom):
        middle = (line.box.top + line.box.bottom) / 2
        if rows:
            first = rows[-1][0].box
            if abs((first.top + first.bottom) / 2 - middle) < (first.bottom - first.top) / 2:
                rows[-1].append(line)
                continue
        rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.box.left)]


def _load() -> Any:
    if not installed():
        raise NotReady("No OCR is installed. Run: pip install 'photo-support-assistant[demo]'")
    from rapidocr import RapidOCR as Reader

    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    return Reader(params={"Global.log_level": "error"})


def _open(photo: bytes) -> Any:
    """RGB pixels as the reader wants them (BGR), enlarged if the photo is small."""
    from PIL import Image

    with Image.open(io.BytesIO(photo)) as image:
        rgb = image.convert("RGB")
    longer = max(rgb.size)
    if longer < _LEAST_SIDE:
        factor = _LEAST_SIDE / longer
        rgb = rgb.resize((round(rgb.width * factor), round(rgb.height * factor)), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(rgb)[:, :, ::-1])


def _box(corners: Any, width: int, height: int) -> Box:
    points = np.asarray(corners, dtype=float)
    left, top = points.min(axis=0) / (width, height)
    right, bottom = points.max(axis=0) / (width, height)
    return Box(*(float(min(1.0, max(0.0, edge))) for edge in (left, top, right, bottom)))
