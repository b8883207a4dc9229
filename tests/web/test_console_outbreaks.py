"""Outbreaks: what comes up much more often than it used to, for leads and admins."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from math import comb

import numpy as np
import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, insert, select

from assistant import worker
from assistant.db import new_public_id, utcnow
from assistant.desk import counting, inboxes, outbreaks, people, rollup
from assistant.desk.corrections import correct_evidence
from assistant.desk.desk import Desk
from assistant.desk.evidence import read_photos
from assistant.desk.outbreaks import BEFORE, RECENT, Outbreak
from assistant.models import (
    AgentRole,
    Attachment,
    Author,
    Conversation,
    ConversationState,
    Message,
    MessageVisibility,
    ReportCount,
    ReportState,
    Ticket,
)
from assistant.ports import Capabilities
from tests.factories import Persona, make_agent, make_machine, make_photo, make_ticket, make_upload
from tests.fakes import FakeOCR, fake_capabilities
from tests.web.test_console import counted

SignIn = Callable[[Persona], FlaskClient]
PAGE = "/console/reports/outbreaks"
BREWER, WASHER = "brewmaster-300", "washpro-8"


@pytest.fixture
def capabilities() -> Capabilities:
    return fake_capabilities(ocr=FakeOCR("BrewMaster 300", "E21"))


@pytest.fixture
def lea(desk: Desk) -> Persona:
    return make_agent(desk.db, "lea", role=AgentRole.LEAD)


def arrive(desk: Desk, days_ago: int, count: int, text: str, *, product: str, category: str = "device_fault") -> None:
    """Bare rows: so many tickets of a day."""
    at = utcnow() - timedelta(days=days_ago, minutes=1)
    with desk.db.begin() as session:
        customer = people.find_or_add_customer(session, name="Rosa", email="rosa@example.org")
        inbox = inboxes.default(session).id
        for _ in range(count):
            spoken = {"customer_id": customer.id, "inbox_id": inbox, "channel": "api", "created_at": at}
            conversation = session.scalar(
                insert(Conversation)
                .values(public_id=new_public_id("cnv"), state=ConversationState.HANDED_OFF, **spoken)
                .returning(Conversation.id)
            )
            session.execute(
                insert(Message).values(
                    public_id=new_public_id("msg"),
                    conversation_id=conversation,
                    author=Author.CUSTOMER,
                    visibility=MessageVisibility.PUBLIC,
                    text=text,
                    failed=False,
                    created_at=at,
                )
            )
            about = {"product": product, "category": category, "created_at": at, "updated_at": at}
            session.execute(
                insert(Ticket).values(
                    public_id=new_public_id("tck"),
                    conversation_id=conversation,
                    requester_id=customer.id,
                    subject=text,
                    **about,
                )
            )


def calm(desk: Desk, *, days: int = RECENT + BEFORE) -> None:
    """Two faults are as frequent as ever."""
    for day in range(days):
        arrive(desk, day, 1, "My BrewMaster 300 says E15.", product=BREWER)
        arrive(desk, day, 2, "It does not spin.", product=WASHER)


def count_all(desk: Desk) -> None:
    """Bare rows have no events to tell of them, so all days are counted anew."""
    with desk.db.begin() as session:
        session.execute(delete(ReportState))
    rollup.roll_up(desk)


def found(desk: Desk) -> list[Outbreak]:
    with desk.db.read() as session:
        return outbreaks.find(session, today=counting.day_of(utcnow(), "UTC"))


def named(desk: Desk) -> set[str]:
    return {
        "".join(one.fault.codes or one.fault.shows) or f"{one.fault.product} {one.fault.category}"
        for one in found(desk)
    }


def store_counts(desk: Desk, faults: Mapping[str, np.ndarray], *, others: int = 0) -> None:
    """The counts of faults, the last of which are today's, and as many ``others`` each day, as if all were counted."""
    today = counting.day_of(utcnow(), "UTC")
    length = RECENT + BEFORE
    opened = others + sum(faults.values())
    with desk.db.begin() as session:
        session.execute(delete(ReportCount))
        session.execute(delete(ReportState))
        state = ReportState(revision=counting.REVISION, zone="UTC", last_event_id=0, waiting=[], counted_at=utcnow())
        session.add(state)
        inbox = inboxes.default(session).id
        rows = [
            {"day": today - timedelta(days=length - 1 - at), "inbox_id": inbox, "measure": measure, "key": key,
             "count": int(count)}
            for measure, key, series in [
                (counting.Measure.OPENED, "", opened),
                *((counting.Measure.FAULT, key, series) for key, series in faults.items()),
            ]
            for at, count in enumerate(series)
            if count
        ]  # fmt: skip
        session.execute(insert(ReportCount), rows)


def test_the_chance_is_the_tail_of_the_binomial_distribution() -> None:
    for at_least, of, share in ((0, 5, 0.2), (3, 5, 0.2), (5, 5, 0.2), (12, 40, 0.2), (9, 30, 0.35)):
        exact = sum(comb(of, one) * share**one * (1 - share) ** (of - one) for one in range(at_least, of + 1))
        assert outbreaks.tail(at_least, of, share) == pytest.approx(exact)


@pytest.mark.parametrize("seed", range(5))
def test_steady_rates_raise_no_alarm_and_one_that_grows_fivefold_does(desk: Desk, seed: int) -> None:
    """400 faults, from one ticket a month to five a day, each day's number as chance has it (Poisson)."""
    draw = np.random.default_rng(seed)
    steady = draw.poisson(np.geomspace(0.03, 5, 400)[:, None], (400, RECENT + BEFORE))
    grown = draw.poisson(np.repeat([1, 5], [BEFORE, RECENT]))
    store_counts(desk, {f"{BREWER}|code|C{number}": series for number, series in enumerate(steady)})
    assert named(desk) == set()
    store_counts(desk, {f"{BREWER}|code|E18": grown, **{f"{BREWER}|code|C{n}": one for n, one in enumerate(steady)}})
    assert named(desk) == {"E18"}


def test_a_code_that_comes_up_suddenly_is_an_outbreak_with_its_tickets(
    sign_in: SignIn, lea: Persona, desk: Desk
) -> None:
    calm(desk)
    count_all(desk)
    client = sign_in(lea)
    assert "Nothing stands out" in client.get(PAGE).text
    assert "Nothing comes up much more often" in client.get("/console/reports").text
    written = [make_ticket(desk, f"The display shows E21, day {number}.") for number in range(5)]
    photographed = [make_ticket(desk, "See the photo.", uploads=[make_upload(data=make_photo("E21"))])]
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        for ticket in (*written, *photographed):
            row = session.get_one(Ticket, ticket.id)
            row.product, row.category = BREWER, "device_fault"
    arrive(desk, 20, 1, "The display shows E21.", product=BREWER)
    count_all(desk)
    shown = client.get(PAGE).text
    assert "BrewMaster 300: E21" in shown
    assert "6 in the last 7 days" in shown
    assert "less than one would be usual" in shown
    assert "E15" not in shown, "as frequent as ever"
    assert "Device fault" not in shown, "nothing but this code has made the category more frequent"
    assert "plot-columns" in shown
    address = re.search(r'href="(/console/\?q=[^"]*)"', shown)
    assert address is not None
    listed = client.get(html.unescape(address.group(1))).text
    assert set(re.findall(r"tck_\w+", listed)) == {one.public_id for one in (*written, *photographed)}
    assert "BrewMaster 300: E21" in client.get("/console/reports").text, "among the reports, too"
    assert "BrewMaster 300: E21,6,0.2" in client.get("/console/reports?csv=outbreaks").text


def test_a_category_is_an_outbreak_where_no_code_explains_it(desk: Desk) -> None:
    calm(desk)
    arrive(desk, 1, 12, "It leaks from below.", product=WASHER, category="safety")
    arrive(desk, 1, 12, "It leaks.", product="none", category="safety")
    count_all(desk)
    assert named(desk) == {f"{WASHER} safety"}


def photographed(
    desk: Desk, count: int, *, category: str | None = "device_fault", keeps_code: bool = False, **seen: str
) -> list[Ticket]:
    """Tickets of today, about a product, whose photos show this: `capabilities` has read a code in them."""
    machine = make_machine(desk.db)
    sent = [make_ticket(desk, "Look.", uploads=[make_upload()]) for _ in range(count)]
    for ticket in sent:
        with desk.db.begin() as session:
            row = session.get_one(Ticket, ticket.id)
            row.product, row.category = BREWER, category
            photo = session.scalars(
                select(Attachment).join(Attachment.message).where(Message.conversation_id == ticket.conversation_id)
            ).one()
        read_photos(desk, photo.message_id)
        lines = {} if keeps_code else {1: ""}
        with desk.db.begin() as session:
            correct_evidence(session, machine, photo.public_id, seen, lines=lines, taxonomy=desk.taxonomy)
    return sent


def test_what_photos_show_is_an_outbreak_without_a_code_each_by_itself(
    sign_in: SignIn, lea: Persona, desk: Desk
) -> None:
    calm(desk)
    leaking = photographed(desk, 6, condition="leaking")
    photographed(desk, 5, condition="fault light or code", lights="red")
    photographed(desk, 5, category=None, condition="intact", lights="green")
    count_all(desk)
    assert named(desk) == {"leaking", "red light"}, "no green lights, no category, no light without its colour"
    client = sign_in(lea)
    shown = client.get(PAGE).text
    assert "BrewMaster 300: leaking" in shown
    assert "6 in the last 7 days" in shown
    address = re.search(r'href="(/console/\?q=[^"]*leaking[^"]*)"', shown)
    assert address is not None
    listed = client.get(html.unescape(address.group(1))).text
    assert set(re.findall(r"tck_\w+", listed)) == {one.public_id for one in leaking}
    machine = make_machine(desk.db)
    with desk.db.begin() as session:
        of = Message.conversation_id.in_([one.conversation_id for one in leaking[:3]])
        for photo in session.scalars(select(Attachment).join(Attachment.message).where(of)).all():
            correct_evidence(session, machine, photo.public_id, {"condition": "intact"}, taxonomy=desk.taxonomy)
    rollup.roll_up(desk)
    assert named(desk) == {"red light"}, "three are too few"


def test_a_code_explains_what_its_photos_show(desk: Desk) -> None:
    calm(desk)
    photographed(desk, 6, keeps_code=True, condition="fault light or code", lights="red")
    count_all(desk)
    assert named(desk) == {"E21"}


def test_nothing_stands_out_where_everything_has_become_more_frequent(desk: Desk) -> None:
    calm(desk)
    for day in range(RECENT):
        arrive(desk, day, 3, "My BrewMaster 300 says E15.", product=BREWER)
        arrive(desk, day, 6, "It does not spin.", product=WASHER)
    count_all(desk)
    assert found(desk) == []


@pytest.mark.parametrize("days", [3, RECENT, RECENT + 3, RECENT + 10])
def test_a_young_desk_is_compared_with_the_days_it_has(desk: Desk, days: int) -> None:
    calm(desk, days=days)
    count_all(desk)
    assert found(desk) == [], "as frequent as since it began"


def test_nothing_stands_out_until_the_days_before_are_counted(sign_in: SignIn, lea: Persona, desk: Desk) -> None:
    calm(desk)
    with desk.db.begin() as session:
        rollup.note_waiting(session, now=utcnow())
    for _ in range(RECENT + 2):  # the newest first
        rollup.count_next(desk)
    assert found(desk) == []
    assert "until all tickets have been counted" in sign_in(lea).get(PAGE).text


@pytest.mark.parametrize("role", [AgentRole.AGENT, AgentRole.VIEWER])
def test_outbreaks_are_for_leads_and_admins(sign_in: SignIn, desk: Desk, role: AgentRole) -> None:
    client = sign_in(make_agent(desk.db, "eve", role=role, team="technical"))
    assert client.get(PAGE).status_code == 403
    reports = client.get("/console/reports").text
    assert "/reports/outbreaks" not in reports
    assert "Top outbreaks" not in reports
    assert client.get("/console/reports?csv=outbreaks").status_code == 404
    admin = sign_in(make_agent(desk.db, "ada", admin=True))
    assert admin.get(PAGE).status_code == 200
    assert "/reports/outbreaks" in admin.get("/console/reports").text


def test_outbreaks_take_few_statements_however_many_there_are(sign_in: SignIn, lea: Persona, desk: Desk) -> None:
    sudden = np.repeat([0, 5], [BEFORE, RECENT])
    store_counts(desk, {f"{BREWER}|code|C{number}": sudden for number in range(30)}, others=1000)
    client = sign_in(lea)
    client.get(PAGE)
    with counted(desk.db) as statements:
        shown = client.get(PAGE).text
    assert shown.count("35 in the last 7 days") == 30
    assert len(statements) <= 12


def test_a_fault_is_counted_once_a_ticket_and_serial_numbers_not_at_all(desk: Desk) -> None:
    arrive(desk, 0, 1, "E21! E-21 again, serial LU7749921X, order #4471234.", product=BREWER)
    rollup.roll_up(desk)
    with desk.db.read() as session:
        counts = session.execute(
            select(ReportCount.key, ReportCount.count).where(ReportCount.measure == counting.Measure.FAULT)
        ).all()
    assert sorted(map(tuple, counts)) == [(f"{BREWER}|category|device_fault", 1), (f"{BREWER}|code|E21", 1)]
