"""The console's wording: reasons, modes and states in plain words, and cited text cut into numbered sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant.media.kinds import Risk
from assistant.models import Draft, DraftStatus, FileCondition
from assistant.payloads import Passage, Relation
from assistant.ports import HandoffReason, Mode
from assistant.skills.ask_photo import Silence
from assistant.skills.priors import SourceKind
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy
from assistant.text.addresses import web_address
from assistant.text.units import Kind, cells_of, plain, units_of
from assistant.wording import LANGUAGES, english_name

HANDOFF = {
    HandoffReason.CUSTOMER_ASKED.value: "The customer asked for a person.",
    HandoffReason.MISSING_KNOWLEDGE.value: "No article answers this.",
    HandoffReason.NOTHING_NEW.value: "The articles say no more than the customer was told already.",
    HandoffReason.UNSUPPORTED_ANSWER.value: "The articles do not support what the model wrote.",
    HandoffReason.NEVER_SAID.value: "All that could be said has words that this inbox never says.",
    HandoffReason.NEEDS_HUMAN.value: "Triage or the guardrails of the inbox say that this needs a person.",
    HandoffReason.ENGINE_DOWN.value: "The assistant was unavailable.",
}
MODE = {
    Mode.NO_VLM: "OCR reads photos; answers are quoted from articles.",
    Mode.SMALL_VLM: "A small model reads photos and classifies; answers are quoted from articles.",
    Mode.FULL_VLM: "The model reads photos and writes answers; each sentence is checked against its article.",
    Mode.REMOTE: "A model server reads photos and writes answers; each sentence is checked against its article.",
}
WITHOUT_OCR = "OCR is off: text in photos is not read. Answers are quoted from articles."
# Modes in which no model writes answers: the console says so instead of naming a model.
QUOTES = (Mode.NO_VLM.value, Mode.SMALL_VLM.value)
STATE = {
    "assistant": "With the assistant",
    "handed_off": "Waiting for an agent",
    "agent": "With an agent",
    "closed": "Closed",
}
# Why an attachment cannot be opened.
LOST = {
    FileCondition.MISSING.value: "is no longer in storage. Ask for it again.",
    FileCondition.DAMAGED.value: "is damaged in storage. Ask for it again.",
    FileCondition.INFECTED.value: "contains malware and cannot be downloaded.",
    FileCondition.REMOVED.value: "was removed, as the retention rules of its inbox say.",
}
RISK = {
    Risk.PROGRAM.value: "Careful: a program. Do not open it.",
    Risk.MACROS.value: "Careful: contains macros",
    Risk.ACTIVE.value: "Careful: may run scripts when opened",
    Risk.ARCHIVE.value: "Careful: an archive with programs or scripts in it",
    Risk.DISGUISE.value: "Careful: not what its name says",
    Risk.UNKNOWN.value: "Careful: an unusual kind of file",
}
# What decided a triage field.
SOURCE = {
    SourceKind.WORDS.value: "from the words",
    SourceKind.PHOTO.value: "from the photo",
    SourceKind.SIMILARITY.value: "by similarity",
    SourceKind.TRAINED.value: "built-in classifier",
    SourceKind.LEARNED.value: "learned from {decisions} decisions",
    SourceKind.MODEL.value: "by the model",
}
CHANNEL = {"widget": "Chat widget", "api": "API"}

# What another ticket is to the one that is shown.
RELATION = {
    Relation.RELATED: "Related",
    Relation.SPLIT_FROM: "Split off from",
    Relation.SPLIT_INTO: "Split off",
    Relation.MERGED_INTO: "Merged into",
    Relation.MERGED_FROM: "Merged into this",
}

# Why nothing can be told of a photo, after "Cannot tell:".
SILENCE = {
    Silence.NEEDS_EYES.value: "one has to look at the photo for that, and no model that could is installed.",
    Silence.NOT_THERE.value: "nothing of the kind was read in the photo.",
    Silence.UNSURE.value: "what was found is not sure enough.",
    Silence.ORDERS.value: "text in the photo gives orders to an AI.",
    Silence.FAILED.value: "the model did not answer. Ask again later.",
}


def decided_by(sources: Sequence[Mapping[str, Any]]) -> str:
    """What decided a triage field, in one short phrase."""
    return SOURCE[sources[0]["kind"]].format(**sources[0]) if sources else ""


def by_rule(sources: Sequence[Mapping[str, Any]]) -> bool:
    """Whether words or a photo decided by a rule, so that the field's probability is none that was measured."""
    return bool(sources) and sources[0]["kind"] in (SourceKind.WORDS.value, SourceKind.PHOTO.value)


def label(taxonomy: Taxonomy, field: str, key: str) -> str:
    """A triage value for display: its name in the taxonomy, else the key in words."""
    if field == "language":
        return key
    if field == "product" and key == NO_PRODUCT:
        return "No product"
    known = {"category": taxonomy.categories, "team": taxonomy.teams, "product": taxonomy.products}.get(field, ())
    named = next((option.name for option in known if option.key == key), None)
    return named or words(key)


_ACTIONS = {
    "set_status": "Status",
    "set_priority": "Priority",
    "assign": "Assign to",
    "transfer": "Team",
    "snooze": "Snooze",
    "set_field": "Field",
    "add_tag": "Tag",
    "remove_tag": "Remove tag",
    "follow": "Follow",
    "unfollow": "Unfollow",
    "note": "Note",
    "reply": "Reply",
}


def action_words(action: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """An action in a few words. ``names``: of agents by id, and of teams by key."""
    [value] = action["arguments"].values()
    if action["name"] in ("set_status", "set_priority"):
        value = words(value)
    shown = {"": "nobody", "me": "whoever uses it"}.get(value, names.get(value, value))
    return f"{_ACTIONS[action['name']]}: {shown}"


def confidence_word(share: float) -> str:
    """The probability that a draft answers, as a word."""
    return "Sure" if share >= 0.9 else "Likely" if share >= 0.7 else "Unsure"


def wish_words(wish: str) -> str:
    """What an agent can ask for in place of a draft."""
    return f"In {english_name(wish)}" if wish in LANGUAGES else {"again": "Draft again"}.get(wish, words(wish))


def fate_of(draft: Draft) -> str:
    """What became of a draft."""
    return _FATES.get(draft.status, words(draft.status.value))


_FATES = {
    DraftStatus.SENT: "Sent as it was",
    DraftStatus.EDITED: "Sent with changes",
    DraftStatus.WITHDRAWN: "Overtaken",
}


def insertable(passage: Passage) -> dict[str, Any]:
    """A passage as it is put into a reply: its text, or a list of steps in it, with where it is from below."""
    title, url = passage.article_title, passage.url or ""
    is_linked = bool(url) and not set("[]()").intersection(title + url)
    source = f"— [{title}]({url})" if is_linked else f"— {title}"
    text = plain(passage.text)
    steps = [unit.text for unit in units_of(passage.text) if unit.kind is Kind.STEPS]
    return {
        "title": title,
        "heading": passage.heading.removeprefix(title).lstrip(" >"),
        "text": text,
        "cited": f"{text}\n{source}",
        "steps": [f"{one}\n{source}" for one in steps],
    }


def words(key: str) -> str:
    return key.replace("_", " ").capitalize()


@dataclass(frozen=True)
class Source:
    """A cited passage, with the number shown after the sentences that cite it."""

    number: int
    title: str
    heading: str
    quote: str
    url: str | None
    article_id: str
    page: int | None
    support: float
    figures: tuple[dict[str, Any], ...] = ()

    @property
    def table(self) -> tuple[list[str], ...]:
        """The rows of the table that is quoted, the first with the names of its columns; empty for other quotes."""
        lines = self.quote.splitlines()
        is_table = len(lines) > 1 and all(line.startswith("|") for line in lines)
        return tuple(cells_of(line) for line in (lines[0], *lines[2:])) if is_table else ()


@dataclass(frozen=True)
class Segment:
    """A piece of text; a cited sentence if it has ``sources``."""

    text: str
    sources: tuple[Source, ...] = ()

    @property
    def head(self) -> str:
        """The text before `last_word`, which stays on one line with the citation numbers."""
        return self.text[: len(self.text) - len(self.last_word)]

    @property
    def last_word(self) -> str:
        words = self.text.split()
        return words[-1] if words and self.text.endswith(words[-1]) else ""


@dataclass(frozen=True)
class CitedText:
    segments: tuple[Segment, ...]
    sources: tuple[Source, ...]


def cited(text: str, citations: Sequence[dict[str, Any]]) -> CitedText:
    """Cut a text at its cited sentences and number their passages. Joined, the segments give the text."""
    sources: dict[tuple[str, str, str], Source] = {}
    by_sentence: dict[str, dict[int, Source]] = {}
    for citation in sorted(citations, key=lambda one: one["sentence_index"]):
        key = (citation["article_id"], citation["heading"], citation["quote"])
        source = sources.setdefault(key, _source(len(sources) + 1, citation))
        by_sentence.setdefault(citation["sentence"], {})[source.number] = source
    segments: list[Segment] = []
    position = 0
    for sentence, found in by_sentence.items():
        start = text.find(sentence, position) if sentence else -1
        if start < 0:
            continue
        if start > position:
            segments.append(Segment(text[position:start]))
        segments.append(Segment(sentence, tuple(found.values())))
        position = start + len(sentence)
    if position < len(text):
        segments.append(Segment(text[position:]))
    return CitedText(tuple(segments), tuple(sources.values()))


def _source(number: int, citation: dict[str, Any]) -> Source:
    return Source(
        number=number,
        title=citation["article_title"],
        heading=citation["heading"],
        quote=citation["quote"],
        url=web_address(citation["url"]),
        article_id=citation["article_id"],
        page=citation.get("page"),
        support=citation["support"],
        figures=tuple(citation.get("figures", ())),
    )
