"""What is on the pages of reports: headline figures, and tables with their charts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from assistant.desk import counting, people, reports
from assistant.desk.counting import Measure, Outcome
from assistant.desk.reports import Asked, Count, Counts
from assistant.knowledge import gaps
from assistant.models import DraftStatus, SLATarget
from assistant.skills.triage_fields import FIELDS
from assistant.web import charts, console_words
from assistant.web.charts import Chart
from assistant.web.context import desk

Cell = str | int | float | None
Row = Sequence[Cell]

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
OUTCOMES = {
    Outcome.HELPED: "Helped: the customer said so",
    Outcome.SILENT: "Silent: answered, nothing more heard for 72 hours",
    Outcome.PERSON: "Went to a person",
    Outcome.REOPENED: "Came back within 72 hours",
    Outcome.NOT_HELPED: "The customer said that it did not help",
    Outcome.UNANSWERED: "Not answered",
    Outcome.UNDECIDED: "Too early to tell: less than 72 hours ago",
}
DRAFTS = {
    DraftStatus.SENT: "Sent as it was",
    DraftStatus.EDITED: "Sent with changes",
    DraftStatus.DISCARDED: "Discarded",
    DraftStatus.REPLACED: "Replaced: an agent asked for another one",
    DraftStatus.WITHDRAWN: "Overtaken: the customer wrote again, or somebody replied",
    DraftStatus.PROPOSED: "Still proposed",
}
_BY_WEEK_FROM = 93
_MOST_BARS = 15


@dataclass(frozen=True)
class Tile:
    """A headline figure; ``note`` says what it is measured by, or compares it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A table, and the chart of it. ``key``: its name as a file."""

    key: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    chart: Chart | None = None
    about: str = ""
    nothing: str = "None in this period."


@dataclass(frozen=True)
class Page:
    tiles: Sequence[Tile]
    figures: Sequence[Figure]


# Volume


def volume(session: Any, asked: Asked) -> Page:
    of_key = (Measure.CATEGORY, Measure.PRODUCT, Measure.CHANNEL, Measure.LANGUAGE, Measure.PRIORITY, Measure.HOUR)
    counts = reports.totals(session, asked, (Measure.OPENED, *of_key))
    before = reports.totals(session, asked.before, (Measure.OPENED,))[Measure.OPENED]
    days = reports.backlog(session, asked)
    opened, left = _sum(counts[Measure.OPENED]), list(days.values())[-1][2]
    tiles = (
        Tile("Opened", f"{opened:,}", _change(opened, _sum(before), asked)),
        Tile("Per day", f"{opened / asked.days:,.1f}"),
        Tile("Solved", f"{sum(solved for _, solved, _ in days.values()):,}", "in these days, whenever opened"),
        Tile("Not solved", f"{left:,}", "at the end of the last day"),
    )
    return Page(
        tiles,
        (
            over_time("opened", "Opened", asked, [("Opened", {day: one[0] for day, one in days.items()})]),
            _hours(counts[Measure.HOUR]),
            _ranking("category", "By category", counts[Measure.CATEGORY], lambda key: _label("category", key)),
            _ranking("product", "By product", counts[Measure.PRODUCT], lambda key: _label("product", key)),
            _ranking("channel", "By channel", counts[Measure.CHANNEL], lambda key: console_words.CHANNEL.get(key, key)),
            _ranking("priority", "By priority", counts[Measure.PRIORITY], console_words.words),
            _ranking("language", "By language", counts[Measure.LANGUAGE], lambda key: key or "Not known"),
        ),
    )


def _hours(counts: Counts) -> Figure:
    values = [[counts.get(f"{day}-{hour}", Count()).count for hour in range(24)] for day in range(7)]
    names = [f"{hour:02}:00" for hour in range(24)]
    rows: list[Row] = [(name, *row) for name, row in zip(DAYS, values, strict=True)]
    chart = charts.heat(DAYS, names, values) if counts else None
    return Figure("hours", "By day and hour of opening", ("Day", *names), rows if counts else (), chart)


# Times


def times(session: Any, asked: Asked) -> Page:
    measures = (Measure.FIRST_RESPONSE, Measure.RESOLUTION, Measure.SLA)
    counts = reports.totals(session, asked, measures)
    before = reports.totals(session, asked.before, measures)
    days = reports.backlog(session, asked)
    ages = reports.open_ages(session, asked, now=desk().now())
    kept, due = _sla(counts[Measure.SLA])
    tiles = (
        *(_time_tile(name, counts[one], before[one], asked) for one, name in _TIMES.items()),
        Tile("Targets met", _percent(kept, due), f"of {due:,} SLA targets" if due else "No SLA targets ran out"),
        Tile("Not solved now", f"{ages[-1]:,}", f"{ages[-1] - ages[-2]:,} for more than {reports.AGES[-1]} days"),
    )
    return Page(
        tiles,
        (
            *(_durations(one.value, name, counts[one]) for one, name in _TIMES.items()),
            _targets(counts[Measure.SLA]),
            _ages(ages),
            over_time(
                "backlog",
                "Not solved",
                asked,
                [("Not solved", {day: one[2] for day, one in days.items()})],
                about="At the end of each day. A ticket that was reopened counts as solved once it is, for good.",
                sums=False,
            ),
        ),
    )


_TIMES = {Measure.FIRST_RESPONSE: "First response", Measure.RESOLUTION: "Resolution"}
_ABOUT_TIMES = {
    "first_response": "From when a customer first waited for a person until one answered, nights and weekends too.",
    "resolution": "From opening to solved, of tickets that a person worked on, all pauses included.",
}
# The table's rows: up to so many seconds.
_UP_TO = {
    "5 minutes": 300,
    "15 minutes": 900,
    "1 hour": 3600,
    "4 hours": 14400,
    "8 hours": 28800,
    "1 day": 86400,
    "3 days": 259200,
    "1 week": 604800,
}


def _time_tile(name: str, now: Counts, before: Counts, asked: Asked) -> Tile:
    middle, most = (counting.quantile(_numbers(now), share) for share in (0.5, 0.9))
    was = counting.quantile(_numbers(before), 0.5)
    note = f"nine in ten within {_duration(most)}" if most is not None else ""
    note += f"; {_duration(was)} in the {asked.days} days before" if was is not None and middle is not None else ""
    return Tile(f"{name}, median", _duration(middle) if middle is not None else "–", note)


def _durations(key: str, name: str, counts: Counts) -> Figure:
    numbers = _numbers(counts)
    within = [round(counting.within(numbers, seconds)) for seconds in _UP_TO.values()]
    total = sum(numbers.values())
    steps = [after - before for before, after in zip([0, *within], [*within, total], strict=True)]
    names = [f"Up to {text}" for text in _UP_TO] + ["Longer"]
    rows = list(zip(names, steps, strict=True)) if total else []
    return Figure(key, name, ("Time", "Tickets"), rows, charts.bars(steps) if total else None, _ABOUT_TIMES[key])


def _sla(counts: Counts) -> tuple[int, int]:
    kept = sum(one.count for key, one in counts.items() if key.endswith(":met"))
    return kept, _sum(counts)


def _targets(counts: Counts) -> Figure:
    rows: list[tuple[str, int, int, str]] = []
    for target in SLATarget:
        met, missed = (counts.get(f"{target}:{end}", Count()).count for end in ("met", "missed"))
        if met or missed:
            rows.append((console_words.words(target.value), met, missed, _percent(met, met + missed)))
    chart = charts.bars([100 * row[1] / (row[1] + row[2]) for row in rows] + [100])
    columns = ("Target", "Met", "Missed", "Share met")
    nothing = "No SLA target was met or missed. Policies are set under Settings, or with: assistant sla set"
    return Figure("sla", "SLA targets", columns, rows, chart if rows else None, nothing=nothing)


def _ages(ages: Sequence[int]) -> Figure:
    steps = [after - before for before, after in zip([0, *ages[:-1]], ages, strict=True)]
    names = ["Less than a day", "1 to 3 days", "3 to 7 days", "7 to 30 days", "Longer"]
    rows = list(zip(names, steps, strict=True))
    about = "Of all tickets that are not solved now, whenever they were opened."
    chart = charts.bars(steps) if ages[-1] else None
    return Figure(
        "ages",
        "How long they have been open",
        ("Age", "Tickets"),
        rows if ages[-1] else (),
        chart,
        about,
        nothing="Everything is solved.",
    )


# Answers


def answers(session: Any, asked: Asked) -> Page:
    of_drafts = (Measure.DRAFT, Measure.DRAFT_RATING, Measure.EDIT)
    measures = (Measure.OUTCOME, Measure.HANDOFF, *of_drafts, Measure.ASKED, Measure.RATING)
    counts = reports.totals(session, asked, measures)
    before = reports.totals(session, asked.before, measures)
    outcomes, rated = counts[Measure.OUTCOME], counts[Measure.RATING]
    decided = _decided(outcomes)
    helped, silent = (outcomes.get(one, Count()).count for one in (Outcome.HELPED, Outcome.SILENT))
    was = before[Measure.OUTCOME]
    helped_before = was.get(Outcome.HELPED, Count()).count
    drafts = counts[Measure.DRAFT]
    used = sum(drafts.get(one, Count()).count for one in (DraftStatus.SENT, DraftStatus.EDITED))
    judged = used + drafts.get(DraftStatus.DISCARDED, Count()).count
    tiles = (
        Tile(
            "Helped without a person",
            _percent(helped, decided),
            f"said so; {_percent(helped_before, _decided(was))} in the {asked.days} days before",
        ),
        Tile("Answered, then silent", _percent(silent, decided), "perhaps it helped: nobody knows"),
        Tile("Drafts used", _percent(used, judged), f"of {judged:,} that agents sent or discarded"),
        Tile("Rating", _mean(rated, 1), f"of 5, by {_sum(rated):,} of {_sum(counts[Measure.ASKED]):,} asked"),
    )
    return Page(
        tiles,
        (
            _ranking(
                "outcomes",
                "What became of the assistant’s conversations",
                outcomes,
                lambda key: OUTCOMES[Outcome(key)],
                about="Widget conversations. Silence need not mean that it helped, so it is told apart.",
                order=[one.value for one in OUTCOMES],
                what="Outcome",
            ),
            _outcomes_by_day(session, asked),
            _ranking(
                "handoffs",
                "Why it was handed to a person",
                counts[Measure.HANDOFF],
                lambda key: console_words.HANDOFF.get(key, key),
                what="Reason",
            ),
            _ranking(
                "drafts",
                "What became of drafts",
                drafts,
                lambda key: DRAFTS[DraftStatus(key)],
                order=[one.value for one in DRAFTS],
                what="Draft",
            ),
            _ranking(
                "draft-ratings",
                "What agents say of drafts",
                counts[Measure.DRAFT_RATING],
                console_words.words,
                nothing="No agent has rated a draft in this period.",
                what="Draft",
            ),
            _ranking(
                "edits",
                "How much of a draft was changed",
                counts[Measure.EDIT],
                lambda key: f"{10 * int(key)} to {10 * int(key) + 10} %",
                about="Words put in, taken out or replaced, of the longer text; "
                f"{_mean(counts[Measure.EDIT], 100)} % on average.",
                order=[str(tenth) for tenth in range(10)],
                what="Changed",
            ),
            _ranking(
                "ratings",
                "Ratings",
                rated,
                lambda key: f"{key} of 5",
                order=[str(score) for score in range(5, 0, -1)],
                what="Rating",
            ),
            _top_gaps(session),
        ),
    )


def _decided(outcomes: Counts) -> int:
    return _sum(outcomes) - outcomes.get(Outcome.UNDECIDED, Count()).count


def _outcomes_by_day(session: Any, asked: Asked) -> Figure:
    found = reports.by_day(session, asked, Measure.OUTCOME)
    groups = {
        "Helped": (Outcome.HELPED,),
        "Silent": (Outcome.SILENT,),
        "Person": (Outcome.PERSON,),
        "Came back or not helped": (Outcome.REOPENED, Outcome.NOT_HELPED, Outcome.UNANSWERED),
        "Too early": (Outcome.UNDECIDED,),
    }
    series = [
        (name, {day: sum(counts.get(one, 0) for one in keys) for day, counts in found.items()})
        for name, keys in groups.items()
    ]
    return over_time("outcomes-by-day", "The same over time", asked, series)


def _top_gaps(session: Any) -> Figure:
    found = gaps.list_gaps(session, limit=10)
    rows = [(gap.gap.title, gap.count, gap.last_at.date().isoformat()) for gap in found]
    chart = charts.bars([gap.count for gap in found]) if found else None
    return Figure(
        "gaps",
        "Articles that are missing most",
        ("Question", "Asked", "Last"),
        rows,
        chart,
        "Of all time, still open.",
        "No gaps: every question so far was answered by an article.",
    )


# Triage


def triage(session: Any, asked: Asked) -> Page:
    counts = reports.totals(session, asked, (Measure.TRIAGE, Measure.CALIBRATION, Measure.PROBABILITY, Measure.PHOTO))
    made, photos = counts[Measure.TRIAGE], counts[Measure.PHOTO]
    right = sum(one.count for key, one in made.items() if key.endswith(":accepted"))
    read, corrected = (photos.get(key, Count()).count for key in ("read", "corrected"))
    tiles = (
        Tile("Right", _percent(right, _sum(made)), f"of {_sum(made):,} fields that agents decided"),
        Tile("Photos read", f"{read:,}"),
        Tile("Photos corrected", _percent(corrected, read), f"{corrected:,} of {read:,}"),
    )
    fields = [one for one in FIELDS if any(key.startswith(f"{one}:") for key in made)]
    decided = [[made.get(f"{one}:{end}", Count()).count for end in ("accepted", "overridden")] for one in fields]
    rows: list[Row] = [
        (console_words.words(one), yes, no, _percent(yes, yes + no))
        for one, (yes, no) in zip(fields, decided, strict=True)
    ]
    chart = charts.bars([*(100 * yes / (yes + no) for yes, no in decided), 100]) if rows else None
    about = "Against what agents accepted or chose instead. What nobody looked at is not in it."
    changed = {key.removeprefix("field:"): one for key, one in photos.items() if key.startswith("field:")}
    return Page(
        tiles,
        (
            Figure(
                "accuracy",
                "How often triage was right",
                ("Field", "Accepted", "Overridden", "Right"),
                rows,
                chart,
                about,
                "No agent has accepted or overridden a field.",
            ),
            *(_calibration(one, counts) for one in fields),
            _ranking(
                "corrections",
                "What agents corrected in photos",
                changed,
                console_words.words,
                nothing="Nothing was corrected.",
                what="What",
            ),
        ),
    )


def _calibration(name: str, counts: Mapping[Measure, Counts]) -> Figure:
    bins, rows = [], []
    for tenth in range(10):
        key = f"{name}:{tenth}"
        held, said = counts[Measure.CALIBRATION].get(key), counts[Measure.PROBABILITY].get(key)
        if held is not None and said is not None:
            bins.append((said.mean or 0.0, held.mean or 0.0, held.count))
            rows.append((f"{10 * tenth} to {10 * tenth + 10} %", held.count, _percent(held.total, held.count)))
    total = sum(count for _, _, count in bins)
    error = sum(count * abs(said - right) for said, right, count in bins) / total if total else 0.0
    about = f"{total:,} decisions. What was said and what was right differ by {100 * error:.0f} % on average."
    title = f"{console_words.words(name)}: how sure, and how right"
    return Figure(
        f"calibration-{name}", title, ("Probability", "Decisions", "Right"), rows, charts.diagonal(bins), about
    )


# Agents


def agents(session: Any, asked: Asked) -> Page:
    measures = (
        Measure.REPLIES,
        Measure.AGENT_TICKETS,
        Measure.AGENT_SOLVED,
        Measure.AGENT_RESPONSE,
        Measure.AGENT_RATING,
    )
    counts = reports.totals(session, asked, measures)
    seen = set().union(*(counts[one] for one in measures))
    names = {one.public_id: one.name for one in people.all_agents(session, limit=None)}
    by_replies = sorted(seen, key=lambda one: (-counts[Measure.REPLIES].get(one, Count()).count, names.get(one, "")))
    rows: list[Row] = [
        (
            names.get(one, "Somebody who has left"),
            *(counts[measure].get(one, Count()).count for measure in measures[:3]),
            _duration(counts[Measure.AGENT_RESPONSE].get(one, Count()).mean),
            _mean({one: counts[Measure.AGENT_RATING].get(one, Count())}, 1),
        )
        for one in by_replies
    ]
    chart = charts.bars([counts[Measure.REPLIES].get(one, Count()).count for one in by_replies]) if rows else None
    columns = ("Agent", "Replies", "Tickets", "Solved", "First response, mean", "Rating")
    about = (
        "Replies to customers by whoever wrote them; tickets, solved ones and ratings by whoever has the ticket now. "
        "Numbers say how much, not how well: hard tickets take longer."
    )
    replies = _sum(counts[Measure.REPLIES])
    tiles = (Tile("Agents", f"{len(rows):,}"), Tile("Replies", f"{replies:,}"))
    return Page(tiles, (Figure("agents", "Agents", columns, rows, chart, about),))


# Parts


def over_time(
    key: str,
    title: str,
    asked: Asked,
    series: Sequence[tuple[str, Mapping[date, int]]],
    *,
    about: str = "",
    sums: bool = True,
) -> Figure:
    """Over time, by weeks if there are many days: columns of sums, or a line of what there was at the end."""
    days = [asked.since + timedelta(days=number) for number in range(asked.days)]
    step = 1 if asked.days < _BY_WEEK_FROM else 7
    groups = [days[at : at + step] for at in range(0, len(days), step)]
    values = [
        (name, [sum(of.get(day, 0) for day in group) if sums else of.get(group[-1], 0) for group in groups])
        for name, of in series
    ]
    labels = [_shown(group[0]) if step == 1 else f"{_shown(group[0])} to {_shown(group[-1])}" for group in groups]
    rows: list[Row] = [(group[0].isoformat(), *(line[at] for _, line in values)) for at, group in enumerate(groups)]
    drawn = charts.columns if sums else charts.lines
    is_empty = not any(value for _, line in values for value in line)
    first = "Day" if step == 1 else "Week from"
    return Figure(
        key,
        title,
        (first, *(name for name, _ in series)),
        () if is_empty else rows,
        None if is_empty else drawn(labels, values),
        about,
    )


def _ranking(
    key: str,
    title: str,
    counts: Counts,
    name: Callable[[str], str],
    *,
    what: str = "",
    about: str = "",
    order: Iterable[str] | None = None,
    nothing: str = "None in this period.",
) -> Figure:
    """A bar for each, which is a ``what``, the longest first, or in this order; the many after the first fifteen
    together."""
    listed = [(name(one), counts[one].count) for one in order or () if one in counts]
    if order is None:
        ranked = sorted(((one, count.count) for one, count in counts.items()), key=lambda one: (-one[1], one[0]))
        listed = [(name(one), count) for one, count in ranked[:_MOST_BARS]]
        if rest := sum(count for _, count in ranked[_MOST_BARS:]):
            listed.append((f"{len(ranked) - _MOST_BARS} others", rest))
    total = sum(count for _, count in listed)
    rows = [(shown, count, _percent(count, total)) for shown, count in listed]
    chart = charts.bars([count for _, count in listed]) if listed else None
    return Figure(
        key, title, (what or title.removeprefix("By ").capitalize(), "Number", "Share"), rows, chart, about, nothing
    )


def _label(field: str, key: str) -> str:
    return console_words.label(desk().taxonomy, field, key) if key else "Not known"


def _sum(counts: Counts) -> int:
    return sum(one.count for one in counts.values())


def _numbers(counts: Counts) -> dict[str, int]:
    return {key: one.count for key, one in counts.items()}


def _mean(counts: Counts, times: int) -> str:
    """The mean of the totals, in so many parts; "–" of none."""
    number, total = _sum(counts), sum(one.total for one in counts.values())
    return f"{times * total / number:.{1 if times == 1 else 0}f}" if number else "–"


def _percent(part: float, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "–"


def _change(now: int, before: int, asked: Asked) -> str:
    return f"{100 * (now - before) / before:+.0f} % on the {asked.days} days before" if before else ""


def _shown(day: date) -> str:
    return f"{day.day} {day:%b %Y}"


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            number = seconds / length
            return f"{number:.0f} {unit}" if number >= 10 or unit == "min" else f"{number:.1f} {unit}"
    return f"{seconds:.0f} s"
