"""What a Word paragraph says once every change is accepted, and what hangs on it: text boxes, notes, pictures.

Elements are told by their local names, because files written to the strict standard have other namespaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

# Rejected by whoever accepts all changes. What was moved stands in `moveTo` too.
GONE = {"del", "moveFrom"}
# What only wraps other elements; their properties do not matter.
WRAPPERS = {"ins", "moveTo", "sdt", "sdtContent", "smartTag", "customXml", "dir", "bdo", "p", "hyperlink"}
_SAID = {"t", "tab", "br", "cr", "ptab", "noBreakHyphen", "sym"}
_SHAPES = {"drawing", "pict", "object"}
# Lists of what stands elsewhere in the file.
_LISTINGS = {"TOC", "INDEX", "TOA", "RD"}
_PAGE_NUMBERS = {"PAGE", "NUMPAGES", "SECTIONPAGES"}
_ADDRESS = re.compile(r'HYPERLINK\s+"([^"]+)"', re.IGNORECASE)
# Letters of symbol fonts that mean something in a manual.
_WINGDINGS = {
    0x20: " ", 0x28: "☎", 0x2A: "✉", 0x46: "☞", 0x4A: "☺", 0x4C: "☹", 0x4E: "☠", 0x52: "☼", 0x54: "❄", 0x6C: "●",
    0x6E: "■", 0x6F: "□", 0x71: "❑", 0x76: "❖", 0x9F: "•", 0xA7: "▪", 0xA8: "◻", 0xD8: "➢", 0xDF: "←", 0xE0: "→",
    0xE1: "↑", 0xE2: "↓", 0xE8: "→", 0xEF: "⇦", 0xF0: "⇨", 0xF1: "⇧", 0xF2: "⇩", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒",
    0xFE: "☑",
}  # fmt: skip
_SYMBOL = {
    0x20: " ", 0x61: "α", 0x62: "β", 0x63: "χ", 0x64: "δ", 0x65: "ε", 0x66: "φ", 0x67: "γ", 0x68: "η", 0x6B: "κ",
    0x6C: "λ", 0x6D: "μ", 0x6E: "ν", 0x70: "π", 0x71: "θ", 0x72: "ρ", 0x73: "σ", 0x74: "τ", 0x77: "ω", 0x44: "Δ",
    0x53: "Σ", 0x57: "Ω", 0xA3: "≤", 0xA5: "∞", 0xAE: "→", 0xAC: "←", 0xAD: "↑", 0xAF: "↓", 0xB0: "°", 0xB1: "±",
    0xB3: "≥", 0xB4: "×", 0xB7: "•", 0xB8: "÷", 0xB9: "≠", 0xBB: "≈", 0xD2: "®", 0xD3: "©", 0xD4: "™",
}  # fmt: skip


def name(element: Any) -> str:
    """The local name; "" for comments and the like."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def value(element: Any, attribute: str = "val") -> str | None:
    """An attribute by its local name."""
    return next((str(found) for key, found in element.items() if key.rpartition("}")[2] == attribute), None)


def child(element: Any, *path: str) -> Any:
    """The first child along a path of local names, or None."""
    for step in path:
        element = next((one for one in element if name(one) == step), None) if element is not None else None
    return element


def is_on(element: Any) -> bool:
    """Whether a switch, such as bold, is there and not turned off."""
    return element is not None and (value(element) or "true") not in ("0", "false", "off")


def chosen(alternatives: Any) -> Any:
    """The one form of an `AlternateContent` to read: the newest that holds anything. The others say the same."""
    return next((one for one in alternatives if name(one) in ("Choice", "Fallback") and len(one)), ())


@dataclass
class Line:
    """A paragraph. ``boxes``: the text boxes anchored in it. ``notes``: (footnote or endnote, id). ``pictures``:
    (relation, description). ``diagrams``: relations. ``dropped``: (what it is, text) that is left out."""

    parts: list[str] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    boxes: list[Any] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    pictures: list[tuple[str, str]] = field(default_factory=list)
    diagrams: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join("".join(self.parts).split())


@dataclass
class _Field:
    """``start``: where its result begins in the paragraph."""

    code: str = ""
    has_result: bool = False
    start: int = 0

    @property
    def kind(self) -> str:
        return (self.code.split() or [""])[0].upper()


class Runs:
    """Reads paragraphs in their order: a field, such as a table of contents, may span many."""

    def __init__(self, target: Callable[[str], str | None]) -> None:
        """``target``: the address behind a relation."""
        self._target = target
        self._fields: list[_Field] = []

    def read(self, paragraph: Any, line: Line | None = None) -> Line:
        """``line``: the paragraph that this one continues."""
        line = line or Line()
        for one in self._fields:
            one.start = len(line.parts)
        self._walk(paragraph, line)
        return line

    def _walk(self, element: Any, line: Line) -> None:
        for one in element:
            kind = name(one)
            if kind == "r":
                self._run(one, line)
            elif kind == "hyperlink":
                start = len(line.parts)
                self._walk(one, line)
                _link(line, start, self._target(value(one, "id") or ""))
            elif kind == "fldSimple":
                self._fields.append(_Field(value(one, "instr") or "", True, len(line.parts)))
                self._walk(one, line)
                self._end_field(line)
            elif kind == "sdt" and is_prompt(one):
                line.dropped.append(("prompts", "".join(one.itertext())))
            elif kind in WRAPPERS:
                self._walk(one, line)
            elif kind == "AlternateContent":
                self._walk(chosen(one), line)
            elif kind in ("oMath", "oMathPara"):
                self._say(_formula(one), line)

    def _run(self, run: Any, line: Line) -> None:
        properties = child(run, "rPr")
        if properties is not None and is_on(child(properties, "vanish")):
            line.dropped += [("hidden text", one.text or "") for one in run.iter() if name(one) == "t"]
            return
        fonts = child(properties, "rFonts") if properties is not None else None
        font = (value(fonts, "ascii") or value(fonts, "hAnsi") or "") if fonts is not None else ""
        self._run_content(run, line, font)

    def _run_content(self, run: Any, line: Line, font: str) -> None:
        for one in run:
            kind = name(one)
            if kind in _SAID:
                self._say(_said(one, font), line)
            elif kind == "fldChar":
                self._field_mark(one, line)
            elif kind == "instrText" and self._fields:
                self._fields[-1].code += one.text or ""
            elif kind in ("footnoteReference", "endnoteReference") and not self._hidden:
                line.notes.append((kind.removesuffix("Reference"), value(one, "id") or ""))
            elif kind in _SHAPES:
                _shape(one, line)
            elif kind == "AlternateContent":
                self._run_content(chosen(one), line, font)
            elif kind == "rubyBase":  # the reading above it says the same
                self._walk(one, line)
            elif kind == "ruby":
                self._run_content(one, line, font)

    @property
    def _hidden(self) -> str:
        """What the field is whose result is left out, if any."""
        kinds = {one.kind if one.has_result else "" for one in self._fields}
        if kinds & _LISTINGS:
            return "table of contents"
        return "page numbers" if kinds & _PAGE_NUMBERS else "field codes" if "" in kinds else ""

    def _say(self, text: str, line: Line) -> None:
        if hidden := self._hidden:
            line.dropped.append((hidden, text))
        else:
            line.parts.append(text)

    def _field_mark(self, mark: Any, line: Line) -> None:
        kind = value(mark, "fldCharType")
        if kind == "begin":
            self._fields.append(_Field())
            line.parts.append(_form_field(mark))
        elif kind == "separate" and self._fields:
            self._fields[-1].has_result, self._fields[-1].start = True, len(line.parts)
        elif kind == "end" and self._fields:
            self._end_field(line)

    def _end_field(self, line: Line) -> None:
        ended = self._fields.pop()
        address = _ADDRESS.search(ended.code)
        _link(line, ended.start, address[1] if address else None)


def is_prompt(control: Any) -> bool:
    """Whether a content control shows only what to fill in."""
    return is_on(child(control, "sdtPr", "showingPlcHdr"))


def outside(element: Any, inner: str) -> Iterator[Any]:
    """What is in an element, in order, without what is in its ``inner`` elements, and one form of each alternative."""
    for one in chosen(element) if name(element) == "AlternateContent" else element:
        yield one
        if name(one) != inner:
            yield from outside(one, inner)


def _link(line: Line, start: int, address: str | None) -> None:
    text = "".join(line.parts[start:])
    if address and address.lower().startswith(("http://", "https://", "mailto:", "tel:")) and text.strip():
        shown = text.strip()
        if shown != address.split(":", 1)[1] and shown.rstrip("/") != address.rstrip("/"):
            line.parts[start:] = [text.replace(shown, f"[{shown}]({address})", 1)]


def _said(element: Any, font: str) -> str:
    kind = name(element)
    if kind == "t":
        return _readable(element.text or "", font)
    if kind == "sym":
        code = value(element, "char") or ""
        is_code = re.fullmatch(r"[0-9A-Fa-f]{1,4}", code) is not None
        return _readable(chr(int(code, 16)), value(element, "font") or font) if is_code else ""
    return "-" if kind == "noBreakHyphen" else " "


def _readable(text: str, font: str) -> str:
    """Text without soft hyphens, and letters of symbol fonts as the characters they look like."""
    text = text.replace("\u00ad", "").replace("\u200b", "")
    if not any("\uf000" <= char <= "\uf0ff" for char in text) and font not in ("Symbol", "Wingdings"):
        return text
    known = _SYMBOL if font == "Symbol" else _WINGDINGS
    return "".join(known.get(ord(char) & 0xFF, "") if "\uf000" <= char <= "\uf0ff" else char for char in text)


def _form_field(mark: Any) -> str:
    box = child(mark, "ffData", "checkBox")
    if box is None:
        return ""
    state = child(box, "checked") if child(box, "checked") is not None else child(box, "default")
    return "☑" if is_on(state) else "☐"


def _shape(shape: Any, line: Line) -> None:
    """Text boxes, pictures and diagrams in a drawing, old (VML) or new."""
    description = ""
    for one in outside(shape, "txbxContent"):
        kind = name(one)
        if kind == "txbxContent":
            line.boxes.append(one)
        elif kind in ("docPr", "shape"):
            description = value(one, "descr") or value(one, "alt") or description
        elif kind == "blip" and value(one, "embed"):
            line.pictures.append((value(one, "embed") or "", " ".join(description.split())))
        elif kind == "imagedata" and value(one, "id"):
            line.pictures.append((value(one, "id") or "", " ".join(description.split())))
        elif kind == "relIds" and value(one, "dm"):
            line.diagrams.append(value(one, "dm") or "")


def _formula(element: Any) -> str:
    """A formula in a line of text: fractions with a stroke, powers with a caret."""
    kind = name(element)
    if kind == "t":
        return element.text or ""
    inner = [(name(one), _formula(one)) for one in element]
    said = dict(inner)
    if kind == "f":
        return f"{said.get('num', '')}/{said.get('den', '')}"
    if kind == "sSup":
        return f"{said.get('e', '')}^{said.get('sup', '')}"
    return "".join(text for part, text in inner if part not in ("rPr", "ctrlPr"))
