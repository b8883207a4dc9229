"""Fitting the weights of the confidence (`assistant.skills.answerability`), and what they are worth on another set.

Every answer of `assistant eval answers` is an example, said or not, right or wrong. Sets count alike, however many
questions they have. The weights that ship are those of all sets; what to expect of them elsewhere is what weights
fitted on all sets but one do on that one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from assistant.lab.evaluation.answers import BINS, HIDDEN, PRESENT, Asked, SetReport
from assistant.lab.statistics import calibration_error, reliability
from assistant.lab.tables import table

# Weights are shrunk a little: inverse of the penalty's strength, as scikit-learn has it.
_FREEDOM = 10.0
_NAMES = ("told", "ahead", "stands out", "coded")


@dataclass(frozen=True)
class HeldOut:
    """A set by weights that were fitted on the others. ``area``: under the curve (AUROC) of right and wrong answers,
    those with an identifier apart. ``kept``: of the right answers with the article present, the share that is said."""

    name: str
    answers: int
    area: float
    error: float
    answered: float
    right: float
    kept: float
    unfounded: float


@dataclass(frozen=True)
class Fit:
    """``weights``: of the signals, in the order of `Signals`; ``nothing``: the log odds without any of them."""

    nothing: float
    weights: tuple[float, ...]
    held_out: tuple[HeldOut, ...]

    def render(self) -> str:
        """Text tables."""
        head = ("left out of the fit", "answers", "AUROC", "ECE", "answered", "right", "kept", "without the article")
        rows = [
            (one.name, one.answers, one.area, one.error, one.answered, one.right, one.kept, one.unfounded)
            for one in self.held_out
        ]
        weights = ", ".join(f"{name} {weight:.2f}" for name, weight in zip(_NAMES, self.weights, strict=True))
        return "\n".join([*table(head, rows), f"Weights on all sets: nothing {self.nothing:.2f}, {weights}"])


def fit(reports: Sequence[SetReport], *, threshold: float) -> Fit:
    """On two sets at least."""
    examples = {report.name: [one for one in report.asked if one.signals is not None] for report in reports}
    model = _fitted(list(examples.values()))
    held_out = [
        _measured(name, own, _fitted([other for known, other in examples.items() if known != name]), threshold)
        for name, own in examples.items()
    ]
    return Fit(float(model.intercept_[0]), tuple(map(float, model.coef_[0])), tuple(held_out))


def _fitted(sets: Sequence[Sequence[Asked]]) -> Any:
    from sklearn.linear_model import LogisticRegression

    weights = np.concatenate([np.full(len(own), 1 / len(own)) for own in sets])
    asked = [one for own in sets for one in own]
    model = LogisticRegression(C=_FREEDOM, max_iter=2000)
    return model.fit(_rows(asked), [one.right for one in asked], sample_weight=weights * len(asked) / weights.sum())


def _measured(name: str, asked: Sequence[Asked], model: Any, threshold: float) -> HeldOut:
    from sklearn.metrics import roc_auc_score

    sure = model.predict_proba(_rows(asked))[:, 1]
    right = np.array([one.right for one in asked])
    told = np.array([one.signals is not None and not one.signals.coded for one in asked])
    present, hidden = (np.array([one.way == way for one in asked]) for way in (PRESENT, HIDDEN))
    said = sure >= threshold
    return HeldOut(
        name,
        answers=len(asked),
        area=float(roc_auc_score(right[told], sure[told])) if 0 < right[told].sum() < told.sum() else float("nan"),
        error=calibration_error(reliability(sure, right.astype(float), bins=BINS)),
        answered=_share(said, present),
        right=_share(right, said & present),
        kept=_share(said, right & present),
        unfounded=_share(said, hidden),
    )


def _share(true: np.ndarray, among: np.ndarray) -> float:
    return float(true[among].mean()) if among.any() else float("nan")


def _rows(asked: Sequence[Asked]) -> np.ndarray:
    return np.array([astuple(one.signals) for one in asked if one.signals is not None], dtype=float)
