"""What is seen and where, by probes on made features: each patch says what is in it."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from assistant.engine.models.probes import Familiar, Probes
from assistant.engine.models.sight import EngineLook, find
from assistant.ports import Sought

GRID, WIDTH = 8, 3


def probes() -> Probes:
    """Feature 0 says "a red light", 1 "a crack", 2 "not the first light"."""
    light, damage = np.zeros((2, WIDTH)), np.zeros((2, WIDTH))
    light[1, 0] = damage[1, 1] = 12.0
    quiet = np.array([6.0, 0.0])
    first, second = np.array([10.0, 0.0, -10.0]), np.array([0.0, 0.0, 20.0])
    weights = {"lights": (light, quiet), "damages": (damage, quiet), "bodies": (damage, quiet)}
    # The whole photo looks at cracks; each of its first two lights at its patch, the others at nothing.
    places = 4 * np.stack([first, second, *np.zeros((2, WIDTH))])
    looks = np.stack([10 * damage[1], 10 * damage[1], *places])
    weights |= {"of": (damage, quiet), "damage": (damage, quiet), "row": (light, quiet), "pool": (looks, np.zeros(6))}
    # Lights stand a quarter of a patch right of and above its middle.
    weights |= {"place": (places, np.zeros(4)), "offset": (np.zeros((2, WIDTH)), np.array([0.25, -0.25]))}
    classes = {"lights": ["red"], "damages": ["crack"], "bodies": ["hub"]}
    familiar = Familiar(np.stack([np.zeros(WIDTH), np.full(WIDTH, 5.0)]), np.eye(WIDTH), limit=0.5)
    return Probes(weights, {**classes, "of": ["hub"], "damage": ["crack"], "row": ["red"]}, familiar)


def single(probes: Probes) -> Probes:
    """In float32, as they are read from a file."""
    weights = {name: tuple(part.astype(np.float32) for part in parts) for name, parts in probes.weights.items()}
    return Probes(weights, probes.classes, probes.familiar)


def features() -> np.ndarray:
    return np.zeros((GRID * GRID, WIDTH))


def test_a_light_is_at_its_place_in_its_patch() -> None:
    seen = features()
    seen[2 * GRID + 5, 0] = 1.0
    found = find(Sought("light", "red"), seen, probes())
    assert found is not None
    middle = (found.box.left + found.box.right) / 2, (found.box.top + found.box.bottom) / 2
    assert middle == pytest.approx((5.75 / GRID, 2.25 / GRID), abs=0.01)
    assert found.heat[2][5] == "9"


def test_damage_is_told_only_if_it_is_sure() -> None:
    seen, unsure = features(), features()
    seen[:, 1], unsure[:, 1] = 1.0, 0.49
    assert EngineLook(seen, probes()).seen.damage[0] == "crack"
    assert EngineLook(unsure, probes()).seen.damage == ("", pytest.approx(0.53, abs=0.01))


def test_of_several_lights_each_has_its_place() -> None:
    seen = features()
    seen[3 * GRID + 1, 0] = 1.0
    seen[3 * GRID + 6, [0, 2]] = 1.0
    found = find(Sought("light", "green, red, red"), seen, probes())
    assert found is not None
    middles = [((part.left + part.right) / 2, (part.top + part.bottom) / 2) for part in found.parts]
    assert middles == [pytest.approx((column / GRID, 3.25 / GRID), abs=0.01) for column in (1.75, 6.75)]
    assert (found.box.left, found.box.right) == (found.parts[0].left, found.parts[1].right)


def test_a_light_that_is_not_seen_has_no_place() -> None:
    assert find(Sought("light", "red"), features(), probes()) is None


def test_places_can_be_kept_as_they_come_from_a_tower_of_single_precision() -> None:
    """A place in numpy's float32 could not be stored: the evidence of every photo with a light was lost."""
    seen = features().astype(np.float32)
    seen[2 * GRID + 5, :2] = 1.0
    for sought in (Sought("light", "red"), Sought("damage", "damaged")):
        found = find(sought, seen, single(probes()))
        assert found is not None
        assert json.loads(json.dumps(asdict(found)))["box"]["left"] == pytest.approx(found.box.left)


def test_damage_takes_in_the_patches_that_hang_together() -> None:
    seen = features()
    for row, column in ((3, 3), (3, 4), (4, 4), (0, 0)):
        seen[row * GRID + column, 1] = 1.0
    seen[3 * GRID + 3, 1] = 2.0
    found = find(Sought("damage", "damaged"), seen, probes())
    assert found is not None
    assert (found.box.left, found.box.top, found.box.right, found.box.bottom) == (3 / 8, 3 / 8, 5 / 8, 5 / 8)


def test_what_is_nowhere_has_no_place() -> None:
    assert find(Sought("light", "red"), features(), probes()) is None


def test_each_light_is_told_once_and_none_where_there_is_none() -> None:
    seen = features()
    seen[4 * GRID + 6, 0] = 1.0
    lights = EngineLook(seen, probes()).seen.lights
    assert [colour for colour, _ in lights] == ["red"]
    assert all(sure > 0.9 for _, sure in lights)
    assert EngineLook(features(), probes()).seen.lights == ()


def test_the_patches_that_count_tell_what_the_whole_photo_shows() -> None:
    seen = features()
    seen[9, 1] = 1.0
    look = EngineLook(seen, probes()).seen
    assert look.damage[0] == "crack"
    assert look.damage[1] > 0.9
    assert EngineLook(features(), probes()).seen.damage == ("", pytest.approx(1.0, abs=0.01))


def test_a_photo_unlike_those_of_training_is_foreign() -> None:
    assert EngineLook(features(), probes()).seen.familiar
    assert not EngineLook(features() + 1.0, probes()).seen.familiar
    assert EngineLook(features() + 5.1, probes()).seen.familiar
