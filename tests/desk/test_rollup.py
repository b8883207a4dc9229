"""What reports add up: every ticket counts on the day it was opened, with all that has become of it since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select

from assistant import worker
from assistant.db import utcnow
from assistant.desk import counting, drafts, inboxes, people, reports, rollup, tickets, triage
from assistant.desk.counting import Measure, Outcome
from assistant.desk.desk import Desk
from assistant.desk.reports import Asked, Count
from assistant.models import Draft, Job, JobStatus, Message, ReportCount, ReportState, Ticket
from assistant.ports import HandoffReason
from assistant.runtime import Runtime
from tests.desk.test_corrections import correct
from tests.factories import Browser, make_agent, make_articles, make_ticket, make_upload
from tests.fakes import FakeOCR, fake_capabilities

QUESTION = "My coffee machine shows E21. What does it mean?"


def counted(desk: Desk, measure: Measure, **asked: int) -> dict[str, int]:
    today = counting.day_of(utcnow(), "UTC")
    with desk.db.read() as session:
        found = reports.totals(session, Asked(today - timedelta(days=30), today, **asked), [measure])[measure]
    return {key: one.count for key, one in found.items()}


@given(st.lists(st.floats(15, 10_000_000), min_size=1, max_size=50))
def test_a_median_of_buckets_is_within_a_fifth_of_the_true_one(seconds: list[float]) -> None:
    counts: dict[str, int] = {}
    for one in seconds:
        counts[counting.bucket(one)] = counts.get(counting.bucket(one), 0) + 1
    for share in (0.5, 0.9, 1.0):
        true = sorted(seconds)[max(0, -int(-share * len(seconds) // 1) - 1)]
        told = counting.quantile(counts, share)
        assert told is not None
        assert true / 1.2 <= told <= true * 1.2
    assert abs(counting.within(counts, 1e9) - len(seconds)) < 1e-6
    assert counting.within(counts, 1) == 0


def test_nothing_has_no_median() -> None:
    assert counting.quantile({}, 0.5) is None


def test_what_became_of_a_conversation_is_told_as_far_as_it_is_known(
    desk: Desk, client: FlaskClient, tmp_path: Path
) -> None:
    make_articles(desk, tmp_path / "articles")
    alice = make_agent(desk.db, "alice").principal
    browsers = {name: Browser(client) for name in ("helped", "silent", "person", "poor", "reopened", "ended", "unread")}
    for browser in browsers.values():
        browser.say(QUESTION)
    worker.run_until_idle(desk)
    answers = {name: next(one["id"] for one in them.messages if one["author"] == "assistant")
               for name, them in browsers.items()}  # fmt: skip
    for name, helpful in (("helped", True), ("poor", False)):
        them = browsers[name]
        client.put(f"{them.path}/messages/{answers[name]}/helpful", headers=them.headers, json={"helpful": helpful})
    for name in ("reopened", "ended"):
        client.post(f"{browsers[name].path}/end", headers=browsers[name].headers)
    browsers["reopened"].say("And where is the tank? E21 is back.")
    browsers["person"].say("I want to talk to a person, please.")
    worker.run_until_idle(desk)
    browsers["unread"].say("And what does E99 mean?")  # no worker has seen it
    with desk.db.begin() as session:
        ticket = session.scalars(select(Ticket).join(Ticket.conversation).where(
            Ticket.conversation.has(public_id=browsers["person"].conversation)
        )).one()  # fmt: skip
        drafts.reply(session, alice, ticket, "Hello, how can I help?")
    rollup.roll_up(desk)
    outcomes = counted(desk, Measure.OUTCOME)
    assert outcomes == {
        Outcome.HELPED: 2,
        Outcome.UNDECIDED: 1,
        Outcome.PERSON: 1,
        Outcome.NOT_HELPED: 1,
        Outcome.REOPENED: 1,
        Outcome.UNANSWERED: 1,
    }
    assert counted(desk, Measure.HANDOFF) == {HandoffReason.CUSTOMER_ASKED: 1}
    assert counted(desk, Measure.REPLIES) == {alice.public_id: 1}

    # Silence counts once its time is over, though nothing has happened that the feed would tell.
    later = replace(desk, now=lambda: utcnow() + timedelta(days=4))
    assert rollup.roll_up(later) >= 1
    assert counted(desk, Measure.OUTCOME) == {key: number for key, number in outcomes.items()
                                              if key != Outcome.UNDECIDED} | {Outcome.SILENT: 1}  # fmt: skip


def test_times_drafts_decisions_and_corrections_are_counted_and_again_when_they_change(
    make_runtime: Callable[..., Runtime], tmp_path: Path
) -> None:
    desk = make_runtime(capabilities=fake_capabilities(ocr=FakeOCR("BrewMaster 300", "E21"))).desk
    make_articles(desk, tmp_path / "articles")
    alice = make_agent(desk.db, "alice")
    first = make_ticket(desk, QUESTION, uploads=[make_upload()])
    second = make_ticket(desk, QUESTION)
    worker.run_until_idle(desk)
    rollup.roll_up(desk)
    assert counted(desk, Measure.OPENED) == {"": 2}
    assert counted(desk, Measure.PHOTO) == {"read": 1}
    assert counted(desk, Measure.FIRST_RESPONSE) == {}

    with desk.db.begin() as session:
        ticket = session.get_one(Ticket, first.id)
        triage.decide_field(session, alice.principal, ticket, "priority", value="urgent", taxonomy=desk.taxonomy)
        draft = session.scalars(select(Draft).where(Draft.ticket_id == first.id)).one()
        drafts.send_draft(session, alice.principal, ticket, draft, text=draft.text + " Good luck!")
        tickets.solve(session, ticket, alice.principal)
        session.get_one(Ticket, second.id).team = people.find_team(session, "orders")
    correct(desk, alice, first, {"product": "dustpilot-r7"})
    assert rollup.roll_up(desk) == 1  # its day alone
    assert counted(desk, Measure.OPENED) == {"": 2}
    assert sum(counted(desk, Measure.FIRST_RESPONSE).values()) == sum(counted(desk, Measure.RESOLUTION).values()) == 1
    assert counted(desk, Measure.DRAFT)["edited"] == 1
    assert list(counted(desk, Measure.EDIT)) == ["0"]  # two words of many
    assert counted(desk, Measure.TRIAGE) == {"priority:overridden": 1}
    assert sum(counted(desk, Measure.CALIBRATION).values()) == 1
    assert counted(desk, Measure.PHOTO) == {"read": 1, "corrected": 1, "field:product": 1}
    assert counted(desk, Measure.AGENT_SOLVED) == {alice.public_id: 1} == counted(desk, Measure.REPLIES)
    with desk.db.read() as session:
        team_id = session.get_one(Ticket, second.id).team_id
        today = counting.day_of(utcnow(), "UTC")
        assert reports.backlog(session, Asked(today, today)) == {today: (2, 1, 1)}
        assert reports.open_ages(session, Asked(today, today), now=utcnow()) == [1, 1, 1, 1, 1]
    assert counted(desk, Measure.OPENED, team_id=team_id) == {"": 1}
    assert rollup.roll_up(desk) == 0


def test_days_begin_in_the_zone_of_the_business_hours_and_a_killed_count_goes_on(desk: Desk) -> None:
    opened = [make_ticket(desk).id for _ in range(3)]
    with desk.db.begin() as session:
        for number, ticket_id in enumerate(opened):
            evening = utcnow().replace(hour=23, minute=30) - timedelta(days=number + 1)
            session.get_one(Ticket, ticket_id).created_at = evening
    with desk.db.begin() as session:
        rollup.note_waiting(session, now=desk.now())
    left = rollup.count_next(desk)  # and then the process is killed
    assert left > 0
    assert rollup.roll_up(desk) == left
    assert days(desk) == {(utcnow() - timedelta(days=number + 1)).date() for number in range(3)}
    with desk.db.begin() as session:
        inboxes.change(inboxes.default(session), {"hours": {"zone": "Asia/Tokyo", "week": {}}})
    rollup.roll_up(desk)
    assert days(desk) == {(utcnow() - timedelta(days=number)).date() for number in range(3)}
    with desk.db.begin() as session:  # what is kept of events does not go back so far
        session.scalars(select(ReportState)).one().counted_at = utcnow() - timedelta(days=40)
    assert rollup.roll_up(desk) >= 3
    assert counted(desk, Measure.OPENED) == {"": 3}


def days(desk: Desk) -> set[object]:
    with desk.db.read() as session:
        return set(session.scalars(select(ReportCount.day).distinct()))


def test_the_job_comes_again_by_itself_and_once(desk: Desk) -> None:
    make_ticket(desk)
    for _ in range(2):
        with desk.db.begin() as session:
            rollup.request(session)
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        waiting = select(func.count()).where(Job.name == rollup.ROLL_UP, Job.status == JobStatus.QUEUED)
        assert session.scalar(waiting) == 1
        assert session.scalar(select(func.count()).select_from(Message)) == 1
    assert counted(desk, Measure.OPENED) == {"": 1}
    assert Count(2, 3.0).mean == 1.5
    assert Count().mean is None
