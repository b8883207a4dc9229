"""What a Word file says elsewhere about its paragraphs: styles with what they are based on, and numbers of lists."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from assistant.retrieval.sources.docx_runs import child, is_on, name, value

_DEEPEST = 8
_ROMAN = (
    (1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
    (9, "ix"), (5, "v"), (4, "iv"), (1, "i"),
)  # fmt: skip


class Styles:
    """Paragraph styles of a file; ``root`` is None for a file without."""

    def __init__(self, root: Any) -> None:
        found = [style for style in (root if root is not None else ()) if name(style) == "style"]
        self._styles = {value(style, "styleId"): style for style in found}
        paragraphs = [style for style in found if value(style, "type") == "paragraph"]
        self._default = next((value(style, "styleId") for style in paragraphs if value(style, "default") == "1"), None)

    def names(self, properties: Any) -> list[str]:
        """Names of the paragraph's style and of those it is based on, in lower case; nearest first."""
        return [((value(one) if (one := child(style, "name")) is not None else None) or "").lower()
                for style in self._chain(properties)]  # fmt: skip

    def properties(self, properties: Any) -> list[Any]:
        """The paragraph's own properties, then its style's, then those of the styles it is based on."""
        inherited = (child(style, "pPr") for style in self._chain(properties))
        return [one for one in (properties, *inherited) if one is not None]

    def heading_level(self, properties: Any) -> int | None:
        """1 for the title and the top headings. The outline level tells in every language; names are the fallback."""
        names = self.names(properties)
        if "title" in names:
            return 1
        for one in self.properties(properties):
            if (level := child(one, "outlineLvl")) is not None:
                number = _number(value(level), 9)
                return min(number + 1, 6) if number < 9 else None
        found = next((one for one in names if re.fullmatch(r"heading \d", one)), None)
        return min(int(found[8:]), 6) if found is not None else None

    def _chain(self, properties: Any) -> Iterator[Any]:
        reference = child(properties, "pStyle") if properties is not None else None
        style = value(reference) if reference is not None else self._default
        for _ in range(20):
            found = self._styles.get(style)
            if found is None:
                return
            yield found
            based_on = child(found, "basedOn")
            style = value(based_on) if based_on is not None else None


@dataclass
class _Level:
    start: int = 1
    form: str = "decimal"
    text: str = ""
    restarts_after: int | None = None  # the level from 1 above that restarts it; None: every one; 0: none
    is_legal: bool = False  # numbers of levels above are shown as digits
    style: str | None = None


@dataclass
class _List:
    """A list as numbers of it are given out. Lists of one ``family`` count on together."""

    family: str
    levels: dict[int, _Level] = field(default_factory=dict)
    restarts: dict[int, int] = field(default_factory=dict)


class Lists:
    """Numbers of list items and headings, given out in the order of the file."""

    def __init__(self, root: Any, styles: Styles) -> None:
        self._styles = styles
        self._lists = _lists(root) if root is not None else {}
        self._counts: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self._begun: set[tuple[str, int]] = set()

    def place(self, properties: Any) -> tuple[str, int] | None:
        """(list, level from 0) if the paragraph is in a list."""
        level: int | None = None
        for one in self._styles.properties(properties):
            place = child(one, "numPr")
            if place is None:
                continue
            if level is None and child(place, "ilvl") is not None:
                level = min(_number(value(child(place, "ilvl")), 0), _DEEPEST)
            number = child(place, "numId")
            if number is not None:
                key = value(number) or "0"
                if key == "0":
                    return None
                return key, level if level is not None else self._level_of_style(key, properties)
        return None

    def mark(self, key: str, level: int) -> str:
        """The next item's number as it is shown, such as "1.", "b)" or "2.1"; "-" for a bullet."""
        found = self._lists.get(key, _List(key))
        own = found.levels.get(level, _Level(form="bullet"))
        counts = self._counts[found.family]
        if level in found.restarts and (key, level) not in self._begun:
            counts.pop(level, None)
        self._begun.add((key, level))
        start = found.restarts.get(level, own.start)
        counts[level] = counts[level] + 1 if level in counts else start
        for deeper in range(level + 1, _DEEPEST + 1):
            after = found.levels.get(deeper, _Level()).restarts_after
            if after is None or level + 1 <= after:
                counts.pop(deeper, None)
        if own.form == "bullet":
            return "-"

        def number(match: re.Match[str]) -> str:
            index = int(match[1]) - 1
            above = found.levels.get(index, _Level())
            count = counts.setdefault(index, found.restarts.get(index, above.start))
            return _number_text(count, "decimal" if own.is_legal else above.form)

        return re.sub(r"%(\d)", number, own.text).strip()

    def _level_of_style(self, key: str, properties: Any) -> int:
        reference = child(properties, "pStyle") if properties is not None else None
        style = value(reference) if reference is not None else None
        levels = self._lists.get(key, _List(key)).levels
        return next((index for index, one in levels.items() if style and one.style == style), 0)


def _lists(root: Any) -> dict[str, _List]:
    abstract = {value(one, "abstractNumId"): one for one in root if name(one) == "abstractNum"}
    by_style = {value(child(one, "styleLink")): one for one in abstract.values() if child(one, "styleLink") is not None}
    lists = {}
    for number in (one for one in root if name(one) == "num"):
        reference = child(number, "abstractNumId")
        definition = abstract.get(value(reference)) if reference is not None else None
        if definition is None:
            continue
        if (link := child(definition, "numStyleLink")) is not None:
            definition = by_style.get(value(link), definition)
        found = _List(value(definition, "abstractNumId") or "", _levels(definition))
        for change in (one for one in number if name(one) == "lvlOverride"):
            index = _number(value(change, "ilvl"), 0)
            found.levels |= _levels(change)
            if (start := child(change, "startOverride")) is not None:
                found.restarts[index] = _number(value(start), 1)
        lists[value(number, "numId") or ""] = found
    return lists


def _levels(definition: Any) -> dict[int, _Level]:
    levels = {}
    for one in (one for one in definition if name(one) == "lvl"):
        said = {name(part): value(part) for part in one}
        index = min(_number(value(one, "ilvl"), 0), _DEEPEST)
        levels[index] = _Level(
            start=_number(said.get("start"), 1),
            form=said.get("numFmt") or "decimal",
            text=said.get("lvlText") or "",
            restarts_after=_number(said["lvlRestart"], 0) if "lvlRestart" in said else None,
            is_legal=is_on(child(one, "isLgl")),
            style=said.get("pStyle"),
        )
    return levels


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,9}", text) else default


def _number_text(count: int, form: str) -> str:
    if form == "none":
        return ""
    if form == "decimalZero":
        return f"{count:02}"
    if form in ("lowerLetter", "upperLetter") and count > 0:
        letters = chr(ord("a") + (count - 1) % 26) * ((count - 1) // 26 + 1)
        return letters if form == "lowerLetter" else letters.upper()
    if form in ("lowerRoman", "upperRoman") and 0 < count < 4000:
        letters = ""
        for worth, letter in _ROMAN:
            letters += letter * (count // worth)
            count %= worth
        return letters if form == "lowerRoman" else letters.upper()
    return str(count)
