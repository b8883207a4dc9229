"""A few customers out of luck for a minute and a half. `python -m tests.e2e.misfortune` has thirty of them for ten."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.conftest import LONG
from tests.e2e.misfortune import misfortune

pytestmark = [pytest.mark.e2e, pytest.mark.skipif(not LONG, reason="takes minutes: set LONG=1")]

SEED = 1


def test_customers_out_of_luck_lose_nothing_and_are_not_left_in_silence(browser: Browser, tmp_path: Path) -> None:
    with misfortune(browser, tmp_path, customers=4, seed=SEED) as run:
        run.happen(minutes=1.5)
        assert run.calm() == []
        assert run.did["kill -9"] > 0
        assert run.did["write"] > 4
