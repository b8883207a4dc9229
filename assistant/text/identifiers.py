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
# What follows may have a letter or two in front, and look-alike letters and separators within: "E-21", "I7-2O6".
_AFTER_WORD = re.compile(
    r"\b(?:err(?:or|eur|ore)?|codes?|fault|alarm|fehler(?:code)?|st[öo]rung|c[óo]digo|codice)\b"
    r"[\s.:#-]*(?:code|number|no|nr)?[\s.:#-]*"
    r"([A-Za-z]{0,2}[\s-]?[\dOILSZB]*\d[\dOILSZB]{0,5}(?:[-.\s]?[\dOILSZB]*\d[\dOILSZB]{0,5})?)\b",
    re.IGNORECASE,
)
_HASH = re.compile(r"#\s?([\dOILSZB]*\d[\dOILSZB]+(?:[-.][\dOILSZB]*\d[\dOILSZB]*)?)\b", re.IGNORECASE)
_ORDINAL_OR_UNIT = re.compile(
    r"\d+(?:[.,]\d+)?(?:st|nd|rd|th|x|am|pm|h|s|min|kg|g|mg|m|cm|mm|km|ml|l|v|w|kw|wh|kwh|a|ah|mah|hz|khz|mhz|ghz|gb|mb|tb|k)",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_LOOKALIKES = str.maketrans("OILBSZ", "011852")
_PLACEHOLDERS = 2


def spot(text: str) -> list[str]:
    """Canonical forms of the identifiers in a text, in order, each once."""
    return list(_spot(text))


def certain(text: str) -> set[str]:
    """Those identifiers of a text that are meant as such: with a letter, after "error" or "#", of five digits or more,
    or all there is. Other numbers may be years, prices or sizes."""
    return {code for code, sure in _spot(text).items() if sure}


def canonical(identifier: str) -> str:
    """Upper case, without separators, look-alike letters as the digits they are taken for (O 0, I 1, L 1, B 8, ...)."""
    return re.sub(r"[^A-Z0-9]", "", identifier.upper()).translate(_LOOKALIKES)


def other_forms(code: str) -> list[str]:
    """How a list may give a canonical identifier that is not found as it is: E21 as 21, and with X for any digit, 17206
    as XX206, E2104 as E21XX."""
    forms = [code, code[1:]] if code[:1] == "E" and code[1:].isdigit() and len(code) > 2 else [code]
    for form in tuple(forms):
        for number in range(1, min(_PLACEHOLDERS, len(form) - 1) + 1):
            if form[:number].isdigit():
                forms.append("X" * number + form[number:])
            if form[-number:].isdigit():
                forms.append(form[:-number] + "X" * number)
    return [form for form in forms[1:] if any(character.isdigit() for character in form)]


def _spot(text: str) -> dict[str, bool]:
    """Canonical form to whether it is certainly an identifier."""
    found: dict[str, bool] = {}
    for match in _TOKEN.finditer(text):
        token = match.group()
        if _is_identifier(token):
            code = canonical(token)
            sure = not token.isdigit() or len(token) >= 5 or token == text.strip()
            found[code] = found.get(code, False) or sure
    for match in _SPACED.finditer(text):
        if match.group(1) not in "aAI":  # "a 20 minute walk", "I 20"
            found[canonical(match.group(1) + match.group(2))] = True
    for match in _AFTER_WORD.finditer(text):
        code = canonical(match.group(1))
        found[code] = True
        if code.isdigit() and len(code) <= 4:
            found["E" + code] = True  # "Err 21" is how a display without room writes E21
    for match in _HASH.finditer(text):
        found[canonical(match.group(1))] = True
    return found


def _is_identifier(token: str) -> bool:
    digits = sum(character.isdigit() for character in token)
    if digits == 0 or len(token) > 40:
        return False
    if digits == len(token):
        return digits >= 4 and not _YEAR.fullmatch(token)
    if not any(character.isalpha() for character in token):
        return False  # dates, times, prices, versions
    return not _ORDINAL_OR_UNIT.fullmatch(token)
