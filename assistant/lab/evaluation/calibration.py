"""Whether triage is right as often as it says, field by field: on public sets, before and after agents have decided.

The whole triage is asked about held-back tickets, as it serves: priors, cues, rules, and heads learned from the same
number of right decisions of each field. Which sets there are and how their labels are read is in `calibration.toml`.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from assistant.errors import Invalid
from assistant.lab import statistics
from assistant.lab.evaluation.learning import EXAMPLES
from assistant.lab.rows import read_rows
from assistant.lab.tables import Cell, table
from assistant.ports import Capabilities
from assistant.progress import Progress, no_progress
from assistant.skills.explain import Remembering
from assistant.skills.taxonomy import Label, Taxonomy, load_taxonomy
from assistant.skills.triage import learn_field, triage
from assistant.skills.triage_fields import LEARNED_FIELDS
from assistant.skills.triage_head import Heads

DECISIONS = (0, 300)
HELD_BACK = 300
BINS = 10
_FEWEST = EXAMPLES + 10  # tickets of a label that becomes an option
_LONGEST = 2000  # characters of a ticket: the embedder reads no more


@dataclass(frozen=True)
class Score:
    """``accuracy`` of the likeliest value; ``applied``: the share that was not abstained, and how many of these are
    ``right``. ``error_by_chance``: the calibration error of probabilities that all hold, on so few tickets."""

    field: str
    of: str
    decisions: int
    tickets: int
    accuracy: float
    applied: float
    right: float
    calibration_error: float
    error_by_chance: float
    reliability: tuple[statistics.Bin, ...]


@dataclass(frozen=True)
class Report:
    scores: tuple[Score, ...]
    missing: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """A text table."""
        header = ("field", "set", "decisions", "tickets", "accuracy", "applied", "right", "ECE", "by chance")
        rows: list[tuple[Cell, ...]] = [
            (
                *(one.field, one.of, one.decisions, one.tickets, one.accuracy, one.applied, one.right),
                *(one.calibration_error, one.error_by_chance),
            )
            for one in self.scores
        ]
        lines = table(header, rows)
        lines.append(
            "\naccuracy of the likeliest value; applied: the share that triage is sure enough of to set, and how"
        )
        lines.append(f"many of these are right. ECE: expected calibration error, {BINS} bins; by chance: that of")
        lines.append("probabilities that all hold, on so few tickets.")
        if self.missing:
            lines.append(f"Not there, so not measured: {', '.join(self.missing)}.")
        return "\n".join(lines)

    def plot(self, path: Path) -> None:
        """Write one figure (PNG): a reliability diagram for each field, with a line for each set and number of
        decisions; the larger a point, the more tickets it is of."""
        from matplotlib.figure import Figure

        fields = list(dict.fromkeys(one.field for one in self.scores))
        columns = min(3, len(fields))
        rows = -(-len(fields) // columns)
        figure = Figure(figsize=(4.2 * columns, 4.2 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
        for axes, name in zip(panels, fields, strict=False):
            axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
            for one in (score for score in self.scores if score.field == name):
                sure, right, tickets = (np.array(column) for column in zip(*one.reliability, strict=True))
                label = f"{one.of}, {one.decisions} decisions (ECE {one.calibration_error:.2f})"
                (line,) = axes.plot(sure, right, linewidth=1, label=label)
                axes.scatter(sure, right, s=4 + 120 * tickets / tickets.sum(), color=line.get_color(), alpha=0.7)
            axes.set(xlim=(0, 1), ylim=(0, 1), title=name, xlabel="probability", ylabel="share that was right")
            axes.legend(loc="upper left", fontsize=7)
        for axes in panels[len(fields) :]:
            axes.set_axis_off()
        figure.savefig(path, format="png", dpi=130)


@dataclass(frozen=True)
class _Ticket:
    text: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class _Set:
    """``tickets`` in random order; ``taxonomy``: with the options of those of its ``fields`` that have none."""

    name: str
    fields: tuple[str, ...]
    taxonomy: Taxonomy
    tickets: Sequence[_Ticket]


def measure(
    folder: Path,
    capabilities: Capabilities,
    *,
    decisions: Sequence[int] = DECISIONS,
    held_back: int = HELD_BACK,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Report:
    """On those of the public sets that are in ``folder``. Raises `Invalid` if none is."""
    described = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    there = {name: one for name, one in described.items() if (folder / name).is_dir()}
    if not there:
        raise Invalid(f"{folder} has none of the sets {', '.join(described)}.")
    capabilities = replace(capabilities, embeddings=Remembering(capabilities.embeddings))
    scores: list[Score] = []
    for name, columns in there.items():
        some = _read(folder, name, columns, seed)
        for count in decisions:
            scores += _scored(some, count, held_back, capabilities, progress)
    order = {name: number for number, name in enumerate(dict.fromkeys((*LEARNED_FIELDS, "language")))}
    scores.sort(key=lambda one: (order[one.field], one.of, one.decisions))
    return Report(tuple(scores), tuple(set(described) - set(there)))


def _read(folder: Path, name: str, columns: Mapping[str, Any], seed: int) -> _Set:
    fields = columns["fields"]
    tickets = []
    for row in read_rows(folder / name):
        values = row.values
        labels = {field: meant for field, one in fields.items() if (meant := _meant(one, values)) is not None}
        if labels:
            text = "\n".join(str(values[column] or "") for column in columns["text"]).strip()
            tickets.append(_Ticket(text[:_LONGEST], labels))
    order = np.random.default_rng(seed).permutation(len(tickets))
    mixed = [tickets[row] for row in order]
    taxonomy, used = load_taxonomy(), set[int]()
    for field in ("category", "team"):
        if field in fields:
            options, examples = _options(mixed, field)
            used |= examples
            if field == "team":  # categories stand for them, so that there is something to propose teams by
                taxonomy = Taxonomy(tuple(replace(one, team=one.key) for one in options), options, ())
            else:
                taxonomy = Taxonomy(options, (Label("all", "All", ""),), ())
            known = {option.key for option in options}
            mixed = [one if one.labels.get(field) in known else _without(one, field) for one in mixed]
    left = [one for number, one in enumerate(mixed) if number not in used and one.labels]
    return _Set(name, tuple(fields), taxonomy, left)


def _meant(column: Mapping[str, Any], values: Mapping[str, Any]) -> str | None:
    """The value of triage that a row's label stands for; None if it stands for none."""
    label = str(values[column["column"]])
    return column["labels"].get(label) if "labels" in column else label


def _without(ticket: _Ticket, field: str) -> _Ticket:
    return replace(ticket, labels={name: value for name, value in ticket.labels.items() if name != field})


def _options(tickets: Sequence[_Ticket], field: str) -> tuple[tuple[Label, ...], set[int]]:
    """(a field's labels as options, the tickets that describe them)."""
    counts = Counter(one.labels.get(field) for one in tickets)
    options, used = [], set[int]()
    for key in sorted(label for label, count in counts.items() if label is not None and count >= _FEWEST):
        own = [number for number, one in enumerate(tickets) if one.labels.get(field) == key][:EXAMPLES]
        used.update(own)
        name = key.replace("_", " ").capitalize()
        options.append(Label(key, name, "", tuple(tickets[number].text[:300] for number in own)))
    return tuple(options), used


def _scored(some: _Set, count: int, held_back: int, capabilities: Capabilities, progress: Progress) -> Iterator[Score]:
    held, decided = some.tickets[:held_back], some.tickets[held_back : held_back + count]
    heads: dict[str, Heads] = {}
    fields = [field for field in some.fields if field in LEARNED_FIELDS or not count]
    for field in fields if count else ():
        rows = [(one.text, one.labels[field]) for one in decided if field in one.labels]
        texts, labels = (list(column) for column in zip(*rows, strict=True))
        heads[field] = learn_field(field, texts, labels, capabilities=capabilities, taxonomy=some.taxonomy).heads
    said: dict[str, list[tuple[float, bool, bool]]] = {field: [] for field in fields}
    for number, ticket in enumerate(held):
        found = triage(ticket.text, capabilities=capabilities, taxonomy=some.taxonomy, heads=heads)
        for one in found:
            if one.name in said and one.name in ticket.labels:
                said[one.name].append((one.probability, one.value == ticket.labels[one.name], not one.abstained))
        progress(number + 1, len(held), f"{some.name}, {count} decisions")
    for field, rows_said in said.items():
        if rows_said:
            yield _score(field, some.name, count, rows_said)


def _score(field: str, of: str, decisions: int, said: Sequence[tuple[float, bool, bool]]) -> Score:
    sure, right, applied = (np.array(column) for column in zip(*said, strict=True))
    bins = tuple(statistics.reliability(sure, right, bins=BINS))
    return Score(
        field=field,
        of=of,
        decisions=decisions,
        tickets=len(said),
        accuracy=float(right.mean()),
        applied=float(applied.mean()),
        right=float(right[applied].mean()) if applied.any() else 0.0,
        calibration_error=statistics.calibration_error(bins),
        error_by_chance=statistics.error_by_chance(sure, bins=BINS),
        reliability=bins,
    )
