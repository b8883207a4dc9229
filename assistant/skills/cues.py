"""What a message shows before any ticket has been labelled: danger, legal terms, the wish for a person, courtesy, a
rejected answer, and with them how urgent and how friendly it is.

Heads that ship with the product (`cue_heads`) recognise them, in every language that the multilingual embedder reads.
Without that embedder they see letters alone, which is enough for common phrases of the languages they were trained on;
the fields are then compared with the descriptions and examples of their options (`priors`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

import numpy as np

from assistant.ports import Capabilities, Embedder
from assistant.skills import cue_heads
from assistant.skills.taxonomy import Label

SIGNALS = ("dangerous", "legal", "wants_person", "courtesy", "greets", "rejects")
FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "priority": ("low", "normal", "high", "urgent"),
        "sentiment": ("negative", "neutral", "positive"),
        "needs_human": ("no", "yes"),
    }
)
_REMEMBERED = 4096
# By letters alone "thanks but it blinks" looks like thanks, and nobody answers a courtesy; a danger must not be missed.
_BY_LETTERS = {"courtesy": 0.78, "dangerous": 0.4}
_CLAUSES = re.compile(r"(?<![^\S\n])[^\S\n]*+[,;:.!?…،؟。、！？\n][,;:.!?…،؟。、！？\s]*+")

TYPES = (
    Label("question", "Question", "The customer asks how something works or for information.", (
        "How do I clean this?", "Where can I find my invoice?", "Does this work with my model?",
        "I would like to know when it arrives.", "Can you tell me what this light means?",
    )),
    Label("incident", "Incident", "Something that worked is broken or does not work for one customer.", (
        "It stopped working.", "I get an error.", "My device is broken.", "It arrived damaged.",
        "The screen stays black.",
    )),
    Label("problem", "Problem", "The same fault comes back or many people have it.", (
        "It happens again and again.", "This is the third time it breaks.", "Everyone here has the same fault.",
        "The outage affects all our users.", "It still fails after the repair.",
    )),
    Label("task", "Task", "The customer wants something done.", (
        "Please cancel my order.", "Please change my address.", "I want to return it.", "Refund me.",
        "Delete my account.",
    )),
)  # fmt: skip

PRIORITIES = (
    Label("low", "Low", "No hurry: praise, ideas, general questions.", (
        "Just a suggestion.", "Thank you, it works great.", "No hurry, I was only wondering.", "When you have time.",
    )),
    Label("normal", "Normal", "An ordinary question or fault.", (
        "How do I do this?", "I have a question about my order.", "One function does not work.",
        "I would like to return it.", "The display shows a message.",
    )),
    Label("high", "High", "The customer cannot use what they bought, or is very upset.", (
        "It does not work at all any more.", "I need this solved soon.", "I am very disappointed and angry.",
        "I was charged twice.", "Nobody answers me.", "It arrived broken.",
    )),
    Label("urgent", "Urgent", "Danger, injury, a whole business at a standstill.", (
        "There is smoke coming out of it.", "Someone was hurt.", "Everything is down and nobody can work.",
        "It is on fire.", "The battery is swelling up.", "Emergency, please call immediately.",
    )),
)  # fmt: skip

SENTIMENTS = (
    Label("positive", "Positive", "Happy, thankful, praising.", (
        "Thank you so much, great service!", "I love it.", "Works perfectly, I am very happy.",
        "Awesome, you guys rock.",
    )),
    Label("neutral", "Neutral", "Matter of fact.", (
        "How do I reset it?", "I would like to change my address.", "The display shows E21.",
        "What time do you open?", "Please send me the invoice.", "Is it possible to exchange it?",
    )),
    Label("negative", "Negative", "Annoyed, angry, disappointed.", (
        "This is unacceptable.", "I am very disappointed.", "Worst service ever.", "I am angry and want my money back.",
        "I have been waiting for weeks and nobody answers.", "It broke again, what a waste of money.",
    )),
)  # fmt: skip

NEEDS_HUMAN = (
    Label("no", "No", "Articles can answer it.", (
        "How do I clean the filter?", "What does this code mean?", "How long is the warranty?", "Where is my invoice?",
        "How can I return it?", "It blinks red.",
    )),
    Label("yes", "Yes", "Danger, injury, lawyers, threats, privacy, or a decision only a person may take.", (
        "Someone was injured by your product.", "My lawyer will contact you.", "There was smoke and fire.",
        "I will report you to the authorities.", "I demand compensation for the damage.",
        "You have leaked my personal data.", "The battery is swollen.",
    )),
)  # fmt: skip


@dataclass(frozen=True)
class Cues:
    """Of one message: the probability of each of `SIGNALS` (a courtesy that ``greets`` opens the talk), and
    distributions of `FIELDS`. ``trained``: by heads that saw its meaning, not its letters alone."""

    signals: Mapping[str, float]
    fields: Mapping[str, Mapping[str, float]]
    trained: bool

    def shows(self, signal: str) -> bool:
        return self.signals[signal] >= (0.5 if self.trained else _BY_LETTERS.get(signal, 0.5))


def read(text: str, capabilities: Capabilities | None = None) -> Cues:
    """``capabilities``: for an embedder that the heads were fitted for; without one they see letters alone."""
    for embedder in (capabilities.embedder, capabilities.second_embedder) if capabilities is not None else ():
        if embedder is not None and embedder.name in cue_heads.load():
            return _read(text, embedder)
    return _read(text, None)


@lru_cache(_REMEMBERED)  # one message is asked about several times in a turn, and again by each field that is learned
def _read(text: str, embedder: Embedder | None) -> Cues:
    heads = cue_heads.load()[embedder.name if embedder is not None else ""]
    pieces = cue_heads.pieces_of(text)
    vectors = None
    if embedder is not None:
        vectors = np.asarray(embedder.embeddings.embed_documents(pieces), dtype=np.float32)
    odds = dict(zip(cue_heads.OUTPUTS, map(float, heads.probabilities(heads.pieces(pieces, vectors))), strict=True))
    clauses = [clause for clause in _CLAUSES.split(text) if clause]
    if embedder is None and len(clauses) > 1:
        # The words around "broken" hide it from the letters' head: every clause must be a courtesy by itself.
        odds["courtesy"] = min(odds["courtesy"], *(_read(clause, None).signals["courtesy"] for clause in clauses))
    signals = {name: odds[name] for name in SIGNALS}
    return Cues(MappingProxyType(signals), MappingProxyType(_fields(odds)), embedder is not None)


def _fields(odds: Mapping[str, float]) -> dict[str, Mapping[str, float]]:
    """Danger is urgent and for a person, whatever the heads of these fields say."""
    urgent = max(odds["urgent"], odds["dangerous"])
    high = max(urgent, odds["at_least_high"])
    normal = max(high, odds["at_least_normal"])
    # A message that is both is a complaint with manners.
    positive = (1 - odds["negative"]) * odds["positive"]
    human = max(odds[name] for name in ("needs_human", "dangerous", "legal", "wants_person"))
    shares = {
        "priority": (1 - normal, normal - high, high - urgent, urgent),
        "sentiment": (odds["negative"], 1 - odds["negative"] - positive, positive),
        "needs_human": (1 - human, human),
    }
    return {name: MappingProxyType(dict(zip(FIELDS[name], values, strict=True))) for name, values in shares.items()}
