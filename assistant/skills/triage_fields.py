"""The fields of triage, their options, and what a model is asked about them."""

from __future__ import annotations

from assistant.errors import Invalid
from assistant.ports import Question
from assistant.skills import cues
from assistant.skills.taxonomy import NO_PRODUCT, Label, Taxonomy
from assistant.text import languages

FIELDS = ("category", "type", "priority", "sentiment", "language", "product", "team", "needs_human")
# Fields that agents' decisions teach. Language and products are recognised by rules.
LEARNED_FIELDS = ("category", "type", "priority", "sentiment", "needs_human", "team")


def allowed_values(taxonomy: Taxonomy, name: str) -> tuple[str, ...]:
    """Every value that the field may have."""
    if name == "language":
        return languages.LANGUAGES
    return tuple(label.key for label in options(taxonomy, name))


def options(taxonomy: Taxonomy, name: str) -> tuple[Label, ...]:
    """The field's options with their descriptions. Raises `Invalid` if there is no such field."""
    fixed = {
        "category": taxonomy.categories,
        "team": taxonomy.teams,
        "type": cues.TYPES,
        "priority": cues.PRIORITIES,
        "sentiment": cues.SENTIMENTS,
        "needs_human": cues.NEEDS_HUMAN,
        "product": (*taxonomy.products, Label(NO_PRODUCT, "None of the products")),
    }
    if name not in fixed:
        raise Invalid(f"There is no triage field {name!r}. Fields: {', '.join(FIELDS)}.", field="name")
    return fixed[name]


def questions(taxonomy: Taxonomy) -> list[Question]:
    """The typed questions that a model is asked about a ticket. A field with more than 26 options is left out: options
    are lettered."""
    asked = {
        "category": "Which category does the ticket belong to?",
        "type": "What type of ticket is it?",
        "priority": "How urgent is it?",
        "sentiment": "How does the customer feel?",
        "needs_human": "Must a person handle it?",
        "product": "Which product is it about?",
    }
    found = []
    for name, text in asked.items():
        those = options(taxonomy, name)
        if 2 <= len(those) <= 26:
            keys = tuple(label.key for label in those)
            found.append(Question(name, text, keys, tuple(label.description or label.name for label in those)))
    return found
