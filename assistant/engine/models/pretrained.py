"""The models of search as settings name them: a hub id, which may be pinned (``id@commit``), or a folder.

Loaded by sentence-transformers on first use, never with code from the checkpoint. A folder is identified by its
content: other files under the same name are another model.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from assistant.engine.loader import LOADING
from assistant.errors import NotReady

_PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib"})


class OnFirstUse:
    """Something that ``load`` loads when it is first used. One user at a time: torch and onnxruntime use the cores
    within a call."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load
        self._loaded: Any = None
        self._lock = threading.Lock()

    @contextmanager
    def use(self, *, wait_seconds: float = -1) -> Iterator[Any]:
        """What was loaded; None if others use it for longer than ``wait_seconds``."""
        if not self._lock.acquire(timeout=wait_seconds):
            yield None
            return
        try:
            if self._loaded is None:
                with LOADING:
                    self._loaded = self._load()
            yield self._loaded
        finally:
            self._lock.release()


def load(kind: str, model: str, *, device: str, setting: str, **options: Any) -> Any:
    """A model of the class ``kind`` of sentence-transformers. Raises `NotReady`, naming the ``setting`` to check."""
    source = _source(model)
    if (pickled := pickles(Path(source["model_name_or_path"]))) and source.get("local_files_only"):
        advice = "Such files can run code when they are read: convert them to safetensors"
        raise NotReady(f"{model!r} has weights that are pickled ({pickled[0].name}). {advice}. Check {setting}.")
    import sentence_transformers
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would appear in the middle of our own output
    try:
        return getattr(sentence_transformers, kind)(
            device=None if device == "auto" else device, trust_remote_code=False, **source, **options
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise NotReady(f"{model!r} cannot be loaded: {reason}. Check {setting}.") from error


def pickles(folder: Path) -> list[Path]:
    """Files of weights that are no safetensors and would be read because there are none beside them."""
    found = (file for file in sorted(folder.rglob("*")) if file.suffix in _PICKLED)
    return [file for file in found if not any(file.parent.glob("*.safetensors"))]


def _source(model: str) -> dict[str, Any]:
    folder = Path(model).expanduser()
    if folder.is_dir():
        return {"model_name_or_path": str(folder), "local_files_only": True}
    name, _, commit = model.partition("@")
    return {
        "model_name_or_path": name,
        "revision": commit or None,
        "model_kwargs": {"use_safetensors": True},
    }


def identity(model: str) -> str:
    """A hub id as it is; for a folder, its name and a fingerprint of its content."""
    folder = Path(model).expanduser()
    return f"{folder.name}@{_fingerprint(folder)}" if folder.is_dir() else model


def is_here(model: str) -> bool:
    """Whether its files are on this machine."""
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


def _fingerprint(folder: Path) -> str:
    """Of the files that determine what the model computes: configurations whole, weights by size and first megabyte."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".json", ".txt", ".model"):
            digest.update(str(file.relative_to(folder)).encode() + file.read_bytes())
        elif file.suffix in (".safetensors", ".bin"):
            with file.open("rb") as weights:
                digest.update(f"{file.relative_to(folder)} {file.stat().st_size}".encode() + weights.read(1 << 20))
    return digest.hexdigest()[:12]
