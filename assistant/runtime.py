"""The one place that wires things together: `build` makes a desk from settings. Tests pass fakes for some parts.

Models are loaded on first use, not here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from assistant.db import Database, migrate, utcnow
from assistant.desk import erasure, people, webhooks
from assistant.desk.desk import Desk
from assistant.desk.retention import Retention
from assistant.desk.taxonomies import Taxonomies
from assistant.engine import Installed, install
from assistant.knowledge import embedding
from assistant.mailer import open_mailer
from assistant.outbound import Fetch, fetcher
from assistant.ports import Capabilities, Mode
from assistant.ports.scanner import NoScanner
from assistant.retrieval.embedders import Embedders
from assistant.retrieval.index import Index
from assistant.retrieval.rerank import Reranking
from assistant.retrieval.sources.website import USER_AGENT
from assistant.scanner import Clamd
from assistant.settings import Settings
from assistant.skills.masking import masked
from assistant.skills.taxonomy import Taxonomy, load_taxonomy
from assistant.storage import Storage
from assistant.text.words import query_words


@dataclass(frozen=True)
class Runtime:
    """Settings, the desk that use cases work on, and the models behind it. Close it when done."""

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
    """Open and upgrade the database; open storage, taxonomy and models. ``fetch``: in place of requests to websites.

    Raises `NotReady` if a part is missing or broken, and says what to do.
    """
    installed = install(settings) if capabilities is None else None
    capabilities = capabilities or (installed.capabilities if installed is not None else None)
    assert capabilities is not None  # noqa: S101  (given or installed)
    db = open_database(settings)
    taxonomy = load_taxonomy(settings.taxonomy)
    capabilities = mask_remote(capabilities, settings, taxonomy)
    with db.begin() as session:
        people.sync_teams(session, {team.key: team.name for team in taxonomy.teams})
    embedders = Embedders(capabilities.embedder, capabilities.reopen_embedder, capabilities.second_embedder)
    embedding.adopt(db, embedders, pictures=capabilities.photo_embedder)
    reranker = capabilities.reranker
    reranking = None if reranker is None else Reranking(reranker, seconds=settings.reranker_seconds)
    desk = Desk(
        settings=settings,
        db=db,
        storage=Storage.open(settings.attachments_url),
        capabilities=capabilities,
        taxonomies=Taxonomies(db, taxonomy),
        embedders=embedders,
        index=Index(
            db,
            embedders,
            photo_embedder=capabilities.photo_embedder,
            reranking=reranking,
            product_names=taxonomy.product_names,
        ),
        now=now,
        scanner=Clamd(settings.scanner) if settings.scanner else NoScanner(),
        mailer=open_mailer(settings.smtp_url.get_secret_value() if settings.smtp_url is not None else None),
        fetch=fetch
        or fetcher(
            user_agent=USER_AGENT, private=settings.kb_private_addresses, allowed_by="ASSISTANT_KB_PRIVATE_ADDRESSES"
        ),
        post=fetcher(
            user_agent=USER_AGENT,
            private=settings.webhook_private_addresses,
            allowed_by="ASSISTANT_WEBHOOK_PRIVATE_ADDRESSES",
            timeout=webhooks.TIMEOUT,
        ),
    )
    erasure.repeat(db, desk.storage, settings.data_dir)
    Retention(db, desk.storage, settings.data_dir, desk.taxonomy).repeat(now=now())
    return Runtime(settings, desk, installed)


def mask_remote(capabilities: Capabilities, settings: Settings, taxonomy: Taxonomy) -> Capabilities:
    """The capabilities; a model on another machine behind placeholders for personal data, unless the settings say
    otherwise. Names of products and of the company are never taken for personal data."""
    if capabilities.mode is not Mode.REMOTE or not settings.remote_mask:
        return capabilities
    names = (settings.company, *(name for name, _ in taxonomy.product_names))
    return masked(capabilities, frozenset(word for name in names for word in query_words(name)).intersection)


def preflight(settings: Settings) -> None:
    """Check what a server needs before it listens. Raises `NotReady`; loads no model."""
    open_database(settings).close()
    load_taxonomy(settings.taxonomy)
    Storage.open(settings.attachments_url).check()


def open_database(settings: Settings) -> Database:
    """The database, upgraded to this version; SQLite's is copied before."""
    migrate(settings.sqlalchemy_url, keep_before=True)
    return Database(settings.sqlalchemy_url)
