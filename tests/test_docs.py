"""README.md and its like tell the truth: settings, commands, files, and what was vendored."""

from __future__ import annotations

import ast
import hashlib
import re
from pathlib import Path

import click
import pytest
from apiflask import APIFlask

from assistant.cli import main
from assistant.client import shapes
from assistant.lab.shapes import render
from assistant.settings import PREFIX, Settings, settings_table
from assistant.web.api import openapi_document

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSIDE = (ROOT / "assistant" / "README.md").read_text(encoding="utf-8")
VENDORED = ROOT / "assistant" / "web" / "static" / "vendor" / "htmx"


def test_the_settings_table_is_that_of_the_settings() -> None:
    assert settings_table() in README


def test_every_setting_that_is_spoken_of_exists() -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | {"ASSISTANT_CONFIG", "ASSISTANT_API_KEY"}
    assert set(re.findall(r"ASSISTANT_[A-Z_]+[A-Z]", README + INSIDE)) <= known


def test_the_client_knows_what_the_api_answers(app: APIFlask) -> None:
    with app.app_context():
        said = ast.dump(ast.parse(render(openapi_document())))
    assert said == ast.dump(ast.parse(Path(shapes.__file__).read_text(encoding="utf-8"))), "run `make client`"


def commands(group: click.Group, before: str = "assistant") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        found[f"{before} {name}"] = command
        if isinstance(command, click.Group):
            found |= commands(command, f"{before} {name}")
    return found


def test_every_command_that_is_spoken_of_exists() -> None:
    known = commands(main)
    for line in re.findall(r"^assistant [^\n`]+|`assistant [^`]+`", README + INSIDE, re.M):
        words = [word for word in re.split(r"[\s|]+", line.strip("`")) if re.fullmatch(r"[a-z]+", word)]
        assert " ".join(words[:3]) in known or " ".join(words[:2]) in known, line
    for option in re.findall(r"assistant (\w+(?: \w+)?)[^\n`]*?(--[a-z-]+)", README):
        command = known.get(f"assistant {option[0]}") or known[f"assistant {option[0].split()[0]}"]
        assert any(option[1] in parameter.opts for parameter in command.params), option


@pytest.mark.parametrize(("name", "command"), sorted(commands(main).items()))
def test_every_command_and_option_says_what_it_is_for(name: str, command: click.Command) -> None:
    assert command.help, name
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts}"


def test_every_file_that_is_spoken_of_exists() -> None:
    paths = re.findall(
        r"(?<=\]\()\.readme/[^)]+|(?<=`)(?:assistant|migrations|templates|tests)/[\w/.]+(?=`)", README + INSIDE
    )
    assert len(paths) > 3
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_vendored_files_are_the_published_ones() -> None:
    listed = re.findall(r"([0-9a-f]{64})  ([\w.-]+\.js)", (VENDORED / "README.md").read_text(encoding="utf-8"))
    said = {name: digest for digest, name in listed}
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in VENDORED.glob("*.js")}
    assert said == files
