"""Reading articles from files: Markdown, HTML and JSON lines, as sections under their headings.

Whatever cannot be read is reported with its reason and skipped; the rest goes in.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from assistant.errors import AssistantError, Invalid, NotFound, TooLarge

SUFFIXES = {".md", ".markdown", ".html", ".htm", ".jsonl"}
MAX_BYTES = 5_000_000
MAX_LINES_BYTES = 200_000_000
_MOST_TITLE = 300
_MOST_HEADING = 200
_COMMENT = re.compile(r"^[ ]{0,3}<!--.*?-->", re.DOTALL | re.MULTILINE)
_CHARSET = re.compile(rb"""<meta[^>]{0,200}charset\s*=\s*["']?([\w-]+)""", re.IGNORECASE)
_XML_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
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
    """What a folder gave: articles, and for each file or row that could not be read why.

    ``doubtful``: keys of articles, and of whole files, that may be there but could not be read: they have not been
    taken out on purpose."""

    articles: list[ArticleSource] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)

    def fail(self, place: str, reason: str, *, doubtful: str) -> None:
        self.failed.append((place, reason))
        self.doubtful.add(doubtful)


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
            loaded.fail(key, error.message, doubtful=key)
        except OSError as error:
            loaded.fail(key, f"cannot be read: {error.strerror or type(error).__name__}", doubtful=key)
        except Exception as error:  # a parser tripped over a broken file: the others still go in
            loaded.fail(key, f"cannot be read: {type(error).__name__}: {str(error)[:200]}", doubtful=key)
    return loaded


def _files(folder: Path) -> Iterator[Path]:
    root = folder.resolve()
    for file in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.suffix.lower() in SUFFIXES and file.is_file() and not hidden and file.resolve().is_relative_to(root):
            yield file


def _load_file(file: Path, key: str, loaded: Loaded) -> None:
    suffix = file.suffix.lower()
    limit = MAX_LINES_BYTES if suffix == ".jsonl" else MAX_BYTES
    if file.stat().st_size > limit:
        raise TooLarge(f"is larger than {limit / 1e6:.0f} MB; split it", limit=limit)
    data = file.read_bytes()
    if suffix == ".jsonl":
        _load_lines(_decode(data), key, loaded)
        return
    is_html = suffix in (".html", ".htm")
    meta, body = _front_matter(_decode(data, charset=_declared_charset(data) if is_html else None))
    title, sections = _html(body) if is_html else _markdown(body)
    if not any(section.blocks for section in sections):
        raise Invalid("has no text")
    loaded.articles.append(_article(key, meta, title or Path(key).stem.replace("-", " ").replace("_", " "), sections))


def _decode(data: bytes, *, charset: str | None = None) -> str:
    """Text with plain line ends. UTF-8, UTF-16 with its mark, what the page declares, else Western European."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", errors="replace")
    elif b"\0" in data[:4096]:
        raise Invalid("is not a text file")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode(charset or "cp1252", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def _declared_charset(data: bytes) -> str | None:
    match = _CHARSET.search(data[:4096])
    try:
        return codecs.lookup(match.group(1).decode("ascii")).name if match else None
    except LookupError:
        return None


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
        title=" ".join(str(meta.get("title") or title).split())[:_MOST_TITLE],
        sections=sections,
        url=str(meta["url"]) if meta.get("url") else None,
        product=str(meta["product"]) if meta.get("product") else None,
        language=re.split(r"[-_.]", str(meta.get("language") or "en").strip().lower())[0] or "en",
        visibility=visibility,
    )


def _load_lines(text: str, key: str, loaded: Loaded) -> None:
    """JSON lines: objects with ``text``, or a question with answers, and, as far as known, id, title, code, url,
    product, language, visibility. Rows with the same id are numbered: lists of codes have the same one twice."""
    seen: dict[str, set[str]] = {}
    # Only line feeds end a row: JSON strings may hold other line separators.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        doubtful, place = key, f"{key}:{number}"
        try:
            row = _row(line)
            doubtful = _row_key(row, key, number)
            article = _row_article(row, doubtful)
        except AssistantError as error:
            loaded.fail(place, error.message, doubtful=doubtful)
        else:
            contents = seen.setdefault(article.key, set())
            if article.content_hash not in contents:  # the same row twice is one article
                contents.add(article.content_hash)
                numbered = article.key if len(contents) == 1 else f"{article.key}~{len(contents)}"
                loaded.articles.append(replace(article, key=numbered))


def _row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise Invalid(f"is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise Invalid("is nested too deeply") from error
    if not isinstance(row, dict):
        raise Invalid("is not an object")
    return {name: _storable(value) if isinstance(value, str) else value for name, value in row.items()}


def _storable(text: str) -> str:
    """Without what no database takes: NUL, and lone surrogates, which JSON can escape."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")


def _row_key(row: dict[str, Any], key: str, number: int) -> str:
    return f"{key}#{str(row.get('id') or row.get('code') or number)[:200]}"


def _row_article(row: dict[str, Any], key: str) -> ArticleSource:
    text = row.get("text") or _answers(row)
    if not isinstance(text, str) or not text.strip():
        raise Invalid("has no text")
    named = [str(row[name]) for name in ("code", "title") if row.get(name) and isinstance(row[name], str | int)]
    title = " ".join(named) or str(row.get("question") or text[:80])
    heading, sections = _markdown(text)
    if not any(section.blocks for section in sections):
        sections = (Section((), (heading or text,)),)
    return _article(key, {**row, "title": title}, title, sections)


def _answers(row: dict[str, Any]) -> str:
    answers = row.get("answers") or row.get("answer") or ""
    joined = "\n\n".join(str(answer) for answer in answers) if isinstance(answers, list) else str(answers)
    return _storable(joined)


def _markdown(text: str) -> tuple[str | None, tuple[Section, ...]]:
    """The first top heading and the sections. Blocks are paragraphs, whole lists and whole tables, as written."""
    from markdown_it import MarkdownIt

    # A comment is not part of the page: what it says was never meant to be read.
    text = _COMMENT.sub("", text)
    tokens = MarkdownIt("commonmark", {"html": False}).enable("table").parse(text)
    lines = text.split("\n")
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
    return re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"[*`]|(?<!\w)_+|_+(?!\w)", "", inline)).strip()


def _html(text: str) -> tuple[str | None, tuple[Section, ...]]:
    """The main content of a page: navigation, scripts, footers and what is hidden are left out."""
    import lxml.html

    if not text.strip():
        raise Invalid("has no text")
    document = lxml.html.document_fromstring(_XML_DECLARATION.sub("", text))
    for element in document.xpath(_NOT_CONTENT):
        element.drop_tree()
    _separate(document)
    found = (document.find(path) for path in (".//main", ".//*[@role='main']", ".//article", ".//body"))
    main = next((element for element in found if element is not None), document)
    outline = _Outline()
    _walk(main, outline)
    title = document.findtext(".//title")
    return outline.title or (title.strip() if title else None), outline.sections()


_NOT_CONTENT = (
    "//script|//style|//nav|//noscript|//template|//aside|//form|//body//*[@hidden]|//button|//svg"
    "|//header[not(ancestor::main|ancestor::article)]|//footer"
    "|//body//*[contains(translate(@style, ' ', ''), 'display:none')]"
)
_HEADINGS = {f"h{level}" for level in range(1, 7)}
_BLOCKS = {"p", "ul", "ol", "table", "pre", "blockquote", "dl", "figcaption"}
_BREAKS = _HEADINGS | _BLOCKS | {"br", "div", "li", "tr", "dt", "dd", "section"}


def _walk(element: Any, outline: _Outline) -> None:
    """Blocks and headings in order; what stands between them, with its inline markup, is a paragraph."""
    between = [element.text or ""]
    for child in element:
        if child.tag in _HEADINGS or child.tag in _BLOCKS or _holds_blocks(child):
            outline.block(" ".join("".join(between).split()))
            between = []
            if child.tag in _HEADINGS:
                outline.heading(int(child.tag[1]), _text(child).rstrip("¶# "))
            elif child.tag in _BLOCKS:
                outline.block(_block_text(child))
            else:
                _walk(child, outline)
        elif isinstance(child.tag, str):  # else a comment
            between.append(str(child.text_content()))
        between.append(child.tail or "")
    outline.block(" ".join("".join(between).split()))


def _separate(document: Any) -> None:
    """Put a line break around blocks: "<p>a</p><p>b</p>" are two words."""
    for element in document.iter(*_BREAKS):
        element.tail = "\n" + (element.tail or "")
        before, parent = element.getprevious(), element.getparent()
        if before is not None:
            before.tail = (before.tail or "") + "\n"
        elif parent is not None:
            parent.text = (parent.text or "") + "\n"


def _holds_blocks(element: Any) -> bool:
    return isinstance(element.tag, str) and next(element.iterdescendants(*_BREAKS), None) is not None


def _text(element: Any) -> str:
    return " ".join(element.text_content().split())


def _block_text(element: Any) -> str:
    if element.tag in ("ul", "ol"):
        items = [_text(item) for item in element.iterfind("li")]
        mark = (f"{number}. " for number in range(1, len(items) + 1)) if element.tag == "ol" else ("- " for _ in items)
        return "\n".join(bullet + item for bullet, item in zip(mark, items, strict=True))
    if element.tag == "table":
        rows = [[_text(cell) for cell in row.xpath("./th|./td")] for row in element.iter("tr")]
        lines = [f"| {' | '.join(row)} |" for row in rows if row]
        if len(lines) > 1:
            lines.insert(1, "|" + "---|" * len(next(row for row in rows if row)))
        return "\n".join(lines)
    if element.tag == "pre":
        return str(element.text_content()).strip("\n")
    return _text(element)


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
        self._path.append((level, " ".join(text.split())[:_MOST_HEADING]))

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
