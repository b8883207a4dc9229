"""Rate limits per API key, per session of the widget or, without a genuine one, per address.

`Settings.rate_limit` covers everything that a caller does under ``/api`` and ``/widget/v1``. Counts are kept in this
process and start at zero with it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

from flask import request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit

from assistant.text.folding import address as folded
from assistant.text.storable import storable
from assistant.web import auth, known_browsers
from assistant.web.context import runtime
from assistant.web.responses import too_many_requests

# A conversation's photos and reconnecting streams come in bursts, which are not misuse.
_UNCOUNTED = ("widget.get_attachment", "widget.stream_events")
_COUNTED_PATHS = ("/api/", "/widget/v1/")


# Wrong passwords and codes. A person who has forgotten one waits longer and longer; colleagues behind the same address
# do not. In a browser that is known for the account nothing else counts, so nobody can be kept out of their own by
# others: by neighbours who use up what their address may, or strangers who use up what the account may.
_WRONG_FOR_ACCOUNT = "5 per minute; 10 per 15 minutes; 20 per 3 hours"
_WRONG_FROM_ADDRESS = "30 per minute; 200 per hour"
_WRONG_FROM_ANYWHERE = "50 per hour; 100 per day"  # for one account


def address() -> str:
    """The client's; of IPv6 the network, as one client has 2**64 addresses."""
    given = request.remote_addr or "unknown"
    return str(ip_network(f"{given}/64", strict=False)) if ":" in given and "%" not in given else given


def of_sign_in(view: Callable[..., Any]) -> Callable[..., Any]:
    """Limits what is wrong in the steps of signing in, counted together."""
    for scope, limit, key, only_unknown in (
        ("account", _WRONG_FOR_ACCOUNT, lambda: f"{_known_browser() or address()} {_account()}", False),
        ("address", _WRONG_FROM_ADDRESS, address, True),
        ("anywhere", _WRONG_FROM_ANYWHERE, _account, True),
    ):
        limited = limiter.shared_limit(
            limit,
            scope=f"sign-in {scope}",
            key_func=key,
            methods=["POST"],
            deduct_when=lambda response: response.status_code == 401,
            exempt_when=(lambda: _known_browser() is not None) if only_unknown else None,
        )
        view = limited(view)
    return view


def _known_browser() -> str | None:
    return known_browsers.known_for(_email())


def _account() -> str:
    """That somebody tries to sign in to."""
    return hashlib.sha256(_email().encode(errors="replace")).hexdigest()


def _email() -> str:
    if request.endpoint == "console.sign_in_code":
        return auth.halfway_email()
    return folded(storable(request.form.get("email", "")))


STREAMS = "assistant.open_streams"


class OpenStreams:
    """Counts open live streams: each occupies a web thread. Thread-safe."""

    def __init__(self) -> None:
        self._open: Counter[int] = Counter()
        self._lock = threading.Lock()

    def enter(self, conversation_id: int, *, each: int, together: int) -> bool:
        """Count one more and return True, unless the conversation has ``each`` or all together have ``together``."""
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


def _refuse(limit: RequestLimit) -> None:
    wait = limit.reset_at - time.time()
    raise too_many_requests(min(max(1.0, wait), limit.limit.get_expiry()))


limiter = Limiter(
    # Invented keys and tokens count for the address: they are no way around its limit.
    key_func=lambda: auth.caller() or address(),
    application_limits=[
        ApplicationLimit(
            lambda: runtime().settings.rate_limit,
            exempt_when=lambda: not request.path.startswith(_COUNTED_PATHS) or request.endpoint in _UNCOUNTED,
        )
    ],
    storage_uri="memory://",
    strategy="moving-window",
    on_breach=_refuse,
)
