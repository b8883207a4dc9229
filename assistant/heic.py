"""HEIC to PNG in a process of its own: ``python heic.py MAX_PIXELS MAX_SIDE < photo.heic > photo.png``.

Damaged HEIC files crash libheif's wrapper, and a crash ends the whole process: here it costs one photo and not the
server. `media` runs this file as a script; nobody imports it, and it imports nothing of ours. Exit code 0, or
`TOO_LARGE`, or anything else for a file that cannot be decoded. The PNG is upright and keeps the colour profile.
"""

from __future__ import annotations

import resource
import sys

from pi_heif import register_heif_opener
from PIL import Image

TOO_LARGE = 3
_MEMORY, _SECONDS = 2 << 30, 20


def main(max_pixels: int, max_side: int) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    with Image.open(sys.stdin.buffer, formats=["HEIF"]) as image:
        if image.width * image.height > max_pixels:
            return TOO_LARGE
        image.load()
        image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=3.0)
        image.save(sys.stdout.buffer, "PNG", compress_level=1)
    return 0


if __name__ == "__main__":
    Image.MAX_IMAGE_PIXELS = None  # the limit is an argument
    try:
        sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
    except MemoryError:
        sys.exit(TOO_LARGE)
