"""Vectors of photos by a CLIP- or SigLIP-class checkpoint, through sentence-transformers; loaded on first use."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from PIL import Image

from assistant.engine.models.embeddings import identity, place
from assistant.errors import NotReady

_BATCH = 8


class PhotoEmbeddings:
    """Unit-length vectors. Thread-safe: one call at a time."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        """``model``: a hub id, which may be pinned (``id@commit``), or a folder."""
        self._model_name = model
        self._device = None if device == "auto" else device
        self._loaded: Any = None
        self._lock = threading.Lock()

    @cached_property
    def name(self) -> str:
        return identity(self._model_name)

    def embed(self, photos: Sequence[bytes]) -> list[list[float]]:
        images = [Image.open(io.BytesIO(photo)).convert("RGB") for photo in photos]
        if not images:
            return []
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._model_name, self._device)
            vectors = self._loaded.encode(
                images, batch_size=_BATCH, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
            )
        rows: list[list[float]] = vectors.astype("float32").tolist()
        return rows


def _load(model: str, device: str | None) -> Any:
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        loaded = SentenceTransformer(device=device, **place(model))
        reads = "image" in loaded.modalities
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise NotReady(f"{model!r} cannot be loaded: {reason}. Check ASSISTANT_PHOTO_EMBEDDINGS.") from error
    if not reads:
        raise NotReady(f"{model!r} reads no photos. ASSISTANT_PHOTO_EMBEDDINGS wants a CLIP- or SigLIP-class model.")
    return loaded
