"""``assistant products``: teach the assistant what your own products look like."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assistant.cli.common import json_option, migrated, progress_bar, read_settings, running

if TYPE_CHECKING:
    from assistant.desk.products import NewPhoto
    from assistant.payloads import ProductVersion
    from assistant.skills.taxonomy import Taxonomy

_PHOTOS = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".heic", ".heif"}


@click.group()
def products() -> None:
    """Teach what your own products look like, from a few photos of each; no GPU, no training of a network."""


@products.command("learn")
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--afresh", is_flag=True, help="Forget the photos of before; else these are added to them.")
@click.option("--from-corrections", is_flag=True, help="Also learn from customers' photos that agents have corrected.")
@click.option("--from-articles", is_flag=True, help="Also learn from the pictures of articles about one product.")
@json_option
def products_learn(
    folder: Path | None, afresh: bool, from_corrections: bool, from_articles: bool, as_json: bool
) -> None:
    """Learn from the photos in FOLDER: one folder for each product, named by its key or name in the taxonomy.

    Other names are products of their own. One photo of each will do, three to ten from several sides are better. Give
    all products that look alike, so that one is not taken for another. The new version serves unless the one before
    knows the same photos better.

    A folder in a product's folder is a condition that its photos show: "intact", "damaged", "light red". Conditions of
    one kind exclude each other; three photos of each, and better ten, are what it takes. A CSV file in FOLDER with the
    columns file, condition and, if you like, kind (damage, light, part, display, other) says the same of any photo.

    Photos that agents have corrected are customers': they are forgotten with them.
    """
    from assistant.desk.products import article_photos, corrected_photos, learn_products

    if folder is None and not (from_corrections or from_articles):
        raise click.UsageError("Name a FOLDER of photos, or choose --from-corrections or --from-articles.")
    with running(read_settings(), noted=True) as runtime:
        desk = runtime.desk
        known = {product.key for product in desk.taxonomies.file.products}
        photos, names = _in_folder(folder, desk.taxonomy) if folder is not None else ([], {})
        with desk.db.read() as session:
            photos += corrected_photos(session, desk) if from_corrections else []
            photos += article_photos(session, desk) if from_articles else []
        with progress_bar(quiet=as_json) as progress:
            version = learn_products(desk, photos, names, afresh=afresh, progress=progress)
        strange = [key for key in version.products if key not in known]
    _print(version, as_json)
    if strange and not as_json:
        click.echo(f"Not in the taxonomy's file, known by these photos only: {', '.join(strange)}")


def _in_folder(folder: Path, taxonomy: Taxonomy) -> tuple[list[NewPhoto], dict[str, str]]:
    """The photos, and the names of the products by their keys."""
    from assistant.desk.products import NewPhoto, key_of
    from assistant.media.files import Upload

    photos, names, said = [], {}, _conditions(folder)
    for own in sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith(".")):
        key = key_of(own.name, taxonomy)
        names[key] = own.name
        for file in (one for one in sorted(own.rglob("*")) if one.suffix.lower() in _PHOTOS):
            inside = file.relative_to(own).parts[:-1]
            condition, kind = said.get(file.resolve(), (inside[0] if inside else "", ""))
            photos.append(NewPhoto(key, Upload(file.name, None, file.read_bytes()), condition, kind))
    return photos, names


def _conditions(folder: Path) -> dict[Path, tuple[str, str]]:
    """Condition and kind of photos that the CSV files in the folder name."""
    said = {}
    for file in sorted(folder.glob("*.csv")):
        with file.open(encoding="utf-8-sig", newline="") as stream:
            for number, row in enumerate(csv.DictReader(stream), start=2):
                named = folder / (row.get("file") or "")
                if not row.get("condition") or not named.is_file():
                    raise click.ClickException(
                        f"{file.name}, line {number}: no file and condition of a photo in {folder}."
                    )
                said[named.resolve()] = (row["condition"] or "", (row.get("kind") or "").strip())
    return said


@products.command("list")
@json_option
def products_list(as_json: bool) -> None:
    """Every version that is kept, the newest first."""
    from assistant.desk.products import list_versions

    with migrated() as database, database.read() as session:
        versions = list_versions(session)
    if as_json:
        click.echo(json.dumps([one.to_json() for one in versions], ensure_ascii=False, indent=2))
    for version in () if as_json else versions:
        click.echo(_line(version))
    if not versions and not as_json:
        click.echo("No products have been learned. Begin with: assistant products learn FOLDER")


@products.command("show")
@click.argument("version", required=False, type=int)
@json_option
def products_show(version: int | None, as_json: bool) -> None:
    """The version that serves, or VERSION: its products, and how it did on its photos, each left out in turn."""
    from assistant.desk.products import show_version

    with migrated() as database, database.read() as session:
        found = show_version(session, version)
    _print(found, as_json)


@products.command("rollback")
def products_rollback() -> None:
    """Stop serving the version that serves: the one before it serves, or none."""
    from assistant.desk.products import roll_back

    with migrated() as database, database.begin() as session:
        before = roll_back(session)
    click.echo("No version serves now." if before is None else f"Version {before.version} serves now.")


@products.command("promote")
@click.argument("version", type=int)
def products_promote(version: int) -> None:
    """Serve VERSION, whatever its trial says."""
    from assistant.desk.products import promote

    with migrated() as database, database.begin() as session:
        promote(session, version)
    click.echo(f"Version {version} serves now.")


def _print(version: ProductVersion, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(version.to_json(), ensure_ascii=False, indent=2))
        return
    click.echo(_line(version))
    for key, count in version.products.items():
        click.echo(f"  {key:<32} {count} {'photo' if count == 1 else 'photos'}")
    for one in version.trial.conditions:
        told = ", ".join(f"{name} ({photos})" for name, photos in one.conditions.items())
        click.echo(
            f"  {one.product:<32} {one.kind}: {told}; of {one.photos} photos left out in turn {one.right} right, "
            f"{one.claimed} claimed, {one.claimed_right} of those rightly"
        )


def _line(version: ProductVersion) -> str:
    trial, photos = version.trial, sum(version.products.values())
    parts = [f"version {version.version}: {version.state.value.replace('_', ' ')}"]
    parts.append(f"{len(version.products)} products, {photos} photos, {version.features}")
    if trial.accuracy is not None and trial.calibration_error is not None:
        parts.append(
            f"of {trial.photos} photos left out in turn {trial.accuracy:.0%} right, ECE {trial.calibration_error:.2f}"
        )
    if trial.silent is not None:
        parts.append(f"“cannot tell” of {trial.silent:.0%} if their product is unknown")
    return "; ".join(parts)
