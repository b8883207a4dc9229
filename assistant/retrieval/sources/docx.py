"""Word files: headings by outline level, lists with their numbers, tables, pictures. Read in the sandbox; see
`apart`."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections import Counter
from functools import partial
from typing import Any

from assistant.errors import Invalid, TooLarge
from assistant.retrieval.sources.apart import to_json
from assistant.retrieval.sources.article import Outline, Picture
from assistant.retrieval.sources.page import table_text

_MOST_UNPACKED = 300_000_000
_MOST_PARTS = 5_000
_MOST_CHARS = 5_000_000
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}embed"
_BLIP = "{http://schemas.openxmlformats.org/drawingml/2006/main}blip"
_DESCRIPTION = "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}docPr"
_PROTECTED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # an OLE container: an old .doc, or a DOCX behind a password


def read(data: bytes) -> bytes:
    """What the sandbox runs."""
    return to_json(data, read_docx)


def read_docx(data: bytes, outline: Outline) -> str | None:
    """Fill the outline. Returns the title in the file's properties."""
    import docx

    _check(data)
    try:
        document = docx.Document(io.BytesIO(data))
    except Exception as error:  # python-docx raises all kinds of errors
        raise Invalid(f"is not a Word file, or is damaged ({type(error).__name__})") from error
    reader = _Reader(document, outline)
    for item in document.iter_inner_content():
        if hasattr(item, "rows"):
            reader.table(item)
        else:
            reader.paragraph(item)
    reader.end()
    return str(document.core_properties.title or "").strip() or None


def _check(data: bytes) -> None:
    """Refuse what is not a Word file or would unpack to far too much, before unpacking anything."""
    if data.startswith(_PROTECTED):
        raise Invalid("is an old .doc file or password-protected. Save it as DOCX without a password")
    try:
        parts = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        raise Invalid("is not a Word file, or is damaged") from error
    unpacked = sum(part.file_size for part in parts)
    if len(parts) > _MOST_PARTS or unpacked > _MOST_UNPACKED:
        raise TooLarge(f"would unpack to {unpacked / 1e6:,.0f} MB in {len(parts):,} parts", limit=_MOST_UNPACKED)


class _Reader:
    """Fills an outline. The paragraphs of one list become one block."""

    def __init__(self, document: Any, outline: Outline) -> None:
        self._document = document
        self._outline = outline
        self._items: list[str] = []
        self._list = ""
        self._counts: Counter[tuple[str, int]] = Counter()
        self._formats = _number_formats(document)
        self._chars = 0
        self._waiting: list[tuple[str, str, bytes]] = []  # pictures; their caption may be the next paragraph

    def paragraph(self, paragraph: Any) -> None:
        text = " ".join(paragraph.text.split())
        self._chars += len(text)
        if self._chars > _MOST_CHARS:
            raise TooLarge(f"has more than {_MOST_CHARS:,} characters. Split it", limit=_MOST_CHARS)
        style = _style_names(paragraph)
        self._add_waiting(text if "caption" in style and text else "")
        level = _heading_level(paragraph, style)
        if level is not None and text:
            self._end_list()
            self._outline.heading(level, text)
        elif text and (place := _list_place(paragraph)) is not None:
            self._item(text, *place)
        elif text:
            self._end_list()
            self._outline.block(text)
        self._pictures(paragraph)

    def table(self, table: Any) -> None:
        self._end_list()
        self._add_waiting("")
        rows: list[list[str]] = []
        for row in table.rows:
            cells: list[str] = []
            last: Any = None
            for cell in row.cells:
                if cell._tc is not last:  # a merged cell is listed once for each column it spans
                    cells.append(" ".join(cell.text.split()))
                last = cell._tc
            rows.append(cells)
            self._chars += sum(map(len, cells))
            if self._chars > _MOST_CHARS:
                raise TooLarge(f"has more than {_MOST_CHARS:,} characters. Split it", limit=_MOST_CHARS)
        self._outline.block(table_text(rows))
        for blip in table._tbl.iter(_BLIP):
            self._take_picture(blip, "")

    def end(self) -> None:
        self._end_list()
        self._add_waiting("")

    def _item(self, text: str, number_id: str, level: int) -> None:
        if level == 0 and number_id != self._list:
            self._end_list()
        if not self._items:
            self._counts.clear()
            self._list = number_id
        self._counts[(number_id, level)] += 1
        for deeper in range(level + 1, 9):
            self._counts.pop((number_id, deeper), None)
        is_bullet = self._formats.get((number_id, level), "bullet") == "bullet"
        mark = "- " if is_bullet else f"{self._counts[(number_id, level)]}. "
        self._items.append("   " * level + mark + text)

    def _end_list(self) -> None:
        if self._items:
            self._outline.block("\n".join(self._items))
            self._items = []

    def _pictures(self, paragraph: Any) -> None:
        for drawing in paragraph._p.iter(f"{_WORD}drawing"):
            described = next(drawing.iter(_DESCRIPTION), None)
            alt = (described.get("descr") or "") if described is not None else ""
            for blip in drawing.iter(_BLIP):
                self._take_picture(blip, " ".join(alt.split()))

    def _take_picture(self, blip: Any, alt: str) -> None:
        part = self._document.part.related_parts.get(blip.get(_RELATION) or "")
        if part is not None and hasattr(part, "blob"):
            self._end_list()
            self._waiting.append((hashlib.sha256(part.blob).hexdigest(), alt, part.blob))

    def _add_waiting(self, caption: str) -> None:
        for digest, alt, data in self._waiting:
            self._outline.picture(Picture(digest, 0, alt, caption, read=partial(bytes, data)))
        self._waiting = []


def _style_names(paragraph: Any) -> set[str]:
    """Names and ids of the paragraph's style and the styles it is based on, in lower case."""
    names: set[str] = set()
    style = paragraph.style
    for _ in range(20):
        if style is None:
            break
        names |= {str(style.name or "").lower(), str(style.style_id or "").lower()}
        style = style.base_style
    return names


def _heading_level(paragraph: Any, names: set[str]) -> int | None:
    """1 for the title and the top headings. The outline level tells in every language; style names are the fallback."""
    if "title" in names:
        return 1
    for element in _property_chain(paragraph):
        outline_level = element.find(f"{_WORD}outlineLvl")
        if outline_level is not None:
            level = int(outline_level.get(f"{_WORD}val", "9"))
            return level + 1 if level < 6 else None
    found = next((name for name in names if name.startswith("heading ") and name[8:].isdigit()), None)
    return min(int(found[8:]), 6) if found is not None else None


def _list_place(paragraph: Any) -> tuple[str, int] | None:
    """(list, level from 0) if the paragraph is a list item."""
    for element in _property_chain(paragraph):
        place = element.find(f"{_WORD}numPr")
        if place is not None:
            number, level = place.find(f"{_WORD}numId"), place.find(f"{_WORD}ilvl")
            number_id = number.get(f"{_WORD}val") if number is not None else None
            if number_id in (None, "0"):
                return None
            return str(number_id), min(int(level.get(f"{_WORD}val")), 8) if level is not None else 0
    return None


def _property_chain(paragraph: Any) -> list[Any]:
    """The paragraph's own properties, then its style's, then those of the styles it is based on."""
    chain = [paragraph._p.pPr]
    style = paragraph.style
    for _ in range(20):
        if style is None:
            break
        chain.append(style.element.pPr)
        style = style.base_style
    return [element for element in chain if element is not None]


def _number_formats(document: Any) -> dict[tuple[str, int], str]:
    """(list, level) to bullet, decimal, lowerLetter, …"""
    try:
        numbering = document.part.numbering_part.element
    except (KeyError, NotImplementedError, AttributeError):
        return {}
    abstract: dict[str, dict[int, str]] = {}
    for definition in numbering.iter(f"{_WORD}abstractNum"):
        levels = {}
        for level in definition.iter(f"{_WORD}lvl"):
            form = level.find(f"{_WORD}numFmt")
            if form is not None:
                levels[int(level.get(f"{_WORD}ilvl"))] = form.get(f"{_WORD}val")
        abstract[definition.get(f"{_WORD}abstractNumId")] = levels
    formats = {}
    for number in numbering.iter(f"{_WORD}num"):
        reference = number.find(f"{_WORD}abstractNumId")
        if reference is not None:
            for index, form in abstract.get(reference.get(f"{_WORD}val"), {}).items():
                formats[(number.get(f"{_WORD}numId"), index)] = form
    return formats
