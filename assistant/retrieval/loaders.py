"""Reading articles from files: Markdown, HTML and JSON lines, as sections under their headings.

Whatever cannot be read is reported with its reason and skipped; the rest goes in.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assistant.errors import AssistantError, Invalid, NotFound, TooLarge

SUFFIXES = {".md", ".markdown", ".html", ".htm", ".jsonl"}
MAX_BYTES = 5_000_000
_FRONT_MATTER = re.compile(r"\A---\s*\n(.*?)\n---\s*(?:\n|\Z)", re.DOTALL)
_VISIBILITIES = {"public", "internal"}


@dataclass(frozen=True)
class Section:
    """``headings``: the path above the text, outermost first, without the article's title. ``blocks`` stay whole."""

    headings: tuple[str, ...]
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class ArticleSource:
    """An article as it was found. ``key`` names it within its source."""

    key: str
    title: str
    sections: tuple[Section, ...]
    url: str | None = None
    product: str | None = None
    language: str = "en"
    visibility: str = "public"

    @property
    def content_hash(self) -> str:
        """Changes when anything that is stored or searched changes."""
        parts = [self.title, self.url, self.product, self.language, self.visibility, repr(self.sections)]
        return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()


@dataclass
class Loaded:
    """What a folder gave: articles, and for each file or row that could not be read why."""

    articles: list[ArticleSource] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def load(path: Path) -> Loaded:
    """Read a file, or every article file below a folder. Links that lead out of the folder are not followed."""
    if not path.exists():
        raise NotFound(f"There is no file or folder {path}.")
    root = path if path.is_dir() else path.parent
    files = sorted(_files(path)) if path.is_dir() else [path]
    if not files:
        raise Invalid(f"{path} holds no articles. They end in {', '.join(sorted(SUFFIXES))}.")
    loaded = Loaded()
    for file in files:
        key = file.relative_to(root).as_posix()
        try:
            _load_file(file, key, loaded)
        except AssistantError as error:
            loaded.failed.append((key, error.message))
        except Exception as error:  # a parser tripped over a broken file: the others still go in
            loaded.failed.append((key, f"cannot be read: {type(error).__name__}: {str(error)[:200]}"))
    return loaded


def _files(folder: Path) -> Iterator[Path]:
    root = folder.resolve()
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in SUFFIXES and file.is_file() and not hidden and file.resolve().is_relative_to(root):
            yield file


def _load_file(file: Path, key: str, loaded: Loaded) -> None:
    is_lines = file.suffix.lower() == ".jsonl"
    limit = MAX_BYTES * (40 if is_lines else 1)
    if file.stat().st_size > limit:
        raise TooLarge(f"is larger than {limit / 1e6:.0f} MB; split it", limit=limit)
    text = _decode(file.read_bytes())
    if is_lines:
        _load_lines(text, key, loaded)
        return
    meta, body = _front_matter(text)
    parse = _markdown if file.suffix.lower() in (".md", ".markdown") else _html
    title, sections = parse(body)
    if not any(section.blocks for section in sections):
        raise Invalid("has no text")
    loaded.articles.append(_article(key, meta, title or Path(key).stem.replace("-", " ").replace("_", " "), sections))


def _decode(data: bytes) -> str:
    if b"\0" in data[:4096]:
        raise Invalid("is not a text file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _front_matter(text: str) -> tuple[dict[str, str], str]:
    match = _FRONT_MATTER.match(text)
    if match is None:
        return {}, text
    pairs = (line.split(":", 1) for line in match.group(1).splitlines() if ":" in line)
    meta = {name.strip().lower(): value.strip().strip("\"'") for name, value in pairs}
    return meta, text[match.end() :]


def _article(key: str, meta: dict[str, Any], title: str, sections: tuple[Section, ...]) -> ArticleSource:
    visibility = str(meta.get("visibility") or "public").lower()
    if visibility not in _VISIBILITIES:
        raise Invalid(f"has the visibility {visibility!r}; it is public or internal")
    return ArticleSource(
        key=key,
        title=" ".join(str(meta.get("title") or title).split())[:300],
        sections=sections,
        url=str(meta["url"]) if meta.get("url") else None,
        product=str(meta["product"]) if meta.get("product") else None,
        language=str(meta.get("language") or "en").lower(),
        visibility=visibility,
    )


def _load_lines(text: str, key: str, loaded: Loaded) -> None:
    """JSON lines: objects with ``text`` and, as far as known, id, title, code, url, product, language, visibility."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        place = f"{key}:{number}"
        try:
            row = json.loads(line)
            if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not row["text"].strip():
                raise Invalid("has no text")
            identity = row.get("id") or row.get("code") or number
            title = " ".join(str(part) for part in (row.get("code"), row.get("title")) if part) or row["text"][:80]
            _, sections = _markdown(row["text"])
            loaded.articles.append(_article(f"{key}#{identity}", {**row, "title": title}, title, sections))
        except json.JSONDecodeError as error:
            loaded.failed.append((place, f"is not JSON: {error.msg}"))
        except AssistantError as error:
            loaded.failed.append((place, error.message))
    keys: set[str] = set()
    unique = []
    for article in loaded.articles:
        if article.key in keys:
            loaded.failed.append((article.key, "has the id of an earlier row"))
        else:
            keys.add(article.key)
            unique.append(article)
    loaded.articles[:] = unique


def _markdown(text: str) -> tuple[str | None, tuple[Section, ...]]:
    """The first top heading and the sections. Blocks are paragraphs, whole lists and whole tables, as written."""
    from markdown_it import MarkdownIt

    tokens = MarkdownIt("commonmark", {"html": False}).enable("table").parse(text)
    lines = text.splitlines()
    outline = _Outline()
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token.type == "heading_open":
            outline.heading(int(token.tag[1]), _plain(tokens[index + 1].content))
        elif token.level == 0 and token.map is not None and not token.type.endswith("_close"):
            outline.block("\n".join(lines[token.map[0] : token.map[1]]))
        index = _past(tokens, index)
    return outline.title, outline.sections()


def _past(tokens: list[Any], index: int) -> int:
    """The index behind the block that begins at ``index``."""
    if tokens[index].nesting != 1:
        return index + 1
    depth = 0
    while index < len(tokens):
        depth += tokens[index].nesting
        index += 1
        if depth == 0:
            break
    return index


def _plain(inline: str) -> str:
    return re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"[*_`]", "", inline)).strip()


def _html(text: str) -> tuple[str | None, tuple[Section, ...]]:
    """The main content of a page: navigation, scripts and footers are left out."""
    import lxml.html

    document = lxml.html.document_fromstring(text)
    for element in document.xpath("//script|//style|//nav|//footer|//header|//noscript|//template|//aside|//form"):
        element.drop_tree()
    main = next(iter(document.xpath("//main|//article|//*[@role='main']|//body")), document)
    outline = _Outline()
    _walk(main, outline)
    title = document.findtext(".//title")
    return outline.title or (title.strip() if title else None), outline.sections()


_BLOCKS = {"p", "ul", "ol", "table", "pre", "blockquote", "dl", "figcaption"}


def _walk(element: Any, outline: _Outline) -> None:
    for child in element:
        if not isinstance(child.tag, str):
            continue
        if re.fullmatch(r"h[1-6]", child.tag):
            outline.heading(int(child.tag[1]), " ".join(child.text_content().split()))
        elif child.tag in _BLOCKS:
            outline.block(_block_text(child))
        else:
            if child.text and child.text.strip():
                outline.block(" ".join(child.text.split()))
            _walk(child, outline)
        if child.tail and child.tail.strip():
            outline.block(" ".join(child.tail.split()))


def _block_text(element: Any) -> str:
    if element.tag in ("ul", "ol"):
        items = [" ".join(item.text_content().split()) for item in element.iterfind("li")]
        mark = (f"{number}. " for number in range(1, len(items) + 1)) if element.tag == "ol" else ("- " for _ in items)
        return "\n".join(bullet + item for bullet, item in zip(mark, items, strict=True))
    if element.tag == "table":
        rows = [
            [" ".join(cell.text_content().split()) for cell in row.xpath("./th|./td")] for row in element.iter("tr")
        ]
        lines = [f"| {' | '.join(row)} |" for row in rows if row]
        if len(lines) > 1:
            lines.insert(1, "|" + "---|" * len(rows[0]))
        return "\n".join(lines)
    if element.tag == "pre":
        return str(element.text_content()).strip("\n")
    return " ".join(element.text_content().split())


class _Outline:
    """Collects headings and blocks in reading order."""

    def __init__(self) -> None:
        self.title: str | None = None
        self._path: list[tuple[int, str]] = []
        self._blocks: list[str] = []
        self._sections: list[Section] = []

    def heading(self, level: int, text: str) -> None:
        self._end_section()
        if self.title is None and level == 1 and not self._sections:
            self.title = text
            return
        self._path = [(above, name) for above, name in self._path if above < level]
        self._path.append((level, text))

    def block(self, text: str) -> None:
        if text.strip():
            self._blocks.append(text.rstrip())

    def sections(self) -> tuple[Section, ...]:
        self._end_section()
        return tuple(self._sections)

    def _end_section(self) -> None:
        if self._blocks:
            self._sections.append(Section(tuple(name for _, name in self._path), tuple(self._blocks)))
            self._blocks = []
