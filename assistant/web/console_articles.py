"""The console's articles: all that are served, and those that are written here, from draft to publication.

Whoever may change something writes drafts; leads and admins publish. Each saves a version, against which the next is
compared. What was imported from elsewhere is read here and changed where it comes from.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from flask import Blueprint, Response, flash, jsonify, redirect, render_template, request, url_for
from markupsafe import Markup

from assistant.desk import inboxes
from assistant.errors import AssistantError, Invalid
from assistant.knowledge import articles as knowledge
from assistant.knowledge import gaps, sources, trial, writing
from assistant.knowledge.trial import Tried
from assistant.knowledge.writing import Content
from assistant.media.files import Upload
from assistant.models import WrittenArticle
from assistant.text.storable import storable
from assistant.web import auth
from assistant.web.context import desk
from assistant.web.responses import Reply, picture_response

blueprint = Blueprint("articles", __name__, url_prefix="/knowledge/articles")

_PAGE = 50
_MOST_QUESTIONS = 10
_FIELDS = ("title", "text", "product", "language", "visibility", "inbox")


@blueprint.get("")
def article_list() -> Reply:
    query, source = (storable(request.args.get(name, "")).strip() for name in ("q", "source"))
    after = request.args.get("after")
    with desk().db.read() as session:
        shelf = writing.browse(session, query=query, source=source, after=after, limit=_PAGE + 1)
        shown = shelf.articles[:_PAGE]
        return render_template(
            "console/articles.html",
            articles=shown,
            shelf=shelf,
            q=query,
            source=source,
            is_first=after is None,
            brands=_brands(session, by_id=True),
            further=shown[-1].public_id if len(shelf.articles) > _PAGE else None,
        )


@blueprint.get("/<public_id:article_id>")
def read(article_id: str) -> Reply:
    """An article as it is served."""
    with desk().db.read() as session:
        article, sections = knowledge.read_any_article(session, article_id)
        written = writing.written_id(article)
        brand = _brands(session, by_id=True).get(article.inbox_id)
    return render_template("console/article.html", article=article, sections=sections, written=written, brand=brand)


@blueprint.route("/write", methods=["GET", "POST"])
def begin() -> Reply:
    """A new article, perhaps for a gap."""
    gap_id = storable(request.values.get("gap", ""))
    if request.method == "POST":
        return _save(None, gap_id=gap_id or None)
    with desk().db.read() as session:
        title = gaps.get_gap(session, gap_id).title if gap_id else ""
    return _editor(None, gap_id=gap_id, typed=Content(title, ""))


@blueprint.route("/write/<public_id:written_id>", methods=["GET", "POST"])
def edit(written_id: str) -> Reply:
    return _save(written_id) if request.method == "POST" else _editor(written_id)


@blueprint.post("/write/<public_id:written_id>/publish")
def publish(written_id: str) -> Reply:
    """Publish an article. What is typed is saved before."""
    return _save(written_id, is_published=True)


@blueprint.post("/write/<public_id:written_id>/withdraw")
def withdraw(written_id: str) -> Reply:
    """Withdraw an article."""
    with desk().db.begin() as session:
        writing.withdraw(session, auth.agent(), writing.find(session, written_id))
        sources.request_written(session)
    flash("Withdrawn. It will be served no longer in a moment, and stays as a draft.")
    return redirect(url_for(".edit", written_id=written_id))


@blueprint.post("/write/<public_id:written_id>/remove")
def remove(written_id: str) -> Reply:
    """Remove an article."""
    with desk().db.begin() as session:
        writing.remove(session, auth.agent(), writing.find(session, written_id))
    flash("The draft is removed.")
    return redirect(url_for(".article_list"))


@blueprint.get("/write/<public_id:written_id>/versions/<int:number>")
def version(written_id: str, number: int) -> Reply:
    """What a version changed."""
    with desk().db.read() as session:
        written = writing.find(session, written_id)
        at = next((at for at, one in enumerate(written.versions) if one.number == number), None)
        if at is None:
            return redirect(url_for(".edit", written_id=written_id))
        chosen = written.versions[at]
        lines = writing.compare(written.versions[at - 1] if at else None, chosen)
        by = writing.writers(session, written)
    return render_template("console/article_version.html", written=written, chosen=chosen, lines=lines, by=by)


@blueprint.post("/write/<public_id:written_id>/pictures")
def add_picture(written_id: str) -> Reply:
    """A pasted picture: ``{"name"}``, by which the text refers to it."""
    file = request.files.get("picture")
    if file is None:
        raise Invalid("Send a picture.", field="picture")
    upload = Upload(file.filename or "picture.png", file.mimetype, file.read())
    return jsonify({"name": writing.add_picture(desk(), written_id, upload)})


@blueprint.get("/write/<public_id:written_id>/pictures/<name>")
def picture(written_id: str, name: str) -> Response:
    with desk().db.read() as session:
        sha256 = writing.picture(session, writing.find(session, written_id), name)
    return picture_response(desk(), sha256)


# The editor


def _save(written_id: str | None, *, gap_id: str | None = None, is_published: bool = False) -> Reply:
    """What the form is sent for: to look at it, to save it, to try it, or to publish it."""
    typed, then = _typed(), request.form.get("then", "save")
    if then == "preview":
        return _editor(written_id, gap_id=gap_id or "", typed=typed, is_previewed=True)
    try:
        with desk().db.begin() as session:
            agent, based_on = auth.agent(), request.form.get("based_on", type=int)
            written = writing.save(session, agent, typed, public_id=written_id, based_on=based_on, gap_id=gap_id)
            if is_published:
                writing.publish(session, agent, written)
                sources.request_written(session)
            saved, number = written.public_id, written.newest.number
        tried = _try(saved) if then == "try" else None
    except AssistantError as error:
        if error.status in (403, 404):
            raise
        return _editor(written_id, gap_id=gap_id or "", typed=typed, error=error.message), error.status
    if tried is not None:
        return _editor(saved, tried=tried)
    flash(
        f"Version {number} is published: it will be served in a moment."
        if is_published
        else f"Saved as version {number}."
    )
    return redirect(url_for(".edit", written_id=saved))


def _typed() -> Content:
    return Content(**{name: storable(request.form.get(name, "")).replace("\r\n", "\n") for name in _FIELDS})


def _try(written_id: str) -> list[Tried]:
    """Whether the newest version would answer the questions of its gap, and those that were typed."""
    with desk().db.read() as session:
        written = writing.find(session, written_id)
        newest = written.newest
        article = writing.article_of(session, desk().storage, written, newest)
        served = writing.served(session, written)
        inbox = inboxes.find(session, newest.inbox) if newest.inbox else inboxes.default(session)
        questions = _questions(session, written)
        session.expunge(inbox)
    own = [line.strip() for line in storable(request.form.get("questions", "")).splitlines() if line.strip()]
    asked = list(dict.fromkeys([*own, *questions]))[:_MOST_QUESTIONS]
    if not asked:
        raise Invalid("Type a question that it should answer.", field="questions")
    return trial.try_out(desk(), article, asked, inbox, replaced=served.public_id if served is not None else "")


def _questions(session: Any, written: WrittenArticle) -> list[str]:
    return gaps.questions_of(session, written.gap_id) if written.gap_id is not None else []


def _editor(
    written_id: str | None,
    *,
    gap_id: str = "",
    typed: Content | None = None,
    error: str | None = None,
    is_previewed: bool = False,
    tried: Sequence[Tried] | None = None,
) -> str:
    with desk().db.read() as session:
        written = writing.find(session, written_id) if written_id is not None else None
        newest = written.newest if written is not None else None
        by = writing.writers(session, written) if written is not None else {}
        questions = _questions(session, written) if written is not None else []
        if not questions and gap_id:
            questions = gaps.questions_of(session, gaps.get_gap(session, gap_id).id)
        brands = _brands(session)
        served = writing.served(session, written) if written is not None else None
    content = typed or newest
    return render_template(
        "console/article_editor.html",
        written=written,
        newest=newest,
        based_on=request.form.get("based_on", type=int) if typed and written else newest and newest.number,
        content=content,
        visibility=getattr(content.visibility, "value", content.visibility) if content is not None else "public",
        by=by,
        gap_id=gap_id,
        questions=questions,
        typed_questions=storable(request.form.get("questions", "")),
        brands=brands,
        products=[(one.key, one.name) for one in desk().taxonomy.products],
        served=served,
        preview=_rendered(content.text, written_id) if is_previewed and content is not None else None,
        tried=tried,
        error=error,
    )


def _brands(session: Any, *, by_id: bool = False) -> dict[Any, str]:
    found = inboxes.all_inboxes(session)
    return {(one.id if by_id else one.key): inboxes.brand(one, desk().settings) for one in found}


# Markdown as it is read


def _rendered(text: str, written_id: str | None) -> Markup:
    """HTML in which nothing of the text is a tag, and no picture comes from elsewhere."""
    tokens = _markdown().parse(text)
    for token in tokens:
        for inline in token.children or ():
            if inline.type == "image":
                name = str(inline.attrs.get("src", "")).rsplit("/", 1)[-1]
                known = written_id is not None and name.startswith("picture-")
                inline.attrs["src"] = url_for(".picture", written_id=written_id, name=name) if known else ""
    return Markup(_markdown().renderer.render(tokens, _markdown().options, {}))  # noqa: S704  (no tag is the text's)


@cache
def _markdown() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable("table")
