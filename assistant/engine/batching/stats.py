"""What the engine counts. Does not know who reads it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Counters:
    """Since the start. Written by the engine thread only, except ``refused``, which the engine's lock guards."""

    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    timed_out: int = 0
    refused: int = 0
    preempted: int = 0
    restarts: int = 0  # after a step that failed as a whole
    prompt_tokens: int = 0  # prefilled
    prompt_tokens_cached: int = 0  # found in the prefix cache instead
    generation_tokens: int = 0
    photos_encoded: int = 0
    decode_steps: int = 0
    decode_rows: int = 0  # sequences, summed over decode steps
    decode_seconds: float = 0.0
    busy_seconds: float = 0.0
    load_seconds: float = 0.0
    first_token_seconds: float = 0.0  # since arrival, summed over ``first_tokens`` requests
    first_tokens: int = 0


@dataclass(frozen=True)
class EngineStats:
    """The counters and the current state."""

    counters: Counters
    waiting: int = 0
    running: int = 0
    loaded: bool = False
    batched: bool = False
    threads: int = 0  # of torch, for the forward passes of a batch on a CPU
    compiled: bool = False  # the decode step
    slots: int = 0
    capacity: int = 0  # tokens of a slot
    kv_tokens: int = 0  # in occupied slots
    kv_bytes: int = 0  # of all slots, occupied or not
    prefix_hits: int = 0
    prefix_misses: int = 0
    prefix_bytes: int = 0
    photo_hits: int = 0
    photo_misses: int = 0
    photo_bytes: int = 0
    evictions: int = 0

    @property
    def occupancy(self) -> float:
        """Mean number of sequences in a decode step."""
        return self.counters.decode_rows / self.counters.decode_steps if self.counters.decode_steps else 0.0

    def metrics(self) -> list[tuple[str, str, float]]:
        """(name, help, value) for monitoring; rates follow from the differences over time."""
        counters, tokens = self.counters, self.slots * self.capacity
        return [
            ("requests_waiting", "Requests in the engine's queue.", self.waiting),
            ("requests_running", "Requests being served.", self.running),
            ("slots", "Requests that can be served at once.", self.slots),
            ("batch_occupancy", "Mean number of sequences in a decode step.", self.occupancy),
            ("kv_cache_tokens", "Tokens in occupied slots.", self.kv_tokens),
            ("kv_cache_usage", "Occupied share of the slots' tokens.", self.kv_tokens / tokens if tokens else 0.0),
            ("kv_cache_bytes", "Memory of the slots.", self.kv_bytes),
            ("generation_tokens", "Tokens generated.", counters.generation_tokens),
            ("prompt_tokens", "Prompt tokens prefilled.", counters.prompt_tokens),
            ("prompt_tokens_cached", "Prompt tokens taken from the prefix cache.", counters.prompt_tokens_cached),
            ("time_to_first_token_seconds_sum", "Time to first token, summed.", counters.first_token_seconds),
            ("time_to_first_token_seconds_count", "Requests with a first token.", counters.first_tokens),
            ("decode_step_seconds_sum", "Time of decode steps, summed.", counters.decode_seconds),
            (
                "decode_step_seconds_count",
                "Decode steps; each adds one token to every sequence.",
                counters.decode_steps,
            ),
            ("busy_seconds", "Time the engine was working.", counters.busy_seconds),
            ("photos_encoded", "Photos encoded by the vision tower.", counters.photos_encoded),
            ("photo_cache_hits", "Photos taken from the photo cache.", self.photo_hits),
            ("photo_cache_bytes", "Memory of the photo cache.", self.photo_bytes),
            ("prefix_cache_hits", "Prompts whose prefix was cached.", self.prefix_hits),
            ("prefix_cache_misses", "Prompts whose prefix was not cached.", self.prefix_misses),
            ("prefix_cache_bytes", "Memory of the prefix cache.", self.prefix_bytes),
            ("cache_evictions", "Entries evicted from the prefix and photo caches.", self.evictions),
            ("preemptions", "Requests preempted by more important ones.", counters.preempted),
            ("restarts", "Restarts after a step that failed as a whole.", counters.restarts),
        ]

    def outcomes(self) -> dict[str, int]:
        """How requests ended."""
        names = ("finished", "failed", "cancelled", "timed_out", "refused")
        return {name: getattr(self.counters, name) for name in names}
