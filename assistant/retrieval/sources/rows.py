"""Questions with answers, codes with meanings: JSON lines and CSV, one article per row."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from assistant.errors import AssistantError, Invalid
from assistant.retrieval.sources.article import ArticleSource, Listing, Outline, Reading, Section, make_article, name_of
from assistant.retrieval.sources.coverage import Coverage, count, measure
from assistant.retrieval.sources.csv_table import CsvTable, read_table
from assistant.retrieval.sources.markdown import read_markdown
from assistant.retrieval.sources.tables import table_text
from assistant.text.storable import storable

# What an article is made of. All else in a row of a table is told below its text.
_SAID = ("id", "code", "url", "product", "language", "visibility", "inbox")
_KNOWN = {"title", "question", "answer", "answers", "text", *_SAID}
# Rows of a table without questions or texts in one article.
_ROWS_AT_ONCE = 200


# A text with one of these is a piece of a page; in others, "<" and tags are what is talked about.
_HTML = re.compile(r"<(?:p|br|ul|ol|table|div|h[1-6])\b[^<>]*+>", re.IGNORECASE)
# The line where it stands, its text, and what reads it.
_Row = tuple[int, list[str], Callable[[], dict[str, Any]]]


def read_lines(text: str, key: str, listing: Listing) -> None:
    """JSON lines: objects with ``text``, or a question with answers, and optionally id, title, code, url, product,
    language, visibility, inbox. Rows with the same id are numbered, since lists of codes may repeat one."""
    # Only line feeds end a row: JSON strings may hold other line separators.
    lines = ((number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip())
    _add_rows(((number, [line], partial(_row, line)) for number, line in lines), key, listing)


def read_csv(text: str, key: str, listing: Listing) -> None:
    """A table of questions and answers, or of titles and texts, gives an article for each row; any other is an article
    itself."""
    table = read_table(text)
    if not table.has_answers:
        _add_table(table, key, listing)
        return

    def row(cells: list[str]) -> dict[str, Any]:
        while len(cells) > len(table.columns) and not cells[-1]:
            cells = cells[:-1]
        if len(cells) > len(table.columns):
            raise Invalid(f"has {len(cells)} cells where the first row names {len(table.columns)}")
        return _by_column(table, cells)

    _add_rows(((number, cells, partial(row, cells)) for number, cells in table.rows), key, listing, table=table)


def _by_column(table: CsvTable, cells: list[str]) -> dict[str, Any]:
    """Of several columns that mean the same, the first that is filled in counts; the others keep their own names."""
    found: dict[str, Any] = {}
    for at, cell in enumerate(cells):
        name = table.columns[at]
        if cell and (not name or name in found):
            name = table.head[at] if at < len(table.head) else str(at + 1)
            name = name if name and name not in found and name not in _KNOWN else f"{name} ({at + 1})"
        if cell:
            found[name] = cell
    return found


def _add_table(table: CsvTable, key: str, listing: Listing) -> None:
    rows = [list(table.head)] if table.head else []
    number = 1
    for _, cells in table.rows:
        rows.append([" ".join(cell.split()) for cell in cells])
        if len(rows) > _ROWS_AT_ONCE:
            _add_part(rows, number, table, key, listing)
            rows, number = rows[: 1 if table.head else 0], number + 1
    if len(rows) > bool(table.head):
        _add_part(rows, number, table, key, listing)
    elif number == 1:
        raise Invalid("has no rows below its first one")


def _add_part(rows: list[list[str]], number: int, table: CsvTable, key: str, listing: Listing) -> None:
    width = max(map(len, rows))
    outline = Outline()
    outline.found += [*table.above, *(cell for row in rows for cell in row)]
    for line in table.above:
        outline.block(line)
    outline.block(table_text([row + [""] * (width - len(row)) for row in rows]))
    part = key if number == 1 else f"{key}#{number}"
    listing.add(make_article(part, {}, name_of(key), outline.reading()), file=key)


def _add_rows(
    rows: Iterator[tuple[int, list[str], Callable[[], dict[str, Any]]]],
    key: str,
    listing: Listing,
    *,
    table: CsvTable | None = None,
) -> None:
    seen: dict[str, set[str]] = {}
    for number, raw, read in rows:
        doubtful, place = key, f"{key}:{number}"
        try:
            row = read()
            doubtful = f"{key}#{str(row.get('id') or row.get('code') or number)[:200]}"
            article = row_article(row, doubtful, others=table is not None)
        except AssistantError as error:
            listing.fail(place, error.message, doubtful=doubtful)
            listing.lost[key] += count(raw)
        else:
            contents = seen.setdefault(article.key, set())
            if article.content_hash not in contents:  # the same row twice is one article
                contents.add(article.content_hash)
                numbered = article.key if len(contents) == 1 else f"{article.key}~{len(contents)}"
                trail = table.above if table is not None else ()
                listing.add(replace(article, key=numbered, trail=trail), file=key)


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


def row_article(row: Mapping[str, Any], key: str, *, others: bool = False) -> ArticleSource:
    """The article of one row. Values of other names than ours are told below the text if ``others``, else left out.
    Raises `Invalid` with the reason."""
    answers = row.get("answers") or row.get("answer") or ""
    answer = storable("\n\n".join(map(str, answers)) if isinstance(answers, list) else str(answers))
    text = row.get("text") or ""
    if not isinstance(text, str) or not (text.strip() or answer.strip()):
        raise Invalid("has no text")
    names = [str(row[name]) for name in ("code", "title") if row.get(name) and isinstance(row[name], str | int)]
    question = str(row.get("question") or "")
    title = " ".join(names) or question or (text or answer)[:80]
    whole = "\n\n".join(filter(None, dict.fromkeys((question if names else "", answer, text))))
    reading = read_markdown(whole, html=_HTML.search(whole) is not None)
    sections = reading.sections if reading.has_text else (Section((), (reading.title or text or answer,)),)
    unknown = {name: " ".join(str(value).split()) for name, value in row.items() if name not in _KNOWN}
    if others and unknown:
        sections = (*sections, Section((), ("\n".join(f"- {name}: {value}" for name, value in unknown.items()),)))
    return make_article(
        key, {**row, "title": title}, title, Reading(reading.title, sections, coverage=_cover(row, title, sections))
    )


def _cover(row: Mapping[str, Any], title: str, sections: tuple[Section, ...]) -> Coverage:
    meta = (str(row.get(name) or "") for name in _SAID)
    blocks = (text for section in sections for text in (*section.headings, *section.blocks))
    unknown = {f"field {name}": [str(value)] for name, value in row.items() if name not in _KNOWN}
    return measure((str(value) for value in row.values()), (title, *meta, *blocks), unknown)
