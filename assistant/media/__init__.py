"""Files as customers send them, and photos as we keep them.

Names are looked up on first use: the process that decodes HEIC starts in this package and needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assistant.media.files import StoredFile, Upload
    from assistant.media.photo import Limits, Photo, normalise

__all__ = ["Limits", "Photo", "StoredFile", "Upload", "normalise"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("assistant.media.photo"), name)
