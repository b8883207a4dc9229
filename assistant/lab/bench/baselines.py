"""What the engine is compared with, on the same weights and requests: transformers' `generate` and server."""

from __future__ import annotations

import base64
import io
import os
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from assistant.engine import loader, shapes
from assistant.engine.batching.prompt import processed, rendered, to_model
from assistant.engine.batching.request import GenerationRequest
from assistant.engine.checkpoint import Checkpoint, is_quantized
from assistant.engine.loader import LoadedModel
from assistant.errors import EngineFailed
from assistant.settings import Settings

_SERVER_START_SECONDS = 120.0


@dataclass(frozen=True)
class Arrival:
    """A request and when it arrives, in seconds after the first."""

    request: GenerationRequest
    at: float


@dataclass(frozen=True)
class Run:
    """How one method did. ``tokens_per_second``: overall, from the first arrival to the last token;
    ``decode_per_second``: while decoding, without photos and prompts. Seconds to the first token."""

    method: str
    seconds: float
    tokens_per_second: float
    decode_per_second: float | None = None
    first_token_p50: float | None = None
    first_token_p95: float | None = None


def run_of(
    method: str,
    seconds: float,
    requests: Sequence[GenerationRequest],
    *,
    decode: float | None = None,
    first_tokens: Sequence[float] = (),
) -> Run:
    """A `Run` in which every request got all the tokens it asked for; ``first_tokens``: seconds to each first token."""
    tokens = sum(request.max_new_tokens for request in requests)
    ordered = sorted(first_tokens)
    p50 = statistics.median(ordered) if ordered else None
    p95 = ordered[round(0.95 * (len(ordered) - 1))] if ordered else None
    return Run(method, seconds, tokens / seconds, decode, p50, p95)


def in_threads(actions: Sequence[Callable[[], None]]) -> None:
    """Run all at once, and wait for them."""
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def generate_serially(loaded: LoadedModel, requests: Sequence[GenerationRequest]) -> Run:
    """`generate` for one request at a time. All wait from the start, the best case for it."""
    _generate(loaded, [requests[0]], 4)  # warms up this thread: its first passes are slower
    started, decode, first_tokens = perf_counter(), [], []
    for request in requests:
        times = _TokenTimes()
        _generate(loaded, [request], request.max_new_tokens, times)
        _, first, *_, last = times.at  # the first call carries the prompt
        first_tokens.append(first - started)
        decode.append((request.max_new_tokens - 1) / (last - first))
    seconds = perf_counter() - started
    return run_of("generate", seconds, requests, decode=statistics.harmonic_mean(decode), first_tokens=first_tokens)


def generate_static(loaded: LoadedModel, arrivals: Sequence[Arrival], slots: int) -> Run:
    """`generate` for batches of up to ``slots`` requests that have arrived, until the longest of them is done."""
    _generate(loaded, [arrivals[0].request], 4)
    waiting, started = list(arrivals), perf_counter()
    while waiting:
        sleep(max(0.0, waiting[0].at - (perf_counter() - started)))
        batch = [arrival.request for arrival in waiting if arrival.at <= perf_counter() - started][:slots]
        waiting = waiting[len(batch) :]
        _generate(loaded, batch, max(request.max_new_tokens for request in batch))
    return run_of("static", perf_counter() - started, [arrival.request for arrival in arrivals])


def why_not_served(model: str) -> str | None:
    """Why `transformers serve` cannot be compared; None if it can."""
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        return f"its packages are not installed: {', '.join(missing)}"
    if not model.startswith(shapes.PREFIX) and not Path(model).is_dir():
        return "it needs a checkpoint in a folder"
    return None


def serve(folder: Path, arrivals: Sequence[Arrival], settings: Settings) -> Run:
    """`transformers serve`, over HTTP."""
    quantize = loader.quantizes(settings) and not is_quantized(Checkpoint(str(folder)))
    with _server(quantize=quantize) as client:
        _ask(client, folder, arrivals[0].request, 2)
        started = perf_counter()

        def ask(arrival: Arrival) -> None:
            sleep(max(0.0, arrival.at - (perf_counter() - started)))
            _ask(client, folder, arrival.request, arrival.request.max_new_tokens)

        in_threads([partial(ask, arrival) for arrival in arrivals])
        return run_of("serve", perf_counter() - started, [arrival.request for arrival in arrivals])


def _generate(loaded: LoadedModel, requests: Sequence[GenerationRequest], length: int, streamer: Any = None) -> None:
    """transformers' own `generate`, greedy, as one batch padded on the left."""
    import torch

    texts = [rendered(loaded, request.messages) for request in requests]
    if len(requests) == 1:
        batch = processed(loaded, texts[0], requests[0].images)
    else:
        loaded.tokenizer.padding_side = "left"
        images = [list(request.images) for request in requests]
        batch = dict(loaded.processor(text=texts, images=images, padding=True, return_tensors="pt"))
    inputs = to_model(loaded, batch)
    with torch.inference_mode():
        limits = {"max_new_tokens": length, "min_new_tokens": length, "do_sample": False}
        loaded.model.generate(**inputs, **limits, streamer=streamer)


class _TokenTimes:
    """transformers' streamer interface: when tokens came."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def put(self, value: Any) -> None:
        self.at.append(perf_counter())

    def end(self) -> None:
        pass


@contextmanager
def _server(*, quantize: bool) -> Iterator[Any]:
    """`transformers serve` on the loopback interface, offline; yields an OpenAI client for it. ``quantize``: to NF4."""
    import httpx
    from openai import OpenAI

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve"]
    command += ["--host", "127.0.0.1", "--port", str(port), *(["--quantization", "bnb-4bit"] if quantize else [])]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={**os.environ, "HF_HUB_OFFLINE": "1"}, **quiet) as process:  # type: ignore[call-overload]  # noqa: S603
        try:
            url, deadline = f"http://127.0.0.1:{port}", perf_counter() + _SERVER_START_SECONDS
            while True:
                try:
                    httpx.get(f"{url}/health", timeout=1.0)
                    break
                except httpx.HTTPError as error:
                    if perf_counter() > deadline or process.poll() is not None:
                        raise EngineFailed("transformers serve did not start.") from error
                    sleep(0.2)
            yield OpenAI(base_url=f"{url}/v1", api_key="none", timeout=3600.0, max_retries=0)
        finally:
            process.kill()


def _ask(client: Any, folder: Path, request: GenerationRequest, length: int) -> None:
    data = io.BytesIO()
    request.images[0].save(data, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
    text = request.messages[0]["content"][1]["text"]
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
    messages = [{"role": "user", "content": content}]
    for _ in client.chat.completions.create(model=str(folder), messages=messages, max_tokens=length, stream=True):
        pass
