"""Two embedders share a knowledge base: one reads English, the other whatever is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from sqlalchemy import func, select

from assistant import worker
from assistant.db import Database
from assistant.desk.desk import Desk
from assistant.knowledge import embedding, indexing, sources
from assistant.models import EmbeddingModel, EmbeddingModelState, SourceKind, Vector, VectorKind
from assistant.ports import USUAL_STANDING, Capabilities, Embedder, Scale, Standing, calibrate
from assistant.retrieval.scales import standing_of, usual_scale
from assistant.runtime import Runtime
from tests.fakes import HashEmbeddings, fake_capabilities

# What the words of other languages mean: the second embedder's dictionary.
MEANS = {
    "entkalken": "descale", "wasserkocher": "kettle", "wie": "how", "ich": "i", "meinen": "my", "essig": "vinegar",
    "füllen": "fill", "kochen": "boil", "rechnung": "invoice", "finde": "find", "wo": "where", "meine": "my",
    "sie": "you", "im": "in", "unter": "under", "konto": "account", "jede": "every", "steht": "stands",
}  # fmt: skip
PAGES = {
    "kettle.md": "# Kettle\n\n## Descale\n\nDescale the kettle with vinegar: fill it and boil it.",
    "rechnung.md": "---\nlanguage: de\n---\n# Rechnung\n\nJede Rechnung steht im Konto.",
    **{f"n{n}.md": f"# Noise {n}\n\nOther things, of lamps and lights and what they cost, {n}." for n in range(12)},
}
GERMAN = "Wie kann ich meinen Wasserkocher am besten entkalken, damit er wieder sauber ist?"
ENGLISH = "How do I descale the kettle with vinegar?"
ENGLISH_ABOUT_GERMAN = "In which account stands every single invoice, please?"


class Translating(Embeddings):
    """Knows the words of both languages. Its cosines are squeezed: unrelated texts have about .7."""

    def __init__(self) -> None:
        self.inner = HashEmbeddings(256)
        self.asked: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._squeezed(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.asked.append(text)
        return self._squeezed(text)

    def _squeezed(self, text: str) -> list[float]:
        words = "".join(character if character.isalnum() else " " for character in text.lower()).split()
        own = np.array(self.inner.embed_query(" ".join(MEANS.get(word, word) for word in words)))
        return [*(0.3**0.5 * own / np.linalg.norm(own)).tolist(), 0.7**0.5]


class Misled(HashEmbeddings):
    """Reads English. What it makes of German is what it makes of noise."""

    def embed_query(self, text: str) -> list[float]:
        return super().embed_query("Noise 7 Other things, of lamps and lights" if "ich" in text.split() else text)


def with_second(second: Embeddings | None = None) -> Capabilities:
    first = fake_capabilities(embeddings=Misled(), embedding_languages=("en",))
    if second is None:
        return first
    return replace(first, second_embedder=Embedder(second, "translating", languages=("en", "de")))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def start(request: pytest.FixtureRequest, make_runtime: Callable[..., Runtime]) -> Callable[[Capabilities], Desk]:
    """``start(capabilities)``: a desk with these, on the same database every time, as after a restart."""
    changes = {"database_url": request.getfixturevalue("postgres_url")} if request.param == "postgresql" else {}
    return lambda capabilities: make_runtime(capabilities=capabilities, **changes).desk


def fill(desk: Desk, folder: Path, pages: dict[str, str] = PAGES) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    with desk.db.begin() as session:
        source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(folder))
    sources.sync(desk, source.id)


def vectors_of(db: Database) -> dict[str, int]:
    with db.read() as session:
        query = select(Vector.embedding_model, func.count()).where(Vector.kind == VectorKind.PASSAGE)
        return dict(session.execute(query.group_by(Vector.embedding_model)).all())


Start = Callable[[Capabilities], Desk]


def test_a_question_in_another_language_finds_the_passage(start: Start, tmp_path: Path) -> None:
    desk = start(with_second(Translating()))
    fill(desk, tmp_path / "kb")
    hit = desk.index.search(GERMAN)[0]
    assert hit.document.metadata["article_title"] == "Kettle"
    assert hit.unread_language is None
    assert hit.similarity is not None
    assert hit.similarity > 0.3


def test_a_passage_in_another_language_is_found_too_and_competes_on_one_scale(start: Start, tmp_path: Path) -> None:
    desk = start(with_second(Translating()))
    fill(desk, tmp_path / "kb")
    hits = desk.index.search(ENGLISH_ABOUT_GERMAN)
    assert hits[0].document.metadata["article_title"] == "Rechnung"
    english = desk.index.search(ENGLISH)
    assert english[0].document.metadata["article_title"] == "Kettle"
    assert max(hit.similarity or 0.0 for hit in english if hit.document.metadata["language"] == "de") < 0.4


def test_an_english_question_to_english_articles_does_not_trouble_the_second(start: Start, tmp_path: Path) -> None:
    second = Translating()
    desk = start(with_second(second))
    fill(desk, tmp_path / "kb", {name: text for name, text in PAGES.items() if name != "rechnung.md"})
    second.asked.clear()
    assert (
        desk.index.search("How do I descale the kettle with vinegar?")[0].document.metadata["article_title"] == "Kettle"
    )
    assert second.asked == []


def test_an_installation_that_gets_the_second_embedder_makes_its_vectors_by_a_job(start: Start, tmp_path: Path) -> None:
    before = start(with_second())
    fill(before, tmp_path / "kb")
    assert before.index.search(GERMAN)[0].unread_language == "de"
    desk = start(with_second(Translating()))
    assert vectors_of(desk.db) == {"hash-512": 14}
    desk.index.search(GERMAN)  # words have to do until then
    worker.run_until_idle(desk)
    assert vectors_of(desk.db) == {"hash-512": 14, "translating": 14}
    hit = desk.index.search(GERMAN)[0]
    assert (hit.document.metadata["article_title"], hit.unread_language) == ("Kettle", None)


def test_without_its_package_everything_is_as_before_and_its_vectors_wait(start: Start, tmp_path: Path) -> None:
    fill(start(with_second(Translating())), tmp_path / "kb")
    desk = start(with_second())
    worker.run_until_idle(desk)
    assert desk.index.search(GERMAN)[0].unread_language == "de"
    assert (
        desk.index.search("How do I descale the kettle with vinegar?")[0].document.metadata["article_title"] == "Kettle"
    )
    assert vectors_of(desk.db) == {"hash-512": 14, "translating": 14}


def test_an_embedder_that_reads_every_language_needs_no_second(start: Start, tmp_path: Path) -> None:
    fill(start(with_second(Translating())), tmp_path / "kb")
    capabilities = replace(with_second(Translating()), embedding_languages=())
    desk = start(capabilities)
    with desk.db.read() as session:
        assert EmbeddingModelState.SECOND not in session.scalars(select(EmbeddingModel.state)).all()
    worker.run_until_idle(desk)


# Scales


def test_until_its_scale_is_measured_a_new_embedder_takes_nothing_for_an_answer(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the first minute after an upgrade, while the job makes its vectors; then the measured one is used."""
    fill(start(with_second()), tmp_path / "kb")
    desk = start(with_second(Translating()))
    assert desk.index.search(ENGLISH)[0].document.metadata["article_title"] == "Kettle"
    with monkeypatch.context() as patched:
        patched.setattr(indexing, "calibrate", lambda *_args, **_options: None)
        worker.run_until_idle(desk)
    assert vectors_of(desk.db) == {"hash-512": 14, "translating": 14}
    borrowed = {question: similarity_of(desk, question, "Rechnung") for question in (ENGLISH, ENGLISH_ABOUT_GERMAN)}
    assert borrowed[ENGLISH] < 0.4
    assert borrowed[ENGLISH_ABOUT_GERMAN] > 0.5
    assert similarity_of(desk, GERMAN, "Rechnung") < 0.4
    embedding.embed(desk)
    assert similarity_of(desk, ENGLISH_ABOUT_GERMAN, "Rechnung") != borrowed[ENGLISH_ABOUT_GERMAN]


def test_in_a_first_import_too(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stores article by article, and is measured at its end."""
    monkeypatch.setattr(indexing, "calibrate", lambda *_args, **_options: None)
    found = similarities(start, tmp_path / "kb", Translating(), "squeezed")
    assert found["known"] > 0.5
    assert found["unknown"] < 0.3


def similarity_of(desk: Desk, question: str, title: str) -> float:
    """0 if it is not found."""
    hits = desk.index.search(question, limit=20)
    return max((hit.similarity or 0.0 for hit in hits if hit.document.metadata["article_title"] == title), default=0.0)


class Random(Embeddings):
    """Vectors that have nothing to do with the text."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        vector = np.random.default_rng(len(text) * 31 + sum(map(ord, text))).standard_normal(64)
        return (vector / np.linalg.norm(vector)).tolist()


def similarities(start: Start, folder: Path, embeddings: Embeddings, name: str) -> dict[str, float]:
    """Of a question that is answered and of one that is not, that of the passage that is nearest."""
    desk = start(fake_capabilities(embeddings=embeddings, embedding_model=name, embedding_scale=None))
    fill(desk, folder)
    asked = {"known": "descale the kettle with vinegar", "unknown": "holidays in Norway"}
    return {kind: max(hit.similarity or 0.0 for hit in desk.index.search(question)) for kind, question in asked.items()}


def test_squeezed_cosines_become_similarities_like_any_others(start: Start, tmp_path: Path) -> None:
    found = similarities(start, tmp_path / "kb", Translating(), "squeezed")
    assert found["known"] > 0.6
    assert found["unknown"] < 0.3


def test_an_embedder_that_tells_nothing_apart_says_nothing(start: Start, tmp_path: Path) -> None:
    found = similarities(start, tmp_path / "kb", Random(), "random")
    assert max(found.values()) < 0.15


@pytest.mark.parametrize("embeddings", [Translating(), HashEmbeddings(128)])
def test_without_passages_the_scale_is_measured_on_sentences_of_our_own(embeddings: Embeddings) -> None:
    scale = usual_scale(Embedder(embeddings, f"{type(embeddings).__name__}"))
    texts = ["Resetting the password of the account", "resetting the password", "holidays in Norway"]
    one, same, other = np.array(embeddings.embed_documents(texts))
    related, unrelated = scale.similarities(np.array([one @ same, one @ other]))
    assert related > 0.5
    assert unrelated < 0.3


def test_a_scale_leads_from_cosines_to_similarities_and_back() -> None:
    rng = np.random.default_rng(0)
    unrelated, related = rng.normal(0.80, 0.02, 500), rng.normal(0.90, 0.02, 50)
    scale = calibrate(unrelated, related)
    assert scale.similarities(unrelated).mean() == pytest.approx(0.11, abs=0.01)
    assert scale.similarities(related).mean() == pytest.approx(0.65, abs=0.01)
    assert scale.similarities(np.array([scale.cosine(0.55)]))[0] == pytest.approx(0.55)
    assert Scale().similarities(np.array([0.25]))[0] == 0.25


def test_how_far_right_and_wrong_passages_stand_out_is_measured_on_the_articles(start: Start, tmp_path: Path) -> None:
    desk = start(with_second(Translating()))
    fill(desk, tmp_path / "kb")
    with desk.db.read() as session:
        known = session.scalars(select(EmbeddingModel)).all()
        standings = [Standing(one.own, one.others) for one in known if one.own is not None and one.others is not None]
    assert len(standings) == 2
    assert all(one.own > one.others for one in standings)
    assert desk.index.search(ENGLISH)[0].document.metadata["standing"] in standings


def test_similarity_counts_from_the_best_wrong_passage_on_and_as_far_as_it_tells_them_apart() -> None:
    cosines = np.array([[0.9, 0.1], [0.2, 0.8], [0.1, 0.2], [0.0, 0.1]])
    clear = standing_of(cosines, cosines > 0.5)
    assert clear.own > 1.6
    assert clear.others < 0.2
    assert clear.tells(clear.others) == 0.0
    assert clear.tells(3.0) > Standing(clear.own, clear.own - 0.5).tells(3.0)
    assert Standing(own=3.0, others=4.0).tells(5.0) == 0.0  # one long manual: everything is alike
    assert standing_of(cosines, np.zeros_like(cosines, dtype=bool)) == USUAL_STANDING
