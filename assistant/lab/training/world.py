"""The generated world: the sample company's products, lights, codes and damages, and the truth about one scene."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random

from assistant.lab.training.drawing import Colour, Item
from assistant.skills.taxonomy import Label, Taxonomy, load_taxonomy

NONE = "none"
LIGHTS: dict[str, tuple[Colour, ...]] = {
    "green": ((60, 220, 90), (40, 240, 120), (90, 230, 60)),
    "red": ((255, 40, 30), (235, 30, 50), (255, 70, 50)),
    "amber": ((255, 170, 30), (255, 195, 40), (245, 150, 20)),
    "blue": ((50, 120, 255), (40, 90, 240), (80, 160, 255)),
    "white": ((245, 248, 255), (255, 250, 240)),
    "off": ((92, 96, 102), (70, 72, 76), (120, 122, 126)),
}
DAMAGES = ("crack", "leak", "missing part", "swollen battery", "crushed box")
# What a photo may show other than a product.
PAPERS = ("label", "receipt", "error dialog", "parcel")
# First letter and number of digits of the codes on the products' displays.
CODES = {"brewmaster-300": ("E", 2), "washpro-8": ("E", 2), "voltbank-500": ("F", 2), "chillbox-45": ("C", 1)}
# Letters of the serial number, and the model number, on labels.
MODELS = {
    "brewmaster-300": ("BM", "BM-300"),
    "dustpilot-r7": ("DP", "DP-R7"),
    "purebreeze-p2": ("PB", "PB-P2"),
    "voltbank-500": ("VB", "VB-500"),
    "homelink-x1": ("HL", "HL-X1"),
    "washpro-8": ("WP", "WP-8"),
    "chillbox-45": ("CB", "CB-45"),
    "steamglide-2": ("SG", "SG-2"),
}
# Training uses seeds below, evaluation seeds from here on: no scene is used for both.
FIRST_EVALUATION_SEED = 1 << 40


@dataclass(frozen=True)
class Printed:
    """What is printed on a paper or shown on a screen. Fields that do not apply are empty."""

    product: str = ""
    serial: str = ""
    model: str = ""
    order: str = ""
    date: str = ""
    total: str = ""
    error: str = ""
    title: str = ""
    damage: str = ""


@dataclass(frozen=True)
class Scene(Printed):
    """The truth about one photo.

    ``kind``: ``product``, one of `PAPERS`, or ``foreign``. ``text``: the readable lines within the frame. ``items``:
    every `drawing.Item`, in fractions of the photo's width and height.
    """

    kind: str = "foreign"
    lights: tuple[str, ...] = ()
    code: str = ""
    text: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()

    @property
    def condition(self) -> str:
        """One of `skills.read_photo.CONDITIONS`."""
        if self.damage == "leak":
            return "leaking"
        if self.damage:
            return "damaged"
        if self.code or self.error or "red" in self.lights or "amber" in self.lights:
            return "fault light or code"
        return "intact" if self.kind in ("product", "parcel") else "cannot tell"


@cache
def taxonomy() -> Taxonomy:
    return load_taxonomy()


@cache
def products() -> dict[str, Label]:
    return {product.key: product for product in taxonomy().products}


def code_for(random: Random, product: str) -> str:
    letter, digits = CODES[product]
    return letter + "".join(random.choice("0123456789") for _ in range(digits))


def digits(random: Random, count: int) -> str:
    return "".join(random.choice("0123456789") for _ in range(count))
