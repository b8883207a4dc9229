"""The real server with fakes at its seams in the place of models: for tests in which hundreds of tickets arrive."""

from __future__ import annotations

from functools import partial

from assistant import runtime
from assistant.server import run
from assistant.settings import Settings
from tests.fakes import FakeOCR, fake_capabilities

if __name__ == "__main__":
    run(Settings(), partial(runtime.build, capabilities=fake_capabilities(ocr=FakeOCR("BrewMaster 300", "E21"))))
