"""Clients that generators make of the OpenAPI document: nothing is dropped, and they do what curl does."""

from __future__ import annotations

import base64
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from apiflask import APIFlask

from assistant.db import Database
from assistant.web.api import openapi_document
from tests.factories import make_key, make_photo

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "node_modules" / ".bin"
pytestmark = pytest.mark.slow


@pytest.fixture
def document(app: APIFlask, tmp_path: Path) -> Path:
    path = tmp_path / "openapi.json"
    with app.app_context():
        path.write_text(json.dumps(openapi_document()), encoding="utf-8")
    return path


@pytest.fixture
def generated(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """``generated("models")``: a module of the Python client."""
    (tmp_path / "config.yaml").write_text("post_hooks: []\n")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning", "--meta", "none"]
    where = ["--config", tmp_path / "config.yaml", "--path", document, "--output-path", tmp_path / "generated_client"]
    done = subprocess.run([*command, *where], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(tmp_path)
    yield lambda name: importlib.import_module(f"generated_client.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "generated_client"]:
        del sys.modules[name]


def test_the_python_client_has_every_operation_with_its_answer(
    generated: Callable[[str], Any], document: Path, tmp_path: Path
) -> None:
    assert generated("models").Ticket
    made = {file.stem: file.read_text() for file in (tmp_path / "generated_client" / "api").glob("*/*.py")}
    operations = [one for item in json.loads(document.read_text())["paths"].values() for one in item.values()]
    assert len(operations) > 30
    for operation in operations:
        text = made["".join(f"_{one.lower()}" if one.isupper() else one for one in operation["operationId"])]
        for status in (one for one in operation["responses"] if one.startswith("2")):
            content = operation["responses"][status].get("content", {}).get("application/json")
            if content is not None:
                assert f"{content['schema']['$ref'].rpartition('/')[2]}.from_dict(" in text, operation["operationId"]


def test_the_python_client_does_what_curl_does(
    generated: Callable[[str], Any], app: APIFlask, db: Database, tmp_path: Path
) -> None:
    models, types = generated("models"), generated("types")
    client = generated("client").AuthenticatedClient(
        "http://localhost", make_key(db), httpx_args={"transport": httpx.WSGITransport(app=app)}
    )

    def call(module: str, *path: str, **given: Any) -> Any:
        return generated(f"api.{module}").sync(*path, client=client, **given)

    photo = types.File(payload=io.BytesIO(make_photo("E21")), file_name="display.jpg", mime_type="image/jpeg")
    form = models.OpenTicketFilesBody(
        text="My coffee machine shows E21.", requester_email="rosa@example.org", photos=[photo]
    )
    opened = call("tickets.open_ticket", body=form, idempotency_key="scenario-1")
    assert opened.messages[0].attachments[0].size > 0
    again = call("tickets.open_ticket", body=form, idempotency_key="scenario-1")
    assert again.id == opened.id
    asked = models.NewTicket(text="It leaks.", requester=models.NewRequester(external_id="c-17"))
    assert call("tickets.open_ticket", body=asked).requester.verified_by == "api"
    triaged = call("triage.triage_ticket", opened.id)
    assert {field.name: field.probability for field in triaged.fields}["priority"] > 0
    found = call("tickets.list_tickets", status=[models.TicketStatus.NEW, models.TicketStatus.OPEN], limit=5)
    assert opened.id in {ticket.id for ticket in found.tickets}
    added = call("webhooks.add_webhook", body=models.NewWebhook(url="https://shop.example/hook"))
    assert added.secret.startswith("whsec_")
    assert call("webhooks.get_webhook", added.id).enabled
    assert generated("api.webhooks.remove_webhook").sync_detailed(added.id, client=client).status_code == 204
    wrong = call("webhooks.add_webhook", body=models.NewWebhook(url="nonsense"))
    assert (wrong.status, wrong.field) == (422, "url")


def test_the_typescript_client_does_what_curl_does(url: str, db: Database, document: Path, tmp_path: Path) -> None:
    if not (TOOLS / "openapi-typescript").exists() or shutil.which("node") is None:
        pytest.skip("needs openapi-typescript: npm ci")
    (tmp_path / "node_modules").symlink_to(TOOLS.parent)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    shutil.copy(Path(__file__).with_name("scenario.ts"), tmp_path)
    run(tmp_path, TOOLS / "openapi-typescript", document, "-o", "api.ts")
    flags = ("--strict", "--noUncheckedIndexedAccess", "--skipLibCheck", "--module", "nodenext", "--target", "es2023")
    run(tmp_path, TOOLS / "tsc", *flags, "--lib", "es2023,dom", "scenario.ts")
    photo = base64.b64encode(make_photo("E21")).decode()
    run(tmp_path, "node", "scenario.js", URL=url, KEY=make_key(db), PHOTO=photo)


def run(folder: Path, *command: str | Path, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
