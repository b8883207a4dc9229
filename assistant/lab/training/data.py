"""Training batches: scenes rendered by worker processes, each used several times with different turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from assistant.lab.training import patches, questions, sequences
from assistant.lab.training.patches import SIDE, Targets, targets
from assistant.lab.training.prompts import Turn, decision_turn, evidence_turn, open_turn
from assistant.lab.training.scenes import photograph
from assistant.lab.training.world import FIRST_EVALUATION_SEED, Scene

_LONG_SIDES = (336, 336, 480, 720)
# Share of photos that are pages of random characters: they teach to read.
_PAGES = 0.25
# Scenes that a worker keeps for reuse.
_KEPT = 2500
# One batch in eight also asks for readings and answers in words. They are long, and typed questions teach to choose.
_LONG_EVERY = 8

Example = tuple[np.ndarray, Targets, Scene]
# From pixels (SIDE, SIDE, 3) to what is kept of each photo.
See = Callable[[list[np.ndarray]], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Mix:
    """``photos`` per batch, a share of them ``fresh``, the others reused; ``turns`` about each, none while the tower is
    trained alone."""

    photos: int
    fresh: float
    turns: int


@dataclass(frozen=True)
class Batch:
    """``seen`` (n, ...): what `See` kept of each photo; ``wanted``: `patches.stack`; ``fresh``: how many are new."""

    seen: torch.Tensor
    wanted: dict[str, torch.Tensor]
    packed: sequences.Packed | None
    fresh: int


class Batches(IterableDataset[Batch]):
    """Endless. ``see``: what is kept of photos, by default their pixels."""

    def __init__(self, first_seed: int, mix: Mix, tokenizer: Any, *, see: See | None = None) -> None:
        self._first, self._mix, self._tokenizer = first_seed, mix, tokenizer
        self._see = see or (lambda pixels: pixels)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, of = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        torch.set_num_threads(1)
        random = Random(f"{self._first}-{number}")
        scenes = _examples(self._first + number, of)
        reusable: deque[Example] = deque(maxlen=_KEPT)
        while True:
            fresh = max(self._mix.photos - len(reusable), round(self._mix.fresh * self._mix.photos), 1)
            drawn = [next(scenes) for _ in range(fresh)]
            seen = self._see([pixels for pixels, _, _ in drawn])
            drawn = [(one, found, scene) for one, (_, found, scene) in zip(seen, drawn, strict=True)]
            batch = drawn + random.sample(reusable, self._mix.photos - fresh)
            reusable.extend(drawn)
            yield self._batch(random, batch, fresh)

    def _batch(self, random: Random, examples: Sequence[Example], fresh: int) -> Batch:
        seen, found, scenes = zip(*examples, strict=True)
        packed = None
        if self._mix.turns:
            about = _long_turns if random.random() * _LONG_EVERY < 1 else _questions
            packed = sequences.pack(self._tokenizer, [about(random, scene, self._mix.turns) for scene in scenes])
        return Batch(torch.from_numpy(np.stack(seen)), patches.stack(found), packed, fresh)


def batches(first_seed: int, mix: Mix, tokenizer: Any, *, workers: int, see: See | None = None) -> Iterator[Batch]:
    """From ``workers`` processes; with 0, from this one."""
    dataset = Batches(first_seed, mix, tokenizer, see=see)
    return iter(DataLoader(dataset, batch_size=None, num_workers=workers, prefetch_factor=2 if workers else None))


def example(seed: int, *, kind: str | None = None, long_side: int = 336) -> Example:
    """(pixels (SIDE, SIDE, 3) as the model's image processor makes them, targets, truth)."""
    photo, scene = photograph(seed, kind=kind, long_side=long_side)
    small = photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.array(small), targets(scene), scene


def pixel_values(pixels: Sequence[np.ndarray] | np.ndarray) -> torch.Tensor:
    """(n, 3, SIDE, SIDE), normalised as by the image processor: mean 0.5, standard deviation 0.5."""
    return normalised(torch.from_numpy(np.stack(list(pixels))))


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """(n, SIDE, SIDE, 3) bytes to (n, 3, SIDE, SIDE)."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def _examples(first_seed: int, step: int) -> Iterator[Example]:
    seed = first_seed
    while True:
        if seed >= FIRST_EVALUATION_SEED:
            raise ValueError("Training must not draw evaluation seeds.")
        kind = "page" if (seed * 2654435761 % 1000) / 1000 < _PAGES else None
        # Customers' photos have many sizes, and downscaling changes how a small light looks.
        yield example(seed, kind=kind, long_side=_LONG_SIDES[seed % len(_LONG_SIDES)])
        seed += step


def _questions(random: Random, scene: Scene, count: int) -> list[Turn]:
    """Typed questions, sometimes including one that `skills.read_photo` asks."""
    asked = questions.typed(random, scene)
    if random.random() < 0.3:
        asked.append(random.choice(_usual(random, scene)[1:]))
    return [decision_turn(one) for one in random.sample(asked, min(len(asked), count))]


def _long_turns(random: Random, scene: Scene, count: int) -> list[Turn]:
    """The full reading, answers in words, and a question that `skills.read_photo` asks."""
    turns = [evidence_turn(scene)] if random.random() < 0.7 else []
    others = [decision_turn(one) for one in questions.typed(random, scene)]
    others += [open_turn(one) for one in questions.open_questions(random, scene)[:2]]
    turns.append(decision_turn(random.choice(_usual(random, scene))))
    return turns + random.sample(others, max(0, min(len(others), count - len(turns))))


def _usual(random: Random, scene: Scene) -> list[questions.Asked]:
    """The questions of `skills.read_photo` beside plausible OCR output, which is often empty."""
    empty = random.random() < 0.6
    read = "" if empty else "\n".join(line for line in scene.text if random.random() < 0.8)[:160]
    return questions.read_photo_questions(scene, read)
