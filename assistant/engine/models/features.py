"""Features of photos by which an operator's own products are told apart; nobody trains them here.

By default those of `efficientnet`, offline. A setting may name the tower of the model that ships with the product, or
any checkpoint that transformers' `AutoModel` loads and that reads photos: DINO, SigLIP, CLIP and, with timm, its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from assistant.engine.checkpoint import BUNDLED
from assistant.engine.models import efficientnet, pretrained
from assistant.engine.models.pretrained import OnFirstUse
from assistant.errors import NotReady
from assistant.ports import Looks

OFFLINE, TOWER = "auto", "small"
_SETTING = "ASSISTANT_PHOTO_FEATURES"
_BATCH = 8
_SIDE = 224

# Of a batch of pictures: (n, d) wholes and (n, h, w, d) places, as torch's tensors.
_Look = Callable[[Sequence[Image.Image]], tuple[Any, Any]]


class PhotoFeatures:
    """`PhotoFeatures` of the ports. Thread-safe: one call at a time."""

    def __init__(self, source: str = OFFLINE, *, device: str = "auto") -> None:
        """``source``: `OFFLINE`, `TOWER`, or a checkpoint as `pretrained` takes it."""
        self._source = str(BUNDLED.folder) if source == TOWER else source
        self._model = OnFirstUse(lambda: _load(self._source, device))

    @cached_property
    def name(self) -> str:
        return efficientnet.NAME if self._source == OFFLINE else pretrained.identity(self._source)

    def look(self, pictures: Sequence[np.ndarray]) -> Looks:
        wholes, places = [], []
        with self._model.use() as model:
            for some in _batches(pictures):
                whole, place = model(some)
                wholes.append(whole.float().cpu().numpy())
                places.append(place.float().cpu().numpy())
        return Looks(np.concatenate(wholes), np.concatenate(places))


def photo_features(source: str | None, *, device: str = "auto") -> PhotoFeatures | None:
    """Those that a setting names; None if it names none, or the offline ones are not installed. Loads nothing."""
    if source is None or (source == OFFLINE and efficientnet.weights_file() is None):
        return None
    return PhotoFeatures(source, device=device)


def _batches(pictures: Sequence[np.ndarray]) -> Iterator[list[Image.Image]]:
    for start in range(0, len(pictures), _BATCH):
        yield [Image.fromarray(one) for one in pictures[start : start + _BATCH]]


def _load(source: str, device: str) -> _Look:
    return _load_offline() if source == OFFLINE else _load_checkpoint(source, device)


def _load_offline() -> _Look:
    import torch

    network = efficientnet.load()

    def look(pictures: Sequence[Image.Image]) -> tuple[Any, Any]:
        small = [one.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC) for one in pictures]
        pixels = torch.from_numpy(np.stack([np.asarray(one, dtype=np.float32) for one in small])).permute(0, 3, 1, 2)
        with torch.inference_mode():
            places = network.places(pixels.contiguous())
        return places.mean((2, 3)), places.permute(0, 2, 3, 1)

    return look


def _load_checkpoint(source: str, device: str) -> _Look:
    """Raises `NotReady`, also for a checkpoint that reads no photos."""
    import torch
    from transformers import AutoImageProcessor, AutoModel
    from transformers.utils import logging

    folder = Path(source).expanduser()
    name, _, commit = source.partition("@")
    if folder.is_dir() and (pickled := pretrained.pickles(folder)):
        advice = "Such files can run code when they are read: convert them to safetensors"
        raise NotReady(f"{source!r} has weights that are pickled ({pickled[0].name}). {advice}. Check {_SETTING}.")
    where = {"local_files_only": True} if folder.is_dir() else {"revision": commit or None}
    name = str(folder) if folder.is_dir() else name
    logging.disable_progress_bar()
    try:
        processor = AutoImageProcessor.from_pretrained(name, backend="pil", trust_remote_code=False, **where)
        model = AutoModel.from_pretrained(
            name, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, **where
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise NotReady(f"{source!r} cannot be loaded: {reason}. Check {_SETTING}.") from error
    tower = getattr(model, "vision_model", model).eval()
    place = "cuda" if device == "auto" and torch.cuda.is_available() else "cpu" if device == "auto" else device
    tower.to(place)
    nested = processor.__class__.__name__.startswith("Idefics")

    def look(pictures: Sequence[Image.Image]) -> tuple[Any, Any]:
        inputs = processor([[one] for one in pictures] if nested else list(pictures), return_tensors="pt")
        pixels = inputs["pixel_values"]
        with torch.inference_mode():
            out = tower(pixel_values=(pixels[:, -1] if pixels.ndim == 5 else pixels).to(place))
        return _wholes_and_places(out)

    return look


def _wholes_and_places(out: Any) -> tuple[Any, Any]:
    """Of what a tower returns: a map (n, d, h, w), or tokens (n, t, d), those of places last."""
    states, pooled = out.last_hidden_state, getattr(out, "pooler_output", None)
    if states.ndim == 4:
        places = states.permute(0, 2, 3, 1)
    else:
        side = int(states.shape[1] ** 0.5)
        places = states[:, states.shape[1] - side * side :].unflatten(1, (side, side))
    return (pooled if pooled is not None and pooled.ndim == 2 else places.mean((1, 2))), places
