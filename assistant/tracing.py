"""What belongs together: the id of a request follows it into log lines, jobs and calls of models; spans, if wanted.

The id is always there (`structlog`'s context). Spans are OpenTelemetry's, sent by OTLP over HTTP once `configure` is
called with an address; until then nothing of it is imported and a span costs a function call. Attributes are names,
numbers and ids, never a customer's words.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from structlog import contextvars

from assistant.errors import NotReady

HEADER = "X-Request-ID"
_GIVEN = re.compile(r"[A-Za-z0-9._-]{8,64}")
_ID = "request_id"
_tracing: Any = None  # `_Tracing`, once configured


def begin_request(given: str | None) -> str:
    """The id of the request that this thread answers from now on: the given one if a proxy has made a decent one. It
    is a label, not a proof of anything."""
    contextvars.clear_contextvars()
    id_ = given if given is not None and _GIVEN.fullmatch(given) else secrets.token_hex(8)
    contextvars.bind_contextvars(**{_ID: id_})
    return id_


def origin() -> dict[str, str] | None:
    """What made this necessary, as a job's row keeps it: the request's id and, if there are spans, the one it is in."""
    id_ = contextvars.get_contextvars().get(_ID)
    found = {} if id_ is None else {_ID: str(id_)}
    return found | (_tracing.carrier() if _tracing is not None else {}) or None


@contextmanager
def continuing(stored: Mapping[str, str] | None) -> Iterator[None]:
    """Within it, all is on behalf of what `origin` told."""
    known = {_ID: stored[_ID]} if stored and _ID in stored else {}
    with contextvars.bound_contextvars(**known), _tracing.within(stored) if _tracing is not None else nullcontext():
        yield


def headers() -> dict[str, str]:
    """For a call of a model on behalf of this request."""
    id_ = contextvars.get_contextvars().get(_ID)
    found = {} if id_ is None else {HEADER: str(id_)}
    return found | (_tracing.carrier() if _tracing is not None else {})


def span(name: str, **attributes: str | float | bool) -> AbstractContextManager[Any]:
    """A span with what happens within as its children; yields the span, or None."""
    return _tracing.span(name, attributes, is_parent=True) if _tracing is not None else nullcontext()


def model_call(model: str) -> AbstractContextManager[Any]:
    """A span of a call. Fit for generators, where what else runs meanwhile is none of its children."""
    return _tracing.span("model", {"model": model}, is_parent=False) if _tracing is not None else nullcontext()


def configure(endpoint: str | None, *, version: str, exporter: Any = None) -> None:
    """Send spans from now on. Only in a process that does not fork any more. Raises `NotReady` without the extra."""
    global _tracing  # noqa: PLW0603 - one for the process, as its log
    if endpoint is None and exporter is None:
        return
    try:
        _tracing = _Tracing(endpoint, version, exporter)
    except ImportError as error:
        advice = "Run: pip install 'photo-support-assistant[otel]'"
        raise NotReady(f"ASSISTANT_OTEL_ENDPOINT needs a package that is not installed. {advice}") from error


def shut_down() -> None:
    """Send what is left, within a second or two."""
    global _tracing  # noqa: PLW0603
    if _tracing is not None:
        _tracing.provider.force_flush(2_000)
        _tracing.provider.shutdown()
        _tracing = None


class _Tracing:
    def __init__(self, endpoint: str | None, version: str, exporter: Any) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter(endpoint=f"{(endpoint or '').rstrip('/')}/v1/traces", timeout=5)
        resource = Resource.create({"service.name": "assistant", "service.version": version})
        self.provider = TracerProvider(resource=resource)
        self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self.provider.get_tracer("assistant")

    def carrier(self) -> dict[str, str]:
        """Where we are, as W3C's ``traceparent``."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return carrier

    @contextmanager
    def within(self, carrier: Mapping[str, str] | None) -> Iterator[None]:
        from opentelemetry import context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        token = context.attach(TraceContextTextMapPropagator().extract(carrier or {}))
        try:
            yield
        finally:
            context.detach(token)

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, Any], *, is_parent: bool) -> Iterator[Any]:
        from opentelemetry.trace import Status, StatusCode, use_span

        id_ = contextvars.get_contextvars().get(_ID)
        known = {**attributes} if id_ is None else {**attributes, _ID: id_}
        span = self._tracer.start_span(name, attributes=known)
        with ExitStack() as stack:
            stack.callback(span.end)
            if is_parent:
                stack.enter_context(use_span(span, record_exception=False, set_status_on_exception=False))
            try:
                yield span
            except GeneratorExit:
                raise
            except BaseException as error:  # its message may quote a customer
                span.set_status(Status(StatusCode.ERROR, type(error).__name__))
                raise
