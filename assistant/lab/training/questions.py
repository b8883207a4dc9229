"""Questions about a scene with the true answers: typed ones, open ones, and reading the photo into evidence.

Questions use the prompts that the product sends: those of `skills.read_photo`, the decision prompt, and plain chat. The
order of options is random every time, so that they have to be read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from assistant.lab.training import tickets
from assistant.lab.training.world import CODES, DAMAGES, LIGHTS, NONE, Scene, code_for, products, taxonomy
from assistant.ports import Question
from assistant.skills import prompts
from assistant.skills.read_photo import CANNOT_TELL, CONDITION_QUESTION, DIFFERENT, LIGHTS_QUESTION, product_question
from assistant.skills.taxonomy import NO_PRODUCT


@dataclass(frozen=True)
class Asked:
    """A typed question about a photo and the text ``state``, with the right option."""

    name: str
    state: str
    question: Question
    answer: str


@dataclass(frozen=True)
class Open:
    """A question with a free-text answer."""

    name: str
    text: str
    answer: str


def evidence_prompt() -> str:
    return prompts.render("read_photo.j2")


def evidence_answer(scene: Scene) -> str:
    """The JSON that the reading prompt asks for."""
    found = {"caption": caption(scene), "lights": list(scene.lights), "text": list(key_lines(scene))}
    return json.dumps(found, ensure_ascii=False)


def key_lines(scene: Scene) -> tuple[str, ...]:
    """Values that must be read exactly: codes, serial and order numbers, dates, totals."""
    named = (scene.title, scene.error, scene.code, scene.model, scene.serial, scene.order, scene.date, scene.total)
    return tuple(value for value in named if value)


def caption(scene: Scene) -> str:
    """One sentence that always has the same form: a small model learns one way to say a thing."""
    if scene.kind == "foreign":
        return "Nothing that belongs to a product."
    if scene.kind == "product":
        parts = [f"A {products()[scene.product].name}"]
        parts += [f"light {', '.join(scene.lights)}"] if scene.lights else []
        parts += [f"display {scene.code}"] if scene.code else []
    else:
        parts = [f"A {scene.kind}" if scene.kind != "error dialog" else "An error dialog"]
        parts += [scene.title] if scene.title else []
    parts += [scene.damage] if scene.damage else []
    return "; ".join(parts) + "."


def read_photo_questions(scene: Scene, state: str = "") -> list[Asked]:
    """The questions that `skills.read_photo` asks."""
    product = scene.product if scene.product else NO_PRODUCT
    return [
        Asked("product", state, product_question(taxonomy()), product),
        Asked("lights", state, LIGHTS_QUESTION, light(scene)),
        Asked("condition", state, CONDITION_QUESTION, scene.condition),
    ]


def light(scene: Scene) -> str:
    """The colour of the light, or of several if they are all the same; else `DIFFERENT`."""
    known = set(scene.lights)
    return next(iter(known)) if len(known) == 1 else DIFFERENT if known else CANNOT_TELL


def typed(random: Random, scene: Scene) -> list[Asked]:
    """One of each kind that makes sense for the scene, options in random order."""
    damage = scene.damage or (NONE if scene.kind in ("product", "parcel") else CANNOT_TELL)
    found = [
        _choice(random, "light", LIGHTS_QUESTION.text, LIGHTS_QUESTION.options, light(scene)),
        _choice(random, "damage", "Which damage does the photo show?", [*DAMAGES, NONE, CANNOT_TELL], damage),
        _which_product(random, scene),
    ]
    found += [_code(random, scene)] if scene.kind in ("product", "foreign") else []
    found.append(_yes_no(random, scene))
    contradiction = contradicts(random, scene)
    return [*found, *([contradiction] if contradiction else [])]


def contradicts(random: Random, scene: Scene, *, lies: bool | None = None) -> Asked | None:
    """Whether the photo contradicts the customer; None for a photo without a product, or without a suitable claim."""
    if scene.kind != "product":
        return None
    lies = random.random() < 0.5 if lies is None else lies
    state = tickets.claim(random, scene, lies=lies)
    if state is None:
        return None
    question = Question("contradiction", "Does the photo contradict the text?", ("yes", "no"), kind="yes_no")
    return Asked("contradiction", state, question, "yes" if lies else "no")


def open_questions(random: Random, scene: Scene) -> list[Open]:
    none = CANNOT_TELL
    asked = [
        Open("lights", random.choice(_ASK_LIGHTS), ", ".join(scene.lights) or none),
        Open("code", random.choice(_ASK_CODE), scene.code or scene.error or none),
    ]
    if scene.kind in ("label", "foreign"):
        asked.append(Open("serial", random.choice(_ASK_SERIAL), scene.serial or none))
    if scene.kind in ("receipt", "parcel", "foreign"):
        asked.append(Open("order", random.choice(_ASK_ORDER), scene.order or none))
    return asked


_ASK_LIGHTS = ("What colour are the lights?", "Which lights are on?", "Welche Farbe hat das Licht?")
_ASK_CODE = ("Which code is shown?", "What is the error code?", "Welcher Fehlercode wird angezeigt?")
_ASK_SERIAL = ("What is the serial number?", "Wie lautet die Seriennummer?")
_ASK_ORDER = ("What is the order number?", "Wie lautet die Bestellnummer?")


def _which_product(random: Random, scene: Scene) -> Asked:
    """By name, without descriptions."""
    names = {key: product.name for key, product in products().items()}
    answer = names.get(scene.product, CANNOT_TELL)
    return _choice(random, "which", "What is in the photo?", [*names.values(), CANNOT_TELL], answer)


def _code(random: Random, scene: Scene) -> Asked:
    """The code among similar ones."""
    product = scene.product if scene.product in CODES else random.choice(list(CODES))
    wrong = {code_for(random, product) for _ in range(5)} - {scene.code}
    options = [*([scene.code] if scene.code else []), *sorted(wrong)[:3], CANNOT_TELL]
    return _choice(random, "code", "Which code does the display show?", options, scene.code or CANNOT_TELL, all_of=True)


def _yes_no(random: Random, scene: Scene) -> Asked:
    colour = random.choice([*scene.lights, *LIGHTS]) if scene.lights else random.choice(list(LIGHTS))
    facts = (
        (f"Is a light {colour}?", colour in scene.lights),
        ("Is it damaged?", bool(scene.damage)),
        ("Is there a code on the display?", bool(scene.code)),
    )
    text, true = random.choice(facts)
    return Asked("fact", "", Question("fact", text, ("yes", "no"), kind="yes_no"), "yes" if true else "no")


def _choice(
    random: Random, name: str, text: str, options: Sequence[str], answer: str, *, all_of: bool = False
) -> Asked:
    """A choice among ``options`` in random order, without some of the wrong ones unless ``all_of`` them are wanted."""
    needed = options if all_of else (answer, CANNOT_TELL)
    chosen = [option for option in options if option in needed or random.random() < 0.75]
    if len(chosen) < 2:
        chosen = list(options)
    random.shuffle(chosen)
    return Asked(name, "", Question(name, text, tuple(chosen)), answer)
