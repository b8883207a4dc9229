"""What a request works with: the runtime passed to `create_app`."""

from __future__ import annotations

import threading
from typing import cast

from flask import current_app

from assistant.desk.desk import Desk
from assistant.runtime import Runtime

EXTENSION = "assistant"
STOPPING = "assistant.stopping"


def runtime() -> Runtime:
    return cast("Runtime", current_app.extensions[EXTENSION])


def desk() -> Desk:
    return runtime().desk


def stopping() -> threading.Event:
    """Set at shutdown, so that open streams end at once instead of delaying it."""
    return cast("threading.Event", current_app.extensions[STOPPING])
