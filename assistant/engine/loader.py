"""Loading a vision-language checkpoint: any image-text-to-text model of transformers, quantized with bitsandbytes NF4.

Safetensors only, never code from the checkpoint. The vision tower, the connector and the output head stay as they are:
quantizing them costs reading and saves little. A checkpoint that is already quantized is loaded as it is.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.engine.config import ModelChoice
from assistant.errors import EngineError, EngineFailed, NotReady
from assistant.settings import Settings

# Parts of module names that tell what is not language model, in the naming of transformers' architectures.
_NOT_LANGUAGE = ("vision", "visual", "connector", "projector", "merger", "aligner", "image_newline")
_HEADS = ("lm_head", "output_projection")
# Memory beside the weights: activations and caches of short conversations, in bytes.
_WORKING_MEMORY = 1.5e9


@dataclass(frozen=True)
class LoadedModel:
    """A model and its processor, ready on their device."""

    model: Any
    processor: Any

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    def without_control_tokens(self, text: str) -> str:
        """Text that cannot end its turn or pretend to be a photo: the model's control tokens are taken out of it."""
        previous = None
        while previous != text:  # taking one out may put another together
            previous = text
            for token in self.tokenizer.all_special_tokens:
                text = text.replace(token, "")
        return text


def load(choice: ModelChoice, settings: Settings) -> LoadedModel:
    """Load the checkpoint. Raises `NotReady` with what to do, or `EngineFailed` if memory does not suffice."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    source: dict[str, Any] = {"revision": choice.revision, "trust_remote_code": False}
    if choice.folder is not None:
        _check_folder(choice.folder)
        source = {"local_files_only": True, "trust_remote_code": False}
    name = str(choice.folder or choice.name)
    try:
        config = AutoConfig.from_pretrained(name, **source)
        processor = AutoProcessor.from_pretrained(name, **source)
        model = AutoModelForImageTextToText.from_pretrained(
            name,
            config=config,
            use_safetensors=True,
            dtype=_dtype(settings),
            device_map=_device_map(settings),
            **_quantization(config, settings, name, source),
            **source,
        )
    except torch.OutOfMemoryError as error:
        message = f"{choice.name} does not fit into the GPU's memory. Choose a smaller model in ASSISTANT_MODEL."
        raise EngineFailed(message) from error
    except EngineError:
        raise
    except Exception as error:
        raise NotReady(_why(choice, error)) from error
    model.eval()
    return LoadedModel(model, processor)


def quantizes(settings: Settings) -> bool:
    """Whether weights are turned into NF4 while loading: on a GPU by default, on a CPU if asked."""
    if settings.quantize != "auto":
        return settings.quantize == "nf4"
    return _is_gpu(settings)


def revision_of(choice: ModelChoice) -> str:
    """What evidence is kept under: the pinned commit, or a fingerprint of a folder's configuration and weights."""
    if choice.folder is None:
        return f"{choice.name}@{choice.revision}"
    digest = hashlib.sha256()
    for file in sorted(choice.folder.glob("*")):
        if file.suffix == ".safetensors":
            with file.open("rb") as weights:
                digest.update(f"{file.name} {file.stat().st_size}".encode() + weights.read(1 << 20))
        elif file.suffix in (".json", ".jinja"):
            digest.update(file.read_bytes())
    return f"{choice.folder.name}@{digest.hexdigest()[:12]}"


def parameter_count(choice: ModelChoice) -> int | None:
    """The number of parameters by the headers of the safetensors files; None before a hub checkpoint is downloaded."""
    shapes = list(_tensor_shapes(choice))
    if not shapes:
        return None
    total = 0
    for shape in shapes:
        size = 1
        for length in shape:
            size *= length
        total += size
    return total


def memory_needed(choice: ModelChoice, *, quantized: bool) -> float | None:
    """Bytes for weights and work. NF4 takes about 0.6 bytes a parameter with its constants, 16-bit weights 2."""
    count = parameter_count(choice)
    if count is None:
        return None
    return count * (0.6 if quantized else 2.0) + _WORKING_MEMORY


def free_memory() -> float:
    """Bytes of main memory that could be had now; infinite where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    values = {line.split(":")[0]: float(line.split()[1]) * 1024 for line in lines}
    return values.get("MemAvailable", float("inf"))


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").exists():
        raise NotReady(f"{folder.name} is no checkpoint: it has no config.json. Check ASSISTANT_MODEL.")
    if not any(folder.glob("*.safetensors")):
        raise NotReady(
            f"{folder.name} has no safetensors weights. Pickled weights can run code and are never loaded; "
            "convert the checkpoint to safetensors."
        )
    configuration = json.loads((folder / "config.json").read_text())
    if "auto_map" in configuration:
        raise NotReady(f"{folder.name} brings its own code, which is never run. Choose an architecture of transformers.")


def _dtype(settings: Settings) -> Any:
    """bf16 where the GPU computes in it, else fp16; fp32 on a CPU, where it is fastest."""
    import torch

    if not _is_gpu(settings):
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _device_map(settings: Settings) -> Any:
    if settings.device != "auto":
        return {"": settings.device}
    return "auto" if _is_gpu(settings) else {"": "cpu"}


def _is_gpu(settings: Settings) -> bool:
    import torch

    return settings.device != "cpu" and torch.cuda.is_available()


def _quantization(config: Any, settings: Settings, name: str, source: dict[str, Any]) -> dict[str, Any]:
    """The keyword for `from_pretrained`, empty if nothing is to be quantized."""
    if not quantizes(settings) or getattr(config, "quantization_config", None) is not None:
        return {}
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=_dtype(settings),
            llm_int8_skip_modules=_kept_whole(config),
        )
    }


def _kept_whole(config: Any) -> list[str]:
    """Names of modules that are not quantized, found in the architecture itself, built without memory."""
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoModelForImageTextToText

    with init_empty_weights(include_buffers=False):
        empty = AutoModelForImageTextToText.from_config(config)
    kept: list[str] = []
    for path, module in empty.named_modules():
        last = path.rpartition(".")[2]
        inside = any(path.startswith(f"{name}.") for name in kept)
        if not inside and (last in _HEADS or any(part in last for part in _NOT_LANGUAGE)):
            kept.append(path)
    head = empty.get_output_embeddings()
    kept += [path for path, module in empty.named_modules() if module is head and isinstance(head, torch.nn.Module)]
    return sorted(set(kept))


def _tensor_shapes(choice: ModelChoice) -> list[list[int]]:
    """Shapes by the files' headers alone: eight bytes of length, then JSON."""
    folder = choice.folder or _downloaded(choice)
    if folder is None:
        return []
    shapes: list[list[int]] = []
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, 100_000_000)))
        shapes += [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
    return shapes


def _downloaded(choice: ModelChoice) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(choice.name, "config.json", revision=choice.revision)
    return Path(found).parent if isinstance(found, str) else None


def _why(choice: ModelChoice, error: Exception) -> str:
    """A loading failure in words that help."""
    reason = " ".join(str(error).split())
    if "trust_remote_code" in reason or "custom code" in reason:
        return f"{choice.name} brings its own code, which is never run. Choose an architecture of transformers."
    if "Unrecognized configuration class" in reason or "Unrecognized model" in reason:
        return f"{choice.name} is not an image-text-to-text model of transformers. Choose another in ASSISTANT_MODEL."
    if "safetensors" in reason:
        return f"{choice.name} has no safetensors weights; pickled weights are never loaded."
    if any(word in reason for word in ("couldn't connect", "offline", "Max retries", "not a local folder", "Connection")):
        return (
            f"{choice.name} is not on this machine and the model hub cannot be reached. Download it to a folder and set "
            "ASSISTANT_MODEL to that, or set ASSISTANT_MODEL=none."
        )
    return f"{choice.name} cannot be loaded: {type(error).__name__}: {reason[:300]}."
