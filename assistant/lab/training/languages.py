"""Train the language identifier of `text.languages` on translations (see `translations`):

    python -m assistant.lab.training.languages FOLDER_OF_PACKAGES

Texts are cut to a few words, as customers' messages are. Words of another language are put between, mostly as names:
people write of foreign products. The loss is that of equally frequent languages, so that a prior can be applied.

The weights that are shipped took 4,500 steps without `everyday`, then 700 at a third of the rate with it.
"""

from __future__ import annotations

import json
import random
import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from assistant import wording
from assistant.lab.training.translations import read_translations
from assistant.text import languages
from assistant.text.languages import LANGUAGES, spot_words, weigh

Words = tuple[tuple[str, bool], ...]

_WIDTH, _STEPS, _BATCH, _RATE = 40, 4500, 384, 0.01
_MOST_TEXTS = 12_000  # of one language
_EVERYDAY = 0.15  # share of draws from `everyday`
_RARE = 2_500  # languages with fewer texts are drawn less often: they would be learned by heart
_UNSPACED = ("ja", "km", "lo", "my", "th", "zh")
_TO_LATIN = dict(
    zip(
        "абвгдђежзијклљмнњопрстћуфхцчџш",
        "a b v g d đ e ž z i j k l lj m n nj o p r s t ć u f h c č dž š".split(),
        strict=True,
    )
)


def everyday() -> dict[str, list[Words]]:
    """The words of `everyday_texts`, by language."""
    spotted = {language: [tuple(spot_words(text)) for text in texts] for language, texts in everyday_texts().items()}
    return {language: [words for words in texts if words] for language, texts in spotted.items()}


def everyday_texts() -> dict[str, list[str]]:
    """What customers say most: our own words in the languages of the catalogue, and the catalogue itself."""
    written: dict[str, str] = json.loads(Path(__file__).with_name("everyday.json").read_text(encoding="utf-8"))
    found = {}
    for language, texts in written.items():
        said = [text if isinstance(text, str) else text["other"] for text in wording.catalogue(language).values()]
        found[language] = [*texts.split("|"), *said]
    return found


def read(folder: Path, rng: random.Random) -> dict[str, list[Words]]:
    """The texts' words by language. Serbian is written in two alphabets: Cyrillic texts are added in Latin."""
    found = {}
    for language, texts in read_translations(folder).items():
        chosen = rng.sample(texts, min(len(texts), 2 * _MOST_TEXTS))
        words = {tuple(spot_words(text)[:60]) for text in chosen} - {()}
        found[language] = sorted(words)[:: max(1, len(words) // _MOST_TEXTS)]
    found["sr"] += [
        tuple(("".join(_TO_LATIN.get(c, c) for c in word), name) for word, name in text) for text in found["sr"]
    ]
    return found


class Sampler:
    """Draws pieces of texts, as customers might write them."""

    def __init__(self, texts: Mapping[str, Sequence[Words]], rng: random.Random) -> None:
        self._texts, self._everyday, self._rng = texts, everyday(), rng
        self._latin = [one for one in LANGUAGES if _is_latin(texts[one])]
        sizes = np.array([len(texts[one]) for one in LANGUAGES])
        weights = np.sqrt(np.minimum(1, sizes / _RARE))
        self.shares = weights / weights.sum()

    def draw(self, language: str) -> list[tuple[str, bool]]:
        if language in self._everyday and self._rng.random() < _EVERYDAY:
            return list(self._rng.choice(self._everyday[language]))
        words = list(self._rng.choice(self._texts[language]))
        if language in _UNSPACED:
            return [
                (
                    self._cut(" ".join(word for word, _ in words), (1, 2, 3, 4, 6, 8, 12, 20, 40, 80)).strip() or "。",
                    False,
                )
            ]
        words = self._cut(words, (1, 2, 2, 3, 3, 4, 4, 5, 6, 8, 12, 20))
        words[0] = (words[0][0], False)
        if language in self._latin:
            if self._rng.random() < 0.08:
                words = [(_without_accents(word), is_name) for word, is_name in words]
            if len(words) > 1 and self._rng.random() < 0.3:
                self._put_foreign(words, language)
        return words

    def _put_foreign(self, words: list[tuple[str, bool]], language: str) -> None:
        other = "en" if language != "en" and self._rng.random() < 0.6 else self._rng.choice(self._latin)
        foreign = self._cut(list(self._rng.choice(self._texts[other])), range(1, max(1, min(4, len(words))) + 1))
        are_names = self._rng.random() < 0.75
        at = self._rng.randrange(1, len(words) + 1)
        words[at:at] = [(word, are_names) for word, _ in foreign]

    def _cut(self, whole: Any, lengths: Sequence[int]) -> Any:
        length = self._rng.choice(lengths)
        start = self._rng.randrange(max(1, len(whole) - length + 1))
        return whole[start : start + length]


def train(texts: Mapping[str, Sequence[Words]], rng: random.Random) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vectors (buckets, d), head (languages, d) and bias, float32. What is confused most is drawn most."""
    sampler = Sampler(texts, rng)
    bag = torch.nn.EmbeddingBag(1 << languages.BITS, _WIDTH, mode="sum", sparse=True)
    torch.nn.init.normal_(bag.weight, std=0.1)
    head = torch.nn.Linear(_WIDTH, len(LANGUAGES))
    optimizers = [
        torch.optim.SparseAdam(list(bag.parameters()), lr=_RATE),
        torch.optim.Adam(head.parameters(), lr=_RATE),
    ]
    losses, shares = np.ones(len(LANGUAGES)), sampler.shares
    for step in range(_STEPS):
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = _RATE * (1 - step / _STEPS) + 5e-5
        drawn = rng.choices(range(len(LANGUAGES)), weights=shares, k=_BATCH)
        logits = head(_embed(bag, [sampler.draw(LANGUAGES[number]) for number in drawn]))
        # As Ren et al. 2020, "Balanced Meta-Softmax": the head learns the odds of equally frequent languages.
        balanced = logits + torch.from_numpy(np.log(shares * len(LANGUAGES))).float()
        each = cross_entropy(balanced, torch.tensor(drawn), reduction="none")
        for optimizer in optimizers:
            optimizer.zero_grad()
        each.mean().backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
        for number, loss in zip(drawn, each.detach().tolist(), strict=True):
            losses[number] += 0.02 * (loss - losses[number])
        shares = sampler.shares * np.clip(losses / losses.mean(), 0.3, 4.0)
        shares /= shares.sum()
        if step % 500 == 0:
            print(f"{step:6} {losses.mean():.3f}", flush=True)  # noqa: T201 - a script
    return bag.weight.detach().numpy(), head.weight.detach().numpy(), head.bias.detach().numpy()


def save(vectors: np.ndarray, head: np.ndarray, bias: np.ndarray, path: Path) -> None:
    """Rounded to bytes, with a scale for each dimension that goes into the head."""
    scale = np.quantile(np.abs(vectors), 0.9995, axis=0) / 127
    rounded = np.clip(np.round(vectors / scale), -127, 127).astype(np.int8)
    np.savez_compressed(path, vectors=rounded, head=(head * scale).astype(np.float32), bias=bias.astype(np.float32))


def _embed(bag: torch.nn.EmbeddingBag, drawn: Sequence[list[tuple[str, bool]]]) -> torch.Tensor:
    weighed = [weigh(words) for words in drawn]
    starts = np.cumsum([0, *(len(ids) for ids, _ in weighed[:-1])])
    ids, weights = (torch.from_numpy(np.concatenate(parts)) for parts in zip(*weighed, strict=True))
    embedded: torch.Tensor = bag(ids, torch.from_numpy(starts), per_sample_weights=weights)
    return embedded


def _is_latin(texts: Sequence[Words]) -> bool:
    return sum(bool(re.match("[a-zà-ž]", text[0][0])) for text in texts[:200]) > 100


def _without_accents(word: str) -> str:
    return "".join(
        character for character in unicodedata.normalize("NFD", word) if not unicodedata.combining(character)
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    drawing = random.Random(0)
    save(*train(read(Path(sys.argv[1]), drawing), drawing), Path(languages.__file__).with_suffix(".npz"))
