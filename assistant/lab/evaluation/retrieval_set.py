"""Labelled retrieval sets: the articles of a folder, the questions, and the right articles for each.

Files are recognised by their rows, not their names. JSON lines with ``gold`` (or ``gold_pages``) are questions: their
text is ``question``, ``query`` or, for a photo, its ``alt``; gold lists the ids of the right articles. JSON lines with
an ``id`` and a text are articles, and so are Markdown and HTML files, whose id is their path without the suffix. Other
rows are ignored. A list of codes without questions gets generated ones (`assistant.lab.evaluation.misspelling`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assistant.errors import Invalid
from assistant.lab.rows import read_rows
from assistant.sample import articles_dir
from assistant.skills.taxonomy import load_taxonomy

_GOLD = ("gold", "gold_pages")
_QUESTION = ("question", "query", "alt", "text")
_TEXT = ("text", "answers", "answer", "description")
_PAGES = {".md", ".markdown", ".html", ".htm"}
_WORDINGS = (
    "{name}: {question}",
    "I have the {name}. {question}",
    "{question} It is about my {name}",
    "{question} ({lower})",
    "{question} - {hyphened}",
)
# Notes about the folder, not part of its articles.
_NOTES = {"readme", "license", "licence", "notes", "results"}


@dataclass(frozen=True)
class Question:
    """``gold``: ids of the right articles. ``answer``: a reference answer, if the set has one."""

    text: str
    gold: frozenset[str]
    answer: str = ""


@dataclass(frozen=True)
class RetrievalSet:
    """``articles``: their files. ``questions``: by the file's path without the suffix. ``codes``: each code of a list
    of codes, with the ids of its articles. ``product_names``: as for `Index`."""

    folder: Path
    articles: tuple[Path, ...]
    questions: Mapping[str, tuple[Question, ...]]
    codes: Mapping[str, frozenset[str]]
    product_names: Sequence[tuple[str, str]] = ()

    @property
    def name(self) -> str:
        return "sample" if self.folder == articles_dir() else self.folder.name


def sample_set() -> RetrievalSet:
    """The sample company's articles, with questions of our own."""
    rows = read_rows(Path(__file__).parent / "sample_questions.jsonl")
    asked = tuple(question for row in rows if (question := _question(row.values)) is not None)
    folder = articles_dir()
    names = load_taxonomy().product_names
    return RetrievalSet(folder, tuple(sorted(folder.glob("*.md"))), {"sample": asked}, {}, names)


def read_set(folder: Path) -> RetrievalSet:
    """Raises `Invalid` if there are no articles or no questions."""
    if not folder.is_dir():
        raise Invalid(f"{folder} is not a folder. A retrieval set is a folder with articles and labelled questions.")
    pages = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in _PAGES]
    articles = [file for file in pages if file.stem.lower() not in _NOTES]
    questions: dict[str, tuple[Question, ...]] = {}
    codes: dict[str, set[str]] = {}
    for file in sorted(folder.rglob("*.jsonl")):
        rows = [row.values for row in read_rows(file)]
        asked = tuple(question for row in rows if (question := _question(row)) is not None)
        if asked:
            questions[file.relative_to(folder).with_suffix("").as_posix()] = asked
        elif any((row.get("id") or row.get("code")) and any(row.get(name) for name in _TEXT) for row in rows):
            articles.append(file)
            for row in rows:
                if row.get("code"):
                    codes.setdefault(str(row["code"]), set()).add(str(row.get("id") or row["code"]))
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


def _question(row: Mapping[str, Any]) -> Question | None:
    gold = next((row[name] for name in _GOLD if row.get(name)), None)
    asked = next((row[name] for name in _QUESTION if isinstance(row.get(name), str) and row[name].strip()), None)
    if gold is None or asked is None:
        return None
    answer = row["answer"] if isinstance(row.get("answer"), str) else ""
    return Question(asked, frozenset(map(str, gold if isinstance(gold, list) else [gold])), answer)


def naming(question: str, product: str, number: int) -> str:
    """The question with a product's name in it, in one of five wordings; the next ``number`` gets the next one."""
    wording = _WORDINGS[number % len(_WORDINGS)]
    return wording.format(question=question, name=product, lower=product.lower(), hyphened=product.replace(" ", "-"))
