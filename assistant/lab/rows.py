"""Labelled data in JSON lines: a file, or all *.jsonl files of a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.errors import Invalid


@dataclass(frozen=True)
class Row:
    """One JSON object and where it was read."""

    file: Path
    number: int
    values: dict[str, Any]

    def error(self, problem: str) -> Invalid:
        return Invalid(f"{self.file.name}, line {self.number}: {problem}.")


def read_rows(path: Path) -> Iterator[Row]:
    """The JSON objects in ``path``, empty lines left out. Raises `Invalid` that names the first wrong line: half a data
    set gives meaningless figures."""
    for file in sorted(path.glob("*.jsonl")) if path.is_dir() else [path]:
        # Not `splitlines`: JSON strings may contain other line separators than "\n".
        for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
            if line.strip():
                yield _row(file, number, line)


def _row(file: Path, number: int, line: str) -> Row:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise Row(file, number, {}).error(f"not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise Row(file, number, {}).error("expected a JSON object")
    return Row(file, number, values)
