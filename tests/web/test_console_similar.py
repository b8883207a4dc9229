"""What a ticket has in common with others, beside it: the fault of a product, and photos that look alike."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import delete, func, select

from assistant import worker
from assistant.desk import likeness, people
from assistant.desk.corrections import correct_evidence
from assistant.desk.desk import Desk
from assistant.desk.evidence import read_photos
from assistant.media.files import Upload
from assistant.media.likeness import distance, hash_of
from assistant.models import AgentRole, Attachment, Message, PhotoHash, Ticket
from assistant.ports import Capabilities
from tests.factories import Persona, make_agent, make_machine, make_noise, make_ticket
from tests.fakes import FakeOCR, fake_capabilities
from tests.web.test_console import HTMX, counted

SignIn = Callable[[Persona], FlaskClient]


def scene(seed: int) -> Image.Image:
    """A picture of large soft shapes, as photos have them."""
    small = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((800, 600), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def copies(image: Image.Image) -> list[bytes]:
    width, height = image.size
    cropped = image.crop((width // 100, height // 100, width * 99 // 100, height * 99 // 100))
    return [encoded(image, 30), encoded(image.resize((width // 3, height // 3))), encoded(cropped, 70)]


@pytest.fixture
def capabilities() -> Capabilities:
    return fake_capabilities(ocr=FakeOCR("BrewMaster 300"))


@pytest.fixture
def lea(desk: Desk) -> Persona:
    return make_agent(desk.db, "lea", role=AgentRole.LEAD)


def opened(desk: Desk, text: str, *photos: bytes, team: str = "technical", product: str | None = None) -> Ticket:
    uploads = [Upload(f"{number}.jpg", "image/jpeg", data) for number, data in enumerate(photos)]
    ticket = make_ticket(desk, text, uploads=uploads)
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        row.team_id, row.product = people.find_team(session, team).id, product
    return ticket


def panel(client: FlaskClient, ticket: Ticket) -> str:
    return str(client.get(f"/console/tickets/{ticket.public_id}/similar", headers=HTMX).text)


def numbers_in(shown: str) -> set[int]:
    return {int(one) for one in re.findall(r"#(\d{4,})", shown)}


def test_copies_of_a_photo_hash_alike_and_other_photos_do_not() -> None:
    for seed in range(6):
        own = hash_of(encoded(scene(seed)))
        assert own is not None
        for copy in copies(scene(seed)):
            other = hash_of(copy)
            assert other is not None
            assert distance(own, other) <= likeness.ALIKE
        stranger = hash_of(encoded(scene(seed + 100)))
        assert stranger is not None
        assert distance(own, stranger) > likeness.ALIKE
    assert hash_of(encoded(Image.new("RGB", (400, 300), "white"))) is None, "one colour looks like nothing"


def test_tickets_whose_photos_look_alike_are_shown_if_one_may_see_them(
    sign_in: SignIn, alice: Persona, lea: Persona, desk: Desk
) -> None:
    first = opened(desk, "My parcel looks like this.", encoded(scene(1)))
    same = opened(desk, "And this one?", encoded(scene(1)))
    elsewhere = opened(desk, "Where is the rest?", copies(scene(1))[2], team="orders")
    opened(desk, "Something else.", encoded(scene(2)))
    shown = panel(sign_in(lea), first)
    assert numbers_in(shown) == {same.number, elsewhere.number}
    assert shown.count("same file") == 1
    assert numbers_in(panel(sign_in(alice), first)) == {same.number}, "of her team's alone"


def test_photos_of_before_are_hashed_by_a_job(sign_in: SignIn, lea: Persona, desk: Desk) -> None:
    first, second = (opened(desk, "My parcel looks like this.", encoded(scene(3), quality)) for quality in (90, 60))
    with desk.db.begin() as session:
        session.execute(delete(PhotoHash))
    assert numbers_in(panel(sign_in(lea), first)) == set()
    with desk.db.begin() as session:
        likeness.request(session)
    worker.run_until_idle(desk)
    assert numbers_in(panel(sign_in(lea), first)) == {second.number}
    worker.run_until_idle(desk)
    with desk.db.read() as session:
        assert session.scalar(select(func.count()).select_from(PhotoHash)) == 2


def test_others_with_the_same_fault_are_counted_and_the_list_behind_the_number_has_them(
    sign_in: SignIn, lea: Persona, desk: Desk
) -> None:
    brewer = "brewmaster-300"
    first = opened(desk, "It shows E-21.", product=brewer)
    others = {opened(desk, text, product=brewer).number for text in ("Error 21 again", "E21!", "Display says e 21")}
    opened(desk, "It shows E211.", product=brewer)
    opened(desk, "It shows E21.", product="washpro-8")
    opened(desk, "It leaks.", product=brewer)
    client = sign_in(lea)
    shown = panel(client, first)
    assert "3 others with this fault" in shown
    assert numbers_in(shown) == others
    address = re.search(r'href="(/console/\?q=[^"]*)"', shown)
    assert address is not None
    listed = numbers_in(client.get(address.group(1).replace("/console/?", "/console/rows?")).text)
    assert listed == {*others, first.number}


def photographed(
    desk: Desk, text: str, seed: int, *, product: str = "brewmaster-300", team: str = "technical", **seen: str
) -> Ticket:
    """A ticket whose photo shows this, as an agent has corrected it, and that is not triaged."""
    ticket, machine = (
        make_ticket(desk, text, uploads=[Upload("a.jpg", "image/jpeg", encoded(scene(seed)))]),
        make_machine(desk.db),
    )
    with desk.db.begin() as session:
        row = session.get_one(Ticket, ticket.id)
        row.team_id, row.product = people.find_team(session, team).id, product
        photo = session.scalars(
            select(Attachment).join(Attachment.message).where(Message.conversation_id == ticket.conversation_id)
        ).one()
    read_photos(desk, photo.message_id)
    with desk.db.begin() as session:
        correct_evidence(session, machine, photo.public_id, seen, taxonomy=desk.taxonomy)
    return ticket


def test_without_a_code_a_fault_is_what_photos_show_and_different_ones_do_not_merge(
    sign_in: SignIn, alice: Persona, lea: Persona, desk: Desk
) -> None:
    first, second = (photographed(desk, "Look.", seed, condition="leaking") for seed in (1, 2))
    elsewhere = photographed(desk, "Look.", 3, condition="leaking", team="orders")
    photographed(desk, "Look.", 4, condition="leaking", product="washpro-8")
    warns = {"condition": "fault light or code", "lights": "red"}
    lit, other_lit = (photographed(desk, "Look.", seed, **warns) for seed in (5, 6))
    leads, hers = sign_in(lea), sign_in(alice)
    told = panel(leads, first)
    assert "2 others with this fault" in told
    assert "BrewMaster 300, leaking<" in told
    assert numbers_in(told) == {second.number, elsewhere.number}
    assert "1 other with this fault" in panel(hers, first), "of her team's alone"
    address = re.search(r'href="(/console/\?q=[^"]*)"', told)
    assert address is not None
    rows = address.group(1).replace("/console/?", "/console/rows?")
    assert numbers_in(leads.get(rows).text) == {first.number, second.number, elsewhere.number}
    assert numbers_in(hers.get(rows).text) == {first.number, second.number}
    shown = panel(leads, lit)
    assert "BrewMaster 300, red light<" in shown
    assert numbers_in(shown) == {other_lit.number}


def test_a_code_goes_before_what_photos_show(sign_in: SignIn, lea: Persona, desk: Desk) -> None:
    photographed(desk, "Look.", 1, condition="leaking")
    coded = photographed(desk, "It says E21.", 2, condition="leaking")
    intact = photographed(desk, "E21!", 3, condition="intact")
    shown = panel(sign_in(lea), coded)
    assert "BrewMaster 300, E21<" in shown
    assert numbers_in(shown) == {intact.number}


def test_a_ticket_that_is_like_no_other_shows_nothing(sign_in: SignIn, lea: Persona, desk: Desk) -> None:
    ticket = opened(desk, "Hello there, a question about nothing.", encoded(Image.new("RGB", (300, 300), "white")))
    assert "hidden" in panel(sign_in(lea), ticket).split(">")[0]


def test_few_statements_whatever_there_is(sign_in: SignIn, lea: Persona, desk: Desk) -> None:
    first = opened(desk, "E21", *(encoded(scene(seed)) for seed in range(3)), product="brewmaster-300")
    client = sign_in(lea)
    panel(client, first)

    def statements() -> int:
        with counted(desk.db) as asked:
            panel(client, first)
        return len(asked)

    for seed in range(3):
        opened(desk, "E21", encoded(scene(seed)), product="brewmaster-300")
    few = statements()
    for seed in range(3):
        opened(desk, "E21", encoded(scene(seed), 60), encoded(scene(seed + 50)), product="brewmaster-300")
    make_noise(desk.db, 500)
    assert statements() == few <= 20
