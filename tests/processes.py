"""Processes for a test to kill. Each is a fork of one that has imported what they need, so that it begins at once."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from assistant.lab.real_server import IMPORTS

_CONTEXT = get_context("forkserver")
# There is one such process for these and for servers; what a server imports is what a first ticket takes most time for.
_CONTEXT.set_forkserver_preload([*IMPORTS, "assistant.knowledge.sources", "tests.factories", "tests.fakes"])
ENDS_WITHIN = 240.0  # seconds, on a machine that may be busy
Tell = Callable[[Any], None]


class Process:
    """``work(tell, *arguments)``, a function of a module, in a process of its own; `hear` returns what it told."""

    def __init__(self, work: Callable[..., None], *arguments: Any) -> None:
        self._told, tell = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_work, args=(work, tell, arguments), daemon=True)
        self._process.start()
        tell.close()

    def hear(self) -> Any:
        """Raises `EOFError` once it is dead and everything it told was heard."""
        return self._told.recv()

    def kill(self) -> None:
        self._process.kill()
        self.wait()

    def wait(self) -> int:
        """Until it ends. Returns its exit status."""
        self._process.join(ENDS_WITHIN)
        assert self._process.exitcode is not None, "it never ends"
        return self._process.exitcode


def _work(work: Callable[..., None], tell: Connection, arguments: tuple[Any, ...]) -> None:
    work(tell.send, *arguments)
