"""Connections of the web server: a request gets a thread when all of it has arrived, and gives it back with its reply
made. Slow clients, sending or reading, cost none.

Connections that wait are watched together, in the main thread. Each has a deadline, and the one that has waited longest
makes room when there are too many, from one address or altogether: whoever comes next is always heard.
"""

from __future__ import annotations

import errno
import os
import resource
import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from types import FrameType
from typing import Any

from gunicorn import http
from gunicorn.workers.gthread import TConn, ThreadWorker

from assistant.arrival import Arrival, Stage
from assistant.departure import Departure
from assistant.web.proxies import Proxies

# Seconds. Longer than a proxy keeps its connections (nginx: 60): it must not send a request to one just closed.
KEEP_ALIVE = 75
HEAD_WITHIN = 15.0
# A body and a reply must go on: so many bytes in so many seconds. That is a hundredth of a poor mobile connection.
PAUSE, STEP = 20.0, 32_768
_LINGER = 2.0

MAX_CONNECTIONS = 2_000
MAX_FROM_ADDRESS = 250  # a large office behind one address; trusted proxies have no limit
MAX_WAITING_BYTES = 500_000_000
_SPARE_FILES = 500  # for database, storage and models

_REASONS = {408: "Request Timeout", 413: "Content Too Large", 431: "Request Header Fields Too Large", 503: "Busy"}
_DETAILS = {
    408: "The request did not arrive in time. Please send it again.",
    413: "The request is too large. Send less text, smaller files, or fewer at once.",
    431: "The request's headers are too large.",
    503: "Too many connections. Please try again in a moment.",
}


class Connection(TConn):  # type: ignore[misc]  # gunicorn ships no types
    """A connection, what has arrived of its next request, and in ``sock`` what has not left of its last reply."""

    arrival: Arrival
    sock: Departure

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.initialized = True  # the worker makes its parsers
        self.is_first = True
        self.is_kept = False  # after the reply
        self.is_closing = False

    @property
    def is_idle(self) -> bool:
        """Nothing is lost if it ends."""
        return self.is_closing or (self.arrival.stage is Stage.FIRST_BYTE and not self.sock.size)

    @property
    def moved(self) -> int:
        """Bytes of the present request or reply."""
        return self.sock.taken if self.sock.size else self.arrival.size

    @property
    def waiting_bytes(self) -> int:
        return self.sock.size + (self.arrival.size if self.arrival.stage is Stage.BODY else 0)

    @property
    def address(self) -> str:
        return str(self.client[0])

    def expect(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.begin_to_wait()

    def begin_to_wait(self) -> None:
        self.since = self._checked_at = time.monotonic()
        self._checked = self.moved

    def is_late(self, now: float) -> bool:
        if self.is_closing:
            return now > self.since + _LINGER
        if self.is_idle:
            return now > self.since + (HEAD_WITHIN if self.is_first else KEEP_ALIVE)
        if self.arrival.stage is Stage.HEAD:
            return now > self.since + HEAD_WITHIN
        if now > self._checked_at + PAUSE:
            if self.moved < self._checked + STEP:
                return True
            self._checked_at, self._checked = now, self.moved
        return False


class WaitingWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """gunicorn's threaded worker, with another way from the socket to the thread.

    Configure before it runs: ``max_body`` and ``max_form`` in bytes, ``proxies`` whose connections have no limit.
    ``has_begun``: there is something to end in order when it is told to stop; before, it need not finish loading.
    """

    max_body = 1_000_000
    max_form = 1_000_000
    proxies = Proxies()
    has_begun = False

    def init_process(self) -> None:
        self._waiting: dict[Connection, None] = {}  # in the order in which they began to wait
        self._from_address: Counter[str] = Counter()
        self._looked_at = 0.0
        self._stops_at = float("inf")
        _allow_files(MAX_CONNECTIONS + _SPARE_FILES)
        super().init_process()

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        """On SIGTERM."""
        if not self.has_begun:
            os._exit(0)
        super().handle_exit(number, frame)

    def accept(self, listener: socket.socket) -> None:
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._drop_oldest(self._waiting)
            return
        connection = Connection(self.cfg, Departure(sock), client, listener.getsockname())
        self.nr_conns += 1
        self._from_address[connection.address] += 1
        connection.expect(self._new_arrival())
        if self._make_room(connection):
            self._wait(connection, selectors.EVENT_READ, self._read)
        else:
            self._refuse(connection, 503)

    def murder_pending(self) -> None:
        """Called at every turn of the loop: end those whose time is over."""
        now = time.monotonic()
        if now < self._looked_at + 0.5:
            return
        self._looked_at = now
        if not self.alive:
            self._stops_at = min(self._stops_at, now + _LINGER)
        for connection in list(self._waiting):
            # At the end only replies go on: what has not arrived was not accepted.
            if connection.is_late(now) or (now > self._stops_at and not connection.sock.size):
                if connection.is_idle or connection.sock.size:
                    self._drop(connection)
                else:
                    self._refuse(connection, 408)

    def finish_request(self, connection: Connection, future: Future[bool]) -> None:
        """After a thread has answered."""
        connection.arrival.close()
        connection.is_kept = not future.cancelled() and future.exception() is None and future.result()
        connection.sock.setblocking(False)
        if connection.sock.size:
            connection.begin_to_wait()
            self._wait(connection, selectors.EVENT_WRITE, self._write)
            self._limit_bytes()
        else:
            self._go_on(connection)

    def _write(self, connection: Connection, sock: Departure) -> None:
        try:
            if sock.flush():
                self._stop_waiting(connection)
                self._go_on(connection)
        except OSError:
            self._drop(connection)

    def _go_on(self, connection: Connection) -> None:
        """After the reply has left."""
        if not connection.is_kept:
            self._close_in_order(connection)
            return
        rest = connection.arrival.rest
        connection.is_first = False
        connection.expect(self._new_arrival())
        self._wait(connection, selectors.EVENT_READ, self._read)
        if rest:
            self._add(connection, rest)

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
        return self._drop_oldest(candidates)

    def _drop_oldest(self, candidates: Iterable[Connection]) -> bool:
        oldest = min(candidates, key=lambda one: one.since, default=None)
        if oldest is not None:
            self._drop(oldest)
        return oldest is not None

    def _wait(self, connection: Connection, event: int, action: Callable[[Connection, Departure], None]) -> None:
        self._waiting[connection] = None
        self.poller.register(connection.sock, event, partial(action, connection))

    def _read(self, connection: Connection, sock: Departure) -> None:
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
        """Too much waits in files and memory: the one that has waited longest with some of it ends."""
        holders = [one for one in self._waiting if one.waiting_bytes]
        if sum(one.waiting_bytes for one in holders) > MAX_WAITING_BYTES:
            self._drop_oldest(holders)

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
            self._wait(connection, selectors.EVENT_READ, self._read)

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
