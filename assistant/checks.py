"""One line of what `assistant doctor` reports; the engine reports its own part."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Check:
    """``detail``: what was found. ``advice``: what to do about it, if anything."""

    name: str
    status: Status
    detail: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)
