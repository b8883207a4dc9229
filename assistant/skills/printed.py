"""What is printed beside a label in a photo: a serial number, a voltage, a date until which something keeps.

A label is a word that makers print (`KINDS`), or one of the question's own. What belongs to it follows it in its line,
or stands right of it, or below it, and has the form of what is sought. Where several values compete, none is claimed
with certainty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from types import MappingProxyType

from assistant.ports import Box, TextLine
from assistant.skills import personal_data
from assistant.skills.personal_data import Kind
from assistant.skills.receipt import AMOUNT, DATE
from assistant.skills.verbatim import addresses
from assistant.text.folding import fold
from assistant.text.words import STOP_WORDS, stem, words_of

# Of what stands in the label's line, right of it, below it, and of what has its form but no label.
_BESIDE, _RIGHT, _BELOW, _UNLABELLED = 0.95, 0.92, 0.85, 0.8
# Where other values are as near, and where the label is one of the question's words, which may mean something else.
_DISPUTED, _OWN_WORDS = 0.5, 0.9
_LONGEST = 60
# In heights of the label: how far below it a value may begin, and in widths of the photo: how far right.
_FAR_BELOW, _FAR_RIGHT = 1.6, 0.75
_ALIKE = 0.86  # letters that a label and a word of the question share, misread or inflected
_FEWEST_LETTERS = 3


@dataclass(frozen=True)
class Value:
    """``boxes``: of the value, and of its label if that stands apart."""

    text: str
    confidence: float
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class _Kind:
    """``label``: words on labels, folded. ``form`` finds values in a text; ``alone``: they need no label if there is
    one only."""

    label: re.Pattern[str]
    form: Callable[[str], list[str]]
    alone: bool = False


def _matches(pattern: str, flags: int = re.IGNORECASE) -> Callable[[str], list[str]]:
    compiled = re.compile(pattern, flags)
    return lambda text: [match.group().strip() for match in compiled.finditer(text)]


def _dates(text: str) -> list[str]:
    return [match.group() for match in DATE.finditer(text)] or _MONTHS(text)


def _amounts(text: str) -> list[str]:
    return [match.group(1).replace(" ", "") for match in AMOUNT.finditer(DATE.sub(" ", text))]


def _personal(kind: Kind) -> Callable[[str], list[str]]:
    def form(text: str) -> list[str]:
        return [text[span.start : span.end] for span in personal_data.find(text) if span.kind is kind]

    return form


def _sites(text: str) -> list[str]:
    known = addresses(text)
    return [word.strip(".,;()") for word in text.split() if word.strip(".,:;/()").lower() in known and "@" not in word]


def _identifiers(text: str) -> list[str]:
    return [one for one in _TOKENS(text) if sum(map(str.isdigit, one)) >= 2 and not DATE.fullmatch(one)]


_MONTHS = _matches(
    r"(?<![\d./-])(?:0?[1-9]|1[0-2])[./ -]20\d\d(?![\d./-])|(?<![\d./-])20\d\d[./-](?:0[1-9]|1[0-2])(?![\d./-])"
)
_TOKENS = _matches(r"(?=[\w/.-]{0,40}\d)[A-Za-z0-9][\w/.-]{2,40}(?<![.-])(?: [\w/-]*\d[\w/-]*){0,4}", re.ASCII)
_NAMES = _matches(r"[A-Za-z0-9][\w/.+&-]*(?: [\w/.+&-]+){0,4}", 0)
_WORDS_FOR_NUMBER = r"\W{0,3}(?:no|nr|num\w*|code|#)?"


def _label(words: str) -> re.Pattern[str]:
    return re.compile(words)


# Words on type plates, packages and receipts, folded, in the languages they are printed in most.
KINDS: Mapping[str, _Kind] = MappingProxyType({
    "serial": _Kind(_label(
        rf"\bs\s?/\s?n\b|\bsn\b(?=\W)|\bser(?:ial)?\b{_WORDS_FOR_NUMBER}|\bserien-?\s?(?:nr|nummer)|\bgeraete?-?(?:nr|nummer)"
        r"|\bn\w{0,5}\W{0,2}(?:de\s|di\s)?seri[ea]\b|\bmatricola|\bserienummer|\bnumer\s+seryjny|\bseri\s+no|製造番号|シリアル|序列号|序號"
    ), _identifiers),
    "model": _Kind(_label(
        rf"\bmod(?:el+[eo]?)?\b\.?{_WORDS_FOR_NUMBER}|\bmodell-?(?:nr|nummer|bezeichnung)?|\bm\s?/\s?n\b|\btyp[eo]?\b{_WORDS_FOR_NUMBER}|\btipo\b"
        rf"|\bp\s?/\s?n\b|\bpart{_WORDS_FOR_NUMBER}\b|\bart(?:ikel|icle)?\W{{0,2}}(?:nr|nummer|no)\b|\bsku\b|\bref(?:erenc\w+)?\b\.?|型号|型番|型式"
    ), _NAMES),
    "voltage": _Kind(
        _label(r"\b(?:rated\s)?volt\w*|\bspannung|\bnetzspannung|\btension|\bvoltaje|\btensione|\binput\b|\beingang|\bentree|\bentrada|电压"),
        _matches(r"(?<![\w.])\d[\d.,]*(?:\s?[-–/~]\s?\d[\d.,]*)?\s?V(?:AC|DC|olts?|~|⎓)?(?![a-z])"),
        alone=True,
    ),
    "power": _Kind(
        _label(r"\b(?:rated\s)?power|\bleistung\w*|\bpuissance|\bpotencia|\bpotenza|\bwatt\w*|功率"),
        _matches(r"(?<![\w.])\d[\d.,]*(?:\s?[-–/]\s?\d[\d.,]*)?\s?k?W(?:atts?)?(?![a-z])"),
        alone=True,
    ),
    "expiry": _Kind(_label(
        r"\bexp\b|\bexpir\w*|\bbest\s+(?:before|by)|\buse\s+by|\bbb[de]?\b|\bmhd\b|\bmindestens\s+haltbar\w*|\bhaltbar\s+bis|\bverw\w*\.?\s+bis|\bgultig\s+bis"
        r"|\bvalid\s+(?:until|thru|to)|\ba\s+consommer|\bperemption|\bddm\b|\bdlc\b|\bcaduc\w*|\bvenc\w*|\bconsumir|\bscad\w*|\bconsumare|\bvalidade|\btht\b|\btgt\b"
        r"|\bskt\b|\btermin\s+przydatnosci|\bnajlepiej|賞味期限|消費期限|有効期限|保质期|有效期"
    ), _dates),
    "date": _Kind(_label(r"\b(?:date|datum|fecha|data|tarih|dated)\b|日期|日付|التاريخ"), _dates, alone=True),
    "order": _Kind(_label(
        r"\border(?:\s?(?:no|nr|number|id|#))?\b|\bbestell-?(?:nr|nummer)?|\bauftrags?-?(?:nr|nummer)|\bcommande|\bpedido|\bordine|\binv(?:oice)?\b\W{0,2}(?:no|nr|number|#)"
        r"|\brechnungs-?(?:nr|nummer)|\bfacture\s+n|\breceipt\W{0,2}(?:no|nr|number|#)|\bbeleg-?(?:nr|nummer)|\b订单"
    ), _identifiers),
    "error_code": _Kind(
        _label(
            r"\berr(?:or|eur|ore)?\b(?:\s?code)?|\bfehler(?:code)?\b|\bstorung(?:scode)?\b|\bfault(?:\s?code)?\b"
            r"|\balarm\b|^code\b"
            r"|\bcodice\s+(?:di\s+)?errore|\bcodigo\s+de\s+error|\bcode\s+d.erreur|\bhata\b|错误代码|エラー"
        ),
        _matches(r"(?<![\w.,:-])(?:0x[0-9A-F]{2,16}|[A-Z]{1,3}[- ]?\d{1,5}[A-Z]?|\d{2,5})(?![\w.,:/-])"),
    ),
    "phone": _Kind(
        _label(r"\b(?:tele)?(?:ph|f)on\w*|\btel\b|\bhotline|\bmobil\w*|\bcall\b|电话|電話"),
        _personal(Kind.PHONE),
        alone=True,
    ),
    "email": _Kind(_label(r"\be-?mail|\bcorreo|\bposta"), _personal(Kind.EMAIL), alone=True),
    "website": _Kind(_label(r"\bweb\w*|\burl\b|\bhomepage|\bsite\b|\binternet"), _sites, alone=True),
    "tax": _Kind(
        _label(r"\b(?:sales\s)?tax\b|\bvat\b|\bgst\b|\bmwst\b|\bust\b|\btva\b|\biva\b|\bbtw\b|\bkdv\b|消費税|税"),
        _amounts,
    ),
})  # fmt: skip
# A display that shows a code shows little else.
_CODE_ALONE, _ON_A_DISPLAY = re.compile(r"[A-Z]{1,2}[- ]?\d{1,4}"), 6
_OF_A_RECEIPT = 2  # lines with amounts
_TOTALS = re.compile(r"total|summe|\bincl|inkl|\bsub|rate|%|\bid\b|\breg|invoice")
# Words of questions that stand on no label for what they ask.
_ASKING = frozenset(
    "number no nr value name read show shown say photo picture image label receipt bill invoice page screen display "
    "many much there printed written stand per foto bild photo imagen immagine numero nummer nombre image "
    "wie viel viele welche welcher welches welchen was ist der die das den dem lautet hat auf steht combien quel "
    "quelle est les des sur dans cuanto cuanta cuantos cuantas cual que los las del quanto quanta quanti quante quale "
    "che nel".split()
)  # fmt: skip


def find(kind: str, lines: Sequence[TextLine]) -> Value | None:
    """What is printed of a kind of `KINDS`. ``lines``: upright, in reading order."""
    wanted = KINDS[kind]
    found = list(_labelled(lines, wanted))
    if found:
        return _surest(found)
    if kind == "error_code":
        codes = [line for line in lines if _CODE_ALONE.fullmatch(line.text.strip()) and len(lines) <= _ON_A_DISPLAY]
        return _surest([Value(one.text.strip(), _UNLABELLED * one.confidence, (one.box,)) for one in codes])
    return _surest(list(_alone(kind, lines))) if wanted.alone else None


def _alone(kind: str, lines: Sequence[TextLine]) -> Iterator[Value]:
    """Values without a label, that are no part of something else or what another label names."""
    others = [value for name, other in KINDS.items() if name != kind for value in _labelled(lines, other)]
    named = [_bare(value.text) for value in others]
    for line in lines:
        for text in KINDS[kind].form(line.text):
            is_whole = re.search(rf"(?<![\w/.-]){re.escape(text)}(?![\w-])", line.text) is not None
            if is_whole and not any(_bare(text) in one for one in named):
                yield Value(text, _UNLABELLED * line.confidence, (line.box,))


def beside_words(question: str, lines: Sequence[TextLine]) -> Value | None:
    """What stands beside a label that the question names in its own words: "how much sodium" finds "Sodium 650 mg"."""
    asked = _telling(question)
    found: list[tuple[int, Value]] = []
    for place, line in enumerate(lines):
        label, rest = _split(line.text)
        words = _telling(label)
        if not words or len(words) > len(asked) or not all(_is_among(word, asked) for word in words):
            continue
        if not _is_among(asked[0], words):  # it is asked about something else, "per serving", "in miles an hour"
            continue
        value = _after(rest, line) or _neighbour(lines, place, _numbers)
        if value is not None:
            found.append((len(words), replace(value, confidence=value.confidence * _OWN_WORDS)))
    most = max((count for count, _ in found), default=0)
    return _surest([value for count, value in found if count == most])


def heading(lines: Sequence[TextLine]) -> Value | None:
    """The title of a page: the first line with words, surer if it is larger than the rest. On receipts a logo, a
    greeting or somebody's name stands first as often as the shop's, so nothing is said there."""
    if sum(bool(_amounts(line.text)) for line in lines) >= _OF_A_RECEIPT:
        return None
    worded = [line for line in lines if sum(map(str.isalpha, line.text)) >= 2 * _FEWEST_LETTERS]
    if len(worded) < 2:
        return None
    first = min(worded, key=lambda line: line.box.top)
    heights = sorted(_height(line) for line in worded)
    larger = _height(first) / heights[len(heights) // 2]
    lone = sum(abs(line.box.top - first.box.top) < _height(first) / 2 for line in worded) == 1
    return Value(first.text, (0.9 if larger >= 1.3 and lone else 0.5) * first.confidence, (first.box,))


def _labelled(lines: Sequence[TextLine], wanted: _Kind) -> Iterator[Value]:
    for place, line in enumerate(lines):
        flat = _flat(line.text)
        for match in wanted.label.finditer(flat):
            if wanted is KINDS["tax"] and _TOTALS.search(flat):
                continue
            end = min([match.end() + other.start() for other in _others(wanted, flat[match.end() :])] or [len(flat)])
            rest = re.sub(r"^[\s:.#=№°_-]+", "", line.text[match.end() : end])
            values = wanted.form(rest)
            if values:
                yield Value(values[0][:_LONGEST], _BESIDE * line.confidence, (line.box,))
                break
            if sum(map(str.isalnum, rest)) < _FEWEST_LETTERS:
                value = _neighbour(lines, place, wanted.form)
                if value is not None:
                    yield value
                    break


def _others(wanted: _Kind, text: str) -> Iterator[re.Match[str]]:
    """Where labels of other kinds begin in what follows a label."""
    for kind in KINDS.values():
        match = kind.label.search(text) if kind is not wanted else None
        if match is not None and match.start() > 0 and re.match(r"\s*[:=]", text[match.end() :]):
            yield match


def _neighbour(lines: Sequence[TextLine], place: int, form: Callable[[str], list[str]]) -> Value | None:
    """The value right of the label in its row, else that below it."""
    label = lines[place]
    height, middle = _height(label), (label.box.top + label.box.bottom) / 2
    right = [
        line for line in lines
        if line is not label and line.box.left >= label.box.right - height / 2
        and line.box.left - label.box.right < _FAR_RIGHT and line.box.top < middle < line.box.bottom
    ]  # fmt: skip
    if right:  # what stands next to it is its value, or it has none there
        line = min(right, key=lambda one: one.box.left)
        values = form(line.text)
        return _apart(values[0], _RIGHT, label, line) if values else None
    below = [
        line for line in lines
        if line is not label and 0 <= line.box.top - label.box.bottom + height / 2 < (_FAR_BELOW + 0.5) * height
        and min(line.box.right, label.box.right) - max(line.box.left, label.box.left) > 0
    ]  # fmt: skip
    if not below:
        return None
    line = min(below, key=lambda one: one.box.top)
    values = form(line.text)
    return _apart(values[0], _BELOW, label, line) if values else None


def _apart(text: str, sure: float, label: TextLine, line: TextLine) -> Value:
    return Value(text[:_LONGEST], sure * min(label.confidence, line.confidence), (line.box, label.box))


def _after(rest: str, line: TextLine) -> Value | None:
    return Value(rest[:_LONGEST], _BESIDE * line.confidence, (line.box,)) if rest else None


def _surest(found: Sequence[Value]) -> Value | None:
    """The surest; if another has a different value and is nearly as sure, hardly more than a guess."""
    if not found:
        return None
    best = max(found, key=lambda one: one.confidence)
    rivals = [one for one in found if _bare(one.text) != _bare(best.text) and one.confidence > 0.9 * best.confidence]
    return replace(best, confidence=best.confidence * _DISPUTED) if rivals else best


def _split(text: str) -> tuple[str, str]:
    """(label, value) of a line: up to a colon, else up to the first number."""
    head, colon, tail = text.partition(":")
    if colon and len(head) <= _LONGEST:
        return head, tail.strip()
    match = re.search(r"[$€£¥]?\s?\d", text)
    return (text[: match.start()], text[match.start() :].strip()) if match else (text, "")


def _telling(text: str) -> list[str]:
    """The words that say what is meant, as stems."""
    words = (word for word in words_of(text) if word not in STOP_WORDS and word not in _ASKING)
    return [stem(word) for word in words if len(word) >= _FEWEST_LETTERS and not word.isdigit()]


def _is_among(word: str, asked: Sequence[str]) -> bool:
    return any(word == one or (len(word) > 4 and SequenceMatcher(None, word, one).ratio() >= _ALIKE) for one in asked)


def _numbers(text: str) -> list[str]:
    return [text.strip()] if any(map(str.isdigit, text)) else []


def _flat(text: str) -> str:
    """Folded letter by letter, so that places in it are places in the text."""
    folded = (" " if one.isspace() else fold(one) for one in text)
    return "".join(new if len(new) == 1 else one for new, one in zip(folded, text, strict=True))


def _height(line: TextLine) -> float:
    return max(line.box.bottom - line.box.top, 1e-6)


def _bare(text: str) -> str:
    return re.sub(r"\W", "", fold(text))
