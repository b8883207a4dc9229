"""How a reply leaves to clients that take it slowly, or not at all."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from assistant import departure
from assistant.departure import Departure

Pair = tuple[Departure, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """The server's and the client's end of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Departure(ours), theirs


def test_a_reply_of_any_size_is_taken_at_once_and_arrives_whole(pair: Pair) -> None:
    ours, theirs = pair
    reply = os.urandom(3_000_000)
    for begin in range(0, len(reply), 700_000):
        ours.sendall(reply[begin : begin + 700_000])
    assert ours.size > 0
    received = b""
    while len(received) < len(reply):
        received += theirs.recv(65_536)
        ours.flush()
    assert received == reply
    assert (ours.size, ours.taken) == (0, len(reply))


def test_a_stream_whose_client_stopped_reading_ends(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _theirs = pair
    ours.sendall(bytes(3_000_000))
    ours.sendall(b"still within patience")
    monkeypatch.setattr(departure, "PATIENCE", -1.0)
    with pytest.raises(BrokenPipeError):
        ours.sendall(b"x")


def test_a_client_that_has_gone_is_an_error(pair: Pair) -> None:
    ours, theirs = pair
    theirs.close()
    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
        ours.sendall(b"x")
