"""Caches: keys and values of running sequences, prefixes of earlier prompts, and encoded photos.

`SlotCache` is a transformers cache whose rows differ in length. Every sequence has a slot; those of one forward pass
are contiguous, so that attention reads them in place. `PrefixCache` and `PhotoCache` hold copies within a budget of
bytes and evict the least recently used. Knows tensors, but no requests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from transformers.cache_utils import Cache, CacheLayerMixin

# Computing a shorter prefix takes less time than copying it.
_LEAST_PREFIX = 16


@dataclass
class PassContext:
    """Where the current forward pass writes, the same for all layers."""

    first: int = 0  # slot
    starts: Sequence[int] = ()
    counts: Sequence[int] = ()
    length: int = 0  # tokens of the longest row, the new ones included
    slots: torch.Tensor = field(default_factory=lambda: torch.arange(0))  # (rows,)
    offsets: torch.Tensor = field(default_factory=lambda: torch.arange(0))  # (rows,) ``starts`` as a tensor

    def set(self, first: int, starts: Sequence[int], counts: Sequence[int], device: Any) -> None:
        """``starts``: how many tokens each row holds already; ``counts``: how many it gains."""
        self.first, self.starts, self.counts = first, starts, counts
        self.length = max(start + count for start, count in zip(starts, counts, strict=True))
        self.slots = torch.arange(first, first + len(starts), device=device)
        self.offsets = torch.as_tensor(starts, device=device)


class SlotLayer(CacheLayerMixin):  # type: ignore[misc]  # transformers ships no types
    """Keys and values (slots, heads, capacity, size) of one layer; allocated by the first forward pass."""

    is_sliding = False  # even if attention is: the mask handles that, the cache keeps everything

    def __init__(self, context: PassContext) -> None:
        super().__init__()
        self._context = context
        self._slots = 0
        self._capacity = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        # Zeros, not uninitialised memory: attention multiplies masked values by zero, and zero times NaN is NaN.
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
            examples = self.keys[:1, :, :0].clone(), self.values[:1, :, :0].clone()
            del self.keys, self.values  # before the new ones are allocated: both might not fit
            self.lazy_initialization(*examples)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append to each row; return all rows, as long as the longest."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        context, rows = self._context, key_states.shape[0]
        first, last = context.first, context.first + rows
        for states, new in ((self.keys, key_states), (self.values, value_states)):
            if new.shape[2] == 1:
                states[context.slots, :, context.offsets] = new[:, :, 0]
            else:
                for row, (start, count) in enumerate(zip(context.starts, context.counts, strict=True)):
                    states[first + row, :, start : start + count] = new[row, :, :count]
        return self.keys[first:last, :, : context.length], self.values[first:last, :, : context.length]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._context.length, 0

    def get_seq_length(self) -> int:
        return 0  # rows differ: masks and positions are always passed

    def get_max_length(self) -> int:
        return self._capacity


class ForkedLayer(CacheLayerMixin):  # type: ignore[misc]
    """One slot's keys and values shared by several rows, each with a continuation of its own that is not stored."""

    is_sliding = False

    def __init__(self, parent: SlotLayer, *, slot: int, length: int) -> None:
        super().__init__()
        self.keys = parent.keys[slot : slot + 1, :, :length]
        self.values = parent.values[slot : slot + 1, :, :length]
        self.is_initialized = True

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        raise AssertionError("a fork is initialised by its parent")

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
    """``slots`` slots of ``capacity`` tokens; none before `resize`."""

    def __init__(self, *, layers: int) -> None:
        self.context = PassContext()
        self.slots = 0
        self.capacity = 0
        super().__init__(layers=[SlotLayer(self.context) for _ in range(layers)])

    @property
    def bytes_per_token(self) -> int:
        """Over all layers; known after the first forward pass."""
        pairs = [(layer.keys, layer.values) for layer in self.layers if layer.is_initialized]
        states = [state for pair in pairs for state in pair]
        return sum(state.shape[1] * state.shape[3] * state.element_size() for state in states)

    def resize(self, *, slots: int, capacity: int) -> None:
        """Start over with so many slots. Memory is allocated now, or by the first forward pass, and never grows."""
        self.slots, self.capacity = slots, capacity
        for layer in self.layers:
            layer.resize(slots, capacity)

    def fork(self, slot: int, length: int) -> Cache:
        """A cache for continuations of the first ``length`` tokens of a slot."""
        return Cache(layers=[ForkedLayer(layer, slot=slot, length=length) for layer in self.layers])

    def read(self, slot: int, length: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Copies (heads, length, size) of a slot's keys and values, layer by layer."""
        return [(layer.keys[slot, :, :length].clone(), layer.values[slot, :, :length].clone()) for layer in self.layers]

    def write(self, slot: int, states: Sequence[tuple[torch.Tensor, torch.Tensor]], length: int) -> None:
        """Fill the beginning of a slot with the first ``length`` tokens of what `read` returned."""
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
                copy = states[one, :, :length].clone()
                states[one, :, :length] = states[other, :, :length]
                states[other, :, :length] = copy

    def clear(self, slot: int) -> None:
        """Zero a slot, so that a NaN in it does not reach the next sequence there."""
        for layer in self.layers:
            if layer.is_initialized:
                layer.keys[slot].zero_()
                layer.values[slot].zero_()

    def fill_with_noise(self) -> None:
        """Random values in every slot; for a dummy run, while no slot is in use."""
        for layer in self.layers:
            if layer.is_initialized:
                layer.keys.normal_()
                layer.values.normal_()


@dataclass(frozen=True)
class Features:
    """An encoded photo: ``rows`` (n, d), one for each placeholder token, and for models that inject it into deeper
    layers too ``deep``, (n, d) each. ``listed``: whether the model takes them as lists."""

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
class CacheUsage:
    """How a cache was used."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0


class PhotoCache:
    """Features by the digest of the pixels, within ``budget`` bytes."""

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._entries: OrderedDict[str, Features] = OrderedDict()
        self.bytes = 0
        self.usage = CacheUsage()

    def get(self, key: str) -> Features | None:
        features = self._entries.get(key)
        if features is None:
            self.usage.misses += 1
            return None
        self._entries.move_to_end(key)
        self.usage.hits += 1
        return features

    def put(self, key: str, features: Features) -> None:
        """Add features, unless they alone exceed the budget or are not finite: what failed once may work again."""
        if key in self._entries or features.bytes > self._budget or not features.finite:
            return
        self._entries[key] = features
        self.bytes += features.bytes
        while self.bytes > self._budget:
            _, evicted = self._entries.popitem(last=False)
            self.bytes -= evicted.bytes
            self.usage.evictions += 1


@dataclass(frozen=True, eq=False)
class Prefix:
    """Tokens computed earlier: their identity (n,), and keys and values (heads, n, size) of every layer."""

    identity: np.ndarray
    states: list[tuple[torch.Tensor, torch.Tensor]] = field(repr=False)

    @property
    def bytes(self) -> int:
        return sum(part.numel() * part.element_size() for pair in self.states for part in pair)

    def common(self, identity: np.ndarray) -> int:
        """The number of tokens that both start with."""
        length = min(len(self.identity), len(identity))
        differing = np.flatnonzero(self.identity[:length] != identity[:length])
        return int(differing[0]) if len(differing) else length


class PrefixCache:
    """Prompts with their answers, least recently used first, within ``budget`` bytes. Any of them serves the prefix it
    shares with a prompt: the system prompt, or a conversation's earlier turns."""

    def __init__(self, budget: float) -> None:
        self._budget = budget
        self._entries: list[Prefix] = []
        self.bytes = 0
        self.usage = CacheUsage()

    def longest(self, identity: np.ndarray) -> tuple[Prefix | None, int]:
        """The entry that shares the longest prefix with a prompt, and its length; None if none shares enough."""
        shared = [(prefix.common(identity), index) for index, prefix in enumerate(self._entries)]
        length, index = max(shared, default=(0, -1))
        if length < _LEAST_PREFIX:
            self.usage.misses += 1
            return None, 0
        self.usage.hits += 1
        prefix = self._entries.pop(index)
        self._entries.append(prefix)
        return prefix, length

    def wants(self, identity: np.ndarray, bytes_per_token: int) -> bool:
        """Whether adding it makes sense: it fits, and no entry starts with it."""
        if len(identity) * bytes_per_token > self._budget or len(identity) < _LEAST_PREFIX:
            return False
        return all(prefix.common(identity) < len(identity) for prefix in self._entries)

    def put(self, prefix: Prefix) -> None:
        """Add a prefix; entries that it starts with are redundant and go."""
        self._entries = [other for other in self._entries if prefix.common(other.identity) < len(other.identity)]
        self._entries.append(prefix)
        self.bytes = sum(other.bytes for other in self._entries)
        while self.bytes > self._budget:
            self.bytes -= self._entries.pop(0).bytes
            self.usage.evictions += 1

    def clear(self) -> None:
        self._entries.clear()
        self.bytes = 0
