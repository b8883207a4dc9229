"""Which models this deployment has, and so its rung on the capability ladder; decided from the settings alone.

Nothing heavy is imported unless there is a GPU or a model, and nothing is loaded: models load on first use.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from assistant.engine import checkpoint
from assistant.engine.checkpoint import NO_MODEL, Checkpoint
from assistant.engine.device import free_memory, is_gpu
from assistant.engine.models import embeddings as sentence_embeddings
from assistant.engine.models.embeddings import SentenceEmbeddings
from assistant.engine.models.features import photo_features
from assistant.engine.models.likeness import photo_embedder
from assistant.engine.models.multilingual import offline_multilingual
from assistant.engine.models.reranker import CrossEncoderReranker
from assistant.engine.ocr import RapidOCR, installed
from assistant.engine.warming import Warming
from assistant.errors import NotReady
from assistant.ports import Capabilities, Mode, reading_revision
from assistant.settings import Settings

if TYPE_CHECKING:
    from assistant.engine.batching.stats import EngineStats

# A model with at least this many parameters is trusted to write answers (each sentence still has to be grounded).
WRITES_FROM = 1_500_000_000
# Seconds that loading a model may take, and what models are tried with once they are loaded.
_PATIENCE, _WORDS = 3600.0, "It does not work."


@dataclass(frozen=True)
class Installed:
    """The capabilities, whether the model can answer right now, and how to release it all."""

    capabilities: Capabilities
    close: Callable[[], object] = lambda: None
    # Why the model cannot answer now; None if it can, or if there is none.
    trouble: Callable[[], str | None] = lambda: None
    # Of the model: loaded or not_loaded, or the state of the breaker before its server; None without a model.
    model_state: Callable[[], str | None] = lambda: None
    # Counters of the engine for metrics; None if no engine runs in this process.
    stats: Callable[[], EngineStats | None] = lambda: None
    # Called before there are threads: loads what they must not load at once, and begins to load all else.
    warm_up: Callable[[], object] = lambda: None
    # What `warm_up` has not loaded yet.
    loading: Callable[[], tuple[str, ...]] = tuple
    # Loads the model, if it runs in this process.
    load_model: Callable[[], object] | None = None


def install(settings: Settings) -> Installed:
    """The models that the settings ask for. Raises `NotReady` for settings that cannot work together."""
    ocr = RapidOCR() if settings.ocr == "auto" and installed() else None
    models = _with_model(settings, _without_model(settings, ocr))

    warming = Warming(_steps(models, ocr))

    def close() -> None:
        warming.stop()
        models.close()
        if ocr is not None:
            ocr.close()

    def warm_up() -> None:
        if models.capabilities.embedder is not None:
            _import_torch()
        if ocr is not None:
            ocr.warm_up()
        warming.start()

    return replace(models, close=close, warm_up=warm_up, loading=lambda: warming.left)


def _steps(models: Installed, ocr: RapidOCR | None) -> dict[str, Callable[[], object]]:
    """What loads each model, in the order in which a message with a photo needs them. The first time that one runs it
    takes longer, too, so each runs once. Text recognition is loaded beside, in its own process."""
    capabilities = models.capabilities
    steps: dict[str, Callable[[], object]] = {}
    if (sight := capabilities.sight) is not None:
        steps["model"] = lambda: sight.look(_blank())
    elif models.load_model is not None:
        steps["model"] = models.load_model
    steps["embeddings"] = lambda: capabilities.embeddings.embed_query(_WORDS)
    if (features := capabilities.photo_features) is not None:
        steps["photo features"] = lambda: features.look([np.zeros((32, 32, 3), np.uint8)])
    if (reranker := capabilities.reranker) is not None:
        steps["reranker"] = lambda: reranker.scores(_WORDS, [_WORDS], seconds=_PATIENCE)
    if (photos := capabilities.photo_embedder) is not None:
        steps["photo embeddings"] = lambda: photos.embed([_blank()])
    if (second := capabilities.second_embedder) is not None:
        steps["multilingual embeddings"] = lambda: second.embeddings.embed_query(_WORDS)
    if ocr is not None:
        steps["text recognition"] = ocr.start
    return steps


def _blank() -> bytes:
    """A photo of nothing."""
    stream = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(stream, "JPEG")
    return stream.getvalue()


def _import_torch() -> None:
    """scipy looks for a tensor in any torch that there is, also in one that another thread has just begun to import,
    and finds none: requests in the first seconds failed."""
    import torch  # noqa: F401


def choose_model(settings: Settings) -> Checkpoint | None:
    """The checkpoint the settings name; for ``auto``, the largest default that fits the GPU. If none does: the bundled
    model for the sample company's taxonomy, None for any other."""
    if settings.model == NO_MODEL:
        return None
    if settings.model != "auto":
        return checkpoint.from_settings(settings)
    free_gpu_bytes = free_memory(settings.device) if is_gpu(settings.device) else 0.0
    return checkpoint.choose_default(free_gpu_bytes, sample=settings.taxonomy is None)


def may_write(chosen: Checkpoint, settings: Settings) -> bool:
    """Whether the model is trusted to write answers; one of unknown size is not."""
    if settings.model_writes is not None:
        return settings.model_writes
    return (checkpoint.parameter_count(chosen) or 0) >= WRITES_FROM


def _with_model(settings: Settings, without_model: Capabilities) -> Installed:
    if settings.remote_url:
        return _remote(settings, without_model)
    chosen = choose_model(settings)
    return Installed(without_model) if chosen is None else _local(settings, chosen, without_model)


def _without_model(settings: Settings, ocr: RapidOCR | None) -> Capabilities:
    """OCR and what search needs."""
    texts = SentenceEmbeddings(settings.embeddings, device=settings.device)
    features, reranker = photo_features(settings.photo_features, device=settings.device), settings.reranker
    return Capabilities(
        mode=Mode.NO_VLM,
        model=ocr.name if ocr is not None else NO_MODEL,
        revision=reading_revision(ocr),
        embeddings=texts,
        embedding_model=texts.name,
        embedding_languages=texts.languages,
        embedding_source=settings.embeddings,
        embedding_scale=texts.scale,
        reopen_embedder=partial(sentence_embeddings.reopen, device=settings.device),
        second_embedder=offline_multilingual(),
        ocr=ocr,
        photo_embedder=photo_embedder(settings.photo_embeddings, features, device=settings.device),
        reranker=CrossEncoderReranker(reranker, device=settings.device) if reranker else None,
        photo_features=features,
    )


def _remote(settings: Settings, without_model: Capabilities) -> Installed:
    if not settings.remote_model:
        raise NotReady("ASSISTANT_REMOTE_URL is set but ASSISTANT_REMOTE_MODEL is not. Name the model to use there.")
    from assistant.engine.remote.chat_model import remote_chat_model
    from assistant.engine.remote.decisions import RemoteDecisions
    from assistant.engine.remote.server import ModelServer

    server = ModelServer(settings)
    chat_model = remote_chat_model(server)
    capabilities = replace(
        without_model,
        mode=Mode.REMOTE,
        model=settings.remote_model,
        # A photo that is withheld is read by OCR alone.
        revision=f"remote:{settings.remote_model}+{without_model.revision}"
        if settings.remote_photos
        else without_model.revision,
        chat_model=chat_model,
        decisions=RemoteDecisions(chat_model),
        sees_photos=settings.remote_photos,
    )
    return Installed(capabilities, server.close, trouble=server.trouble, model_state=lambda: server.breaker.state.value)


def _local(settings: Settings, chosen: Checkpoint, without_model: Capabilities) -> Installed:
    from assistant.engine import loader
    from assistant.engine.batching.chat_model import EngineChatModel
    from assistant.engine.batching.decisions import EngineDecisions
    from assistant.engine.batching.engine import Engine
    from assistant.engine.batching.request import Limits
    from assistant.engine.models.probes import read_probes
    from assistant.engine.models.sight import EngineSight

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
    precision = "+nf4" if loader.quantizes(settings) and not checkpoint.is_quantized(chosen) else ""
    capabilities = replace(
        without_model,
        mode=Mode.FULL_VLM if may_write(chosen, settings) else Mode.SMALL_VLM,
        model=chosen.label,
        revision=f"{chosen.revision}{precision}+{without_model.revision}",
        chat_model=EngineChatModel(engine=engine, model_name=chosen.label),
        decisions=EngineDecisions(engine),
        sight=EngineSight(engine, probes) if probes is not None else None,
        triages=probes is None,
    )
    return Installed(
        capabilities,
        engine.close,
        trouble=engine.trouble,
        model_state=lambda: "loaded" if engine.stats().loaded else "not_loaded",
        stats=engine.stats,
        load_model=lambda: engine.call(lambda _loaded: None, timeout=_PATIENCE),
    )
