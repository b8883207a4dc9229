"""The floors of the house, and what the first import may cost."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"assistant", "migrations", "templates", "tests"}
IGNORED = {"var", "build", "dist"}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_go_down_only() -> None:
    script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = run("-c", script)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_no_modules_import_each_other_in_a_circle_not_even_for_their_types() -> None:
    files = {path.relative_to(ROOT): path for path in (ROOT / "assistant").rglob("*.py")}
    modules = {".".join(name.with_suffix("").parts).removesuffix(".__init__"): path for name, path in files.items()}
    graph = {name: imported_by(path, modules) - {name} for name, path in modules.items()}
    while leaves := [name for name, imported in graph.items() if not imported]:
        graph = {name: imported - {*leaves} for name, imported in graph.items() if name not in leaves}
    assert not graph, f"in a circle, or above one: {sorted(graph)}"


def imported_by(path: Path, modules: Mapping[str, Path]) -> set[str]:
    """Those of ``modules`` that the file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if names <= modules.keys() else (names & modules.keys()) | {str(node.module)}
    return found & modules.keys()


def test_help_needs_neither_torch_nor_the_web() -> None:
    script = (
        "import sys\nfrom assistant.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'flask', 'sqlalchemy', 'numpy', 'langchain_core'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = run("-c", script)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "assistant demo" in done.stdout


def test_the_web_and_fakes_run_without_torch() -> None:
    done = run("-c", "import sys, assistant.app, assistant.worker, tests.fakes\nassert 'torch' not in sys.modules")
    assert done.returncode == 0, done.stderr[-2000:]


def test_top_level_folders_are_those_of_the_house() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    paths = [Path(line) for line in listed] or [p.relative_to(ROOT) for p in ROOT.rglob("*") if p.is_file()]
    folders = {path.parts[0] for path in paths if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    assert folders - IGNORED == FOLDERS
