"""What `assistant deploy` prints works: parsed, checked by the tools that read it, and about what the product has."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from apiflask import APIFlask
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from assistant.app import templates_dir
from assistant.cli import main
from assistant.deployment import FILES, render
from assistant.engine import Installed
from assistant.runtime import Runtime
from assistant.settings import PREFIX, Settings
from assistant.web import bodies
from assistant.worker import HANDLERS, run_until_idle
from tests.factories import make_ticket

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = {PREFIX + name.upper() for name in Settings.model_fields}
SHOP = Settings(company='The "best" shop', public_url="https://shop.example/help", port=8123, photos_per_message=2)


@pytest.mark.parametrize("what", sorted(FILES))
def test_every_file_is_printed_whole_and_names_settings_and_commands_that_exist(what: str) -> None:
    printed = CliRunner().invoke(main, ["deploy", what])
    assert printed.exit_code == 0
    assert printed.output.endswith("\n")
    assert re.search(r"\{\{(?! \$)", printed.output) is None, "only Prometheus fills in what is left"
    assert "{%" not in printed.output
    assert set(re.findall(r"ASSISTANT_[A-Z_]+[A-Z]", printed.output)) <= SETTINGS
    assert set(re.findall(r"assistant deploy ([a-z-]+)", printed.output)) <= set(FILES)


def compose(what: str) -> dict[str, Any]:
    return yaml.safe_load(render(what, SHOP, templates_dir()))


@pytest.mark.parametrize("what", ["compose", "compose-apart"])
def test_compose_files_start_the_product_with_settings_that_it_takes(what: str) -> None:
    services = compose(what)["services"]
    ours = [service for service in services.values() if "build" in service]
    for service in ours:
        given = {name.removeprefix(PREFIX).lower(): value for name, value in service["environment"].items()}
        given = {name: re.sub(r"\$\{[^}]*\}", "secret", value) for name, value in given.items()}
        settings = Settings.model_validate(given)
        assert settings.public_url == "https://shop.example/help"
        assert settings.company == "The best shop"
        program, *arguments = service.get("command", ["assistant", "serve"])
        assert (program, arguments[0] in main.commands) == ("assistant", True)
        volumes = {volume.partition(":")[0] for volume in service["volumes"]}
        assert volumes <= compose(what)["volumes"].keys()
    assert sum(any("BACKUP" in name for name in service["environment"]) for service in ours) == 1, "one makes backups"
    if what == "compose-apart":
        assert set(services) == {"web", "worker", "postgres", "engine"}
        assert services["web"]["environment"]["ASSISTANT_WORKERS"] == "0"


def test_the_dockerfile_copies_what_is_there_and_runs_what_is_installed_as_nobody_special() -> None:
    text = render("dockerfile", SHOP, templates_dir()).replace("\\\n", " ")
    steps = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "USER", "VOLUME", "ENV", "EXPOSE", "HEALTHCHECK", "CMD"}
    assert {step[0] for step in steps} == known
    copied = [word for name, rest in steps if name == "COPY" and "--from" not in rest for word in rest.split()[:-1]]
    assert copied
    assert [word for word in copied if not (ROOT / word).exists()] == []
    program, command = json.loads(next(rest for name, rest in steps if name == "CMD"))
    assert (program, command in main.commands) == ("assistant", True)
    assert 'assistant = "assistant.cli:main"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    names = [name for name, _ in steps]
    assert names.index("USER") > max(number for number, name in enumerate(names) if name == "RUN")
    environment = dict(pair.split("=") for name, rest in steps if name == "ENV" for pair in rest.split())
    assert Settings.model_validate({"port": environment["ASSISTANT_PORT"]}).port == 8000
    health = re.search(r"CMD (\[.*\])", next(rest for name, rest in steps if name == "HEALTHCHECK"))
    assert health is not None
    asked: list[str] = []

    class Livez(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if len(asked) == 1 else 503)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Livez) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [sys.executable, *json.loads(health[1])[1:]]
        elsewhere = {**os.environ, "ASSISTANT_PORT": str(server.server_port)}  # as an operator may set it
        codes = [
            subprocess.run(command, check=False, env=elsewhere, stderr=subprocess.DEVNULL).returncode for _ in "12"
        ]
        server.shutdown()
    assert (asked, codes) == (["/livez", "/livez"], [0, 1])


def test_proxies_get_the_path_and_the_upload_limit_of_the_settings() -> None:
    nginx, caddy = (render(what, SHOP, templates_dir()) for what in ("nginx", "caddy"))
    most = bodies.limits(SHOP)[1]
    for text, limit in ((nginx, r"client_max_body_size (\d+)m;"), (caddy, r"max_size (\d+)MB")):
        [megabytes] = re.findall(limit, text)
        assert most <= int(megabytes) * 1_000_000 < most + 1_000_000
        assert "127.0.0.1:8123" in text
        assert "/help/" in text
        assert text.count("{") == text.count("}")


def alert_rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(render("alerts", SHOP, templates_dir()))["groups"]
    return group["rules"]


def test_alerts_are_about_metrics_and_labels_that_there_are(
    runtime: Runtime, make_app: Callable[..., APIFlask]
) -> None:
    runtime = replace(runtime, installed=Installed(runtime.desk.capabilities, model_state=lambda: "open"))
    make_ticket(runtime.desk)
    run_until_idle(runtime.desk)
    client = make_app(runtime).test_client()
    client.post("/widget/v1/conversations", json={})
    samples = [
        sample for family in text_string_to_metric_families(client.get("/metrics").text) for sample in family.samples
    ]
    labels = {sample.name: {*sample.labels} for sample in samples} | {"up": {"job", "instance"}}
    for rule in alert_rules():
        asked = re.findall(r"\b((?:assistant_\w+)|up)\b(?:\{([^}]*)\})?", rule["expr"])
        assert asked, rule
        for name, selector in asked:
            assert name in labels, f"{rule['alert']}: {name} is not scraped"
            assert set(re.findall(r"(\w+)=", selector)) <= labels[name], rule
        by = {label for group in re.findall(r"by \(([^)]*)\)", rule["expr"]) for label in re.split(r"[ ,]+", group)}
        assert by <= set().union(*(labels[name] for name, _ in asked)), rule
    routes = {str(rule) for rule in client.application.url_map.iter_rules() if "POST" in rule.methods}
    [asked_routes] = re.findall(
        r'route=~"([^"]+)"', next(one for one in alert_rules() if one["alert"] == "AssistantSlow")["expr"]
    )
    assert all(any(re.fullmatch(one, route) for route in routes) for one in asked_routes.split("|"))
    assert re.findall(r'job="(\w+)"', str(alert_rules())) == ["assistant", "process_message"]
    assert "process_message" in HANDLERS


def test_each_alert_says_what_is_wrong_and_what_to_do() -> None:
    rules = alert_rules()
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 8
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        said = rule["annotations"]
        assert said["summary"].endswith(".")
        assert said["description"].endswith(".")
        assert set(re.findall(r"\$labels\.(\w+)", said["summary"])) <= {"process", "role"}


def test_prometheus_takes_the_alerts(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("needs promtool: apt install prometheus")
    (tmp_path / "alerts.yml").write_text(render("alerts", SHOP, templates_dir()))
    command = [promtool, "check", "rules", tmp_path / "alerts.yml"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nginx_takes_its_file(tmp_path: Path) -> None:
    nginx = shutil.which("nginx")
    if nginx is None or shutil.which("openssl") is None:
        pytest.skip("needs nginx and openssl: apt install nginx openssl")
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x"]
    subprocess.run([*make, "-keyout", tmp_path / "key", "-out", tmp_path / "pem"], check=True, capture_output=True)
    for settings in (SHOP, Settings()):
        text = render("nginx", settings, templates_dir())
        text = re.sub(r"/etc/ssl/\S+\.(pem|key);", rf"{tmp_path}/\1;", text)
        (tmp_path / "nginx.conf").write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{text}}}\n")
        command = [nginx, "-t", "-q", "-e", "stderr", "-p", tmp_path, "-c", tmp_path / "nginx.conf"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_caddy_takes_its_file(tmp_path: Path) -> None:
    caddy = shutil.which("caddy")
    if caddy is None:
        pytest.skip("needs caddy")
    for settings in (SHOP, Settings()):
        (tmp_path / "Caddyfile").write_text(render("caddy", settings, templates_dir()))
        command = [caddy, "adapt", "--config", tmp_path / "Caddyfile", "--validate"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_systemd_takes_its_unit_and_finds_it_hardened(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("needs systemd-analyze")
    unit = tmp_path / "assistant.service"
    text = render("systemd", SHOP, templates_dir()).replace("/opt/assistant/bin/assistant", sys.executable)
    unit.write_text(re.sub(r"User=assistant", "User=daemon", text))
    done = subprocess.run([analyze, "verify", unit], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    judged = subprocess.run(
        [analyze, "security", "--offline=yes", "--threshold=30", unit],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert judged.returncode == 0, judged.stdout[-1500:]
