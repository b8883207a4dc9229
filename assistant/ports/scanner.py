"""What finds malware in files."""

from __future__ import annotations

from typing import Protocol


class Scanner(Protocol):
    def scan(self, data: bytes) -> str | None:
        """The name of the malware in ``data``; None if it is clean. Raises `NotReady` if that cannot be said now."""
        ...


class NoScanner:
    """Where none is set up, every file counts as clean."""

    def scan(self, data: bytes) -> str | None:
        return None
