"""Photos as they come from telephones, and as we keep them.

`normalise` decides by content, never by name. A photo is decoded under hard limits, turned upright, freed of all
metadata (EXIF, GPS, XMP, comments, colour profiles are applied and dropped) and encoded again, so that nothing of the
original file but its pixels survives. A file that is no image is kept as a download and never opened.
"""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from contextlib import contextmanager
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import filetype
import numpy as np
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from assistant.errors import AssistantError, Invalid, TooLarge, Unsupported

THUMBNAIL_SIDE = 320
_JPEG_QUALITY = 90
# Sniffed extension to Pillow's decoder. Nothing else is ever given to a decoder.
_DECODERS = {"jpg": "JPEG", "png": "PNG", "apng": "PNG", "webp": "WEBP", "gif": "GIF", "heic": "HEIF"}
_TAKEN = "Please send it as JPEG, PNG, WebP, GIF or HEIC."
# Text chunks are dropped anyway: a few kilobytes are enough to get past them.
PngImagePlugin.MAX_TEXT_CHUNK = 1 << 16
PngImagePlugin.MAX_TEXT_MEMORY = 1 << 18


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
    """A normalised photo: upright RGB, JPEG or PNG, without metadata. ``thumbnail`` is a JPEG."""

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

    Raises `TooLarge`, `Unsupported` (an image format that is not taken) or `Invalid` (broken or empty), each with what
    is wrong and what to do. Never raises anything else, whatever the bytes are.
    """
    name = safe_filename(upload.filename)
    if not upload.data:
        raise Invalid(f"{name} is empty. Please attach it again.", field="photos")
    if len(upload.data) > limits.max_bytes:
        limit = f"{limits.max_bytes / 1e6:.0f} MB"
        raise TooLarge(f"{name} is larger than {limit}. Please send a smaller photo.", limit=limits.max_bytes)
    extension = _sniff(upload.data)
    if extension is None:
        if _claims_to_be_image(upload):
            raise Invalid(f"{name} is not an image, or too damaged to tell. {_TAKEN}", field="photos")
        return StoredFile(upload.data, name)
    if extension not in _DECODERS:
        raise Unsupported(f"{name} is a {extension.upper()} image, which is not taken. {_TAKEN}")
    try:
        with _strict_decoding(limits):
            return _decode(upload.data, name, decoder=_DECODERS[extension], limits=limits)
    except AssistantError:
        raise
    except (MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise TooLarge(f"{name} would unpack to far too many pixels. Please send a smaller photo.") from error
    except Exception as error:  # decoders raise almost anything on broken files: all of it means the same to the sender
        raise Invalid(f"{name} is damaged and cannot be opened. Please take or export it again.", field="photos") from error


def safe_filename(name: str) -> str:
    """A name that is safe to show, to put in a header and to save: no path, no control characters, at most 100 long."""
    last = re.split(r"[/\\]", name)[-1]
    # Direction overrides can make "gpj.exe" read as "exe.jpg": only printable characters stay.
    printable = "".join(c for c in last if c.isprintable() and c not in '<>:"|?*')
    stem, dot, extension = printable.strip(" .").rpartition(".")
    short = f"{stem[: 95 - len(extension)]}{dot}{extension[:10]}" if dot else printable.strip(" .")[:100]
    return short or "file"


def assess_quality(data: bytes) -> tuple[str, float]:
    """How readable a normalised photo is: (good | blurred | too dark | too bright | low contrast, confidence 0.5 to 1).

    Measured on the grey photo scaled to 512 pixels: mean brightness and the spread between the 0.5th and 98th percentile
    (both 0 to 255), and sharpness as the 98th percentile of the absolute 4-neighbour Laplacian relative to that
    spread. Confidence grows with the distance from the threshold that decided.
    """
    with Image.open(io.BytesIO(data)) as image:
        grey = image.convert("L")
        grey.thumbnail((512, 512), Image.Resampling.LANCZOS)
        pixels = np.asarray(grey, dtype=np.float32)
    low, high = np.percentile(pixels, (0.5, 98))
    brightness, spread = float(pixels.mean()), float(high - low)
    if brightness < _DARK and high < 140:
        return "too dark", _confidence(_DARK - brightness, _DARK)
    if brightness > _BRIGHT and low > 180:
        return "too bright", _confidence(brightness - _BRIGHT, 255 - _BRIGHT)
    if spread < _FLAT:
        return "low contrast", _confidence(_FLAT - spread, _FLAT)
    sharpness = _sharpness(pixels, spread)
    if sharpness < _BLURRED:
        return "blurred", _confidence(_BLURRED - sharpness, _BLURRED)
    return "good", _confidence(sharpness - _BLURRED, _BLURRED)


_DARK, _BRIGHT, _FLAT, _BLURRED = 50.0, 225.0, 40.0, 0.16


def _sharpness(pixels: np.ndarray, spread: float) -> float:
    if min(pixels.shape) < 3:
        return 1.0
    centre = pixels[1:-1, 1:-1]
    laplacian = pixels[:-2, 1:-1] + pixels[2:, 1:-1] + pixels[1:-1, :-2] + pixels[1:-1, 2:] - 4 * centre
    return float(np.percentile(np.abs(laplacian), 98)) / spread


def _confidence(distance: float, scale: float) -> float:
    return 0.5 + 0.5 * min(1.0, max(0.0, distance / scale))


def _sniff(data: bytes) -> str | None:
    """The image format by its first bytes, as an extension; None for what is no image."""
    if data[4:8] == b"ftyp" and data[8:12] in (b"avif", b"avis"):
        return "avif"
    if data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"):
        return "heic"
    head = data[:512].lstrip()
    if b"<svg" in head.lower():
        return "svg"
    if data[:4] == b"\xff\x4f\xff\x51" or data[4:8] == b"jP  ":
        return "jp2"
    if data[:2] == b"\xff\xd8":
        return "jpg"
    if data[:4] == b"\x00\x00\x01\x00":
        return "ico"
    if data[:2] == b"BM" and data[6:10] == b"\0\0\0\0":
        return "bmp"
    kind = filetype.image_match(data)
    return str(kind.extension) if kind is not None else None


def _claims_to_be_image(upload: Upload) -> bool:
    extension = upload.filename.rpartition(".")[2].lower()
    named = extension in {*_DECODERS, "jpeg", "heif", "bmp", "tif", "tiff", "ico", "jp2", "j2k", "avif"}
    return named or (upload.content_type or "").startswith("image/")


@contextmanager
def _strict_decoding(limits: Limits) -> Iterator[None]:
    """Inside, a decompression bomb and a broken part of a file are errors, not warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _decode(data: bytes, name: str, *, decoder: str, limits: Limits) -> Photo:
    if decoder == "HEIF":
        _register_heif()
    with Image.open(io.BytesIO(data), formats=[decoder]) as image:
        width, height = image.size
        if width < 1 or height < 1:
            raise Invalid(f"{name} has no pixels. Please take it again.", field="photos")
        if width * height > limits.max_pixels:
            limit = f"{limits.max_pixels / 1e6:.0f} megapixels"
            raise TooLarge(f"{name} has more than {limit}. Please send a smaller one.", limit=limits.max_pixels)
        if decoder == "JPEG":
            # Let the decoder scale by 2, 4 or 8 while it reads: a large photo then costs a quarter of the time.
            image.draft("RGB", (2 * limits.max_side, 2 * limits.max_side))
        image.seek(0) if getattr(image, "n_frames", 1) > 1 else None
        image.load()
        upright = _upright(image)
        lossless = decoder in ("PNG", "GIF") and _is_drawn(upright)
        pixels = _rgb(upright)
    pixels.thumbnail((limits.max_side, limits.max_side), Image.Resampling.LANCZOS, reducing_gap=3.0)
    small = pixels.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS, reducing_gap=3.0)
    encoded = _encode(pixels, lossless=lossless)
    content_type = "image/png" if lossless else "image/jpeg"
    return Photo(encoded, content_type, pixels.width, pixels.height, _encode(small, lossless=False))


def _upright(image: Image.Image) -> Image.Image:
    """Turned by its EXIF orientation. A broken EXIF block is ignored: the photo itself is good."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image


def _is_drawn(image: Image.Image) -> bool:
    """Screenshots and drawings: few colours, sharp edges that JPEG would smear."""
    sample = image.convert("RGB").resize((64, 64), Image.Resampling.NEAREST)
    return len(set(sample.get_flattened_data())) < 1024


def _rgb(image: Image.Image) -> Image.Image:
    """sRGB, transparency on white. An embedded colour profile is applied, then gone."""
    if image.mode.startswith("I") or image.mode == "F":  # 16-bit grey: scale, do not clip
        pixels = np.asarray(image, dtype=np.float64)
        image = Image.fromarray((pixels / 257.0).clip(0, 255).astype(np.uint8), "L")
    profile = image.info.get("icc_profile")
    if profile and image.mode in ("RGB", "CMYK", "L"):
        image = _to_srgb(image, profile)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        transparent = image.convert("RGBA")
        white = Image.new("RGBA", transparent.size, "white")
        image = Image.alpha_composite(white, transparent)
    converted = image.convert("RGB")
    converted.info.clear()
    return converted


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, _srgb(), outputMode="RGB")
    except Exception:  # a broken profile: its colours are a little off, which nobody will see
        return image
    return converted if converted is not None else image


@cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _encode(image: Image.Image, *, lossless: bool) -> bytes:
    buffer = io.BytesIO()
    if lossless:
        image.save(buffer, "PNG", compress_level=6)
    else:
        image.save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling="4:2:0")
    return buffer.getvalue()


@cache
def _register_heif() -> None:
    from pi_heif import register_heif_opener

    register_heif_opener(thumbnails=False)
