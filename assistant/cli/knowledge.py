"""``assistant kb``: the articles the assistant answers from."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from assistant.cli.common import json_option, migrated, photo_option, progress_bar, read_settings, running
from assistant.errors import AssistantError
from assistant.text.clusters import beginning


@click.group()
def kb() -> None:
    """Import articles, keep them current, search them, and list what is missing."""


@kb.command("import")
@click.argument("place", required=False)
@click.option("--source", help="Name of the source. Importing under it again updates it (default: the folder's name).")
@click.option("--every", type=click.IntRange(0), help="Let a worker re-import every this many minutes; 0 stops that.")
@click.option(
    "--solved-tickets", is_flag=True, help="Import approved answers from solved tickets and propose new ones."
)
@click.option("--inbox", help="Let only customers of the inbox with this key read them; `all` lets all again.")
@json_option
def kb_import(
    place: str | None,
    source: str | None,
    every: int | None,
    solved_tickets: bool,
    inbox: str | None,
    as_json: bool,
) -> None:
    """Import the articles at PLACE and remember it as a source. Re-importing processes only changes.

    What could not be read is listed, and every file of whose text less than 90 % was kept; --json lists all files.

    PLACE is a file or folder (Markdown, HTML, PDF, DOCX, CSV or JSONL with questions and answers, a help centre's
    JSON export), or the https:// address of a website or its sitemap.
    """
    if (place is None) != solved_tickets:
        raise click.UsageError("Give either PLACE (a file, folder or website) or --solved-tickets.")
    from assistant.knowledge import sources

    with running(read_settings(), noted=True) as runtime, progress_bar(quiet=as_json) as progress:
        with runtime.desk.db.begin() as session:
            source_id = _add_source(session, place, name=source, every=every, inbox=inbox).id
        report = sources.sync(runtime.desk, source_id, progress=progress)
    _show_reports([report.to_json()], [report.summary()], as_json=as_json, single=True)
    if report.failed and not (report.added or report.updated or report.unchanged):
        sys.exit(1)


@kb.command("sync")
@click.argument("names", nargs=-1)
@json_option
def kb_sync(names: tuple[str, ...], as_json: bool) -> None:
    """Re-import the sources called NAMES, or all. A failing source does not stop the others."""
    from assistant.knowledge import sources

    failed = False
    reports, lines = [], []
    with running(read_settings(), noted=True) as runtime, progress_bar(quiet=as_json) as progress:
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
        reports, lines or ["There are no sources yet. Start with: assistant kb import PLACE"], as_json=as_json
    )
    if failed:
        sys.exit(1)


@kb.command("status")
@json_option
def kb_status(as_json: bool) -> None:
    """List the sources: number of articles, result of the last import, time of the next one.

    The first line names the embedding model in use and, during a change of model, its progress.
    """
    from assistant.knowledge import embedding, sources

    with migrated() as database, database.read() as session:
        states = [state.to_json() for state in sources.list_sources(session)]
        embedder = embedding.status(session)
    if as_json:
        click.echo(json.dumps(states, ensure_ascii=False, indent=2))
        return
    if embedder is not None and states:
        click.echo(f"Searched with {embedder.describe()}")
    if not states:
        click.echo("There are no sources yet. Start with: assistant kb import PLACE")
    for state in states:
        colour = {"failed": "red", "running": "yellow"}.get(state["state"])
        click.echo(f"{state['name']:<24} {_articles(state['articles']):>15}  {click.style(state['state'], fg=colour)}")
        for name in ("location", "inbox", "finished_at", "next_at", "error"):
            if state[name]:
                click.echo(f"{'':<4}{name.replace('_', ' '):<12} {state[name]}")
        for failure in (state["report"] or {}).get("failed", [])[:5]:
            click.echo(f"{'':<4}skipped      {failure['key']}: {failure['reason']}")
        for low in (state["report"] or {}).get("incomplete", [])[:5]:
            click.echo(f"{'':<4}incomplete   {low['key']}: {low['reason']}")
        for order in (state["report"] or {}).get("screened", [])[:5]:
            click.echo(f"{'':<4}left out     {order['key']}: gives an AI orders: {order['text']}")


@kb.command("embed")
@json_option
def kb_embed(as_json: bool) -> None:
    """Embed all articles with the configured model now, then search with it. A worker would do so by itself.

    Search uses the previous model until every passage has its new vector. If interrupted, run it again to continue.
    """
    from dataclasses import asdict

    from assistant.knowledge import embedding

    with running(read_settings(), noted=True) as runtime, progress_bar(quiet=as_json) as progress:
        state = embedding.embed(runtime.desk, progress=progress)
    if state is not None:
        click.echo(json.dumps(asdict(state)) if as_json else f"Searched with {state.describe()}")


@kb.command("gaps")
@click.option("--done", "finished", help="Mark the gap with this id as written.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 200), help="Number of gaps.")
@json_option
def kb_gaps(finished: str | None, limit: int, as_json: bool) -> None:
    """List articles to write: questions that no article answered, most frequent first, with examples."""
    from assistant.knowledge import gaps

    if finished is not None:
        with migrated() as database, database.begin() as session:
            title = gaps.finish_gap(session, finished).title
        click.echo(f"Marked as written: {title}")
        return
    with running(read_settings()) as runtime:
        gaps.look(runtime.desk)
        with runtime.desk.db.read() as session:
            found = [gap.to_json() for gap in gaps.list_gaps(session, limit=limit)]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
        return
    if not found:
        click.echo("No gaps: every question so far was answered by an article.")
    for gap in found:
        click.echo(f"{click.style(str(gap['count']), bold=True):>4} ×  {gap['title']}   {gap['id']}")
        for example in gap["examples"][1:4]:
            click.echo(f"{'':<8}{beginning(example, 140)}")


@kb.command("remove")
@click.argument("name")
@click.confirmation_option(prompt="Remove this source and all its articles?", help="Do not ask for confirmation.")
def kb_remove(name: str) -> None:
    """Remove the source called NAME and its articles."""
    from assistant.knowledge import sources

    with migrated() as database, database.begin() as session:
        count = sources.remove_source(session, sources.find_source(session, name))
    click.echo(f"{name!r} is removed, and {_articles(count)} with it.")


@kb.command("search")
@click.argument("query", default="")
@photo_option
@click.option("--product", help="Prefer passages about this product.")
@click.option("--internal", is_flag=True, help="Include internal articles.")
@click.option("--inbox", help="Only what customers of the inbox with this key may read.")
@click.option("--limit", default=5, show_default=True, type=click.IntRange(1, 50), help="Number of passages.")
@json_option
def kb_search(
    query: str,
    photos: tuple[Path, ...],
    product: str | None,
    internal: bool,
    inbox: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Print the passages found for QUERY and photos, with scores and why they matched.

    A photo is searched by the text and product read in it and, unless ASSISTANT_PHOTO_EMBEDDINGS is off, by figures
    that look like it.
    """
    if not query.strip() and not photos:
        raise click.UsageError("Give a query or a --photo.")
    from assistant import payloads
    from assistant.cli import printing
    from assistant.desk import inboxes
    from assistant.knowledge import articles as knowledge
    from assistant.media.files import Upload

    uploads = [Upload(photo.name, None, photo.read_bytes()) for photo in photos]
    with running(read_settings()) as runtime:
        with runtime.desk.db.read() as session:
            inbox_id = inboxes.find(session, inbox).id if inbox is not None else None
        hits = knowledge.search_by_photo(
            runtime.desk, uploads, query, product=product, internal=internal, inbox_id=inbox_id, limit=limit
        )
    found = [payloads.Passage.of(hit.document).to_json() for hit in hits]
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        printing.print_passages(found)


def _add_source(
    session: Any, place: str | None, *, name: str | None, every: int | None, inbox: str | None = None
) -> Any:
    """The `Source` for the arguments of an import."""
    from assistant.knowledge import sources
    from assistant.models import SourceKind

    chosen: Any = {"name": name, "every": every, "inbox": inbox}
    if place is None:
        return sources.add_source(session, kind=SourceKind.SOLVED, **chosen)
    if place.startswith(("https://", "http://")):
        return sources.add_website(session, address=place, **chosen)
    path = Path(place)
    if not path.exists():
        raise click.BadParameter(f"No such file or folder: {place}.", param_hint="PLACE")
    return sources.add_source(session, kind=SourceKind.FOLDER, location=str(path.resolve()), **chosen)


def _show_reports(reports: list[Any], lines: list[str], *, as_json: bool, single: bool = False) -> None:
    if as_json:
        click.echo(json.dumps(reports[0] if single else reports, ensure_ascii=False, indent=2))
        return
    for line in lines:
        click.echo(line)
    for report in reports:
        for failure in report.get("failed", ()):
            click.echo(f"skipped  {failure['key']}: {failure['reason']}", err=True)
        for low in report.get("incomplete", ()):
            click.echo(f"incomplete  {low['key']}: {low['reason']}", err=True)
        for order in report.get("screened", ()):
            click.echo(f"left out  {order['key']}: gives an AI orders: {order['text']}", err=True)


def _articles(count: int) -> str:
    return "1 article" if count == 1 else f"{count:,} articles"
