"""Names and addresses as people write them, and what looks like them and is neither, drawn at random."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from babel import UnknownLocaleError
from babel.dates import get_month_names

from assistant.lab.training.people_lists import Country

_LAST_FIRST = ("hu", "zh", "ja", "ko", "vi")
_JOINED = ("zh", "ja", "ko")
_LATIN = re.compile(r"[A-Za-zÀ-ž]")
_COUNTRIES = (
    "Germany|Deutschland|France|España|Italia|USA|U.S.A.|UK|England|Österreich|Schweiz|Sverige|Danmark|Polska|Nederland|"
    "Canada|Ireland|Norge|Suomi"
).split("|")
_FLATS = ("Apt. {}", "Apt {}", "Suite {}", "Unit {}", "Flat {}", "#{}", "Floor {}", "apt. {}")
_BOXES = ("P.O. Box {}", "PO Box {}", "Postfach {}", "BP {}")
_BRANDS = (
    "lum sol vent aqua therm brew clean pure volt chill glide link dust wash core nova zen omni flex pro max tech sys "
    "wave"
).split()
_LINES = (
    "Pro Max Plus Mini Air Ultra Home Office Lite Classic One Go X SE Duo Kit Hub Cloud Premium Family Enterprise"
).split()
_ONSETS = "b c d f g h j k l m n p r s t v w x z bl br cl cr dr fl gr pl pr qu sh sk sl sp st tr th".split()
_CODAS = ("", "", "", "l", "m", "n", "r", "s", "t", "x", "sk", "rk", "ft", "ly", "ify", "io", "base", "hub", "soft")
_COMPANIES = (
    "GmbH Inc Inc. Ltd LLC AG Bank Group Airlines Express Systems Software Store Market University Hotel Insurance "
    "Energy Telecom"
).split()
_NO_PEOPLE = (
    "Windows|iPhone|Android|Bluetooth|Wi-Fi|Netflix|Excel|Outlook|Gmail|Google Drive|Visa|PayPal|Apple Pay|Instagram|"
    "January|Monday|Christmas|Easter|Black Friday|English|German|American|European|HDMI|USB-C|Settings|Log In|Sign Out|"
    "Terms of Service|Order History|My Account|Customer Service|Error Code|Serial Number|Model No|Sir|Madam|Team|God|"
    "Sat Nav"
).split("|")
_WHEN = (
    "{day} {month}", "{day}. {month} 20{other:02}", "{month} {day}", "{month} {day}{th}",
    "{month} {day} to {month} {other}",
    "{month} {day}-{other}", "{day}/{other}/2024", "{day} {month} - {other} {month}", "{day}:{other:02}", "{month}",
    "{day} months ago", "{day} days", "in {day} hours", "${day}.{other:02}", "{day} euros", "{day} of {other}",
    "{day} x {other} cm", "{day} pm",
)  # fmt: skip


class Names:
    """Draws from the countries' lists. ``language``: what most of it is in; a part is always foreign."""

    def __init__(self, countries: Sequence[Country], random: Random) -> None:
        self._random = random
        named = [one for one in countries if one.firsts and one.lasts]
        self._latin = [one for one in named if _LATIN.match(one.firsts[0])]
        languages = {one.language for one in named}
        self._of = {language: [one for one in named if one.language == language] for language in languages}

    def country(self, language: str) -> Country:
        own = self._of.get(language)
        if own and self._random.random() < (0.55 if language == "en" else 0.75):
            return self._random.choice(own)
        return self._random.choice(self._latin)

    def name(self, language: str) -> str:
        country, draw = self.country(language), self._random.random()
        first, last = self._random.choice(country.firsts), self._random.choice(country.lasts)
        if country.language in _JOINED:
            return (last + first) if draw < 0.8 else last if draw < 0.9 else f"{last} {first}"
        if country.language in _LAST_FIRST and draw < 0.5:
            return f"{last} {first}"
        if draw < 0.45:
            return f"{first} {last}"
        if draw < 0.74:
            return first if draw < 0.6 else last
        initial, other = self._random.choice(country.firsts)[0], self._random.choice(country.lasts)
        if draw < 0.84:
            return f"{first} {initial}{self._random.choice(('.', ''))} {last}"
        forms = (f"{first[0]}. {last}", f"{first} {last}-{other}", f"{first} {other} {last}", f"{last}, {first}")
        return self._random.choice(forms)

    def several(self, language: str) -> list[str]:
        """Names of one kind, two to six."""
        country = self.country(language)
        lists = self._random.choice(((country.firsts,), (country.lasts,), (country.firsts, country.lasts)))
        return [" ".join(self._random.choice(some) for some in lists) for _ in range(self._random.randint(2, 6))]

    def address(self, language: str) -> str:
        """As it is written in its country, a street alone, or its parts in another order."""
        country, draw = self._with_streets(language), self._random.random()
        if draw < 0.4:
            address = self._random.choice(country.addresses)
            return address if self._random.random() < 0.5 else address.replace("\n", ", ")
        street = self._street(country)
        if draw < 0.6:
            return street
        city, code = self._random.choice(country.cities), self._random.choice(country.postcodes)
        region = self._random.choice(country.cities)
        places = (
            city,
            f"{code} {city}",
            f"{city} {code}",
            f"{city}, {region} {code}",
            f"{city}\n{code}",
            f"{city}, {code}",
        )
        parts = [street, self._random.choice(places)]
        if self._random.random() < 0.3:
            parts.append(self._random.choice(_COUNTRIES))
        if self._random.random() < 0.1:
            parts.append(code)
        return self._random.choice((", ", ", ", "\n", " ", " \n")).join(parts)

    def _with_streets(self, language: str) -> Country:
        country = self.country(language)
        while not (country.streets and country.cities and country.postcodes and country.addresses):
            country = self.country(language)
        return country

    def _street(self, country: Country) -> str:
        """As it is written there, or with the number on the other side, or with a flat."""
        street = self._random.choice(country.streets)
        name = re.sub(r"\d[\w/-]*[.,]?", "", street).strip(" ,\n")
        if name and self._random.random() < 0.35:
            number = f"{self._random.randint(1, self._random.choice((99, 9_999, 99_999)))}"
            number += self._random.choice(("", "", "", "a", "B"))
            street = self._random.choice(
                (f"{name} {number}", f"{number} {name}", f"{name} {number}", f"{number}, {name}")
            )
        if self._random.random() < 0.15:
            flat = self._random.choice(_FLATS).format(self._random.randint(1, 999))
            street = f"{street}{self._random.choice((' ', ', '))}{flat}"
        if self._random.random() < 0.04:
            return self._random.choice(_BOXES).format(self._random.randint(10, 99_999))
        return street

    # What is neither

    def look_alike(self, language: str) -> str:
        """What has capitals or numbers and is no one."""
        draw = self._random.random()
        if draw < 0.25:
            return self.product()
        if draw < 0.38:
            return self.company(language)
        if draw < 0.57:
            return self.city(language)
        if draw < 0.73:
            return self._random.choice(self.country(language).others or _NO_PEOPLE)
        return self.date(language) if draw < 0.9 else self.code()

    def city(self, language: str) -> str:
        return self._random.choice(self.country(language).cities or ["Berlin"])

    def product(self) -> str:
        brand = self._invented() if self._random.random() < 0.4 else "".join(self._random.choices(_BRANDS, k=2))
        brand = self._random.choice((brand.title(), brand.upper(), brand[:4].title() + brand[4:].title()))
        model = f"{self._random.choice('ABEHPRSTWX')}{self._random.randint(1, 999)}"
        number = self._random.choice(("", str(self._random.randint(2, 9_000)), model))
        parts = self._random.sample((brand, self._random.choice(_LINES), number), self._random.randint(1, 3))
        return " ".join(part for part in parts if part) or brand

    def _invented(self) -> str:
        """A word that nobody has heard, as products and programs are called."""
        count = self._random.randint(2, 3)
        syllables = (self._random.choice(_ONSETS) + self._random.choice("aeiou") for _ in range(count))
        return "".join(syllables) + self._random.choice(_CODAS)

    def company(self, language: str) -> str:
        draw = self._random.random()
        if draw < 0.3:
            return f"{self._random.choice(self.country(language).lasts)} {self._random.choice(_COMPANIES)}"
        if draw < 0.7:
            brand = f"{self._random.choice(_BRANDS).title()}{self._random.choice(_BRANDS)}"
            return f"{brand} {self._random.choice(_COMPANIES)}"
        return self._random.choice(_NO_PEOPLE)

    def code(self) -> str:
        letters = "".join(self._random.choices("ABCDEFGHKLMNPRSTUVWXYZ", k=self._random.randint(0, 3)))
        digits = "".join(self._random.choices("0123456789", k=self._random.randint(1, 9)))
        return letters + self._random.choice(("", "-", "")) + digits

    def date(self, language: str) -> str:
        """A day, a time or a span of them, an amount or a size."""
        try:
            months = list(get_month_names(self._random.choice(("wide", "abbreviated")), locale=language).values())
        except UnknownLocaleError:
            months = ["May"]
        day, other = sorted(self._random.sample(range(1, 32), 2))
        th = {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
        form = self._random.choice(_WHEN)
        return form.format(day=day, other=other, th=th, month=self._random.choice(months))
