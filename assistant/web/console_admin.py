"""The console's settings, for admins: people, teams, API keys, what triage learned, and how the system is.

Every page is a list, a form, a question ("are you sure?") or a secret that is shown once, and says only what is on it:
the four templates know nothing of agents or keys. What is done is what the command line does, by the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for

from assistant import payloads
from assistant.checks import Check
from assistant.desk import credentials, inboxes, invitations, learning, people, queue
from assistant.desk.access import Scope
from assistant.desk.inboxes import InboxSettings
from assistant.desk.invitations import Invitation
from assistant.desk.people import AgentChanges
from assistant.errors import AssistantError, Invalid, NotAllowed
from assistant.models import DEFAULT_INBOX, Agent, AgentRole, APIKey, HeadState, Inbox, JobStatus
from assistant.text.storable import storable
from assistant.web import auth, console_inboxes, console_words, embedding
from assistant.web.console_live import end_streams
from assistant.web.context import checks, desk
from assistant.web.responses import Reply

blueprint = Blueprint("admin", __name__, url_prefix="/settings")

PAGES = {
    "console.admin.agents": "Agents",
    "console.admin.teams": "Teams",
    "console.admin.inbox_list": "Inboxes",
    "console.admin.keys": "API keys",
    "console.admin.heads": "Learned heads",
    "console.admin.system": "System",
}
ROLES = {
    AgentRole.VIEWER: "Viewer: reads, and changes nothing",
    AgentRole.AGENT: "Agent: works the tickets of their team",
    AgentRole.LEAD: "Lead: works every team's tickets",
    AgentRole.ADMIN: "Admin: also changes settings",
}
SCOPES = {
    Scope.TICKETS_READ: "Read tickets",
    Scope.TICKETS_WRITE: "Open and change tickets",
    Scope.TRIAGE: "Triage without a ticket",
    Scope.KNOWLEDGE_READ: "Search articles",
    Scope.METRICS: "Metrics",
}
_PAGE = 50


@dataclass(frozen=True)
class To:
    """A link to where something is done."""

    name: str
    url: str


@dataclass(frozen=True)
class Cell:
    """Text, with the look of a ``tag`` if it names one; or the moment ``at`` which something was."""

    text: str = ""
    tag: str = ""
    at: str | None = None


@dataclass(frozen=True)
class Row:
    name: str
    cells: Sequence[Cell]
    url: str | None = None
    note: str = ""
    actions: Sequence[To] = ()
    is_over: bool = False


@dataclass(frozen=True)
class Field:
    """``kind``: select, checks, lines, file, or a type of `<input>`. ``options``: value and text each."""

    name: str
    label: str
    value: Any = ""
    kind: str = "text"
    options: Sequence[tuple[str, str]] = ()
    hint: str = ""
    required: bool = False


@blueprint.before_request
def admins_only() -> None:
    if not auth.agent().is_admin:
        raise NotAllowed("Only admins can change settings.")


# The four kinds of pages


def _shown(kind: str, here: str, **page: Any) -> str:
    return render_template(f"console/admin_{kind}.html", pages=PAGES, here=f"console.admin.{here}", **page)


def _list(here: str, title: str, columns: Sequence[str], rows: Sequence[Row], **more: Any) -> str:
    can_act = any(row.actions for row in rows)
    return _shown("list", here, title=title, columns=columns, rows=rows, can_act=can_act, **more)


def _form(
    here: str, title: str, fields: Callable[[], Sequence[Field]], done: Callable[[], Reply], **more: Any
) -> Reply:
    """A form and what its submission does. After an error it says what was wrong, and holds what was typed."""
    page = {"title": title, "section": PAGES[f"console.admin.{here}"], "back": url_for(f"console.admin.{here}"), **more}
    if request.method == "GET":
        return _shown("form", here, fields=fields(), error=None, **page)
    try:
        return done()
    except AssistantError as error:
        return _shown("form", here, fields=[_typed(one) for one in fields()], error=error.message, **page), error.status


def _typed(field: Field) -> Field:
    values = request.form.getlist(field.name)
    value = values if field.kind == "checks" else "".join(values[:1])
    return replace(field, value=value)


def _question(here: str, title: str, about: str, button: str, done: Callable[[], Reply], **more: Any) -> Reply:
    """Asks before it does something; an error is said where one asked."""
    page = {"title": title, "about": about, "button": button, "back": url_for(f"console.admin.{here}"), **more}
    if request.method == "GET":
        return _shown("confirm", here, error=None, **page)
    try:
        return done()
    except AssistantError as error:
        return _shown("confirm", here, error=error.message, **page), error.status


def _said(text: str, here: str) -> Reply:
    flash(text)
    return redirect(url_for(f"console.admin.{here}"))


# Agents


@blueprint.get("/agents")
def agents() -> Reply:
    with desk().db.read() as session:
        found = people.all_agents(session, after=request.args.get("after"), limit=_PAGE + 1)
        rows = [_agent_row(agent) for agent in found[:_PAGE]]
    further = url_for("console.admin.agents", after=found[_PAGE - 1].email) if len(found) > _PAGE else None
    return _list(
        "agents",
        "Agents",
        ("Name", "Role", "Team", "Languages", "State"),
        rows,
        add=To("Invite an agent", url_for("console.admin.invite")),
        further=further,
        nothing="No further agents.",
    )


def _agent_row(agent: Agent) -> Row:
    state = (
        Cell("Deactivated") if agent.deactivated_at
        else Cell("Invited", "note") if credentials.has_no_password(agent)
        else Cell("Active", "decided")
    )  # fmt: skip
    team = agent.team.name if agent.team is not None else "No team"
    role = Cell(console_words.words(agent.role.value), "state-agent" if agent.role is AgentRole.ADMIN else "")
    return Row(
        agent.name,
        (role, Cell(team), Cell(", ".join(agent.languages)), state),
        url=url_for("console.admin.agent", agent_id=agent.public_id),
        note=agent.email,
        is_over=agent.deactivated_at is not None,
    )


@blueprint.route("/agents/invite", methods=["GET", "POST"])
def invite() -> Reply:
    def fields() -> Sequence[Field]:
        email = Field("email", "E-mail address", kind="email", required=True, hint="They sign in with it.")
        return email, *_agent_fields(None)

    def done() -> Reply:
        with desk().db.begin() as session:
            invitation = invitations.invite(session, desk().settings, email=_given("email"), changes=_agent_changes())
            return _link_page(invitation, f"{invitation.agent.name} is invited")

    return _form("agents", "Invite an agent", fields, done, button="Invite")


@blueprint.route("/agents/<public_id:agent_id>", methods=["GET", "POST"])
def agent(agent_id: str) -> Reply:
    with desk().db.read() as session:
        row = people.colleague(session, agent_id)
        known = _agent_fields(row)
    actions = (("reactivate_agent", "Reactivate…"),) if row.deactivated_at else _ACTIONS

    def done() -> Reply:
        with desk().db.begin() as session:
            people.change_agent(session, people.colleague(session, agent_id), _agent_changes())
        return _said(f"{_given('name') or row.email} is changed.", "agents")

    return _form(
        "agents",
        row.name,
        lambda: known,
        done,
        button="Save",
        actions=[To(name, url_for(f"console.admin.{view}", agent_id=agent_id)) for view, name in actions],
    )


_ACTIONS = (("reset_agent", "Reset password…"), ("deactivate_agent", "Deactivate…"))


def _agent_fields(agent: Agent | None) -> Sequence[Field]:
    team = agent.team.key if agent is not None and agent.team is not None else ""
    role = agent.role.value if agent is not None else AgentRole.AGENT.value
    languages = ", ".join(agent.languages) if agent is not None else ""
    return (
        Field("name", "Name", agent.name if agent is not None else "", hint="Customers read it."),
        Field("role", "Role", role, "select", [(key.value, text) for key, text in ROLES.items()]),
        Field("team", "Team", team, "select", _teams(team), hint="A viewer without a team reads every ticket."),
        Field("languages", "Languages", languages, hint="That they write, as codes: en, de"),
    )


def _teams(chosen: str) -> list[tuple[str, str]]:
    teams = [("", "No team"), *((one.key, one.name) for one in desk().taxonomy.teams)]
    return teams if chosen in dict(teams) else [*teams, (chosen, chosen)]  # it has left the taxonomy


def _agent_changes() -> AgentChanges:
    try:
        role = AgentRole(_given("role"))
    except ValueError as error:
        raise Invalid("Choose a role.", field="role") from error
    languages = _given("languages").split(",")
    return {"name": _given("name"), "role": role, "team": _given("team") or None, "languages": languages}


@blueprint.route("/agents/<public_id:agent_id>/reset", methods=["GET", "POST"])
def reset_agent(agent_id: str) -> Reply:
    return _about_agent(
        agent_id,
        "Reset the password of {name}?",
        "{name} is signed out everywhere and gets a link to choose another password.",
        "Reset password",
        lambda session, row: _let_in(invitations.reset(session, desk().settings, row)),
    )


@blueprint.route("/agents/<public_id:agent_id>/reactivate", methods=["GET", "POST"])
def reactivate_agent(agent_id: str) -> Reply:
    return _about_agent(
        agent_id,
        "Reactivate {name}?",
        "{name} gets a link to choose a password.",
        "Reactivate",
        lambda session, row: _let_in(invitations.reactivate(session, desk().settings, row)),
    )


@blueprint.route("/agents/<public_id:agent_id>/deactivate", methods=["GET", "POST"])
def deactivate_agent(agent_id: str) -> Reply:
    def done(session: Any, row: Agent) -> Reply:
        left = people.deactivate_agent(session, row)
        end_streams(row.id)
        told = f" {left} open ticket{' is' if left == 1 else 's are'} still assigned to them." if left else ""
        return _said(f"{row.name} is deactivated and signed out.{told}", "agents")

    return _about_agent(
        agent_id,
        "Deactivate {name}?",
        "{name} is signed out everywhere at once and can no longer sign in. What they wrote stays.",
        "Deactivate",
        done,
        is_dangerous=True,
    )


def _about_agent(
    agent_id: str, title: str, about: str, button: str, act: Callable[[Any, Agent], Reply], **more: Any
) -> Reply:
    with desk().db.read() as session:
        name = people.colleague(session, agent_id).name

    def done() -> Reply:
        with desk().db.begin() as session:
            return act(session, people.colleague(session, agent_id))

    return _question("agents", title.format(name=name), about.format(name=name), button, done, **more)


def _let_in(invitation: Invitation) -> Reply:
    end_streams(invitation.agent.id)
    return _link_page(invitation, f"{invitation.agent.name} can choose a password")


def _link_page(invitation: Invitation, title: str) -> Reply:
    how = "It was also mailed to them. " if invitation.is_mailed else ""
    about = f"Give {invitation.agent.name} this link. {how}It works once, for a week, and is not shown again."
    back = url_for("console.admin.agents")
    return _shown("secret", "agents", title=title, about=about, what="Link", secret=invitation.url, back=back)


# Teams


@blueprint.get("/teams")
def teams() -> Reply:
    """The teams of the taxonomy, and who belongs to them."""
    with desk().db.read() as session:
        members = people.active_by_team(session)
    rows = [Row(team.name, [_members(members.get(team.key, ()))], note=team.key) for team in desk().taxonomy.teams]
    return _list(
        "teams",
        "Teams",
        ("Team", "Agents"),
        rows,
        about="Teams come from the taxonomy (ASSISTANT_TAXONOMY); who is in one is set on the agent's page. Tickets of "
        "a team without agents are seen by leads and admins only.",
        nothing="The taxonomy names no teams.",
    )


def _members(names: Sequence[str]) -> Cell:
    return Cell(", ".join(names)) if names else Cell("Nobody", "note")


# Inboxes


@blueprint.get("/inboxes")
def inbox_list() -> Reply:
    with desk().db.read() as session:
        rows = [_inbox_row(inbox) for inbox in inboxes.all_inboxes(session)]
    return _list(
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
    def fields() -> Sequence[Field]:
        key = Field("key", "Key", required=True, hint="Pages name it by this: small letters, digits and hyphens.")
        return key, *_inbox_fields("", "", InboxSettings())

    def done() -> Reply:
        with desk().db.begin() as session:
            _configure(session, inboxes.add(session, _given("key")))
        return _said(f"The inbox {_given('key')} is added.", "inbox_list")

    return _form("inbox_list", "Add an inbox", fields, done, button="Add", is_upload=True)


@blueprint.route("/inboxes/<inbox_key>", methods=["GET", "POST"])
def inbox(inbox_key: str) -> Reply:
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
            _configure(session, inboxes.find(session, inbox_key, archived=True))
        return _said(f"The inbox {inbox_key} is changed.", "inbox_list")

    key = row.key if row.key != DEFAULT_INBOX else None
    return _form(
        "inbox_list",
        inboxes.brand(row, desk().settings),
        lambda: fields,
        done,
        button="Save",
        is_upload=True,
        code=embedding.snippet(f"{desk().settings.base_url}/widget/", inbox=key),
        actions=[To(name, url_for(f"console.admin.{view}", inbox_key=inbox_key)) for view, name in views],
    )


def _inbox_fields(name: str, team: str, own: InboxSettings, *, has_logo: bool = False) -> Sequence[Field]:
    shown = console_inboxes.written(own)
    logo = (Field("no_logo", "Logo", (), "checks", [("yes", "Take the logo away")]),) if has_logo else ()
    return (
        Field("name", "Brand", name, hint=f"What customers read; {desk().settings.company} if empty."),
        Field("team", "Team", team, "select", _teams(team), hint="Its tickets go there until triage routes them."),
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
    )  # fmt: skip


_HOURS_HINT = {"mon": "When people answer: 09:00-12:00, 13:00-18:00"}


def _configure(session: Any, row: Inbox) -> None:
    typed = {name: storable(value).replace("\r\n", "\n") for name, value in request.form.items()}
    values = {**console_inboxes.read(typed), "name": _given("name"), "team": _given("team") or None}
    if request.form.get("no_logo"):
        values["logo"] = None
    file = request.files.get("logo")
    logo = (file.filename, file.read()) if file is not None and file.filename else None
    inboxes.configure(session, row, desk().settings, values, logo=logo)


@blueprint.route("/inboxes/<inbox_key>/archive", methods=["GET", "POST"])
def archive_inbox(inbox_key: str) -> Reply:
    about = "Its widget is served no longer. Its conversations stay, and are answered."
    return _about_inbox(inbox_key, "Archive {name}?", about, "Archive", inboxes.archive, is_dangerous=True)


@blueprint.route("/inboxes/<inbox_key>/restore", methods=["GET", "POST"])
def restore_inbox(inbox_key: str) -> Reply:
    return _about_inbox(inbox_key, "Restore {name}?", "Its widget is served again.", "Restore", inboxes.restore)


@blueprint.route("/inboxes/<inbox_key>/withdraw-secret", methods=["GET", "POST"])
def withdraw_secret(inbox_key: str) -> Reply:
    about = "Identities signed with the previous secret are refused from now on."
    done = inboxes.withdraw_previous_secret
    return _about_inbox(
        inbox_key, "Withdraw the previous secret of {name}?", about, "Withdraw", done, is_dangerous=True
    )


@blueprint.route("/inboxes/<inbox_key>/secret", methods=["GET", "POST"])
def renew_secret(inbox_key: str) -> Reply:
    def show(row: Inbox) -> Reply:
        about = "Keep it on your server: whoever has it can pose as any customer. It is not shown again."
        secret, back = inboxes.renew_secret(row), url_for("console.admin.inbox", inbox_key=inbox_key)
        return _shown("secret", "inbox_list", title="New secret", about=about, what="Secret", secret=secret, back=back)

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
        return shown if shown is not None else _said(f"Done: {button.lower()}, {name}.", "inbox_list")

    return _question("inbox_list", title.format(name=name), about, button, done, **more)


# API keys


@blueprint.get("/keys")
def keys() -> Reply:
    with desk().db.read() as session:
        rows = [_key_row(key) for key in credentials.all_keys(session)]
    return _list(
        "keys",
        "API keys",
        ("Name", "Scopes", "Created", "Last used", "State"),
        rows,
        add=To("Create a key", url_for("console.admin.add_key")),
        nothing="No API keys. A shop's system needs one to open tickets.",
    )


def _key_row(key: APIKey) -> Row:
    used = Cell(at=key.last_used_at.isoformat()) if key.last_used_at is not None else Cell("Never")
    is_over = key.revoked_at is not None
    revoke = To("Revoke…", url_for("console.admin.revoke_key", key_id=key.public_id))
    return Row(
        key.name,
        (
            Cell(", ".join(key.scopes)),
            Cell(at=key.created_at.isoformat()),
            used,
            Cell("Revoked") if is_over else Cell("Active", "decided"),
        ),
        note=key.public_id,
        actions=() if is_over else (revoke,),
        is_over=is_over,
    )


@blueprint.route("/keys/add", methods=["GET", "POST"])
def add_key() -> Reply:
    def fields() -> Sequence[Field]:
        scopes = [(scope.value, f"{text} ({scope.value})") for scope, text in SCOPES.items()]
        return (
            Field("name", "Name", required=True, hint="What uses it, e.g. web shop."),
            Field("scope", "Scopes", (), "checks", scopes, hint="Only what it needs."),
        )

    def done() -> Reply:
        name = _given("name")
        with desk().db.begin() as session:
            _, secret = credentials.add_key(session, name=name, scopes=request.form.getlist("scope"))
        about = "Store it safely: it is not shown again."
        back = url_for("console.admin.keys")
        return _shown("secret", "keys", title=f"Key for {name}", about=about, what="API key", secret=secret, back=back)

    return _form("keys", "Create a key", fields, done, button="Create")


@blueprint.route("/keys/<public_id:key_id>/revoke", methods=["GET", "POST"])
def revoke_key(key_id: str) -> Reply:
    with desk().db.read() as session:
        name = credentials.find_key(session, key_id).name

    def done() -> Reply:
        with desk().db.begin() as session:
            credentials.revoke_key(session, key_id)
        return _said(f"The key {name} is revoked.", "keys")

    about = "What uses it is refused from now on. A revoked key cannot be used again."
    return _question("keys", f"Revoke the key {name}?", about, "Revoke", done, is_dangerous=True)


# Learned heads

_HEAD_TAGS = {HeadState.SERVED: "decided", HeadState.ROLLED_BACK: "note"}


@blueprint.get("/heads")
def heads() -> Reply:
    with desk().db.read() as session:
        found = learning.list_heads(session)
    return _list(
        "heads",
        "Learned heads",
        ("Field", "State", "Since", "Learned from", "On new decisions", "Before it"),
        _head_rows(found),
        about="What triage learned from agents' decisions, and how it did on decisions that it had not learned from, "
        "beside what served before.",
        nothing="Nothing is learned yet. Triage learns from what agents accept and override.",
    )


def _head_rows(found: Sequence[payloads.LearnedHead]) -> list[Row]:
    """The newest of a field that can be served, and the one that is, have something to be done."""
    rows, promoted = [], set()
    for head in found:
        actions: tuple[To, ...] = ()
        if head.state is HeadState.SERVED:
            actions = (To("Roll back…", url_for("console.admin.roll_back", field=head.field)),)
        elif head.state in (HeadState.WAITING, HeadState.ROLLED_BACK) and head.field not in promoted:
            promoted.add(head.field)
            actions = (To("Serve…", url_for("console.admin.promote", field=head.field)),)
        cells = (
            Cell(console_words.words(head.state.value), _HEAD_TAGS.get(head.state, "")),
            Cell(at=head.since.isoformat()),
            Cell(f"{head.decisions} decisions"),
            Cell(_figures(head.trial.head, head.trial.decisions)),
            Cell(_figures(head.trial.before, head.trial.decisions)),
        )
        is_over = head.state is HeadState.REPLACED
        rows.append(Row(console_words.words(head.field), cells, note=f"#{head.id}", actions=actions, is_over=is_over))
    return rows


def _figures(figures: payloads.Figures, decisions: int) -> str:
    return f"{figures.accuracy:.0%} of {decisions} right" if decisions else "Not tried"


@blueprint.route("/heads/<field>/roll-back", methods=["GET", "POST"])
def roll_back(field: str) -> Reply:
    def done() -> Reply:
        with desk().db.begin() as session:
            before = learning.roll_back(session, field)
        served = f"the head of {before.decisions} decisions" if before is not None else "no learned head"
        return _said(f"{console_words.words(field)} is served by {served} now.", "heads")

    about = "The head before it serves again, or what was known before the first decision. What is learned later waits."
    title = f"Roll back {console_words.words(field)}?"
    return _question("heads", title, about, "Roll back", done, is_dangerous=True)


@blueprint.route("/heads/<field>/promote", methods=["GET", "POST"])
def promote(field: str) -> Reply:
    def done() -> Reply:
        with desk().db.begin() as session:
            head = learning.promote(session, field)
        return _said(f"{console_words.words(field)} is served by the head of {head.decisions} decisions now.", "heads")

    about = "The newest head that waits or was rolled back decides from now on, whatever its trial says."
    return _question("heads", f"Serve the newest head of {console_words.words(field)}?", about, "Serve", done)


# System


@blueprint.get("/system")
def system() -> Reply:
    """What `assistant doctor` reports, and the jobs."""
    with desk().db.read() as session:
        counts = queue.counts(session)
    jobs = ", ".join(f"{counts[status]} {status.value}" for status in JobStatus)
    dead = counts[JobStatus.DEAD]
    retry = (To("Retry…", url_for("console.admin.retry_jobs")),) if dead else ()
    rows = [Row("jobs", (Cell("Look" if dead else "Ok", "note" if dead else "decided"), Cell(jobs)), actions=retry)]
    rows += [
        Row(check.name, (Cell(console_words.words(check.status), _CHECK_TAGS[check.status]), Cell(_told(check))))
        for check in checks()
    ]
    return _list(
        "system",
        "System",
        ("Part", "State", "Found"),
        rows,
        about="The checks of assistant doctor, and the background jobs.",
        nothing="",
    )


_CHECK_TAGS = {"ok": "decided", "warn": "note", "fail": "risk"}


def _told(check: Check) -> str:
    return f"{check.detail}. {check.advice}" if check.advice else check.detail


@blueprint.route("/system/retry", methods=["GET", "POST"])
def retry_jobs() -> Reply:
    def done() -> Reply:
        return _said(f"Queued {queue.retry_dead(desk().db)} jobs again.", "system")

    about = "Once the disk has space again, or the model is back."
    return _question("system", "Retry the jobs that gave up?", about, "Retry", done)


def _given(name: str) -> str:
    return storable(request.form.get(name, "")).replace("\r\n", "\n").strip()
