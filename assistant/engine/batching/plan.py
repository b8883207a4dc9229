"""How a loaded model is run: batched if possible, with as many slots as fit into memory.

Whether it can be batched is tried with a small photo, which also shows how much memory its KV cache takes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import structlog
import torch

from assistant.engine.batching.batch import Batch
from assistant.engine.batching.request import Limits
from assistant.engine.batching.runner import Runner
from assistant.engine.batching.scheduler import Scheduler
from assistant.engine.batching.single import Single
from assistant.engine.batching.stats import Counters
from assistant.engine.device import free_memory, is_out_of_memory, use_threads
from assistant.engine.loader import LoadedModel
from assistant.errors import NotReady

log = structlog.get_logger(__name__)

# Twice the threads must be this many times as fast: requests are prepared, read and answered on the same processors,
# and torch threads spin while they wait for one that has lost its processor (16 chats one at a time by `generate` took
# 2.4 s with one thread and 52 s with two on the same busy cores).
_WORTH_DOUBLING = 1.5
# Seconds; a longer step benefits from every thread.
_LARGE_STEP = 0.1
# A compiled step must take at most this share of the plain step's time to be used.
_WORTH_COMPILING = 0.95
_TRIALS = 5
# Shares of the memory for slots that go to the prefix cache and the photo cache instead.
_PREFIX_SHARE, _PHOTO_SHARE = 0.25, 0.1


def make_batch(
    loaded: LoadedModel,
    scheduler: Scheduler,
    *,
    limits: Limits,
    lock: AbstractContextManager[Any],
    counters: Counters,
    is_closing: Callable[[], bool] = lambda: False,
) -> Batch | Single:
    """Raises `NotReady` if not even one slot fits beside the model. Nothing more is compiled once ``is_closing``."""
    positions = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    capacity = min(limits.capacity, positions or limits.capacity)
    try:
        runner = Runner(loaded)
        runner.check()
    except Exception as error:
        if is_out_of_memory(error):
            raise _does_not_fit(loaded, capacity) from error
        log.warning("engine.one_at_a_time", architecture=type(loaded.model).__name__, why=f"{error}"[:300])
        return Single(loaded, scheduler, lock=lock, counters=counters)
    slot = runner.cache.bytes_per_token * capacity
    free = free_memory(str(loaded.model.device)) * limits.memory_share
    if slot > free:
        raise _does_not_fit(loaded, capacity)
    slots = int(min(limits.slots, max(1, free * (1 - _PREFIX_SHARE - _PHOTO_SHARE) // slot)))
    runner.cache.resize(slots=slots, capacity=capacity)
    runner.threads = fastest_threads(runner)
    if limits.compile:
        compile_decode(runner, is_closing)
    log.info(
        "engine.ready",
        slots=slots,
        capacity=capacity,
        kv_bytes=slots * slot,
        threads=runner.threads,
        compiled=runner.is_compiled,
    )
    return Batch(
        runner,
        scheduler,
        lock=lock,
        counters=counters,
        chunk_seconds=limits.chunk_seconds,
        prefix_bytes=min(free * _PREFIX_SHARE, 4.0 * slots * slot),
        photo_bytes=free * _PHOTO_SHARE,
    )


def fastest_threads(runner: Runner) -> int:
    """How many threads a decode step on a CPU should use, measured with every slot occupied."""
    most = torch.get_num_threads()
    if runner.loaded.model.device.type != "cpu" or most == 1:
        return most
    best, fastest = most, _decode_seconds(runner, most)
    while best > 1 and fastest < _LARGE_STEP:
        fewer = best // 2
        seconds = _decode_seconds(runner, fewer)
        if seconds > fastest * _WORTH_DOUBLING:
            break
        best, fastest = fewer, seconds
    return best


def compile_decode(runner: Runner, is_closing: Callable[[], bool]) -> None:
    """Compile the decode step, and use it if it is correct and faster; log why if not."""
    before = _decode_seconds(runner, runner.threads)
    try:
        runner.compile(is_closing)
    except Exception as error:
        log.warning("engine.not_compiled", why=f"{type(error).__name__}: {error}"[:300])
        return
    after = _decode_seconds(runner, runner.threads)
    log.info("engine.compiled", milliseconds=round(after * 1e3, 2), before=round(before * 1e3, 2))
    if after > before * _WORTH_COMPILING:
        runner.discard_compiled()


def _decode_seconds(runner: Runner, threads: int) -> float:
    """The shortest of a few decode steps; a large one is run only once."""
    use_threads(threads)
    first = runner.decode_seconds()
    return min(first, *(runner.decode_seconds() for _ in range(_TRIALS))) if first < _LARGE_STEP else first


def _does_not_fit(loaded: LoadedModel, capacity: int) -> NotReady:
    free = free_memory(str(loaded.model.device))
    return NotReady(
        f"Beside the model there is no memory for one conversation of {capacity} tokens "
        f"({free / 1e9:.1f} GB free). Choose a smaller model, quantize it (ASSISTANT_QUANTIZE=nf4), or "
        "lower ASSISTANT_CONTEXT_TOKENS."
    )
