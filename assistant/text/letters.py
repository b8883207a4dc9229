"""The words of a mail, once as plain text and once as simple HTML. Everything in it is escaped: it quotes strangers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape

from assistant.wording import direction

# What agents and the assistant write may have words in bold and code, as the widget shows them.
_MARKS = re.compile(r"\*\*([^*\n]+)\*\*|`([^`\n]+)`")
_PAGE = """\
<!DOCTYPE html>
<html lang="{language}" dir="{direction}">
<head><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>{subject}</title></head>
<body style="margin:0 auto;padding:24px;max-width:600px;font:16px/1.5 sans-serif">
{body}
</body>
</html>
"""


@dataclass(frozen=True)
class Paragraph:
    text: str

    def plain(self) -> str:
        return self.text

    def html(self) -> str:
        return f"<p>{_lines(self.text)}</p>"


@dataclass(frozen=True)
class Small(Paragraph):
    """What stands at the end: why somebody gets this mail, and how to get no more."""

    def html(self) -> str:
        return f'<p style="font-size:13px;opacity:.75">{_lines(self.text)}</p>'


@dataclass(frozen=True)
class Code:
    """Something to be typed elsewhere."""

    text: str

    def plain(self) -> str:
        return f"    {self.text}"

    def html(self) -> str:
        return f'<p style="font:bold 28px/1.5 monospace;letter-spacing:4px" dir="ltr">{escape(self.text)}</p>'


@dataclass(frozen=True)
class Link:
    label: str
    url: str
    small: bool = False

    def plain(self) -> str:
        return f"{self.label}:\n{self.url}"

    def html(self) -> str:
        style = ' style="font-size:13px;opacity:.75"' if self.small else ""
        return f'<p{style}><a href="{escape(self.url)}">{escape(self.label)}</a></p>'


@dataclass(frozen=True)
class Said:
    """A message of the conversation: who said it and when, in words."""

    author: str
    when: str
    text: str

    def plain(self) -> str:
        quoted = "\n".join(f"> {line}".rstrip() for line in self.text.splitlines())
        return f"{self.author} ({self.when}):\n{quoted}"

    def html(self) -> str:
        head = f'<b>{escape(self.author)}</b> <span style="opacity:.75">{escape(self.when)}</span>'
        style = "margin:4px 0 16px;padding-inline-start:12px;border-inline-start:3px solid #8886"
        said = _MARKS.sub(_marked, _lines(self.text))
        return f'<p style="margin:16px 0 0">{head}</p><div dir="auto" style="{style}">{said}</div>'


Block = Paragraph | Code | Link | Said


@dataclass(frozen=True)
class Letter:
    """``language``: one of `wording.LANGUAGES`."""

    subject: str
    blocks: tuple[Block, ...]
    language: str

    def plain(self) -> str:
        return "\n\n".join(block.plain() for block in self.blocks) + "\n"

    def html(self) -> str:
        body = "\n".join(block.html() for block in self.blocks)
        return _PAGE.format(
            language=self.language, direction=direction(self.language), subject=escape(self.subject), body=body
        )


def _lines(text: str) -> str:
    return "<br>\n".join(escape(line) for line in text.splitlines())


def _marked(found: re.Match[str]) -> str:
    bold, code = found.groups()
    return f"<b>{bold}</b>" if bold is not None else f"<code>{code}</code>"
