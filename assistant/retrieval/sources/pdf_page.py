"""What stands on a PDF page: letters with their places, rules, links, filled-in fields.

Everything is turned upright. Lengths are in points from the bottom left. What nobody can see, such as letters without
height or beside the page, is left out.
"""

from __future__ import annotations

import ctypes
import math
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

Place = tuple[float, float, float, float]  # left, bottom, right, top

_BOLD = 600
_LEAST_HEIGHT = 1.5
# A rule is at least this long, and its ends differ by no more than this in the other direction.
_RULE_LENGTH, _RULE_SLOPE = 6.0, 1.5
_RULE_WIDTH = 4.0
_MOST_RULES = 4_000
# A page with more unreadable letters than this is not worth reading as text.
_MOST_UNREADABLE = 0.3
# Words of any language in Latin letters have between these shares of vowels; letters that a font misnames do not.
_VOWELS = (0.2, 0.7)
_LEAST_LETTERS = 200
_HYPHEN = "\x02"  # what pdfium makes of a hyphen at the end of a line
_LIGATURES = {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}


class Glyph(NamedTuple):
    """A character; ``link``: the address behind it. ``nth``: its place in pdfium's text, where its font is known."""

    char: str
    left: float
    right: float
    top: float
    bottom: float
    nth: int
    link: str = ""
    breaks: bool = False  # pdfium begins a line with it


class Rule(NamedTuple):
    """A straight line: ``at`` a height (or, if vertical, a distance from the left), from ``start`` to ``end``.
    ``is_edge``: where a coloured area ends, such as every other row of a table."""

    is_vertical: bool
    at: float
    start: float
    end: float
    is_edge: bool = False


@dataclass
class PageText:
    """``aside``: texts that are turned otherwise than most of the page."""

    glyphs: list[Glyph] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    is_unreadable: bool = False
    aside: list[str] = field(default_factory=list)


def read_page(page: Any, textpage: Any) -> PageText:
    """``page`` and its text page, of pypdfium2."""
    width, height = page.get_size()
    links = list(_links(page))
    turn, unreadable, glyphs, aside = _glyphs(textpage, links)
    bounds = page.get_bbox()
    glyphs = [one for one in glyphs if bounds[0] - 2 <= (one.left + one.right) / 2 <= bounds[2] + 2]
    glyphs = [one for one in glyphs if bounds[1] - 2 <= (one.top + one.bottom) / 2 <= bounds[3] + 2]
    rules = list(_rules(page))[:_MOST_RULES]
    glyphs += _fields(page)
    if turn:
        glyphs = [_turn(one, turn, width, height) for one in glyphs]
        rules = [_turn_rule(one, turn, width, height) for one in rules]
    return PageText(glyphs, rules, _is_unreadable(glyphs, unreadable), aside)


def is_bold(textpage: Any, index: int) -> bool:
    import pypdfium2.raw as c

    if index < 0:
        return False
    if c.FPDFText_GetFontWeight(textpage, index) >= _BOLD:
        return True
    name, flags = ctypes.create_string_buffer(100), ctypes.c_int()
    c.FPDFText_GetFontInfo(textpage, index, name, len(name), ctypes.byref(flags))
    return b"bold" in name.value.lower()


def _glyphs(textpage: Any, links: list[tuple[Place, str]]) -> tuple[int, int, list[Glyph], list[str]]:
    """The direction in which most letters are turned (0, 90, 180 or 270 degrees), how many have no known meaning, and
    the letters in that direction, in pdfium's order, and the texts in others."""
    import pypdfium2.raw as c

    found: list[tuple[int, Glyph]] = []
    turns: Counter[int] = Counter()
    unreadable, breaks = 0, True
    edges, box = c.FS_RECTF(), [ctypes.c_double() for _ in range(4)]
    references = [ctypes.byref(one) for one in box]
    for index in range(c.FPDFText_CountChars(textpage)):
        char = chr(c.FPDFText_GetUnicode(textpage, index))
        if char in "\r\n":
            breaks = True
            continue
        angle = round(c.FPDFText_GetCharAngle(textpage, index) / 1.5707963) % 4 * 90
        if angle:
            is_placed = c.FPDFText_GetCharBox(textpage, index, *references)
            left, right, bottom, top = (one.value for one in box)
            left, right, bottom, top = _tall(textpage, index, angle, (left, right, bottom, top))
        else:
            is_placed = c.FPDFText_GetLooseCharBox(textpage, index, ctypes.byref(edges))
            left, right, bottom, top = edges.left, edges.right, edges.bottom, edges.top
        if char in (_HYPHEN, "\xad"):
            char = "-"
        elif not char.isspace() and (not char.isprintable() or "\ue000" <= char <= "\uf8ff" or char == "\ufffd"):
            unreadable += 1
            continue
        if char.isspace():
            if found:
                last = found[-1][1]
                found.append((found[-1][0], last._replace(char=" ", left=last.right, nth=index, breaks=breaks)))
            continue
        if not is_placed or (top - bottom if angle in (0, 180) else right - left) < _LEAST_HEIGHT:
            continue
        link = next((address for place, address in links if _holds(place, left, right, top, bottom)), "")
        text = _LIGATURES.get(ord(char), char)
        found.append((angle, Glyph(text, left, right, top, bottom, index, link, breaks)))
        turns[angle] += 1
        breaks = False
    turn = turns.most_common(1)[0][0] if turns else 0
    runs = groupby(found, key=lambda one: one[0])
    aside = [" ".join("".join(glyph.char for _, glyph in run).split()) for angle, run in runs if angle != turn]
    return turn, unreadable, [glyph for angle, glyph in found if angle == turn], aside


def _tall(textpage: Any, index: int, angle: int, tight: tuple[float, ...]) -> tuple[float, ...]:
    """The box of a turned letter, as tall as its font: pdfium tells only that of its ink."""
    import pypdfium2.raw as c

    left, right, bottom, top = tight
    x, y, matrix = ctypes.c_double(), ctypes.c_double(), c.FS_MATRIX()
    c.FPDFText_GetCharOrigin(textpage, index, ctypes.byref(x), ctypes.byref(y))
    c.FPDFText_GetMatrix(textpage, index, ctypes.byref(matrix))
    size = c.FPDFText_GetFontSize(textpage, index) * math.hypot(matrix.a, matrix.b)
    above, below = 0.95 * size, 0.22 * size
    if angle == 180:
        return left, right, y.value - above, y.value + below
    # Read from the bottom to the top of the page at 270 degrees, else from its top to its bottom.
    sides = (x.value - above, x.value + below) if angle == 270 else (x.value - below, x.value + above)
    return *sides, bottom, top


def _holds(place: Place, left: float, right: float, top: float, bottom: float) -> bool:
    return place[0] <= (left + right) / 2 <= place[2] and place[1] <= (top + bottom) / 2 <= place[3]


def _turn(one: Glyph, turn: int, width: float, height: float) -> Glyph:
    """Its place after turning the page so that its letters are upright."""
    left, right, top, bottom = {
        90: (height - one.top, height - one.bottom, one.right, one.left),
        180: (width - one.right, width - one.left, height - one.bottom, height - one.top),
        270: (one.bottom, one.top, width - one.left, width - one.right),
    }[turn]
    return one._replace(left=left, right=right, top=top, bottom=bottom)


def _turn_rule(one: Rule, turn: int, width: float, height: float) -> Rule:
    if turn == 180:
        across, along = (width, height) if one.is_vertical else (height, width)
        return one._replace(at=across - one.at, start=along - one.end, end=along - one.start)
    if turn == 270:
        at, start, end = (width - one.at, one.start, one.end) if one.is_vertical else (
            one.at, width - one.end, width - one.start)  # fmt: skip
    else:
        at, start, end = (one.at, height - one.end, height - one.start) if one.is_vertical else (
            height - one.at, one.start, one.end)  # fmt: skip
    return Rule(not one.is_vertical, at, start, end, one.is_edge)


def _is_unreadable(glyphs: list[Glyph], unreadable: int) -> bool:
    solid = [one.char for one in glyphs if one.char != " "]
    if unreadable > _MOST_UNREADABLE * (len(solid) + unreadable):
        return True
    letters = [unicodedata.normalize("NFD", char.lower())[0] for char in solid]
    latin = [char for char in letters if "a" <= char <= "z"]
    if len(latin) < max(_LEAST_LETTERS, len(letters) // 2):
        return False
    return not _VOWELS[0] <= sum(char in "aeiouy" for char in latin) / len(latin) <= _VOWELS[1]


def _rules(page: Any) -> Iterator[Rule]:
    """Straight lines of all paths, and the edges of rectangles."""
    import pypdfium2.raw as c

    x, y = ctypes.c_float(), ctypes.c_float()
    for path in page.get_objects(filter=(c.FPDF_PAGEOBJ_PATH,), max_depth=1):
        a, b, d, e, f, g = path.get_matrix().get()
        mode, is_drawn = ctypes.c_int(), ctypes.c_int()
        c.FPDFPath_GetDrawMode(path, ctypes.byref(mode), ctypes.byref(is_drawn))
        left, bottom, right, top = path.get_bounds()
        is_edge = not is_drawn.value and min(right - left, top - bottom) > _RULE_WIDTH
        first: tuple[float, float] | None = None
        before: tuple[float, float] | None = None
        for index in range(min(c.FPDFPath_CountSegments(path), _MOST_RULES)):
            segment = c.FPDFPath_GetPathSegment(path, index)
            c.FPDFPathSegment_GetPoint(segment, ctypes.byref(x), ctypes.byref(y))
            point = (a * x.value + d * y.value + f, b * x.value + e * y.value + g)
            kind = c.FPDFPathSegment_GetType(segment)
            if kind == c.FPDF_SEGMENT_MOVETO:
                first = point
            elif kind == c.FPDF_SEGMENT_LINETO and before is not None:
                yield from _rule(before, point, is_edge)
            before = point
            if c.FPDFPathSegment_GetClose(segment) and first is not None:
                yield from _rule(point, first, is_edge)


def _rule(start: tuple[float, float], end: tuple[float, float], is_edge: bool) -> Iterator[Rule]:
    across, up = abs(end[0] - start[0]), abs(end[1] - start[1])
    if across >= _RULE_LENGTH and up <= _RULE_SLOPE:
        yield Rule(False, (start[1] + end[1]) / 2, min(start[0], end[0]), max(start[0], end[0]), is_edge)
    elif up >= _RULE_LENGTH and across <= _RULE_SLOPE:
        yield Rule(True, (start[0] + end[0]) / 2, min(start[1], end[1]), max(start[1], end[1]), is_edge)


def _links(page: Any) -> Iterator[tuple[Place, str]]:
    """Addresses behind the page, with their places."""
    import pypdfium2.raw as c

    position, link = ctypes.c_int(0), c.FPDF_LINK()
    document, edges = page.pdf, c.FS_RECTF()
    while c.FPDFLink_Enumerate(page, ctypes.byref(position), ctypes.byref(link)):
        action = c.FPDFLink_GetAction(link)
        if not action or not c.FPDFLink_GetAnnotRect(link, ctypes.byref(edges)):
            continue
        buffer = ctypes.create_string_buffer(2000)
        c.FPDFAction_GetURIPath(document, action, buffer, len(buffer))
        address = buffer.value.decode("utf-8", "replace").strip()
        if address.lower().startswith(("http://", "https://", "mailto:", "tel:")) and " " not in address:
            bottom, top = sorted((edges.bottom, edges.top))
            yield (edges.left, bottom, edges.right, top), address


def _fields(page: Any) -> Iterator[Glyph]:
    """What is filled in in forms, and notes that are typed on the page, as words at their places."""
    import pypdfium2.raw as c

    keys = {c.FPDF_ANNOT_WIDGET: b"V", c.FPDF_ANNOT_FREETEXT: b"Contents"}
    edges = c.FS_RECTF()
    for index in range(min(c.FPDFPage_GetAnnotCount(page), 5_000)):
        annotation = c.FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        key = keys.get(c.FPDFAnnot_GetSubtype(annotation))
        if key is not None and c.FPDFAnnot_GetRect(annotation, ctypes.byref(edges)):
            buffer = (ctypes.c_ushort * 4000)()
            size = c.FPDFAnnot_GetStringValue(annotation, key, buffer, ctypes.sizeof(buffer))
            text = bytes(buffer)[: max(min(size, ctypes.sizeof(buffer)) - 2, 0)].decode("utf-16-le", "replace")
            yield from _spread(" ".join(text.split()), edges)
        c.FPDFPage_CloseAnnot(annotation)


def _spread(text: str, edges: Any) -> Iterator[Glyph]:
    """A text in a rectangle, letter by letter."""
    height = min(abs(edges.top - edges.bottom), 12.0)
    top = max(edges.top, edges.bottom)
    step = min(abs(edges.right - edges.left) / max(len(text), 1), 0.5 * height)
    for number, char in enumerate(text):
        left = edges.left + number * step
        yield Glyph(char, left, left + step, top, top - height, -1, breaks=number == 0)
