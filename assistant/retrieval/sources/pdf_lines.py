"""Lines of a PDF page with their places and sizes, and what they are: headings, running heads, steps, tables.

Lengths are in points from the bottom left.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assistant.retrieval.sources.pdf_layout import Piece, Row, in_reading_order, pieces_of, rows_of
from assistant.retrieval.sources.pdf_page import PageText, is_bold
from assistant.retrieval.sources.pdf_tables import aligned_tables, ruled_tables
from assistant.retrieval.sources.pdf_words import Words

# A heading is at least this many times as large as the text.
HEADING_SIZE = 1.15
_HEADING_WORDS = 16
_BOLD_WORDS = 10
ITEM = re.compile(r"^\s*(?:[•‣◦▪●■–*·]\s*|-\s+|\(?\d{1,3}[.)]\s+|[a-z][.)]\s+)(?=\S)")
_MARK = re.compile(r"(?:[•‣◦▪●■–*·-]|\(?\d{1,3}[.)]|[a-z][.)])")
_BULLET = re.compile(r"^\s*[•‣◦▪●■–*·-]\s*")
_LISTED = re.compile(r"(?:\. ?){4}\s*\d+$")  # a line of a table of contents
CAPTION = re.compile(r"^\s*(?:fig(?:ure|\.)?|abb(?:ildung|\.)?|image|picture|photo|illustration|bild)\b", re.IGNORECASE)
# Page numbers differ from the number of the page in the file by no more than this.
_MOST_OFFSET = 20
_NUMBER = re.compile(r"(?<![\w.,-])\d{1,4}(?![\w,-]|\.\d)")


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
    blocks: tuple[str, ...] = ()  # of a table; its text is empty
    is_aside: bool = False  # turned otherwise than the page, as in a margin


def lines_of(page: PageText, textpage: Any, words: Words) -> list[Line]:
    """The lines of a page in reading order, and tables as one."""
    tables, rest = ruled_tables(page.rules, page.glyphs, words)
    lines: list[Line] = []
    for group in in_reading_order([*pieces_of(rest), *tables]):
        lines += [_line(row, textpage) for row in aligned_tables([*map(_with_mark, rows_of(group))], page.rules, words)]
    lowest = min((line.bottom for line in lines), default=0.0)
    return [*lines, *(Line("", 0.0, 0.0, 0.0, lowest, lowest, blocks=(text,), is_aside=True) for text in page.aside)]


def _with_mark(row: Row) -> Row:
    """A row whose first piece, the mark of a list item, belongs to the second."""
    if len(row) > 1 and _MARK.fullmatch(row[0].plain):
        blank = row[0].glyphs[-1]._replace(char=" ")
        return [Piece((*row[0].glyphs, blank, *row[1].glyphs)), *row[2:]]
    return row


def _line(row: Row, textpage: Any) -> Line:
    cells = tuple(piece.text for piece in row)
    largest = max(row, key=lambda one: len(one.glyphs))
    return Line(
        text=" ".join(filter(None, cells)),
        size=largest.size,
        left=row[0].left,
        right=row[-1].right,
        top=max(one.top for one in row),
        bottom=min(one.bottom for one in row),
        cells=cells,
        is_bold=is_bold(textpage, row[0].glyphs[0].nth) and is_bold(textpage, row[-1].glyphs[-1].nth),
        blocks=row[0].blocks,
    )


def body_size(lines: Iterable[Line]) -> float:
    """The most common size of characters, in half points."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[round(2 * line.size) / 2] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 10.0


def without_running_heads(pages: Sequence[list[Line]], body: float) -> tuple[list[list[Line]], dict[str, list[str]]]:
    """The pages without what recurs at their edges: the same text, or one that counts the pages; and, by what it is,
    what was left out. A text as large as a heading stays the first time."""
    texts: Counter[str] = Counter()
    places: Counter[tuple[str, int]] = Counter()
    numbers: Counter[tuple[str, int]] = Counter()
    for number, page in enumerate(pages):
        edges = _edge_lines(page)
        texts.update({line.text for line in edges})
        places.update({(line.text, round(line.top / 3)) for line in edges if not _is_prominent(line, body)})
        numbers.update({key for line in edges if not _is_prominent(line, body) for key in _numberings(line, number)})
    least = max(3, 2 * len(pages) // 5)
    clean: list[list[Line]] = []
    gone: dict[str, list[str]] = {"running heads": [], "page numbers": []}
    seen: set[str] = set()
    for number, page in enumerate(pages):
        kept = list(page)
        for line in _edge_lines(page):
            is_same = texts[line.text] >= least or places[line.text, round(line.top / 3)] >= 3
            if is_same and _is_prominent(line, body) and line.text not in seen:
                seen.add(line.text)
            elif is_same:
                gone["running heads"].append(line.text)
                kept.remove(line)
            elif not _is_prominent(line, body) and any(numbers[key] >= least for key in _numberings(line, number)):
                gone["page numbers"].append(line.text)
                kept.remove(line)
        clean.append(kept)
    return clean, gone


def with_heads(pages: Iterable[list[Line]]) -> Iterator[list[Line]]:
    """The pages; a table that goes on at the top of one has its head there too."""
    above: Line | None = None
    for lines in pages:
        first = lines[0] if lines else None
        if above is not None and first is not None and first.blocks and _goes_on(above, first):
            head, rows = above.blocks[-1].split("\n")[:2], first.blocks[0].split("\n")
            rows = [row for number, row in enumerate(rows) if number != 1 and row != head[0]]
            lines[0] = replace(first, blocks=("\n".join([*head, *rows]), *first.blocks[1:]))
        above = lines[-1] if lines and lines[-1].blocks else None
        yield lines


def _goes_on(above: Line, below: Line) -> bool:
    heads = [block.split("\n")[0] for block in (above.blocks[-1], below.blocks[0])]
    is_same_place = abs(above.left - below.left) < 3 and abs(above.right - below.right) < 3
    return is_same_place and all(one.startswith("|") for one in heads) and heads[0].count("|") == heads[1].count("|")


def with_asides_once(pages: Iterable[list[Line]]) -> Iterator[list[Line]]:
    """The pages, with what stands in their margins only where it does first."""
    said: set[tuple[str, ...]] = set()
    for lines in pages:
        yield [line for line in lines if not line.is_aside or line.blocks not in said]
        said |= {line.blocks for line in lines if line.is_aside}


def without_contents(page: list[Line]) -> tuple[list[Line], list[str]]:
    """The page without the lines of a table of contents, which lead to their pages by dots; and those."""
    listed = [line for line in page if _LISTED.search(line.text)]
    if len(listed) < 3:
        return page, []
    return [line for line in page if line not in listed], [line.text for line in listed]


def _edge_lines(page: list[Line]) -> list[Line]:
    by_height = sorted((line for line in page if not line.blocks), key=lambda line: -line.top)
    return list(dict.fromkeys([*by_height[:2], *by_height[-2:]]))


def _is_prominent(line: Line, body: float) -> bool:
    return line.size >= HEADING_SIZE * body or (line.is_bold and line.size > 0.95 * body)


def _numberings(line: Line, page: int) -> Iterator[tuple[str, int]]:
    """The text around each number in it, and how far that is from the page's."""
    for match in _NUMBER.finditer(line.text):
        offset = int(match[0]) - page
        if abs(offset) <= _MOST_OFFSET or match[0] == line.text:
            yield f"{line.text[: match.start()]}#{line.text[match.end() :]}", offset


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


def blocks_of(lines: Sequence[Line], words: Words) -> list[tuple[str, float]]:
    """Consecutive lines as paragraphs, lists and tables, each with the bottom of its last line."""
    blocks: list[tuple[str, float]] = []
    group: list[Line] = []
    for line in lines:
        if group and (line.blocks or not _continues(group, line)):
            blocks.append((_block(group, words), group[-1].bottom))
            group = []
        if line.blocks:
            blocks += [(block, line.bottom) for block in line.blocks]
        else:
            group.append(line)
    if group:
        blocks.append((_block(group, words), group[-1].bottom))
    return blocks


def _continues(group: list[Line], line: Line) -> bool:
    last = group[-1]
    in_list = ITEM.match(group[0].text) is not None
    if ITEM.match(line.text):
        return in_list and _gap(last, line) < 2.0
    if in_list and line.left < group[0].left + 0.5 * line.size and _gap(last, line) > 0.6:
        return False
    return -0.9 < _gap(last, line) < 0.9 and abs(last.size - line.size) < 0.15 * last.size


def _gap(above: Line, below: Line) -> float:
    """The gap between two lines, in sizes of the upper one. Below -1: another column, or the next page."""
    return (above.bottom - below.top) / max(above.size, 1.0)


def _block(group: list[Line], words: Words) -> str:
    if ITEM.match(group[0].text):
        items: list[str] = []
        for line in group:
            if ITEM.match(line.text) or not items:
                items.append(_BULLET.sub("- ", line.text))
            else:
                items[-1] = words.join(items[-1], line.text)
        return "\n".join(items)
    text = group[0].text
    for line in group[1:]:
        text = words.join(text, line.text)
    return text


def join_headings(lines: Sequence[Line]) -> Line:
    """The lines of one heading as one line."""
    return replace(lines[0], text=" ".join(line.text for line in lines), bottom=lines[-1].bottom)
