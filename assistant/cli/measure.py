"""``assistant eval``, ``bench`` and ``train``: how good and how fast it is, and making the small model better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assistant.cli.common import json_option, progress_bar, read_settings, running

if TYPE_CHECKING:
    from assistant.ports import Capabilities


@click.group("eval")
def evaluate() -> None:
    """Measure on labelled data."""


@evaluate.command("triage")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--label", "label_field", default="label", show_default=True, help="The field that holds the label.")
@click.option(
    "--per-class",
    type=click.IntRange(2),
    default=10,
    show_default=True,
    help="Learn from so many of each label, then from all.",
)
@click.option("--seed", default=0, show_default=True, help="Of the split into learned-from and measured-on.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a reliability diagram (PNG).")
@json_option
def eval_triage(path: Path, label_field: str, per_class: int, seed: int, plot: Path | None, as_json: bool) -> None:
    """Accuracy, macro-F1, Brier score and calibration of the learned triage, beside the usual classifiers.

    PATH is a JSONL file, or a folder of them, with text and label. The label "oos" means: of no label.
    """
    from assistant.engine import install
    from assistant.lab.evaluation.triage import evaluate_triage

    with progress_bar(quiet=as_json) as progress:
        report = evaluate_triage(
            path,
            embeddings=install(read_settings()).capabilities.embeddings,
            label_field=label_field,
            per_class=per_class,
            seed=seed,
            progress=progress,
        )
    if plot is not None:
        report.plot(plot)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("retrieval")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--siblings", is_flag=True, help="Measure manuals of similar products instead: made up ones, and those in PATHS."
)
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap, the misspelt codes, the made up manuals.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a chart with intervals (PNG).")
@json_option
def eval_retrieval(paths: tuple[Path, ...], siblings: bool, seed: int, plot: Path | None, as_json: bool) -> None:
    """Recall@5, MRR@10, nDCG@10 and latency of the search, beside BM25, embeddings and rank fusion.

    Each of PATHS is a folder with articles (JSON lines with id and text, Markdown, HTML) and questions (JSON lines with
    question and gold: ids of the right articles). A list of codes makes its own questions: the codes as people spell
    and readers misread them. Your database is not touched.

    With --siblings a folder has manuals (Markdown) and a CSV file of products (column name): does the right product's
    passage come first if the product is known from the ticket, the question, or a photo?
    """
    if not paths and not siblings:
        raise click.UsageError("Name a folder, or give --siblings.")
    from assistant.engine import install
    from assistant.lab.evaluation.retrieval import evaluate_retrieval

    models = install(read_settings()).capabilities
    if siblings:
        _eval_siblings(paths, models, seed=seed, as_json=as_json)
        return
    with progress_bar(quiet=as_json) as progress:
        report = evaluate_retrieval(paths, models=models, seed=seed, progress=progress)
    if plot is not None:
        report.plot(plot)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


def _eval_siblings(paths: tuple[Path, ...], models: Capabilities, *, seed: int, as_json: bool) -> None:
    from assistant.lab.evaluation.siblings import evaluate_folder, evaluate_made

    with progress_bar(quiet=as_json) as progress:
        reports = [evaluate_made(models, seed=seed, progress=progress)]
        reports += [evaluate_folder(path, models, progress=progress) for path in paths]
    if as_json:
        click.echo(json.dumps([report.to_json() for report in reports], indent=2))
    else:
        click.echo("\n\n".join(report.render() for report in reports))


@evaluate.command("photos")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--scenes", type=click.IntRange(1), default=200, show_default=True, help="How many to draw without PATH.")
@click.option("--first", default=0, show_default=True, help="The scene to begin with.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write calibration and abstention (PNG).")
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write the worst read photos (PNG).")
@json_option
def eval_photos(
    path: Path | None, scenes: int, first: int, plot: Path | None, sheet: Path | None, as_json: bool
) -> None:
    """Accuracy by field, exact codes, calibration and regions of reading photos.

    PATH is a JSONL file, or a folder of them, with rows like {"photo": "a.jpg", "expected": {"product": "…"}}.
    Without it, scenes of the sample company are drawn that `assistant train` never trains on.
    """
    from assistant.lab.evaluation import photos

    settings = read_settings()
    with running(settings) as runtime, progress_bar(quiet=as_json) as progress:
        desk = runtime.desk
        parts = {"capabilities": desk.capabilities, "taxonomy": desk.taxonomy, "progress": progress}
        if path is None:
            from assistant.lab.evaluation.scenes import drawn, evaluate_scenes

            made = drawn(scenes, first=first)
            cases, report = [one.case for one in made], evaluate_scenes(made, **parts)
        else:
            cases = photos.read_cases(path, limits=desk.photo_limits)
            report = photos.evaluate_photos(cases, path=path.name, **parts)
    if plot is not None:
        report.plot(plot)
    if sheet is not None:
        photos.contact_sheet(report, cases, sheet)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@click.group()
def bench() -> None:
    """Measure speed on this machine."""


@bench.command("engine")
@click.option("--model", default="random:small", show_default=True, help="A checkpoint's folder, or random:NAME.")
@click.option(
    "--tickets", type=click.Path(exists=True, path_type=Path), help="JSONL with text (default: the sample's)."
)
@click.option(
    "--photos", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder (default: the sample's)."
)
@click.option("--chats", default=16, show_default=True, type=click.IntRange(1, 256), help="With a photo each.")
@click.option("--slots", default=16, show_default=True, type=click.IntRange(1, 256), help="Worked on at once.")
@click.option(
    "--within", type=click.FloatRange(0), help="Seconds in which they come (default: a twentieth of `generate`'s time)."
)
@json_option
def bench_engine(
    model: str, tickets: Path | None, photos: Path | None, chats: int, slots: int, within: float | None, as_json: bool
) -> None:
    """The engine beside transformers' generate, static batches, server and decision pipeline, in one run.

    random:small, random:smolvlm-256m and random:qwen3-vl-8b have random weights of real shapes: speed and memory do not
    depend on the values. Quantization and device are those of the settings.
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


@bench.command("web")
@click.option("--tickets", default=100_000, show_default=True, type=click.IntRange(100), help="In the database.")
@click.option("--requests", default=60, show_default=True, type=click.IntRange(5), help="Of each kind.")
@click.option(
    "--workers", default=0, show_default=True, type=click.IntRange(0, 32), help="Reading and drafting meanwhile."
)
@click.option(
    "--database-url", help="An empty PostgreSQL database to measure on (default: SQLite in a folder of its own)."
)
@json_option
def bench_web(tickets: int, requests: int, workers: int, database_url: str | None, as_json: bool) -> None:
    """Time of the API's requests: opening tickets with photos, listing 100 of very many."""
    from assistant.lab.bench.web import measure

    with progress_bar(quiet=as_json) as progress:
        report = measure(
            tickets=tickets, requests=requests, workers=workers, database_url=database_url, progress=progress
        )
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@bench.command("retrieval")
@click.option("--passages", default=100_000, show_default=True, type=click.IntRange(100), help="Made up, by a seed.")
@click.option("--queries", default=100, show_default=True, type=click.IntRange(5), help="Searches to time.")
@click.option(
    "--database-url", help="An empty PostgreSQL database to measure on (default: SQLite in a folder of its own)."
)
@json_option
def bench_retrieval(passages: int, queries: int, database_url: str | None, as_json: bool) -> None:
    """Time and memory of a search on very many passages, and how near it is to an exact one."""
    from assistant.lab.bench.retrieval import measure

    with progress_bar(quiet=as_json) as progress:
        report = measure(passages=passages, queries=queries, database_url=database_url, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())
