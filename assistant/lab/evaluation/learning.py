"""A simulation of learning: agents decide tickets of the everyday categories, rightly; what becomes of the others?

Everyday categories are those that agents meet first. After each number of decisions the whole triage is asked about
held-back tickets of every category, beside what it says without a head and a head without descriptions and examples.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from assistant.errors import Invalid
from assistant.lab import statistics
from assistant.lab.evaluation.triage import BINS, read_tickets
from assistant.lab.tables import Cell, table
from assistant.ports import Capabilities
from assistant.progress import Progress, no_progress
from assistant.skills.explain import Remembering
from assistant.skills.taxonomy import Label, Taxonomy, load_taxonomy
from assistant.skills.triage import learn_field, triage
from assistant.skills.triage_head import Heads, fit_head

COUNTS = (0, 10, 30, 100, 300)
# Of a labelled set: sentences that describe each category, and tickets of each that are held back.
EXAMPLES, HELD_BACK = 5, 10
# To the sample company: by language and category.
TICKETS: dict[str, dict[str, list[str]]] = tomllib.loads(
    (Path(__file__).parent / "tickets.toml").read_text(encoding="utf-8")
)
MOST_HELD_BACK = 30  # of each category that nobody decides
_SAMPLE_EVERYDAY = (
    "device_fault",
    "how_to",
    "delivery",
    "billing_and_refund",
    "return_and_warranty",
    "app_and_connection",
)


@dataclass(frozen=True)
class Score:
    """``recall`` by category: of its held-back tickets, the share that was given it. ``applied``: the share of all that
    was not abstained. Calibration is that of the likeliest category, every category being equally frequent;
    ``error_by_chance``: what it would be on so few tickets if every probability held."""

    method: str
    decisions: int
    recall: dict[str, float]
    applied: float
    calibration_error: float
    error_by_chance: float

    def mean(self, categories: Sequence[str]) -> float:
        return float(np.mean([self.recall[category] for category in categories]))


@dataclass(frozen=True)
class Report:
    path: str
    everyday: tuple[str, ...]
    held_back: dict[str, int]
    scores: tuple[Score, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """A text table. Recall of the everyday categories and the others, and the largest loss of one category against
        zero-shot; with few categories, each one's."""
        others = [category for category in self.held_back if category not in self.everyday]
        shown = list(self.held_back) if len(self.held_back) <= 12 else []
        before = self.scores[0].recall
        header = ("", "decisions", "everyday", "others", "worst", "applied", "ECE", "by chance", *shown)
        rows: list[tuple[Cell, ...]] = [
            (
                score.method,
                score.decisions,
                score.mean(self.everyday),
                score.mean(others),
                min(score.recall[category] - before[category] for category in self.held_back),
                score.applied,
                score.calibration_error,
                score.error_by_chance,
                *(score.recall[category] for category in shown),
            )
            for score in self.scores
        ]
        lines = [f"{self.path}: {len(self.everyday)} everyday categories of {len(self.held_back)}"]
        lines += table(header, rows)
        lines.append("\nRecall; worst: the category that lost most against zero-shot. ECE: expected calibration error.")
        lines.append("By chance: the ECE of probabilities that all hold, on so few tickets.")
        return "\n".join(lines)


def simulate_sample(
    capabilities: Capabilities,
    *,
    seeds: int = 3,
    counts: Sequence[int] = COUNTS,
    progress: Progress = no_progress,
) -> Report:
    """On the sample's taxonomy, with the English tickets beside this module."""
    written = TICKETS["en"]
    texts, labels = zip(*[(text, category) for category, own in written.items() for text in own], strict=True)
    parts = [_Part(load_taxonomy(), *_split(texts, labels, _SAMPLE_EVERYDAY, seed=seed)) for seed in range(seeds)]
    return _simulate("sample", parts, _SAMPLE_EVERYDAY, capabilities, counts, progress)


def simulate(
    path: Path,
    capabilities: Capabilities,
    *,
    label_field: str = "label",
    seeds: int = 3,
    counts: Sequence[int] = COUNTS,
    progress: Progress = no_progress,
) -> Report:
    """On a labelled set, see `read_tickets`. Its labels become categories, described by their names and `EXAMPLES`
    tickets that are used for nothing else; every second one is an everyday category."""
    texts, labels = read_tickets(path, label_field)
    frequent = [label for label in sorted(set(labels)) if labels.count(label) > EXAMPLES + 2 * HELD_BACK]
    if len(frequent) < 4:
        least = EXAMPLES + 2 * HELD_BACK + 1
        raise Invalid(f"{path} has too few tickets: at least 4 labels with {least} each are needed.")
    everyday = tuple(frequent[::2])
    parts = []
    for seed in range(seeds):
        order = np.random.default_rng(seed).permutation(len(texts))
        categories, used = [], set()
        for label in frequent:
            own = [int(row) for row in order if labels[row] == label][:EXAMPLES]
            used.update(own)
            name = label.replace("_", " ").capitalize()
            categories.append(Label(label, name, "", tuple(texts[row] for row in own), "all"))
        taxonomy = Taxonomy(tuple(categories), (Label("all", "All", ""),), ())
        rest = [row for row in range(len(texts)) if row not in used and labels[row] in frequent]
        split = _split([texts[row] for row in rest], [labels[row] for row in rest], everyday, seed=seed)
        parts.append(_Part(taxonomy, *split))
    return _simulate(path.name, parts, everyday, capabilities, counts, progress)


@dataclass(frozen=True)
class _Part:
    """One way of splitting: (text, category) pairs that agents decide, in order, and that are held back."""

    taxonomy: Taxonomy
    decided: list[tuple[str, str]]
    held: list[tuple[str, str]]


def _split(
    texts: Sequence[str], labels: Sequence[str], everyday: Sequence[str], *, seed: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    order = np.random.default_rng(seed).permutation(len(texts))
    pairs = [(texts[row], labels[row]) for row in order]
    held: list[tuple[str, str]] = []
    for label in sorted(set(labels)):
        own = [pair for pair in pairs if pair[1] == label]
        held += own[: HELD_BACK if label in everyday else MOST_HELD_BACK]
    rest = set(held)
    return [pair for pair in pairs if pair[1] in everyday and pair not in rest], held


def _simulate(
    path: str,
    parts: Sequence[_Part],
    everyday: Sequence[str],
    capabilities: Capabilities,
    counts: Sequence[int],
    progress: Progress,
) -> Report:
    # One embedder: the tickets are in one language.
    capabilities = replace(capabilities, embeddings=Remembering(capabilities.embeddings), second_embedder=None)
    scores = []
    enough = [count for count in counts if all(count <= len(part.decided) for part in parts)]
    for number, count in enumerate(enough):
        said: dict[str, list[_Said]] = {}
        for at, part in enumerate(parts):
            for method, found in _methods(part, count, capabilities):
                said.setdefault(method, []).extend(found)
            progress(number * len(parts) + at + 1, len(enough) * len(parts), "Learning")
        scores += [_score(method, count, found) for method, found in said.items()]
    held = {label: sum(pair[1] == label for part in parts for pair in part.held) for label in _labels(parts[0])}
    return Report(path, tuple(everyday), held, tuple(scores))


@dataclass(frozen=True)
class _Said:
    """Of one ticket: its category, the one that was said, with which probability, and whether it was applied."""

    category: str
    value: str
    probability: float
    applied: bool


def _methods(part: _Part, count: int, capabilities: Capabilities) -> Iterator[tuple[str, list[_Said]]]:
    if count == 0:
        yield "zero-shot", _triaged(part, {}, capabilities)
        return
    texts, labels = (list(column) for column in zip(*part.decided[:count], strict=True))
    lesson = learn_field("category", texts, labels, capabilities=capabilities, taxonomy=part.taxonomy)
    yield "triage", _triaged(part, {"category": lesson.heads}, capabilities)
    held = [text for text, _ in part.held]
    vectors = np.asarray(capabilities.embeddings.embed_documents(held), dtype=np.float32)
    pure = fit_head(lesson.tickets).head
    probabilities = pure.predict(held, vectors)
    yield (
        "pure head",
        [
            _Said(category, pure.classes[row.argmax()], float(row.max()), applied=True)
            for (_, category), row in zip(part.held, probabilities, strict=True)
        ],
    )


def _triaged(part: _Part, heads: Mapping[str, Heads], capabilities: Capabilities) -> list[_Said]:
    said = []
    for text, category in part.held:
        field = triage(text, capabilities=capabilities, taxonomy=part.taxonomy, heads=heads)[0]
        said.append(_Said(category, field.value, field.probability, not field.abstained))
    return said


def _score(method: str, decisions: int, said: Sequence[_Said]) -> Score:
    """Every category weighs the same, however many of its tickets were held back."""
    by_category: dict[str, list[_Said]] = {}
    for one in said:
        by_category.setdefault(one.category, []).append(one)
    recall = {name: float(np.mean([one.value == name for one in own])) for name, own in by_category.items()}
    size = max(map(len, by_category.values()))
    even = [own[number % len(own)] for own in by_category.values() for number in range(size)]
    right = np.array([one.value == one.category for one in even])
    sure = np.array([one.probability for one in even])
    bins = statistics.reliability(sure, right, bins=BINS)
    applied = float(np.mean([one.applied for one in even]))
    chance = statistics.error_by_chance(sure, bins=BINS, tickets=np.array([id(one) for one in even]))
    return Score(method, decisions, recall, applied, statistics.calibration_error(bins), chance)


def _labels(part: _Part) -> list[str]:
    return [label.key for label in part.taxonomy.categories]
