"""Column kinds that tables use: public ids, checked enumerations, JSON, foreign keys that say their ondelete, links."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import JSON, Dialect, Enum, ForeignKey, Text, TypeDecorator
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from assistant.db import new_public_id
from assistant.text.addresses import web_address

JSONType = JSON().with_variant(JSONB(), "postgresql")


def public_id(prefix: str) -> Mapped[str]:
    """The id that goes out. Integer ids stay inside."""
    return mapped_column(Text, unique=True, default=partial(new_public_id, prefix))


def enum_type(enum: type[StrEnum], name: str) -> Enum:
    """Stored as text with a CHECK, so that adding a value is an ordinary migration on both databases."""
    return Enum(
        enum,
        name=name,
        native_enum=False,
        create_constraint=True,
        length=40,  # the same for all, so that a longer new value needs no change of type
        values_callable=lambda kinds: [kind.value for kind in kinds],
    )


class WebAddress(TypeDecorator[str]):
    """Where a link leads. What must be none, as versions before may have stored it, is read as if there were none."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return web_address(value)


def reference(target: str, *, ondelete: str, nullable: bool = False, unique: bool = False) -> Mapped[Any]:
    """An indexed foreign key to ``table.id``; ``unique``: at most one row points there."""
    key = ForeignKey(f"{target}.id", ondelete=ondelete)
    return mapped_column(key, index=not unique, nullable=nullable, unique=unique or None)
