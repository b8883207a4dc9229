"""Train the tagger of `text.people` on texts made up for it (see `people_texts`):

    python -m assistant.lab.training.people FOLDER_OF_PACKAGES

The folder holds the wheels of Faker, Mimesis and pyspellchecker, and those that `translations` names. One core takes
five minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch.nn.functional import cross_entropy, pad

from assistant.lab.training.people_lists import read_countries, read_plain, read_talk, read_words
from assistant.lab.training.people_texts import Author, Marked
from assistant.text import people
from assistant.text.people import ADDRESS, BITS, DILATIONS, NAME, REACH, TRAITS, describe, spot, tokenize

_WIDTH, _HIDDEN, _TEXTS, _ROUNDS, _BATCH, _RATE = 12, 40, 100_000, 3, 64, 0.01
_LONGEST = 64  # tokens of a text
_DROPPED = 0.1
_GAP = REACH * max(DILATIONS)  # so many empty rows keep texts apart


@dataclass(frozen=True)
class Sample:
    """A text as the network sees it: ``ids`` of all tokens' buckets, how many each token has (n,), traits (n, `TRAITS`)
    and kinds (n,)."""

    ids: np.ndarray
    counts: np.ndarray
    traits: np.ndarray
    kinds: np.ndarray

    @classmethod
    def of(cls, marked: Marked) -> Sample | None:
        """None of a text without tokens."""
        tokens = tokenize(marked.text)[:_LONGEST]
        if not tokens:
            return None
        buckets, traits = describe(tokens)
        return cls(
            np.concatenate(buckets).astype(np.int32),
            np.array([len(one) for one in buckets]),
            traits.astype(np.uint8),
            np.array([marked.kinds[token.start] for token in tokens]),
        )


class Network(torch.nn.Module):
    """What `people.Tagger` computes, for a batch of texts, one after the other with gaps between them."""

    def __init__(self) -> None:
        super().__init__()
        self.bag = torch.nn.EmbeddingBag(1 << BITS, _WIDTH, mode="mean")
        torch.nn.init.normal_(self.bag.weight, std=0.3)
        widths = [_WIDTH + TRAITS, *[_HIDDEN] * (len(DILATIONS) - 1)]
        self.layers = torch.nn.ModuleList(torch.nn.Linear((2 * REACH + 1) * width, _HIDDEN) for width in widths)
        self.head = torch.nn.Linear(_HIDDEN, 3)
        self.drop = torch.nn.Dropout(_DROPPED)

    def forward(self, samples: Sequence[Sample]) -> torch.Tensor:
        """Logits of all tokens, (n, 3)."""
        counts = np.concatenate([one.counts for one in samples])
        ids = torch.from_numpy(np.concatenate([one.ids for one in samples]))
        starts = torch.from_numpy(np.cumsum([0, *counts[:-1]]))
        traits = torch.from_numpy(np.concatenate([one.traits for one in samples])).float()
        words = torch.cat([self.drop(self.bag(ids, starts)), traits], dim=1)
        lengths = [len(one.kinds) for one in samples]
        text_of = np.repeat(np.arange(len(samples)), lengths)
        places = torch.from_numpy(_GAP * (text_of + 1) + np.arange(len(text_of)))
        size = len(text_of) + _GAP * (len(samples) + 1)
        within = torch.zeros(size, 1).index_fill(0, places, 1.0)
        seen = torch.zeros(size, words.shape[1]).index_copy(0, places, words)
        for number, (layer, dilation) in enumerate(zip(self.layers, DILATIONS, strict=True)):
            out = torch.relu(layer(_around(seen, dilation))) * within
            seen = out if number == 0 else seen + out
        logits: torch.Tensor = self.head(self.drop(seen[places]))
        return logits


def _around(seen: torch.Tensor, dilation: int) -> torch.Tensor:
    """As `people` does it."""
    padded = pad(seen, (0, 0, REACH * dilation, REACH * dilation))
    return torch.cat([padded[at * dilation : at * dilation + len(seen)] for at in range(2 * REACH + 1)], dim=1)


def train(samples: Sequence[Sample], random: Random) -> Network:
    network = Network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-4, fused=True)
    batches = _batches(samples)
    steps, mean = _ROUNDS * len(batches), 1.0
    for step in range(steps):
        if step % len(batches) == 0:
            random.shuffle(batches)
        batch = batches[step % len(batches)]
        optimizer.param_groups[0]["lr"] = _RATE * min(1, step / 100) * (1 - step / steps) + 1e-5
        optimizer.zero_grad()
        loss = cross_entropy(network(batch), torch.from_numpy(np.concatenate([one.kinds for one in batch])))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        mean += 0.01 * (loss.item() - mean)
        if step % 250 == 0:
            print(f"{step:6} of {steps} {mean:.4f}", flush=True)  # noqa: T201 - a script
    return network.eval()


def _batches(samples: Sequence[Sample]) -> list[Sequence[Sample]]:
    return [samples[at : at + _BATCH] for at in range(0, len(samples), _BATCH)]


def save(network: Network, path: Path) -> None:
    """Vectors rounded to bytes; their scale goes into the first layer's weights."""
    vectors = network.bag.weight.detach().numpy()
    scale = np.quantile(np.abs(vectors), 0.9995, axis=0) / 127
    stored = {"vectors": np.clip(np.round(vectors / scale), -127, 127).astype(np.int8)}
    for number, layer in enumerate(network.layers):
        assert isinstance(layer, torch.nn.Linear)  # noqa: S101
        weights = layer.weight.detach().numpy().T.copy()  # (5 in, out)
        if number == 0:
            weights.reshape(2 * REACH + 1, -1, _HIDDEN)[:, :_WIDTH] *= scale[:, None]
        stored[f"weights{number}"] = weights.astype(np.float16)
        stored[f"bias{number}"] = layer.bias.detach().numpy().astype(np.float16)
    last = len(network.layers)
    stored[f"weights{last}"] = network.head.weight.detach().numpy().T.astype(np.float16)
    stored[f"bias{last}"] = network.head.bias.detach().numpy().astype(np.float16)
    np.savez_compressed(path, **stored)


def calibrate(author: Author, count: int = 4_000) -> None:
    """Print what the saved weights find in texts that were kept out of training, by how sure they must be; false alarms
    are those in messages."""
    plain = [text for some in author.talk.values() for text in some]
    alarms = [spot(text, sure=(0, 0, 0)) for text in Random(0).sample(plain, min(count, len(plain)))]
    written = [author.write() for _ in range(count)]
    told = [spot(one.text, sure=(0, 0, 0)) for one in written]
    for kind, name in ((NAME, "names"), (ADDRESS, "addresses")):
        for sure in (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98):
            likely = [[one for one in found if one.kind == kind and one.probability >= sure] for found in told]
            covered = [
                any(one.start <= start and one.end >= end for one in found)
                for text, found in zip(written, likely, strict=True)
                for start, end in _spans(text, kind)
            ]
            alarmed = [any(one.kind == kind and one.probability >= sure for one in found) for found in alarms]
            shares = (sum(some) / max(1, len(some)) for some in (alarmed, covered))
            print(f"{name:10} {sure:.2f} false alarms {next(shares):.4f} recall {next(shares):.3f}")  # noqa: T201


def _spans(marked: Marked, kind: int) -> list[tuple[int, int]]:
    found, start = [], None
    for at, one in enumerate([*marked.kinds, people.NOTHING]):
        if one == kind and start is None:
            start = at
        elif one != kind and start is not None:
            found.append((start, at))
            start = None
    return found


if __name__ == "__main__":
    torch.manual_seed(0)
    drawing, packages = Random(0), Path(sys.argv[1])
    countries = read_countries(packages)
    lists = countries, read_talk(), read_plain(packages), read_words(packages, countries)
    author = Author(*lists, drawing, apart=False)
    written = (Sample.of(author.write()) for _ in range(_TEXTS))
    save(train([one for one in written if one is not None], drawing), Path(people.__file__).with_suffix(".npz"))
    calibrate(Author(*lists, Random(1), apart=True))
