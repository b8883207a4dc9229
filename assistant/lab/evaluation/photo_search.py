"""Whether a customer's photo finds the article whose figure it resembles: by words alone, and with how it looks.

Each set is imported as a knowledge base of its own, a picture beside the text of its article. Asked are retakes of the
pictures (`own_products.views.retake`) in front of others of the set, with words, or with none but what OCR reads.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from assistant.errors import Invalid
from assistant.knowledge import figures, sources
from assistant.knowledge.articles import search_by_photo
from assistant.lab.rows import read_rows
from assistant.lab.tables import Cell, table
from assistant.media import Upload
from assistant.models import SourceKind
from assistant.ports import Capabilities
from assistant.progress import Progress, no_progress
from assistant.runtime import build
from assistant.settings import Settings
from assistant.skills.own_products.views import opened, retake

_DEPTH = 5  # articles of which the right one must be one
_PASSAGES = 40


@dataclass(frozen=True)
class Asked:
    """A photo, what is said about it, and the titles of the articles that it is about."""

    photo: bytes
    words: str
    right: frozenset[str]


@dataclass(frozen=True)
class PhotoSet:
    """``articles``: title to text and pictures."""

    name: str
    articles: Mapping[str, tuple[str, Sequence[bytes]]]
    asked: Sequence[Asked]


@dataclass(frozen=True)
class Score:
    """Shares of the photos whose right article comes ``first``, and among the first `_DEPTH`."""

    of: str
    words: str
    method: str
    photos: int
    first: float
    among: float


@dataclass(frozen=True)
class Report:
    embedder: str
    scores: tuple[Score, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """A text table."""
        rows: list[tuple[Cell, ...]] = [
            (one.of, one.words, one.method, one.photos, one.first, one.among) for one in self.scores
        ]
        lines = table(("set", "asked with", "found by", "photos", "first", f"in {_DEPTH}"), rows)
        return "\n".join([*lines, f"\nlooks: {self.embedder}. words: with what OCR reads in the photo."])


def screenshots(folder: Path) -> PhotoSet:
    """Help pages with their screenshots, and what the screenshots' alternative texts say (`zammad_docs`)."""
    pages = {row.values["id"]: row.values for row in read_rows(folder) if "text" in row.values}
    shots = [row.values for row in read_rows(folder / "labels.jsonl")]
    beside: dict[str, list[bytes]] = {}
    for shot in shots:
        for page in shot["gold_pages"][:1]:
            beside.setdefault(page, []).append((folder / shot["image"]).read_bytes())
    articles = {
        key: (f"{page['title']}\n\n{page['text']}", beside.get(key, ())) for key, page in pages.items()
    }  # fmt: skip
    asked = [Asked((folder / shot["image"]).read_bytes(), shot["alt"], frozenset(shot["gold_pages"])) for shot in shots]
    return PhotoSet(folder.name, articles, _retaken(asked))


def products(folder: Path) -> PhotoSet:
    """Articles about products, one photo of each as a figure (`grocery_products`)."""
    described = {row.values["id"]: row.values for row in read_rows(folder / "catalogue.jsonl")}
    photos: dict[str, bytes] = {}
    asked = []
    for row in read_rows(folder / "labels.jsonl"):
        key, photo = row.values["product_id"], (folder / row.values["image"]).read_bytes()
        photos.setdefault(key, photo)
        asked.append(Asked(photo, "Which product is in the photo?", frozenset({key})))
    articles = {
        key: (f"{one['name']}. {one['description']}", [photos[key]] if key in photos else ())
        for key, one in described.items()
    }  # fmt: skip
    return PhotoSet(folder.name, articles, _retaken(asked))


READERS = {"zammad_docs": screenshots, "grocery_products": products}


def evaluate_photo_search(folder: Path, *, capabilities: Capabilities, progress: Progress = no_progress) -> Report:
    """``folder`` has some of the folders that `READERS` names. Raises `Invalid` without any, or without an embedder of
    photos."""
    embedder = capabilities.photo_embedder
    if embedder is None:
        raise Invalid("Nothing here compares photos. Set ASSISTANT_PHOTO_EMBEDDINGS.")
    found = [read(folder / name) for name, read in READERS.items() if (folder / name).is_dir()]
    if not found:
        raise Invalid(f"{folder} has none of: {', '.join(READERS)}.")
    scores = [score for one in found for score in _measured(one, capabilities, progress)]
    return Report(embedder.name, tuple(scores))


def _retaken(asked: Sequence[Asked]) -> list[Asked]:
    random, pictures = Random(0), [opened(one.photo) for one in asked]
    found = []
    for number, one in enumerate(asked):
        scene = retake(pictures[number], pictures[(number + len(pictures) // 2) % len(pictures)], random)
        stream = io.BytesIO()
        Image.fromarray(np.asarray(scene)).save(stream, "JPEG", quality=85)
        found.append(replace(one, photo=stream.getvalue()))
    return found


def _measured(one: PhotoSet, capabilities: Capabilities, progress: Progress) -> list[Score]:
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        _write(one, Path(folder) / "articles")
        settings = Settings(data_dir=Path(folder) / "var")
        runtime = build(settings, capabilities=capabilities)
        try:
            desk = runtime.desk
            with desk.db.begin() as session:
                source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(Path(folder) / "articles"))
            sources.sync(desk, source.id, progress=progress)
            figures.embed_pictures(desk, progress=progress)
            desk.index.refresh()
            without = build(settings, capabilities=replace(capabilities, photo_embedder=None))
            for words, named in (("words", True), ("no words", False)):
                for method, asked_of in (("words", without.desk), ("words and looks", desk)):
                    ranks = []
                    for number, photo in enumerate(one.asked, start=1):
                        upload = Upload("photo.jpg", None, photo.photo)
                        query = photo.words if named else ""
                        hits = search_by_photo(asked_of, [upload], query, limit=_PASSAGES)
                        ranks.append(_rank([hit.document.metadata["article_title"] for hit in hits], photo.right))
                        progress(number, len(one.asked), f"Searching {one.name}")
                    first, among = (float(np.mean([rank < most for rank in ranks])) for most in (1, _DEPTH))
                    scores.append(Score(one.name, words, method, len(ranks), first, among))
            without.close()
        finally:
            runtime.close()
    return scores


def _write(one: PhotoSet, folder: Path) -> None:
    folder.mkdir()
    for number, (key, (text, pictures)) in enumerate(one.articles.items()):
        lines = [f"# {key}", "", text, ""]
        for place, picture in enumerate(pictures):
            kind = "png" if picture.startswith(b"\x89PNG") else "jpg"
            (folder / f"{number}-{place}.{kind}").write_bytes(picture)
            lines += [f"![]({number}-{place}.{kind})", ""]
        (folder / f"{number}.md").write_text("\n".join(lines), encoding="utf-8")


def _rank(titles: Sequence[str], right: frozenset[str]) -> int:
    """Of the first right article, from 0, among the articles found."""
    articles = list(dict.fromkeys(re.sub(r"\s+", " ", title) for title in titles))
    return next((rank for rank, title in enumerate(articles) if title in right), len(articles) + _PASSAGES)
