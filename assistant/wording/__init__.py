"""What customers read from us, in their language: one catalogue for the server and the widget. It also has what photos
show, in agents' languages.

What is stored and sent is a `Notice`, a code with its values; whoever shows it words it. Each language is a file here,
``{code: text}``; a text that counts ``n`` has a form for each of the language's plural categories (Unicode CLDR). The
server reads them with Babel; the widget is given the same file and uses the browser's Intl, which has the same rules.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import cache
from importlib import resources
from typing import Any

ENGLISH = "en"
LANGUAGES = ("ar", "de", "en", "es", "fr", "it", "ja", "nl", "pl", "pt", "tr", "zh")

Value = str | int | float
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\u202a-\u202e\ufb1d-\ufdff\ufe70-\ufefc]")
_JOINED = ("ja", "zh")  # sentences follow each other without a space


@dataclass(frozen=True)
class Notice:
    """Something to tell, by its code in the catalogue. As a string it is in English."""

    code: str
    params: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        return word(self)

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "params": dict(self.params)}


def choose(tags: Iterable[str | None]) -> str | None:
    """The first BCP 47 tag in whose language there is a catalogue, region and all; None if there is none.

    One without a region takes it from the next tag of its language that has one: a page in "en" says nothing of its
    reader's dates, a browser in "en-GB" does."""
    known = [tag for tag in tags if tag and language_of(tag) in LANGUAGES]
    if not known:
        return None
    same = [tag for tag in known if language_of(tag) == language_of(known[0])]
    return known[0] if _has_region(known[0]) else next(filter(_has_region, same), known[0])


def _has_region(tag: str) -> bool:
    return re.search("[-_]", tag) is not None


def language_of(tag: str) -> str:
    """The language of a BCP 47 tag: "de" for "de-AT"."""
    return re.split("[-_]", tag.strip().lower(), maxsplit=1)[0]


def direction(language: str) -> str:
    """How the language is written: "ltr" or "rtl"."""
    return str(_locale(language).text_direction)


@cache
def catalogue(language: str) -> Mapping[str, str | Mapping[str, str]]:
    """Every text of a language of `LANGUAGES`, by code; those that count, by plural category."""
    texts: dict[str, str | dict[str, str]] = json.loads(
        resources.files(__name__).joinpath(f"{language}.json").read_text(encoding="utf-8")
    )
    return texts


def catalogue_of_widget(language: str) -> Mapping[str, str | Mapping[str, str]]:
    """The catalogue without what is only said in mails, and to agents."""
    return {code: text for code, text in catalogue(language).items() if not code.startswith(("mail_", "caption_"))}


def word(notice: Notice, language: str = ENGLISH) -> str:
    """The notice in a language of `LANGUAGES`. Raises `KeyError` for a code that is in no catalogue."""
    text = catalogue(language)[notice.code]
    if not isinstance(text, str):
        text = text.get(plural_category(notice.params["n"], language), text["other"])
    return _PLACEHOLDER.sub(lambda name: _shown(notice.params[name[1]], language), text)


def word_all(notices: Iterable[Notice], language: str = ENGLISH) -> str:
    """The notices as one text."""
    return ("" if language in _JOINED else " ").join(word(notice, language) for notice in notices)


def show_time(at: datetime, tag: str = ENGLISH, zone: tzinfo = UTC) -> str:
    """Day, time and time zone, as they are written where that is spoken (a BCP 47 tag of a language of ours)."""
    from babel.dates import format_date, format_time, get_datetime_format, get_timezone_gmt, get_timezone_name

    at, locale = at.astimezone(zone), _locale_of(tag)
    day, time = format_date(at, "medium", locale=locale), format_time(at, "short", locale=locale, tzinfo=zone)
    shown = str(get_datetime_format("medium", locale=locale)).replace("{1}", day).replace("{0}", time)
    name = get_timezone_name(at, "short", locale=locale)
    if name[0] in "+-":  # where the zone has no short name
        name = get_timezone_gmt(at, "long", locale=locale)
    return f"{shown} {name}"


def english_name(language: str) -> str:
    """What a language of `LANGUAGES` is called in the console."""
    return str(_locale(language).get_display_name(ENGLISH))


def plural_category(n: Value, language: str) -> str:
    """The form that a number takes: "one", "few", ..., "other"."""
    return str(_locale(language).plural_form(n))


def _shown(value: Value, language: str) -> str:
    if not isinstance(value, str):
        from babel.numbers import format_decimal  # loads 50 ms worth of tables

        return format_decimal(value, "#,##0.#", locale=_locale(language), numbering_system="default")
    # A name in the other direction must not carry the words around it along: it is isolated.
    apart = direction(language) == "rtl" or _RIGHT_TO_LEFT.search(value)
    return f"\u2068{value}\u2069" if apart else value


def _locale_of(tag: str) -> Any:
    """That of the tag with its region or, if nobody knows that, of its language."""
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(tag, sep="-")
    except (ValueError, UnknownLocaleError):
        return _locale(language_of(tag))


@cache
def _locale(language: str) -> Any:
    from babel import Locale

    return Locale.parse(language)
