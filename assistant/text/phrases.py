"""Words and phrases looked for in a text, however they are written there.

Capitals, accents, width and punctuation do not matter (`folding`), nor whether parts of a name are written together
("Falcon 9", "falcon9"). Of endings, those of English are known (`words.stem`), and of words of four letters and more
up to two letters may follow: "Garantie" is found in "Garantien". What changes a word's stem, or stands between the
words of a phrase, makes another one: "fully refunded" or "a full and prompt refund" is no "full refund".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from assistant.text.words import stem, words_of

_ENDING = 2
_SHORTEST = 4  # letters of a word that may have an ending of a language that the stemmer does not know


def first_in(text: str, phrases: Iterable[str]) -> str | None:
    """The first of these phrases that the text has, or None."""
    words = words_of(text)
    return next((phrase for phrase in phrases if _has(words, words_of(phrase))), None)


def _has(words: Sequence[str], phrase: Sequence[str]) -> bool:
    if not phrase:
        return False
    joined = "".join(phrase)
    return any(
        _fits(words[start : start + len(phrase)], phrase) or _spells(words[start:], joined)
        for start in range(len(words))
    )


def _fits(words: Sequence[str], phrase: Sequence[str]) -> bool:
    return len(words) == len(phrase) and all(map(_is_form_of, words, phrase))


def _is_form_of(word: str, looked_for: str) -> bool:
    if word == looked_for or stem(word) == stem(looked_for):
        return True
    longer = len(word) - len(looked_for)
    return len(looked_for) >= _SHORTEST and 0 < longer <= _ENDING and word.startswith(looked_for) and word.isalpha()


def _spells(words: Iterable[str], joined: str) -> bool:
    """Whether the first of the words, written together, are this."""
    written = ""
    for word in words:
        written += word
        if written == joined:
            return True
        if not joined.startswith(written):
            return False
    return False
