"""What each role may do in the console: asked by the one place that refuses, and by templates, which offer nothing that
would be refused.

Endpoints that are named nowhere here may be read by everybody, and changed by whoever may write.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flask import g

from assistant.desk.access import AgentPrincipal
from assistant.errors import NotAllowed

# What concerns nobody but the agent, whatever their role and with a one-time password.
THEIR_OWN = (
    "console.password",
    "console.sign_out",
    "console.end_sessions",
    *(f"console.second_factor.{view}" for view in ("show", "begin", "confirm", "renew_codes", "turn_off")),
)
_READING = ("GET", "HEAD", "OPTIONS")
# What the audit log tells besides what needs a rule.
_NOTED = (*THEIR_OWN, "console.sign_in", "console.join", "console.setup.", "console.macros.")
_NOTED_READING = (
    "console.sign_in_oidc_done",
    "console.customers.export",
)
# Noted once a day of an agent and what they look at, unless only its small version was shown.
_NOTED_LOOKING = ("console.attachment",)


@dataclass(frozen=True)
class _Rule:
    """Of endpoints, by the beginnings of their names."""

    endpoints: tuple[str, ...]
    holds: Callable[[AgentPrincipal], bool]
    said: str


_RULES = (
    _Rule(("console.admin.",), lambda agent: agent.is_admin, "Only admins can change settings."),
    _Rule(
        ("console.knowledge.add_", "console.knowledge.set_", "console.knowledge.sync_", "console.knowledge.remove_"),
        lambda agent: agent.is_admin,
        "Only admins can change sources.",
    ),
    _Rule(
        ("console.articles.publish", "console.articles.withdraw", "console.articles.remove"),
        lambda agent: agent.leads,
        "Leads and admins publish articles. What you saved is kept as a draft.",
    ),
    _Rule(
        ("console.customers.merge", "console.customers.undo_merge"),
        lambda agent: agent.leads,
        "Only leads and admins can merge customers.",
    ),
    _Rule(
        ("console.customers.erase", "console.customers.export"),
        lambda agent: agent.is_admin,
        "Only admins can export or erase what is known of a customer.",
    ),
    _Rule(("console.reports.agents",), lambda agent: agent.leads, "What each agent did is for leads and admins."),
    _Rule(
        ("console.reports.outbreaks",),
        lambda agent: agent.leads,
        "Outbreaks, with tickets of all teams, are for leads and admins.",
    ),
)
_READ_ONLY = "You may read everything here, but change nothing. Ask an admin for another role."


def require(agent: AgentPrincipal, endpoint: str, method: str) -> None:
    """Raises `NotAllowed` that says who may."""
    refusal = _refusal(agent, endpoint, method)
    if refusal is not None:
        raise NotAllowed(refusal)


def may(endpoint: str, method: str = "POST") -> bool:
    """Whether the signed-in agent may."""
    agent: AgentPrincipal | None = g.get("agent")
    return agent is not None and _refusal(agent, endpoint, method) is None


def is_noted(endpoint: str, method: str) -> bool:
    """Whether the audit log says who did it: whatever a rule asks more than an agent for, and signing in."""
    if endpoint in _NOTED_READING:
        return True
    powers = [beginning for rule in _RULES for beginning in rule.endpoints]
    return method not in _READING and endpoint.startswith((*powers, *_NOTED))


def is_looking(endpoint: str, query: Mapping[str, str]) -> bool:
    """Whether somebody looks at a customer's photo or file as it was sent. Nothing is masked in those."""
    return endpoint in _NOTED_LOOKING and query.get("thumbnail") != "1"


def _refusal(agent: AgentPrincipal, endpoint: str, method: str) -> str | None:
    if endpoint in THEIR_OWN:
        return None
    if method not in _READING and not agent.may_write:
        return _READ_ONLY
    return next((rule.said for rule in _RULES if endpoint.startswith(rule.endpoints) and not rule.holds(agent)), None)
