"""Photos as they come from telephones, and as we keep them.

`normalise` decides by content, never by name. A photo is decoded under hard limits, turned upright, freed of all
metadata (EXIF, GPS, XMP and comments are dropped, a colour profile is applied first) and encoded again, so that nothing
of the original file but its pixels survives. A file that is no image is kept as a download and never opened.

Strict about pixels, lenient about descriptions: a photo of which only the EXIF block is broken is a good photo, and
telephones send them. A file that is cut off, fails its own checksums or claims an absurd size is refused, even if a
decoder could make something of it.
"""

from __future__ import annotations

import hashlib
import io
import re
import signal
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

from assistant.errors import AssistantError, Invalid, TooLarge, Unsupported

THUMBNAIL_SIDE = 320
_JPEG_QUALITY = 90
# Nearly as sharp as Lanczos where a photo only shrinks, in half the time: most of what a request with a photo takes.
_SHRINK = Image.Resampling.HAMMING
# Of 255: nobody sees that.
_SAME_COLOUR = 2
_DECODERS = {"JPEG": "JPEG", "PNG": "PNG", "WebP": "WEBP", "GIF": "GIF", "HEIC": "HEIF"}
_BOMB = "would unpack to far too much. Please send a smaller photo."
_TAKEN = "Please send it as JPEG, PNG, WebP, GIF or HEIC."
# A photo of 50 megapixels takes half a gigabyte to decode: this many at a time, whatever the number of threads.
_DECODING = threading.BoundedSemaphore(2)
# Ten are usual in a progressive JPEG; each further one costs a pass over all pixels for a few bytes of file.
_MOST_SCANS = 64
_HEIC_TOO_LARGE = 3  # as heic.py says it
# Parts of a file, whatever the format calls them: more make a decoder slow and hold nothing.
_MOST_SEGMENTS = 100_000

# What is wrong with a photo's description is no news. A bomb is an error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.simplefilter("error", Image.DecompressionBombWarning)
PngImagePlugin.MAX_TEXT_MEMORY = 4 * PngImagePlugin.MAX_TEXT_CHUNK


@dataclass(frozen=True)
class Upload:
    """A file as it was sent. Name and content type are the sender's claims."""

    filename: str
    content_type: str | None
    data: bytes


@dataclass(frozen=True)
class Limits:
    """``max_bytes`` of the upload, ``max_pixels`` decoded, ``max_side`` in pixels of what is kept."""

    max_bytes: int = 15_000_000
    max_pixels: int = 50_000_000
    max_side: int = 1600


@dataclass(frozen=True)
class Photo:
    """A normalised photo: upright sRGB, JPEG or PNG, without metadata. ``thumbnail`` is a JPEG."""

    data: bytes
    content_type: str
    width: int
    height: int
    thumbnail: bytes

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class StoredFile:
    """A file that is not an image: a download with a harmless name, never decoded."""

    data: bytes
    filename: str
    content_type: str = "application/octet-stream"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def normalise(upload: Upload, limits: Limits) -> Photo | StoredFile:
    """Make a photo or a download of an upload.

    Raises `TooLarge` (bytes, pixels, or made to exhaust the decoder), `Unsupported` (an image format that is not taken)
    or `Invalid` (damaged, cut off or empty), each with what is wrong and what to do. Never raises anything else,
    whatever the bytes are. At most two photos are decoded at a time; further callers wait.
    """
    name = safe_filename(upload.filename)
    if not upload.data:
        raise Invalid(f"{name} is empty. Please attach it again.", field="photos")
    if len(upload.data) > limits.max_bytes:
        limit = f"{limits.max_bytes / 1e6:.0f} MB"
        raise TooLarge(f"{name} is larger than {limit}. Please send a smaller file.", limit=limits.max_bytes)
    image_format = _sniff(upload.data)
    if image_format is None:
        if _was_an_image(upload.data) or _claims_to_be_an_image(upload):
            raise Invalid(f"{name} is not an image, or too damaged to tell. {_TAKEN}", field="photos")
        return StoredFile(upload.data, name)
    if image_format not in _DECODERS:
        raise Unsupported(f"{name} is an image in the format {image_format}, which is not taken. {_TAKEN}")
    with _DECODING:
        return _normalise_photo(upload.data, name, image_format=image_format, limits=limits)


def safe_filename(name: str) -> str:
    """A name that is safe to show, to put in a header and to save: no path, no control characters, at most 100 long."""
    last = re.split(r"[/\\]", name)[-1]
    # Direction overrides can make "gpj.exe" read as "exe.jpg": only printable characters stay.
    printable = "".join(c for c in last if c.isprintable() and c not in '<>:"|?*').strip(" .")
    stem, dot, extension = printable.rpartition(".")
    if not dot or len(extension) > 10:
        return printable[:100].rstrip(" .") or "file"
    return f"{stem[: 99 - len(extension)]}.{extension}"


def assess_quality(data: bytes) -> tuple[str, float]:
    """How readable a normalised photo is: good, blurred, too dark, too bright or low contrast; confidence 0.5 to 1.

    Measured on the grey photo scaled to 512 pixels, in grey levels 0 to 255: the mean brightness; the spread between
    the 0.5th and 98th percentile; and sharpness, see `_sharpness`. Confidence grows with the distance from the
    threshold that decided. Thresholds were set on photos of parcels, groceries, receipts, street signs and screenshots,
    degraded by known amounts, so that no good one of them is called bad.
    """
    with Image.open(io.BytesIO(data)) as image:
        grey = image.convert("L")
    grey.thumbnail((512, 512), Image.Resampling.LANCZOS)
    pixels = np.asarray(grey, dtype=np.float32)
    darkest, low, high = (float(level) for level in np.percentile(pixels, (0.1, 0.5, 98)))
    brightness, spread = float(pixels.mean()), high - low
    if brightness < _DARK and high < 140:
        return "too dark", _confidence(_DARK - brightness, _DARK)
    if brightness > _BRIGHT and darkest > 180:
        return "too bright", _confidence(brightness - _BRIGHT, 255 - _BRIGHT)
    if spread < _FLAT:
        return "low contrast", _confidence(_FLAT - spread, _FLAT)
    sharpness = _sharpness(pixels) / spread
    if sharpness < _BLURRED:
        return "blurred", _confidence(_BLURRED - sharpness, _BLURRED)
    return "good", _confidence(sharpness - _BLURRED, _BLURRED)


# Sniffing

_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBPVP8", "WebP"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"\0\0\2\0", "CUR"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"II\xbc\x01", "JPEG XR"),
    (0, b"8BPS\0", "PSD"),
    (0, b"gimp xcf", "XCF"),
    (0, b"DDS ", "DDS"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "HDR"),
    (0, b"qoif", "QOI"),
    (0, b"icns", "ICNS"),
)
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_SVG = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.*?\?>\s*|<!--.*?-->\s*|<!DOCTYPE\s+svg.*?>\s*)*<svg\b", re.I | re.S)
_IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".heic", ".heif", ".avif", ".bmp", ".tif", ".tiff", ".ico"),
    *(".jp2", ".j2k", ".jxl", ".svg", ".psd"),
)


def _sniff(data: bytes) -> str | None:
    """The image format by its first bytes; None for what is no image that we know."""
    if data[4:8] == b"ftyp":
        brands = {data[i : i + 4] for i in range(8, min(int.from_bytes(data[:4]), 256), 4)}
        return "AVIF" if brands & {b"avif", b"avis"} else "HEIC" if data[8:12] in _HEIC_BRANDS else None
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return "BMP"
    if _SVG.match(data[:4096]):
        return "SVG"
    return next((name for offset, magic, name in _SIGNATURES if data.startswith(magic, offset)), None)


def _was_an_image(data: bytes) -> bool:
    """A photo whose first bytes were lost or mangled, as some transfers do."""
    return any(mark in data[:32] for mark in (b"IHDR", b"JFIF\0", b"Exif\0\0", b"WEBPVP8"))


def _claims_to_be_an_image(upload: Upload) -> bool:
    return upload.filename.lower().endswith(_IMAGE_SUFFIXES) or (upload.content_type or "").startswith("image/")


# Structure: what a decoder would forgive, or die of


def _check_structure(image_format: str, data: bytes, limits: Limits) -> None:
    """Raises ValueError or struct.error on a damaged file, DecompressionBombError on one that is made to exhaust us."""
    if image_format == "PNG":
        _check_png(data)
    elif image_format == "JPEG":
        _check_jpeg(data)
    elif image_format == "GIF":
        _check_gif(data, limits)


def _check_png(data: bytes) -> None:
    """Every critical chunk is whole and has its checksum: Pillow leaves out those of the pixels."""
    view, position = memoryview(data), 8
    for _ in range(_MOST_SEGMENTS):
        if position + 12 > len(data):
            raise ValueError("truncated")
        length, kind = struct.unpack_from(">I4s", data, position)
        body, position = position + 8, position + 12 + length
        if position > len(data):
            raise ValueError("truncated")
        is_critical = not kind[0] & 0x20
        if is_critical and zlib.crc32(view[body - 4 : position - 4]) != int.from_bytes(data[position - 4 : position]):
            raise ValueError("wrong checksum")
        if kind == b"acTL" and not 0 < int.from_bytes(data[body : body + 4]) < 1 << 31:
            raise ValueError("an animation without frames")
        if kind == b"IEND":
            return
    raise Image.DecompressionBombError("more chunks than a photo has")


_JPEG_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA


def _check_jpeg(data: bytes) -> None:
    """Not more scans than any camera or program writes. What follows the end of the image is not looked at."""
    position = scans = 0
    for _ in range(_MOST_SEGMENTS):
        match = _JPEG_MARKER.search(data, position)
        if match is None or match[1][0] == _END_OF_IMAGE:
            return
        position = match.end()
        if match[1][0] != _START_OF_IMAGE:
            position += int.from_bytes(data[position : position + 2])
        scans += match[1][0] == _START_OF_SCAN
        if scans > _MOST_SCANS:
            break
    raise Image.DecompressionBombError("more scans or segments than a photo has")


def _check_gif(data: bytes, limits: Limits) -> None:
    """No frame reaches beyond the limit on pixels, also none behind the first, which is all that is decoded."""
    position, blocks = 13 + _colour_table_bytes(data[10]), 0
    while position + 11 <= len(data):
        block = data[position]
        if block == 0x21:  # extension: its label, then sub-blocks
            position += 2
        elif block == 0x2C:  # frame: its place, maybe a colour table, the code size, then sub-blocks
            left, top, width, height, flags = struct.unpack_from("<4HB", data, position + 1)
            if (left + width) * (top + height) > limits.max_pixels:
                raise Image.DecompressionBombError("a frame beyond the limit on pixels")
            position += 11 + _colour_table_bytes(flags)
        else:
            return
        while position < len(data) and data[position]:
            position += data[position] + 1
            blocks += 1
        if blocks > _MOST_SEGMENTS * 5:
            raise Image.DecompressionBombError("more blocks than an animation has")
        position += 1


def _colour_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


# Decoding and encoding


def _normalise_photo(data: bytes, name: str, *, image_format: str, limits: Limits) -> Photo:
    try:
        _check_structure(image_format, data, limits)
        return _encoded(_decode(data, name, decoder=_DECODERS[image_format], limits=limits), image_format, limits)
    except AssistantError:
        raise
    except (MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{name} {_BOMB}") from error
    except Exception as error:  # decoders raise almost anything on broken files: all of it means the same to the sender
        if "too large" in str(error):  # a compressed text of a PNG
            raise TooLarge(f"{name} {_BOMB}") from error
        what = "is cut off before its end" if "truncated" in str(error).lower() else "is damaged"
        message = f"{name} {what} and cannot be opened. Please take or export it again."
        raise Invalid(message, field="photos") from error


def _decode(data: bytes, name: str, *, decoder: str, limits: Limits) -> Image.Image:
    """Upright sRGB without transparency or metadata, at most ``max_side`` on its longer side."""
    if decoder == "HEIF":
        data, decoder = _heic_as_png(data, limits), "PNG"
    with Image.open(io.BytesIO(data), formats=[decoder]) as image:
        width, height = image.size
        if width < 1 or height < 1:
            raise Invalid(f"{name} has no pixels. Please take it again.", field="photos")
        if width * height > limits.max_pixels:
            limit = f"{limits.max_pixels / 1e6:.0f} megapixels"
            raise TooLarge(f"{name} has more than {limit}. Please send a smaller one.", limit=limits.max_pixels)
        # Let the JPEG decoder scale by 2, 4 or 8 while it reads, a little above what is kept: a third of the time.
        share = 1.25 * limits.max_side / max(width, height)
        image.draft(None, (int(width * share), int(height * share)))
        image.load()
        turn, profile = _turn(image), image.info.get("icc_profile")
        pixels = _in_plain_mode(image)
    pixels.thumbnail((limits.max_side, limits.max_side), _SHRINK, reducing_gap=3.0)
    if pixels.mode == "RGBA":
        pixels = Image.alpha_composite(Image.new("RGBA", pixels.size, "white"), pixels)
    pixels = _to_srgb(pixels, profile).convert("RGB")
    upright = pixels.transpose(turn) if turn is not None else pixels
    upright.info.clear()
    return upright


def _heic_as_png(data: bytes, limits: Limits) -> bytes:
    """Decoded in a process of its own: the decoder crashes on some damaged files."""
    script = Path(__file__).with_name("heic.py")
    command = [sys.executable, "-I", str(script), str(limits.max_pixels), str(limits.max_side)]
    try:
        done = subprocess.run(command, input=data, capture_output=True, timeout=30, check=False)  # noqa: S603  (ours)
    except subprocess.TimeoutExpired as error:
        raise MemoryError("too slow to be a photo") from error
    if done.returncode in (_HEIC_TOO_LARGE, -signal.SIGXCPU, -signal.SIGKILL):
        raise MemoryError("beyond the limits of its process")
    if done.returncode != 0:
        raise ValueError(f"the decoder ended with {done.returncode}")
    return done.stdout


def _encoded(pixels: Image.Image, image_format: str, limits: Limits) -> Photo:
    lossless = image_format in ("PNG", "GIF") and _is_drawn(pixels)
    small = pixels.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), _SHRINK, reducing_gap=1.5)
    data = _png(pixels) if lossless else _jpeg(pixels)
    return Photo(data, "image/png" if lossless else "image/jpeg", pixels.width, pixels.height, _jpeg(small))


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns the image upright, by its EXIF orientation. A broken EXIF block says nothing."""
    try:
        return _TURNS.get(image.getexif().get(0x0112, 1))
    except Exception:
        return None


def _in_plain_mode(image: Image.Image) -> Image.Image:
    """L, RGB, CMYK or RGBA; whatever else there is (palettes, 16 bits, one bit) is converted."""
    if image.mode.startswith("I;16"):  # scale, do not clip
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBa"):
        return image.convert("RGBA")
    return image if image.mode in ("L", "RGB", "CMYK", "RGBA") else image.convert("RGB")


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile:
        return image
    image = image.convert("RGB") if image.mode in ("RGBA", "L") else image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        to_srgb = ImageCms.buildTransform(source, _srgb(), image.mode, "RGB")
        # Most profiles are sRGB by some name: a tenth of a millisecond tells, where all pixels would take thirty.
        if image.mode == "RGB" and _changes_nothing(to_srgb):
            return image
        converted = ImageCms.applyTransform(image, to_srgb)
    except Exception:  # a broken profile: its colours are a little off, which nobody will see
        return image
    return converted if converted is not None else image


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    colours = _all_colours()
    converted = ImageCms.applyTransform(colours, transform)
    difference = np.asarray(converted, dtype=np.int16) - np.asarray(colours, dtype=np.int16)
    return int(abs(difference).max()) <= _SAME_COLOUR


@cache
def _all_colours() -> Image.Image:
    """A picture of colours from all over the cube."""
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    return Image.fromarray(cube)


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _is_drawn(image: Image.Image) -> bool:
    """Screenshots and drawings: few colours, sharp edges that JPEG would smear."""
    sample = image.resize((64, 64), Image.Resampling.NEAREST)
    return len(sample.getcolors(64 * 64) or ()) < 1024


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling="4:2:0")
    return buffer.getvalue()


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)  # a tenth larger than usual, in two thirds of the time
    return buffer.getvalue()


# Quality

_DARK, _BRIGHT, _FLAT, _BLURRED = 50.0, 225.0, 40.0, 0.1


def _sharpness(pixels: NDArray[np.float32]) -> float:
    """The strength of the sharpest edges in the direction that has least of them, in grey levels, freed of noise.

    Second differences (the directional parts of the Laplacian) along rows, columns and both diagonals: a camera that
    moved wipes out the edges of one direction only, which the plain Laplacian does not notice. Of each, the 98.5th
    percentile of the magnitude; Gaussian noise alone would make it 3.6 times the median, so that much is subtracted as
    variances are.
    """
    if min(pixels.shape) < 3:
        return 255.0
    centre = 2 * pixels[1:-1, 1:-1]
    pairs = (
        (pixels[1:-1, :-2], pixels[1:-1, 2:]),
        (pixels[:-2, 1:-1], pixels[2:, 1:-1]),
        (pixels[:-2, :-2], pixels[2:, 2:]),
        (pixels[:-2, 2:], pixels[2:, :-2]),
    )
    levels = [np.percentile(np.abs(before + after - centre), (50, 98.5)) for before, after in pairs]
    return float(min(max(0.0, edge**2 - (3.6 * noise) ** 2) ** 0.5 for noise, edge in levels))


def _confidence(distance: float, scale: float) -> float:
    return 0.5 + 0.5 * min(1.0, max(0.0, distance / scale))
