"""rapidocr's three models, run for one photo at a time on a machine that does other things, too.

The numbers are those that rapidocr computes. What differs is how onnxruntime runs them. Activations of the detector
underflow, and processors are slow with numbers that small: taken for zero, the detector needs two fifths of the time.
Threads that wait do not spin: they would take the cores from all else that a request needs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from PIL import Image

# What is recognised is at least so wide, in pixels, as rapidocr has it: narrower, short words are read worse. It also
# takes six lines at a time, all as wide as the widest of them, which only costs: each pixel takes as long.
_LEAST_WIDTH = 320
SESSION_ENTRIES = {"session.set_denormal_as_zero": "1", "session.intra_op.allow_spinning": "0"}


class Models:
    """Loads them. The first session of a process sets how the thread that makes it treats small numbers: make and use
    this in one thread."""

    def __init__(self) -> None:
        from rapidocr import RapidOCR

        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        self._engine: Any = RapidOCR(params={"Global.log_level": "error"})
        with _sessions():  # each is opened when it is first used
            self._detector = self._engine._load_det_model()
            self._engine.cls_and_rotate([np.full((48, 320, 3), 255, np.uint8)])
            self._engine.recognize_txt([np.full((48, 320, 3), 255, np.uint8)])
        self._least_side = int(self._engine.cfg.Det.limit_side_len)
        self._surely_flipped = float(self._engine.cfg.Cls.cls_thresh)

    def detect(self, picture: np.ndarray) -> np.ndarray:
        """Corners of lines in a picture (h, w, 3), BGR: (n, 4, 2), clockwise from the top left."""
        return self.detect_at(picture, self.scale(picture))[0]

    def scale(self, picture: np.ndarray) -> float:
        """At which rapidocr searches: a picture is enlarged if its shorter side is short."""
        return max(1.0, self._least_side / int(min(picture.shape[:2])))

    def detect_at(self, picture: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """What `detect` returns, at a scale, and how probably each place is text (h, w), at about that scale."""
        from rapidocr.ch_ppocr_det.utils import DetPreProcess

        height, width = picture.shape[:2]
        seen = picture
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            seen = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))
        sized = DetPreProcess(math.ceil(scale * min(height, width)), "min").resize(seen)
        levels = (sized.astype(np.float32) - 127.5) / 127.5
        text = self._detector.session(np.ascontiguousarray(levels.transpose(2, 0, 1)[None]))
        boxes, _ = self._detector.postprocess_op(text, (height, width))
        lines = self._detector.sorted_boxes(boxes) if len(boxes) else np.empty((0, 4, 2))
        return np.asarray(lines, np.float32), text[0, 0]

    def upright(self, crops: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[bool]]:
        """The crops of lines, none upside down, and which were."""
        turned, directions = self._engine.cls_and_rotate(list(crops))
        return turned, ["180" in label and sure > self._surely_flipped for label, sure in directions.cls_res]

    def read(self, crop: np.ndarray) -> tuple[str, float]:
        """Text and confidence of a line."""
        recognizer = self._engine.text_rec
        _, height, _ = recognizer.rec_image_shape
        width = max(_LEAST_WIDTH, math.ceil(height * crop.shape[1] / crop.shape[0]))
        scores = recognizer.session(recognizer.resize_norm_img(crop, width / height)[None])
        text, confidence = recognizer.postprocess_op(scores)[0][0]
        return str(text), float(confidence)


@contextmanager
def _sessions() -> Iterator[None]:
    """Sessions that rapidocr opens meanwhile are set as ours. Its settings have no names for that."""
    from rapidocr.inference_engine.onnxruntime import OrtInferSession

    made = OrtInferSession._init_sess_opts

    def make(config: Any) -> Any:
        options = made(config)
        for name, value in SESSION_ENTRIES.items():
            options.add_session_config_entry(name, value)
        return options

    OrtInferSession._init_sess_opts = staticmethod(make)
    try:
        yield
    finally:
        OrtInferSession._init_sess_opts = staticmethod(made)
