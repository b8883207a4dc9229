"""The engine on an accelerator: the same requests, quantized, several at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from assistant.engine import loader
from assistant.engine.batching.engine import Engine
from assistant.engine.batching.request import Done, Limits
from assistant.engine.checkpoint import Checkpoint
from assistant.engine.device import gpu_count
from assistant.settings import Settings
from tests.engine import tiny
from tests.engine.conftest import PATIENCE, asking, checkpoints, picture

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(gpu_count() == 0, reason="there is no GPU")]

__all__ = ["checkpoints"]  # the fixture


@pytest.mark.filterwarnings("default")  # torch's compiler warns of itself
@pytest.mark.parametrize("compile_step", [False, True])
@pytest.mark.parametrize("architecture", sorted(tiny.ARCHITECTURES))
def test_every_architecture_is_batched_and_reads_as_the_model_alone_does(
    checkpoints: Callable[[str], Path],
    architecture: str,
    compile_step: bool,
) -> None:
    folder = checkpoints(architecture)
    settings = Settings(model=str(folder), device="cuda", quantize="nf4")
    loaded = loader.load(Checkpoint(str(folder)), settings)
    engine = Engine(lambda: loaded, timeout=PATIENCE, limits=Limits(slots=4, capacity=512, compile=compile_step))
    begun = [engine.generate(asking("the display", picture(colour))) for colour in ("red", "green", "blue")]
    for generation in begun:
        *_, done = generation
        assert isinstance(done, Done)
        assert done.output_tokens > 0
    # Batched only if its logits agreed with those of a plain forward pass when it was loaded.
    assert engine.stats().batched
    assert engine.close(timeout=PATIENCE)
