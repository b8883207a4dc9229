"""How much one caller may ask for: an allowance each for a key, a conversation or, without either, an address.

The allowance of `Settings.rate_limit` is one for everything a caller does under ``/api`` and ``/widget/v1``. Counts are
kept in this process and start again with it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter

from flask import request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit
from flask_limiter.util import get_remote_address

from assistant.web.context import runtime
from assistant.web.responses import too_many_requests

# Photos of a conversation and reconnecting streams come in bursts that are no sign of misuse.
_UNCOUNTED = ("widget.get_attachment", "widget.stream_events")
_COUNTED_PATHS = ("/api/", "/widget/v1/")


def address() -> str:
    return get_remote_address() or "unknown"


STREAMS = "assistant.open_streams"


class OpenStreams:
    """Counts open live streams, each of which holds a web thread. Thread-safe."""

    def __init__(self) -> None:
        self._open: Counter[int] = Counter()
        self._lock = threading.Lock()

    def enter(self, conversation_id: int, *, each: int, together: int) -> bool:
        """Count one more, unless the conversation has ``each`` or all have ``together``. Says whether it did."""
        with self._lock:
            if self._open[conversation_id] >= each or self._open.total() >= together:
                return False
            self._open[conversation_id] += 1
            return True

    def leave(self, conversation_id: int) -> None:
        with self._lock:
            self._open[conversation_id] -= 1
            if self._open[conversation_id] <= 0:
                del self._open[conversation_id]


def _caller() -> str:
    """A key or token by its digest: what is kept to count must not be able to sign in."""
    _, _, secret = request.headers.get("Authorization", "").partition(" ")
    secret = secret.strip() or request.args.get("token", "")
    return hashlib.sha256(secret.encode()).hexdigest() if secret else address()


def _configured_limit() -> str:
    return runtime().settings.rate_limit


def _is_uncounted() -> bool:
    return not request.path.startswith(_COUNTED_PATHS) or request.endpoint in _UNCOUNTED


def _refuse(limit: RequestLimit) -> None:
    wait = limit.reset_at - time.time()
    raise too_many_requests(min(max(1.0, wait), limit.limit.get_expiry()))


limiter = Limiter(
    key_func=_caller,
    application_limits=[ApplicationLimit(_configured_limit, exempt_when=_is_uncounted)],
    storage_uri="memory://",
    strategy="moving-window",
    on_breach=_refuse,
)
