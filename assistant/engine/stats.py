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
