"""The reading order of a PDF page: words to pieces, pieces to lines, columns one after the other, tables as tables.

A PDF knows only where each letter is, and its order in the file may be any.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, pairwise
from statistics import median

from assistant.retrieval.sources.pdf_page import Glyph

# A gap of at least this many letter sizes separates pieces, not words.
PIECE_GAP = 1.5
# A smaller one does where a piece begins at the same place in lines around, after a wide gap.
_ALIGNED_GAP = 0.35
_SAME_PLACE = 2.0  # points
# Columns of text have at least so many lines, of so many words.
_COLUMN_LINES = 4
_COLUMN_WORDS = 3.0
_RAISED = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")


@dataclass(frozen=True)
class Piece:
    """Letters beside each other, without a gap; or a table, whose place is that of its only glyph."""

    glyphs: tuple[Glyph, ...]
    blocks: tuple[str, ...] = ()

    @property
    def left(self) -> float:
        return min(one.left for one in self.glyphs)

    @property
    def right(self) -> float:
        return max(one.right for one in self.glyphs)

    @property
    def size(self) -> float:
        return median(one.top - one.bottom for one in self.glyphs)

    @property
    def top(self) -> float:
        return median(one.top for one in self.glyphs)

    @property
    def bottom(self) -> float:
        return median(one.bottom for one in self.glyphs)

    @property
    def text(self) -> str:
        """With links as Markdown, and raised digits as such."""
        said = ""
        for address, run in groupby(self.glyphs, key=lambda one: one.link):
            text = "".join(self._char(one) for one in run)
            shown = text.strip()
            is_said = not address or not shown or shown.strip("/") in address
            said += text if is_said else text.replace(shown, f"[{shown}]({address})")
        return " ".join(said.split())

    @property
    def plain(self) -> str:
        return " ".join("".join(one.char for one in self.glyphs).split())

    def _char(self, one: Glyph) -> str:
        is_raised = one.top - one.bottom < 0.8 * self.size and one.bottom > self.bottom + 0.15 * self.size
        return one.char.translate(_RAISED) if is_raised else one.char


Row = list[Piece]  # pieces at one height, from left to right


def is_right_to_left(text: str) -> bool:
    """Whether most letters are of a script that is written so."""
    kinds = [unicodedata.bidirectional(char) for char in text if char.isalpha()]
    return 2 * sum(kind in ("R", "AL") for kind in kinds) > len(kinds)


def pieces_of(glyphs: Sequence[Glyph]) -> list[Piece]:
    pieces: list[Piece] = []
    group: list[Glyph] = []
    for glyph in glyphs:
        if group and glyph.char != " " and _is_apart(group, glyph):
            pieces += _piece(group)
            group = []
        group.append(glyph)
    return pieces + _piece(group)


def _piece(group: Iterable[Glyph]) -> list[Piece]:
    glyphs = list(group)
    while glyphs and glyphs[-1].char == " ":
        glyphs.pop()
    while glyphs and glyphs[0].char == " ":
        del glyphs[0]
    if any(unicodedata.bidirectional(one.char) in ("R", "AL") for one in glyphs):
        glyphs = list(_with_foreign_words(glyphs))
    return [Piece(tuple(glyphs))] if glyphs else []


def _with_foreign_words(text: Sequence[Glyph]) -> Iterator[Glyph]:
    """Text from right to left, in which codes and numbers stand from left to right, whatever pdfium makes of them."""
    for is_foreign, run in groupby(text, key=lambda one: one.char != " " and not _is_backward(one.char)):
        glyphs = list(run)
        yield from sorted(glyphs, key=lambda one: one.left) if is_foreign else glyphs


def _is_backward(char: str) -> bool:
    return unicodedata.bidirectional(char) in ("R", "AL", "NSM", "ON")


def _is_apart(group: Sequence[Glyph], glyph: Glyph) -> bool:
    last = next((one for one in reversed(group) if one.char != " "), group[-1])
    size = max(last.top - last.bottom, glyph.top - glyph.bottom)
    if min(last.top, glyph.top) - max(last.bottom, glyph.bottom) < 0.4 * min(
        last.top - last.bottom, glyph.top - glyph.bottom
    ):
        return True
    if any(unicodedata.bidirectional(one.char) in ("R", "AL") for one in (*group[-12:], glyph)):
        return glyph.breaks
    return glyph.left - last.right > _ALIGNED_GAP * size or glyph.left < last.left - 0.5 * size


def rows_of(pieces: Iterable[Piece], *, join: bool = True) -> list[Row]:
    """Pieces by height, from the top; those without a wide gap between them become one, unless ``join`` is False."""
    rows: list[Row] = []
    for piece in sorted(pieces, key=lambda one: -(one.top + one.bottom)):
        # A raised digit overlaps with its line; the next line does not.
        last = rows[-1] if rows else []
        if last and _share_height(last, piece):
            last.append(piece)
        else:
            rows.append([piece])
    rows = [sorted(row, key=lambda one: one.left) for row in rows]
    if not join:
        return rows
    starts = [
        [piece.left for last, piece in pairwise(row) if piece.left - last.right > PIECE_GAP * piece.size]
        for row in rows
    ]
    return [list(_together(row, [*chain.from_iterable(starts[max(0, n - 4) : n + 5])])) for n, row in enumerate(rows)]


def _share_height(row: Row, piece: Piece) -> bool:
    if piece.blocks or row[0].blocks:
        return False
    largest = max(row, key=lambda one: one.size)
    overlap = min(largest.top, piece.top) - max(largest.bottom, piece.bottom)
    return overlap > 0.5 * min(largest.size, piece.size)


def _together(row: Row, starts: Sequence[float]) -> Iterator[Piece]:
    """Joins pieces that are parts of a sentence: not far apart, and no column begins there in the lines around."""
    group = [row[0]]
    for piece in row[1:]:
        last = group[-1]
        gap = piece.left - last.right
        size = max(last.size, piece.size)
        is_aligned = any(abs(one - piece.left) < _SAME_PLACE for one in starts)
        if gap > PIECE_GAP * size or (gap > _ALIGNED_GAP * size and is_aligned):
            yield _join(group)
            group = []
        group.append(piece)
    yield _join(group)


def _join(group: list[Piece]) -> Piece:
    if len(group) == 1:
        return group[0]
    if is_right_to_left("".join(one.plain for one in group)):
        group = group[::-1]
    glyphs: list[Glyph] = []
    for piece in group:
        first = piece.glyphs[0]
        if glyphs and abs(first.left - glyphs[-1].right) > 0.15 * piece.size:
            glyphs.append(glyphs[-1]._replace(char=" ", left=glyphs[-1].right))
        glyphs += piece.glyphs
    return Piece(tuple(glyphs))


def in_reading_order(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Pieces of each column in groups, which are read one after the other."""
    gutter = _gutter(pieces)
    if gutter is None:
        return [list(pieces)] if pieces else []
    order: list[list[Piece]] = []
    band: list[Piece] = []
    across: list[Piece] = []
    for piece in [*sorted(pieces, key=lambda one: -one.top), None]:
        if piece is None or piece.left < gutter - 1 < gutter + 1 < piece.right:
            if band:
                order += _band(band, gutter)
            band = []
            across += [piece] if piece is not None else []
        else:
            if across:
                order.append(across)
                across = []
            band.append(piece)
    return [*order, across] if across else order


def _band(band: list[Piece], gutter: float) -> list[list[Piece]]:
    """Columns beside each other, if they are any, and what stands above or below them in one of them alone."""
    left, right = _sides(band, gutter)
    if not _are_columns(left, right):
        return [band]
    sides = (right, left) if is_right_to_left(" ".join(one.plain for one in band)) else (left, right)
    return [group for side in sides for group in in_reading_order(side)]


def _gutter(pieces: Sequence[Piece]) -> float | None:
    """Where columns of text are divided: no piece of them crosses it."""
    starts = sorted(piece.left for piece in pieces)
    best, most = None, 0
    for left in dict.fromkeys(round(one) for one in starts):
        if sum(abs(one - left) < _SAME_PLACE for one in starts) < _COLUMN_LINES:
            continue
        gutter = left - 3.0
        count = 0
        for crosses, band in groupby(
            sorted(pieces, key=lambda one: -one.top), key=lambda one: one.left < gutter - 1 < gutter + 1 < one.right
        ):
            sides = _sides(list(band), gutter)
            if not crosses and _are_columns(*sides):
                count += len(sides[0]) + len(sides[1])
        if count > most:
            best, most = gutter, count
    return best


def _sides(band: Sequence[Piece], gutter: float) -> tuple[list[Piece], list[Piece]]:
    return [one for one in band if one.right <= gutter + 1], [one for one in band if one.right > gutter + 1]


def _are_columns(left: Sequence[Piece], right: Sequence[Piece]) -> bool:
    """Whether both are running text. In a table, cells are short, or rows begin at the same heights."""
    if min(len(left), len(right)) < _COLUMN_LINES:
        return False
    sides = [rows_of(side) for side in (left, right)]
    if any(sum(len(one.plain.split()) for row in side for one in row) < _COLUMN_WORDS * len(side) for side in sides):
        return False
    if min(map(len, sides)) < _COLUMN_LINES or len(left) > 1.2 * len(sides[0]):
        return False
    shared = min(left[0].top, right[0].top) - max(left[-1].bottom, right[-1].bottom)
    if shared < 0.3 * min(left[0].top - left[-1].bottom, right[0].top - right[-1].bottom):
        return False
    starts = [_starts(side) for side in sides]
    same = sum(any(abs(one - other) < 0.3 * left[0].size for other in starts[1]) for one in starts[0])
    return min(map(len, starts)) < 3 or same < 0.8 * max(map(len, starts))


def _starts(side: Sequence[Row]) -> list[float]:
    """Heights at which something begins after a gap that is wider than between lines."""
    tops = [row[0].top for row in side]
    steps = [above - below for above, below in pairwise(tops)]
    usual = min(steps, default=0.0)
    return [tops[0], *(top for top, step in zip(tops[1:], steps, strict=True) if step > 1.2 * usual)]
