"""What all payloads have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

Score = Annotated[float, AfterValidator(lambda value: round(value, 4))]
Region = Annotated[
    tuple[float, float, float, float], Field(description="Left, top, right, bottom, as fractions of the photo.")
]


class Payload(BaseModel):
    """A value that clients see. No field has a default: what a client may find is always there, or null."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")
