"""The support desk: everything that use cases work with, wired once by `assistant.runtime`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from assistant.db import Database
from assistant.desk.processes import Identity
from assistant.desk.taxonomies import Taxonomies
from assistant.measures import Measures
from assistant.media.photo import Limits
from assistant.outbound import Fetch
from assistant.ports import Capabilities
from assistant.ports.mail import Mailer, NoMailer
from assistant.ports.scanner import NoScanner, Scanner
from assistant.retrieval.embedders import Embedders
from assistant.retrieval.index import Index
from assistant.settings import Settings
from assistant.skills.own_products import Recogniser
from assistant.skills.taxonomy import Taxonomy
from assistant.skills.triage import Heads
from assistant.storage import Storage


@dataclass(frozen=True, eq=False)
class Desk:
    """Two desks in one process share nothing: what is cached for a database is kept here."""

    settings: Settings
    db: Database
    storage: Storage
    capabilities: Capabilities
    taxonomies: Taxonomies
    embedders: Embedders
    index: Index
    now: Callable[[], datetime]
    fetch: Fetch  # pages of websites
    post: Fetch  # to webhooks
    scanner: Scanner = field(default_factory=NoScanner)
    mailer: Mailer = field(default_factory=NoMailer)
    # This process, and what it counts.
    identity: Identity = field(default_factory=Identity)
    measures: Measures = field(default_factory=Measures)
    # Learned triage heads by the id of their row, parsed: `learning` fills it.
    heads: dict[int, Heads] = field(default_factory=dict)
    # The version of the products that serves, by its number: `products` fills it.
    product_versions: dict[int, Recogniser] = field(default_factory=dict)
    # By inbox: when it was measured how long replies take, and how many minutes that was: `expectations` fills it.
    reply_minutes: dict[int, tuple[datetime, int | None]] = field(default_factory=dict)

    @property
    def taxonomy(self) -> Taxonomy:
        """The one that counts now."""
        return self.taxonomies.current()

    @property
    def sends_mail(self) -> bool:
        """Whether anybody may be promised a mail."""
        return not isinstance(self.mailer, NoMailer)

    @property
    def photo_limits(self) -> Limits:
        settings = self.settings
        return Limits(settings.photo_max_bytes, settings.photo_max_pixels, settings.photo_max_side)
