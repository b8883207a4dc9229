"""The engine beside what else there is, in one run: the same weights, the same prompts, the same arrivals.

* ours: requests join and leave a running batch,
* generate: transformers' `generate`, one request at a time,
* static: `generate` on batches of whoever has come by then, padded to the longest, until all of them are done,
* serve: `transformers serve` over HTTP, on this machine, if its packages are installed,
* pipeline: transformers' ``pipeline("decision")`` for typed questions.

Requests are photo chats with real lengths: texts of tickets, one photo each, 64 to 128 tokens to write. Only tokens
that were asked for count. For speed they come one shortly after the other, so that every method has enough to do; for
the time to the first token they come over a few seconds, as customers do. Every figure is measured; ratios are what to
quote, times depend on the machine.
"""

from __future__ import annotations

import base64
import io
import os
import platform
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from assistant.engine import loader, shapes
from assistant.engine.batching.decisions import EngineDecisions, by_pipeline
from assistant.engine.batching.engine import Engine, Generation, Limits
from assistant.engine.batching.prompt import processed, rendered, to_model
from assistant.engine.batching.request import Done, GenerationRequest
from assistant.engine.checkpoint import Checkpoint, is_quantized
from assistant.engine.device import apart
from assistant.engine.loader import LoadedModel
from assistant.errors import EngineFailed, Invalid
from assistant.ports import Question
from assistant.progress import Progress, no_progress
from assistant.settings import Settings

LEAST_TOKENS, MOST_TOKENS = 64, 128
# Seconds over which the requests come whose first tokens are timed.
LATENCY_WITHIN = 4.0
_SERVE_STARTS_WITHIN = 120.0
_WORDS_AT_MOST = 250  # of a ticket's text
QUESTIONS = (
    Question("category", "What is the ticket about?", ("delivery", "fault", "invoice", "account", "other")),
    Question("type", "What type of ticket is it?", ("question", "incident", "problem", "task")),
    Question("priority", "How urgent is it?", ("low", "normal", "high", "urgent")),
    Question("sentiment", "How does the customer feel?", ("positive", "neutral", "negative")),
    Question("needs_human", "Must a person handle it?", ("yes", "no"), kind="yes_no"),
    Question("damage", "Does the photo show damage?", ("yes", "no"), kind="yes_no"),
    Question("text", "Does the photo show text?", ("yes", "no"), kind="yes_no"),
    Question("quality", "How sharp is the photo?", ("unusable", "poor", "fair", "good"), kind="score"),
)


@dataclass(frozen=True)
class Workload:
    """``texts`` of tickets and encoded ``photos``, taken in turn. ``within``: seconds in which the requests come; a
    twentieth of what `generate` takes for all of them, if not given."""

    texts: Sequence[str]
    photos: Sequence[bytes]
    chats: int = 16
    slots: int = 16
    within: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Chat:
    """One request and when it comes, in seconds after the first."""

    request: GenerationRequest
    at: float


@dataclass(frozen=True)
class Run:
    """How one method did. ``tokens_per_second``: over everything, from the first arrival to the last token;
    ``decode_per_second``: while texts were written, photos and prompts left out. Seconds to the first token."""

    method: str
    seconds: float
    tokens_per_second: float
    decode_per_second: float | None = None
    first_token_p50: float | None = None
    first_token_p95: float | None = None


@dataclass(frozen=True)
class Report:
    model: str
    parameters: int
    machine: str
    chats: int
    arriving_within: float
    runs: tuple[Run, ...]
    alone_first_token: float  # of one request with nobody else there
    triage_seconds: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        lines = [
            f"{self.model}, {self.parameters / 1e6:.1f} million parameters, {self.machine}",
            f"{self.chats} chats with a photo, {LEAST_TOKENS} to {MOST_TOKENS} tokens each, arriving within "
            f"{self.arriving_within:.2f} s (for the first token within {LATENCY_WITHIN:.0f} s)",
            "",
            f"{'':12}{'seconds':>9}{'tokens/s':>10}{'decode/s':>10}{'first token p50':>17}{'p95':>8}",
        ]
        lines += [_line(run) for run in self.runs]
        lines += ["", f"first token with nobody else there: {self.alone_first_token:.3f} s"]
        for method, seconds in self.triage_seconds.items():
            lines.append(f"8 questions about a ticket with a photo, {method}: {seconds:.3f} s")
        lines += ["", *(f"{name:44}{ratio:8.2f}" for name, ratio in self.ratios.items())]
        lines += ["", *(f"{name:24}{value}" for name, value in self.engine.items())]
        lines += [f"left out: {name}: {why}" for name, why in self.left_out.items()]
        return "\n".join(lines)


def measure(
    model: str,
    settings: Settings,
    load: Workload,
    *,
    progress: Progress = no_progress,
) -> Report:
    """Measure a checkpoint's folder, or ``random:NAME`` (`engine.shapes`)."""
    if not load.texts or not load.photos:
        raise Invalid("Measuring needs texts and photos.")
    with tempfile.TemporaryDirectory(prefix="assistant-bench-") as scratch:
        return _measured(model, settings, load, Path(scratch), progress)


def _measured(model: str, settings: Settings, load: Workload, scratch: Path, progress: Progress) -> Report:
    can_serve, why_not = _can_serve(model)
    loaded, folder = _loaded(model, settings, load.texts, scratch if can_serve else None)
    stages = 5
    requests = _requests(load)
    progress(0, stages, "generate, one at a time")
    one = apart(partial(_one_at_a_time, loaded, requests))
    within = one.seconds / 20 if load.within is None else load.within
    plan = [Chat(request, within * number / max(1, load.chats - 1)) for number, request in enumerate(requests)]
    progress(1, stages, "generate, static batches")
    static = apart(partial(_static, loaded, plan, load.slots))
    progress(2, stages, "ours")
    ours, alone, described = _ours(loaded, plan, load.slots, settings)
    progress(3, stages, "typed questions")
    triage = _triage(loaded, load, settings)
    progress(4, stages, "transformers serve")
    runs = [ours, one, static, *([_served(folder, plan, settings)] if folder is not None else [])]
    progress(stages, stages, "done")
    return Report(
        model=model,
        parameters=sum(parameter.numel() for parameter in loaded.model.parameters()),
        machine=_machine(loaded),
        chats=load.chats,
        arriving_within=within,
        runs=tuple(runs),
        alone_first_token=alone,
        triage_seconds=triage,
        ratios=_ratios(runs, alone, triage),
        engine=described,
        left_out={"serve": why_not} if folder is None else {},
    )


def _loaded(
    model: str, settings: Settings, texts: Sequence[str], scratch: Path | None
) -> tuple[LoadedModel, Path | None]:
    """The model, and the folder that `transformers serve` can load it from; None if it is not to be asked."""
    if model.startswith(shapes.PREFIX):
        known = [*texts, *_wording()]
        return shapes.build(model.removeprefix(shapes.PREFIX), settings, texts=known, folder=scratch), scratch
    loaded = loader.load(Checkpoint(model), settings)
    loaded.model.generation_config.eos_token_id = None  # texts have the length that is asked for
    return loaded, Path(model) if scratch is not None else None


def _wording() -> Iterator[str]:
    """What typed questions are made of: a real tokenizer knows such words, so ours has to."""
    from transformers.decision import DECISION_PROMPT

    yield DECISION_PROMPT
    for question in QUESTIONS:
        yield "\n".join((question.text, *question.options))


def _can_serve(model: str) -> tuple[bool, str]:
    """Whether `transformers serve` can be compared, and if not, why."""
    missing = [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]
    if missing:
        return False, f"its packages are not installed: {', '.join(missing)}"
    if not model.startswith(shapes.PREFIX) and not Path(model).is_dir():
        return False, "it needs a checkpoint in a folder"
    return True, ""


def _requests(load: Workload) -> list[GenerationRequest]:
    from assistant.engine.batching.chat_model import open_image

    chance = random.Random(load.seed)
    images = [open_image(photo) for photo in load.photos]
    requests = []
    for number in range(load.chats):
        text = " ".join(load.texts[number % len(load.texts)].split()[:_WORDS_AT_MOST])
        content = [{"type": "image"}, {"type": "text", "text": text}]
        length = chance.randint(LEAST_TOKENS, MOST_TOKENS)
        messages = [{"role": "user", "content": content}]
        requests.append(GenerationRequest(messages, [images[number % len(images)]], max_new_tokens=length))
    return requests


def _warm_up(loaded: LoadedModel, request: GenerationRequest) -> None:
    """Of a thread too: its first passes are slower."""
    _generate(loaded, [request], 4)


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


class _Times:
    """transformers' streamer interface: when tokens came."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def put(self, value: Any) -> None:
        self.at.append(perf_counter())

    def end(self) -> None:
        pass


def _one_at_a_time(loaded: LoadedModel, requests: Sequence[GenerationRequest]) -> Run:
    """All wait from the beginning: this is as fast as it can be."""
    _warm_up(loaded, requests[0])
    started, decode, firsts = perf_counter(), [], []
    for request in requests:
        times = _Times()
        _generate(loaded, [request], request.max_new_tokens, times)
        _, first, *_, last = times.at  # the first call carries the prompt
        firsts.append(first - started)
        decode.append((request.max_new_tokens - 1) / (last - first))
    seconds = perf_counter() - started
    return _run("generate", seconds, requests, decode=statistics.harmonic_mean(decode), firsts=firsts)


def _static(loaded: LoadedModel, plan: Sequence[Chat], slots: int) -> Run:
    _warm_up(loaded, plan[0].request)
    waiting, started = list(plan), perf_counter()
    while waiting:
        sleep(max(0.0, waiting[0].at - (perf_counter() - started)))
        come = [chat for chat in waiting if chat.at <= perf_counter() - started][:slots]
        waiting = waiting[len(come) :]
        _generate(loaded, [chat.request for chat in come], max(chat.request.max_new_tokens for chat in come))
    return _run("static", perf_counter() - started, [chat.request for chat in plan])


def _ours(
    loaded: LoadedModel, plan: Sequence[Chat], slots: int, settings: Settings
) -> tuple[Run, float, dict[str, Any]]:
    with _engine(loaded, slots, settings) as engine:
        alone = _first_token(engine, plan[0].request)
    with _engine(loaded, slots, settings) as engine:
        spread = LATENCY_WITHIN / max(1, len(plan) - 1)
        firsts = _followed(engine, [replace(chat, at=spread * number) for number, chat in enumerate(plan)])
    with _engine(loaded, slots, settings) as engine:
        started = perf_counter()
        _followed(engine, plan)
        seconds = perf_counter() - started
        stats = engine.stats()
        counters = stats.counters
        decode = counters.rows / counters.step_seconds
        run = _run("ours", seconds, [chat.request for chat in plan], decode=decode, firsts=firsts)
        described = {
            "slots": f"{stats.slots} of {stats.capacity} tokens, {stats.kv_bytes / 2**30:.2f} GiB",
            "threads": stats.threads,
            "compiled": stats.compiled,
            "rows a step": f"{stats.occupancy:.1f}",
            "prompt tokens read": counters.prompt_tokens_read,
            "prompt tokens reused": counters.prompt_tokens_reused,
            "photos encoded": counters.photos_encoded,
            **_gpu_memory(loaded),
        }
        return run, alone, described


def _followed(engine: Engine, plan: Sequence[Chat]) -> list[float]:
    """Ask everything when it comes, and read every answer. Returns the seconds to each first token."""
    firsts: list[float] = [0.0] * len(plan)
    started = perf_counter()

    def follow(number: int, chat: Chat) -> None:
        sleep(max(0.0, chat.at - (perf_counter() - started)))
        firsts[number] = _done(engine.generate(chat.request)).first_token_seconds

    _together([partial(follow, number, chat) for number, chat in enumerate(plan)])
    return firsts


def _first_token(engine: Engine, request: GenerationRequest) -> float:
    """With nobody else there, nothing kept of it, and the model warm."""
    other = GenerationRequest([{"role": "user", "content": [{"type": "text", "text": "hello"}]}], max_new_tokens=2)
    list(engine.generate(other))
    return _done(engine.generate(replace(request, max_new_tokens=1))).first_token_seconds


def _done(generation: Generation) -> Done:
    """Read to the end."""
    *_, last = generation
    if not isinstance(last, Done):
        raise TypeError("a generation ends with Done")
    return last


def _triage(loaded: LoadedModel, load: Workload, settings: Settings) -> dict[str, float]:
    """A ticket of usual length, each way three times, the median: ours with nothing kept of earlier times.

    Both get the photo as a file, and have answered about something else before."""
    from assistant.engine.batching.chat_model import open_image

    text = sorted(load.texts[: load.chats], key=len)[min(len(load.texts), load.chats) // 2]
    photo = load.photos[0]
    ours, pipeline = [], []

    def by_the_pipeline() -> float:
        by_pipeline(loaded, text, [open_image(photo)], QUESTIONS[:1])
        started = perf_counter()
        by_pipeline(loaded, text, [open_image(photo)], QUESTIONS)
        return perf_counter() - started

    for _ in range(3):
        with _engine(loaded, load.slots, settings) as engine:
            EngineDecisions(engine).decide("hello", load.photos[1:2], QUESTIONS)
            started = perf_counter()
            EngineDecisions(engine).decide(text, [photo], QUESTIONS)
            ours.append(perf_counter() - started)
        pipeline.append(apart(by_the_pipeline))
    return {"ours": statistics.median(ours), "pipeline": statistics.median(pipeline)}


def _served(folder: Path, plan: Sequence[Chat], settings: Settings) -> Run:
    quantize = loader.quantizes(settings) and not is_quantized(Checkpoint(str(folder)))
    with _server(quantize=quantize) as client:
        _ask(client, folder, plan[0].request, 2)
        started = perf_counter()

        def follow(chat: Chat) -> None:
            sleep(max(0.0, chat.at - (perf_counter() - started)))
            _ask(client, folder, chat.request, chat.request.max_new_tokens)

        _together([partial(follow, chat) for chat in plan])
        return _run("serve", perf_counter() - started, [chat.request for chat in plan])


@contextmanager
def _server(*, quantize: bool) -> Iterator[Any]:
    """`transformers serve` on the loopback, offline; gives an OpenAI client for it. ``quantize``: to NF4."""
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
            address, until = f"http://127.0.0.1:{port}", perf_counter() + _SERVE_STARTS_WITHIN
            while True:
                try:
                    httpx.get(f"{address}/health", timeout=1.0)
                    break
                except httpx.HTTPError as error:
                    if perf_counter() > until or process.poll() is not None:
                        raise EngineFailed("transformers serve did not start.") from error
                    sleep(0.2)
            yield OpenAI(base_url=f"{address}/v1", api_key="none", timeout=3600.0, max_retries=0)
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


@contextmanager
def _engine(loaded: LoadedModel, slots: int, settings: Settings) -> Iterator[Engine]:
    limits = Limits(slots=slots, capacity=settings.context_tokens, compile=settings.engine_compile)
    engine = Engine(lambda: loaded, queue_size=1000, timeout=3600.0, limits=limits)
    try:
        engine.call(lambda _model: None)  # loaded
        yield engine
    finally:
        engine.close()


def _together(actions: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _run(
    method: str,
    seconds: float,
    requests: Sequence[GenerationRequest],
    *,
    decode: float | None = None,
    firsts: Sequence[float] = (),
) -> Run:
    tokens = sum(request.max_new_tokens for request in requests)
    ordered = sorted(firsts)
    p50 = statistics.median(ordered) if ordered else None
    p95 = ordered[round(0.95 * (len(ordered) - 1))] if ordered else None
    return Run(method, seconds, tokens / seconds, decode, p50, p95)


def _ratios(runs: Sequence[Run], alone: float, triage: dict[str, float]) -> dict[str, float]:
    ours, one, *others = runs
    ratios = {
        f"tokens/s, ours to {run.method}": ours.tokens_per_second / run.tokens_per_second for run in (one, *others)
    }
    if ours.decode_per_second and one.decode_per_second:
        ratios["decode/s, ours to generate"] = ours.decode_per_second / one.decode_per_second
    if ours.first_token_p95 is not None:
        ratios["first token p95, ours to alone"] = ours.first_token_p95 / alone
    ratios["8 questions, pipeline to ours"] = triage["pipeline"] / triage["ours"]
    return ratios


def _machine(loaded: LoadedModel) -> str:
    import torch
    import transformers

    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    if loaded.model.device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, {loaded.model.dtype}, {versions}"
    return f"{platform.machine()} CPU, {torch.get_num_threads()} threads, {loaded.model.dtype}, {versions}"


def _gpu_memory(loaded: LoadedModel) -> dict[str, str]:
    import torch

    if loaded.model.device.type != "cuda":
        return {}
    return {"GPU memory, most": f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"}


def _line(run: Run) -> str:
    def shown(value: float | None, width: int, digits: int) -> str:
        return f"{'' if value is None else f'{value:.{digits}f}':>{width}}"

    return (
        f"{run.method:12}{run.seconds:>9.2f}{run.tokens_per_second:>10.1f}{shown(run.decode_per_second, 10, 1)}"
        f"{shown(run.first_token_p50, 17, 3)}{shown(run.first_token_p95, 8, 3)}"
    )
