"""HTML: the main content of a page, without navigation, scripts, footers and hidden elements.

Headings, lists, tables and pictures stay in their order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from assistant.errors import Invalid
from assistant.retrieval.sources.article import Outline, Reading
from assistant.retrieval.sources.images import NamedPicture, PictureFinder, no_pictures

_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_NOT_CONTENT = (
    "//script|//style|//nav|//noscript|//template|//aside|//form|//body//*[@hidden]|//button|//svg"
    "|//header[not(ancestor::main|ancestor::article)]|//footer"
    "|//body//*[contains(translate(@style, ' ', ''), 'display:none')]"
)
_HEADINGS = {f"h{level}" for level in range(1, 7)}
_LISTS = {"ul", "ol"}
_BLOCKS = {"p", *_LISTS, "table", "pre", "blockquote", "dl", "figcaption"}
_BREAKS = _HEADINGS | _BLOCKS | {"br", "div", "li", "tr", "dt", "dd", "section"}


def read_html(text: str, pictures: PictureFinder = no_pictures) -> Reading:
    """Titled by its top heading, else as the page is."""
    import lxml.html

    if not text.strip():
        raise Invalid("has no text")
    document = lxml.html.document_fromstring(_XML_DECLARATION.sub("", text))
    for element in document.xpath(_NOT_CONTENT):
        element.drop_tree()
    _separate(document)
    found = (document.find(path) for path in (".//main", ".//*[@role='main']", ".//article", ".//body"))
    main = next((element for element in found if element is not None), document)
    outline = Outline()
    _walk(main, outline, pictures)
    title = document.findtext(".//title")
    return outline.reading(title.strip() if title else None)


def _walk(element: Any, outline: Outline, pictures: PictureFinder) -> None:
    """Blocks and headings in order. What lies between them, inline markup included, is a paragraph."""
    between = [element.text or ""]
    for child in element:
        if child.tag in _HEADINGS or child.tag in _BLOCKS or _holds_blocks(child):
            outline.block(" ".join("".join(between).split()))
            between = []
            if child.tag in _HEADINGS:
                outline.heading(int(child.tag[1]), text_of(child).rstrip("¶# "))
            elif child.tag in _BLOCKS:
                images = list(child.iter("img"))  # first, because reading the block removes inner lists
                outline.block(_block_text(child))
                _add_pictures(images, outline, pictures)
            else:
                _walk(child, outline, pictures)
        elif isinstance(child.tag, str):  # else a comment
            between.append(str(child.text_content()))
            if child.tag == "img" or child.find(".//img") is not None:
                outline.block(" ".join("".join(between).split()))
                between = []
                _add_pictures(child.iter("img"), outline, pictures)
        between.append(child.tail or "")
    outline.block(" ".join("".join(between).split()))


def _add_pictures(images: Iterable[Any], outline: Outline, pictures: PictureFinder) -> None:
    for image in images:
        reference = (image.get("src") or image.get("data-src") or "").strip()
        figure = next(image.iterancestors("figure"), None)
        caption = figure.find(".//figcaption") if figure is not None else None
        named = NamedPicture(
            reference,
            alt=" ".join((image.get("alt") or "").split()),
            caption=text_of(caption) if caption is not None else " ".join((image.get("title") or "").split()),
        )
        picture = pictures(named) if reference else None
        if picture is not None:
            outline.picture(picture)


def _separate(document: Any) -> None:
    """Put line breaks around blocks, since "<p>a</p><p>b</p>" are two words."""
    for element in document.iter(*_BREAKS):
        element.tail = "\n" + (element.tail or "")
        before, parent = element.getprevious(), element.getparent()
        if before is not None:
            before.tail = (before.tail or "") + "\n"
        elif parent is not None:
            parent.text = (parent.text or "") + "\n"


def _holds_blocks(element: Any) -> bool:
    return isinstance(element.tag, str) and next(element.iterdescendants(*_BREAKS), None) is not None


def text_of(element: Any) -> str:
    return " ".join(element.text_content().split())


def _block_text(element: Any) -> str:
    if element.tag in _LISTS:
        return "\n".join(_list_lines(element))
    if element.tag == "table":
        rows = [[text_of(cell) for cell in row.xpath("./th|./td")] for row in element.iter("tr")]
        return table_text(rows)
    if element.tag == "pre":
        return str(element.text_content()).strip("\n")
    return text_of(element)


def _list_lines(element: Any, indent: str = "") -> list[str]:
    """One line per item; a nested list is indented below its item."""
    lines = []
    for number, item in enumerate(element.iterfind("li"), start=1):
        inner = [child for child in item if child.tag in _LISTS]
        for child in inner:
            item.remove(child)  # its text gets lines of its own; what follows it is only a line break
        bullet = f"{number}. " if element.tag == "ol" else "- "
        lines.append(indent + bullet + text_of(item))
        for child in inner:
            lines += _list_lines(child, indent + "   ")
    return lines


def table_text(rows: list[list[str]]) -> str:
    """Rows as a Markdown table; the first row is the head."""
    lines = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows if any(row)]
    if len(lines) > 1:
        lines.insert(1, "|" + "---|" * len(next(row for row in rows if any(row))))
    return "\n".join(lines)
