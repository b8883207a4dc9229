"""Settings: the company's own products, learned from photos in versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flask import request, url_for

from assistant.desk import products
from assistant.media.files import Upload
from assistant.models import HeadState
from assistant.payloads import ProductVersion
from assistant.web import console_words
from assistant.web.console_pages import Cell, Field, Row, To, blueprint, form, given, listed, question, said
from assistant.web.context import desk
from assistant.web.responses import Reply

_TAGS = {HeadState.SERVED: "decided"}


@blueprint.get("/products")
def product_versions() -> Reply:
    with desk().db.read() as session:
        versions, new = products.list_versions(session), products.waiting(session)
        corrected = len(products.corrected_photos(session, desk()))
    about = (
        "What your products look like, learned from a few photos of each. Customers' photos are then recognised "
        "without a GPU; what looks like none of them is left to people. Add all products that look alike."
    )
    if new:
        about = f"{new} new {'photo is' if new == 1 else 'photos are'} being learned from. Reload in a minute. {about}"
    if corrected:
        photos = "A photo that agents corrected" if corrected == 1 else f"{corrected} photos that agents corrected"
        about = f"{about} {photos} can be added."
    more = (To("Add corrected photos…", url_for("console.admin.add_corrected_photos")),) if corrected else ()
    return listed(
        "product_versions",
        "Products",
        ("Version", "Products", "Photos", "Right on photos left out", "Silent on other products", "State"),
        [_row(one) for one in versions],
        add=To("Add photos", url_for("console.admin.add_product_photos")),
        actions=more,
        about=about,
        nothing="Nothing learned yet. Add three to ten photos of a product, from several sides.",
    )


def _row(version: ProductVersion) -> Row:
    number, is_served = version.version, version.state is HeadState.SERVED
    action = ("Take back…", "take_back_products") if is_served else ("Serve…", "serve_products")
    link = To(action[0], url_for(f"console.admin.{action[1]}", number=number))
    return Row(
        f"Version {number}",
        (
            Cell(str(len(version.products))),
            Cell(str(sum(version.products.values()))),
            Cell(_share(version.trial.accuracy)),
            Cell(_share(version.trial.silent)),
            Cell(console_words.words(version.state.value), _TAGS.get(version.state, "")),
        ),
        url=url_for("console.admin.product_version", number=number),
        actions=(link,),
        is_over=not is_served,
    )


def _share(value: float | None) -> str:
    return "not known" if value is None else f"{value:.0%}"


@blueprint.get("/products/<int:number>")
def product_version(number: int) -> Reply:
    """Each product with what its photos are mistaken for, so that one sees where more of them help."""
    with desk().db.read() as session:
        version = products.show_version(session, number)
        confused = products.mistaken(session, desk(), number)
    names = version.names | desk().taxonomy.names_by_key
    return listed(
        "product_versions",
        f"Version {number}",
        ("Product", "Photos", "Taken for another when left out", "Conditions, of photos left out"),
        [
            Row(
                names[key],
                (
                    Cell(str(count)),
                    Cell("; ".join(_said(one, names) for one in confused.get(key, ()))),
                    Cell(_told(version, key)),
                ),
                note=key,
            )
            for key, count in version.products.items()
        ],
        add=To("Add photos", url_for("console.admin.add_product_photos")),
        about="Each photo is told by the others. Add photos of the products that are taken for others.",
        nothing="",
    )


def _said(one: products.Mistaken, names: Mapping[str, str]) -> str:
    return f"{one.filename}: {names[one.taken_for]} ({one.probability:.0%})"


def _told(version: ProductVersion, product: str) -> str:
    return "; ".join(
        f"{', '.join(one.conditions)}: {one.claimed} of {one.photos} told, {one.claimed_right} rightly"
        for one in version.trial.conditions
        if one.product == product
    )


@blueprint.route("/products/add", methods=["GET", "POST"])
def add_product_photos() -> Reply:
    """Hand in photos of one product."""

    def fields() -> Sequence[Field]:
        known = [("", "Another one:"), *((one.key, one.name) for one in desk().taxonomy.products)]
        return (
            Field("product", "Product", "", "select", known),
            Field("name", "Its name", hint="Of another one. Tickets are sorted by it once it has been learned."),
            Field(
                "condition",
                "What all of them show",
                hint="Such as intact, damaged, light red, part missing: three photos of each or more. Empty: nothing.",
            ),
            Field(
                "photos", "Photos", "", "files", hint="From several sides, as customers would take them.", required=True
            ),
        )

    def done() -> Reply:
        uploads = [
            Upload(file.filename or "photo", file.mimetype or None, file.read())
            for file in request.files.getlist("photos")
            if file.filename
        ]
        with desk().db.begin() as session:
            count = products.hand_in(
                session, desk(), given("product"), given("name"), uploads, condition=given("condition")
            )
        return said(f"{count} {'photo is' if count == 1 else 'photos are'} being learned from.", "product_versions")

    return form("product_versions", "Add photos of a product", fields, done, button="Add", is_upload=True)


@blueprint.route("/products/add-corrected", methods=["GET", "POST"])
def add_corrected_photos() -> Reply:
    """Learn from customers' photos that agents have corrected."""

    def done() -> Reply:
        with desk().db.begin() as session:
            count = products.hand_in_corrected(session, desk())
        return said(f"{count} {'photo is' if count == 1 else 'photos are'} being learned from.", "product_versions")

    about = (
        "They become reference photos of the products that agents said they show, and go with their customers. "
        "Agents of every inbox may see them beside photos that look like them."
    )
    return question("product_versions", "Learn from photos that agents corrected?", about, "Learn", done)


@blueprint.route("/products/<int:number>/serve", methods=["GET", "POST"])
def serve_products(number: int) -> Reply:
    """Serve a version, whatever its trial says."""

    def done() -> Reply:
        with desk().db.begin() as session:
            products.promote(session, number)
        return said(f"Version {number} serves.", "product_versions")

    about = "New photos are read with it from now on. What has been read stays as it is."
    return question("product_versions", f"Serve version {number}?", about, "Serve", done)


@blueprint.route("/products/<int:number>/take-back", methods=["GET", "POST"])
def take_back_products(number: int) -> Reply:
    """Stop serving the version that serves."""

    def done() -> Reply:
        with desk().db.begin() as session:
            before = products.roll_back(session)
        now = f"Version {before.version} serves instead." if before is not None else "None serves now."
        return said(f"Version {number} is taken back. {now}", "product_versions")

    about = "The version of before serves instead, if there is one. What has been read stays as it is."
    return question("product_versions", f"Take back version {number}?", about, "Take back", done)
