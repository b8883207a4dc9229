"""How well cues are recognised: on our own messages of seeds and languages that were held out, and what the triage
says out of the box on labelled tickets of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assistant.errors import Invalid
from assistant.lab.cues.fitting import Messages, by_language, by_seed, held_out
from assistant.lab.rows import read_rows
from assistant.lab.tables import table
from assistant.ports import Capabilities
from assistant.progress import Progress, no_progress
from assistant.skills.cue_heads import OUTPUTS, Heads
from assistant.skills.cues import FIELDS
from assistant.skills.taxonomy import Taxonomy
from assistant.skills.triage import TriagedField, triage


@dataclass(frozen=True)
class Recognised:
    """A cue on messages of one language. ``unseen``: what the heads had not seen, "seeds" or the whole "language"."""

    cue: str
    language: str
    unseen: str
    shown: int
    precision: float
    recall: float


@dataclass(frozen=True)
class HeldOut:
    rows: tuple[Recognised, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """A table for each of seeds and languages: a line a cue, precision/recall in each language."""
        lines = []
        for unseen in ("seeds", "language"):
            rows = [row for row in self.rows if row.unseen == unseen]
            spoken = sorted({row.language for row in rows})
            at = {(row.cue, row.language): f"{row.precision:.2f}/{row.recall:.2f}" for row in rows}
            lines += ["", f"Precision/recall where the {unseen} had not been seen"]
            lines += table(("", *spoken), [(cue, *(at.get((cue, one), "") for one in spoken)) for cue in OUTPUTS])
        return "\n".join(lines[1:])


def evaluate_held_out(messages: Messages, heads: Heads) -> HeldOut:
    """``heads``: their calibration is used, their weights are not: other ones are fitted without what is held out."""
    rows = []
    spoken = np.array([example.language for example in messages.examples])
    for unseen, folds in (
        ("seeds", by_seed(messages.examples)),
        ("language", by_language(messages.examples)),
    ):
        said = heads.slope * held_out(messages, folds) + heads.offset
        for language in dict.fromkeys(spoken.tolist()):
            for number, cue in enumerate(OUTPUTS):
                here = (spoken == language) & ~np.isnan(said[:, number]) & ~np.isnan(messages.labels[:, number])
                if here.any():
                    found, true = said[here, number] >= 0, messages.labels[here, number] > 0
                    hits = int((found & true).sum())
                    rows.append(
                        Recognised(
                            cue,
                            language,
                            unseen,
                            int(true.sum()),
                            hits / max(1, int(found.sum())),
                            hits / max(1, int(true.sum())),
                        )
                    )
    return HeldOut(tuple(rows))


@dataclass(frozen=True)
class OutOfTheBox:
    """What `triage` says of a field of labelled tickets, before anything was learned. ``applied``: the share of all
    tickets that get each value and are not left to people. Of the tickets that should have ``wanted``: precision and
    recall where it is applied, and the area under the ROC curve of its probability. Without labels none of these."""

    path: str
    field: str
    tickets: int
    applied: dict[str, float]
    abstained: float
    accuracy: float | None = None
    accuracy_applied: float | None = None
    wanted: str | None = None
    precision: float | None = None
    recall: float | None = None
    auroc: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        shares = ", ".join(f"{value} {share:.1%}" for value, share in self.applied.items())
        lines = [f"{self.path}: {self.field} of {self.tickets} tickets: {shares}, left to people {self.abstained:.1%}"]
        if self.accuracy is not None:
            lines.append(f"right: {self.accuracy:.3f} of all, {self.accuracy_applied or 0:.3f} of those applied")
        if self.wanted is not None:
            lines.append(
                f"{self.wanted}: precision {self.precision:.3f}, recall {self.recall:.3f}, AUROC {self.auroc:.3f}"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Question:
    """``label``: the field of a row that says what is right; ``is_wanted``: the label that stands for ``wanted``; None
    if labels are the field's own values."""

    field: str
    label: str | None = None
    wanted: str | None = None
    is_wanted: str | None = None


def evaluate_out_of_the_box(
    path: Path,
    question: Question,
    *,
    capabilities: Capabilities,
    taxonomy: Taxonomy,
    every: int = 1,
    progress: Progress = no_progress,
) -> OutOfTheBox:
    """``every``: only each n-th row, to be quick."""
    if question.field not in FIELDS:
        raise Invalid(f"Choose one of {', '.join(FIELDS)}.", field="field")
    rows = [row.values for row in read_rows(path)][::every]
    fields = []
    for row in rows:
        text = f"{row.get('subject') or row.get('title') or ''}\n{row['text']}".strip()
        found = triage(text, capabilities=capabilities, taxonomy=taxonomy)
        fields.append(next(field for field in found if field.name == question.field))
        progress(len(fields), len(rows), "Triage")
    applied = {
        value: float(np.mean([field.value == value and not field.abstained for field in fields]))
        for value in FIELDS[question.field]
    }
    report: dict[str, Any] = {
        "path": path.name,
        "field": question.field,
        "tickets": len(fields),
        "applied": applied,
        "abstained": float(np.mean([field.abstained for field in fields])),
    }
    if question.label is None:
        return OutOfTheBox(**report)
    labels = [str(row.get(question.label)) for row in rows]
    return OutOfTheBox(**report, **_against(labels, fields, question))


def _against(labels: Sequence[str], fields: Sequence[TriagedField], question: Question) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    if question.wanted is None:
        right = np.array([field.value == label for field, label in zip(fields, labels, strict=True)])
        sure = np.array([not field.abstained for field in fields])
        return {"accuracy": float(right.mean()), "accuracy_applied": float(right[sure].mean()) if sure.any() else None}
    true = np.array([label == (question.is_wanted or question.wanted) for label in labels])
    said = np.array([field.value == question.wanted and not field.abstained for field in fields])
    hits = int((said & true).sum())
    return {
        "wanted": question.wanted,
        "precision": hits / max(1, int(said.sum())),
        "recall": hits / max(1, int(true.sum())),
        "auroc": float(roc_auc_score(true, [field.probabilities[question.wanted] for field in fields])),
    }
