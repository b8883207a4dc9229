"""What the engine counts. Knows nothing of who reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counters:
    """Since the start. Written by the engine thread alone, except ``refused``, which its lock guards."""

    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    timed_out: int = 0
    refused: int = 0
    preempted: int = 0  # gave their slot to somebody more important
    restarts: int = 0  # a step failed as a whole
    prompt_tokens_read: int = 0
    prompt_tokens_reused: int = 0
    tokens_written: int = 0
    photos_encoded: int = 0
    steps: int = 0  # that wrote
    rows: int = 0  # texts that these steps wrote a token of
    step_seconds: float = 0.0  # of the writing of these steps
    busy_seconds: float = 0.0  # of everything
    load_seconds: float = 0.0
    first_token_seconds: float = 0.0  # from arrival, summed over ``first_tokens`` requests
    first_tokens: int = 0


@dataclass(frozen=True)
class EngineStats:
    """The counters, and the state now."""

    counters: Counters
    waiting: int = 0
    running: int = 0
    loaded: bool = False
    batched: bool = False
    threads: int = 0  # of torch, for the passes of a batch on a CPU
    compiled: bool = False  # the step that writes
    slots: int = 0
    capacity: int = 0  # tokens of a slot
    kv_tokens: int = 0  # in the slots that are taken
    kv_bytes: int = 0  # of all slots, taken or not
    prefix_hits: int = 0
    prefix_misses: int = 0
    prefix_bytes: int = 0
    photo_hits: int = 0
    photo_misses: int = 0
    photo_bytes: int = 0
    evictions: int = 0

    @property
    def occupancy(self) -> float:
        """Mean number of texts that a step wrote a token of."""
        return self.counters.rows / self.counters.steps if self.counters.steps else 0.0

    def metrics(self) -> list[tuple[str, str, float]]:
        """What whoever watches is told: name, meaning, value. Rates are made from these by asking at intervals."""
        counters, tokens = self.counters, self.slots * self.capacity
        return [
            ("queue_depth", "Requests that wait for the engine.", self.waiting),
            ("running", "Requests that the engine works on.", self.running),
            ("slots", "Requests that the engine can work on at once.", self.slots),
            ("batch_occupancy", "Mean number of texts that a step wrote a token of.", self.occupancy),
            ("kv_tokens", "Tokens in the slots that are taken.", self.kv_tokens),
            ("kv_use", "Share of the slots' tokens that are taken.", self.kv_tokens / tokens if tokens else 0.0),
            ("kv_bytes", "Memory of the slots.", self.kv_bytes),
            ("tokens_written", "Tokens written since the start.", counters.tokens_written),
            ("prompt_tokens_read", "Tokens of prompts read since the start.", counters.prompt_tokens_read),
            ("prompt_tokens_reused", "Tokens of prompts that had been read before.", counters.prompt_tokens_reused),
            ("first_token_seconds_sum", "Time to the first token, summed.", counters.first_token_seconds),
            ("first_token_seconds_count", "Requests whose time to the first token was taken.", counters.first_tokens),
            ("step_seconds_sum", "Time of steps that wrote, summed.", counters.step_seconds),
            ("step_seconds_count", "Steps that wrote; each writes one token of every text.", counters.steps),
            ("busy_seconds", "Time in which the engine worked.", counters.busy_seconds),
            ("photos_encoded", "Photos encoded since the start.", counters.photos_encoded),
            ("photo_cache_hits", "Photos that had been encoded before.", self.photo_hits),
            ("photo_cache_bytes", "Memory of the photos that are kept.", self.photo_bytes),
            ("prefix_cache_hits", "Prompts whose beginning had been read before.", self.prefix_hits),
            ("prefix_cache_misses", "Prompts whose beginning was new.", self.prefix_misses),
            ("prefix_cache_bytes", "Memory of the prompts that are kept.", self.prefix_bytes),
            ("evictions", "Entries that the caches let go of.", self.evictions),
            ("preemptions", "Requests that gave their slot to somebody more important.", counters.preempted),
            ("restarts", "Steps that failed as a whole.", counters.restarts),
        ]

    def outcomes(self) -> dict[str, int]:
        """How requests ended."""
        names = ("finished", "failed", "cancelled", "timed_out", "refused")
        return {name: getattr(self.counters, name) for name in names}
