"""How likely the passages that were found are to answer the question.

A passage that shares only the question's topic looks much like one that answers it. What sets the two apart are the
question's distinctive words: those that few of the passages contain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from langchain_core.documents import Document

from assistant.skills import language
from assistant.skills.answer_request import AnswerRequest
from assistant.text.identifiers import spot
from assistant.text.sentences import sentences
from assistant.text.words import query_words, stem, stems

# Confidence: bonus if a passage has the question's identifier; penalty if none has; penalty for passages without the
# question's distinctive words. The last was tuned on questions whose correct article had been left out (emanual_tv,
# stackfaq, anthropic_docs): 68, 48 and 75 % of them are still answered (89, 90 and 99 % without the penalty), and so
# are 94 to 96 % of the questions that can be answered (all of them without it).
_KNOWN_CODE, _UNKNOWN_CODE, _NOT_ADDRESSED = 0.25, 0.2, 0.2
# How many passages are judged, and the share of passages that may contain a word for it to be distinctive.
_JUDGED, _FEW = 5, 0.5
# Below this confidence a detected language is not acted on.
SURE_OF_LANGUAGE = 0.6


def answerability(request: AnswerRequest, passages: Sequence[Document]) -> float:
    """Confidence, 0 to 1, that the passages answer the request."""
    if not passages:
        return 0.0
    if any(_shared_codes(request, passage) for passage in passages):
        return min(1.0, max(_confidences(request, passages, distinctive=[])) + _KNOWN_CODE)
    asked = [code for code in spot(request.question) if 2 <= len(code) <= 6 and not code.isdigit()]
    known = {code for passage in passages for kind in ("codes", "names") for code in passage.metadata.get(kind, ())}
    unknown = bool(asked) and not known.intersection(asked)
    best = max(_confidences(request, passages, distinctive=distinctive_stems(request, passages)))
    return min(1.0, max(0.0, best - (_UNKNOWN_CODE if unknown else 0.0)))


def distinctive_stems(request: AnswerRequest, passages: Sequence[Document]) -> list[set[str]]:
    """For each sentence of the question, the stems that few of the passages contain. Sentences without any are left
    out."""
    texts = [_stems(passage) for passage in passages]
    few = max(1.0, _FEW * len(texts))
    found = []
    for sentence in sentences(request.question):
        words = {stem(word) for word in query_words(sentence)}
        rare = {word for word in words if sum(word in text for text in texts) <= few}
        found += [rare] if rare else []
    return found


def full_text(passage: Document) -> str:
    """The passage under its heading."""
    return f"{passage.metadata.get('heading', '')}\n{passage.page_content}"


def _shared_codes(request: AnswerRequest, passage: Document) -> list[str]:
    """The request's identifiers that the passage contains. One that names the whole article, such as a product's name,
    does not count: it says nothing about this passage."""
    has, names = passage.metadata.get("codes", ()), passage.metadata.get("names", ())
    return [code for code in request.codes if code in has and code not in names]


def _confidences(
    request: AnswerRequest, passages: Sequence[Document], *, distinctive: Sequence[set[str]]
) -> Iterator[float]:
    """For each of the first passages: its similarity to the query and the share of the query's words it contains,
    less what it lacks of the ``distinctive`` stems of the sentence that it covers best."""
    words = set(query_words(request.question))
    spoken, sure = language.detect(request.text)
    for passage in passages[:_JUDGED]:
        similarity = max(0.0, float(passage.metadata.get("similarity") or 0.0))
        coverage = len(words & set(passage.metadata.get("words", ()))) / len(words) if words else 0.0
        has = _stems(passage)
        addressed = max((len(rare & has) / len(rare) for rare in distinctive), default=1.0)
        if sure > SURE_OF_LANGUAGE and passage.metadata.get("language") != spoken:
            addressed = 1.0  # a passage in another language cannot contain these words
        yield 0.7 * similarity + 0.3 * coverage - _NOT_ADDRESSED * (1 - addressed)


def _stems(passage: Document) -> set[str]:
    return set(stems(full_text(passage)))
