"""Writes small convolutional networks in ONNX's format, so that onnxruntime runs them; of that format, what it takes.

ONNX files are Protocol Buffers: fields of a number and a kind, one after the other. The packages that write them are
larger than all that reads text here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

_IR_VERSION, _OPERATORS = 8, 17
_FLOAT, _INTS = 1, 7  # kinds of numbers and of attributes


class Graph:
    """Nodes that follow each other, from one input to one output."""

    def __init__(self, given: str, shape: Sequence[int | str]) -> None:
        """``shape``: numbers, and names of sizes that may differ from run to run."""
        self._input = _value(given, shape)
        self._nodes: list[bytes] = []
        self._weights: list[bytes] = []
        self._last = given

    def add(self, operator: str, *weights: np.ndarray, **attributes: Sequence[int]) -> None:
        """An operator on what the one before gives, with ``weights`` as its further inputs."""
        number = len(self._nodes)
        names = [f"{number}.{place}" for place in range(len(weights))]
        self._weights += [_tensor(name, weight) for name, weight in zip(names, weights, strict=True)]
        fields = [_field(1, name) for name in (self._last, *names)]
        self._last = str(number)
        fields += [_field(2, self._last), _field(4, operator)]
        fields += [_field(5, _ints(name, values)) for name, values in attributes.items()]
        self._nodes.append(b"".join(fields))

    def write(self) -> bytes:
        """The file."""
        graph = b"".join(_field(1, node) for node in self._nodes) + _field(2, "network")
        graph += b"".join(_field(5, weight) for weight in self._weights)
        graph += _field(11, self._input) + _field(12, _value(self._last, ()))
        return _field(1, _IR_VERSION) + _field(7, graph) + _field(8, _field(2, _OPERATORS))


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    """Without a shape, any."""
    sizes = b"".join(_field(1, _field(2 if isinstance(size, str) else 1, size)) for size in shape)
    kind = _field(1, _FLOAT) + (_field(2, sizes) if sizes else b"")
    return _field(1, name) + _field(2, _field(1, kind))


def _tensor(name: str, numbers: np.ndarray) -> bytes:
    sizes = b"".join(_field(1, size) for size in numbers.shape)
    return sizes + _field(2, _FLOAT) + _field(8, name) + _field(9, numbers.astype("<f4").tobytes())


def _ints(name: str, values: Sequence[int]) -> bytes:
    return _field(1, name) + b"".join(_field(8, value) for value in values) + _field(20, _INTS)


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return bytes([*_varint(number << 3), *_varint(value)])
    data = value.encode() if isinstance(value, str) else value
    return bytes([*_varint(number << 3 | 2), *_varint(len(data))]) + data


def _varint(value: int) -> Iterator[int]:
    while value > 0x7F:
        yield value & 0x7F | 0x80
        value >>= 7
    yield value
