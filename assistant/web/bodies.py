"""Bodies of requests: their limits, JSON, and forms with files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import IO, Any, NoReturn, cast

import flask
from flask import current_app, request
from werkzeug.datastructures import FileStorage, Headers, MultiDict
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder, NeedData

from assistant.errors import Invalid, Unsupported
from assistant.settings import Settings

FORM = "multipart/form-data"
_TEXT_BYTES = 1_000_000
_PIECE = 65_536


def limits(settings: Settings) -> tuple[int, int]:
    """The greatest length of a body without files, and of a form with files."""
    text = max(_TEXT_BYTES, 12 * settings.message_max_chars)  # JSON may take 12 bytes for a character
    return text, settings.photo_max_bytes * settings.photos_per_message + text


def read_json(*, or_form: bool = False) -> dict[str, Any]:
    """The JSON object of the request; no body at all is an empty one. ``or_form``: a refusal names forms, too.

    Any other content type is refused: a page of another site can send text/plain without asking the browser first.
    """
    if request.mimetype != "application/json" and (request.content_length or "Transfer-Encoding" in request.headers):
        raise Unsupported(f"Send application/json, or {FORM}." if or_form else "Send application/json.")
    body = request.get_data(cache=False)
    try:
        data = json.loads(body or b"{}", parse_constant=_refuse, object_pairs_hook=_unique)
    except RecursionError as error:
        raise BadRequest("The JSON is nested too deeply.") from error
    except ValueError as error:
        raise BadRequest("The body is not valid JSON.") from error
    if not isinstance(data, dict):
        raise Invalid("The body must be a JSON object.")
    return data


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # NaN and Infinity are not JSON


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Readers differ in which of two values counts."""
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in data if names.count(name) > 1)[:100]
        raise Invalid(f"{twice}: given twice.", field=twice)
    return data


class FormParser(FormDataParser):
    """werkzeug's, but a malformed form is an error and not an empty form, and old clients' code pages are read."""

    def parse(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        if mimetype != FORM:
            return super().parse(stream, mimetype, content_length, options)
        boundary = (options or {}).get("boundary", "")
        if not boundary or not boundary.isascii():
            raise BadRequest("The form is malformed: the Content-Type has no boundary.")
        fields: list[tuple[str, str]] = []
        files: list[tuple[str, FileStorage]] = []
        with ExitStack() as opened:
            try:
                for part, content in self._parts(stream, boundary.encode(), content_length, opened):
                    if isinstance(part, Field):
                        fields.append((part.name, _decode(content.read(), part.headers)))
                    else:
                        files.append((part.name, FileStorage(content, part.filename, part.name, headers=part.headers)))
            except (
                ValueError,
                AttributeError,
            ) as error:  # werkzeug's decoder: AttributeError if a part has no line end
                reason = "a part has no Content-Disposition" if "Disposition" in str(error) else "it ends too early"
                raise BadRequest(f"The form is malformed: {reason}.") from error
            opened.pop_all()  # they are closed with the request
        return stream, self.cls(fields), cast("MultiDict[str, FileStorage]", self.cls(files))

    def _parts(
        self, stream: IO[bytes], boundary: bytes, content_length: int | None, opened: ExitStack
    ) -> Iterator[tuple[Field | File, IO[bytes]]]:
        decoder = _Decoder(boundary, self.max_form_memory_size, max_parts=self.max_form_parts)
        text_left = self.max_form_memory_size
        part: Field | File | None = None
        content: IO[bytes] | None = None
        event: Any = None
        while not isinstance(event, Epilogue):
            event = decoder.next_event()
            if isinstance(event, NeedData):
                decoder.receive_data(stream.read(_PIECE) or None)
            elif isinstance(event, Field | File):
                part = event
                if isinstance(event, Field):
                    content = io.BytesIO()
                else:
                    kind = event.headers.get("content-type")
                    content = opened.enter_context(self.stream_factory(content_length, kind, event.filename, None))
            elif isinstance(event, Data) and part is not None and content is not None:
                if isinstance(part, Field) and text_left is not None:
                    text_left -= len(event.data)
                    if text_left < 0:
                        raise RequestEntityTooLarge
                content.write(event.data)
                if not event.more_data:
                    content.seek(0)
                    yield part, content


class _Decoder(MultipartDecoder):
    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        return super()._parse_headers(_decode(bytes(data)).encode())


def _decode(data: bytes, headers: Headers | None = None) -> str:
    """UTF-8, or the charset that the part names, or else what old Western clients send."""
    named = parse_options_header(headers.get("content-type") if headers is not None else None)[1].get("charset", "")
    for charset in ("utf-8", named):
        try:
            return data.decode(charset or "utf-8")
        except (UnicodeDecodeError, LookupError):
            continue
    return data.decode("cp1252", "replace")


class Request(flask.Request):
    form_data_parser_class = FormParser


def set_limit() -> None:
    """Before each request: its body has the limit of its kind, a form that of files."""
    kind = "MAX_CONTENT_LENGTH" if request.mimetype == FORM else "MAX_FORM_MEMORY_SIZE"
    request.max_content_length = current_app.config[kind]
