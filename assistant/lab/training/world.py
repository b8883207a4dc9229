"""What the generated world knows: the sample company's products, lights, codes and damages, and one scene's truth."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from random import Random

from assistant import sample
from assistant.lab.training.drawing import Colour, Item
from assistant.skills.taxonomy import Label, load_taxonomy

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
# What a photo may be of, if not of a product.
PAPERS = ("label", "receipt", "error dialog", "parcel")
# First letter and digits of the codes that the products' displays show.
CODES = {"brewmaster-300": ("E", 2), "washpro-8": ("E", 2), "voltbank-500": ("F", 2), "chillbox-45": ("C", 1)}
# Letters of the model number on labels.
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
# Training draws its scenes from seeds below, evaluation from seeds above: no scene is ever both.
FIRST_EVALUATION_SEED = 1 << 40


@dataclass(frozen=True)
class Printed:
    """What stands on a paper or a screen, with what it is about. Fields that do not apply are empty."""

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

    ``kind``: ``product``, one of `PAPERS`, or ``foreign``. ``text`` are the lines that can be read in the frame, and
    ``items`` everything of `drawing.Item` in fractions of the photo's width and height.
    """

    kind: str = "foreign"
    lights: tuple[str, ...] = ()
    code: str = ""
    text: tuple[str, ...] = ()
    items: tuple[Item, ...] = ()

    @property
    def condition(self) -> str:
        """In the words of `skills.read_photo.CONDITIONS`."""
        if self.damage == "leak":
            return "leaking"
        if self.damage:
            return "damaged"
        if self.code or self.error or "red" in self.lights or "amber" in self.lights:
            return "fault light or code"
        return "intact" if self.kind in ("product", "parcel") else "cannot tell"


@cache
def products() -> dict[str, Label]:
    return {product.key: product for product in load_taxonomy(sample.taxonomy_path()).products}


def code_for(random: Random, product: str) -> str:
    letter, digits = CODES[product]
    return letter + "".join(random.choice("0123456789") for _ in range(digits))


def digits(random: Random, count: int) -> str:
    return "".join(random.choice("0123456789") for _ in range(count))
