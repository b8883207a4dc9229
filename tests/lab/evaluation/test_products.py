"""`assistant eval products`, on drawn photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from assistant.lab.evaluation.products import Plan, evaluate_products
from assistant.lab.statistics import Calibration
from assistant.media.photo import Limits
from tests.fakes import ColourFeatures
from tests.products import PRODUCTS, shot


@pytest.mark.parametrize(("photos", "plan", "asked"), [(4, Plan(counts=(1, 3)), "photos"),
                                                       (1, Plan(counts=(1, 2), retakes=2), "retakes")])  # fmt: skip
def test_each_half_is_asked_about_with_so_many_references(tmp_path: Path, photos: int, plan: Plan, asked: str) -> None:
    for key in PRODUCTS:
        (tmp_path / key).mkdir()
        for number in range(photos):
            (tmp_path / key / f"{number}.jpg").write_bytes(shot(key, number))
    report = evaluate_products(tmp_path, features=ColourFeatures(), ocr=None, limits=Limits(), plan=plan)
    assert [(one.half, one.references, one.asked) for one in report.scores] == [
        (half, count, asked) for half in ("chosen on", "held back") for count in plan.counts
    ]
    for one in report.scores:
        assert one.products == 2
        assert one.photos == 2 * (2 if asked == "retakes" else photos - one.references)
        assert one.first >= (0.75 if asked == "photos" else 0)
        assert one.calibration.low <= one.calibration.high
    assert "by chance" in report.render()


def test_of_probabilities_that_hold_the_error_is_that_of_chance() -> None:
    random = np.random.default_rng(1)
    sure = random.uniform(0.5, 1, 2000)
    groups = np.arange(2000) // 4
    holds = Calibration.of(sure, (random.random(2000) < sure).astype(float), groups)
    assert holds.error == pytest.approx(holds.by_chance, abs=0.02)
    too_sure = Calibration.of(sure, (random.random(2000) < sure - 0.2).astype(float), groups)
    assert 0.15 < too_sure.low < too_sure.error < too_sure.high < 0.25
    assert too_sure.by_chance == pytest.approx(holds.by_chance)
