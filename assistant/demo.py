"""The demo: the sample company's articles and tickets through the whole pipeline, and how results look in a terminal.

Running it again does no harm: articles are imported incrementally, tickets carry idempotency keys.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from sqlalchemy import select

from assistant import sample, worker
from assistant.desk import access, tickets
from assistant.desk.access import MachinePrincipal, Scope
from assistant.desk.tickets import NewTicket
from assistant.knowledge import sources
from assistant.knowledge.articles import ImportReport
from assistant.media.files import Upload
from assistant.models import Agent, AgentRole, APIKey, SourceKind, Ticket
from assistant.runtime import Runtime
from assistant.settings import Settings
from assistant.skills.read_photo import CANNOT_TELL, FIELDS
from assistant.web.schemas import ticket_json

Progress = Callable[[int, int, str], None]

ADMIN = "admin@localhost"
_KEY_NAME = "demo"


@dataclass(frozen=True)
class DemoReport:
    """What the demo did. ``tickets`` are as the API gives them."""

    model: str
    mode: str
    articles: ImportReport
    tickets: tuple[dict[str, Any], ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "mode": self.mode,
            "articles": self.articles.to_json(),
            "tickets": list(self.tickets),
            "seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True)
class Access:
    """How to get into the console. ``password`` is None once the admin has chosen their own."""

    email: str
    password: str | None


def run(
    runtime: Runtime, *, bar: Callable[[], AbstractContextManager[Progress]], tell: Callable[..., None]
) -> DemoReport:
    """Import the sample articles, open the sample tickets and do all the work they lead to.

    ``bar``: shows progress while it is open. ``tell`` is called with each ticket, as the API gives it, once it is done.
    """
    started = perf_counter()
    desk = runtime.desk
    with desk.db.begin() as session:
        source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(sample.articles_dir()), name="sample")
    with bar() as progress:
        articles = sources.sync(desk, source.id, progress=progress)
    machine = _demo_machine(runtime)
    done = []
    examples = sample.demo_tickets()
    for number, example in enumerate(examples, start=1):
        with bar() as progress:
            progress(number - 1, len(examples), "Reading, triaging and drafting")
            done.append(_worked_on(runtime, machine, example, number))
        tell(done[-1])
    mode = desk.capabilities.mode.value
    return DemoReport(desk.capabilities.model, mode, articles, tuple(done), perf_counter() - started)


def prepare_access(runtime: Runtime) -> Access:
    """An admin with a one-time password; a new one each time until they have chosen their own."""
    password = secrets.token_urlsafe(9)
    with runtime.desk.db.begin() as session:
        admin = session.scalar(select(Agent).where(Agent.email == ADMIN))
        if admin is None:
            access.add_agent(
                session, email=ADMIN, name="Admin", password=password, role=AgentRole.ADMIN, must_change_password=True
            )
        elif admin.must_change_password:
            access.set_password(session, admin, password, one_time=True)
        else:
            return Access(ADMIN, None)
    return Access(ADMIN, password)


def _demo_machine(runtime: Runtime) -> MachinePrincipal:
    """The machine the sample tickets come from. Its key is never shown: nobody can sign in with it."""
    scopes = [Scope.TICKETS_READ, Scope.TICKETS_WRITE]
    with runtime.desk.db.begin() as session:
        key = session.scalar(select(APIKey).where(APIKey.name == _KEY_NAME).order_by(APIKey.id).limit(1))
        if key is None:
            key, _ = access.add_key(session, name=_KEY_NAME, scopes=[scope.value for scope in scopes])
        return MachinePrincipal(key.id, key.name, frozenset(scopes))


def _worked_on(runtime: Runtime, machine: MachinePrincipal, example: sample.DemoTicket, number: int) -> dict[str, Any]:
    """One ticket, opened and worked on to the end."""
    new = NewTicket(
        subject=example.subject,
        text=example.text,
        requester_name=example.requester_name,
        requester_email=example.requester_email,
        uploads=tuple(Upload(path.name, None, path.read_bytes()) for path in example.photos),
    )
    opened: Ticket = tickets.open_ticket(runtime.desk, machine, new, idempotency_key=f"demo-{number}").ticket
    worker.run_until_idle(runtime.desk)
    with runtime.desk.db.read() as session:
        return ticket_json(session, tickets.load_ticket(session, machine, opened.public_id), runtime.desk.taxonomy)


# Printing


def show_ticket(ticket: dict[str, Any]) -> None:
    Console(highlight=False).print(_ticket_panel(ticket))


def show(report: DemoReport) -> None:
    console = Console(highlight=False)
    console.print(f"\n{report.articles.summary()}")
    console.print(f"{len(report.tickets)} tickets in {report.seconds:.1f} s. Model: {report.model} ({report.mode}).")
    if report.mode == "no_vlm":
        console.print(
            "No vision-language model is installed: photos are read by OCR, answers are quoted from articles."
        )
    if report.mode == "small_vlm":
        console.print("The small model knows the sample company's products alone (README.md, What reads the photo).")


def show_addresses(settings: Settings, access_to_console: Access) -> None:
    console = Console(highlight=False, soft_wrap=True)
    password = access_to_console.password or "(the one you chose)"
    table = Table.grid(padding=(0, 2))
    table.add_row("Chat widget", f"{settings.base_url}/demo")
    table.add_row("Agent console", f"{settings.base_url}/console/")
    table.add_row("", f"sign in as {access_to_console.email}, one-time password {password}")
    table.add_row("API", f"{settings.base_url}/api/v1/docs")
    console.print(Panel(table, title="Serving — Ctrl-C stops", expand=False))


def show_assessment(assessment: dict[str, Any]) -> None:
    """An assessment (desk.assess) as JSON, for people."""
    console = Console(highlight=False)
    parts: list[Any] = [*_evidence_lines(assessment["evidence"]), _triage_table(assessment["triage"])]
    parts += [Text("Passages", style="bold"), *_passage_lines(assessment["passages"])]
    parts += _draft_lines(assessment["draft"])
    console.print(Group(*parts))
    for refused in assessment.get("rejected", []):
        console.print(f"[red]refused[/red] {refused['filename']}: {refused['detail']}")
    console.print(f"Model: {assessment['model']} ({assessment['mode']})", style="dim")


def show_hits(hits: Sequence[Any]) -> None:
    console = Console(highlight=False)
    if not hits:
        console.print("Nothing found.")
    console.print(Group(*_passage_lines([hit.to_json() for hit in hits])))


def _ticket_panel(ticket: dict[str, Any]) -> Panel:
    customer = next((message for message in ticket["messages"] if message["author"] == "customer"), None)
    parts: list[Any] = []
    if customer is not None:
        parts.append(Text(customer["text"], style="italic"))
        evidence = [{**a["evidence"], "filename": a["filename"]} for a in customer["attachments"] if a.get("evidence")]
        parts += _evidence_lines(evidence)
    if ticket["triage"]:
        parts.append(_triage_table(ticket["triage"]["fields"]))
    for draft in ticket["drafts"][-1:]:
        parts += _draft_lines(draft)
    return Panel(Group(*parts), title=ticket["subject"], title_align="left")


def _evidence_lines(evidence: Iterable[dict[str, Any]]) -> list[Text]:
    lines = []
    for photo in evidence:
        text = Text.assemble(("Photo ", "bold"), (photo.get("filename", ""), "bold cyan"), "\n")
        for name in FIELDS:
            field = photo.get(name)
            if field is None:
                continue
            sure = f" ({field['confidence']:.0%})" if field["value"] != CANNOT_TELL else ""
            text.append(f"  {name:<10} {field['value']}{sure}\n")
        seen = " · ".join(line["text"] for line in photo["visible_text"]) or "none"
        text.append(f"  {'text':<10} {seen}")
        lines.append(text)
    return lines


def _triage_table(fields: Iterable[dict[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for field in fields:
        sure = f"{field['probability']:.0%}"
        if field.get("abstained") or field.get("state") == "abstained":
            table.add_row(field["name"], Text(f"not sure (perhaps {field['value']}, {sure})", style="dim"))
        else:
            table.add_row(field["name"], f"[bold]{field['value']}[/bold] {sure}")
    return table


def _draft_lines(draft: dict[str, Any]) -> list[Text]:
    lines = [Text("Draft", style="bold")]
    if draft.get("text"):
        lines.append(Text(draft["text"]))
    if draft.get("handoff_reason"):
        lines.append(Text(f"→ for a person: {draft['handoff_reason']}", style="yellow"))
    sources = {c["heading"]: None for c in draft.get("citations", [])}
    lines += [Text(f"  [{number}] {source}", style="dim") for number, source in enumerate(sources, start=1)]
    return lines


def _passage_lines(passages: Iterable[dict[str, Any]]) -> list[Text]:
    lines = []
    for passage in passages:
        alike = passage.get("resemblance")
        pictured = [f"a figure that looks like the photo ({alike:.0%})"] if alike else []
        why = ", ".join([*passage.get("codes", []), *passage.get("words", []), *pictured]) or "meaning alone"
        lines.append(
            Text.assemble(
                (f"{passage['score']:.3f} ", "green"),
                (passage["heading"] or passage["article_title"], "bold"),
                (f"\n      why: {why}; similarity {passage['similarity'] or 0:.2f}\n", "dim"),
                "      " + " ".join(passage["text"].split())[:200],
            )
        )
    return lines
