"""Scenes as training sees them: rendered by worker processes, each used a few times."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from assistant.training.patches import SIDE, Targets, targets
from assistant.training.scenes import photograph
from assistant.training.world import FIRST_EVALUATION_SEED, Scene

_LONG_SIDES = (336, 336, 480, 720)

Example = tuple[np.ndarray, Targets, Scene]


class Scenes(IterableDataset[Example]):
    """Endless: pixels (SIDE, SIDE, 3) as the model's image processor makes them, targets and truth."""

    def __init__(self, first_seed: int, *, pages: float = 0.0, step: int = 1) -> None:
        self._first, self._pages, self._step = first_seed, pages, step

    def __iter__(self) -> Iterator[Example]:
        worker = get_worker_info()
        number, of = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        torch.set_num_threads(1)
        seed = self._first + number
        while True:
            if seed >= FIRST_EVALUATION_SEED:
                raise ValueError("Training must not draw evaluation seeds.")
            kind = "page" if (seed * 2654435761 % 1000) / 1000 < self._pages else None
            # Photos come in many sizes; what becomes of a small light when they are made smaller differs.
            yield example(seed, kind=kind, long_side=_LONG_SIDES[seed % len(_LONG_SIDES)])
            seed += of


def example(seed: int, *, kind: str | None = None, long_side: int = 336) -> Example:
    photo, scene = photograph(seed, kind=kind, long_side=long_side)
    small = photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.array(small), targets(scene), scene


def loader(first_seed: int, *, pages: float, workers: int) -> Iterator[Example]:
    """From ``workers`` processes; 0 draws in this one."""
    return iter(
        DataLoader(
            Scenes(first_seed, pages=pages),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=64 if workers else None,
        )
    )


def pixel_values(pixels: list[np.ndarray]) -> torch.Tensor:
    """(n, 3, SIDE, SIDE), normalised as the image processor does: mean 0.5, deviation 0.5."""
    stacked = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float()
    return stacked / 127.5 - 1.0
