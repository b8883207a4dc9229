"""Triage: a proposal for every field of a ticket, each with a probability, or the admission that it is not sure.

Three sources, from always there to best:

* zero-shot: similarity of the ticket to each option's description and examples, as a softmax;
* the learned head of the field, as soon as agents have labelled tickets: the more labels, the more it counts;
* a VLM's typed decisions over text and photos, where there is one, pooled with the others in the logarithm.

Words settle what words say better than vectors do: the product by its names, danger by its words, the language by its
letters. A value outside the field's options cannot come out: every source is a distribution over exactly these.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from assistant.errors import AssistantError, Invalid
from assistant.ports import Capabilities, Question
from assistant.skills import cues, language
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence
from assistant.skills.taxonomy import NO_PRODUCT, Label, Taxonomy
from assistant.skills.triage_head import Head, fit_head
from assistant.text.sentences import sentences

__all__ = ["FIELDS", "Head", "TriagedField", "allowed_values", "fit_head", "triage"]

FIELDS = ("category", "type", "priority", "sentiment", "language", "product", "team", "needs_human")
# Below this probability a field is left to people. Two options need more than many: chance is higher.
THRESHOLDS = {
    "category": 0.45,
    "type": 0.45,
    "priority": 0.5,
    "sentiment": 0.5,
    "language": 0.6,
    "product": 0.6,
    "team": 0.5,
    "needs_human": 0.7,
}
# Divides cosines in the zero-shot softmax. MiniLM's cosines of fitting and unfitting sentences lie about 0.2 apart.
TEMPERATURE = 0.07
# A ticket that is not at least this similar to any example of any category is none of them.
LEAST_SIMILARITY = 0.22
# As many labels as the descriptions and examples are worth.
PRIOR_LABELS = 40.0
_SURE = 0.95
_SENTENCES = 12  # of a long ticket; feelings are shown early
# These read English only: what they say of other languages needs more to be believed.
_ENGLISH_ONLY = "all-MiniLM-L6"
_FOREIGN_LANGUAGE_NEEDS = 0.75


@dataclass(frozen=True)
class TriagedField:
    """``probabilities`` sum to 1 over the field's options; ``value`` is the likeliest, also when abstained."""

    name: str
    value: str
    probability: float
    probabilities: Mapping[str, float]
    abstained: bool


def allowed_values(taxonomy: Taxonomy, name: str) -> tuple[str, ...]:
    """Every value that the field may have."""
    if name == "language":
        return language.LANGUAGES
    return tuple(label.key for label in _options(taxonomy, name))


def triage(
    text: str,
    *,
    evidence: Sequence[PhotoEvidence] = (),
    photos: Sequence[bytes] = (),
    capabilities: Capabilities,
    taxonomy: Taxonomy,
    heads: Mapping[str, Head] | None = None,
) -> list[TriagedField]:
    """All fields, in the order of `FIELDS`."""
    ticket = _Ticket.of(text, evidence, capabilities)
    decided = _decide(ticket, photos, capabilities, taxonomy)
    found = {"language": _language(ticket), "product": _product(ticket, evidence, taxonomy, decided.get("product"))}
    for name in ("category", "type", "priority", "sentiment", "needs_human"):
        found[name] = _field(name, ticket, capabilities, taxonomy, heads or {}, decided.get(name))
    found["team"] = _team(found["category"], ticket, taxonomy, (heads or {}).get("team"))
    return [found[name] for name in FIELDS]


@dataclass(frozen=True)
class _Ticket:
    text: str  # what the customer wrote
    whole: str  # with what the photos show
    vector: np.ndarray  # (d,) of the whole
    mood: np.ndarray  # (s, d) of the customer's own sentences: feelings are said in one of them
    language: tuple[str, float]
    reads: bool  # whether the embedder reads the ticket's language
    dangerous: bool

    @classmethod
    def of(cls, text: str, evidence: Sequence[PhotoEvidence], capabilities: Capabilities) -> _Ticket:
        text = text.strip() or "(no text)"
        seen = "\n".join(item.as_text() for item in evidence if item.visible_text)
        whole = f"{text}\n{seen}".strip()
        spoken = language.detect(text)
        english_only = capabilities.embedding_model.startswith(_ENGLISH_ONLY)
        # Of a long ticket the embedder would cut the end off; what matters usually stands first.
        said = sentences(text)[:_SENTENCES]
        vectors = np.asarray(capabilities.embeddings.embed_documents([whole[:2000], *said]), dtype=np.float32)
        # What the customer says is dangerous, not what a sticker in the photo warns of.
        reads = spoken[0] == "en" or not english_only or spoken[1] < 0.6
        return cls(text, whole, vectors[0], vectors[1:], spoken, reads, cues.is_dangerous(text))


def _options(taxonomy: Taxonomy, name: str) -> tuple[Label, ...]:
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


def _field(
    name: str,
    ticket: _Ticket,
    capabilities: Capabilities,
    taxonomy: Taxonomy,
    heads: Mapping[str, Head],
    decided: Mapping[str, float] | None,
) -> TriagedField:
    options = _options(taxonomy, name)
    vectors = ticket.mood if name == "sentiment" and len(ticket.mood) else ticket.vector[None]
    distribution, nearest = _zero_shot(vectors, options, capabilities)
    foreign = nearest < LEAST_SIMILARITY
    head = heads.get(name)
    if head is not None:
        learned, foreign = head.distribution(ticket.whole, ticket.vector.tolist())
        distribution = _mixed(distribution, learned, labels=len(head.neighbours))
    if decided is not None:
        distribution = _pooled(distribution, decided)
    forced = _forced(name, ticket)
    if forced is not None:
        distribution = _leaning(distribution, forced)
        foreign = False
    unread = not ticket.reads and decided is None and forced is None
    return _made(name, distribution, unsure=foreign, needs=_FOREIGN_LANGUAGE_NEEDS if unread else 0.0)


def _zero_shot(
    vectors: np.ndarray, options: Sequence[Label], capabilities: Capabilities
) -> tuple[dict[str, float], float]:
    """(a softmax over options, the highest similarity). Each option counts with its two most similar sentences, of the
    part of the ticket, a row of ``vectors`` (s, d), that is most similar."""
    scores = {}
    for label, examples in zip(options, _prototypes(options, capabilities), strict=True):
        similar = np.sort(vectors @ examples.T, axis=1)[:, ::-1][:, :2]
        scores[label.key] = float(similar.mean(axis=1).max())
    peak = max(scores.values())
    weights = {key: math.exp((score - peak) / TEMPERATURE) for key, score in scores.items()}
    total = sum(weights.values())
    return {key: weight / total for key, weight in weights.items()}, peak


_prototype_cache: dict[tuple[str, tuple[Label, ...]], list[np.ndarray]] = {}
_prototype_lock = threading.Lock()


def _prototypes(options: Sequence[Label], capabilities: Capabilities) -> list[np.ndarray]:
    """For each option the vectors (m, d) of its description and examples; embedded once a process."""
    key = (capabilities.embedding_model, tuple(options))
    with _prototype_lock:
        if key not in _prototype_cache:
            _prototype_cache[key] = [
                np.asarray(
                    capabilities.embeddings.embed_documents([f"{label.name}: {label.description}", *label.examples]),
                    dtype=np.float32,
                )
                for label in options
            ]
        return _prototype_cache[key]


def _mixed(prior: Mapping[str, float], learned: Mapping[str, float], *, labels: int) -> dict[str, float]:
    """The head's distribution weighs as much as its labels against `PRIOR_LABELS`. Labels that have left the taxonomy
    lose their share."""
    weight = labels / (labels + PRIOR_LABELS)
    return _normalised({key: weight * learned.get(key, 0.0) + (1 - weight) * share for key, share in prior.items()})


def _pooled(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Log-linear pool with equal weights (Genest and Zidek 1986): an option both find likely wins."""
    return _normalised({key: math.sqrt(share * max(second.get(key, 0.0), 1e-6)) for key, share in first.items()})


def _leaning(distribution: Mapping[str, float], sure: str) -> dict[str, float]:
    rest = _normalised({key: share for key, share in distribution.items() if key != sure})
    return {key: _SURE if key == sure else (1 - _SURE) * rest[key] for key in distribution}


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {key: weight / total if total > 0 else 1 / len(weights) for key, weight in weights.items()}


def _forced(name: str, ticket: _Ticket) -> str | None:
    """What danger and lawyers decide, whatever the vectors say."""
    if name == "priority" and ticket.dangerous:
        return "urgent"
    if name == "needs_human" and (ticket.dangerous or cues.is_legal(ticket.text)):
        return "yes"
    return None


def _made(name: str, distribution: Mapping[str, float], *, unsure: bool = False, needs: float = 0.0) -> TriagedField:
    value = max(distribution, key=lambda key: distribution[key])
    probability = min(1.0, distribution[value])
    abstained = unsure or probability < max(THRESHOLDS[name], needs)
    return TriagedField(name, value, probability, dict(distribution), abstained)


def _language(ticket: _Ticket) -> TriagedField:
    spoken, probability = ticket.language
    value = spoken if spoken in language.LANGUAGES else "en"
    rest = (1 - probability) / (len(language.LANGUAGES) - 1)
    # All languages share what is left; only the likeliest are worth showing, but the sum stays 1.
    distribution = {key: probability if key == value else rest for key in language.LANGUAGES}
    return _made("language", distribution, unsure=spoken not in language.LANGUAGES)


def _product(
    ticket: _Ticket, evidence: Sequence[PhotoEvidence], taxonomy: Taxonomy, decided: Mapping[str, float] | None
) -> TriagedField:
    """The product that the customer or a photo names, else what the model decides, else none."""
    keys = [label.key for label in _options(taxonomy, "product")]
    flat = dict.fromkeys(keys, 1.0)
    written = taxonomy.products_in(ticket.text)
    shown = [
        item.product.value for item in evidence if item.product.value in flat and item.product.value != CANNOT_TELL
    ]
    named = list(dict.fromkeys([*written, *shown]))
    if len(named) == 1:
        return _made("product", _leaning(_normalised(flat), named[0]))
    if named:  # several: the photo's, if there is one, but not surely
        first = shown[0] if shown else named[0]
        weights = {key: 3.0 if key == first else 1.0 if key in named else 0.01 for key in keys}
        return _made("product", _normalised(weights))
    if decided is not None:
        return _made("product", _normalised({key: max(decided.get(key, 0.0), 1e-6) for key in keys}))
    weights = {key: 1.0 if key == NO_PRODUCT else 0.4 / max(1, len(keys) - 1) for key in keys}
    return _made("product", _normalised(weights), unsure=True)


def _team(category: TriagedField, ticket: _Ticket, taxonomy: Taxonomy, head: Head | None) -> TriagedField:
    """The team of the category, each category counting with its probability."""
    shares = dict.fromkeys((team.key for team in taxonomy.teams), 0.0)
    for label in taxonomy.categories:
        if label.team is not None:
            shares[label.team] += category.probabilities[label.key]
    distribution = _normalised(shares)
    if head is not None:
        learned, _ = head.distribution(ticket.whole, ticket.vector.tolist())
        distribution = _mixed(distribution, learned, labels=len(head.neighbours))
    return _made("team", distribution, unsure=category.abstained and max(distribution.values()) < 0.7)


def questions(taxonomy: Taxonomy) -> list[Question]:
    """The typed questions about a ticket that a model can be asked."""
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
        options = _options(taxonomy, name)
        if 2 <= len(options) <= 26:
            keys = tuple(label.key for label in options)
            found.append(Question(name, text, keys, tuple(label.description or label.name for label in options)))
    return found


def _decide(
    ticket: _Ticket, photos: Sequence[bytes], capabilities: Capabilities, taxonomy: Taxonomy
) -> dict[str, Mapping[str, float]]:
    """The model's typed decisions over text and photos; none if there is no model or it failed."""
    if capabilities.decisions is None or not capabilities.triages:
        return {}
    try:
        decisions = capabilities.decisions.decide(ticket.whole, photos, questions(taxonomy))
    except AssistantError:
        return {}
    return {decision.key: decision.probabilities for decision in decisions}
