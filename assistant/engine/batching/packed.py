"""Weights in the order that this processor multiplies them fastest: the same products, sooner. CPU only.

torch multiplies by weights as a checkpoint has them; oneDNN multiplies by weights that it has put into blocks once. The
model stays as it is: only the passes of the engine use the blocks (`Packed` as a context), whoever else runs it gets
torch's own products. Whether a layer can be done so is tried when it is packed; where not, it stays as it is.
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
# 0.10 and 0.07; 300 rows 4.8 and 2.0, in bf16 1.04 and 0.98. A product of fewer multiplications than this is done
# sooner by torch in fp32, as a packed one takes 0.01 ms to set up; in bf16 a packed one is never slower.
_LEAST_PRODUCT = {torch.float32: 400_000, torch.bfloat16: 0}
# The copies may take this share of the memory that is free.
_MOST_MEMORY = 0.25
_TRIED_ROWS = 16
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 3e-2}


class Packed:
    """The packed layers of a model, used between `__enter__` and `__exit__`. One thread at a time."""

    def __init__(self, model: Any, *, most_bytes: float | None = None) -> None:
        """``most_bytes``: more than this is not copied, a share of the memory that is free if not given."""
        self._on = False
        self.layers = 0
        self.bytes = 0
        layers = _layers(model)
        size = sum(layer.weight.numel() * layer.weight.element_size() for layer in layers)
        if not layers or size > (_MOST_MEMORY * free_memory() if most_bytes is None else most_bytes):
            return
        for layer in layers:
            product = _packed(layer)
            if product is not None:
                layer.forward = self._either(layer.forward, product, _least_rows(layer))
                self.layers += 1
                self.bytes += layer.weight.numel() * layer.weight.element_size()
        log.info("engine.packed", layers=self.layers, bytes=self.bytes)

    def __enter__(self) -> None:
        self._on = True

    def __exit__(self, *_: object) -> None:
        self._on = False

    def _either(self, plain: Callable[..., Any], product: Callable[..., Any], least: int) -> Callable[..., Any]:
        def forward(states: torch.Tensor) -> Any:
            rows = states.numel() // states.shape[-1]
            return product(states) if self._on and rows >= least else plain(states)

        return forward


def _layers(model: Any) -> list[Any]:
    """Linear layers, quantized ones not among them: those have kernels of their own."""
    if model.device.type != "cpu":
        return []
    linear = [part for part in model.modules() if type(part) is torch.nn.Linear]
    return [part for part in linear if part.weight.device.type == "cpu" and part.weight.dtype in _LEAST_PRODUCT]


def _least_rows(layer: Any) -> int:
    """From how many rows on a packed product is sooner done."""
    return 1 + _LEAST_PRODUCT[layer.weight.dtype] // int(layer.weight.numel())


@torch.no_grad()
def _packed(layer: Any) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """The layer's product by a packed copy of its weights; None if that cannot be had here, or is not the same."""
    bias, dtype = layer.bias, layer.weight.dtype
    try:
        weights = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())
        multiply = torch.ops.mkldnn._linear_pointwise

        def product(states: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = multiply(states, weights, bias, "none", [], "")
            return found

        states = torch.linspace(-1, 1, _TRIED_ROWS * layer.in_features).reshape(_TRIED_ROWS, -1).to(dtype)
        right, found = functional.linear(states, layer.weight, bias).float(), product(states).float()
    except (AttributeError, RuntimeError, NotImplementedError) as error:
        log.warning("engine.not_packed", error=f"{type(error).__name__}: {error}"[:200])
        return None
    spread = float(right.abs().max().clamp(min=1e-6))
    return product if float((found - right).abs().max()) <= _TOLERANCE[dtype] * spread else None
