"""Settings: what triage learned, and how the system is."""

from __future__ import annotations

from collections.abc import Sequence

from flask import url_for

from assistant import payloads
from assistant.checks import Check
from assistant.desk import learning, queue
from assistant.models import HeadState, JobStatus
from assistant.web import console_words
from assistant.web.console_pages import Cell, Row, To, blueprint, listed, question, said
from assistant.web.context import checks, desk
from assistant.web.responses import Reply

# Learned heads

_HEAD_TAGS = {HeadState.SERVED: "decided", HeadState.ROLLED_BACK: "note"}


@blueprint.get("/heads")
def heads() -> Reply:
    with desk().db.read() as session:
        found = learning.list_heads(session)
    return listed(
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
    """Take a learned head back."""

    def done() -> Reply:
        with desk().db.begin() as session:
            before = learning.roll_back(session, field)
        served = f"the head of {before.decisions} decisions" if before is not None else "no learned head"
        return said(f"{console_words.words(field)} is served by {served} now.", "heads")

    about = "The head before it serves again, or what was known before the first decision. What is learned later waits."
    title = f"Roll back {console_words.words(field)}?"
    return question("heads", title, about, "Roll back", done, is_dangerous=True)


@blueprint.route("/heads/<field>/promote", methods=["GET", "POST"])
def promote(field: str) -> Reply:
    """Serve a learned head."""

    def done() -> Reply:
        with desk().db.begin() as session:
            head = learning.promote(session, field)
        return said(f"{console_words.words(field)} is served by the head of {head.decisions} decisions now.", "heads")

    about = "The newest head that waits or was rolled back decides from now on, whatever its trial says."
    return question("heads", f"Serve the newest head of {console_words.words(field)}?", about, "Serve", done)


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
    return listed(
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
    """Try failed jobs again."""

    def done() -> Reply:
        return said(f"Queued {queue.retry_dead(desk().db)} jobs again.", "system")

    about = "Once the disk has space again, or the model is back."
    return question("system", "Retry the jobs that gave up?", about, "Retry", done)
