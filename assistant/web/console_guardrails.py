"""Settings: what the assistant may say by itself in each inbox."""

from __future__ import annotations

from collections.abc import Sequence

from flask import url_for

from assistant.desk import guardrails as rules
from assistant.desk import inboxes
from assistant.errors import Invalid
from assistant.models import Inbox
from assistant.web.console_pages import Cell, Field, Row, blueprint, form, given, listed, said
from assistant.web.context import desk
from assistant.web.responses import Reply


@blueprint.get("/guardrails")
def guardrails() -> Reply:
    with desk().db.read() as session:
        rows = [_row(inbox) for inbox in inboxes.all_inboxes(session) if inbox.archived_at is None]
    return listed(
        "guardrails",
        "Guardrails",
        ("Inbox", "Answers from", "A person answers", "Never said", "Tone"),
        rows,
        about="What the assistant may send by itself. Below its threshold, and where a filter finds the ticket, a "
        "person gets it, with a draft. A sentence with what is never said is left out.",
        nothing="",
    )


def _row(inbox: Inbox) -> Row:
    own = inboxes.settings_of(inbox)
    usual = " (usual)" if own.answer_threshold is None else ""
    return Row(
        inboxes.brand(inbox, desk().settings),
        (
            Cell(f"{rules.threshold(own, desk().settings):.0%}{usual}"),
            Cell("; ".join(own.never_answer) or "Whatever triage says"),
            Cell("; ".join(own.never_say) or "–"),
            Cell(own.tone or "–"),
        ),
        url=url_for("console.admin.guardrails_of", inbox_key=inbox.key),
        note=inbox.key,
    )


@blueprint.route("/guardrails/<inbox_key>", methods=["GET", "POST"])
def guardrails_of(inbox_key: str) -> Reply:
    """Change an inbox's guardrails."""
    with desk().db.read() as session:
        inbox = inboxes.find(session, inbox_key)

    def done() -> Reply:
        filters, phrases = _lines("never_answer"), _lines("never_say")
        with desk().db.begin() as session:
            rules.check(session, desk().taxonomy, filters, now=desk().now())
            values = {
                "answer_threshold": _share(),
                "never_answer": filters or None,
                "never_say": phrases or None,
                "tone": given("tone") or None,
            }
            inboxes.change(inboxes.find(session, inbox_key), values)
        return said(f"The guardrails of {inboxes.brand(inbox, desk().settings)} are set.", "guardrails")

    name = inboxes.brand(inbox, desk().settings)
    return form("guardrails", name, lambda: _fields(inbox), done, button="Save")


def _fields(inbox: Inbox) -> Sequence[Field]:
    own, usual = inboxes.settings_of(inbox), desk().settings.answer_threshold
    share = f"{own.answer_threshold * 100:g}" if own.answer_threshold is not None else ""
    return (
        Field(
            "threshold", "Answers from a confidence of (%)", share,
            hint=f"Higher: fewer answers, more of them right. Empty: {usual:.0%}, as ASSISTANT_ANSWER_THRESHOLD says.",
        ),
        Field(
            "never_answer", "A person answers", "\n".join(own.never_answer), "lines",
            hint="Filters as in the search box, one a line, e.g. category:safety, priority:urgent or chargeback.",
        ),
        Field(
            "never_say", "Never say", "\n".join(own.never_say), "lines",
            hint="Words and phrases, one a line, e.g. full refund or a code name. However they are written, a sentence "
            "with one is left out of answers and drafts; agents are asked before they send one.",
        ),
        Field("tone", "Tone", own.tone, hint="Of answers that a model writes, e.g. Short, warm, no jargon."),
    )  # fmt: skip


def _lines(name: str) -> list[str]:
    return [line.strip() for line in given(name).splitlines() if line.strip()]


def _share() -> float | None:
    typed = given("threshold").removesuffix("%").strip().replace(",", ".")
    try:
        share = float(typed) / 100 if typed else None
    except ValueError:
        share = -1.0
    if share is not None and not 0 <= share <= 1:
        raise Invalid("The confidence is a number from 0 to 100.", field="threshold")
    return share
