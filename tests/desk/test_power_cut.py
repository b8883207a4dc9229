"""What was acknowledged is on the disk, as the kernel sees it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from assistant.desk.desk import Desk

# Posts a message with a file, then says so.
POST = """
import pathlib, sys
from assistant.desk import conversations
from assistant.desk.access import CustomerPrincipal
from assistant.media.files import Upload
from assistant.runtime import build
from assistant.settings import Settings
from tests.factories import make_conversation
from tests.fakes import fake_capabilities

desk = build(Settings(data_dir=pathlib.Path(sys.argv[1]), workers=0), capabilities=fake_capabilities()).desk
conversation = make_conversation(desk)
upload = Upload("log.txt", "text/plain", b"12:00 E21")
print("posting", flush=True)
conversations.post_message(desk, CustomerPrincipal(conversation.id), text="E21", uploads=[upload], client_id=None)
print("acknowledged", flush=True)
"""


@pytest.mark.slow
def test_file_then_row_are_synced_before_a_message_is_acknowledged(desk: Desk, tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace")
    trace, root = tmp_path / "trace", Path(__file__).resolve().parents[2]
    calls = "trace=write,pwrite64,fsync,fdatasync,rename"
    command = [strace, "-f", "-y", "-s", "40", "-e", calls, "-o", str(trace), sys.executable, "-c", POST]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([*command, str(tmp_path / "var")], check=True, timeout=240, cwd=root, env=environment)
    lines = trace.read_text().splitlines()
    begin = next(number for number, line in enumerate(lines) if '"posting' in line)
    end = next(number for number, line in enumerate(lines) if '"acknowledged' in line)
    seen = [kind for line in lines[begin:end] if (kind := _kind(line)) is not None]
    steps = [kind for kind, before in zip(seen, [None, *seen], strict=False) if kind != before]
    named, last_row = steps.index("file named"), max(n for n, step in enumerate(steps) if step == "row written")
    assert steps[named - 1 : named + 2] == ["synced attachment", "file named", "synced attachment"]
    assert named < last_row
    assert steps[last_row + 1] == "synced log"


def _kind(line: str) -> str | None:
    is_log, is_file = "assistant.db-wal" in line, "/attachments" in line
    if re.search(r" f(data)?sync\(", line):
        return "synced log" if is_log else "synced attachment" if is_file else None
    if " rename(" in line and is_file:
        return "file named"
    return "row written" if is_log and " pwrite64(" in line else None
