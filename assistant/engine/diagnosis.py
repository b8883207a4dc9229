"""What the operator is told about the models: is each there, does it fit, and what to do if not. Loads nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

from assistant.checks import Check
from assistant.engine import checkpoint, loader
from assistant.engine.checkpoint import NO_MODEL, Checkpoint
from assistant.engine.device import free_memory, is_gpu
from assistant.engine.installation import choose_model, may_write
from assistant.engine.models import embeddings as sentence_embeddings
from assistant.engine.models import pretrained
from assistant.engine.models.embeddings import SentenceEmbeddings
from assistant.engine.models.likeness import BY_FEATURES, OFF
from assistant.engine.models.multilingual import offline_multilingual
from assistant.engine.ocr import RapidOCR, installed
from assistant.errors import EngineError, NotReady
from assistant.settings import Settings

_DEMO_EXTRA = "pip install 'photo-support-assistant[demo]'"


def describe(settings: Settings) -> Iterator[Check]:
    """Model, device and memory, OCR and embeddings. A remote server is asked whether it is there."""
    yield from _describe_model(settings)
    yield _describe_ocr(settings)
    yield _describe_embeddings(settings)
    yield _describe_multilingual()
    photos = settings.photo_embeddings if settings.photo_embeddings not in (BY_FEATURES, OFF) else None
    for name, model in (("photo search", photos), ("reranker", settings.reranker)):
        if model:
            yield _describe_optional(name, model)


def _describe_model(settings: Settings) -> Iterator[Check]:
    if settings.remote_url:
        yield _describe_server(settings)
        yield _describe_privacy(settings)
        return
    try:
        chosen = choose_model(settings)
    except NotReady as error:
        yield Check("model", "fail", error.message)
        return
    if chosen is None:
        advice = "" if settings.model == NO_MODEL else "Use a GPU with at least 4 GB free, or set ASSISTANT_MODEL."
        yield Check("model", "warn", "none: OCR reads photos, answers are quoted from articles", advice)
        yield _refuse_device(settings) or Check("device", "ok", _device(settings))
        return
    if checkpoint.files(chosen) is None:
        advice = "The first request downloads it, which takes a while. Or download it to a folder beforehand."
        yield Check("model", "warn", f"{chosen.revision} is not on this machine yet", advice)
    else:
        yield from _describe_files(chosen, settings)
    yield _refuse_device(settings) or _describe_memory(chosen, settings)


def _describe_server(settings: Settings) -> Check:
    """Asks the server, briefly, whether it is there and has the model."""
    if not settings.remote_model:
        return Check("model", "fail", "ASSISTANT_REMOTE_URL is set", "Name the model in ASSISTANT_REMOTE_MODEL.")
    from assistant.engine.remote.server import ModelServer

    where = f"{settings.remote_model} at {settings.remote_url}"
    server = ModelServer(settings)
    try:
        served = server.models()
    except EngineError as error:
        reason = error.message.removesuffix(" Please try again.")
        advice = "Check ASSISTANT_REMOTE_URL. Until the server responds, answers are quoted."
        return Check("model", "fail", f"{where}: {reason}", advice)
    finally:
        server.close()
    if served and settings.remote_model not in served:
        listed = ", ".join(served[:5])
        return Check("model", "warn", f"{where} responds, but lists only: {listed}", "Check ASSISTANT_REMOTE_MODEL.")
    return Check("model", "ok", f"{where} responds")


def _describe_privacy(settings: Settings) -> Check:
    """What of customers' data the server gets."""
    texts = "texts with recognised personal data masked" if settings.remote_mask else "texts as they are"
    photos = "photos as they are" if settings.remote_photos else "no photos"
    detail = f"the model server gets {texts}, {photos}"
    return (
        Check("privacy", "ok", detail)
        if settings.remote_mask
        else Check("privacy", "warn", detail, "Set ASSISTANT_REMOTE_MASK, or trust the server.")
    )


def _describe_files(chosen: Checkpoint, settings: Settings) -> Iterator[Check]:
    if chosen.folder is not None:
        try:
            checkpoint.check_folder(chosen.folder)
        except NotReady as error:
            yield Check("model", "fail", error.message)
            return
    count = checkpoint.parameter_count(chosen) or 0
    does = "reads photos, decides and writes" if may_write(chosen, settings) else "reads photos and decides"
    yield Check("model", "ok", f"{chosen.revision}, {count / 1e9:.2f} billion parameters: {does}")
    yield from _describe_batching(chosen, settings)
    if settings.engine_compile:
        yield _describe_compiler(settings)


def _describe_batching(chosen: Checkpoint, settings: Settings) -> Iterator[Check]:
    """Whether requests can be batched, judging by the architecture; loading finds out for certain."""
    name, can_batch = loader.can_batch(chosen)
    if can_batch:
        yield Check("batching", "ok", f"up to {settings.engine_slots} requests at once ({name})")
    elif name:
        advice = "Idefics3, SmolVLM, Qwen3-VL, Gemma 3, LLaVA-OneVision and InternVL can be batched."
        yield Check("batching", "warn", f"one request at a time: {name} cannot be batched", advice)


def _describe_compiler(settings: Settings) -> Check:
    compiler = os.environ.get("CXX", "g++")
    if is_gpu(settings.device) or shutil.which(compiler):
        return Check("compiler", "ok", "the decoding step is compiled at load, and used if it is faster")
    detail = f"ASSISTANT_ENGINE_COMPILE is set, but {compiler} is missing: the model will run uncompiled"
    return Check("compiler", "warn", detail, "Install a C++ compiler (apt install g++), or unset it.")


def _describe_memory(chosen: Checkpoint, settings: Settings) -> Check:
    gpu = is_gpu(settings.device)
    needed = checkpoint.memory_needed(chosen, quantized=loader.quantizes(settings), gpu=gpu)
    if needed is None:
        return Check("device", "ok", f"{_device(settings)}; memory needed: unknown until the model is downloaded")
    detail = f"{_device(settings)}, {needed / 1e9:.1f} GB needed"
    if needed > free_memory(settings.device):
        advice = "Choose a smaller model in ASSISTANT_MODEL, or quantize this one (ASSISTANT_QUANTIZE=nf4)."
        return Check("device", "fail", detail, advice)
    return Check("device", "ok", detail)


def _refuse_device(settings: Settings) -> Check | None:
    """None if there is the device that is set."""
    if not settings.device.startswith("cuda") or is_gpu(settings.device):
        return None
    detail = f"ASSISTANT_DEVICE is {settings.device}, and torch finds no such GPU"
    return Check("device", "fail", detail, "Install its driver and PyTorch with CUDA, or set it to auto or cpu.")


def _device(settings: Settings) -> str:
    kind = "GPU" if is_gpu(settings.device) else "CPU"
    return f"{kind} with {free_memory(settings.device) / 1e9:.1f} GB free"


def _describe_ocr(settings: Settings) -> Check:
    if settings.ocr == "off":
        return Check("ocr", "warn", "switched off", "Text in photos is not read. Unset ASSISTANT_OCR to read it.")
    if installed():
        return Check("ocr", "ok", RapidOCR().name)
    return Check("ocr", "warn", "not installed", f"To read text in photos: {_DEMO_EXTRA}")


def _describe_embeddings(settings: Settings) -> Check:
    name = SentenceEmbeddings(settings.embeddings).name
    if settings.embeddings == "auto":
        if sentence_embeddings.offline_folder() is None:
            advice = f"{_DEMO_EXTRA}, or name a model in ASSISTANT_EMBEDDINGS."
            return Check("embeddings", "fail", "none installed", advice)
        return Check("embeddings", "ok", f"{name} (reads English)")
    if sentence_embeddings.is_here(settings.embeddings):
        return Check("embeddings", "ok", name)
    advice = "A hub id is downloaded on first use; a folder has to exist. Until then articles cannot be embedded."
    return Check("embeddings", "warn", f"{settings.embeddings} is not on this machine", advice)


def _describe_multilingual() -> Check:
    embedder = offline_multilingual()
    if embedder is not None:
        return Check("languages", "ok", f"{embedder.name} reads about {len(embedder.languages)} languages")
    return Check("languages", "warn", "no multilingual embeddings are installed", f"To install them: {_DEMO_EXTRA}")


def _describe_optional(name: str, model: str) -> Check:
    """For a model that search works without."""
    if pretrained.is_here(model):
        return Check(name, "ok", pretrained.identity(model))
    advice = "Search works without it; a hub id is downloaded on first use."
    return Check(name, "warn", f"{model} is not on this machine", advice)
