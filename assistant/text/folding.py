"""Text as it is compared when capitals, accents and ways of writing must not matter, in any script.

`fold` is applied to what is searched and to what is searched for, in Python, so that every database finds the same:
SQLite's own lower() knows ASCII alone, and PostgreSQL's depends on the locale.
"""

from __future__ import annotations

import unicodedata

# Signs that decompose into letters and would join the word before them: "TrailMaster™".
_SIGNS = str.maketrans("™℠℡", "   ")
# Letters without a decomposition that are typed, or printed, in more than one way.
_LETTERS = str.maketrans(
    {
        "ı": "i", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ŧ": "t", "æ": "ae", "œ": "oe", "þ": "th",
        "ٱ": "ا", "ى": "ي", "ی": "ي", "ک": "ك", "ە": "ه", "ہ": "ه", "ة": "ه", "ـ": None,
        "‘": "'", "’": "'", "ʼ": "'", "′": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"',
        "‐": "-", "‒": "-", "–": "-", "—": "-", "−": "-", "\u034f": None,
        **{chr(selector): None for selector in range(0xFE00, 0xFE10)},
        **{chr(katakana): chr(katakana - 0x60) for katakana in range(0x30A1, 0x30F7)},
    }
)  # fmt: skip
# Combining classes of marks that make another letter rather than an accent: nukta, the voicing of kana, virama, and the
# vowels and tones of Telugu, Thai, Lao and Tibetan. Vowel signs of Indic scripts have class 0.
_LETTER_MARKS = {0, *range(7, 10), *range(84, 133)}


def fold(text: str) -> str:
    """The text without differences of case, accents, width, presentation forms, direction marks and white space.

    Vowels and tones that tell words apart in Indic and South-East Asian scripts stay, and so do Hangul syllables."""
    if text.isascii():
        return " ".join(text.lower().split())
    # Case folding may bring new marks: "İ" becomes "i" and a dot.
    decomposed = unicodedata.normalize("NFKD", text.translate(_SIGNS)).casefold()
    letters = "".join(map(_plain, unicodedata.normalize("NFKD", decomposed)))
    return " ".join(unicodedata.normalize("NFC", letters.translate(_LETTERS)).split())


def address(email: str) -> str:
    """An e-mail address as it is stored and looked up: capitals do not matter, accents do."""
    return unicodedata.normalize("NFKC", email.strip()).lower()


def _plain(character: str) -> str:
    """A digit of any script as ASCII, nothing for an accent or an invisible mark, else the character."""
    if character.isascii():
        return character
    if unicodedata.combining(character) not in _LETTER_MARKS or unicodedata.category(character) == "Cf":
        return ""
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)
