"""Linear layers with weights packed for this processor: the same products, faster. CPU only.

torch multiplies by weights laid out as in the checkpoint; oneDNN can reorder them into blocks once. The model itself
does not change: only the engine's forward passes use the blocks (inside `Packed` as a context manager), whoever else
runs the model gets torch's own products. Each layer is tried when it is packed, and left alone if that does not work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
import torch
from torch.nn import functional

from assistant.engine.device import free_memory

log = structlog.get_logger(__name__)

# Measured on one core (AVX-512, torch 2.13): 16 rows by 576 x 1536 take 0.31 ms in fp32 and 0.12 ms packed, in bf16
# 0.10 and 0.07; 300 rows 4.8 and 2.0, in bf16 1.04 and 0.98. Below this many multiplications torch is faster in fp32,
# as a packed product takes 0.01 ms to set up; in bf16 a packed one is never slower.
_LEAST_PRODUCT = {torch.float32: 400_000, torch.bfloat16: 0}
# The copies may take this share of the free memory.
_MOST_MEMORY = 0.25
_TRIED_ROWS = 16
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}


class Packed:
    """The packed layers of a model, used inside the context only. One thread at a time."""

    def __init__(self, model: Any, *, most_bytes: float | None = None) -> None:
        """``most_bytes``: a model with more weights is left alone; by default a share of the free memory."""
        self._is_active = False
        self.layers = 0
        self.bytes = 0
        layers = _linear_layers(model)
        size = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
        if not layers or size > (_MOST_MEMORY * free_memory("cpu") if most_bytes is None else most_bytes):
            return
        for layer in layers:
            product = _packed_product(layer)
            if product is not None:
                least_rows = 1 + _LEAST_PRODUCT[layer.weight.dtype] // int(layer.weight.numel())
                layer.forward = self._dispatch(layer.forward, product, least_rows)
                self.layers += 1
                self.bytes += layer.weight.numel() * layer.weight.element_size()
        log.info("engine.packed", layers=self.layers, bytes=self.bytes)

    def __enter__(self) -> None:
        self._is_active = True

    def __exit__(self, *_: object) -> None:
        self._is_active = False

    def _dispatch(self, plain: Callable[..., Any], product: Callable[..., Any], least: int) -> Callable[..., Any]:
        def forward(states: torch.Tensor) -> Any:
            rows = states.numel() // states.shape[-1]
            return product(states) if self._is_active and rows >= least else plain(states)

        return forward


def _linear_layers(model: Any) -> list[Any]:
    """Without quantized ones, which have kernels of their own."""
    if model.device.type != "cpu":
        return []
    linear = [part for part in model.modules() if type(part) is torch.nn.Linear]
    return [part for part in linear if part.weight.device.type == "cpu" and part.weight.dtype in _LEAST_PRODUCT]


@torch.no_grad()
def _packed_product(layer: Any) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The layer as a function on a packed copy of its weights; None if that does not work here or gives other results.

    torch's operators for it are private."""
    bias, dtype = layer.bias, layer.weight.dtype
    try:
        weights = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        multiply = torch.ops.mkldnn._linear_pointwise

        def product(states: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = multiply(states, weights, bias, "none", [], "")
            return result

        states = torch.linspace(-1, 1, _TRIED_ROWS * layer.in_features).reshape(_TRIED_ROWS, -1).to(dtype)
        expected, result = functional.linear(states, layer.weight, bias).float(), product(states).float()
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        log.warning("engine.not_packed", error=f"{type(error).__name__}: {error}"[:200])
        return None
    spread = float(expected.abs().max().clamp(min=1e-6))
    return product if float((result - expected).abs().max()) <= _TOLERANCE[dtype] * spread else None
