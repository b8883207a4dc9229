"""The sample company holds together: its articles, taxonomy, tickets and photos fit each other."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assistant import sample
from assistant.engine.ocr import RapidOCR
from assistant.media.files import Upload
from assistant.media.photo import Limits, Photo, normalise
from assistant.media.quality import assess_quality
from assistant.ports import OCR
from assistant.retrieval.loaders import ArticleSource, load
from assistant.sample import photos
from assistant.skills.taxonomy import Taxonomy, load_taxonomy

FOLDER = sample.articles_dir().parent / "photos"


@pytest.fixture(scope="module")
def articles() -> list[ArticleSource]:
    loaded = load(sample.articles_dir())
    assert loaded.failed == []
    return loaded.articles


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy(sample.taxonomy_path())


@pytest.fixture(scope="module")
def reader() -> OCR:
    pytest.importorskip("rapidocr", reason="needs the extra demo")
    return RapidOCR()


def _text(article: ArticleSource) -> str:
    return "\n".join([article.title, *(block for section in article.sections for block in section.blocks)])


def test_every_article_is_of_useful_length_under_headings(articles: list[ArticleSource]) -> None:
    assert 16 <= len(articles) <= 40
    for article in articles:
        assert 100 <= len(_text(article).split()) <= 500, article.key
        assert len(article.sections) >= 2 or "|" in _text(article), article.key


def test_public_articles_have_an_address_of_their_own_and_internal_ones_none(articles: list[ArticleSource]) -> None:
    public = [article for article in articles if article.visibility == "public"]
    internal = [article for article in articles if article.visibility == "internal"]
    addresses = [article.url for article in public]
    assert len(internal) >= 2
    assert [article.url for article in internal] == [None] * len(internal)
    assert all(address and address.startswith("https://lumora.example/help/") for address in addresses)
    assert len(set(addresses)) == len(addresses)


def test_articles_name_only_products_of_the_taxonomy_and_leave_none_out(
    articles: list[ArticleSource], taxonomy: Taxonomy
) -> None:
    products = {product.key for product in taxonomy.products}
    assert {article.product for article in articles if article.product} == products


def test_there_are_articles_in_german(articles: list[ArticleSource]) -> None:
    assert {article.language for article in articles} == {"en", "de"}


def test_a_code_means_one_thing_within_a_product(articles: list[ArticleSource]) -> None:
    """The same code on two products is on purpose: the product decides."""
    rows = [
        (article.product, article.language, match.group(1))
        for article in articles
        for match in re.finditer(r"^\| ([A-Z]\d{1,2}) \|", _text(article), re.MULTILINE)
    ]
    assert len(rows) > 10
    assert len(set(rows)) == len(rows)
    assert {product for product, _, code in rows if code == "E21"} == {"brewmaster-300", "washpro-8"}


def test_every_category_has_enough_different_examples(taxonomy: Taxonomy) -> None:
    examples = [example for category in taxonomy.categories for example in category.examples]
    assert len({example.casefold() for example in examples}) == len(examples)
    assert all(6 <= len(category.examples) <= 10 for category in taxonomy.categories)
    assert all(category.description and category.team for category in taxonomy.categories)


def test_no_two_products_go_by_the_same_name(taxonomy: Taxonomy) -> None:
    names = [name.casefold() for product in taxonomy.products for name in (product.name, *product.aliases)]
    assert len(set(names)) == len(names)
    for product in taxonomy.products:
        for name in (product.name, *product.aliases):
            assert taxonomy.products_in(f"My {name} is broken.") == [product.key]


def test_every_ticket_has_its_photos_and_every_photo_its_ticket() -> None:
    tickets = sample.demo_tickets()
    used = [photo for ticket in tickets for photo in ticket.photos]
    assert all(photo.is_file() for photo in used)
    assert sorted(used) == sorted(FOLDER.iterdir())
    assert all(ticket.requester_email.endswith("@example.org") and ticket.subject and ticket.text for ticket in tickets)


def test_the_photos_are_small_and_good() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 1_000_000
    for file in FOLDER.iterdir():
        photo = normalise(Upload(file.name, None, file.read_bytes()), Limits())
        assert isinstance(photo, Photo)
        assert assess_quality(photo.data)[0] == "good", file.name


@pytest.mark.slow
def test_the_photos_are_those_that_the_program_draws(tmp_path: Path) -> None:
    """Compared as pixels at a tenth of their size: fonts and encoders differ a little between machines."""
    photos.main(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(file.name for file in FOLDER.iterdir())
    for file in tmp_path.iterdir():
        drawn, kept = (
            np.asarray(Image.open(path).convert("RGB").resize((120, 90), Image.Resampling.BOX), dtype=np.float32)
            for path in (file, FOLDER / file.name)
        )
        assert np.abs(drawn - kept).mean() < 1.5, file.name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("coffee-machine-e21.jpg", {"E21", "BrewMaster 300"}),
        ("washer-e41.jpg", {"E41", "WashPro 8"}),
        ("update-dialog.png", {"0x80A4"}),
        ("robot-label.jpg", {"DP40718256", "DustPilot R7"}),
        ("receipt.jpg", {"LM-2051877", "91.50", "SteamGlide 2"}),
        ("damaged-box.jpg", {"LM-2048113"}),
        ("hub-lights.jpg", {"HomeLink X1"}),
    ],
)
def test_what_matters_in_each_photo_can_be_read(reader: OCR, name: str, expected: set[str]) -> None:
    photo = normalise(Upload(name, None, (FOLDER / name).read_bytes()), Limits())
    read = "\n".join(line.text for line in reader.read(photo.data))
    assert {text for text in expected if text not in read} == set()
