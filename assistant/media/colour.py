"""Colour profiles: what we keep is sRGB, without a profile."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageCms

# Of 255: invisible.
_SAME_COLOUR = 2


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image with its ICC ``profile`` applied. A broken profile is ignored: the colours are slightly off, which
    nobody will notice."""
    if not profile:
        return image
    image = image.convert("RGB") if image.mode in ("RGBA", "L") else image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, _srgb(), image.mode, "RGB")
        # Most profiles are sRGB under some name: finding that out takes 0.1 ms, converting every pixel 30 ms.
        if image.mode == "RGB" and _changes_nothing(transform):
            return image
        return ImageCms.applyTransform(image, transform) or image
    except Exception:
        return image


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    colours = _sample_colours()
    converted = ImageCms.applyTransform(colours, transform)
    difference = np.asarray(converted, dtype=np.int16) - np.asarray(colours, dtype=np.int16)
    return int(abs(difference).max()) <= _SAME_COLOUR


@cache
def _sample_colours() -> Image.Image:
    """Colours from all over the RGB cube."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    return Image.fromarray(cube)


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
