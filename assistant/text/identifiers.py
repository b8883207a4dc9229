"""Exact identifiers: error codes, model, part, serial and order numbers, as people type them and OCR misreads them.

`E-21`, `e 21`, `Err 21` and `E21` are the same code, and so are `0x80A4` and `Ox80A4`, which OCR confuses. `spot` finds
identifiers in a text. All spellings of one have the same canonical form, an index key that is never shown.
"""

from __future__ import annotations

import re
import unicodedata

import regex

_TOKEN = re.compile(r"[A-Za-z0-9]+(?:[-_./][A-Za-z0-9]+)*")
# A single letter, a blank and digits: "E 21". Longer words before a number are just words.
_SPACED = regex.compile(r"(?<![\p{Latin}\p{M}\d])([A-Za-z])\s(\d{2,4})(?![\p{Latin}\d])")
# Words for "error" and "code" in the languages that are spoken to customers, and "number" after them.
_ERROR = (
    r"(?<![\p{Latin}\p{Cyrillic}])(?:err(?:or|eur|ore|o)?|codes?|fault|alarm|fehler(?:code)?|st[öo]rung|c[óo]digo"
    r"|codice|fout(?:code|melding)?|storing|b[łl][ąa]d|kod|hata|fel(?:kod)?|ошибк[аиу]|код)(?![\p{Latin}\p{Cyrillic}])"
    r"|エラー(?:コード)?|(?:错误|錯誤|故障)(?:代码|代碼|码)?|代码|代碼|오류|에러|코드|خطأ|(?:ال)?رمز"
)
_NUMBER = r"(?:code|number|no|nr|kodu|b[łl][ęe]du|ошибки)"
# What follows such a word may start with a letter or two and contain look-alikes and separators: "E-21", "I7-2O6".
_AFTER_WORD = regex.compile(
    rf"(?:{_ERROR})[\s.:#-]*+(?:{_NUMBER}[\s.:#-]*+)?"
    r"([A-Za-z]{0,2}[\s-]?[\dOILSZB]{0,30}\d[\dOILSZB]{0,5}(?:[-.\s]?[\dOILSZB]{0,30}\d[\dOILSZB]{0,5})?)"
    r"(?![\p{Latin}\d_])",
    regex.IGNORECASE,
)
_HASH = re.compile(r"#\s?([\dOILSZB]*\d[\dOILSZB]+(?:[-.][\dOILSZB]*\d[\dOILSZB]*)?)(?![A-Za-z0-9_])", re.IGNORECASE)
# Capitals of other alphabets before digits that look like Latin ones: a Russian keyboard's "Е21".
_HOMOGLYPHS = re.compile(r"(?<!\w)[АВЕКМНОРСТХΑΒΕΖΗΙΚΜΝΟΡΤΥΧ]+(?=-?\d)")
_AS_LATIN = str.maketrans("АВЕКМНОРСТХΑΒΕΖΗΙΚΜΝΟΡΤΥΧ", "ABEKMHOPCTXABEZHIKMNOPTYX")
_ORDINAL_OR_UNIT = re.compile(
    r"\d+(?:[.,]\d+)?(?:st|nd|rd|th|x|am|pm|h|s|min|kg|g|mg|m|cm|mm|km|ml|l|v|w|kw|wh|kwh|a|ah|mah|hz|khz|mhz|ghz|gb|mb|tb|k)",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_LOOKALIKES = str.maketrans("OILBSZ", "011852")
_PLACEHOLDERS = 2


def spot(text: str) -> list[str]:
    """Canonical forms of the identifiers in a text, each once, in order."""
    return list(_spot(text))


def certain(text: str) -> set[str]:
    """The identifiers in a text that cannot be anything else: they have a letter, follow "error" or "#", have at least
    five digits, or are the whole text. Other numbers may be years, prices or sizes."""
    return {code for code, sure in _spot(text).items() if sure}


def canonical(identifier: str) -> str:
    """Upper case, without separators, with look-alike letters as digits (O 0, I 1, L 1, B 8, ...)."""
    return re.sub(r"[^A-Z0-9]", "", identifier.upper()).translate(_LOOKALIKES)


def other_forms(code: str) -> list[str]:
    """Other ways a list of codes may write a canonical identifier: E21 as 21, and with X for any digit: 17206 as XX206,
    E2104 as E21XX."""
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
    if not text.isascii():
        text = _HOMOGLYPHS.sub(lambda found: found.group().translate(_AS_LATIN), "".join(map(_plain, text)))
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
            found["E" + code] = True  # a display may write E21 as "Err 21"
    for match in _HASH.finditer(text):
        found[canonical(match.group(1))] = True
    return found


def _plain(character: str) -> str:
    """Wide letters and digits, and the digits of other scripts, as ASCII."""
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    return unicodedata.normalize("NFKC", character) if unicodedata.east_asian_width(character) == "F" else character


def _is_identifier(token: str) -> bool:
    digits = sum(character.isdigit() for character in token)
    if digits == 0 or len(token) > 40:
        return False
    if digits == len(token):
        return digits >= 4 and not _YEAR.fullmatch(token)
    if not any(character.isalpha() for character in token):
        return False  # dates, times, prices, versions
    return not _ORDINAL_OR_UNIT.fullmatch(token)
