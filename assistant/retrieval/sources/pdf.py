"""PDF files: text with headings (from the table of contents and letter sizes), pictures, and scanned pages.

Read in the sandbox; see `apart`.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from itertools import zip_longest
from typing import Any

from assistant.errors import Invalid, TooLarge
from assistant.retrieval.sources import pdf_lines
from assistant.retrieval.sources.apart import to_json
from assistant.retrieval.sources.article import Outline, Picture
from assistant.retrieval.sources.pdf_lines import Line
from assistant.retrieval.sources.pdf_page import Place, read_page
from assistant.retrieval.sources.pdf_words import Words

MOST_PAGES = 1500
_MOST_CHARS = 5_000_000
# A page is a scan if it has fewer characters than this (without running heads) and a picture on more than half of it.
_FEW_CHARS = 25
_HALF = 0.5
_LEAST_SIDE = 36.0  # points: half an inch
_SHARE_OF_PAGE = 0.85
_MOST_SIDE = 1600  # pixels
_SCALE = 2.0  # pixels a point: 144 dpi
_GENERATED_TITLE = re.compile(
    r"^(?:untitled|microsoft word - .*|.*\.(?:docx?|indd|pdf|pages|tex|pptx?))$", re.IGNORECASE
)


@dataclass(frozen=True)
class _Page:
    lines: list[Line]
    pictures: list[tuple[Place, Callable[[], bytes]]]
    scan: Callable[[], bytes] | None = None
    is_unreadable: bool = False  # its letters mean nothing, so it is looked at like a scan


def read(data: bytes) -> bytes:
    """What the sandbox runs."""
    return to_json(data, read_pdf)


def read_pdf(data: bytes, outline: Outline) -> str | None:
    """Fill the outline. Returns the title in the file's metadata."""
    import pypdfium2 as pdfium

    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        reason = "is password-protected" if "password" in str(error).lower() else "is not a PDF, or is damaged"
        raise Invalid(reason) from error
    if len(document) > MOST_PAGES:
        raise TooLarge(f"has {len(document):,} pages, more than {MOST_PAGES:,}. Split it", limit=MOST_PAGES)
    plain, chars = [], 0
    for number in range(len(document)):
        plain.append(_plain(document, number))
        chars += len(plain[-1])
        if chars > _MOST_CHARS:
            raise TooLarge(f"has more than {_MOST_CHARS:,} characters. Split it", limit=_MOST_CHARS)
    words = Words(plain)
    pages = [_page(document, number, words) for number in range(len(document))]
    readable = (text for text, page in zip(plain, pages, strict=True) if not page.is_unreadable)
    outline.found += [reduce(words.join, text.split("\n"), "") for text in readable]
    _fill(outline, pages, _contents(document), words)
    with suppress(pdfium.PdfiumError):
        title = str(document.get_metadata_value("Title")).strip()
        return title if title and not _GENERATED_TITLE.match(title) else None
    return None


def _plain(document: Any, number: int) -> str:
    """A page's text as pdfium tells it, without any order of ours: what a reading is measured by."""
    import pypdfium2 as pdfium

    try:
        text = str(document[number].get_textpage().get_text_range())
    except pdfium.PdfiumError:
        return ""
    return text.replace("\ufffe", "-\n").replace("\x02", "-\n")  # hyphens where pdfium has joined lines


def _page(document: Any, number: int, words: Words) -> _Page:
    import pypdfium2 as pdfium
    import pypdfium2.raw as c

    try:
        page = document[number]
        textpage = page.get_textpage()
        text = read_page(page, textpage)
        lines = [] if text.is_unreadable else pdf_lines.lines_of(text, textpage, words)
        images = list(page.get_objects(filter=(c.FPDF_PAGEOBJ_IMAGE,), max_depth=4))
    except pdfium.PdfiumError:
        return _Page([], [])  # one damaged page; the others are still read
    width, height = page.get_size()
    whole = _renderer(document, number, (0.0, 0.0, width, height))
    if text.is_unreadable:
        return _Page([], [], whole, is_unreadable=True)
    places = list(dict.fromkeys(_place(image, width, height) for image in images))
    shares = {place: (place[2] - place[0]) * (place[3] - place[1]) / (width * height) for place in places}
    scan = whole if max(shares.values(), default=0) > _HALF else None
    # Decoration is left out, and so are backgrounds of whole pages.
    shown = [
        place
        for place in places
        if min(place[2] - place[0], place[3] - place[1]) >= _LEAST_SIDE and shares[place] < _SHARE_OF_PAGE
    ]
    return _Page(lines, [(place, _renderer(document, number, place)) for place in shown], scan)


def _place(image: Any, width: float, height: float) -> Place:
    """A picture's place on its page."""
    left, bottom, right, top = image.get_bounds()
    left, bottom = min(max(left, 0.0), width), min(max(bottom, 0.0), height)
    return (left, bottom, max(min(right, width), left), max(min(top, height), bottom))


def _renderer(document: Any, number: int, place: Place) -> Callable[[], bytes]:
    """Renders that part of the page on demand, including labels and arrows drawn over the picture."""

    def render() -> bytes:
        page = document[number]
        width, height = page.get_size()
        left, bottom, right, top = place
        scale = min(_SCALE, _MOST_SIDE / max(right - left, top - bottom))
        crop = (left, bottom, width - right, height - top)
        image = page.render(scale=scale, crop=crop).to_pil().convert("RGB")
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()

    return render


def _contents(document: Any) -> dict[tuple[int, str], int]:
    """The file's own table of contents: (page, heading) to level from 0."""
    import pypdfium2 as pdfium

    found: dict[tuple[int, str], int] = {}
    try:
        for bookmark in document.get_toc(max_depth=6):
            destination = bookmark.get_dest()
            page = destination.get_index() if destination is not None else None
            if page is not None:
                found[(page, _key(bookmark.get_title()))] = bookmark.level
    except (pdfium.PdfiumError, ValueError):
        return {}
    return found


def _key(heading: str) -> str:
    return re.sub(r"\W+", "", heading.lower())


def _fill(outline: Outline, pages: Sequence[_Page], contents: dict[tuple[int, str], int], words: Words) -> None:
    body = pdf_lines.body_size(line for page in pages for line in page.lines)
    clean, gone = pdf_lines.without_running_heads([page.lines for page in pages], body)
    for reason, texts in gone.items():
        outline.left_out[reason] += texts
    for number, lines in enumerate(clean):
        clean[number], listed = pdf_lines.without_contents(lines)
        outline.left_out["table of contents"] += listed
    clean = list(pdf_lines.with_asides_once(pdf_lines.with_heads(clean)))
    every = [line for lines in clean for line in lines]
    levels = pdf_lines.heading_levels(every, body)
    if not _has_title(clean, levels):  # its largest headings are chapters
        levels = {size: level + 1 for size, level in levels.items()}
    for number, (page, lines) in enumerate(zip(pages, clean, strict=True)):
        outline.page = number + 1
        is_bare = not any(line.blocks for line in lines) and sum(len(line.text) for line in lines) < _FEW_CHARS
        if page.scan is not None and is_bare:
            _add(outline, page.scan(), caption=f"Page {number + 1}", is_page=True)
            continue
        runs = _runs(lines, number, body=body, levels=levels, contents=contents)
        _fill_page(outline, page, runs, lines, body, words)


def _fill_page(
    outline: Outline,
    page: _Page,
    runs: Iterable[tuple[int, list[Line]]],
    lines: Sequence[Line],
    body: float,
    words: Words,
) -> None:
    """Headings, blocks and, between them, the pictures that end above or begin beside them."""
    waiting = sorted(page.pictures, key=lambda picture: -picture[0][3])
    for level, group in runs:
        while waiting and waiting[0][0][1] >= group[0].top - 1:  # it ends above these lines
            _add_picture(outline, waiting.pop(0), lines, body)
        if level:
            outline.heading(level, pdf_lines.join_headings(group).text)
            continue
        for block, bottom in pdf_lines.blocks_of(group, words):
            outline.block(block)
            while waiting and waiting[0][0][3] > bottom and not _is_mostly_below(waiting[0][0], bottom):
                _add_picture(outline, waiting.pop(0), lines, body)
    for picture in waiting:
        _add_picture(outline, picture, lines, body)


def _has_title(pages: Sequence[list[Line]], levels: dict[float, int]) -> bool:
    """Whether the largest letters occur in one place only, at the beginning."""
    largest = next((size for size, level in levels.items() if level == 1), None)
    places = [
        (page, index)
        for page, lines in enumerate(pages)
        for index, line in enumerate(lines)
        if round(2 * line.size) / 2 == largest
    ]
    return bool(places) and places[-1][0] == places[0][0] <= 1 and places[-1][1] - places[0][1] < len(places)


def _is_mostly_below(place: Place, bottom: float) -> bool:
    """A picture that is mostly below the end of a block belongs to what follows."""
    return (place[1] + place[3]) / 2 < bottom


def _runs(
    lines: Sequence[Line],
    page: int,
    *,
    body: float,
    levels: dict[float, int],
    contents: dict[tuple[int, str], int],
) -> Iterator[tuple[int, list[Line]]]:
    """Runs of lines with their level: headings, or text with level 0."""
    group: list[Line] = []
    current = 0
    for line, following in zip_longest(lines, lines[1:]):
        level = _level(line, following, page, body=body, levels=levels, contents=contents)
        continues = level == current and (level == 0 or (bool(group) and _is_same_heading(group[-1], line)))
        if group and not continues:
            yield current, group
            group = []
        current = level
        group.append(line)
    if group:
        yield current, group


def _level(
    line: Line,
    following: Line | None,
    page: int,
    *,
    body: float,
    levels: dict[float, int],
    contents: dict[tuple[int, str], int],
) -> int:
    size = round(2 * line.size) / 2
    is_large = line.size >= pdf_lines.HEADING_SIZE * body and pdf_lines.is_short(line) and len(line.cells) == 1
    if is_large and levels.get(size) == 1:
        return 1
    if (listed := contents.get((page, _key(line.text)))) is not None and len(line.cells) == 1:
        return min(listed + 2, 6)
    if is_large and size in levels:
        return min(max(contents.values()) + 3, 6) if contents else levels[size]
    return 6 if pdf_lines.is_bold_heading(line, following) else 0


def _is_same_heading(above: Line, below: Line) -> bool:
    return abs(above.size - below.size) < 0.5 and above.bottom - below.top < 0.8 * above.size


def _add_picture(
    outline: Outline,
    picture: tuple[Place, Callable[[], bytes]],
    lines: Sequence[Line],
    body: float,
) -> None:
    place, render = picture
    _add(outline, render(), caption=_caption(place, lines, body))


def _add(outline: Outline, data: bytes, *, caption: str, is_page: bool = False) -> None:
    digest = hashlib.sha256(data).hexdigest()
    outline.picture(Picture(digest, 0, caption=caption, is_page=is_page, read=lambda: data))


def _caption(place: Place, lines: Sequence[Line], body: float) -> str:
    """The line right below a picture, or above it, if it looks like a caption."""
    left, bottom, right, top = place
    for line in lines:
        if line.right < left or line.left > right or not pdf_lines.is_short(line, 30):
            continue
        is_below, is_above = 0 <= bottom - line.top < 2.5 * line.size, 0 <= line.bottom - top < 1.5 * line.size
        if (is_below or is_above) and pdf_lines.CAPTION.match(line.text):
            return line.text
        if is_below and line.size < 0.95 * body:
            return line.text
    return ""
