"""Every request: an id, a span if wanted, its time and outcome counted, and a line in the log when its reply begins."""

from __future__ import annotations

import time
from contextlib import ExitStack

import structlog
from flask import Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram

from assistant import tracing

log = structlog.get_logger(__name__)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Asked for every few seconds or with every page, and told nobody by anything but their number.
_QUIET = ("/livez", "/readyz", "/metrics")


def register(app: Flask, registry: CollectorRegistry, *, access_log: bool) -> None:
    """Call it before anything else that looks at requests: the first to begin is the last to finish."""
    names = ["method", "route"]
    requests = Counter("assistant_requests", "Requests answered.", [*names, "status"], registry=registry)
    seconds = Histogram("assistant_request_seconds", "Time to the response's start.", names, registry=registry)

    def begin() -> None:
        g.request_started = time.perf_counter()
        g.request_id = tracing.begin_request(request.headers.get(tracing.HEADER))
        g.request_span = ExitStack()
        g.request_span.enter_context(tracing.continuing({}))  # not of what this thread has answered before
        g.span = g.request_span.enter_context(tracing.span(f"{_method()} {_route()}"))

    def finish(response: Response) -> Response:
        method, route, status = _method(), _route(), response.status_code
        started = g.get("request_started")
        requests.labels(method, route, str(status)).inc()
        if started is None:
            return response
        took = time.perf_counter() - started
        seconds.labels(method, route).observe(took)
        response.headers[tracing.HEADER] = g.request_id
        if g.span is not None:
            g.span.set_attribute("http.response.status_code", status)
        g.request_span.close()
        tell = log.debug if not access_log or route in _QUIET or request.endpoint == "static" else log.info
        tell("request", method=method, route=route, status=status, ms=round(1000 * took, 1), **_who())
        return response

    app.before_request(begin)
    app.after_request(finish)


def _method() -> str:
    return request.method if request.method in _METHODS else "other"


def _route() -> str:
    """The rule, not the path, and no invented methods: requests must not create new series, and a path may name whom
    it is about."""
    return request.url_rule.rule if request.url_rule is not None else "(none)"


def _who() -> dict[str, str | int]:
    """Who has asked, as far as the request has had to know, and from where."""
    who: dict[str, str | int] = {"address": request.remote_addr or "unknown"}
    if (machine := g.get("machine")) is not None:
        who["api_key"] = machine.key_id
    elif (visitor := g.get("visitor")) is not None:
        who["session"] = visitor.session_id
    elif (principal := getattr(g.get("_login_user"), "principal", None)) is not None:
        who["agent"] = principal.public_id
    return who
