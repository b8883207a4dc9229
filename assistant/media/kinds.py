"""Kinds of files that are not photos, and what opening them might do to whoever opens them.

A file is ordinary only if its name has an extension that is allowed and its bytes are of that kind. Everything else has
a `Risk`. Nothing is unpacked or parsed: only signatures, and names that stand uncompressed in archives.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from enum import StrEnum
from pathlib import PurePath


class Risk(StrEnum):
    PROGRAM = "program"  # runs when it is opened
    MACROS = "macros"  # a document with a program in it
    ACTIVE = "active"  # a page or drawing with scripts, or a document that starts something
    ARCHIVE = "archive"  # an archive with one of these in it
    DISGUISE = "disguise"  # its bytes are not what its name says
    UNKNOWN = "unknown"  # a kind that is not on the list


# Extensions of the default list, with what their bytes are: see `_content`.
_EXTENSIONS: dict[str, frozenset[str]] = {
    **dict.fromkeys(["pdf"], frozenset({"pdf"})),
    **dict.fromkeys(["docx", "xlsx", "pptx", "odt", "ods", "odp", "epub", "pages", "numbers"], frozenset({"zip"})),
    **dict.fromkeys(["doc", "xls", "ppt", "msg"], frozenset({"ole"})),
    "rtf": frozenset({"rtf"}),
    **dict.fromkeys(
        ["txt", "log", "csv", "tsv", "md", "json", "yaml", "yml", "ini", "ics", "vcf"], frozenset({"text"})
    ),
    **dict.fromkeys(["eml", "xml", "gpx"], frozenset({"text"})),
    "zip": frozenset({"zip"}),
    "gz": frozenset({"gzip"}),
    "7z": frozenset({"7z"}),
    "tar": frozenset({"tar"}),
    **dict.fromkeys(["mp4", "mov", "m4a", "m4v", "3gp"], frozenset({"iso"})),
    **dict.fromkeys(["webm", "mkv"], frozenset({"matroska"})),
    **dict.fromkeys(["mp3"], frozenset({"mp3"})),
    **dict.fromkeys(["ogg", "oga", "opus"], frozenset({"ogg"})),
    "wav": frozenset({"riff"}),
}
DEFAULT_EXTENSIONS = tuple(_EXTENSIONS)

_PROGRAMS = (
    b"MZ",
    b"\x7fELF",
    b"\xca\xfe\xba\xbe",
    b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe",
    b"\xfe\xed\xfa",
    b"#!",
    b"dex\n",
)
_SHORTCUT = b"L\0\0\0\x01\x14\x02\0"
_SIGNATURES = (
    (0, b"%PDF-", "pdf"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"PK\x05\x06", "zip"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
    (0, b"{\\rtf", "rtf"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (257, b"ustar", "tar"),
    (4, b"ftyp", "iso"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"ID3", "mp3"),
    (0, b"\xff\xfb", "mp3"),
    (0, b"\xff\xf3", "mp3"),
    (0, b"\xff\xf2", "mp3"),
    (0, b"OggS", "ogg"),
    (0, b"RIFF", "riff"),
)
# Programs by name, on some system: what a double click runs.
_RUNNABLE = frozenset(
    """exe dll com scr pif cpl msi msp msix appx bat cmd ps1 psm1 vbs vbe js jse mjs wsf wsh hta lnk url reg inf scf jar
    class apk app dmg pkg deb rpm run bin sh bash zsh command workflow desktop elf so py pyw pyc rb pl php jsp asp aspx
    cgi iso img vhd vhdx one chm settingcontent-ms library-ms search-ms xll wll ocx sys gadget application""".split()
)
_MACRO = frozenset("docm dotm xlsm xltm xlam xlsb pptm potm ppsm ppam sldm".split())
_ACTIVE = frozenset("html htm xhtml xht mht mhtml shtml svg svgz xsl xslt swf".split())
_MACRO_MARKS = (b"vbaProject.bin", b"_\0V\0B\0A\0_\0P\0R\0O\0J\0E\0C\0T", b"Basic/script-lc.xml", b"macrosheets/")
_PDF_ACTIONS = re.compile(rb"/(?:JavaScript|JS|Launch|EmbeddedFile|RichMedia|XFA)\b")
# Markup that browsers run, at the beginning of a text.
_MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?[\s\0]{0,100}<(?:!doctype\s+(?:html|svg)|html|head|body|script|svg|iframe|\?php|%)",
    re.IGNORECASE,
)
_ENTRY = b"PK\x01\x02"
_MOST_ENTRIES = 20_000


def risk_of(filename: str, data: bytes, *, allowed: Collection[str] = DEFAULT_EXTENSIONS) -> Risk | None:
    """What opening the file might do; None for an ordinary one. ``allowed``: extensions in lower case, without dot."""
    extension = PurePath(filename.rstrip(" .")).suffix[1:].lower()
    content = _content(data)
    if content == "program" or extension in _RUNNABLE:
        return Risk.PROGRAM
    if extension in _MACRO or (content in ("zip", "ole") and any(mark in data for mark in _MACRO_MARKS)):
        return Risk.MACROS
    starts_something = (content == "pdf" and _PDF_ACTIONS.search(data)) or (content == "rtf" and b"\\objdata" in data)
    if extension in _ACTIVE or content == "markup" or starts_something:
        return Risk.ACTIVE
    if extension not in allowed:
        return Risk.UNKNOWN
    if content not in _EXTENSIONS.get(extension, frozenset({content})):
        return Risk.DISGUISE
    return Risk.ARCHIVE if content == "zip" and _holds_risk(data) else None


def _content(data: bytes) -> str:
    """The kind of file by its bytes: `text` for readable text, `unknown` for anything without a signature."""
    if data.startswith((*_PROGRAMS, _SHORTCUT)):
        return "program"
    if _MARKUP.match(data[:512]) or _MARKUP.match(_narrow(data[:1024])):
        return "markup"
    found = next((kind for offset, magic, kind in _SIGNATURES if data.startswith(magic, offset)), None)
    if found is not None:
        return found
    is_text = not any(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in _narrow(data[:65_536]))
    return "text" if is_text else "unknown"


def _narrow(data: bytes) -> bytes:
    """UTF-16 with a mark at its beginning as bytes of one each; anything else as it is."""
    if data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return data
    return data[: len(data) // 2 * 2].decode("utf-16", "replace").encode("utf-8", "replace")


def _holds_risk(data: bytes) -> bool:
    """Whether the directory of a ZIP archive names a program, a macro or a page. One too long to read is a risk."""
    position = data.find(_ENTRY)
    for _ in range(_MOST_ENTRIES):
        if position < 0:
            return False
        length = int.from_bytes(data[position + 28 : position + 30], "little")
        name = data[position + 46 : position + 46 + length].decode("utf-8", "replace").lower()
        if name.rstrip(" .").rpartition(".")[2] in _RUNNABLE | _MACRO | _ACTIVE:
            return True
        position = data.find(_ENTRY, position + 46)
    return True
