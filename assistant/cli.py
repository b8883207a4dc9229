"""The ``assistant`` command: argument parsing and printing only. Heavy imports stand inside the commands."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from assistant import __version__
from assistant.errors import AssistantError

if TYPE_CHECKING:
    from assistant.runtime import Runtime
    from assistant.settings import Settings

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


class _Commands(click.Group):
    """Turns every failure into one clear line: exit code 2 for wrong use, 1 for everything else, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except AssistantError as error:
            raise click.ClickException(error.message) from error
        except BrokenPipeError:
            sys.stderr.close()  # the reader of our output has gone: nothing to say, and nobody to say it to
            sys.exit(0)
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(_one_line(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="assistant")
@click.option("--debug", is_flag=True, help="Show tracebacks of unexpected failures.")
def main(debug: bool) -> None:
    """A self-hosted customer-support assistant that reads the photo.

    Try it:  assistant demo        Is everything all right:  assistant doctor
    """


@main.command()
@click.option("--host", help="Address to listen on (default: ASSISTANT_HOST, 127.0.0.1).")
@click.option("--port", type=int, help="Port to listen on (default: ASSISTANT_PORT, 8000).")
def serve(host: str | None, port: int | None) -> None:
    """Serve the widget, the API and the console, with workers, in one process."""
    from assistant.server import serve as run

    settings = _settings(host=host, port=port)
    click.echo(f"Serving on {settings.base_url} (Ctrl-C stops)")
    run(settings)


@main.command()
def worker() -> None:
    """Work on jobs in a process of its own (set ASSISTANT_WORKERS=0 for `serve` then)."""
    from assistant.server import work

    work(_settings())


@main.command()
@click.option("--no-serve", is_flag=True, help="End after printing.")
@click.option("--host", help="Address to serve on afterwards.")
@click.option("--port", type=int, help="Port to serve on afterwards.")
@json_option
def demo(no_serve: bool, host: str | None, port: int | None, as_json: bool) -> None:
    """Install the sample knowledge base, run real tickets with photos through it, then serve everything."""
    from assistant import demo as demonstration
    from assistant.server import serve as run

    settings = _settings(host=host, port=port)
    with _runtime(settings) as runtime, _progress(quiet=as_json) as progress:
        report = demonstration.run(runtime, progress=progress)
    if as_json:
        click.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=2))
    else:
        demonstration.show(report)
    if not no_serve:
        with _runtime(settings) as runtime:
            access = demonstration.prepare_access(runtime)
        demonstration.show_addresses(settings, access)
        run(settings)


@main.group()
def db() -> None:
    """The database: upgrade, check, back up."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the database to this version's tables. `serve` and `demo` do this by themselves."""
    from assistant.db import head_revision, migrate

    migrate(_settings().sqlalchemy_url)
    click.echo(f"The database is at {head_revision()}.")


@db.command("check")
def db_check() -> None:
    """Say whether the database is at this version, whole and consistent."""
    from assistant.db import Database, check

    database = Database(_settings().sqlalchemy_url)
    problems = check(database)
    database.close()
    for problem in problems:
        click.echo(f"fail  {problem}", err=True)
    if problems:
        sys.exit(1)
    click.echo("ok    at the current version, whole, and every reference points at something")


@db.command("backup")
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
def db_backup(path: Path) -> None:
    """Copy the SQLite database to PATH while it is in use. Attachments lie beside it in the data folder."""
    from assistant.db import Database, backup

    database = Database(_settings().sqlalchemy_url)
    backup(database, path)
    database.close()
    click.echo(f"Backed up to {path} ({path.stat().st_size / 1e6:.1f} MB).")


@main.group()
def kb() -> None:
    """The knowledge base: import articles, keep them up to date, search them, see what is missing."""


@kb.command("import")
@click.argument("place", required=False)
@click.option("--source", help="Name of this import; importing again under it updates it (default: the folder's name).")
@click.option("--every", type=click.IntRange(0), help="Import again every so many minutes, by a worker; 0: no more.")
@click.option("--solved-tickets", is_flag=True, help="Import approved answers of solved tickets, and propose new ones.")
@json_option
def kb_import(place: str | None, source: str | None, every: int | None, solved_tickets: bool, as_json: bool) -> None:
    """Import the articles at PLACE and remember it as a source. Unchanged articles cost nothing.

    PLACE is a file or folder (Markdown, HTML, PDF, DOCX, CSV or JSONL with questions and answers, a help centre's
    export as JSON), or the https:// address of a website or its sitemap.
    """
    if (place is None) != solved_tickets:
        raise click.UsageError("Name a file, a folder or a website, or give --solved-tickets.")
    from assistant.services import sources

    with _runtime(_settings()) as runtime, _progress(quiet=as_json) as progress:
        with runtime.desk.db.begin() as session:
            source_id = _add_source(session, place, name=source, every=every).id
        report = sources.sync(runtime.desk, source_id, progress=progress)
    _show_reports([report.to_json()], [report.summary()], as_json=as_json, single=True)
    if report.failed and not (report.added or report.updated or report.unchanged):
        sys.exit(1)


@kb.command("sync")
@click.argument("names", nargs=-1)
@json_option
def kb_sync(names: tuple[str, ...], as_json: bool) -> None:
    """Import the sources called NAMES again now, or all of them. One that fails does not stop the others."""
    from assistant.services import sources

    failed = False
    reports, lines = [], []
    with _runtime(_settings()) as runtime, _progress(quiet=as_json) as progress:
        with runtime.desk.db.read() as session:
            every = [sources.find_source(session, name) for name in names]
            chosen = every or [state.source for state in sources.list_sources(session)]
        for source in chosen:
            try:
                report = sources.sync(runtime.desk, source.id, progress=progress)
            except AssistantError as error:
                failed = True
                reports.append({"source": source.name, "error": error.message})
                lines.append(f"Knowledge base {source.name!r}: {error.message}")
            else:
                reports.append(report.to_json())
                lines.append(report.summary())
    _show_reports(
        reports, lines or ["There are no sources yet. Begin with: assistant kb import PLACE"], as_json=as_json
    )
    if failed:
        sys.exit(1)


@kb.command("status")
@json_option
def kb_status(as_json: bool) -> None:
    """Print every source: how many articles it has, how its last import went, when the next one is due."""
    from assistant.services import sources

    with _database() as database, database.read() as session:
        states = [state.to_json() for state in sources.list_sources(session)]
    if as_json:
        click.echo(json.dumps(states, ensure_ascii=False, indent=2))
        return
    if not states:
        click.echo("There are no sources yet. Begin with: assistant kb import PLACE")
    for state in states:
        colour = {"failed": "red", "running": "yellow"}.get(state["state"])
        click.echo(f"{state['name']:<24} {state['articles']:>6} articles  {click.style(state['state'], fg=colour)}")
        for name in ("location", "finished_at", "next_at", "error"):
            if state[name]:
                click.echo(f"{'':<4}{name.replace('_', ' '):<12} {state[name]}")
        for failure in (state["report"] or {}).get("failed", [])[:5]:
            click.echo(f"{'':<4}skipped      {failure['key']}: {failure['reason']}")


@kb.command("gaps")
@click.option("--done", "finished", help="Mark the gap with this id as done: its article is written.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200), help="Gaps to print.")
@json_option
def kb_gaps(finished: str | None, limit: int, as_json: bool) -> None:
    """Print articles to write: what customers asked and no article answered, most asked first, with examples."""
    from assistant.services import gaps

    if finished is not None:
        with _database() as database, database.begin() as session:
            title = gaps.finish_gap(session, finished).title
        click.echo(f"Done: {title}")
        return
    with _runtime(_settings()) as runtime:
        gaps.look(runtime.desk)
        with runtime.desk.db.read() as session:
            found = [gap.to_json() for gap in gaps.list_gaps(session, limit=limit)]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    if not found:
        click.echo("No gaps: every question so far found an article.")
    for gap in found:
        click.echo(f"{click.style(str(gap['count']), bold=True):>4} ×  {gap['title']}   {gap['id']}")
        for example in gap["examples"][1:4]:
            click.echo(f"{'':<8}{example[:140]}")


@kb.command("remove")
@click.argument("name")
@click.confirmation_option(prompt="Remove the source and all its articles?", help="Do not ask.")
def kb_remove(name: str) -> None:
    """Forget the source called NAME and remove its articles."""
    from assistant.services import sources

    with _database() as database, database.begin() as session:
        count = sources.remove_source(session, sources.find_source(session, name))
    click.echo(f"{name!r} and its {count} articles are removed.")


@kb.command("search")
@click.argument("query")
@click.option("--product", help="Prefer passages about this product.")
@click.option("--internal", is_flag=True, help="Also search articles that only agents may read.")
@click.option("--limit", default=5, show_default=True, type=click.IntRange(1, 50), help="Passages to print.")
@json_option
def kb_search(query: str, product: str | None, internal: bool, limit: int, as_json: bool) -> None:
    """Print the passages that QUERY finds, with scores and why they matched."""
    from assistant import demo as demonstration
    from assistant.services import knowledge

    with _runtime(_settings()) as runtime:
        hits = knowledge.search_articles(runtime.desk.index, query, product=product, internal=internal, limit=limit)
    if as_json:
        click.echo(json.dumps([hit.to_json() for hit in hits], ensure_ascii=False, indent=2))
    else:
        demonstration.show_hits(hits)


@main.command()
@click.option("--text", required=True, help="What the customer wrote.")
@click.option("--subject", default="", help="The ticket's subject.")
@click.option(
    "--photo",
    "photos",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A photo of it; may be given several times.",
)
@json_option
def triage(text: str, subject: str, photos: tuple[Path, ...], as_json: bool) -> None:
    """Read a ticket with its photos: evidence, triage, passages and draft. Stores nothing, needs no server."""
    from assistant import demo as demonstration
    from assistant.media import Upload
    from assistant.services.assess import assess

    uploads = [Upload(photo.name, None, photo.read_bytes()) for photo in photos]
    with _runtime(_settings()) as runtime:
        assessment = assess(runtime.desk, subject=subject, text=text, uploads=uploads)
    if as_json:
        click.echo(json.dumps(assessment.to_json(), ensure_ascii=False, indent=2))
    else:
        demonstration.show_assessment(assessment.to_json())


@main.group()
def agents() -> None:
    """The people who answer tickets."""


@agents.command("add")
@click.argument("email")
@click.option("--name", default="", help="Shown to customers (default: the address).")
@click.option("--admin", is_flag=True, help="May see every team's tickets.")
@click.option("--team", "team_key", help="Key of the team, as in the taxonomy.")
@click.password_option(help="At least 10 characters; asked for if not given.")
def agents_add(email: str, name: str, admin: bool, team_key: str | None, password: str) -> None:
    """Add an agent who signs in with EMAIL."""
    from assistant.models import AgentRole
    from assistant.services import access

    with _database() as database, database.begin() as session:
        role = AgentRole.ADMIN if admin else AgentRole.AGENT
        access.add_agent(session, email=email, name=name, password=password, role=role, team_key=team_key)
    click.echo(f"{email} can sign in now.")


@main.group()
def keys() -> None:
    """API keys of other systems."""


@keys.command("add")
@click.argument("name", default="api")
@click.option("--scope", "scopes", multiple=True, required=True, help="May be given several times.")
def keys_add(name: str, scopes: tuple[str, ...]) -> None:
    """Make an API key called NAME and print it, once."""
    from assistant.services import access

    with _database() as database, database.begin() as session:
        _, secret = access.add_key(session, name=name, scopes=list(scopes))
    click.echo(secret)
    click.echo("Keep it safe: it is not stored and cannot be shown again.", err=True)


@main.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check model, device, memory, OCR, embeddings, database, queue and disk. Exit code 1 on a failure."""
    from assistant import doctor as checks

    results = checks.run(_settings())
    if as_json:
        click.echo(json.dumps([result.to_json() for result in results], ensure_ascii=False, indent=2))
    else:
        for result in results:
            colour = {"ok": "green", "warn": "yellow", "fail": "red"}[result.status]
            click.echo(f"{click.style(f'{result.status:<4}', fg=colour)}  {result.name:<12} {result.detail}")
            if result.advice:
                click.echo(f"{'':<19}→ {result.advice}")
    if any(result.status == "fail" for result in results):
        sys.exit(1)


@main.command()
def openapi() -> None:
    """Print the OpenAPI 3.1 document of the API."""
    from assistant.app import create_app
    from assistant.web.api import openapi_document

    with _runtime(_settings()) as runtime:
        app = create_app(runtime)
        with app.app_context():
            click.echo(json.dumps(openapi_document(), ensure_ascii=False, indent=2))


@main.group()
def jobs() -> None:
    """Background work."""


@jobs.command("retry")
def jobs_retry() -> None:
    """Queue again every job that failed for good, e.g. once the disk has room or the model is back."""
    from assistant.services.queue import retry_dead

    with _database() as database:
        click.echo(f"{retry_dead(database)} jobs are queued again.")


@main.group("eval")
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
    from assistant.evaluation.triage import evaluate_triage

    with _progress(quiet=as_json) as progress:
        report = evaluate_triage(
            path,
            embeddings=install(_settings()).capabilities.embeddings,
            label_field=label_field,
            per_class=per_class,
            seed=seed,
            progress=progress,
        )
    if plot is not None:
        report.plot(plot)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("retrieval")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--seed", default=0, show_default=True, help="Of the bootstrap, and of the misspelt codes.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a chart with intervals (PNG).")
@json_option
def eval_retrieval(paths: tuple[Path, ...], seed: int, plot: Path | None, as_json: bool) -> None:
    """Recall@5, MRR@10, nDCG@10 and latency of the search, beside BM25, embeddings and rank fusion.

    Each of PATHS is a folder with articles (JSON lines with id and text, Markdown, HTML) and questions (JSON lines with
    question and gold: ids of the right articles). A list of codes makes its own questions: the codes as people spell
    and readers misread them. Your database is not touched.
    """
    from assistant.engine import install
    from assistant.evaluation.retrieval import evaluate_retrieval

    models = install(_settings()).capabilities
    with _progress(quiet=as_json) as progress:
        report = evaluate_retrieval(paths, models=models, seed=seed, progress=progress)
    if plot is not None:
        report.plot(plot)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@main.group()
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
    from assistant.bench.engine import Workload, measure
    from assistant.evaluation.triage import read_tickets

    examples = sample.demo_tickets()
    texts = read_tickets(tickets, "text")[0] if tickets is not None else [example.text for example in examples]
    files = (
        sorted(photos.iterdir()) if photos is not None else [path for example in examples for path in example.photos]
    )
    images = [file.read_bytes() for file in files if file.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")]
    with _progress(quiet=as_json) as progress:
        report = measure(model, _settings(), Workload(texts, images, chats, slots, within), progress=progress)
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
    from assistant.bench.web import measure

    with _progress(quiet=as_json) as progress:
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
    from assistant.bench.retrieval import measure

    with _progress(quiet=as_json) as progress:
        report = measure(passages=passages, queries=queries, database_url=database_url, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


def _add_source(session: Any, place: str | None, *, name: str | None, every: int | None) -> Any:
    """The source that an import's arguments name."""
    from assistant.models import SourceKind
    from assistant.services import sources

    if place is None:
        return sources.add_source(session, kind=SourceKind.SOLVED, name=name, every=every)
    if place.startswith(("https://", "http://")):
        return sources.add_website(session, address=place, name=name, every=every)
    path = Path(place)
    if not path.exists():
        raise click.BadParameter(f"There is no file or folder {place}.", param_hint="PLACE")
    return sources.add_source(session, kind=SourceKind.FOLDER, location=str(path.resolve()), name=name, every=every)


def _show_reports(reports: list[Any], lines: list[str], *, as_json: bool, single: bool = False) -> None:
    if as_json:
        click.echo(json.dumps(reports[0] if single else reports, ensure_ascii=False, indent=2))
        return
    for line in lines:
        click.echo(line)
    for report in reports:
        for failure in report.get("failed", ()):
            click.echo(f"skipped  {failure['key']}: {failure['reason']}", err=True)


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
    from assistant.evaluation import photos

    settings = _settings()
    with _runtime(settings) as runtime, _progress(quiet=as_json) as progress:
        desk = runtime.desk
        parts = {"capabilities": desk.capabilities, "taxonomy": desk.taxonomy, "progress": progress}
        if path is None:
            from assistant.evaluation.scenes import drawn, evaluate_scenes

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


@main.command()
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, help="How long."
)
@click.option("--resume", is_flag=True, help="Go on where the last run in the folder ended.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="State, log and result (default: in the data folder).",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--photos", type=click.IntRange(1), default=8, show_default=True, help="Scenes a step.")
@click.option("--base", help="Fine-tune this model instead: a folder or a hub id.")
@click.option("--tickets", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="JSONL to fine-tune on.")
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True, help="Of fine-tuning.")
def train(
    minutes: float, resume: bool, folder: Path | None, device: str, photos: int,
    base: str | None, tickets: Path | None, epochs: int,
) -> None:  # fmt: skip
    """Train a small model from nothing on scenes it draws, or fine-tune a model on tickets (--base, --tickets).

    A fine-tuned adapter that answers held-back tickets worse than its base is not kept, and the exit code is 1.
    """
    if (base is None) != (tickets is None):
        raise click.UsageError("Fine-tuning needs both --base and --tickets.")
    settings = _settings()
    folder = folder or settings.data_dir / ("training" if base is None else "adapter")
    if base is not None and tickets is not None:
        _fine_tune(settings, base, tickets, folder=folder, epochs=epochs)
        return
    from assistant.training.plots import plot_losses
    from assistant.training.trainer import Plan, train

    plan = Plan(folder, minutes, resume=resume, device=device, photos=photos)
    with _progress(quiet=False) as progress:
        model = train(plan, report=lambda done: progress(int(done.minutes * 60), int(minutes * 60), "Training"))
    plot_losses(folder / "log.jsonl", folder / "loss.png")
    click.echo(f"The model is in {model}; ASSISTANT_MODEL={model} uses it. Losses: {folder / 'loss.png'}")


def _fine_tune(settings: Settings, base: str, tickets: Path, *, folder: Path, epochs: int) -> None:
    from assistant import sample
    from assistant.engine.checkpoint import named
    from assistant.skills.taxonomy import load_taxonomy
    from assistant.training.adapter import fine_tune, read_lessons

    settings = settings.model_copy(update={"model": base})
    lessons = read_lessons(tickets, load_taxonomy(settings.taxonomy or sample.taxonomy_path()))
    with _progress(quiet=False) as progress:
        outcome = fine_tune(
            named(settings), lessons, settings=settings, folder=folder, epochs=epochs, progress=progress
        )
    for when, marks in (("before", outcome.before), ("after", outcome.after)):
        click.echo(
            f"{when:<7} {marks.accuracy:.1%} right, loss {marks.loss:.3f} on {outcome.measured_on} held-back answers"
        )
    if not outcome.better:
        raise click.ClickException("The adapter is not better than the model without it, and was not kept.")
    click.echo(f"The adapter is in {folder}. Merge it into its base (peft: merge_and_unload) to serve it.")


def _settings(**overrides: Any) -> Settings:
    """Settings from the environment and file, or one line for each that is wrong and exit code 2."""
    from pydantic import ValidationError

    from assistant.settings import Settings, unknown_variables

    for name in unknown_variables():
        click.echo(f"warning: {name} is not a setting; see the table in README.md", err=True)
    try:
        settings = Settings(**{name: value for name, value in overrides.items() if value is not None})
    except ValidationError as error:
        lines = [f"ASSISTANT_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise click.UsageError("Wrong settings.\n" + "\n".join(lines)) from error
    except ValueError as error:  # a TOML file that is not TOML
        raise click.UsageError(f"The settings file cannot be read: {error}") from error
    from assistant.server import configure_logging

    configure_logging(settings)
    return settings


@contextmanager
def _runtime(settings: Settings) -> Iterator[Runtime]:
    from assistant.runtime import build

    runtime = build(settings)
    try:
        yield runtime
    finally:
        runtime.close()


@contextmanager
def _database() -> Iterator[Any]:
    """The migrated database alone: these commands need no model."""
    from assistant.runtime import open_database

    database = open_database(_settings())
    try:
        yield database
    finally:
        database.close()


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Any]:
    """A progress bar as a function: ``progress(done, total, what)``. On standard error, so that output stays clean."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        tasks: dict[str, Any] = {}

        def progress(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield progress


def _one_line(error: Exception) -> str:
    """An unexpected failure in one line, with how to see more."""
    text = " ".join(str(error).split()) or type(error).__name__
    if "database or disk is full" in text or "No space left" in text:
        return "The disk is full. Free some space and try again; nothing that was stored is lost."
    if type(error).__name__ == "OperationalError":
        return f"The database cannot be used: {text[:300]}. Check ASSISTANT_DATABASE_URL and the data folder."
    return f"{type(error).__name__}: {text[:400]} (run again as `assistant --debug …` for details)"
