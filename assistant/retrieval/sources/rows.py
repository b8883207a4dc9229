"""Questions with answers, codes with meanings: JSON lines and CSV, one article per row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from assistant.errors import AssistantError, Invalid
from assistant.retrieval.sources.article import ArticleSource, Listing, Section, make_article
from assistant.retrieval.sources.markdown import read_markdown
from assistant.text.clusters import shorten
from assistant.text.storable import storable

# Column names in use, to ours.
_COLUMNS = {
    **dict.fromkeys(("text", "body", "content", "description", "details"), "text"),
    **dict.fromkeys(("answer", "answers", "response", "solution", "a", "antwort", "réponse", "respuesta"), "answer"),
    **dict.fromkeys(("question", "questions", "q", "faq", "frage", "pregunta"), "question"),
    **dict.fromkeys(("title", "name", "subject", "heading"), "title"),
    **dict.fromkeys(("id", "key", "sku"), "id"),
    **dict.fromkeys(("code", "error_code", "error code"), "code"),
    **dict.fromkeys(("url", "link"), "url"),
    **dict.fromkeys(("language", "lang", "locale"), "language"),
}
_MOST_CELL = 1_000_000


def read_lines(text: str, key: str, listing: Listing) -> None:
    """JSON lines: objects with ``text``, or a question with answers, and optionally id, title, code, url, product,
    language, visibility. Rows with the same id are numbered, since lists of codes may repeat one."""
    # Only line feeds end a row: JSON strings may hold other line separators.
    lines = ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())
    _add_rows(((number, lambda line=line: _row(line)) for number, line in lines), key, listing)


def read_csv(text: str, key: str, listing: Listing) -> None:
    """A table whose head names a question and an answer, or a title and a text; see `_COLUMNS`."""
    rows = _csv_rows(text)
    head = [name.strip().lower() for name in next(rows, (0, []))[1]]
    names = [_COLUMNS.get(name, "") or name for name in head]
    if not {"text", "answer"} & set(names):
        raise Invalid("has no column of answers: name one answer or text in the first row")

    def row(number: int, cells: list[str]) -> dict[str, Any]:
        if len(cells) > len(names):
            raise Invalid(f"has {len(cells)} cells where the first row names {len(names)}")
        return _first_of_each(names, cells)

    _add_rows(((number, lambda n=number, c=cells: row(n, c)) for number, cells in rows if any(cells)), key, listing)


def _csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row. The delimiter is the one that is most frequent in the first line."""
    first = text.split("\n", 1)[0]
    delimiter = max(",;\t|", key=first.count)
    csv.field_size_limit(_MOST_CELL)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        for cells in reader:
            yield reader.line_num, [storable(cell.strip()) for cell in cells]
    except csv.Error as error:
        raise Invalid(f"is not a valid table at line {reader.line_num}: {error}") from error


def _first_of_each(names: list[str], cells: list[str]) -> dict[str, Any]:
    """Of several columns with the same meaning, the first that is filled in: id before key, name before heading."""
    found: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=False):
        if cell and name not in found:
            found[name] = cell
    return found


def _add_rows(rows: Iterator[tuple[int, Any]], key: str, listing: Listing) -> None:
    seen: dict[str, set[str]] = {}
    for number, read in rows:
        doubtful, place = key, f"{key}:{number}"
        try:
            row = read()
            doubtful = f"{key}#{str(row.get('id') or row.get('code') or number)[:200]}"
            article = row_article(row, doubtful)
        except AssistantError as error:
            listing.fail(place, error.message, doubtful=doubtful)
        else:
            contents = seen.setdefault(article.key, set())
            if article.content_hash not in contents:  # the same row twice is one article
                contents.add(article.content_hash)
                numbered = article.key if len(contents) == 1 else f"{article.key}~{len(contents)}"
                listing.add(replace(article, key=numbered), file=key)


def _row(line: str) -> dict[str, Any]:
    row = parse_json(line)
    if not isinstance(row, dict):
        raise Invalid("is not a JSON object")
    return {name: storable(value) if isinstance(value, str) else value for name, value in row.items()}


def parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise Invalid(f"is not valid JSON: {error.msg}") from error
    except RecursionError as error:
        raise Invalid("is nested too deeply") from error


def row_article(row: Mapping[str, Any], key: str) -> ArticleSource:
    """The article of one row. Raises `Invalid` with the reason."""
    text = row.get("text")
    if not text:
        answers = row.get("answers") or row.get("answer") or ""
        text = storable("\n\n".join(map(str, answers)) if isinstance(answers, list) else str(answers))
    if not isinstance(text, str) or not text.strip():
        raise Invalid("has no text")
    names = [str(row[name]) for name in ("code", "title") if row.get(name) and isinstance(row[name], str | int)]
    title = " ".join(names) or str(row.get("question") or shorten(text, 80))
    reading = read_markdown(text)
    if not reading.has_text:
        reading = replace(reading, sections=(Section((), (reading.title or text,)),))
    return make_article(key, {**row, "title": title}, title, reading)
