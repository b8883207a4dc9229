"""The Flask application: blueprints, error handlers, security headers."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse

from apiflask import APIBlueprint, APIFlask
from flask import Response, g, redirect, render_template, request, url_for
from flask_wtf import CSRFProtect
from werkzeug.routing import BaseConverter

from assistant import __version__, doctor
from assistant.db import patience
from assistant.runtime import Runtime
from assistant.settings import Settings
from assistant.web import (
    api,
    api_articles,
    api_batches,
    api_decisions,
    api_events,
    api_keys,
    api_learning,
    api_macros,
    api_people,
    api_taxonomy,
    auth,
    bodies,
    console,
    console_live,
    cookies,
    embedding,
    health,
    limits,
    mails,
    metrics,
    observing,
    openapi,
    waiting,
    widget,
)
from assistant.web.assets import assets
from assistant.web.context import CHECKS, EXTENSION, STOPPING
from assistant.web.proxies import Proxies
from assistant.web.responses import register_problems

# They add their routes to the API's blueprint.
API_SECTIONS = (
    api_articles,
    api_batches,
    api_decisions,
    api_events,
    api_keys,
    api_learning,
    api_macros,
    api_people,
    api_taxonomy,
)
# Seconds that a request waits for the database's lock.
_PATIENCE = 5.0


def create_app(runtime: Runtime) -> APIFlask:
    """The Flask application for a runtime, which the caller closes."""
    settings = runtime.settings
    app = APIFlask(
        "assistant",
        title="Support assistant",
        version=__version__,
        template_folder=str(templates_dir()),
        static_folder=None,  # type: ignore[arg-type]  # `assets` serve it
        spec_path=None,
        docs_path=None,
        json_errors=False,
    )
    app.request_class = bodies.Request
    app.session_interface = cookies.Sessions()
    app.extensions[EXTENSION] = runtime
    app.extensions[STOPPING] = threading.Event()
    app.extensions[CHECKS] = lambda: doctor.run(settings)
    app.extensions[health.PROBES] = health.Probes(runtime.desk)
    app.extensions[console_live.STREAMS] = console_live.AgentStreams()
    app.extensions[limits.STREAMS] = limits.OpenStreams()
    app.extensions[waiting.STREAMS] = limits.OpenStreams()
    app.config.update(_configuration(settings))
    app.url_map.converters["public_id"] = _PublicId
    app.spec_processor(openapi.complete)
    observing.register(app, metrics.register_metrics(app), access_log=settings.access_log)
    auth.register_sign_in(app)
    limits.limiter.init_app(app)
    assets().register(app)
    app.before_request(bodies.set_limit)
    csrf = CSRFProtect(app)
    for blueprint in (api.blueprint, *widget.BLUEPRINTS, mails.blueprint):
        csrf.exempt(blueprint)  # authenticated by tokens, not by cookies
    app.register_blueprint(api.blueprint)
    app.register_blueprint(widget.blueprint)
    app.register_blueprint(embedding.blueprint)
    app.register_blueprint(mails.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(metrics.blueprint)
    app.register_blueprint(console.blueprint)
    for registered in app.blueprints.values():
        # APIFlask reads this attribute of every blueprint with before_request functions, including plain Flask ones.
        if not isinstance(registered, APIBlueprint):
            registered.enable_openapi = False  # type: ignore[attr-defined]
    app.add_url_rule("/", "start", app.doc(hide=True)(lambda: redirect(url_for("console.queue"))))
    register_problems(app, page=_error_page)
    app.before_request(_make_nonce)
    app.before_request(_be_impatient)
    app.after_request(_secure)
    proxies, inner = Proxies.of(settings), app.wsgi_app

    def through_proxies(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        proxies.apply(environ)
        return inner(environ, start_response)

    app.wsgi_app = through_proxies  # type: ignore[method-assign]
    return app


def _configuration(settings: Settings) -> dict[str, Any]:
    max_text, max_form = bodies.limits(settings)
    key, *previous = settings.signing_keys()
    return {
        "SECRET_KEY": key,
        "SECRET_KEY_FALLBACKS": previous,
        "WTF_CSRF_SECRET_KEY": [*reversed(previous), key],  # the last one signs
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.base_url.startswith("https://"),
        "MAX_CONTENT_LENGTH": max_form,
        "MAX_FORM_MEMORY_SIZE": max_text,
        "WTF_CSRF_TIME_LIMIT": None,  # as long as the session: agents keep pages open all day
        "WTF_CSRF_CHECK_DEFAULT": True,
        "OPENAPI_VERSION": "3.1.0",
        "AUTO_SERVERS": False,  # relative addresses work behind any proxy; the Host header cannot be trusted
        "AUTO_404_RESPONSE": False,
        "AUTO_VALIDATION_ERROR_RESPONSE": False,
    }


class _PublicId(BaseConverter):
    """A public id; anything else is a 404 without asking the database."""

    regex = "[a-z]{3,4}_[0-9a-z]{20}"


def _be_impatient() -> None:
    """A client that is told to try again is better served than one that waits, and its thread serves others."""
    patience.set(_PATIENCE)


def _make_nonce() -> None:
    g.csp_nonce = secrets.token_urlsafe(16)


def _secure(response: Response) -> Response:
    """Allow only our scripts and styles with this request's nonce, and framing only where the widget permits it. What
    may hold somebody's data is kept by no cache, unless a view says otherwise."""
    nonce = g.get("csp_nonce", "")
    ancestors = g.get("frame_ancestors", "'none'")
    policy = (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; "
        "img-src 'self' blob: data:; connect-src 'self'; font-src 'self'; frame-src 'self'; form-action 'self'; "
        f"base-uri 'none'; frame-ancestors {ancestors}"
    )
    response.headers.setdefault("Content-Security-Policy", policy)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    if response.is_json or request.path.startswith("/console"):
        response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    response.headers.setdefault("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
    if request.is_secure:
        response.headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response


def _error_page(status: int, message: str) -> Response:
    return Response(render_template("console/error.html", status=status, message=message), status=status)


def templates_dir() -> Path:
    """In a checkout beside the package, in a wheel inside it."""
    package = Path(__file__).parent
    beside = package.parent / "templates"
    return beside if (beside / "console").is_dir() else package / "_templates"
