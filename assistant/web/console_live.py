"""Live pages of the console: streams that say that something happened, and how many of them there may be.

What happened is never in the stream: the page asks for its panels again and gets what this agent may see.
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

# Visible pages of one agent; hidden pages close their stream themselves. One more, and the oldest ends.
STREAMS_EACH = 6
# Pages that were left are found by writing to them: an agent leafs through tickets faster than the usual ping.
PING_EVERY = 3.0
_RETRY_AFTER = 15.0


class AgentStreams:
    """The open streams of each agent, oldest first. Thread-safe."""

    def __init__(self) -> None:
        self._open: dict[int, deque[threading.Event]] = {}
        self._lock = threading.Lock()

    def enter(self, agent_id: int, *, each: int, together: int) -> threading.Event | None:
        """Count one more. The event is set when the stream should end; None if all together are too many."""
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

    def count(self, agent_id: int) -> int:
        with self._lock:
            return len(self._open.get(agent_id, ()))


STREAMS = "assistant.agent_streams"


def news_stream(conversation_id: int | None, name: Callable[[Event], str | None]) -> Response:
    """That something happened, by name, to one conversation or (None) to any."""
    agent_id = auth.agent().agent_id
    # Each holds a web thread: they leave most of them to customers and to requests.
    streams = cast("AgentStreams", current_app.extensions[STREAMS])
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
        )
    except BaseException:
        streams.leave(agent_id, ended)
        raise
    response.call_on_close(lambda: streams.leave(agent_id, ended))
    return response
