"""Manuals of nearly identical products: does the right product's passage come first?

Without the product, nobody can tell which manual is meant. Measured is what knowing the product is worth: from the
ticket, the question (named in five wordings), or the type label in a photo. Each manual is imported as one article, and
once more as an article for each section, where BM25 searches the same passages. The manuals are generated from a seed,
with written questions, or those of a folder with a list of products, where the headings that most manuals share serve
as questions.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from assistant.db import Database, migrate
from assistant.errors import Invalid
from assistant.knowledge.imports import Importer
from assistant.knowledge.indexing import embed_headings
from assistant.lab.evaluation.baselines import Corpus
from assistant.lab.evaluation.retrieval_set import naming
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
MANUALS, SECTIONS = "one article a manual", "one article a section"
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
    """Shares of questions whose first passage is of the right product, whose first passage is of the right section as
    well, and that have such a passage among the first five; of the last, BM25's, for one article a section."""

    form: str
    known: str
    questions: int
    right_product: float
    right_section: float
    recall_5: float
    bm25_recall_5: float | None


@dataclass(frozen=True)
class Report:
    name: str
    manuals: int
    outcomes: tuple[Outcome, ...]

    def of(self, known: str, form: str = MANUALS) -> Outcome:
        return next(outcome for outcome in self.outcomes if (outcome.known, outcome.form) == (known, form))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """A text table."""
        lines = [f"{self.name}: {self.manuals} manuals of similar products, {self.outcomes[0].questions} questions"]
        lines += table(
            ("", "the product is", "right product first", "right section first", "Recall@5", "BM25"),
            (
                (one.form, one.known, one.right_product, one.right_section, one.recall_5, _or_dash(one.bm25_recall_5))
                for one in self.outcomes
            ),
        )
        return "\n".join(lines)


def _or_dash(share: float | None) -> str | float:
    return "-" if share is None else share


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
    product in the title, the others only in the first sentence. Every fourth lists more parts than a search has
    candidates."""
    chance = random.Random(seed)
    manuals = []
    for number in range(count):
        name = f"{_FAMILY} {_SERIES[number % len(_SERIES)].format(10 + 10 * (number // len(_SERIES)))}"
        values = {"name": name, "n": chance.randint(2, 9), "m": chance.randint(10, 60), "where": chance.choice(_WHERE)}
        title = f"{name} manual" if number % 2 else f"Information about item {1000 + number}"
        sections = [f"## {heading}\n\n{text.format(**values)}" for heading, (_, text) in _SECTIONS.items()]
        for side, part in itertools.product(_SIDES, _PARTS) if number % 4 == 0 else ():
            order = f"{chance.choice('KLMNP')}{chance.randint(1000, 9999)}"
            sections.append(f"## Spare part: {side} {part}\n\nThe {side} {part} has the order number {order}.")
        text = "\n\n".join([f"# {title}", f"Thank you for choosing the {name}. Keep this manual.", *sections])
        manuals.append(Manual(Label(_key(name), name), f"item{number}", text))
    return manuals


def _evaluate(
    name: str, manuals: Sequence[Manual], asked: Sequence[Asked], models: Capabilities, progress: Progress
) -> Report:
    asked = [one for one in asked if any(_has(manual, one) for manual in manuals)]
    outcomes = [
        _outcome(form, known, index, corpus, manuals, asked)
        for form in (MANUALS, SECTIONS)
        for index, corpus in _imported(form, manuals, models, progress)
        for known in (UNKNOWN, TICKET, QUESTION, PHOTO)
    ]
    return Report(name, len(manuals), tuple(outcomes))


def _imported(
    form: str, manuals: Sequence[Manual], models: Capabilities, progress: Progress
) -> Iterator[tuple[Index, Corpus]]:
    """The manuals in a temporary database, for the time of one iteration."""
    taxonomy = Taxonomy(categories=(), teams=(), products=tuple(manual.product for manual in manuals))
    with tempfile.TemporaryDirectory(prefix="siblings-") as folder:
        for manual in manuals:
            for place, text in enumerate(_sections(manual) if form == SECTIONS else [manual.text]):
                Path(folder, f"{manual.name}-{place}.md").write_text(text, encoding="utf-8")
        migrate(f"sqlite:///{folder}/assistant.db")
        db = Database(f"sqlite:///{folder}/assistant.db")
        try:
            importer = Importer(db, "manuals", models.embedder, taxonomy=taxonomy, progress=progress)
            importer.run(list_articles(Path(folder)))
            embed_headings(db, models.embedder, progress=progress)
            index = Index(db, Embedders(models.embedder), product_names=taxonomy.product_names)
            yield index, Corpus.read(db, models.embedding_model)
        finally:
            db.close()


def _sections(manual: Manual) -> Iterator[str]:
    """Each section as an article of its own that states its product."""
    for section in re.split(r"(?m)^(?=#)", manual.text):
        if section.strip():
            yield f"---\nproduct: {manual.product.key}\n---\n{re.sub('^#+', '#', section)}"


def _search(index: Index, known: str, question: str, product: Label) -> list[Hit]:
    if known == PHOTO:
        request = AnswerRequest(question, evidence=(_type_label(product),))
        filters = Filters(products=products_of(request, index.products_in))
        return index.search(build_query(request), filters=filters, limit=5)
    return index.search(question, filters=Filters(products=(product.key,) if known == TICKET else ()), limit=5)


def _type_label(product: Label) -> PhotoEvidence:
    """As if OCR had read the product's type label in a photo; everything after OCR is the product's own code."""
    serial = hashlib.sha256(product.name.encode()).hexdigest()[:10].upper()
    lines = [text.format(name=product.name, serial=serial) for text in _TYPE_LABEL]
    unknown = Reading(CANNOT_TELL, 1.0)
    return PhotoEvidence(
        caption=unknown,
        product=Reading(product.key, 0.95),
        condition=unknown,
        quality=unknown,
        visible_text=tuple(TextLine(line, 0.95, Box(0.2, 0.2, 0.8, 0.3)) for line in lines),
    )


def _outcome(
    form: str, known: str, index: Index, corpus: Corpus, manuals: Sequence[Manual], asked: Sequence[Asked]
) -> Outcome:
    found = []
    for number, (manual, question) in enumerate(itertools.product(manuals, asked)):
        if not _has(manual, question):
            continue
        text = naming(question.text, manual.product.name, number) if known == QUESTION else question.text
        places = [
            (hit.document.metadata["product"], hit.document.metadata["heading"].split(SEPARATOR))
            for hit in _search(index, known, text, manual.product)
        ]
        right = [key == manual.product.key and question.heading in headings for key, headings in places]
        first = places[0][0] == manual.product.key if places else False
        bm25 = form == SECTIONS and _bm25_finds(corpus, text, manual, question)
        found.append((first, right[:1] == [True], any(right), bm25))
    right_product, right_section, recall, words = (float(share) for share in np.mean(found, axis=0))
    return Outcome(form, known, len(found), right_product, right_section, recall, words if form == SECTIONS else None)


def _bm25_finds(corpus: Corpus, question: str, manual: Manual, asked: Asked) -> bool:
    """Whether one of BM25's first five articles is the section that is asked for."""
    places = [n for n, text in enumerate(_sections(manual)) if f"# {asked.heading}\n" in f"{text}\n"]
    best = np.argsort(-corpus.bm25(question), kind="stable")[:5]
    return bool({corpus.names[place] for place in best} & {f"{manual.name}-{place}" for place in places})


def _has(manual: Manual, asked: Asked) -> bool:
    return f" {asked.heading}\n" in f"{manual.text}\n"


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
_SERIES = ("X{}", "X{} Pro", "BX{}", "BX{} Plus")
_WHERE = ("behind the flap", "at the back", "under the cover", "on the left side")
_SIDES = ("upper", "lower", "front", "rear", "left", "right", "inner", "outer")
_PARTS = ("hinge", "screw", "spring", "gasket", "clip", "bearing", "panel", "spacer", "washer")
_TYPE_LABEL = (
    "NORDWIND APPLIANCES GMBH & CO. KG", "Model {name}", "S/N {serial}", "Type 4417-A", "220-240 V ~ 50/60 Hz",
    "Max. 1800 W", "IPX4", "Made in Germany", "Read the instructions before use", "Do not open. Risk of shock.",
    "Do not dispose of with household waste", "www.nordwind.example",
)  # fmt: skip
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
