"""The support desk: everything that use cases work with, wired once by `assistant.runtime`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from assistant.db import Database
from assistant.media.photo import Limits
from assistant.outbound import Fetch
from assistant.ports import Capabilities
from assistant.retrieval.embedders import Embedders
from assistant.retrieval.index import Index
from assistant.skills.taxonomy import Taxonomy
from assistant.storage import Storage


@dataclass(frozen=True)
class Desk:
    db: Database
    storage: Storage
    capabilities: Capabilities
    taxonomy: Taxonomy
    embedders: Embedders
    index: Index
    company: str
    answer_threshold: float
    photo_limits: Limits
    photos_per_message: int
    message_max_chars: int
    context_tokens: int
    now: Callable[[], datetime]
    fetch: Fetch  # of pages of websites
    fetch_pause: float  # seconds between them
