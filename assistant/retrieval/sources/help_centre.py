"""A help centre's export in Zendesk's shape: articles with HTML bodies, under sections and categories.

One JSON file may hold all three, or each kind may have files of its own in one folder (``articles*.json``,
``sections*.json``, ``categories*.json``), as exported page by page from the API. Drafts are left out. An article that
only some users may read (``user_segment_id``) is internal here and never reaches a customer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assistant.errors import AssistantError, Invalid
from assistant.retrieval.sources.article import ArticleSource, Listing, make_article
from assistant.retrieval.sources.images import in_data
from assistant.retrieval.sources.page import read_html
from assistant.retrieval.sources.rows import parse_json
from assistant.text.storable import storable

_LISTS = ("articles", "sections", "categories", "translations")
# Sections may be nested, but no deeper than this: a file may contain a cycle.
_DEEPEST = 8


@dataclass
class HelpCentre:
    """What the files of one folder have contributed so far. Articles are read once all files are known."""

    articles: list[tuple[str, Any]] = field(default_factory=list)  # (file, article)
    sections: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    categories: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def add(self, text: str, file: str) -> None:
        """Add a file. Raises `Invalid` if it is not part of an export."""
        data = parse_json(text)
        if isinstance(data, list) and data and all(isinstance(one, dict) and "body" in one for one in data):
            data = {"articles": data}
        if not isinstance(data, dict) or not any(isinstance(data.get(name), list) for name in _LISTS):
            raise Invalid("is not a help centre export: it has no list of articles, sections or categories")
        self.articles += [(file, article) for article in data.get("articles") or []]
        self.sections |= _by_id(data.get("sections"))
        self.categories |= _by_id(data.get("categories"))

    def list_into(self, listing: Listing) -> None:
        for file, data in self.articles:
            name = data.get("id") if isinstance(data, dict) else None
            place = f"{file}#{str(name)[:100]}" if name is not None else file
            try:
                if article := self._article(data, place):
                    listing.add(article, file=file)
            except AssistantError as error:
                listing.fail(place, error.message, doubtful=place)
            except Exception as error:  # a parser failed on one body; the others are still imported
                listing.fail(place, f"cannot be read: {type(error).__name__}", doubtful=place)

    def _article(self, data: Any, key: str) -> ArticleSource | None:
        """None for a draft."""
        if not isinstance(data, dict) or data.get("id") is None:
            raise Invalid("contains an article without an id")
        if data.get("draft"):
            return None
        body, title = data.get("body"), data.get("title") or data.get("name")
        if not isinstance(body, str) or not body.strip():
            raise Invalid("has no text")
        reading = read_html(storable(body), in_data)
        if not reading.has_text:
            raise Invalid("has no text")
        meta = {
            "title": storable(str(title)) if title else None,
            "url": data.get("html_url"),
            "language": data.get("locale") or data.get("source_locale"),
            "visibility": "internal" if data.get("user_segment_id") is not None else "public",
            "product": data.get("product"),
        }
        return make_article(key, meta, reading.title or key, reading, trail=self._trail(data.get("section_id")))

    def _trail(self, section_id: Any) -> tuple[str, ...]:
        names: list[str] = []
        category: Any = None
        for _ in range(_DEEPEST):
            section = self.sections.get(str(section_id))
            if section is None:
                break
            names.insert(0, storable(str(section.get("name") or "")))
            category = section.get("category_id", category)
            section_id = section.get("parent_section_id")
        if (found := self.categories.get(str(category))) is not None:
            names.insert(0, storable(str(found.get("name") or "")))
        return tuple(name for name in names if name.strip())


def _by_id(entries: Iterable[Any] | None) -> dict[str, Mapping[str, Any]]:
    return {str(entry["id"]): entry for entry in entries or () if isinstance(entry, dict) and "id" in entry}
