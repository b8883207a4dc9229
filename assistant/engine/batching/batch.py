"""One step of the engine: schedule, run, hand out. Read a piece of the prompts that are waiting, write one token of
every text, and never let one request harm another.

A step reads for no longer than its budget while others write. What fails is found by running the rows one by one:
that request fails, the others go on from where they were.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import takewhile
from time import monotonic, perf_counter
from typing import Any

import numpy as np
import structlog
import torch

from assistant.engine.batching.cache import PhotoStore, Prefix, PrefixStore
from assistant.engine.batching.runner import Chunk, Runner
from assistant.engine.batching.sampling import Constraint, Sampler, grammar_tokenizer
from assistant.engine.batching.scheduler import Moves, Scheduler
from assistant.engine.batching.stats import Counters, EngineStats
from assistant.engine.batching.work import Deciding, PromptWork, Writing
from assistant.engine.device import use_threads
from assistant.engine.loader import LoadedModel
from assistant.errors import AssistantError, EngineFailed

log = structlog.get_logger(__name__)

# Tokens of prompts that a step reads: at most, for the memory it takes, and at least while others write.
_MOST_READ, _LEAST_READ = 2048, 32
# How much the newest measurement of the reading speed counts.
_NEWEST = 0.3


class Batch:
    """All requests that the model is working on. Only ever used by the engine thread; ``lock`` guards the queue that
    other threads put requests into."""

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        *,
        lock: AbstractContextManager[Any],
        counters: Counters,
        chunk_seconds: float,
        prefix_bytes: float,
        photo_bytes: float,
    ) -> None:
        self._runner = runner
        self._scheduler = scheduler
        self._lock = lock
        self._counters = counters
        self._chunk_seconds = chunk_seconds
        self._rate: float | None = None  # tokens of prompts read in a second
        self._photo_seconds = 0.0  # that the last photo took
        self._prefixes = PrefixStore(prefix_bytes)
        self._photos = PhotoStore(photo_bytes)
        self._grammar_tokenizer: Any = None
        self._ends = end_tokens(runner.loaded)
        scheduler.slots = runner.cache.slots
        scheduler.moves = Moves(runner.cache.move, runner.cache.swap)

    @property
    def loaded(self) -> LoadedModel:
        return self._runner.loaded

    def prepare(self, work: PromptWork) -> None:
        """What can be done before its turn, in the caller's thread. Raises what is wrong with the request."""
        work.prepare(self.loaded, capacity=self._runner.cache.capacity)

    def described(self, stats: EngineStats) -> EngineStats:
        """``stats`` with the state of caches and slots."""
        cache, prefixes, photos = self._runner.cache, self._prefixes, self._photos
        return replace(
            stats,
            threads=self._runner.threads,
            compiled=self._runner.is_compiled,
            slots=cache.slots,
            capacity=cache.capacity,
            kv_tokens=sum(work.cached for work in self._scheduler.rows),
            kv_bytes=cache.slots * cache.capacity * cache.bytes_per_token,
            prefix_hits=prefixes.use.hits,
            prefix_misses=prefixes.use.misses,
            prefix_bytes=prefixes.bytes,
            photo_hits=photos.use.hits,
            photo_misses=photos.use.misses,
            photo_bytes=photos.bytes,
            evictions=prefixes.use.evictions + photos.use.evictions,
        )

    def step(self) -> None:
        """Do a little for everybody. Returns soon; raises only what concerns all."""
        use_threads(self._runner.threads)
        sweep(self._scheduler, self._lock, self._counters)
        self._admit()
        self._read()
        self._write()

    def fail_all(self, error: AssistantError) -> None:
        """Something broke that concerns whoever has a slot; those who wait are not concerned."""
        with self._lock:
            rows = self._scheduler.clear()
        for work in rows:
            self._counters.failed += 1
            work.put(error)
        for slot in range(self._runner.cache.slots):
            self._runner.cache.clear(slot)
        self._prefixes.clear()

    # Who has a slot

    def _admit(self) -> None:
        now = monotonic()
        with self._lock:
            victim = self._scheduler.to_preempt(now)
            if victim is not None:
                if isinstance(victim, Writing):
                    victim.begin_again()
                victim.features.clear()
                self._scheduler.requeue(victim)
                self._counters.preempted += 1
            admitted = list(self._scheduler.admit(now))
        for work in admitted:
            self._guard(work, partial(self._begin, work))

    def _begin(self, work: PromptWork) -> None:
        work.started = True
        self.prepare(work)
        if isinstance(work, Writing) and work.sampler is None:
            work.sampler = self._sampler(work)
        prefix, shared = self._prefixes.longest(work.known_prompt.identity)
        # The last token is read in any case: what comes after it is what is wanted.
        shared = min(shared, len(work.known_prompt) - 1)
        whole = work.whole_blocks(shared, start=0)
        shared = whole if whole <= shared else 0
        if prefix is not None and shared > 0:
            self._runner.cache.write(self._scheduler.rows.index(work), prefix.states, shared)
            work.cached = shared
        work.reused = max(work.reused, work.cached)
        self._counters.prompt_tokens_reused += work.cached

    def _sampler(self, work: Writing) -> Sampler:
        loaded = self.loaded
        constraint = None
        if work.request.schema is not None:
            if self._grammar_tokenizer is None:
                vocabulary = loaded.model.get_output_embeddings().weight.shape[0]
                end = sorted(self._ends)
                self._grammar_tokenizer = grammar_tokenizer(loaded.tokenizer, vocabulary=vocabulary, end=end)
            constraint = Constraint(self._grammar_tokenizer, work.request.schema)
        return Sampler(work.request, loaded.model.generation_config, loaded.tokenizer, constraint)

    # Reading prompts

    def _read(self) -> None:
        """Photos, pieces of prompts and questions, one after the other: what fits into the budget.

        Nothing is begun that would not fit, except the first: so all who came meanwhile write in the same steps."""
        started, spent = perf_counter(), 0.0
        while (head := next(iter(self._scheduler.reading), None)) is not None:
            needs = self._photo_seconds if head.missing_photos else self._chunk_seconds / 2
            if spent and spent + needs > self._chunk_seconds:
                return
            self._read_some(head, self._budget(self._chunk_seconds - spent))
            spent = perf_counter() - started

    def _read_some(self, head: PromptWork, budget: int) -> None:
        """One photo, one piece of some prompts, or some questions; ``budget``: in tokens."""
        if head.missing_photos:
            self._guard(head, partial(self._encode, head))
        elif isinstance(head, Deciding) and head.cached == head.length:
            self._guard(head, partial(self._decide, head, budget))
        else:
            chosen = self._scheduler.read_next(budget)
            self._prefill(list(takewhile(lambda pair: _can_be_read(*pair), chosen)))

    def _encode(self, work: PromptWork) -> None:
        photo = work.known_prompt.photos[len(work.features)]
        features = self._photos.get(photo.key)
        if features is None:
            started = perf_counter()
            features = self._runner.encode(photo)
            self._photo_seconds = perf_counter() - started
            self._counters.photos_encoded += 1
            self._photos.put(photo.key, features)
        work.features.append(features)

    def _prefill(self, chosen: Sequence[tuple[PromptWork, int]]) -> None:
        started = perf_counter()
        first = self._scheduler.ready
        done = self._rows_or_alone(
            chosen,
            lambda at, some: self._runner.prefill(first + at, [_chunk(work, count) for work, count in some]),
        )
        tokens = sum(count for _, count in chosen)
        self._measure(tokens / max(perf_counter() - started, 1e-6))
        self._counters.prompt_tokens_read += tokens
        for (work, _), logits in zip(chosen, done, strict=True):
            if logits is not None and work.cached == work.length and isinstance(work, Writing):
                self._guard(work, partial(self._start_writing, work, logits))

    def _start_writing(self, work: Writing, logits: torch.Tensor) -> None:
        work.features.clear()
        self._scheduler.promote(work)
        if work.room == 0:
            self._finish(work, by_model=False)
            return
        self._choose(work, logits)

    def _decide(self, work: Deciding, budget: int) -> None:
        slot = self._scheduler.rows.index(work)
        asked = work.next_tails(budget)
        tails = [work.branches.tails[number] for number in asked]
        work.answer(asked, self._runner.branch(slot, work.known_prompt, tails))
        if work.scores is not None:
            self._keep(work.known_prompt.identity, slot)
            self._end(work, work.scores)

    # Writing

    def _write(self) -> None:
        rows: list[Writing] = list(self._scheduler.writing)
        if not rows:
            return
        started = perf_counter()
        done = self._rows_or_alone([(work, 1) for work in rows], self._decode)
        self._counters.steps += 1
        self._counters.step_seconds += perf_counter() - started
        self._counters.rows += len(rows)
        for work, logits in zip(rows, _chosen_together(rows, done), strict=True):
            if isinstance(logits, int):
                self._guard(work, partial(self._take, work, logits))
            elif logits is not None:
                self._guard(work, partial(self._choose, work, logits))

    def _decode(self, at: int, some: Sequence[tuple[Writing, int]]) -> torch.Tensor:
        works = [work for work, _ in some]
        positions = np.array([work.place for work in works])
        dimensions = len(works[0].known_prompt.positions)
        return self._runner.decode(
            at,
            [work.tokens[-1] for work in works],
            np.tile(positions, (dimensions, 1)),
            [work.cached for work in works],
        )

    def _choose(self, work: Writing, logits: torch.Tensor) -> None:
        _check(logits)
        self._take(work, work.choose(logits))

    def _take(self, work: Writing, token: int) -> None:
        by_model = token in self._ends
        work.take(token, ends=by_model)
        self._counters.tokens_written += 1
        if by_model or work.has_ended:
            self._finish(work, by_model=by_model)

    def _finish(self, work: Writing, *, by_model: bool) -> None:
        if work.first_token_at is not None:
            self._counters.first_tokens += 1
            self._counters.first_token_seconds += work.first_token_at - work.arrived_at
        self._keep(work.identity(), self._scheduler.rows.index(work))
        self._end(work, work.done(by_model=by_model))

    # Ending

    def _keep(self, identity: np.ndarray, slot: int) -> None:
        """Keep what a slot has, for who begins alike."""
        if self._prefixes.adds(identity, self._runner.cache.bytes_per_token):
            self._prefixes.put(Prefix(identity, self._runner.cache.read(slot, len(identity))))

    def _end(self, work: PromptWork, outcome: Any) -> None:
        with self._lock:
            self._scheduler.remove(work)
        self._counters.finished += 1
        work.put(outcome)

    def _guard(self, work: PromptWork, action: Callable[[], None]) -> None:
        """Whatever goes wrong here goes wrong for this request only."""
        try:
            action()
        except Exception as error:
            self._fail(work, error)

    def _fail(self, work: PromptWork, error: Exception) -> None:
        with self._lock:
            slot = self._scheduler.rows.index(work)
            self._runner.cache.clear(slot)
            work.cached = 0  # nothing to move
            self._scheduler.remove(work)
        self._counters.failed += 1
        work.put(as_engine_error(error))

    def _rows_or_alone(
        self, rows: Sequence[tuple[Any, int]], run: Callable[[int, Sequence[tuple[Any, int]]], torch.Tensor]
    ) -> list[torch.Tensor | None]:
        """The logits of each row: of all together, or, where that fails, of each by itself, None for those that failed.

        ``rows``: each with the number of tokens that go into its slot. ``run`` gets the place of the first and the
        rows; running a row twice does no harm, as the same is written again."""
        done: list[torch.Tensor | None]
        failed: list[tuple[Any, Exception]] = []
        try:
            done = list(run(0, rows))
        except Exception as error:
            log.warning("engine.pass_failed", rows=len(rows), error=f"{type(error).__name__}: {error}")
            free_memory_of(self.loaded)
            done = [self._alone(at, row, run, failed) for at, row in enumerate(rows)]
        for (work, count), logits in zip(rows, done, strict=True):
            work.cached += count if logits is not None else 0
        for work, reason in failed:  # only now: removing one moves others
            self._fail(work, reason)
        return done

    def _alone(self, at: int, row: tuple[Any, int], run: Any, failed: list[tuple[Any, Exception]]) -> Any:
        try:
            return run(at, [row])[0]
        except Exception as error:
            failed.append((row[0], error))
            return None

    # How much at a time

    def _budget(self, seconds: float) -> int:
        """How many tokens of prompts may be read in so many seconds."""
        if not self._scheduler.ready:
            return _MOST_READ
        if self._rate is None:
            return 4 * _LEAST_READ
        return int(min(_MOST_READ, max(_LEAST_READ, self._rate * seconds)))

    def _measure(self, rate: float) -> None:
        self._rate = rate if self._rate is None else (1 - _NEWEST) * self._rate + _NEWEST * rate


def sweep(scheduler: Scheduler, lock: AbstractContextManager[Any], counters: Counters) -> None:
    """Let go of those whose reader has gone or whose time is over."""
    with lock:
        over = [work for work in (*scheduler.waiting, *scheduler.rows) if work.interrupted()]
        for work in over:
            scheduler.remove(work)
    for work in over:
        if work.cancelled.is_set():
            counters.cancelled += 1
            work.put(EngineFailed("The request was cancelled."))  # whoever cancelled does not read on
        else:
            counters.timed_out += 1
            work.put(work.timeout())


def as_engine_error(error: BaseException) -> AssistantError:
    """Failures as callers may see them; the details go to the log only."""
    if isinstance(error, AssistantError):
        return error
    log.error("engine.request_failed", error=f"{type(error).__name__}: {error}", exc_info=error)
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return EngineFailed("The model ran out of memory on this request. Send fewer or smaller photos.")
    return EngineFailed("The model failed on this request. It has been logged; please try again.")


def free_memory_of(loaded: Any) -> None:
    """Give back what a failed pass left behind on a GPU."""
    if loaded.model.device.type == "cuda":
        torch.cuda.empty_cache()


def _can_be_read(work: PromptWork, count: int) -> bool:
    """Whether a row can be read along with others now: its photos are there, and not just its questions are left."""
    return count > 0 and not work.missing_photos


def _chunk(work: PromptWork, count: int) -> Chunk:
    return Chunk(work.known_prompt, work.cached, count, tuple(work.features))


def _chosen_together(rows: Sequence[Writing], logits: Sequence[torch.Tensor | None]) -> list[Any]:
    """The tokens of those rows that only want the likeliest, found in one go; of the others the logits."""
    plain = [at for at, (work, row) in enumerate(zip(rows, logits, strict=True)) if row is not None and _is_plain(work)]
    result: list[Any] = list(logits)
    if not plain:
        return result
    stacked = torch.stack([row for at in plain if (row := logits[at]) is not None])
    best = stacked.max(dim=-1)  # what is no number is the greatest of its row
    for at, token, is_sound in zip(plain, best.indices.tolist(), best.values.isfinite().tolist(), strict=True):
        if is_sound:  # the others fail where their logits are looked at
            result[at] = token
    return result


def _is_plain(work: Writing) -> bool:
    return work.sampler is not None and work.sampler.is_plain


def _check(logits: torch.Tensor) -> None:
    if not bool(logits.max().isfinite()):  # the greatest is NaN if any is
        raise EngineFailed("The model computed something that is no number. Please try again, or without the photo.")


def end_tokens(loaded: Any) -> set[int]:
    configured = loaded.model.generation_config.eos_token_id
    if configured is None:
        return set()
    return set(configured) if isinstance(configured, list) else {configured}
