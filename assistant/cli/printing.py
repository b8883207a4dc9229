"""Results for a terminal: tickets, assessments, passages and addresses. Imports rich, so import it inside commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from assistant.demo import Access, DemoReport
from assistant.payloads import LearnedHead
from assistant.settings import Settings
from assistant.skills.read_photo import CANNOT_TELL, FIELDS
from assistant.text.clusters import beginning


def print_ticket(ticket: dict[str, Any]) -> None:
    Console(highlight=False).print(_ticket_panel(ticket))


def print_report(report: DemoReport) -> None:
    console = Console(highlight=False)
    console.print(f"\n{report.articles.summary()}")
    console.print(f"{len(report.tickets)} tickets in {report.seconds:.1f} s. Model: {report.model} ({report.mode}).")
    if report.mode == "no_vlm":
        console.print(
            "No vision-language model is installed: photos are read by OCR, answers are quoted from articles."
        )
    if report.mode == "small_vlm":
        console.print(
            'The small model knows only the sample company\'s products (see "What reads the photo" in README.md).'
        )


def print_addresses(settings: Settings, access: Access) -> None:
    console = Console(highlight=False, soft_wrap=True)
    password = access.password or "as you chose it"
    table = Table.grid(padding=(0, 2))
    table.add_row("Chat widget", f"{settings.base_url}/demo")
    table.add_row("Agent console", f"{settings.base_url}/console/")
    table.add_row("", f"sign in as {access.email}, password {password}")
    table.add_row("API", f"{settings.base_url}/api/v1/docs")
    console.print(Panel(table, title="Serving. Press Ctrl-C to stop.", expand=False))


def print_assessment(assessment: dict[str, Any]) -> None:
    """``assessment``: the JSON of `payloads.Assessment`."""
    console = Console(highlight=False)
    parts: list[Any] = [*_evidence_lines(assessment["evidence"]), _triage_table(assessment["triage"]["fields"])]
    parts += [Text("Passages", style="bold"), *_passage_lines(assessment["passages"])]
    parts += _draft_lines(assessment["draft"])
    console.print(Group(*parts))
    for refused in assessment["rejected_files"]:
        console.print(f"[red]refused[/red] {refused['filename']}: {refused['detail']}")
    console.print(f"Model: {assessment['model']} ({assessment['mode']})", style="dim")


def print_passages(passages: Sequence[dict[str, Any]]) -> None:
    """``passages``: the JSON of `payloads.Passage`."""
    console = Console(highlight=False)
    if not passages:
        console.print("Nothing found.")
    console.print(Group(*_passage_lines(passages)))


def print_heads(heads: Sequence[LearnedHead]) -> None:
    console = Console(highlight=False)
    if not heads:
        console.print("No field has learned from agents' decisions yet.")
        return
    table = Table("field", "head", "state", "since", "decisions", "labels", "accuracy", "ECE", "on", box=None)
    for head in heads:
        trial = head.trial
        table.add_row(
            head.field,
            str(head.id),
            head.state.value.replace("_", " "),
            f"{head.since:%Y-%m-%d %H:%M}",
            str(head.decisions),
            ", ".join(f"{label} {count}" for label, count in head.labels.items()),
            f"{trial.head.accuracy:.2f} (before: {trial.before.accuracy:.2f})",
            f"{trial.head.calibration_error:.2f} (before: {trial.before.calibration_error:.2f})",
            str(trial.decisions),
        )
    console.print(table)
    console.print(
        "Accuracy and ECE (calibration error): on that many decisions that were not learned from.", style="dim"
    )


def _ticket_panel(ticket: dict[str, Any]) -> Panel:
    customer = next((message for message in ticket["messages"] if message["author"] == "customer"), None)
    parts: list[Any] = []
    if customer is not None:
        parts.append(Text(customer["text"], style="italic"))
        parts += _evidence_lines(one["evidence"] for one in customer["attachments"] if one["evidence"])
    if ticket["triage"]:
        parts.append(_triage_table(ticket["triage"]["fields"]))
    for draft in ticket["drafts"][-1:]:
        parts += _draft_lines(draft)
    return Panel(Group(*parts), title=ticket["subject"], title_align="left")


def _evidence_lines(evidence: Iterable[dict[str, Any]]) -> list[Text]:
    lines = []
    for photo in evidence:
        text = Text.assemble(("Photo ", "bold"), (photo["filename"], "bold cyan"), "\n")
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
        if field["status"] == "abstained":
            table.add_row(field["name"], Text(f"not sure (perhaps {field['value']}, {sure})", style="dim"))
        else:
            table.add_row(field["name"], f"[bold]{field['value']}[/bold] {sure}")
    return table


def _draft_lines(draft: dict[str, Any]) -> list[Text]:
    lines = [Text("Draft", style="bold")]
    if draft.get("text") and draft.get("confidence") is not None:
        lines[0].append(f" ({draft['confidence']:.0%} sure that it answers)", style="not bold dim")
    if draft.get("text"):
        lines.append(Text(draft["text"]))
    if draft.get("handoff_reason"):
        lines.append(Text(f"→ needs a person: {draft['handoff_reason']}", style="yellow"))
    sources = {c["heading"]: None for c in draft.get("citations", [])}
    lines += [Text(f"  [{number}] {source}", style="dim") for number, source in enumerate(sources, start=1)]
    return lines


def _passage_lines(passages: Iterable[dict[str, Any]]) -> list[Text]:
    lines = []
    for passage in passages:
        alike = passage["photo_similarity"]
        pictured = [f"a figure resembling the photo ({alike:.0%})"] if alike else []
        why = ", ".join([*passage["matched_codes"], *passage["matched_words"], *pictured]) or "meaning alone"
        lines.append(
            Text.assemble(
                (f"{passage['score']:.3f} ", "green"),
                (passage["heading"] or passage["article_title"], "bold"),
                (f"\n      why: {why}; similarity {passage['similarity'] or 0:.2f}\n", "dim"),
                "      " + beginning(" ".join(passage["text"].split()), 200),
            )
        )
    return lines
