"""Texts in which names and addresses are known, made up for training: support talk with and without people in it.

Names are put into sentences that were written for them (`people.toml`), and anywhere into others; so is what looks like
them and is neither. Texts are also made as people type: without capitals, in capitals, without accents, misspelt.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from zlib import crc32

from assistant.lab.training.people_lists import Country
from assistant.lab.training.people_names import Names
from assistant.text.people import ADDRESS, NAME, NOTHING

_HELD_OUT = 10  # one of so many names, addresses and texts is kept out of training
_SLOT = re.compile(r"\{([a-z])\}")
_AROUND = (
    (" ", " "), (" ", " "), (" ", ", "), (", ", ", "), (" (", ") "), (": ", "\n"), ("\n", "\n"), (" ", "'s "),
    (" ", ". "),
)  # fmt: skip
_AND = (" and ", " & ", ", ", " or ", " und ", " et ", " y ", " e ", "\n")


@dataclass(frozen=True)
class Marked:
    """A text and the kind of each of its characters, as `text.people` numbers them."""

    text: str
    kinds: bytes

    @classmethod
    def all(cls, text: str, kind: int) -> Marked:
        return cls(text, bytes([kind]) * len(text))

    @classmethod
    def join(cls, parts: Sequence[Marked]) -> Marked:
        return cls("".join(part.text for part in parts), b"".join(part.kinds for part in parts))


class Author:
    """Writes texts of its part of the lists: those for training, or those that are kept ``apart``. ``talk``: messages
    with the lines they were made from; ``plain``: other texts without people; ``words``: frequent ones; by language."""

    def __init__(
        self,
        countries: Sequence[Country],
        talk: Mapping[str, Sequence[tuple[str, str]]],
        plain: Mapping[str, Sequence[str]],
        words: Mapping[str, Sequence[str]],
        random: Random,
        *,
        apart: bool,
    ) -> None:
        def belongs(item: str) -> bool:
            return (crc32(item.encode()) % _HELD_OUT == 0) == apart

        self._random, self._usual = random, words
        self._names = Names([one.part(belongs) for one in countries], random)
        self.talk = {language: [text for line, text in some if belongs(line)] for language, some in talk.items()}
        self.plain = {
            language: [text for text in some if belongs(text)] for language, some in plain.items() if len(some) > 50
        }
        frames = tomllib.loads(Path(__file__).with_name("people.toml").read_text(encoding="utf-8"))
        self._frames = {
            language: [line.replace("\\n", "\n") for line in lines.strip().splitlines()]
            for language, lines in frames.items()
        }

    def write(self) -> Marked:
        """A text with people or without, more of these."""
        language, draw = self._language(self.plain), self._random.random()
        if draw < 0.32:
            written = Marked.all(self._words(language), NOTHING)
        elif draw < 0.75:
            written = self._spliced(language, self._someone(language) if draw < 0.48 else self._nobody(language))
        else:
            language = self._language(self._frames)
            written = self._fill(self._random.choice(self._frames[language]), language)
            if self._random.random() < 0.3:
                more = self._random.choice((" ", ". ", "\n")) + self._words(language)
                written = Marked.join([written, Marked.all(more, NOTHING)])
        return self._misspelt(self._typed(written))

    def _language(self, among: Mapping[str, Any]) -> str:
        """English mostly, then those that we have messages in."""
        draw = self._random.random()
        if draw < 0.35:
            return "en"
        return self._random.choice(sorted(self.talk.keys() & among.keys() if draw < 0.75 else among))

    def _words(self, language: str) -> str:
        draw = self._random.random()
        if language in self._usual and draw < 0.25:
            return self._jumble(self._usual[language])
        some = self.plain.get(language) or self.plain["en"]
        if draw < 0.65:
            some = self.talk.get(language) or some
        text = self._random.choice(some)
        while len(text) < 300 and self._random.random() < 0.3:
            text = f"{text} {self._random.choice(some)}"
        return text

    def _jumble(self, words: Sequence[str]) -> str:
        """Frequent words in any order: what a word is, without what stands beside it."""
        rarely = self._random.choice((1, 3))
        count = self._random.randint(2, 9)
        picked = [words[int(len(words) * self._random.random() ** rarely)] for _ in range(count)]
        if self._random.random() < 0.4:
            at = self._random.randrange(count)
            picked[at] = picked[at].capitalize()
        return " ".join(picked)

    def _someone(self, language: str) -> Marked:
        draw = self._random.random()
        if draw < 0.6:
            return Marked.all(self._names.name(language), NAME)
        return self._several(language) if draw < 0.75 else Marked.all(self._names.address(language), ADDRESS)

    def _several(self, language: str) -> Marked:
        *names, last = self._names.several(language)
        before_last = self._random.choice(_AND)
        between = Marked.all(before_last if before_last == "\n" else ", ", NOTHING)
        parts = [part for name in names for part in (Marked.all(name, NAME), between)]
        return Marked.join([*parts[:-1], Marked.all(before_last, NOTHING), Marked.all(last, NAME)])

    def _nobody(self, language: str) -> Marked:
        """What has capitals and is no one: places, products and the like, or words that are written like a title."""
        if self._random.random() < 0.55:
            return Marked.all(self._names.look_alike(language), NOTHING)
        spoken = "en" if self._random.random() < 0.5 else language
        words = self._usual.get(spoken) if self._random.random() < 0.4 else None
        words = words or self._words(spoken).split() or ["Order"]
        start = self._random.randrange(len(words))
        picked = words[start : start + self._random.choice((1, 1, 2, 2, 3, 4))]
        return Marked.all(" ".join(word.capitalize() for word in picked), NOTHING)

    def _spliced(self, language: str, put: Marked) -> Marked:
        """Words with something put between them, or in the place of one."""
        words = self._words(language)
        at = self._random.choice([0, *(match.end() for match in re.finditer(r"\s", words)), len(words)])
        before, after = words[:at].rstrip(), words[at:]
        if self._random.random() < 0.5:
            after = re.sub(r"^\S+\s*", "", after)
        left, right = self._random.choice(_AROUND)
        before, after = f"{before}{left}" if before else "", f"{right}{after}" if after else ""
        return Marked.join([Marked.all(before, NOTHING), put, Marked.all(after, NOTHING)])

    def _fill(self, frame: str, language: str) -> Marked:
        pieces = enumerate(_SLOT.split(frame))
        return Marked.join(
            [self._slot(piece, language) if number % 2 else Marked.all(piece, NOTHING) for number, piece in pieces]
        )

    def _slot(self, slot: str, language: str) -> Marked:
        names, country = self._names, self._names.country(language)
        if slot == "n":
            return Marked.all(names.name(language), NAME)
        if slot in ("f", "l"):
            return Marked.all(self._random.choice(country.firsts if slot == "f" else country.lasts), NAME)
        if slot == "a":
            return Marked.all(names.address(language), ADDRESS)
        if slot == "w":
            return Marked.all(self._words(language), NOTHING)
        if slot in ("c", "o"):
            return Marked.all(names.city(language) if slot == "c" else names.company(language), NOTHING)
        return Marked.all(names.product() if slot == "p" else names.code(), NOTHING)

    def _typed(self, marked: Marked) -> Marked:
        """Mostly as it stands; else with other capitals, or without accents."""
        text, draw = marked.text, self._random.random()
        changed = text
        if draw < 0.25:
            changed = text.lower()
        elif draw < 0.29:
            changed = text.upper()
        elif draw < 0.33:
            changed = text.title()
        elif draw < 0.38:
            changed = "".join(unicodedata.normalize("NFD", char)[0] for char in text)
        return Marked(changed, marked.kinds) if len(changed) == len(text) else marked

    def _misspelt(self, marked: Marked) -> Marked:
        """Sometimes with two letters swapped, or one left out."""
        text, kinds = marked.text, marked.kinds
        if self._random.random() >= 0.12 or len(text) < 8:
            return marked
        at = self._random.randrange(len(text) - 1)
        if not text[at : at + 2].isalpha():
            return marked
        if self._random.random() < 0.5:
            return Marked(text[:at] + text[at + 1] + text[at] + text[at + 2 :], kinds)
        return Marked(text[:at] + text[at + 1 :], kinds[:at] + kinds[at + 1 :])
