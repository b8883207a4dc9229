"""Cookies: what they are called, and the session of an agent's browser in one.

Over https their names begin with ``__Host-``, below a path with ``__Secure-``: of such a name, browsers take no cookie
that a neighbouring host sets, or one that comes unencrypted.
"""

from __future__ import annotations

import hashlib
from typing import Any

from flask import Flask, Request, Response, current_app, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from itsdangerous import SignatureExpired, TimestampSigner, URLSafeTimedSerializer

from assistant.db import utcnow


def name_of(cookie: str, *, path: str) -> str:
    """What a cookie for this path is called here."""
    if not current_app.config["SESSION_COOKIE_SECURE"]:
        return cookie
    return f"__Host-{cookie}" if path == "/" else f"__Secure-{cookie}"


class Signer(TimestampSigner):
    """What was signed before the clock was set back, or by a server whose clock is ahead, was signed just now."""

    def unsign(self, signed_value: str | bytes, max_age: int | None = None, return_timestamp: bool = False) -> Any:
        try:
            return super().unsign(signed_value, max_age, return_timestamp)  # type: ignore[call-overload]
        except SignatureExpired as error:
            if error.date_signed is None or error.date_signed <= utcnow():
                raise
            return super().unsign(signed_value, None, return_timestamp)  # type: ignore[call-overload]


class Sessions(SecureCookieSessionInterface):
    """Signed, for the path under which the client sees us, and not for what else is on that host.

    A cookie as versions before this one gave out is taken over by a page of the console, so nobody is signed out. They
    were signed with another salt, so nothing that is given out today can be made to pass for one, and each ends with
    its row (`desk.agent_sessions`).
    """

    salt = "console session"
    digest_method = staticmethod(hashlib.sha256)
    _before = SecureCookieSessionInterface()

    def get_signing_serializer(self, app: Flask) -> URLSafeTimedSerializer | None:
        serializer = super().get_signing_serializer(app)
        if serializer is not None:
            serializer.signer = Signer
        return serializer

    def get_cookie_path(self, app: Flask) -> str:
        return request.script_root or "/"

    def get_cookie_name(self, app: Flask) -> str:
        return name_of(super().get_cookie_name(app), path=self.get_cookie_path(app))

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        session = super().open_session(app, request)
        if session or not request.path.startswith("/console"):
            return session
        before = self._before.open_session(app, request)
        if before:
            before.modified = True
        return before

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        super().save_session(app, session, response)
        old = self._before.get_cookie_name(app)
        if session.modified and old in request.cookies and old != self.get_cookie_name(app):
            response.delete_cookie(old, path=self.get_cookie_path(app), secure=True, httponly=True, samesite="Lax")
