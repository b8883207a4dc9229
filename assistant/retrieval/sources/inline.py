"""The text of an HTML element: one line, or several where its markup breaks it."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

HEADINGS = {f"h{level}" for level in range(1, 7)}
LISTS = {"ul", "ol", "menu"}
BLOCKS = {"p", *LISTS, "table", "pre", "blockquote", "dl", "figcaption"}
_CONTAINERS = set(
    "address article aside center details dialog dd div dt fieldset figure footer form header hgroup hr legend li main "
    "nav optgroup option section summary tbody td tfoot th thead tr template noscript".split()
)
BREAKS = HEADINGS | BLOCKS | _CONTAINERS | {"br"}
_LINKED = {"http", "https", "mailto", "tel"}
_SUPERSCRIPT = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")
_UNSEEN = {"script", "style", "title"}
_WITHIN_WORDS = {"a", "b", "code", "em", "font", "i", "mark", "small", "span", "strong", "sub", "sup", "u", "wbr"}


def line(element: Any, base: str | None = None) -> str:
    """The text in one line. A link that leads to an address is kept in Markdown, relative ones by their ``base``."""
    return " ".join("".join(parts(element, base)).split())


def parts(element: Any, base: str | None = None) -> Iterator[str]:
    """Pieces of the text, with line feeds around blocks: "<p>a</p><p>b</p>" are two words. Around items of lists and
    rows of tables they are vertical tabs."""
    if not isinstance(element.tag, str):  # a comment
        return
    if element.tag == "img":
        yield element.get("alt") or "" if is_in_text(element) else ""
    elif element.tag == "sup" and re.fullmatch(r"[\d+−-]+", element.text_content().strip()):
        yield element.text_content().strip().translate(_SUPERSCRIPT)
    elif element.tag == "a" and (address := _address(element, base)):
        text = " ".join("".join(_inside(element, None)).split())
        # A link that is its own text, or whose text would break its form, is left as text.
        yield f"[{text}]({address})" if text and text != address and not set("[]|") & set(text) else text
    elif element.tag in BREAKS:
        mark = "\v" if element.tag in ("li", "tr") else "\n"
        yield mark
        yield from _inside(element, base)
        yield mark
    elif element.tag == "button":
        yield from (" ", *_inside(element, base), " ")
    else:
        yield from _inside(element, base)


def _inside(element: Any, base: str | None) -> Iterator[str]:
    yield plain(element.text)
    for child in element:
        yield from parts(child, base)
        yield plain(child.tail)


def plain(text: str | None) -> str:
    """Line feeds in the file are blanks on the page."""
    return re.sub(r"\s+", " ", text or "")


def is_in_text(element: Any) -> bool:
    """Whether a picture or a button stands in for a word: "press [power] to start"."""
    before = element.getprevious()
    beside = before.tail if before is not None else element.getparent().text
    return bool((element.tail or "").strip() or (beside or "").strip())


def _address(link: Any, base: str | None) -> str | None:
    try:
        address = urljoin(base or "", (link.get("href") or "").strip())
        if urlsplit(address).scheme not in _LINKED or address.split("#")[0] == (base or "").split("#")[0]:
            return None
    except ValueError:
        return None
    return re.sub(r"[\s()|]", lambda sign: f"%{ord(sign.group()):02X}", address)


def all_text(page: str) -> str:
    """Everything between tags, seen or not, but scripts and styles; by looking for "<" and ">" alone, so that what is
    kept of a page can be compared with it."""
    found = []
    place = 0
    while place < len(page):
        start = page.find("<", place)
        start = len(page) if start < 0 else start
        found.append(page[place:start])
        if start == len(page):
            break
        if page.startswith("<!--", start):
            end = page.find("-->", start)
            place = end + 3 if end >= 0 else len(page)
        elif not page[start + 1 : start + 2].isalpha() and page[start + 1 : start + 2] not in ("/", "!", "?"):
            found.append("<")  # not a tag: "a < b"
            place = start + 1
        else:
            end = page.find(">", start)
            tag = re.match(r"/?([a-z0-9]*)", page[start + 1 : start + 20].lower())
            name = tag.group(1) if tag is not None else ""
            place = end + 1 if end >= 0 else len(page)
            if name in _UNSEEN and page[start + 1] != "/":
                ending = re.compile(f"</{name}", re.IGNORECASE).search(page, place)
                place = ending.start() if ending is not None else len(page)
            found.append("" if name in _WITHIN_WORDS else " ")
    return html.unescape("".join(found))
