"""What every command shares: settings, the database, progress, and errors as one line."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import monotonic
from tomllib import TOMLDecodeError
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from assistant.errors import AssistantError

if TYPE_CHECKING:
    from assistant.db import Database
    from assistant.runtime import Runtime
    from assistant.settings import Settings

# Interval of progress lines where standard error is no terminal.
PROGRESS_SECONDS = 15.0
_SUBJECT = "assistant.subject"

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
photo_option = click.option(
    "--photo",
    "photos",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A photo. Repeat for several.",
)


class Commands(click.Group):
    """Shows every error as one line instead of a traceback. Exits with 2 for wrong use, 1 for everything else."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort):
            raise
        except AssistantError as error:
            raise click.ClickException(error.message) from error
        except BrokenPipeError:
            sys.stderr.close()  # whoever read our output has gone
            sys.exit(0)
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(one_line(error)) from error


def read_settings(**overrides: Any) -> Settings:
    """Settings from the environment and the file; prints a line for each invalid one and exits with 2."""
    from pydantic import ValidationError

    from assistant.settings import Settings, config_file, unknown_settings

    try:
        settings = Settings(**{name: value for name, value in overrides.items() if value is not None})
        unknown = unknown_settings()
    except ValidationError as error:
        lines = [f"ASSISTANT_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
        raise click.UsageError("Invalid settings:\n" + "\n".join(lines)) from error
    except TOMLDecodeError as error:
        raise click.UsageError(f"The settings file {config_file()} is not valid TOML: {error}") from error
    except (ValueError, OSError) as error:  # missing, not text, or not readable
        raise click.UsageError(f"Cannot read the settings file: {error}") from error
    for name in unknown:
        click.echo(f"warning: {name} is not a setting; see the table in README.md", err=True)
    from assistant.server import configure_logging

    # A command shows warnings and errors only, unless a log level is configured.
    configured = "log_level" in settings.model_fields_set
    configure_logging(settings if configured else settings.model_copy(update={"log_level": "warning"}))
    return settings


@contextmanager
def running(settings: Settings, *, noted: bool = False) -> Iterator[Runtime]:
    """``noted``: what the command changes is told in the audit log."""
    from assistant.runtime import build

    runtime = build(settings)
    try:
        with _noting(runtime.desk.db) if noted else nullcontext():
            yield runtime
    finally:
        runtime.close()


@contextmanager
def migrated() -> Iterator[Database]:
    """The migrated database alone, for commands that need no model. What they change is told in the audit log."""
    from assistant.runtime import open_database

    database = open_database(read_settings())
    try:
        with _noting(database):
            yield database
    finally:
        database.close()


def concerns(public_id: str) -> None:
    """The audit log is to tell that this command was given, even if it changes nothing, and that it was about this. An
    argument may be an address, which would outlive whoever has it."""
    click.get_current_context().meta[_SUBJECT] = public_id


@contextmanager
def _noting(database: Database) -> Iterator[None]:
    """Put the command into the audit log once it is through, if it has committed anything."""
    from sqlalchemy import event

    from assistant.desk import audit

    command, committed = click.get_current_context(silent=True), False

    def note_commit(_connection: Any) -> None:
        nonlocal committed
        committed = True

    event.listen(database.engine, "commit", note_commit)
    yield
    if command is None or not (committed or _SUBJECT in command.meta):
        return
    arguments = [str(command.params[one.name]) for one in command.command.params if _is_told(command, one)]
    with database.begin() as session:
        audit.record_command(
            session,
            user=operator(),
            action=" ".join(["command", *_names(command)]),
            subject=command.meta.get(_SUBJECT, " ".join(arguments)),
            fields=[name for name in command.params if _is_given_option(command, name)],
        )


def _names(command: click.Context) -> list[str]:
    """Of a command and the groups that it is in, below the program's own."""
    return [*_names(command.parent), command.info_name or ""] if command.parent is not None else []


def _is_told(command: click.Context, parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Argument) and command.params.get(parameter.name or "") is not None


def _is_given_option(command: click.Context, name: str) -> bool:
    is_option = any(isinstance(one, click.Option) and one.name == name for one in command.command.params)
    return is_option and command.get_parameter_source(name) is ParameterSource.COMMANDLINE


def operator() -> str:
    """The user of the machine who gives the command."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's number without a name
        return f"user {os.getuid()}"


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Any]:
    """A function ``progress(done, total, what)`` that moves a bar on standard error, or prints a line every
    `PROGRESS_SECONDS` where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not quiet and not console.is_terminal:
        yield _progress_lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet) as bar:
        tasks: dict[str, Any] = {}

        def progress(done: int, total: int, what: str) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        yield progress


def _progress_lines() -> Callable[[int, int, str], None]:
    printed_at = monotonic()

    def progress(done: int, total: int, what: str) -> None:
        nonlocal printed_at
        if monotonic() - printed_at >= PROGRESS_SECONDS:
            printed_at = monotonic()
            click.echo(f"{what}: {done:,} of {total:,}", err=True)

    return progress


def one_line(error: Exception) -> str:
    """An unexpected error in one line that says what to do."""
    from assistant.faults import advice, passing_fault

    text = " ".join(str(error).split()) or type(error).__name__
    if "database or disk is full" in text or "No space left" in text:
        return "The disk is full. Free some space and try again. Stored data is intact."
    if isinstance(error, PermissionError):
        place = error.filename or "a file"
        return f"No permission to read or write {place}. Check its owner, or set ASSISTANT_DATA_DIR."
    if (fault := passing_fault(error)) is not None:
        return f"{advice(fault)} ({text.partition(' (Background on this error')[0][:300]})"
    if type(error).__name__ == "OperationalError":
        text = text.partition(" (Background on this error")[0]
        return f"Cannot use the database: {text[:300]}. Check ASSISTANT_DATABASE_URL and the data folder."
    return f"{type(error).__name__}: {text[:400]} (run again as `assistant --debug …` for details)"
