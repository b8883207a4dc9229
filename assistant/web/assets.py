"""Scripts, styles and pictures of our pages: under addresses that name their content, compressed, cached for a year.

An address holds a digest of the file's folder (``widget``, ``console``, ``vendor``), so that modules and style sheets
name their neighbours by relative addresses, and always get those of the same version. Pages name files by
``url_for("static", filename="widget/widget.js")``. The files are read once in the life of a process.

A script that imports others is served as one file with them: on a slow line a request costs more than what it brings.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import posixpath
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
_IMPORT = re.compile(r'^import (?:(\{[^}]*\}) from )?"(\.{1,2}/[\w./]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
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
        texts = {name: _read(name, path) for name, path in paths.items()}
        self._files = {name: Content.of(_bundled(name, texts), _type_of(paths[name])) for name in paths}
        self._versions = {room: self._version(room) for room in {_room(name) for name in self._files}}

    def register(self, app: Flask) -> None:
        """Serve them as the endpoint ``static``."""
        app.add_url_rule(f"/static/<string(length={_DIGITS}):version>/<path:filename>", "static", self._serve)
        app.url_defaults(self._name_version)

    def text(self, filename: str) -> str:
        return self._files[filename].body.decode()

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


def _bundled(name: str, texts: dict[str, bytes]) -> bytes:
    """A module together with those that it imports, each in a function of its own, in the order in which they run.

    Understands what our modules say: they import by name and export functions, classes and constants where they define
    them.
    """
    own = texts[name]
    if not name.endswith(".js") or _room(name) == "vendor" or not _IMPORT.search(own.decode()):
        return own
    order = _dependencies(name, texts)
    numbers = {module: number for number, module in enumerate(order)}
    return "".join(_enclosed(module, texts[module].decode(), numbers) for module in order).encode()


def _dependencies(name: str, texts: dict[str, bytes], above: tuple[str, ...] = ()) -> list[str]:
    """The module and those that it imports, each after what it needs itself."""
    if name in above:
        raise ValueError(f"modules import each other: {' -> '.join((*above, name))}")
    found: dict[str, None] = {}
    for _, address in _IMPORT.findall(texts[name].decode()):
        found |= dict.fromkeys(_dependencies(_neighbour(name, address), texts, (*above, name)))
    return [*found, name]


def _enclosed(name: str, text: str, numbers: dict[str, int]) -> str:
    def imported(match: re.Match[str]) -> str:
        names, address = match.groups()
        return f"const {names.replace(' as ', ': ')} = $[{numbers[_neighbour(name, address)]}];\n" if names else ""

    exported = ", ".join(_EXPORT.findall(text))
    body = _EXPORT.sub("", _IMPORT.sub(imported, text))
    opening = "const $ = [];\n" if numbers[name] == 0 else ""
    return f"{opening}$[{numbers[name]}] = (() => {{\n{body}return {{ {exported} }};\n}})();\n"


def _neighbour(name: str, address: str) -> str:
    return posixpath.normpath(f"{posixpath.dirname(name)}/{address}")


def _type_of(path: Path) -> str:
    return _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
