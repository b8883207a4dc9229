"""Vectors of photos: from the features by which own products are told apart, or from a CLIP- or SigLIP-class
checkpoint."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from PIL import Image

from assistant.engine.models import pretrained
from assistant.engine.models.pretrained import OnFirstUse
from assistant.errors import NotReady
from assistant.ports import PhotoEmbedder, PhotoFeatures

_BATCH = 8
_SETTING = "ASSISTANT_PHOTO_EMBEDDINGS"
BY_FEATURES, OFF = "auto", "off"


def photo_embedder(setting: str, features: PhotoFeatures | None, *, device: str = "auto") -> PhotoEmbedder | None:
    """What a setting names; None if it says so, or if there are no features. Loads nothing."""
    if setting == OFF or (setting == BY_FEATURES and features is None):
        return None
    return FeatureVectors(features) if setting == BY_FEATURES and features else PhotoEmbeddings(setting, device=device)


class FeatureVectors:
    """`PhotoEmbedder` of features that are there anyway. Thread-safe if they are."""

    def __init__(self, features: PhotoFeatures) -> None:
        self._features = features

    @property
    def name(self) -> str:
        return self._features.name

    def embed(self, photos: Sequence[bytes]) -> list[list[float]]:
        pictures = [np.asarray(Image.open(io.BytesIO(photo)).convert("RGB")) for photo in photos]
        if not pictures:
            return []
        wholes = self._features.look(pictures).wholes
        vectors = wholes / np.maximum(np.linalg.norm(wholes, axis=1, keepdims=True), 1e-9)
        rows: list[list[float]] = vectors.astype("float32").tolist()
        return rows


class PhotoEmbeddings:
    """`PhotoEmbedder`. Thread-safe: one call at a time."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        """``model``: see `pretrained`."""
        self._source = model
        self._model = OnFirstUse(partial(_load, model, device))

    @cached_property
    def name(self) -> str:
        return pretrained.identity(self._source)

    def embed(self, photos: Sequence[bytes]) -> list[list[float]]:
        images = [Image.open(io.BytesIO(photo)).convert("RGB") for photo in photos]
        if not images:
            return []
        with self._model.use() as model:
            vectors = model.encode(
                images, batch_size=_BATCH, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
            )
        rows: list[list[float]] = vectors.astype("float32").tolist()
        return rows


def _load(model: str, device: str) -> Any:
    loaded = pretrained.load("SentenceTransformer", model, device=device, setting=_SETTING)
    if "image" not in loaded.modalities:
        raise NotReady(f"{model!r} reads no photos. Name a CLIP- or SigLIP-class model in {_SETTING}.")
    return loaded
