"""OCR as the rest of the product has it. Photos come from strangers, so they are read in the sandbox: what crashes the
models, or asks them for too much, costs one reading and not the server."""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from assistant.errors import EngineFailed, NotReady
from assistant.ports import Box, TextLine
from assistant.sandbox.worker import Limits, OverLimit, ReaderCrashed, ReaderFailed, Worker

# The reader stops by itself after 14 seconds, or later on a busy machine: these limits end only what hangs. The idle
# process takes 0.25 GB, and the largest picture that is read at once 0.6 GB more.
_LIMITS = Limits(
    memory=1200 << 20,
    cpu_seconds=20 * (os.cpu_count() or 1),
    seconds=120,
    output=4_000_000,
    counts_reserved=False,
)
# Part of the name: counts the changes to what `reader` makes of rapidocr's reading.
_READER = 4


class RapidOCR:
    """`OCR`. Thread-safe: one photo at a time, in one process for all instances. It is started by the first photo, or
    by `warm_up`, and ends with this process or with `close`."""

    @property
    def name(self) -> str:
        try:
            return f"rapidocr-{version('rapidocr')}.{_READER}"
        except PackageNotFoundError:
            return "rapidocr"

    def read(self, photo: bytes) -> list[TextLine]:
        """Raises `EngineFailed` with the reason if the photo cannot be read, `NotReady` if none can."""
        if not installed():
            raise NotReady("OCR is not installed. Run: pip install 'photo-support-assistant[demo]'")
        try:
            lines = json.loads(self._call(photo))
        except (ReaderFailed, OverLimit) as error:
            raise EngineFailed(f"The photo {error.message}.") from error
        return [TextLine(text, confidence, Box(*box), turn) for text, confidence, box, turn in lines]

    def warm_up(self) -> None:
        """Start the process now, so that the first photo need not wait for it. Returns at once."""
        threading.Thread(target=self.start, name="ocr-start", daemon=True).start()

    def start(self) -> None:
        """Start the process, unless it runs, and wait until it can read."""
        with suppress(NotReady):  # logged, and said to whoever sends a photo
            _process().start()

    def close(self) -> None:
        """End the process. A later photo starts another."""
        _process().close()

    def _call(self, photo: bytes) -> bytes:
        try:
            return _process().call(photo)
        except ReaderCrashed:
            return _process().call(photo)  # it may have been ended from outside; the photo is not to blame yet


def installed() -> bool:
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


@cache
def _process() -> Worker:
    return Worker("assistant.engine.ocr.reader:Reader", _LIMITS)
