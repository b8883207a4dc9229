"""`ASVS.md` is whole and names tests that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
ROWS = re.findall(
    r"^\| (\d[\d., ]+) \| (.+?) \| (\S+) \| (.+) \|$", (HERE / "ASVS.md").read_text(encoding="utf-8"), re.M
)
STATES = {"test", "review", "operator", "part", "no", "n/a"}
# How many requirements of levels 1 and 2 each section has: its first ones.
SECTIONS = {
    "1.1": 2, "1.2": 9, "1.3": 11, "1.4": 3, "1.5": 2,
    "2.1": 3, "2.2": 3, "2.3": 4, "2.4": 1,
    "3.2": 2, "3.3": 4, "3.4": 6, "3.5": 5, "3.7": 2,
    "4.1": 3, "4.2": 1, "4.3": 2, "4.4": 4,
    "5.1": 1, "5.2": 3, "5.3": 2, "5.4": 3,
    "6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4,
    "7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2,
    "8.1": 2, "8.2": 3, "8.3": 1, "8.4": 1,
    "9.1": 3, "9.2": 4,
    "10.1": 2, "10.2": 2, "10.3": 4, "10.4": 11, "10.5": 5, "10.6": 2, "10.7": 3,
    "11.1": 2, "11.2": 3, "11.3": 3, "11.4": 4, "11.5": 1, "11.6": 1,
    "12.1": 3, "12.2": 2, "12.3": 4,
    "13.1": 1, "13.2": 5, "13.3": 2, "13.4": 5,
    "14.1": 2, "14.2": 4, "14.3": 3,
    "15.1": 3, "15.2": 3, "15.3": 7,
    "16.1": 1, "16.2": 5, "16.3": 4, "16.4": 3, "16.5": 3,
    "17.1": 1, "17.2": 4, "17.3": 2,
}  # fmt: skip


@cache
def named_tests(path: str) -> set[str]:
    tree = ast.parse((HERE / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_each_requirement_of_the_levels_stands_there_once() -> None:
    wanted = [f"{section}.{number}" for section, many in SECTIONS.items() for number in range(1, many + 1)]
    stated = [number for numbers, *_ in ROWS for number in numbers.split(", ")]
    assert sorted(stated) == sorted(wanted)


def test_each_test_that_is_named_exists_and_each_claim_names_one() -> None:
    for numbers, _, state, by in ROWS:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", by)
        assert state in STATES, numbers
        assert named or state != "test", f"{numbers} names no test"
        missing = [
            f"{path}::{name}" for path, name in named if not (HERE / path).is_file() or name not in named_tests(path)
        ]
        assert missing == [], numbers
