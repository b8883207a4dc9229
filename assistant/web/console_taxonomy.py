"""Settings: the categories that triage chooses from: changed as a draft, checked, tried on past tickets, published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import url_for

from assistant.desk import category_trial, taxonomies
from assistant.desk.overlap import Mistaken, overlap
from assistant.skills import priors
from assistant.skills.taxonomy import Label
from assistant.web import auth, console_words
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
    team_options,
)
from assistant.web.context import desk
from assistant.web.responses import Reply

# An option of whose sentences so many read like one other is too much like it.
_OVERLAPS = 0.25
_MOST_PAIRS = 50
_OVERLAP = ("category_overlap", "Which are alike")
_OF_DRAFT = (
    ("try_categories", "Try on past tickets"),
    ("publish_categories", "Publish…"),
    ("discard_draft", "Discard…"),
)


@blueprint.get("/categories")
def categories() -> Reply:
    known, is_draft = _categories()
    rows = [_row(label, check) for label, check in zip(known, _checks(known), strict=True)]
    about = "A draft: nothing counts before it is published." if is_draft else "Triage chooses from these."
    return listed(
        "categories",
        "Categories",
        ("Category", "Team", "Examples", "Check"),
        rows,
        add=To("Add a category", url_for("console.admin.add_category")),
        about=f"{about} Descriptions and examples are what it works from until it has learned from agents' decisions. "
        "Teams and products are in the taxonomy file (ASSISTANT_TAXONOMY); products learned from photos join them.",
        actions=[
            To(name, url_for(f"console.admin.{view}")) for view, name in (_OVERLAP, *(_OF_DRAFT if is_draft else ()))
        ],
        nothing="",
    )


def _categories() -> tuple[Sequence[Label], bool]:
    """Those of the draft, if there is one, else those that count."""
    with desk().db.read() as session:
        draft = taxonomies.draft(session, desk().taxonomies.file)
    return (desk().taxonomy.categories, False) if draft is None else (draft.categories, True)


def _row(label: Label, check: tuple[str, str]) -> Row:
    return Row(
        label.name,
        (
            Cell(console_words.label(desk().taxonomy, "team", label.team) if label.team else "–"),
            Cell(str(len(label.examples))),
            Cell(check[0], check[1]),
        ),
        url=url_for("console.admin.category", key=label.key),
        note=label.description,
        actions=(To("Remove…", url_for("console.admin.remove_category", key=label.key)),),
    )


def _checks(known: Sequence[Label]) -> list[tuple[str, str]]:
    """What is to be said of each category, with its look."""
    names = {label.key: label.name for label in known}
    likes = Counter((own, other) for _, own, other in priors.misread(known, desk().capabilities.embedder))
    checks = []
    for label in known:
        sentences = 1 + len(label.examples)
        count, other = max(((n, other) for (own, other), n in likes.items() if own == label.key), default=(0, ""))
        if count / sentences >= _OVERLAPS:
            checks.append((f"{count} of {sentences} sentences read like {names[other]}", "risk"))
        elif sentences < priors.ENOUGH_SENTENCES:
            checks.append(("Few examples: give at least three", "note"))
        else:
            checks.append(("Fine", "decided"))
    return checks


@blueprint.route("/categories/add", methods=["GET", "POST"])
def add_category() -> Reply:
    """Add a category to the draft."""

    def fields() -> Sequence[Field]:
        key = Field("key", "Key", required=True, hint="Its value in the API: small letters, digits, _ and -.")
        return key, *_fields(Label("", ""))

    def done() -> Reply:
        _put(given("key"), is_new=True)
        return said(f"{given('name')} is in the draft.", "categories")

    return form("categories", "Add a category", fields, done, button="Add to the draft")


@blueprint.route("/categories/<key>", methods=["GET", "POST"])
def category(key: str) -> Reply:
    """Change a category in the draft."""
    known, _ = _categories()
    label = taxonomies.find(known, key)
    names = {one.key: one.name for one in known}
    misread = [
        f"“{text.partition(': ')[2] if text.startswith(label.name) else text}” reads like {names[other]}."
        for text, own, other in priors.misread(known, desk().capabilities.embedder)
        if own == key
    ]

    def done() -> Reply:
        _put(key)
        return said(f"{given('name')} is changed in the draft.", "categories")

    return form("categories", label.name, lambda: _fields(label, " ".join(misread)), done, button="Save in the draft")


def _fields(label: Label, told: str = "") -> Sequence[Field]:
    team = label.team or ""
    return (
        Field("name", "Name", label.name, required=True),
        Field("description", "Description", label.description, "lines", hint="What tickets of it are about."),
        Field(
            "examples", "Examples", "\n".join(label.examples), "lines",
            hint=f"Sentences as customers write them, one a line. {told}".strip(),
        ),
        Field("team", "Team", team, "select", team_options(team), hint="That gets its tickets."),
    )  # fmt: skip


def _put(key: str, *, is_new: bool = False) -> None:
    examples = tuple(dict.fromkeys(filter(None, map(str.strip, given("examples").splitlines()))))
    label = Label(key, given("name"), " ".join(given("description").split()), examples, given("team") or None)
    with desk().db.begin() as session:
        taxonomies.put(session, desk().taxonomies.file, auth.agent(), label, is_new=is_new)


@blueprint.route("/categories/<key>/remove", methods=["GET", "POST"])
def remove_category(key: str) -> Reply:
    """Remove a category from the draft."""
    name = taxonomies.find(_categories()[0], key).name

    def act(session: Any) -> str:
        taxonomies.drop(session, desk().taxonomies.file, auth.agent(), key)
        return f"{name} is not in the draft any more."

    about = "In the draft. Tickets that have it keep it."
    return _asked(f"Remove {name}?", about, "Remove", act, is_dangerous=True)


@blueprint.get("/categories/trial")
def try_categories() -> Reply:
    known, _ = _categories()
    trial = category_trial.try_out(desk(), known)
    names = {one.key: one.name for one in (*desk().taxonomy.categories, *known)}
    rows = [
        Row(
            f"#{one.ticket.number}",
            (
                Cell(one.ticket.subject),
                Cell(names.get(one.now.category or "", "Not sure")),
                Cell(names.get(one.then.category or "", "Not sure")),
            ),
            url=url_for("console.ticket.page", ticket_id=one.ticket.public_id),
        )
        for one in trial.moved
    ]
    before, after = trial.right
    decided = f" Of {trial.decided} that agents have decided it would get {after} right, {before} now."
    return listed(
        "categories",
        "Trial on past tickets",
        ("Ticket", "Subject", "Now", "Then"),
        rows,
        about=f"Of the last {trial.looked_at} tickets, read by their text alone, {len(rows)} would be triaged "
        f"differently.{decided if trial.decided else ''} Nothing has been changed.",
        actions=[To("Back to the draft", url_for("console.admin.categories"))],
        nothing="All would be triaged as they are now.",
    )


@blueprint.get("/categories/overlap")
def category_overlap() -> Reply:
    known, is_draft = _categories()
    names = {one.key: one.name for one in known}
    with desk().db.read() as session:
        found = overlap(session, known, desk().capabilities.embedder)[:_MOST_PAIRS]
    return listed(
        "categories",
        "Categories that are alike",
        ("Category", "Taken for", "By its words", "By agents' decisions"),
        [_pair(one, names) for one in found],
        about=f"How likely what belongs to one category {'of the draft ' if is_draft else ''}is taken for another: its "
        "descriptions and examples, each triaged by all the rest, and tickets that agents decided otherwise than "
        "triage had proposed. Hardest to tell apart first.",
        actions=[To("Back", url_for("console.admin.categories"))],
        nothing="",
    )


def _pair(one: Mistaken, names: Mapping[str, str]) -> Row:
    by_words = "Too few sentences" if one.by_words is None else f"{one.by_words:.0%}"
    by_agents = f"{one.by_agents:.0%} ({one.proposed} of {one.decided})" if one.by_agents is not None else "–"
    return Row(
        names[one.key],
        (Cell(names[one.other]), Cell(by_words), Cell(by_agents)),
        url=url_for("console.admin.category", key=one.key),
        note=" ".join(f"“{text}”" for text, _ in one.sentences[:2]),
    )


@blueprint.route("/categories/publish", methods=["GET", "POST"])
def publish_categories() -> Reply:
    """Publish the draft of categories."""

    def act(session: Any) -> str:
        taxonomies.publish(session, auth.agent())
        return "Published. New messages are triaged by these categories."

    about = "New messages are triaged by the draft from now on. What has been triaged stays as it is."
    return _asked("Publish the categories?", about, "Publish", act)


@blueprint.route("/categories/discard", methods=["GET", "POST"])
def discard_draft() -> Reply:
    """Discard the draft of categories."""

    def act(session: Any) -> str:
        taxonomies.discard(session)
        return "The draft is discarded."

    return _asked("Discard the draft?", "The categories stay as they count.", "Discard", act, is_dangerous=True)


def _asked(title: str, about: str, button: str, act: Callable[[Any], str], **more: Any) -> Reply:
    def done() -> Reply:
        with desk().db.begin() as session:
            told = act(session)
        desk().taxonomies.refresh()
        return said(told, "categories")

    return question("categories", title, about, button, done, **more)
