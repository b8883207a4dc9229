"""Tables on PDF pages: by their rules where there are any, else by what stands below each other.

With rules, a cell is what they enclose, and a value counts for every row and column that no rule divides. Without, a
line continues the row above if its first column is empty and the words above it ran out of room, or if lines of a row
are closer together than rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from assistant.retrieval.sources.pdf_layout import Piece, Row, pieces_of, rows_of
from assistant.retrieval.sources.pdf_page import Glyph, Rule
from assistant.retrieval.sources.pdf_words import Words
from assistant.retrieval.sources.tables import table_text

_NEAR = 3.0  # points between rules that are one
_MOST_LINES = 200
# Lines of a table follow each other within so many letter sizes.
_STEP = 3.2
# Rows are further apart than lines of one row by at least this factor.
_ROW_STEP = 1.25
# Lines of one row, in letter sizes, where all steps are alike.
_LINE_STEP = 2.2


@dataclass(frozen=True)
class _Grid:
    """``xs`` from the left, ``ys`` from the top."""

    xs: list[float]
    ys: list[float]
    rules: list[Rule]

    def holds(self, one: Glyph) -> bool:
        x, y = (one.left + one.right) / 2, (one.top + one.bottom) / 2
        return self.xs[0] <= x <= self.xs[-1] and self.ys[-1] <= y <= self.ys[0]


def ruled_tables(rules: Sequence[Rule], glyphs: Sequence[Glyph], words: Words) -> tuple[list[Piece], list[Glyph]]:
    """Tables as pieces, and the letters outside them."""
    tables: list[Piece] = []
    rest = list(glyphs)
    for group in _groups([one for one in rules if not one.is_edge]):
        grid = _grid(group)
        if grid is None:
            continue
        inside = [one for one in rest if grid.holds(one)]
        blocks = _blocks(grid, inside, words)
        if blocks:
            rest = [one for one in rest if not grid.holds(one)]
            place = Glyph("", grid.xs[0], grid.xs[-1], grid.ys[0], grid.ys[-1], -1)
            tables.append(Piece((place,), tuple(blocks)))
    return tables, rest


def _groups(rules: Sequence[Rule]) -> list[list[Rule]]:
    """Rules that touch each other, in groups."""
    groups: list[list[Rule]] = []
    waiting = sorted(set(rules), key=lambda one: one.at)
    while waiting:
        group, added = [], [waiting.pop()]
        while added:
            group += added
            added = [one for one in waiting if any(_touch(one, other) for other in added)]
            gone = set(added)
            waiting = [one for one in waiting if one not in gone]
        groups.append(group)
    return groups


def _touch(one: Rule, other: Rule) -> bool:
    if one.is_vertical == other.is_vertical:
        return abs(one.at - other.at) < _NEAR and one.start - _NEAR <= other.end and other.start - _NEAR <= one.end
    return one.start - _NEAR <= other.at <= one.end + _NEAR and other.start - _NEAR <= one.at <= other.end + _NEAR


def _grid(rules: list[Rule]) -> _Grid | None:
    across, upright = [one for one in rules if not one.is_vertical], [one for one in rules if one.is_vertical]
    if len(across) < 2 or not upright:
        return None
    xs = _merge([one.at for one in upright] + [min(one.start for one in across), max(one.end for one in across)])
    ys = _merge([one.at for one in across] + [min(one.start for one in upright), max(one.end for one in upright)])
    if not 3 <= len(xs) <= _MOST_LINES or not 2 <= len(ys) <= 10 * _MOST_LINES:
        return None
    return _Grid(xs, ys[::-1], rules)


def _merge(places: Iterable[float]) -> list[float]:
    groups: list[list[float]] = []
    for place in sorted(places):
        if groups and place - groups[-1][-1] < _NEAR:
            groups[-1].append(place)
        else:
            groups.append([place])
    return [median(group) for group in groups]


def _blocks(grid: _Grid, glyphs: Sequence[Glyph], words: Words) -> list[str]:
    if len(grid.ys) <= 3:  # rules divide its columns, and perhaps its head from its rows
        columns = [(left, right) for left, right in pairwise(grid.xs)]
        parts = [[one for one in glyphs if left <= (one.left + one.right) / 2 < right] for left, right in columns]
        lines = _lines(rows_of([piece for part in parts for piece in pieces_of(part)], join=False), columns)
        table = _table(lines, columns, grid.ys[1:-1], words)
        return [table] if table else []
    area = _areas(grid)
    inside: defaultdict[tuple[int, int], list[Glyph]] = defaultdict(list)
    for one in glyphs:
        x, y = (one.left + one.right) / 2, (one.top + one.bottom) / 2
        column = max(n for n, at in enumerate(grid.xs[:-1]) if n == 0 or at <= x)
        row = max(n for n, at in enumerate(grid.ys[:-1]) if n == 0 or at >= y)
        inside[area[row, column]].append(one)
    texts = {place: _cell(pieces_of(cell), words) for place, cell in inside.items()}
    if sum(map(bool, texts.values())) < 3:
        return []
    rows = [[area[row, column] for column in range(len(grid.xs) - 1)] for row in range(len(grid.ys) - 1)]
    return captions_and_tables([[texts.get(place, "") for place in row] for row in rows],
                               [len(set(row)) == 1 for row in rows])  # fmt: skip


def captions_and_tables(rows: Sequence[list[str]], is_across: Sequence[bool]) -> list[str]:
    """A row of one cell across all columns is a caption of the rows below it, which get the table's head again."""
    blocks: list[str] = []
    head: list[str] = []
    group: list[list[str]] = []
    for row, across in [*zip(rows, is_across, strict=True), ([], True)]:
        if across:
            blocks += [table_text(_full([head, *group]))] if group else []
            blocks += [row[0]] if row and row[0] else []
            group = []
        elif not any(row):
            continue
        elif not head:
            head = row
        else:
            group.append(row)
    if head and not any(block.startswith("|") for block in blocks):
        blocks.append(" ".join(filter(None, head)))
    return blocks


def _full(rows: list[list[str]]) -> list[list[str]]:
    """Without columns that are empty, which narrow rules beside each other make."""
    kept = [n for n in range(len(rows[0])) if any(row[n] for row in rows)]
    return [[row[n] for n in kept] for row in rows]


def _areas(grid: _Grid) -> dict[tuple[int, int], tuple[int, int]]:
    """Each place (row, column) to the first place of the cell it belongs to: no rule is between them."""
    across = [one for one in grid.rules if not one.is_vertical]
    upright = [one for one in grid.rules if one.is_vertical]
    area: dict[tuple[int, int], tuple[int, int]] = {}
    for row in range(len(grid.ys) - 1):
        y = (grid.ys[row] + grid.ys[row + 1]) / 2
        for column in range(len(grid.xs) - 1):
            x = (grid.xs[column] + grid.xs[column + 1]) / 2
            area[row, column] = (row, column)
            if column and not _covers(upright, grid.xs[column], y):
                area[row, column] = area[row, column - 1]
            elif row and not _covers(across, grid.ys[row], x):
                area[row, column] = area[row - 1, column]
    return area


def _covers(rules: Sequence[Rule], at: float, place: float) -> bool:
    return any(abs(one.at - at) < _NEAR and one.start - 1 <= place <= one.end + 1 for one in rules)


def _cell(pieces: Sequence[Piece], words: Words) -> str:
    text = ""
    for row in rows_of(pieces):
        line = " ".join(piece.text for piece in row)
        text = words.join(text, line) if text else line
    return text


# Without rules


def aligned_tables(rows: Sequence[Row], rules: Sequence[Rule], words: Words) -> Iterator[Row]:
    """The rows in order; those of a table as one piece."""
    start = 0
    while start < len(rows):
        end = _end(rows, start)
        found = _aligned_table(rows[start:end], rules, words) if end - start > 1 else ""
        if found:
            inside = [piece for row in rows[start:end] for piece in row]
            left, right = min(one.left for one in inside), max(one.right for one in inside)
            place = Glyph("", left, right, rows[start][0].top, rows[end - 1][0].bottom, -1)
            yield [Piece((place,), (found,))]
            start = end
        else:
            yield rows[start]
            start += 1


def _end(rows: Sequence[Row], start: int) -> int:
    """Where the table ends that begins with this row: its columns no longer hold, or there is a wide gap."""
    if len(rows[start]) < 2 or rows[start][0].blocks:
        return start + 1
    spans = [(piece.left, piece.right) for piece in rows[start]]
    end, last = start + 1, start + 1
    while end < len(rows):
        row, above = rows[end], rows[end - 1]
        if row[0].blocks or above[0].top - row[0].top > _STEP * above[0].size:
            break
        widened = _widen(spans, row)
        if widened is None or (len(row) == 1 and row[0].left < spans[1][0] - _NEAR and end - last >= 1):
            break
        spans, end = widened, end + 1
        last = end if len(row) > 1 else last
    return min(end, last + _tail(rows[last:end], spans))


def _tail(rows: Sequence[Row], spans: Sequence[tuple[float, float]]) -> int:
    """How many of the last lines, each of one piece, still belong to a cell other than the first."""
    count = 0
    for row in rows:
        if row[0].left < spans[0][1]:
            break
        count += 1
    return count


def _widen(spans: Sequence[tuple[float, float]], row: Row) -> list[tuple[float, float]] | None:
    """The columns with the pieces of another row; None if one of them lies across two columns."""
    widened = list(spans)
    for piece in row:
        hits = [n for n, (left, right) in enumerate(widened) if piece.left < right and left < piece.right]
        if len(hits) > 1:
            return None
        if hits:
            left, right = widened[hits[0]]
            widened[hits[0]] = (min(left, piece.left), max(right, piece.right))
        else:
            widened.append((piece.left, piece.right))
    return sorted(widened)


def _aligned_table(rows: Sequence[Row], rules: Sequence[Rule], words: Words) -> str:
    """The table, or "" if these rows are none."""
    columns = [(piece.left, piece.right) for piece in rows[0]]
    for row in rows[1:]:
        columns = _widen(columns, row) or columns
    if sum(len(row) > 1 for row in rows) < 2:
        return ""
    top, bottom, middle = rows[0][0].top, rows[-1][0].bottom, (columns[0][1] + columns[-1][0]) / 2
    across = [one for one in rules if not one.is_vertical and one.start <= middle <= one.end]
    return _table(_lines(rows, columns), columns, _merge(one.at for one in across if bottom < one.at < top), words)


_Cells = list[list[Piece]]  # of a line: the pieces in each column


def _lines(rows: Sequence[Row], columns: Sequence[tuple[float, float]]) -> list[_Cells]:
    return [
        [[one for one in row if left <= (one.left + one.right) / 2 <= right] for left, right in columns] for row in rows
    ]


def _table(
    lines: Sequence[_Cells], columns: Sequence[tuple[float, float]], rules: Sequence[float], words: Words
) -> str:
    """``rules``: heights of rules between the lines. If there are nearly as many as first cells, they divide rows."""
    are_divided = len(rules) > 1 and len(rules) >= sum(bool(line[0]) for line in lines) - 2
    groups: list[list[_Cells]] = []
    tops = [max(piece.top for cell in line for piece in cell) for line in lines]
    sizes = [max(piece.size for cell in line for piece in cell) for line in lines]
    far = _row_step(lines, tops)
    for number, line in enumerate(lines):
        step = tops[number - 1] - tops[number] if number else 0.0
        if any(tops[number] - sizes[number] / 2 < at < tops[number - 1] - sizes[number] / 2 for at in rules):
            is_same = False
        elif are_divided:
            is_same = number > 0
        elif far is not None:
            is_same = number > 0 and step < far
        else:
            is_same = number > 0 and step < _LINE_STEP * sizes[number] and _continues(lines[number - 1], line, columns)
        if number and is_same:
            groups[-1].append(line)
        else:
            groups.append([line])
    table = [
        [_cell([piece for line in group for piece in line[column]], words) for column in range(len(columns))]
        for group in groups
    ]
    return table_text(_full(table)) if len(table) > 1 else ""


def _row_step(lines: Sequence[_Cells], tops: Sequence[float]) -> float | None:
    """The step from which another row begins, if rows are further apart than lines; None if all steps are alike."""
    steps = [above - below for above, below in pairwise(tops)]
    if len(steps) < 2 or max(steps) < _ROW_STEP * min(steps):
        return None
    if all(all(line) for line in lines):  # rows of one line; the wide step is one between groups of rows
        return None
    return min(steps) * _ROW_STEP


def _continues(above: _Cells, line: _Cells, columns: Sequence[tuple[float, float]]) -> bool:
    """Whether every cell of the line goes on where the words above it ran out of room."""
    if all(line):
        return False
    for cell, before, (_, right) in zip(line, above, columns, strict=True):
        if cell and (not before or " " not in before[-1].plain):
            return False
        if cell:
            first = cell[0].plain.split()[0]
            width = (cell[0].right - cell[0].left) * (len(first) + 1) / max(len(cell[0].plain), 1)
            if before[-1].right + 0.85 * width < right:
                return False
    return True
