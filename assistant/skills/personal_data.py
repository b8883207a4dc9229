"""Finding and masking personal data in free text: by patterns, check digits, telephone rules and a small model.

E-mail addresses, telephone, card and account numbers, social security numbers and IP addresses are found by their form.
Names and postal addresses are found where the text announces them ("My name is …", "Dear …", a street with a number),
and where `text.people` recognises them; other names can be given (``names``). Not all are found: `capitalised` lists
what else could be a name, the vocabulary of the knowledge base helps to rule words out (``usual``), and a person still
reads a text before it is published.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from stdnum import luhn
from stdnum.iso7064 import mod_97_10

from assistant.text import people
from assistant.text.words import query_words

# Of the given words, those that are no names whatever they look like.
Usual = Callable[[Collection[str]], Collection[str]]


class Kind(StrEnum):
    EMAIL = "e-mail"
    PHONE = "phone"
    CARD = "card"
    IBAN = "account"
    SSN = "social security number"
    IP = "IP address"
    NAME = "name"
    ADDRESS = "address"


@dataclass(frozen=True)
class Span:
    """``text[start:end]`` is personal data."""

    start: int
    end: int
    kind: Kind


_NAME = r"(?-i:[A-ZÀ-ÖØ-ÞĀ-Ž][\w'’.-]*[\w])"
_NAMES = rf"{_NAME}(?:[ ]+(?:(?-i:[A-Z])\.?[ ]+|(?:van|von|de|der|den|da|del|la|le|bin|al)[ ]+){{0,2}}{_NAME}){{0,3}}"
_EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]+(?:\.[\w-]+)+")
_CARD = re.compile(r"(?<![\w-])\d(?:[ -]?\d){11,18}(?![\w-])")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}(?!\w)")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}[- ](?!00)\d{2}[- ](?!0000)\d{4}(?![\w-])")
_IP = re.compile(
    r"(?<![\w.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\w.]*\d)"
    r"|(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])"
    r"|(?<![\w:])(?:[0-9a-f]{1,4}:){1,6}(?::[0-9a-f]{1,4}){1,6}(?![\w:])",
    re.IGNORECASE,
)
# After a greeting and a comma a sentence begins, and in German any noun has a capital ("Sehr geehrter Kundendienst",
# "ich bin Kunde"): names there are left to `people`.
_ANNOUNCED = re.compile(
    r"(?:\b(?:my|his|her|their|full|the|customer(?:'s)?)\s+name\s+is|\bname\s*[:=]|\bmein\s+name\s+ist|"
    r"\bich\s+hei(?:ß|ss)e|\bje\s+m'appelle|\bme\s+llamo|\bmi\s+chiamo|\bthis\s+is|\bi\s+am|\bi'm|"
    r"(?P<greeting>\b(?:dear|hi|hello|hey|hallo|guten\s+tag|bonjour|hola|ciao|cher|chère|thanks|thank\s+you|danke)|"
    r"\b(?:(?:kind|best|warm)\s+)?(?:regards|wishes)[,.]?|\bsincerely[,.]?|\byours[,.]?|\bcheers[,.]?|"
    r"\bgr(?:ü|ue)(?:ß|ss)en?[,.]?|"
    r"\bcordialement[,.]?|\bsaludos[,.]?))"
    rf"\s+(?:(?:mr|mrs|ms|miss|dr|prof|sir|herrn?|frau)\.?\s+)*(?P<name>{_NAMES})",
    re.IGNORECASE,
)
_TITLED = re.compile(
    r"\b(?:Mr|Mrs|Ms|Mx|Miss|Dr|Prof|Herrn?|Frau|Mme|Monsieur|Madame|Señora?|Sr|Sra|Signora?)\.?[ ]+"
    rf"(?P<name>{_NAMES})"
)
_STREET_WORDS = (
    r"street|st|avenue|ave|road|rd|lane|ln|drive|dr|boulevard|blvd|way|court|ct|square|sq|place|pl|terrace|close|crescent|"
    r"highway|hwy|parkway|pkwy|trail|circle|alley|row"
)
_STREET = re.compile(
    rf"\b\d{{1,6}}[a-z]?,?[ ]+(?:{_NAME}[ ]+){{1,4}}(?:{_STREET_WORDS})\b\.?"
    rf"(?:,?[ ]+(?:apt|suite|unit|flat|floor)\.?[ ]*#?\w+)?(?:,?\s+{_NAMES})?"
    r"(?:,?\s+(?-i:[A-Z]{2})\s+\d{5}(?:-\d{4})?)?"
    r"|\b(?-i:[A-ZÄÖÜ])[\wäöüß-]*(?:stra(?:ß|ss)e|str\.|weg|platz|allee|gasse|ring|damm|ufer)[ ]+\d{1,4}[ ]?[a-z]?\b"
    rf"(?:,?\s+\d{{5}}\s+{_NAMES})?"
    r"|\b(?:rue|avenue|boulevard|via|calle|piazza|plaza)[ ]+(?:(?:de|du|des|della?|la|los)[ ]+)*"
    rf"{_NAMES},?[ ]+\d{{1,4}}\b|\b\d{{1,4}},?[ ]+(?:rue|avenue|boulevard)[ ]+(?:(?:de|du|des|la)[ ]+)*{_NAMES}"
    r"|\bp\.?\s?o\.?\s+box\s+\d+",
    re.IGNORECASE,
)
# Teams and shops are greeted, too: whom a text greets or thanks must look a little like a name, by `people`.
_GREETED = (1.0, 0.4, 1.0)
# Words that may be capitalised where a name could be, and are not names.
_NO_NAMES = frozenset(
    "i the a an it this that we you they he she my your our there here is are was do does did can could please thanks "
    "thank team support customer service sir madam all everyone both not sorry yes no ok okay what when where why how "
    "if in on at for from with and but or so as error order ich wir sie es der die das ein eine bitte danke damen "
    "herren zusammen monday tuesday wednesday thursday friday saturday sunday".split()
)
# Words that are capitalised within sentences too. After "Dear" or as a known person, June and Best are names.
_USUAL = _NO_NAMES.union(
    "dear hi hello hey hallo regards greetings kind best warm mr mrs ms mx miss dr prof herr herrn frau "
    "january february march april june july august september october november december".split()
)
# What precedes the first word of a sentence, line or quotation.
_BEGINNING = re.compile(r"(?:[.!?…:]['\")\]]*\s|(?:^|\n)\s{0,8}(?:[-*•>#]+|\d+[.)])?|[\"“„«(\[])\s{0,8}$")
_BEFORE = 8
_REGIONS = ("US", "GB", "DE", "FR")
_FEWEST_DIGITS = 7


def no_usual(_words: Collection[str]) -> Collection[str]:
    return ()


def find(text: str, *, names: Iterable[str] = (), exactly: Iterable[str] = (), usual: Usual = no_usual) -> list[Span]:
    """Personal data in reading order, without overlaps. ``names``: people known to be mentioned, by full name or parts
    of it, in any case; ``exactly``: names to be found only as spelled; ``usual``: the words, folded, of which no name
    that only looks like one consists."""
    formed = [*_candidates(text, names), *_occurrences(text, exactly)]
    candidates = [*formed, *_apart(_recognised(text, usual), formed)]
    # Whoever is named in one place is so in the others.
    named = {text[span.start : span.end] for span in candidates if span.kind is Kind.NAME}
    candidates += _occurrences(text, {name for name in named if " " in name})
    spans = sorted(candidates, key=lambda span: (span.start, -span.end))
    merged: list[Span] = []
    for span in spans:
        if not merged or span.start >= merged[-1].end:
            merged.append(span)
        elif span.end > merged[-1].end:
            merged[-1] = Span(merged[-1].start, span.end, merged[-1].kind)
    return merged


def capitalised(text: str) -> list[str]:
    """Capitalised words within sentences, adjacent ones both joined and alone: people, but also places, companies and
    products. Not for languages that capitalise other nouns. Words all in capitals or with digits are models or labels
    and left out."""
    found: dict[str, None] = {}
    for match in re.finditer(rf"(?<![\w@#/._-]){_NAMES}", text):  # not within URLs
        begins = bool(_BEGINNING.search(text[max(0, match.start() - _BEFORE) : match.start()]))
        for place, run in _runs(match.group().split()):
            alone = run[1:] if begins and place == 0 else run  # any word is capitalised there
            found.update(dict.fromkeys([*([" ".join(run)] if len(run) > 1 else []), *alone]))
    return list(found)


def _runs(words: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """(index of the first word, the words) of each run of words that could be a name."""
    for could_be, run in groupby(enumerate(words), key=lambda pair: _could_be_name(pair[1])):
        if could_be:
            places, neighbours = zip(*run, strict=True)
            yield places[0], list(neighbours)


def _could_be_name(word: str) -> bool:
    plain = re.split("['’]", word)[0]
    is_sign = plain == plain.upper() and len(plain.strip(".")) > 1
    return bool(plain) and not is_sign and not any(map(str.isdigit, word)) and plain.lower() not in _USUAL


def mask(text: str, *, names: Iterable[str] = (), exactly: Iterable[str] = (), usual: Usual = no_usual) -> str:
    """The text with everything that `find` finds replaced by its kind in brackets."""
    parts, position = [], 0
    for span in find(text, names=names, exactly=exactly, usual=usual):
        parts += [text[position : span.start], f"[{span.kind.value}]"]
        position = span.end
    return "".join([*parts, text[position:]])


def _candidates(text: str, names: Iterable[str]) -> Iterator[Span]:
    yield from _matches(_EMAIL, text, Kind.EMAIL)
    yield from _matches(_SSN, text, Kind.SSN)
    yield from _matches(_IP, text, Kind.IP)
    yield from (span for span in _matches(_IBAN, text, Kind.IBAN) if _is_iban(text[span.start : span.end]))
    yield from (span for span in _matches(_CARD, text, Kind.CARD) if _is_card(text[span.start : span.end]))
    yield from _phones(text)
    yield from _matches(_STREET, text, Kind.ADDRESS)
    yield from _names_after_cues(text)
    yield from _known_people(text, names)


def _matches(pattern: re.Pattern[str], text: str, kind: Kind) -> Iterator[Span]:
    return (Span(*match.span(), kind) for match in pattern.finditer(text))


def _names_after_cues(text: str) -> Iterator[Span]:
    if text.isupper():  # a capital says nothing there
        return
    looks: list[people.Found] | None = None
    for pattern in (_ANNOUNCED, _TITLED):
        for match in pattern.finditer(text):
            if match.groupdict().get("greeting") is not None:
                looks = people.spot(text, sure=_GREETED) if looks is None else looks
                start, end = match.span("name")
                if not any(one.kind == people.NAME and one.start < end and start < one.end for one in looks):
                    continue
            words = match["name"].split()
            plain = (re.split("['’]", word.strip(".,"))[0].lower() for word in words)
            count = next((number for number, word in enumerate(plain) if word in _NO_NAMES), len(words))
            if count:
                start = match.start("name")
                yield Span(start, start + match["name"].index(words[count - 1]) + len(words[count - 1]), Kind.NAME)


def _recognised(text: str, usual: Usual) -> Iterator[Span]:
    """What looks like a name or an address, except names that consist of usual words alone."""
    found = people.spot(text)
    words = [query_words(text[one.start : one.end]) if one.kind == people.NAME else [] for one in found]
    asked = {word for some in words for word in some}
    known = set(usual(asked)) if asked else set()
    for one, some in zip(found, words, strict=True):
        if not some or not known.issuperset(some):
            yield Span(one.start, one.end, Kind.NAME if one.kind == people.NAME else Kind.ADDRESS)


def _apart(recognised: Iterable[Span], formed: Sequence[Span]) -> Iterator[Span]:
    """Without those that run into what has a form of its own. A house number beside a postcode may look like a
    telephone's: that is the address's."""
    taken = [span for span in formed if span.kind not in (Kind.NAME, Kind.ADDRESS, Kind.PHONE)]
    for span in recognised:
        if not any(span.start < other.end and other.start < span.end for other in taken):
            yield span


def _known_people(text: str, names: Iterable[str]) -> Iterator[Span]:
    """Each full name, and each part of it that is not a common short word."""
    for name in names:
        parts = [part for part in re.split(r"[\s,]+", name) if len(part) > 2 and part.lower() not in _NO_NAMES]
        yield from _occurrences(text, {name.strip(), *parts} - {""}, re.IGNORECASE)


def _occurrences(text: str, names: Iterable[str], flags: int = 0) -> Iterator[Span]:
    for name in names:
        for match in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text, flags):
            yield Span(*match.span(), Kind.NAME)


def _phones(text: str) -> Iterator[Span]:
    import phonenumbers

    if sum(char.isdigit() for char in text) < _FEWEST_DIGITS:
        return
    seen: set[tuple[int, int]] = set()
    for region in _REGIONS:
        for match in phonenumbers.PhoneNumberMatcher(text, region, leniency=phonenumbers.Leniency.VALID):
            seen.add((match.start, match.end))
    # Numbers outside every numbering plan (invented, or with an extension) that are formatted like telephone numbers.
    seen |= {match.span() for match in _LIKE_PHONE.finditer(text)}
    seen |= {match.span("number") for match in _SAID_PHONE.finditer(text)}
    yield from (Span(start, end, Kind.PHONE) for start, end in seen)


_LIKE_PHONE = re.compile(
    r"(?<![\w.+-])(?:\+\d{1,3}[ .-]?)?(?:\(0?\d{1,5}\)[ .-]?|\d{2,5}[ .-])\d{2,4}(?:[ .-]\d{2,4}){1,3}"
    r"(?:[ ]?(?:x|ext\.?)[ ]?\d{1,6})?(?![\w-])"
    r"|(?<![\w.+-])\+\d{1,3}[ .-]?\d{6,12}(?!\w)|(?<![\w.+-])00\d{9,13}(?!\w)"
)
_SAID_PHONE = re.compile(
    r"\b(?:(?:tele)?phone|telefon|tel|mobile|handy|cell|fax|whatsapp|call(?:ing)?|reach|answering)\b"
    r"[\w ,'’]{0,12}[.:]?\s*(?:no\.?|at|on|under|unter)?\s*"
    r"(?P<number>\+?\(?\d[\d ()./-]{5,18}\d)(?!\w)",
    re.IGNORECASE,
)


def _is_card(text: str) -> bool:
    digits = "".join(str(int(char)) for char in text if char.isdecimal())  # in ASCII, whatever the script
    return luhn.is_valid(digits) and len(set(digits)) > 1


def _is_iban(text: str) -> bool:
    """By its check digits alone: an account of a country missing from stdnum's list must be masked too."""
    plain = re.sub(r"[ -]", "", text)
    return 15 <= len(plain) <= 34 and mod_97_10.is_valid(plain[4:] + plain[:4])
