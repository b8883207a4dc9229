"""What the model remembers: keys and values of the conversations it is in, of prompts it has read, and photos it saw.

`SlotCache` is a cache of transformers whose rows have lengths of their own: every conversation has a slot, those that
a forward pass is about lie next to each other, so that attention reads them in place. `PrefixStore` and `PhotoStore`
keep copies within a budget of bytes and let go of what was not used for longest. Knows tensors, no request.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache, CacheLayerMixin

# Shorter common beginnings are read again sooner than copied.
_LEAST_PREFIX = 16


@dataclass
class Window:
    """Which slots the forward pass at hand is about, the same for all layers."""

    first: int = 0
    starts: Sequence[int] = ()
    counts: Sequence[int] = ()
    length: int = 0  # tokens of the longest row, the new ones included
    rows: torch.Tensor = field(default_factory=lambda: torch.arange(0))  # (r,) the slots, and
    places: torch.Tensor = field(default_factory=lambda: torch.arange(0))  # (r,) where a single new token goes

    def set(self, first: int, starts: Sequence[int], counts: Sequence[int], device: Any) -> None:
        """``starts``: tokens each row has already, ``counts``: how many it gets."""
        self.first, self.starts, self.counts = first, starts, counts
        self.length = max(start + count for start, count in zip(starts, counts, strict=True))
        self.rows = torch.arange(first, first + len(starts), device=device)
        self.places = torch.as_tensor(starts, device=device)


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers ships no types
    """Keys and values (slots, heads, capacity, size) of one layer; made when the first ones come."""

    is_sliding = False  # also where attention is: the mask sees to it, the cache keeps everything

    def __init__(self, window: Window) -> None:
        super().__init__()
        self._window = window
        self._slots = 0
        self._capacity = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        # Zeros, not whatever was there: attention multiplies what is masked by zero, and zero times NaN is NaN.
        self.keys, self.values = (
            torch.zeros(
                (self._slots, states.shape[1], self._capacity, states.shape[3]),
                dtype=states.dtype,
                device=states.device,
            )
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def resize(self, slots: int, capacity: int) -> None:
        self._slots, self._capacity = slots, capacity
        if self.is_initialized:
            kinds = self.keys[:1, :, :0].clone(), self.values[:1, :, :0].clone()
            del self.keys, self.values  # before the new ones are made: both might not fit
            self.lazy_initialization(*kinds)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write each row behind what it has; return all rows as far as the longest goes."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        window, rows = self._window, key_states.shape[0]
        first, last = window.first, window.first + rows
        for states, new in ((self.keys, key_states), (self.values, value_states)):
            if new.shape[2] == 1:
                states[window.rows, :, window.places] = new[:, :, 0]
            else:
                for row, (start, count) in enumerate(zip(window.starts, window.counts, strict=True)):
                    states[first + row, :, start : start + count] = new[row, :, :count]
        return self.keys[first:last, :, : window.length], self.values[first:last, :, : window.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._window.length, 0

    def get_seq_length(self) -> int:
        return 0  # rows differ: masks and positions are always given

    def get_max_length(self) -> int:
        return self._capacity


class BranchLayer(CacheLayerMixin):  # type: ignore[misc]
    """One slot's keys and values seen by several rows at once, each with its own continuation, which is not kept."""

    is_sliding = False

    def __init__(self, trunk: SlotLayer, *, slot: int, length: int) -> None:
        super().__init__()
        self.keys = trunk.keys[slot : slot + 1, :, :length]
        self.values = trunk.values[slot : slot + 1, :, :length]
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        raise AssertionError("a branch has a trunk")

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = key_states.shape[0]
        return (
            torch.cat([self.keys.expand(rows, -1, -1, -1), key_states], dim=2),
            torch.cat([self.values.expand(rows, -1, -1, -1), value_states], dim=2),
        )

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.keys.shape[2] + query_length, 0

    def get_seq_length(self) -> int:
        return 0

    def get_max_length(self) -> int:
        return -1


class SlotCache(Cache):  # type: ignore[misc]
    """A slot each for up to ``slots`` conversations of up to ``capacity`` tokens; none before `resize`."""

    def __init__(self, *, layers: int) -> None:
        self.window = Window()
        self.slots = 0
        self.capacity = 0
        super().__init__(layers=[SlotLayer(self.window) for _ in range(layers)])

    @property
    def bytes_per_token(self) -> int:
        """Of one slot, over all layers; known after the first forward pass."""
        pairs = [(layer.keys, layer.values) for layer in self.layers if layer.is_initialized]
        states = [state for pair in pairs for state in pair]
        return sum(state.shape[1] * state.shape[3] * state.element_size() for state in states)

    def resize(self, *, slots: int, capacity: int) -> None:
        """Begin anew with so many slots. Their memory is taken now, or at the first forward pass, and never grows."""
        self.slots, self.capacity = slots, capacity
        for layer in self.layers:
            layer.resize(slots, capacity)

    def branch(self, slot: int, length: int) -> Cache:
        """A cache for continuations of the first ``length`` tokens of a slot."""
        return Cache(layers=[BranchLayer(layer, slot=slot, length=length) for layer in self.layers])

    def read(self, slot: int, length: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Copies (heads, length, size) of a slot's keys and values, layer by layer."""
        return [(layer.keys[slot, :, :length].clone(), layer.values[slot, :, :length].clone()) for layer in self.layers]

    def write(self, slot: int, states: Sequence[tuple[torch.Tensor, torch.Tensor]], length: int) -> None:
        """Begin a slot with the first ``length`` tokens of what `read` gave."""
        for layer, (keys, values) in zip(self.layers, states, strict=True):
            if not layer.is_initialized:
                layer.lazy_initialization(keys[None], values[None])
            layer.keys[slot, :, :length] = keys[:, :length]
            layer.values[slot, :, :length] = values[:, :length]

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` tokens of a slot to another."""
        for layer in self.layers:
            if layer.is_initialized:
                layer.keys[target, :, :length] = layer.keys[source, :, :length]
                layer.values[target, :, :length] = layer.values[source, :, :length]

    def swap(self, one: int, other: int, length: int) -> None:
        """Exchange the first ``length`` tokens of two slots."""
        for layer in self.layers:
            for states in (layer.keys, layer.values) if layer.is_initialized else ():
                kept = states[one, :, :length].clone()
                states[one, :, :length] = states[other, :, :length]
                states[other, :, :length] = kept

    def clear(self, slot: int) -> None:
        """Zero a slot: what went wrong in it must not reach those who get it next."""
        for layer in self.layers:
            if layer.is_initialized:
                layer.keys[slot].zero_()
                layer.values[slot].zero_()

    def fill_with_noise(self) -> None:
        """Put something into every slot; for a trial, before anybody has one."""
        for layer in self.layers:
            if layer.is_initialized:
                layer.keys.normal_()
                layer.values.normal_()


@dataclass(frozen=True)
class Features:
    """A photo as the language model sees it: ``rows`` (n, d), one a placeholder, and for models that add more of it in
    deeper layers ``deep``, (n, d) each. ``listed``: whether the model wants lists of them."""

    rows: torch.Tensor
    deep: tuple[torch.Tensor, ...] = ()
    listed: bool = True

    @property
    def bytes(self) -> int:
        return sum(part.numel() * part.element_size() for part in (self.rows, *self.deep))

    @property
    def finite(self) -> bool:
        return all(bool(torch.isfinite(part).all()) for part in (self.rows, *self.deep))


@dataclass
class Use:
    """How often a store had what was asked for, and how often it let go of something."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0


class PhotoStore:
    """Features by the digest of the pixels, within ``budget`` bytes."""

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._kept: OrderedDict[str, Features] = OrderedDict()
        self.bytes = 0
        self.use = Use()

    def get(self, key: str) -> Features | None:
        found = self._kept.get(key)
        if found is None:
            self.use.misses += 1
            return None
        self._kept.move_to_end(key)
        self.use.hits += 1
        return found

    def put(self, key: str, features: Features) -> None:
        """Keep features, unless they alone are more than the budget, or are not numbers: those may not last."""
        if key in self._kept or features.bytes > self._budget or not features.finite:
            return
        self._kept[key] = features
        self.bytes += features.bytes
        while self.bytes > self._budget:
            _, gone = self._kept.popitem(last=False)
            self.bytes -= gone.bytes
            self.use.evictions += 1


@dataclass(frozen=True, eq=False)
class Prefix:
    """A prompt that was read: its identity (n,), and keys and values (heads, n, size) of every layer."""

    identity: np.ndarray
    states: list[tuple[torch.Tensor, torch.Tensor]] = field(repr=False)

    @property
    def bytes(self) -> int:
        return sum(part.numel() * part.element_size() for pair in self.states for part in pair)

    def common(self, identity: np.ndarray) -> int:
        """How many tokens both begin with."""
        length = min(len(self.identity), len(identity))
        differing = np.flatnonzero(self.identity[:length] != identity[:length])
        return int(differing[0]) if len(differing) else length


class PrefixStore:
    """Prompts with their answers, least recently used first, within ``budget`` bytes. A system prompt, and the earlier
    turns of a conversation, are found in whatever began with them."""

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._kept: list[Prefix] = []
        self.bytes = 0
        self.use = Use()

    def longest(self, identity: np.ndarray) -> tuple[Prefix | None, int]:
        """The prefix that shares most tokens with a prompt, and how many; None if none shares enough."""
        shared = [(prefix.common(identity), place) for place, prefix in enumerate(self._kept)]
        length, place = max(shared, default=(0, -1))
        if length < _LEAST_PREFIX:
            self.use.misses += 1
            return None, 0
        self.use.hits += 1
        found = self._kept.pop(place)
        self._kept.append(found)
        return found, length

    def adds(self, identity: np.ndarray, bytes_per_token: int) -> bool:
        """Whether keeping this would make a difference: it fits, and is not the beginning of what is kept."""
        if len(identity) * bytes_per_token > self._budget or len(identity) < _LEAST_PREFIX:
            return False
        return all(prefix.common(identity) < len(identity) for prefix in self._kept)

    def put(self, prefix: Prefix) -> None:
        """Keep a prefix; those that are its beginning are not needed any more."""
        self._kept = [other for other in self._kept if prefix.common(other.identity) < len(other.identity)]
        self._kept.append(prefix)
        self.bytes = sum(other.bytes for other in self._kept)
        while self.bytes > self._budget:
            self.bytes -= self._kept.pop(0).bytes
            self.use.evictions += 1

    def clear(self) -> None:
        self._kept.clear()
        self.bytes = 0
