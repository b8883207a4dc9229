"""No regular expression of the product takes long, whatever it is given."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.attacks import Expression, attacks, expressions

pytestmark = pytest.mark.slow

# Twice the text takes a linear expression twice the time, a quadratic one four times.
_MOST_GROWTH = 3.0
# Shorter times say nothing about growth. An expression that stays below them at the longest message does no harm.
_NOTICEABLE = 0.03
_TRIES = 3
# In small steps, because an exponential expression takes thousands of times as long for twice the text.
_LENGTHS = [round(24 * 1.2**step) for step in range(23)]
_MESSAGE = 20_000


def _use(one: Expression) -> Callable[[Any], object]:
    if one.method != "search":
        return getattr(one.pattern, one.method)
    return lambda text: sum(1 for _ in one.pattern.finditer(text))


def _seconds(use: Callable[[Any], object], text: Any) -> float:
    """Processor time."""
    started = time.process_time()
    use(text)
    return time.process_time() - started


def slow_text(one: Expression) -> str | None:
    """The beginning of a text on which the expression takes more than linear time; None if no attack finds any."""
    use = _use(one)
    return next((repr(attack(48)) for attack in attacks(one.pattern) if _is_slow(use, attack)), None)


def _is_slow(use: Callable[[Any], object], attack: Callable[[int], Any]) -> bool:
    # A linear expression takes a thousandth of what is noticed for texts as short as these.
    if any(_is_noticed(use, attack(length)) for length in _LENGTHS):
        return True
    # A quadratic one that takes less than this here stays unnoticed at the longest message.
    if _seconds(use, attack(_MESSAGE // 4)) < _NOTICEABLE / 16:
        return False
    return any(_grows(use, attack, length) for length in (_MESSAGE // 8, _MESSAGE // 4, _MESSAGE // 2))


def _grows(use: Callable[[Any], object], attack: Callable[[int], Any], length: int) -> bool:
    """Whether twice the length takes noticeable time, and too much."""
    text, twice = attack(length), attack(2 * length)
    return _is_noticed(use, twice, beside=lambda: _MOST_GROWTH * _seconds(use, text))


def _is_noticed(use: Callable[[Any], object], text: Any, *, beside: Callable[[], float] = lambda: 0.0) -> bool:
    """Whether it takes that long every time: collecting garbage, and a busy machine, make single ones slow."""
    return all(_seconds(use, text) > max(_NOTICEABLE, beside()) for _ in range(_TRIES))


EXPRESSIONS = expressions()


def test_they_are_found_where_they_stand() -> None:
    places = {one.where.rpartition(".")[2].rpartition(":")[0] or one.where for one in EXPRESSIONS}
    assert len(EXPRESSIONS) > 80
    assert any("personal_data" in one.where for one in EXPRESSIONS), places


@pytest.mark.parametrize(
    ("pattern", "is_slow"),
    [
        (r"(?:<!--.*?-->\s*)*<svg", True),
        (r"(?:a+)+b", True),
        (r"\s+$", True),
        (r"<!--.*?-->", True),
        (r"x\s*\s*y", True),
        (r"\w+", False),
        (r"x\s*+y", False),
        (r"[^\s]{1,64}@", False),
    ],
)
def test_an_attack_is_known_from_a_harmless_text(pattern: str, *, is_slow: bool) -> None:
    found = slow_text(Expression("here", re.compile(pattern, re.DOTALL), "search"))
    assert (found is not None) == is_slow


@pytest.mark.parametrize("one", EXPRESSIONS, ids=lambda one: one.where.removeprefix("assistant."))
def test_twice_the_text_takes_twice_the_time(one: Expression) -> None:
    assert slow_text(one) is None
