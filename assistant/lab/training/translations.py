"""Short texts in many languages: the translations in freely licensed packages, read as they are published.

Nothing of them is kept but the weights that `languages` learns. A folder with these files is needed, wheels and npm
archives as their registries serve them:

| package | licence | what |
|---|---|---|
| homeassistant, home-assistant-frontend, home-assistant-intents | Apache-2.0 | messages; spoken requests |
| django, wagtail, django-cms, djangorestframework | BSD-3-Clause | forms, editing |
| django-oscar, django-helpdesk | BSD-3-Clause | a shop, a help desk |
| django-allauth, kolibri | MIT | accounts, learning |
| survey-core, primelocale, element-plus | MIT | forms, where there is little else |
| babel | BSD-3-Clause; the data in it Unicode-3.0 | names of countries, languages, currencies |
"""

from __future__ import annotations

import gettext
import io
import json
import re
import tarfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assistant.text.languages import LANGUAGES

# Codes of others, and variants that are languages of their own.
_SAME = {"nb": "no"}
_OTHERS = ("gsw", "yue", "zh-HK", "en-x", "en_PIRATE")
_HASHED = re.compile(r"static/translations/(?:[a-z_-]+/){0,3}([A-Za-z-]{2,20})-[0-9a-f]{32}\.json$")
_COMPONENT = re.compile(r"components/(?:[\w.-]+/){1,6}translations/([A-Za-z-]{2,20})\.json$")
_INTENTS = re.compile(r"intents/data/([A-Za-z-]+)\.json$")
_GETTEXT = re.compile(r"locale/([A-Za-z_@-]+)/LC_MESSAGES/[^/]*\.mo$")
_KAZAKH = re.compile(r"(?:i18n/kazakh\.js|package/kk\.json|locale/lang/kk\.js)$")
_SYNTAX = re.compile(r"\{%[^{}]{0,200}%\}|\{[^{}]{0,200}\}|<[^<>]{0,200}>|%\(\w+\)[sd]|%[sd]|[\[\]()|;:]")


def read_translations(folder: Path) -> dict[str, list[str]]:
    """Texts by language of `LANGUAGES`, sorted; none that stands in the English ones too, as it was not translated.

    Raises `FileNotFoundError` if there is no archive in the folder."""
    archives = sorted([*folder.glob("*.whl"), *folder.glob("*.tgz")])
    if not archives:
        raise FileNotFoundError(f"{folder} has no wheels or npm archives; see {__name__}")
    texts = defaultdict[str, set[str]](set)
    for archive in archives:
        for tag, text in _translations(archive):
            language = re.split("[-_@]", tag)[0].lower()
            texts[_SAME.get(language, language)].add(" ".join(_SYNTAX.sub(" ", text).split()))
    english = texts["en"]
    return {one: sorted(texts[one] - english if one != "en" else english) for one in LANGUAGES}


def _translations(archive: Path) -> Iterator[tuple[str, str]]:
    """(tag of a language, text)"""
    if archive.name.startswith("babel-"):
        yield from _names(archive)
        return
    for name, data in _files(archive):
        if match := _GETTEXT.search(name):
            if match[1] not in _OTHERS:
                yield from _catalogue(match[1], data)
        elif match := _HASHED.search(name) or _COMPONENT.search(name) or _INTENTS.search(name):
            if not match[1].startswith(_OTHERS):
                yield from ((match[1], text) for text in leaves(json.loads(data)))
        elif _KAZAKH.search(name):
            quoted = re.findall(r'"((?:[^"\\\n]|\\.){0,400})"', data.decode())
            yield from (("kk", text) for text in quoted if re.search("[^\x00-\x7f]", text))


def _files(archive: Path) -> Iterator[tuple[str, bytes]]:
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist() if name.endswith((".mo", ".json")))
        return
    with tarfile.open(archive) as package:
        for member in package:
            if member.name.endswith((".js", ".json")) and (content := package.extractfile(member)) is not None:
                yield member.name, content.read()


def _catalogue(tag: str, data: bytes) -> Iterator[tuple[str, str]]:
    """The translations of a gettext catalogue, and the English they are of."""
    messages: dict[Any, str] = vars(gettext.GNUTranslations(io.BytesIO(data)))["_catalog"]
    for key, text in messages.items():
        english = key[0] if isinstance(key, tuple) else key
        if english and text:
            yield "en", english
            yield tag, text


def _names(archive: Path) -> Iterator[tuple[str, str]]:
    """What countries, languages, currencies and units are called: of languages that have little else."""
    from babel import Locale, UnknownLocaleError

    for language in LANGUAGES:
        try:
            locale = Locale.parse({"no": "nb"}.get(language, language))
        except UnknownLocaleError:
            continue
        named = [*locale.languages.values(), *locale.territories.values(), *locale.currencies.values()]
        # An unknown name is given in ASCII, as its code or in English.
        yield from ((language, name) for name in named if re.search("[^\x00-\x7f]", name))


def leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = value.values()
    if isinstance(value, str):
        yield value
    elif value is not None and not isinstance(value, int | float):
        for one in value:
            yield from leaves(one)
