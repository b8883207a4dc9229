"""Scripts, styles and pictures of our pages: under addresses that name their content, compressed, cached for a year.

An address holds a digest of the file's folder (``widget``, ``console``, ``vendor``), so that modules and style sheets
import their neighbours by relative addresses, and always those of the same version. Pages name files by
``url_for("static", filename="widget/widget.js")``. The files are read once in the life of a process.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

FOLDER = Path(__file__).parent / "static"
_YEAR = 31_536_000
_DIGITS = 16
# Comments and indentation of scripts and styles of ours: a fifth of their compressed size.
_REMARKS = {
    ".js": re.compile(r"^[ \t]*(//.*|/\*\*[\s\S]*?\*/)\n|[ \t]+// .*$|^[ \t]+", re.MULTILINE),
    ".css": re.compile(r"^[ \t]*/\*[^*]*\*/\n|^[ \t]+", re.MULTILINE),
}
_IMPORT = re.compile(r'^(?:import|export)\b[^"]*"\./([\w.]+)";$', re.MULTILINE)
# Where the system's table lacks one of these or has another, browsers refuse modules.
_TYPES = {".js": "text/javascript", ".ts": "text/plain", ".css": "text/css", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Content:
    """A body and its compressed form, which is empty if it is no shorter."""

    body: bytes
    compressed: bytes
    mimetype: str
    digest: str

    @classmethod
    def of(cls, body: bytes, mimetype: str) -> Content:
        compressed = gzip.compress(body, mtime=0)
        shorter = compressed if len(compressed) < len(body) else b""
        return cls(body, shorter, mimetype, hashlib.sha256(body).hexdigest()[:_DIGITS])

    def respond(self) -> Response:
        """In the form that the client takes; 304 if it has it already."""
        is_compressed = bool(self.compressed) and request.accept_encodings["gzip"] > 0
        response = Response(self.compressed if is_compressed else self.body, mimetype=self.mimetype)
        response.vary.add("Accept-Encoding")
        if is_compressed:
            response.content_encoding = "gzip"
        response.set_etag(f"{self.digest}-gzip" if is_compressed else self.digest)
        response.make_conditional(request)
        return response


class Assets:
    """The files of a folder, by their paths in it."""

    def __init__(self, folder: Path) -> None:
        paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        self._files = {name: Content.of(_read(name, path), _type_of(path)) for name, path in paths.items()}
        self._versions = {room: self._version(room) for room in {_room(name) for name in self._files}}

    def register(self, app: Flask) -> None:
        """Serve them as the endpoint ``static``."""
        app.add_url_rule(f"/static/<string(length={_DIGITS}):version>/<path:filename>", "static", self._serve)
        app.url_defaults(self._name_version)
        app.add_template_global(self.imports_of, "imports_of")

    def text(self, filename: str) -> str:
        return self._files[filename].body.decode()

    def imports_of(self, filename: str) -> list[str]:
        """The modules that a module imports, and those that they import: a page has them fetched all at once."""
        found: dict[str, None] = {}
        waiting = [filename]
        while waiting:
            script = self.text(waiting.pop())
            names = [f"{_room(filename)}/{name}" for name in _IMPORT.findall(script)]
            waiting += [name for name in names if name not in found]
            found |= dict.fromkeys(names)
        return sorted(found)

    def _serve(self, version: str, filename: str) -> Response:
        if filename not in self._files:
            raise NotFound
        response = self._files[filename].respond()
        if version == self._versions[_room(filename)]:
            keep_for_ever(response)
        else:  # a page from before an upgrade: no cache may take this for the file that had the address
            response.cache_control.no_cache = True
        return response

    def _name_version(self, endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static":
            values.setdefault("version", self._versions[_room(values["filename"])])

    def _version(self, room: str) -> str:
        known = hashlib.sha256()
        for name, content in self._files.items():
            if _room(name) == room:
                known.update(f"{name} {content.digest}\n".encode())
        return known.hexdigest()[:_DIGITS]


@cache
def assets() -> Assets:
    return Assets(FOLDER)


def keep_for_ever(response: Response) -> None:
    """Tell caches that what is at this address never changes."""
    response.cache_control.public = True
    response.cache_control.max_age = _YEAR
    response.cache_control.immutable = True


def _room(filename: str) -> str:
    return filename.partition("/")[0]


def _read(name: str, path: Path) -> bytes:
    remarks = _REMARKS.get(path.suffix)
    if remarks is None or _room(name) == "vendor":
        return path.read_bytes()
    return remarks.sub("", path.read_text(encoding="utf-8")).encode()


def _type_of(path: Path) -> str:
    return _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
