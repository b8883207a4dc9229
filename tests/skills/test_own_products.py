"""Own products: told by look and text, silent about everything else."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from random import Random

import numpy as np
import pytest
from PIL import Image

from assistant.ports import Box, TextLine
from assistant.skills.own_products import (
    Catalogue,
    Conditions,
    OwnProducts,
    Recogniser,
    Reference,
    Weights,
    ask_about,
    conditions_of,
    kind_of,
    learn,
    look_at,
)
from assistant.skills.own_products.recognition import fit
from assistant.skills.own_products.views import ASKED, KNOWN, crops, opened, retake
from assistant.skills.own_products.where import where
from assistant.skills.own_products.wording import Wording
from tests.fakes import ColourFeatures
from tests.products import PRODUCTS, shot

FEATURES = ColourFeatures()


def catalogue(photos: int, *, texts: bool = False) -> Catalogue:
    """The first photos of each product; their sha256 is their name here."""
    references = [
        Reference(key, f"{key} {number}", look_at(shot(key, number), f"{name} no. {number}" if texts else "", FEATURES))
        for key, (name, *_) in PRODUCTS.items()
        for number in range(photos)
    ]
    return Catalogue({key: (name,) for key, (name, *_) in PRODUCTS.items()}, tuple(references))


def photo_of(reference: Reference) -> bytes:
    key, number = reference.sha256.rsplit(" ", 1)
    return shot(key, int(number))


@cache
def learned(photos: int) -> Recogniser:
    return learn(catalogue(photos), FEATURES, photo_of=photo_of, others=[shot("nothing", n) for n in range(20)])


def lines(*texts: str) -> list[TextLine]:
    return [TextLine(text, 0.9, Box(0, 0, 1, 1)) for text in texts]


@pytest.mark.parametrize(("photos", "told"), [(1, 8), (4, 16)])
def test_products_are_told_from_a_few_photos_and_other_things_are_not(photos: int, told: int) -> None:
    products = OwnProducts(learned(photos), FEATURES, name="products-1")
    asked = [(key, number) for key in PRODUCTS for number in range(10, 14)]
    found = [(key, products.recognise(shot(key, number), [])) for key, number in asked]
    claims = [(key, one) for key, one in found if one is not None]
    assert len(claims) >= told
    for key, one in claims:
        assert (one.product, one.name) == (key, PRODUCTS[key][0])
        assert one.reference.rsplit(" ", 1)[0] == key
    strange = [products.recognise(shot("nothing", number), []) for number in range(30, 50)]
    assert len([one for one in strange if one is not None]) <= 2  # colours alone are a crude look


def test_of_one_product_alone_nothing_is_claimed_unless_other_things_were_seen() -> None:
    names = {"tent": ("Tent",)}
    references = tuple(Reference("tent", f"tent {n}", look_at(shot("tent", n), "", FEATURES)) for n in range(3))
    known = Catalogue(names, references)
    blind = OwnProducts(learn(known, FEATURES, photo_of=photo_of), FEATURES, name="products-1")
    assert blind.recognise(shot("tent", 20), []) is None
    others = [shot("nothing", number) for number in range(20)]
    seeing = OwnProducts(learn(known, FEATURES, photo_of=photo_of, others=others), FEATURES, name="products-2")
    assert seeing.recognise(shot("tent", 20), []) is not None
    assert seeing.recognise(shot("nothing", 40), []) is None


def test_a_condition_is_told_where_photos_that_were_left_out_show_that_it_can_be() -> None:
    """The scratch is as dark as the tent's entrance, so colours alone do not tell it there: nothing is claimed."""
    photos = {
        f"{key} {condition} {number}": shot(key, number, "damaged" if condition == "damaged" else "")
        for key in ("bottle", "tent") for condition in ("intact", "damaged") for number in range(5)
    }  # fmt: skip
    references = tuple(
        Reference(name.split()[0], name, look_at(photo, "", FEATURES), name.split()[1], kind_of(name.split()[1]))
        for name, photo in photos.items()
    )
    known = Catalogue({"bottle": ("Bottle",), "tent": ("Tent",)}, references)
    recogniser = learn(
        known, FEATURES, photo_of=lambda one: photos[one.sha256], others=[shot("nothing", n) for n in range(8)]
    )
    stored = Weights.from_json(json.loads(json.dumps(recogniser.weights.to_json())))
    products = OwnProducts(Recogniser(known, stored), FEATURES, name="products-1")
    trials = {one.product: one for one in conditions_of(Recogniser(known, stored)).trials()}
    assert (trials["bottle"].right, trials["bottle"].claimed, trials["bottle"].claimed_right) == (10, 10, 10)
    assert trials["bottle"].conditions == {"intact": 5, "damaged": 5}
    assert (trials["tent"].photos, trials["tent"].claimed) == (10, 0)
    for condition in ("intact", "damaged"):
        for number in range(100, 104):
            photo = shot("bottle", number, "damaged" if condition == "damaged" else "")
            found = products.recognise(photo, [])
            assert found is not None
            [told] = found.conditions
            assert (told.kind, told.value, told.probability > 0.7) == ("damage", condition, True)
            assert told.reference.startswith(f"bottle {condition}")
    tent = products.recognise(shot("tent", 100, "damaged"), [])
    assert tent is not None
    assert tent.conditions == ()
    assert not next(iter(Conditions(known).trials())).claimed  # before anything is fitted


def test_what_a_reference_photo_says_alone_does_not_speak_for_it() -> None:
    """Held back, a photo is told by the others: `without` leaves out its look and its words."""
    known = catalogue(2, texts=True)
    one = known.references[0]
    whole, left = known.case(one.views), known.case(one.views, without=0)
    assert whole.look[0] == pytest.approx(1.0, abs=1e-2)
    assert left.look[0] < whole.look[0]
    single = catalogue(1).case(one.views, without=0)
    assert single.look[0] == -np.inf
    recogniser = fit(known)
    assert recogniser.guess(one.views, without=0).nearest == 1


def test_text_decides_between_products_that_look_the_same() -> None:
    views = look_at(shot("tent", 0), "", FEATURES)
    names = {"t2": ("Tent T2", "T2"), "t3": ("Tent T3", "T3")}
    known = Catalogue(names, tuple(Reference(key, key, views) for key in names))
    recogniser = learn(known, FEATURES, photo_of=lambda _one: shot("tent", 0))
    told = [recogniser.guess(ask_about(shot("tent", 5), text, FEATURES)) for text in ("Model T3", "Tent", "")]
    assert [known.keys[told[0].best], told[0].probability > 0.6] == ["t3", True]
    assert [guess.probability == pytest.approx(0.5) for guess in told[1:]] == [True, True]


def test_misread_words_count_and_words_of_all_products_do_not() -> None:
    wording = Wording(
        (("Lumora Camp Stove",), ("Lumora Head Lamp", "HL-40"), ("Lumora Bottle",)), ((2, "Insulated 24h"),)
    )
    assert wording.scores("LUMORA").tolist() == [0, 0, 0]
    assert wording.scores("lnsulatod 24h").argmax() == 2
    assert wording.scores("lnsulatod 24h", without=0).tolist() == [0, 0, 0]
    assert wording.scores("hl 40").argmax() == 1
    assert wording.scores("ソーラー充電").tolist() == [0, 0, 0]
    assert Wording((("ソーラー",), ("ランプ",))).scores("これはソーラーです")[0] > 0


def test_who_is_right_about_photos_that_were_left_out_is_surer_but_not_of_what_is_alike() -> None:
    known = learned(4)
    blind = Recogniser(known.catalogue, replace(known.weights, sure=(0.0, 0.0)))
    asked = [ask_about(shot(key, number), "", FEATURES) for key in PRODUCTS for number in (30, 31)]
    for before, after in [(blind.guess(views), known.guess(views)) for views in asked]:
        assert (after.best, after.claimed) == (before.best, before.claimed)
        assert after.probabilities.sum() == pytest.approx(1)
        assert before.probability < after.probability < 1
    tied = Recogniser(known.catalogue, replace(known.weights, look=0.0, text=0.0, sure=(-0.5, 3.0)))
    assert tied.guess(asked[0]).probabilities == pytest.approx(np.full(4, 0.25))
    doubtful = replace(known.weights, sure=(-0.9, 0.0))
    for views in asked:
        assert Recogniser(known.catalogue, doubtful).guess(views).best == known.guess(views).best


def test_weights_are_the_same_after_they_were_stored() -> None:
    recogniser = learned(1)
    stored = Weights.from_json(recogniser.weights.to_json())
    assert stored == recogniser.weights
    before = {name: value for name, value in recogniser.weights.to_json().items() if name != "sure"}
    assert Weights.from_json(before).sure == (0.0, 0.0)  # versions that know nothing of it stay as they are
    views = ask_about(shot("bottle", 3), "", FEATURES)
    again = Recogniser(recogniser.catalogue, replace(stored)).guess(views)
    assert again.probability == recogniser.guess(views).probability


def test_where_the_thing_is_shows_on_the_map() -> None:
    """A red thing in the lower right quarter; what is said of places is their colour alone."""
    picture = np.full((280, 280, 3), 40, np.uint8)
    picture[160:260, 180:260] = (220, 30, 30)
    places = np.stack([_grid(crop) for crop in crops(Image.fromarray(picture), ASKED)])
    red = np.array([[220.0, 30.0, 30.0]], np.float32) / np.linalg.norm((220, 30, 30))
    box, heat = where(places.mean(axis=(1, 2)), places, red)
    assert box is not None
    assert (box.left, box.top) == pytest.approx((180 / 280, 160 / 280), abs=0.11)
    assert (box.right, box.bottom) == pytest.approx((260 / 280, 260 / 280), abs=0.11)
    assert heat[0] == "0" * len(heat[0])
    assert {len(row) for row in heat} == {len(heat)}
    assert max("".join(heat)) == "9"
    assert where(places.mean(axis=(1, 2))[:, ::-1], places, red) == (None, ())


def _grid(picture: np.ndarray) -> np.ndarray:
    """(7, 7, 3): mean colours."""
    rows = [np.array_split(part, 7, axis=1) for part in np.array_split(picture, 7)]
    return np.array([[part.reshape(-1, 3).mean(axis=0) for part in row] for row in rows], np.float32)


def test_crops_cover_the_photo_and_a_retake_shows_the_thing_elsewhere() -> None:
    photo = opened(shot("tent", 0))
    assert len(crops(photo)) == 15
    assert [crop.shape[:2] for crop in crops(photo, KNOWN[1:])] == [(240, 240)] * 5
    assert [crop.shape[:2] for crop in crops(photo, ASKED[2:])] == [(160, 160)] * 9
    green = [np.asarray(retake(photo, opened(shot("nothing", 1)), Random(seed))) for seed in (1, 2)]
    assert green[0].shape == (448, 448, 3)
    for scene in green:
        red, greens, blue = scene.reshape(-1, 3).astype(int).T
        assert 0.02 < ((greens > red + 25) & (greens > blue + 20)).mean() < 0.9
    assert not np.array_equal(*green)
