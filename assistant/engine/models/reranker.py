"""A cross-encoder that reads question and passage together; loaded on first use."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from time import monotonic
from typing import Any

from assistant.engine.models.embeddings import identity, place
from assistant.errors import NotReady

# Pairs between two looks at the clock.
_BATCH = 4
_MOST_TOKENS = 512


class CrossEncoderReranker:
    """Thread-safe: one call at a time."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        """``model``: a hub id, which may be pinned (``id@commit``), or a folder: a sequence classifier of one label."""
        self._model_name = model
        self._device = None if device == "auto" else device
        self._loaded: Any = None
        self._lock = threading.Lock()

    @cached_property
    def name(self) -> str:
        return identity(self._model_name)

    def scores(self, question: str, passages: Sequence[str], *, seconds: float) -> list[float]:
        """See `assistant.ports.Reranker`. Loading counts: the first question may find no time left."""
        until = monotonic() + seconds
        found: list[float] = []
        if not self._lock.acquire(timeout=seconds):  # others are being served
            return found
        try:
            if self._loaded is None:
                self._loaded = _load(self._model_name, self._device)
            for start in range(0, len(passages), _BATCH):
                if monotonic() >= until:
                    break
                pairs = [(question, passage) for passage in passages[start : start + _BATCH]]
                found += self._loaded.predict(pairs, batch_size=_BATCH, show_progress_bar=False).tolist()
        finally:
            self._lock.release()
        return found


def _load(model: str, device: str | None) -> Any:
    from sentence_transformers import CrossEncoder
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        loaded = CrossEncoder(device=device, max_length=_MOST_TOKENS, **place(model))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise NotReady(f"{model!r} cannot be loaded: {reason}. Check ASSISTANT_RERANKER.") from error
    if loaded.num_labels != 1:
        raise NotReady(f"{model!r} gives {loaded.num_labels} numbers; ASSISTANT_RERANKER wants a model that gives one.")
    return loaded
