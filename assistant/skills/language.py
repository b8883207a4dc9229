"""The language of a text, and what the customer wants beside an answer: a person, another answer, or only to say hello
or thanks."""

from __future__ import annotations

from collections.abc import Mapping

from assistant.ports import Capabilities
from assistant.skills import cues
from assistant.text.languages import LANGUAGES, detect
from assistant.wording import ENGLISH, Notice, choose, word

__all__ = ["LANGUAGES", "courtesy", "detect", "rejects", "wants_person"]


def wants_person(text: str, capabilities: Capabilities | None = None) -> bool:
    """Whether the customer asks for a person. ``capabilities``: as `cues.read` takes them."""
    return cues.read(text, capabilities).shows("wants_person")


def rejects(text: str, capabilities: Capabilities | None = None) -> bool:
    """Whether the customer says that an answer did not help. ``capabilities``: as `cues.read` takes them."""
    return cues.read(text, capabilities).shows("rejects")


def courtesy(
    text: str, expected: Mapping[str, float] | None = None, capabilities: Capabilities | None = None
) -> str | None:
    """The reply to a text that is nothing but a greeting or thanks, in its language; None for any other text.
    ``expected``: the prior for its language; ``capabilities``: as `cues.read` takes them."""
    shown = cues.read(text, capabilities)
    if not text.strip() or not shown.shows("courtesy"):
        return None
    spoken, _ = detect(text, expected)
    return word(Notice("courtesy_hello" if shown.shows("greets") else "courtesy_thanks"), choose([spoken]) or ENGLISH)
