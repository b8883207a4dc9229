"""What a webhook's receiver accepts: what the server signs, no older than five minutes."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from assistant.client import BadSignature, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FtZSBsZW5ndGggYXMgdGhlIG90aGVyIQ=="
EVENT = {"id": "evt_7", "type": "ticket.created", "timestamp": "2026-11-30T12:00:00Z", "ticket": {}, "data": {}}
BODY = json.dumps(EVENT)


def signed(*secrets: str, at: float | None = None) -> dict[str, str]:
    at = time.time() if at is None else at
    marks = [Webhook(secret).sign("evt_7", datetime.fromtimestamp(at, UTC), BODY) for secret in secrets]
    return {"Webhook-Id": "evt_7", "webhook-timestamp": str(int(at)), "WEBHOOK-SIGNATURE": " ".join(marks)}


def test_what_is_signed_by_either_secret_is_read() -> None:
    assert verify(SECRET, signed(SECRET), BODY) == EVENT
    for secret in (SECRET, OTHER):
        assert verify(secret, signed(OTHER, SECRET), BODY.encode()) == EVENT


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (signed(OTHER), BODY),
        (signed(SECRET), BODY.replace("created", "solved")),
        (signed(SECRET) | {"Webhook-Id": "evt_8"}, BODY),
        (signed(SECRET) | {"WEBHOOK-SIGNATURE": ""}, BODY),
        (signed(SECRET) | {"WEBHOOK-SIGNATURE": "v1,é"}, BODY),
        (signed(SECRET) | {"webhook-timestamp": "soon"}, BODY),
        ({}, BODY),
    ],
)
def test_anything_else_is_refused(headers: dict[str, str], body: str) -> None:
    with pytest.raises(BadSignature):
        verify(SECRET, headers, body)


def test_what_is_old_or_from_the_future_is_refused() -> None:
    for seconds, is_refused in ((-301, True), (-299, False), (299, False), (301, True)):
        headers = signed(SECRET, at=1_700_000_000 + seconds)
        if is_refused:
            with pytest.raises(BadSignature, match="300 seconds"):
                verify(SECRET, headers, BODY, now=1_700_000_000)
        else:
            assert verify(SECRET, headers, BODY, now=1_700_000_000)
    assert verify(SECRET, signed(SECRET, at=1000), BODY, now=1000, tolerance=0)


def test_a_secret_that_is_none_is_no_forgery() -> None:
    with pytest.raises(ValueError, match="whsec_") as wrong:
        verify("whsec_not base64", signed(SECRET), BODY)
    assert not isinstance(wrong.value, BadSignature)
