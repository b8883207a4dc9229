"""A generated evaluation set: scenes of the sample company's world, from seeds that are never used for training.

Besides reading each photo, typed questions are asked about it, and asked again without the photo: right answers are
then guesses.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from assistant.errors import Invalid
from assistant.lab.evaluation.photos import Case, Outcome, Report, compared, read_all, reported
from assistant.lab.training.questions import Asked, light, typed
from assistant.lab.training.scenes import photograph
from assistant.lab.training.tickets import claim
from assistant.lab.training.world import FIRST_EVALUATION_SEED, Scene, products
from assistant.ports import Box, Capabilities
from assistant.progress import Progress, no_progress
from assistant.skills.contradictions import contradictions
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence
from assistant.skills.taxonomy import Taxonomy

# Roughly what phones send. The model sees less.
LONG_SIDE = 800
_TEXTS = ("code", "serial", "model", "order", "error")


@dataclass(frozen=True)
class Drawn:
    case: Case
    asked: tuple[Asked, ...]
    claims: Mapping[bool, str]  # texts about the photo: the false (True) and the true one; empty without a product


def drawn(count: int, *, first: int = 0, kind: str | None = None) -> list[Drawn]:
    """``count`` scenes, beginning with evaluation seed number ``first``."""
    return [_draw(FIRST_EVALUATION_SEED + first + number, kind) for number in range(count)]


def evaluate_scenes(
    scenes: Sequence[Drawn], *, capabilities: Capabilities, taxonomy: Taxonomy, progress: Progress = no_progress
) -> Report:
    """Like `evaluate_photos`, with typed questions. Raises `Invalid` without a model that decides."""
    if capabilities.decisions is None:
        raise Invalid("No vision-language model is installed. Set ASSISTANT_MODEL, or name a folder of photos.")
    cases = [scene.case for scene in scenes]
    read, seconds = read_all(cases, capabilities=capabilities, taxonomy=taxonomy, progress=progress)
    outcomes: list[Outcome] = []
    for number, (scene, evidence) in enumerate(zip(scenes, read, strict=True), start=1):
        outcomes += compared(scene.case, evidence)
        outcomes += _contradictions(scene, evidence, taxonomy)
        outcomes += _answers(scene, [scene.case.photo], "question: {}", capabilities)
        outcomes += _answers(scene, [], "question without the photo", capabilities)
        progress(number, len(scenes), "Asking questions")
    return reported("generated", capabilities.model, outcomes, photos=len(cases), seconds=seconds)


def _draw(seed: int, kind: str | None) -> Drawn:
    photo, scene = photograph(seed, long_side=LONG_SIDE, kind=kind)
    stream = io.BytesIO()
    photo.save(stream, "JPEG", quality=88)
    asked = tuple(typed(Random(seed), scene))
    claims = {lies: claim(Random(seed), scene, lies=lies) for lies in (True, False)} if scene.kind == "product" else {}
    case = Case(f"scene-{seed - FIRST_EVALUATION_SEED}", stream.getvalue(), _truth(scene), _boxes(scene))
    return Drawn(case, asked, {lies: text for lies, text in claims.items() if text is not None})


def _truth(scene: Scene) -> dict[str, str]:
    """Field to value. A receipt, parcel or dialog is about the product whose name can be read on it."""
    text, kind = "\n".join(scene.text), light(scene)
    named = next((key for key, product in products().items() if product.name in text), CANNOT_TELL)
    lights = ", ".join(scene.lights) if kind == "different" else kind
    fields = {"product": scene.product or named, "lights": lights, "condition": scene.condition}
    return fields | {name: value for name in _TEXTS if (value := getattr(scene, name))}


def _boxes(scene: Scene) -> dict[str, tuple[Box, ...]]:
    def boxes(kind: str, *, containing: str = "") -> tuple[Box, ...]:
        return tuple(Box(*one.bounds) for one in scene.items if one.kind == kind and containing in one.value)

    kinds = {"product": "body", "lights": "light", "condition": "damage"}
    texts = {name: value for name in _TEXTS if (value := getattr(scene, name))}
    lines = {name: boxes("line", containing=value) for name, value in texts.items()}
    return {name: boxes(kind) for name, kind in kinds.items()} | lines


def _contradictions(scene: Drawn, evidence: PhotoEvidence, taxonomy: Taxonomy) -> Iterator[Outcome]:
    """Whether a false text is reported to contradict the photo, and a true one is not."""
    for lies, text in scene.claims.items():
        said = "yes" if contradictions(text, [evidence], taxonomy) else "no"
        truth, name = ("yes", "contradiction") if lies else ("no", "no contradiction")
        yield Outcome(scene.case.name, name, truth, said, 1.0, said == truth, float(said == truth))


def _answers(scene: Drawn, photos: Sequence[bytes], field: str, capabilities: Capabilities) -> Iterator[Outcome]:
    """The model's answers to the scene's questions; those beside the same text are asked together."""
    assert capabilities.decisions is not None  # noqa: S101  (checked by `evaluate_scenes`)
    for state in dict.fromkeys(one.state for one in scene.asked):
        asked = [one for one in scene.asked if one.state == state]
        decisions = capabilities.decisions.decide(state, photos, [one.question for one in asked])
        for one, decision in zip(asked, decisions, strict=True):
            right, name = decision.best == one.answer, field.format(one.name)
            yield Outcome(scene.case.name, name, one.answer, decision.best, decision.probability, right, float(right))
