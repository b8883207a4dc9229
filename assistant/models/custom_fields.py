"""Custom fields: what a company keeps of its tickets beside what every ticket has."""

from __future__ import annotations

import math
from datetime import date, datetime
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from assistant.db import Base, utcnow
from assistant.models.columns import JSONType, enum_type, public_id
from assistant.text.folding import fold


class FieldKind(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    CHOICE = "choice"
    DATE = "date"


class CustomField(Base):
    """A field that admins have defined. ``key``: what searches, actions and the API call it. An archived one is neither
    shown nor set, and its values stay."""

    __tablename__ = "custom_fields"

    id: Mapped[int] = mapped_column(primary_key=True)
    public_id: Mapped[str] = public_id("fld")
    key: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[FieldKind] = mapped_column(enum_type(FieldKind, "kind"))
    choices: Mapped[list[str]] = mapped_column(JSONType, default=list)
    created_at: Mapped[datetime] = mapped_column(default=utcnow)
    archived_at: Mapped[datetime | None]


class FieldValue(Base):
    """A ticket's value of a custom field, as `desk.custom_fields` has read it. ``folded`` and ``number`` are what it is
    found by: of a date, the number of its day."""

    __tablename__ = "ticket_field_values"
    __table_args__ = (
        Index("ix_ticket_field_values_key_folded", "key", "folded"),
        Index("ix_ticket_field_values_key_number", "key", "number"),
    )

    ticket_id: Mapped[int] = mapped_column(ForeignKey("tickets.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(ForeignKey("custom_fields.key", ondelete="CASCADE"), primary_key=True)
    field: Mapped[CustomField] = relationship(lazy="joined", viewonly=True)
    value: Mapped[str] = mapped_column(Text)
    folded: Mapped[str] = mapped_column(Text)
    number: Mapped[float | None]

    @validates("value")
    def _keep_comparable(self, _name: str, value: str) -> str:
        self.folded, self.number = fold(value), measure(value)
        return value

    @property
    def typed(self) -> str | float:
        """A number as one; anything else as it is written."""
        if self.field.kind is not FieldKind.NUMBER or self.number is None:
            return self.value
        return int(self.number) if self.number.is_integer() else self.number


def measure(text: str) -> float | None:
    """A number or a day as a number; None if the text is neither."""
    try:
        number = float(text)
    except ValueError:
        try:
            return float(date.fromisoformat(text).toordinal())
        except ValueError:
            return None
    return number if math.isfinite(number) else None
