"""OpenAI-compatible servers on the loopback: a real one, and one that does what a test tells it to."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# `transformers serve`, begun by a fork for every line that is read: what it imports takes seconds, once is enough.
_SERVE = """
import os, signal, sys
from transformers import AutoProcessor, Idefics3ForConditionalGeneration
from transformers.cli.transformers import app
import fastapi, uvicorn
import transformers.cli.serving.server
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
child = None
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(2, 1)
        app(["serve", "--host", "127.0.0.1", "--port", sys.argv[1], "--device", "cpu"])
        os._exit(0)
    print(child, flush=True)
if child:
    try:
        os.kill(child, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


class TransformersServe:
    """`transformers serve` on a port of its own, which can be killed and started again. Models are named by folder."""

    def __init__(self) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(self.port)],
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._child = 0

    def start(self, *, within: float = 600.0) -> None:
        """Until it answers; does nothing if it runs."""
        if self._child:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("start\n")
        self._process.stdin.flush()
        self._child = int(self._process.stdout.readline())
        give_up = time.monotonic() + within
        while not _answers(f"http://127.0.0.1:{self.port}/health"):
            assert time.monotonic() < give_up, f"transformers serve did not answer within {within} s"
            time.sleep(0.05)

    def kill(self) -> None:
        """As a crash would."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            while _answers(f"http://127.0.0.1:{self.port}/health"):
                time.sleep(0.01)
        self._child = 0

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.kill()
        self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)


@dataclass
class Reply:
    """What to answer to one request. ``parts`` are sent one after another, ``pause`` seconds apart."""

    status: int = 200
    parts: tuple[bytes, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    pause: float = 0.0


@dataclass
class ScriptedServer:
    """Answers with ``replies`` in order, the last one again and again; or with a function of what is asked."""

    url: str
    replies: deque[Reply | Callable[[dict[str, Any]], Reply]] = field(default_factory=deque)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)  # of the requests

    def next_reply(self, request: dict[str, Any]) -> Reply:
        self.requests.append(request)
        reply = self.replies.popleft() if len(self.replies) > 1 else self.replies[0]
        return reply(request) if callable(reply) else reply


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            script.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.answer(script.next_reply(json.loads(self.rfile.read(length))))

        def do_GET(self) -> None:
            self.answer(Reply(parts=(json.dumps({"object": "list", "data": [model("tiny")]}).encode(),)))

        def answer(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in ({"Content-Type": "application/json"} | reply.headers).items():
                self.send_header(name, value)
            self.end_headers()
            with suppress(ConnectionError):  # the reader need not wait for the end
                for number, part in enumerate(reply.parts):
                    time.sleep(reply.pause if number else 0.0)
                    self.wfile.write(part)
                    self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    script = ScriptedServer(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield script
    server.shutdown()
    server.server_close()
    thread.join(10)


def model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "tests"}


def saying(text: str, **choice: Any) -> Reply:
    """A whole answer; ``choice`` adds to it, e.g. ``logprobs``."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    choices = [{"index": 0, "message": message, "finish_reason": "stop", **choice}]
    body = {"id": "1", "object": "chat.completion", "created": 0, "model": "tiny", "choices": choices, "usage": usage}
    return Reply(parts=(json.dumps(body).encode(),))


def streaming(*words: str, ends: bool = True, pause: float = 0.0, then: bytes = b"") -> Reply:
    """An answer in pieces, and ``then`` something else; if it does not end, the line is cut as if it did."""
    parts = [*(_piece({"content": word}) for word in words), then]
    if ends:
        parts += [_piece({}, "stop"), b"data: [DONE]\n\n"]
    return Reply(parts=tuple(parts), headers={"Content-Type": "text/event-stream"}, pause=pause)


def _piece(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    body = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "tiny", "choices": choices}
    return f"data: {json.dumps(body)}\n\n".encode()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False
