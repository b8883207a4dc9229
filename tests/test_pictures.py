"""Right pictures of unusual files: animations, transparency, deep and inverted colours; what is told of them."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from assistant.errors import Invalid, TooLarge
from assistant.media.colour import has_colours
from assistant.media.files import StoredFile, Upload
from assistant.media.formats import sniff
from assistant.media.origin import origin_of
from assistant.media.photo import Limits, Photo, normalise
from assistant.media.quality import assess_quality


def take(data: bytes) -> Photo:
    photo = normalise(Upload("picture", None, data), Limits())
    assert isinstance(photo, Photo)
    return photo


def encode(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def grey(photo: Photo) -> np.ndarray:
    with Image.open(io.BytesIO(photo.data)) as image:
        return np.asarray(image.convert("L"), dtype=np.int16)


def writing(text: str, *, ink: Any = "black", ground: Any = "white", mode: str = "RGB") -> Image.Image:
    image = Image.new(mode, (300, 120), ground)
    ImageDraw.Draw(image).text((40, 30), text, fill=ink, font_size=48)
    return image


BLANK = Image.new("RGB", (300, 120), "white")


# Animations


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("at", [0, 1, 5, 11])
def test_of_an_animation_the_frame_that_shows_something_is_kept(image_format: str, at: int) -> None:
    faded = [Image.blend(BLANK, Image.new("RGB", BLANK.size, "grey"), 0.05 * step) for step in range(12)]
    frames = [writing("F-37") if number == at else faded[number] for number in range(12)]
    photo = take(encode(frames[0], image_format, save_all=True, append_images=frames[1:], duration=100))
    assert np.ptp(grey(photo)) > 200
    assert at + 1 in origin_of(photo.data).shown


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG"])
def test_frames_that_differ_stand_on_one_sheet_in_their_order(image_format: str) -> None:
    frames = [writing("E21"), writing("E21"), BLANK, writing("F-37", ground="yellow"), writing("CALL", ground="cyan")]
    photo = take(encode(frames[0], image_format, save_all=True, append_images=frames[1:], duration=100))
    origin = origin_of(photo.data)
    assert len(origin.shown) == 3
    assert origin.shown == tuple(sorted(origin.shown))
    assert (photo.width, photo.height) == (608, 248)


def test_a_display_that_changes_a_digit_shows_both() -> None:
    frames = [writing("E 21"), writing("E 27")]
    photo = take(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert origin_of(photo.data).shown == (1, 2)


def test_an_animation_of_equal_frames_is_one_picture() -> None:
    moved = writing("E21")
    moved.putpixel((0, 0), (0, 0, 0))
    photo = take(encode(writing("E21"), "GIF", save_all=True, append_images=[moved]))
    assert (photo.width, photo.height) == (300, 120)
    assert len(origin_of(photo.data).shown) == 1


def test_a_long_animation_is_looked_at_all_over_and_a_picture_has_no_frames() -> None:
    frames = [writing(f"{number}", ground=(255, 255, 250 - number % 5)) for number in range(150)]
    frames[140] = writing("F-37", ground="black", ink="white")
    photo = take(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    origin = origin_of(photo.data)
    assert (origin.frames, origin.goes_on) == (150, False)
    assert 141 in origin.shown
    assert origin_of(take(encode(BLANK)).data).shown == ()


def test_of_an_animation_without_end_the_beginning_is_looked_at() -> None:
    frames = [Image.new("RGB", (12, 9), (number % 256, number // 256 * 60, 90)) for number in range(1100)]
    for image_format in ("PNG", "WEBP"):
        data = encode(frames[0], image_format, save_all=True, append_images=frames[1:], lossless=True)
        origin = origin_of(take(data).data)
        assert (origin.frames, origin.goes_on) == (1000, True)


def test_an_animation_that_breaks_off_keeps_the_frames_before() -> None:
    frames = [writing("E21"), writing("F-37", ground="cyan"), writing("CALL", ground="yellow")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    origin = origin_of(take(data[: len(data) - 300]).data)
    assert 1 in origin.shown


# Transparency


@pytest.mark.parametrize("ink", ["white", (255, 255, 0), (230, 230, 230), "black", (200, 0, 0), (0, 0, 160), "grey"])
@pytest.mark.parametrize("image_format", ["PNG", "WEBP"])
def test_writing_on_nothing_stands_out(ink: Any, image_format: str) -> None:
    photo = take(encode(writing("F-37", ink=ink, ground=(0, 0, 0, 0), mode="RGBA"), image_format))
    assert np.ptp(grey(photo)) >= 80


def test_black_and_white_writing_on_nothing_both_stand_out_from_grey() -> None:
    image = writing("F-37", ink="white", ground=(0, 0, 0, 0), mode="RGBA")
    ImageDraw.Draw(image).text((40, 80), "black", fill="black", font_size=36)
    levels = grey(take(encode(image)))
    assert levels[0, 0] == 128
    assert levels.min() < 30
    assert levels.max() > 225


@pytest.mark.parametrize("mode", ["LA", "PA"])
def test_white_writing_of_every_transparent_mode_gets_a_dark_ground(mode: str) -> None:
    image = writing("F-37", ink="white", ground=(0, 0, 0, 0), mode="RGBA")
    data = encode(image.convert("LA")) if mode == "LA" else encode(image.quantize(4), "PNG")
    assert np.ptp(grey(take(data))) > 200


def test_nothing_visible_is_blank() -> None:
    photo = take(encode(Image.new("RGBA", (90, 90), (0, 0, 0, 0))))
    assert assess_quality(photo.data)[0] == "blank"


# Colours


def test_levels_of_12_bits_are_scaled_and_16_bits_too() -> None:
    ramp = np.tile(np.linspace(0, 1, 200), (100, 1))
    for highest in (4095, 65_535):
        levels = grey(take(encode(Image.fromarray((ramp * highest).astype(np.uint16)))))
        assert levels.max() > 250
        assert levels.min() < 5


def test_inks_are_inverted_only_where_the_file_says_so() -> None:
    """Adobe marks the files in which it inverts inks, as Pillow does; others write neither a mark nor inverted inks."""
    image = writing("F-37").convert("CMYK")
    marked = encode(image, "JPEG")
    assert grey(take(marked))[5, 5] > 240
    start = marked.index(b"\xff\xee")
    length = struct.unpack_from(">H", marked, start + 2)[0]
    unmarked = marked[:start] + marked[start + 2 + length :]
    inverted = np.asarray(Image.open(io.BytesIO(marked)))
    assert inverted.shape[2] == 4
    assert grey(take(unmarked))[5, 5] < 15


def test_a_grey_or_sepia_photo_has_no_colours_and_a_small_light_is_one() -> None:
    random = np.random.default_rng(0)
    ramp = np.tile(np.linspace(40, 220, 400), (300, 1)) + random.normal(0, 4, (300, 400))
    plain = Image.fromarray(ramp.clip(0, 255).astype(np.uint8))
    sepia = ImageOps.colorize(plain, "#1a0f05", "#fff0d0", mid="#a07850")
    for image in (plain, sepia):
        assert not has_colours(take(encode(image.convert("RGB"), "JPEG", quality=85)).data)
        lit = image.convert("RGB")
        ImageDraw.Draw(lit).ellipse((200, 100, 208, 108), fill=(230, 30, 30))
        assert has_colours(take(encode(lit, "JPEG", quality=85)).data)


# Quality


@pytest.mark.parametrize(("ink", "ground"), [("black", "white"), ("white", "black"), ((90, 0, 0), (255, 255, 240))])
def test_a_page_with_a_word_on_it_is_neither_too_bright_nor_too_dark(ink: Any, ground: Any) -> None:
    page = Image.new("RGB", (1200, 1600), ground)
    ImageDraw.Draw(page).text((100, 100), "F-37", fill=ink, font_size=30)
    assert assess_quality(take(encode(page)).data)[0] == "good"
    assert assess_quality(take(encode(page, "JPEG", quality=92)).data)[0] == "good"


@pytest.mark.parametrize("size", [(2000, 1), (600, 2), (1, 1), (3, 400)])
def test_of_a_line_it_is_said_that_it_is_too_small(size: tuple[int, int]) -> None:
    assert assess_quality(take(encode(Image.new("RGB", size, "white"))).data)[0] == "too small"


# Files


@pytest.mark.parametrize(
    "data",
    [
        b"<!---->" * 40,
        b"<!-- -->" * 500 + b"x",
        b"<?xml ?>" * 400,
        b"<!DOCTYPE svg>" * 290,
        b"<!--" * 1000,
        b" " * 4000,
        b"\xef\xbb\xbf" + b"\n" * 4000 + b"<",
    ],
)
def test_a_file_of_comments_is_none_of_ours_at_once(data: bytes) -> None:
    assert isinstance(normalise(Upload("notes", None, data), Limits()), StoredFile)


@pytest.mark.parametrize(
    "data",
    [
        b"<svg/>",
        b"\xef\xbb\xbf <?xml version='1.0'?><!-- a --> <!-- b -->\n<SVG\n>",
        b"<!DOCTYPE svg PUBLIC 'x'><svg>",
        b"<!-- -->" * 400 + b"<svg>",
    ],
)
def test_a_drawing_is_known_behind_any_number_of_comments(data: bytes) -> None:
    assert sniff(data) == "SVG"


def test_a_profile_that_is_huge_is_not_read() -> None:
    data = encode(writing("E21"), "JPEG", icc_profile=bytes(5_000_000))
    assert np.ptp(grey(take(data))) > 200


def test_an_image_that_says_which_side_is_up_is_known_to_be_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 1
    for image_format in ("JPEG", "PNG", "WEBP"):
        assert origin_of(take(encode(writing("E21"), image_format, exif=exif.tobytes())).data).upright
        assert not origin_of(take(encode(writing("E21"), image_format)).data).upright
    exif[0x0112] = 77
    assert not origin_of(take(encode(writing("E21"), "JPEG", exif=exif.tobytes())).data).upright


def test_a_photo_without_a_note_has_no_known_origin() -> None:
    plain = writing("E21")
    for data in (
        encode(plain),
        encode(plain, "JPEG", comment=b"[1]"),
        encode(plain, "JPEG", comment=b'{"a": 1}'),
        b"x",
    ):
        assert origin_of(data).frames == 1


def test_an_animation_of_nothing_but_claims_is_refused() -> None:
    data = bytearray(encode(BLANK, "PNG", save_all=True, append_images=[writing("E21")]))
    struct.pack_into(">I", data, data.index(b"acTL") + 4, 0)
    with pytest.raises((Invalid, TooLarge)):
        take(bytes(data))
