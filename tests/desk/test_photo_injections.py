"""Orders in a photo, read by OCR itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from assistant import worker
from assistant.engine.ocr import RapidOCR
from assistant.ports import Mode
from assistant.runtime import Runtime
from tests.desk.test_injections import QUESTION, Case, World, nothing_was_done
from tests.desk.test_turns import say
from tests.engine.test_ocr import png, written
from tests.factories import make_conversation, make_upload
from tests.fakes import FakeOCR, fake_capabilities
from tests.injections import ATTACKS, Obedient, ObedientDecisions

pytestmark = pytest.mark.slow

# OCR reads them letter by letter.
LEGIBLE = [one for one in ATTACKS if one.name.endswith(", plain") and one.text.isascii() and len(one.text) < 130]
A_LINE = 50  # letters


def test_what_a_photo_orders_is_read_and_not_done(make_runtime: Callable[..., Runtime], tmp_path: Path) -> None:
    model, reader = Obedient(), RapidOCR()
    try:
        parts = {"chat_model": model, "decisions": ObedientDecisions(), "ocr": reader}
        runtime = make_runtime(capabilities=fake_capabilities(Mode.FULL_VLM, **parts), answer_threshold=0.0)
        world = World(runtime.desk, tmp_path / "articles", FakeOCR(), 0)
        for attack in LEGIBLE[:6]:
            lines = [attack.text[start : start + A_LINE] for start in range(0, len(attack.text), A_LINE)]
            into = make_conversation(world.desk, name="Rosa")
            world.cases.append(Case([attack], "photo", into.id))
            photo = png(written(*lines, size=(1200, 320)))
            say(world.desk, QUESTION, into=into, uploads=[make_upload("photo.png", photo, "image/png")])
        worker.run_until_idle(world.desk)
    finally:
        reader.close()
    for case in world.cases:
        assert case.reached(world.said(case)) == []
        nothing_was_done(world.desk, case)
    assert len({attack.name for attack in model.obeyed}) >= 3, "else OCR has read little to obey"
