"""Identifiers: all spellings of one are the same, and ordinary numbers are none."""

from __future__ import annotations

import pytest

from assistant.text.identifiers import canonical, certain, other_forms, spot


@pytest.mark.parametrize(
    "text", ["E21", "e21", "E-21", "E 21", "e.21", "Err 21", "ERROR 21", "error code: 21", "Fehler 21", "shows E21!"]
)
def test_spellings_of_a_code_share_a_form(text: str) -> None:
    assert "E21" in spot(text)


@pytest.mark.parametrize("misread", ["#I7206", "#172O6", "#l72o6", "#17-206", "error 17-206", "Err I72O6", "172O6"])
def test_misread_and_separated_digits_give_the_same_form(misread: str) -> None:
    assert "17206" in spot(misread)


@pytest.mark.parametrize(
    "text", ["I bought it in 2024", "it is 12.50 euros", "24/11/2026", "2nd floor", "wait 30 min", "a 20 minute walk"]
)
def test_years_prices_dates_and_amounts_are_no_identifiers(text: str) -> None:
    assert spot(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "E21が点滅", "エラー21です", "エラーE 21が出る", "错误代码21怎么办", "에러 21이", "ошибка 21", "Ошибка Е21",
        "код ошибки: 21", "erro 21", "código 21", "foutcode 21", "hata kodu 21", "kod błędu 21", "felkod 21", "خطأ 21",
        "الرمز ٢١", "Ｅ２１", "my 我的E 21",
    ],
)  # fmt: skip
def test_a_code_is_found_in_other_languages_and_beside_other_scripts(text: str) -> None:
    assert "E21" in spot(text)


@pytest.mark.parametrize("text", ["más 12 años", "señas 21", "Ihr seid 21", "с 10 до 18", "kodak 21", "barcode 21 mm"])
def test_words_that_end_like_a_code_make_none(text: str) -> None:
    assert spot(text) == []


def test_a_plain_number_is_not_certain_but_a_marked_or_long_one_is() -> None:
    assert certain("it has 1500 of them") == set()
    assert certain("error 1500") == {"1500", "E1500"}
    assert certain("order #1500") == {"1500"}
    assert certain("1500") == {"1500"}
    assert certain("the display says 17206") == {"17206"}
    assert certain("model WX-300B") == {canonical("WX300B")}


def test_other_forms_put_placeholders_for_some_digits_and_drop_the_e() -> None:
    assert "XX206" in other_forms("17206")
    assert "E21XX" in other_forms("E2104")
    assert "21" in other_forms("E21")
    assert "E21" not in other_forms("E21")
    assert all(any(character.isdigit() for character in form) for form in other_forms("E21"))


def test_a_very_long_token_is_not_kept() -> None:
    assert spot("a1" * 100) == []
