"""The small model that comes along, on photos it has never seen: what it tells, and of which it tells nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assistant import sample
from assistant.engine import install
from assistant.engine.checkpoint import BUNDLED
from assistant.lab.evaluation.scenes import drawn
from assistant.lab.training.scenes import photograph
from assistant.lab.training.world import FIRST_EVALUATION_SEED
from assistant.ports import Capabilities
from assistant.settings import Settings
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence, read_photo
from assistant.skills.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy(sample.taxonomy_path())
# Scenes that neither training nor `assistant eval photos` draws by default.
FIRST = 50_000


@pytest.fixture(scope="module", params=["none", "nf4"])
def bundled(request: pytest.FixtureRequest) -> Iterator[Capabilities]:
    installed = install(Settings(device="cpu", quantize=request.param, ocr="off"))
    yield installed.capabilities
    installed.close()


def read(photo: bytes, bundled: Capabilities) -> PhotoEvidence:
    return read_photo(photo, capabilities=bundled, taxonomy=TAXONOMY)


def test_it_comes_along_with_a_card_and_is_small() -> None:
    assert BUNDLED.folder is not None
    files = list(BUNDLED.folder.iterdir())
    assert sum(file.stat().st_size for file in files) < 20e6
    assert "model.safetensors" in {file.name for file in files}
    card = (BUNDLED.folder / "README.md").read_text(encoding="utf-8")
    assert "cannot" in card
    assert "assistant eval photos" in card


def test_products_and_conditions_of_fresh_photos_are_told(bundled: Capabilities) -> None:
    cases = [scene.case for scene in drawn(24, first=FIRST, kind="product")]
    found = [read(case.photo, bundled) for case in cases]
    expected = [case.expected for case in cases]
    assert np.mean([one.product.value == truth["product"] for one, truth in zip(found, expected, strict=True)]) >= 0.9
    for one in found:
        json.dumps([one.to_fields(), one.visible_text_json()])  # numbers as the database takes them
    right = [one.condition.value == truth["condition"] for one, truth in zip(found, expected, strict=True)]
    assert np.mean(right) >= 0.7


def test_the_photo_is_what_answers(bundled: Capabilities) -> None:
    """The same product in the same room, whatever its lights: only what is seen of them differs."""
    assert bundled.sight is not None
    told = set()
    for seed in range(12):
        image, scene = photograph(FIRST_EVALUATION_SEED + FIRST + seed, long_side=640, kind="product")
        if not scene.lights:
            continue
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=90)
        evidence = read(stream.getvalue(), bundled)
        assert evidence.lights is not None
        told.add(evidence.lights.value)
    assert len(told) >= 3


def test_of_photos_that_are_not_of_its_world_it_tells_nothing(bundled: Capabilities, data_sets: Path) -> None:
    photos = [
        *sorted((data_sets / "receipts").rglob("*.jpg"))[:6],
        *sorted((data_sets / "grocery_products").rglob("*.jpg"))[:10],
        *sorted((data_sets / "doorstep_packages").rglob("*.jpg"))[:6],
    ]
    found = [read(photo.read_bytes(), bundled) for photo in photos]
    assert len(found) >= 10
    told = [one for one in found if (one.product.value, one.condition.value) != (CANNOT_TELL, CANNOT_TELL)]
    assert len(told) <= 0.05 * len(found)


def test_of_noise_and_of_nothing_it_tells_nothing(bundled: Capabilities) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (300, 400, 3), dtype=np.uint8))
    for image in (noise, Image.new("RGB", (400, 300), "white"), Image.new("RGB", (300, 400), (40, 90, 30))):
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=90)
        evidence = read(stream.getvalue(), bundled)
        assert (evidence.product.value, evidence.condition.value) == (CANNOT_TELL, CANNOT_TELL)
        assert evidence.lights is None
