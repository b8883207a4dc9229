"""Settings: inboxes, each a widget with a brand, a team and articles of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from flask import request, url_for

from assistant.desk import inboxes, retention
from assistant.desk.inboxes import InboxSettings
from assistant.desk.retention import Due, Kind
from assistant.models import DEFAULT_INBOX, Inbox
from assistant.text.storable import storable
from assistant.web import console_inboxes, embedding
from assistant.web.console_pages import (
    Cell,
    Field,
    Row,
    To,
    blueprint,
    form,
    given,
    listed,
    question,
    said,
    shown,
    team_options,
)
from assistant.web.context import desk
from assistant.web.responses import Reply


@blueprint.get("/inboxes")
def inbox_list() -> Reply:
    with desk().db.read() as session:
        rows = [_inbox_row(inbox) for inbox in inboxes.all_inboxes(session)]
    return listed(
        "inbox_list",
        "Inboxes",
        ("Name", "Team", "Hours", "Sites", "State"),
        rows,
        add=To("Add an inbox", url_for("console.admin.add_inbox")),
        about="Each is a widget with a brand, a team and articles of its own.",
        nothing="",
    )


def _inbox_row(inbox: Inbox) -> Row:
    own, is_over = inboxes.settings_of(inbox), inbox.archived_at is not None
    sites = len(inboxes.origins(inbox, desk().settings))
    return Row(
        inboxes.brand(inbox, desk().settings),
        (
            Cell(inbox.team.name if inbox.team is not None else "No team"),
            Cell(console_inboxes.shown_hours(own.hours)),
            Cell(str(sites)),
            Cell("Archived") if is_over else Cell("Active", "decided"),
        ),
        url=url_for("console.admin.inbox", inbox_key=inbox.key),
        note=inbox.key,
        is_over=is_over,
    )


@blueprint.route("/inboxes/add", methods=["GET", "POST"])
def add_inbox() -> Reply:
    """Add an inbox."""

    def fields() -> Sequence[Field]:
        key = Field("key", "Key", required=True, hint="Pages name it by this: small letters, digits and hyphens.")
        return key, *_inbox_fields("", "", InboxSettings())

    def done() -> Reply:
        with desk().db.begin() as session:
            _configure(session, inboxes.add(session, given("key")))
        return said(f"The inbox {given('key')} is added.", "inbox_list")

    return form("inbox_list", "Add an inbox", fields, done, button="Add", is_upload=True)


@blueprint.route("/inboxes/<inbox_key>", methods=["GET", "POST"])
def inbox(inbox_key: str) -> Reply:
    """Change an inbox."""
    with desk().db.read() as session:
        row = inboxes.find(session, inbox_key, archived=True)
        team = row.team.key if row.team is not None else ""
    fields = _inbox_fields(row.name, team, inboxes.settings_of(row), has_logo=row.logo_sha256 is not None)
    views = [("renew_secret", "Renew the secret…")]
    views += [("withdraw_secret", "Withdraw the previous secret…")] if row.previous_secret is not None else []
    if row.key != DEFAULT_INBOX:
        views.append(("restore_inbox", "Restore…") if row.archived_at is not None else ("archive_inbox", "Archive…"))

    def done() -> Reply:
        with desk().db.begin() as session:
            row = inboxes.find(session, inbox_key, archived=True)
            _configure(session, row)
            going = [retention.due(session, rule, now=desk().now()) for rule in retention.rules_of(row)]
        return said(" ".join([f"The inbox {inbox_key} is changed.", *_said_of(going)]), "inbox_list")

    key = row.key if row.key != DEFAULT_INBOX else None
    return form(
        "inbox_list",
        inboxes.brand(row, desk().settings),
        lambda: fields,
        done,
        button="Save",
        is_upload=True,
        code=embedding.snippet(f"{desk().settings.base_url}/widget/", inbox=key),
        actions=[To(name, url_for(f"console.admin.{view}", inbox_key=inbox_key)) for view, name in views],
    )


def _said_of(going: Sequence[Due]) -> Iterator[str]:
    conversations = sum(one.conversations for one in going if one.rule.kind is Kind.CONVERSATIONS)
    photos = sum(one.files for one in going if one.rule.kind is Kind.FILES)
    if conversations or photos:
        yield f"Its rules will remove within a day: conversations: {conversations}, files of others: {photos}."


def _inbox_fields(name: str, team: str, own: InboxSettings, *, has_logo: bool = False) -> Sequence[Field]:
    shown = console_inboxes.written(own)
    logo = (Field("no_logo", "Logo", (), "checks", [("yes", "Take the logo away")]),) if has_logo else ()
    return (
        Field("name", "Brand", name, hint=f"What customers read; {desk().settings.company} if empty."),
        Field("team", "Team", team, "select", team_options(team), hint="Gets its tickets until triage routes them."),
        Field("language", "Language", shown["language"], hint="Of the widget where the page names none, e.g. de."),
        Field("greeting", "Greeting", shown["greeting"], "lines", hint="Instead of the usual one."),
        Field("quick_replies", "Quick replies", shown["quick_replies"], "lines", hint="First messages, one a line."),
        Field("accent", "Colour", shown["accent"], hint="Of the brand, e.g. #0b6e5f."),
        Field("logo", "New logo", "", "file"),
        *logo,
        Field("origins", "Sites", shown["origins"], "lines", hint="That may embed it, one a line: https://shop.example"),
        Field("contact", "Contact", shown["contact"], hint="E-mail address or page, if the widget cannot be reached."),
        Field("zone", "Time zone", shown["zone"], hint="Of the hours, e.g. Europe/Berlin. Empty: always open."),
        *(Field(day, text, shown[day], hint=_HOURS_HINT.get(day, "")) for day, text in console_inboxes.DAYS.items()),
        Field("holidays", "Holidays", shown["holidays"], "lines", hint="One a line: 2026-12-25"),
        Field("ask_name", "Before the first message: name", shown["ask_name"], "select", console_inboxes.ASKS),
        Field("ask_email", "Before the first message: e-mail", shown["ask_email"], "select", console_inboxes.ASKS),
        Field(
            "questions", "Before the first message: questions", shown["questions"], "lines",
            hint="One a line: key | question | choice | choice. A star after the key makes it required.",
        ),
        Field(
            "keep_files_days", "Keep files for (days)", shown["keep_files_days"], "number",
            hint="Of conversations that are over, with what was read in them. Empty: for good.",
        ),
        Field(
            "keep_conversations_days", "Keep conversations for (days)", shown["keep_conversations_days"], "number",
            hint="That are over, from the last message on; their customers with the last one. Empty: for good.",
        ),
    )  # fmt: skip


_HOURS_HINT = {"mon": "When people answer: 09:00-12:00, 13:00-18:00"}


def _configure(session: Any, row: Inbox) -> None:
    typed = {name: storable(value).replace("\r\n", "\n") for name, value in request.form.items()}
    values = {**console_inboxes.read(typed), "name": given("name"), "team": given("team") or None}
    if request.form.get("no_logo"):
        values["logo"] = None
    file = request.files.get("logo")
    logo = (file.filename, file.read()) if file is not None and file.filename else None
    inboxes.configure(session, row, desk().settings, values, logo=logo)


@blueprint.route("/inboxes/<inbox_key>/archive", methods=["GET", "POST"])
def archive_inbox(inbox_key: str) -> Reply:
    """Archive an inbox."""
    about = "Its widget is served no longer. Its conversations stay, and are answered."
    return _about_inbox(inbox_key, "Archive {name}?", about, "Archive", inboxes.archive, is_dangerous=True)


@blueprint.route("/inboxes/<inbox_key>/restore", methods=["GET", "POST"])
def restore_inbox(inbox_key: str) -> Reply:
    """Restore an inbox."""
    return _about_inbox(inbox_key, "Restore {name}?", "Its widget is served again.", "Restore", inboxes.restore)


@blueprint.route("/inboxes/<inbox_key>/withdraw-secret", methods=["GET", "POST"])
def withdraw_secret(inbox_key: str) -> Reply:
    """Withdraw an inbox's previous secret."""
    about = "Identities signed with the previous secret are refused from now on."
    done = inboxes.withdraw_previous_secret
    return _about_inbox(
        inbox_key, "Withdraw the previous secret of {name}?", about, "Withdraw", done, is_dangerous=True
    )


@blueprint.route("/inboxes/<inbox_key>/secret", methods=["GET", "POST"])
def renew_secret(inbox_key: str) -> Reply:
    """Make a new secret for an inbox."""

    def show(row: Inbox) -> Reply:
        about = "Keep it on your server: whoever has it can pose as any customer. It is not shown again."
        secret, back = inboxes.renew_secret(row, desk().settings), url_for("console.admin.inbox", inbox_key=inbox_key)
        return shown("secret", "inbox_list", title="New secret", about=about, what="Secret", secret=secret, back=back)

    about = "It signs who is signed in to your site. The secret it replaces stays valid until you withdraw it."
    return _about_inbox(inbox_key, "Make a new secret for {name}?", about, "Make a secret", show)


def _about_inbox(
    inbox_key: str, title: str, about: str, button: str, act: Callable[[Inbox], Any], **more: Any
) -> Reply:
    """``act`` returns a page, or nothing: then the list says that it is done."""
    with desk().db.read() as session:
        name = inboxes.brand(inboxes.find(session, inbox_key, archived=True), desk().settings)

    def done() -> Reply:
        with desk().db.begin() as session:
            shown: Reply | None = act(inboxes.find(session, inbox_key, archived=True))
        return shown if shown is not None else said(f"Done: {button.lower()}, {name}.", "inbox_list")

    return question("inbox_list", title.format(name=name), about, button, done, **more)
