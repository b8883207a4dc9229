"""What is searched for, and about which product."""

from __future__ import annotations

import pytest

from assistant.ports import Box, TextLine
from assistant.skills.answer_request import AnswerRequest, Turn, build_query, products_of
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence, Reading
from assistant.text.names import Names

NAMES = Names([("Ice Maker 5", "ice-5"), ("Fan F2", "fan-f2"), ("Fan F2 Max", "fan-f2-max")])


def _products(request: AnswerRequest) -> tuple[str, ...]:
    return products_of(request, lambda text: NAMES.find(text).keys)


def _photo(*lines: str, product: str = CANNOT_TELL, confidence: float = 0.9) -> PhotoEvidence:
    unknown = Reading(CANNOT_TELL, 1.0)
    text = tuple(TextLine(line, 0.9, Box(0.1, 0.1, 0.9, 0.2)) for line in lines)
    return PhotoEvidence(unknown, Reading(product, confidence), unknown, unknown, visible_text=text)


@pytest.mark.parametrize(
    "text",
    [
        "Oh wait, it is the Fan F2 with E4!", "No, the fan-f2", "Sorry, Fan F2 I mean", "我说的是Fan F2",
        "FAN F2が動かない",
        "Es geht um den Fan F2.", "and my Fan F2?", "Not that one. The Fan F2 rattles.", "(Fan F2)",
        "fanf2 !!",
    ],
)  # fmt: skip
def test_a_product_that_the_newest_message_names_beats_the_tickets_and_the_photos(text: str) -> None:
    history = (Turn("customer", "My Ice Maker 5 shows E1"), Turn("assistant", "Refill the Ice Maker 5."))
    request = AnswerRequest(text, history, (_photo("E1", product="ice-5"),), product="ice-5", subject="Ice Maker 5")
    assert _products(request) == ("fan-f2",)


def test_without_a_name_in_the_message_the_ticket_the_newest_photo_and_the_last_messages_tell() -> None:
    history = (Turn("customer", "My Fan F2 is loud"), Turn("assistant", "Is it the Fan F2 Max?"))
    photos = (_photo(product="fan-f2"), _photo(product="ice-5"), _photo(product="fan-f2-max", confidence=0.3))
    assert _products(AnswerRequest("it is loud", history, photos, product="fan-f2")) == ("fan-f2",)
    assert _products(AnswerRequest("it is loud", history, photos)) == ("ice-5",)
    assert _products(AnswerRequest("it is loud", history)) == ("fan-f2",)
    assert _products(AnswerRequest("it is loud", subject="Fan F2 Max")) == ("fan-f2-max",)
    assert _products(AnswerRequest("it is loud")) == ()


def test_a_question_about_two_products_is_about_both() -> None:
    request = AnswerRequest("Does the filter of the Fan F2 fit the Ice Maker 5?", product="ice-5")
    assert set(_products(request)) == {"fan-f2", "ice-5"}


def test_codes_belong_to_the_product_on_whose_photo_they_were_read() -> None:
    photos = (_photo("E1", product="ice-5"), _photo("E4", product="fan-f2"), _photo("E9"))
    request = AnswerRequest("what does it say on the Fan F2?", evidence=photos)
    assert request.about(["fan-f2"]).codes == ["F2", "E4", "E9"]


def test_a_type_label_says_no_more_than_the_customer() -> None:
    label = _photo("Model Fan F2", "S/N 4R7T99012", "220-240 V 50 Hz", *("do not cover the vents " * 9).split("  "))
    question = "How often do the blades have to be cleaned?"
    query = build_query(AnswerRequest(question, evidence=(label,)))
    assert query.startswith(question)
    assert len(query.split()) == 2 * len(question.split())
    assert "4R7T99012" in query
    assert len(build_query(AnswerRequest("see photo", evidence=(label,))).split()) > 40


def test_a_short_message_is_searched_for_with_the_one_before_in_any_script() -> None:
    before = (Turn("customer", "How is the filter replaced?"),)
    for text in ("And on the Fan F2?", "Fan F2呢？", "Fan F2は？"):
        assert "filter" in build_query(AnswerRequest(text, before))
    for text in (
        "How do I clean the tray of it?",
        "冰块托盘应该怎么清洗才不会坏",
        "製氷皿はどうやって洗えばいいですか",
    ):
        assert "filter" not in build_query(AnswerRequest(text, before))
