"""Engines on tiny checkpoints, made once for the whole run."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from assistant.engine import loader
from assistant.engine.batching.engine import Engine
from assistant.engine.batching.prompt import processed, rendered, to_model
from assistant.engine.batching.request import GenerationRequest
from assistant.engine.checkpoint import Checkpoint
from assistant.engine.loader import LoadedModel
from assistant.settings import Settings
from tests.engine import tiny

# Seconds to wait for what comes in one on an idle machine: only a test that hangs meets it.
PATIENCE = 600.0


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny checkpoint by the name of its architecture."""
    made: dict[str, Path] = {}

    def get(architecture: str) -> Path:
        if architecture not in made:
            folder = tmp_path_factory.mktemp("checkpoint") / architecture
            made[architecture] = tiny.SAVERS[architecture](folder)
        return made[architecture]

    return get


@pytest.fixture(scope="session")
def load(checkpoints: Callable[[str], Path]) -> Callable[..., LoadedModel]:
    """A loaded model by architecture; the same object for the same arguments."""
    loaded: dict[tuple[str, str], LoadedModel] = {}

    def get(architecture: str = "idefics3", *, quantize: str = "none") -> LoadedModel:
        key = (architecture, quantize)
        if key not in loaded:
            folder = checkpoints(architecture)
            loaded[key] = loader.load(Checkpoint(str(folder)), cpu_settings(folder, quantize=quantize))
        return loaded[key]

    return get


@pytest.fixture(params=sorted(tiny.ARCHITECTURES))
def loaded(request: pytest.FixtureRequest, load: Callable[..., LoadedModel]) -> LoadedModel:
    """Each architecture in turn."""
    return load(request.param)


@pytest.fixture
def engine(load: Callable[..., LoadedModel]) -> Iterator[Engine]:
    model = load()
    engine = Engine(lambda: model, queue_size=4, timeout=PATIENCE)
    yield engine
    assert engine.close(timeout=PATIENCE)


def cpu_settings(folder: Path, **fields: Any) -> Settings:
    return Settings(model=str(folder), device="cpu", **{"quantize": "none", **fields})


def inputs_of(loaded: LoadedModel, messages: list[dict[str, Any]], images: list[Image.Image]) -> dict[str, Any]:
    """What the model's own `generate` takes."""
    return to_model(loaded, processed(loaded, rendered(loaded, messages), images))


def picture(colour: str = "red", text: str = "", *, size: tuple[int, int] = (64, 64)) -> Image.Image:
    image = Image.new("RGB", size, colour)
    if text:
        ImageDraw.Draw(image).text((size[0] // 8, size[1] // 4), text, fill="white", font_size=size[1] // 3)
    return image


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    data = io.BytesIO()
    image.save(data, form)
    return data.getvalue()


def base64_of(image: Image.Image) -> str:
    return base64.b64encode(encoded(image)).decode("ascii")


def asking(text: str = "what is the error", *images: Image.Image, **limits: Any) -> GenerationRequest:
    content: list[dict[str, Any]] = [{"type": "image"} for _ in images]
    messages = [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]
    return GenerationRequest(messages, list(images), **{"max_new_tokens": 12, **limits})


def together(work: Callable[[], Any], count: int = 6) -> list[Any]:
    results: list[Any] = []
    threads = [threading.Thread(target=lambda: results.append(work())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return results
