"""Photos are decided by content, upright, without metadata, bounded; what is broken is refused in words."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, ImageFilter

from assistant.errors import Invalid, TooLarge, Unsupported
from assistant.media.files import StoredFile, Upload, safe_filename
from assistant.media.photo import Limits, Photo, normalise
from assistant.media.quality import assess_quality

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
LIMITS = Limits()
RED, BLUE = (200, 30, 30), (30, 30, 200)
# 96 x 64, left half red, right half blue, to be turned by a quarter clockwise, with a maker and a place in its EXIF.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAaFtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAA"
    "ADRpbG9jAAAAAERAAAIAAQAAAAABxQABAAAAAAAAAFUAAgAAAAACGgABAAAAAAAAAH4AAAA4aWluZgAAAAAAAgAAABVpbmZlAgAA"
    "AAABAABodmMxAAAAABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAAA4GlwcnAAAADAaXBjbwAAAHhodmNDAQNwAAAA"
    "kAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwAeoDCBBZbq"
    "SSmubgIaDAgAAAMAyAAAAwAIQGIAAQAHRAHBcrAiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAABgAAAAQAAAABBw"
    "aXhpAAAAAAMICAgAAAAJaXJvdAMAAAAYaXBtYQAAAAAAAAABAAEFgQIDBIUAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAANtt"
    "ZGF0AAAAUSgBr1iK2A6SX//ytd//Uf5D5QDDo3f+0vhfcL8/04VU6XxGo1YRUemY0Iy/fAD/wtSw/DYcf7jHewpPqWjc8RbKMLAx"
    "6VYeYSJ8MPX9bKR7LwAAAAZFeGlmAABNTQAqAAAACAADAQ8AAgAAAAwAAAAyARIAAwAAAAEABgAAiCUABAAAAAEAAAA+AAAAAFNl"
    "Y3JldE1ha2VyAAACAAEAAgAAAAJOAAAAAAIABQAAAAMAAABcAAAAAAAAADAAAAABAAAACAAAAAEAAAAOAAAAAQ=="
)


def scene(size: tuple[int, int] = (96, 64), mode: str = "RGB") -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", size, RED)
    ImageDraw.Draw(image).rectangle((size[0] // 2, 0, *size), fill=BLUE)
    return image.convert(mode)


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def take(data: bytes, *, name: str = "photo", limits: Limits = LIMITS) -> Photo:
    photo = normalise(Upload(name, None, data), limits)
    assert isinstance(photo, Photo)
    return photo


def pixels(photo: Photo) -> Image.Image:
    return Image.open(io.BytesIO(photo.data))


def is_about(colour: object, expected: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.subtract(colour, expected)).max() < 25)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def gamma_profile(gamma: float) -> bytes:
    """A display profile with the colours of sRGB and a plain gamma: sRGB's own, its three curves replaced."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    curve = b"curv" + struct.pack(">IIH", 0, 1, round(gamma * 256)) + bytes(2)
    for index in range(struct.unpack_from(">I", profile, 128)[0]):
        tag, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            assert size >= len(curve)
            profile[offset : offset + len(curve)] = curve
            struct.pack_into(">I", profile, 132 + 12 * index + 8, 14)
    return bytes(profile)


# What is taken


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF"])
def test_each_format_becomes_a_photo_of_the_same_scene(image_format: str) -> None:
    photo = take(encode(scene(), image_format))
    image = pixels(photo)
    assert (photo.width, photo.height) == image.size == (96, 64)
    assert image.mode == "RGB"
    assert photo.content_type == f"image/{(image.format or '').lower()}"
    assert is_about(image.getpixel((10, 32)), RED)
    assert is_about(image.getpixel((85, 32)), BLUE)


def test_heic_of_a_telephone_is_upright_and_without_its_metadata() -> None:
    photo = take(HEIC)
    image = pixels(photo)
    assert image.size == (64, 96)
    assert is_about(image.getpixel((32, 10)), RED)
    assert is_about(image.getpixel((32, 85)), BLUE)
    assert b"SecretMaker" in HEIC
    assert b"SecretMaker" not in photo.data


def test_the_name_and_the_claimed_type_do_not_matter() -> None:
    photo = normalise(Upload("report.pdf", "application/pdf", encode(scene(), "JPEG")), LIMITS)
    assert isinstance(photo, Photo)


def test_an_animation_is_a_photo_of_its_frame_that_shows_something() -> None:
    frames = [scene(), Image.new("RGB", (96, 64), "white")]
    for image_format in ("GIF", "WEBP", "PNG"):
        photo = take(encode(frames[0], image_format, save_all=True, append_images=frames[1:]))
        assert is_about(pixels(photo).getpixel((10, 32)), RED)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_upright(orientation: int) -> None:
    upright = scene()
    turned = {
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }
    ImageDraw.Draw(upright).rectangle((0, 0, 96, 20), fill="white")  # top and bottom differ, too
    stored = upright
    for turn in turned.get(orientation, []):
        stored = stored.transpose(turn)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for image_format in ("JPEG", "PNG", "WEBP"):
        image = pixels(take(encode(stored, image_format, exif=exif.tobytes())))
        assert image.size == (96, 64)
        assert is_about(image.getpixel((10, 5)), (255, 255, 255))
        assert is_about(image.getpixel((10, 55)), RED)
        assert is_about(image.getpixel((85, 55)), BLUE)


def test_the_place_the_maker_and_the_comment_are_gone() -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretMaker"
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 14.0)
    xmp = b"<x:xmpmeta>SecretXMP</x:xmpmeta>"
    for data in (
        encode(scene(), "JPEG", exif=exif.tobytes(), comment=b"SecretComment", xmp=xmp),
        encode(scene(), "WEBP", exif=exif.tobytes(), xmp=xmp),
        encode(scene(), "PNG", exif=exif.tobytes()),
        encode(scene(), "GIF", comment=b"SecretComment"),
    ):
        assert b"Secret" in data
        photo = take(data)
        for kept in (photo.data, photo.thumbnail):
            assert b"Secret" not in kept
            assert dict(Image.open(io.BytesIO(kept)).getexif()) == {}


def test_bytes_behind_the_end_of_the_image_are_gone() -> None:
    photo = take(encode(scene(), "JPEG") + b"<script>SecretTail</script>" + os.urandom(200_000))
    assert b"SecretTail" not in photo.data


def test_a_colour_profile_is_applied_and_dropped() -> None:
    grey = Image.new("RGB", (64, 64), (100, 100, 100))
    plain, profiled = take(encode(grey, "PNG")), take(encode(grey, "PNG", icc_profile=gamma_profile(1.0)))
    assert pixels(plain).getpixel((5, 5)) == (100, 100, 100)
    assert is_about(pixels(profiled).getpixel((5, 5)), (167, 167, 167))  # linear light 100/255, as sRGB writes it
    assert "icc_profile" not in pixels(profiled).info


def test_a_broken_colour_profile_is_ignored() -> None:
    photo = take(encode(scene(), "JPEG", icc_profile=b"not a profile" * 20))
    assert is_about(pixels(photo).getpixel((10, 32)), RED)


def test_transparency_is_laid_on_white() -> None:
    see_through = scene(mode="RGBA")
    see_through.paste((0, 0, 0, 0), (0, 0, 96, 20))
    palette = Image.new("P", (96, 64), 0)
    palette.putpalette([0, 0, 0, 200, 30, 30])
    palette.paste(1, (0, 20, 96, 64))
    for data in (
        encode(see_through, "PNG"),
        encode(see_through, "WEBP", lossless=True),
        encode(palette, "PNG", transparency=0),
        encode(palette, "GIF", transparency=0),
        encode(see_through.convert("LA"), "PNG"),
    ):
        image = pixels(take(data))
        assert is_about(image.getpixel((10, 5)), (255, 255, 255))
        assert not is_about(image.getpixel((10, 50)), (255, 255, 255))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "I;16"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    deep = Image.fromarray(np.full((64, 96), 40_000, dtype=np.uint16))
    image = deep if mode == "I;16" else scene(mode=mode)
    photo = take(encode(image, "JPEG" if mode == "CMYK" else "PNG"))
    assert pixels(photo).mode == "RGB"
    if mode == "I;16":
        assert is_about(pixels(photo).getpixel((5, 5)), (156, 156, 156))


def test_a_large_photo_is_scaled_and_a_small_one_left() -> None:
    large = take(encode(scene((4000, 3000)), "JPEG"))
    assert (large.width, large.height) == (1600, 1200)
    assert Image.open(io.BytesIO(large.thumbnail)).size == (320, 240)
    small = take(encode(scene(), "JPEG"))
    assert Image.open(io.BytesIO(small.thumbnail)).size == (96, 64)


@pytest.mark.parametrize(
    ("size", "kept"),
    [
        ((20_000, 2), (1600, 200)),
        ((2, 2000), (200, 1600)),
        ((600, 2), (600, 75)),
        ((1080, 12_000), (720, 8000)),
        ((12_000, 1080), (8000, 720)),
        ((1080, 30_000), (415, 11_520)),
        ((1080, 2400), (720, 1600)),
        ((1, 1), (1, 1)),
        ((7, 3), (7, 3)),
    ],
)
def test_a_long_picture_stays_readable_and_a_line_is_laid_on_a_ground(
    size: tuple[int, int], kept: tuple[int, int]
) -> None:
    photo = take(encode(scene(size), "PNG"))
    assert (photo.width, photo.height) == kept


def test_a_screenshot_stays_lossless_and_a_photo_becomes_jpeg() -> None:
    drawn = Image.new("RGB", (400, 300), "white")
    ImageDraw.Draw(drawn).text((20, 20), "Error 0x80A4", fill="black")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8))
    assert take(encode(drawn, "PNG")).content_type == "image/png"
    assert np.array_equal(np.asarray(pixels(take(encode(drawn, "PNG")))), np.asarray(drawn))
    assert take(encode(noise, "PNG")).content_type == "image/jpeg"


def test_the_same_photo_gives_the_same_bytes() -> None:
    data = encode(scene((500, 300)), "JPEG")
    assert take(data) == take(data, name="again.jpg")
    assert take(data).sha256 == hashlib.sha256(take(data).data).hexdigest()


# What is kept as a download


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("manual.pdf", b"%PDF-1.7\n" + bytes(100)),
        ("log.txt", b"IHDR is only a word here" + b" and more" * 10),
        ("log.txt", b"line one\nline two <svg> in the middle"),
        ("archive.zip", b"PK\x03\x04" + bytes(100)),
        ("video.mp4", b"\0\0\0\x18ftypmp42" + bytes(100)),
        ("page.html", b"<html><body><svg></svg><script>alert(1)</script></body></html>"),
        ("", b"\0\1\2\3"),
    ],
)
def test_what_is_no_image_is_kept_as_it_is_and_never_typed(name: str, data: bytes) -> None:
    if b"IHDR" in data:
        data = b"x" * 40 + data
    file = normalise(Upload(name, "text/html", data), LIMITS)
    assert isinstance(file, StoredFile)
    assert file.data == data
    assert file.content_type == "application/octet-stream"
    assert file.filename


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("photo.jpg", "photo.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\photo 1.jpg", "photo 1.jpg"),
        ('a"b<c>.png', "abc.png"),
        ("gpj\u202egpj.exe", "gpjgpj.exe"),
        ("a\r\nSet-Cookie: x.txt", "a Set-Cookie x.txt"),
        ("...", "file"),
        ("", "file"),
        (".htaccess", "htaccess"),
        ("Küche ☕.jpg", "Küche ☕.jpg"),
        ("x" * 300 + ".jpg", "x" * 96 + ".jpg"),
        ("a." + "b" * 300, "a." + "b" * 98),
        ("指示灯.jpg", "指示灯.jpg"),
        ("u\u0308ber.jpg", "\u00fcber.jpg"),
        ("\u1112\u1161\u11ab.png", "한.png"),
        ("صورة\u202e gpj.exe", "صورة gpj.exe"),
        ("photo.jpg" + " " * 60 + ".exe", "photo.jpg .exe"),
        ("???.jpg", "file.jpg"),
        ("CON.jpg", "_CON.jpg"),
        ("com1", "_com1"),
        ("constant.jpg", "constant.jpg"),
        ("100 %.jpg", "100 %.jpg"),
        ("a\u3000b\u00a0c.png", "a b c.png"),
        ("می\u200cخواهم.jpg", "می\u200cخواهم.jpg"),
        ("👨‍👩‍👧‍👦" * 40 + ".jpg", "👨‍👩‍👧‍👦" * 9 + ".jpg"),
        ("照" * 200 + ".jpg", "照" * 78 + ".jpg"),
    ],
)
def test_a_filename_is_made_harmless(name: str, safe: str) -> None:
    assert safe_filename(name) == safe


@given(st.text(max_size=300))
def test_no_filename_is_harmful(name: str) -> None:
    safe = safe_filename(name)
    assert 0 < len(safe) <= 100
    assert len(safe.encode()) <= 241
    assert safe.replace("\u200c", "").replace("\u200d", "").isprintable()
    assert not set(safe) & set('/\\<>:"|?*')
    assert not safe.startswith(".")
    safe.encode()  # no lone surrogate


# What is refused


@pytest.mark.parametrize(
    ("data", "format_name"),
    [
        (encode(scene(), "TIFF"), "TIFF"),
        (encode(scene(), "BMP"), "BMP"),
        (encode(scene((32, 32)), "ICO"), "ICO"),
        (encode(scene(), "JPEG2000"), "JPEG 2000"),
        (encode(scene(), "AVIF"), "AVIF"),
        (b"8BPS\0\1" + bytes(50), "PSD"),
        (b'<?xml version="1.0"?>\n<!-- made by x -->\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b"<SVG onload='alert(1)'>", "SVG"),
    ],
)
def test_an_image_format_that_is_not_taken_is_named_with_what_to_send(data: bytes, format_name: str) -> None:
    with pytest.raises(Unsupported, match=f"in {format_name} format.*JPEG, PNG"):
        normalise(Upload("photo.jpg", "image/jpeg", data), LIMITS)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(Invalid, match=r"photo\.jpg is empty"):
        normalise(Upload("photo.jpg", None, b""), LIMITS)


def test_too_many_bytes_are_refused_with_the_limit() -> None:
    with pytest.raises(TooLarge, match="larger than 2 MB") as caught:
        normalise(Upload("a.bin", None, bytes(2_000_001)), Limits(max_bytes=2_000_000))
    assert caught.value.fields["limit"] == 2_000_000


def test_too_many_pixels_are_refused_with_the_limit() -> None:
    for image_format in ("PNG", "JPEG", "WEBP", "GIF"):
        data = encode(scene((1100, 1000)), image_format)
        with pytest.raises(TooLarge) as caught:
            take(data, limits=Limits(max_pixels=1_000_000))
        assert "would unpack" in caught.value.message or "1 megapixels" in caught.value.message
        assert take(data, limits=Limits(max_pixels=1_100_000)).width == 1100


def test_what_claims_to_be_a_photo_and_is_none_is_refused() -> None:
    for upload in (Upload("photo.jpg", None, b"hello"), Upload("blob", "image/jpeg", b"hello")):
        with pytest.raises(Invalid, match="not an image"):
            normalise(upload, LIMITS)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "HEIC"])
def test_a_photo_that_was_cut_off_is_refused(image_format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), dtype=np.uint8))
    data = HEIC if image_format == "HEIC" else encode(noise, image_format)
    take(data)
    for share in (0.3, 0.7, 0.95):
        with pytest.raises(Invalid, match="cannot be opened"):
            take(data[: int(len(data) * share)])


def test_pixels_that_fail_their_checksum_are_refused() -> None:
    data = bytearray(encode(scene(), "PNG", compress_level=0))
    take(bytes(data))
    data[data.index(b"IDAT") + 40] ^= 0xFF
    with pytest.raises(Invalid, match="damaged"):
        take(bytes(data))


def test_a_photo_with_a_broken_exif_block_is_a_good_photo() -> None:
    exif = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(range(60))
    photo = take(encode(scene(), "JPEG", exif=exif))
    assert is_about(pixels(photo).getpixel((10, 32)), RED)


def test_a_compressed_text_that_unpacks_to_a_gigabyte_is_refused() -> None:
    text = zlib.compress(bytes(100_000_000))
    data = encode(scene(), "PNG")
    position = data.index(b"IDAT") - 4
    with pytest.raises(TooLarge, match="unpack"):
        take(data[:position] + png_chunk(b"zTXt", b"Comment\0\0" + text) + data[position:])


def test_a_jpeg_with_thousands_of_scans_is_refused() -> None:
    data = encode(scene((800, 800)), "JPEG", progressive=True)
    last = data[data.rfind(b"\xff\xda") : -2]
    take(data)
    with pytest.raises(TooLarge, match="unpack"):
        take(data[:-2] + last * 2000 + data[-2:])


def test_a_gif_whose_later_frame_is_gigantic_is_refused() -> None:
    frames = [Image.new("P", (10, 10), n) for n in range(2)]
    frames[1].paste(5, (2, 2, 5, 5))
    data = bytearray(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    take(bytes(data))
    second = data.index(b"\x2c", data.index(b"\x2c") + 10)
    struct.pack_into("<4H", data, second + 1, 0, 0, 60_000, 60_000)
    with pytest.raises(TooLarge, match="unpack"):
        take(bytes(data))


# Hostile files

# What the sender described wrongly, not what they sent: pixels are whole, every decoder agrees on them.
GOOD_PHOTOS_WITH_BAD_METADATA = {
    "pillow__broken_exif_dpi.jpg",
    "pillow__exif-dpi-zerodivision.jpg",
    "pillow__exif_gps_typeerror.jpg",
    "pillow__exif_typeerror.jpg",
    "pillow__hopper_bad_exif.jpg",
    "pillow__invalid-exif-without-x-resolution.jpg",
    "pillow__invalid-exif.jpg",
    "pillow__photoshop-200dpi-broken.jpg",
    "pillow__sugarshack_bad_mpo_header.jpg",
    "pillow__truncated_app14.jpg",
    "pillow__truncated_exif_dpi.jpg",
}
# Valid files on which one program once failed.
GOOD_FILES = {"pillow__hopper_zero_comment_subblocks.gif", "image__panic.webp"}

_JUDGE = """
import json, resource, sys, time
from pathlib import Path
from assistant.errors import AssistantError
from assistant.media.files import Upload
from assistant.media.photo import Limits, normalise
normalise(Upload("warm.png", None, Path(sys.argv[2]).read_bytes()), Limits())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for file in sorted(Path(sys.argv[1]).iterdir()):
    started = time.process_time()
    try:
        said = type(normalise(Upload(file.name, None, file.read_bytes()), Limits())).__name__
    except AssistantError as error:
        said = [error.status, error.message]
    print(json.dumps([file.name, said, time.process_time() - started]))
print(json.dumps(["", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 0]))
"""


def test_every_bad_file_is_refused_with_its_reason_in_little_time_and_memory(tmp_path: Path) -> None:
    files = DATA / "bad_files" / "files"
    if not files.is_dir():
        pytest.skip(f"needs the shared data: {files}")
    warm = tmp_path / "warm.png"
    warm.write_bytes(encode(scene(), "PNG"))
    command = [sys.executable, "-W", "ignore", "-c", _JUDGE, str(files), str(warm)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout.splitlines()
    *judged, (_, grown_mb, _) = map(json.loads, lines)
    accepted = {name for name, said, _ in judged if said == "Photo"}
    refused = {name: said for name, said, _ in judged if said != "Photo"}
    assert len(judged) == 54
    assert accepted <= GOOD_PHOTOS_WITH_BAD_METADATA | GOOD_FILES
    assert {name: said for name, said in refused.items() if said[0] not in (413, 415, 422)} == {}
    assert all(message.startswith(name) and ". Please" in message for name, (_, message) in refused.items())
    assert max(seconds for _, _, seconds in judged) < 2
    assert grown_mb < 200


def _seeds() -> list[bytes]:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    formats = ("JPEG", "PNG", "WEBP", "GIF")
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        *(encode(scene(), name) for name in formats),
        *(encode(noise, name) for name in formats),
        encode(noise, "JPEG", progressive=True, exif=exif.tobytes(), icc_profile=gamma_profile(1.0)),
        encode(scene(), "PNG", exif=exif.tobytes(), icc_profile=gamma_profile(1.0)),
        encode(scene(mode="RGBA"), "WEBP", lossless=True),
    ]


SEEDS = _seeds()


@settings(max_examples=400, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
    keep=st.floats(0, 1) | st.just(1.0),
    junk=st.binary(max_size=30),
)
def test_no_damage_raises_anything_but_our_own_errors(
    seed: bytes, flips: list[tuple[float, int]], keep: float, junk: bytes
) -> None:
    data = bytearray(seed)
    for place, value in flips:
        data[min(int(place * len(data)), len(data) - 1)] = value
    try:
        result = normalise(Upload("photo.jpg", None, bytes(data[: int(keep * len(data))]) + junk), LIMITS)
    except (Invalid, TooLarge, Unsupported):
        return
    assert isinstance(result, Photo)
    assert pixels(result).size == (result.width, result.height)


@pytest.mark.parametrize("place", [*range(150, 200, 4), 240, 400, 600])
def test_a_heic_that_crashes_its_decoder_costs_only_itself(place: int) -> None:
    """Several of these end the decoder's process with a segmentation fault."""
    data = bytearray(HEIC)
    data[place] = 0xFF
    try:
        assert take(bytes(data)).width in (64, 96)
    except (Invalid, TooLarge):
        take(HEIC)


def test_a_heic_with_too_many_pixels_is_refused() -> None:
    with pytest.raises(TooLarge, match="unpack"):
        take(HEIC, limits=Limits(max_pixels=96 * 64 - 1))


_LARGEST = """
import re, sys
from pathlib import Path
from assistant.media.files import Upload
from assistant.media.photo import Limits, normalise
data = Path(sys.argv[1]).read_bytes()
photo = normalise(Upload("large", None, data), Limits())
# Not getrusage: it counts what the process that started this one had.
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(photo.width, peak)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("image_format", "mode"), [("PNG", "RGBA"), ("JPEG", "RGB"), ("WEBP", "RGB")])
def test_the_largest_photo_that_is_taken_needs_bounded_memory(tmp_path: Path, image_format: str, mode: str) -> None:
    """50 megapixels are 200 MB as they are decoded, and once or twice more while they are turned into what is kept."""
    file = tmp_path / "large"
    options = {"PNG": {"compress_level": 1}, "JPEG": {"progressive": True}, "WEBP": {"method": 0}}[image_format]
    file.write_bytes(encode(Image.new(mode, (7070, 7070), (20, 90, 200)[: len(mode)]), image_format, **options))
    command = [sys.executable, "-W", "ignore", "-c", _LARGEST, str(file)]
    output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600).stdout
    width, peak_mb = map(float, output.split())
    assert width == 1600
    assert peak_mb < 900


def test_many_threads_normalise_at_once() -> None:
    data = encode(scene((900, 700)), "JPEG")
    expected = take(data).sha256
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(take(data).sha256)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


# Quality


def _room() -> Image.Image:
    """Something with edges in all directions: text, circles and lines over a gradient, with a camera's noise."""
    ramp = np.linspace(60, 200, 640)[None, :, None] * np.ones((480, 1, 3))
    image = Image.fromarray(ramp.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for step in range(8):
        draw.ellipse((40 + 70 * step, 60, 90 + 70 * step, 110), outline="black", width=3)
        draw.text((40 + 70 * step, 140 + 35 * step), f"E{step}1", fill="white", font_size=28)
        draw.line((20, 200 + 30 * step, 620, 190 + 33 * step), fill=(20, 20, 20), width=2)
        draw.line((20 + 80 * step, 130, 10 + 78 * step, 470), fill=(20, 20, 20), width=2)
    noisy = np.asarray(image, dtype=np.float32) + np.random.default_rng(0).normal(0, 2, (480, 640, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _scaled(image: Image.Image, gain: float, offset: float = 0.0) -> Image.Image:
    return Image.fromarray((np.asarray(image, dtype=np.float32) * gain + offset).clip(0, 255).astype(np.uint8))


def _moved(image: Image.Image, by: int) -> Image.Image:
    """The camera moved to the side while it was open."""
    array = np.asarray(image, dtype=np.float32)
    return Image.fromarray(np.mean([np.roll(array, n, axis=1) for n in range(by)], axis=0).astype(np.uint8))


@pytest.mark.parametrize(
    ("photo", "quality"),
    [
        (_room(), "good"),
        (_room().filter(ImageFilter.GaussianBlur(4)), "blurred"),
        (_moved(_room(), 16), "blurred"),
        (_scaled(_room(), 0.12), "too dark"),
        (_scaled(_room(), 0.5, 190), "too bright"),
        (_scaled(_room(), 0.08, 120), "low contrast"),
        (Image.new("RGB", (300, 200), "black"), "blank"),
        (Image.new("RGB", (300, 200), "white"), "blank"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_quality_is_named(photo: Image.Image, quality: str) -> None:
    value, confidence = assess_quality(encode(photo, "JPEG", quality=90))
    assert value == quality
    assert 0.5 <= confidence <= 1


def test_quality_of_the_smallest_photo_can_be_told() -> None:
    for size in ((1, 1), (2, 500), (1600, 1)):
        value, confidence = assess_quality(take(encode(Image.new("RGB", size, "grey"), "PNG")).data)
        assert value == "too small"
        assert confidence > 0.5


@pytest.mark.parametrize("folder", ["doorstep_packages", "grocery_products", "receipts"])
def test_real_photos_are_good_and_blurred_ones_are_noticed(folder: str) -> None:
    files = sorted((DATA / folder / "images").glob("*"))[:8]
    if not files:
        pytest.skip(f"needs the shared data: {DATA / folder}")
    sharp, blurred = [], []
    for file in files:
        photo = take(file.read_bytes())
        image = pixels(photo)
        soft = image.filter(ImageFilter.GaussianBlur(max(image.size) * 0.006))
        sharp.append(assess_quality(photo.data)[0])
        blurred.append(assess_quality(encode(soft, "JPEG"))[0])
    assert sharp == ["good"] * len(files)
    assert blurred.count("good") == 0
