"""What can be known about a checkpoint without loading it: which one it is, its revision, its size.

Reads safetensors headers and the hub's cache; imports neither torch nor transformers.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from assistant.errors import NotReady
from assistant.settings import Settings

NO_MODEL = "none"

# Name parts of weights that are not quantized, for the estimate; the loader goes by the architecture itself.
_PRECISE = ("vision", "visual", "image", "connector", "projector", "merger", "aligner", "embed", "lm_head", "router")

# Besides the weights: activations and caches of short conversations, in bytes.
_WORKING_MEMORY = 1.5e9
# NF4 with double quantization: 4 bits per weight, plus 0.127 bits for the constants of each block of 64.
_NF4_BYTES = 4.127 / 8
# What quantized checkpoints store besides the packed weights.
_CONSTANTS = ("absmax", "quant_map", "nested_", "quant_state", "qzeros", "scales", "g_idx", "weight_shape", "SCB")


@dataclass(frozen=True)
class Checkpoint:
    """A hub id and the commit it is pinned to, or a local folder (whose revision is its content)."""

    name: str
    commit: str | None = None

    @property
    def folder(self) -> Path | None:
        path = Path(self.name).expanduser()
        return path if path.is_dir() else None

    @property
    def label(self) -> str:
        """Its name, safe to show to anyone: for a folder, without the path."""
        return self.name if self.folder is None else self.folder.name

    @property
    def revision(self) -> str:
        """What its results are stored under: the pinned commit, or a fingerprint of the folder's files."""
        return f"{self.label}@{self.commit if self.folder is None else _fingerprint(self.folder)}"


# Largest first: (bytes of free GPU memory for NF4 weights, caches and work, checkpoint).
DEFAULTS = (
    (12e9, Checkpoint("Qwen/Qwen3-VL-8B-Instruct", "0c351dd01ed87e9c1b53cbc748cba10e6187ff3b")),
    (7e9, Checkpoint("Qwen/Qwen3-VL-4B-Instruct", "ebb281ec70b05090aa6165b016eac8ec08e71b17")),
    (4e9, Checkpoint("Qwen/Qwen3-VL-2B-Instruct", "89644892e4d85e24eaac8bacfd4f463576704203")),
)


# The small model that ships with the product. It knows the sample company's products only; see its README.md.
BUNDLED = Checkpoint(str(Path(__file__).with_name("small-vlm")))


def choose_default(free_gpu_bytes: float, *, sample: bool) -> Checkpoint | None:
    """The largest default that fits. If none does, the bundled model for the ``sample`` company; else None."""
    fitting = next((checkpoint for needed, checkpoint in DEFAULTS if free_gpu_bytes >= needed), None)
    return fitting or (BUNDLED if sample and BUNDLED.folder is not None else None)


def from_settings(settings: Settings) -> Checkpoint:
    """The checkpoint that ``settings.model`` names. Raises `NotReady` if there is none, or it is not pinned."""
    name, commit = settings.model, settings.model_revision
    checkpoint = Checkpoint(name, commit)
    if checkpoint.folder is not None:
        return checkpoint
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise NotReady(f"There is no folder {name}. Set ASSISTANT_MODEL to a hub id or an existing folder.")
    if commit is None:
        commit = next((known.commit for _, known in DEFAULTS if known.name == name), None)
    if commit is None or not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise NotReady(
            f"{name} is not pinned. Set ASSISTANT_MODEL_REVISION to one of its commits (40 hex digits), so that "
            "a change upstream never changes your assistant unnoticed."
        )
    return Checkpoint(name, commit)


def parameter_count(checkpoint: Checkpoint) -> int | None:
    """From the headers of its safetensors files. Before it is downloaded: from its name (“…-2B-…”), or None."""
    counted = sum(tensor.parameters for tensor in _tensors(checkpoint))
    if counted:
        return counted
    sizes = re.findall(r"(?<![\d.A-Za-z])(\d+(?:\.\d+)?)([BM])(?![A-Za-z])", checkpoint.label, re.IGNORECASE)
    if not sizes:
        return None
    number, unit = sizes[0]
    return round(float(number) * (1e9 if unit.upper() == "B" else 1e6))


def memory_needed(checkpoint: Checkpoint, *, quantized: bool, gpu: bool) -> float | None:
    """Bytes for weights and work: 16-bit on a GPU, 32-bit on a CPU, NF4 where quantized. None before the download."""
    tensors = list(_tensors(checkpoint))
    if not tensors:
        return None
    width = 2.0 if gpu else 4.0
    if is_quantized(checkpoint):
        return sum(tensor.bytes for tensor in tensors) + _WORKING_MEMORY
    weights = sum(
        tensor.parameters * (_NF4_BYTES if quantized and tensor.is_language_weight else width) for tensor in tensors
    )
    return weights + _WORKING_MEMORY


def is_quantized(checkpoint: Checkpoint) -> bool:
    """Whether its weights are already quantized."""
    folder = files(checkpoint)
    return folder is not None and "quantization_config" in configuration(folder)


def configuration(folder: Path) -> dict[str, Any]:
    """The checkpoint's config.json; empty if it is missing or cannot be read."""
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def files(checkpoint: Checkpoint) -> Path | None:
    """The folder of the checkpoint's files on this machine; None before a hub checkpoint is downloaded."""
    if checkpoint.folder is not None:
        return checkpoint.folder
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(checkpoint.name, "config.json", revision=checkpoint.commit)
    return Path(found).parent if isinstance(found, str) else None


def check_folder(folder: Path) -> None:
    """Raise `NotReady` if the folder is not a checkpoint, or its weights could run code."""
    if not (folder / "config.json").exists():
        raise NotReady(f"{folder.name} is not a checkpoint: it has no config.json. Check ASSISTANT_MODEL.")
    index = folder / "model.safetensors.index.json"
    indexed = json.loads(index.read_text(encoding="utf-8")).get("weight_map", {}).values() if index.exists() else ()
    if not any(folder.glob("*.safetensors")) or any(not str(name).endswith(".safetensors") for name in indexed):
        raise NotReady(
            f"{folder.name} has no safetensors weights. Pickled weights can run code and are never loaded; "
            "convert the checkpoint to safetensors."
        )


@dataclass(frozen=True)
class _Tensor:
    """One entry of a safetensors header."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def parameters(self) -> int:
        """How many weights it contains; packed formats put several into one number."""
        if any(part in self.name for part in _CONSTANTS):
            return 0
        packed = {"U8": 2, "I32": 8}.get(self.dtype, 1) if len(self.shape) > 1 else 1
        return prod(self.shape) * packed

    @property
    def is_language_weight(self) -> bool:
        return len(self.shape) == 2 and not any(part in self.name for part in _PRECISE)


def _tensors(checkpoint: Checkpoint) -> Iterator[_Tensor]:
    """From the headers of the files: eight bytes of length, then JSON."""
    folder = files(checkpoint)
    for file in sorted(folder.glob("*.safetensors")) if folder is not None else ():
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, 100_000_000)))
        for name, entry in header.items():
            if name != "__metadata__":
                start, end = entry["data_offsets"]
                yield _Tensor(name, entry["dtype"], tuple(entry["shape"]), end - start)


def _fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix == ".safetensors":
            with file.open("rb") as weights:
                digest.update(f"{file.name} {file.stat().st_size}".encode() + weights.read(1 << 20))
        elif file.suffix in (".json", ".jinja"):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
