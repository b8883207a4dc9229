"""When passages answer a question, and what is quoted of them."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from assistant.ports import HandoffReason
from assistant.skills.answer import Answer, AnswerSkill
from assistant.skills.answer_request import AnswerRequest, Turn
from assistant.skills.answerability import answerability
from assistant.text.words import query_words
from tests.fakes import HashEmbeddings, fake_capabilities

CARE = "Clean the tent with a sponge and cold water. Let the tent dry before you pack it."
SETUP = "Push the poles through the sleeves of the tent. Stake the tent down."
SPECS = "**Best use**: Camping\n**Colour**: Green\n**Floor area**: 80 square feet\n**Poles**: Aluminium"
OPINIONS = "Rating: 5. What a tent! The colour of the tent is the best I ever saw, and the floor area is great."


class Found(BaseRetriever):
    """Finds always the same."""

    documents: list[Document]

    def _get_relevant_documents(self, query: str, **_: Any) -> list[Document]:
        return self.documents


def passage(text: str, question: str, *, heading: str = "Tent", **metadata: Any) -> Document:
    """As the index gives it, found by this question."""
    words = [word for word in query_words(question) if word in f"{heading} {text}".lower()]
    known = {
        "passage_id": f"psg_{abs(hash(text))}", "article_id": "art_1", "article_title": "Tent", "heading": heading,
        "score": 0.6, "similarity": 0.5, "words": words, "codes": [], "names": [], "language": "en", "url": None,
    }  # fmt: skip
    return Document(page_content=text, metadata={**known, **metadata})


def answered(question: str, *passages: Document, history: tuple[Turn, ...] = ()) -> Answer:
    skill = AnswerSkill(fake_capabilities(embeddings=HashEmbeddings(256)), Found(documents=list(passages)))
    return skill.invoke(AnswerRequest(text=question, history=history))


def test_passages_that_share_only_the_topic_do_not_answer() -> None:
    for question, answers in (("How do I clean the tent?", True), ("My cat scratched the tent", False)):
        passages = [passage(CARE, question), passage(SETUP, question)]
        assert (answerability(AnswerRequest(text=question), passages) >= AnswerSkill.threshold) is answers
    assert answered("My cat scratched the tent", *passages).handoff is HandoffReason.MISSING_KNOWLEDGE


def test_one_sentence_of_a_long_ticket_may_be_what_is_answered() -> None:
    question = "Hello. My uncle gave me a present for my birthday in May. How do I clean the tent? Greetings from Rome."
    passages = [passage(CARE, question), passage(SETUP, question)]
    alone = [passage(CARE, "How do I clean the tent?"), passage(SETUP, "How do I clean the tent?")]
    lost = answerability(AnswerRequest(text="How do I clean the tent?"), alone) - answerability(
        AnswerRequest(text=question), passages
    )
    assert lost < 0.3  # what is lost is the share of words in common, and no more


def test_a_code_that_names_the_whole_article_answers_nothing() -> None:
    question = "Who designed the X4?"
    coded = passage(CARE, question, codes=["X4"])
    named = passage(CARE, question, codes=["X4"], names=["X4"])
    request = AnswerRequest(text=question)
    assert answerability(request, [coded]) > answerability(request, [named]) + 0.2


def test_a_code_that_no_passage_has_takes_confidence_away() -> None:
    known, unknown = (AnswerRequest(text=f"It shows {code}") for code in ("E21", "E77"))
    passages = [passage("E21: no water.", "It shows E21", codes=["E21"])]
    assert answerability(known, passages) > answerability(unknown, passages) + 0.4


def test_words_of_another_language_are_not_missed() -> None:
    german = "Wie kann ich das Zelt reinigen, wenn es schmutzig ist?"
    assert answerability(AnswerRequest(text=german), [passage(CARE, german)]) == 0.35


def test_what_customers_think_is_not_quoted() -> None:
    question = "What colour is the tent?"
    opinion = passage(OPINIONS, question, heading="Tent > Customer reviews", similarity=0.9, score=0.9)
    answer = answered(question, opinion, passage(SPECS, question, heading="Tent > Technical data"))
    assert answer.text == "Colour: Green"
    assert answered(question, opinion).handoff is HandoffReason.MISSING_KNOWLEDGE


def test_neighbours_that_help_are_quoted_too_before_and_after() -> None:
    question = "Clean the tent with a sponge and water, let the tent dry before I pack it?"
    assert answered(question, passage(CARE, question)).text == CARE


def test_what_the_customer_was_told_already_is_not_said_again() -> None:
    question = "Clean the tent with a sponge and water, let the tent dry before I pack it?"
    said = Turn("assistant", "Clean the tent with a sponge and cold water.")
    assert answered(question, passage(CARE, question), history=(said,)).text == "Let the tent dry before you pack it."
    all_of_it = Turn("agent", CARE)
    assert answered(question, passage(CARE, question), history=(all_of_it,)).handoff is HandoffReason.NOTHING_NEW
    asked = Turn("customer", CARE)
    assert answered(question, passage(CARE, question), history=(asked,)).text == CARE
