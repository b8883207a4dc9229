"""How much memory is free, on any system."""

from __future__ import annotations

import builtins
import io
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from assistant.engine.batching.request import Limits
from assistant.engine.device import free_memory
from assistant.engine.loader import LoadedModel
from tests.engine.conftest import asking
from tests.engine.test_batching import running, said

GIB = 2**30


@pytest.fixture
def no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: there is no /proc, and psutil asks the kernel."""
    original = io.open

    def open_elsewhere(file: Any, *args: Any, **kwargs: Any) -> Any:
        if str(file).startswith("/proc"):
            raise FileNotFoundError(file)
        return original(file, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", open_elsewhere)
    monkeypatch.setattr(io, "open", open_elsewhere)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=3 * GIB))


def test_free_memory_is_a_part_of_the_memory() -> None:
    assert 0 < free_memory("cpu") <= psutil.virtual_memory().total


@pytest.mark.usefixtures("no_proc")
def test_slots_fill_the_free_memory_also_without_proc(load: Callable[..., LoadedModel]) -> None:
    assert free_memory("cpu") == 3 * GIB
    with running(load(), Limits(slots=1000, capacity=512, memory_share=1e-3)) as engine:
        said(engine.generate(asking()))
        stats = engine.stats()
    slot = stats.kv_bytes / stats.slots
    assert stats.slots == 3 * GIB * 1e-3 * 0.65 // slot > 1
