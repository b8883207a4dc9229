"""Photos that another assistant hands over. A path leads nowhere but to photos below the folder that was opened."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from assistant.errors import Invalid, NotAllowed
from assistant.tools.offers import GivenPhoto


def read(photo: GivenPhoto, folder: Path | None) -> tuple[str, bytes]:
    """Name and bytes. Raises `Invalid` or `NotAllowed` that says what to do."""
    if photo.path is not None:
        return _read_file(photo.path, folder)
    _, _, data = (photo.base64 or "").rpartition(",")  # after what a data: URL begins with
    try:
        return photo.name, base64.b64decode("".join(data.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("The photo is not valid base64.", field="base64") from error


def _read_file(path: str, folder: Path | None) -> tuple[str, bytes]:
    if folder is None:
        raise NotAllowed("No folder is open to this tool. Send the photo's bytes as base64.")
    root = folder.resolve()
    file = (root / path).resolve()  # also of what a link leads to
    if not file.is_relative_to(root) or not file.is_file():
        raise Invalid("There is no such file in the folder that is open to this tool.", field="path")
    return file.name, file.read_bytes()
