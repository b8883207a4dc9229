"""What training sees: scenes rendered by worker processes, each used several times, with other turns each time."""

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
# Of the photos, pages of signs that mean nothing: they teach to read.
_PAGES = 0.25
# Scenes that a worker keeps to show again.
_KEPT = 2500
# A batch in so many asks for readings and answers in words too: they are long, and questions teach to choose.
_LONG_EVERY = 8

Example = tuple[np.ndarray, Targets, Scene]
# Pixels (SIDE, SIDE, 3) to what is kept of them.
See = Callable[[list[np.ndarray]], Sequence[np.ndarray]]


@dataclass(frozen=True)
class Mix:
    """``photos`` a batch, of which the share ``fresh`` was never seen; the others are drawn from the last ones.
    ``turns`` about each, none while the tower learns alone."""

    photos: int
    fresh: float
    turns: int


@dataclass(frozen=True)
class Batch:
    """``seen`` (n, ...): what was kept of each photo, ``wanted``: `patches.stack`, ``fresh``: how many are new."""

    seen: torch.Tensor
    wanted: dict[str, torch.Tensor]
    packed: sequences.Packed | None
    fresh: int


class Batches(IterableDataset[Batch]):
    """Endless. ``see``: what is kept of photos; their pixels, if nothing else is said."""

    def __init__(self, first_seed: int, mix: Mix, tokenizer: Any, *, see: See | None = None) -> None:
        self._first, self._mix, self._tokenizer = first_seed, mix, tokenizer
        self._see = see or (lambda pixels: pixels)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        number, of = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        torch.set_num_threads(1)
        random = Random(f"{self._first}-{number}")
        scenes = _drawn(self._first + number, of)
        kept: deque[Example] = deque(maxlen=_KEPT)
        while True:
            fresh = max(self._mix.photos - len(kept), round(self._mix.fresh * self._mix.photos), 1)
            drawn = [next(scenes) for _ in range(fresh)]
            seen = self._see([pixels for pixels, _, _ in drawn])
            drawn = [(one, found, scene) for one, (_, found, scene) in zip(seen, drawn, strict=True)]
            batch = drawn + random.sample(kept, self._mix.photos - fresh)
            kept.extend(drawn)
            yield self._batch(random, batch, fresh)

    def _batch(self, random: Random, examples: Sequence[Example], fresh: int) -> Batch:
        seen, found, scenes = zip(*examples, strict=True)
        packed = None
        if self._mix.turns:
            about = _long_turns if random.random() * _LONG_EVERY < 1 else _questions
            packed = sequences.pack(self._tokenizer, [about(random, scene, self._mix.turns) for scene in scenes])
        return Batch(torch.from_numpy(np.stack(seen)), patches.stack(found), packed, fresh)


def batches(first_seed: int, mix: Mix, tokenizer: Any, *, workers: int, see: See | None = None) -> Iterator[Batch]:
    """From ``workers`` processes; 0 draws in this one."""
    dataset = Batches(first_seed, mix, tokenizer, see=see)
    return iter(DataLoader(dataset, batch_size=None, num_workers=workers, prefetch_factor=2 if workers else None))


def example(seed: int, *, kind: str | None = None, long_side: int = 336) -> Example:
    """Pixels (SIDE, SIDE, 3) as the model's image processor makes them, targets and truth."""
    photo, scene = photograph(seed, kind=kind, long_side=long_side)
    small = photo.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    return np.array(small), targets(scene), scene


def pixel_values(pixels: Sequence[np.ndarray] | np.ndarray) -> torch.Tensor:
    """(n, 3, SIDE, SIDE), normalised as the image processor does: mean 0.5, deviation 0.5."""
    return normalised(torch.from_numpy(np.stack(list(pixels))))


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """(n, SIDE, SIDE, 3) bytes to (n, 3, SIDE, SIDE)."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1.0


def _drawn(first_seed: int, step: int) -> Iterator[Example]:
    seed = first_seed
    while True:
        if seed >= FIRST_EVALUATION_SEED:
            raise ValueError("Training must not draw evaluation seeds.")
        kind = "page" if (seed * 2654435761 % 1000) / 1000 < _PAGES else None
        # Photos come in many sizes; what becomes of a small light when they are made smaller differs.
        yield example(seed, kind=kind, long_side=_LONG_SIDES[seed % len(_LONG_SIDES)])
        seed += step


def _questions(random: Random, scene: Scene, count: int) -> list[Turn]:
    """Typed questions, and sometimes one of those that reading a photo asks."""
    asked = questions.typed(random, scene)
    if random.random() < 0.3:
        asked.append(random.choice(_usual(random, scene)[1:]))
    return [decision_turn(one) for one in random.sample(asked, min(len(asked), count))]


def _long_turns(random: Random, scene: Scene, count: int) -> list[Turn]:
    """The reading, answers in words, and a question of the reading."""
    turns = [evidence_turn(scene)] if random.random() < 0.7 else []
    others = [decision_turn(one) for one in questions.typed(random, scene)]
    others += [open_turn(one) for one in questions.open_questions(random, scene)[:2]]
    turns.append(decision_turn(random.choice(_usual(random, scene))))
    return turns + random.sample(others, max(0, min(len(others), count - len(turns))))


def _usual(random: Random, scene: Scene) -> list[questions.Asked]:
    """Beside what OCR might give: often nothing."""
    nothing = random.random() < 0.6
    read = "" if nothing else "\n".join(line for line in scene.text if random.random() < 0.8)[:160]
    return questions.read_photo_questions(scene, read)
