"""Reading articles from files: Markdown, HTML, PDF, Word, tables of questions and help centre exports.

The face of `assistant.retrieval.sources`. What cannot be read is reported with its reason and skipped; the rest is
imported. Websites are in `sources.website`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from assistant.errors import AssistantError, Invalid, NotFound, TooLarge
from assistant.retrieval.sources import rows
from assistant.retrieval.sources.apart import read_apart
from assistant.retrieval.sources.article import (
    REVISION,
    ArticleSource,
    Found,
    Listing,
    Picture,
    Section,
    digest_of,
    make_article,
    name_of,
)
from assistant.retrieval.sources.help_centre import HelpCentre
from assistant.retrieval.sources.images import beside
from assistant.retrieval.sources.markdown import read_markdown
from assistant.retrieval.sources.page import read_html
from assistant.retrieval.sources.text import declared_charset, decode, front_matter

__all__ = ["ArticleSource", "Found", "Listing", "Loaded", "Picture", "Section", "list_articles", "load", "make_article"]

_TEXTS = {".md", ".markdown", ".html", ".htm"}
_TABLES = {".jsonl": rows.read_lines, ".csv": rows.read_csv}
_APART = {".pdf": "pdf", **dict.fromkeys((".docx", ".docm", ".dotx", ".dotm"), "docx")}
_EXPORTS = {".json"}
SUFFIXES = {*_TEXTS, *_TABLES, *_APART, *_EXPORTS}
MAX_BYTES = 5_000_000
MAX_LINES_BYTES = 200_000_000
MAX_DOCUMENT_BYTES = 100_000_000


@dataclass
class Loaded:
    """A folder's articles, all of them read, and for each file or row that could not be read, the reason."""

    articles: list[ArticleSource] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)


def load(path: Path) -> Loaded:
    """Read a file, or every article file below a folder, at once. Imports use `list_articles` instead."""
    listing = list_articles(path)
    loaded = Loaded(failed=listing.failed, doubtful=listing.doubtful)
    for found in listing.found:
        try:
            article = found.read()
        except AssistantError as error:
            listing.fail(found.key, error.message, doubtful=found.key)
        else:
            loaded.articles += [article] if article is not None else []
    return loaded


def list_articles(path: Path) -> Listing:
    """The articles in a file, or in every file below a folder. Links out of the folder are not followed."""
    if not path.exists():
        raise NotFound(f"There is no file or folder {path}.")
    root = path if path.is_dir() else path.parent
    files = sorted(_files(path)) if path.is_dir() else [path]
    if not files:
        raise Invalid(f"{path} contains no articles. Supported: {', '.join(sorted(SUFFIXES))}.")
    listing = Listing()
    exports: dict[Path, HelpCentre] = {}
    for file in files:
        key = file.relative_to(root).as_posix()
        _try_to_list(file, key, root=root, listing=listing, exports=exports)
    for export in exports.values():
        export.list_into(listing)
    return listing


def _try_to_list(file: Path, key: str, *, root: Path, listing: Listing, exports: dict[Path, HelpCentre]) -> None:
    """List a file's articles, or the reason why it cannot be read."""
    try:
        _list_file(file, key, root=root, listing=listing, exports=exports)
    except AssistantError as error:
        listing.fail(key, error.message, doubtful=key)
    except OSError as error:
        listing.fail(key, f"cannot be read: {error.strerror or type(error).__name__}", doubtful=key)
    except Exception as error:  # a parser failed on a broken file; the others are still imported
        listing.fail(key, f"cannot be read: {type(error).__name__}: {str(error)[:200]}", doubtful=key)


def _files(folder: Path) -> Iterator[Path]:
    root = folder.resolve()
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in SUFFIXES and file.is_file() and not hidden and file.resolve().is_relative_to(root):
            yield file


def _list_file(file: Path, key: str, *, root: Path, listing: Listing, exports: dict[Path, HelpCentre]) -> None:
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise Invalid(f"is not a supported kind of file. Supported: {', '.join(sorted(SUFFIXES))}")
    data = _read_bytes(file, suffix)
    if suffix in _APART:
        # Reading one takes seconds, so it is read only if its bytes have changed.
        read = partial(_read_document, file, key, suffix)
        listing.found.append(Found(key, digest_of(str(REVISION), key, data), read))
    elif suffix in _TABLES:
        _TABLES[suffix](decode(data), key, listing)
    elif suffix in _EXPORTS:
        exports.setdefault(file.parent, HelpCentre()).add(decode(data), key)
    else:
        listing.add(_read_text(data, key, file=file, root=root))


def _read_bytes(file: Path, suffix: str) -> bytes:
    limit = MAX_DOCUMENT_BYTES if suffix in _APART else MAX_BYTES if suffix in _TEXTS else MAX_LINES_BYTES
    if file.stat().st_size > limit:
        raise TooLarge(f"is larger than {limit / 1e6:.0f} MB. Split it", limit=limit)
    return file.read_bytes()


def _read_text(data: bytes, key: str, *, file: Path, root: Path) -> ArticleSource:
    is_html = file.suffix.lower() in (".html", ".htm")
    meta, body = front_matter(decode(data, charset=declared_charset(data) if is_html else None))
    reading = (read_html if is_html else read_markdown)(body, beside(file, root))
    if not reading.has_text:
        raise Invalid("has no text")
    return make_article(key, meta, reading.title or name_of(key), reading)


def _read_document(file: Path, key: str, suffix: str) -> ArticleSource:
    try:
        data = _read_bytes(file, suffix)
    except OSError as error:
        raise Invalid(f"cannot be read: {error.strerror or type(error).__name__}") from error
    reading = read_apart(_APART[suffix], data)
    article = make_article(key, {}, reading.title or name_of(key), reading)
    if article.is_empty:
        raise Invalid("has no text")
    return article
