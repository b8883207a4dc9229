"""The loss plot of a training run."""

from __future__ import annotations

import json
from pathlib import Path


def plot_losses(log: Path, path: Path) -> None:
    """Losses, and what is right, by step (PNG). A log that is empty yet gives an empty plot."""
    from matplotlib.figure import Figure

    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, right = figure.subplots(1, 2)
    names = sorted({name for row in rows for name in row} - {"step", "minutes"})
    for name in names:
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes = losses if name in ("tower", "answers") else right
        axes.plot([step for step, _ in points], [value for _, value in points], linewidth=1, label=name)
    losses.set(xlabel="step", ylabel="loss")
    right.set(xlabel="step", ylabel="share that is right", ylim=(0, 1.01))
    for axes in (losses, right):
        if axes.lines:
            axes.legend(fontsize=6, ncols=2)
    figure.savefig(path, format="png", dpi=120)
