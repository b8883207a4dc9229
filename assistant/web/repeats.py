"""Requests that are sent again are answered as the first time: see `desk.idempotency`."""

from __future__ import annotations

import time
from collections.abc import Mapping

from flask import Response, g

from assistant.desk import idempotency
from assistant.desk.idempotency import Answer, Once
from assistant.faults import passing_fault
from assistant.web.context import desk

REPLAYED = "Idempotent-Replayed"
_ANSWERED_WITHIN = 5.0  # seconds: all that is left to do is to write the answer
_HEADERS = ("Content-Type", "Location", "ETag")


def answer_of(once: Once, path: Mapping[str, str]) -> Response | None:
    """How the request was answered before; else, what `keep` needs is noted."""
    with desk().db.read() as session:
        answer = idempotency.answer_of(session, desk().settings, once, now=desk().now())
    if answer is None:
        g.once, g.path = once, path
        return None
    return _replayed(answer)


def awaited(once: Once, path: Mapping[str, str]) -> Response:
    """The answer of another request that does the same at this moment. Raises `Conflict` that tells what it has made,
    if that takes too long: its process may have died."""
    ends_at = time.monotonic() + _ANSWERED_WITHIN
    while (answer := answer_of(once, path)) is None and time.monotonic() < ends_at:
        time.sleep(0.02)
    g.pop("once", None)
    if answer is None:
        with desk().db.read() as session:
            raise idempotency.lost(session, once)
    return answer


def keep(response: Response) -> Response:
    """Keep the answer of a request that may be sent again. The one of a request that failed is not kept: it has changed
    nothing, and may be sent again until it succeeds."""
    once: Once | None = g.pop("once", None)
    if once is None or response.status_code >= 400:
        return response
    headers = {name: response.headers[name] for name in _HEADERS if name in response.headers}
    answer = Answer(response.status_code, headers, response.get_data())
    try:
        kept = idempotency.keep(desk().db, desk().settings, once, answer, path=g.path)
    except Exception as error:
        if passing_fault(error) is None:
            raise
        return response  # what was asked for is done; should it be asked for again, the answer is made anew
    return response if kept is answer else _replayed(kept)


def _replayed(answer: Answer) -> Response:
    return Response(answer.body, answer.status, {**answer.headers, REPLAYED: "true"})
