"""When passages answer a question, and what is quoted of them."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from assistant.ports import HandoffReason, Mode
from assistant.skills.answer import Answer, AnswerSkill, Finished, Token
from assistant.skills.answer_request import AnswerRequest, Turn
from assistant.skills.answerability import signals
from assistant.text.words import query_words, stem
from tests.fakes import HashEmbeddings, ScriptedChatModel, fake_capabilities

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
        "rarity": {stem(word): 3.0 for word in query_words(question)}, "background": (0.1, 0.12, 100),
    }  # fmt: skip
    return Document(page_content=text, metadata={**known, **metadata})


def answered(question: str, *passages: Document, history: tuple[Turn, ...] = ()) -> Answer:
    skill = AnswerSkill(fake_capabilities(embeddings=HashEmbeddings(256)), Found(documents=list(passages)))
    return skill.invoke(AnswerRequest(text=question, history=history))


def sure(question: str, found: Document) -> float:
    return signals(AnswerRequest(text=question), [found], 0, found.page_content).confidence


def test_passages_that_share_only_the_topic_do_not_answer() -> None:
    for question, answers in (("How do I clean the tent?", True), ("My cat scratched the tent", False)):
        # The best wrong passages stand out by two deviations.
        alike = {"similarity": 0.5 if answers else 0.35}
        passages = [passage(CARE, question, **alike), passage(SETUP, question, **alike)]
        assert (sure(question, passages[0]) >= AnswerSkill.threshold) is answers
        assert bool(answered(question, *passages).text) is answers
    assert answered("My cat scratched the tent", *passages).handoff is HandoffReason.MISSING_KNOWLEDGE


def test_the_answer_says_how_sure_it_is_and_each_citation_how_well_it_answers() -> None:
    question = "How do I clean the tent?"
    told = answered(question, passage(CARE, question))
    silent = answered("My cat scratched the tent", passage(CARE, "My cat scratched the tent", similarity=0.35))
    assert silent.confidence < AnswerSkill.threshold <= told.confidence < 1.0
    supports = {said.text: said.citations[0].support for said in told.sentences}
    assert max(supports, key=lambda text: supports[text]) == "Clean the tent with a sponge and cold water."
    assert max(supports.values()) <= told.confidence


def test_nothing_of_what_is_never_said_is_streamed() -> None:
    question = "How do I clean the tent?"
    model = ScriptedChatModel(default="Clean the tent with a sponge. [1] Let the tent dry before you pack it. [1]")
    capabilities = fake_capabilities(Mode.FULL_VLM, chat_model=model)
    for never, said in (("sponges", ["Let the tent dry before you pack it."]), ("TENT", [])):
        found = Found(documents=[passage(CARE, question)])
        skill = AnswerSkill(capabilities, found, never_say=[never], threshold=0.0)
        told = list(skill.events(AnswerRequest(text=question)))
        assert "".join(one.text for one in told if isinstance(one, Token)) == "".join(said)
        [answer] = [one.answer for one in told if isinstance(one, Finished)]
        assert [one.text for one in answer.sentences] == said
        assert {one.phrase for one in answer.withheld} == {never}
        assert answer.handoff is (None if said else HandoffReason.NEVER_SAID)


def test_an_unusual_similarity_counts_and_not_a_high_one() -> None:
    """One embedder gives .8 to unrelated texts, another .1: what the corpus has for the question is usual."""
    question = "How do I clean the tent?"
    usual = passage(CARE, question, similarity=0.8, background=(0.75, 0.1, 1000))
    unusual = passage(CARE, question, similarity=0.5, background=(0.05, 0.1, 1000))
    assert sure(question, unusual) > sure(question, usual) + 0.1


def test_rare_words_say_more_than_those_that_every_passage_has() -> None:
    question = "tent zipper"
    rarity = {"tent": 0.1, "zipper": 5.0}
    about, beside = passage("The zipper is stuck.", question, rarity=rarity), passage(SETUP, question, rarity=rarity)
    assert sure(question, about) > 0.5 > sure(question, beside)


def test_one_sentence_of_a_long_ticket_may_be_what_is_answered() -> None:
    question = "Hello. My uncle gave me a present for my birthday in May. How do I clean the tent? Greetings from Rome."
    assert sure(question, passage(CARE, question)) >= sure("How do I clean the tent?", passage(CARE, question)) - 0.01


def test_a_code_that_names_the_whole_article_answers_nothing() -> None:
    question = "Who designed the X4?"
    coded, named = (passage(CARE, question, codes=["X4"], names=names) for names in ([], ["X4"]))
    assert sure(question, coded) > sure(question, named) + 0.2


def test_a_code_that_no_article_has_is_not_answered_with_another() -> None:
    row = "| Code | Meaning |\n|---|---|\n| E21 | The pump draws no water: error of the pump |"
    for unknown in ({"unknown": ["E77"]}, {"elsewhere": ["E77"]}):
        question = "What does error E77 of the pump mean?"
        answer = answered(question, passage(row, question, similarity=0.9, **unknown))
        assert (answer.text, answer.handoff, answer.confidence) == ("", HandoffReason.MISSING_KNOWLEDGE, 0.0)
    question = "What does error E21 mean? E77 came before."
    assert "E21" in answered(question, passage(row, question, codes=["E21"], unknown=["E77"], similarity=0.9)).text


def test_a_serial_number_is_told_and_not_asked_about() -> None:
    question = "How do I clean the tent LM20239981?"
    assert answered(question, passage(CARE, question, unknown=["1M20239981"])).text


def test_the_passage_of_another_product_does_not_answer() -> None:
    question = "How do I clean the tent?"
    assert answered(question, passage(CARE, question, fits=True)).text
    assert answered(question, passage(CARE, question, fits=False)).text == ""


def test_a_language_that_nobody_reads_is_answered_by_identifiers_alone() -> None:
    french = "Comment nettoyer ma tente, elle affiche le code E21, merci ?"
    unread = {"unread_language": "fr", "similarity": 0.9}
    assert answered(french, passage(CARE, french, **unread)).text == ""
    assert answered(french, passage("E21: wash the tent.", french, codes=["E21"], **unread)).text
    plain = "Comment nettoyer une tente ?"
    assert answered(plain, passage("Nettoyer la tente avec une éponge.", plain, language="fr", **unread)).text


def test_words_of_another_language_are_not_missed() -> None:
    german = "Wie kann ich das Zelt reinigen, wenn es schmutzig ist?"
    assert sure(german, passage(CARE, german, similarity=0.75)) > 0.5


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
