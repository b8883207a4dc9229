"""What text and photo say of a ticket together: triage by each alone, by ways of putting them together, and as served.

Tickets are scenes of the sample company's world, with what customers might write to them, half of which says nothing
but "see photo"; or real photos of public sets, with the same texts. Then one of both is missing, spoiled or another
ticket's.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageFilter

from assistant.lab.evaluation.learning import TICKETS
from assistant.lab.evaluation.scenes import LONG_SIDE
from assistant.lab.rows import read_rows
from assistant.lab.tables import Cell, table
from assistant.lab.training.scenes import photograph
from assistant.lab.training.world import FIRST_EVALUATION_SEED, Scene, products
from assistant.media import Limits, Photo, Upload, normalise
from assistant.ports import Capabilities
from assistant.progress import Progress, no_progress
from assistant.skills.read_photo import PhotoEvidence, read_photo
from assistant.skills.taxonomy import NO_PRODUCT, Taxonomy
from assistant.skills.triage import triage
from assistant.skills.triage_fields import questions

FIELDS = ("category", "product")
# Beyond the scenes that other evaluations draw.
_FIRST_SCENE = FIRST_EVALUATION_SEED + 50_000
# Of a photo of a public set: what a ticket with it is probably about.
_SHARED = {
    "receipts": "billing_and_refund",
    "doorstep_packages": "delivery",
    "error_screenshots": "app_and_connection",
    "zammad_docs": "app_and_connection",
}
_MOST_OF_A_SET = 12
# What customers write who think that the photo says everything.
_VAGUE = (
    "See photo.", "Please have a look at the picture.", "What should I do now?", "Here it is, can you help me?",
    "Like this since yesterday.", "Siehe Foto.", "Was soll ich jetzt machen?", "Können Sie mir bitte helfen?",
    "Voir la photo, merci.", "Que dois-je faire ?", "Mirad la foto, por favor.", "Guardate la foto.",
)  # fmt: skip
_ABOUT = ("It is about my {}. ", "My {}. ", "{}: ")
# Category to the kind of scene that shows it.
_KINDS = {
    "device_fault": "product",
    "damaged_on_arrival": "parcel",
    "delivery": "parcel",
    "billing_and_refund": "receipt",
    "app_and_connection": "error dialog",
}


@dataclass(frozen=True)
class Ticket:
    """``truth``: field to value, of those that are known."""

    text: str
    photo: bytes
    truth: Mapping[str, str]


@dataclass(frozen=True)
class Given:
    """What there is of a ticket, in one of the conditions."""

    text: str
    evidence: PhotoEvidence | None
    photo: bytes | None


Shares = Mapping[str, Mapping[str, float]]  # field to distribution


@dataclass(frozen=True)
class Score:
    """``accuracy`` of the likeliest value; ``surprise``: the mean negative logarithm of what was right, in nats."""

    of: str
    condition: str
    field: str
    method: str
    tickets: int
    accuracy: float
    surprise: float


@dataclass(frozen=True)
class Report:
    scores: tuple[Score, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def render(self) -> str:
        """A text table: accuracy by condition (rows) and method (columns)."""
        methods = list(dict.fromkeys(one.method for one in self.scores))
        found = {(one.of, one.field, one.condition, one.method): one for one in self.scores}
        rows: list[tuple[Cell, ...]] = []
        for of, field, condition in dict.fromkeys(key[:3] for key in found):
            own = [found.get((of, field, condition, method)) for method in methods]
            count = next(one.tickets for one in own if one is not None)
            rows.append((f"{of}, {field}", condition, count, *(one.accuracy if one else None for one in own)))
        lines = table(("", "given", "tickets", *methods), rows)
        lines.append("\naccuracy of the likeliest value. early: one text of both; late: text and photo each give")
        lines.append("probabilities, which are multiplied; typed: a model's decisions over text and photo.")
        return "\n".join(lines)

    def plot(self, path: Path) -> None:
        """Write one figure (PNG): a panel for each set and field, with a group of bars for each condition."""
        from matplotlib.figure import Figure

        panels = list(dict.fromkeys((one.of, one.field) for one in self.scores))
        methods = list(dict.fromkeys(one.method for one in self.scores))
        figure = Figure(figsize=(9, 3.2 * len(panels)), layout="constrained")
        for axes, (of, field) in zip(figure.subplots(len(panels), squeeze=False).ravel(), panels, strict=True):
            own = [one for one in self.scores if (one.of, one.field) == (of, field)]
            conditions = list(dict.fromkeys(one.condition for one in own))
            for number, method in enumerate(methods):
                bars = [(conditions.index(one.condition), one.accuracy) for one in own if one.method == method]
                width = 0.8 / len(methods)
                places = [place + (number - (len(methods) - 1) / 2) * width for place, _ in bars]
                axes.bar(places, [height for _, height in bars], width, label=method)
            axes.set_xticks(range(len(conditions)), conditions)
            axes.set(title=f"{field}, {of}", ylabel="accuracy", ylim=(0, 1))
            axes.legend(loc="lower left", fontsize=7, ncols=len(methods))
        figure.savefig(path, format="png", dpi=130)


def scenes(count: int, taxonomy: Taxonomy, *, first: int = 0) -> list[Ticket]:
    """``count`` tickets with drawn photos, in turn of every category; ``first`` skips so many scenes."""
    wanted = dict.fromkeys(_KINDS, 0)
    most, seed, found = -(-count // len(wanted)), _FIRST_SCENE + first, list[Ticket]()
    while len(found) < count:
        seed += 1
        rarest = min(wanted, key=lambda category: wanted[category])
        photo, scene = photograph(seed, long_side=LONG_SIDE, kind=_KINDS[rarest])
        category = _category(scene)
        if category is None or wanted[category] == most:
            continue
        wanted[category] += 1
        named = next((key for key, one in products().items() if one.name in "\n".join(scene.text)), NO_PRODUCT)
        truth = {"category": category, "product": scene.product or named}
        stream = io.BytesIO()
        photo.save(stream, "JPEG", quality=88)
        found.append(_written(stream.getvalue(), truth, taxonomy, Random(seed)))
    return found


def real(folder: Path, taxonomy: Taxonomy, limits: Limits) -> list[Ticket]:
    """Tickets with photos of the public sets in ``folder``; those that are not there are left out."""
    found = []
    for name, category in _SHARED.items():
        if not (folder / name).is_dir():
            continue
        for row in list(read_rows(folder / name / "labels.jsonl"))[:_MOST_OF_A_SET]:
            file = folder / name / row.values["image"]
            photo = normalise(Upload(file.name, None, file.read_bytes()), limits)
            if isinstance(photo, Photo):
                random = Random(f"{name} {row.number}")
                found.append(_written(photo.data, {"category": category, "product": NO_PRODUCT}, taxonomy, random))
    return found


def evaluate_fusion(
    sets: Mapping[str, Sequence[Ticket]],
    *,
    capabilities: Capabilities,
    taxonomy: Taxonomy,
    progress: Progress = no_progress,
) -> Report:
    """``sets``: tickets by the name of their set."""
    scores = []
    for name, tickets in sets.items():
        for condition, given in _conditions(tickets, capabilities, taxonomy, progress):
            said = _by_method(given, capabilities, taxonomy)
            scores += list(_scores(name, condition, tickets, said))
    return Report(tuple(scores))


def _category(scene: Scene) -> str | None:
    """The sample's category of a ticket with this photo; None if that could be several."""
    if scene.kind == "parcel":
        return "damaged_on_arrival" if scene.damage else "delivery"
    if scene.kind == "product" and scene.condition not in ("intact", "cannot tell"):
        return "device_fault"
    return {"receipt": "billing_and_refund", "error dialog": "app_and_connection"}.get(scene.kind)


def _written(photo: bytes, truth: Mapping[str, str], taxonomy: Taxonomy, random: Random) -> Ticket:
    """The photo with what its customer writes: every other one says what it is about, every other names the product."""
    product = truth["product"]
    name = products()[product].name if product in products() else ""
    if random.random() < 0.5:
        telling = [
            text for own in TICKETS.values() for text in own[truth["category"]]
            if set(taxonomy.products_in(text)) <= {product}
        ]  # fmt: skip
        return Ticket(random.choice(telling), photo, truth)
    about = random.choice(_ABOUT).format(name) if name and random.random() < 0.5 else ""
    return Ticket(about + random.choice(_VAGUE), photo, truth)


def _conditions(
    tickets: Sequence[Ticket], capabilities: Capabilities, taxonomy: Taxonomy, progress: Progress
) -> Iterator[tuple[str, list[Given]]]:
    def read(spoil: Callable[[Image.Image], Image.Image] | None, what: str) -> list[tuple[bytes, PhotoEvidence]]:
        photos = [one.photo if spoil is None else _spoiled(one.photo, spoil) for one in tickets]
        found = []
        for number, photo in enumerate(photos, start=1):
            found.append((photo, read_photo(photo, capabilities=capabilities, taxonomy=taxonomy)))
            progress(number, len(photos), f"Reading photos, {what}")
        return found

    seen = read(None, "as they are")
    texts = [one.text for one in tickets]
    others = [*seen[len(seen) // 2 :], *seen[: len(seen) // 2]]
    yield "both", [Given(text, evidence, photo) for text, (photo, evidence) in zip(texts, seen, strict=True)]
    yield "no photo", [Given(text, None, None) for text in texts]
    yield "no text", [Given("", evidence, photo) for photo, evidence in seen]
    for name, spoil in (("blurred", _blurred), ("dark", _darkened)):
        spoiled = read(spoil, name)
        yield name, [Given(text, evidence, photo) for text, (photo, evidence) in zip(texts, spoiled, strict=True)]
    yield "wrong photo", [Given(text, evidence, photo) for text, (photo, evidence) in zip(texts, others, strict=True)]


def _spoiled(photo: bytes, spoil: Callable[[Image.Image], Image.Image]) -> bytes:
    stream = io.BytesIO()
    spoil(Image.open(io.BytesIO(photo)).convert("RGB")).save(stream, "JPEG", quality=80)
    return stream.getvalue()


def _blurred(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(max(image.size) / 150))


def _darkened(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image, np.float32) * 0.12
    noise = np.random.default_rng(0).normal(0, 5, pixels.shape)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def _by_method(
    given: Sequence[Given], capabilities: Capabilities, taxonomy: Taxonomy
) -> dict[str, list[Shares | None]]:
    """What each method says of each ticket; None where it has nothing to go by."""
    said: dict[str, list[Shares | None]] = {
        "text": [_triaged(one.text, capabilities, taxonomy) if one.text else None for one in given],
        "photo": [_photo_alone(one, capabilities, taxonomy) for one in given],
        "early": [
            _triaged(f"{one.text}\n{one.evidence.as_text() if one.evidence else ''}".strip(), capabilities, taxonomy)
            for one in given
        ],
    }
    late = []
    for text, photo in zip(said["text"], said["photo"], strict=True):
        late.append(_multiplied(text, photo) if text and photo else text or photo)
    said["late"] = late
    if capabilities.decisions is not None:
        said["typed"] = [_typed(one, capabilities, taxonomy) for one in given]
    evidence = [() if one.evidence is None else (one.evidence,) for one in given]
    photos = [() if one.photo is None else (one.photo,) for one in given]
    said["served"] = [
        _triaged(one.text, capabilities, taxonomy, read, shown)
        for one, read, shown in zip(given, evidence, photos, strict=True)
    ]
    return said


def _photo_alone(given: Given, capabilities: Capabilities, taxonomy: Taxonomy) -> Shares | None:
    if given.evidence is None:
        return None
    by_words = _triaged(given.evidence.as_text(), capabilities, taxonomy)
    return {**by_words, "product": _triaged("", capabilities, taxonomy, (given.evidence,))["product"]}


def _triaged(
    text: str,
    capabilities: Capabilities,
    taxonomy: Taxonomy,
    evidence: Sequence[PhotoEvidence] = (),
    photos: Sequence[bytes] = (),
) -> Shares:
    found = triage(text, evidence=evidence, photos=photos, capabilities=capabilities, taxonomy=taxonomy)
    return {field.name: field.probabilities for field in found if field.name in FIELDS}


def _typed(given: Given, capabilities: Capabilities, taxonomy: Taxonomy) -> Shares:
    assert capabilities.decisions is not None  # noqa: S101  (checked by the caller)
    asked = [question for question in questions(taxonomy) if question.key in FIELDS]
    photos = [given.photo] if given.photo is not None and capabilities.sees_photos else []
    return {one.key: one.probabilities for one in capabilities.decisions.decide(given.text, photos, asked)}


def _multiplied(text: Shares, photo: Shares) -> Shares:
    found = {}
    for field, shares in text.items():
        weights = {key: share * photo[field][key] for key, share in shares.items()}
        found[field] = {key: weight / sum(weights.values()) for key, weight in weights.items()}
    return found


def _scores(
    of: str, condition: str, tickets: Sequence[Ticket], said: Mapping[str, Sequence[Shares | None]]
) -> Iterator[Score]:
    for field in FIELDS:
        for method, all_shares in said.items():
            if any(shares is None for shares in all_shares):
                continue
            own = [(one.truth[field], shares[field]) for one, shares in zip(tickets, all_shares, strict=True) if shares]
            right = [max(shares, key=shares.__getitem__) == truth for truth, shares in own]
            surprise = [-np.log(max(shares.get(truth, 0.0), 1e-6)) for truth, shares in own]
            yield Score(of, condition, field, method, len(own), float(np.mean(right)), float(np.mean(surprise)))
