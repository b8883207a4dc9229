"""Photos as phones take them, and as we keep them.

`normalise` decides by content, never by name. A photo is decoded under hard limits, turned upright and encoded again
without metadata (EXIF, GPS, XMP and comments are dropped; a colour profile is applied first), so nothing of the
original file but its pixels survives; what else is worth knowing is noted (`origin`). Of an animation the frames that
show most are kept, on one sheet. A file that is not an image is kept as a download and never opened.

Strict about pixels, lenient about metadata: a photo with a broken EXIF block is a good photo, and phones send them. A
file that is cut off, fails its own checksums or claims an absurd size is refused, even if a decoder could make
something of it.
"""

from __future__ import annotations

import hashlib
import io
import threading
import warnings
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageChops, PngImagePlugin

from assistant.errors import AssistantError, Invalid, NotReady, TooLarge, Unsupported
from assistant.media import animation
from assistant.media.colour import on_ground, to_srgb
from assistant.media.files import StoredFile, Upload, safe_filename
from assistant.media.formats import check_structure, seems_damaged, sniff
from assistant.media.origin import Origin, save
from assistant.media.shape import kept_size, widened
from assistant.sandbox import worker as sandbox
from assistant.sandbox.worker import OverLimit, ReaderFailed
from assistant.wording import Notice

THUMBNAIL_SIDE = 320
_JPEG_OPTIONS: dict[str, int | str] = {"quality": 90, "subsampling": "4:2:0"}
# Nearly as sharp as Lanczos for shrinking, in half the time; shrinking is most of what a request with a photo costs.
_SHRINK = Image.Resampling.HAMMING
_DECODERS = {"JPEG": "JPEG", "PNG": "PNG", "WebP": "WEBP", "GIF": "GIF", "HEIC": "HEIF"}
_ANIMATED = ("PNG", "WEBP", "GIF")
_ACCEPTED = ", ".join(_DECODERS)
# A photo of 50 megapixels takes half a gigabyte to decode: two at a time, whatever the number of threads.
_DECODING = threading.BoundedSemaphore(2)
_HEIC_LIMITS = sandbox.Limits(memory=2 << 30, cpu_seconds=20, seconds=30)

# Faulty metadata is ignored, a decompression bomb is an error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.simplefilter("error", Image.DecompressionBombWarning)
PngImagePlugin.MAX_TEXT_MEMORY = 4 * PngImagePlugin.MAX_TEXT_CHUNK


@dataclass(frozen=True)
class Limits:
    """``max_bytes`` of the upload, ``max_pixels`` decoded, ``max_side`` in pixels of what is kept (long pictures keep
    more)."""

    max_bytes: int = 15_000_000
    max_pixels: int = 50_000_000
    max_side: int = 1600


@dataclass(frozen=True)
class Photo:
    """A normalised photo: upright sRGB, JPEG or PNG, with a note on its origin as its only metadata. ``thumbnail`` is a
    JPEG."""

    data: bytes
    content_type: str
    width: int
    height: int
    thumbnail: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def normalise(upload: Upload, limits: Limits) -> Photo | StoredFile:
    """Turn an upload into a photo or a download.

    Raises `TooLarge` (bytes, pixels, or made to exhaust the decoder), `Unsupported` (an image format that is not
    accepted), `Invalid` (damaged, cut off or empty) or `NotReady` (no process can be started to decode HEIC), each
    saying what is wrong and what to do; nothing else, whatever the bytes are. At most two photos are decoded at a time;
    further callers wait.
    """
    name = safe_filename(upload.filename)
    if not upload.data:
        raise Invalid(Notice("file_empty", {"name": name}), field="photos")
    if len(upload.data) > limits.max_bytes:
        notice = Notice("file_too_large", {"name": name, "megabytes": limits.max_bytes / 1e6})
        raise TooLarge(notice, limit=limits.max_bytes)
    image_format = sniff(upload.data)
    if image_format is None:
        if seems_damaged(upload):
            raise Invalid(Notice("file_not_an_image", {"name": name, "formats": _ACCEPTED}), field="photos")
        return StoredFile(upload.data, name)
    if image_format not in _DECODERS:
        raise Unsupported(Notice("file_format", {"name": name, "format": image_format, "formats": _ACCEPTED}))
    with _DECODING:
        return _normalise_photo(upload.data, name, image_format=image_format, limits=limits)


def _normalise_photo(data: bytes, name: str, *, image_format: str, limits: Limits) -> Photo:
    try:
        check_structure(image_format, data, max_pixels=limits.max_pixels)
        pixels, origin = _decode(data, name, decoder=_DECODERS[image_format], limits=limits)
        return _encode(pixels, image_format, origin)
    except (OverLimit, MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb(name) from error
    except ReaderFailed as error:
        raise _damage(name, error.detail) from error
    except NotReady as error:
        raise NotReady(Notice("file_unreadable_now", {"name": name})) from error
    except AssistantError:
        raise
    except Exception as error:  # decoders raise almost anything; to the sender it all means the same
        is_bomb = "too large" in str(error)  # compressed text in a PNG
        raise (_bomb(name) if is_bomb else _damage(name, str(error))) from error


def _bomb(name: str) -> TooLarge:
    return TooLarge(Notice("file_unpacks_too_large", {"name": name}))


def _damage(name: str, reason: str) -> Invalid:
    code = "file_cut_off" if "truncated" in reason.lower() else "file_damaged"
    return Invalid(Notice(code, {"name": name}), field="photos")


def _decode(data: bytes, name: str, *, decoder: str, limits: Limits) -> tuple[Image.Image, Origin]:
    """Upright sRGB without transparency or metadata, scaled to what is kept, and what is known of it."""
    if decoder == "HEIF":
        sides = {"max_pixels": limits.max_pixels, "max_side": limits.max_side}
        data, decoder = sandbox.run("assistant.media.heic:read", data, _HEIC_LIMITS, **sides), "PNG"

    def open_file() -> Image.Image:
        return Image.open(io.BytesIO(data), formats=[decoder])

    with open_file() as image:
        width, height = image.size
        if width < 1 or height < 1:
            raise Invalid(Notice("file_without_pixels", {"name": name}), field="photos")
        if width * height > limits.max_pixels:
            notice = Notice("file_too_many_pixels", {"name": name, "megapixels": limits.max_pixels / 1e6})
            raise TooLarge(notice, limit=limits.max_pixels)
        # The JPEG decoder can scale by 2, 4 or 8 while it reads. Slightly above the size kept: a third of the time.
        kept = kept_size(width, height, limits.max_side)
        image.draft(None, (int(1.25 * kept[0]), int(1.25 * kept[1])))
        image.load()
        orientation, profile = _orientation(image), image.info.get("icc_profile")

        def plain(frame: Image.Image) -> Image.Image:
            pixels = _in_plain_mode(frame).resize(kept, _SHRINK, reducing_gap=3.0)
            pixels = to_srgb(on_ground(pixels), profile).convert("RGB")
            return pixels.transpose(_TURNS[orientation]) if orientation in _TURNS else pixels

        pixels, origin = plain(image), Origin(width, height, upright=orientation is not None)
        if decoder in _ANIMATED and (moving := animation.look(image, plain, open_file)) is not None:
            pixels = animation.sheet(moving.images, limits.max_side)
            shown = tuple(number + 1 for number in moving.shown)
            origin = replace(origin, frames=moving.total, goes_on=moving.goes_on, shown=shown)
    pixels = widened(pixels)
    pixels.info.clear()
    return pixels, origin


def _encode(pixels: Image.Image, image_format: str, origin: Origin) -> Photo:
    """PNG for screenshots and drawings: JPEG would smear their sharp edges."""
    colours = pixels.resize((64, 64), Image.Resampling.NEAREST).getcolors(64 * 64) or ()
    lossless = image_format in ("PNG", "GIF") and len(colours) < 1024
    small = pixels.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), _SHRINK, reducing_gap=1.5)
    thumbnail = io.BytesIO()
    small.save(thumbnail, "JPEG", **_JPEG_OPTIONS)
    # At this level a PNG is a tenth larger than by default, and takes two thirds of the time.
    data = save(pixels, "PNG", origin, compress_level=1) if lossless else save(pixels, "JPEG", origin, **_JPEG_OPTIONS)
    content_type = "image/png" if lossless else "image/jpeg"
    return Photo(data, content_type, pixels.width, pixels.height, thumbnail.getvalue())


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation; None if there is none that can be read."""
    try:
        orientation = int(image.getexif()[0x0112])
    except Exception:
        return None
    return orientation if 1 <= orientation <= 8 else None


def _in_plain_mode(image: Image.Image) -> Image.Image:
    """L, RGB, CMYK or RGBA; any other mode (palettes, 16 bits, one bit) is converted."""
    if image.mode.startswith("I;16"):
        # Scaled, not clipped. Cameras that measure 10 or 12 bits leave the highest of 16 unused.
        levels = np.asarray(image)
        unused = 4 if levels.size and levels.max() < 1 << 12 else 0
        return Image.fromarray((levels >> (8 - unused)).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBa"):
        return image.convert("RGBA")
    if image.mode == "CMYK" and "adobe" not in image.info:
        return ImageChops.invert(image)  # Pillow takes all inks for inverted, as Adobe writes them and marks them
    return image if image.mode in ("L", "RGB", "CMYK", "RGBA") else image.convert("RGB")
