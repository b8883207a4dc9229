"""The engine: one thread that owns the model, a bounded queue before it, a stream behind every request.

It runs one request at a time, first come first served; running several at once belongs here too, when it comes.
Callers put in a request and read its stream; one who goes away cancels. A failure concerns its request only. It knows
nothing of prompts' meaning, tickets or LangChain.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

import structlog

from assistant.engine import runner
from assistant.engine.loader import LoadedModel
from assistant.engine.runner import Done, GenerationRequest, Piece
from assistant.errors import AssistantError, EngineBusy, EngineFailed, EngineTimeout

log = structlog.get_logger(__name__)
Result = TypeVar("Result")

# A guess at the seconds that one request takes, until some have been measured.
_FIRST_GUESS = 5.0
# The engine itself ends a request at its deadline; a step that is just running may take this many seconds more.
_GRACE = 2.0

_CLOSING = "The model is shutting down. Please try again in a moment."


@dataclass(frozen=True)
class EngineStats:
    """Counters since the start, and the state now, for metrics. Seconds are those of finished requests."""

    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    timed_out: int = 0
    refused: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    busy_seconds: float = 0.0
    load_seconds: float = 0.0
    waiting: int = 0
    running: int = 0
    loaded: bool = False


class Generation(Iterator[Piece | Done]):
    """The stream of one request. Closing it, or letting go of it, cancels the request within one step."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._ended = False

    def __next__(self) -> Piece | Done:
        if self._ended:
            raise StopIteration
        try:
            item: Piece | Done = self._task.next()
        except BaseException:
            self._ended = True
            raise
        self._ended = isinstance(item, Done)
        return item

    def close(self) -> None:
        """No effect once it has ended."""
        self._ended = True
        self._task.cancelled.set()

    def __enter__(self) -> Generation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self._task.cancelled.set()


class Task:
    """A piece of work for the engine thread: what to run, by when, and where its outcome goes."""

    def __init__(self, run: Callable[[LoadedModel, Task], Any], *, deadline: float) -> None:
        """``run`` may put things into ``outcome``; what it returns or raises is put there last."""
        self.run = run
        self.deadline = deadline
        self.started = False
        self.cancelled = threading.Event()
        self.outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @property
    def late(self) -> bool:
        return monotonic() > self.deadline

    def interrupted(self) -> bool:
        return self.cancelled.is_set() or self.late

    def next(self) -> Any:
        """The next thing that came out; raises the failure if the task failed, `EngineTimeout` past the deadline."""
        try:
            item = self.outcome.get(timeout=max(0.0, self.deadline - monotonic()) + (_GRACE if self.started else 0.0))
        except queue.Empty:
            self.cancelled.set()
            raise self.timeout() from None
        if isinstance(item, BaseException):
            raise item
        return item

    def timeout(self) -> EngineTimeout:
        if self.started:
            return EngineTimeout("The answer took too long. Please ask for something shorter.")
        return EngineTimeout("The model is loading or too busy to answer in time. Please try again in a moment.")


class Engine:
    """Thread-safe. Loads the model in its own thread when the first request comes; `close` is idempotent."""

    def __init__(
        self,
        load: Callable[[], LoadedModel],
        *,
        queue_size: int = 32,
        timeout: float = 120.0,
        retry_loading: float = 30.0,
    ) -> None:
        """``timeout``: seconds that a request may take, waiting included, unless it says otherwise. A checkpoint that
        could not be loaded is tried again after ``retry_loading`` seconds, not at every request."""
        self._load = load
        self._queue_size = queue_size
        self._timeout = timeout
        self._retry_loading = retry_loading
        self._changed = threading.Condition()  # guards everything below
        self._waiting: deque[Task] = deque()
        self._running: Task | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._loading = False
        self._loading_failed: tuple[AssistantError, float] | None = None
        self._stats = EngineStats()

    def generate(self, request: GenerationRequest, *, timeout: float | None = None) -> Generation:
        """Stream a generation.

        Raises `EngineBusy` at once when the queue is full; while reading `EngineTimeout` past the deadline and
        `EngineFailed` if this one failed.
        """

        def run(model: LoadedModel, task: Task) -> Done:
            done = runner.generate(model, request, emit=task.outcome.put, interrupted=task.interrupted)
            self._count(input_tokens=done.input_tokens, output_tokens=done.output_tokens)
            if done.reason == "interrupted" and not task.cancelled.is_set():
                raise task.timeout()
            return done

        return Generation(self._submit(run, timeout))

    def call(self, work: Callable[[LoadedModel], Result], *, timeout: float | None = None) -> Result:
        """Run ``work`` in the engine thread and return what it returns. Raises as `generate` does."""

        result: Result = self._submit(lambda model, _: work(model), timeout).next()
        return result

    def trouble(self) -> str | None:
        """Why the engine cannot answer now, or None if it can, or will once the first request makes it load."""
        with self._changed:
            if self._closed:
                return "The model is shut down."
            if self._loading:
                return "The model is loading."
            return self._loading_failed[0].message if self._loading_failed is not None else None

    def stats(self) -> EngineStats:
        with self._changed:
            return replace(self._stats, waiting=len(self._alive()), running=int(self._running is not None))

    def close(self) -> None:
        """End the thread: the running request is cancelled, those waiting fail, later ones are refused."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            refused, self._waiting = self._waiting, deque()
            if self._running is not None:
                self._running.cancelled.set()
            thread = self._thread
            self._changed.notify_all()
        for task in refused:
            task.outcome.put(EngineFailed(_CLOSING))
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=30.0)

    def _submit(self, run: Callable[[LoadedModel, Task], Any], timeout: float | None) -> Task:
        task = Task(run, deadline=monotonic() + (self._timeout if timeout is None else timeout))
        with self._changed:
            if self._closed:
                raise EngineFailed(_CLOSING)
            self._waiting = self._alive()
            if len(self._waiting) >= self._queue_size:
                self._count(refused=1)
                message = "Too many requests are waiting for the model. Please try again soon."
                raise EngineBusy(message, retry_after=self._seconds_each() * (len(self._waiting) + 1))
            self._waiting.append(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return task

    def _alive(self) -> deque[Task]:
        """Those waiting whose reader still waits: who has gone away takes no place in the queue."""
        return deque(task for task in self._waiting if not task.interrupted())

    def _seconds_each(self) -> float:
        return self._stats.busy_seconds / self._stats.finished if self._stats.finished else _FIRST_GUESS

    def _count(self, **more: float) -> None:
        with self._changed:
            self._stats = replace(
                self._stats, **{name: getattr(self._stats, name) + number for name, number in more.items()}
            )

    def _work(self) -> None:
        """The thread: schedule, run, answer."""
        model: LoadedModel | None = None
        while (task := self._take()) is not None:
            try:
                if model is None:
                    model = self._loaded()
                outcome = self._run(model, task)
            except BaseException as error:  # whatever happened happened to this request: the thread goes on
                self._count(**{"timed_out" if isinstance(error, EngineTimeout) else "failed": 1})
                outcome = _as_engine_error(error)
            with self._changed:
                self._running = None
            task.outcome.put(outcome)

    def _take(self) -> Task | None:
        """The next task to run; None when the engine is closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            self._running = self._waiting.popleft()
            return self._running

    def _run(self, model: LoadedModel, task: Task) -> Any:
        if task.cancelled.is_set():
            self._count(cancelled=1)
            return EngineFailed(_CLOSING)  # nobody reads it, unless it was `close` that cancelled
        if task.late:
            raise task.timeout()
        task.started = True
        started = monotonic()
        result = task.run(model, task)
        if isinstance(result, Done) and result.reason == "interrupted":
            self._count(cancelled=1)
        else:
            self._count(finished=1, busy_seconds=monotonic() - started)
        return result

    def _loaded(self) -> LoadedModel:
        """Load the model, or say again why it could not be loaded a moment ago."""
        with self._changed:
            if self._loading_failed is not None:
                error, at = self._loading_failed
                if monotonic() - at < self._retry_loading:
                    raise type(error)(error.message)
            self._loading = True
        started = monotonic()
        failure: AssistantError | None = None
        try:
            return self._load()
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
                self._stats = replace(
                    self._stats, loaded=failure is None, load_seconds=self._stats.load_seconds + monotonic() - started
                )


def _as_engine_error(error: BaseException) -> AssistantError:
    """Failures as callers may see them; the details go to the log only."""
    if isinstance(error, AssistantError):
        return error
    log.error("engine.request_failed", error=f"{type(error).__name__}: {error}", exc_info=error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return EngineFailed("The model ran out of memory on this request. Send fewer or smaller photos.")
    return EngineFailed("The model failed on this request. It has been logged; please try again.")
