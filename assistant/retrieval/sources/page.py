"""HTML: the content of a page in reading order, folded parts included, without what surrounds it.

Own rules instead of an extractor such as trafilatura: headings, lists, tables and pictures must stay in their order,
and an answer belongs to the button that opens it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any
from urllib.parse import urljoin

from assistant.errors import Invalid, TooLarge
from assistant.retrieval.sources.article import Outline, Reading
from assistant.retrieval.sources.folds import find_folds
from assistant.retrieval.sources.furniture import drop_furniture
from assistant.retrieval.sources.images import NamedPicture, PictureFinder, no_pictures
from assistant.retrieval.sources.inline import BLOCKS, BREAKS, HEADINGS, LISTS, all_text, is_in_text, line, parts, plain
from assistant.retrieval.sources.tables import html_table, is_layout

_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
# Control characters but tab and line ends, also as references: lxml refuses to set a text that has them.
_CONTROLS = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f]|&#(?:x0{0,8}(?:[1-8bcef]|1[0-9a-f])|0{0,8}(?:[1-8]|1[124-9]|2\d|3[01]));",
    re.IGNORECASE,
)
_ITEM = re.compile(r"\s*(?:[-*•]|\d{1,3}[.)])\s")
# Below every heading with a level of its own.
_FOLDED = 7
_LONG_DEFINITION = 12  # words
_MOST_ELEMENTS = 200_000
_HOLDING = BREAKS - {"br"}


def read_html(text: str, pictures: PictureFinder = no_pictures, *, url: str | None = None) -> Reading:
    """Titled by its top heading, else as the page is. ``url``: where it was fetched, for the links in it."""
    import lxml.html

    text = _CONTROLS.sub(" ", _XML_DECLARATION.sub("", text))
    if not text.strip():
        raise Invalid("has no text")
    document = lxml.html.document_fromstring(text)
    _check_size(document)
    outline = Outline()
    outline.found.append(all_text(text))
    base = document.find(".//base[@href]")
    title = document.find(".//head/title")
    drop_furniture(document, outline.left_out)
    body = document.find(".//body")
    content = body if body is not None else document
    reader = _Reader(outline, pictures, content, urljoin(url or "", base.get("href") if base is not None else ""))
    reader.walk(content)
    reading = outline.reading(line(title) or None if title is not None else None)
    return Reading(reading.title, reading.sections, reading.coverage, document.get("lang") or None)


def fill(piece: str, outline: Outline, pictures: PictureFinder, *, depth: int = 0) -> None:
    """Add a piece of a page to an outline. ``depth``: in how many folded parts it is."""
    import lxml.etree
    import lxml.html

    try:
        content = lxml.html.fragment_fromstring(_CONTROLS.sub(" ", piece), create_parent="body")
    except lxml.etree.ParserError:
        return
    _check_size(content)
    drop_furniture(content, outline.left_out)
    _Reader(outline, pictures, content, "").walk(content, depth)


def _check_size(document: Any) -> None:
    if next(islice(document.iter(), _MOST_ELEMENTS, None), None) is not None:
        raise TooLarge(f"has more than {_MOST_ELEMENTS:,} elements. Split it", limit=_MOST_ELEMENTS)


class _Reader:
    def __init__(self, outline: Outline, pictures: PictureFinder, content: Any, base: str) -> None:
        self._outline = outline
        self._pictures = pictures
        self._base = base
        self._folds = find_folds(content)
        for button in self._folds.buttons:
            outline.left_out["buttons"].append(line(button))
            button.drop_tree()
        self._top = _top_heading(content)
        self._described: set[str] = set()
        if self._top is not None and outline.title is None:
            outline.title = line(self._top)
        else:
            self._top = None

    def walk(self, element: Any, depth: int = 0) -> None:
        """Blocks and headings in order. What lies between them, inline markup included, is a paragraph.

        ``depth``: in how many folded parts the element is. Headings in one are below it, whatever their level."""
        between = [plain(element.text)]
        is_open = False
        for child in element:
            if isinstance(child.tag, str):  # else a comment
                if self._stands_alone(child):
                    self._paragraph(between)
                    is_opener = child in self._folds.openers
                    is_open |= self._block(child, depth + (is_open and not is_opener))
                else:
                    between += parts(child, self._base)
                    self._add_pictures(child.iter("img"), between)
            between.append(plain(child.tail))
        self._paragraph(between)
        if is_open:
            self._outline.leave(_level(_FOLDED, depth))

    def _stands_alone(self, element: Any) -> bool:
        return element.tag != "br" and (
            element.tag in BREAKS
            or element in self._folds
            or next(element.iterdescendants(*_HOLDING), None) is not None
        )

    def _block(self, element: Any, depth: int) -> bool:
        """Whether it opens a folded part that follows it."""
        if element is self._top:
            self._add_pictures(element.iter("img"))
        elif element in self._folds.openers:
            self._outline.heading(_level(_FOLDED, depth), line(element))
            return True
        elif element in self._folds.moved:
            pass  # the heading of the part that it opens, which is elsewhere
        elif element in self._folds.titles or element.tag == "details":
            self._details(element, depth)
        elif element.tag in HEADINGS:
            self._outline.heading(_level(int(element.tag[1]), depth), line(element).rstrip("¶# "))
            self._add_pictures(element.iter("img"))
        elif element.tag == "dl":
            self._definitions(element, depth)
        elif self._is_container(element):
            self.walk(element, depth)
        else:
            images = list(element.iter("img"))  # first, because reading a list takes it apart
            self._outline.block(self._text(element))
            self._add_pictures(images)
        return False

    def _details(self, element: Any, depth: int) -> None:
        level = _level(_FOLDED, depth)
        summary = element.find("summary")
        title = self._folds.titles.get(element) or (line(summary) if summary is not None else "")
        if title:
            self._outline.heading(level, title)
        if summary is not None:
            summary.drop_tree()
        self.walk(element, depth + 1)
        self._outline.leave(level)

    def _is_container(self, element: Any) -> bool:
        """Whether its parts are blocks of their own."""
        if element.tag == "table":
            return is_layout(element)
        if element.tag in LISTS:
            # Items with headings, folded parts or tables are sections rather than a list.
            inner = element.iterdescendants()
            return any(one.tag in (*HEADINGS, "details", "table", "dl") or one in self._folds for one in inner)
        return element.tag not in BLOCKS or (element.tag == "blockquote" and len(element) > 0)

    def _definitions(self, element: Any, depth: int) -> None:
        """Terms with short meanings are a list; questions with answers are headings with text."""
        groups: list[tuple[list[Any], list[Any]]] = []
        for one in list(element.iterdescendants("dt", "dd")):
            if next(one.iterancestors("dl"), None) is element:
                if one.getparent().tag in ("dt", "dd"):  # the parser has missed where that one ends
                    one.drop_tree()
                if not groups or (one.tag == "dt" and groups[-1][1]):
                    groups.append(([], []))
                groups[-1][one.tag == "dd"].append(one)
        if all(_is_short(meaning) for _, meanings in groups for meaning in meanings):
            lines = [
                ": ".join(filter(None, (_join_elements(terms, ", "), _join_elements(meanings, "; ", self._base))))
                for terms, meanings in groups
            ]
            self._outline.block("\n".join(f"- {one}" for one in lines))
            self._add_pictures(element.iter("img"))
            return
        for terms, meanings in groups:
            self._outline.heading(_level(_FOLDED, depth), _join_elements(terms, ", "))
            for meaning in meanings:
                self.walk(meaning, depth + 1)
        self._outline.leave(_level(_FOLDED, depth))

    def _paragraph(self, between: list[str]) -> None:
        self._outline.block(_join_lines("".join(between)))
        between.clear()

    def _text(self, element: Any) -> str:
        if element.tag in LISTS:
            return "\n".join(self._list_lines(element))
        if element.tag == "table":
            caption = element.find("caption")
            if caption is not None:
                self._outline.block(line(caption, self._base))
            return html_table(element, self._cell)
        if element.tag == "pre":
            for newline in element.iter("br"):
                newline.tail = "\n" + (newline.tail or "")
            return str(element.text_content()).strip("\n")
        return _join_lines("".join(parts(element, self._base)))

    def _cell(self, cell: Any) -> str:
        """A cell in one line. Items of a list in it are told apart."""
        items = [" ".join(item.split()) for item in "".join(parts(cell, self._base)).split("\v")]
        return re.sub(r"(?<=[.;:!?]); ", " ", "; ".join(filter(None, items)))

    def _list_lines(self, element: Any, indent: str = "") -> list[str]:
        """One line per item; a nested list is indented below its item."""
        lines = []
        number = _number(element.get("start"), 1)
        for item in element.iterchildren("li", *LISTS):
            if item.tag in LISTS:  # which should be in an item
                lines += self._list_lines(item, indent + "   ")
                continue
            inner = [one for one in item.iterdescendants(*LISTS) if next(one.iterancestors("li"), None) is item]
            for one in inner:
                one.drop_tree()  # its text gets lines of its own
            number = _number(item.get("value"), number)
            bullet = f"{number}. " if element.tag == "ol" else "- "
            lines.append(indent + bullet + line(item, self._base))
            number += 1
            for one in inner:
                lines += self._list_lines(one, indent + "   ")
        return lines

    def _add_pictures(self, images: Iterable[Any], before: list[str] | None = None) -> None:
        """``before``: the text that the first one ends. What a picture shows is text where there is no picture."""
        for image in images:
            if before is not None and not is_in_text(image):
                self._paragraph(before)
            reference = (image.get("src") or image.get("data-src") or "").strip()
            figure = next(image.iterancestors("figure"), None)
            caption = figure.find(".//figcaption") if figure is not None else None
            alt = " ".join((image.get("alt") or "").split())
            named = NamedPicture(
                reference,
                alt=alt,
                caption=line(caption) if caption is not None else " ".join((image.get("title") or "").split()),
            )
            picture = self._pictures(named) if reference else None
            if picture is not None:
                self._outline.picture(picture)
            elif alt and alt not in self._described and not is_in_text(image):
                self._described.add(alt)
                self._outline.block(alt)


def _level(level: int, depth: int) -> int:
    return 10 * depth + level


def _top_heading(content: Any) -> Any:
    """The first top heading with a text, one of the main content before any other."""
    top = [one for one in content.iterdescendants("h1") if line(one)]
    within = (one for one in top if any(above.tag in ("main", "article") for above in one.iterancestors()))
    return next(within, top[0] if top else None)


def _is_short(meaning: Any) -> bool:
    return len(line(meaning).split()) <= _LONG_DEFINITION and next(meaning.iterdescendants(*BLOCKS), None) is None


def _join_elements(elements: Iterable[Any], mark: str, base: str | None = None) -> str:
    return mark.join(line(one, base) for one in elements)


def _number(value: str | None, otherwise: int) -> int:
    return int(value) if value and value.isdecimal() and len(value) < 6 else otherwise


def _join_lines(text: str) -> str:
    """Lines in one, unless they are the items of a list, or the rows of one, that are separated by line breaks only."""
    lines = [one for part in text.split("\n") if (one := " ".join(part.split()))]
    is_list = sum(_ITEM.match(one) is not None for one in lines) >= 2
    is_rows = len(lines) >= 3 and not any(one.endswith((".", "!", "?")) for one in lines)
    return ("\n" if is_list or is_rows else " ").join(lines)
