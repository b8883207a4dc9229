"""What the links in our mails lead to: the end of mail about replies."""

from __future__ import annotations

from flask import Blueprint, Response, render_template, request

from assistant import wording
from assistant.desk import links, notifications
from assistant.desk.links import Purpose
from assistant.errors import AssistantError
from assistant.web.context import desk, runtime
from assistant.web.limits import limiter
from assistant.wording import Notice

# A POST comes from mail programs (RFC 8058), so it has no cookie; the signed token in the address is what counts.
blueprint = Blueprint("mails", __name__, url_prefix="/mail")


@blueprint.get("/unsubscribe")
def ask() -> Response:
    """Ask first: programs that check links in mails follow them, too."""
    token = request.args.get("token", "")
    try:
        address = links.read(runtime().settings, Purpose.UNSUBSCRIBE, token)
    except AssistantError as error:
        return _page(error.notice or Notice("link_expired"), status=error.status)
    return _page(Notice("mail_stop", {"email": address}), button=Notice("mail_unsubscribe"))


@blueprint.post("/unsubscribe")
@limiter.limit("60 per minute")
def unsubscribe() -> Response:
    """Stop mail about replies to the address in the link or, with ``again``, resume it."""
    token, again = request.args.get("token", ""), bool(request.form.get("again"))
    try:
        with desk().db.begin() as session:
            address = notifications.unsubscribe(session, desk(), token, refused=not again)
    except AssistantError as error:
        return _page(error.notice or Notice("link_expired"), status=error.status)
    if again:
        return _page(Notice("mail_resumed", {"email": address}))
    return _page(Notice("mail_stopped", {"email": address}), button=Notice("mail_resume"), again=True)


def _page(told: Notice, *, button: Notice | None = None, again: bool = False, status: int = 200) -> Response:
    tags = [tag for tag, _ in request.accept_languages]
    language = wording.language_of(wording.choose(tags) or wording.ENGLISH)
    page = render_template(
        "widget/unsubscribe.html",
        company=runtime().settings.company,
        told=wording.word(told, language),
        button=wording.word(button, language) if button is not None else None,
        again=again,
        language=language,
        direction=wording.direction(language),
    )
    response = Response(page, status=status)
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
