"""The secret key: what it signed and encrypted stays valid while another one takes over, and nothing tells it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog
from apiflask import APIFlask
from click.testing import CliRunner
from sqlalchemy import select

from assistant import doctor
from assistant.cli import main
from assistant.db import Database
from assistant.desk import inboxes, links, sealing
from assistant.desk.links import Purpose
from assistant.errors import NotFound, NotReady
from assistant.models import Inbox
from assistant.runtime import Runtime, build
from assistant.server import configure_logging
from assistant.settings import Settings
from tests.factories import PASSWORD, make_agent
from tests.fakes import fake_capabilities
from tests.web.test_console import csrf_of, submit

OLD, NEW = "the secret key of before, long enough", "the secret key in use, long enough, too"
MakeRuntime = Callable[..., Runtime]
MakeApp = Callable[[Runtime], APIFlask]


def with_keys(settings: Settings, key: str, *previous: str) -> Settings:
    given = {"secret_key": key, "previous_secret_keys": list(previous)}
    return Settings(data_dir=settings.data_dir, workers=0, **given)  # type: ignore[arg-type]


def test_a_secret_is_read_with_a_key_of_before_and_written_with_the_one_in_use(settings: Settings) -> None:
    old, both, new = with_keys(settings, OLD), with_keys(settings, NEW, OLD), with_keys(settings, NEW)
    sealed = sealing.seal(old, "s3cret")
    assert "s3cret" not in sealed
    assert sealing.unseal(both, sealed) == "s3cret"
    with pytest.raises(NotReady, match="ASSISTANT_PREVIOUS_SECRET_KEYS"):
        sealing.unseal(new, sealed)
    assert sealing.unseal(new, sealing.seal(both, "s3cret")) == "s3cret"


def test_once_secrets_are_encrypted_anew_the_old_key_can_be_dropped(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with db.begin() as session:
        inbox = inboxes.default(session)
        inbox.secret = "a secret that was stored before secrets were encrypted"
        inboxes.renew_secret(inbox, with_keys(settings, OLD))
        before = inboxes.valid_secrets(inbox, with_keys(settings, OLD))
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("ASSISTANT_SECRET_KEY", NEW)
    refused = CliRunner().invoke(main, ["secrets", "reencrypt"])
    assert (refused.exit_code, "ASSISTANT_PREVIOUS_SECRET_KEYS" in refused.output) == (1, True)
    monkeypatch.setenv("ASSISTANT_PREVIOUS_SECRET_KEYS", json.dumps([OLD]))
    assert doctor_says(with_keys(settings, NEW, OLD)).startswith("2 stored")
    assert "anew: 2" in CliRunner().invoke(main, ["secrets", "reencrypt"]).output
    assert "anew: 0" in CliRunner().invoke(main, ["secrets", "reencrypt"]).output
    only = with_keys(settings, NEW)
    assert doctor_says(only).startswith("stored ones are")
    with db.read() as session:
        assert inboxes.valid_secrets(inboxes.default(session), only) == before
        stored = session.scalars(select(Inbox.secret)).one()
    assert stored is not None
    assert before[0] not in stored


def doctor_says(settings: Settings) -> str:
    return next(check.detail for check in doctor.run(settings) if check.name == "secrets")


def test_sessions_forms_and_links_outlast_the_key_that_signed_them(
    settings: Settings, db: Database, make_app: MakeApp
) -> None:
    """A browser that signed in before sends a form that it loaded before."""
    make_agent(db, "ada", admin=True)
    link = links.sign(with_keys(settings, OLD), Purpose.OPEN, "cnv_1")
    cookies, token = {}, ""
    for keys, is_in in (((OLD,), True), ((NEW, OLD), True), ((NEW,), False)):
        runtime = build(with_keys(settings, *keys), capabilities=fake_capabilities())
        client = make_app(runtime).test_client()
        for name, value in cookies.items():
            client.set_cookie(name, value)
        if not cookies:
            submit(client, "/console/sign-in", email="ada@example.org", password=PASSWORD)
            token = csrf_of(client.get("/console/account").text)
            cookies = {name: client.get_cookie(name).value for name in ("session",)}  # type: ignore[union-attr]
        answer = client.post("/console/away", data={"csrf_token": token, "away": "1"})
        assert (answer.status_code == 302 and "sign-in" not in answer.location) is is_in, keys
        if is_in:
            assert links.read(runtime.settings, Purpose.OPEN, link) == "cnv_1"
        else:
            with pytest.raises(NotFound):
                links.read(runtime.settings, Purpose.OPEN, link)
        runtime.close()


def test_nothing_tells_the_secret_keys(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = with_keys(settings, NEW, OLD)
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("ASSISTANT_SECRET_KEY", NEW)
    monkeypatch.setenv("ASSISTANT_PREVIOUS_SECRET_KEYS", json.dumps([OLD]))
    before, handlers = structlog.get_config(), logging.getLogger().handlers[:]
    configure_logging(known.model_copy(update={"log_level": "debug"}))
    structlog.get_logger().error("settings", settings=known, keys=known.previous_secret_keys)
    logging.getLogger("test").error("with %s", known)
    structlog.configure(**before)
    logging.getLogger().handlers[:] = handlers
    told = "".join(capsys.readouterr())
    assert "settings" in told
    told += CliRunner().invoke(main, ["--debug", "doctor"]).output
    for short in ("ASSISTANT_SECRET_KEY", "ASSISTANT_PREVIOUS_SECRET_KEYS"):
        with monkeypatch.context() as patch:
            patch.setenv(short, "tooshort77")
            refused = CliRunner().invoke(main, ["--debug", "doctor"])
            assert (refused.exit_code, "shorter than 16" in refused.output) == (2, True)
            told += refused.output + repr(refused.exception)
    assert [word for word in (OLD, NEW, "tooshort77") if word in told] == []


@pytest.mark.parametrize("content", ["", "short\n"])
def test_a_damaged_key_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret.key").write_text(content)
    with pytest.raises(NotReady, match=r"secret\.key"):
        Settings(data_dir=tmp_path).signing_key()
