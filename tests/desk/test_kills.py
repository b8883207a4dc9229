"""An import that is killed at any moment, again and again: nothing half-indexed is ever served, and it ends well."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import func, select

from assistant.db import Database
from assistant.desk.desk import Desk
from assistant.models import Article, Figure, Passage, Source
from tests.factories import make_photo

ARTICLES, FIGURES, KILLS = 120, 8, 4

IMPORT = """
import pathlib, sys, time
from assistant.models import SourceKind
from assistant.runtime import build
from assistant.knowledge import sources
from assistant.settings import Settings
from tests.fakes import FakeOCR, HashEmbeddings, fake_capabilities

class Slow(HashEmbeddings):
    def embed_documents(self, texts):
        time.sleep(0.15)
        return super().embed_documents(texts)

class SlowOCR(FakeOCR):
    def read(self, photo):
        time.sleep(0.1)
        return super().read(photo)

capabilities = fake_capabilities(embeddings=Slow(), ocr=SlowOCR("VALVE"))
runtime = build(Settings(data_dir=pathlib.Path(sys.argv[1]), workers=0), capabilities=capabilities)
with runtime.desk.db.begin() as session:
    source = sources.add_source(session, kind=SourceKind.FOLDER, location=sys.argv[2])
print("begun", flush=True)
sources.sync(runtime.desk, source.id)
"""


def _write(folder: Path, version: str) -> None:
    folder.mkdir(exist_ok=True)
    for number in range(ARTICLES):
        picture = f"\n\n![Valve {number}](valve{number}.png)" if number < FIGURES else ""
        first, second = f"## First\n\n{version} one {number}.{picture}", f"## Second\n\n{version} two {number}."
        text = f"# Article {number}\n\n{first}\n\n{second}"
        (folder / f"a{number}.md").write_text(text)
    for number in range(FIGURES):
        (folder / f"valve{number}.png").write_bytes(make_photo(f"{version} {number}", size=(160, 120), kind="PNG"))


def _start(data: Path, folder: Path) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", IMPORT, str(data), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=environment)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


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
            process = _start(data, folder)
            time.sleep(moments.uniform(0.0, 0.8))
            process.kill()
            process.communicate(timeout=60)
            assert _is_whole(desk.db)
        process = _start(data, folder)
        process.communicate(timeout=240)
        assert process.returncode == 0
        assert _is_whole(desk.db)
        with desk.db.read() as session:
            texts = session.scalars(select(Passage.text)).all()
            assert sum(text.startswith(f"{version} ") for text in texts) == 2 * ARTICLES
            assert len(texts) == 2 * ARTICLES + FIGURES
            assert session.scalar(select(func.count()).select_from(Figure)) == FIGURES
            assert not session.scalars(select(Source)).one().is_running
