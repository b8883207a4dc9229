"""From an empty database to a first answer: the page for the first admin, and what comes next, under Settings."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, render_template, request, url_for

from assistant.desk import inboxes, setup
from assistant.desk.answers import answer_skill
from assistant.errors import AssistantError, Invalid
from assistant.knowledge import articles
from assistant.skills.answer_request import AnswerRequest
from assistant.text.clusters import beginning
from assistant.text.storable import storable
from assistant.web import auth, console_pages, console_words, embedding, limits
from assistant.web.context import desk
from assistant.web.responses import Reply

blueprint = Blueprint("setup", __name__)

_FIELDS = ("company", "name", "email")


@blueprint.route("/setup/<token>", methods=["GET", "POST"])
@limits.limiter.limit("10 per minute", key_func=limits.address, methods=["POST"])
def first_admin(token: str) -> Reply:
    """Create the first admin."""
    settings = desk().settings
    with desk().db.read() as session:
        setup.check(session, settings, token)
    typed = {name: storable(request.form.get(name, "")).strip() for name in _FIELDS}
    if request.method == "GET":
        return render_template("console/setup.html", typed=typed | {"company": settings.company}, error=None)
    try:
        if request.form.get("password", "") != request.form.get("again", ""):
            raise Invalid("The passwords do not match.", field="again")
        with desk().db.begin() as session:
            agent = setup.begin(session, settings, token, password=request.form.get("password", ""), **typed)
    except AssistantError as error:
        if error.status == 404:
            raise
        return render_template("console/setup.html", typed=typed, error=error.message), error.status
    auth.sign_in(agent)
    return redirect(url_for("console.admin.start"))


@console_pages.blueprint.route("/start", methods=["GET", "POST"])
def start() -> Reply:
    """Ask a question to try. Shows what is still to be done until customers can ask."""
    question = beginning(storable(request.form.get("question", "")).strip(), 500)
    with desk().db.read() as session:
        count, inbox = articles.count_articles(session), inboxes.default(session)
        session.expunge(inbox)
    answer: dict[str, Any] | None = None
    if request.method == "POST" and question:
        told = answer_skill(desk(), inbox).invoke(AnswerRequest(question))
        why = console_words.HANDOFF[told.handoff.value] if told.handoff is not None else ""
        answer = {"text": told.text, "why": why, "confidence": told.confidence}
    return render_template(
        "console/start.html",
        pages=console_pages.PAGES,
        here="console.admin.start",
        count=count,
        question=question,
        answer=answer,
        brand=inboxes.brand(inbox, desk().settings),
        origins=inboxes.origins(inbox, desk().settings),
        code=embedding.snippet(f"{desk().settings.base_url}/widget/"),
    )
