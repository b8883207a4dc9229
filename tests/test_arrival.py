"""When a request has arrived, however its bytes come in."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.arrival import MAX_HEAD, Arrival, Stage

HEAD = b"POST /x HTTP/1.1\r\nHost: a\r\n"
NEXT = b"GET /y HTTP/1.1\r\n"
WHOLE = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    HEAD + b"Content-Length: 5\r\n\r\nhello",
    HEAD + b"content-length:5\r\n\r\n\r\n\r\n\r",
    HEAD + b"Content-Length: 0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n0\r\n\r\n\r\n3\r\nabc\r\n0\r\nTrailer: x\r\n\r\n",
]


def arrive(data: bytes, cuts: list[int], **limits: int) -> Arrival:
    """Add the data, cut at these places."""
    arrival = Arrival(**{"max_body": 100, "max_form": 200, **limits})
    places = sorted({cut % len(data) for cut in cuts} | {0, len(data)})
    for begin, end in itertools.pairwise(places):
        if arrival.stage in (Stage.FIRST_BYTE, Stage.HEAD, Stage.BODY):
            arrival.add(data[begin:end])
        else:
            arrival.rest += data[begin:end]
    return arrival


@given(st.sampled_from(WHOLE), st.lists(st.integers(0, 500), max_size=30))
def test_a_request_ends_where_it_says_in_whatever_pieces_it_comes(request_: bytes, cuts: list[int]) -> None:
    arrival = arrive(request_ + NEXT, cuts)
    assert arrival.stage is Stage.NOTHING
    assert b"".join(arrival.pieces()) == request_
    assert arrival.rest == NEXT
    arrival.close()


@given(st.sampled_from(WHOLE), st.data())
def test_nothing_is_passed_on_before_the_last_byte(request_: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, len(request_) - 1))
    arrival = arrive(request_[:length], data.draw(st.lists(st.integers(0, 500), max_size=5)))
    assert arrival.stage in (Stage.HEAD, Stage.BODY)
    arrival.close()


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 101\r\n\r\n",
        b"Content-Type: application/json\r\nContent-Length: 101\r\n\r\n",
        b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 201\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 20_000,
    ],
)
def test_a_body_over_the_limit_of_its_kind_is_not_awaited(body: bytes) -> None:
    arrival = arrive(HEAD + body, [])
    assert arrival.stage is Stage.BODY_TOO_LARGE
    arrival.close()


@pytest.mark.parametrize(
    "body",
    [
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x5\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 5000,
    ],
)
def test_what_is_malformed_is_not_awaited_either(body: bytes) -> None:
    """The parser refuses it."""
    arrival = arrive(HEAD + body, [])
    assert arrival.stage is Stage.MALFORMED
    arrival.close()


def test_a_head_has_a_limit() -> None:
    arrival = arrive(b"GET / HTTP/1.1\r\nX: " + b"a" * MAX_HEAD, [])
    assert arrival.stage is Stage.HEAD_TOO_LARGE
    arrival.close()
