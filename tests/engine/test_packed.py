from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from assistant.engine.loader import LoadedModel
from assistant.engine.packed import Packed

Load = Callable[..., LoadedModel]


# Without AVX-512 oneDNN has no product in bfloat16, and `Packed` leaves such layers as they are.
needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this processor has no bfloat16 products in oneDNN"
)


class _Model(torch.nn.Module):
    """As much of a model as `Packed` looks at."""

    device = torch.device("cpu")

    def __init__(self, *, dtype: torch.dtype = torch.float32, bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = torch.nn.Linear(96, 160, bias=bias, dtype=dtype)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)])
@torch.inference_mode()
def test_a_packed_product_is_that_of_torch_at_any_number_of_rows(dtype: torch.dtype, bias: bool) -> None:
    model = _Model(dtype=dtype, bias=bias)
    right = torch.nn.Linear.forward
    packed = Packed(model)
    assert packed.layers == 1
    assert packed.bytes == 96 * 160 * dtype.itemsize
    for shape in ((1, 1, 96), (16, 1, 96), (1, 300, 96), (3, 5, 7, 96)):
        states = torch.randn(shape, dtype=dtype)
        with packed:
            found = model.linear(states)
        assert found.shape == (*shape[:-1], 160)
        torch.testing.assert_close(found, right(model.linear, states))


@torch.inference_mode()
def test_whoever_else_runs_the_model_gets_the_products_of_torch() -> None:
    model, states = _Model(), torch.randn(64, 96)
    packed, used = Packed(model), []

    class Watching(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, called, types, arguments=(), more=None):  # type: ignore[no-untyped-def]
            used.append(getattr(called, "__name__", ""))
            return called(*arguments, **(more or {}))

    with Watching():
        model.linear(states)
        assert "linear" in used
        used.clear()
        with packed:
            model.linear(states)
        assert "linear" not in used


def test_the_language_model_and_the_tower_are_packed_and_quantized_layers_are_not(load: Load) -> None:
    whole, quantized = load(), load(quantize="nf4")
    layers = sum(type(part) is torch.nn.Linear for part in whole.model.modules())
    assert whole.packed.layers == layers > 0
    assert quantized.packed.layers == sum(type(part) is torch.nn.Linear for part in quantized.model.modules()) < layers


def test_a_model_too_large_to_be_copied_is_run_as_it_is() -> None:
    model = _Model()
    packed = Packed(model, most_bytes=96 * 160 * 4 - 1)
    assert packed.layers == 0
    assert "forward" not in vars(model.linear)
