"""What `assistant bench photo` says of what it measured."""

from __future__ import annotations

from assistant.lab.bench.photo import Report


def test_the_report_compares_several_at_once_with_one() -> None:
    report = Report(
        "small_vlm", 3.0, 8.0, 6.0, (1.0, 0.5, 2.0), 1.25, {"photos": 0.75}, 10, 4.0, (2.5, 3.5), 4.5, 2_400_000_000
    )
    shown = dict(line.rsplit(maxsplit=1) for line in report.render().splitlines()[3:] if line)
    assert float(shown["one photo, median of 3"]) == 1.0
    assert float(shown["  as a multiple of one"]) == report.to_json()["times_one"] == 4.0
    assert report.render().endswith("2.40 GB")
    assert float(shown["rapidocr as it comes, text alone, median"]) == 3.0
