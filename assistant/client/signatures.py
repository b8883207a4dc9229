"""Whether a webhook's request is genuine, as Standard Webhooks has it."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Mapping
from typing import cast

from assistant.client.shapes import Event

TOLERANCE = 300.0  # seconds
_PREFIX = "whsec_"


class BadSignature(ValueError):
    """The request is not from the sender, or an old one that somebody has sent again."""


def verify(
    secret: str,
    headers: Mapping[str, str],
    body: bytes | str,
    *,
    tolerance: float = TOLERANCE,
    now: float | None = None,
) -> Event:
    """The event that a webhook's request tells of; raises `BadSignature`. While a new secret replaces another, either
    is accepted. ``headers``: as they came; their capitals do not matter. ``tolerance``: how old it may be, in
    seconds; ``now``: for tests.

    An event may come twice, with the same ``id``."""
    given = {name.lower(): value for name, value in headers.items()}
    event_id, timestamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    payload = body.encode() if isinstance(body, str) else body
    if not timestamp.isascii() or not timestamp.isdecimal():
        raise BadSignature("The header webhook-timestamp is missing, or is no number.")
    if abs((time.time() if now is None else now) - int(timestamp)) > tolerance:
        raise BadSignature(f"The request was signed more than {tolerance:.0f} seconds ago, or the clocks differ.")
    signed = hmac.digest(_key(secret), f"{event_id}.{timestamp}.".encode() + payload, "sha256")
    expected = b"v1," + base64.b64encode(signed)
    if not any(hmac.compare_digest(expected, one.encode()) for one in given.get("webhook-signature", "").split()):
        raise BadSignature("The signature is not by this secret.")
    return cast("Event", json.loads(payload))


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("This is no secret of a webhook: it is whsec_ and base64.") from error
