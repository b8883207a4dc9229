"""What the bytes of a text file mean: read rightly, or refused with the reason, but never as a jumble.

A detector proposes a character set. It is a guess on short files, so what comes out must also look like writing: words
of one script, no capitals or signs inside them.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator

from assistant.errors import Invalid

_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What office programs and old systems save text in. The detector knows dozens more, and then errs more often.
_CHARSETS = (
    "gb18030 big5hkscs cp932 shift_jis_2004 euc_jis_2004 cp949 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 "
    "cp1258 cp874 koi8-r koi8-u cp866 cp850 cp852 mac-roman mac-cyrillic iso8859-2 iso8859-5 iso8859-7 iso8859-9"
).split()
_WESTERN = ("cp1252", "mac_roman")
_OF_DOS = {"cp850", "cp852", "IBM866"}
# Of 142 texts of 4 to 110 characters in 20 character sets, it was right of all that looked like writing from .06 on.
_SURE = 0.08
_GUESS = 0.02
# From here on it is believed more than what a file says of itself.
_VERY_SURE = 0.5
_SAMPLE = 200_000
_BEFORE = 2_000
_MOST_ODD = 0.02  # of the words that are not plain ASCII
_WORD = re.compile(r"[^\W\d_]+")
_APART = {"LATIN", "CYRILLIC", "GREEK", "HEBREW", "ARABIC", "HALFWIDTH", "THAI"}
# Signs that may stand between two letters, and letters with accents that are words.
_JOINING = "’‘'·‐–—…ʼ\u00ad\u200c\u200d"
_WORDS = set("àèéêóíáúýìòâôåöæÀÈÉÓÅÖáú")


def to_text(data: bytes, *, declared: str | None = None) -> str:
    """``declared``: the character set that the file or its sender names, which may be wrong."""
    for mark, charset in _MARKS.items():
        if data.startswith(mark):
            return data[len(mark) if charset == "utf-8" else 0 :].decode(charset, errors="replace")
    if b"\0" in data:
        return _wide(data)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if (text := _mend(data)) is not None:
            return text
        return _narrow(data, declared, error)


def _wide(data: bytes) -> str:
    """UTF-16 without its mark: blanks, commas and line ends have a NUL, always on the same side."""
    zeros = [data[side::2].count(0) for side in (0, 1)]
    if min(zeros) * 20 <= max(zeros) and len(data) % 2 == 0:
        try:
            text = data.decode("utf-16-le" if zeros[1] > zeros[0] else "utf-16-be")
        except UnicodeDecodeError:
            text = ""
        if text and _is_writing(text):
            return text
    raise Invalid("is not a text file")


def _mend(data: bytes) -> str | None:
    """UTF-8 in which a few bytes are of another character set, as when files are joined."""
    text = data.decode("utf-8", errors="surrogateescape")
    foreign = len(re.findall(r"[\udc80-\udcff]", text))
    own = len(re.findall(r"[^\x00-\x7f\udc80-\udcff]", text))
    if foreign * 20 > own:
        return None
    return re.sub(
        r"[\udc80-\udcff]", lambda byte: bytes([ord(byte.group()) - 0xDC00]).decode("cp1252", "replace"), text
    )


def _narrow(data: bytes, declared: str | None, error: UnicodeDecodeError) -> str:
    import chardet

    # What comes before is ASCII, in which nothing can be told.
    telling = data[max(0, error.start - _BEFORE) :][:_SAMPLE]
    found = chardet.detect(telling, include_encodings=_CHARSETS, max_bytes=_SAMPLE)
    confidence = found["confidence"] or 0.0
    detected = _try(data, found["encoding"])
    said = _try(data, declared) if declared is not None else None
    if said is not None and (confidence < _VERY_SURE or detected is None or said == detected):
        return said
    if detected is not None and confidence >= _SURE:
        return detected
    charsets = {*_WESTERN, found["encoding"] if confidence >= _GUESS else "cp1252"} - _OF_DOS
    readings = {_try(data, charset) for charset in charsets} - {None}
    if len(readings) == 1 and (only := readings.pop()) is not None:
        return only
    line = data[: error.start].count(b"\n") + 1
    raise Invalid(f"is not UTF-8 (line {line}), and its character set cannot be told. Save it as UTF-8") from error


def _try(data: bytes, charset: str | None) -> str | None:
    """The text, unless it is none in that character set."""
    try:
        # As browsers do: what is declared as Latin-1 is Windows' Western European.
        name = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932"}
        known = codecs.lookup(charset or "").name
        text = data.decode(name.get(known, known))
    except (LookupError, UnicodeDecodeError, ValueError):
        return None
    return text if isinstance(text, str) and _is_writing(text) else None


def _is_writing(text: str) -> bool:
    first = re.search(r"[^\x00-\x7f]", text)
    start = max(0, first.start() - _BEFORE) if first is not None else len(text)
    words = odd = 0
    for is_odd in _judge(text[start : start + _SAMPLE]):
        words += 1
        odd += is_odd
    return odd <= _MOST_ODD * words


def _judge(text: str) -> Iterator[bool]:
    """For each word or sign that is not plain ASCII, whether it is an odd one."""
    for match in re.finditer(r"[^\x00-\x7f]", text):
        if unicodedata.category(match.group()) in ("Cc", "Cn", "Co", "Cs"):
            yield True
    for word in _WORD.finditer(text):
        if not word.group().isascii():
            yield _is_odd(word.group())
    for sign in re.finditer(r"(?<=[^\W\d_])([^\w\x00-\x7f\s]|[²³¹ªº½¼¾])(?=[^\W\d_])", text):
        beside = text[sign.start() - 1] + text[sign.end()]
        if sign.group() not in _JOINING and unicodedata.category(sign.group())[0] != "M":
            yield all(one.isascii() or "LATIN" in unicodedata.name(one, "") for one in beside)


def _is_odd(word: str) -> bool:
    scripts = {unicodedata.name(letter, "?").split()[0] for letter in word}
    if re.search(r"[ˆˇ˘-˝ﬀ-ﬆ]", word):  # accents on their own and ligatures, which nobody types
        return True
    if len(scripts & _APART) > 1 or re.search(r"[a-z][⺀-鿿][a-z]", word):
        return True
    if scripts == {"LATIN"}:
        is_alone = len(word) == 1 and word not in _WORDS
        foreign = sum(not letter.isascii() for letter in word)
        has_capital_inside = re.search(r"[^\W\d_A-Z][À-ÞŠŽŸŒ]|[A-Z][À-Þ][a-zß-ÿ]", word) and not word.isupper()
        return is_alone or bool(has_capital_inside) or foreign > max(1, 0.6 * len(word))
    if "CYRILLIC" in scripts:
        return re.search(r"[а-яё][А-ЯЁ]", word) is not None
    return False
