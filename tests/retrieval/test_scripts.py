"""Words are found in every script, without regard to capitals, accents and blanks, on both databases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select, update

from assistant.desk.desk import Desk
from assistant.models import Article, Passage
from assistant.retrieval.fulltext import count, find
from assistant.retrieval.index import Filters
from assistant.runtime import Runtime
from assistant.text.words import query_words
from tests.factories import make_articles

# Article to what is typed for it.
ARTICLES = {
    "Die Überhitzung des Motors auf der Straße beheben.": ("überhitzung", "UBERHITZUNG", "strasse"),
    "Préparer un café crème avec la buse.": ("cafe creme", "CAFÉ"),
    "Cihaz ısınmıyor: İSTANBUL servisine gönderin.": ("isinmiyor", "istanbul"),
    "Η συσκευή δεν ανάβει. Ελέγξτε το ΚΑΛΏΔΙΟ.": ("καλωδιο", "ΣΥΣΚΕΥΗ"),
    "Ёмкость для воды пустая.": ("емкость", "ЁМКОСТЬ"),
    "المُحَرِّك ساخن والضوء أَحْمَر.": ("المحرك", "احمر"),
    "נורית הַהַפְעָלָה מהבהבת.": ("ההפעלה",),
    "डिवाइस चालू नहीं होता।": ("चालू",),
    "コーヒーマシンのランプが赤く点滅しています。": ("点滅", "ランプ", "ﾗﾝﾌﾟ"),
    "指示灯一直闪烁时,请更换电池。": ("电池", "闪烁", "灯"),
    "เครื่องซักผ้าไม่ทำงานเพราะประตูเปิดอยู่": ("ประตู", "ซักผ้า"),
    "기기가 켜지지 않으면 충전하세요.": ("켜지지",),
    "Thiết bị bị hỏng do nước.": ("thiet", "hong"),
    "Pralka w Łodzi przecieka.": ("lodzi",),
}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def desk(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime], tmp_path: Path) -> Desk:
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    desk = (make_runtime(database_url=url) if url else make_runtime()).desk
    pages = {f"{number}.md": f"# Page {number}\n\n{text}" for number, text in enumerate(ARTICLES)}
    pages |= {f"noise{number}.md": f"# Noise {number}\n\nOther things about lamps." for number in range(5)}
    make_articles(desk, tmp_path / "kb", pages)
    return desk


def found(desk: Desk, typed: str) -> list[str]:
    """The texts of the passages that have the words, best first."""
    with desk.db.read() as session:
        ids = find(session, query_words(typed), filters=Filters(), limit=5)
        return [session.get_one(Passage, one).text for one in ids]


def test_a_word_is_found_in_every_script(desk: Desk) -> None:
    for text, queries in ARTICLES.items():
        for typed in queries:
            assert found(desk, typed)[:1] == [text], typed
            assert any(hit.words for hit in desk.index.search(typed)), typed


def test_what_is_changed_or_gone_is_no_longer_found(desk: Desk) -> None:
    with desk.db.begin() as session:
        session.execute(update(Article).values(product="lamp"))
        for passage in session.scalars(select(Passage).where(Passage.text.contains("电池"))):
            session.delete(passage)
    assert found(desk, "电池") == []
    assert len(found(desk, "überhitzung")) == 1
    with desk.db.read() as session:
        assert count(session, ["电池"], frequent={}, passages=20) == {"电池": 0}
