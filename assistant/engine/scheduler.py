"""The engine: one thread that owns the model, a bounded queue before it, a stream behind every request.

It runs one generation at a time (batching is to come here). Callers put in a request and read its stream; a caller who
goes away cancels. A failure concerns its request only. It knows nothing of prompts' meaning, tickets or LangChain.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Generic, TypeVar

import structlog

from assistant.engine.loader import LoadedModel
from assistant.errors import EngineBusy, EngineError, EngineFailed, EngineTimeout, NotReady

log = structlog.get_logger(__name__)
Result = TypeVar("Result")

# A guess at the time one generation takes, until some have been measured, in seconds.
_FIRST_GUESS = 5.0


@dataclass(frozen=True)
class GenerationRequest:
    """Chat messages in transformers' form, the photos they refer to (PIL images, in order), and limits."""

    messages: list[dict[str, Any]]
    images: list[Any] = field(default_factory=list)
    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """Text that is final: no broken characters, no part of a stop string."""

    text: str


@dataclass(frozen=True)
class Done:
    """The end of a generation. ``reason``: stop, length or cancelled."""

    reason: str
    input_tokens: int
    output_tokens: int


@dataclass
class Stats:
    """Counters since the start, for metrics."""

    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0


class Task(Generic[Result]):
    """A piece of work for the engine thread: what to run, by when, and where its outcome goes."""

    def __init__(self, run: Callable[[LoadedModel, Task[Any]], None], *, deadline: float) -> None:
        self.run = run
        self.deadline = deadline
        self.cancelled = threading.Event()
        self.outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def should_stop(self) -> bool:
        return self.cancelled.is_set() or monotonic() > self.deadline

    def next(self) -> Any:
        """The next thing that came out; raises the failure if the task failed."""
        try:
            # The engine answers by the deadline; the slack is for a step that is just running.
            item = self.outcome.get(timeout=max(0.0, self.deadline - monotonic()) + 30.0)
        except queue.Empty:
            raise EngineTimeout("The model did not answer in time. Please try again.") from None
        if isinstance(item, BaseException):
            raise item
        return item


class Engine:
    """Thread-safe. Loads the model in its own thread when the first request comes; `close` is idempotent."""

    def __init__(self, load: Callable[[], LoadedModel], *, queue_size: int = 32, timeout: float = 120.0) -> None:
        self._load = load
        self._timeout = timeout
        self._tasks: queue.PriorityQueue[tuple[int, int, Task[Any] | None]] = queue.PriorityQueue()
        self._queue_size = queue_size
        self._waiting = 0
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._loading_failed: EngineError | NotReady | None = None
        self._running: Task[Any] | None = None
        self.stats = Stats()

    def generate(self, request: GenerationRequest, *, timeout: float | None = None) -> Iterator[Piece | Done]:
        """Stream a generation. Closing the iterator early cancels it within one step.

        Raises `EngineBusy` when the queue is full, `EngineTimeout` past the deadline, `EngineFailed` if this one failed.
        """
        from assistant.engine.runner import generate

        task = self._submit(lambda model, task: generate(model, request, task), timeout)

        def pieces() -> Iterator[Piece | Done]:
            try:
                while True:
                    item = task.next()
                    yield item
                    if isinstance(item, Done):
                        return
            finally:
                task.cancelled.set()

        return pieces()

    def call(self, work: Callable[[LoadedModel], Result], *, timeout: float | None = None) -> Result:
        """Run ``work`` in the engine thread and return what it returns."""

        def run(model: LoadedModel, task: Task[Any]) -> None:
            task.outcome.put((work(model),))

        task = self._submit(run, timeout)
        try:
            (result,) = task.next()
            return result  # type: ignore[no-any-return]
        finally:
            task.cancelled.set()

    def trouble(self) -> str | None:
        """Why the engine cannot answer, or None."""
        if self._closed:
            return "The engine is closed."
        return self._loading_failed.message if self._loading_failed is not None else None

    @property
    def queue_depth(self) -> int:
        return self._waiting

    def close(self) -> None:
        """End the thread: the running generation is cancelled, those waiting fail, later ones are refused."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            running, thread = self._running, self._thread
        if running is not None:
            running.cancelled.set()
        self._tasks.put((-1, next(self._numbers), None))
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=30.0)

    def _submit(self, run: Callable[[LoadedModel, Task[Any]], None], timeout: float | None) -> Task[Any]:
        task: Task[Any] = Task(run, deadline=monotonic() + (timeout or self._timeout))
        with self._lock:
            if self._closed:
                raise EngineFailed("The model is shutting down. Please try again in a moment.")
            if self._waiting >= self._queue_size:
                wait = self._average() * self._waiting
                raise EngineBusy("Too many requests are waiting for the model. Please try again soon.", retry_after=wait)
            self._waiting += 1
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
                self._thread.start()
            self._tasks.put((0, next(self._numbers), task))
        return task

    def _average(self) -> float:
        return self.stats.seconds / self.stats.finished if self.stats.finished else _FIRST_GUESS

    def _work(self) -> None:
        """The thread: schedule, run, answer."""
        model: LoadedModel | None = None
        while True:
            _, _, task = self._tasks.get()
            if task is None:
                break
            with self._lock:
                self._waiting -= 1
                self._running = task
            started = monotonic()
            try:
                if task.cancelled.is_set():
                    self.stats.cancelled += 1
                    continue
                if monotonic() > task.deadline:
                    raise EngineTimeout("The model was too busy to answer in time. Please try again.")
                if model is None:
                    model = self._loaded()
                task.run(model, task)
                self.stats.finished += 1
                self.stats.seconds += monotonic() - started
            except BaseException as error:  # whatever happened happened to this request: the thread goes on
                self.stats.failed += 1
                task.outcome.put(_as_engine_error(error))
            finally:
                self._running = None
        self._refuse_waiting()

    def _loaded(self) -> LoadedModel:
        try:
            model = self._load()
        except (EngineError, NotReady) as error:
            self._loading_failed = error
            raise
        except Exception as error:
            self._loading_failed = EngineFailed(f"The model cannot be loaded: {type(error).__name__}: {error}"[:300])
            raise self._loading_failed from error
        self._loading_failed = None
        return model

    def _refuse_waiting(self) -> None:
        while True:
            try:
                _, _, task = self._tasks.get_nowait()
            except queue.Empty:
                return
            if task is not None:
                task.outcome.put(EngineFailed("The model is shutting down. Please try again in a moment."))


def _as_engine_error(error: BaseException) -> BaseException:
    """Failures as callers may see them; the details go to the log only."""
    if isinstance(error, EngineError | NotReady):
        return error
    log.error("engine.generation_failed", error=f"{type(error).__name__}: {error}", exc_info=error)
    if "out of memory" in str(error).lower():
        return EngineFailed("The model ran out of memory on this request. Send fewer or smaller photos.")
    return EngineFailed("The model failed on this request. It has been logged; please try again.")
