"""What a message costs: every message is really processed, and cores follow from processor time."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from assistant.lab.bench.capacity import measure_on
from assistant.models import Draft, Evidence, TriageResult
from assistant.runtime import Runtime


def test_each_message_is_processed_and_each_photo_read(runtime: Runtime) -> None:
    report = measure_on(runtime, messages=3, threads=2)
    with runtime.desk.db.read() as session:
        counts = [session.scalar(select(func.count()).select_from(one)) for one in (TriageResult, Draft, Evidence)]
    assert counts == [8, 8, 5]  # two before, three with words alone, three with a photo
    text, photo = report.loads
    assert text.messages == photo.messages == 3
    assert min(text.cpu_seconds, photo.cpu_seconds, report.idle_megabytes) > 0
    assert report.cores(60, with_photo=0.0) == pytest.approx(text.cpu_seconds / 0.7)
    assert report.cores(60, with_photo=0.0) != report.cores(60, with_photo=1.0)
    assert "100 a minute" in report.render()
