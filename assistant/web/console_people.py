"""Settings: who works here, and in which teams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask import request, url_for

from assistant.desk import assigning, credentials, invitations, people, second_factor
from assistant.desk.invitations import Invitation
from assistant.desk.people import AgentChanges
from assistant.errors import Invalid
from assistant.models import Agent, AgentRole, Assignment
from assistant.web import console_words
from assistant.web.console_live import end_streams
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

ROLES = {
    AgentRole.VIEWER: "Viewer: reads, and changes nothing",
    AgentRole.AGENT: "Agent: works the tickets of their team",
    AgentRole.LEAD: "Lead: works every team's tickets",
    AgentRole.ADMIN: "Admin: also changes settings",
}
ASSIGNMENTS = {
    Assignment.OFF: "Agents take them",
    Assignment.ROUND_ROBIN: "Are given out in turn",
    Assignment.LEAST_BUSY: "Are given to whoever has the fewest",
}
_PAGE = 50


@blueprint.get("/agents")
def agents() -> Reply:
    with desk().db.read() as session:
        found = people.all_agents(session, after=request.args.get("after"), limit=_PAGE + 1)
        rows = [_agent_row(agent) for agent in found[:_PAGE]]
    further = url_for("console.admin.agents", after=found[_PAGE - 1].email) if len(found) > _PAGE else None
    return listed(
        "agents",
        "Agents",
        ("Name", "Role", "Team", "Languages", "Second factor", "State"),
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
    factor = Cell("On" if agent.totp_since is not None else "Off")
    role = Cell(console_words.words(agent.role.value), "state-agent" if agent.role is AgentRole.ADMIN else "")
    return Row(
        agent.name,
        (role, Cell(team), Cell(", ".join(agent.languages)), factor, state),
        url=url_for("console.admin.agent", agent_id=agent.public_id),
        note=agent.email,
        is_over=agent.deactivated_at is not None,
    )


@blueprint.route("/agents/invite", methods=["GET", "POST"])
def invite() -> Reply:
    """Invite an agent."""

    def fields() -> Sequence[Field]:
        email = Field("email", "E-mail address", kind="email", required=True, hint="They sign in with it.")
        return email, *_agent_fields(None)

    def done() -> Reply:
        with desk().db.begin() as session:
            invitation = invitations.invite(session, desk().settings, email=given("email"), changes=_agent_changes())
            return _link_page(invitation, f"{invitation.agent.name} is invited")

    return form("agents", "Invite an agent", fields, done, button="Invite")


@blueprint.route("/agents/<public_id:agent_id>", methods=["GET", "POST"])
def agent(agent_id: str) -> Reply:
    """Change an agent."""
    with desk().db.read() as session:
        row = people.colleague(session, agent_id)
        known = _agent_fields(row)
    actions = list(_RETURNING if row.deactivated_at else _ACTIONS)
    if row.totp_secret is not None:
        actions.append(("reset_second_factor", "Reset second factor…"))

    def done() -> Reply:
        with desk().db.begin() as session:
            people.change_agent(session, people.colleague(session, agent_id), _agent_changes())
        return said(f"{given('name') or row.email} is changed.", "agents")

    return form(
        "agents",
        row.name,
        lambda: known,
        done,
        button="Save",
        actions=[To(name, url_for(f"console.admin.{view}", agent_id=agent_id)) for view, name in actions],
    )


_RETURNING = (("reactivate_agent", "Reactivate…"),)
_ACTIONS = (("reset_agent", "Reset password…"), ("deactivate_agent", "Deactivate…"))


def _agent_fields(agent: Agent | None) -> Sequence[Field]:
    team = agent.team.key if agent is not None and agent.team is not None else ""
    role = agent.role.value if agent is not None else AgentRole.AGENT.value
    languages = ", ".join(agent.languages) if agent is not None else ""
    return (
        Field("name", "Name", agent.name if agent is not None else "", hint="Customers read it."),
        Field("role", "Role", role, "select", [(key.value, text) for key, text in ROLES.items()]),
        Field("team", "Team", team, "select", team_options(team), hint="A viewer without a team reads every ticket."),
        Field("languages", "Languages", languages, hint="That they write, as codes: en, de"),
    )


def _agent_changes() -> AgentChanges:
    try:
        role = AgentRole(given("role"))
    except ValueError as error:
        raise Invalid("Choose a role.", field="role") from error
    languages = given("languages").split(",")
    return {"name": given("name"), "role": role, "team": given("team") or None, "languages": languages}


@blueprint.route("/agents/<public_id:agent_id>/reset", methods=["GET", "POST"])
def reset_agent(agent_id: str) -> Reply:
    """Reset an agent's password."""
    return _about_agent(
        agent_id,
        "Reset the password of {name}?",
        "{name} is signed out everywhere and gets a link to choose another password.",
        "Reset password",
        lambda session, row: _let_in(invitations.reset(session, desk().settings, row)),
    )


@blueprint.route("/agents/<public_id:agent_id>/second-factor", methods=["GET", "POST"])
def reset_second_factor(agent_id: str) -> Reply:
    """Take an agent's second factor away."""

    def done(session: Any, row: Agent) -> Reply:
        second_factor.reset(session, row)
        end_streams(row.id)
        return said(f"{row.name} is signed out, and signs in without a second factor now.", "agents")

    return _about_agent(
        agent_id,
        "Reset the second factor of {name}?",
        "Make sure that it is {name} who asks. They are signed out everywhere and sign in with their password alone; "
        "if their role needs a second factor, they set up another one then.",
        "Reset second factor",
        done,
        is_dangerous=True,
    )


@blueprint.route("/agents/<public_id:agent_id>/reactivate", methods=["GET", "POST"])
def reactivate_agent(agent_id: str) -> Reply:
    """Reactivate an agent."""
    return _about_agent(
        agent_id,
        "Reactivate {name}?",
        "{name} gets a link to choose a password.",
        "Reactivate",
        lambda session, row: _let_in(invitations.reactivate(session, desk().settings, row)),
    )


@blueprint.route("/agents/<public_id:agent_id>/deactivate", methods=["GET", "POST"])
def deactivate_agent(agent_id: str) -> Reply:
    """Deactivate an agent."""

    def done(session: Any, row: Agent) -> Reply:
        left = people.deactivate_agent(session, row)
        end_streams(row.id)
        told = f" {left} open ticket{' is' if left == 1 else 's are'} still assigned to them." if left else ""
        return said(f"{row.name} is deactivated and signed out.{told}", "agents")

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

    return question("agents", title.format(name=name), about.format(name=name), button, done, **more)


def _let_in(invitation: Invitation) -> Reply:
    end_streams(invitation.agent.id)
    return _link_page(invitation, f"{invitation.agent.name} can choose a password")


def _link_page(invitation: Invitation, title: str) -> Reply:
    how = "It was also mailed to them. " if invitation.is_mailed else ""
    about = f"Give {invitation.agent.name} this link. {how}It works once, for a week, and is not shown again."
    back = url_for("console.admin.agents")
    return shown("secret", "agents", title=title, about=about, what="Link", secret=invitation.url, back=back)


# Teams


@blueprint.get("/teams")
def teams() -> Reply:
    """The teams of the taxonomy, and who belongs to them."""
    with desk().db.read() as session:
        members = people.active_by_team(session)
        given_out = {team.key: team.assignment for team in people.all_teams(session)}
    rows = [
        Row(
            team.name,
            (Cell(ASSIGNMENTS[given_out[team.key]]), _members(members.get(team.key, ()))),
            url=url_for("console.admin.team", team_key=team.key),
            note=team.key,
        )
        for team in desk().taxonomy.teams
    ]
    return listed(
        "teams",
        "Teams",
        ("Team", "Waiting tickets", "Agents"),
        rows,
        about="Teams come from the taxonomy (ASSISTANT_TAXONOMY); who is in one is set on the agent's page. Tickets of "
        "a team without agents are seen by leads and admins only.",
        nothing="The taxonomy names no teams.",
    )


@blueprint.route("/teams/<team_key>", methods=["GET", "POST"])
def team(team_key: str) -> Reply:
    """Change how a team's waiting tickets find their agents, and how many each is given at once."""
    with desk().db.read() as session:
        row = people.find_team(session, team_key)
        agents = [one for one in people.active_agents(session) if one.team_id == row.id]
    fields = (
        Field("assignment", "Waiting tickets", row.assignment.value, "select", list(ASSIGNMENTS.items())),
        *(
            Field(
                f"capacity-{agent.public_id}",
                f"{agent.name}: tickets at once",
                agent.capacity if agent.capacity is not None else "",
                "number",
                hint="Away now: is given none." if agent.away_since is not None else "Empty: any number.",
            )
            for agent in agents
        ),
    )

    def done() -> Reply:
        with desk().db.begin() as session:
            assigning.set_assignment(session, team_key, given("assignment"))
            for agent in agents:
                typed = given(f"capacity-{agent.public_id}")
                if typed and not typed.isdecimal():
                    raise Invalid("How many tickets at once is a number.", field=f"capacity-{agent.public_id}")
                own = people.colleague(session, agent.public_id)
                assigning.set_capacity(session, own, int(typed) if typed else None)
        return said(f"{row.name} is changed.", "teams")

    return form("teams", row.name, lambda: fields, done, button="Save")


def _members(names: Sequence[str]) -> Cell:
    return Cell(", ".join(names)) if names else Cell("Nobody", "note")
