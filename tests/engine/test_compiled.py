"""The compiled decode step: the same tokens, no request waits for the compiler, and a plain step where it fails."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs

from assistant.engine import describe
from assistant.engine.batching import compiled, plan
from assistant.engine.batching.engine import Engine
from assistant.engine.batching.request import GenerationRequest
from assistant.engine.loader import LoadedModel
from assistant.errors import EngineFailed
from tests.conftest import LONG
from tests.engine.conftest import PATIENCE, asking, cpu_settings
from tests.engine.test_batching import LIMITS, PICTURES, check_alike, running

Load = Callable[..., LoadedModel]
COMPILE = replace(LIMITS, compile=True)
needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None, reason="compiling for a CPU needs a C++ compiler"
)


@pytest.fixture(autouse=True)
def at_any_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is faster is not for a test to say."""
    monkeypatch.setattr(plan, "_WORTH_COMPILING", 1e9)


def instead_of_compiling(monkeypatch: pytest.MonkeyPatch, step: Callable[..., Any]) -> None:
    """``step`` gets the plain step and its inputs."""
    monkeypatch.setattr(compiled.torch, "compile", lambda plain, **_: lambda *inputs: step(plain, *inputs))


def requests() -> list[GenerationRequest]:
    """Of lengths of their own, so that rows come and go; the last is alone for a while."""
    return [
        asking("red light", PICTURES[0], max_new_tokens=4),
        asking("code", max_new_tokens=9),
        asking("the water " * 20, PICTURES[1], max_new_tokens=20),
    ]


def graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


@needs_compiler
@pytest.mark.filterwarnings("default")  # torch's compiler warns of itself
@pytest.mark.parametrize(
    ("architecture", "backend"),
    [
        (one, "inductor" if LONG else "aot_eager")
        for one in (["idefics3", "gemma3", "qwen3_vl"] if LONG else ["idefics3", "qwen3_vl"])
    ],
)
def test_a_compiled_step_writes_the_same_and_is_never_compiled_again(
    load: Load, monkeypatch: pytest.MonkeyPatch, architecture: str, backend: str
) -> None:
    """Traced as ever with either backend; it takes a minute of C++ if it is `inductor`."""
    torch._dynamo.reset()  # it compiles one function a few times at most, whatever for
    to_compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda step, **given: to_compile(step, backend=backend, **given))
    stance = torch.compiler.set_stance
    monkeypatch.setattr(torch.compiler, "set_stance", lambda _: stance("fail_on_recompile"))
    loaded, before = load(architecture), graphs()
    with running(loaded, replace(COMPILE, slots=4)) as engine:
        engine.call(lambda _: None)
        assert graphs() > before
        for _ in range(2):
            begun = [(request, engine.generate(request)) for request in (*requests(), *requests())]
            for request, generation in begun:
                check_alike(loaded, request, generation)
        stats = engine.stats()
        assert stats.compiled
        assert stats.counters.failed == 0


def test_what_cannot_be_compiled_is_run_as_it_is(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_compiler(*_: Any) -> Any:
        raise RuntimeError("No working C++ compiler found")

    instead_of_compiling(monkeypatch, no_compiler)
    serve_alike(load(), is_compiled=False)


def test_a_step_that_is_not_the_same_is_not_used(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    instead_of_compiling(monkeypatch, lambda plain, *inputs: plain(*inputs).flip(-1))
    serve_alike(load(), is_compiled=False)


def test_a_step_that_is_not_faster_is_not_used(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "_WORTH_COMPILING", 0.0)
    instead_of_compiling(monkeypatch, lambda plain, *inputs: plain(*inputs))
    serve_alike(load(), is_compiled=False)


def test_one_that_fails_later_harms_nobody(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    def failing(plain: Callable[..., Any], *inputs: Any) -> Any:
        runs.append(len(inputs[0]))
        if len(runs) > 30:
            raise RuntimeError("something broke")
        return plain(*inputs)

    instead_of_compiling(monkeypatch, failing)
    serve_alike(load(), is_compiled=False)
    assert len(runs) == 31  # it is not asked again


def test_one_engine_compiles_at_a_time_and_the_others_go_on(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    active: list[int] = []
    most = 0

    def step(plain: Callable[..., Any], *inputs: Any) -> Any:
        nonlocal most
        active.append(1)
        most = max(most, len(active))
        time.sleep(0.005)  # long enough to meet the other
        result = plain(*inputs)
        active.pop()
        return result

    instead_of_compiling(monkeypatch, step)
    threads = [threading.Thread(target=serve_alike, args=[load(name)]) for name in ("idefics3", "qwen3_vl")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert most == 1


def test_closing_while_compiling_says_so_and_compiles_nothing_more(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()
    rows: list[int] = []

    def step(plain: Callable[..., Any], *inputs: Any) -> Any:
        rows.append(len(inputs[0]))
        begun.set()
        go_on.wait(PATIENCE)
        return plain(*inputs)

    instead_of_compiling(monkeypatch, step)
    engine = Engine(load, timeout=PATIENCE, limits=COMPILE)
    generation = engine.generate(asking("red"))
    assert begun.wait(PATIENCE)
    with capture_logs() as logs:
        assert not engine.close(timeout=0.05)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("engine.still_running", "error")]
    with pytest.raises(EngineFailed, match="shutting down"):
        list(generation)
    go_on.set()
    assert engine.close(timeout=PATIENCE)
    assert len(rows) == 1


def test_an_engine_that_waits_for_the_compiler_can_be_closed(load: Load) -> None:
    engine = Engine(load, timeout=PATIENCE, limits=COMPILE)
    with compiled._COMPILER:
        engine.generate(asking("red"))
        assert engine.close(timeout=PATIENCE)


@pytest.mark.parametrize(("compiler", "status"), [("sh", "ok"), ("no-such-compiler", "warn")])
def test_the_doctor_says_whether_there_is_a_compiler(
    checkpoints: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, compiler: str, status: str
) -> None:
    monkeypatch.setenv("CXX", compiler)
    folder = checkpoints("idefics3")
    facts = {fact.name: fact for fact in describe(cpu_settings(folder, engine_compile=True))}
    assert facts["compiler"].status == status
    assert "compiler" not in {fact.name for fact in describe(cpu_settings(folder))}


def serve_alike(loaded: LoadedModel, *, is_compiled: bool = True) -> None:
    """Every request gets the tokens it would get alone."""
    with running(loaded, COMPILE) as engine:
        begun = [(request, engine.generate(request)) for _ in range(2) for request in requests()]
        for request, generation in begun:
            check_alike(loaded, request, generation)
        stats = engine.stats()
        assert stats.compiled == is_compiled
        assert stats.counters.failed == 0
