"""Grounding: does a passage support a sentence? Unsupported sentences are not said.

Support is measured without a generating model, so it works the same in every mode and cannot be talked into anything.
Every number (with its unit) and identifier of the sentence must occur in the passage next to words of the sentence, no
negation may appear or vanish, and no word may be replaced by its opposite. Addresses, offers and secrets must stand
there word for word (`verbatim`), and what is said to have been done must be said so there. Then enough of the
sentence's content words must occur close together in the passage, and some of each of its clauses: what rides along in
a sentence that the passage supports is a claim of its own. What stands together in a clause must stand together there:
two statements of a passage make a third that it does not say, and a period or an amount belongs to what it is said of.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from assistant.skills import verbatim
from assistant.text.identifiers import canonical
from assistant.text.sentences import sentences
from assistant.text.words import STOP_WORDS, stem

# A sentence is said if a passage supports it at least this much.
SUPPORTED = 0.6

# Most of the score counts only words within this many consecutive sentences of the passage.
_WINDOW = 3
_WINDOW_SHARE = 0.7

# So much of each clause of a sentence must be said, too.
_CLAUSE_CARRIED = 0.4

_NEGATIONS = frozenset(
    "not no never none cannot don't doesn't didn't isn't aren't wasn't weren't won't can't couldn't shouldn't mustn't "
    "without nor neither nicht kein keine keinen keinem nie niemals ohne pas jamais sans aucun aucune nunca sin ningún "
    "ninguna non mai senza nessun nessuna niet geen nooit zonder não sem nenhum nenhuma".split()
)
_OPPOSITES = {
    word: other
    for pair in (
        "on/off enable/disable enabled/disabled increase/decrease open/close opened/closed before/after left/right "
        "always/never minimum/maximum connect/disconnect lock/unlock install/uninstall activate/deactivate plug/unplug "
        "free/paid included/excluded allowed/forbidden hot/cold full/empty above/below possible/impossible "
        "covered/uncovered valid/invalid safe/unsafe ein/aus vor/nach links/rechts mit/ohne immer/nie öffnen/schließen"
    ).split()
    for word, other in (pair.split("/"), pair.split("/")[::-1])
}
_NUMBER_WORDS = {
    word: str(number)
    for words in (
        "two three four five six seven eight nine ten eleven twelve",
        "zwei drei vier fünf sechs sieben acht neun zehn elf zwölf",
    )
    for number, word in enumerate(words.split(), start=2)
}
_UNITS = {
    name: names.split()[0]
    for names in (
        "second seconds sec secs s sekunde sekunden seconde secondes segundo segundos secondi",
        "minute minutes min mins minuten minuto minutos minuti",
        "hour hours h hr hrs stunde stunden heure heures hora horas ore",
        "day days tag tage tagen jour jours día días giorni dagen",
        "week weeks woche wochen semaine semaines semana semanas settimane weken",
        "month months monat monate monaten mois mes meses mesi maanden",
        "year years jahr jahre jahren an ans año años anni jaar",
        "percent % prozent",
        "celsius °c",
        "fahrenheit °f",
        "euro euros eur €",
        "dollar dollars usd $",
        "pound pounds gbp £",
        "mm", "cm", "m metre metres meter meters", "km", "inch inches", "g gram grams", "kg", "ml",
        "l litre litres liter", "v volt volts", "w watt watts", "kw", "a ampere",
        "mah", "gb", "mb", "tb", "mhz", "ghz", "bar", "rpm",
    )
    for name in names.split()
}  # fmt: skip
# The unit of a number is one of so many words after it: "five working days".
_UNIT_WITHIN = 2
_UNIT_STEMS = frozenset(map(stem, _UNITS))
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")
_NUMBER = re.compile(r"([$€£])?\s?(\d+(?:[.,]\d+)*)\s?(%|°\s?[CF]\b|[€$£]|[^\W\d_]+)?", re.IGNORECASE)
# A word and, as a lookahead, the next ones, so that every word is matched once as the first.
_BEFORE_WORDS = re.compile(rf"\b([^\W\d_]+)\b(?=((?:\s+[^\W\d_]+){{1,{_UNIT_WITHIN}}}))")
_CODE = re.compile(r"\b(?=\w*\d)(?=\w*[A-Za-z])\w[\w-]*\b")
_CITATION = re.compile(r"(?<!\s)\s*+\[\d+\]")
_LIST_MARK = re.compile(r"(?:(?<=\s)|^)\(?\d{1,2}[.)]\s")
_ORDINALS = frozenset(("st", "nd", "rd", "th"))
_MEASURED = re.compile(r"\d+([A-Za-z]+)")
_CLAUSE_ENDS = re.compile(
    r"[,;:()!?\n\u2013\u2014\u060c\u061b]|[.-](?=\s)"
    r"|\b(?:and|but|so|und|aber|sondern|et|mais|y|pero|ma|mas|en|maar|oraz|ve)\b",
    re.IGNORECASE,
)
# So many words in a row that the passage does not have are a claim of their own, at the end of a clause fewer.
_ADDED, _ADDED_LAST = 4, 3
# They lead from one sentence to the next and claim nothing.
_CONNECTIVES = frozenset(
    "however contrast need additionally therefore instead first second then finally next note simply otherwise "
    "example addition case jedoch dagegen außerdem zuerst dann cependant ensuite puis primero después luego "
    "poi dopo".split()
)
# Something has been done: a claim about one customer's case, which no article can know.
_DONE = re.compile(
    r"\b(?:(?:has|have|had)(?:\s+(?:been|already|just|now))*"
    r"\s+(?:\w+ed|sent|paid|made|given|got|gone|won|chosen|done)"
    r"|(?:was|were|is|are) (?:already|now|just|hereby) \w+"
    r"|(?:wurden?|worden|a été|ont été|avons|ha sido|han sido|hemos"
    r"|è stat[oae]|abbiamo|foi|foram|został[aoy]?|werd))\b",
    re.IGNORECASE,
)
# So much of a clause, by weight, may stand in other statements of the passage than the one that has most of it, and so
# much of what a quantity is said of. Chosen on claims of our own: `assistant eval grounding`.
_MOST_BORROWED, _MOST_BORROWED_OF_QUANTITY = 0.4, 0.3
_LONGEST_HEADING = 200
_Words = Sequence[tuple[str, float]]  # stem, weight
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[%€$£]")
# A negation applies to this many content words after it.
_NEGATED_WORDS = 2


@dataclass(frozen=True)
class Support:
    """The passage that supports a sentence best, and how well (0 to 1)."""

    passage: int
    score: float


def support(sentence: str, passage: str) -> float:
    """How well ``passage`` supports ``sentence``, 0 to 1; 0 if a number, identifier or negation differs.

    The share of the sentence's content words found in the passage's best window, averaged with the share found in the
    whole passage. A word's weight is the square root of its length: longer words carry more meaning.
    """
    sentence = _CITATION.sub("", sentence)
    claim = _read(sentence)
    parts = _parts_of(passage)
    if not claim.words or not parts or not _facts_hold(claim, parts) or not verbatim.holds(sentence, passage):
        return 0.0
    if not _done(sentence) <= _done(passage):
        return 0.0
    if not all(_is_carried(clause, parts) for clause in _CLAUSE_ENDS.split(sentence)):
        return 0.0
    if _runs_on(sentence, parts) or not _is_whole(claim, sentence, passage) or _joins(sentence, passage):
        return 0.0
    windows = [parts[start : start + _WINDOW] for start in range(len(parts))]
    shares = [_coverage(claim, window) for window in windows]
    best = max(range(len(windows)), key=shares.__getitem__)
    nearest = max(windows[best], key=lambda part: _coverage(claim, [part]))
    if _contradicts(claim, nearest, windows[best]):
        return 0.0
    return _WINDOW_SHARE * shares[best] + (1 - _WINDOW_SHARE) * _coverage(claim, parts)


def best_support(sentence: str, passages: Sequence[str]) -> Support:
    """The passage that supports the sentence best; passage -1 with score 0 if there are no passages."""
    scores = [support(sentence, passage) for passage in passages]
    if not scores:
        return Support(-1, 0.0)
    best = max(range(len(scores)), key=scores.__getitem__)
    return Support(best, scores[best])


@dataclass(frozen=True)
class _Statement:
    """What is compared of a sentence: stems, numbers with their units, identifiers, negation."""

    words: tuple[tuple[str, float], ...]  # stem, weight
    stems: frozenset[str]
    plain: frozenset[str]  # every word in lower case
    numbers: Mapping[str, frozenset[str]]
    codes: frozenset[str]
    quantities: frozenset[tuple[str, str]]  # number, unit; also in words
    denied: frozenset[str]  # stems that a negation applies to
    affirmed: frozenset[str]
    negated: bool


@lru_cache(maxsize=4096)
def _read(text: str) -> _Statement:
    plain = [word.lower().replace("’", "'") for word in _WORD.findall(text)]
    content = [word for word in plain if word not in STOP_WORDS and word not in _NEGATIONS]
    words = tuple((stem(_NUMBER_WORDS.get(word, word)), math.sqrt(len(word))) for word in content)
    denied, affirmed = _polarity(plain)
    return _Statement(
        words=words,
        stems=frozenset(stem for stem, _ in words),
        plain=frozenset(plain),
        numbers=_numbers(text),
        codes=frozenset(canonical(code) for code in _codes(text)),
        quantities=frozenset(_quantities(text)),
        denied=denied,
        affirmed=affirmed,
        negated=not _NEGATIONS.isdisjoint(plain),
    )


def _polarity(plain: Sequence[str]) -> tuple[frozenset[str], frozenset[str]]:
    """(stems that a negation applies to, all others)."""
    denied: set[str] = set()
    affirmed: set[str] = set()
    left = 0
    for word in plain:
        if word in _NEGATIONS:
            left = _NEGATED_WORDS
        elif word not in STOP_WORDS:
            (denied if left > 0 else affirmed).add(stem(_NUMBER_WORDS.get(word, word)))
            left -= 1
    return frozenset(denied), frozenset(affirmed)


@lru_cache(maxsize=512)
def _parts_of(passage: str) -> tuple[_Statement, ...]:
    return tuple(_read(part) for part in sentences(passage))


def _numbers(text: str) -> dict[str, frozenset[str]]:
    """Each number in the text with its units. Numbers in words ("three minutes") count only with a unit."""
    for code in _codes(text):
        text = text.replace(code, " ")
    text = _LIST_MARK.sub(" ", text)
    text = _BEFORE_WORDS.sub(_digits_before_unit, text)
    found: dict[str, frozenset[str]] = {}
    for currency, number, after in _NUMBER.findall(text):
        units = {_UNITS[unit] for unit in (currency, after.lower().replace(" ", "")) if unit in _UNITS}
        key = _plain_number(number)
        found[key] = found.get(key, frozenset()) | units
    return found


def _quantities(text: str) -> Iterator[tuple[str, str]]:
    tokens = [token.lower() for token in _TOKEN.findall(text)]
    for place, token in enumerate(tokens):
        if token in _NUMBER_WORDS or token[0].isdigit():
            beside = [one for one in tokens[max(0, place - 1) : place] if one in "€$£"]
            for word in (*beside, *tokens[place + 1 : place + 1 + _UNIT_WITHIN]):
                if word in _NUMBER_WORDS or word[0].isdigit():
                    break
                if word in _UNITS:
                    yield _NUMBER_WORDS.get(token) or _plain_number(token), _UNITS[word]
                    break


def _digits_before_unit(match: re.Match[str]) -> str:
    number, following = match[1].lower(), match[2].lower().split()
    is_counted = number in _NUMBER_WORDS and not _UNITS.keys().isdisjoint(following)
    return _NUMBER_WORDS[number] if is_counted else match[1]


def _codes(text: str) -> list[str]:
    """Everything that looks like an identifier, except numbers with a unit or ending attached: `30s`, `2kg`, `20th`."""
    found = _CODE.findall(text)
    measured = [_MEASURED.fullmatch(code) for code in found]
    ends = [match.group(1).lower() if match is not None else "" for match in measured]
    return [code for code, end in zip(found, ends, strict=True) if end not in _UNITS and end not in _ORDINALS]


def _plain_number(number: str) -> str:
    """One spelling for `1,500`, `1.500` and `1500`, for `1,5` and `1.5`, and for `2.0` and `2`."""
    if re.fullmatch(r"\d{1,3}(?:[.,]\d{3})+", number):
        return re.sub(r"[.,]", "", number)
    number = number.replace(",", ".")
    return number.rstrip("0").rstrip(".") if number.count(".") == 1 else number


def _facts_hold(claim: _Statement, parts: Sequence[_Statement]) -> bool:
    known = frozenset[str]().union(*(part.codes for part in parts))
    return claim.codes <= known and all(
        _number_holds(number, units, claim, parts) for number, units in claim.numbers.items()
    )


def _number_holds(number: str, units: frozenset[str], claim: _Statement, parts: Sequence[_Statement]) -> bool:
    """Whether a part has the number, in the same unit if both give one, and another word of the claim."""
    others = claim.stems - {number}
    for part in parts:
        if number not in part.numbers or (others and others.isdisjoint(part.stems)):
            continue
        given = part.numbers[number]
        if not units or not given or not units.isdisjoint(given):
            return True
    return False


@lru_cache(maxsize=512)
def _done(text: str) -> frozenset[str]:
    """What the text says has been done, as stems."""
    return frozenset(stem(match[0].lower().rsplit(maxsplit=1)[-1]) for match in _DONE.finditer(text))


def _is_carried(clause: str, parts: Sequence[_Statement]) -> bool:
    """Whether a part of the passage and its neighbours say enough of the clause by themselves, or it says nothing."""
    claim = _read(clause)
    if all(word in _CONNECTIVES for word, _ in claim.words):
        return True
    windows = (parts[start : start + _WINDOW] for start in range(len(parts)))
    return any(_coverage(claim, window) >= _CLAUSE_CARRIED for window in windows)


def _runs_on(sentence: str, parts: Sequence[_Statement]) -> bool:
    """Whether the sentence, with no mark to tell, goes on to something that the passage says nowhere."""
    known = frozenset[str]().union(_CONNECTIVES, *(part.stems for part in parts))
    for clause in _CLAUSE_ENDS.split(sentence):
        added = 0
        for word, _ in _read(clause).words:
            added = 0 if word in known else added + 1
            if added >= _ADDED:
                return True
        if added >= _ADDED_LAST:
            return True
    return False


@dataclass(frozen=True)
class _Clause:
    """A clause of a passage, and the sentence that it stands in."""

    own: _Statement
    sentence: _Statement


@lru_cache(maxsize=512)
def _clauses_of(passage: str) -> tuple[frozenset[str], tuple[_Clause, ...]]:
    """(stems of the heading, which every statement is about; clauses)."""
    heading, clauses = frozenset[str](), list[_Clause]()
    for number, text in enumerate(sentences(passage)):
        sentence = _read(text)
        if number == 0 and _is_heading(text):
            heading = sentence.stems
        else:
            clauses += [_Clause(_read(part), sentence) for part in _CLAUSE_ENDS.split(text) if part.strip()]
    return heading, tuple(clauses)


def _is_heading(text: str) -> bool:
    return len(text) < _LONGEST_HEADING and text[-1].isalnum()


def _joins(sentence: str, passage: str) -> bool:
    """Whether a clause puts together what the passage says in different statements, or gives a quantity to something
    else than the passage does."""
    heading, clauses = _clauses_of(passage)
    known = frozenset[str]().union(*(one.own.stems for one in clauses))
    for text in _CLAUSE_ENDS.split(sentence):
        claim = _read(text)
        words = [(word, weight) for word, weight in claim.words if word in known - heading - _CONNECTIVES]
        total = sum(weight for _, weight in claim.words)
        if words and _borrowed(words, [one.sentence for one in clauses]) > _MOST_BORROWED * total:
            return True
        of = [(word, weight) for word, weight in words if not word[0].isdigit() and word not in _UNIT_STEMS]
        if of and any(_is_of_another(quantity, of, clauses) for quantity in claim.quantities):
            return True
    return False


def _is_of_another(quantity: tuple[str, str], words: _Words, clauses: Sequence[_Clause]) -> bool:
    """Whether the words do not stand where the quantity does, or rather beside another quantity of the same unit."""
    own = [one for one in clauses if quantity in one.own.quantities]
    if not own:
        return False  # the number's own check has its say
    if _borrowed(words, [one.sentence for one in own]) > _MOST_BORROWED_OF_QUANTITY * _weight(words):
        return True
    best = max(own, key=lambda one: (_weight(words, one.own.stems), _weight(words, one.sentence.stems)))
    rivals = [one for one in clauses if one not in own and any(unit == quantity[1] for _, unit in one.own.quantities)]
    for rival in rivals:
        mine = _weight(words, best.own.stems - rival.own.stems)
        # In a list within one sentence, all but the first leave out what they share.
        is_apart = rival.sentence is not best.sentence or mine == 0
        if is_apart and _weight(words, rival.own.stems - best.own.stems) > mine:
            return True
    return False


def _borrowed(words: _Words, statements: Sequence[_Statement]) -> float:
    """The weight of the words that the statement with most of them lacks."""
    return _weight(words) - max((_weight(words, one.stems) for one in statements), default=0.0)


def _weight(words: _Words, among: Collection[str] | None = None) -> float:
    return sum(weight for word, weight in words if among is None or word in among)


def _is_whole(claim: _Statement, sentence: str, passage: str) -> bool:
    """Whether what commits the company is said with all that its sentence says in the passage: a promise without its
    condition is another one, and one that somebody is told to make is none."""
    bound = verbatim.binding(sentence)
    if not bound:
        return True
    candidates = [part for part in sentences(passage) if bound & verbatim.binding(part)]
    return any(all(_is_told(clause, claim) for clause in _CLAUSE_ENDS.split(part)) for part in candidates)


def _is_told(clause: str, claim: _Statement) -> bool:
    """Whether the claim says enough of a passage's clause, or that says nothing."""
    said = _read(clause)
    return all(word in _CONNECTIVES for word, _ in said.words) or _coverage(said, [claim]) >= _CLAUSE_CARRIED


def _coverage(claim: _Statement, parts: Sequence[_Statement]) -> float:
    known = frozenset[str]().union(*(part.stems for part in parts))
    total = sum(weight for _, weight in claim.words)
    return sum(weight for stem, weight in claim.words if stem in known) / total


def _contradicts(claim: _Statement, nearest: _Statement, window: Sequence[_Statement]) -> bool:
    """Whether one side denies what the other affirms, or says "off" where the other says "on"."""
    if claim.negated and not any(part.negated for part in window):
        return True
    if (claim.denied - nearest.denied) & nearest.affirmed or (nearest.denied - claim.denied) & claim.affirmed:
        return True
    opposites = {word: _OPPOSITES[word] for word in claim.plain & _OPPOSITES.keys()}
    return any(
        word not in nearest.plain and other in nearest.plain and other not in claim.plain
        for word, other in opposites.items()
    )
