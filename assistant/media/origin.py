"""What is known of a photo's file and can no longer be seen in its pixels: kept with them, as a comment of ours."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass

from PIL import Image, PngImagePlugin


@dataclass(frozen=True)
class Origin:
    """``width`` and ``height`` of the picture as it was sent; ``upright``: whether its file said which side is up.

    Of an animation, ``frames`` counts those it has (those that were looked at if it ``goes_on``), and ``shown`` has the
    numbers, from 1, of those that the photo shows; empty for a picture that does not move.
    """

    width: int = 0
    height: int = 0
    upright: bool = False
    frames: int = 1
    goes_on: bool = False
    shown: tuple[int, ...] = ()


def origin_of(photo: bytes) -> Origin:
    """Of a normalised photo. Nothing is known of one that was kept by an earlier version."""
    try:
        with Image.open(io.BytesIO(photo), formats=["JPEG", "PNG"]) as image:
            told = json.loads(image.info.get("comment") or image.info["Comment"])
        return Origin(**{**told, "shown": tuple(told["shown"])})
    except (OSError, ValueError, KeyError, TypeError):
        return Origin()


def save(image: Image.Image, image_format: str, origin: Origin, **options: int | str) -> bytes:
    """The encoded image, JPEG or PNG, with its origin as its only metadata."""
    note = json.dumps(asdict(origin), separators=(",", ":"))
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", note)
    comment = {"pnginfo": text} if image_format == "PNG" else {"comment": note.encode()}
    buffer = io.BytesIO()
    image.save(buffer, image_format, **comment, **options)
    return buffer.getvalue()
