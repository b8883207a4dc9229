"""Trains the network that reads a display's line (`engine.ocr.seven_segments`) on drawn lines."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from assistant.engine.ocr.seven_segments import HEIGHT, LAYERS, SIGNS, as_input, write
from assistant.lab.training.display_lines import draw_display_line
from assistant.progress import Progress, no_progress

_BATCH, _RATE, _DECAY = 64, 2e-3, 1e-2
_CHECKPOINT_EVERY = 120.0  # seconds
# Lines of a batch have about the same width, so that little of it is padding.
_SORTED_AT_ONCE = 8


class _Lines(IterableDataset[Any]):
    """Endless batches: pictures (n, 3, HEIGHT, width), their widths (n,), and what they show."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, list[str]]]:
        worker = torch.utils.data.get_worker_info()
        random = Random(f"{self._seed} {worker.id if worker else 0}")
        while True:
            drawn = [draw_display_line(random) for _ in range(_BATCH * _SORTED_AT_ONCE)]
            drawn.sort(key=lambda pair: pair[0].width)
            batches = [drawn[start : start + _BATCH] for start in range(0, len(drawn), _BATCH)]
            random.shuffle(batches)
            for batch in batches:
                yield collate(batch)


def collate(batch: list[tuple[Any, str]]) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    pictures = [as_input(np.asarray(picture)) for picture, _ in batch]
    widths = torch.tensor([picture.shape[2] for picture in pictures])
    padded = np.zeros((len(pictures), 3, HEIGHT, int(widths.max())), np.float32)
    for row, picture in enumerate(pictures):
        padded[row, :, :, : picture.shape[2]] = picture
    return torch.from_numpy(padded), widths, [text for _, text in batch]


class Network(nn.Module):
    """The layers of `LAYERS`, with batch normalisation while it learns."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for layer in LAYERS:
            layers.append(nn.Conv2d(channels, layer.channels, layer.kernel, padding=layer.padding, bias=layer.is_last))
            if not layer.is_last:
                layers += [nn.BatchNorm2d(layer.channels), nn.ReLU()]
            if layer.pool != (1, 1):
                layers.append(nn.MaxPool2d(layer.pool))
            channels = layer.channels
        self.layers = nn.Sequential(*layers)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """(steps, n, signs + 1): log-probabilities."""
        scores: torch.Tensor = self.layers(pictures)
        return scores.squeeze(2).permute(2, 0, 1).log_softmax(-1)

    def folded(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Each layer's weights and bias, with the normalisation worked in."""
        convolutions = [module for module in self.layers if isinstance(module, nn.Conv2d)]
        norms = [module for module in self.layers if isinstance(module, nn.BatchNorm2d)]
        found = []
        for convolution, norm in zip(convolutions, norms, strict=False):
            scale = norm.weight / torch.sqrt(cast("torch.Tensor", norm.running_var) + norm.eps)
            bias = norm.bias - cast("torch.Tensor", norm.running_mean) * scale
            found.append((convolution.weight * scale[:, None, None, None], bias))
        last = convolutions[-1]
        found.append((last.weight, cast("torch.Tensor", last.bias)))
        return [(weight.detach().numpy(), bias.detach().numpy()) for weight, bias in found]


def train_display_reader(
    file: Path, *, minutes: float, seed: int = 1, progress: Progress = no_progress, workers: int = 1
) -> None:
    """Train for so many minutes and write ``file``; beside it a checkpoint, from which a later call goes on."""
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), _RATE, weight_decay=_DECAY)
    checkpoint = file.with_suffix(".pt")
    done, spent = 0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        done, spent = state["done"], state["spent"]
    batches = iter(DataLoader(_Lines(seed + done), batch_size=None, num_workers=workers, prefetch_factor=8))
    codes = {sign: number for number, sign in enumerate(SIGNS, 1)}
    loss_of = nn.CTCLoss(zero_infinity=True)
    started, saved, mean = time.monotonic(), time.monotonic(), 0.0
    network.train()
    while (now := time.monotonic()) - started < minutes * 60:
        share = min(1.0, (spent + now - started) / (spent + minutes * 60))
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1.0, (done + 1) / 200) * (0.5 * (1 + math.cos(math.pi * share)) * 0.98 + 0.02)
        pictures, widths, texts = next(batches)
        scores = network(pictures)
        targets = torch.tensor([codes[sign] for text in texts for sign in text])
        loss = loss_of(scores, targets, widths // 4, torch.tensor([len(text) for text in texts]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        done += 1
        mean = loss.item() if done == 1 else 0.98 * mean + 0.02 * loss.item()
        progress(int(now - started), int(minutes * 60), f"Training (step {done}, loss {mean:.3f})")
        if now - saved > _CHECKPOINT_EVERY:
            saved = now
            _save(network, optimizer, checkpoint, done, spent + now - started)
    _save(network, optimizer, checkpoint, done, spent + time.monotonic() - started)
    network.eval()
    write(network.folded(), file)


def _save(network: Network, optimizer: torch.optim.Optimizer, file: Path, done: int, spent: float) -> None:
    part = file.with_suffix(".part")
    torch.save(
        {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "done": done, "spent": spent}, part
    )
    part.replace(file)
