"""The evaluation set that is made, not kept: scenes of the sample company's world from seeds that training never draws.

Beside the reading, typed questions are asked of each photo, and asked again with the photo withheld: what is right
then, was guessed.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from assistant.errors import Invalid
from assistant.lab.evaluation.photos import Case, Outcome, Report, compared, read_all, reported
from assistant.lab.training.drawing import Item
from assistant.lab.training.questions import Asked, light, typed
from assistant.lab.training.scenes import photograph
from assistant.lab.training.tickets import claim
from assistant.lab.training.world import FIRST_EVALUATION_SEED, Scene, products
from assistant.ports import Box, Capabilities
from assistant.progress import Progress
from assistant.skills.contradictions import contradictions
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence
from assistant.skills.taxonomy import Taxonomy

# As phones send them, about; the model sees less.
LONG_SIDE = 800
_TEXTS = ("code", "serial", "model", "order", "error")


@dataclass(frozen=True)
class Drawn:
    case: Case
    asked: tuple[Asked, ...]
    claims: Mapping[bool, str]  # a text about the photo by whether it lies; empty for a photo of no product


def drawn(count: int, *, first: int = 0, kind: str | None = None) -> list[Drawn]:
    """``count`` scenes from the evaluation seed number ``first`` on."""
    return [_drawn(FIRST_EVALUATION_SEED + first + number, kind) for number in range(count)]


def evaluate_scenes(
    scenes: Sequence[Drawn], *, capabilities: Capabilities, taxonomy: Taxonomy, progress: Progress | None = None
) -> Report:
    """As `evaluate_photos`, with typed questions. Raises `Invalid` without a model that decides."""
    if capabilities.decisions is None:
        raise Invalid("No vision-language model is installed. Set ASSISTANT_MODEL, or name a folder of photos.")
    cases = [scene.case for scene in scenes]
    read, seconds = read_all(cases, capabilities=capabilities, taxonomy=taxonomy, progress=progress)
    outcomes: list[Outcome] = []
    for number, (scene, evidence) in enumerate(zip(scenes, read, strict=True), start=1):
        outcomes += compared(scene.case, evidence)
        outcomes += _contradicted(scene, evidence, taxonomy)
        outcomes += _decided(scene, [scene.case.photo], "question: {}", capabilities)
        outcomes += _decided(scene, [], "question without the photo", capabilities)
        if progress is not None:
            progress(number, len(scenes), "Asking questions")
    return reported("generated", capabilities.model, outcomes, photos=len(cases), seconds=seconds)


def _drawn(seed: int, kind: str | None) -> Drawn:
    photo, scene = photograph(seed, long_side=LONG_SIDE, kind=kind)
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=88)
    asked = tuple(typed(Random(seed), scene))
    told = {lies: claim(Random(seed), scene, lies=lies) for lies in (True, False)} if scene.kind == "product" else {}
    claims = {lies: text for lies, text in told.items() if text is not None}
    case = Case(f"scene-{seed - FIRST_EVALUATION_SEED}", stream.getvalue(), _expected(scene), _boxes(scene))
    return Drawn(case, asked, claims)


def _expected(scene: Scene) -> dict[str, str]:
    kind = light(scene)
    lights = ", ".join(scene.lights) if kind == "different" else kind
    fields = {"product": scene.product or _named(scene), "lights": lights, "condition": scene.condition}
    return fields | {name: value for name in _TEXTS if (value := getattr(scene, name))}


def _named(scene: Scene) -> str:
    """The product that a receipt, a parcel or a dialog names, as far as it can be read in the photo."""
    text = "\n".join(scene.text)
    return next((key for key, product in products().items() if product.name in text), CANNOT_TELL)


def _boxes(scene: Scene) -> dict[str, tuple[Box, ...]]:
    kinds = {"product": "body", "lights": "light", "condition": "damage"}
    boxes = {name: tuple(_box(item) for item in scene.items if item.kind == kind) for name, kind in kinds.items()}
    for name in _TEXTS:
        value = getattr(scene, name)
        boxes[name] = tuple(_box(item) for item in scene.items if item.kind == "line" and value and value in item.value)
    return boxes


def _box(item: Item) -> Box:
    return Box(*item.bounds)


def _contradicted(scene: Drawn, evidence: PhotoEvidence, taxonomy: Taxonomy) -> Iterator[Outcome]:
    """Whether it is noticed that a text is not about its photo, and not said of one that is."""
    for lies, text in scene.claims.items():
        said = "yes" if contradictions(text, [evidence], taxonomy) else "no"
        truth, name = ("yes", "contradiction") if lies else ("no", "no contradiction")
        yield Outcome(scene.case.name, name, truth, said, 1.0, said == truth, float(said == truth))


def _decided(scene: Drawn, photos: Sequence[bytes], field: str, capabilities: Capabilities) -> Iterator[Outcome]:
    """Questions about the same text are asked together."""
    assert capabilities.decisions is not None  # noqa: S101  (asked for by who calls)
    for state in dict.fromkeys(one.state for one in scene.asked):
        asked = [one for one in scene.asked if one.state == state]
        decisions = capabilities.decisions.decide(state, photos, [one.question for one in asked])
        for one, decision in zip(asked, decisions, strict=True):
            right, name = decision.best == one.answer, field.format(one.name)
            yield Outcome(scene.case.name, name, one.answer, decision.best, decision.probability, right, float(right))
