"""Settings that cannot work are refused at once, with what to write instead; what is made is private."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from assistant.cli import main
from assistant.db import snapshot
from assistant.runtime import open_database
from assistant.settings import Settings
from assistant.storage import Storage


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DATABASE_URL", "postgres://u:p@host/db", "postgresql+psycopg://"),
        ("DATABASE_URL", "postgresql://u:p@host/db", "postgresql+psycopg://"),
        ("DATABASE_URL", "mysql://u:p@host/db", "sqlite:///"),
        ("DATABASE_URL", "/srv/assistant.db", "sqlite:///"),
        ("DATABASE_URL", "", "sqlite:///"),
        ("STORAGE_URL", "s3:/oops", "s3://bucket/prefix"),
        ("STORAGE_URL", "s3://", "s3://bucket/prefix"),
        ("STORAGE_URL", "gs:bucket", "s3://bucket/prefix"),
        ("STORAGE_URL", "", "s3://bucket/prefix"),
        ("SECRET_KEY", "", "openssl rand"),
        ("SECRET_KEY", "x", "openssl rand"),
        ("SECRET_KEY", " " * 40, "openssl rand"),
        ("PUBLIC_URL", "help.example.org", "https://"),
        ("PUBLIC_URL", "https://", "https://"),
        ("TRUSTED_PROXIES", "proxy.example", "10.0.0.0/8"),
        ("TRUSTED_PROXIES", "10.0.0.1:80", "10.0.0.0/8"),
        ("RATE_LIMIT", "120 requests", "120 per minute"),
        ("SMTP_URL", "mail.example:25", "smtp://user:password@host:587"),
        ("SMTP_URL", "smtp://u:p@", "smtp://user:password@host:587"),
        ("SMTP_URL", "smtp://mail.example:mail", "smtp://user:password@host:587"),
        ("SMTP_URL", "smtp://mail.example", "ASSISTANT_MAIL_FROM"),
        ("MAIL_FROM", "Our shop", "support@shop.example"),
        ("MAIL_FROM", "a@b.example, c@d.example", "support@shop.example"),
        ("WIDGET_ORIGINS", "shop.example", "https://"),
        ("WIDGET_ORIGINS", "https://shop.example/cart", "without a path"),
        ("WIDGET_ORIGINS", "*", "https://"),
        ("WIDGET_ORIGINS", "https://*", "https://"),
        ("WIDGET_ORIGINS", "https://shop.example:x", "https://"),
        ("WIDGET_ORIGINS", "https://me@shop.example", "https://"),
        ("WIDGET_ORIGINS", "[https://shop.example]", "commas"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_what_to_write(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"ASSISTANT_{name}", value)
    for command in (["doctor"], ["serve"]):
        refused = CliRunner().invoke(main, command)
        assert refused.exit_code == 2
        assert f"ASSISTANT_{name}" in refused.output
        assert said in refused.output


def test_a_secret_is_not_repeated_when_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SECRET_KEY", "hunter2"), ("SMTP_URL", "http://user:hunter2@mail.example")):
        monkeypatch.setenv(f"ASSISTANT_{name}", value)
        assert "hunter2" not in CliRunner().invoke(main, ["doctor"]).output


@pytest.mark.slow
def test_doctor_asks_for_the_proxy_behind_a_public_address(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ASSISTANT_PUBLIC_URL", "https://help.example")
    assert "ASSISTANT_TRUSTED_PROXIES" in CliRunner().invoke(main, ["doctor"]).output
    monkeypatch.setenv("ASSISTANT_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8")
    assert "ASSISTANT_TRUSTED_PROXIES" not in CliRunner().invoke(main, ["doctor"]).output


@pytest.mark.slow
def test_doctor_says_which_sites_may_embed_the_widget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASSISTANT_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ASSISTANT_WIDGET_ORIGINS", "https://shop.example")
    assert "may be embedded by https://shop.example" in CliRunner().invoke(main, ["doctor"]).output
    monkeypatch.setenv("ASSISTANT_PUBLIC_URL", "http://help.example")
    assert "Browsers load nothing from http://" in CliRunner().invoke(main, ["doctor"]).output


@pytest.mark.parametrize(
    "value", ["https://a.example", "https://a.example, https://b.example:8443", '["https://a.example"]', ""]
)
def test_lists_may_be_written_with_commas_or_as_json(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ASSISTANT_WIDGET_ORIGINS", value)
    assert len(Settings().widget_origins) == value.count("example")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://Shop.Example/", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("https://*.shop.example", "https://*.shop.example"),
        ("https://müller.example", "https://xn--mller-kva.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_an_origin_is_kept_as_browsers_write_it(monkeypatch: pytest.MonkeyPatch, written: str, meant: str) -> None:
    monkeypatch.setenv("ASSISTANT_WIDGET_ORIGINS", written)
    assert Settings().widget_origins == [meant]


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "/srv/files", "files", "file:///srv/files", "az://container/a"])
def test_folders_and_buckets_are_storage(url: str) -> None:
    assert Settings(storage_url=url).attachments_url == url


def test_what_is_made_is_for_its_owner_only(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        settings = Settings(data_dir=tmp_path / "var")
        settings.signing_key()
        database = open_database(settings)
        with database.begin():
            pass
        Storage.open(settings.attachments_url).put(b"a photo")
        snapshot(database, tmp_path / "backup.db")
        database.close()
    finally:
        os.umask(old)
    private = [settings.data_dir, tmp_path / "backup.db", *settings.data_dir.iterdir()]
    assert len(private) >= 5
    assert [path.name for path in private if path.stat().st_mode & (stat.S_IRWXO | stat.S_IRWXG)] == []


def test_the_signing_key_is_made_once_and_not_empty(tmp_path: Path) -> None:
    first, second = (Settings(data_dir=tmp_path / "var").signing_key() for _ in range(2))
    assert first == second
    assert len(first) >= 32
