"""Tables of Word files as a grid: a merged cell's value counts for every row and column that it spans."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from assistant.retrieval.sources.docx_runs import WRAPPERS, child, chosen, is_on, name, value

_MOST_COLUMNS = 100


@dataclass(frozen=True)
class Cell:
    """``continues``: it is merged with the one above, or to the left."""

    element: Any
    span: int = 1
    continues: str = ""


@dataclass(frozen=True)
class _Row:
    cells: tuple[Cell, ...]
    before: int
    is_head: bool


@dataclass(frozen=True)
class Table:
    rows: tuple[_Row, ...]

    @property
    def is_frame(self) -> bool:
        """Whether it only places text: one row, or one column."""
        return len(self.rows) < 2 or all(len(row.cells) < 2 for row in self.rows)

    @property
    def cells(self) -> Iterator[Cell]:
        return (cell for row in self.rows for cell in row.cells)

    def parts(self, text_of: Callable[[Cell], str]) -> Iterator[tuple[str, list[list[str]]]]:
        """Captions with the rows below them, the head first. A row of one cell across all columns is a caption."""
        width = max((row.before + sum(cell.span for cell in row.cells) for row in self.rows), default=0)
        heads: list[list[str]] = []
        caption, rows = "", list[list[str]]()
        above: list[str] = []
        for row in self.rows:
            if len(row.cells) == 1 and row.cells[0].span >= width > 1 and not row.cells[0].continues:
                if caption or rows:
                    yield caption, self._under(heads, rows)
                caption, rows = text_of(row.cells[0]), []
                continue
            above = _texts(row, above, text_of)
            above += [""] * (width - len(above))
            if not heads or (row.is_head and not rows and not caption):
                heads.append(above)
            else:
                rows.append(above)
        yield caption, self._under(heads, rows)

    @staticmethod
    def _under(heads: list[list[str]], rows: list[list[str]]) -> list[list[str]]:
        """The rows below one head: a head of several rows is read from top to bottom."""
        head = [" ".join(dict.fromkeys(text for text in column if text)) for column in zip(*heads, strict=True)]
        return [head, *rows] if rows else []


def read_table(table: Any) -> Table:
    return Table(tuple(_row(one) for one in _elements(table, "tr") if child(one, "trPr", "del") is None))


def _row(row: Any) -> _Row:
    properties = child(row, "trPr")
    before = child(properties, "gridBefore") if properties is not None else None
    is_head = properties is not None and is_on(child(properties, "tblHeader"))
    return _Row(tuple(_cell(one) for one in _elements(row, "tc")), _count(before, 0), is_head)


def _cell(cell: Any) -> Cell:
    properties = child(cell, "tcPr")
    if properties is None:
        return Cell(cell)
    for kind, direction in (("vMerge", "above"), ("hMerge", "left")):
        merge = child(properties, kind)
        if merge is not None and (value(merge) or "continue") == "continue":
            return Cell(cell, _count(child(properties, "gridSpan"), 1), direction)
    return Cell(cell, _count(child(properties, "gridSpan"), 1))


def _texts(row: _Row, above: list[str], text_of: Callable[[Cell], str]) -> list[str]:
    texts = [""] * row.before
    for cell in row.cells:
        if cell.continues == "above" and len(texts) < len(above):
            text = above[len(texts)]
        elif cell.continues == "left" and texts:
            text = texts[-1]
        else:
            text = text_of(cell)
        texts += [text] * cell.span
    return texts[:_MOST_COLUMNS]


def _elements(container: Any, wanted: str) -> Iterator[Any]:
    """Rows or cells, inside content controls and changes too."""
    for one in container:
        if name(one) == wanted:
            yield one
        elif name(one) in WRAPPERS:
            yield from _elements(one, wanted)
        elif name(one) == "AlternateContent":
            yield from _elements(chosen(one), wanted)


def _count(element: Any, default: int) -> int:
    text = value(element) if element is not None else None
    return min(int(text), _MOST_COLUMNS) if text is not None and text.isdecimal() else default
