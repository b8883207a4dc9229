"""Every regular expression of the product, and texts made to slow each of them down."""

from __future__ import annotations

import ast
import builtins
import importlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import assistant
from tests.conftest import LONG

_ROOT = Path(assistant.__file__).parent
_METHODS = ("compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer")
# Examples of a pattern's parts are taken from these, as far as the part allows them.
_ALPHABET = "aZé1 \n\t-_.,:;!?/\\'\"()[]{}<>|@#$%&*+=^~`ß中\0"


# Long alternations have thousands of similar beginnings.
_MOST_ATTACKS = 150 if LONG else 50


@dataclass(frozen=True)
class Expression:
    """A regular expression where it stands; ``method``: how it is used, as far as can be told."""

    where: str
    pattern: re.Pattern[Any]
    method: str


def expressions() -> list[Expression]:
    """All of the product, found in its source and compiled in their module."""
    return [one for file in sorted(_ROOT.rglob("*.py")) for one in _expressions_in(file)]


def _expressions_in(file: Path) -> Iterator[Expression]:
    """Those that are kept in the module, compiled, and those that stand in calls."""
    source = file.read_text(encoding="utf-8")
    if not re.search(r"\bre\.\w+\(", source):
        return
    name = ".".join(file.relative_to(_ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    namespace = vars(importlib.import_module(name))
    for variable, value in namespace.items():
        uses = set(re.findall(rf"\b{variable}(?:\[\w+\])?\.(\w+)\(", source))
        for pattern in _kept(value):
            yield Expression(f"{name}.{variable}", pattern, _most_expensive(uses))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and _called(call) in _METHODS:
                    pattern = re.compile(_value(call.args[0], namespace), _flags(call, namespace))
                    yield Expression(f"{name}:{call.lineno}", pattern, _most_expensive({_called(call)}))


def _kept(value: Any) -> list[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        return [value]
    members = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [member for member in members if isinstance(member, re.Pattern)]


def _most_expensive(uses: set[str]) -> str:
    """A search tries every place of a text, a match only its beginning."""
    return next(iter(uses)) if uses in ({"match"}, {"fullmatch"}) else "search"


def _called(call: ast.Call) -> str:
    function = call.func
    is_of_re = isinstance(function, ast.Attribute) and ast.unparse(function.value) == "re"
    return function.attr if isinstance(function, ast.Attribute) and is_of_re else ""


class _Anything(dict[str, Any]):
    """Stands for what is only known where the product runs: a person's name, a product's."""

    def __missing__(self, key: str) -> Any:
        if hasattr(builtins, key):
            raise KeyError(key)
        return ["name", "name"] if key == "parts" else "name"


def _value(node: ast.expr, namespace: dict[str, Any]) -> Any:
    return eval(compile(ast.Expression(node), "pattern", "eval"), {}, _Anything(namespace))


def _flags(call: ast.Call, namespace: dict[str, Any]) -> int:
    for node in [*call.args[1:], *(keyword.value for keyword in call.keywords)]:
        if "re." in ast.unparse(node) and isinstance(node, ast.Attribute | ast.BinOp):
            return int(_value(node, namespace))
    return 0


def attacks(pattern: re.Pattern[Any]) -> list[Callable[[int], Any]]:
    """Functions from a length to a text of about that length."""
    tree = parser.parse(pattern.pattern, pattern.flags & (re.IGNORECASE | re.DOTALL | re.MULTILINE | re.VERBOSE))
    parts = dict.fromkeys(part for part in _pumps(tree, ("",)) if part[1])
    characters = list(dict.fromkeys(pump[0] for _, pump, _ in parts))[:12]
    pairs = dict.fromkeys(("", one + other, "") for one in characters for other in characters)
    every = max(1, len(parts) // _MOST_ATTACKS)
    return [_attack(pattern, *part) for part in [*list(parts)[::every], *pairs]]


def _attack(pattern: re.Pattern[Any], before: str, pump: str, after: str) -> Callable[[int], Any]:
    def make(length: int) -> Any:
        text = before + pump * max(1, (length - len(before) - len(after)) // len(pump)) + after
        return text.encode(errors="replace") if isinstance(pattern.pattern, bytes) else text

    return make


def _pumps(tree: Any, befores: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    """(before, repeated, after) for each repetition in the pattern and for each beginning of it."""
    for at, (kind, argument) in enumerate(tree):
        if kind in _REPEATS and argument[1] > 8:
            afters = ("", "\0", "!", "\n", " ", *_examples(tree[at + 1 :])[:1])
            yield from product(befores[:2], _examples(argument[2]), afters)
        for inside in _inside(kind, argument):
            yield from _pumps(inside, befores)
        befores = tuple(before + example for before in befores for example in _examples([(kind, argument)])[:2])[:4]
        yield from product([""], befores[:2], ["", "\0", " "])


def _inside(kind: Any, argument: Any) -> list[Any]:
    """The patterns that this part is made of."""
    if kind is op.BRANCH:
        return list(argument[1])
    if kind is op.ATOMIC_GROUP:
        return [argument]
    return [argument[-1]] if kind in (*_REPEATS, op.SUBPATTERN, op.ASSERT, op.ASSERT_NOT) else []


def _examples(tree: Any) -> list[str]:
    """Some texts that match this part of a pattern, up to look-arounds."""
    found = [""]
    for kind, argument in tree:
        found = [text + more for text in found[:3] for more in _examples_of(kind, argument)[:4]][:6]
    return found


def _examples_of(kind: Any, argument: Any) -> list[str]:
    sets = {op.LITERAL: [(kind, argument)], op.NOT_LITERAL: [(op.NEGATE, None), (op.LITERAL, argument)]}
    sets |= {op.ANY: [(op.LITERAL, ord("a")), (op.LITERAL, ord(" "))], op.IN: argument}
    if kind in sets:
        return _members(sets[kind])
    if kind in _REPEATS:
        least, most, body = argument
        return [example * max(least, min(1, most)) for example in _examples(body)]
    inside = _inside(kind, argument) if kind not in (op.ASSERT, op.ASSERT_NOT) else []
    return [example for one in inside for example in _examples(one)[: 1 if len(inside) > 1 else 6]] or [""]


def _members(items: Any) -> list[str]:
    """Up to four characters of a set."""
    compiled = re.compile(f"[{''.join(_set_source(*item) for item in items)}]")
    named = "".join(chr(value) for kind, value in items if kind is op.LITERAL)
    return [character for character in _ALPHABET + named if compiled.fullmatch(character)][:4] or ["a"]


def _set_source(kind: Any, value: Any) -> str:
    if kind is op.RANGE:
        return f"\\U{value[0]:08x}-\\U{value[1]:08x}"
    return {op.NEGATE: "^", op.CATEGORY: _CATEGORIES.get(value, "")}.get(kind) or f"\\U{value:08x}"


_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)
_CATEGORIES = {
    op.CATEGORY_DIGIT: r"\d", op.CATEGORY_NOT_DIGIT: r"\D", op.CATEGORY_SPACE: r"\s",
    op.CATEGORY_NOT_SPACE: r"\S", op.CATEGORY_WORD: r"\w", op.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip
