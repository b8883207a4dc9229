"""How people type a code, and how a reader of photos takes one letter for another: questions about codes, made anew.

Every question is a spelling of the code in a sentence of the kind that people write; every second one is read off a
photo, with one or two look-alikes in it. The generator is seeded: the same list gives the same questions.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

# What is taken for what, either way, by readers of photos and by people who type off a display.
CONFUSED = {"0": "Oo", "1": "Il", "8": "B", "5": "S", "2": "Z", "O": "0", "I": "1", "B": "8", "S": "5", "Z": "2"}
_SENTENCES = (
    "{}",
    "error {}",
    "Err {}",
    "code: {}",
    "It shows {} on the display, what should I do?",
    "my machine stopped with error code {}",
    "{} keeps coming back since yesterday, please help",
    "What does #{} mean?",
    "The screen says ERROR #{} and nothing moves",
    "Hi, I bought it in 2024 and now I get error no. {} every 20 minutes",
)
# A code without a letter needs a word that says it is one, if it is cut in two.
_MARKED = tuple(sentence for sentence in _SENTENCES if "rr" in sentence.lower() or "#" in sentence)


def questions(codes: Iterable[str], *, each: int = 6, seed: int = 0) -> Iterator[tuple[str, str]]:
    """(code, question) pairs, ``each`` of every code. Placeholders (``XX``) become digits, as a display shows them."""
    chance = random.Random(seed)
    for code in codes:
        for number in range(each):
            shown = "".join(str(chance.randint(1, 9)) if c in "Xx" else c for c in code) if _has_gap(code) else code
            spelt = _spelt(shown, chance)
            if number % 2:
                spelt = _misread(spelt, chance)
            sentences = _SENTENCES if spelt == shown or any(c.isalpha() for c in shown) else _MARKED
            yield code, chance.choice(sentences).format(spelt)


def _has_gap(code: str) -> bool:
    return "XX" in code.upper() and any(c.isdigit() for c in code)


def _spelt(code: str, chance: random.Random) -> str:
    """As it is, in small letters, or with a hyphen, dot or blank between two of its parts."""
    letters = len(code) - len(code.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
    at = letters or len(code) - 3
    ways = [code, code, code.lower()]
    if 0 < at < len(code) and code.isalnum():
        ways += [f"{code[:at]}{mark}{code[at:]}" for mark in "-."]
    if letters == 1 and code.isalnum():
        ways.append(f"{code[0].lower()} {code[1:]}")
    return chance.choice(ways)


def _misread(code: str, chance: random.Random) -> str:
    places = [place for place, character in enumerate(code) if character.upper() in CONFUSED]
    for place in chance.sample(places, min(len(places), chance.randint(1, 2))):
        code = code[:place] + chance.choice(CONFUSED[code[place].upper()]) + code[place + 1 :]
    return code
