"""Names in texts: found however they are written, and never inside other names."""

from __future__ import annotations

import pytest

from assistant.text.names import Names

NAMES = Names(
    [
        ("AquaJet 20", "aquajet-20"),
        ("AquaJet 20 Pro", "aquajet-20-pro"),
        ("AJ-20", "aquajet-20"),
        ("pump", "aquajet-20"),
        ("Lumi K3", "lumi-k3"),
        ("Crème Deluxe 2", "creme"),
        ("アクアジェット", "aquajet-20"),
        ("Пылесос 8", "vacuum"),
        ("워터팟 8", "pot"),
    ]
)


@pytest.mark.parametrize(
    "text",
    [
        "My AquaJet 20 leaks", "aquajet20", "AQUAJET-20!", "Aqua Jet 20", "the aj20", "AJ 20", "AquaJet™ 20",
        "ＡｑｕａＪｅｔ　２０", "AquaJet\n20", "photo_AJ20_front.jpg", "AquaJet-20-Filter", "AquaJet 20'de",
        "AquaJet 20が点滅しています", "我的AquaJet 20坏了", "내 AquaJet 20이 안 켜져요", "AquaJet 20не работает",
        "เครื่องAquaJet 20เสีย", "الAquaJet 20 لا يعمل", "私のアクアジェットが", "ｱｸｱｼﾞｪｯﾄ", "the pump.",
    ],
)  # fmt: skip
def test_a_name_is_found_in_every_spelling_and_beside_every_script(text: str) -> None:
    assert NAMES.find(text).keys == ("aquajet-20",)


@pytest.mark.parametrize(
    "text",
    [
        "AquaJet 200",
        "AquaJet 20x",
        "AquaJet. 20 euros",
        "AquaJet, 20",
        "AquaJet 2 0",
        "pumpkin",
        "K3",
        "пылесос 8не",
        "",
    ],
)
def test_a_part_of_something_else_is_no_name(text: str) -> None:
    assert NAMES.find(text).keys == ()


@pytest.mark.parametrize(
    ("text", "key"), [("creme deluxe 2", "creme"), ("Мой пылесос 8 шумит", "vacuum"), ("워터팟 8이 고장", "pot")]
)
def test_names_in_other_scripts_and_with_accents(text: str, key: str) -> None:
    assert NAMES.find(text).keys == (key,)


def test_the_longer_name_wins_and_comes_first() -> None:
    assert NAMES.find("AquaJet 20 Pro").keys == ("aquajet-20-pro",)
    assert NAMES.find("the pump of the Lumi K3").keys == ("lumi-k3", "aquajet-20")


def test_the_rest_is_the_text_without_the_names() -> None:
    assert NAMES.find("Is my AJ-20 (AquaJet 20) broken? E21!").rest.split() == ["Is", "my", "(", ")", "broken?", "E21!"]
    assert Names([]).find("AJ-20") == Names([]).find("AJ-20")
    assert Names([]).find("AJ-20").rest == "AJ-20"


def test_one_name_may_stand_for_several_things() -> None:
    assert Names([("Kettle", "kettle-1"), ("kettle", "kettle-2")]).find("KETTLE").keys == ("kettle-1", "kettle-2")
