"""What is answered and what is handed over, with the real embeddings and the sample company's articles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant import sample
from assistant.db import Database, migrate
from assistant.engine import install
from assistant.knowledge.imports import import_folder
from assistant.knowledge.indexing import embed_headings
from assistant.models import Visibility
from assistant.retrieval.embedders import Embedders
from assistant.retrieval.index import Filters, Index
from assistant.settings import Settings
from assistant.skills.answer import Answer, AnswerSkill
from assistant.skills.answer_request import AnswerRequest
from assistant.skills.taxonomy import load_taxonomy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def skill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnswerSkill]:
    folder: Path = tmp_path_factory.mktemp("sample")
    taxonomy = load_taxonomy(sample.taxonomy_path())
    installed = install(Settings(data_dir=folder, model="none", ocr="off"))
    embedder = installed.capabilities.embedder
    url = f"sqlite:///{folder}/assistant.db"
    migrate(url)
    db = Database(url)
    import_folder(db, path=sample.articles_dir(), source="sample", embedder=embedder)
    embed_headings(db, embedder)
    index = Index(db, Embedders(embedder), product_names=taxonomy.product_names)
    retriever = index.retriever(Filters(visibilities=(Visibility.PUBLIC,)), limit=8)
    yield AnswerSkill(installed.capabilities, retriever, products_in=taxonomy.products_in)
    db.close()
    installed.close()


def ask(skill: AnswerSkill, question: str) -> Answer:
    return skill.invoke(AnswerRequest(text=question))


@pytest.mark.parametrize(
    "question",
    [
        "My vacuum robot DustPilot R7 says error 77",
        "What is R88 on the DustPilot R7?",
        "BrewMaster 300 stops with E29",
        "The VoltBank 500 displays F33",
        "WashPro 8 code E77, please help",
        "What does C9 mean on the ChillBox 45?",
    ],
)
def test_a_code_that_no_article_of_the_product_has_is_not_answered_with_another(
    skill: AnswerSkill, question: str
) -> None:
    assert (ask(skill, question).text, ask(skill, question).confidence) == ("", 0.0)


@pytest.mark.parametrize(
    "question",
    [
        "Comment nettoyer le filtre du purificateur d'air, s'il vous plaît ?",
        "¿Cómo puedo devolver mi pedido y recibir el dinero?",
        "Come posso cambiare la batteria del mio robot aspirapolvere?",
    ],
)
def test_a_language_that_neither_articles_nor_embedder_read_is_handed_over(skill: AnswerSkill, question: str) -> None:
    assert ask(skill, question).text == ""


def test_an_identifier_is_answered_in_any_language(skill: AnswerSkill) -> None:
    assert "pump" in ask(skill, "Que signifie le code E21 de ma machine BrewMaster 300 ?").text


@pytest.mark.parametrize(
    "question",
    [
        "Did you get my letter?",
        "Where is the nearest shop of yours?",
        "I want to cancel my order",
        "Who is the head of your company?",
        "Is there a discount for students?",
        "What will the weather be like tomorrow?",
        "Can the DustPilot climb stairs?",
        "How heavy is the VoltBank 500?",
    ],
)
def test_what_no_article_says_is_handed_over(skill: AnswerSkill, question: str) -> None:
    assert ask(skill, question).text == ""


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("My coffee machine shows E21. What does it mean?", "BrewMaster 300: error codes"),
        ("How do I return my order?", "Returns, exchange and warranty"),
        ("Where is my order?", "Orders, delivery and invoices"),
        ("When will my parcel arrive?", "Orders, delivery and invoices"),
        ("I want to send my order back", "Returns, exchange and warranty"),
        ("Where do I find my invoice?", "Orders, delivery and invoices"),
        ("My parcel arrived damaged. What happens now?", "Parcel or product damaged on arrival"),
        ("Update failed with error 0x80A4", "Lumora app: error messages"),
        ("The power station smells and the case is bulging", "VoltBank 500: charging and safety"),
        ("How long does the robot need for 80 square metres?", "DustPilot R7: first use, maps and cleaning plans"),
        ("you charged my card twice!", "Orders, delivery and invoices"),
    ],
)
def test_what_an_article_says_is_answered_from_it(skill: AnswerSkill, question: str, title: str) -> None:
    answer = ask(skill, question)
    assert answer.confidence >= skill.threshold
    assert answer.sentences[0].citations[0].article_title == title
