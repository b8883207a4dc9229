"""The console's page of notifications: what an agent was told, and how they want to be."""

from __future__ import annotations

from flask import Blueprint, redirect, render_template, request, url_for

from assistant.desk import alerts, people
from assistant.desk.alerts import Way
from assistant.models import AlertKind
from assistant.web import auth
from assistant.web.context import desk
from assistant.web.responses import Reply

blueprint = Blueprint("alerts", __name__, url_prefix="/alerts")

KINDS = {
    AlertKind.MENTION: "Somebody mentions me in a note",
    AlertKind.WRITTEN: "The customer writes in a ticket that is mine or that I follow",
    AlertKind.FOLLOWED: "A colleague writes in a ticket that I follow",
    AlertKind.WOKEN: "A ticket that is mine or that I follow is back from its snooze",
}
WAYS = {Way.MAIL: "Here and by mail", Way.CONSOLE: "Here", Way.OFF: "Not at all"}


@blueprint.get("")
def page() -> Reply:
    with desk().db.read() as session:
        agent = people.colleague(session, auth.agent().public_id)
        return render_template(
            "console/alerts.html",
            alerts=[(one, alerts.says(one)) for one in alerts.newest(session, auth.agent())],
            kinds=KINDS,
            ways=WAYS,
            chosen=alerts.ways_of(agent),
            sends_mail=desk().sends_mail,
        )


@blueprint.get("/badge")
def badge() -> Reply:
    with desk().db.read() as session:
        return render_template("console/_badge.html", unread=alerts.unread(session, auth.agent()))


@blueprint.post("/read")
def read() -> Reply:
    with desk().db.begin() as session:
        alerts.read(session, auth.agent())
    return redirect(url_for("console.alerts.page"))


@blueprint.post("/ways")
def set_ways() -> Reply:
    with desk().db.begin() as session:
        chosen = {kind.value: request.form.get(kind.value, "") for kind in KINDS}
        alerts.set_ways(people.colleague(session, auth.agent().public_id), chosen)
    return redirect(url_for("console.alerts.page"))
