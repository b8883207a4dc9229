"""Copies of photos: found by their pixels whatever was done to them, told of to who may see the other ticket."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import select

from assistant import payloads, worker
from assistant.desk import conversations, copies, erasure, people
from assistant.desk.access import AgentPrincipal, CustomerPrincipal
from assistant.desk.desk import Desk
from assistant.desk.evidence import photos_of
from assistant.knowledge import sources
from assistant.lab.evaluation.copies import CHANGES
from assistant.lab.evaluation.pairs import drawn
from assistant.media.copies import Original, candidates, points_of
from assistant.media.files import Upload
from assistant.models import AgentRole, Message, PhotoCopy, PhotoHash, ProductPhoto, SourceKind, Ticket
from assistant.sample import photos as sample
from tests.factories import Persona, make_agent, make_ticket

SAMPLES = Path(str(sample.__file__)).parent / "photos"


def picture(name: str) -> Image.Image:
    with Image.open(SAMPLES / f"{name}.jpg") as opened:
        return opened.convert("RGB")


def encoded(image: Image.Image, quality: int = 85) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


DEVICE, LABEL = encoded(picture("hub-lights")), encoded(picture("robot-label"))
CUT = encoded(CHANGES["cut by 10 % at each edge"](picture("hub-lights")))


@pytest.fixture
def lea(desk: Desk) -> Persona:
    return make_agent(desk.db, "lea", role=AgentRole.LEAD)


def opened(desk: Desk, *photos: bytes, who: str, team: str = "technical") -> Ticket:
    uploads = [Upload(f"{number}.jpg", "image/jpeg", data) for number, data in enumerate(photos)]
    ticket = make_ticket(desk, "It does not work.", uploads=uploads, requester_email=f"{who}@example.org")
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        session.get_one(Ticket, ticket.id).team_id = people.find_team(session, team).id
    return ticket


def say(desk: Desk, ticket: Ticket, photo: bytes) -> None:
    customer = CustomerPrincipal(ticket.conversation_id)
    uploads = [Upload("again.jpg", "image/jpeg", photo)]
    conversations.post_message(desk, customer, text="And again.", uploads=uploads, client_id=None)
    worker.run_until_idle(desk)


def told(desk: Desk, by: Persona, ticket: Ticket) -> list[list[payloads.PhotoCopy]]:
    """Of each photo of the ticket."""
    with desk.db.read() as session:
        ids = session.scalars(select(Message.id).where(Message.conversation_id == ticket.conversation_id)).all()
        photos = photos_of(session, ids)
        assert isinstance(by.principal, AgentPrincipal)
        found: Mapping[int, list[payloads.PhotoCopy]] = copies.copies_of(session, by.principal, photos)
        return [found.get(photo.id, []) for photo in photos]


@pytest.mark.parametrize("change", CHANGES)
def test_a_copy_is_found_and_agrees(change: str) -> None:
    photos = [DEVICE, LABEL, encoded(picture("damaged-box")), encoded(picture("washer-e41"))]
    copy = encoded(CHANGES[change](picture("hub-lights")), 70)
    first = candidates(points_of(copy), [points_of(photo).to_bytes() for photo in photos])[0]
    assert (first.number, first.is_mirrored) == (0, change == "mirrored")
    assert Original(copy).is_copied_by(DEVICE, is_mirrored=first.is_mirrored)


def test_another_photo_of_the_same_thing_is_no_copy() -> None:
    for number in range(4):
        pair = drawn(number, changed=False)
        assert Original(pair.one).is_copied_by(pair.other) is False
    assert Original(DEVICE).is_copied_by(LABEL) is False
    assert Original(DEVICE).is_copied_by(encoded(Image.new("RGB", (400, 300), "white"))) is None


def test_another_customers_photo_is_told_to_who_may_see_its_ticket(desk: Desk, alice: Persona, lea: Persona) -> None:
    first = opened(desk, DEVICE, LABEL, who="rosa", team="orders")
    second = opened(desk, CUT, who="tom")
    [[found, *more]] = told(desk, lea, second)
    assert (found.kind, found.same, found.ticket and found.ticket.number) == ("other_customer", False, first.number)
    assert more == []
    assert told(desk, alice, second) == [[]], "the other ticket is another team's"
    own = opened(desk, CUT, who="rosa", team="orders")
    kinds = [[(one.kind, one.ticket and one.ticket.number) for one in of] for of in told(desk, lea, own)]
    assert kinds == [[("other_customer", second.number)]], "her own earlier ticket is nothing to wonder at"


def test_what_comes_again_in_one_ticket_is_said_on_its_card(
    desk: Desk, alice: Persona, client: FlaskClient, key: dict[str, str], sign_in: object
) -> None:
    ticket = opened(desk, DEVICE, who="rosa")
    say(desk, ticket, CUT)
    say(desk, ticket, LABEL)
    first, again, other = told(desk, alice, ticket)
    assert (first, other) == ([], [])
    [found] = again
    shown = client.get(f"/api/v1/tickets/{ticket.public_id}", headers=key).json
    messages = [one for one in shown["messages"] if one["attachments"]]
    assert (found.kind, found.message_id) == ("earlier", messages[0]["id"])
    assert [len(one["attachments"][0]["copies"]) for one in messages] == [0, 1, 0]
    page = sign_in(alice).get(f"/console/tickets/{ticket.public_id}").text  # type: ignore[operator]
    assert page.count("The same picture as") == 1
    assert f'<a href="#{found.message_id}">' in page


def test_the_companys_own_pictures_are_told_and_a_customers_reference_photo_is_not(
    desk: Desk, alice: Persona, tmp_path: Path
) -> None:
    folder = tmp_path / "manual"
    folder.mkdir()
    (folder / "hub.jpg").write_bytes(DEVICE)
    (folder / "hub.md").write_text("# Hub lights\n\nWhat they mean.\n\n![The lights](hub.jpg)\n", encoding="utf-8")
    with desk.db.begin() as session:
        source = sources.add_source(session, kind=SourceKind.FOLDER, location=str(folder))
    sources.sync(desk, source.id)
    with desk.db.begin() as session:
        for data, is_customers in ((LABEL, False), (encoded(picture("washer-e41")), True)):
            photo = {"product": "robot", "sha256": desk.storage.put(data), "filename": "1.jpg", "features": "colours"}
            session.add(ProductPhoto(**photo, text="", views=b"", is_customers=is_customers))
    label = encoded(CHANGES["with a border"](picture("robot-label")))
    ticket = opened(desk, CUT, label, encoded(picture("washer-e41"), 60), who="rosa")
    found = told(desk, alice, ticket)
    assert [[(one.kind, one.article, one.product) for one in of] for of in found] == [
        [("figure", "Hub lights", None)], [("reference", None, "robot")], [],
    ]  # fmt: skip


def test_pairs_go_with_the_photos(desk: Desk, lea: Persona) -> None:
    first, second = opened(desk, DEVICE, who="rosa"), opened(desk, CUT, who="tom")
    with desk.db.read() as session:
        assert len(session.scalars(select(PhotoCopy)).all()) == 1
        tom = session.get_one(Ticket, second.id).requester.public_id
    receipt = erasure.erase(desk.db, desk.storage, desk.settings.data_dir, [tom])
    assert receipt.rows["photo_copies"] == 1
    with desk.db.read() as session:
        assert session.scalars(select(PhotoCopy)).all() == []
        assert len(session.scalars(select(PhotoHash)).all()) == 1
    assert told(desk, lea, first) == [[]]
