"""`assistant lab drills`, in their quick form. What a locked database, lost storage, a full disk and a jumping clock do
is tested in `tests/e2e/test_faults.py` and `tests/desk/test_passing_faults.py`, too: those run where there is time."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from assistant.cli import main
from assistant.lab import drills
from tests.conftest import LONG

TESTED_ELSEWHERE = {"database locked", "storage away", "disk full", "clock jumps"}
MEASURED = {"crowd", "memory", "slow clients"}  # their short forms tell little
LENGTHY = {"PostgreSQL", "webhooks"}  # three workers load their models again and again; leases are waited for


@pytest.mark.parametrize(
    "name", drills.DRILLS if LONG else sorted(drills.DRILLS.keys() - TESTED_ELSEWHERE - MEASURED - LENGTHY)
)
def test_the_drill_is_passed(name: str) -> None:
    report = drills.run([name], size=drills.LONG if LONG else drills.QUICK)
    [outcome] = report.outcomes
    if outcome.result == "skipped":
        pytest.skip(outcome.seen)
    assert outcome.result == "passed", outcome.seen


def test_a_drill_that_sees_what_must_not_be_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_: object) -> str:
        raise drills.Failed("1 lost, 0 doubled.")

    def lack(*_: object) -> str:
        raise drills.Skipped("needs root")

    monkeypatch.setattr(drills, "DRILLS", {"kill -9": lose, "disk full": lack})
    done = CliRunner().invoke(main, ["lab", "drills", "--quick", "--json"])
    assert done.exit_code == 1
    outcomes = json.loads(done.stdout)["outcomes"]
    assert [(one["result"], one["seen"]) for one in outcomes] == [
        ("failed", "1 lost, 0 doubled."), ("skipped", "needs root")
    ]  # fmt: skip
    assert "1 lost" in CliRunner().invoke(main, ["lab", "drills", "kill -9"]).output
    assert CliRunner().invoke(main, ["lab", "drills", "flood"]).exit_code == 2
