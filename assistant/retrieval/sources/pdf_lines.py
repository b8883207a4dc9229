"""Lines of a PDF page with their places and sizes, and what they are: headings, steps, table rows.

A PDF knows only where each character is. Lines are those of pdfium; cells are parts of a line with more than a word's
gap between them. Lengths are in points from the bottom left.
"""

from __future__ import annotations

import ctypes
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

# A gap of at least this many letter sizes separates cells, not words.
_CELL_GAP = 1.5
# A heading is at least this many times as large as the text.
HEADING_SIZE = 1.15
_HEADING_WORDS = 16
_BOLD_WORDS = 10
_BOLD = 600
ITEM = re.compile(r"^\s*(?:[•‣◦▪●■–*·]\s*|-\s+|\(?\d{1,3}[.)]\s+|[a-z][.)]\s+)(?=\S)")
_BULLET = re.compile(r"^\s*[•‣◦▪●■–*·-]\s*")
CAPTION = re.compile(r"^\s*(?:fig(?:ure|\.)?|abb(?:ildung|\.)?|image|picture|photo|illustration|bild)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Line:
    text: str
    size: float
    left: float
    right: float
    top: float
    bottom: float
    cells: tuple[str, ...] = ()
    is_bold: bool = False


def lines_of(textpage: Any) -> list[Line]:
    """The lines of a page in pdfium's reading order."""
    import pypdfium2.raw as c

    lines: list[Line] = []
    chars: list[tuple[str, float, float, float, float, int]] = []
    edges = c.FS_RECTF()
    for index in range(c.FPDFText_CountChars(textpage)):
        char = chr(c.FPDFText_GetUnicode(textpage, index))
        if char in "\r\n":
            lines += _line(textpage, chars)
            chars = []
        elif char.isspace() or char.isprintable():
            found = c.FPDFText_GetLooseCharBox(textpage, index, ctypes.byref(edges))
            if found and not char.isspace():
                chars.append((char, edges.left, edges.right, edges.top, edges.bottom, index))
            elif char.isspace() and chars:
                last = chars[-1]
                chars.append((" ", last[2], last[2], last[3], last[4], index))
    return lines + _line(textpage, chars)


def _line(textpage: Any, chars: list[tuple[str, float, float, float, float, int]]) -> list[Line]:
    solid = [char for char in chars if char[0] != " "]
    if not solid:
        return []
    size = median(char[3] - char[4] for char in solid)
    cells, previous = [""], None
    for char in chars:
        if char[0] != " ":
            if previous is not None and char[1] - previous[2] > _CELL_GAP * size:
                cells.append("")
            previous = char
        cells[-1] += char[0]
    parts = tuple(part for cell in cells if (part := " ".join(cell.split())))
    line = Line(
        text=" ".join(parts),
        size=size,
        left=min(char[1] for char in solid),
        right=max(char[2] for char in solid),
        top=max(char[3] for char in solid),
        bottom=min(char[4] for char in solid),
        cells=parts,
        is_bold=_is_bold(textpage, solid[0][5]) and _is_bold(textpage, solid[-1][5]),
    )
    return [line]


def _is_bold(textpage: Any, index: int) -> bool:
    import pypdfium2.raw as c

    if c.FPDFText_GetFontWeight(textpage, index) >= _BOLD:
        return True
    name, flags = ctypes.create_string_buffer(100), ctypes.c_int()
    c.FPDFText_GetFontInfo(textpage, index, name, len(name), ctypes.byref(flags))
    return b"bold" in name.value.lower()


def body_size(lines: Iterable[Line]) -> float:
    """The most common size of characters, in half points."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[round(2 * line.size) / 2] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 10.0


def without_running_heads(pages: Sequence[list[Line]]) -> list[list[Line]]:
    """The pages without lines that recur at the edges of most pages: headers, footers, page numbers."""
    edges: Counter[str] = Counter()
    for page in pages:
        edges.update({_edge_key(line) for line in _edge_lines(page)})
    running = {key for key, count in edges.items() if count >= max(3, len(pages) // 2)}
    return [
        [line for line in page if line not in _edge_lines(page) or _edge_key(line) not in running] for page in pages
    ]


def _edge_lines(page: list[Line]) -> list[Line]:
    by_height = sorted(page, key=lambda line: -line.top)
    return [*by_height[:2], *by_height[-2:]]


def _edge_key(line: Line) -> str:
    return re.sub(r"\d+", "#", line.text.lower())


def heading_levels(lines: Sequence[Line], body: float) -> dict[float, int]:
    """Sizes of headings (in half points) to levels from 1, largest first; at most 5 levels."""
    sizes: Counter[float] = Counter()
    for line in lines:
        if line.size >= HEADING_SIZE * body and is_short(line):
            sizes[round(2 * line.size) / 2] += 1
    return {size: min(level, 5) for level, size in enumerate(sorted(sizes, reverse=True), start=1)}


def is_short(line: Line, words: int = _HEADING_WORDS) -> bool:
    return len(line.text.split()) <= words and len(line.text) > 1 and any(char.isalpha() for char in line.text)


def is_bold_heading(line: Line, following: Line | None) -> bool:
    """Whether it is a short bold line above text that is not bold. List items and lead-ins do not count."""
    if not line.is_bold or not is_short(line, _BOLD_WORDS) or len(line.cells) > 1 or following is None:
        return False
    return not following.is_bold and not line.text.endswith((".", ",", ";", ":")) and not _BULLET.match(line.text)


def blocks_of(lines: Sequence[Line]) -> list[tuple[str, float]]:
    """Consecutive lines as paragraphs, lists and tables, each with the bottom of its last line."""
    blocks: list[tuple[str, float]] = []
    group: list[Line] = []
    for line in lines:
        if group and not _continues(group, line):
            blocks.append((_block(group), group[-1].bottom))
            group = []
        group.append(line)
    if group:
        blocks.append((_block(group), group[-1].bottom))
    return blocks


def _continues(group: list[Line], line: Line) -> bool:
    last = group[-1]
    if _is_row(last) != _is_row(line):
        # In a table, a cell of several lines continues on lines of its own, indented from the first cell.
        return _is_row(last) and len(group) > 1 and line.left > group[0].left + line.size and _gap(last, line) < 1.0
    if _is_row(line):
        return len(line.cells) == len(group[0].cells) and -1.0 < _gap(last, line) < 2.5
    in_list = ITEM.match(group[0].text) is not None
    if ITEM.match(line.text):
        return in_list and _gap(last, line) < 2.0
    if in_list and line.left < group[0].left + 0.5 * line.size and _gap(last, line) > 0.6:
        return False
    return -0.9 < _gap(last, line) < 0.9 and abs(last.size - line.size) < 0.15 * last.size


def _gap(above: Line, below: Line) -> float:
    """The gap between two lines, in sizes of the upper one. Below -1: another column, or the next page."""
    return (above.bottom - below.top) / max(above.size, 1.0)


def _is_row(line: Line) -> bool:
    return len(line.cells) > 1 and not ITEM.match(line.text)


def _block(group: list[Line]) -> str:
    if _is_row(group[0]):
        return _table(group) if len(group) > 1 else " ".join(group[0].cells)
    if ITEM.match(group[0].text):
        items: list[str] = []
        for line in group:
            if ITEM.match(line.text) or not items:
                items.append(_BULLET.sub("- ", line.text))
            else:
                items[-1] = _join(items[-1], line.text)
        return "\n".join(items)
    text = group[0].text
    for line in group[1:]:
        text = _join(text, line.text)
    return text


def _table(group: list[Line]) -> str:
    from assistant.retrieval.sources.tables import table_text

    rows: list[list[str]] = []
    for line in group:
        if len(line.cells) > 1 or not rows:
            rows.append(list(line.cells))
        else:
            rows[-1][-1] = _join(rows[-1][-1], line.text)
    return table_text(rows)


def _join(text: str, following: str) -> str:
    """Joins lines, and the word that was hyphenated at the end of the first."""
    if text.endswith("-") and len(text) > 1 and text[-2].isalpha() and following[:1].islower():
        return text[:-1] + following
    return f"{text} {following}"


def join_headings(lines: Sequence[Line]) -> Line:
    """The lines of one heading as one line."""
    return replace(lines[0], text=" ".join(line.text for line in lines), bottom=lines[-1].bottom)
