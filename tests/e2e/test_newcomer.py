"""A newcomer with products of their own, from a folder of photos to a recognised photo, with what ships alone."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from assistant.cli import main
from assistant.lab.real_server import Server
from assistant.settings import PREFIX
from assistant.skills.read_photo import CANNOT_TELL
from tests.conftest import LONG
from tests.products import SHOP, shot

pytestmark = pytest.mark.e2e
EACH = 5
MOST_SECONDS = 480  # of ten minutes, to which installing adds


def test_an_outdoor_shop_is_recognised_within_ten_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = time.monotonic()
    for key, (name, *_) in SHOP.items():
        folder = tmp_path / "products" / name
        folder.mkdir(parents=True)
        for number in range(EACH):
            (folder / f"{number}.jpg").write_bytes(shot(key, number))
    rows = [f"Bottle/{number}.jpg,{'light red' if number else 'light green'},light" for number in range(3)]
    (tmp_path / "products" / "conditions.csv").write_text("\n".join(("file,condition,kind", *rows)))
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(tmp_path / "var"))
    monkeypatch.setenv(f"{PREFIX}MODEL", "none")
    if not LONG:  # nothing is written on these photos, and looking for it takes most of the time
        monkeypatch.setenv(f"{PREFIX}OCR", "off")

    assert run("products", "list").startswith("No products have been learned")
    learned = run("products", "learn", str(tmp_path / "products"))
    assert learned.startswith("version 1: served; 8 products, 40 photos, efficientnet-lite0@57934424")
    assert "light red (2)" in learned
    assert "Not in the taxonomy's file, known by these photos only: bottle" in learned
    assert json.loads(run("products", "show", "--json"))["products"]["ridge-tent"] == EACH

    key = run("keys", "add", "shop", "--scope", "triage").split()[-1]
    with closing(Server(tmp_path / "var")) as server:
        server.start()
        for product, (name, *_) in SHOP.items():
            told = triaged(server, key, shot(product, 20))
            [shown] = told["evidence"]
            assert shown["product"]["value"] == name.lower().replace(" ", "-")
            assert shown["product"]["reference"]
            [sorted_by] = [field["value"] for field in told["triage"]["fields"] if field["name"] == "product"]
            assert sorted_by == shown["product"]["value"]
        for number in range(2):
            [shown] = triaged(server, key, shot("nothing", 20 + number))["evidence"]
            assert shown["product"]["value"] == CANNOT_TELL
    assert time.monotonic() - started < MOST_SECONDS
    assert run("products", "rollback") == "No version serves now.\n"


def triaged(server: Server, key: str, photo: bytes) -> dict[str, Any]:
    """A ticket that is not stored."""
    files = [("text", (None, "It broke.")), ("photos", ("photo.jpg", photo, "image/jpeg"))]
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"{server.url}/api/v1/triage", files=files, headers=headers, timeout=120)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout
