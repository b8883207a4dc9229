"""Questions in a language that the embedder does not read: it is told, and words and identifiers find what they can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assistant.desk.desk import Desk
from assistant.runtime import Runtime
from tests.factories import make_articles
from tests.fakes import HashEmbeddings, fake_capabilities

PAGES = {
    "kettle.md": "# Kettle\n\n## Descaling\n\nFill the kettle with vinegar, boil it and rinse it twice.",
    "codes.md": "# Error codes\n\nE21: there is no water in the tank. Fill it up to the mark.",
    "wifi.md": "# AirPure 300 network\n\nPress reset on the AirPure 300 until the router finds it.",
    **{f"n{n}.md": f"# Noise {n}\n\nOther things, of lamps and lights and what they cost." for n in range(20)},
}
GERMAN = "Meine Maschine zeigt seit gestern auf dem Display den Fehler E-21 und macht überhaupt nichts mehr"
GERMAN_WORDS = "Wie kann ich den AirPure 300 zurücksetzen, damit mein Router ihn wieder findet?"
RUSSIAN = "На дисплее моей машины со вчерашнего дня появляется ошибка E21, что мне делать?"


class Misled(HashEmbeddings):
    """Whatever is asked lies nearest to the same wrong article, at a cosine of about a half: what an embedder makes of
    a language it never read."""

    def embed_query(self, text: str) -> list[float]:
        wrong = np.array(super().embed_query("Noise 7 Other things, of lamps and lights and what they cost."))
        elsewhere = np.random.default_rng(0).standard_normal(len(wrong)) / len(wrong) ** 0.5
        vector: list[float] = ((wrong + 1.7 * elsewhere) / np.linalg.norm(wrong + 1.7 * elsewhere)).tolist()
        return vector


@pytest.fixture
def make_desk(make_runtime: Callable[..., Runtime], tmp_path: Path) -> Callable[..., Desk]:
    """``make_desk("en")``: with an embedder that reads these languages."""

    def make(*languages: str, embeddings: HashEmbeddings | None = None) -> Desk:
        parts = {"embeddings": embeddings or HashEmbeddings(), "embedding_languages": languages}
        desk = make_runtime(capabilities=fake_capabilities(**parts)).desk
        make_articles(desk, tmp_path / "kb", PAGES)
        return desk

    return make


@pytest.mark.parametrize(("query", "language"), [(GERMAN, "de"), (RUSSIAN, "ru")])
def test_the_hits_say_that_the_embedder_does_not_read_the_question(
    make_desk: Callable[..., Desk], query: str, language: str
) -> None:
    hits = make_desk("en").index.search(query)
    assert {hit.unread_language for hit in hits} == {language}
    assert hits[0].document.metadata["unread_language"] == language
    assert hits[0].unread_language == language


@pytest.mark.parametrize("query", [GERMAN, RUSSIAN])
def test_an_identifier_is_found_whatever_the_embedder_makes_of_the_rest(
    make_desk: Callable[..., Desk], query: str
) -> None:
    hit = make_desk("en", embeddings=Misled()).index.search(query)[0]
    assert (hit.document.metadata["article_title"], hit.codes) == ("Error codes", ("E21",))


def test_words_that_the_languages_share_outweigh_a_misled_embedder(make_desk: Callable[..., Desk]) -> None:
    hit = make_desk("en", embeddings=Misled()).index.search(GERMAN_WORDS)[0]
    assert hit.document.metadata["article_title"] == "AirPure 300 network"
    assert {"airpure", "router"} <= set(hit.words)


def test_an_embedder_that_reads_the_language_is_trusted(make_desk: Callable[..., Desk]) -> None:
    for languages in (("en", "de"), ()):  # these two, or all of them
        hits = make_desk(*languages).index.search(GERMAN_WORDS)
        assert {hit.unread_language for hit in hits} == {None}


@pytest.mark.parametrize(
    "query",
    [
        "How do I descale my kettle with vinegar?",
        "E21",
        "AirPure 300",
        "Kettle",
        "wifi",
        "My display shows the error E-21 since yesterday and nothing else happens",
        "12345 !!",
    ],
)
def test_english_questions_and_those_too_short_to_tell_are_read(make_desk: Callable[..., Desk], query: str) -> None:
    assert {hit.unread_language for hit in make_desk("en").index.search(query)} <= {None}


def test_the_offline_embedder_reads_english_only(data_sets: Path) -> None:
    from assistant.engine.models.embeddings import SentenceEmbeddings
    from assistant.text.languages import detect

    assert SentenceEmbeddings("auto").languages == ("en",)
    questions = [
        line
        for file in sorted((data_sets / "xquad_xling").glob("*.de*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    if not questions:
        pytest.skip("no German questions here")
    found = [
        detect(line.split('"question": "', 1)[1].split('"', 1)[0])[0] for line in questions if '"question": "' in line
    ]
    assert sum(language == "de" for language in found) / len(found) > 0.95
