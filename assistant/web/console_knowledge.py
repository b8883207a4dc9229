"""The console's knowledge base: search, sources, gaps, and answers to approve.

Every agent may search, see the state of imports, close gaps, and approve answers from tickets they may see. Only admins
add, import and remove sources, as customers are told what is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for

from assistant import payloads
from assistant.errors import AssistantError, Invalid
from assistant.knowledge import articles as knowledge
from assistant.knowledge import documents, embedding, figures, gaps, solved, sources
from assistant.media.files import Upload
from assistant.models import GapState
from assistant.retrieval.loaders import SUFFIXES
from assistant.text.clusters import beginning
from assistant.text.storable import storable
from assistant.web import auth
from assistant.web.context import desk
from assistant.web.responses import Reply, document_response, figure_response

blueprint = Blueprint("knowledge", __name__, url_prefix="/knowledge")


# Import intervals to choose from: minutes, and their wording.
INTERVALS = {0: "manually", 60: "every hour", 360: "every 6 hours", 1440: "every day", 10080: "every week"}


@blueprint.get("")
def search() -> Reply:
    text = beginning(storable(request.args.get("q", "")).strip(), 500)
    hits = knowledge.search_articles(desk().index, text, internal=True, limit=12) if text else []
    found = [payloads.Passage.of(hit.document) for hit in hits]
    with desk().db.read() as session:
        count = knowledge.count_articles(session)
        pictures = figures.figures_beside(session, [passage.id for passage in found])
    return render_template("console/knowledge.html", q=text, passages=found, count=count, pictures=pictures)


@blueprint.get("/figures/<public_id:figure_id>")
def figure(figure_id: str) -> Response:
    with desk().db.read() as session:
        found = figures.get_figure(session, figure_id, internal=True)
    return figure_response(desk(), found, thumbnail=request.args.get("thumbnail") == "1")


@blueprint.get("/documents/<public_id:article_id>")
def document(article_id: str) -> Response:
    return document_response(documents.read_document(desk(), article_id, internal=True))


# Sources


@blueprint.get("/sources")
def source_list() -> Reply:
    return render_template("console/knowledge_sources.html", **_sources())


@blueprint.get("/sources/rows")
def source_rows() -> Reply:
    """The part of the page that changes while an import runs."""
    return render_template("console/_sources.html", **_sources())


@blueprint.post("/sources/website")
def add_website() -> Reply:
    """Add a website to the articles."""

    def add() -> str:
        with desk().db.begin() as session:
            every = request.form.get("every", type=int, default=0)
            source = sources.add_website(session, address=_field("address"), name=_field("name") or None, every=every)
            sources.request_sync(session, source)
            return f"Importing {source.name}, one page per second."

    return _changed(add)


@blueprint.post("/sources/files")
def add_files() -> Reply:
    """Add files to the articles."""

    def add() -> str:
        chosen = [file for file in request.files.getlist("files") if file.filename]
        sent = [Upload(file.filename or "", file.mimetype, file.read()) for file in chosen]
        source = sources.add_files(desk(), sent, name=_field("name") or "files")
        return f"Importing {len(sent)} file{'' if len(sent) == 1 else 's'} into {source.name}."

    return _changed(add)


@blueprint.post("/sources/solved")
def add_solved() -> Reply:
    """Make articles of solved tickets."""

    def add() -> str:
        with desk().db.begin() as session:
            sources.request_solved(session)
        return "Scanning solved tickets. Proposals will appear under Answers to approve."

    return _changed(add)


@blueprint.post("/sources/<public_id:source_id>/sync")
def sync_source(source_id: str) -> Reply:
    """Import a source of articles."""

    def sync() -> str:
        with desk().db.begin() as session:
            source = sources.get_source(session, source_id)
            sources.request_sync(session, source)
            return f"Import of {source.name} is queued."

    return _changed(sync)


@blueprint.post("/sources/<public_id:source_id>/interval")
def set_interval(source_id: str) -> Reply:
    """Change how often a source is imported."""

    def change() -> str:
        minutes = request.form.get("every", type=int)
        if minutes is None:
            raise Invalid("Choose an import interval.", field="every")
        with desk().db.begin() as session:
            source = sources.get_source(session, source_id)
            sources.set_interval(session, source, minutes or None, now=desk().now())
            return f"{source.name} is now imported {INTERVALS.get(minutes, f'every {minutes} minutes')}."

    return _changed(change)


@blueprint.post("/sources/<public_id:source_id>/files/remove")
def remove_file(source_id: str) -> Reply:
    """Remove a file of a source."""

    def remove() -> str:
        with desk().db.begin() as session:
            source = sources.get_source(session, source_id)
            sources.remove_file(session, source, _field("file"))
            return "File removed. Its articles will be removed shortly."

    return _changed(remove)


@blueprint.post("/sources/<public_id:source_id>/remove")
def remove_source(source_id: str) -> Reply:
    """Remove a source of articles."""

    def remove() -> str:
        with desk().db.begin() as session:
            source = sources.get_source(session, source_id)
            return f"Removed {source.name} and its {sources.remove_source(session, source)} articles."

    return _changed(remove)


def _sources() -> dict[str, Any]:
    with desk().db.read() as session:
        states = sources.list_sources(session)
        files = {state.source.id: sources.files_of(session, state.source) for state in states}
        embedder = embedding.status(session)
    shown = [{**state.to_json(), "files": files[state.source.id]} for state in states]
    return {
        "sources": shown,
        "embedder": embedder,
        "running": any(state["state"] == "running" for state in shown) or (embedder is not None and embedder.wanted),
        "intervals": INTERVALS,
        "suffixes": ",".join(sorted(SUFFIXES)),
        "error": None,
    }


def _changed(action: Callable[[], str]) -> Reply:
    """Run an action, then show the sources with its outcome or error."""
    try:
        flash(action())
    except AssistantError as error:
        shown = {**_sources(), "error": error.message}
        return render_template("console/knowledge_sources.html", **shown), error.status
    return redirect(url_for("console.knowledge.source_list"))


# Gaps


@blueprint.get("/gaps")
def gap_list() -> Reply:
    with desk().db.begin() as session:
        gaps.request_look(session)  # new gaps appear while the page is open
    return render_template("console/knowledge_gaps.html", **_gaps())


@blueprint.get("/gaps/rows")
def gap_rows() -> Reply:
    """The part of the page that changes while recent questions are checked."""
    return render_template("console/_gaps.html", **_gaps())


def _gaps() -> dict[str, Any]:
    state = GapState.DONE if request.args.get("state") == GapState.DONE.value else GapState.OPEN
    with desk().db.read() as session:
        found = [gap.to_json() for gap in gaps.list_gaps(session, state=state)]
        return {"gaps": found, "done": state is GapState.DONE, "behind": gaps.is_behind(session)}


@blueprint.post("/gaps/<public_id:gap_id>/done")
def finish_gap(gap_id: str) -> Reply:
    with desk().db.begin() as session:
        gap = gaps.finish_gap(session, gap_id, by=auth.agent())
        flash(f"Marked as written: {gap.title}")
    return redirect(url_for("console.knowledge.gap_list"))


# Answers from solved tickets


@blueprint.get("/answers")
def answer_list() -> Reply:
    return _answers()


@blueprint.post("/answers/<public_id:answer_id>/approve")
def approve_answer(answer_id: str) -> Reply:
    try:
        with desk().db.begin() as session:
            solved.approve(session, auth.agent(), answer_id, question=_field("question"), answer=_field("answer"))
            sources.request_solved(session)
    except Invalid as error:
        return _answers(error.message), error.status
    flash("Approved. The article will be available shortly.")
    return redirect(url_for("console.knowledge.answer_list"))


@blueprint.post("/answers/<public_id:answer_id>/reject")
def reject_answer(answer_id: str) -> Reply:
    with desk().db.begin() as session:
        solved.reject(session, auth.agent(), answer_id)
    flash("Discarded. It will not be proposed again.")
    return redirect(url_for("console.knowledge.answer_list"))


def _answers(error: str | None = None) -> str:
    with desk().db.read() as session:
        proposed = solved.list_proposed(session, auth.agent())
    return render_template("console/knowledge_answers.html", proposed=proposed, error=error)


def _field(name: str) -> str:
    return storable(request.form.get(name, "")).replace("\r\n", "\n").strip()
