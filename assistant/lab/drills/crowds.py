"""Drills of many at once, and of a long day: whoever has no stream of their own learns of the answer all the same, slow
clients keep nobody waiting, everybody in a crowd is told their place, and memory does not grow.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import httpx

from assistant.errors import NotReady
from assistant.lab.drills.site import (
    ANSWERS_WITHIN,
    PLAIN,
    SETTLES_WITHIN,
    Site,
    Size,
    good,
    open_site,
    own_memory,
    photo_of,
    require,
    settle,
    write_article,
)
from assistant.lab.real_server import Worker

_AT_ONCE = 20  # requests of those who come one after the other
_POLLS_EVERY = 5.0  # seconds: browsers without a stream ask so often
_SAMPLES = 10
_GROWS_AT_MOST = 0.1  # of what it is after the first half


class _Visitor:
    """A browser that never waits idly. ``number``: each has an address of their own, as visitors are limited one by
    one."""

    def __init__(self, url: str, number: int) -> None:
        address = f"127.{number // 60_000 + 1}.{number // 250 % 250 + 1}.{number % 250 + 1}"
        transport = httpx.AsyncHTTPTransport(local_address=address)
        self._client = httpx.AsyncClient(base_url=f"{url}/widget/v1", transport=transport, timeout=ANSWERS_WITHIN)
        self._path = ""
        self.number = number
        self.streamed = False
        self.refusals = 0
        self.places: list[int] = []

    async def close(self) -> None:
        await self._client.aclose()

    async def write(self, text: str, photo: bytes | None = None) -> float:
        """Send a first message, again whenever the server says "later". Seconds until it is acknowledged."""
        started = time.monotonic()
        token = (await self._insist(lambda: self._client.post("/sessions"))).json()["token"]
        self._client.headers["Authorization"] = f"Bearer {token}"
        form: dict[str, Any] = {"text": (None, text), "client_id": (None, text)}
        if photo is not None:
            form["photos"] = ("photo.jpg", photo, "image/jpeg")
        answer = await self._insist(lambda: self._client.post("/conversations", files=form))
        self._path = f"/conversations/{answer.json()['conversation']['id']}"
        return time.monotonic() - started

    async def _insist(self, ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        ends_at = time.monotonic() + SETTLES_WITHIN
        while time.monotonic() < ends_at:
            try:
                answer = await ask()
            except httpx.HTTPError:
                await asyncio.sleep(0.5)
                continue
            if answer.status_code not in (429, 503):
                return good(answer)
            self.refusals += 1
            await asyncio.sleep(min(float(answer.headers.get("Retry-After", "1")), _POLLS_EVERY))
        raise NotReady("It was told “later” for too long.")

    async def learn(self) -> float:
        """By a stream or without one, until something is said to them. Seconds."""
        started = time.monotonic()
        await asyncio.wait_for(self._follow(), SETTLES_WITHIN)
        return time.monotonic() - started

    async def _follow(self) -> None:
        while True:
            known = (await self._insist(lambda: self._client.get(self._path))).json()
            if known["jobs_ahead"] is not None:
                self.places.append(known["jobs_ahead"])
            if any(one["author"] != "customer" for one in known["messages"]):
                return
            if await self._is_told_by_stream(known["last_event_id"]):
                return
            await asyncio.sleep(_POLLS_EVERY)

    async def _is_told_by_stream(self, after: int) -> bool:
        headers = {"Last-Event-ID": str(after)}
        with suppress(httpx.HTTPError):
            async with self._client.stream("GET", f"{self._path}/events", headers=headers) as stream:
                if stream.status_code != 200:
                    return False
                self.streamed = True
                async for line in stream.aiter_lines():
                    if line.startswith("data:") and _is_said(line.removeprefix("data:")):
                        return True
        return False


def _is_said(data: str) -> bool:
    payload = json.loads(data)
    message = payload.get("message", payload) if isinstance(payload, dict) else {}
    return isinstance(message, dict) and message.get("author") in ("assistant", "system", "agent")


def listened(folder: Path, size: Size, _chance: random.Random) -> str:
    """Far more open conversations than threads: who gets no stream asks again and again, and learns as much."""
    write_article(folder)
    settings = {"workers": 0, "threads": max(8, min(128, size.listeners // 2))}
    with open_site(folder, **settings) as site, closing(Worker(folder / "var", **PLAIN)) as worker:
        return _alone(_listen(site, worker, size.listeners, settings["threads"]))


async def _listen(site: Site, worker: Worker, count: int, threads: int) -> str:
    visitors = [_Visitor(site.server.url, number) for number in range(count)]
    await _all_of([one.write(f"What does E21 mean? {one.number}") for one in visitors], _AT_ONCE)
    following = [asyncio.create_task(one.learn()) for one in visitors]
    await asyncio.sleep(_POLLS_EVERY)
    worker.start()
    waits = sorted(await asyncio.gather(*following))
    streamed = [one for one in visitors if one.streamed]
    for one in visitors:
        await one.close()
    require(bool(streamed), "Nobody had a stream.")
    return (
        f"{count} conversations followed with {threads} threads: {len(streamed)} had a stream, the others asked every "
        f"{_POLLS_EVERY:.0f} s; all learned of their answer, half within {waits[len(waits) // 2]:.0f} s and the last "
        f"within {waits[-1]:.0f} s, with as many messages to answer"
    )


def _alone(task: Coroutine[Any, Any, str]) -> str:
    """Do it in a thread of its own: in the caller's a loop may be running."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, task).result()


async def _all_of(tasks: list[Coroutine[Any, Any, float]], at_once: int) -> list[float]:
    """Do them, so many at a time."""
    room = asyncio.Semaphore(at_once)

    async def within(task: Coroutine[Any, Any, float]) -> float:
        async with room:
            return await task

    return await asyncio.gather(*map(within, tasks))


def dawdled(folder: Path, size: Size, _chance: random.Random) -> str:
    """More connections than threads whose requests, or whose reading of the answer, never end."""
    with open_site(folder, workers=0, threads=8) as site, ExitStack() as open_ones:
        host, port = site.server.url.removeprefix("http://").split(":")
        before = _seconds(lambda: site.ticket("before they came"))
        head = f"POST /api/v1/tickets HTTP/1.1\r\nHost: {host}\r\n".encode()
        beginnings = (
            b"",
            head,
            head + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",
            f"GET /widget/v1/app.js HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(),
        )
        for number in range(size.streams):
            slow = open_ones.enter_context(socket.create_connection((host, int(port)), timeout=30))
            slow.sendall(beginnings[number % len(beginnings)])
        after = max(_seconds(lambda number=number: site.ticket(f"meanwhile {number}")) for number in range(5))  # type: ignore[misc]
        return f"{size.streams} that never end, on 8 threads: a ticket took {after:.1f} s ({before:.1f} s before)"


def _seconds(ask: Callable[[], httpx.Response]) -> float:
    started = time.monotonic()
    good(ask())
    return time.monotonic() - started


def crowded(folder: Path, size: Size, _chance: random.Random) -> str:
    """Many customers send a photo at the same moment."""
    write_article(folder)
    with open_site(folder, workers=2) as site:
        seen = _alone(_crowd(site, size.crowd))
        settle(site.db)
        return seen


async def _crowd(site: Site, count: int) -> str:
    visitors = [_Visitor(site.server.url, number) for number in range(count)]
    texts = [f"Customer {number}: what does E21 mean?" for number in range(count)]
    photos = [photo_of(text) for text in texts]
    acknowledged = sorted(
        await _all_of([one.write(text, photo) for one, text, photo in zip(visitors, texts, photos, strict=True)], count)
    )
    waits = sorted(await _all_of([one.learn() for one in visitors], count))
    for one in visitors:
        await one.close()
    streamed = sum(one.streamed for one in visitors)
    told = sum(bool(one.places) for one in visitors)
    later, p95 = sum(one.refusals for one in visitors), int(0.95 * (count - 1))
    half, most = acknowledged[count // 2], acknowledged[p95]
    return (
        f"{count} photos at once: acknowledged within {half:.1f} s (half), {most:.1f} s (95 %), “later” {later} times; "
        f"{told} saw their place in the line, {streamed} had a stream; all were answered, 95 % within "
        f"{waits[p95]:.0f} s more"
    )


def remembered(folder: Path, size: Size, _chance: random.Random) -> str:
    """A long day of tickets with photos: the server's memory over messages."""
    write_article(folder)
    with open_site(folder, workers=2) as site:
        samples = []
        for number in range(1, size.photos + 1):
            good(site.ticket(f"Ticket {number} shows E21"))
            if number % max(1, size.photos // _SAMPLES) == 0:
                settle(site.db)
                samples.append((number, own_memory(site.server.pid)))
        late = samples[len(samples) // 2 :]
        per_message = _slope(late)
        growth = per_message * (late[-1][0] - late[0][0]) / late[0][1]
        seen = (
            f"{', '.join(f'{megabytes:.0f}' for _, megabytes in samples)} MB, one after each {samples[0][0]} photos: "
        )
        seen += f"{per_message * 1000:.0f} kB a message in the second half"
        require(growth <= _GROWS_AT_MOST, f"Memory grows: {seen}.")
        return seen


def _slope(samples: list[tuple[int, float]]) -> float:
    """Of the line nearest to the points."""
    mean_x, mean_y = (sum(one[axis] for one in samples) / len(samples) for axis in (0, 1))
    above = sum((x - mean_x) * (y - mean_y) for x, y in samples)
    return above / sum((x - mean_x) ** 2 for x, _ in samples)
