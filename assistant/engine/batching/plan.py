"""How a loaded model is run: in a batch if it can be, with as many slots as fit into memory.

Whether it can is tried, with a small photo, and every figure about its cache is taken from that trial.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import structlog
import torch

from assistant.engine.batching.batch import Batch
from assistant.engine.batching.runner import Runner
from assistant.engine.batching.scheduler import Scheduler
from assistant.engine.batching.single import Single
from assistant.engine.batching.stats import Counters
from assistant.engine.device import free_gpu_memory, free_memory, use_threads
from assistant.engine.loader import LoadedModel
from assistant.errors import NotReady

if TYPE_CHECKING:
    from assistant.engine.batching.engine import Limits

log = structlog.get_logger(__name__)

# Twice the threads must be so many times as fast: requests are prepared, read and answered on the same processors, and
# threads of torch that wait for one that has lost its processor cost more than they bring.
_WORTH_DOUBLING = 1.5
# A step that takes longer gains by every thread there is.
_LARGE_STEP = 0.1
# A compiled step that is not faster by this much is not worth having.
_WORTH_COMPILING = 0.95
_TRIALS = 5
# Of the memory that slots may take, so much more is for prompts that were read, and for photos that were seen.
_PREFIX_SHARE, _PHOTO_SHARE = 0.25, 0.1


def make_batch(
    loaded: LoadedModel,
    scheduler: Scheduler,
    *,
    limits: Limits,
    lock: AbstractContextManager[Any],
    counters: Counters,
) -> Batch | Single:
    """Raises `NotReady` if not even one slot fits beside the model."""
    positions = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    capacity = min(limits.capacity, positions or limits.capacity)
    try:
        runner = Runner(loaded)
        runner.check()
    except Exception as error:
        if _is_out_of_memory(error):
            raise _does_not_fit(loaded, capacity) from error
        log.warning("engine.one_at_a_time", architecture=type(loaded.model).__name__, why=f"{error}"[:300])
        return Single(loaded, scheduler, lock=lock, counters=counters)
    slot = runner.cache.bytes_per_token * capacity
    free = _free(loaded) * limits.memory_share
    if slot > free:
        raise _does_not_fit(loaded, capacity)
    slots = int(min(limits.slots, max(1, free * (1 - _PREFIX_SHARE - _PHOTO_SHARE) // slot)))
    runner.cache.resize(slots=slots, capacity=capacity)
    runner.threads = fastest_threads(runner)
    if limits.compile:
        compile_step(runner)
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
    """How many threads a step on a CPU is to use: tried, with every slot taken."""
    most = torch.get_num_threads()
    if runner.loaded.model.device.type != "cpu" or most == 1:
        return most
    best, fastest = most, _step_seconds(runner, most)
    while best > 1 and fastest < _LARGE_STEP:
        fewer = best // 2
        seconds = _step_seconds(runner, fewer)
        if seconds > fastest * _WORTH_DOUBLING:
            break
        best, fastest = fewer, seconds
    return best


def compile_step(runner: Runner) -> None:
    """Compile the step that writes, and use it if it is right and faster; say why if not."""
    before = _step_seconds(runner, runner.threads)
    try:
        runner.compile()
    except Exception as error:
        log.warning("engine.not_compiled", why=f"{type(error).__name__}: {error}"[:300])
        return
    after = _step_seconds(runner, runner.threads)
    log.info("engine.compiled", milliseconds=round(after * 1e3, 2), before=round(before * 1e3, 2))
    if after > before * _WORTH_COMPILING:
        runner.use_plain_step()


def _step_seconds(runner: Runner, threads: int) -> float:
    """The shortest step of some."""
    use_threads(threads)
    first = runner.step_seconds()
    return min(first, *(runner.step_seconds() for _ in range(_TRIALS))) if first < _LARGE_STEP else first


def _free(loaded: LoadedModel) -> float:
    device = loaded.model.device
    return free_gpu_memory(str(device)) if device.type == "cuda" else free_memory()


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or "out of memory" in str(error).lower()


def _does_not_fit(loaded: LoadedModel, capacity: int) -> NotReady:
    free = _free(loaded) / 1e9
    return NotReady(
        f"Beside the model there is no room for one conversation of {capacity} tokens ({free:.1f} GB free). Choose a "
        "smaller model, quantize it (ASSISTANT_QUANTIZE=nf4), or lower ASSISTANT_CONTEXT_TOKENS."
    )
