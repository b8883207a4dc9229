"""What we keep is sRGB, without a profile and without transparency."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageCms

# Of 255: invisible.
_SAME_COLOUR = 2
# A profile larger than any printer's is not read.
_LARGEST_PROFILE = 4_000_000
# Levels of 255 that writing must differ by from the ground to be read with ease; this share of it may differ by less.
_CONTRAST, _FAINT_SHARE = 80, 0.1
# A photo has colours if at least so many pixels, of those at this side, differ in tint from others as bright, or are
# more colourful than any toning.
_COLOURED, _COMPARED_SIDE, _TINT, _STRONG = 12, 1024, 20.0, 50.0


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image with its ICC ``profile`` applied. A broken profile is ignored: the colours are slightly off, which
    nobody will notice."""
    if not profile or len(profile) > _LARGEST_PROFILE:
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


def on_ground(image: Image.Image) -> Image.Image:
    """A transparent image on white, unless what is visible does not stand out from that: white writing gets black, and
    what needs neither of them grey. Any other image as it is."""
    if image.mode != "RGBA":
        return image
    pixels = np.asarray(image.convert("LA"))
    visible = pixels[..., 0][pixels[..., 1] >= 128].astype(np.int16)
    ground = 255
    if 0 < visible.size < pixels[..., 0].size:
        contrast = {level: float(np.quantile(np.abs(visible - level), _FAINT_SHARE)) for level in (255, 0, 128)}
        if contrast[255] < _CONTRAST:
            ground = max(contrast, key=lambda level: contrast[level])
    return Image.alpha_composite(Image.new("RGBA", image.size, (ground, ground, ground, 255)), image)


def has_colours(photo: bytes) -> bool:
    """False for a grey photo, and for one toned in a single colour, such as sepia: there, all pixels of one brightness
    have one tint, and the colour of nothing can be told."""
    with Image.open(io.BytesIO(photo)) as image:
        small = image.convert("RGB")
    small.thumbnail((_COMPARED_SIDE, _COMPARED_SIDE), Image.Resampling.BOX)
    brightness, *tints = (channel.ravel() for channel in np.moveaxis(np.asarray(small.convert("YCbCr")), 2, 0))
    strong = np.maximum(*(np.abs(tint.astype(np.int16) - 128) for tint in tints)) > _STRONG
    if int(strong.sum()) >= _COLOURED:
        return True
    differs = np.maximum(*(_from_as_bright(tint, brightness // 8) for tint in tints)) > _TINT
    return int(strong.sum() + differs.sum()) >= _COLOURED


def _from_as_bright(tint: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(n,): by how much each pixel's ``tint`` (n,) differs from the median of those at its ``level`` (n,), 0 to 31."""
    counts = np.bincount(level.astype(np.int32) * 256 + tint, minlength=32 * 256).reshape(32, 256).cumsum(axis=1)
    medians = (counts * 2 >= counts[:, -1:]).argmax(axis=1).astype(np.int16)
    found: np.ndarray = np.abs(tint - medians[level])
    return found


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
