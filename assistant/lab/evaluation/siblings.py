"""Manuals of nearly identical products: does the right product's passage come first?

Without the product, nobody can tell which manual is meant. Measured is what knowing the product is worth: from the
ticket, the question, or a photo. The manuals are generated from a seed, with written questions, or those of a folder
with a list of products, where the headings that most manuals share serve as questions.
"""

from __future__ import annotations

import csv
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assistant.db import Database, migrate
from assistant.errors import Invalid
from assistant.knowledge.imports import Importer
from assistant.knowledge.indexing import embed_headings
from assistant.lab.tables import table
from assistant.ports import Box, Capabilities, TextLine
from assistant.progress import Progress, no_progress
from assistant.retrieval.embedders import Embedders
from assistant.retrieval.index import Filters, Hit, Index
from assistant.retrieval.loaders import list_articles
from assistant.retrieval.splitting import SEPARATOR
from assistant.skills.answer_request import AnswerRequest, build_query, products_of
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence, Reading
from assistant.skills.taxonomy import Label, Taxonomy

UNKNOWN, TICKET, QUESTION, PHOTO = "not known", "known from the ticket", "named in the question", "read in a photo"
# A heading serves as a question if at least this many manuals have it, and at least a third of them.
_SHARED_BY = 3
_MOST_HEADINGS = 12
# Characters within which a manual names its product.
_OPENING = 400


@dataclass(frozen=True)
class Manual:
    """A product, its article's id in the set, and the text (Markdown)."""

    product: Label
    name: str
    text: str


@dataclass(frozen=True)
class Asked:
    """A question and the heading of the section that answers it."""

    text: str
    heading: str


@dataclass(frozen=True)
class Outcome:
    """Shares of questions whose first passage is of the right product, and of the right section as well."""

    known: str
    questions: int
    right_product: float
    right_section: float


@dataclass(frozen=True)
class Report:
    name: str
    manuals: int
    outcomes: tuple[Outcome, ...]

    def of(self, known: str) -> Outcome:
        return next(outcome for outcome in self.outcomes if outcome.known == known)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """A text table."""
        lines = [f"{self.name}: {self.manuals} manuals of similar products, {self.outcomes[0].questions} questions"]
        lines += table(
            ("the product is", "right product first", "right section first"),
            ((one.known, one.right_product, one.right_section) for one in self.outcomes),
        )
        return "\n".join(lines)


def evaluate_made(models: Capabilities, *, count: int = 10, seed: int = 0, progress: Progress = no_progress) -> Report:
    """Measure on generated manuals."""
    manuals = make_manuals(count, seed=seed)
    return _evaluate("generated", manuals, [one for asked, _ in _SECTIONS.values() for one in asked], models, progress)


def evaluate_folder(folder: Path, models: Capabilities, *, progress: Progress = no_progress) -> Report:
    """Measure on a folder with manuals (Markdown) and a CSV file of products (column name). Raises `Invalid` if there
    are fewer than two manuals of these products."""
    products = [Label(_key(name), name) for name in dict.fromkeys(_names(folder))]
    taxonomy = Taxonomy(categories=(), teams=(), products=tuple(products))
    manuals = []
    for file in sorted(folder.rglob("*.md")):
        text = file.read_text(encoding="utf-8")
        named = taxonomy.products_in(text[:_OPENING])
        if len(named) == 1:
            product = next(product for product in products if product.key == named[0])
            manuals.append(Manual(product, file.stem, text))
    if len(manuals) < 2:
        raise Invalid(f"{folder} holds no manuals of the products in its CSV files (column name): two are needed.")
    return _evaluate(folder.name, manuals, _headings(manuals), models, progress)


def make_manuals(count: int, *, seed: int = 0) -> list[Manual]:
    """Manuals of one product family: same sections and words, different values. As with real manuals, half name the
    product in the title, the others only in the first sentence."""
    chance = random.Random(seed)
    manuals = []
    for number in range(count):
        name = f"{_FAMILY} {_SERIES[number % len(_SERIES)]}{100 + 50 * (number // len(_SERIES))}"
        values = {"name": name, "n": chance.randint(2, 9), "m": chance.randint(10, 60), "where": chance.choice(_WHERE)}
        title = f"{name} manual" if number % 2 else f"Information about item {1000 + number}"
        sections = [f"## {heading}\n\n{text.format(**values)}" for heading, (_, text) in _SECTIONS.items()]
        text = "\n\n".join([f"# {title}", f"Thank you for choosing the {name}. Keep this manual.", *sections])
        manuals.append(Manual(Label(_key(name), name), f"item{number}", text))
    return manuals


def _evaluate(
    name: str, manuals: Sequence[Manual], asked: Sequence[Asked], models: Capabilities, progress: Progress
) -> Report:
    taxonomy = Taxonomy(categories=(), teams=(), products=tuple(manual.product for manual in manuals))
    with tempfile.TemporaryDirectory(prefix="siblings-") as folder:
        for manual in manuals:
            Path(folder, f"{manual.name}.md").write_text(manual.text, encoding="utf-8")
        migrate(f"sqlite:///{folder}/assistant.db")
        db = Database(f"sqlite:///{folder}/assistant.db")
        try:
            importer = Importer(db, "manuals", models.embedder, taxonomy=taxonomy, progress=progress)
            importer.run(list_articles(Path(folder)))
            embed_headings(db, models.embedder, progress=progress)
            index = Index(db, Embedders(models.embedder))
            outcomes = tuple(_outcome(known, index, manuals, asked, taxonomy) for known in _SEARCHES)
        finally:
            db.close()
    return Report(name, len(manuals), outcomes)


Search = Callable[[Index, str, Label, Taxonomy], list[Hit]]


def _search_with_photo(index: Index, question: str, product: Label, taxonomy: Taxonomy) -> list[Hit]:
    """As if OCR had read the product's label in a photo; everything after OCR is the product's own code."""
    sure = Reading(CANNOT_TELL, 1.0)
    keys = taxonomy.products_in(product.name)
    evidence = PhotoEvidence(
        caption=sure,
        product=Reading(keys[0], 0.95) if keys else sure,
        condition=sure,
        quality=sure,
        visible_text=(TextLine(product.name, 0.95, Box(0.2, 0.2, 0.8, 0.3)),),
    )
    request = AnswerRequest(question, evidence=(evidence,))
    known = products_of(request, index.products_in)
    return index.search(build_query(request), filters=Filters(products=known), limit=1)


_SEARCHES: Mapping[str, Search] = {
    UNKNOWN: lambda index, question, _product, _taxonomy: index.search(question, limit=1),
    TICKET: lambda index, question, product, _taxonomy: index.search(
        question, filters=Filters(products=(product.key,)), limit=1
    ),
    QUESTION: lambda index, question, product, _taxonomy: index.search(f"{product.name}: {question}", limit=1),
    PHOTO: _search_with_photo,
}


def _outcome(
    known: str, index: Index, manuals: Sequence[Manual], asked: Sequence[Asked], taxonomy: Taxonomy
) -> Outcome:
    product = section = number = 0
    for manual in manuals:
        for question in asked:
            if f" {question.heading}\n" not in f"{manual.text}\n":
                continue
            number += 1
            hits = _SEARCHES[known](index, question.text, manual.product, taxonomy)
            right = bool(hits) and hits[0].document.metadata["product"] == manual.product.key
            product += right
            section += right and question.heading in hits[0].document.metadata["heading"].split(SEPARATOR)
    return Outcome(known, number, product / max(number, 1), section / max(number, 1))


def _headings(manuals: Sequence[Manual]) -> list[Asked]:
    """The headings that many manuals share, the most frequent first."""
    counts: dict[str, int] = {}
    for manual in manuals:
        for heading in dict.fromkeys(line.lstrip("# ").strip() for line in manual.text.split("\n") if line[:2] == "##"):
            counts[heading] = counts.get(heading, 0) + 1
    least = max(_SHARED_BY, len(manuals) // 3)
    shared = sorted((heading for heading, number in counts.items() if number >= least), key=lambda one: -counts[one])
    return [Asked(heading, heading) for heading in shared[:_MOST_HEADINGS]]


def _names(folder: Path) -> list[str]:
    names = []
    for file in sorted(folder.rglob("*.csv")):
        with file.open(encoding="utf-8", newline="") as opened:
            names += [row["name"].strip() for row in csv.DictReader(opened) if (row.get("name") or "").strip()]
    return names


def _key(name: str) -> str:
    return "-".join(name.lower().split())


_FAMILY = "Nordwind"
_SERIES = ("AX ", "AX Plus ", "BX ", "BX Pro ")
_WHERE = ("behind the flap", "at the back", "under the cover", "on the left side")
# Heading to (questions, text). The questions deliberately use other words than the text.
_SECTIONS: dict[str, tuple[tuple[Asked, ...], str]] = {
    "Cleaning the filter": (
        (
            Asked("How do I wash out the filter?", "Cleaning the filter"),
            Asked("The filter is full of dust, what now?", "Cleaning the filter"),
        ),
        "Rinse the filter of the {name} under warm water every {n} weeks. It is {where}. Let it dry for {m} hours.",
    ),
    "Connecting to the network": (
        (
            Asked("How can I get it into my wifi?", "Connecting to the network"),
            Asked("It does not find my wireless network", "Connecting to the network"),
        ),
        "Hold the network button {where} for {n} seconds. The light blinks blue while it looks for your wifi.",
    ),
    "Noise": (
        (Asked("It is very loud", "Noise"), Asked("It hums and rattles at night", "Noise")),
        "A rattling noise comes from a loose panel {where}. At level {n} the appliance makes {m} decibels.",
    ),
    "Replacing the lamp": (
        (
            Asked("The lamp is broken, how do I change it?", "Replacing the lamp"),
            Asked("Which bulb do I need for a replacement?", "Replacing the lamp"),
        ),
        "Unplug the {name} and let it cool for {m} minutes. The lamp is {where}. Use a bulb of {n} watts.",
    ),
    "Warranty": (
        (
            Asked("How long is it covered if it breaks?", "Warranty"),
            Asked("Is a defect still under warranty?", "Warranty"),
        ),
        "The warranty lasts {n} years from the day of purchase. Defects are to be told within {m} days.",
    ),
    "Child lock": (
        (
            Asked("How do I stop children from switching it on?", "Child lock"),
            Asked("All buttons are locked, how do I unlock them?", "Child lock"),
        ),
        "Press both buttons {where} for {n} seconds to lock or unlock the panel.",
    ),
}
