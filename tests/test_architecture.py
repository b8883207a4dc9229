"""The floors of the house, and what the first import may cost."""

from __future__ import annotations

import subprocess
import sys
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
