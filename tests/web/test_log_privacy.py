"""What customers write, send and are called does not get into the log, whatever goes wrong."""

from __future__ import annotations

import io
import logging
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import structlog
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import event

from assistant.db import Database
from assistant.desk.desk import Desk
from assistant.ports import Mode
from assistant.runtime import Runtime
from assistant.server import configure_logging
from assistant.settings import Settings
from assistant.worker import run_once
from tests.factories import Browser, Persona, bearer, make_key, make_photo, make_ticket, make_upload
from tests.fakes import FakeOCR, ScriptedChatModel, fake_capabilities

CANARY = "xylophone7731"


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], str]]:
    """What the product's own configuration of the log has written to standard error so far."""
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    logging.getLogger().handlers.clear()
    configure_logging(Settings(log_level="info"))
    yield lambda: capsys.readouterr().err
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers


@contextmanager
def failing(db: Database, make: Callable[[str, Any], Exception]) -> Iterator[None]:
    """Every statement fails with an error that quotes it and its parameters."""

    def fail(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        raise make(statement, parameters)

    event.listen(db.engine, "before_cursor_execute", fail)
    yield
    event.remove(db.engine, "before_cursor_execute", fail)


def quoting(statement: str, parameters: Any) -> Exception:
    return RuntimeError(f"{statement} {parameters} {CANARY}")


def locked(_statement: str, parameters: Any) -> Exception:
    error = sqlite3.OperationalError(f"database is locked {parameters} {CANARY}")
    error.sqlite_errorcode = sqlite3.SQLITE_BUSY
    return error


def ask(client: FlaskClient, method: str, where: str, **request: Any) -> int:
    response = client.open(where, method=method, **request)
    response.close()
    return response.status_code


def every_route(client: FlaskClient, app: APIFlask, headers: dict[str, str]) -> Iterator[int]:
    """Ask everything with the canary wherever something can be put: path, query, form, file name, JSON, headers."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: "DELETE" in (rule.methods or ())):  # logs out last
        if "events" in rule.rule or rule.endpoint == "static":
            continue
        path = rule.rule
        for argument in rule.arguments:
            kind = rule._converters[argument]
            value = "tck_" + (CANARY + "0" * 20)[:20] if "PublicId" in type(kind).__name__ else CANARY
            path = re.sub(rf"<([^<>]*:)?{argument}>", lambda _, value=value: value, path)
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            where = f"{path}?q={CANARY}&query={CANARY}&token={CANARY}"
            if method == "GET":
                yield ask(client, method, where, headers=headers)
                continue
            person = {"name": CANARY, "email": f"{CANARY}@example.org"}
            body = {"text": CANARY, "subject": CANARY, "requester": person, "value": CANARY, **person}
            yield ask(client, method, where, json=body, headers=headers)
            photo = (io.BytesIO(make_photo(CANARY)), f"{CANARY}.jpg")
            form = {"text": CANARY, "requester_email": f"{CANARY}@example.org", "password": CANARY, "photos": photo}
            yield ask(client, method, where, data=form, headers=headers)


@pytest.mark.parametrize("fault", ["none", "locked", "quoting", "storage away"])
@pytest.mark.slow
def test_no_route_tells_the_log_what_a_customer_sent(
    app: APIFlask,
    db: Database,
    settings: Settings,
    sign_in: Callable[[Persona], FlaskClient],
    dora: Persona,
    log: Callable[[], str],
    fault: str,
) -> None:
    app.config["WTF_CSRF_ENABLED"] = False
    key = bearer(make_key(db))
    token, agent = Browser(app.test_client()).headers, sign_in(dora)
    log()
    if fault == "storage away":
        folder = Path(settings.attachments_url)
        folder.rename(folder.with_name("aside"))
    lasting = {"locked": failing(db, locked), "quoting": failing(db, quoting)}.get(fault, nullcontext())
    with lasting:
        answers = [
            status
            for client, headers in ((app.test_client(), key), (app.test_client(), token), (agent, {}))
            for status in every_route(client, app, headers)
        ]
    assert len(answers) > 150
    assert (500 in answers) == (fault == "quoting")
    written = log()
    assert CANARY not in written
    beside = "".join(line for line in written.splitlines(keepends=True) if " event=request " not in line)
    assert len(written) > len(beside), "each request has its line"
    assert len(beside) < 2_000 or fault == "quoting"


@pytest.mark.parametrize("where", ["ocr", "model"])
def test_a_job_whose_model_quotes_the_message_does_not(
    make_runtime: Callable[..., Runtime], log: Callable[[], str], where: str
) -> None:
    error = ValueError(f"cannot tokenize {CANARY!r}")
    model = {"chat_model": ScriptedChatModel().enqueue(*[error] * 20)} if where == "model" else {}
    ocr = FakeOCR(error=error if where == "ocr" else None)
    capabilities = fake_capabilities(Mode.FULL_VLM if where == "model" else Mode.NO_VLM, ocr=ocr, **model)
    desk: Desk = make_runtime(capabilities=capabilities).desk
    make_ticket(desk, f"{CANARY} shows E21", uploads=[make_upload(f"{CANARY}.jpg")])
    for _ in range(6):
        run_once(desk)
    assert CANARY not in log()


@pytest.mark.parametrize("level", ["info", "debug"])
def test_messages_of_errors_are_logged_at_the_level_debug_alone(level: str) -> None:
    program = f"""
import logging, structlog
from assistant.server import configure_logging
from assistant.settings import Settings
configure_logging(Settings(log_level={level!r}))
structlog.get_logger().error("failed", exc_info=KeyError({CANARY!r}))
logging.getLogger("gunicorn.error").error("failed", exc_info=ValueError({CANARY!r}))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert "KeyError" in ran.stderr
    assert "ValueError" in ran.stderr
    assert ran.stderr.count(CANARY) == (2 if level == "debug" else 0)
