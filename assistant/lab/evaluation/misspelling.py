"""Generated questions about codes: how people spell them, and how OCR misreads them.

Every question is a spelling of the code in a typical sentence; every second one has one or two characters replaced by
look-alikes, as if read from a photo. The generator is seeded: the same codes give the same questions.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

# Look-alikes that OCR, and people copying from a display, mistake for each other.
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
# A code of digits that is split in two is recognisable only beside a word such as "error".
_MARKED = tuple(sentence for sentence in _SENTENCES if "rr" in sentence.lower() or "#" in sentence)


def questions(codes: Iterable[str], *, each: int = 6, seed: int = 0) -> Iterator[tuple[str, str]]:
    """(code, question) pairs, ``each`` times for every code. Placeholders (``XX``) become digits, as on a display."""
    chance = random.Random(seed)
    for code in codes:
        has_placeholder = "XX" in code.upper() and any(c.isdigit() for c in code)
        for number in range(each):
            shown = "".join(str(chance.randint(1, 9)) if has_placeholder and c in "Xx" else c for c in code)
            spelling = _spelling(shown, chance)
            if number % 2:
                spelling = _with_lookalikes(spelling, chance)
            sentences = _SENTENCES if spelling == shown or any(c.isalpha() for c in shown) else _MARKED
            yield code, chance.choice(sentences).format(spelling)


def _spelling(code: str, chance: random.Random) -> str:
    """Unchanged, in lower case, or with a hyphen, dot or space between two parts."""
    letters = len(code) - len(code.lstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
    at = letters or len(code) - 3
    ways = [code, code, code.lower()]
    if 0 < at < len(code) and code.isalnum():
        ways += [f"{code[:at]}{mark}{code[at:]}" for mark in "-."]
    if letters == 1 and code.isalnum():
        ways.append(f"{code[0].lower()} {code[1:]}")
    return chance.choice(ways)


def _with_lookalikes(code: str, chance: random.Random) -> str:
    places = [place for place, character in enumerate(code) if character.upper() in CONFUSED]
    for place in chance.sample(places, min(len(places), chance.randint(1, 2))):
        code = code[:place] + chance.choice(CONFUSED[code[place].upper()]) + code[place + 1 :]
    return code
