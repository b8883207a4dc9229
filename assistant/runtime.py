"""The one place that wires things together.

`build` makes a desk from settings; tests pass fakes for the parts they fake. Nothing heavy is loaded before it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from assistant import sample
from assistant.db import Database, migrate, utcnow
from assistant.desk import people
from assistant.desk.desk import Desk
from assistant.engine import Installed, install
from assistant.knowledge import embedding
from assistant.outbound import Fetch, fetcher
from assistant.ports import Capabilities
from assistant.retrieval.embedders import Embedders
from assistant.retrieval.index import Index
from assistant.retrieval.rerank import Reranking
from assistant.retrieval.sources.website import USER_AGENT
from assistant.settings import Settings
from assistant.skills.taxonomy import Taxonomy, load_taxonomy
from assistant.storage import Storage


@dataclass(frozen=True)
class Runtime:
    """Settings, the desk that use cases work with, and the engine behind it. Close it once at the end."""

    settings: Settings
    desk: Desk
    installed: Installed | None = None

    def close(self) -> None:
        if self.installed is not None:
            self.installed.close()
        self.desk.db.close()


def build(
    settings: Settings,
    *,
    capabilities: Capabilities | None = None,
    now: Callable[[], datetime] = utcnow,
    fetch: Fetch | None = None,
) -> Runtime:
    """Open the database (upgrading it), the storage, the taxonomy and the models.

    Raises `NotReady` with what to do when a part is missing or broken.
    """
    installed = install(settings) if capabilities is None else None
    capabilities = capabilities or (installed.capabilities if installed is not None else None)
    assert capabilities is not None  # noqa: S101  (one of the two is there)
    db = open_database(settings)
    taxonomy = load_taxonomy(settings.taxonomy or sample.taxonomy_path())
    _sync_teams(db, taxonomy)
    embedders = Embedders(capabilities.embedder, capabilities.reopen_embedder)
    embedding.adopt(db, embedders, pictures=capabilities.photo_embedder)
    desk = Desk(
        settings=settings,
        db=db,
        storage=Storage.open(settings.attachments_url),
        capabilities=capabilities,
        taxonomy=taxonomy,
        embedders=embedders,
        index=Index(
            db,
            embedders,
            photo_embedder=capabilities.photo_embedder,
            reranking=_reranking(capabilities, settings),
        ),
        now=now,
        fetch=fetch or fetcher(user_agent=USER_AGENT, private=settings.kb_private_addresses),
    )
    return Runtime(settings, desk, installed)


def preflight(settings: Settings) -> None:
    """Find out what would stop a server before it listens. Raises `NotReady`; loads no model."""
    open_database(settings).close()
    load_taxonomy(settings.taxonomy or sample.taxonomy_path())
    Storage.open(settings.attachments_url).check()


def open_database(settings: Settings) -> Database:
    """The database, brought to this version's tables."""
    migrate(settings.sqlalchemy_url)
    return Database(settings.sqlalchemy_url)


def _reranking(capabilities: Capabilities, settings: Settings) -> Reranking | None:
    if capabilities.reranker is None:
        return None
    return Reranking(capabilities.reranker, seconds=settings.reranker_seconds)


def _sync_teams(db: Database, taxonomy: Taxonomy) -> None:
    with db.begin() as session:
        people.sync_teams(session, {team.key: team.name for team in taxonomy.teams})
