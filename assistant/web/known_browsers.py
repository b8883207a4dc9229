"""Browsers in which somebody has signed in before: wrong passwords are counted for each of them apart.

So whoever guesses from elsewhere, or from the same office, keeps nobody out of their own browser. The cookie is signed;
it is no sign-in, and stands for nothing but the counting.
"""

from __future__ import annotations

import hashlib
import secrets

from flask import after_this_request, current_app, request
from werkzeug.wrappers import Response

from assistant.desk import links
from assistant.desk.links import Purpose
from assistant.errors import NotFound
from assistant.text.folding import address
from assistant.web import cookies
from assistant.web.context import runtime

_COOKIE = "known_browser"
_LASTS = 180 * 24 * 3600  # seconds, as the signature does
_ACCOUNTS = 8  # that one browser is known for, the last ones


def known_for(email: str) -> str | None:
    """The browser's name, if somebody has signed in to this account in it."""
    name, *accounts = _read()
    return name if _digest(email) in accounts else None


def remember(email: str) -> None:
    """The browser that is asking, once it has signed in."""
    name, *accounts = _read()
    kept = dict.fromkeys([_digest(email), *accounts])
    value = " ".join([name or secrets.token_urlsafe(12), *list(kept)[:_ACCOUNTS]])
    signed = links.sign(runtime().settings, Purpose.KNOWN_BROWSER, value)

    @after_this_request
    def keep(response: Response) -> Response:
        response.set_cookie(
            cookies.name_of(_COOKIE, path=_path()),
            signed,
            max_age=_LASTS,
            path=_path(),
            secure=bool(current_app.config["SESSION_COOKIE_SECURE"]),
            httponly=True,
            samesite="Lax",
        )
        return response


def _path() -> str:
    return f"{request.script_root}/console/sign-in"


def _read() -> list[str]:
    """Also from a cookie of a version before, without a prefix."""
    name = cookies.name_of(_COOKIE, path=_path())
    signed = request.cookies.get(name) or request.cookies.get(_COOKIE, "")
    try:
        return links.read(runtime().settings, Purpose.KNOWN_BROWSER, signed).split(" ")
    except NotFound:
        return [""]


def _digest(email: str) -> str:
    return hashlib.sha256(address(email).encode(errors="replace")).hexdigest()[:16]
