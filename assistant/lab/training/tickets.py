"""What customers write about a photo: true and false claims, in several languages and phrasings."""

from __future__ import annotations

from random import Random

from assistant.lab.training.world import CODES, LIGHTS, Scene, code_for, products

_CODE = (
    "My {product} shows {code}.", "The display says {code}, what now?", "I see the error {code} on it.",
    "Meine Maschine zeigt {code} an.", "Auf dem Display steht {code}.", "L'écran affiche {code}.",
    "La pantalla muestra {code}.", "Sul display appare {code}.",
)  # fmt: skip
_LIGHT = (
    "The light on my {product} is {light}.", "It only shows a {light} light.", "A {light} light is on, see photo.",
    "Das Licht leuchtet {de}.", "Es leuchtet nur {de}.", "La lumière est {fr}.", "La luz es {es}.",
)  # fmt: skip
_PRODUCT = (
    "My {product} does not work.", "Here is a photo of the {product}.", "Hier ein Foto vom {product}.",
    "Voici une photo de mon {product}.", "Question about the {product}, see photo.",
)  # fmt: skip
_WORDS = {
    "green": ("grün", "verte", "verde"),
    "red": ("rot", "rouge", "roja"),
    "amber": ("gelb", "orange", "naranja"),
    "blue": ("blau", "bleue", "azul"),
    "white": ("weiß", "blanche", "blanca"),
}


def claim(random: Random, scene: Scene, *, lies: bool) -> str | None:
    """A sentence about the scene's product that the photo confirms or, with ``lies``, contradicts."""
    about = ["product", "product"]
    if scene.code:
        about += ["code", "code", "code"]
    lit = [light for light in scene.lights if light != "off"]
    if len(scene.lights) == 1 and lit:
        about += ["light", "light"]
    kind = random.choice(about)
    name = products()[scene.product].name
    if kind == "product":
        other = random.choice([product.name for key, product in products().items() if key != scene.product])
        return random.choice(_PRODUCT).format(product=other if lies else name)
    if kind == "code":
        code = scene.code
        while lies and code == scene.code:
            code = code_for(random, scene.product if scene.product in CODES else random.choice(list(CODES)))
        return random.choice(_CODE).format(product=name, code=code)
    light = random.choice([colour for colour in LIGHTS if colour not in (lit[0], "off")]) if lies else lit[0]
    german, french, spanish = _WORDS[light]
    return random.choice(_LIGHT).format(product=name, light=light, de=german, fr=french, es=spanish)
