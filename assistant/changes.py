"""Waiting for changes that this process commits."""

from __future__ import annotations

import threading

_PLACES = 1024  # among which topics are divided


class Changes:
    """Wakes those waiting for a topic after a commit in this process. Other processes poll.

    Each conversation is a topic, so there is no end of them. Those that share a place wake each other, which does no
    harm: whoever is woken looks for what is new."""

    def __init__(self) -> None:
        self._counts = [0] * _PLACES
        self._changed: dict[int, threading.Condition] = {}  # of the places that somebody has waited for or changed

    def publish(self, topics: set[str]) -> None:
        for place in {_place(topic) for topic in topics}:
            changed = self._condition(place)
            with changed:
                self._counts[place] += 1
                changed.notify_all()

    def seen(self, topic: str) -> int:
        return self._counts[_place(topic)]

    def wait(self, topic: str, *, seen: int, timeout: float) -> int:
        """The topic's count, once it differs from ``seen`` or after ``timeout`` seconds."""
        place = _place(topic)
        changed = self._condition(place)
        with changed:
            changed.wait_for(lambda: self._counts[place] != seen, timeout)
            return self._counts[place]

    def _condition(self, place: int) -> threading.Condition:
        return self._changed.get(place) or self._changed.setdefault(place, threading.Condition())


def _place(topic: str) -> int:
    return hash(topic) % _PLACES
