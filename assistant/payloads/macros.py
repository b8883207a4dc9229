"""Macros, as machines see them."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import Field

from assistant import models
from assistant.payloads.payload import Payload


class MacroAction(Payload):
    name: str
    arguments: dict[str, str]


class Macro(Payload):
    """A text with placeholders, and what is done with it."""

    id: str
    name: str
    text: str
    actions: tuple[MacroAction, ...]
    team: str | None = Field(description="Key of the team that has it; null: everybody.")
    uses: int
    updated_at: datetime

    @classmethod
    def of(cls, macro: models.Macro) -> Self:
        return cls(
            id=macro.public_id,
            name=macro.name,
            text=macro.text,
            actions=tuple(MacroAction(name=one["name"], arguments=one["arguments"]) for one in macro.actions),
            team=macro.team.key if macro.team is not None else None,
            uses=macro.uses,
            updated_at=macro.updated_at,
        )
