"""An agent's own second factor: set up, confirmed with a code, and turned off. Recovery codes are shown once."""

from __future__ import annotations

import segno
from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask_login import current_user
from markupsafe import Markup

from assistant.desk import second_factor
from assistant.errors import AssistantError
from assistant.text.storable import storable
from assistant.web import auth, limits
from assistant.web.context import desk
from assistant.web.responses import Reply

blueprint = Blueprint("second_factor", __name__, url_prefix="/second-factor")

_limited = limits.limiter.shared_limit(
    "10 per minute; 100 per day",
    scope="second factor",
    key_func=lambda: current_user.get_id() or limits.address(),
    methods=["POST"],
)


@blueprint.get("")
def show() -> Reply:
    return _page()


@blueprint.post("/begin")
def begin() -> Reply:
    """Begin to set up a second factor. Makes a key; another one, if there is one that is not confirmed."""
    try:
        with desk().db.begin() as session:
            second_factor.begin(session, desk().settings, auth.agent())
    except AssistantError as error:
        return _page(error.message), error.status
    return redirect(url_for(".show"))


@blueprint.post("/confirm")
@_limited
def confirm() -> Reply:
    """Turn on a second factor."""
    try:
        with desk().db.begin() as session:
            codes = second_factor.confirm(session, desk().settings, auth.agent(), _code())
    except AssistantError as error:
        return _page(error.message), error.status
    return render_template("console/recovery_codes.html", codes=codes)


@blueprint.post("/codes")
@_limited
def renew_codes() -> Reply:
    """Make new recovery codes."""
    try:
        with desk().db.begin() as session:
            codes = second_factor.renew_codes(session, desk().settings, auth.agent(), _code())
    except AssistantError as error:
        return _page(error.message), error.status
    return render_template("console/recovery_codes.html", codes=codes)


@blueprint.post("/turn-off")
@_limited
def turn_off() -> Reply:
    """Turn off a second factor."""
    try:
        with desk().db.begin() as session:
            second_factor.turn_off(session, desk().settings, auth.agent(), _code())
    except AssistantError as error:
        return _page(error.message), error.status
    flash("Your second factor is turned off.")
    return redirect(url_for(".show"))


def _code() -> str:
    return storable(request.form.get("code", ""))


def _page(error: str | None = None) -> str:
    agent, settings = auth.agent(), desk().settings
    with desk().db.read() as session:
        key = second_factor.unconfirmed(session, settings, agent)
        left = second_factor.codes_left(session, agent)
    return render_template(
        "console/second_factor.html",
        key=key,
        qr=_qr_code(key.uri) if key is not None else None,
        left=left,
        is_required=agent.role.value in settings.second_factor_roles,
        error=error,
    )


def _qr_code(uri: str) -> Markup:
    """As an SVG, dark on light also where the page is dark: cameras expect that."""
    drawn = segno.make(uri, error="m", micro=False)
    # It holds nothing of the text but squares.
    return Markup(drawn.svg_inline(border=4, dark="#000", light="#fff", omitsize=True, svgclass="qr", lineclass=None))  # noqa: S704
