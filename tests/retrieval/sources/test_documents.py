"""PDF and Word files: what is read in them, and what is refused, in a process of its own."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from assistant.errors import AssistantError
from assistant.retrieval.loaders import ArticleSource, Picture, load
from assistant.retrieval.sources import apart
from tests.documents import make_docx, make_manual, make_pdf
from tests.factories import make_photo


def _load(tmp_path: Path, name: str, data: bytes) -> ArticleSource:
    (tmp_path / name).write_bytes(data)
    loaded = load(tmp_path / name)
    assert loaded.failed == []
    return loaded.articles[0]


def _refusal(tmp_path: Path, name: str, data: bytes) -> str:
    (tmp_path / name).write_bytes(data)
    loaded = load(tmp_path / name)
    assert loaded.articles == []
    assert loaded.doubtful == {name}
    return loaded.failed[0][1]


def _sections(article: ArticleSource) -> dict[tuple[str, ...], tuple[str, ...]]:
    return {section.headings: section.blocks for section in article.sections}


def _pictures(article: ArticleSource) -> list[Picture]:
    return [picture for section in article.sections for picture in section.pictures]


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> ArticleSource:
    return _load(tmp_path_factory.mktemp("pdf"), "manual.pdf", make_manual())


def test_a_pdf_gives_its_title_and_its_text_under_its_headings(manual: ArticleSource) -> None:
    assert manual.title == "WashPro 8 Washing Machine"
    assert list(_sections(manual)) == [
        (),
        ("Error codes",),
        ("Error codes", "Clean the filter"),
        ("Care",),
        ("Contact",),
    ]


def test_lines_of_a_paragraph_are_joined_and_running_heads_left_out(manual: ArticleSource) -> None:
    assert _sections(manual)[()] == (" ".join(["Thank you for choosing this machine."] * 8),)
    text = repr(manual.sections)
    assert "User manual" not in text
    assert "Page 2" not in text


def test_a_table_of_a_pdf_is_a_table_and_its_steps_are_a_list(manual: ArticleSource) -> None:
    assert _sections(manual)[("Error codes",)][1] == (
        "| Code | Meaning | What to do |\n|---|---|---|\n| F1 | No water | Open the tap |\n"
        "| F2 | Pump blocked | Clean the filter |"
    )
    steps = _sections(manual)[("Error codes", "Clean the filter")][1]
    assert [line[:2] for line in steps.splitlines()] == ["1.", "2.", "3."]
    assert "it has cooled down" in steps.splitlines()[0]  # a step of two lines


def test_a_picture_of_a_pdf_has_its_caption_and_the_text_before_it(manual: ArticleSource) -> None:
    figure = next(picture for picture in _pictures(manual) if not picture.is_page)
    assert figure.caption == "Figure 1: The filter behind the flap"
    assert "Turn the filter" in figure.nearby
    with Image.open(io.BytesIO(figure.read())) as image:
        assert min(image.size) > 150


def test_a_page_without_text_is_a_picture_to_be_read(manual: ArticleSource) -> None:
    assert [picture.caption for picture in _pictures(manual) if picture.is_page] == ["Page 3"]


def test_headings_are_guessed_by_their_size_where_there_is_no_table_of_contents(tmp_path: Path) -> None:
    data = make_pdf([("Kettle K1", 24), ("Body text. " * 20, 11), ("Descaling", 15), ("Use vinegar. " * 10, 11)])
    article = _load(tmp_path, "k1.pdf", data)
    assert article.title == "Kettle K1"
    assert list(_sections(article)) == [(), ("Descaling",)]


def test_chapters_of_one_size_are_no_title(tmp_path: Path) -> None:
    data = make_pdf([("First", 18), ("Text. " * 30, 11), ("Second", 18), ("More. " * 30, 11)])
    article = _load(tmp_path, "handbook-of-pumps.pdf", data)
    assert article.title == "handbook of pumps"
    assert list(_sections(article)) == [("First",), ("Second",)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is not a PDF"),
        (b"%PDF-1.7\nbroken", "is not a PDF"),
        (make_manual()[:3000], "is not a PDF"),
        (make_pdf([("Secret", 12)], password="x"), "is password-protected"),
    ],
)
def test_a_broken_or_protected_pdf_is_refused_with_its_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    assert _refusal(tmp_path, "a.pdf", data).startswith(reason)


def test_a_pdf_of_too_many_pages_is_refused(tmp_path: Path) -> None:
    assert "has 1,501 pages" in _refusal(tmp_path, "long.pdf", make_pdf([], pages=1501))


def test_a_reader_that_takes_too_long_or_crashes_costs_one_file() -> None:
    with pytest.raises(AssistantError, match="takes longer than"):
        apart.read_apart("pdf", make_manual(), seconds=0.01)
    with pytest.raises(AssistantError, match="cannot be read"):
        apart.read_apart("no_such_reader", b"")


@pytest.fixture(scope="module")
def word_file(tmp_path_factory: pytest.TempPathFactory) -> ArticleSource:
    return _load(tmp_path_factory.mktemp("docx"), "manual.docx", make_docx(make_photo("PUMP", kind="PNG")))


def test_a_word_file_gives_headings_tables_and_lists(word_file: ArticleSource) -> None:
    assert word_file.title == "WashPro 8"
    assert _sections(word_file) == {
        (): ("Intro text.",),
        ("Error codes",): ("| Code | Meaning |\n|---|---|\n| F1 | No water |",),
        ("Error codes", "Steps"): (
            "Do this:",
            "1. Open\n2. Turn\n3. Close",
            "- Dry\n- Clean",
            "Figure 1: The pump",
        ),
    }


def test_a_picture_of_a_word_file_has_its_caption(word_file: ArticleSource) -> None:
    [picture] = _pictures(word_file)
    assert (picture.caption, picture.after) == ("Figure 1: The pump", 3)
    assert picture.read().startswith(b"\x89PNG")


def test_what_is_no_word_file_is_refused_with_its_reason(tmp_path: Path) -> None:
    assert _refusal(tmp_path, "a.docx", b"PK\x03\x04 broken") == "is not a Word file, or is damaged"
    assert "old .doc file" in _refusal(tmp_path, "b.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("hello.txt", "hello")
    assert "is not a Word file" in _refusal(tmp_path, "c.docx", empty.getvalue())


def test_a_word_file_that_unpacks_to_gigabytes_is_refused_unopened(tmp_path: Path) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("word/document.xml", "w") as part:
        for _ in range(320):
            part.write(bytes(1_000_000))
    assert "would unpack to 320 MB" in _refusal(tmp_path, "bomb.docx", bomb.getvalue())
