"""Connections of the web server: a request gets a thread when all of it has arrived, so slow clients cost none.

Connections that wait are watched together, in the main thread. Each has a deadline, and the one that has waited longest
makes room when there are too many, from one address or altogether: whoever comes next is always heard.
"""

from __future__ import annotations

import resource
import selectors
import socket
import struct
import time
from collections import Counter
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import TConn, ThreadWorker

from assistant.arrival import Arrival, Stage
from assistant.web.proxies import Proxies

# Seconds. Longer than a proxy keeps its connections (nginx: 60): it must not send a request to one just closed.
KEEP_ALIVE = 75
HEAD_WITHIN = 15.0
# A body must go on: so many bytes in so many seconds. That is a hundredth of a poor mobile connection.
BODY_PAUSE, BODY_STEP = 20.0, 32_768
_LINGER = 2.0
# A reply of which nothing is taken for so long is given up.
_SEND_PAUSE = 20

MAX_CONNECTIONS = 2_000
MAX_FROM_ADDRESS = 250  # a large office behind one address; trusted proxies have no limit
MAX_WAITING_BYTES = 1_000_000_000
_SPARE_FILES = 500  # for database, storage and models

_REASONS = {408: "Request Timeout", 413: "Content Too Large", 431: "Request Header Fields Too Large", 503: "Busy"}
_DETAILS = {
    408: "The request did not arrive in time. Please send it again.",
    413: "The request is too large. Send less text, smaller files, or fewer at once.",
    431: "The request's headers are too large.",
    503: "Too many connections. Please try again in a moment.",
}


class Connection(TConn):  # type: ignore[misc]  # gunicorn ships no types
    """A connection and what has arrived of its next request."""

    arrival: Arrival

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.initialized = True  # the worker makes its parsers
        self.is_first = True
        self.is_closing = False

    @property
    def address(self) -> str:
        return str(self.client[0])

    def expect(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.since = self._checked_at = time.monotonic()
        self._checked_size = 0

    def is_late(self, now: float, *, stopping: bool) -> bool:
        if self.is_closing:
            return now > self.since + _LINGER
        if self.arrival.stage is Stage.FIRST_BYTE:
            patience = HEAD_WITHIN if self.is_first else KEEP_ALIVE
            return now > self.since + (min(patience, _LINGER) if stopping else patience)
        if self.arrival.stage is Stage.HEAD:
            return now > self.since + HEAD_WITHIN
        if now > self._checked_at + BODY_PAUSE:
            if self.arrival.size < self._checked_size + BODY_STEP:
                return True
            self._checked_at, self._checked_size = now, self.arrival.size
        return False


class WaitingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's threaded worker, with another way from the socket to the thread.

    Configure before it runs: ``max_body`` and ``max_form`` in bytes, ``proxies`` whose connections have no limit.
    """

    max_body = 1_000_000
    max_form = 1_000_000
    proxies = Proxies()

    def init_process(self) -> None:
        self._waiting: dict[Connection, None] = {}  # in the order in which they began to wait
        self._from_address: Counter[str] = Counter()
        self._looked_at = 0.0
        _allow_files(MAX_CONNECTIONS + _SPARE_FILES)
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        try:
            sock, client = listener.accept()
        except OSError:
            return  # gone already, or out of files: those that wait will end
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_PAUSE, 0))
        connection = Connection(self.cfg, sock, client, listener.getsockname())
        self.nr_conns += 1
        self._from_address[connection.address] += 1
        connection.expect(self._new_arrival())
        if self._make_room(connection):
            self._wait(connection)
        else:
            self._refuse(connection, 503)

    def murder_pending(self) -> None:
        """Called at every turn of the loop: end those whose time is over."""
        now = time.monotonic()
        if now < self._looked_at + 0.5:
            return
        self._looked_at = now
        for connection in list(self._waiting):
            if connection.is_late(now, stopping=not self.alive):
                if connection.is_closing or connection.arrival.stage is Stage.FIRST_BYTE:
                    self._drop(connection)
                else:
                    self._refuse(connection, 408)

    def finish_request(self, connection: Connection, future: Future[bool]) -> None:
        """After a thread has answered."""
        arrival = connection.arrival
        arrival.close()
        keep = not future.cancelled() and future.exception() is None and future.result()
        if keep:
            connection.is_first = False
            connection.expect(self._new_arrival())
            connection.sock.setblocking(False)
            self._wait(connection)
            if arrival.rest:
                self._add(connection, arrival.rest)
        else:
            self._close_in_order(connection)

    def handle_request(self, request: Any, connection: Connection) -> bool:
        request._expected_100_continue = False  # it was sent when the body was awaited
        if connection.arrival.stage is not Stage.NOTHING:
            request.force_close()
        return bool(super().handle_request(request, connection))

    def _keepalive_after(self, _connection: Connection, keepalive: bool) -> bool:
        """No body is left on the socket, whether it was read or not."""
        return keepalive

    def _new_arrival(self) -> Arrival:
        return Arrival(max_body=self.max_body, max_form=self.max_form)

    def _make_room(self, newcomer: Connection) -> bool:
        """End the one that has waited longest, if there are too many. False: all of them are being answered."""
        address = newcomer.address
        crowd = self._from_address[address] > MAX_FROM_ADDRESS and not self.proxies.trusts(address)
        if not crowd and self.nr_conns <= MAX_CONNECTIONS:
            return True
        candidates = (one for one in self._waiting if not crowd or one.address == address)
        oldest = min(candidates, key=lambda one: one.since, default=None)
        if oldest is None:
            return False
        self._drop(oldest)
        return True

    def _wait(self, connection: Connection) -> None:
        self._waiting[connection] = None
        self.poller.register(connection.sock, selectors.EVENT_READ, partial(self._read, connection))

    def _read(self, connection: Connection, sock: socket.socket) -> None:
        try:
            data = sock.recv(connection.arrival.wanted)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
        elif not connection.is_closing:
            self._add(connection, data)

    def _add(self, connection: Connection, data: bytes) -> None:
        arrival = connection.arrival
        before = arrival.stage
        if before is Stage.FIRST_BYTE:
            connection.expect(arrival)
        arrival.add(data)
        if arrival.stage is Stage.HEAD_TOO_LARGE:
            self._refuse(connection, 431)
        elif arrival.stage is Stage.BODY_TOO_LARGE and before is Stage.BODY:
            self._refuse(connection, 413)
        elif arrival.stage in (Stage.NOTHING, Stage.MALFORMED, Stage.BODY_TOO_LARGE):
            # The parser says what is malformed, the application what is too large by its own words.
            self._stop_waiting(connection)
            connection.parser = http.get_parser(self.cfg, arrival.pieces(), connection.client)
            self.enqueue_req(connection)
        elif arrival.stage is Stage.BODY:
            if before is not Stage.BODY and arrival.expects_continue:
                _send(connection, b"HTTP/1.1 100 Continue\r\n\r\n")
            self._limit_bytes()

    def _limit_bytes(self) -> None:
        bodies = [one for one in self._waiting if one.arrival.stage is Stage.BODY]
        if sum(one.arrival.size for one in bodies) > MAX_WAITING_BYTES:
            self._refuse(min(bodies, key=lambda one: one.since), 503)

    def _refuse(self, connection: Connection, status: int) -> None:
        """Answer without the application, and close."""
        self._stop_waiting(connection)
        body = f'{{"type": "urn:assistant:connection", "title": "{_REASONS[status]}", "status": {status}, '
        body += f'"code": "connection", "detail": "{_DETAILS[status]}"}}'
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
        )
        _send(connection, f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        connection.arrival.close()
        self._close_in_order(connection)

    def _close_in_order(self, connection: Connection) -> None:
        """Say the end, then wait a moment for the client's: closed at once, our last answer could be lost."""
        connection.is_closing = True
        connection.since = time.monotonic()
        try:
            connection.sock.setblocking(False)
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._forget(connection)
        else:
            self._wait(connection)

    def _drop(self, connection: Connection) -> None:
        self._stop_waiting(connection)
        connection.arrival.close()
        self._forget(connection)

    def _stop_waiting(self, connection: Connection) -> None:
        if connection in self._waiting:
            del self._waiting[connection]
            self.poller.unregister(connection.sock)

    def _forget(self, connection: Connection) -> None:
        self.nr_conns -= 1
        self._from_address[connection.address] -= 1
        if self._from_address[connection.address] <= 0:
            del self._from_address[connection.address]
        connection.close()


def _send(connection: Connection, data: bytes) -> None:
    """A few bytes, which the socket's buffer takes; a client that has gone will be noticed when it is read."""
    try:
        connection.sock.send(data)
    except OSError:
        return


def _allow_files(wanted: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
