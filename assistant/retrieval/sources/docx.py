"""Word files: headings by outline level, lists with their numbers, tables, text boxes, notes, pictures; as they read
once all changes are accepted. Read in the sandbox; see `apart`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from assistant.errors import TooLarge
from assistant.retrieval.sources.apart import to_json
from assistant.retrieval.sources.article import Outline, Picture
from assistant.retrieval.sources.docx_package import Package
from assistant.retrieval.sources.docx_runs import GONE, WRAPPERS, Line, Runs, child, chosen, is_prompt, name, value
from assistant.retrieval.sources.docx_styles import Lists, Styles
from assistant.retrieval.sources.docx_tables import Cell, read_table
from assistant.retrieval.sources.tables import table_text

_MOST_CHARS = 5_000_000
# A header or footer with a page number and no more words than these ("Page 3 of 10") says nothing else.
_FEW_WORDS = 4
_CONTENTS = "table of contents"
# Elements whose text does not run into what is beside them.
_APART = {"p", "txbxContent", "num", "den", "sup"}


def read(data: bytes) -> bytes:
    """What the sandbox runs."""
    return to_json(data, read_docx)


def read_docx(data: bytes, outline: Outline) -> str | None:
    """Fill the outline. Returns the title in the file's properties."""
    package = Package(data)
    _Reader(package, outline).document()
    properties = next((one.target for one in package.relations("").values() if one.kind == "core-properties"), "")
    root = package.xml(properties)
    title = child(root, "title") if root is not None else None
    return " ".join((title.text or "").split()) or None if title is not None else None


class _Reader:
    """Fills an outline. The paragraphs of one list become one block, and what is anchored in them follows it."""

    def __init__(self, package: Package, outline: Outline) -> None:
        self._package = package
        self._outline = outline
        self._part = package.main
        self._styles = Styles(package.one("styles")[0])
        self._lists = Lists(package.one("numbering")[0], self._styles)
        self._runs = Runs(self._address)
        self._notes = {kind: _notes(*package.one(f"{kind}s")) for kind in ("footnote", "endnote")}
        self._items: list[str] = []
        self._list: tuple[str, bool] | None = None
        self._unfinished: Line | None = None  # its mark was deleted, so the next paragraph continues it
        self._anchored: list[Line] = []  # what hangs on paragraphs that are still being put together
        self._waiting: list[tuple[str, str, bytes]] = []  # pictures; their caption may be the next paragraph
        self._chars = 0

    def document(self) -> None:
        root = self._package.document
        self._outline.found.append(_plain(root))
        self._blocks(child(root, "body") if child(root, "body") is not None else ())
        self._end_block()
        self._add_waiting("")
        self._outline.leave(0)
        self._margins(root)

    def _blocks(self, container: Any) -> None:
        for one in container:
            kind = name(one)
            if kind == "p":
                self._paragraph(one)
            elif kind == "tbl":
                self._end_block()
                self._add_waiting("")
                self._table(one)
            elif kind == "sdt" and (is_prompt(one) or _is_contents(one)):
                reason = _CONTENTS if _is_contents(one) else "prompts"
                self._outline.left_out[reason].append(_plain(one))
            elif kind in WRAPPERS:
                self._blocks(one)
            elif kind == "AlternateContent":
                self._blocks(chosen(one))

    def _paragraph(self, paragraph: Any) -> None:
        line = self._runs.read(paragraph, self._unfinished)
        self._unfinished = None
        properties = child(paragraph, "pPr")
        mark = child(properties, "rPr") if properties is not None else None
        if mark is not None and any(name(one) in GONE for one in mark):
            self._unfinished = line
            return
        self._line(line, properties)

    def _line(self, line: Line, properties: Any) -> None:
        text = line.text
        self._count(text)
        self._note_dropped(line)
        names = self._styles.names(properties)
        if any(one.startswith("toc ") for one in names[:1]):
            self._outline.left_out[_CONTENTS].append(text)
            return
        if text:
            self._add_waiting(text if "caption" in names else "")
            level = self._styles.heading_level(properties)
            place = self._lists.place(properties)
            mark = self._lists.mark(*place) if place is not None else ""
            if level is not None:
                self._end_block()
                self._outline.heading(level, f"{mark} {text}" if mark not in ("", "-") else text)
            elif place is not None:
                self._item(text, mark, *place)
            else:
                self._end_block()
                self._outline.block(text)
        self._anchored.append(line)
        if not self._items or (line.pictures and not text):
            self._end_block()

    def _item(self, text: str, mark: str, key: str, level: int) -> None:
        if self._list is not None and level == 0 and self._list != (key, mark == "-"):
            self._end_block()
        if self._list is None or level == 0:
            self._list = (key, mark == "-")
        self._items.append("   " * level + f"{mark} {text}".strip())

    def _end_block(self) -> None:
        """End the list, and add what is anchored in it or in the paragraph."""
        if self._unfinished is not None:
            line, self._unfinished = self._unfinished, None
            self._line(line, None)
        if self._items:
            self._outline.block("\n".join(self._items))
            self._items, self._list = [], None
        anchored, self._anchored = self._anchored, []
        for line in anchored:
            self._add_anchored(line)

    def _add_anchored(self, line: Line) -> None:
        for kind, key in line.notes:
            self._outline.block(self._note(kind, key))
        for relation, description in line.pictures:
            self._take_picture(relation, description)
        for relation in line.diagrams:
            self._outline.block(self._diagram(relation))
        for box in line.boxes:
            self._blocks(box)
            self._end_block()

    def _table(self, table: Any) -> None:
        found = read_table(table)
        if found.is_frame:  # a frame around text, or columns beside each other
            for cell in found.cells:
                self._blocks(cell.element)
                self._end_block()
            return
        inside: list[Line] = []
        for caption, rows in found.parts(lambda cell: self._cell(cell, inside)):
            self._outline.block(caption)
            self._outline.block(table_text(rows))
        for line in inside:
            line.boxes = []  # their text is in the cells
            self._add_anchored(line)

    def _cell(self, cell: Cell, inside: list[Line]) -> str:
        text = " ".join(self._texts(cell.element, inside))
        self._count(text)
        return text

    def _texts(self, container: Any, inside: list[Line]) -> Iterator[str]:
        """The texts of paragraphs where there is no room for blocks. ``inside`` gets their lines."""
        for one in container:
            kind = name(one)
            if kind == "p":
                line = self._runs.read(one)
                self._note_dropped(line)
                place = self._lists.place(child(one, "pPr"))
                mark = self._lists.mark(*place) if place is not None and line.text else ""
                inside.append(line)
                if line.text:
                    yield f"{mark} {line.text}".strip()
                for box in line.boxes:
                    yield from self._texts(box, inside)
            elif kind == "tbl":
                rows = [[cell for cell in row if cell] for _, rows in read_table(one).parts(
                    lambda cell: self._cell(cell, inside)) for row in rows]  # fmt: skip
                yield "; ".join(", ".join(dict.fromkeys(row)) for row in rows if row)
            elif kind == "sdt" and is_prompt(one):
                self._outline.left_out["prompts"].append(_plain(one))
            elif kind in WRAPPERS:
                yield from self._texts(one, inside)
            elif kind == "AlternateContent":
                yield from self._texts(chosen(one), inside)

    def _note(self, kind: str, key: str) -> str:
        part, note = self._notes[kind].pop(key, ("", None))
        if note is None:
            return ""
        with self._within(part):
            self._outline.found.append(_plain(note))
            return " ".join(self._texts(note, []))

    def _diagram(self, relation: str) -> str:
        target = self._package.relations(self._part).get(relation)
        root = self._package.xml(target.target) if target is not None else None
        paragraphs = [one for one in root.iter() if name(one) == "p"] if root is not None else []
        texts = ["".join(t.text or "" for t in p.iter() if name(t) == "t") for p in paragraphs]
        self._outline.found += texts
        return "\n".join(f"- {text}" for text in texts if text.strip())

    def _margins(self, root: Any) -> None:
        """Headers and footers, each text once: they may carry a hotline's number, and mostly carry the title."""
        said: set[str] = {" ".join((self._outline.title or "").split())}
        for reference in root.iter():
            if name(reference) not in ("headerReference", "footerReference"):
                continue
            target = self._package.relations(self._part).get(value(reference, "id") or "")
            margin = self._package.xml(target.target) if target is not None else None
            if target is None or margin is None:
                continue
            with self._within(target.target):
                inside: list[Line] = []
                for text in self._texts(margin, inside):
                    has_number = any(reason == "page numbers" for line in inside for reason, _ in line.dropped)
                    if text not in said and not (has_number and len(text.split()) <= _FEW_WORDS):
                        self._outline.found.append(text)
                        self._outline.block(text)
                    said.add(text)
                    inside.clear()

    @contextmanager
    def _within(self, part: str) -> Iterator[None]:
        """Relations are those of another part meanwhile."""
        before, self._part = self._part, part
        try:
            yield
        finally:
            self._part = before

    def _address(self, relation: str) -> str | None:
        found = self._package.relations(self._part).get(relation)
        return found.target if found is not None and found.is_external else None

    def _take_picture(self, relation: str, description: str) -> None:
        target = self._package.relations(self._part).get(relation)
        data = self._package.bytes_of(target.target) if target is not None and not target.is_external else None
        if data:
            self._waiting.append((hashlib.sha256(data).hexdigest(), description, data))

    def _add_waiting(self, caption: str) -> None:
        for digest, alt, data in self._waiting:
            self._outline.picture(Picture(digest, 0, alt, caption, read=partial(bytes, data)))
        self._waiting = []

    def _note_dropped(self, line: Line) -> None:
        for reason, text in line.dropped:
            self._outline.left_out[reason].append(text)

    def _count(self, text: str) -> None:
        self._chars += len(text)
        if self._chars > _MOST_CHARS:
            raise TooLarge(f"has more than {_MOST_CHARS:,} characters. Split it", limit=_MOST_CHARS)


def _notes(root: Any, part: str) -> dict[str, tuple[str, Any]]:
    """Id to the note, and the part it is in. Separators between text and notes have a type."""
    notes = [one for one in (root if root is not None else ()) if value(one, "type") in (None, "normal")]
    return {value(one, "id") or "": (part, one) for one in notes}


def _is_contents(control: Any) -> bool:
    gallery = child(control, "sdtPr", "docPartObj", "docPartGallery")
    return gallery is not None and value(gallery) == "Table of Contents"


def _plain(element: Any) -> str:
    """The text of an element, told without its structure: what a reading is measured by."""
    words: list[str] = []
    for one in chosen(element) if name(element) == "AlternateContent" else element:
        kind = name(one)
        if kind == "t":
            words.append((one.text or "").replace("\u00ad", ""))
        elif kind in ("tab", "br", "cr", "sym"):
            words.append(" ")
        elif kind == "noBreakHyphen":
            words.append("-")
        elif kind not in GONE:
            words.append(f"\n{_plain(one)}\n" if kind in _APART else _plain(one))
    return "".join(words)
