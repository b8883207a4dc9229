"""Cutting articles into passages: along headings, and never through a table or a list of steps unless it is too long.

A passage aims at `TARGET` words and has at most `MOST`; steps and lists may have `MOST_OF_STEPS`, because half a
procedure is useless. Its heading consists of the product (unless the title names it), the article's trail, its title
and the headings above the text. It is indexed too, so "Error codes" under "WashPro 8" is found for the washing machine.
A picture is a passage of its own: `FigureText`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from assistant.retrieval.sources.article import ArticleSource, Picture, Section
from assistant.text.identifiers import spot

# Raise this with every change that produces other passages or identifiers, so that articles are indexed again.
REVISION = 7
TARGET = 140
MOST = 240
MOST_OF_STEPS = 400
_LEAD_IN = 40
SEPARATOR = " > "


@dataclass(frozen=True)
class PassageText:
    """``page``: where its text begins, in a file that has pages."""

    heading: str
    text: str
    page: int | None = None

    @property
    def indexed(self) -> str:
        """What is embedded: the heading tells the text's subject."""
        return f"{self.heading}\n{self.text}"

    @property
    def codes(self) -> str:
        return " ".join(spot(self.indexed))

    @property
    def content_hash(self) -> str:
        return hashlib.sha256(self.indexed.encode()).hexdigest()


@dataclass(frozen=True)
class FigureText:
    """A picture of an article, and the position of the passage it stands beside; -1 if there is none."""

    heading: str
    picture: Picture
    beside: int

    def passages(self, read: str) -> list[PassageText]:
        """The picture's own passages: its caption, its alternative text, the text around it, and ``read``, what was
        read in it. None if only the text around it is known: that is found anyway."""
        if self.picture.is_page:
            section = Section((), tuple(block for block in read.split("\n\n") if block.strip()))
            return [PassageText(self.heading, text, self.picture.page) for text, _, _ in _pack(section)]
        said = [*dict.fromkeys(part for part in (self.picture.caption, self.picture.alt) if part)]
        seen = [f"{_SHOWS}: {' · '.join(read.split(chr(10)))}"] if read.strip() else []
        if not said and not seen:
            return []
        parts = [*said, *([self.picture.nearby] if self.picture.nearby else []), *seen]
        text = "\n\n".join(parts)  # blocks of their own: what a picture shows is no part of the sentence beside it
        page = self.picture.page
        return [PassageText(self.heading, part, page) for part in (_parts(text) if _words(text) > MOST else [text])]


_SHOWS = "The picture shows"


def is_of_picture(text: str, *, alt: str, caption: str) -> bool:
    """Whether a passage beside a picture is the picture's own, by its beginning, and no text of the article."""
    first = text.split("\n", 1)[0]
    return bool(first) and (first in (alt, caption) or first.startswith(f"{_SHOWS}: "))


@dataclass(frozen=True)
class Pieces:
    """An article in pieces, in reading order."""

    passages: list[PassageText]
    figures: list[FigureText]


def split(article: ArticleSource) -> list[PassageText]:
    """The passages of the article's text, in reading order."""
    return cut(article).passages


def cut(article: ArticleSource) -> Pieces:
    passages: list[PassageText] = []
    figures: list[FigureText] = []
    above = _above(article)
    for section in article.sections:
        heading = SEPARATOR.join((*above, *section.headings))
        packed = list(_pack(section))
        for picture in section.pictures:
            # The passage that holds the block before the picture, else the section's last.
            place = next((n for n, (_, _, blocks) in enumerate(packed) if blocks >= picture.after), len(packed) - 1)
            figures.append(FigureText(heading, picture, len(passages) + place))
        passages += [
            PassageText(heading, text, section.pages[first] if section.pages else None) for text, first, _ in packed
        ]
    return Pieces(passages, figures)


def _above(article: ArticleSource) -> tuple[str, ...]:
    """The product (unless trail or title name it), the trail, the title."""
    product = re.sub(r"[-_]+", " ", article.product or "").strip()
    names = _letters(" ".join((*article.trail, article.title)))
    return (*((product,) if product and _letters(product) not in names else ()), *article.trail, article.title)


def _letters(text: str) -> str:
    return re.sub(r"\W+", "", text.lower())


def _pack(section: Section) -> Iterator[tuple[str, int, int]]:
    """Blocks joined until the target is reached; a block that is too long is cut into parts first. A lead-in, which
    ends in a colon or stands before a table, stays with what it announces. With each text, the index of its first
    block, and how many of the section's blocks are complete with it."""
    packed: list[str] = []
    first = 0
    words = 0
    before = 0
    for number, part in ((n, part) for n, block in enumerate(section.blocks, start=1) for part in _parts(block)):
        length = _words(part)
        room = MOST_OF_STEPS + _LEAD_IN if _is_list(part) and length > MOST else MOST
        if packed and (words + length > room or words >= TARGET):
            announces = packed[-1].endswith(":") or (_is_table(part) and not _is_table(packed[-1]))
            is_lead_in = announces and _words(packed[-1]) <= _LEAD_IN
            lead_in = [packed.pop()] if is_lead_in else []
            if packed:
                yield "\n\n".join(packed), first, before - len(lead_in)
            packed, words = lead_in, sum(map(_words, lead_in))
            first = before - 1
        first = first if packed else number - 1
        packed.append(part)
        words += length
        before = number
    if packed:
        yield "\n\n".join(packed), first, len(section.blocks)


def _is_table(block: str) -> bool:
    return block.lstrip().startswith("|")


def _is_list(block: str) -> bool:
    return _ITEM.match(block) is not None


_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s")


def _parts(block: str) -> Iterator[str]:
    if _words(block) <= (MOST_OF_STEPS if _is_list(block) else MOST):
        yield block
    elif _is_table(block):
        yield from _table_parts(block)
    elif _is_list(block):
        yield from _list_parts(block)
    else:
        yield from _text_parts(block)


def _list_parts(block: str) -> Iterator[str]:
    """Items in groups; an item is cut only if it is too long by itself. Ordered items keep their numbers."""
    items: list[str] = []
    for line in block.split("\n"):
        if not items or (_ITEM.match(line) and not line.startswith(" ")):
            items.append(line)
        else:
            items[-1] += f"\n{line}"
    group: list[str] = []
    for item in items:
        if group and _words("\n".join([*group, item])) > MOST:
            yield "\n".join(group)
            group = []
        if _words(item) > MOST:
            yield from _text_parts(item)
        else:
            group.append(item)
    if group:
        yield "\n".join(group)


def _table_parts(table: str) -> Iterator[str]:
    """Rows in groups, each under the table's head: a row without it means nothing."""
    lines = table.splitlines()
    head, rows = lines[:2], lines[2:]
    group: list[str] = []
    for row in rows:
        if group and _words("\n".join([*group, row])) > TARGET:
            yield "\n".join([*head, *group])
            group = []
        group.append(row)
    if group:
        yield "\n".join([*head, *group])


def _text_parts(text: str) -> Iterator[str]:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        separators=["\n\n", "\n", r"(?<=[.!?])\s+", r"\s+", ""],
        is_separator_regex=True,
        keep_separator="end",
        chunk_size=TARGET + 40,
        chunk_overlap=0,
        # A wall of text without blanks is cut too.
        length_function=lambda part: max(_words(part), len(part) // 12),
    )
    yield from (part.strip() for part in splitter.split_text(text) if part.strip())


def _words(text: str) -> int:
    return len(re.findall(r"\w+", text))
