"""Categories that admins and machines have changed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column, relationship

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, reference
from assistant.models.people import Agent, APIKey


class TaxonomyVersion(Base):
    """All categories, as a taxonomy file would have them. The newest that was published counts; one that was not is a
    draft, and there is at most one."""

    __tablename__ = "taxonomy_versions"

    id: Mapped[int] = mapped_column(primary_key=True)
    categories: Mapped[list[dict[str, Any]]] = mapped_column(JSONType)
    agent_id: Mapped[int | None] = reference("agents", ondelete="SET NULL", nullable=True)
    agent: Mapped[Agent | None] = relationship()
    api_key_id: Mapped[int | None] = reference("api_keys", ondelete="SET NULL", nullable=True)
    api_key: Mapped[APIKey | None] = relationship()
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    published_at: Mapped[datetime | None]
