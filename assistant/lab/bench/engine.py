"""The engine and its alternatives in one run: the same weights, the same prompts, the same arrivals.

* ours: requests join and leave a running batch,
* generate: transformers' `generate`, one request at a time,
* static: `generate` on batches of the requests that have arrived, padded to the longest, until all of them are done,
* serve: `transformers serve` over HTTP, on this machine, if its packages are installed,
* pipeline: transformers' ``pipeline("decision")`` for typed questions.

Requests are photo chats of realistic length: ticket texts, one photo each, 64 to 128 tokens of output. Only tokens that
were asked for count. Throughput is measured with requests arriving in quick succession, so that every method is busy;
time to first token with requests spread over a few seconds, as customers would be. Quote the ratios; absolute times
depend on the machine.
"""

from __future__ import annotations

import platform
import random
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from assistant.engine import loader, shapes
from assistant.engine.batching.decisions import EngineDecisions, by_pipeline
from assistant.engine.batching.engine import Engine, Generation
from assistant.engine.batching.request import Done, GenerationRequest, Limits
from assistant.engine.checkpoint import Checkpoint
from assistant.engine.device import in_own_thread
from assistant.engine.loader import LoadedModel
from assistant.errors import Invalid
from assistant.lab.bench.baselines import (
    Arrival,
    Run,
    generate_serially,
    generate_static,
    in_threads,
    run_of,
    serve,
    why_not_served,
)
from assistant.ports import Question
from assistant.progress import Progress, no_progress
from assistant.settings import Settings

LEAST_TOKENS, MOST_TOKENS = 64, 128
# Seconds over which requests arrive while the time to first token is measured.
LATENCY_WITHIN = 4.0
_MOST_WORDS = 250  # of a ticket's text
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
    """Ticket ``texts`` and encoded ``photos``, used in turn. ``within``: seconds over which the requests arrive; by
    default a twentieth of what `generate` takes for all of them."""

    texts: Sequence[str]
    photos: Sequence[bytes]
    chats: int = 16
    slots: int = 16
    within: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Report:
    model: str
    parameters: int
    machine: str
    chats: int
    arriving_within: float
    runs: tuple[Run, ...]
    alone_first_token: float  # seconds, for a request without others
    triage_seconds: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        lines = [
            f"{self.model}, {self.parameters / 1e6:.1f} million parameters, {self.machine}",
            f"{self.chats} chats with a photo, {LEAST_TOKENS} to {MOST_TOKENS} output tokens each, arriving within "
            f"{self.arriving_within:.2f} s ({LATENCY_WITHIN:.0f} s for the time to first token)",
            "",
            f"{'':12}{'seconds':>9}{'tokens/s':>10}{'decode/s':>10}{'first token p50':>17}{'p95':>8}",
        ]
        lines += [_render_run(run) for run in self.runs]
        lines += ["", f"time to first token without other requests: {self.alone_first_token:.3f} s"]
        for method, seconds in self.triage_seconds.items():
            lines.append(f"8 questions about a ticket with a photo, {method}: {seconds:.3f} s")
        lines += ["", *(f"{name:44}{ratio:8.2f}" for name, ratio in self.ratios.items())]
        lines += ["", *(f"{name:24}{value}" for name, value in self.engine.items())]
        lines += [f"not measured: {name}: {why}" for name, why in self.left_out.items()]
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
        raise Invalid("The benchmark needs at least one text and one photo.")
    with tempfile.TemporaryDirectory(prefix="assistant-bench-") as scratch:
        return _measure(model, settings, load, Path(scratch), progress)


def _measure(model: str, settings: Settings, load: Workload, scratch: Path, progress: Progress) -> Report:
    not_served = why_not_served(model)
    loaded, folder = _load(model, settings, load.texts, scratch if not_served is None else None)
    stages = 5
    requests = _requests(load)
    progress(0, stages, "generate, one at a time")
    serial = in_own_thread(partial(generate_serially, loaded, requests))
    within = serial.seconds / 20 if load.within is None else load.within
    arrivals = [Arrival(request, within * number / max(1, load.chats - 1)) for number, request in enumerate(requests)]
    progress(1, stages, "generate, static batches")
    static = in_own_thread(partial(generate_static, loaded, arrivals, load.slots))
    progress(2, stages, "ours")
    ours, alone, details = _ours(loaded, arrivals, load.slots, settings)
    progress(3, stages, "typed questions")
    triage = _triage(loaded, load, settings)
    progress(4, stages, "transformers serve")
    runs = [ours, serial, static, *([serve(folder, arrivals, settings)] if folder is not None else [])]
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
        engine=details,
        left_out={"serve": not_served} if not_served is not None else {},
    )


def _load(
    model: str, settings: Settings, texts: Sequence[str], scratch: Path | None
) -> tuple[LoadedModel, Path | None]:
    """The model, and the folder that `transformers serve` can load it from; None if that is not measured."""
    if model.startswith(shapes.PREFIX):
        vocabulary = [*texts, *_question_texts()]
        return shapes.build(model.removeprefix(shapes.PREFIX), settings, texts=vocabulary, folder=scratch), scratch
    loaded = loader.load(Checkpoint(model), settings)
    loaded.model.generation_config.eos_token_id = None  # so that every output has the length asked for
    return loaded, Path(model) if scratch is not None else None


def _question_texts() -> Iterator[str]:
    """What typed questions consist of: a real tokenizer has such words in its vocabulary, so ours must too."""
    from transformers.decision import DECISION_PROMPT

    yield DECISION_PROMPT
    for question in QUESTIONS:
        yield "\n".join((question.text, *question.options))


def _requests(load: Workload) -> list[GenerationRequest]:
    from assistant.engine.batching.chat_model import open_image

    generator = random.Random(load.seed)
    images = [open_image(photo) for photo in load.photos]
    requests = []
    for number in range(load.chats):
        text = " ".join(load.texts[number % len(load.texts)].split()[:_MOST_WORDS])
        content = [{"type": "image"}, {"type": "text", "text": text}]
        length = generator.randint(LEAST_TOKENS, MOST_TOKENS)
        messages = [{"role": "user", "content": content}]
        requests.append(GenerationRequest(messages, [images[number % len(images)]], max_new_tokens=length))
    return requests


def _ours(
    loaded: LoadedModel, arrivals: Sequence[Arrival], slots: int, settings: Settings
) -> tuple[Run, float, dict[str, Any]]:
    """The run, the time to first token without other requests, and details of the engine."""
    with _engine(loaded, slots, settings) as engine:
        alone = _first_token_alone(engine, arrivals[0].request)
    with _engine(loaded, slots, settings) as engine:
        interval = LATENCY_WITHIN / max(1, len(arrivals) - 1)
        spread = [replace(arrival, at=interval * number) for number, arrival in enumerate(arrivals)]
        first_tokens = _submit_all(engine, spread)
    with _engine(loaded, slots, settings) as engine:
        started = perf_counter()
        _submit_all(engine, arrivals)
        seconds = perf_counter() - started
        stats = engine.stats()
    counters = stats.counters
    decode = counters.decode_rows / counters.decode_seconds
    requests = [arrival.request for arrival in arrivals]
    run = run_of("ours", seconds, requests, decode=decode, first_tokens=first_tokens)
    details = {
        "slots": f"{stats.slots} of {stats.capacity} tokens, {stats.kv_bytes / 2**30:.2f} GiB",
        "threads": stats.threads,
        "compiled": stats.compiled,
        "batch occupancy": f"{stats.occupancy:.1f}",
        "prompt tokens prefilled": counters.prompt_tokens,
        "prompt tokens cached": counters.prompt_tokens_cached,
        "photos encoded": counters.photos_encoded,
        **_gpu_memory(loaded),
    }
    return run, alone, details


def _submit_all(engine: Engine, arrivals: Sequence[Arrival]) -> list[float]:
    """Submit every request when it arrives and read its stream. Returns the seconds to each first token."""
    first_tokens: list[float] = [0.0] * len(arrivals)
    started = perf_counter()

    def submit(number: int, arrival: Arrival) -> None:
        sleep(max(0.0, arrival.at - (perf_counter() - started)))
        first_tokens[number] = _consume(engine.generate(arrival.request)).first_token_seconds

    in_threads([partial(submit, number, arrival) for number, arrival in enumerate(arrivals)])
    return first_tokens


def _first_token_alone(engine: Engine, request: GenerationRequest) -> float:
    """Seconds to the first token without other requests, with empty caches and a warm model."""
    other = GenerationRequest([{"role": "user", "content": [{"type": "text", "text": "hello"}]}], max_new_tokens=2)
    list(engine.generate(other))
    return _consume(engine.generate(replace(request, max_new_tokens=1))).first_token_seconds


def _consume(generation: Generation) -> Done:
    """Read the stream to its end."""
    *_, last = generation
    if not isinstance(last, Done):
        raise TypeError("a generation ends with Done")
    return last


def _triage(loaded: LoadedModel, load: Workload, settings: Settings) -> dict[str, float]:
    """Seconds for the questions about a ticket of median length, the median of three runs; ours with empty caches.

    Both get the photo as a file, and have answered about another ticket before."""
    from assistant.engine.batching.chat_model import open_image

    text = sorted(load.texts[: load.chats], key=len)[min(len(load.texts), load.chats) // 2]
    photo = load.photos[0]
    ours, pipeline = [], []

    def run_pipeline() -> float:
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
        pipeline.append(in_own_thread(run_pipeline))
    return {"ours": statistics.median(ours), "pipeline": statistics.median(pipeline)}


@contextmanager
def _engine(loaded: LoadedModel, slots: int, settings: Settings) -> Iterator[Engine]:
    """A new engine that has loaded the model."""
    limits = Limits(slots=slots, capacity=settings.context_tokens, compile=settings.engine_compile)
    engine = Engine(lambda: loaded, queue_size=1000, timeout=3600.0, limits=limits)
    try:
        engine.call(lambda _model: None)
        yield engine
    finally:
        engine.close()


def _ratios(runs: Sequence[Run], alone: float, triage: dict[str, float]) -> dict[str, float]:
    ours, serial, *others = runs
    ratios = {
        f"tokens/s, ours to {run.method}": ours.tokens_per_second / run.tokens_per_second for run in (serial, *others)
    }
    if ours.decode_per_second and serial.decode_per_second:
        ratios["decode/s, ours to generate"] = ours.decode_per_second / serial.decode_per_second
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
    return {"peak GPU memory": f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB"}


def _render_run(run: Run) -> str:
    def cell(value: float | None, width: int, digits: int) -> str:
        return f"{'' if value is None else f'{value:.{digits}f}':>{width}}"

    return (
        f"{run.method:12}{run.seconds:>9.2f}{run.tokens_per_second:>10.1f}{cell(run.decode_per_second, 10, 1)}"
        f"{cell(run.first_token_p50, 17, 3)}{cell(run.first_token_p95, 8, 3)}"
    )
