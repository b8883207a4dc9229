"""Labelled retrieval sets: which files of a folder are articles, which are questions, and which article is right.

A folder is read by what its rows hold, not by its name. JSON lines with ``gold`` (or ``gold_pages``) are questions:
their text is ``question``, ``query`` or, for a photo, its ``alt``; gold names the right articles by id. JSON lines with
an ``id`` and a text are articles, and so are Markdown and HTML files, whose id is their path without the suffix. Rows
that are neither are left out: questions that nobody has an answer for say nothing about a search. A list of codes
without questions makes its own (`assistant.lab.evaluation.misspelling`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.errors import Invalid

_GOLD = ("gold", "gold_pages")
_QUESTION = ("question", "query", "alt", "text")
_TEXT = ("text", "answers", "answer", "description")
_PAGES = {".md", ".markdown", ".html", ".htm"}


@dataclass(frozen=True)
class Question:
    text: str
    gold: frozenset[str]


@dataclass(frozen=True)
class RetrievalSet:
    """``articles``: the files that hold them. ``questions``: by the file that asks them, without its suffix.
    ``codes``: the codes of a list of codes, and the ids of the articles that each is right for."""

    folder: Path
    articles: tuple[Path, ...]
    questions: Mapping[str, tuple[Question, ...]]
    codes: Mapping[str, frozenset[str]]


def read_set(folder: Path) -> RetrievalSet:
    """Raises `Invalid` if there is nothing to search in or nothing to ask."""
    if not folder.is_dir():
        raise Invalid(f"{folder} is not a folder. A retrieval set is a folder with articles and labelled questions.")
    articles = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in _PAGES and _is_page(file)]
    questions: dict[str, tuple[Question, ...]] = {}
    codes: dict[str, set[str]] = {}
    for file in sorted(folder.rglob("*.jsonl")):
        rows = list(_rows(file))
        asked = tuple(question for row in rows if (question := _question(row)) is not None)
        if asked:
            questions[file.relative_to(folder).with_suffix("").as_posix()] = asked
        elif any(_is_article(row) for row in rows):
            articles.append(file)
            for row in rows:
                if row.get("code"):
                    codes.setdefault(str(row["code"]), set()).add(_article_id(row))
    if not articles:
        raise Invalid(f"{folder} holds no articles: Markdown, HTML, or JSON lines with id and text.")
    if not questions and not codes:
        raise Invalid(
            f"{folder} holds no labelled questions: JSON lines with question and gold (a list of article ids)."
        )
    if questions:
        codes = {}
    return RetrievalSet(
        folder, tuple(articles), questions, {code: frozenset(right) for code, right in sorted(codes.items())}
    )


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file. A line that is none is refused: half a set gives figures that mean nothing."""
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise Invalid(f"{file.name}, line {number}: is not JSON: {error}.") from error
        if isinstance(row, dict):
            yield row


def _question(row: Mapping[str, Any]) -> Question | None:
    gold = next((row[name] for name in _GOLD if row.get(name)), None)
    asked = next((row[name] for name in _QUESTION if isinstance(row.get(name), str) and row[name].strip()), None)
    if gold is None or asked is None:
        return None
    return Question(asked, frozenset(map(str, gold if isinstance(gold, list) else [gold])))


def _is_article(row: Mapping[str, Any]) -> bool:
    return bool(row.get("id") or row.get("code")) and any(row.get(name) for name in _TEXT)


def _article_id(row: Mapping[str, Any]) -> str:
    return str(row.get("id") or row["code"])


def _is_page(file: Path) -> bool:
    """A folder's own notes are about it, not of it."""
    return file.stem.lower() not in {"readme", "license", "licence", "notes", "results"}
