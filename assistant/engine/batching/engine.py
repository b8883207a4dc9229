"""The engine: one thread that owns the model, a bounded queue in front of it, a stream for every request.

Callers submit a request and read its stream; one that stops reading cancels it. The thread loads the model when the
first request arrives, then steps (`batch`, or `single` for architectures that cannot be batched). A step that fails as
a whole fails the requests that have a slot; the next step serves those that wait. Knows nothing of what prompts mean,
of tickets or of LangChain.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from time import monotonic, perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import structlog

from assistant.engine.batching.request import Done, GenerationRequest, Limits, TextDelta
from assistant.engine.batching.scheduler import Scheduler
from assistant.engine.batching.sequence import (
    CallRequest,
    DecisionPrompts,
    DecisionSequence,
    GenerationSequence,
    PromptSequence,
    QueuedRequest,
)
from assistant.engine.batching.stats import Counters, EngineStats
from assistant.engine.loader import LoadedModel
from assistant.errors import AssistantError, EngineBusy, EngineFailed
from assistant.ports import current_priority, seconds_left

if TYPE_CHECKING:
    from assistant.engine.batching.batch import Batch
    from assistant.engine.batching.single import Single

log = structlog.get_logger(__name__)
Result = TypeVar("Result")

# Assumed seconds for one request until some have been measured.
_FIRST_GUESS = 5.0
# After so many failed steps in a row the model is loaded again.
_MOST_FAILURES = 3
_CLOSING = "The model is shutting down. Please try again in a moment."


class Generation(Iterator[TextDelta | Done]):
    """The stream of one request. Closing or dropping it cancels the request within one step."""

    def __init__(self, sequence: GenerationSequence, queue_position: Callable[[QueuedRequest], int]) -> None:
        self._sequence = sequence
        self._queue_position = queue_position
        self._has_ended = False

    @property
    def queue_position(self) -> int:
        """How many requests are ahead of it in the queue; 0 once it is running."""
        return self._queue_position(self._sequence)

    def __next__(self) -> TextDelta | Done:
        if self._has_ended:
            raise StopIteration
        try:
            item: TextDelta | Done = self._sequence.next()
        except BaseException:
            self._has_ended = True
            raise
        self._has_ended = isinstance(item, Done)
        return item

    def close(self) -> None:
        """No effect once it has ended."""
        self._has_ended = True
        self._sequence.cancelled.set()

    def __enter__(self) -> Generation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._sequence.cancelled.set()


class Engine:
    """Thread-safe. Loads the model in its own thread when the first request arrives; `close` is idempotent."""

    def __init__(
        self,
        load: Callable[[], LoadedModel],
        *,
        queue_size: int = 32,
        timeout: float = 120.0,
        retry_loading: float = 30.0,
        limits: Limits | None = None,
    ) -> None:
        """``timeout``: seconds that a request may take, waiting included, unless it sets its own. After a failure to
        load the model, loading is tried again after ``retry_loading`` seconds, not at every request."""
        self._load = load
        self._queue_size = queue_size
        self._timeout = timeout
        self._retry_loading = retry_loading
        self._limits = limits or Limits()
        self._changed = threading.Condition(threading.RLock())  # guards everything below
        self._scheduler = Scheduler()
        self._calls: deque[CallRequest] = deque()
        self._call: CallRequest | None = None  # running
        self._thread: threading.Thread | None = None
        self._closed = False
        self._loading = False
        self._loading_failed: tuple[AssistantError, float] | None = None
        self._failures = 0  # steps in a row that failed as a whole
        self._batch: Batch | Single | None = None
        self._counters = Counters()

    def generate(self, request: GenerationRequest, *, timeout: float | None = None) -> Generation:
        """Stream a generation.

        Raises `EngineBusy` at once when the queue is full, and whatever is wrong with the request. Reading raises
        `EngineTimeout` past the deadline and `EngineFailed` if the request failed.
        """
        sequence = GenerationSequence(request, deadline=self._deadline(timeout))
        self._submit(sequence)
        return Generation(sequence, self._queue_position)

    def decide(
        self,
        make_prompts: Callable[[LoadedModel], DecisionPrompts],
        decide_serially: Callable[[LoadedModel], list[list[float]]],
        *,
        timeout: float | None = None,
    ) -> list[list[float]]:
        """The probabilities of each question's options; what the questions share is prefilled once.

        ``decide_serially`` decides where the model cannot be batched. Raises as `generate` and reading do."""
        sequence = DecisionSequence(
            make_prompts, decide_serially, deadline=self._deadline(timeout), priority=current_priority()
        )
        self._submit(sequence)
        result: list[list[float]] = sequence.next()
        return result

    def call(self, run: Callable[[LoadedModel], Result], *, timeout: float | None = None) -> Result:
        """Run a function in the engine thread, between two steps, and return its result. Raises as `decide` does."""
        call = CallRequest(run, deadline=self._deadline(timeout))
        self._submit(call)
        result: Result = call.next()
        return result

    def trouble(self) -> str | None:
        """Why the engine cannot answer now; None if it can, or will once a request makes it load the model."""
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
                running=len(self._scheduler.running),
                loaded=batch is not None,
                batched=isinstance(batch, Batch),
            )
            return batch.with_state(stats) if isinstance(batch, Batch) else stats

    def close(self, *, timeout: float = 30.0) -> bool:
        """Running and waiting requests fail, later ones are refused, and the thread ends after its current step.

        Returns whether it has ended within ``timeout`` seconds; logs an error if not. Nothing can interrupt a step,
        nor loading or compiling the model; closing again waits again."""
        with self._changed:
            self._closed = True
            waiting = self._take_waiting()
            thread = self._thread
            self._changed.notify_all()
        for request in waiting:
            request.put(EngineFailed(_CLOSING))
        if thread is None or thread is threading.current_thread():
            return True
        thread.join(timeout)
        if thread.is_alive():
            log.error("engine.still_running", waited_seconds=timeout, loading=self._loading)
        return not thread.is_alive()

    def _deadline(self, timeout: float | None) -> float:
        seconds, left = self._timeout if timeout is None else timeout, seconds_left()
        return monotonic() + (seconds if left is None else min(seconds, left))

    def _submit(self, request: QueuedRequest) -> None:
        self._check_open()
        with self._changed:
            batch = self._batch
        if batch is not None and isinstance(request, PromptSequence):
            batch.prepare(request)  # in the caller's thread, as the engine's is serving others
        with self._changed:
            self._check_open()
            if isinstance(request, CallRequest):
                self._calls.append(request)
            else:
                self._scheduler.waiting.append(request)
            self._start_thread()
            self._changed.notify_all()

    def _check_open(self) -> None:
        with self._changed:
            if self._closed:
                raise EngineFailed(_CLOSING)
            waiting = len(self._alive())
            if waiting >= self._queue_size:
                counters = self._counters
                counters.refused += 1
                each = counters.busy_seconds / counters.finished if counters.finished else _FIRST_GUESS
                message = "Too many requests are waiting for the model. Please try again soon."
                raise EngineBusy(message, retry_after=each * (waiting + 1))

    def _start_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
            self._thread.start()

    def _alive(self) -> list[QueuedRequest]:
        """Waiting requests that were not cancelled: the others take no place in the queue."""
        return [request for request in (*self._calls, *self._scheduler.waiting) if not request.is_interrupted]

    def _take_waiting(self) -> list[QueuedRequest]:
        """Empty the queue; with the lock held."""
        waiting = [*self._calls, *self._scheduler.waiting]
        self._calls.clear()
        self._scheduler.waiting.clear()
        return waiting

    def _queue_position(self, request: QueuedRequest) -> int:
        with self._changed:
            is_waiting = request in self._scheduler.waiting
            return self._scheduler.queue_position(request, monotonic()) if is_waiting else 0

    # The thread

    def _serve(self) -> None:
        """Serve until closed. If anything else ends the thread, running requests fail, and another thread takes over
        and serves those that wait."""
        reason = EngineFailed("The model failed. Please try again.")
        try:
            while self._wait():
                self._step()
            reason = EngineFailed(_CLOSING)
        finally:
            if self._call is not None:
                self._call.put(reason)
            if self._batch is not None:
                self._batch.fail_all(reason)
            with self._changed:
                if not self._closed:
                    self._counters.restarts += 1
                    self._failures += 1
                    self._thread = None
                    self._start_thread()

    def _wait(self) -> bool:
        """Wait for requests. False once the engine is closed."""
        with self._changed:
            while not (self._closed or self._calls or self._scheduler.waiting or self._scheduler.running):
                self._changed.wait()
            return not self._closed

    def _step(self) -> None:
        """Load the model if it is not loaded, run one call if any waits, then a step of the batch."""
        started = perf_counter()
        batch = self._ensure_batch()
        if batch is None:
            return
        try:
            with self._changed:
                call = self._calls.popleft() if self._calls else None
            if call is not None:
                self._run_call(call, batch.loaded)
            batch.step()
            self._failures = 0
        except Exception as error:
            self._recover(batch, error)
        self._counters.busy_seconds += perf_counter() - started

    def _run_call(self, call: CallRequest, loaded: LoadedModel) -> None:
        if call.is_late:
            self._counters.timed_out += 1
            call.put(call.timeout())
            return
        call.started = True
        self._call = call
        try:
            result = call.run(loaded)
            self._counters.finished += 1
        except Exception as error:
            from assistant.engine.batching.batch import as_engine_error

            self._counters.failed += 1
            result = as_engine_error(error)
        self._call = None
        call.put(result)

    def _recover(self, batch: Batch | Single, error: Exception) -> None:
        """A step failed as a whole: fail what is running, and load the model again if that keeps happening."""
        from assistant.engine.batching.batch import as_engine_error

        self._counters.restarts += 1
        self._failures += 1
        log.error("engine.step_failed", failures=self._failures, error=f"{type(error).__name__}: {error}")
        batch.fail_all(as_engine_error(error))
        if self._failures >= _MOST_FAILURES:
            with self._changed:
                self._batch, self._failures = None, 0

    def _ensure_batch(self) -> Batch | Single | None:
        """None if the model cannot be loaded, which fails the waiting requests."""
        if self._batch is not None:
            return self._batch
        try:
            batch = self._load_batch()
        except AssistantError as error:
            with self._changed:
                waiting = self._take_waiting()
            for request in waiting:
                self._counters.failed += 1
                request.put(type(error)(error.message))
            return None
        with self._changed:
            self._batch = batch
        return batch

    def _load_batch(self) -> Batch | Single:
        """Load the model. Raises the same error again until it is time for another try."""
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
            return make_batch(
                loaded,
                self._scheduler,
                limits=self._limits,
                lock=self._changed,
                counters=self._counters,
                is_closing=lambda: self._closed,
            )
        except AssistantError as error:
            failure = error
            raise
        except Exception as error:
            log.exception("engine.loading_failed")
            failure = EngineFailed(f"The model cannot be loaded: {type(error).__name__}. See the log.")
            raise failure from error
        finally:
            with self._changed:
                self._loading = False
                self._loading_failed = (failure, monotonic()) if failure is not None else None
                self._counters.load_seconds += monotonic() - started
