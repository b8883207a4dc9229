"""``assistant bench`` and ``lab``: speed on this machine, and what it survives."""

from __future__ import annotations

import json
from pathlib import Path

import click

from assistant.cli.common import json_option, progress_bar, read_settings


@click.group()
def bench() -> None:
    """Measure speed on this machine."""


@bench.command("engine")
@click.option("--model", default="random:small", show_default=True, help="Folder of a checkpoint, or random:NAME.")
@click.option(
    "--tickets", type=click.Path(exists=True, path_type=Path), help="JSONL with text (default: the sample tickets)."
)
@click.option(
    "--photos",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of photos (default: the sample photos).",
)
@click.option(
    "--chats", default=16, show_default=True, type=click.IntRange(1, 256), help="Number of chats, each with a photo."
)
@click.option("--slots", default=16, show_default=True, type=click.IntRange(1, 256), help="Requests batched at once.")
@click.option(
    "--within",
    type=click.FloatRange(0),
    help="Seconds over which the chats arrive (default: 5 % of `generate`'s time).",
)
@json_option
def bench_engine(
    model: str, tickets: Path | None, photos: Path | None, chats: int, slots: int, within: float | None, as_json: bool
) -> None:
    """Compare the engine with transformers' generate, static batches, server and decision pipeline.

    random:small, random:smolvlm-256m and random:qwen3-vl-8b have real shapes and random weights: speed and memory do
    not depend on the values. Quantization and device are as configured.
    """
    from assistant import sample
    from assistant.lab.bench.engine import Workload, measure
    from assistant.lab.evaluation.triage import read_tickets

    examples = sample.demo_tickets()
    texts = read_tickets(tickets, "text")[0] if tickets is not None else [example.text for example in examples]
    files = (
        sorted(photos.iterdir()) if photos is not None else [path for example in examples for path in example.photos]
    )
    images = [file.read_bytes() for file in files if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
    with progress_bar(quiet=as_json) as progress:
        report = measure(model, read_settings(), Workload(texts, images, chats, slots, within), progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@bench.command("fuzz")
@click.option("--count", default=2000, show_default=True, type=click.IntRange(1), help="Files to send.")
@click.option(
    "--seeds",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of files to mutate, beside those that are drawn.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the mutations.")
@json_option
def bench_fuzz(count: int, seeds: Path | None, seed: int, as_json: bool) -> None:
    """Send mutated pictures to a server of its own. Exits with 1 if one of them harms it."""
    from assistant.lab.fuzz import fuzz

    more = [file.read_bytes() for file in sorted(seeds.iterdir()) if file.is_file()] if seeds is not None else []
    with progress_bar(quiet=as_json) as progress:
        report = fuzz(count, seeds=more, seed=seed, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())
    if not report.harmless:
        raise click.exceptions.Exit(1)


@bench.command("web")
@click.option(
    "--tickets", default=100_000, show_default=True, type=click.IntRange(100), help="Tickets in the database."
)
@click.option("--requests", default=60, show_default=True, type=click.IntRange(5), help="Requests of each kind.")
@click.option(
    "--workers", default=0, show_default=True, type=click.IntRange(0, 32), help="Workers that read and draft meanwhile."
)
@click.option(
    "--database-url", help="An empty PostgreSQL database to measure on (default: SQLite in a temporary folder)."
)
@json_option
def bench_web(tickets: int, requests: int, workers: int, database_url: str | None, as_json: bool) -> None:
    """Time API requests: opening tickets with photos, listing 100 of many tickets."""
    from assistant.lab.bench.web import measure

    with progress_bar(quiet=as_json) as progress:
        report = measure(
            tickets=tickets, requests=requests, workers=workers, database_url=database_url, progress=progress
        )
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@bench.command("batch")
@click.option("--tickets", default=500, show_default=True, type=click.IntRange(1, 500), help="Tickets of the batch.")
@json_option
def bench_batch(tickets: int, as_json: bool) -> None:
    """Compare one batch of tickets with as many single requests: results and processor time."""
    from assistant.lab.bench.batch import measure

    with progress_bar(quiet=as_json) as progress:
        report = measure(read_settings(), tickets=tickets, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())
    if report.different:
        raise click.exceptions.Exit(1)


@bench.command("capacity")
@click.option(
    "--messages", default=20, show_default=True, type=click.IntRange(2, 10_000), help="Messages of each kind."
)
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1, 64), help="Threads that process them.")
@json_option
def bench_capacity(messages: int, threads: int, as_json: bool) -> None:
    """Measure what processing a message costs, with and without a photo, and how many cores a load needs.

    Uses the models that the settings name, on a database of its own. Counts processor time, so other work on the
    machine changes little; of a model server, what it does elsewhere is not counted.
    """
    from assistant.lab.bench.capacity import measure

    with progress_bar(quiet=as_json) as progress:
        report = measure(read_settings(), messages=messages, threads=threads, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@bench.command("photo")
@click.option("--requests", default=24, show_default=True, type=click.IntRange(5, 1000), help="Photos, one by one.")
@click.option("--at-once", default=10, show_default=True, type=click.IntRange(2, 50), help="Photos at the same moment.")
@json_option
def bench_photo(requests: int, at_once: int, as_json: bool) -> None:
    """Time photos of 2 megapixels from request to evidence, triage and draft, through a server of its own.

    Also the first one after a start, several at once, and, for comparison, rapidocr alone as its makers configure it.
    """
    from assistant.lab.bench.photo import measure

    with progress_bar(quiet=as_json) as progress:
        report = measure(read_settings(), requests=requests, at_once=at_once, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@bench.command("retrieval")
@click.option(
    "--passages", default=100_000, show_default=True, type=click.IntRange(100), help="Synthetic passages in the index."
)
@click.option("--queries", default=100, show_default=True, type=click.IntRange(5), help="Searches to time.")
@click.option(
    "--database-url", help="An empty PostgreSQL database to measure on (default: SQLite in a temporary folder)."
)
@json_option
def bench_retrieval(passages: int, queries: int, database_url: str | None, as_json: bool) -> None:
    """Measure time, memory and recall of search over many passages."""
    from assistant.lab.bench.retrieval import measure

    with progress_bar(quiet=as_json) as progress:
        report = measure(passages=passages, queries=queries, database_url=database_url, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@click.group()
def lab() -> None:
    """Try out what goes wrong, on servers of its own."""


@lab.command("drills")
@click.argument("names", nargs=-1)
@click.option("--quick", is_flag=True, help="Fewer kills and shorter faults: about a minute each instead of an hour.")
@click.option("--seed", default=0, show_default=True, help="Seed of the moments of the kills.")
@json_option
def lab_drills(names: tuple[str, ...], quick: bool, seed: int, as_json: bool) -> None:
    """Kill, lock, fill up, crowd and mislead a server, and see that nothing is lost. Exits with 1 if something is.

    NAMES: some of "kill -9", "PostgreSQL", "second server", "SIGTERM", "database locked", "storage away", "disk full",
    "read-only", "clock jumps", "open streams", "slow clients", "crowd", "memory" and "webhooks"; without any, all.
    """
    from assistant.lab import drills

    if unknown := set(names) - drills.DRILLS.keys():
        raise click.UsageError(f"There is no drill {', '.join(sorted(unknown))}. See: assistant lab drills --help")
    with progress_bar(quiet=as_json) as progress:
        report = drills.run(names, size=drills.QUICK if quick else drills.LONG, seed=seed, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())
    if not report.passed:
        raise click.exceptions.Exit(1)
