"""Photos that lie upside down or on their side without saying so."""

from __future__ import annotations

import io

from PIL import Image

_TURNS = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}


def turned(photo: bytes, degrees: int) -> bytes:
    """A normalised photo, turned clockwise by 90, 180 or 270 degrees."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(photo)) as image:
        image.transpose(_TURNS[degrees]).save(stream, image.format, quality=95)
    return stream.getvalue()
