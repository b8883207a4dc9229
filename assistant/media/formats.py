"""Image formats by their bytes: which one a file is, and whether its structure is whole and sane.

Looks only at what decoders forgive, or die of; the pixels are theirs.
"""

from __future__ import annotations

import re
import struct
import zlib

from PIL import Image

from assistant.media.files import Upload

# Ten are usual in a progressive JPEG; each further one costs a pass over all pixels for a few bytes of file.
_MOST_SCANS = 64
# Segments, chunks or blocks of a file: more slow a decoder down and hold nothing.
_MOST_SEGMENTS = 100_000
_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (12, b"CgBI", "Xcode PNG"),
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
# What may precede the first element of an SVG, by its beginning and end.
_SVG_PROLOGUE = ((b"<?xml", b"?>"), (b"<!--", b"-->"), (b"<!doctype svg", b">"))
_IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".heic", ".heif", ".avif", ".bmp", ".tif", ".tiff", ".ico"),
    *(".jp2", ".j2k", ".jxl", ".svg", ".psd"),
)


def sniff(data: bytes) -> str | None:
    """The image format by its first bytes; None if it is not a known image format."""
    if data[4:8] == b"ftyp":
        brands = {data[i : i + 4] for i in range(8, min(int.from_bytes(data[:4]), 256), 4)}
        return "AVIF" if brands & {b"avif", b"avis"} else "HEIC" if data[8:12] in _HEIC_BRANDS else None
    if data[:2] == b"BM" and data[6:10] == bytes(4):
        return "BMP"
    if _is_svg(data[:4096].lower()):
        return "SVG"
    return next((name for offset, magic, name in _SIGNATURES if data.startswith(magic, offset)), None)


def _is_svg(start: bytes) -> bool:
    """Whether the first element is an SVG's. Each step drops what it has read, so that no file takes long."""
    rest = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    while end := next((end for begin, end in _SVG_PROLOGUE if rest.startswith(begin)), None):
        rest = rest.partition(end)[2].lstrip()
    return rest.startswith(b"<svg") and not rest[4:5].isalnum()


def seems_damaged(upload: Upload) -> bool:
    """Whether a file that `sniff` does not know should have been an image: its first bytes were mangled, as happens in
    some transfers, or the sender says so."""
    return (
        any(mark in upload.data[:32] for mark in (b"IHDR", b"JFIF\0", b"Exif\0\0", b"WEBPVP8"))
        or upload.filename.lower().endswith(_IMAGE_SUFFIXES)
        or (upload.content_type or "").startswith("image/")
    )


def check_structure(image_format: str, data: bytes, *, max_pixels: int) -> None:
    """Raises `ValueError` or `struct.error` for a damaged file, `Image.DecompressionBombError` for one made to exhaust
    the decoder."""
    if image_format == "PNG":
        _check_png(data)
    elif image_format == "JPEG":
        _check_jpeg(data)
    elif image_format == "GIF":
        _check_gif(data, max_pixels=max_pixels)


def _check_png(data: bytes) -> None:
    """Every critical chunk is whole and matches its checksum; Pillow does not check those of the pixels."""
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
    raise Image.DecompressionBombError("too many chunks")


_JPEG_MARKER = re.compile(rb"\xff([\x02-\xcf\xd8-\xfe])")
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA


def _check_jpeg(data: bytes) -> None:
    """No more scans than any camera or program writes. What follows the end of the image does not matter."""
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
    raise Image.DecompressionBombError("too many scans or segments")


def _check_gif(data: bytes, *, max_pixels: int) -> None:
    """No frame exceeds the limit on pixels, not even one that is never decoded."""
    position, blocks = 13 + _colour_table_bytes(data[10]), 0
    while position + 11 <= len(data):
        block = data[position]
        if block == 0x21:  # extension: label, then sub-blocks
            position += 2
        elif block == 0x2C:  # frame: position, perhaps a colour table, code size, then sub-blocks
            left, top, width, height, flags = struct.unpack_from("<4HB", data, position + 1)
            if (left + width) * (top + height) > max_pixels:
                raise Image.DecompressionBombError("a frame exceeds the limit on pixels")
            position += 11 + _colour_table_bytes(flags)
        else:
            return
        while position < len(data) and data[position]:
            position += data[position] + 1
            blocks += 1
        if blocks > _MOST_SEGMENTS * 5:
            raise Image.DecompressionBombError("too many blocks")
        position += 1


def _colour_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
