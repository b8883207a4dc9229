"""``assistant train``: train the small model from scratch, or fine-tune a large one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from assistant.cli.common import migrated, progress_bar, read_settings

if TYPE_CHECKING:
    from assistant.settings import Settings


@click.command()
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True, help="Training time."
)
@click.option("--resume", is_flag=True, help="Continue the last run in the folder.")
@click.option("--freeze-tower", is_flag=True, help="With --resume: train all but the vision tower, which is faster.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for checkpoints, log and result (default: in the data folder).",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--photos", type=click.IntRange(1), default=8, show_default=True, help="Scenes per step.")
@click.option(
    "--fresh",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of new scenes in a step. Drawing takes longer than a step on a GPU.",
)
@click.option("--workers", type=click.IntRange(0), default=1, show_default=True, help="Processes that draw scenes.")
@click.option("--base", help="Fine-tune this model instead: a folder or hub id.")
@click.option(
    "--tickets",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSONL to fine-tune on (default: agents' decisions in this database).",
)
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True, help="Epochs of fine-tuning.")
@click.option(
    "--cues",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Instead, fit the heads that recognise danger, urgency, feelings and wishes in messages, and write this file.",
)
@click.option(
    "--displays",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Instead, train the reader of seven-segment displays on drawn ones for --minutes, and write this file.",
)
def train(
    *, minutes: float, resume: bool, freeze_tower: bool, folder: Path | None, device: str, photos: int,
    fresh: float, workers: int, base: str | None, tickets: Path | None, epochs: int, cues: Path | None,
    displays: Path | None,
) -> None:  # fmt: skip
    """Train the small model from scratch on drawn scenes, fine-tune a model on agents' decisions (--base), or fit
    what else ships with the product: the heads that read messages (--cues), the reader of displays (--displays).

    An adapter that is not better than its base on held-out tickets is discarded, and the exit code is 1.
    """
    if base is None and tickets is not None:
        raise click.UsageError("--tickets needs --base, the model to fine-tune.")
    if freeze_tower and not resume:
        raise click.UsageError("--freeze-tower needs --resume: an untrained vision tower cannot be frozen.")
    settings = read_settings()
    if displays is not None:
        _train_display_reader(displays, minutes)
        return
    if cues is not None:
        _fit_cues(settings, cues)
        return
    folder = folder or settings.data_dir / ("training" if base is None else "adapter")
    if base is not None:
        tickets = tickets or _export_lessons(settings, folder / "lessons")
        _fine_tune(settings, base, tickets, folder=folder, epochs=epochs)
        return
    from assistant.lab.training.plots import plot_losses
    from assistant.lab.training.trainer import Plan, train

    plan = Plan(
        folder, minutes, resume=resume, freeze_tower=freeze_tower, device=device, photos=photos, fresh=fresh,
        workers=workers,
    )  # fmt: skip
    with progress_bar(quiet=False) as progress:
        model = train(plan, report=lambda done: progress(int(done.minutes * 60), int(minutes * 60), "Training"))
    plot_losses(folder / "log.jsonl", folder / "loss.png")
    click.echo(f"Saved to {model}. To use it, set ASSISTANT_MODEL={model}. Losses: {folder / 'loss.png'}")


def _fit_cues(settings: Settings, file: Path) -> None:
    from assistant.engine import install
    from assistant.lab.cues.fitting import fit, shipped_messages
    from assistant.skills import cue_heads

    embedder = install(settings).capabilities.second_embedder
    if embedder is None:
        raise click.ClickException("The multilingual embeddings are not installed: the heads are fitted to them.")
    with progress_bar(quiet=False) as progress:
        by_letters = fit(shipped_messages(None))
        by_meaning = fit(shipped_messages(embedder, progress), embedder=embedder.name)
    cue_heads.save([by_letters, by_meaning], file)
    click.echo(f"Wrote {file} ({file.stat().st_size / 1e6:.1f} MB). `assistant eval cues` measures how right it is.")


def _train_display_reader(file: Path, minutes: float) -> None:
    from assistant.lab.training.display_reader import train_display_reader

    with progress_bar(quiet=False) as progress:
        train_display_reader(file, minutes=minutes, progress=progress)
    click.echo(
        f"Wrote {file} ({file.stat().st_size / 1e6:.1f} MB). `assistant eval displays` measures the shipped one."
    )


def _export_lessons(settings: Settings, folder: Path) -> Path:
    from assistant.desk.lessons import export_lessons
    from assistant.storage import Storage

    with migrated() as database:
        return export_lessons(database, Storage.open(settings.attachments_url), folder)


def _fine_tune(settings: Settings, base: str, tickets: Path, *, folder: Path, epochs: int) -> None:
    from assistant.engine import checkpoint
    from assistant.lab.training.adapter import fine_tune, read_lessons
    from assistant.skills.taxonomy import load_taxonomy

    settings = settings.model_copy(update={"model": base})
    lessons = read_lessons(tickets, load_taxonomy(settings.taxonomy))
    with progress_bar(quiet=False) as progress:
        outcome = fine_tune(
            checkpoint.from_settings(settings),
            lessons,
            settings=settings,
            folder=folder,
            epochs=epochs,
            progress=progress,
        )
    for when, marks in (("before", outcome.before), ("after", outcome.after)):
        click.echo(
            f"{when:<7} {marks.accuracy:.1%} right, loss {marks.loss:.3f} on {outcome.measured_on} held-out answers"
        )
    if not outcome.better:
        raise click.ClickException("The adapter is not better than its base and was discarded.")
    click.echo(f"Saved the adapter to {folder}. To serve it, merge it into its base (peft: merge_and_unload).")
