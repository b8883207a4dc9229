"""Plain-text tables of the reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Cell = str | int | float | None


def table(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> list[str]:
    """Lines with aligned columns: the first to the left, the others to the right. Floats get three decimals, None is
    left blank."""
    texts = (
        ["" if cell is None else f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
        for row in rows
    )
    cells = [list(header), *texts]
    first, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
    return [
        "  ".join([f"{row[0]:<{first}}", *(f"{cell:>{width}}" for cell, width in zip(row[1:], others, strict=True))])
        for row in cells
    ]
