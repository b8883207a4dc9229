"""Word files as people write them: nothing that a reader sees is lost, and nothing is there twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from assistant.retrieval.loaders import load
from assistant.retrieval.sources.article import Outline, Reading
from assistant.retrieval.sources.docx import read_docx
from tests.documents import make_word_xml, word_paragraph, word_run, word_table

_BOX = "<w:txbxContent><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:txbxContent>"


def _read(data: bytes) -> Reading:
    """In this process, which `test_documents` does apart."""
    outline = Outline()
    reading = outline.reading(read_docx(data, outline))
    assert reading.coverage is not None
    assert reading.coverage.share > 0.97, reading.sections
    return reading


def _blocks(body: str, parts: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    reading = _read(make_word_xml(body, parts=parts))
    return [block for section in reading.sections for block in section.blocks]


def _field(code: str, result: str) -> str:
    mark = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'
    return (
        mark.format("begin")
        + f'<w:r><w:instrText xml:space="preserve"> {code} </w:instrText></w:r>'
        + mark.format("separate")
        + word_run(result)
        + mark.format("end")
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (  # within a word, by several people
            word_paragraph(word_run("Descale every ") + "<w:del><w:r><w:delText>si</w:delText></w:r></w:del>"
                           "<w:ins w:author='b'>" + word_run("ni") + "</w:ins>" + word_run("ne weeks.")),
            ["Descale every nine weeks."],
        ),
        (  # inserted and deleted again
            word_paragraph("<w:ins><w:del><w:r><w:delText>no</w:delText></w:r></w:del></w:ins>" + word_run("Wait.")),
            ["Wait."],
        ),
        (  # moved down
            word_paragraph("<w:moveFrom>" + word_run("Open the valve.") + "</w:moveFrom>")
            + word_paragraph("Close the door.")
            + word_paragraph("<w:moveTo>" + word_run("Open the valve.") + "</w:moveTo>"),
            ["Close the door.", "Open the valve."],
        ),
        (  # the mark between two paragraphs was deleted
            word_paragraph("Press the red ", "<w:rPr><w:del w:author='a'/></w:rPr>") + word_paragraph("button twice."),
            ["Press the red button twice."],
        ),
        (  # a deleted row
            "<w:tbl><w:tr><w:tc>" + word_paragraph("Code") + "</w:tc><w:tc>" + word_paragraph("Meaning")
            + "</w:tc></w:tr><w:tr><w:trPr><w:del w:author='a'/></w:trPr><w:tc>"
            + word_paragraph("<w:del><w:r><w:delText>K1</w:delText></w:r></w:del>") + "</w:tc><w:tc>"
            + word_paragraph("<w:del><w:r><w:delText>gone</w:delText></w:r></w:del>")
            + "</w:tc></w:tr><w:tr><w:trPr><w:ins w:author='a'/></w:trPr><w:tc>"
            + word_paragraph("<w:ins>" + word_run("K2") + "</w:ins>") + "</w:tc><w:tc>"
            + word_paragraph("<w:ins>" + word_run("Door open") + "</w:ins>") + "</w:tc></w:tr></w:tbl>",
            ["| Code | Meaning |\n|---|---|\n| K2 | Door open |"],
        ),
        (  # a list item that was one before the change, and is none now
            word_paragraph("Plain now.", "<w:pPrChange><w:pPr><w:numPr><w:numId w:val='3'/></w:numPr></w:pPr>"
                           "</w:pPrChange>"),
            ["Plain now."],
        ),
    ],
    ids=["word", "taken back", "moved", "mark", "row", "former list"],
)  # fmt: skip
def test_changes_are_read_as_if_accepted(body: str, said: list[str]) -> None:
    assert _blocks(body) == said


@pytest.mark.parametrize(
    "box",
    [
        "<w:r><mc:AlternateContent><mc:Choice Requires='wps'><w:drawing><wps:wsp><wps:txbx>{box}</wps:txbx></wps:wsp>"
        "</w:drawing></mc:Choice><mc:Fallback><w:pict><v:shape><v:textbox>{box}</v:textbox></v:shape></w:pict>"
        "</mc:Fallback></mc:AlternateContent></w:r>",
        "<w:r><w:pict><v:shape><v:textbox>{box}</v:textbox></v:shape></w:pict></w:r>",
        "<w:r><w:pict><v:group><v:shape><v:textbox>{box}</v:textbox></v:shape></v:group></w:pict></w:r>",
        "<w:r><mc:AlternateContent><mc:Fallback><w:pict><v:shape><v:textbox>{box}</v:textbox></v:shape></w:pict>"
        "</mc:Fallback></mc:AlternateContent></w:r>",
        "<w:ins><w:r><w:drawing><wps:wsp><wps:txbx>{box}</wps:txbx></wps:wsp></w:drawing></w:r></w:ins>",
    ],
    ids=["both forms", "old", "group", "only the old form", "inserted"],
)
def test_a_text_box_is_there_once_after_its_paragraph(box: str) -> None:
    anchored = word_run("Mind the blade.") + box.replace("{box}", _BOX.format(text="It is sharp."))
    body = word_paragraph(anchored) + word_paragraph("Rinse it.")
    assert _blocks(body) == ["Mind the blade.", "It is sharp.", "Rinse it."]


def test_a_text_box_in_a_cell_and_one_in_a_text_box_are_kept() -> None:
    inner = word_paragraph(word_run("Inner") + "<w:r><w:pict><v:textbox>" + _BOX.format(text="Innermost")
                           + "</v:textbox></w:pict></w:r>")  # fmt: skip
    boxed = f"<w:r><w:pict><v:textbox><w:txbxContent>{inner}</w:txbxContent></v:textbox></w:pict></w:r>"
    table = word_table(("Part", "Note"), ("Lid", word_paragraph(word_run("hot") + boxed)))
    assert _blocks(table)[0].endswith("| Lid | hot Inner Innermost |")
    assert _blocks(word_paragraph(boxed)) == ["Inner", "Innermost"]


def test_content_controls_are_kept_and_their_prompts_are_not() -> None:
    control = "<w:sdt><w:sdtPr>{}</w:sdtPr><w:sdtContent>{}</w:sdtContent></w:sdt>"
    body = (
        control.format("", word_paragraph("A block of its own."))
        + word_paragraph(word_run("Serial ") + control.format("<w:dropDownList/>", word_run("S-77")) + word_run("."))
        + word_paragraph(control.format("<w:showingPlcHdr/>", word_run("Click here to enter text.")) + word_run("End."))
        + control.format("", word_table(("Code", "Cause"), ("P9", "Pump")))
    )
    assert _blocks(body) == [
        "A block of its own.", "Serial S-77.", "End.", "| Code | Cause |\n|---|---|\n| P9 | Pump |",
    ]  # fmt: skip


def test_a_merged_cell_counts_for_each_row_and_column() -> None:
    start = "<w:tcPr><w:vMerge w:val='restart'/></w:tcPr>" + word_paragraph("Kettle")
    more = "<w:tcPr><w:vMerge/></w:tcPr><w:p/>"
    wide = "<w:tcPr><w:gridSpan w:val='2'/></w:tcPr>" + word_paragraph("2 years")
    table = word_table(
        ("Device", "Part", "Heater", "Lid"), (start, "Steel", "E1", "E2"), (more, "Glass", "E3", "E4"),
        ("Toaster", "All", wide),
    )  # fmt: skip
    assert _blocks(table)[0].split("\n")[2:] == [
        "| Kettle | Steel | E1 | E2 |", "| Kettle | Glass | E3 | E4 |", "| Toaster | All | 2 years | 2 years |",
    ]  # fmt: skip


def test_a_row_across_the_table_stands_above_its_own_rows_and_their_head() -> None:
    def across(text: str) -> tuple[str]:
        return (f"<w:tcPr><w:gridSpan w:val='2'/></w:tcPr>{word_paragraph(text)}",)

    table = word_table(("Code", "Meaning"), across("Dryers"), ("E1", "Filter"), across("Washers"), ("E1", "Water"))
    head = "| Code | Meaning |\n|---|---|\n"
    assert _blocks(table) == ["Dryers", f"{head}| E1 | Filter |", "Washers", f"{head}| E1 | Water |"]


def test_a_nested_table_and_a_frame_of_one_cell_are_kept() -> None:
    nested = word_table(("60 °C", "cotton"), ("30 °C", "wool"))
    table = word_table(("Program", "Use"), ("P1", word_paragraph("See:") + nested + word_paragraph("")))
    assert _blocks(table)[0].endswith("| P1 | See: 60 °C, cotton; 30 °C, wool |")
    assert _blocks(word_table((word_paragraph("Warning") + word_paragraph("Hot steam."),))) == [
        "Warning", "Hot steam.",
    ]  # fmt: skip


def _level(index: int, form: str, text: str, start: int = 1) -> str:
    inner = f"<w:start w:val='{start}'/><w:numFmt w:val='{form}'/><w:lvlText w:val='{text}'/>"
    return f"<w:lvl w:ilvl='{index}'>{inner}</w:lvl>"


_NUMBERING = (
    "<w:abstractNum w:abstractNumId='0'>" + _level(0, "decimal", "%1.") + _level(1, "lowerLetter", "%2)")
    + _level(2, "lowerRoman", "(%3)") + "</w:abstractNum>"
    "<w:abstractNum w:abstractNumId='1'>" + _level(0, "decimal", "%1", 3) + _level(1, "decimal", "%1.%2")
    + "</w:abstractNum>"
    "<w:abstractNum w:abstractNumId='2'>" + _level(0, "bullet", "") + "</w:abstractNum>"
    "<w:num w:numId='1'><w:abstractNumId w:val='0'/></w:num><w:num w:numId='2'><w:abstractNumId w:val='1'/></w:num>"
    "<w:num w:numId='3'><w:abstractNumId w:val='2'/></w:num>"
    "<w:num w:numId='4'><w:abstractNumId w:val='0'/><w:lvlOverride w:ilvl='0'><w:startOverride w:val='1'/>"
    "</w:lvlOverride></w:num>"
)  # fmt: skip


def _item(text: str, number: int, level: int = 0, more: str = "") -> str:
    place = f"<w:numPr><w:ilvl w:val='{level}'/><w:numId w:val='{number}'/></w:numPr>"
    return word_paragraph(text, place + more)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([("Open", 1, 0), ("Left", 1, 1), ("Right", 1, 1), ("Close", 1, 0), ("Up", 1, 1)],
         ["1. Open\n   a) Left\n   b) Right\n2. Close\n   a) Up"]),
        ([("Deep", 1, 2)], ["      (i) Deep"]),
        ([("Three", 2, 0), ("Part", 2, 1), ("Part", 2, 1)], ["3 Three\n   3.1 Part\n   3.2 Part"]),
        ([("Dry", 3, 0), ("Clean", 3, 0)], ["- Dry\n- Clean"]),
        ([("One", 1, 0), ("Two", 1, 0), ("Again", 4, 0)], ["1. One\n2. Two", "1. Again"]),
    ],
    ids=["letters", "roman", "start and levels", "bullets", "restart"],
)  # fmt: skip
def test_items_have_the_numbers_that_are_shown(items: list[tuple[str, int, int]], said: list[str]) -> None:
    blocks = _blocks("".join(_item(*item) for item in items), parts={"numbering": _NUMBERING})
    assert [block.strip() for block in blocks] == [block.strip() for block in said]


def test_a_list_counts_on_after_a_paragraph_between_its_items() -> None:
    body = _item("Unplug it.", 1) + word_paragraph("Wait.") + _item("Open it.", 1)
    assert _blocks(body, parts={"numbering": _NUMBERING}) == ["1. Unplug it.", "Wait.", "2. Open it."]


def test_headings_are_told_by_inherited_outline_levels_and_keep_their_numbers() -> None:
    styles = (
        "<w:style w:type='paragraph' w:styleId='Kapitel'><w:name w:val='Kapitel'/><w:pPr><w:outlineLvl w:val='1'/>"
        "</w:pPr></w:style><w:style w:type='paragraph' w:styleId='Firma'><w:name w:val='Firma'/>"
        "<w:basedOn w:val='Kapitel'/></w:style>"
    )
    body = word_paragraph("Descaling", "<w:pStyle w:val='Firma'/>") + word_paragraph("Use vinegar.")
    body += _item("Repair", 2, more="<w:outlineLvl w:val='1'/>") + word_paragraph("Call us.")
    article = _read(make_word_xml(body, parts={"styles": styles, "numbering": _NUMBERING}))
    assert [(section.headings, section.blocks) for section in article.sections] == [
        (("Descaling",), ("Use vinegar.",)), (("3 Repair",), ("Call us.",)),
    ]  # fmt: skip


def test_notes_follow_their_paragraph_and_headers_and_footers_are_kept_once() -> None:
    note = "<w:r><w:footnoteReference w:id='2'/></w:r>"
    section = (
        "<w:sectPr><w:headerReference w:type='default' r:id='header'/><w:footerReference r:id='footer'/></w:sectPr>"
    )
    body = word_paragraph(word_run("It lasts 3 years.") + note) + word_paragraph("Clean it.")
    blocks = _blocks(
        body + word_paragraph("", section) + section,
        {"footnotes": "<w:footnote w:id='0' w:type='separator'><w:p/></w:footnote><w:footnote w:id='2'>"
        + word_paragraph("Only with a receipt.") + "</w:footnote>",
         "header": word_paragraph("Hotline 0800 555 0199"),
         "footer": word_paragraph(word_run("Page ") + _field("PAGE", "3"))},
    )  # fmt: skip
    assert blocks == ["It lasts 3 years.", "Only with a receipt.", "Clean it.", "Hotline 0800 555 0199"]


def test_fields_say_their_result_and_a_table_of_contents_is_left_out() -> None:
    mark = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'
    contents = (
        word_paragraph(mark.format("begin") + "<w:r><w:instrText>TOC \\o</w:instrText></w:r>" + mark.format("separate")
                       + word_run("Care 3"))
        + word_paragraph(word_run("Repair ") + _field("PAGEREF x", "4")) + word_paragraph(mark.format("end"))
    )  # fmt: skip
    body = contents + word_paragraph(word_run("See chapter ") + _field("REF _Ref1 \\h", "4.2") + word_run("."))
    body += word_paragraph('<w:fldSimple w:instr="SEQ Figure">' + word_run("Figure 7") + "</w:fldSimple>")
    assert _blocks(body) == ["See chapter 4.2.", "Figure 7"]


def test_links_stay_links() -> None:
    address = "https://lumora.example/pair"
    body = word_paragraph(word_run("Read ") + "<w:hyperlink r:id='link0'>" + word_run("the guide") + "</w:hyperlink>.")
    body += word_paragraph(_field(f'HYPERLINK "{address}"', "this page"))
    body += word_paragraph("<w:hyperlink r:id='link0'>" + word_run(address) + "</w:hyperlink>")
    body += word_paragraph("<w:hyperlink w:anchor='x'>" + word_run("chapter 2") + "</w:hyperlink>")
    article = _read(make_word_xml(body, links=[address]))
    assert article.sections[0].blocks == (
        f"Read [the guide]({address})", f"[this page]({address})", address, "chapter 2",
    )  # fmt: skip


def test_symbols_hyphens_hidden_text_and_formulas_read_as_they_look() -> None:
    body = word_paragraph("<w:r><w:sym w:font='Wingdings' w:char='F0FC'/></w:r>" + word_run(" done at 90")
                          + "<w:r><w:sym w:font='Symbol' w:char='F0B0'/></w:r>" + word_run("C"))  # fmt: skip
    body += word_paragraph(
        "<w:r><w:t>Wasch</w:t><w:softHyphen/><w:t>mittel\u00adfach X</w:t><w:noBreakHyphen/><w:t>1</w:t></w:r>"
    )
    body += word_paragraph(word_run("secret ", "<w:vanish/>") + word_run("shown", "<w:vanish w:val='0'/>"))
    body += word_paragraph("<m:oMath><m:f><m:num><m:r><m:t>1</m:t></m:r></m:num><m:den><m:r><m:t>2</m:t></m:r></m:den>"
                           "</m:f></m:oMath>" + word_run(" litre"))  # fmt: skip
    assert _blocks(body) == ["✓ done at 90°C", "Waschmittelfach X-1", "shown", "1/2 litre"]


def test_right_to_left_text_keeps_its_order() -> None:
    text = "اضغط على الزر E5 مرتين"
    runs = "".join(word_run(f"{word} ", "<w:rtl/>") for word in text.split())
    assert _blocks(word_paragraph(runs, "<w:bidi/>")) == [text]


@pytest.mark.parametrize(
    ("name", "kind", "strict"),
    [
        ("a.docm", "document.macroEnabled.main", False),
        ("a.dotx", "template.main", False),
        ("a.docx", "document.main", True),
    ],
)
def test_templates_files_with_macros_and_the_strict_standard_are_read(
    tmp_path: Path, name: str, kind: str, strict: bool
) -> None:
    (tmp_path / name).write_bytes(make_word_xml(word_paragraph("Hold the key."), kind=kind, strict=strict))
    [article] = load(tmp_path / name).articles
    assert article.sections[0].blocks == ("Hold the key.",)


def test_comments_are_no_part_of_the_text() -> None:
    body = word_paragraph("<w:commentRangeStart w:id='0'/>" + word_run("Turn it.") + "<w:commentRangeEnd w:id='0'/>"
                          "<w:r><w:commentReference w:id='0'/></w:r>")  # fmt: skip
    assert _blocks(body, {"comments": word_paragraph("Is this right?")}) == ["Turn it."]
