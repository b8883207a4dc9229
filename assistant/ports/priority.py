"""Whose work a model does first. Set around a piece of work, read where it reaches the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum


class WorkPriority(IntEnum):
    """Who is waiting for a model's work; lower goes first."""

    INTERACTIVE = 0  # a customer watching the typing indicator
    DRAFT = 1  # an agent who will look at the ticket
    BATCH = 2  # nobody in particular


_priority: ContextVar[WorkPriority] = ContextVar("priority", default=WorkPriority.INTERACTIVE)


def current_priority() -> WorkPriority:
    """The priority of what the calling thread is working on."""
    return _priority.get()


@contextmanager
def at_priority(priority: WorkPriority) -> Iterator[None]:
    """Requests to the models within this context have this priority."""
    token = _priority.set(priority)
    try:
        yield
    finally:
        _priority.reset(token)
