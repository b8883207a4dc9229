"""Names of products in a text, as people and OCR write them.

Case, accents, width, blanks and hyphens do not matter: "Brew Master-300" is the BrewMaster 300. A name ends where the
kind of writing changes, so it is found in "HomeLink X1が点滅" and "HomeLinkом", but not in "HomeLink X1s". Scripts
without blanks have no such ends: there a name is found anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import regex

from assistant.text.folding import fold
from assistant.text.words import UNSPACED

# Korean has blanks, but glues its particles to the words before them.
_TOKEN = regex.compile(
    rf"(?V1)(?P<digits>\p{{Nd}}+)|(?P<free>[{UNSPACED}\p{{Hangul}}][\p{{M}}ﾞﾟ]*)"
    rf"|(?P<latin>\p{{Latin}}[\p{{Latin}}\p{{M}}]*)|(?P<other>\p{{L}}[[\p{{L}}\p{{M}}]--{UNSPACED}--\p{{Hangul}}--\p{{Latin}}]*)"
)
# What may stand between two parts of a name.
_GAP = regex.compile(r"[\s\p{Pd}_/'’&+®™©·]{0,3}|\.")
# Keeps digits apart that a gap keeps apart: the X1 0 is not the X10.
_DIGITS_END = "\0"


@dataclass(frozen=True)
class Named:
    """``keys``: what the names stand for, those of longer names first. ``rest``: the text without the names.
    ``places``: (start, end, keys) of each name, in characters of the text, in its order."""

    keys: tuple[str, ...]
    rest: str
    places: tuple[tuple[int, int, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class _Token:
    kind: str
    start: int
    end: int
    folded: str


class Names:
    """Finds names in texts. The time does not depend on the number of names."""

    def __init__(self, names: Iterable[tuple[str, str]]) -> None:
        """``names``: pairs of a name and its key; a name may have several keys."""
        self._keys: dict[str, dict[str, None]] = {}
        for name, key in names:
            joined = ""
            for token in _tokens(name):
                joined = _joined(joined, token)
            if joined:
                self._keys.setdefault(joined, {})[key] = None
        self._beginnings = {name[:length] for name in self._keys for length in range(1, len(name))}

    def find(self, text: str) -> Named:
        """The names in the text; of two that overlap, the first or longer one."""
        if not self._keys:
            return Named((), text)
        tokens = _tokens(text)
        found: list[tuple[int, str]] = []
        places: list[tuple[int, int, tuple[str, ...]]] = []
        rest: list[str] = []
        done = place = 0
        while place < len(tokens):
            last, name = self._longest(text, tokens, place)
            if last is None:
                place += 1
                continue
            found.append((-len(name), name))
            places.append((tokens[place].start, tokens[last].end, tuple(self._keys[name])))
            rest.append(text[done : tokens[place].start])
            done, place = tokens[last].end, last + 1
        longest = [name for _, name in sorted(found, key=lambda one: one[0])]
        keys = dict.fromkeys(key for name in longest for key in self._keys[name])
        return Named(tuple(keys), " ".join([*rest, text[done:]]), tuple(places))

    def _longest(self, text: str, tokens: list[_Token], first: int) -> tuple[int | None, str]:
        """The index of the last token of the longest name that begins at ``first``, and the name; None without one."""
        last, name, joined = None, "", ""
        for place in range(first, len(tokens)):
            if place > first and not _GAP.fullmatch(text, tokens[place - 1].end, tokens[place].start):
                break
            joined = _joined(joined, tokens[place])
            if joined not in self._beginnings and joined not in self._keys:
                break
            if joined in self._keys and _stands_alone(tokens, first, place):
                last, name = place, joined
        return last, name


def _tokens(text: str) -> list[_Token]:
    """Runs of digits, of Latin letters, of letters of other scripts; single letters of scripts without blanks."""
    return [
        _Token(str(match.lastgroup), match.start(), match.end(), fold(match.group())) for match in _TOKEN.finditer(text)
    ]


def _joined(before: str, token: _Token) -> str:
    apart = _DIGITS_END if token.kind == "digits" and before[-1:].isdigit() else ""
    return before + apart + token.folded


def _stands_alone(tokens: list[_Token], first: int, last: int) -> bool:
    """Whether no letter or digit that could belong to the name is glued to it."""
    own = {token.kind for token in tokens[first : last + 1]}
    glued = (own if own - {"digits"} else {*own, "latin", "other"}) | {"digits"}
    before = tokens[first - 1] if first and tokens[first - 1].end == tokens[first].start else None
    after = tokens[last + 1] if last + 1 < len(tokens) and tokens[last + 1].start == tokens[last].end else None
    edges = ((before, tokens[first]), (after, tokens[last]))
    return not any(
        beside is not None and beside.kind in glued and "free" not in (beside.kind, edge.kind) for beside, edge in edges
    )
