"""A drill of webhooks: a receiver that refuses, dawdles and restarts, and a server that is killed meanwhile."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import defaultdict
from contextlib import closing
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sqlalchemy import func, select

from assistant.desk import feed, webhooks
from assistant.desk.events import TOLD
from assistant.lab.drills.site import Failed, Site, Size, good, insist, require
from assistant.models import DeliveryState, Event, Ticket, WebhookDelivery
from assistant.payloads.events import PREFIX as EVENT_PREFIX

_KILLS = 2
_RESTARTS = 3
_AWAY_SECONDS = 2.0
_REFUSED, _SLOW = 0.15, 0.02  # shares of what it is told
_SLOW_SECONDS = 0.5
_CHANGES = 7  # of each ticket, by the API, while it is triaged
_EVENTS_OF_A_TICKET = 3 + _CHANGES  # at least: opened, written, triaged, changed
_DONE_WITHIN = 2400.0  # what is refused five times in a row waits for minutes


class _Receiver:
    """Takes most of what it is told, and remembers in which order. Thread-safe."""

    def __init__(self, chance: random.Random) -> None:
        self.taken: dict[str, list[str]] = defaultdict(list)  # ids of events by ticket, repetitions included
        self.asked = 0
        self._chance, self._lock = chance, threading.Lock()
        self._port = 0
        self.open()
        self.url = f"http://127.0.0.1:{self._port}/hook"

    def open(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(receiver._answer(body))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_arguments: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def restart(self) -> None:
        self.close()
        time.sleep(_AWAY_SECONDS)
        self.open()

    def _answer(self, body: bytes) -> int:
        event = json.loads(body)
        with self._lock:
            self.asked += 1
            luck = self._chance.random()
        if luck < _REFUSED:
            return 503
        if luck < _REFUSED + _SLOW:
            time.sleep(_SLOW_SECONDS)
        with self._lock:
            self.taken[event["ticket"]["id"]].append(event["id"])
        return 204


def delivered(folder: Path, size: Size, chance: random.Random) -> str:
    """Every event of every ticket arrives, in the ticket's order, and twice only under the same id."""
    tickets = max(1, size.deliveries // _EVENTS_OF_A_TICKET)
    with (
        closing(_Receiver(chance)) as receiver,
        closing(Site(folder / "var", webhook_private_addresses=True)) as site,
    ):
        with site.db.begin() as session:
            settings = site.settings.model_copy(update={"webhook_private_addresses": True})
            webhooks.add(session, settings, url=receiver.url)
        site.server.start()
        kill_at = {tickets * place // (_KILLS + 1) for place in range(1, _KILLS + 1)}
        restart_at = {tickets * place // (_RESTARTS + 1) for place in range(1, _RESTARTS + 1)}
        for number in range(tickets):
            if number in kill_at:
                site.server.kill()
                site.server.start()
            if number in restart_at:
                receiver.restart()
            insist(partial(_work_on, site, f"Ticket {number}: E21."))
        _wait(site)
        return _seen(site, receiver)


def _work_on(site: Site, text: str) -> None:
    """Open a ticket and change it, as often as it takes: what has been done is not done again."""
    ticket = good(site.ticket(text, photo=False)).json()["id"]
    for number in range(_CHANGES):
        good(site.change(ticket, {"tags": [f"step {number}"]}, once=f"{ticket}-{number}"))


def _wait(site: Site) -> None:
    """Until every event that there is has been taken, and no more come."""
    ends_at, before = time.monotonic() + _DONE_WITHIN, -1
    while time.monotonic() < ends_at:
        told = sum(map(len, _told(site).values()))
        with site.db.read() as session:
            is_taken = WebhookDelivery.state == DeliveryState.DELIVERED
            taken = session.scalar(select(func.count(WebhookDelivery.id)).where(is_taken))
        if told == taken == before:
            return
        before = told
        time.sleep(1.0)
    raise Failed("Some events are never delivered.")


def _told(site: Site) -> dict[str, list[str]]:
    """Ids of events by ticket, as the feed has them."""
    of_events = feed.with_tickets(select(Ticket)).where(Event.kind.in_(TOLD)).order_by(Event.id)
    by_ticket: dict[str, list[str]] = defaultdict(list)
    with site.db.read() as session:
        for event_id, ticket in session.execute(of_events.with_only_columns(Event.id, Ticket.public_id)):
            by_ticket[ticket].append(f"{EVENT_PREFIX}{event_id}")
    return by_ticket


def _seen(site: Site, receiver: _Receiver) -> str:
    told = _told(site)
    lost = overtaken = repeated = 0
    for ticket, ids in told.items():
        firsts = list(dict.fromkeys(receiver.taken[ticket]))
        lost += len(set(ids) - set(firsts))
        overtaken += firsts != [one for one in ids if one in set(firsts)]
        repeated += len(receiver.taken[ticket]) - len(firsts)
    unknown = receiver.taken.keys() - told.keys()
    require(not lost and not overtaken and not unknown, f"{lost} lost, {overtaken} tickets out of order.")
    events = sum(map(len, told.values()))
    return (
        f"{events} events of {len(told)} tickets, {receiver.asked} requests, {_KILLS} kills of the server, {_RESTARTS} "
        f"restarts of the receiver: 0 lost, 0 out of order, {repeated} came twice"
    )
