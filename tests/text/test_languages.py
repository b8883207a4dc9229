"""Which language a text is in: short messages, what is no language, and what is expected."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from assistant.text.languages import LANGUAGES, SURE, detect, distribution, expected


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The red light keeps blinking and nothing happens.", "en"),
        ("Die Maschine zieht kein Wasser und blinkt rot.", "de"),
        ("La machine clignote en rouge et ne chauffe plus.", "fr"),
        ("La cafetera parpadea en rojo y no calienta.", "es"),
        ("La macchina lampeggia in rosso e non scalda.", "it"),
        ("A máquina não liga e a luz fica vermelha.", "pt"),
        ("Het apparaat maakt lawaai en stopt steeds.", "nl"),
        ("Urządzenie się nie włącza, proszę o pomoc.", "pl"),
        ("Makine açılmıyor, kırmızı ışık yanıyor.", "tr"),
        ("機械が赤く点滅しています。", "ja"),
        ("机器不工作了，红灯一直闪。", "zh"),
        ("الجهاز لا يعمل والضوء أحمر", "ar"),
        ("Машина не включается, горит красная лампочка.", "ru"),
        ("Mašina se ne pali, a crvena lampica trepće.", "sr"),
        ("Saya belum menerima paket saya, mohon bantuannya.", "id"),
    ],
)
def test_a_sentence_is_told_and_sure(text: str, language: str) -> None:
    spoken, sure = detect(text)
    assert spoken == language
    assert sure > SURE


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Мой BrewMaster 300 не включается, что делать?", "ru"),
        ("BrewMaster 300 のランプが点滅しています", "ja"),
        ("جهاز HomeLink X1 لا يعمل", "ar"),
        ("Mein HomeLink Smart Home Hub verbindet sich nicht mit dem WLAN", "de"),
        ("siehe https://www.example.com/en/support/how-to-reset-your-device.html bitte", "de"),
        ("Ma machine affiche ERROR_CODE E21, que faire ? 😡😡", "fr"),
    ],
)
def test_names_addresses_and_codes_do_not_decide(text: str, language: str) -> None:
    assert detect(text)[0] == language


@pytest.mark.parametrize("text", ["", "E21?", "21", "HomeLink X1", "👍👍", "https://example.de/hilfe", "a@b.fr"])
def test_where_nothing_is_said_what_is_expected_stands(text: str) -> None:
    assert detect(text)[0] == "en"
    assert detect(text)[1] < SURE
    assert detect(text, expected("tr-TR")) == ("tr", pytest.approx(0.7, abs=0.1))


@pytest.mark.parametrize("text", ["invoice", "Help", "reset", "ok"])
def test_short_messages_take_the_language_of_the_conversation_or_browser(text: str) -> None:
    assert detect(text)[0] == "en"
    asked = "Meine Maschine zeigt seit gestern einen Fehler, was kann ich tun?"
    assert detect(text, expected(earlier=asked))[0] == "de"


@pytest.mark.parametrize(("text", "browser"), [("ok", "de-AT"), ("ok", "fr"), ("info", "pl")])
def test_the_browser_decides_what_is_a_word_in_both_languages(text: str, browser: str) -> None:
    assert detect(text, expected(browser))[0] == browser[:2]


def test_what_is_clear_outweighs_what_is_expected() -> None:
    expecting = expected("de", "Guten Tag, ich habe eine Frage zu meiner Bestellung.")
    assert detect("Où est ma commande ? Je l'attends depuis deux semaines.", expecting)[0] == "fr"


def test_the_distribution_sums_to_one_and_is_no_even_rest() -> None:
    found = distribution("Kan jeg få en ny faktura?")
    assert tuple(found) == LANGUAGES
    assert sum(found.values()) == pytest.approx(1)
    assert set(sorted(found, key=lambda one: -found[one])[:3]) == {"da", "no", "sv"}


def test_threads_share_the_identifier() -> None:
    texts = ["The light is red", "Das Licht ist rot", "La luz es roja", "赤いランプ"] * 50
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(detect, texts)) == [detect(text) for text in texts]


def test_short_sentences_of_thirteen_languages(data_sets: Path) -> None:
    files = {one: data_sets / "xsid" / f"{one}.valid.jsonl" for one in "ar da de en id it ja kk lt nl sr tr zh".split()}
    if not all(file.exists() for file in files.values()):
        pytest.skip("no xsid here")
    texts = [
        (language, json.loads(line)["text"])
        for language, file in files.items()
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    told = [(language, *detect(text)) for language, text in texts]
    assert sum(language == spoken for language, spoken, _ in told) / len(told) > 0.94
    sure = [language == spoken for language, spoken, probability in told if probability > SURE]
    assert len(sure) / len(told) > 0.945
    assert sum(sure) / len(sure) > 0.95
    browser = [language == detect(text, expected(language))[0] for language, text in texts]
    assert sum(browser) / len(browser) > 0.98
