"""PDF files as they are laid out: tables stay tables, headings stay headings, columns are read one after the other."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from assistant.retrieval.sources.article import Outline, Reading
from assistant.retrieval.sources.pdf import read_pdf

_SENTENCES = (
    "Rinse the {} under running water and let it dry.",
    "Never put the {} into the dishwasher, because heat bends it.",
    "A worn {} is replaced by the service within two weeks.",
)
_WIDE = ("Code", "Meaning", "What to do")
_LONG = [
    (f"K-{n}", f"Sensor {n} of the lower housing has been reporting wrong values for some minutes",
     f"Switch the device off, wait ten minutes, clean sensor {n} with a dry cloth and switch it on again")
    for n in range(4)
]  # fmt: skip


def _pdf(draw: Callable[[Any], None], **options: Any) -> bytes:
    from fpdf import FPDF

    pdf = FPDF(**options)
    pdf.add_page()
    pdf.set_font("helvetica", size=11)
    draw(pdf)
    return bytes(pdf.output())


def _read(data: bytes, *, least: float = 0.97) -> Reading:
    """In this process, which `test_documents` does apart."""
    outline = Outline()
    reading = outline.reading(read_pdf(data, outline))
    if least:
        assert reading.coverage is not None
        assert reading.coverage.share >= least, reading.sections
    return reading


def _blocks(article: Reading) -> list[str]:
    return [block for section in article.sections for block in section.blocks]


def _rows(article: Reading) -> list[list[str]]:
    """The cells of all tables, without the lines below heads."""
    lines = [line for block in _blocks(article) if block.startswith("|") for line in block.split("\n")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|---")]


def _table(pdf: Any, rows: Sequence[Sequence[str]], **options: Any) -> None:
    with pdf.table(**options) as table:
        for cells in rows:
            row = table.row()
            for cell in cells:
                row.cell(cell)


# Tables


@pytest.mark.parametrize(
    ("layout", "align"),
    [
        *((layout, "T") for layout in ("MINIMAL", "NO_HORIZONTAL_LINES", "SINGLE_TOP_LINE", "NONE")),
        *((layout, align) for layout in ("ALL", "INTERNAL", "HORIZONTAL_LINES") for align in "TM"),
    ],
)
def test_a_row_with_long_cells_is_one_row(layout: str, align: str) -> None:
    padding = 0 if layout in ("ALL", "INTERNAL", "HORIZONTAL_LINES") else (2, 0)

    def draw(pdf: Any) -> None:
        pdf.write(text="These codes are shown:\n\n")
        _table(pdf, [_WIDE, *_LONG], borders_layout=layout, col_widths=(15, 70, 80), v_align=align, padding=padding)

    assert _rows(_read(_pdf(draw))) == [list(_WIDE), *map(list, _LONG)]


def test_rows_without_any_space_between_them_are_told_by_their_first_column() -> None:
    def draw(pdf: Any) -> None:
        _table(pdf, [_WIDE, *_LONG], borders_layout="NONE", col_widths=(15, 70, 80), v_align="T", gutter_width=4)

    assert _rows(_read(_pdf(draw))) == [list(_WIDE), *map(list, _LONG)]


_GAPS = [("Part", "Number", "Price"), ("Lid", "", "4 EUR"), ("", "P-77", "9 EUR"), ("Jug", "P-78", "")]


@pytest.mark.parametrize("layout", ["ALL", "NONE"])
def test_empty_cells_stay_empty(layout: str) -> None:
    article = _read(_pdf(lambda pdf: _table(pdf, _GAPS, borders_layout=layout)))
    assert _rows(article) == [list(row) for row in _GAPS]


def test_merged_cells_count_for_each_row_and_column() -> None:
    def draw(pdf: Any) -> None:
        with pdf.table() as table:
            for cells in (("Device", "Part", "Code"),):
                row = table.row()
                for cell in cells:
                    row.cell(cell)
            row = table.row()
            row.cell("Kettle", rowspan=2)
            row.cell("Lid")
            row.cell("E1")
            row = table.row()
            row.cell("Base")
            row.cell("E2")
            row = table.row()
            row.cell("Toaster")
            row.cell("none known", colspan=2)

    assert _rows(_read(_pdf(draw)))[1:] == [
        ["Kettle", "Lid", "E1"], ["Kettle", "Base", "E2"], ["Toaster", "none known", "none known"],
    ]  # fmt: skip


def test_a_table_over_two_pages_has_its_head_on_both() -> None:
    rows = [(f"F{n}", f"Fault number {n}", f"Press key {n}") for n in range(60)]
    article = _read(_pdf(lambda pdf: _table(pdf, [_WIDE, *rows])))
    assert [row for row in _rows(article) if row[0] != "Code"] == [list(row) for row in rows]
    tables = [block for block in _blocks(article) if block.startswith("|")]
    assert len(tables) > 1
    assert all(table.startswith("| Code | Meaning |") for table in tables)


def test_a_table_that_goes_on_without_its_head_gets_it_again() -> None:
    rows = [(f"F{n}", f"Fault number {n}", f"Press key {n}") for n in range(60)]
    article = _read(_pdf(lambda pdf: _table(pdf, [_WIDE, *rows], repeat_headings=0)))
    tables = [block for block in _blocks(article) if block.startswith("|")]
    assert len(tables) > 1
    assert all(table.startswith("| Code | Meaning |") for table in tables)


def test_striped_rows_are_a_table() -> None:
    def draw(pdf: Any) -> None:
        _table(pdf, [_WIDE, *_LONG], borders_layout="NONE", cell_fill_color=(224, 235, 255), cell_fill_mode="ROWS",
               col_widths=(15, 70, 80), v_align="T")  # fmt: skip

    assert _rows(_read(_pdf(draw))) == [list(_WIDE), *map(list, _LONG)]


def test_numbers_at_the_right_of_their_columns_are_a_table() -> None:
    rows = [("Program", "Minutes", "kWh"), ("Cotton 60", "142", "1.02"), ("Wool", "38", "0.2"), ("Quick", "9", "0.15")]
    data = _pdf(lambda pdf: _table(pdf, rows, borders_layout="NONE", text_align=("LEFT", "RIGHT", "RIGHT")))
    assert _rows(_read(data)) == [list(row) for row in rows]


def test_two_tables_below_each_other_stay_two() -> None:
    def draw(pdf: Any) -> None:
        _table(pdf, [("Code", "Meaning"), ("A1", "Lid open"), ("A2", "No water")])
        pdf.ln(8)
        _table(pdf, [("Part", "Number", "Price"), ("Lid", "P1", "4 EUR"), ("Jug", "P2", "9 EUR")])

    assert [len(row) for row in _rows(_read(_pdf(draw)))] == [2, 2, 2, 3, 3, 3]


def test_a_frame_around_a_warning_is_no_table() -> None:
    def draw(pdf: Any) -> None:
        pdf.multi_cell(0, 6, "Mind the steam. It leaves the lid at once and burns.", border=1)
        pdf.ln(4)
        pdf.multi_cell(0, 6, "Then fill the jug.")

    assert _blocks(_read(_pdf(draw))) == [
        "Mind the steam. It leaves the lid at once and burns.", "Then fill the jug.",
    ]  # fmt: skip


def test_text_between_and_around_tables_keeps_its_place() -> None:
    def draw(pdf: Any) -> None:
        pdf.multi_cell(0, 6, "Codes of the kettle:", new_x="LMARGIN", new_y="NEXT")
        _table(pdf, [("Code", "Meaning"), ("A1", "Lid open")])
        pdf.multi_cell(0, 6, "All other codes are the toaster's.", new_x="LMARGIN", new_y="NEXT")

    blocks = _blocks(_read(_pdf(draw)))
    assert [blocks[0], blocks[2]] == ["Codes of the kettle:", "All other codes are the toaster's."]
    assert blocks[1].endswith("| A1 | Lid open |")


# Headings and what looks like them


def _pages(*, head: Callable[[int], str] | None = None, foot: Callable[[int], str] | None = None,
           title: Callable[[int], str] | None = None, count: int = 6, title_size: float = 11,
           title_style: str = "", head_style: str = "") -> bytes:  # fmt: skip
    """Pages with a head, a title and a foot, by their number from 1."""
    from fpdf import FPDF

    pdf = FPDF()
    for number in range(1, count + 1):
        pdf.add_page()
        if head is not None:
            pdf.set_font("helvetica", head_style, 9)
            pdf.text(10, 8, head(number))
        pdf.set_y(20)
        if title is not None:
            pdf.set_font("helvetica", title_style, title_size)
            pdf.cell(0, 8, title(number), new_x="LMARGIN", new_y="NEXT")
        pdf.set_font("helvetica", size=11)
        pdf.multi_cell(0, 6, f"Cause {number} is rare. " + _SENTENCES[number % 3].format(f"part {number * 7}"))
        if foot is not None:
            pdf.set_font("helvetica", size=9)
            pdf.text(90, 290, foot(number))
    return bytes(pdf.output())


@pytest.mark.parametrize(
    ("title", "options"),
    [
        (lambda n: f"Error {n + 40}", {"title_style": "B"}),
        (lambda n: f"Error {n}", {"title_style": "B", "title_size": 14}),
        (lambda n: f"Step {n} of 6", {"title_size": 18}),
        (lambda n: f"E-{n:02} Water inlet", {}),
        (lambda n: f"Chapter {n}", {"title_size": 16}),
        (lambda n: f"Model T{n}", {}),
        (lambda n: f"{n}. Checking the hose", {"title_style": "B"}),
        (lambda n: f"Fault {100 + 10 * n}", {}),
    ],
)
def test_the_headings_of_pages_are_kept(title: Callable[[int], str], options: dict[str, Any]) -> None:
    text = str(_read(_pages(title=title, foot=str, **options)))
    assert [title(n) for n in range(1, 7) if title(n) not in text] == []


@pytest.mark.parametrize(
    "furniture",
    [
        lambda n: f"Page {n} of 6",
        lambda n: f"- {n} -",
        lambda n: f"WashPro 8 user manual {n}",
        lambda n: "Edition of 2024-05",
        lambda n: "Care" if n % 2 else "User manual",
        lambda n: f"{n} | User manual" if n % 2 else f"Care | {n}",
        lambda n: "Installation chapter" if n < 4 else "Repair chapter",
        lambda n: f"Seite {n + 12}",
    ],
)
@pytest.mark.parametrize("place", ["head", "foot"])
def test_what_recurs_at_the_edges_of_pages_is_left_out(furniture: Callable[[int], str], place: str) -> None:
    article = _read(_pages(**{place: furniture, "title": lambda n: f"Fault F{n * n}", "title_style": "B"}))
    text = "\n".join(_blocks(article)) + str([section.headings for section in article.sections])
    assert [n for n in range(1, 7) if furniture(n) in text] == []
    assert [n for n in range(1, 7) if f"Fault F{n * n}" not in text] == []


def test_a_large_head_of_every_page_is_said_once() -> None:
    article = _read(_pages(title=lambda _: "Troubleshooting", title_size=16))
    assert str((article.title, article.sections)).count("Troubleshooting") == 1


def test_the_outline_of_a_file_names_its_headings() -> None:
    def draw(pdf: Any) -> None:
        for name in ("Unpacking", "First use"):
            pdf.start_section(name)
            pdf.multi_cell(0, 6, name, new_x="LMARGIN", new_y="NEXT")
            pdf.multi_cell(0, 6, _SENTENCES[0].format("jug"), new_x="LMARGIN", new_y="NEXT")

    assert [section.headings for section in _read(_pdf(draw)).sections] == [("Unpacking",), ("First use",)]


def test_lines_of_a_table_of_contents_are_left_out() -> None:
    def draw(pdf: Any) -> None:
        for number, name in enumerate(("Unpacking", "First use", "Care", "Repair")):
            pdf.cell(0, 6, f"{name} {'.' * 40} {number + 2}", new_x="LMARGIN", new_y="NEXT")
        pdf.add_page()
        pdf.multi_cell(0, 6, _SENTENCES[0].format("jug"))

    assert _blocks(_read(_pdf(draw))) == [_SENTENCES[0].format("jug")]


# Reading order


def _text(name: str, *, count: int = 12) -> str:
    return " ".join(_SENTENCES[n % 3].format(f"{name} {n}") for n in range(count))


def _columns(pdf: Any, texts: Sequence[str], *, top: float = 40, by_row: bool = False, gap: float = 8) -> None:
    """Texts beside each other; ``by_row``: in the file, lines alternate between the columns."""
    width = (190 - gap * (len(texts) - 1)) / len(texts)
    lines = [pdf.multi_cell(width, 5, text, dry_run=True, output="LINES") for text in texts]
    places = [(row, column) for column in range(len(texts)) for row in range(len(lines[column]))]
    for row, column in sorted(places) if by_row else places:
        pdf.text(10 + column * (width + gap), top + row * 5, lines[column][row])


@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("gap", [5.0, 9.0])
def test_columns_are_read_one_after_the_other(by_row: bool, count: int, gap: float) -> None:
    texts = [_text(name) for name in ("filter", "pump", "drum")[:count]]
    article = _read(_pdf(lambda pdf: _columns(pdf, texts, by_row=by_row, gap=gap)))
    assert " ".join(_blocks(article)) == " ".join(texts)


def test_a_title_across_the_columns_and_a_note_below_them_keep_their_places() -> None:
    texts = [_text("filter"), _text("pump")]
    note = "This note on the warranty stands below both of the columns, across the whole width of the page."

    def draw(pdf: Any) -> None:
        pdf.set_font("helvetica", size=20)
        pdf.text(10, 25, "Care and repair of the washing machine at home")
        pdf.set_font("helvetica", size=11)
        _columns(pdf, texts, by_row=True)
        pdf.text(10, 250, note)

    article = _read(_pdf(draw))
    assert article.title == "Care and repair of the washing machine at home"
    assert " ".join(_blocks(article)) == " ".join([*texts, note])


def test_columns_of_different_length_end_where_they_end() -> None:
    texts = [_text("filter", count=20), _text("pump", count=6)]
    article = _read(_pdf(lambda pdf: _columns(pdf, texts, by_row=True)))
    assert " ".join(_blocks(article)) == " ".join(texts)


def test_the_order_in_the_file_does_not_matter() -> None:
    lines = [f"Line {n} of the care instructions is about part {n * 3}." for n in range(12)]

    def draw(pdf: Any) -> None:
        for number in random.Random(4).sample(range(12), 12):
            pdf.text(10, 30 + 5 * number, lines[number])

    assert _blocks(_read(_pdf(draw))) == [" ".join(lines)]


def test_words_placed_one_by_one_make_lines() -> None:
    text = "Hold the start key until the lamp blinks twice and then let it go at once"

    def draw(pdf: Any) -> None:
        x = 10.0
        for word in text.split():
            pdf.text(x, 30, word)
            x += pdf.get_string_width(word + " ")

    assert _blocks(_read(_pdf(draw))) == [text]


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_a_page_with_turned_text_is_read_upright(angle: int) -> None:
    lines = ["First unpack the jug and the lid.", "Then rinse both of them.", "At last fill the jug."]

    def draw(pdf: Any) -> None:
        for number, line in enumerate(lines):
            with pdf.rotation(angle, 105, 148):
                pdf.text(60, 100 + 5 * number, line)

    assert _blocks(_read(_pdf(draw))) == [" ".join(lines)]


@pytest.mark.parametrize(
    ("first", "second", "elsewhere", "said"),
    [
        ("Clean the wash-", "ing drum.", "", "Clean the washing drum."),
        (
            "Take an anti-",
            "limescale tablet.",
            "Use limescale tablets and anti frost.",
            "Take an anti-limescale tablet.",
        ),
        ("Order the part X-", "40 at once.", "", "Order the part X-40 at once."),
        ("Push the USB-", "C plug in.", "", "Push the USB-C plug in."),
        ("A long-", "life lamp.", "Our long-life lamps.", "A long-life lamp."),
        ("Das Wasch\u00ad", "mittelfach.", "", "Das Waschmittelfach."),
    ],
)
def test_hyphens_at_line_ends_are_kept_if_they_are_the_words_own(
    first: str, second: str, elsewhere: str, said: str
) -> None:
    def draw(pdf: Any) -> None:
        pdf.text(10, 30, first)
        pdf.text(10, 35, second)
        pdf.text(10, 60, elsewhere)

    assert _blocks(_read(_pdf(draw), least=0.8))[0] == said


def _with_font(pdf: Any) -> None:
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    pdf.add_font("dejavu", fname=folder / "DejaVuSans.ttf")
    pdf.set_font("dejavu", size=12)


@pytest.mark.parametrize("text", ["לחצו על הכפתור 5 פעמיים", "اضغط على الزر E5 مرتين", "כבו את המכשיר"])
def test_right_to_left_text_keeps_its_order(text: str) -> None:
    # As such files are made: the letters stand in their places, whatever their order in the file.
    shown = [word if word.isascii() else word[::-1] for word in reversed(text.split())]

    def draw(pdf: Any) -> None:
        _with_font(pdf)
        pdf.text(100, 30, " ".join(shown))

    assert _blocks(_read(_pdf(draw), least=0.0)) == [text]


def test_a_note_along_the_margin_is_kept_once() -> None:
    def draw(pdf: Any) -> None:
        for number in range(2):
            if number:
                pdf.add_page()
            with pdf.rotation(90, 200, 200):
                pdf.text(200, 200, "Art. 4711-22")
            pdf.multi_cell(170, 6, _text(f"jug {number}", count=3))

    assert _blocks(_read(_pdf(draw), least=0.9)) == [_text("jug 0", count=3), "Art. 4711-22", _text("jug 1", count=3)]


def test_ligatures_are_letters() -> None:
    def draw(pdf: Any) -> None:
        _with_font(pdf)
        pdf.text(10, 30, "The \ufb01lter of the co\ufb00ee maker")

    assert _blocks(_read(_pdf(draw))) == ["The filter of the coffee maker"]


def test_raised_digits_do_not_run_into_their_words() -> None:
    def draw(pdf: Any) -> None:
        pdf.write(text="A room of 20 m")
        pdf.char_vpos = "SUP"
        pdf.write(text="2")
        pdf.char_vpos = "LINE"
        pdf.write(text=" at most")

    assert _blocks(_read(_pdf(draw), least=0.5)) == ["A room of 20 m² at most"]


def test_links_stay_links_and_typed_notes_are_kept() -> None:
    def draw(pdf: Any) -> None:
        pdf.write(text="Read ")
        pdf.write(text="the guide", link="https://lumora.example/pair")
        pdf.write(text=" first.\n\n\n")
        pdf.free_text_annotation("Typed on the page", x=10, y=60, w=80, h=8)

    assert _blocks(_read(_pdf(draw), least=0.0)) == [
        "Read [the guide](https://lumora.example/pair) first.", "Typed on the page",
    ]  # fmt: skip


def test_a_file_that_only_forbids_changes_is_read() -> None:
    def draw(pdf: Any) -> None:
        pdf.set_encryption(owner_password="owner", user_password="")
        pdf.multi_cell(0, 6, "Fill the jug.")

    assert _blocks(_read(_pdf(draw))) == ["Fill the jug."]


def test_text_that_nobody_sees_is_left_out() -> None:
    def draw(pdf: Any) -> None:
        pdf.text(10, 30, "Fill the jug.")
        pdf.text(10, 900, "Below the page")
        pdf.set_font("helvetica", size=0.3)
        pdf.text(10, 40, "Too small to be seen")

    assert _blocks(_read(_pdf(draw), least=0.0)) == ["Fill the jug."]


def test_a_page_whose_letters_mean_nothing_is_looked_at() -> None:
    """A font without a map to letters: what is copied from it is another alphabet."""

    def draw(pdf: Any) -> None:
        text = "".join(chr(ord(char) - 29) if char.islower() else char for char in _text("pump"))
        pdf.multi_cell(0, 6, text)

    article = _read(_pdf(draw), least=0.0)
    assert _blocks(article) == []
    assert [picture.is_page for section in article.sections for picture in section.pictures] == [True]


def test_blocks_know_their_pages() -> None:
    article = _read(_pages(title=lambda n: f"Error E{n}", title_style="B", title_size=14))
    assert [section.pages for section in article.sections] == [(n,) for n in range(1, 7)]
