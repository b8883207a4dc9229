"""Responses: errors as problem documents (RFC 9457), changes as server-sent events, files as inert bytes."""

from __future__ import annotations

import gzip
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from time import monotonic
from typing import Any, Literal
from urllib.parse import quote

import structlog
from flask import Flask, Response, request, stream_with_context
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from assistant.desk import feed
from assistant.desk.attachments import read_file
from assistant.desk.desk import Desk
from assistant.desk.events import Audience
from assistant.errors import AssistantError, Invalid, NotFound, RateLimited, TooLarge, Unavailable, Unsupported
from assistant.faults import FAULTS, passing_fault
from assistant.media.files import Upload
from assistant.models import Attachment, AttachmentKind, Event, Figure
from assistant.web.context import stopping
from assistant.wording import Notice

log = structlog.get_logger(__name__)

# What a page of the console returns.
Reply = str | BaseResponse | tuple[str, int]
# Of a stream: an event's id, name and data.
Frame = tuple[int, str, Any]

_TEXTS = ("application/json", "application/problem+json")
_WORTH_IT = 1000  # bytes
_JPEG = b"\xff\xd8"
PING_EVERY = 12.0
# A stream ends after this many seconds and the browser reconnects with its last event id. This finds dead peers.
STREAM_FOR = 300.0
# Flask's own refusals carry the same codes as ours.
_CODES = {415: Unsupported.code}


def problem(status: int, code: str, detail: str, **fields: Any) -> Response:
    """A problem document: ``code`` is stable, ``detail`` says what is wrong and what to do."""
    body = {"type": f"urn:assistant:{code}", "title": HTTPStatus(status).phrase, "status": status, "code": code}
    response = Response(
        json.dumps({**body, "detail": detail, **fields}), status=status, mimetype="application/problem+json"
    )
    if "retry_after" in fields:
        response.headers["Retry-After"] = _retry_after(fields["retry_after"])
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _retry_after(seconds: float) -> str:
    return str(max(1, round(seconds)))


def problem_from(error: AssistantError) -> Response:
    fields = error.fields if error.notice is None else {**error.fields, "notice": error.notice.to_json()}
    return problem(error.status, error.code, error.message, **fields)


def problem_from_http(error: HTTPException) -> Response:
    """Flask's own refusals (404, 405, 413, ...) as problem documents."""
    status = error.code or 500
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return problem_from(_too_large())
    response = problem(status, _CODES.get(status, HTTPStatus(status).name.lower()), error.description or "")
    allow = getattr(error, "valid_methods", None)
    if allow:
        response.headers["Allow"] = ", ".join(allow)
    return response


def _too_large() -> TooLarge:
    limit = request.max_content_length
    if request.content_length is None or limit is None or request.content_length <= limit:
        return TooLarge("The form's text is too large. Please shorten it.")
    return TooLarge(Notice("request_too_large", {"megabytes": limit / 1e6}))


def register_problems(app: Flask, *, page: Callable[[int, str], Response]) -> None:
    """Errors become problem documents; under /console they become the HTML ``page(status, message)``."""

    def answer(error: AssistantError | HTTPException) -> Response:
        if request.path.startswith("/console"):
            status = error.status if isinstance(error, AssistantError) else error.code or 500
            shown = page(status, error.message if isinstance(error, AssistantError) else error.description or "")
            if isinstance(error, Unavailable):
                shown.headers["Retry-After"] = _retry_after(error.retry_after)
            return shown
        return problem_from(error) if isinstance(error, AssistantError) else problem_from_http(error)

    def unavailable(error: Unavailable) -> Response:
        FAULTS.tell(error, error, route=_route())
        return answer(error)

    def unexpected(error: Exception) -> Response:
        if (fault := passing_fault(error)) is not None:
            FAULTS.tell(fault, error, route=_route())
            return answer(fault)
        log.exception("request.failed", route=_route())
        message = "Something went wrong on our side and has been logged. Please try again."
        return page(500, message) if request.path.startswith("/console") else problem(500, "internal_error", message)

    def refused(error: HTTPException) -> Response:
        """Also an error that another handler raised: Flask wraps it."""
        cause = getattr(error, "original_exception", None)
        return unexpected(cause) if cause is not None else answer(error)

    app.register_error_handler(AssistantError, answer)
    app.register_error_handler(Unavailable, unavailable)
    app.register_error_handler(HTTPException, refused)
    app.register_error_handler(Exception, unexpected)


def _route() -> str:
    """The rule that a request met: its path, and what was asked for, may name a customer."""
    return f"{request.method} {request.url_rule.rule if request.url_rule is not None else '(none)'}"


def event_stream(
    desk: Desk,
    *,
    conversation_id: int | None,
    audience: Audience,
    name: Callable[[Event], str | None] | None = None,
    with_payload: bool = True,
    ended: Callable[[], bool] | None = None,
    ping_every: float = PING_EVERY,
    ping: str = ": ping\n\n",
) -> Response:
    """Server-sent events from where the client stopped (``Last-Event-ID``), else from now on.

    ``name`` renames an event, or returns None to skip it. Without payload the client learns only that something
    happened: for streams of conversations that the reader may not see. ``ended`` is polled about once a second.
    ``ping``: what is sent while nothing happens, by default a comment, which scripts do not see.
    """
    start = last_event_id(desk, conversation_id)
    named = name or (lambda event: event.kind)

    def frames(batch: Sequence[Event]) -> list[Frame]:
        found = ((event.id, named(event), event.payload if with_payload else {}) for event in batch)
        return [(event_id, kind, data) for event_id, kind, data in found if kind is not None]

    batches = feed.follow(desk.db, start, conversation_id=conversation_id, audience=audience)
    return stream(start, map(frames, batches), ended=ended, ping_every=ping_every, ping=ping)


def stream(
    start: int,
    batches: Iterator[Sequence[Frame]],
    *,
    ended: Callable[[], bool] | None = None,
    ping_every: float = PING_EVERY,
    ping: str = ": ping\n\n",
) -> Response:
    """Server-sent events after the one with the id ``start``: of ``batches``, an empty one of which comes about once a
    second. See `event_stream`."""
    stop = stopping()

    def frames() -> Iterator[str]:
        yield f"retry: 2000\nid: {start}\n\n"
        try:
            yield from _follow()
        except Exception as error:  # too late for another answer: the client connects again and is told then
            if (fault := passing_fault(error)) is None:
                raise
            FAULTS.tell(fault, error, route=_route())

    def _follow() -> Iterator[str]:
        ends_at, pinged_at = monotonic() + STREAM_FOR, monotonic()
        for batch in batches:
            if stop.is_set() or monotonic() > ends_at or (ended is not None and ended()):
                return
            for event_id, kind, data in batch:  # JSON escapes line ends: one line of data
                yield f"id: {event_id}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
            if batch:
                pinged_at = monotonic()
            elif monotonic() - pinged_at > ping_every:
                pinged_at = monotonic()
                yield ping

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(stream_with_context(frames()), mimetype="text/event-stream", headers=headers)


def last_event_id(desk: Desk, conversation_id: int | None = None) -> int:
    """Where the client stopped, else where the feed is."""
    given = request.headers.get("Last-Event-ID") or request.args.get("last_event_id")
    if given is None:
        with desk.db.read() as session:
            return feed.last_event_id(session, conversation_id=conversation_id)
    if not given.isascii() or not given.isdigit() or len(given) > 18:
        raise Invalid("Last-Event-ID must be the id of an event from this stream.", field="last_event_id")
    return int(given)


def compressed(response: Response) -> Response:
    """With gzip, if it is JSON of some length and the client takes that. Nothing secret of ours stands beside what a
    client chooses, so lengths tell nobody anything."""
    takes_it = request.accept_encodings.quality("gzip") > 0
    if response.mimetype not in _TEXTS or response.is_streamed or len(data := response.get_data()) < _WORTH_IT:
        return response
    response.vary.add("Accept-Encoding")
    if takes_it:
        response.set_data(gzip.compress(data, compresslevel=5))
        response.headers["Content-Encoding"] = "gzip"
    return response


def attachment_response(
    desk: Desk, attachment: Attachment, *, thumbnail: bool = False, is_kept: bool = False
) -> Response:
    """An attachment's bytes. Photos are shown inline; anything else is only ever a download.

    ``is_kept``: by the browser, for a day, where a page shows the same small version again and again."""
    is_photo = attachment.kind is AttachmentKind.PHOTO
    data = read_file(desk, attachment, thumbnail=thumbnail)
    content_type = "image/jpeg" if data.startswith(_JPEG) else attachment.content_type
    response = _inert(data, content_type if is_photo else "application/octet-stream")
    if not is_kept:
        response.headers["Cache-Control"] = "no-store"
    response.headers["Content-Disposition"] = disposition("inline" if is_photo else "attachment", attachment.filename)
    return response


def disposition(kind: Literal["inline", "attachment"], filename: str) -> str:
    """A Content-Disposition header (RFC 6266). Servers refuse headers outside Latin-1, and clients differ in how they
    read percent signs and backslashes, so any but a plain name is sent encoded, beside an ASCII one."""
    ascii_only = unicodedata.normalize("NFKD", filename).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^\w !#$&'()+,.;=@{}~-]", "_", ascii_only)
    if plain == filename:
        return f'{kind}; filename="{plain}"'
    stem, dot, extension = plain.rpartition(".")
    known = plain if stem.strip(" _") or not dot else f"file.{extension}"
    return f"{kind}; filename=\"{known or 'file'}\"; filename*=UTF-8''{quote(filename, safe='')}"


def figure_response(desk: Desk, figure: Figure, *, thumbnail: bool = False) -> Response:
    """A figure's bytes, normalised like a photo's: pixels without metadata."""
    if thumbnail:
        return _inert(desk.storage.get(figure.thumbnail_sha256), "image/jpeg")
    return _inert(desk.storage.get(figure.sha256), figure.content_type)


def picture_response(desk: Desk, sha256: str | None) -> Response:
    """A picture of a brand or a person. Raises `NotFound` if there is none."""
    if sha256 is None:
        raise NotFound("There is no picture.")
    return _inert(desk.storage.get(sha256), "image/jpeg")


def photo_response(data: bytes) -> Response:
    """A normalised photo."""
    return _inert(data, "image/png" if data.startswith(b"\x89PNG") else "image/jpeg")


def document_response(document: Upload) -> Response:
    """A PDF in the browser's own viewer, which a sandbox would turn off; scripts in it do not reach our pages."""
    response = Response(document.data, mimetype="application/pdf")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    response.headers["Content-Disposition"] = disposition("inline", document.filename)
    response.headers["Cache-Control"] = "private, max-age=300"
    return response


def _inert(data: bytes, content_type: str) -> Response:
    """Bytes that a browser may show but never run. They are addressed by content, so they may be cached."""
    response = Response(data, mimetype=content_type)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'; sandbox"
    response.headers["Cache-Control"] = "private, max-age=86400, immutable"
    return response


def too_many_requests(retry_after: float) -> RateLimited:
    return RateLimited(Notice("too_many_requests"), retry_after=retry_after)
