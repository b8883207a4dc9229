"""Character sets: what bytes say is read rightly or refused, on short files too."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.errors import Invalid
from assistant.retrieval.loaders import load
from assistant.retrieval.sources.charset import to_text

RIGHT = [
    ("gb2312", "问题,答案\n洗衣机漏水怎么办,请检查进水管。错误代码 E-33 表示排水不畅\n"),
    ("gb18030", "保修期为两年，请保留发票。"),
    ("big5", "問題,答案\n漏水怎麼辦,請檢查水管\n"),
    ("shift_jis", "質問,回答\n水が出ません,フィルターを交換してください\n"),
    ("euc_jp", "電源が入らない。プラグを確認"),
    ("euc_kr", "질문,답변\n물이 새요,호스를 확인하세요\n"),
    ("cp1251", "Вопрос;Ответ\nНет воды;Откройте кран\n"),
    ("koi8_r", "Вопрос;Ответ\nНет воды;Откройте кран\n"),
    ("cp1250", "Otázka;Odpověď\nJak vyčistit filtr?;Použijte teplou vodu, žádné mýdlo\n"),
    ("cp1250", "Pytanie;Odpowiedź\nJak wyczyścić filtr?;Proszę użyć ciepłej wody\n"),
    ("cp1252", "How to reset;Drücken\n"),
    ("cp1252", "Heat it to 60 °C for 5 min – not more. It costs £5"),
    ("cp1252", "Question;Réponse\nOù est le numéro ?;À l’arrière de l’appareil\n"),
    ("mac_roman", "Question;Réponse\nOù est le numéro ?;À l’arrière de l’appareil\n"),
    ("mac_roman", "Frage;Antwort\nWie öffne ich die Tür?;Drücken Sie auf das Schloß, bis es klickt\n"),
    ("cp1253", "Ερώτηση;Απάντηση\nΔεν έχει νερό;Ανοίξτε τη βρύση\n"),
    ("cp1254", "Soru;Cevap\nFiltre nasıl temizlenir?;Ilık su ile yıkayın, ağ bağlantısı gerekmez\n"),
    ("cp1255", "שאלה;תשובה\nאין מים;פתחו את הברז\n"),
    ("cp1256", "السؤال;الجواب\nلا يوجد ماء;افتح الصنبور\n"),
    ("utf-16-le", "question,answer\nWarum?,Weil es so ist – 5 €\n"),
    ("utf-16-be", "質問,回答\n水が出ません,フィルター\n"),
    ("utf-16", "Frage,Antwort\nä,ö\n"),
    ("utf-8-sig", "Frage,Antwort\nä,ö\n"),
]


@pytest.mark.parametrize(("charset", "text"), RIGHT)
def test_short_files_are_read_in_their_character_set(charset: str, text: str) -> None:
    assert to_text(text.encode(charset)) == text


@pytest.mark.parametrize(
    ("charset", "text"),
    [
        ("cp850", "Größe wählen"),
        ("cp850", "Öffnen Sie die Tür"),
        ("mac_roman", "Öffnen Sie die Tür"),
        ("cp1254", "Şifre değiştir"),
        ("utf-16-be", "水箱没水"),
    ],
)
def test_what_could_be_several_things_is_refused_rather_than_jumbled(charset: str, text: str) -> None:
    with pytest.raises(Invalid, match=r"Save it as UTF-8|is not a text file"):
        to_text(text.encode(charset))


@pytest.mark.parametrize(
    ("charset", "declared"),
    [("gbk", "gb2312"), ("gbk", "iso-8859-1"), ("utf-8", "windows-1251"), ("gbk", "utf-8"), ("gbk", "no-such")],
)
def test_a_page_that_is_wrong_about_its_character_set_is_read_all_the_same(
    tmp_path: Path, charset: str, declared: str
) -> None:
    page = f"<meta charset={declared}><p>保修期为两年，请保留发票。</p>"
    (tmp_path / "a.html").write_bytes(page.encode(charset))
    [article] = load(tmp_path / "a.html").articles
    assert article.sections[0].blocks == ("保修期为两年，请保留发票。",)


def test_a_declaration_decides_where_the_text_does_not() -> None:
    assert to_text("Şifre değiştir".encode("cp1254"), declared="windows-1254") == "Şifre değiştir"


def test_a_few_foreign_bytes_do_not_make_another_file_of_it() -> None:
    text = "Größe, Länge, Höhe und Übergröße: öffnen, schließen, überprüfen. " * 3
    assert to_text(text.encode() + "café".encode("cp1252")) == f"{text}café"


def test_a_refused_file_says_where_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"# Doors\n\nOne.\n" + "Öffnen Sie die Tür".encode("cp850"))
    assert load(tmp_path).failed == [
        ("a.md", "is not UTF-8 (line 4), and its character set cannot be told. Save it as UTF-8")
    ]
