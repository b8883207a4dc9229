"""Rate limits per API key, per session of the widget or, without a genuine one, per address.

`Settings.rate_limit`, or a key's own limit, covers everything that a caller does under ``/api`` and ``/widget/v1``.
Counts are kept in this process and start at zero with it.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from ipaddress import ip_network
from time import monotonic
from typing import Any

from flask import Response, request
from flask_limiter import ApplicationLimit, Limiter, RequestLimit
from limits.storage import MemoryStorage

from assistant.text.folding import address as folded
from assistant.text.storable import storable
from assistant.web import auth, known_browsers
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

    def enter(self, owner_id: int, *, each: int, together: int) -> bool:
        """Count one more and return True, unless the owner (a conversation, or a key) has ``each`` or all together have
        ``together``."""
        with self._lock:
            if self._open[owner_id] >= each or self._open.total() >= together:
                return False
            self._open[owner_id] += 1
            return True

    def leave(self, owner_id: int) -> None:
        with self._lock:
            self._open[owner_id] -= 1
            if self._open[owner_id] <= 0:
                del self._open[owner_id]


class Counts(MemoryStorage):
    """When each was counted, by a clock that nobody sets. Thread-safe.

    The library's own looks at the time of day: set back by an hour, it would refuse people for that hour. It also keeps
    everybody whom it ever counted, and goes through all of them after each request."""

    STORAGE_SCHEME = ["steady"]  # noqa: RUF012 - as the library declares it

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: str) -> None:
        super().__init__(uri, wrap_exceptions, **options)
        # By seconds that count, then by key in the order in which they were counted last.
        self._times: dict[int, OrderedDict[str, deque[float]]] = {}
        self._lock = threading.Lock()

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        with self._lock:
            now, times = monotonic(), self._counted(key, expiry)
            if len(times) + amount > limit:
                return False
            times.extend([now] * amount)
            known = self._times[expiry]
            known[key] = times
            known.move_to_end(key)
            return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        with self._lock:
            times = self._counted(key, expiry)
            return (times[0] if times else monotonic()), len(times)

    def reset(self) -> int:
        with self._lock:
            self._times.clear()
        return 0

    def clear(self, key: str) -> None:
        with self._lock:
            for known in self._times.values():
                known.pop(key, None)

    @property
    def known(self) -> int:
        """How many keys are remembered."""
        with self._lock:
            return sum(len(known) for known in self._times.values())

    def _counted(self, key: str, expiry: int) -> deque[float]:
        """What still counts of a key, after all was forgotten that does not count any more."""
        known, since = self._times.setdefault(expiry, OrderedDict()), monotonic() - expiry
        while known and next(iter(known.values()))[-1] < since:
            known.popitem(last=False)
        times = known.get(key, deque())
        while times and times[0] < since:
            times.popleft()
        return times


def _refuse(limit: RequestLimit) -> None:
    wait = limit.reset_at - monotonic()
    raise too_many_requests(min(max(1.0, wait), limit.limit.get_expiry()))


limiter = Limiter(
    # Invented keys and tokens count for the address: they are no way around its limit.
    key_func=lambda: auth.caller() or address(),
    application_limits=[
        ApplicationLimit(
            auth.rate_limit,
            exempt_when=lambda: not request.path.startswith(_COUNTED_PATHS) or request.endpoint in _UNCOUNTED,
        )
    ],
    storage_uri="steady://",
    strategy="moving-window",
    on_breach=_refuse,
)


def tell(response: Response) -> Response:
    """What is left of the limit, so that a client can slow down before it is refused. ``Reset`` is in seconds."""
    limit = limiter.current_limit
    if limit is not None:
        response.headers["RateLimit-Limit"] = str(limit.limit.amount)
        response.headers["RateLimit-Remaining"] = str(limit.remaining)
        response.headers["RateLimit-Reset"] = str(max(0, int(limit.reset_at - monotonic())))
    return response
