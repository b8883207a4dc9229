"""Runs migrations on the connection that `assistant.db.migrate` hands over."""

from __future__ import annotations

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

import assistant.models  # noqa: F401  (fills Base.metadata)
from assistant.db import Base, UTCDateTime, connect_for_migration


def include_object(_object: object, name: str | None, _kind: str, _reflected: bool, _compare_to: object) -> bool:
    """Full-text tables and indexes are raw SQL, guarded by dialect: autogenerate does not know them."""
    return not (name or "").startswith(("passages_fts", "fts_"))


def render_item(kind: str, item: object, _context: AutogenContext) -> str | Literal[False]:
    """Migrations outlive our own column types: they name SQLAlchemy's."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UTCDateTime) else False


with connect_for_migration(context.config) as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=include_object,
        render_item=render_item,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()
