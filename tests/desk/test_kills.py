"""An import that is killed at any moment, again and again: nothing half-indexed is ever served, and it ends well."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from assistant.db import Database
from assistant.desk.desk import Desk
from assistant.knowledge import sources
from assistant.models import Article, Figure, Passage, Source, SourceKind
from assistant.ports import TextLine
from assistant.runtime import build
from assistant.settings import Settings
from tests.factories import make_photo
from tests.fakes import FakeOCR, HashEmbeddings, fake_capabilities
from tests.processes import Process, Tell

ARTICLES, FIGURES, KILLS = 120, 8, 4


class Slow(HashEmbeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        time.sleep(0.15)
        return super().embed_documents(texts)


class SlowOCR(FakeOCR):
    def read(self, photo: bytes) -> list[TextLine]:
        time.sleep(0.1)
        return super().read(photo)


def import_slowly(tell: Tell, data: Path, folder: Path) -> None:
    capabilities = fake_capabilities(embeddings=Slow(), ocr=SlowOCR("VALVE"))
    runtime = build(Settings(data_dir=data, workers=0), capabilities=capabilities)
    with runtime.desk.db.begin() as session:
        source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(folder))
    tell("begun")
    sources.sync(runtime.desk, source.id)


def _write(folder: Path, version: str) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(ARTICLES):
        picture = f"\n\n![Valve {number}](valve{number}.png)" if number < FIGURES else ""
        first, second = f"## First\n\n{version} one {number}.{picture}", f"## Second\n\n{version} two {number}."
        text = f"# Article {number}\n\n{first}\n\n{second}"
        (folder / f"a{number}.md").write_text(text)
    for number in range(FIGURES):
        (folder / f"valve{number}.png").write_bytes(make_photo(f"{version} {number}", size=(160, 120), kind="PNG"))


def _is_whole(db: Database) -> bool:
    """Every article has all passages and figures of one version."""
    with db.read() as session:
        found: dict[str, list[str]] = {}
        query = select(Article.source_key, Passage.text).join(Passage.article).order_by(Passage.position)
        for key, text in session.execute(query):
            found.setdefault(key, []).append(text)
        figures = dict(
            session.execute(
                select(Article.source_key, func.count())
                .join(Figure, Figure.article_id == Article.id)
                .group_by(Article.id)
            ).all()
        )
    for key, texts in found.items():
        number = int(key[1:-3])
        has_figure = number < FIGURES
        if len(texts) != 2 + has_figure or texts[0].split()[0] != texts[1].split()[0]:
            return False
        if figures.get(key, 0) != has_figure:
            return False
    return True


@pytest.mark.slow
def test_an_import_that_is_killed_again_and_again_comes_to_its_end(desk: Desk, tmp_path: Path) -> None:
    moments, folder, data = random.Random(11), tmp_path / "kb", tmp_path / "var"
    for version, kills in (("Old", KILLS // 2), ("New", KILLS - KILLS // 2)):
        _write(folder, version)
        for _ in range(kills):
            process = Process(import_slowly, data, folder)
            assert process.hear() == "begun"
            time.sleep(moments.uniform(0.0, 0.8))
            process.kill()
            assert _is_whole(desk.db)
        assert Process(import_slowly, data, folder).wait() == 0
        assert _is_whole(desk.db)
        with desk.db.read() as session:
            texts = session.scalars(select(Passage.text)).all()
            assert sum(text.startswith(f"{version} ") for text in texts) == 2 * ARTICLES
            assert len(texts) == 2 * ARTICLES + FIGURES
            assert session.scalar(select(func.count()).select_from(Figure)) == FIGURES
            assert not session.scalars(select(Source)).one().is_running
