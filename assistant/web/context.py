"""What a request works with: the runtime passed to `create_app`."""

from __future__ import annotations

import threading
from typing import cast

from flask import current_app

from assistant.checks import Check
from assistant.desk.desk import Desk
from assistant.runtime import Runtime

EXTENSION = "assistant"
STOPPING = "assistant.stopping"
CHECKS = "assistant.checks"


def runtime() -> Runtime:
    return cast("Runtime", current_app.extensions[EXTENSION])


def desk() -> Desk:
    return runtime().desk


def checks() -> list[Check]:
    """What `assistant doctor` finds now."""
    return cast("list[Check]", current_app.extensions[CHECKS]())


def stopping() -> threading.Event:
    """Set at shutdown, so that open streams end at once instead of delaying it."""
    return cast("threading.Event", current_app.extensions[STOPPING])
