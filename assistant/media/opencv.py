"""OpenCV, which comes with OCR: photos are laid over each other with it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any


def is_installed() -> bool:
    return find_spec("cv2") is not None


def load() -> Any:
    """Without types: its own do not know all of it."""
    import cv2

    cv2.setNumThreads(1)  # its threads would fight those of torch and ONNX
    return cv2
