"""`assistant eval photo-search`, on made up help pages with screenshots."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assistant.errors import Invalid
from assistant.lab.evaluation.photo_search import evaluate_photo_search
from tests.fakes import fake_capabilities
from tests.retrieval.test_photo_search import Colours, _picture

PAGES = {"valve": "blue", "filter": "red", "lamp": "green"}


class Middles(Colours):
    """By the colour in the middle: around it, a retake has something else."""

    def embed(self, photos: Sequence[bytes]) -> list[list[float]]:
        found = []
        for photo in photos:
            image = Image.open(io.BytesIO(photo)).convert("RGB")
            width, height = image.size
            part = image.crop((0.45 * width, 0.45 * height, 0.55 * width, 0.55 * height))
            mean = np.asarray(part).mean(axis=(0, 1)) + 1
            found.append((mean / np.linalg.norm(mean)).tolist())
        return found


def test_looks_find_what_words_do_not_tell(tmp_path: Path) -> None:
    folder = tmp_path / "zammad_docs"
    folder.mkdir()
    labels = []
    for page, colour in PAGES.items():
        (folder / f"{page}.png").write_bytes(_picture(colour, (300, 300)))
        labels.append({"image": f"{page}.png", "alt": f"The {page}", "gold_pages": [page]})
    pages = [{"id": page, "title": page, "text": f"How to change the {page}."} for page in PAGES]
    for name, rows in (("pages", pages), ("labels", labels)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))

    report = evaluate_photo_search(tmp_path, capabilities=fake_capabilities(photo_embedder=Middles()))
    found = {(one.words, one.method): one for one in report.scores}
    assert found["words", "words"].first == found["words", "words and looks"].first == 1.0
    assert found["no words", "words"].among == 0.0
    assert found["no words", "words and looks"].among > 0.5
    assert "words and looks" in report.render()


def test_without_sets_or_an_embedder_there_is_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="zammad_docs"):
        evaluate_photo_search(tmp_path, capabilities=fake_capabilities(photo_embedder=Colours()))
    with pytest.raises(Invalid, match="ASSISTANT_PHOTO_EMBEDDINGS"):
        evaluate_photo_search(tmp_path, capabilities=fake_capabilities())
