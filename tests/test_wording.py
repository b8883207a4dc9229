"""The catalogue of what customers read: complete, with the same values and the right plural forms in every language."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

import assistant
from assistant.ports import HandoffReason
from assistant.wording import (
    LANGUAGES,
    Notice,
    catalogue,
    choose,
    direction,
    plural_category,
    show_time,
    word,
    word_all,
)

ROOT = Path(assistant.__file__).parent
TEMPLATES = ROOT.parent / "templates" / "widget"
ENGLISH = catalogue("en")


def forms(text: str | Mapping[str, str]) -> Mapping[str, str]:
    return {"other": text} if isinstance(text, str) else text


def values_of(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_everything_with_the_same_values(language: str) -> None:
    texts = catalogue(language)
    assert list(texts) == list(ENGLISH)
    for code, text in texts.items():
        wanted = values_of(forms(ENGLISH[code])["other"])
        assert isinstance(text, str) == isinstance(ENGLISH[code], str), code
        assert values_of(forms(text)["other"]) == wanted, code
        for form in forms(text).values():
            assert form.strip() == form != "", code
            assert values_of(form) in (wanted, wanted - {"n"}), code  # "two files" needs no number


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_counted_has_each_form_that_the_language_needs(language: str) -> None:
    needed = {plural_category(n, language) for n in [*range(2000), 10**6]} | {"other"}
    counted = [text for text in catalogue(language).values() if not isinstance(text, str)]
    assert counted
    assert all(set(text) == needed for text in counted)


def test_every_text_is_said_by_the_server_or_the_widget() -> None:
    scripts = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "web/static/widget").glob("*.js"))
    pages = "".join(path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.html"))
    server = "".join(path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py"))
    for code in ENGLISH:
        made = f'"{code}"' in scripts + pages + server or f"texts.{code}" in pages or code.startswith("handoff_")
        assert made, f"{code} is said nowhere"


def test_every_handoff_has_its_reason_told() -> None:
    assert {code for code in ENGLISH if code.startswith("handoff_")} == {
        f"handoff_{reason.value}" for reason in HandoffReason
    }


def test_the_server_makes_no_notice_that_is_not_worded() -> None:
    texts = [path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")]
    made = {code for text in texts for code in re.findall(r'Notice\(\s*"(\w+)"', text)}
    assert len(made) > 15
    assert made <= set(ENGLISH)


@pytest.mark.parametrize(
    ("n", "said"), [(1, "najwyżej 1 plik."), (3, "najwyżej 3 pliki."), (5, "najwyżej 5 plików."), (22, "22 pliki.")]
)
def test_polish_counts_like_polish(n: int, said: str) -> None:
    assert said in word(Notice("files_too_many", {"n": n}), "pl")


def test_numbers_and_names_are_shown_as_the_language_shows_them() -> None:
    assert "20.000" in word(Notice("text_too_long", {"n": 20_000}), "de")
    assert "2,5 Mo" in word(Notice("request_too_large", {"megabytes": 2.5}), "fr")
    assert "\u2068a (1).jpg\u2069" in word(Notice("file_empty", {"name": "a (1).jpg"}), "ar")
    assert str(Notice("file_empty", {"name": "a.jpg"})) == "a.jpg is empty. Please attach it again."


@pytest.mark.parametrize(
    ("tag", "zone", "shown"),
    [
        ("de-AT", "Europe/Berlin", "29.11.2026, 14:02 MEZ"),
        ("en-GB", "UTC", "29 Nov 2026, 13:02 UTC"),
        ("en-US", "Europe/Berlin", "Nov 29, 2026, 2:02\u202fPM GMT+01:00"),
        ("nl-ZZ", "America/New_York", "29 nov 2026, 08:02 GMT-05:00"),
        ("ja", "Asia/Tokyo", "2026/11/29 22:02 JST"),
    ],
)
def test_times_are_shown_as_where_they_are_read_and_say_whose_they_are(tag: str, zone: str, shown: str) -> None:
    assert show_time(datetime(2026, 11, 29, 13, 2, 5, tzinfo=UTC), tag, ZoneInfo(zone)) == shown


def test_sentences_are_joined_as_the_language_joins_them() -> None:
    notices = [Notice("queue_next"), Notice("come_back_later")]
    assert "line. You can" in word_all(notices)
    assert " " not in word_all(notices, "ja")


def test_the_first_language_that_there_is_is_chosen_with_its_region() -> None:
    assert choose([None, "", "sv", "pt-BR", "en"]) == "pt-BR"
    assert choose(["sv", "fi"]) is None
    assert choose(["en", "de-AT", "en-GB", "en-US"]) == "en-GB"  # the page's language, its reader's region
    assert choose(["de", "en-GB"]) == "de"
    assert (direction("ar"), direction("pt")) == ("rtl", "ltr")
