"""Exact identifiers: error codes, model, part, serial and order numbers, as people type and readers misread them.

`E-21`, `e 21`, `Err 21` and `E21` are the same code, and so are `0x80A4` and `Ox80A4`, which a reader of photos takes
for each other. `spot` finds identifiers in a text; all spellings of one have the same canonical form, which is an
index key and never shown.
"""

from __future__ import annotations

import re

_TOKEN = re.compile(r"[A-Za-z0-9]+(?:[-_./][A-Za-z0-9]+)*")
# A single letter and digits with a blank between: "E 21". Other words before a number are just words.
_SPACED = re.compile(r"\b([A-Za-z])\s(\d{2,4})\b")
_AFTER_WORD = re.compile(
    r"\b(?:err(?:or|eur|ore)?|code|fault|alarm|fehler(?:code)?|st[öo]rung|c[óo]digo|codice)\b"
    r"[\s.:#-]*(?:code|number|no|nr)?[\s.:#-]*([A-Za-z]{0,2}[\s-]?\d{1,6})\b",
    re.IGNORECASE,
)
_HASH = re.compile(r"#\s?(\d{2,})\b")
_ORDINAL_OR_UNIT = re.compile(
    r"\d+(?:[.,]\d+)?(?:st|nd|rd|th|x|am|pm|h|s|min|kg|g|mg|m|cm|mm|km|ml|l|v|w|kw|wh|kwh|a|ah|mah|hz|khz|mhz|ghz|gb|mb|tb|k)",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_LOOKALIKES = str.maketrans("OILBSZ", "011852")


def spot(text: str) -> list[str]:
    """Canonical forms of the identifiers in a text, in order, each once."""
    found: dict[str, None] = {}
    for match in _TOKEN.finditer(text):
        if _is_identifier(match.group()):
            found[canonical(match.group())] = None
    for match in _SPACED.finditer(text):
        if match.group(1) not in "aAI":  # "a 20 minute walk", "I 20"
            found[canonical(match.group(1) + match.group(2))] = None
    for match in _AFTER_WORD.finditer(text):
        code = canonical(match.group(1))
        # "Err 21" is how a display without room writes E21.
        found.update(dict.fromkeys([code, "E" + code] if code.isdigit() else [code]))
    for match in _HASH.finditer(text):
        found[canonical(match.group(1))] = None
    return list(found)


def canonical(identifier: str) -> str:
    """Upper case, without separators, look-alike letters as the digits they are taken for (O 0, I 1, L 1, B 8, ...)."""
    return re.sub(r"[^A-Z0-9]", "", identifier.upper()).translate(_LOOKALIKES)


def _is_identifier(token: str) -> bool:
    digits = sum(character.isdigit() for character in token)
    if digits == 0 or len(token) > 40:
        return False
    if digits == len(token):
        return digits >= 4 and not _YEAR.fullmatch(token)
    if not any(character.isalpha() for character in token):
        return False  # dates, times, prices, versions
    return not _ORDINAL_OR_UNIT.fullmatch(token)
