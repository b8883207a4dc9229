"""Markdown: blocks are paragraphs, whole lists and whole tables, as written."""

from __future__ import annotations

import re
from typing import Any

from assistant.retrieval.sources.article import Outline, Reading
from assistant.retrieval.sources.images import NamedPicture, PictureFinder, no_pictures

_COMMENT = re.compile(r"^[ ]{0,3}<!--.*?-->", re.DOTALL | re.MULTILINE)
# Nothing in a picture or link contains another one, and no quantifier gives back what it has taken: so none is slow.
_IMAGE = re.compile(
    r"!\[((?:(?!!\[)[^\]])*+)\]\(\s*+<?((?:(?!!\[)[^)\s>])*+)>?(?:\s++[\"'(]((?:(?!!\[)[^)\"'])*+)[\"')])?\s*+\)"
)
_LINK = re.compile(r"!?\[([^\[\]]*)\]\((?:(?!\]\()[^)])*\)")


def read_markdown(text: str, pictures: PictureFinder = no_pictures) -> Reading:
    """Titled by its first top heading."""
    from markdown_it import MarkdownIt

    # Comments are not part of the page.
    text = _COMMENT.sub("", text)
    tokens = MarkdownIt("commonmark", {"html": False}).enable("table").parse(text)
    lines = text.split("\n")
    outline = Outline()
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token.type == "heading_open":
            outline.heading(int(token.tag[1]), _plain(tokens[index + 1].content))
        elif token.level == 0 and token.map is not None and not token.type.endswith("_close"):
            block = "\n".join(lines[token.map[0] : token.map[1]])
            _add(outline, block, pictures, is_code=token.type in ("fence", "code_block"))
        index = _next_block(tokens, index)
    return outline.reading()


def _add(outline: Outline, block: str, pictures: PictureFinder, *, is_code: bool) -> None:
    """The block's text, with descriptions in place of pictures, then its pictures. A picture alone is not text."""
    if is_code:
        outline.block(block)
        return
    if _IMAGE.sub("", block).strip():
        outline.block(_IMAGE.sub(r"\1", block))
    for alt, reference, title in _IMAGE.findall(block):
        picture = pictures(NamedPicture(reference, _plain(alt), _plain(title)))
        if picture is not None:
            outline.picture(picture)
        elif alt and not _IMAGE.sub("", block).strip():
            outline.block(alt)  # the description is still worth having


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
