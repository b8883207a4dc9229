"""The index: what is found, in which order, why, and by whom."""

from __future__ import annotations

from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda
from sqlalchemy import delete, select, text, update

from assistant.db import Database, utcnow
from assistant.desk.desk import Desk
from assistant.models import Article, Passage, Vector, Visibility
from assistant.ports import Embedder
from assistant.retrieval.embedders import Embedders
from assistant.retrieval.index import Filters, Index
from tests.factories import make_articles
from tests.fakes import HashEmbeddings

PUBLIC = Filters(visibilities=(Visibility.PUBLIC,))
AGENTS = Filters(visibilities=tuple(Visibility))

KETTLE = "# Kettle\n\n## Descaling\n\nFill the kettle with vinegar, boil it and rinse it twice.\n"
TOASTER = "# Toaster\n\n## Crumbs\n\nPull the tray out and empty it. Unplug the toaster before you clean it.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kb"


def _titles(index: Index, query: str, filters: Filters = PUBLIC, limit: int = 8) -> list[str]:
    return [hit.document.metadata["article_title"] for hit in index.search(query, filters=filters, limit=limit)]


def _page(title: str, text: str, **meta: str) -> str:
    head = "\n".join(f"{name}: {value}" for name, value in meta.items())
    return f"---\n{head}\n---\n# {title}\n\n{text}\n"


def test_the_passage_that_answers_comes_first_and_says_why(desk: Desk, folder: Path) -> None:
    make_articles(desk, folder, {"kettle.md": KETTLE, "toaster.md": TOASTER})
    hit = desk.index.search("How do I descale my kettle?")[0]
    assert hit.document.metadata["heading"] == "Kettle > Descaling"
    assert set(hit.words) == {"descale", "kettle"}
    assert hit.similarity is not None
    assert hit.similarity > 0
    assert 0 < hit.score <= 1


def test_a_document_carries_what_an_answer_cites(desk: Desk, folder: Path) -> None:
    page = _page("Kettle", "Boil vinegar.", url="https://shop.example/k", product="kettle", language="en")
    make_articles(desk, folder, {"kettle.md": page})
    document = desk.index.search("vinegar")[0].document
    assert document.id == document.metadata["passage_id"]
    assert document.page_content == "Boil vinegar."
    expected = {"article_title": "Kettle", "url": "https://shop.example/k", "product": "kettle", "language": "en"}
    assert document.metadata | expected == document.metadata
    assert set(document.metadata) == {
        *expected, "article_id", "passage_id", "heading", "visibility", "score", "similarity", "words", "codes",
        "names", "fits", "elsewhere", "unknown", "page", "resemblance", "unread_language",
        "rarity", "background", "units", "standing",
    }  # fmt: skip


@pytest.mark.parametrize("query", ["refund secret goodwill budget", "GW-7741", "how much may I refund out of goodwill"])
def test_internal_passages_never_reach_a_public_search(desk: Desk, folder: Path, query: str) -> None:
    internal = "Goodwill budget GW-7741: refund up to 40 euros. The secret limit is 80 euros."
    pages = {f"secret{n}.md": _page(f"Secret {n}", internal, visibility="internal") for n in range(70)}
    pages["public.md"] = _page("Refunds", "We refund within 14 days.")
    make_articles(desk, folder, pages)
    assert _titles(desk.index, query, limit=50) == ["Refunds"]
    assert any(title.startswith("Secret") for title in _titles(desk.index, query, AGENTS, limit=50))


def test_internal_passages_do_not_crowd_out_the_public_ones(desk: Desk, folder: Path) -> None:
    """Filters come before the ranking: however many better internal passages there are, the public one is found."""
    pages = {
        f"internal{n}.md": _page(f"Pump {n}", "The pump. Pump pump pump!", visibility="internal") for n in range(150)
    }
    pages["public.md"] = _page("Water", "Among many other things there is a pump, too, in the machine.")
    make_articles(desk, folder, pages)
    assert _titles(desk.index, "pump") == ["Water"]


def test_an_article_that_becomes_internal_is_gone_at_once(desk: Desk, folder: Path, db: Database) -> None:
    make_articles(desk, folder, {"kettle.md": KETTLE})
    assert _titles(desk.index, "descaling") == ["Kettle"]
    with db.begin() as session:
        session.execute(update(Article).values(visibility=Visibility.INTERNAL, updated_at=utcnow()))
    assert _titles(desk.index, "descaling") == []
    assert _titles(desk.index, "descaling", AGENTS) == ["Kettle"]


def test_without_visibilities_nothing_is_found(desk: Desk, folder: Path) -> None:
    make_articles(desk, folder, {"kettle.md": KETTLE})
    assert _titles(desk.index, "kettle", Filters(visibilities=())) == []


def test_a_language_filter_is_strict(desk: Desk, folder: Path) -> None:
    german = _page("Kettle DE", "Kettle mit Essig entkalken.", language="de")
    make_articles(desk, folder, {"kettle.md": KETTLE, "de.md": german})
    assert _titles(desk.index, "kettle", Filters(languages=("de",))) == ["Kettle DE"]
    assert _titles(desk.index, "kettle", Filters(languages=("fr",))) == []
    assert set(_titles(desk.index, "kettle")) == {"Kettle", "Kettle DE"}


@pytest.fixture
def siblings(desk: Desk, folder: Path) -> Index:
    """Manuals that say nearly the same of nine products, and an article about none."""
    text = "## Cleaning\n\nTo clean the filter of the {name}, rinse it under warm water and let it dry for a day."
    pages = {
        f"{n}.md": _page(f"AirPure {n}00", text.format(name=f"AirPure {n}00"), product=f"airpure-{n}00")
        for n in range(1, 10)
    }
    pages["warranty.md"] = _page("Warranty", "The warranty does not cover filters that were not cleaned.")
    make_articles(desk, folder, pages)
    return desk.index


@pytest.mark.parametrize("product", ["airpure-300", "AirPure 300"])
def test_the_known_product_comes_first_among_siblings(siblings: Index, product: str) -> None:
    titles = _titles(siblings, "how do I clean the filter?", Filters(products=(product,)))
    assert titles[0] == "AirPure 300"
    assert len(titles) == 8, "a preference, not a filter"


def test_a_product_that_the_question_names_comes_first(siblings: Index) -> None:
    assert _titles(siblings, "clean filter, AirPure 700")[0] == "AirPure 700"


def test_an_exact_code_comes_before_better_words(desk: Desk, folder: Path) -> None:
    talk = "My display shows an error, what to do? The machine stopped with an error on the display."
    pages = {f"talk{n}.md": _page(f"Talk {n}", talk) for n in range(5)}
    pages["codes.md"] = _page("Codes", "E21 no water in the tank. " + "Other things are not about this at all. " * 20)
    make_articles(desk, folder, pages)
    hits = desk.index.search("my display shows error e-21, the machine stopped, what to do?")
    assert hits[0].document.metadata["article_title"] == "Codes"
    assert hits[0].codes == ("E21",)
    assert all(not hit.codes for hit in hits[1:])


def test_a_code_in_everything_does_not_hide_the_one_asked_for(desk: Desk, folder: Path) -> None:
    pages = {f"{n}.md": _page(f"Page {n}", f"About the BW300 and its part {n}.") for n in range(20)}
    pages["e21.md"] = _page("Pump", "Error E21: the pump draws no water.")
    make_articles(desk, folder, pages)
    assert _titles(desk.index, "BW300 shows E21")[0] == "Pump"


def test_a_code_that_names_an_article_stands_for_all_of_it(desk: Desk, folder: Path) -> None:
    manual = _page("Manual 1", "The Trail X4 is a tent.\n\n## Opinions\n\nMy Trail X4 is the best.\n\n## Thanks\n\n"
                   "Thank you for the Trail X4.\n\n## Data\n\nWeight: 3 kg. Colour: green.")  # fmt: skip
    other = _page("Manual 2", "The Alp is a tent.\n\n## Data\n\nWeight: 5 kg. Colour: red.")
    make_articles(desk, folder, {"one.md": manual, "two.md": other})
    hits = desk.index.search("Weight and colour of the X4")
    assert "3 kg" in hits[0].document.page_content
    data = hits[0].document.metadata
    assert (data["codes"], data["names"]) == ([], ["X4"])


def test_a_number_that_may_be_anything_does_not_come_first(desk: Desk, folder: Path) -> None:
    pages = {
        "heater.md": _page("Heater", "It draws 1500 watts."),
        "refund.md": _page("Refunds", "You get your money back within 14 days."),
    }
    make_articles(desk, folder, pages)
    assert _titles(desk.index, "I paid 1500 and want my money back, how many days until refunds?")[0] == "Refunds"


def test_a_code_listed_with_placeholders_is_found(desk: Desk, folder: Path) -> None:
    pages = {f"{n}.md": _page(f"XX{n} problem", "Something is wrong.") for n in range(200, 230)}
    make_articles(desk, folder, pages)
    hit = desk.index.search("printer shows #172O6")[0]
    assert hit.document.metadata["article_title"] == "XX206 problem"
    assert hit.codes == ("17206",)


def test_a_code_as_it_stands_comes_before_one_with_placeholders(desk: Desk, folder: Path) -> None:
    make_articles(desk, folder, {"any.md": _page("XX103 any", "Stuck."), "one.md": _page("04103 one", "Stuck.")})
    hits = desk.index.search("the display says E04103")
    assert [(hit.document.metadata["article_title"], hit.codes) for hit in hits] == [
        ("04103 one", ("E04103",)),
        ("XX103 any", ()),
    ]


def test_nothing_is_found_in_nothing(desk: Desk, folder: Path) -> None:
    assert desk.index.search("kettle") == []
    make_articles(desk, folder, {"kettle.md": KETTLE})
    assert desk.index.search("   ") == []
    assert desk.index.search("kettle", limit=0) == []


def test_another_index_on_the_same_database_sees_changes_at_once(desk: Desk, db: Database, folder: Path) -> None:
    other = Index(db, Embedders(desk.capabilities.embedder))
    assert _titles(other, "kettle") == []
    make_articles(desk, folder, {"kettle.md": KETTLE})
    assert _titles(other, "kettle") == ["Kettle"]
    make_articles(desk, folder, {"kettle.md": TOASTER})
    assert _titles(other, "kettle") == ["Toaster"]
    with db.begin() as session:
        session.execute(delete(Article))
    assert _titles(other, "kettle") == []


def test_only_changed_articles_are_read_again(desk: Desk, db: Database, folder: Path) -> None:
    make_articles(desk, folder, {f"{n}.md": _page(f"Page {n}", f"Text number {n}.") for n in range(5)})
    before = desk.index.refresh()
    make_articles(desk, folder, {"3.md": _page("Page 3", "Now it says something else.")})
    after = desk.index.refresh()
    assert len(before) == len(after) == 5
    assert desk.index.refresh() is after
    with db.read() as session:
        own = select(Passage.id, Vector.embedding).join(Vector, Vector.content_hash == Passage.content_hash)
        stored = dict(session.execute(own).all())
    assert after.ids.tolist() == sorted(stored)
    assert after.matrices is not None
    (matrix,) = after.matrices.values()
    assert all(vector.tobytes() == stored[int(id_)] for id_, vector in zip(after.ids, matrix, strict=True))


def test_vectors_of_another_model_are_not_compared(desk: Desk, db: Database, folder: Path) -> None:
    """Whoever cannot embed as the articles are searches by words and identifiers, and says so."""
    make_articles(desk, folder, {"kettle.md": KETTLE, "toaster.md": TOASTER})
    index = Index(db, Embedders(Embedder(HashEmbeddings(64), "hash-64")))
    assert _titles(index, "kettle") == ["Kettle"]
    assert [hit.similarity for hit in index.search("kettle")] == [0.0]
    assert index.search("something else") == []


def test_the_word_index_forgets_what_is_removed(desk: Desk, db: Database, folder: Path) -> None:
    make_articles(desk, folder, {"kettle.md": KETTLE, "toaster.md": TOASTER})
    with db.begin() as session:
        session.execute(delete(Article).where(Article.title == "Kettle"))
    with db.begin() as session:
        session.execute(text("INSERT INTO passages_fts(passages_fts) VALUES ('integrity-check')"))
        assert session.execute(text("SELECT count(*) FROM passages_fts_scope")).scalar_one() == 1
    assert _titles(desk.index, "vinegar kettle") == ["Toaster"]


def test_it_is_a_langchain_retriever(desk: Desk, folder: Path) -> None:
    make_articles(desk, folder, {"kettle.md": _page("Kettle", "Boil it.", product="kettle"), "toaster.md": TOASTER})
    retriever: BaseRetriever = desk.index.retriever(PUBLIC, limit=1)
    chain = retriever | RunnableLambda(lambda documents: documents[0].metadata["article_title"])
    assert chain.invoke("empty the crumbs tray") == "Toaster"
    found = retriever.invoke("Unplug", products=["kettle"])
    assert [type(document) for document in found] == [Document]


def test_preferring_a_product_never_widens_what_may_be_seen(desk: Desk, folder: Path) -> None:
    make_articles(desk, folder, {"a.md": _page("Secret", "Boil it.", product="kettle", visibility="internal")})
    assert desk.index.retriever(PUBLIC, limit=5).invoke("boil", products=["kettle"]) == []


def test_a_document_says_what_is_usual_for_the_query(desk: Desk, folder: Path) -> None:
    pages = {f"{n}.md": f"# Kettle {n}\n\nBoil the kettle.\n" for n in range(20)} | {
        "rare.md": "# Kettle\n\nVinegar.\n"
    }
    make_articles(desk, folder, pages)
    hits = desk.index.search("kettle with vinegar in zirconia")
    rarity = hits[0].document.metadata["rarity"]
    assert rarity["kettl"] < rarity["vinegar"] < rarity["zirconia"]
    mean, deviation, passages = hits[0].document.metadata["background"]
    assert passages == 21
    assert deviation > 0
    assert mean < hits[0].document.metadata["similarity"]
    assert all(hit.document.metadata["background"] == (mean, deviation, passages) for hit in hits)
