"""The loss plot of a training run."""

from __future__ import annotations

from pathlib import Path

from assistant.lab.rows import read_rows


def plot_losses(log: Path, path: Path) -> None:
    """Losses and accuracies by step (PNG). An empty log gives an empty plot."""
    from matplotlib.figure import Figure

    rows = [row.values for row in read_rows(log)] if log.is_file() else []
    figure = Figure(figsize=(10, 4), layout="constrained")
    losses, right = figure.subplots(1, 2)
    names = sorted({name for row in rows for name in row} - {"step", "minutes"})
    for name in names:
        points = [(row["step"], row[name]) for row in rows if name in row]
        axes = losses if name in ("tower", "answers") else right
        axes.plot([step for step, _ in points], [value for _, value in points], linewidth=1, label=name)
    losses.set(xlabel="step", ylabel="loss")
    right.set(xlabel="step", ylabel="accuracy", ylim=(0, 1.01))
    for axes in (losses, right):
        if axes.lines:
            axes.legend(fontsize=6, ncols=2)
    figure.savefig(path, format="png", dpi=120)
