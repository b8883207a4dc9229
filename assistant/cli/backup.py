"""``assistant backup``: everything in one file, and back."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from assistant.cli.common import progress_bar, read_settings

_file = click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group()
def backup() -> None:
    """Back up everything in one file, check it and restore it."""


@backup.command("create")
@click.argument("path", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--secret-key", is_flag=True, help="Also the secret key; without it, stored secrets cannot be read.")
@click.option("--passphrase", "encrypt", is_flag=True, help="Encrypt the secret key: ask, or read standard input.")
def backup_create(path: Path, secret_key: bool, encrypt: bool) -> None:
    """Write database, files and list of erasures to FILE, while everything is in use.

    Settings and the taxonomy's file are not in it. But for the secret key it is not encrypted: keep it where
    customers' data may be.
    """
    from assistant.backup import create
    from assistant.db import Database
    from assistant.storage import Storage

    if encrypt and not secret_key:
        raise click.UsageError("--passphrase encrypts the secret key: use --secret-key, too.")
    settings = read_settings()
    passphrase = _ask_passphrase(confirm=True) if encrypt else None
    database = Database(settings.sqlalchemy_url)
    storage = Storage.open(settings.attachments_url)
    with progress_bar(quiet=False) as progress:
        manifest = create(
            settings, database, storage, path, with_secret=secret_key, passphrase=passphrase, progress=progress
        )
    database.close()
    size = path.stat().st_size / 1e6
    click.echo(f"Backed up to {path}: the database and {manifest.files:,} files ({size:.1f} MB).")
    for sha256 in manifest.lost:
        click.echo(f"warning: the file {sha256[:12]}… was missing or damaged; see: assistant db check", err=True)
    if secret_key and not encrypt:
        click.echo(
            "warning: whoever has this file can sign in as anybody. Keep it locked away, or see --passphrase.", err=True
        )


@backup.command("verify")
@_file
def backup_verify(path: Path) -> None:
    """Read all of FILE: compare every sum, and check the database in it for damage."""
    from assistant.backup import verify

    manifest = verify(path)
    key = "with" if manifest.has_secret else "without"
    click.echo(f"ok    of {manifest.made_at[:16]}, made by version {manifest.version}, tables at {manifest.revision}")
    click.echo(f"ok    undamaged: the database and {manifest.files:,} files, {key} the secret key")


@backup.command("restore")
@_file
@click.option("--replace", is_flag=True, help="Although there is a database: it is set aside, under another name.")
@click.option("--passphrase", "is_encrypted", is_flag=True, help="Of the secret key: ask, or read standard input.")
def backup_restore(path: Path, replace: bool, is_encrypted: bool) -> None:
    """Put everything from FILE into the data folder, or where the settings say. Stop the server and all workers first.

    Whoever has been erased, by the list in FILE or the one in the data folder, is erased again.
    """
    from assistant.backup import restore

    settings = read_settings()
    passphrase = _ask_passphrase(confirm=False) if is_encrypted else None
    with progress_bar(quiet=False) as progress:
        done = restore(path, settings, replace=replace, passphrase=passphrase, progress=progress)
    click.echo(f"Restored what there was on {done.manifest.made_at[:16]}: the database and {done.files:,} files.")
    if done.erased:
        click.echo(f"Erased again: {len(done.erased)} customers.")
    if done.aside is not None:
        click.echo(f"The database of before is {done.aside}. Delete it once it is not needed.")
    if not done.has_secret:
        said = "The secret key did not come from this backup: if it is another one, everybody signs in anew, and"
        click.echo(f"{said} stored secrets cannot be read (put the old one into ASSISTANT_SECRET_KEY).", err=True)


def _ask_passphrase(*, confirm: bool) -> str:
    if sys.stdin.isatty():
        return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm))
    if not (given := sys.stdin.readline().rstrip("\n")):
        raise click.UsageError("No passphrase given. Pass one on standard input.")
    return given
