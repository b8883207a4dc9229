"""Continuous batching. A step schedules, runs (prefill some, decode all) and postprocesses.

While others decode, a step prefills for no longer than its time budget, but uses all of it, so that requests which
arrived together decode in the same steps. A forward pass that fails is repeated row by row: the sequence at fault
fails, the others go on from where they were.
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

from assistant.engine.batching.cache import PhotoCache, Prefix, PrefixCache
from assistant.engine.batching.request import Done
from assistant.engine.batching.runner import Chunk, Runner
from assistant.engine.batching.sampling import Constraint, Sampler, grammar_tokenizer
from assistant.engine.batching.scheduler import Scheduler
from assistant.engine.batching.sequence import DecisionSequence, GenerationSequence, PromptSequence
from assistant.engine.batching.stats import Counters, EngineStats
from assistant.engine.device import is_out_of_memory, use_threads
from assistant.engine.loader import LoadedModel
from assistant.errors import AssistantError, EngineFailed

log = structlog.get_logger(__name__)

# Prompt tokens that a step prefills: at most, because of the memory it takes, and at least while others decode.
_MOST_TOKENS, _LEAST_TOKENS = 2048, 32
# Weight of the newest measurement in the moving average of the prefill rate.
_NEWEST = 0.3


class Batch:
    """The sequences that the model is serving. Used by the engine thread only; ``lock`` guards the scheduler, whose
    queue other threads add to."""

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
        self._prefill_rate: float | None = None  # tokens a second
        self._photo_seconds = 0.0  # that the last photo took to encode
        self._prefixes = PrefixCache(prefix_bytes)
        self._photos = PhotoCache(photo_bytes)
        self._grammar_tokenizer: Any = None
        self._eos = eos_tokens(runner.loaded)
        scheduler.slots = runner.cache.slots
        scheduler.cache = runner.cache

    @property
    def loaded(self) -> LoadedModel:
        return self._runner.loaded

    def prepare(self, sequence: PromptSequence) -> None:
        """Build the prompt, in the caller's thread. Raises what is wrong with the request."""
        sequence.prepare(self.loaded, capacity=self._runner.cache.capacity)

    def with_state(self, stats: EngineStats) -> EngineStats:
        """``stats`` with the state of slots and caches."""
        cache, prefixes, photos = self._runner.cache, self._prefixes, self._photos
        return replace(
            stats,
            threads=self._runner.threads,
            compiled=self._runner.is_compiled,
            slots=cache.slots,
            capacity=cache.capacity,
            kv_tokens=sum(sequence.cached for sequence in self._scheduler.running),
            kv_bytes=cache.slots * cache.capacity * cache.bytes_per_token,
            prefix_hits=prefixes.usage.hits,
            prefix_misses=prefixes.usage.misses,
            prefix_bytes=prefixes.bytes,
            photo_hits=photos.usage.hits,
            photo_misses=photos.usage.misses,
            photo_bytes=photos.bytes,
            evictions=prefixes.usage.evictions + photos.usage.evictions,
        )

    def step(self) -> None:
        """One step for everybody. Returns soon; raises only what concerns all."""
        use_threads(self._runner.threads)
        self._schedule()
        self._prefill()
        self._decode()

    def fail_all(self, error: AssistantError) -> None:
        """Fail every sequence that has a slot; those that wait are not affected."""
        with self._lock:
            running = self._scheduler.clear()
        for sequence in running:
            self._counters.failed += 1
            sequence.put(error)
        for slot in range(self._runner.cache.slots):
            self._runner.cache.clear(slot)
        self._prefixes.clear()

    # Schedule

    def _schedule(self) -> None:
        """Drop interrupted sequences, preempt if somebody more important waits, fill free slots."""
        drop_interrupted(self._scheduler, self._lock, self._counters)
        with self._lock:
            victim = self._scheduler.preemption_victim()
            if victim is not None:
                if isinstance(victim, GenerationSequence):
                    victim.preempt()
                victim.features.clear()
                self._scheduler.preempt(victim)
                self._counters.preempted += 1
            admitted = list(self._scheduler.admit(monotonic()))
        for sequence in admitted:
            self._guard(sequence, partial(self._start, sequence))

    def _start(self, sequence: PromptSequence) -> None:
        sequence.started = True
        self.prepare(sequence)
        if isinstance(sequence, GenerationSequence) and sequence.sampler is None:
            sequence.sampler = self._sampler(sequence)
        prompt = sequence.prompt
        prefix, shared = self._prefixes.longest(prompt.identity)
        # The last token is always computed: its logits are what is wanted.
        shared = min(shared, len(prompt) - 1)
        end = prompt.chunk_end(shared, start=0)
        if prefix is not None and 0 < end <= shared:
            self._runner.cache.write(self._scheduler.running.index(sequence), prefix.states, end)
            sequence.cached = end
        sequence.reused = max(sequence.reused, sequence.cached)
        self._counters.prompt_tokens_cached += sequence.cached

    def _sampler(self, sequence: GenerationSequence) -> Sampler:
        loaded = self.loaded
        constraint = None
        if sequence.request.schema is not None:
            if self._grammar_tokenizer is None:
                vocabulary = loaded.model.get_output_embeddings().weight.shape[0]
                self._grammar_tokenizer = grammar_tokenizer(
                    loaded.tokenizer, vocabulary=vocabulary, eos=sorted(self._eos)
                )
            constraint = Constraint(self._grammar_tokenizer, sequence.request.schema)
        return Sampler(sequence.request, loaded.model.generation_config, loaded.tokenizer, constraint)

    # Prefill

    def _prefill(self) -> None:
        """Photos, chunks of prompts and questions, one after the other, as many as fit into the time budget.

        Only the first is started regardless, so that requests which arrived together decode in the same steps."""
        started, spent = perf_counter(), 0.0
        while self._scheduler.prefilling:
            head = self._scheduler.prefilling[0]
            needed = self._photo_seconds if head.needs_encoding else self._chunk_seconds / 2
            if spent and spent + needed > self._chunk_seconds:
                return
            self._prefill_some(head, self._token_budget(self._chunk_seconds - spent))
            spent = perf_counter() - started

    def _prefill_some(self, head: PromptSequence, budget: int) -> None:
        """One photo, one chunk of some prompts, or some questions; ``budget``: in tokens."""
        if head.needs_encoding:
            self._guard(head, partial(self._encode, head))
        elif isinstance(head, DecisionSequence) and head.cached == head.length:
            self._guard(head, partial(self._decide, head, budget))
        else:
            scheduled = self._scheduler.schedule_prefill(budget)
            ready = takewhile(lambda pair: pair[1] > 0 and not pair[0].needs_encoding, scheduled)
            self._prefill_chunks(list(ready))

    def _encode(self, sequence: PromptSequence) -> None:
        photo = sequence.prompt.photos[len(sequence.features)]
        features = self._photos.get(photo.key)
        if features is None:
            started = perf_counter()
            features = self._runner.encode(photo)
            self._photo_seconds = perf_counter() - started
            self._counters.photos_encoded += 1
            self._photos.put(photo.key, features)
        sequence.features.append(features)

    def _prefill_chunks(self, scheduled: Sequence[tuple[PromptSequence, int]]) -> None:
        started = perf_counter()
        first_slot = self._scheduler.num_decoding

        def run(at: int, rows: Sequence[tuple[PromptSequence, int]]) -> torch.Tensor:
            chunks = [Chunk(row.prompt, row.cached, count, tuple(row.features)) for row, count in rows]
            return self._runner.prefill(first_slot + at, chunks)

        results = self._run_rows(scheduled, run)
        tokens = sum(count for _, count in scheduled)
        rate = tokens / max(perf_counter() - started, 1e-6)
        previous = rate if self._prefill_rate is None else self._prefill_rate
        self._prefill_rate = (1 - _NEWEST) * previous + _NEWEST * rate
        self._counters.prompt_tokens += tokens
        for (sequence, _), logits in zip(scheduled, results, strict=True):
            if logits is None or sequence.cached < sequence.length:
                continue
            if isinstance(sequence, GenerationSequence):
                self._guard(sequence, partial(self._start_decoding, sequence, logits))

    def _start_decoding(self, sequence: GenerationSequence, logits: torch.Tensor) -> None:
        sequence.features.clear()
        self._scheduler.start_decoding(sequence)
        if sequence.max_output == 0:
            self._finish(sequence, is_eos=False)
        else:
            self._sample(sequence, logits)

    def _decide(self, sequence: DecisionSequence, budget: int) -> None:
        slot = self._scheduler.running.index(sequence)
        numbers = sequence.next_questions(budget)
        suffixes = [sequence.prompts.suffixes[number] for number in numbers]
        sequence.answer(numbers, self._runner.prefill_suffixes(slot, sequence.prompt, suffixes))
        if sequence.probabilities is not None:
            self._cache_prefix(sequence.prompt.identity, slot)
            self._complete(sequence, sequence.probabilities)

    # Decode

    def _decode(self) -> None:
        sequences: list[GenerationSequence] = list(self._scheduler.decoding)
        if not sequences:
            return
        started = perf_counter()
        results = self._run_rows([(sequence, 1) for sequence in sequences], self._decode_rows)
        self._counters.decode_steps += 1
        self._counters.decode_seconds += perf_counter() - started
        self._counters.decode_rows += len(sequences)
        for sequence, result in zip(sequences, _sample_greedy(sequences, results), strict=True):
            if isinstance(result, int):
                self._guard(sequence, partial(self._append, sequence, result))
            elif result is not None:
                self._guard(sequence, partial(self._sample, sequence, result))

    def _decode_rows(self, at: int, rows: Sequence[tuple[GenerationSequence, int]]) -> torch.Tensor:
        sequences = [sequence for sequence, _ in rows]
        positions = np.array([sequence.position for sequence in sequences])
        dimensions = len(sequences[0].prompt.positions)
        return self._runner.decode(
            at,
            [sequence.output[-1] for sequence in sequences],
            np.tile(positions, (dimensions, 1)),
            [sequence.cached for sequence in sequences],
        )

    # Postprocess

    def _sample(self, sequence: GenerationSequence, logits: torch.Tensor) -> None:
        if not bool(logits.max().isfinite()):  # the maximum is NaN if any of them is
            raise EngineFailed("The model computed invalid numbers. Please try again, or without the photo.")
        self._append(sequence, sequence.sample(logits))

    def _append(self, sequence: GenerationSequence, token: int) -> None:
        is_eos = token in self._eos
        sequence.append(token, is_eos=is_eos)
        self._counters.generation_tokens += 1
        if is_eos or sequence.is_finished:
            self._finish(sequence, is_eos=is_eos)

    def _finish(self, sequence: GenerationSequence, *, is_eos: bool) -> None:
        if sequence.first_token_at is not None:
            self._counters.first_tokens += 1
            self._counters.first_token_seconds += sequence.first_token_at - sequence.arrived_at
        self._cache_prefix(sequence.identity(), self._scheduler.running.index(sequence))
        self._complete(sequence, sequence.finish(is_eos=is_eos))

    def _cache_prefix(self, identity: np.ndarray, slot: int) -> None:
        """Keep what a slot holds for prompts that start alike."""
        if self._prefixes.wants(identity, self._runner.cache.bytes_per_token):
            self._prefixes.put(Prefix(identity, self._runner.cache.read(slot, len(identity))))

    def _complete(self, sequence: PromptSequence, result: Done | list[list[float]]) -> None:
        with self._lock:
            self._scheduler.remove(sequence)
        self._counters.finished += 1
        sequence.put(result)

    # Failures

    def _guard(self, sequence: PromptSequence, action: Callable[[], None]) -> None:
        """Whatever goes wrong in ``action`` fails this sequence only."""
        try:
            action()
        except Exception as error:
            self._fail(sequence, error)

    def _fail(self, sequence: PromptSequence, error: Exception) -> None:
        with self._lock:
            slot = self._scheduler.running.index(sequence)
            self._runner.cache.clear(slot)
            sequence.cached = 0  # nothing to move
            self._scheduler.remove(sequence)
        self._counters.failed += 1
        sequence.put(as_engine_error(error))

    def _run_rows(
        self, rows: Sequence[tuple[Any, int]], run: Callable[[int, Sequence[tuple[Any, int]]], torch.Tensor]
    ) -> list[torch.Tensor | None]:
        """The logits of each row: of all in one pass or, if that fails, of each in its own; None for rows that failed.

        ``rows``: sequences, each with the number of tokens that its slot gains. ``run`` gets the offset of the first
        row and the rows; running a row twice does no harm, as the same is written again."""
        results: list[torch.Tensor | None]
        failures: list[tuple[Any, Exception]] = []
        try:
            results = list(run(0, rows))
        except Exception as error:
            log.warning("engine.pass_failed", rows=len(rows), error=f"{type(error).__name__}: {error}")
            if self.loaded.model.device.type == "cuda":
                torch.cuda.empty_cache()  # what the failed pass left behind
            results = [self._run_alone(at, row, run, failures) for at, row in enumerate(rows)]
        for (sequence, count), logits in zip(rows, results, strict=True):
            sequence.cached += count if logits is not None else 0
        for sequence, reason in failures:  # only now, as removing one moves others
            self._fail(sequence, reason)
        return results

    def _run_alone(self, at: int, row: tuple[Any, int], run: Any, failures: list[tuple[Any, Exception]]) -> Any:
        try:
            return run(at, [row])[0]
        except Exception as error:
            failures.append((row[0], error))
            return None

    def _token_budget(self, seconds: float) -> int:
        """How many prompt tokens to prefill in ``seconds``; no limit but memory's while nobody decodes."""
        if not self._scheduler.num_decoding:
            return _MOST_TOKENS
        if self._prefill_rate is None:
            return 4 * _LEAST_TOKENS
        return int(min(_MOST_TOKENS, max(_LEAST_TOKENS, self._prefill_rate * seconds)))


def drop_interrupted(scheduler: Scheduler, lock: AbstractContextManager[Any], counters: Counters) -> None:
    """Remove sequences that were cancelled or are past their deadline."""
    with lock:
        interrupted = [each for each in (*scheduler.waiting, *scheduler.running) if each.is_interrupted]
        for sequence in interrupted:
            scheduler.remove(sequence)
    for sequence in interrupted:
        if sequence.cancelled.is_set():
            counters.cancelled += 1
            sequence.put(EngineFailed("The request was cancelled."))  # whoever cancelled no longer reads
        else:
            counters.timed_out += 1
            sequence.put(sequence.timeout())


def as_engine_error(error: BaseException) -> AssistantError:
    """A failure as callers may see it; the details go to the log only."""
    if isinstance(error, AssistantError):
        return error
    log.error("engine.request_failed", error=f"{type(error).__name__}: {error}", exc_info=error)
    if is_out_of_memory(error):
        return EngineFailed("The model ran out of memory on this request. Send fewer or smaller photos.")
    return EngineFailed("The model failed on this request. The error has been logged; please try again.")


def eos_tokens(loaded: LoadedModel) -> set[int]:
    """The ids of the model's end-of-sequence tokens."""
    configured = loaded.model.generation_config.eos_token_id
    if configured is None:
        return set()
    return set(configured) if isinstance(configured, list) else {configured}


def _sample_greedy(sequences: Sequence[GenerationSequence], logits: Sequence[torch.Tensor | None]) -> list[Any]:
    """For greedy sequences their next tokens, found in one operation; for the others their logits, unchanged."""
    greedy = [
        (at, row)
        for at, (sequence, row) in enumerate(zip(sequences, logits, strict=True))
        if row is not None and sequence.sampler is not None and sequence.sampler.is_greedy
    ]
    results: list[Any] = list(logits)
    if not greedy:
        return results
    best = torch.stack([row for _, row in greedy]).max(dim=-1)  # NaN is the maximum of its row
    tokens, are_finite = best.indices.tolist(), best.values.isfinite().tolist()
    for (at, _), token, is_finite in zip(greedy, tokens, are_finite, strict=True):
        if is_finite:  # the others fail in `_sample`
            results[at] = token
    return results
