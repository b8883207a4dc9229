"""What surrounds the content of a web page: navigation, footers, forms to fill in, notices about cookies.

It is told by its role and by how much of it is links, not by its tag alone. What is folded is content, as long as
something on the page opens it. All that is left out is named.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from assistant.retrieval.sources.inline import BREAKS, HEADINGS

_ROLES = {
    **dict.fromkeys(("navigation", "menu", "menubar", "toolbar"), "navigation"),
    "search": "search",
    "banner": "header",
    "contentinfo": "footer",
}
_TAGS = {"nav": "navigation", "search": "search", "header": "header", "footer": "footer"}
# A header or footer in one of these belongs to it, not to the page.
_OWN = {"main", "article", "section", "aside", "details", "dialog", "blockquote"}
_CONTENT = {"main", "article"}
_STRUCK = {"del", "s", "strike"}
_FIELDS = {"select", "textarea", "datalist", "input", "label", "output"}
_LINK_LISTS = {"ul", "ol", "div", "section"}
_COOKIES = re.compile(r"(?<![a-z])(?:cookies?|consent|gdpr|onetrust)(?![a-z])|cookie[-_]?(?:banner|bar|notice|law)")
_HIDING = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"\{\{|\$\{|\{%")
# How something says what it opens: ARIA, Bootstrap, links and labels.
_OPENS = ("aria-controls", "data-target", "data-bs-target", "href", "for")
# How far to look around, so that no page takes long.
_NEAR = 40
# A sentence or two: letters of text that leads nowhere.
_PROSE = 120


def drop_furniture(document: Any, left_out: dict[str, list[str]]) -> None:
    """Remove it from the document. What is removed is added to ``left_out``, by what it is."""
    body = document.find(".//body")
    page = _Page(body if body is not None else document, left_out)
    page.drop(_odd_part)
    page.drop(page.role)
    page.drop(page.hidden)
    page.drop(page.field)


def is_hidden(element: Any) -> bool:
    return element.get("hidden") is not None or _HIDING.search(element.get("style") or "") is not None


class _Page:
    """What has to be known of the whole page to tell what an element is."""

    def __init__(self, body: Any, left_out: dict[str, list[str]]) -> None:
        self._body = body
        self._left_out = left_out
        elements = list(_elements(body))
        titles = [element for element in elements if element.tag == "h1"]
        self._above_title = set(titles[0].iterancestors()) if len(titles) == 1 else set()
        self._has_main = any(element.tag in _CONTENT or element.get("role") == "main" for element in elements)
        self._opened = {
            name.lstrip("#")
            for element in elements
            for attribute in _OPENS
            for name in (element.get(attribute) or "").split()
        }
        self._boxes = {one.get("id") for one in elements if one.get("type") in ("checkbox", "radio")}
        self._twins = Counter(_look(one) for one in elements if is_hidden(one) and _before(one) is not None)
        self._letters, self._linked, self._links = _count_links(elements)

    def drop(self, reason_of: Callable[[Any], str | None]) -> None:
        gone: set[Any] = set()
        for element in list(_elements(self._body)):
            if element not in gone and (reason := reason_of(element)):
                gone.update(element.iterdescendants())
                self._left_out.setdefault(reason, []).append(" ".join(element.itertext()))
                element.drop_tree()

    def role(self, element: Any) -> str | None:
        """Why an element is no content; None if it is."""
        if element.tag in ("h1", *_CONTENT) or element in self._above_title:
            return None
        names = " ".join(element.get(name) or "" for name in ("id", "class", "aria-label")).lower()
        if _COOKIES.search(names) and next(element.iterdescendants("button", "a", "input"), None) is not None:
            return "cookie notice" if next(element.iterdescendants(*_CONTENT), None) is None else None
        role = (element.get("role") or "").strip().lower()
        kind = _ROLES.get(role, "") if role else _TAGS.get(element.tag, "")
        if kind == "navigation" and self._is_prose(element):
            kind = ""
        if kind in ("header", "footer") and not role and any(one.tag in _OWN for one in element.iterancestors()):
            kind = ""
        return kind or ("navigation" if "breadcrumb" in names or self._is_aside(element) else None)

    def _is_aside(self, element: Any) -> bool:
        """Whether it is a list of links beside the content."""
        # Little but links: three or more of them.
        is_links = self._links[element] >= 3 and self._linked[element] > 0.7 * self._letters[element]
        if not is_links or element.tag not in ("aside", *_LINK_LISTS):
            return False
        within = any(one.tag in _CONTENT or one.get("role") == "main" for one in element.iterancestors())
        around = next(element.iterdescendants(*_CONTENT), None) is not None
        return element.tag == "aside" or (self._has_main and not within and not around)

    def hidden(self, element: Any) -> str | None:
        if not is_hidden(element) or self._can_be_opened(element):
            return None
        return "hidden"

    def field(self, element: Any) -> str | None:
        if element.tag not in _FIELDS or (element.tag == "label" and self._folds(element)):
            return None
        if element.tag in ("label", "output") and next(element.iterancestors("form"), None) is None:
            return None
        return "form fields"

    def _folds(self, label: Any) -> bool:
        """Whether it is the label of a box that folds and unfolds what follows."""
        after = next((one for one in islice(label.itersiblings(), _NEAR) if one.tag != "input"), None)
        return label.get("for") in self._boxes and after is not None and after.tag in BREAKS - {"br", "label", "li"}

    def _is_prose(self, element: Any) -> bool:
        free = self._letters[element] - self._linked[element]
        return free >= _PROSE and self._linked[element] < 0.4 * self._letters[element]

    def _can_be_opened(self, element: Any) -> bool:
        """Whether it is a folded part: something names it, or it is the answer to what stands before it."""
        if element.tag == "dialog" or element.get("role") in ("tabpanel", "dialog", "alertdialog", "region"):
            return True
        if element.get("id") in self._opened or element.get("aria-labelledby"):
            return True
        before = _before(element)
        if before is None:
            return False
        opens = before.tag in (*HEADINGS, "button", "summary", "dt", "label") or before.get("onclick") is not None
        inner = islice(_elements(before), _NEAR)
        # Else it is one of several that look alike, each after something that does not fold.
        return (
            opens
            or before.get("aria-expanded") is not None
            or any(one.tag == "button" or one.get("aria-expanded") is not None for one in inner)
            or self._twins[_look(element)] >= 2
        )


def _odd_part(element: Any) -> str | None:
    """What is no text at all, or no longer."""
    if element.tag in ("script", "style"):
        return "scripts"
    if element.tag in _STRUCK:
        return "struck out"
    if element.tag == "svg":
        return "drawings" if element.find(".//text") is None else None
    if element.tag == "template":
        return "scripts" if _PLACEHOLDER.search("".join(islice(element.itertext(), 1000))) else None
    if element.tag == "noscript":
        return "scripts" if next(element.iterdescendants("p", "ul", "ol", "table", *HEADINGS), None) is None else None
    return None


def _elements(root: Any) -> Iterator[Any]:
    return (element for element in root.iterdescendants() if isinstance(element.tag, str))


def _look(element: Any) -> tuple[str, str | None]:
    return element.tag, element.get("class")


def _before(element: Any) -> Any:
    """What stands before it, passing what is hidden too: a heading may open several paragraphs."""
    for one in islice(element.itersiblings(preceding=True), _NEAR):
        if isinstance(one.tag, str) and not is_hidden(one):
            return one
    return None


def _count_links(elements: list[Any]) -> tuple[Counter[Any], Counter[Any], Counter[Any]]:
    """For each element: its letters, those of its links, and the number of its links."""
    letters: Counter[Any] = Counter()
    linked: Counter[Any] = Counter()
    links: Counter[Any] = Counter()
    for element in reversed(elements):
        letters[element] += len("".join((element.text or "").split()))
        if element.tag in ("a", "button"):
            linked[element], links[element] = letters[element], 1
        parent = element.getparent()
        letters[parent] += letters[element] + len("".join((element.tail or "").split()))
        linked[parent] += linked[element]
        links[parent] += links[element]
    return letters, linked, links
