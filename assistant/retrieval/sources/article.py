"""What every source yields: articles as sections under headings, with their pictures.

A source finds articles before it reads them (`Found`), so what has not changed since the last import need not be read.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urljoin

from assistant.errors import Invalid
from assistant.retrieval.sources.coverage import Coverage, measure
from assistant.text.addresses import web_address
from assistant.text.clusters import beginning
from assistant.text.languages import SURE, detect
from assistant.text.readable import readable

MOST_TITLE = 300
MOST_HEADING = 200
# Words of the text around a picture that are indexed with it.
_NEARBY_WORDS = 30
_MOST_PICTURES = 300
_MOST_SHOWN = 100
_VISIBILITIES = {"public", "internal"}
# The address of a link in Markdown that is neither absolute nor within the page.
_RELATIVE = re.compile(r"(?<=\]\()(?![a-zA-Z][\w+.-]*:|#)[^()\s]+(?=[^()]{0,200}\))")

# Raise this with every change that reads other text from the same file, so that articles are read again.
REVISION = 8


@dataclass(frozen=True)
class Picture:
    """A picture in an article, after the first ``after`` blocks of its section.

    ``digest`` changes when the picture does. ``is_page``: it shows a whole page without text of its own, so what is
    read in it is the article's text. ``page``: the one it is on, from 1, in a file that has pages. ``read`` returns the
    encoded image or raises an `AssistantError`."""

    digest: str
    after: int
    alt: str = ""
    caption: str = ""
    nearby: str = ""
    is_page: bool = False
    page: int | None = None
    read: Callable[[], bytes] = field(default=lambda: b"", compare=False, repr=False)


@dataclass(frozen=True)
class Section:
    """``headings``: the path above the text, outermost first, without the article's title. ``blocks`` are kept
    whole. ``pages``: where each block begins, from 1, in a file that has pages."""

    headings: tuple[str, ...]
    blocks: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()
    pages: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reading:
    """What a reader made of a file: the title and the language it gives itself, if any, and its sections. ``coverage``:
    how much of its text they keep; None if that was not measured."""

    title: str | None
    sections: tuple[Section, ...]
    coverage: Coverage | None = None
    language: str | None = None

    @property
    def has_text(self) -> bool:
        return any(section.blocks for section in self.sections)


@dataclass(frozen=True)
class ArticleSource:
    """An article as it was read. ``key`` identifies it within its source. ``trail``: what it stands under there, such
    as category and section of a help centre, outermost first. ``coverage``: see `Reading`. ``validators``: a website's
    validators for conditional requests."""

    key: str
    title: str
    sections: tuple[Section, ...]
    url: str | None = None
    product: str | None = None
    language: str = "en"
    visibility: str = "public"
    inbox: str | None = None  # the key of the one whose customers alone may read it
    trail: tuple[str, ...] = ()
    coverage: Coverage | None = field(default=None, compare=False)
    validators: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    @property
    def content_hash(self) -> str:
        """Changes when anything stored or searched does."""
        parts = [self.title, self.url, self.product, self.language, self.visibility, self.trail, self.sections]
        if self.inbox is not None:
            parts.append(self.inbox)
        return digest_of(*(str(part) for part in parts))

    @property
    def is_empty(self) -> bool:
        return not any(section.blocks or section.pictures for section in self.sections)


@dataclass(frozen=True)
class Found:
    """An article that exists but has not been read. ``file``: what it is a part of, if it is not all of it, such as a
    table of questions. ``content_hash`` is None if only reading tells whether it changed;
    then ``read`` returns None for an unchanged one. ``read`` raises an `AssistantError` with the reason."""

    key: str
    content_hash: str | None
    read: Callable[[], ArticleSource | None]
    file: str = ""


@dataclass
class Listing:
    """What a source holds now: its articles, and for each file or row that could not be read, the reason.

    ``doubtful``: keys of articles and of whole files that could not be read but may still exist, so their articles are
    kept. "" means that the list itself is incomplete. ``lost``: for each file, the letters and digits of its parts that
    are in no article."""

    found: list[Found] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)
    lost: Counter[str] = field(default_factory=Counter)

    def fail(self, place: str, reason: str, *, doubtful: str) -> None:
        self.failed.append((place, reason))
        self.doubtful.add(doubtful)

    def add(self, article: ArticleSource, *, file: str = "") -> None:
        """Add an article that had to be read to be found."""
        self.found.append(Found(article.key, article.content_hash, lambda: article, file))


def digest_of(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def make_article(
    key: str, meta: Mapping[str, Any], title: str, reading: Reading, *, trail: tuple[str, ...] = ()
) -> ArticleSource:
    """An article with what a file says about itself: ``meta`` may have title (else it is ``title``), url, product,
    language, visibility, inbox. Raises `Invalid` for a url that no link may lead to, and a visibility that is none."""
    visibility = str(meta.get("visibility") or "public").lower()
    if visibility not in _VISIBILITIES:
        raise Invalid(f"has the visibility {visibility!r}; use public or internal")
    url = _address(meta)
    return ArticleSource(
        key=key,
        title=beginning(" ".join(readable(str(meta.get("title") or title)).split()), MOST_TITLE),
        sections=tuple(_with_addresses(section, url) for section in reading.sections) if url else reading.sections,
        url=url,
        product=str(meta["product"]) if meta.get("product") else None,
        language=_declared_language(meta, reading) or _language_of(reading),
        visibility=visibility,
        inbox=str(meta["inbox"]) if meta.get("inbox") else None,
        trail=trail,
        coverage=reading.coverage,
    )


def _address(meta: Mapping[str, Any]) -> str | None:
    said = str(meta.get("url") or "").strip()
    if said and web_address(said) is None:
        shown = beginning(" ".join(readable(said).split()), _MOST_SHOWN)
        raise Invalid(f"has the url {shown!r}; write a whole one, with https:// or http://, or none")
    return said or None


def _with_addresses(section: Section, url: str) -> Section:
    """The section with its relative links resolved."""
    return replace(section, blocks=tuple(_RELATIVE.sub(partial(_absolute, url), block) for block in section.blocks))


def _absolute(url: str, link: re.Match[str]) -> str:
    try:
        return urljoin(url, link.group())
    except ValueError:  # no address at all
        return link.group()


def _declared_language(meta: Mapping[str, Any], reading: Reading) -> str:
    return re.split(r"[-_.]", str(meta.get("language") or reading.language or "").strip().lower())[0]


def _language_of(reading: Reading) -> str:
    spoken, sure = detect("\n".join(block for section in reading.sections for block in section.blocks))
    return spoken if sure > SURE else "en"


def name_of(key: str) -> str:
    """The file's name in words: a title for an article without one."""
    name = re.split(r"[/\\]", key)[-1]
    return name.rsplit(".", 1)[0].replace("-", " ").replace("_", " ")


@dataclass
class _Heading:
    level: int
    text: str
    has_text_below: bool = False


class Outline:
    """Collects headings, blocks and pictures in reading order.

    ``page``: where the next block begins, in a file that has pages. ``found``: all text of the file, which a reader
    adds as a plain reading without structure finds it, so that a lost paragraph shows. ``left_out``: of it, what the
    reader leaves out on purpose, by what it is ("page numbers"). Without ``found``, nothing is measured."""

    def __init__(self) -> None:
        self.title: str | None = None
        self.page: int | None = None
        self.found: list[str] = []
        self.left_out: defaultdict[str, list[str]] = defaultdict(list)
        self._path: list[_Heading] = []
        self._blocks: list[str] = []
        self._pages: list[int] = []
        self._pictures: list[Picture] = []
        self._sections: list[Section] = []
        self._seen: set[str] = set()
        self._kept: list[str] = []

    def heading(self, level: int, text: str) -> None:
        text = readable(text)
        self._end_section()
        if self.title is None and level == 1 and not self._sections:
            self.title = text
            return
        self.leave(level)
        self._path.append(_Heading(level, " ".join(text.split())))

    def block(self, text: str) -> None:
        if text.strip():
            self._blocks.append(readable(text).rstrip())
            self._pages += [self.page] if self.page is not None else []

    def picture(self, picture: Picture) -> None:
        """Sets ``after`` and ``nearby``. A picture that was there before, such as a bullet or a logo, is left out."""
        if picture.digest in self._seen or len(self._seen) >= _MOST_PICTURES:
            return
        self._seen.add(picture.digest)
        self._pictures.append(Picture(**{**picture.__dict__, "after": len(self._blocks), "page": self.page}))

    def reading(self, title: str | None = None) -> Reading:
        """``title``: for a file without a heading that names it."""
        self.leave(0)
        coverage = measure(self.found, [self.title or "", *self._kept], self.left_out) if self.found else None
        return Reading(self.title or title, tuple(self._sections), coverage)

    def leave(self, level: int) -> None:
        """End the headings from this level on: what follows is not below them. One with nothing below it is text."""
        self._end_section()
        while self._path and self._path[-1].level >= level:
            heading = self._path.pop()
            if not heading.has_text_below:
                self.block(heading.text)
                self._end_section()

    def _end_section(self) -> None:
        if not self._blocks and not self._pictures:
            return
        for heading in self._path:
            if not heading.has_text_below:
                heading.has_text_below = True
                self._kept.append(beginning(heading.text, MOST_HEADING))
        self._kept += self._blocks
        pictures = tuple(
            Picture(**{**picture.__dict__, "nearby": _nearby(self._blocks, picture)}) for picture in self._pictures
        )
        headings = tuple(beginning(heading.text, MOST_HEADING) for heading in self._path)
        self._sections.append(Section(headings, tuple(self._blocks), pictures, tuple(self._pages)))
        self._blocks, self._pages, self._pictures = [], [], []


def _nearby(blocks: list[str], picture: Picture) -> str:
    """The end of the block before the picture, else the beginning of the one after it, not counting its caption."""
    before = next((block for block in reversed(blocks[: picture.after]) if block != picture.caption), None)
    if before is not None:
        return " ".join(before.split()[-_NEARBY_WORDS:])
    after = next((block for block in blocks[picture.after :] if block != picture.caption), "")
    return " ".join(after.split()[:_NEARBY_WORDS])
