"""Live pages of the console: streams that signal changes, and limits on how many may be open.

A stream never carries the change itself: the page requests its panels again and gets what this agent may see.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import cast

from flask import Response, current_app

from assistant.desk.events import Audience
from assistant.models import Event
from assistant.web import auth
from assistant.web.context import desk, runtime
from assistant.web.responses import event_stream, too_many_requests

# Per agent, for visible pages (hidden ones close their stream). Opening one more ends the oldest.
STREAMS_EACH = 6
# Closed pages are noticed only by writing to them, and agents leaf through tickets faster than the usual ping.
PING_EVERY = 3.0
_RETRY_AFTER = 15.0
# Pages see it: one that hears nothing for longer knows that its line is dead.
_PING = "event: ping\ndata: {}\n\n"


class AgentStreams:
    """The open streams of each agent, oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._open: dict[int, deque[threading.Event]] = {}
        self._lock = threading.Lock()

    def enter(self, agent_id: int, *, each: int, together: int) -> threading.Event | None:
        """Register a stream. The event returned is set when it should end; None if too many are open altogether."""
        with self._lock:
            mine = self._open.setdefault(agent_id, deque())
            if len(mine) >= each:
                mine.popleft().set()
            elif sum(len(streams) for streams in self._open.values()) >= together:
                return None
            ended = threading.Event()
            mine.append(ended)
            return ended

    def leave(self, agent_id: int, ended: threading.Event) -> None:
        with self._lock:
            mine = self._open.get(agent_id, deque())
            if ended in mine:
                mine.remove(ended)
            if not mine:
                self._open.pop(agent_id, None)

    def end(self, agent_id: int) -> None:
        """Their session is over."""
        with self._lock:
            for ended in self._open.get(agent_id, ()):
                ended.set()

    def count(self, agent_id: int) -> int:
        with self._lock:
            return len(self._open.get(agent_id, ()))


STREAMS = "assistant.agent_streams"


def end_streams(agent_id: int) -> None:
    """Of an agent whose sessions were ended."""
    _streams().end(agent_id)


def _streams() -> AgentStreams:
    return cast("AgentStreams", current_app.extensions[STREAMS])


def news_stream(conversation_id: int | None, name: Callable[[Event], str | None]) -> Response:
    """A stream of names of changes to one conversation or (None) to any; ``name`` maps an event to its name."""
    agent_id = auth.agent().agent_id
    # Each holds a web thread: leave most of them to customers and requests.
    streams = _streams()
    ended = streams.enter(agent_id, each=STREAMS_EACH, together=max(2, runtime().settings.threads // 5))
    if ended is None:
        raise too_many_requests(_RETRY_AFTER)
    try:
        response = event_stream(
            desk(),
            conversation_id=conversation_id,
            audience=Audience.AGENT,
            name=name,
            with_payload=False,
            ended=ended.is_set,
            ping_every=PING_EVERY,
            ping=_PING,
        )
    except BaseException:
        streams.leave(agent_id, ended)
        raise
    response.call_on_close(lambda: streams.leave(agent_id, ended))
    return response
