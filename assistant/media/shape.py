"""How large a photo is kept, and how narrow it may be."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Of the greatest side: what a long picture keeps across, so that writing in a scrolled screenshot stays readable, and
# how often that goes into its length at most.
_ACROSS, _MOST_TIMES = 0.45, 16
# A picture thinner than this (length by width) holds nothing that would be lost by making it shorter.
_THIN = 48
# Models enlarge a photo until its shorter side is what they need, and a line becomes gigabytes. Narrow pictures are
# laid on a ground: an eighth of their length wide, which need not be more than this many pixels.
_NARROWEST, _WIDE_ENOUGH = 8, 256


def kept_size(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Width and height to scale to: ``max_side`` on the longer side, more for long pictures; no picture is enlarged."""
    longer, shorter = max(width, height), min(width, height)
    longest = max(max_side, min(_MOST_TIMES * _ACROSS * max_side, _THIN * shorter))
    factor = min(1.0, max(max_side / longer, min(_ACROSS * max_side / shorter, longest / longer)))
    return max(1, round(width * factor)), max(1, round(height * factor))


def widened(image: Image.Image) -> Image.Image:
    """The image, on a ground of its most usual colour if it is too narrow."""
    width, height = image.size
    least = min(_WIDE_ENOUGH, max(width, height) // _NARROWEST)
    if min(width, height) >= least:
        return image
    ground = tuple(int(level) for level in np.median(np.asarray(image).reshape(-1, 3), axis=0))
    wide = Image.new("RGB", (max(width, least), max(height, least)), ground)
    wide.paste(image, ((wide.width - width) // 2, (wide.height - height) // 2))
    return wide
