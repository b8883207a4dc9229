"""Reading PDF and DOCX files in a process of their own, bounded in time and memory.

Such files come from anywhere, and a damaged one may loop for ever, unpack to gigabytes or crash a decoder: here that
costs one file and not the server. The reader gets the file on its standard input and answers with one JSON document,
pictures included. It imports nothing heavy of ours.
"""

from __future__ import annotations

import base64
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from assistant.errors import AssistantError, Invalid, TooLarge
from assistant.retrieval.sources.article import Outline, Picture, Section

_MEMORY, _SECONDS = 3 << 30, 120
# Of all pictures of one file together, as they are encoded.
MOST_PICTURE_BYTES = 60_000_000
_REFUSED = 3


def read_apart(module: str, data: bytes, *, seconds: float = 2 * _SECONDS) -> tuple[str | None, tuple[Section, ...]]:
    """Title and sections of a file, read by the module of that name here, within so many ``seconds``.

    Raises `Invalid` or `TooLarge` with the reason."""
    command = [sys.executable, "-m", f"assistant.retrieval.sources.{module}"]
    root = Path(__file__).parents[3]  # where the package lies: -m looks there first
    try:
        done = subprocess.run(  # noqa: S603  (ours)
            command, input=data, capture_output=True, cwd=root, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TooLarge(f"takes longer than {seconds:g} seconds to read") from error
    if done.returncode == _REFUSED:
        raise Invalid(done.stderr.decode(errors="replace").strip().splitlines()[-1])
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise TooLarge(f"takes more than {_SECONDS} seconds or {_MEMORY >> 30} GB of memory to read")
    if done.returncode != 0:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["it crashed"])[-1]
        raise Invalid(f"cannot be read: {last[:200]}")
    answer = json.loads(done.stdout)
    return answer["title"], tuple(_section(section) for section in answer["sections"])


def _section(data: dict[str, Any]) -> Section:
    return Section(tuple(data["headings"]), tuple(data["blocks"]), tuple(_picture(one) for one in data["pictures"]))


def _picture(data: dict[str, Any]) -> Picture:
    encoded = base64.b64decode(data.pop("data"))
    return Picture(**data, read=partial(_same, encoded))


def _same(data: bytes) -> bytes:
    return data


# In the other process


def serve(read: Callable[[bytes, Outline], str | None]) -> int:
    """Be the reader: limits on, file in, article out. ``read`` fills the outline and may return a title for a file that
    has no heading to be called by."""
    for kind, limit in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CPU, _SECONDS), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(kind, (limit, limit))
    outline = Outline()
    try:
        title = read(sys.stdin.buffer.read(), outline)
    except AssistantError as error:
        print(error.message, file=sys.stderr)  # noqa: T201  (the other side reads it)
        return _REFUSED
    except MemoryError:
        print("takes more memory to read than is allowed", file=sys.stderr)  # noqa: T201
        return _REFUSED
    left = MOST_PICTURE_BYTES
    sections = []
    for section in outline.sections():
        pictures = []
        for picture in section.pictures:
            encoded = picture.read()
            left -= len(encoded)
            if left >= 0:
                pictures.append({**_plain(picture), "data": base64.b64encode(encoded).decode("ascii")})
        sections.append({"headings": section.headings, "blocks": section.blocks, "pictures": pictures})
    json.dump({"title": outline.title or title, "sections": sections}, sys.stdout)
    return 0


def _plain(picture: Picture) -> dict[str, Any]:
    fields = dict(replace(picture).__dict__)
    del fields["read"]
    return fields
