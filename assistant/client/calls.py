"""Requests to the API: sent again where that is safe, with answers as dictionaries and refusals as exceptions."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import httpx
import tenacity

from assistant import __version__
from assistant.client.photos import Files

_PASSES = (429, 502, 503)  # too many requests, or a part or all of the server is away
_LONGEST_PAUSE = 60.0
_BACK_OFF = tenacity.wait_random_exponential(multiplier=0.5, max=20.0)


class Problem(Exception):
    """The API refuses a request (RFC 9457).

    ``status``: by HTTP. ``code``: stable, for programs; empty if the answer is not the API's, but a proxy's.
    ``detail``: what is wrong and what to do. ``field``: the name of the invalid value. ``retry_after``: seconds.
    ``document``: all that it says."""

    def __init__(self, status: int, document: Mapping[str, Any], *, retry_after: float | None = None) -> None:
        self.status, self.document = status, dict(document)
        self.code: str = self.document.get("code", "")
        self.detail: str = self.document.get("detail", "") or f"The server answered {status}."
        self.field: str | None = self.document.get("field")
        self.retry_after: float | None = self.document.get("retry_after", retry_after)
        super().__init__(f"{self.detail} ({status} {self.code})" if self.code else self.detail)

    @classmethod
    def of(cls, response: httpx.Response) -> Problem:
        is_one = response.headers.get("Content-Type", "").startswith("application/problem+json")
        document = response.json() if is_one else {}
        return cls(response.status_code, document, retry_after=_retry_after(response.headers.get("Retry-After")))


class Calls:
    """``attempts``: how often a request is sent at most, where the first ones meet too many others, a server that is
    away, or none. A request that changes something carries an Idempotency-Key, so that it is done once."""

    def __init__(self, http: httpx.Client, *, attempts: int) -> None:
        self._http = http
        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(attempts),
            wait=_pause,
            retry=tenacity.retry_if_exception(_may_pass),
            reraise=True,
        )

    def get(self, path: str, query: Mapping[str, Any] | None = None, *, waits: float = 0.0) -> Any:
        """``waits``: seconds that the server takes on purpose."""
        given = {name: _in_query(value) for name, value in (query or {}).items() if value is not None}
        return _read(self._send("GET", path, waits=waits, params=given))

    def get_with_etag(self, path: str) -> tuple[Any, str]:
        response = self._send("GET", path)
        return _read(response), response.headers.get("ETag", "")

    def get_bytes(self, path: str) -> bytes:
        return self._send("GET", path).content

    def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        files: Files | None = None,
        idempotency_key: str | None = None,
        version: str | None = None,
    ) -> Any:
        """The answer; None if it has no content. With ``files``, the body's fields are those of a form. ``version``: of
        what is changed, if it must still be that."""
        etag = f'"{version}"' if version is not None else None
        response = self._write(method, path, body, files=files, idempotency_key=idempotency_key, if_match=etag)
        return _read(response) if response.content else None

    def send_with_etag(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, if_match: str | None = None
    ) -> tuple[Any, str]:
        """The answer, and its ETag. ``if_match``: that of what is changed, as it was read."""
        response = self._write(method, path, body, if_match=if_match)
        return _read(response) if response.content else None, response.headers.get("ETag", "")

    def _write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        files: Files | None = None,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> httpx.Response:
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        if if_match is not None:
            headers["If-Match"] = if_match
        content: dict[str, Any] = {} if body is None else {"json": body}
        if files:
            content = {"data": body or {}, "files": files}
        return self._send(method, path, headers=headers, **content)

    def _send(self, method: str, path: str, *, waits: float = 0.0, **request: Any) -> httpx.Response:
        timeout = self._http.timeout
        if waits and timeout.read is not None:
            request["timeout"] = httpx.Timeout(**timeout.as_dict() | {"read": timeout.read + waits})
        return self._retrying(self._once, method, path, **request)

    def _once(self, method: str, path: str, **request: Any) -> httpx.Response:
        response = self._http.request(method, f"/api/v1{path}", **request)
        if not response.is_success:
            raise Problem.of(response)
        return response


def _read(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        advice = "Is this the address of an installation, without /api/v1?"
        raise Problem(response.status_code, {"detail": f"What the server answered is no JSON. {advice}"}) from None


def user_agent() -> str:
    return f"assistant-client/{__version__}"


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, Problem) and error.code == "deadline":
        return False  # who sets one does not wait longer
    if isinstance(error, Problem):
        return error.status in _PASSES and (error.retry_after or 0.0) <= _LONGEST_PAUSE
    return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol)


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds: those that the server names, or growing ones."""
    error = state.outcome.exception() if state.outcome is not None else None
    named = error.retry_after if isinstance(error, Problem) else None
    return max(named or 0.0, _BACK_OFF(state))


def _retry_after(header: str | None) -> float | None:
    """Seconds; the header has them, or a date. None without it, or if it is neither."""
    if header is None:
        return None
    try:
        return (
            float(header)
            if header.strip().isdecimal()
            else max(0.0, parsedate_to_datetime(header).timestamp() - time())
        )
    except ValueError:
        return None


def _in_query(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value
