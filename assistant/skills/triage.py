"""Triage: a proposal for every field of a ticket with a probability, marked as abstained where that is too low.

Three sources, combined:

* a prior, always available (`priors`, `cues`): what is known before any ticket has been labelled, by the text and by
  what was read in photos as far as the text leaves it open;
* the field's learned head, once agents have decided tickets: it refines the prior (`triage_head`);
* a vision-language model's typed decisions over text and photos, if there is one, pooled in the log domain.

Products and language are recognised by rules instead, which are more reliable there than vectors. Danger and legal
terms, which heads that ship with the product recognise (`cues`), raise a field whatever the sources say. A value
outside the field's options is impossible: every source is a distribution over exactly these.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np

from assistant import __version__
from assistant.errors import AssistantError
from assistant.ports import Capabilities, Embedder
from assistant.skills import cues
from assistant.skills.priors import Place, Prior, Shown, Source, SourceKind, by_similarity, danger, examples
from assistant.skills.read_photo import PhotoEvidence
from assistant.skills.scorer import Tickets
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy
from assistant.skills.triage_fields import FIELDS, options, questions
from assistant.skills.triage_head import Fitted, Head, Heads, fit_head
from assistant.text import languages
from assistant.text.sentences import sentences

__all__ = ["Head", "Heads", "Lesson", "Source", "SourceKind", "TriagedField", "learn_field", "triage", "triaged_by"]

_DANGER_FIELDS = ("category", "priority", "needs_human")
# Fields below this probability are left to people. The fewer options, the higher it is: chance alone scores more.
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
_SURE = 0.95
_SETTLED = 0.8  # by the rule of succession: of what was decided three times alike, one in five is otherwise
_READ = 2000  # characters
_SENTENCES = 12  # of a long ticket: feelings show early
# Required of a ticket in a language that no embedder reads.
_FOREIGN_LANGUAGE_NEEDS = 0.75
_MOST_ABROAD = 2000  # tickets that a head for other languages learns from


@dataclass(frozen=True)
class TriagedField:
    """``probabilities`` sum to 1 over the field's options; ``value`` is the likeliest, even if ``abstained``.
    ``sources``: what decided it, the weightiest first."""

    name: str
    value: str
    probability: float
    probabilities: Mapping[str, float]
    abstained: bool
    sources: tuple[Source, ...]


def triage(
    text: str,
    *,
    evidence: Sequence[PhotoEvidence] = (),
    photos: Sequence[bytes] = (),
    products: Sequence[str] | None = None,
    capabilities: Capabilities,
    taxonomy: Taxonomy,
    heads: Mapping[str, Heads] | None = None,
    browser: str | None = None,
) -> list[TriagedField]:
    """All fields, in the order of `FIELDS`. ``products``: of those named in the text, the ones that count now, because
    a conversation goes from one product to another; None: all. ``browser``: the language of the customer's page or
    browser."""
    spoken = languages.distribution(text, languages.expected(browser))
    ticket = _read(text, evidence, spoken, capabilities)
    learned = {name: own[ticket.embedder.name] for name, own in (heads or {}).items() if ticket.embedder.name in own}
    decided = _decide(ticket, photos, capabilities, taxonomy)
    found = {
        "language": _triaged_field("language", spoken, [Source(SourceKind.TRAINED)]),
        "product": _product(ticket, evidence, taxonomy, decided.get("product"), products),
    }
    for name in ("category", "type", "priority", "sentiment", "needs_human"):
        found[name] = _field(name, _prior(name, ticket, taxonomy), ticket, learned.get(name), decided.get(name))
    found["team"] = _team(found["category"], ticket, taxonomy, learned.get("team"))
    return [found[name] for name in FIELDS]


def revision(by: Capabilities, taxonomy: Taxonomy, heads: Mapping[str, Heads]) -> str:
    """Changes with what proposals depend on: the product, its models, the taxonomy and what was learned. The same
    input and revision give the same proposals."""
    second = by.second_embedder.name if by.second_embedder is not None else ""
    learned = sorted((name, own.revision) for name, own in heads.items())
    parts = __version__, by.model, by.revision, by.embedding_model, second, taxonomy.revision, learned
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def categorise(
    text: str, *, capabilities: Capabilities, taxonomies: Sequence[Taxonomy], heads: Mapping[str, Heads]
) -> list[TriagedField]:
    """The category by each of the taxonomies, as `triage` would find it by the text alone, which is read once."""
    ticket = _read(text, (), languages.distribution(text, languages.expected(None)), capabilities)
    learned = heads["category"].get(ticket.embedder.name) if "category" in heads else None
    return [_field("category", _prior("category", ticket, one), ticket, learned, None) for one in taxonomies]


def triaged_by(fields: Sequence[TriagedField], capabilities: Capabilities) -> Capabilities:
    """What has made these proposals: all that is installed, or what remained while the model failed."""
    was_asked = capabilities.decisions is not None and capabilities.triages
    has_answered = any(source.kind is SourceKind.MODEL for field in fields for source in field.sources)
    return capabilities.without_model if was_asked and not has_answered else capabilities


@dataclass(frozen=True)
class _Ticket:
    text: str  # what the customer wrote
    whole: str  # text and the photos' evidence
    vector: np.ndarray  # (d,) of `whole`
    own: np.ndarray | None  # (d,) of `text`, where photos say something, too
    sentences: np.ndarray  # (s, d) of the customer's own sentences: one of them may show the sentiment
    embedder: Embedder  # that made the vectors
    shown: cues.Cues  # of the customer's own words: a warning sticker in a photo is no danger
    readable: bool  # whether the embedder knows the ticket's language

    @classmethod
    def of(
        cls,
        text: str,
        evidence: Sequence[PhotoEvidence],
        embedder: Embedder,
        shown: cues.Cues,
        *,
        readable: bool = True,
    ) -> _Ticket:
        text = text.strip()
        seen = [said for said in (item.as_text() for item in evidence) if said]
        whole = "\n".join([text, *seen]).strip() or "(no text)"
        # The embedder would truncate a long ticket anyway, and what matters usually comes first.
        parts = [whole, text] if text and seen else [whole]
        texts = [*(part[:_READ] for part in parts), *sentences(text)[:_SENTENCES]]
        vectors = np.asarray(embedder.embeddings.embed_documents(texts), dtype=np.float32)
        own = vectors[1] if len(parts) > 1 else None
        return cls(text, whole, vectors[0], own, vectors[len(parts) :], embedder, shown, readable)


def _read(
    text: str, evidence: Sequence[PhotoEvidence], spoken: Mapping[str, float], capabilities: Capabilities
) -> _Ticket:
    """``spoken``: how likely the text is in each language."""
    embedder, readable = _embedder_for(max(spoken.items(), key=itemgetter(1)), capabilities)
    return _Ticket.of(text, evidence, embedder, cues.read(text, capabilities), readable=readable)


def _embedder_for(spoken: tuple[str, float], capabilities: Capabilities) -> tuple[Embedder, bool]:
    """(the settings' embedder, or the second for a language that only that knows; whether it knows the language)."""
    known, sure = spoken
    own, second = capabilities.embedder, capabilities.second_embedder
    if sure < languages.SURE or not own.languages or known in own.languages:
        return own, True
    if second is not None and (not second.languages or known in second.languages):
        return second, True
    return own, False


def _prior(name: str, ticket: _Ticket, taxonomy: Taxonomy) -> Prior:
    """What is known of the field without any decision of an agent: the learned head refines it."""
    if name == "team":
        category = _prior("category", ticket, taxonomy)
        return _team_prior(category.probabilities, category.source, taxonomy)
    vectors = ticket.sentences if name == "sentiment" and len(ticket.sentences) else ticket.vector[None]
    labels = options(taxonomy, name)
    if ticket.shown.trained and name in cues.FIELDS:
        prior = Prior(ticket.shown.fields[name], Source(SourceKind.TRAINED))
    else:
        prior = by_similarity(vectors, labels, ticket.embedder)
        if ticket.own is not None and vectors is not ticket.sentences:
            prior = _fused(by_similarity(ticket.own[None], labels, ticket.embedder), prior)
    return replace(prior, danger=danger(labels, ticket.embedder)) if name in _DANGER_FIELDS else prior


def _field(
    name: str, prior: Prior, ticket: _Ticket, head: Head | None, decided: Mapping[str, float] | None
) -> TriagedField:
    distribution, foreign, sources = _learned(prior, ticket, head)
    if decided is not None:
        distribution = _pool(distribution, decided)
        sources.insert(0, Source(SourceKind.MODEL))
    raised = _raised(name, ticket.shown)
    if raised is not None and (head is None or head.settled(ticket.whole) is None):
        value, least = raised
        if distribution[value] < least:
            distribution = _lean(distribution, value, least)
        found = _triaged_field(name, distribution, [Source(SourceKind.TRAINED)])
        return replace(found, abstained=False)  # danger is never left undecided
    unread = not ticket.readable and decided is None and prior.source.kind is SourceKind.SIMILARITY
    required = _FOREIGN_LANGUAGE_NEEDS if unread else 0.0
    return _triaged_field(name, distribution, sources, unsure=foreign, required=required)


def _learned(prior: Prior, ticket: _Ticket, head: Head | None) -> tuple[Mapping[str, float], bool, list[Source]]:
    """(distribution, whether the ticket is foreign to all options, sources) of prior and head. Danger is never made
    less likely by what agents decided about other tickets, only by several decisions about the same words: where it
    is likely, or the prior cannot tell it from what is merely urgent, the prior stands; else it keeps its own share."""
    if head is None:
        return prior.probabilities, prior.foreign, [prior.source]
    refined, foreign = head.refine(prior.probabilities, ticket.whole, ticket.vector)
    first, now = (max(shares, key=shares.__getitem__) for shares in (prior.probabilities, refined))
    lowered = now != first or refined[first] < prior.probabilities[first]
    sources = [Source(SourceKind.LEARNED, head.decisions, nearest=head.nearest(ticket.vector)), prior.source]
    knows_danger = prior.source.kind is SourceKind.TRAINED
    if lowered and (ticket.shown.shows("dangerous") or (first == prior.danger and not knows_danger)):
        settled = head.settled(ticket.whole)
        if settled is None or settled not in prior.probabilities:
            return prior.probabilities, prior.foreign, [prior.source]
        return _lean(refined, settled, max(refined[settled], _SETTLED)), False, sources
    if knows_danger and prior.danger is not None:
        least = min(prior.probabilities[prior.danger], ticket.shown.signals["dangerous"])
        if refined[prior.danger] < least:
            refined = _lean(refined, prior.danger, least)
    return refined, foreign and prior.foreign, sources


def _pool(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """Log-linear pool with equal weights (Genest and Zidek 1986): an option both find likely wins."""
    return _normalise({key: math.sqrt(share * max(second.get(key, 0.0), 1e-6)) for key, share in first.items()})


def _fused(text: Prior, whole: Prior) -> Prior:
    """What is known by the text alone and by text and photos. The surer the text is by itself, the less photos have to
    add, and the less a photo of something else can take away: a log-linear pool, weighted by how far the text's
    likeliest option is above chance, squared. Not squared, it costs tickets with the right photo as much as it spares
    those with a wrong one (`assistant eval fusion`)."""
    shares = text.probabilities
    chance = 1 / len(shares)
    weight = ((max(shares.values()) - chance) / (1 - chance)) ** 2 if chance < 1 else 1.0
    pooled = {key: share**weight * whole.probabilities[key] ** (1 - weight) for key, share in shares.items()}
    return replace(whole, probabilities=_normalise(pooled), foreign=text.foreign and whole.foreign)


def _lean(distribution: Mapping[str, float], value: str, share: float = _SURE) -> dict[str, float]:
    """``share`` for one option; the others share the rest in proportion."""
    rest = _normalise({key: other for key, other in distribution.items() if key != value})
    return {key: share if key == value else (1 - share) * rest[key] for key in distribution}


def _normalise(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {key: weight / total if total > 0 else 1 / len(weights) for key, weight in weights.items()}


def _raised(name: str, shown: cues.Cues) -> tuple[str, float] | None:
    """The value that danger or legal terms require and the least that it gets, whatever agents' decisions say."""
    if name == "priority" and shown.shows("dangerous"):
        return "urgent", shown.signals["dangerous"]
    # Who looks into a suspicion is no estimate: a person does.
    if name == "needs_human" and (shown.shows("dangerous") or shown.shows("legal")):
        return "yes", _SURE
    return None


def _triaged_field(
    name: str,
    distribution: Mapping[str, float],
    sources: Sequence[Source],
    *,
    unsure: bool = False,
    required: float = 0.0,
) -> TriagedField:
    value = max(distribution, key=lambda key: distribution[key])
    probability = min(1.0, distribution[value])
    abstained = unsure or probability < max(THRESHOLDS[name], required)
    return TriagedField(name, value, probability, dict(distribution), abstained, tuple(sources))


def _product(
    ticket: _Ticket,
    evidence: Sequence[PhotoEvidence],
    taxonomy: Taxonomy,
    decided: Mapping[str, float] | None,
    products: Sequence[str] | None,
) -> TriagedField:
    """The product that the customer or a photo names, else the model's decision, else none. Of several, the one that
    the customer names, unless those are several: then the one in the photo."""
    keys = [label.key for label in options(taxonomy, "product")]
    flat = dict.fromkeys(keys, 1.0)
    # A photo may show a product that is not sold through this inbox, or was learned once and no longer is.
    eligible = flat if products is None else [key for key in products if key in flat]
    written = [key for key in taxonomy.products_in(ticket.text) if key in eligible]
    shown = [item.product.value for item in evidence if item.product.value in eligible]
    named = list(dict.fromkeys([*written, *shown]))
    if named:
        first = shown[0] if shown and len(written) != 1 else named[0]
        weights = {key: 3.0 if key == first else 1.0 if key in named else 0.01 for key in keys}
        likely = _lean(_normalise(flat), first) if len(named) == 1 else _normalise(weights)
        return _triaged_field("product", likely, _namings(first, ticket.text, evidence, taxonomy))
    if decided is not None:
        weights = {key: max(decided.get(key, 0.0), 1e-6) for key in keys}
        return _triaged_field("product", _normalise(weights), [Source(SourceKind.MODEL)])
    weights = {key: 1.0 if key == NO_PRODUCT else 0.4 / max(1, len(keys) - 1) for key in keys}
    return _triaged_field("product", _normalise(weights), [Source(SourceKind.WORDS)], unsure=True)


def _namings(product: str, text: str, evidence: Sequence[PhotoEvidence], taxonomy: Taxonomy) -> list[Source]:
    """Where photos show a product, and where words name it."""
    readings = [(number, one.product) for number, one in enumerate(evidence) if one.product.value == product]
    shown = tuple(Shown(number, "product", reading.region) for number, reading in readings)
    words = tuple(Place(text[start:end], start, end) for start, end in taxonomy.places_of(product, text))
    found = [Source(SourceKind.PHOTO, shown=shown)] if shown else []
    return [*found, Source(SourceKind.WORDS, words=words)] if words else found


def _team(category: TriagedField, ticket: _Ticket, taxonomy: Taxonomy, head: Head | None) -> TriagedField:
    prior = _team_prior(category.probabilities, category.sources[0], taxonomy)
    prior = replace(prior, danger=danger(taxonomy.teams, ticket.embedder))
    distribution, _, sources = _learned(prior, ticket, head)
    return _triaged_field("team", distribution, sources, unsure=category.abstained and max(distribution.values()) < 0.7)


def _team_prior(categories: Mapping[str, float], source: Source, taxonomy: Taxonomy) -> Prior:
    """The categories' teams, weighted by the categories' probabilities."""
    shares = dict.fromkeys((team.key for team in taxonomy.teams), 0.0)
    for label in taxonomy.categories:
        if label.team is not None:
            shares[label.team] += categories[label.key]
    return Prior(_normalise(shares), source)


@dataclass(frozen=True)
class Lesson:
    """What a field's decisions taught: a head, and beside it what was known of the same ``tickets`` without it.

    ``heads`` has the head of ``fitted``, and one for the languages that only the second embedder reads. ``priors``
    (n, classes) and ``fitted.held_back`` have the options ``fitted.head.classes`` as columns."""

    tickets: Tickets
    priors: np.ndarray
    fitted: Fitted
    heads: Heads

    @property
    def targets(self) -> np.ndarray:
        """(n,): the tickets' labels as indices of the options."""
        return np.searchsorted(self.fitted.head.classes, self.tickets.labels.astype(str))

    def served_by(self, head: Head | None, rows: np.ndarray) -> np.ndarray:
        """(m, classes): what another head, or none, says of the tickets ``rows`` (m,)."""
        if head is None:
            known: np.ndarray = self.priors[rows]
            return known
        classes = self.fitted.head.classes
        said = np.empty((len(rows), len(classes)))
        for at, row in enumerate(rows):
            prior = dict(zip(classes, map(float, self.priors[row]), strict=True))
            refined, _ = head.refine(prior, self.tickets.texts[row], self.tickets.vectors[row])
            said[at] = [refined[option] for option in classes]
        return said


def learn_field(
    name: str,
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    ids: Sequence[int] | None = None,
    capabilities: Capabilities,
    taxonomy: Taxonomy,
) -> Lesson:
    """Fit heads for one of `LEARNED_FIELDS` on labels that the taxonomy has, the newest first. ``ids``: of the tickets,
    which are told where a similar one comes. `Invalid` if all labels are the same."""
    owners = [0] * len(texts) if ids is None else ids
    own, second = capabilities.embedder, capabilities.second_embedder
    known = capabilities if name in cues.FIELDS else None
    shown = [cues.read(text, known) for text in texts]
    lesson = _learn(name, texts, labels, owners, own, taxonomy, shown)
    if second is None or second.name == own.name or not own.languages:
        return lesson
    newest = slice(0, _MOST_ABROAD)
    abroad = _learn(name, texts[newest], labels[newest], owners[newest], second, taxonomy, shown[newest])
    return replace(lesson, heads=Heads(lesson.heads | abroad.heads))


def _learn(
    name: str,
    texts: Sequence[str],
    labels: Sequence[str],
    ids: Sequence[int],
    embedder: Embedder,
    taxonomy: Taxonomy,
    shown: Sequence[cues.Cues],
) -> Lesson:
    described = options(taxonomy, name)
    keys = sorted(label.key for label in described)
    tickets = [_Ticket.of(text, (), embedder, seen) for text, seen in zip(texts, shown, strict=True)]
    priors = [_prior(name, ticket, taxonomy).probabilities for ticket in tickets]
    vectors = np.array([ticket.vector for ticket in tickets])
    known = Tickets.of([ticket.whole for ticket in tickets], vectors, labels, ids)
    shares = np.array([[prior[key] for key in keys] for prior in priors])
    fitted = fit_head(known, priors=shares, examples=examples(described, embedder))
    return Lesson(known, shares, fitted, Heads({embedder.name: fitted.head}))


def _decide(
    ticket: _Ticket, photos: Sequence[bytes], capabilities: Capabilities, taxonomy: Taxonomy
) -> dict[str, Mapping[str, float]]:
    """The model's typed decisions over text and photos; empty without a model or if it fails."""
    if capabilities.decisions is None or not capabilities.triages:
        return {}
    shown = photos if capabilities.sees_photos else ()
    try:
        decisions = capabilities.decisions.decide(ticket.whole, shown, questions(taxonomy))
    except AssistantError:
        return {}
    return {decision.key: decision.probabilities for decision in decisions}
