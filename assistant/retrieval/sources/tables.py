"""Tables: merged cells count for every row and column that they cover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from assistant.retrieval.sources.inline import HEADINGS

_MOST_SPAN = 50
# A longer text is not repeated in the other places of a merged cell.
_MOST_REPEATED = 200


def table_text(rows: list[list[str]]) -> str:
    """Rows as a Markdown table; the first row is the head."""
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows if any(row)]
    if len(lines) > 1:
        lines.insert(1, "|" + "---|" * len(next(row for row in rows if any(row))))
    return "\n".join(lines)


def html_table(table: Any, read: Callable[[Any], str]) -> str:
    """A table's block. ``read`` gives the text of a cell."""
    rows = _own_rows(table)
    grid = _grid([[(cell, read(cell)) for cell in _cells(row)] for row in rows])
    heads = _heads(rows)
    if heads == 0 and rows and all([cell.tag for cell in _cells(row)] == ["th", "td"] for row in rows):
        # Names with values: none of them is the head of the others.
        return "\n".join(f"- {name}: {value}" if value else f"- {name}" for name, value in grid)
    if heads > 1:
        columns = zip(*grid[:heads], strict=True)
        grid[:heads] = [[" ".join(dict.fromkeys(filter(None, column))) for column in columns]]
    return table_text(grid)


def is_layout(table: Any) -> bool:
    """Whether the table only arranges a page: its cells are read one after another."""
    if table.get("role") in ("presentation", "none"):
        return True
    rows = _own_rows(table)
    if len(rows) <= 1 or all(len(_cells(row)) <= 1 for row in rows):
        return next(table.iterdescendants("th"), None) is None
    cells = [cell for row in rows for cell in _cells(row)]
    return any(
        cell.tag == "td" and next(cell.iterdescendants(*HEADINGS, "table"), None) is not None for cell in cells
    ) and (not any(cell.tag == "th" for cell in cells))


def _own_rows(table: Any) -> list[Any]:
    """Without those of tables in its cells; the head first and the foot last, wherever they are written."""
    parts: dict[str, list[Any]] = {"thead": [], "tbody": [], "tfoot": []}
    for child in table:
        if child.tag == "tr":
            parts["tbody"].append(child)
        elif child.tag in parts:
            parts[child.tag] += child.iterchildren("tr")
    return [*parts["thead"], *parts["tbody"], *parts["tfoot"]]


def _cells(row: Any) -> list[Any]:
    return list(row.iterchildren("th", "td"))


def _heads(rows: Sequence[Any]) -> int:
    """How many rows at the top are the table's head."""
    count = 0
    for row in rows:
        if row.getparent().tag != "thead" and not (_cells(row) and all(cell.tag == "th" for cell in _cells(row))):
            break
        count += 1
    return count if count < len(rows) else 0


def _grid(rows: Sequence[Sequence[tuple[Any, str]]]) -> list[list[str]]:
    """Every row with all its columns. A cell that takes a whole row, such as a subtitle, is written once."""
    hanging: dict[int, tuple[int, str]] = {}  # column: how many more rows it reaches down, and its text
    grid: list[list[str]] = []
    for number, cells in enumerate(rows):
        row: list[str] = []
        is_subtitle = len(cells) == 1 and not hanging
        for cell, text in cells:
            _fill(row, hanging)
            down = min(_span(cell, "rowspan") or len(rows), len(rows) - number) - 1
            across = max(_span(cell, "colspan"), 1)
            again = text if len(text) <= _MOST_REPEATED and not is_subtitle else ""
            for column in range(across):
                row.append(again if column else text)
                if down > 0:
                    hanging[len(row) - 1] = (down, again)
        _fill(row, hanging)
        grid.append(row)
    width = max(map(len, grid), default=0)
    return [row + [""] * (width - len(row)) for row in grid]


def _fill(row: list[str], hanging: dict[int, tuple[int, str]]) -> None:
    """Write what reaches down into the next columns of a row."""
    while len(row) in hanging:
        rows, text = hanging.pop(len(row))
        if rows > 1:
            hanging[len(row)] = (rows - 1, text)
        row.append(text)


def _span(cell: Any, name: str) -> int:
    """0 is to the end; anything that is no number counts for 1."""
    value = (cell.get(name) or "1").strip()
    return (
        min(int(value), _MOST_SPAN if name == "colspan" else 1_000_000) if value.isdecimal() and len(value) < 8 else 1
    )
