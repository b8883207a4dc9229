"""Cutting articles into passages: along headings, never through a table or a list of steps unless it is too long.

A passage aims at `TARGET` words and has at most `MOST`. Its heading is the article's title and the headings above it;
title and heading are part of what is indexed, so "Error codes" under "WashPro 8" is found for the washing machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from assistant.retrieval.identifiers import spot
from assistant.retrieval.loaders import ArticleSource, Section

# To be raised with every change that gives other passages or identifiers: articles are then indexed anew.
REVISION = 2
TARGET = 140
MOST = 240
_LEAD_IN = 40
SEPARATOR = " > "


@dataclass(frozen=True)
class PassageText:
    heading: str
    text: str

    @property
    def indexed(self) -> str:
        """What is embedded: the heading gives the text its subject."""
        return f"{self.heading}\n{self.text}"

    @property
    def codes(self) -> str:
        return " ".join(spot(self.indexed))

    @property
    def content_hash(self) -> str:
        return hashlib.sha256(self.indexed.encode()).hexdigest()


def split(article: ArticleSource) -> list[PassageText]:
    """The article's passages in reading order."""
    return [
        PassageText(SEPARATOR.join((article.title, *section.headings)), text)
        for section in article.sections
        for text in _pack(section)
    ]


def _pack(section: Section) -> Iterator[str]:
    """Blocks joined until the target is reached; a block that is too long is cut into parts first. What ends in a
    colon stays with what it announces."""
    packed: list[str] = []
    words = 0
    for part in (part for block in section.blocks for part in _parts(block)):
        length = _words(part)
        if packed and (words + length > MOST or words >= TARGET):
            lead_in = [packed.pop()] if packed[-1].endswith(":") and _words(packed[-1]) <= _LEAD_IN else []
            if packed:
                yield "\n\n".join(packed)
            packed, words = lead_in, sum(map(_words, lead_in))
        packed.append(part)
        words += length
    if packed:
        yield "\n\n".join(packed)


def _parts(block: str) -> Iterator[str]:
    if _words(block) <= MOST:
        yield block
    elif block.lstrip().startswith("|"):
        yield from _table_parts(block)
    else:
        yield from _text_parts(block)


def _table_parts(table: str) -> Iterator[str]:
    """Rows in groups, each under the table's head: a row without its head says nothing."""
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
        length_function=_words_at_least,
    )
    yield from (part.strip() for part in splitter.split_text(text) if part.strip())


def _words(text: str) -> int:
    return len(re.findall(r"\w+", text))


def _words_at_least(text: str) -> int:
    """Words, but never less than a sixth of the characters: a wall of text without blanks is cut too."""
    return max(_words(text), len(text) // 12)
