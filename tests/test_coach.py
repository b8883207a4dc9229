"""The widget's photo coach (coach.js) on real photos, good and degraded: it must help, and must not nag."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

import assistant

pytestmark = pytest.mark.slow

COACH = Path(assistant.__file__).parent / "web" / "static" / "widget" / "coach.js"
SIDE = 512  # as in coach.js
JUDGE = f"""
import {{ readFileSync }} from "node:fs";
import {{ judge }} from {json.dumps(COACH.as_uri())};
const said = JSON.parse(readFileSync(0, "utf8")).map(({{ file, width, height, longer }}) =>
  judge({{ data: readFileSync(file), width, height }}, longer));
console.log(JSON.stringify(said));
"""


def degraded(photo: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """The photo as it is and as bad cameras and light would have it, with what should be said of it."""
    longer = max(photo.size)
    yield "null", photo
    yield "photo_blurred", photo.filter(ImageFilter.GaussianBlur(0.006 * longer))
    dark = (np.asarray(photo) / 255) ** 2.2 * 0.1
    yield "photo_dark", Image.fromarray((dark ** (1 / 2.2) * 255).astype(np.uint8))
    rows, columns = np.ogrid[: photo.height, : photo.width]
    radius = 0.15 * min(photo.size)
    beyond = np.maximum(0, np.hypot(columns - photo.width / 2, rows - photo.height / 2) / radius - 1)
    spot = 400 * np.exp(-((beyond / 0.4) ** 2))
    yield "photo_glare", Image.fromarray(np.clip(np.asarray(photo) + spot[..., None], 0, 255).astype(np.uint8))


def test_it_helps_and_does_not_nag(data_sets: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js: apt install nodejs")
    photos = sorted(data_sets.glob("grocery_products/**/*.jpg"))[::2]
    rows, wanted = [], []
    for path in photos:
        with Image.open(path) as image:
            photo = ImageOps.exif_transpose(image).convert("RGB")
        for code, seen in degraded(photo):
            longer = max(seen.size)
            seen.thumbnail((SIDE, SIDE))
            file = tmp_path / f"{len(rows)}.rgba"
            file.write_bytes(seen.convert("RGBA").tobytes())
            rows.append({"file": str(file), "width": seen.width, "height": seen.height, "longer": longer})
            wanted.append(code)
    ran = subprocess.run(
        [node, "--input-type=module", "-e", JUDGE], input=json.dumps(rows), capture_output=True, text=True, check=True
    )
    said = [code or "null" for code in json.loads(ran.stdout)]
    right = Counter(code for code, seen in zip(wanted, said, strict=True) if code == seen)
    share = {code: right[code] / wanted.count(code) for code in set(wanted)}
    assert len(photos) > 20
    assert share["null"] >= 0.95
    assert share["photo_blurred"] >= 0.95
    assert share["photo_dark"] >= 0.95
    assert share["photo_glare"] >= 0.75
