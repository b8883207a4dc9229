"""Training texts know where their names are, and what is trained is what the product computes."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import torch

from assistant.lab.training.people import Sample, save, train
from assistant.lab.training.people_lists import Country
from assistant.lab.training.people_texts import Author
from assistant.text.people import ADDRESS, NAME, Tagger, tokenize

LISTS = Country(
    "en",
    [f"Rosa{sign}" for sign in "abcdefghijklmnopqrstuvwxyz"],
    [f"Miller{sign}" for sign in "abcdefghijklmnopqrstuvwxyz"],
    [f"{number} Baker Street" for number in range(30)],
    [f"{number} Baker Street\nLondon NW1" for number in range(30)],
    [f"London{sign}" for sign in "abcdefghijklmnopqrstuvwxyz"],
    [f"NW{number}" for number in range(30)],
    [f"Painter{sign}" for sign in "abcdefghijklmnopqrstuvwxyz"],
)
PLAIN = {"en": [f"it leaks since {number} days" for number in range(80)]}

TALK = {"en": [(f"line {number}", f"please help, it leaks again, {number}") for number in range(80)]}


def author(*, apart: bool = False) -> Author:
    return Author([LISTS], TALK, PLAIN, {"en": ["leaks", "help", "please"]}, Random(0), apart=apart)


def test_what_is_marked_is_what_was_put_in() -> None:
    writing = author()
    for written in (writing.write() for _ in range(300)):
        assert len(written.kinds) == len(written.text)
        for kind, sign in ((NAME, "rosamiler"), (ADDRESS, "bakerst")):
            marked = "".join(char for char, one in zip(written.text, written.kinds, strict=True) if one == kind)
            assert not marked or any(char in marked.lower() for char in sign)


def test_what_is_kept_apart_is_in_no_training_text() -> None:
    kept = set(author(apart=True).plain["en"])
    assert kept
    assert kept.isdisjoint(author().plain["en"])
    assert not {*author(apart=True).talk["en"]} & {*author().talk["en"]}


def test_the_saved_tagger_says_what_the_trained_network_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    writing = author()
    texts = [one for one in (writing.write() for _ in range(128)) if tokenize(one.text)]
    samples = [sample for sample in map(Sample.of, texts) if sample is not None]
    network = train(samples, Random(0))
    save(network, tmp_path / "people.npz")
    with np.load(tmp_path / "people.npz") as stored:
        *layers, head = ((stored[f"weights{n}"].astype("f4"), stored[f"bias{n}"].astype("f4")) for n in range(4))
        tagger = Tagger(stored["vectors"], tuple(layers), head)
    for text, sample in zip(texts[:20], samples, strict=False):
        tokens = tokenize(text.text)[: len(sample.kinds)]
        with torch.no_grad():
            expected = network([sample]).softmax(dim=1).numpy()
        assert np.abs(tagger.tag(tokens) - expected).max() < 0.05
