"""What a passage can be quoted in: its sentences, lists of steps, alternatives, table rows, facts and answers.

A unit can be said without the others: a row has the names of its columns, a list is whole, links have their addresses.
What stands on a page but says nothing, such as its number or a table of contents, is no unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby

from assistant.text.identifiers import spot
from assistant.text.sentences import sentences

# Raise this with every change that cuts other units or compares them by another text, so that they are embedded again.
REVISION = 1

_STEP = re.compile(r"^\s*(?:\d+[.)]|[-*•])\s+")
_BULLET = re.compile(r"^\s*[-*•]\s+")
# A link or picture; neither part of it contains another one.
_LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(((?:(?!\]\()[^)])*)\)")
_WITHIN_PAGE = re.compile(r"\s*\[[^\[\]]*\]\(#[^)]*\)\s*")
_ADDRESS = re.compile(r"<?(?:(mailto:|tel:)|https?://)([^\s>]+)>?", re.IGNORECASE)
_AUTOLINK = re.compile(r"<(?:mailto:)?((?:https?://|[^\s<>@:/]{1,64}@)[^\s<>]+)>")
_WEB = re.compile(r"(https?://\S+)")
_MARKS = re.compile(r"\*\*|`|(?<!\w)__?(?=\S)|(?<=\S)__?(?!\w)|(?<![\w*])\*(?=[^\s*])|(?<=[^\s*])\*(?![\w*])")
# "- 96 -" between two pages of a running text; "Setup ........ 12" in a table of contents.
_PAGE_NUMBER = re.compile(r"(?:^|(?<=\s))[-–—]\s?\d{1,4}\s?[-–—](?:\s+|$)")
_LEADER = re.compile(r"(?:[.·…]\s?){4}\d{1,4}\s{0,9}$")
_END = re.compile(r"[.!?…。！？:]['\"”»)]*$")
# "Floor area: 80 square feet": a name of a few words and a short value that is not a sentence.
_FACT = re.compile(r"(?:[^\s:?!.]+ ){0,4}[^\s:?!.]{2,}:\s+\S.{0,100}(?<![.!?])")
# A name before what is said of it, as in "Red, steady: the mainboard is faulty."
_NAMED = re.compile(r"((?:[^\s:?!.]+ ){0,4}[^\s:?!.]+)(?::| [–—-])\s+\S")
_RULE = re.compile(r"[\s|:-]+")  # below a table's head
_FEWEST = 3  # facts or alternatives
# Of a cell that can be understood without the name of its column: words of two letters at least.
_TELLING_WORDS = 3


class Kind(StrEnum):
    SENTENCE = "sentence"
    QUESTION = "question"  # points to what follows
    STEPS = "steps"  # a whole list
    ITEM = "item"  # of a list of alternatives, such as one for each light
    TABLE = "table"  # what its rows are about; they are said in its place
    ROW = "row"
    ANSWER = "answer"  # to a listed question
    FACT = "fact"


@dataclass(frozen=True)
class Unit:
    """``text`` is said. ``quote`` is the passage's own text; for an answer it includes the question. ``asked``: the
    question that it follows. ``name``: what an alternative or row is about, if it says so first. ``under``: the names
    of a row's columns, and ``head`` the lines above it that name them. ``block``: which of the passage's blocks it is
    in."""

    text: str
    quote: str
    kind: Kind
    asked: str = ""
    name: str = ""
    under: str = ""
    head: str = ""
    passage: int = 0
    position: int = 0
    block: int = 0
    codes: frozenset[str] = field(default=frozenset())

    @property
    def compared(self) -> str:
        """What tells the unit's meaning."""
        return f"{self.asked} {self.text}".strip()

    @property
    def cited(self) -> str:
        """The quote as it can be shown alone: a row as a table of one row, a table by its head."""
        return f"{self.head}\n{self.quote}" if self.kind is Kind.ROW else self.head or self.quote


def units_of(text: str, passage: int = 0) -> list[Unit]:
    """The units of a passage's text, in their order; ``passage`` is its number."""
    found: list[Unit] = []
    asked = ""
    for number, block in enumerate(re.split(r"\n\s*\n", text)):
        lines = [line for line in block.splitlines() if line.strip() and not _LEADER.search(line)]
        cut = list(_block_units(lines))
        for unit in cut:
            asked = unit.text if unit.kind is Kind.QUESTION else asked
            follows = "" if unit.kind is Kind.QUESTION or unit.asked else asked
            found.append(replace(unit, asked=unit.asked or follows, passage=passage, position=len(found), block=number))
        # A question that ends its block points to the next one.
        asked = asked if cut and cut[-1].kind is Kind.QUESTION else ""
    return found


def plain(text: str) -> str:
    """The text without Markdown's marks and pictures; a link's words are followed by its address."""
    return _AUTOLINK.sub(r"\1", _without_marks(_LINK.sub(_link, text))).strip()


def _without_marks(text: str) -> str:
    """Addresses keep what looks like a mark: "https://shop.example/a_b_c"."""
    return "".join(part if at % 2 else _MARKS.sub("", part) for at, part in enumerate(_WEB.split(text)))


def _link(match: re.Match[str]) -> str:
    picture, words, target = match.groups()
    address = _ADDRESS.match(target.strip())
    if picture or address is None:  # an address within an unknown site leads nowhere
        return words
    shown = address.group(2) if address.group(1) else address.group().strip("<>")
    return words if shown in words else f"{words} ({shown})" if words.strip() else shown


def _block_units(lines: Sequence[str]) -> Iterator[Unit]:
    if not lines:
        return
    if lines[0].lstrip().startswith("|"):
        yield from _rows(lines)
    elif facts := _facts(lines):
        yield from facts
    elif any(_STEP.match(line) for line in lines):
        yield from _list(lines)
    else:
        yield from _sentences(" ".join(line.strip().lstrip("#> ").strip() for line in lines))


def _sentences(text: str) -> Iterator[Unit]:
    for sentence in sentences(_PAGE_NUMBER.sub("", text)):
        said = plain(sentence)
        if any(character.isalpha() for character in said):
            is_question = said.rstrip("'\"”»)!_ ").endswith(("?", "？"))
            yield Unit(said, sentence, Kind.QUESTION if is_question else Kind.SENTENCE)


def _rows(lines: Sequence[str]) -> Iterator[Unit]:
    """Rows as sentences, such as "E21: The pump draws no water. Fill the tank." A short value has its column's name:
    "Bread – Minutes: 31." A cell that is empty below another continues it; a row of one cell is the title of those
    below it. First comes what all of them are about."""
    (first_line, head), *body = [(line, cells_of(line)) for line in lines if not _RULE.fullmatch(line)]
    above_rows = f"{first_line.strip()}\n|{'---|' * len(head)}"
    names = [name if _is_short(column) else "" for name, column in _columns(head, [cells for _, cells in body])]
    subjects = ", ".join(dict.fromkeys(cells[0] for _, cells in body if cells[0]))
    if subjects:
        yield Unit(f"{', '.join(filter(None, head))}: {subjects}", first_line.strip(), Kind.TABLE, head=above_rows)
    title = above = ""
    for line, cells in body:
        if len(head) > 1 and len(set(filter(None, cells))) == 1 and (cells[0] or cells[-1] == ""):
            title = next(filter(None, cells))
            continue
        above = first = cells[0] or above
        values = list(_values(names[1:], cells[1:]))
        if not first and not values:
            continue
        if head[0] and not any(character.isalpha() for character in first):
            first = f"{head[0]} {first}".strip()
        subject = f"{title}, {first}" if title else first
        mark = " –" if any(names[1:]) else ":"
        text = " ".join([f"{subject}{mark}", *map(_ended, values)]) if values else subject
        codes = frozenset(spot(cells[0]))
        yield Unit(text, line.strip(), Kind.ROW, name=subject, under=" ".join(head), head=above_rows, codes=codes)


def cells_of(line: str) -> list[str]:
    """The cells of a table's row, without Markdown's marks."""
    return [plain(cell) for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def _columns(head: Sequence[str], body: Sequence[Sequence[str]]) -> Iterator[tuple[str, list[str]]]:
    """Each column's name and cells."""
    for number in range(max(map(len, [head, *body]))):
        yield head[number] if number < len(head) else "", [cells[number] for cells in body if number < len(cells)]


def _is_short(cells: Sequence[str]) -> bool:
    """Whether most of a column's cells need its name to be understood."""
    filled = [cell for cell in cells if cell]
    short = [cell for cell in filled if len(re.findall(r"[^\W\d_]{2,}", cell)) < _TELLING_WORDS]
    return len(short) * 2 > len(filled)


def _values(names: Sequence[str], cells: Sequence[str]) -> Iterator[str]:
    """Cells with their columns' names; one that is merged across columns has the names of all."""
    named = [(cell, names[at] if at < len(names) else "") for at, cell in enumerate(cells) if cell]
    for cell, group in groupby(named, key=lambda pair: pair[0]):
        name = ", ".join(dict.fromkeys(name for _, name in group if name))
        yield f"{name}: {cell}" if name else cell


def _ended(text: str) -> str:
    return text if _END.search(text) else f"{text}."


def _facts(lines: Sequence[str]) -> list[Unit]:
    """A list of facts such as technical data: one unit for each line. Empty unless every line is a fact."""
    said = [_BULLET.sub("", plain(line)) for line in lines]
    if len(lines) < _FEWEST or not all(_FACT.fullmatch(line) for line in said):
        return []
    return [Unit(line, lines[at].strip(), Kind.FACT) for at, line in enumerate(said)]


def _list(lines: Sequence[str]) -> Iterator[Unit]:
    """The list, as a whole unless its items stand for themselves; text before it becomes sentences."""
    first = next(index for index, line in enumerate(lines) if _STEP.match(line))
    yield from _sentences(" ".join(line.strip() for line in lines[:first]))
    lines = lines[first:]
    starts = [index for index, line in enumerate(lines) if _STEP.match(line) and not line.startswith("  ")] or [0]
    items = [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]
    if all(_WITHIN_PAGE.fullmatch(_STEP.sub("", item[0], count=1)) for item in items):
        return  # a table of contents
    if answers := _answers(items):
        yield from answers
    elif _are_alternatives(items):
        for item in items:
            said = _BULLET.sub("", "\n".join(map(_step, item)), count=1)
            named = _NAMED.match(said)
            name = named.group(1) if named is not None else ""
            yield Unit(said, "\n".join(item), Kind.ITEM, name=name, codes=frozenset(spot(name)))
    else:
        yield Unit("\n".join(map(_step, lines)), "\n".join(lines), Kind.STEPS)


def _step(line: str) -> str:
    return line[: len(line) - len(line.lstrip())] + plain(line)


def _answers(items: Sequence[Sequence[str]]) -> list[Unit]:
    """A list of questions with their answers: one unit for each answer. Empty unless every item is both."""
    found = []
    for item in items:
        whole = _STEP.sub("", plain(" ".join(line.strip() for line in item)), count=1)
        question, mark, answer = whole.partition("? ")
        if not mark or not answer.strip():
            return []
        asked = f"{question}?"
        found.append(Unit(answer.strip(), f"{asked} {answer.strip()}", Kind.ANSWER, asked=asked))
    return found


def _are_alternatives(items: Sequence[Sequence[str]]) -> bool:
    """Whether each item is about something else: none is numbered, and they begin alike ("If the first light ...") or
    with what they are about ("Red: ...")."""
    if len(items) < _FEWEST or not all(_BULLET.match(item[0]) for item in items):
        return False
    said = [plain(_BULLET.sub("", item[0])) for item in items]
    beginnings = [text.split()[0].lower() for text in said if text]
    alike = max(map(beginnings.count, beginnings), default=0) * 2 > len(items)
    return alike or all(map(_NAMED.match, said))
