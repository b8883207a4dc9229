"""Reads one line of a display of seven bars a character.

A small convolutional network with a CTC head (Graves et al. 2006, "Connectionist Temporal Classification"), trained on
drawn lines (`lab.training.display_reader`). onnxruntime runs it, in less than a millisecond a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from assistant.engine.ocr.models import SESSION_ENTRIES
from assistant.engine.ocr.onnx_graph import Graph

FILE = Path(__file__).with_name("seven_segments.safetensors")
# A crop's height and greatest width, in pixels.
HEIGHT, MOST_WIDTH = 32, 192
# What it tells apart, after the blank of CTC.
SIGNS = "0123456789.:-AbCdEFHLnoPrtUhcuyJ"


@dataclass(frozen=True)
class Layer:
    channels: int
    kernel: tuple[int, int] = (3, 3)
    pool: tuple[int, int] = (1, 1)
    is_last: bool = False
    pads: tuple[int, int] | None = None

    @property
    def padding(self) -> tuple[int, int]:
        return self.pads if self.pads is not None else (self.kernel[0] // 2, self.kernel[1] // 2)


# A step of the result is four pixels wide; the sixth layer leaves one row.
LAYERS = (
    Layer(16, pool=(2, 2)), Layer(32, pool=(2, 2)), Layer(48), Layer(48, pool=(2, 1)), Layer(64, pool=(2, 1)),
    Layer(112, (2, 3), pads=(0, 1)), Layer(112, (1, 5)), Layer(112, (1, 5)),
    Layer(len(SIGNS) + 1, (1, 1), is_last=True),
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """``confidence``: that the display shows exactly this; ``shown``: that there is a display at all."""

    text: str
    confidence: float
    shown: float


def read_line(crop: np.ndarray) -> Reading:
    """``crop``: (HEIGHT, width, 3) RGB. Reads "" where there is no such display."""
    steps = scores(crop)
    best = steps.argmax(1)
    starts = np.flatnonzero(np.diff(best, prepend=-1))
    signs = [int(best[start]) for start in starts if best[start]]
    text = "".join(SIGNS[sign - 1] for sign in signs)
    return Reading(text, _probability(steps, signs), 1.0 - _probability(steps, []))


def _probability(steps: np.ndarray, signs: Sequence[int]) -> float:
    """That the line says exactly these signs: all the ways in which steps can spell them, together."""
    if not signs:
        return float(steps[:, 0].prod())
    path = [0]
    for sign in signs:
        path += [sign, 0]
    ways = np.zeros(len(path))
    ways[0] = 1.0
    # A sign may follow the sign before it without a blank between, if it is another.
    skips = np.array([n > 1 and sign != 0 and sign != path[n - 2] for n, sign in enumerate(path)])
    for step in steps:
        moved = ways.copy()
        moved[1:] += ways[:-1]
        moved[2:] += np.where(skips[2:], ways[:-2], 0.0)
        ways = moved * step[path]
    return float(min(1.0, ways[-2:].sum()))  # it may end with a sign or with a blank


def as_input(crop: np.ndarray) -> np.ndarray:
    """(3, HEIGHT, width): the colours, as far from their mean as they usually are."""
    pixels = crop.astype(np.float32).transpose(2, 0, 1)
    spread = max(8.0, float(pixels.std()))
    normal: np.ndarray = (pixels - pixels.mean()) / spread
    return normal


def write(weights: Sequence[tuple[np.ndarray, np.ndarray]], file: Path) -> None:
    """``weights``: of each of `LAYERS` (channels, channels before, rows, columns), and its bias (channels,)."""
    from safetensors.numpy import save_file

    parts = {}
    for number, (weight, bias) in enumerate(weights):
        parts[f"{number}.weight"], parts[f"{number}.bias"] = weight.astype(np.float16), bias.astype(np.float16)
    save_file({name: np.ascontiguousarray(part) for name, part in parts.items()}, file)


def scores(crop: np.ndarray) -> np.ndarray:
    """(steps, signs + 1): the probabilities of blank and `SIGNS` at each step of a crop (HEIGHT, width, 3)."""
    logits = _network().run(None, {"crops": as_input(crop)[None]})[0][0, :, 0].T
    odds = np.exp(logits - logits.max(1, keepdims=True))
    probabilities: np.ndarray = odds / odds.sum(1, keepdims=True)
    return probabilities


@cache
def _network() -> Any:
    import onnxruntime

    graph = Graph("crops", ("crops", 3, HEIGHT, "width"))
    for layer, (weight, bias) in zip(LAYERS, _weights(), strict=True):
        graph.add("Conv", weight, bias, pads=layer.padding * 2)
        if not layer.is_last:
            graph.add("Relu")
        if layer.pool != (1, 1):
            graph.add("MaxPool", kernel_shape=layer.pool, strides=layer.pool)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # a line takes less than a millisecond
    for name, value in SESSION_ENTRIES.items():
        options.add_session_config_entry(name, value)
    return onnxruntime.InferenceSession(graph.write(), options, providers=["CPUExecutionProvider"])


def _weights() -> list[tuple[np.ndarray, np.ndarray]]:
    from safetensors.numpy import load_file

    parts = load_file(FILE)
    pairs = range(len(LAYERS))
    return [(parts[f"{n}.weight"].astype(np.float32), parts[f"{n}.bias"].astype(np.float32)) for n in pairs]
