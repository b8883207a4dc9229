"""Quoted mail, signatures and disclaimers are set apart from what was written now; nothing that counts is lost."""

from __future__ import annotations

from time import perf_counter

import pytest

from assistant.text.mail import own_words, parts_of

NOW = "Done, and the lamp still flickers. What next?"
OLD = "Hello Mia,\nif it smells burnt, unplug it.\nThen change the bulb."
MARKED = "\n".join(f"> {line}" for line in OLD.splitlines())
HEADERS = "{}: Care <care@lamp.example>\n{}: 3.11.2026 08:15\n{}: Mia Berg\n{}: Re: lamp"


@pytest.mark.parametrize(
    "attribution",
    [
        "On Tue, 3 Nov 2026 at 08:15, Care <care@lamp.example> wrote:",
        "Am 3.11.2026 um 08:15 schrieb Care:",
        "Care <care@lamp.example> schrieb am Di., 3. Nov. 2026, 08:15:",
        "Le mar. 3 nov. 2026 à 08:15, Care <care@lamp.example> a écrit :",
        "El mar, 3 nov 2026 a las 8:15, Care (<care@lamp.example>) escribió:",
        "Il giorno mar 3 nov 2026 alle ore 08:15 Care\n<care@lamp.example> ha scritto:",
        "Em ter., 3 de nov. de 2026 às 08:15, Care <care@lamp.example> escreveu:",
        "Op di 3 nov 2026 om 08:15 schreef Care <care@lamp.example>:",
        "wt., 3 lis 2026 o 08:15 Care <care@lamp.example> napisał(a):",
        "Care <care@lamp.example>, 3 Kas 2026 Sal, 08:15 tarihinde şunu yazdı:",
        "2026年11月3日(火) 8:15 Care <care@lamp.example>:",
        "Care <care@lamp.example> 于2026年11月3日周二 08:15写道：",
        "في الثلاثاء، 3 نوفمبر 2026 في 8:15 ص كتب Care <care@lamp.example>:",
        "вт, 3 нояб. 2026 г. в 08:15, Care <care@lamp.example>:",
    ],
)
@pytest.mark.parametrize("quoted", [MARKED, OLD])
def test_a_quoted_mail_is_known_by_its_attribution_in_any_language(attribution: str, quoted: str) -> None:
    assert own_words(f"{NOW}\n\n{attribution}\n\n{quoted}") == NOW


@pytest.mark.parametrize(
    "labels",
    [
        "From Sent To Subject",
        "Von Gesendet An Betreff",
        "De Envoyé À Objet",
        "De Enviado Para Asunto",
        "Da Inviato A Oggetto",
        "De Enviado Para Assunto",
        "Van Verzonden Aan Onderwerp",
        "Od Wysłano Do Temat",
        "Kimden Tarih Kime Konu",
        "差出人 送信日時 宛先 件名",
        "发件人 发送时间 收件人 主题",
        "من التاريخ إلى الموضوع",
    ],
)
@pytest.mark.parametrize("rule", ["", "________________________________\n", "-----Original Message-----\n"])
def test_a_quoted_mail_is_known_by_its_headers_in_any_language(labels: str, rule: str) -> None:
    assert own_words(f"{NOW}\n\n{rule}{HEADERS.format(*labels.split())}\n\n{OLD}") == NOW


@pytest.mark.parametrize(
    "end",
    [
        "Sent from my iPhone",
        "Von meinem Samsung Galaxy gesendet",
        "Envoyé de mon iPad",
        "iPhoneから送信",
        "发自我的iPhone",
        "-- \nMia Berg\nLampenweg 2",
        "Kind regards\nMia Berg\nBerg & Partner, Solicitors",
        "Mit freundlichen Grüßen\nMia Berg\nRechtsanwältin\nTel. 0431 555 0100",
        "Thanks in advance,\nMia",
        "Regards,\n\nMia Berg\nHead of Lamps | Berg Ltd.",
        "Grazie e cordiali saluti\nMia",
        "よろしくお願いいたします。\n山田",
        "Mia Berg\nBuyer\n+49 431 5550100 | www.berg.example",
        "This message is confidential and meant for its addressee alone. If it reached you in error, delete it.",
        "Diese Nachricht ist vertraulich. Haben Sie sie irrtümlich erhalten, löschen Sie sie bitte.",
        "Please think of the environment before you print this mail.",
    ],
)
def test_signatures_and_disclaimers_are_set_apart(end: str) -> None:
    assert own_words(f"{NOW}\n\n{end}") == NOW
    assert own_words(f"{NOW}\n\n{end}\n\nOn 3 Nov 2026, at 08:15, Care wrote:\n{MARKED}") == NOW


def test_answers_below_and_between_quoted_lines_are_all_kept() -> None:
    text = "On 3 Nov 2026, at 08:15, Care wrote:\n> Which lamp?\nThe round one.\n> Since when?\nSince May.\n\nBest\nMia"
    assert own_words(text).split("\n\n") == ["The round one.", "Since May."]


@pytest.mark.parametrize("mark", ["", "> "])
def test_what_was_forwarded_is_what_the_sender_wants_to_say(mark: str) -> None:
    head = HEADERS.format("From", "Date", "To", "Subject")
    forwarded = "\n".join(mark + line for line in f"{head}\n\nYour lamp went back to the shop.".splitlines())
    words = own_words(f"Why?\n\n---------- Forwarded message ---------\n{forwarded}")
    assert words == "Why?\n\nYour lamp went back to the shop."


@pytest.mark.parametrize(
    "text", [MARKED, f"Am 3.11.2026 um 08:15 schrieb Care:\n\n{OLD}", "Best regards\nMia", "", " \n"]
)
def test_the_only_words_count_even_if_they_are_quoted(text: str) -> None:
    assert own_words(text) == text.strip()
    assert all(part.own for part in parts_of(text))


@pytest.mark.parametrize(
    "text",
    [
        "The panel says:\n> E7\nWhat is it?",
        "Readings:\nVoltage: 230\nCurrent: 2\nLamp: off\nIs that normal?",
        "Name: Mia Berg\nE-mail: mia@berg.example\nBought: 3.11.2026 08:15\nProblem: it flickers",
        "I tried:\n- a new bulb\n- another socket",
        "From Monday to Friday it is fine:\nwhy not on Sundays?",
        "On 3 Nov 2026 it broke: is that covered?",
        "Thanks, that helped with the bulb.\nBut now it hums.",
        "It is all right again.\n\nThank you!",
        "My address is new.\n\nMia Berg\n5 Lamp Lane\nLeeds",
        "How do I connect my iPhone?",
        "-----\nE7\n-----\nis on the panel",
    ],
)
def test_what_only_looks_like_mail_stays(text: str) -> None:
    assert own_words(text) == text


def test_the_parts_give_the_whole_text() -> None:
    quoted = "Kind regards\r\nMia\r\n\r\nOn 3 Nov 2026, at 08:15, Care wrote:\r\n> Hello\r\n> Mia"
    text = f"{NOW}\r\n\r\n{quoted}\r\n\r\nPS: both lamps"
    parts = parts_of(text)
    assert "".join(part.text for part in parts) == text
    assert [part.own for part in parts] == [True, False, True]


@pytest.mark.parametrize("text", ["> a\n" * 2_000, "a: b\n" * 1_600, ("-" * 100 + " " * 100 + "x") * 40, "a@" * 4_000])
def test_hostile_texts_take_no_time(text: str) -> None:
    started = perf_counter()
    own_words(text)
    assert perf_counter() - started < 1
