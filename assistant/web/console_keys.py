"""Settings: keys of machines, what limits each, and others in their place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from flask import request, url_for

from assistant.desk import api_keys, inboxes
from assistant.desk.access import Scope
from assistant.desk.api_keys import Limits
from assistant.errors import Invalid
from assistant.models import APIKey
from assistant.web.console_pages import Cell, Field, Row, To, blueprint, form, given, listed, question, said, shown
from assistant.web.context import desk
from assistant.web.responses import Reply

SCOPES = {
    Scope.TICKETS_READ: "Read tickets",
    Scope.TICKETS_WRITE: "Open and change tickets",
    Scope.TRIAGE: "Triage without a ticket",
    Scope.KNOWLEDGE_READ: "Search articles",
    Scope.KNOWLEDGE_WRITE: "Write articles, publish and withdraw them",
    Scope.SETTINGS: "Change categories, and what is served of what triage has learned",
    Scope.KEYS: "Make, limit, replace and revoke keys that may do no more than this one",
    Scope.WEBHOOKS: "Set up webhooks, which are told of every ticket",
    Scope.METRICS: "Metrics",
}
_TAGS = {"active": "decided"}
_GRACES = {"0": "Not at all", "1": "1 hour", "24": "1 day", "168": "7 days", "720": "30 days"}


@blueprint.get("/keys")
def keys() -> Reply:
    with desk().db.read() as session:
        rows = [_row(key, api_keys.inbox_keys(session, key)) for key in api_keys.all_keys(session)]
    return listed(
        "keys",
        "API keys",
        ("Name", "Scopes", "Only", "Last used", "State"),
        rows,
        add=To("Create a key", url_for("console.admin.add_key")),
        nothing="No API keys. A shop's system needs one to open tickets.",
    )


def _row(key: APIKey, only: Sequence[str]) -> Row:
    state = api_keys.state_of(key)
    used = Cell("Never")
    if key.last_used_at is not None:
        used = Cell(f"from {key.last_used_from or 'unknown'}", at=key.last_used_at.isoformat())
    limits = [*(f"inbox {one}" for one in only), *(f"from {one}" for one in key.networks)]
    limits += [f"until {key.expires_at:%Y-%m-%d}"] if key.expires_at is not None else []
    limits += [key.rate_limit] if key.rate_limit is not None else []
    return Row(
        key.name,
        (
            Cell(", ".join(key.scopes)),
            Cell(", ".join(limits)),
            used,
            Cell(state.capitalize(), _TAGS.get(state, "")),
        ),
        url=url_for("console.admin.key", key_id=key.public_id) if key.revoked_at is None else None,
        note=key.public_id,
        is_over=state != "active",
    )


@blueprint.route("/keys/add", methods=["GET", "POST"])
def add_key() -> Reply:
    """Add an API key."""

    def fields() -> Sequence[Field]:
        scopes = [(scope.value, f"{text} ({scope.value})") for scope, text in SCOPES.items()]
        return (
            Field("name", "Name", required=True, hint="What uses it, e.g. web shop."),
            Field("scope", "Scopes", (), "checks", scopes, hint="Only what it needs."),
            *_limit_fields(None),
        )

    def done() -> Reply:
        name = given("name")
        with desk().db.begin() as session:
            scopes = request.form.getlist("scope")
            _, secret = api_keys.add(session, name=name, scopes=scopes, limits=_limits())
        return _secret_page(f"Key for {name}", "Store it safely: it is not shown again.", secret)

    return form("keys", "Create a key", fields, done, button="Create")


@blueprint.route("/keys/<public_id:key_id>", methods=["GET", "POST"])
def key(key_id: str) -> Reply:
    """Change what an API key is good for."""
    with desk().db.read() as session:
        row = api_keys.find(session, key_id)
    known = _limit_fields(row)

    def done() -> Reply:
        with desk().db.begin() as session:
            api_keys.limit(session, api_keys.find(session, key_id), _limits())
        return said(f"The key {row.name} is changed.", "keys")

    actions = [
        To(name, url_for(f"console.admin.{view}", key_id=key_id))
        for view, name in (("rotate_key", "Replace…"), ("revoke_key", "Revoke…"))
    ]
    return form("keys", row.name, lambda: known, done, button="Save", actions=actions)


def _limit_fields(row: APIKey | None) -> Sequence[Field]:
    with desk().db.read() as session:
        known = inboxes.all_inboxes(session)
        chosen = [inbox.key for inbox in known if row is not None and inbox.id in row.inbox_ids]
        options = [(inbox.key, inboxes.brand(inbox, desk().settings)) for inbox in known if inbox.archived_at is None]
    until = f"{row.expires_at:%Y-%m-%d}" if row is not None and row.expires_at is not None else ""
    networks = "\n".join(row.networks) if row is not None else ""
    rate = f"At most, e.g. 600 per minute. Empty: {desk().settings.rate_limit}, as for everybody."
    return (
        Field("expires", "Last day", until, "date", hint="In UTC. Empty: it does not expire."),
        Field("inbox", "Only tickets of", chosen, "checks", options, hint="None chosen: of every inbox."),
        Field("networks", "Only from", networks, "lines", hint="Addresses or networks, one a line. Empty: anywhere."),
        Field("rate_limit", "Requests", (row.rate_limit or "") if row is not None else "", hint=rate),
    )


def _limits() -> Limits:
    try:
        last = date.fromisoformat(given("expires")) if given("expires") else None
    except ValueError as error:
        raise Invalid("Write the last day like 2027-01-31.", field="expires") from error
    return {
        "expires_on": last,
        "inboxes": request.form.getlist("inbox"),
        "networks": given("networks").split(),
        "rate_limit": given("rate_limit"),
    }


@blueprint.route("/keys/<public_id:key_id>/rotate", methods=["GET", "POST"])
def rotate_key(key_id: str) -> Reply:
    """Replace an API key."""
    with desk().db.read() as session:
        name = api_keys.find(session, key_id).name

    def fields() -> Sequence[Field]:
        hint = "Until what uses it has taken up the new one."
        return (Field("grace", "The key of before stays valid", "24", "select", list(_GRACES.items()), hint=hint),)

    def done() -> Reply:
        if given("grace") not in _GRACES:
            raise Invalid("Choose how long the key of before stays valid.", field="grace")
        with desk().db.begin() as session:
            secret = api_keys.rotate(session, key_id, grace=timedelta(hours=int(given("grace"))))
        about = "Store it safely: it is not shown again. Scopes and limits are those of before."
        return _secret_page(f"New key for {name}", about, secret)

    return form("keys", f"Replace the key {name}", fields, done, button="Make a new key")


@blueprint.route("/keys/<public_id:key_id>/revoke", methods=["GET", "POST"])
def revoke_key(key_id: str) -> Reply:
    """Revoke an API key."""
    with desk().db.read() as session:
        name = api_keys.find(session, key_id).name

    def done() -> Reply:
        with desk().db.begin() as session:
            api_keys.revoke(session, key_id)
        return said(f"The key {name} is revoked.", "keys")

    about = "What uses it is refused from now on. A revoked key cannot be used again."
    return question("keys", f"Revoke the key {name}?", about, "Revoke", done, is_dangerous=True)


def _secret_page(title: str, about: str, secret: str) -> str:
    back = url_for("console.admin.keys")
    return shown("secret", "keys", title=title, about=about, what="API key", secret=secret, back=back)
