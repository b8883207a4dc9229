"""HEIC to PNG, in the sandbox: damaged HEIC files crash libheif's Python wrapper, and the whole process with it."""

from __future__ import annotations

import io

from pi_heif import register_heif_opener
from PIL import Image

from assistant.media.shape import kept_size


def read(data: bytes, *, max_pixels: int, max_side: int) -> bytes:
    """A PNG that is upright and keeps the colour profile. Raises `MemoryError` if there are more than ``max_pixels``.

    Changes Pillow's settings: only to be called in a process of its own."""
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(io.BytesIO(data), formats=["HEIF"]) as image:
        if image.width * image.height > max_pixels:
            raise MemoryError("too many pixels")
        image.load()
        image.thumbnail(kept_size(*image.size, max_side), Image.Resampling.LANCZOS, reducing_gap=3.0)
        png = io.BytesIO()
        image.save(png, "PNG", compress_level=1)
    return png.getvalue()
