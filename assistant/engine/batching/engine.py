"""The engine: one thread that owns the model, a bounded queue before it, a stream behind every request.

Callers put in a request and read its stream; one who goes away cancels. The thread loads the model when the first
request comes, then steps (`batch`, or `single` for architectures that cannot be batched). A step that fails as a whole
fails those who have a slot; those who wait are served by the next one. Knows nothing of prompts' meaning, tickets or
LangChain.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import monotonic, perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import structlog

from assistant.engine.batching.request import Done, GenerationRequest, Piece
from assistant.engine.batching.scheduler import Moves, Scheduler
from assistant.engine.batching.stats import Counters, EngineStats
from assistant.engine.batching.work import Branches, Call, Deciding, PromptWork, Work, Writing
from assistant.engine.loader import LoadedModel
from assistant.errors import AssistantError, EngineBusy, EngineFailed
from assistant.ports import current_priority

if TYPE_CHECKING:
    from assistant.engine.batching.batch import Batch
    from assistant.engine.batching.single import Single

log = structlog.get_logger(__name__)
Result = TypeVar("Result")

# A guess at the seconds that one request takes, until some have been measured.
_FIRST_GUESS = 5.0
# So many steps that fail as a whole, one after the other, and the model is loaded anew.
_MOST_FAILURES = 3
_CLOSING = "The model is shutting down. Please try again in a moment."


@dataclass(frozen=True)
class Limits:
    """``slots``: requests worked on at once, fewer if they do not fit into ``memory_share`` of the memory that is free
    beside the model; ``capacity``: tokens of each; ``chunk_seconds``: how long a step may read while others write;
    ``compile``: the step that writes, when the model is loaded."""

    slots: int = 16
    capacity: int = 4096
    memory_share: float = 0.6
    chunk_seconds: float = 0.15
    compile: bool = False


class Generation(Iterator[Piece | Done]):
    """The stream of one request. Closing it, or letting go of it, cancels the request within one step."""

    def __init__(self, work: Writing, place: Callable[[Work], int]) -> None:
        self._work = work
        self._place = place
        self._ended = False

    @property
    def place(self) -> int:
        """How many are before it in the queue; 0 once it is being worked on."""
        return self._place(self._work)

    def __next__(self) -> Piece | Done:
        if self._ended:
            raise StopIteration
        try:
            item: Piece | Done = self._work.next()
        except BaseException:
            self._ended = True
            raise
        self._ended = isinstance(item, Done)
        return item

    def close(self) -> None:
        """No effect once it has ended."""
        self._ended = True
        self._work.cancelled.set()

    def __enter__(self) -> Generation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._work.cancelled.set()


class Engine:
    """Thread-safe. Loads the model in its own thread when the first request comes; `close` is idempotent."""

    def __init__(
        self,
        load: Callable[[], LoadedModel],
        *,
        queue_size: int = 32,
        timeout: float = 120.0,
        retry_loading: float = 30.0,
        limits: Limits | None = None,
    ) -> None:
        """``timeout``: seconds that a request may take, waiting included, unless it says otherwise. A checkpoint that
        could not be loaded is tried again after ``retry_loading`` seconds, not at every request."""
        self._load = load
        self._queue_size = queue_size
        self._timeout = timeout
        self._retry_loading = retry_loading
        self._limits = limits or Limits()
        self._changed = threading.Condition(threading.RLock())  # guards everything below
        self._scheduler = Scheduler(slots=0, moves=Moves(lambda *_: None, lambda *_: None))
        self._calls: deque[Call] = deque()
        self._call: Call | None = None  # being run
        self._thread: threading.Thread | None = None
        self._closed = False
        self._loading = False
        self._loading_failed: tuple[AssistantError, float] | None = None
        self._failures = 0  # steps that failed as a whole since the last one that did not
        self._batch: Batch | Single | None = None
        self._counters = Counters()

    def generate(self, request: GenerationRequest, *, timeout: float | None = None) -> Generation:
        """Stream a generation.

        Raises `EngineBusy` at once when the queue is full, and what is wrong with the request; while reading
        `EngineTimeout` past the deadline and `EngineFailed` if this one failed.
        """
        work = Writing(request, deadline=self._deadline(timeout))
        self._submit(work)
        return Generation(work, self._place)

    def decide(
        self,
        branches: Callable[[LoadedModel], Branches],
        alone: Callable[[LoadedModel], list[list[float]]],
        *,
        timeout: float | None = None,
    ) -> list[list[float]]:
        """The probabilities of each question's options, all questions answered in one reading of what they are about.

        ``branches`` makes the prompts; ``alone`` decides where the model cannot be run in a batch. Raises as
        `generate` does."""
        work = Deciding(branches, alone, deadline=self._deadline(timeout), priority=current_priority())
        self._submit(work)
        result: list[list[float]] = work.next()
        return result

    def call(self, run: Callable[[LoadedModel], Result], *, timeout: float | None = None) -> Result:
        """Run something in the engine thread, between two steps, and return what it returns. Raises as `generate`."""
        work = Call(run, deadline=self._deadline(timeout))
        self._submit(work)
        result: Result = work.next()
        return result

    def trouble(self) -> str | None:
        """Why the engine cannot answer now, or None if it can, or will once the first request makes it load."""
        with self._changed:
            if self._closed:
                return "The model is shut down."
            if self._loading:
                return "The model is loading."
            if self._failures:
                return "The model has just failed and is recovering."
            return self._loading_failed[0].message if self._loading_failed is not None else None

    def stats(self) -> EngineStats:
        from assistant.engine.batching.batch import Batch

        with self._changed:
            batch = self._batch
            stats = EngineStats(
                counters=replace(self._counters),
                waiting=len(self._alive()),
                running=len(self._scheduler.rows),
                loaded=batch is not None,
                batched=isinstance(batch, Batch),
            )
            return batch.described(stats) if isinstance(batch, Batch) else stats

    def close(self) -> None:
        """End the thread: running and waiting requests fail, later ones are refused."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            refused = [*self._calls, *self._scheduler.waiting]
            self._calls.clear()
            self._scheduler.waiting.clear()
            thread = self._thread
            self._changed.notify_all()
        for work in refused:
            work.put(EngineFailed(_CLOSING))
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=30.0)

    def _deadline(self, timeout: float | None) -> float:
        return monotonic() + (self._timeout if timeout is None else timeout)

    def _submit(self, work: Work) -> None:
        self._check_open()
        with self._changed:
            batch = self._batch
        if batch is not None and isinstance(work, PromptWork):
            batch.prepare(work)  # here, not in the engine thread: others are being served
        with self._changed:
            self._check_open()
            self._calls.append(work) if isinstance(work, Call) else self._scheduler.waiting.append(work)
            self._ensure_thread()
            self._changed.notify_all()

    def _check_open(self) -> None:
        with self._changed:
            if self._closed:
                raise EngineFailed(_CLOSING)
            waiting = len(self._alive())
            if waiting >= self._queue_size:
                self._counters.refused += 1
                message = "Too many requests are waiting for the model. Please try again soon."
                raise EngineBusy(message, retry_after=self._seconds_each() * (waiting + 1))

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._live, name="engine", daemon=True)
            self._thread.start()

    def _alive(self) -> list[Work]:
        """Those waiting whose reader still waits: who has gone away takes no place in the queue."""
        return [work for work in (*self._calls, *self._scheduler.waiting) if not work.interrupted()]

    def _place(self, work: Work) -> int:
        with self._changed:
            return self._scheduler.place(work, monotonic()) if work in self._scheduler.waiting else 0

    def _seconds_each(self) -> float:
        counters = self._counters
        return counters.busy_seconds / counters.finished if counters.finished else _FIRST_GUESS

    # The thread

    def _live(self) -> None:
        """Serve until closed. Whatever ends the thread otherwise, another one takes over: who was being served fails,
        who waits is served by that one."""
        ended = EngineFailed("The model failed. Please try again.")
        try:
            while self._wait():
                self._turn()
            ended = EngineFailed(_CLOSING)
        finally:
            if self._call is not None:
                self._call.put(ended)
            if self._batch is not None:
                self._batch.fail_all(ended)
            with self._changed:
                if not self._closed:
                    self._counters.restarts += 1
                    self._failures += 1
                    self._thread = None
                    self._ensure_thread()

    def _wait(self) -> bool:
        """Wait for something to do. False when the engine is closed."""
        with self._changed:
            while not (self._closed or self._calls or self._scheduler.waiting or self._scheduler.rows):
                self._changed.wait()
            return not self._closed

    def _turn(self) -> None:
        """Load if need be, then a step, and a call if one waits."""
        started = perf_counter()
        batch = self._ready()
        if batch is None:
            return
        try:
            with self._changed:
                call = self._calls.popleft() if self._calls else None
            if call is not None:
                self._run(call, batch.loaded)
            batch.step()
            self._failures = 0
        except Exception as error:
            self._recover(batch, error)
        self._counters.busy_seconds += perf_counter() - started

    def _run(self, call: Call, loaded: LoadedModel) -> None:
        if call.late:
            self._counters.timed_out += 1
            call.put(call.timeout())
            return
        call.started = True
        self._call = call
        try:
            outcome = call.run(loaded)
            self._counters.finished += 1
        except Exception as error:
            from assistant.engine.batching.batch import as_engine_error

            self._counters.failed += 1
            outcome = as_engine_error(error)
        self._call = None
        call.put(outcome)

    def _recover(self, batch: Batch | Single, error: Exception) -> None:
        """A step failed as a whole: begin anew, with the model itself if that keeps happening."""
        from assistant.engine.batching.batch import as_engine_error

        self._counters.restarts += 1
        self._failures += 1
        log.error("engine.step_failed", failures=self._failures, error=f"{type(error).__name__}: {error}")
        batch.fail_all(as_engine_error(error))
        if self._failures >= _MOST_FAILURES:
            with self._changed:
                self._batch, self._failures = None, 0

    def _ready(self) -> Batch | Single | None:
        """The model, loaded; None if that failed, which those who wait are told."""
        if self._batch is not None:
            return self._batch
        try:
            batch = self._loaded_batch()
        except AssistantError as error:
            self._refuse_waiting(error)
            return None
        with self._changed:
            self._batch = batch
        return batch

    def _refuse_waiting(self, error: AssistantError) -> None:
        with self._changed:
            refused = [*self._calls, *self._scheduler.waiting]
            self._calls.clear()
            self._scheduler.waiting.clear()
        for work in refused:
            self._counters.failed += 1
            work.put(type(error)(error.message))

    def _loaded_batch(self) -> Batch | Single:
        """Load the model, or say again why it could not be loaded a moment ago."""
        with self._changed:
            if self._loading_failed is not None:
                error, at = self._loading_failed
                if monotonic() - at < self._retry_loading:
                    raise error
            self._loading = True
        started = monotonic()
        failure: AssistantError | None = None
        try:
            from assistant.engine.batching.plan import make_batch

            loaded = self._load()
            return make_batch(loaded, self._scheduler, limits=self._limits, lock=self._changed, counters=self._counters)
        except AssistantError as error:
            failure = error
            raise
        except Exception as error:
            log.exception("engine.loading_failed")
            failure = EngineFailed(f"The model cannot be loaded: {type(error).__name__}. The log says more.")
            raise failure from error
        finally:
            with self._changed:
                self._loading = False
                self._loading_failed = (failure, monotonic()) if failure is not None else None
                self._counters.load_seconds += monotonic() - started
