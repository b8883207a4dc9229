"""Loads a vision-language checkpoint: any image-text-to-text model of transformers, quantized with bitsandbytes NF4.

Safetensors only, and never code from the checkpoint. Vision tower, connector and output head are not quantized, which
would cost accuracy and save little. A checkpoint that is quantized already is loaded as it is.
"""

from __future__ import annotations

import inspect
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from assistant.engine.checkpoint import Checkpoint, check_folder, files
from assistant.engine.device import is_gpu, is_out_of_memory
from assistant.errors import AssistantError, EngineFailed, NotReady
from assistant.settings import Settings

if TYPE_CHECKING:
    from assistant.engine.packed import Packed

# Names of modules that route between experts: they are small, and a wrong choice costs more than the memory.
_ROUTERS = ("router", "gate")


# transformers makes its modules when their names are first asked for: a thread that asks while another one does so gets
# an ImportError, and its request failed.
LOADING = threading.RLock()


@dataclass(frozen=True)
class LoadedModel:
    """A model on its device, and its processor. ``processing``: held while the processor is used, which is not
    thread-safe."""

    model: Any
    processor: Any
    processing: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    @property
    def tokenizer(self) -> Any:
        return self.processor.tokenizer

    @cached_property
    def forward_names(self) -> frozenset[str]:
        """Parameters of the model's forward pass."""
        return frozenset(inspect.signature(self.model.forward).parameters)

    @cached_property
    def pixel_names(self) -> frozenset[str]:
        """Those of the processor's outputs that the vision tower takes."""
        parameters = inspect.signature(self.model.get_image_features).parameters
        return frozenset(name for name in parameters if name not in ("self", "kwargs"))

    @cached_property
    def packed(self) -> Packed:
        """The model's linear layers packed for this CPU; copied on first use."""
        from assistant.engine.packed import Packed

        return Packed(self.model)

    @cached_property
    def control_tokens(self) -> tuple[str, ...]:
        """The tokens that end a turn, start a role or stand for a photo; longest first."""
        added = (token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special)
        named = (value for name, value in vars(self.processor).items() if name.endswith("_token"))
        tokens = {*self.tokenizer.all_special_tokens, *added, *(value for value in named if isinstance(value, str))}
        return tuple(sorted(filter(str.strip, tokens), key=len, reverse=True))

    def without_control_tokens(self, text: str) -> str:
        """The text with the model's control tokens removed, so that it cannot end its turn or pose as a photo."""
        previous = None
        while previous != text:  # removing one may form another
            previous = text
            for token in self.control_tokens:
                text = text.replace(token, "")
        return text


def load(checkpoint: Checkpoint, settings: Settings) -> LoadedModel:
    """Load the checkpoint. Raises `NotReady` with what to do, or `EngineFailed` if it does not fit into memory."""
    if settings.device.startswith("cuda") and not is_gpu(settings.device):
        raise NotReady(f"ASSISTANT_DEVICE is {settings.device}, but torch finds no such GPU. Set it to auto or cpu.")
    source: dict[str, Any] = {"revision": checkpoint.commit, "trust_remote_code": False}
    if checkpoint.folder is not None:
        check_folder(checkpoint.folder)
        source = {"local_files_only": True, "trust_remote_code": False}
    with LOADING:
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor  # noqa: F401
    try:
        loaded = _load(str(checkpoint.folder or checkpoint.name), settings, source)
    except AssistantError:
        raise
    except Exception as error:
        raise _as_engine_error(checkpoint, error) from error
    if loaded.processor.chat_template is None:
        raise NotReady(f"{checkpoint.label} has no chat template. Choose an instruction-tuned checkpoint.")
    return loaded


def quantizes(settings: Settings) -> bool:
    """Whether weights are quantized to NF4 while loading: by default on a GPU only."""
    if settings.quantize == "auto":
        return is_gpu(settings.device)
    return settings.quantize == "nf4"


def can_batch(checkpoint: Checkpoint) -> tuple[str, bool]:
    """(name of the architecture, whether it accepts photos encoded separately). ("", False) if transformers does not
    know it, or the checkpoint is not on this machine."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    folder = files(checkpoint)
    try:
        config = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        architecture = AutoModelForImageTextToText._model_mapping[type(config)]
    except (OSError, ValueError, KeyError):
        return "", False
    parameters = inspect.signature(architecture.forward).parameters
    return architecture.__name__, "mm_encoder_outputs" in parameters and hasattr(architecture, "get_image_features")


def modules_kept_precise(config: Any) -> list[str]:
    """Names of modules not to quantize: everything outside the language decoder, its output head, and its routers.

    Determined on the architecture itself, built without allocating weights.
    """
    from accelerate import init_empty_weights
    from transformers import AutoModelForImageTextToText

    with init_empty_weights(include_buffers=False):
        empty = AutoModelForImageTextToText.from_config(config)
    decoder, head = empty.get_decoder(), empty.get_output_embeddings()
    small = [
        path for path, part in decoder.named_modules(prefix=_path(empty, decoder)) if path.split(".")[-1] in _ROUTERS
    ]
    return sorted({*_outside(empty, decoder), *([_path(empty, head)] if head is not None else []), *small})


def _load(name: str, settings: Settings, source: dict[str, Any]) -> LoadedModel:
    from transformers import AutoConfig, AutoModelForImageTextToText
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would end up in the server's log
    config = AutoConfig.from_pretrained(name, **source)
    if type(config) not in AutoModelForImageTextToText._model_mapping:
        raise ValueError(f"Unrecognized configuration class {type(config).__name__}")
    processor = _processor(name, config, source)
    model = AutoModelForImageTextToText.from_pretrained(
        name,
        config=config,
        use_safetensors=True,
        dtype=dtype_for(settings),
        device_map="auto" if settings.device == "auto" and is_gpu("auto") else {"": device_for(settings)},
        **_quantization(config, settings),
        **source,
    )
    return LoadedModel(model.eval(), processor)


def _processor(name: str, config: Any, source: dict[str, Any]) -> Any:
    """The checkpoint's processor, without its video part if that cannot be loaded.

    Video processors need torchvision, which the product, reading only photos, does not install. Without this, Qwen3-VL
    and others would not load at all.
    """
    from transformers import AutoProcessor
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    try:
        processor = AutoProcessor.from_pretrained(name, **source)
    except ImportError as error:
        if type(config) not in PROCESSOR_MAPPING or "torchvision" not in str(error).lower():
            raise
        processor = for_photos_only(PROCESSOR_MAPPING[type(config)]).from_pretrained(name, **source)
    if getattr(processor, "chat_template", None) is None:
        processor.chat_template = processor.tokenizer.chat_template
    return processor


def for_photos_only(whole: Any) -> Any:
    """The processor class without its parts for video and audio."""

    def parts(_: Any) -> list[str]:
        return [part for part in whole.get_attributes() if part in ("image_processor", "tokenizer")]

    return type(whole.__name__, (whole,), {"get_attributes": classmethod(parts)})


def _outside(module: Any, decoder: Any, path: str = "") -> list[str]:
    """Paths of the largest modules that do not contain the decoder."""
    paths: list[str] = []
    for name, child in module.named_children():
        below = f"{path}.{name}" if path else name
        if child is decoder:
            continue
        if any(part is decoder for part in child.modules()):
            paths += _outside(child, decoder, below)
        else:
            paths.append(below)
    return paths


def _path(model: Any, module: Any) -> str:
    return next((path for path, part in model.named_modules() if part is module), "")


def dtype_for(settings: Settings) -> Any:
    """The precision set; by default bf16 on GPUs that support it, else fp16, and fp32 on a CPU, where it is fastest for
    one request (bf16 is faster for many if the CPU supports it)."""
    import torch

    if settings.precision != "auto":
        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[settings.precision]
    if not is_gpu(settings.device):
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def device_for(settings: Settings) -> str:
    """The one device to use; for ``auto`` the first GPU if there is one."""
    if settings.device != "auto":
        return settings.device
    return "cuda:0" if is_gpu(settings.device) else "cpu"


def _quantization(config: Any, settings: Settings) -> dict[str, Any]:
    """The keyword argument for `from_pretrained`; empty if nothing is to be quantized."""
    if not quantizes(settings) or getattr(config, "quantization_config", None) is not None:
        return {}
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype_for(settings),
            llm_int8_skip_modules=modules_kept_precise(config),
        )
    }


# What an error says (in lower case) -> what is wrong and what to do.
_EXPLANATIONS = (
    (
        ("trust_remote_code", "custom code"),
        "needs code of its own, which is never run. Choose an architecture that transformers includes.",
    ),
    (
        ("unrecognized configuration class", "unrecognized model", "does not recognize this architecture"),
        "is not an image-text-to-text model that transformers supports. Set ASSISTANT_MODEL to another.",
    ),
    (("gated repo", "401 client error"), "is gated: accept its licence on the hub and set HF_TOKEN."),
    (
        ("couldn't connect", "offline", "max retries", "connection", "cannot find the requested files"),
        "is not on this machine and the model hub cannot be reached. Download it and set ASSISTANT_MODEL to its "
        "folder, or set ASSISTANT_MODEL=none.",
    ),
    (
        ("not a valid model identifier", "not a local folder", "404 client error", "is not a valid git identifier"),
        "is not on the model hub at this revision. Check ASSISTANT_MODEL and ASSISTANT_MODEL_REVISION.",
    ),
    (("safetensors",), "has no valid safetensors weights. Pickled weights can run code and are never loaded."),
)


def _as_engine_error(checkpoint: Checkpoint, error: Exception) -> AssistantError:
    """A failure to load as a message that says what to do and contains no path."""
    reason = " ".join(str(error).split())
    if checkpoint.folder is not None:
        reason = reason.replace(str(checkpoint.folder), checkpoint.label)
    lower = reason.lower()
    if is_out_of_memory(error) or "can't allocate memory" in lower or "dispatched on the cpu or the disk" in lower:
        return EngineFailed(
            f"{checkpoint.label} does not fit into memory. Set ASSISTANT_MODEL to a smaller model, or quantize it "
            "(ASSISTANT_QUANTIZE=nf4)."
        )
    for signs, explanation in _EXPLANATIONS:
        if any(sign in lower for sign in signs):
            return NotReady(f"{checkpoint.label} {explanation}")
    return NotReady(f"{checkpoint.label} cannot be loaded: {type(error).__name__}: {reason[:300]}")
