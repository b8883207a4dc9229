"""The parts of a Word file and how they refer to each other.

Read leniently: macros and embedded programs are never looked at, a reference to a part that is missing leads nowhere,
and documents, templates, files with macros and the strict standard differ in nothing that matters here.
"""

from __future__ import annotations

import io
import posixpath
import zipfile
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import unquote

from assistant.errors import Invalid, TooLarge

_MOST_UNPACKED = 300_000_000
_MOST_PARTS = 5_000
_PROTECTED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # an OLE container: an old .doc, or a DOCX behind a password
_DAMAGED = "is not a Word file, or is damaged"


@dataclass(frozen=True)
class Relation:
    """``kind``: the last step of its type, such as "hyperlink". ``target``: a part's name, or an address."""

    kind: str
    target: str
    is_external: bool


class Package:
    """Raises `Invalid` for what is no Word file, and `TooLarge` for one that unpacks to too much, before unpacking."""

    def __init__(self, data: bytes) -> None:
        if data.startswith(_PROTECTED):
            raise Invalid("is an old .doc file or password-protected. Save it as DOCX without a password")
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
            parts = self._archive.infolist()
        except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError) as error:
            raise Invalid(_DAMAGED) from error
        unpacked = sum(part.file_size for part in parts)
        if len(parts) > _MOST_PARTS or unpacked > _MOST_UNPACKED:
            raise TooLarge(f"would unpack to {unpacked / 1e6:,.0f} MB in {len(parts):,} parts", limit=_MOST_UNPACKED)
        self._names = {part.filename.lstrip("/").lower(): part.filename for part in parts}
        self.relations = cache(self._relations)
        self.main = next((one.target for one in self.relations("").values() if one.kind == "officeDocument"), "")
        self.document = self.xml(self.main)
        if self.document is None or not str(self.document.tag).endswith("}document"):
            raise Invalid(_DAMAGED)

    def bytes_of(self, part: str) -> bytes | None:
        """A part's bytes; None if it is missing or damaged."""
        found = self._names.get(part.lower())
        try:
            return self._archive.read(found) if found is not None else None
        except (zipfile.BadZipFile, ValueError, EOFError, OSError, RuntimeError, NotImplementedError):
            return None
        except Exception as error:
            if type(error).__name__ in ("error", "LZMAError"):  # zlib's and bz2's own
                return None
            raise

    def xml(self, part: str) -> Any:
        """A part's root element; None if it is missing or damaged. No entity is expanded and nothing is fetched."""
        import lxml.etree

        data = self.bytes_of(part)
        try:
            parser = lxml.etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
            return lxml.etree.fromstring(data, parser) if data else None
        except lxml.etree.XMLSyntaxError:
            return None

    def one(self, kind: str) -> Any:
        """The root of the document's part of that kind, such as "styles", and its name; (None, "") without one."""
        part = next((one.target for one in self.relations(self.main).values() if one.kind == kind), "")
        return self.xml(part), part

    def _relations(self, part: str) -> dict[str, Relation]:
        """Id to relation, of a part or ("") of the whole package."""
        folder, own = posixpath.split(part)
        root = self.xml(posixpath.join(folder, "_rels", f"{own}.rels"))
        found = {}
        for one in root if root is not None else ():
            target, kind = one.get("Target") or "", (one.get("Type") or "").rpartition("/")[2]
            is_external = one.get("TargetMode") == "External"
            if not is_external:
                target = posixpath.normpath(posixpath.join("/", folder, unquote(target))).lstrip("/")
            found[one.get("Id") or ""] = Relation(kind, target, is_external)
        return found
