"""Markdown: blocks are paragraphs, whole lists and whole tables, as written. HTML in it is read as on a page."""

from __future__ import annotations

import re
from typing import Any

from assistant.errors import TooLarge
from assistant.retrieval.sources.article import Outline, Picture, Reading
from assistant.retrieval.sources.images import NamedPicture, PictureFinder, no_pictures
from assistant.retrieval.sources.inline import all_text
from assistant.retrieval.sources.page import fill

# Nothing in a picture or link contains another one, and no quantifier gives back what it has taken: so none is slow.
_IMAGE = re.compile(
    r"!\[((?:(?!!\[)[^\]])*+)\]\(\s*+<?((?:(?!!\[)[^)\s>])*+)>?(?:\s++[\"'(]((?:(?!!\[)[^)\"'])*+)[\"')])?\s*+\)"
)
_ONLY_PICTURES = re.compile(r"\s*(?:\0[^\0]*\0\s*)+")  # a line of them, each between zeros
_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:(?!\]\()[^)])*\)")
_REFERENCE = re.compile(r"(?<!!)\[([^\[\]]{1,1000})\](?:\[([^\[\]]{0,200})\])?(?![\[(:])")
_CODE = re.compile(r"(?<!`)(`{1,3})(?!`)[^`]{1,2000}\1(?!`)")
_COMMENT = re.compile(r"<!--(?:(?!-->|<!--).)*+-->", re.DOTALL)
_DETAILS = re.compile(r"<(/?)details\b[^<>]*+>", re.IGNORECASE)
_SUMMARY = re.compile(r"\s{0,100}<summary\b[^<>]*+>((?:(?!</?summary).){0,2000})</summary>", re.IGNORECASE | re.DOTALL)
# Tags within a line. Others, such as <your name>, are text.
_STRUCK = re.compile(r"<(del|s|strike)>[^<]{0,2000}</\1>|~~[^~\n]{1,2000}~~", re.IGNORECASE)
_BREAK = re.compile(r"<br\s{0,3}/?>[ \t]{0,20}\n?", re.IGNORECASE)
_SUPERSCRIPT = re.compile(r"<sup>([0-9+-]{1,20})</sup>", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:a|b|big|center|em|font|i|ins|kbd|mark|small|span|strong|sub|sup|u|wbr)(?:\s[^<>]*+)?/?>", re.IGNORECASE
)
_HTML_IMAGE = re.compile(r"<img\s[^<>]{1,2000}>", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"""\b(alt|src|title)\s?=\s?(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_SUPERSCRIPTS = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_FOLDED = 7  # below every heading
_MOST_PIECES = 20_000  # of HTML


def read_markdown(text: str, pictures: PictureFinder = no_pictures, *, html: bool = True) -> Reading:
    """Titled by its first top heading. Without ``html``, tags are text."""
    from markdown_it import MarkdownIt

    env: dict[str, Any] = {}
    tokens = MarkdownIt("commonmark", {"html": html}).enable("table").parse(text, env)
    lines = text.split("\n")
    outline = Outline()
    outline.found.append(all_text(text) if html else text)
    reader = _Reader(outline, pictures, env.get("references", {}), html=html)
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token.type == "heading_open":
            outline.heading(reader.level(int(token.tag[1])), _plain(reader.clean(tokens[index + 1].content)))
        elif token.level == 0 and token.map is not None and not token.type.endswith("_close"):
            block = "\n".join(lines[token.map[0] : token.map[1]])
            if token.type == "html_block":
                reader.html(block)
            elif token.type in ("fence", "code_block"):
                outline.block(block)
            else:
                reader.block(block)
        index = _next_block(tokens, index)
    return outline.reading()


class _Reader:
    def __init__(self, outline: Outline, pictures: PictureFinder, references: dict[str, Any], *, html: bool) -> None:
        self._has_html = html
        self._outline = outline
        self._pictures = pictures
        self._references = references
        self._folds = 0
        self._pieces = 0

    def level(self, level: int) -> int:
        """Headings in a folded part are below it."""
        return 10 * self._folds + level

    def block(self, block: str) -> None:
        """The block's text, then its pictures. Between words and where there is no picture, its description is text."""
        block = self.clean(block, in_table=block.lstrip().startswith("|"))
        shown: list[Picture] = []

        def say(image: re.Match[str]) -> str:
            alt, reference, title = image.groups("")
            picture = self._pictures(NamedPicture(reference, _plain(alt), _plain(title)))
            if picture is None:
                return alt
            shown.append(picture)
            return f"\0{alt}\0"

        lines = _IMAGE.sub(say, block).split("\n")
        text = "\n".join(line for line in lines if not _ONLY_PICTURES.fullmatch(line)).replace("\0", "")
        if text.strip():
            self._outline.block(text)
        for picture in shown:
            self._outline.picture(picture)

    def html(self, block: str) -> None:
        """A piece of a page. The parts of a folded one may be Markdown again, after an empty line."""
        if block.lstrip().startswith("<!--") and "-->" not in block:
            self._outline.left_out["comment without an end"].append(block)
            self._outline.found.append(block)
            return
        ends = 0
        for tag in _DETAILS.finditer(block):
            self._page(block[ends : tag.start()])
            ends = tag.end()
            if tag.group(1):
                self._folds = max(0, self._folds - 1)
                self._outline.leave(self.level(_FOLDED))
                continue
            if (summary := _SUMMARY.match(block, ends)) is not None:
                self._outline.heading(self.level(_FOLDED), " ".join(all_text(summary.group(1)).split()))
                ends = summary.end()
            self._folds += 1
        self._page(block[ends:])

    def _page(self, piece: str) -> None:
        if _COMMENT.sub("", piece).strip():
            self._pieces += 1
            if self._pieces > _MOST_PIECES:
                raise TooLarge(f"has more than {_MOST_PIECES:,} pieces of HTML. Split it", limit=_MOST_PIECES)
            fill(piece, self._outline, self._pictures, depth=self._folds)

    def clean(self, text: str, *, in_table: bool = False) -> str:
        """Text without tags, comments and what is struck out; code stays as it is. Links have their addresses."""
        if not self._has_html or ("<" not in text and "~~" not in text and not self._references):
            return text
        parts, start = [], 0
        for code in _CODE.finditer(text):
            parts += [self._without_tags(text[start : code.start()], in_table=in_table), code.group()]
            start = code.end()
        return "".join([*parts, self._without_tags(text[start:], in_table=in_table)])

    def _without_tags(self, text: str, *, in_table: bool) -> str:
        text = _COMMENT.sub("", text)
        for struck in _STRUCK.finditer(text):
            self._outline.left_out["struck out"].append(struck.group())
        text = _BREAK.sub(" " if in_table else "\n", _STRUCK.sub("", text))
        text = _HTML_IMAGE.sub(_image, _SUPERSCRIPT.sub(lambda sup: sup.group(1).translate(_SUPERSCRIPTS), text))
        return _REFERENCE.sub(self._link, _TAG.sub("", text))

    def _link(self, link: re.Match[str]) -> str:
        name = " ".join((link.group(2) or link.group(1)).split()).upper()
        known = self._references.get(name)
        return f"[{link.group(1)}]({known['href']})" if known is not None else link.group()


def _image(tag: re.Match[str]) -> str:
    """As Markdown writes it."""
    said = {name.lower(): "".join(values) for name, *values in _ATTRIBUTE.findall(tag.group())}
    title = f' "{said["title"]}"' if said.get("title") else ""
    return f"![{said.get('alt', '')}]({said.get('src', '').replace(' ', '%20')}{title})"


def _next_block(tokens: list[Any], index: int) -> int:
    """The index after the block that starts at ``index``."""
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
    return _LINK.sub(r"\1", re.sub(r"[*`]|(?<!\w)_+|_+(?!\w)", "", inline)).strip()
