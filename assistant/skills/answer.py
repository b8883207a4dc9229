"""Answering from passages: written by a model that may write, quoted otherwise; every sentence carries its citation.

`AnswerSkill` is a LangChain runnable (`invoke` an `AnswerRequest`, get an `Answer`) composed of a retriever, a prompt
and a chat model. `events` is the same as a stream, the same from here to the browser:

    (Token* Cited)*  [HandedOff]  Finished     or     Failed

A sentence is streamed once its passage is found to support it: what does not hold is never said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from assistant.errors import AssistantError, EngineFailed
from assistant.ports import Capabilities, HandoffReason, image_block
from assistant.skills import language, prompts
from assistant.skills.extract import extract
from assistant.skills.grounding import SUPPORTED, best_support, support
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence
from assistant.text.identifiers import spot
from assistant.text.sentences import sentences
from assistant.text.words import query_words, stem, stems

_NO_ANSWER = "NO_ANSWER"
_REFERENCE = re.compile(r"\[(\d{1,2})\]")
_OPINIONS = re.compile(
    r"(?:(?:customer|user|product)s?['’]? )?(?:reviews|ratings|testimonials):?"
    r"|(?:(?:kunden)?(?:bewertungen|rezensionen|stimmen)|avis(?: clients)?|opiniones|reseñas|recensioni|avaliações):?",
    re.IGNORECASE,
)
# Visible text of photos that goes into the query, in words: more would drown what the customer asks.
_QUERY_WORDS_FROM_PHOTOS = 40
_PHOTOS_TO_MODEL = 4
# To the confidence that the passages answer: what an identifier adds that one of them has, what one takes away that
# none has, and what a passage loses that has nothing of what is asked about its topic. The last was chosen on questions
# whose right article was left out (emanual_tv, stackfaq, anthropic_docs): 68, 48 and 75 % of them are still answered
# where it were 89, 90 and 99 without, and 94 to 96 % of those that can be answered, where it were all.
_KNOWN_CODE, _UNKNOWN_CODE, _NOT_ADDRESSED = 0.25, 0.2, 0.2
# The passages that are judged, and the share of all that "few" of them are.
_JUDGED, _FEW = 5, 0.5
_SURE_OF_LANGUAGE = 0.6
# A passage in the customer's language is preferred down to this share of the best score.
_NEARLY = 0.6


@dataclass(frozen=True)
class Citation:
    passage_id: str
    article_id: str
    article_title: str
    heading: str
    quote: str
    url: str | None
    support: float


@dataclass(frozen=True)
class CitedSentence:
    index: int
    text: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True)
class Answer:
    """Sentences with citations, or the reason why a person should answer."""

    sentences: tuple[CitedSentence, ...] = ()
    handoff: HandoffReason | None = None
    passages: tuple[Document, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def text(self) -> str:
        """The sentences joined: lists on lines of their own."""
        joined = ""
        for sentence in self.sentences:
            joined += _separator(joined, sentence.text) + sentence.text
        return joined


@dataclass(frozen=True)
class Turn:
    author: str
    text: str


@dataclass(frozen=True)
class AnswerRequest:
    text: str
    history: tuple[Turn, ...] = ()
    evidence: tuple[PhotoEvidence, ...] = ()
    photos: tuple[bytes, ...] = ()
    subject: str = ""
    product: str | None = None


@dataclass(frozen=True)
class Token:
    text: str


@dataclass(frozen=True)
class Cited:
    sentence: CitedSentence


@dataclass(frozen=True)
class HandedOff:
    reason: HandoffReason


@dataclass(frozen=True)
class Finished:
    answer: Answer


@dataclass(frozen=True)
class Failed:
    error: AssistantError


AnswerEvent = Token | Cited | HandedOff | Finished | Failed


def build_query(request: AnswerRequest) -> str:
    """What to search for: subject and message, codes and text of the photos (lines with identifiers first). If the
    message is short, also the customer's previous turn and what else was seen in the photos."""
    parts = [request.subject, request.text]
    if len(request.text.split()) < 6:
        parts.insert(1, next((turn.text for turn in reversed(request.history) if turn.author == "customer"), ""))
        parts += [evidence.shows for evidence in request.evidence]
    lines = [line.text for evidence in request.evidence for line in evidence.visible_text]
    lines.sort(key=lambda line: not spot(line))
    words = " ".join(lines).split()[:_QUERY_WORDS_FROM_PHOTOS]
    return "\n".join(dict.fromkeys(part for part in (*parts, " ".join(words)) if part.strip()))


def product_of(request: AnswerRequest) -> str | None:
    """The product that the newest photo shows, if any says."""
    readings = [evidence.product for evidence in reversed(request.evidence)]
    sure = [reading.value for reading in readings if reading.value != CANNOT_TELL and reading.confidence >= 0.5]
    return sure[0] if sure else None


@dataclass
class AnswerSkill(Runnable[AnswerRequest, Answer]):
    """See the module. ``threshold``: least confidence (0 to 1) that the passages answer; below, a person does."""

    capabilities: Capabilities
    retriever: BaseRetriever
    company: str = "our shop"
    threshold: float = 0.35
    context_tokens: int = 4096
    _retrieve: Runnable[AnswerRequest, list[Document]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._retrieve = RunnableLambda(self._find)

    def invoke(
        self,
        input: AnswerRequest,  # noqa: A002 - the name that Runnable gives it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Answer:
        """The whole answer. Raises what `Failed` would carry."""
        for event in self.events(input):
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Finished):
                return event.answer
        raise EngineFailed("The answer ended early. Please try again.")

    def events(self, request: AnswerRequest) -> Iterator[AnswerEvent]:
        if language.wants_person(request.text):
            yield from _handed_off(HandoffReason.CUSTOMER_ASKED)
            return
        try:
            passages = self._retrieve.invoke(request)
        except AssistantError as error:
            yield Failed(error)
            return
        if answerability(request, passages) < self.threshold:
            yield from _handed_off(HandoffReason.MISSING_KNOWLEDGE, passages)
            return
        if self.capabilities.writes_answers:
            yield from self._written(request, passages)
        else:
            yield from self._quoted(request, passages)

    def _find(self, request: AnswerRequest) -> list[Document]:
        """The passages, best first; what other customers think, and what is about another product, comes out."""
        product = request.product or product_of(request)
        found = self.retriever.invoke(build_query(request), product=product, photos=request.photos)
        found = [document for document in found if not _is_opinion(document)]
        if product is not None:
            fitting = [document for document in found if document.metadata.get("product") in (product, None)]
            found = fitting or found
        spoken, sure = language.detect(request.text)
        return _in_language(found, spoken) if sure > _SURE_OF_LANGUAGE else found

    def _quoted(self, request: AnswerRequest, passages: Sequence[Document]) -> Iterator[AnswerEvent]:
        names = {name for passage in passages for name in passage.metadata.get("names", ())}
        codes = [code for code in _codes(request) if code not in names]
        telling = set[str]().union(*_telling(request, passages))
        chosen = extract(build_query(request), codes, passages, self.capabilities.embeddings, telling=telling)
        # Who asks again was not helped by what was said: what else there is, or a person.
        told = "\n".join(turn.text for turn in request.history if turn.author != "customer")
        chosen = [unit for unit in chosen if unit.text not in told]
        products = {passages[unit.passage].metadata.get("product") for unit in chosen}
        said: list[CitedSentence] = []
        for unit in chosen:
            passage = passages[unit.passage]
            # Of several products with the same code, each row says which one it is about.
            lead = f"{passage.metadata['article_title']} – " if len(products) > 1 else ""
            citation = _citation(passage, quote=unit.quote, supported=1.0)
            said.append(CitedSentence(len(said), lead + unit.text, (citation,)))
            yield from _say(said)
        if not said:
            yield from _handed_off(HandoffReason.MISSING_KNOWLEDGE, passages)
            return
        yield Finished(Answer(tuple(said), passages=tuple(passages)))

    def _written(self, request: AnswerRequest, passages: Sequence[Document]) -> Iterator[AnswerEvent]:
        """Stream the model; each finished sentence is said if its passage supports it."""
        said: list[CitedSentence] = []
        pending, usage = "", (0, 0)
        try:
            for chunk in _model(self.capabilities).stream(self._messages(request, passages)):
                pending += str(chunk.text)
                usage = _added(usage, chunk)
                *done, pending = _cut(pending)
                for sentence in done:
                    yield from _say_if_supported(sentence, passages, said)
        except Exception as error:
            if said:  # what was said holds; what is missing is a person's
                reason = HandoffReason.ENGINE_DOWN
                yield HandedOff(reason)
                yield Finished(Answer(tuple(said), reason, tuple(passages), *usage))
            elif isinstance(error, GeneratorExit):
                raise
            else:
                yield from self._quoted(request, passages)
            return
        if _NO_ANSWER in pending and not said:
            yield from _handed_off(HandoffReason.MISSING_KNOWLEDGE, passages, usage)
            return
        yield from _say_if_supported(pending, passages, said)
        if not said:
            yield from _handed_off(HandoffReason.UNSUPPORTED_ANSWER, passages, usage)
            return
        yield Finished(Answer(tuple(said), None, tuple(passages), *usage))

    def _messages(self, request: AnswerRequest, passages: Sequence[Document]) -> list[BaseMessage]:
        """System rules, then passages, history, evidence and question within the budget, then the photos."""
        spoken, _ = language.detect(request.text)
        budget = self.context_tokens // 2
        question = prompts.shorten(request.text, budget=budget // 2)
        room = budget - prompts.count_tokens(question)
        kept = prompts.fit(
            list(reversed(passages)), budget=room, cost=lambda passage: prompts.count_tokens(passage.page_content)
        )
        history = prompts.fit(
            request.history,
            budget=self.context_tokens // 8,
            cost=lambda turn: prompts.count_tokens(turn.text),
            keep_last=0,
        )
        text = prompts.render(
            "answer_question.j2",
            passages=list(reversed(kept)),
            history=history,
            evidence=request.evidence,
            question=f"{request.subject}\n{question}".strip(),
        )
        photos = [image_block(photo) for photo in request.photos[-_PHOTOS_TO_MODEL:]]
        system = prompts.render("answer_system.j2", company=self.company, language=spoken)
        return [SystemMessage(system), HumanMessage(content=[{"type": "text", "text": text}, *photos])]


def answerability(request: AnswerRequest, passages: Sequence[Document]) -> float:
    """Confidence, 0 to 1, that the passages answer: that of the best passage, more if it has the query's identifier,
    less if an identifier was asked for that none has."""
    if not passages:
        return 0.0
    asked = [code for code in spot(f"{request.subject}\n{request.text}") if 2 <= len(code) <= 6 and not code.isdigit()]
    if any(_telling_codes(request, passage) for passage in passages):
        return min(1.0, max(_confidences(request, passages, telling=[])) + _KNOWN_CODE)
    known = {code for passage in passages for code in passage.metadata.get("codes", ())}
    unknown = bool(asked) and not known.intersection(asked)
    best = max(_confidences(request, passages, telling=_telling(request, passages)))
    return min(1.0, max(0.0, best - (_UNKNOWN_CODE if unknown else 0.0)))


def _telling_codes(request: AnswerRequest, passage: Document) -> list[str]:
    """The request's identifiers that the passage has. One that names its article, as a product's name does, says
    nothing of this passage."""
    has, names = passage.metadata.get("codes", ()), passage.metadata.get("names", ())
    return [code for code in _codes(request) if code in has and code not in names]


def _confidences(
    request: AnswerRequest, passages: Sequence[Document], *, telling: Sequence[set[str]]
) -> Iterator[float]:
    """Of each of the first passages: its similarity to the query, the share of the query's words it has, and how much
    it lacks of the ``telling`` ones."""
    words = set(query_words(f"{request.subject}\n{request.text}"))
    spoken, sure = language.detect(request.text)
    for passage in passages[:_JUDGED]:
        similarity = max(0.0, float(passage.metadata.get("similarity") or 0.0))
        coverage = len(words & set(passage.metadata.get("words", ()))) / len(words) if words else 0.0
        stands = _stems(passage)
        addressed = max((len(asked & stands) / len(asked) for asked in telling), default=1.0)
        if sure > _SURE_OF_LANGUAGE and passage.metadata.get("language") != spoken:
            addressed = 1.0  # words of another language say nothing
        yield 0.7 * similarity + 0.3 * coverage - _NOT_ADDRESSED * (1 - addressed)


def _telling(request: AnswerRequest, passages: Sequence[Document]) -> list[set[str]]:
    """Of each sentence the stems that few of the passages have: what is asked about the topic that they share."""
    texts = [_stems(passage) for passage in passages]
    few = max(1.0, _FEW * len(texts))
    asked = []
    for sentence in sentences(f"{request.subject}\n{request.text}"):
        words = {stem(word) for word in query_words(sentence)}
        rare = {word for word in words if sum(word in text for text in texts) <= few}
        asked += [rare] if rare else []
    return asked


def _stems(passage: Document) -> set[str]:
    return set(stems(_whole(passage)))


def _codes(request: AnswerRequest) -> list[str]:
    from_photos = [code for evidence in request.evidence for code in evidence.codes]
    return list(dict.fromkeys([*spot(f"{request.subject}\n{request.text}"), *from_photos]))


def _is_opinion(passage: Document) -> bool:
    """Whether it is reviews that customers wrote: the company does not say what stands there."""
    return _OPINIONS.fullmatch(str(passage.metadata.get("heading", "")).rsplit(" > ", 1)[-1].strip()) is not None


def _in_language(found: Sequence[Document], spoken: str) -> list[Document]:
    """Only passages in the customer's language, if one of them is nearly as good as the best of all."""
    fitting = [document for document in found if document.metadata.get("language") == spoken]
    best = max((_score(document) for document in found), default=0.0)
    if any(_score(document) >= _NEARLY * best for document in fitting):
        return fitting
    return list(found)


def _score(document: Document) -> float:
    return float(document.metadata.get("score", 0.0))


def _citation(passage: Document, *, quote: str, supported: float) -> Citation:
    metadata = passage.metadata
    return Citation(
        passage_id=str(metadata["passage_id"]),
        article_id=str(metadata["article_id"]),
        article_title=str(metadata["article_title"]),
        heading=str(metadata["heading"]),
        quote=quote,
        url=metadata.get("url"),
        support=supported,
    )


def _say(said: Sequence[CitedSentence]) -> Iterator[AnswerEvent]:
    """The last sentence as words, then whole with its citations."""
    sentence = said[-1]
    before = Answer(tuple(said[:-1])).text
    text = _separator(before, sentence.text) + sentence.text
    yield from (Token(word) for word in re.findall(r"\s*\S+", text))
    yield Cited(sentence)


def _separator(before: str, text: str) -> str:
    if not before:
        return ""
    is_list = "\n" in text or re.match(r"(?:\d+[.)]|[-*•])\s", text) or "\n" in before.rsplit(". ", 1)[-1]
    return "\n" if is_list else " "


def _say_if_supported(sentence: str, passages: Sequence[Document], said: list[CitedSentence]) -> Iterator[AnswerEvent]:
    """Cite the passage the model named, if it supports the sentence, else the one that does, else say nothing."""
    text = " ".join(_REFERENCE.sub("", sentence).split())
    text = re.sub(r"\s+([.,!?;:])", r"\1", text)
    if not text or _NO_ANSWER in text:
        return
    named = [int(number) - 1 for number in _REFERENCE.findall(sentence)]
    scores = {number: support(text, _whole(passages[number])) for number in named if 0 <= number < len(passages)}
    number, score = max(scores.items(), key=lambda pair: pair[1], default=(-1, 0.0))
    if score < SUPPORTED:
        best = best_support(text, [_whole(passage) for passage in passages])
        number, score = best.passage, best.score
    if score < SUPPORTED:
        return
    passage = passages[number]
    nearest = best_support(text, sentences(passage.page_content))
    quote = sentences(passage.page_content)[nearest.passage] if nearest.score > 0 else passage.page_content[:300]
    said.append(CitedSentence(len(said), text, (_citation(passage, quote=quote, supported=score),)))
    yield from _say(said)


def _whole(passage: Document) -> str:
    return f"{passage.metadata.get('heading', '')}\n{passage.page_content}"


def _cut(text: str) -> list[str]:
    """Finished sentences, then what is still being written. A sentence is finished when the next one begins, so that
    the citation behind its full stop still belongs to it."""
    parts = sentences(text)
    if len(parts) < 2:
        return [text]
    last = text.rindex(parts[-1])
    return [*parts[:-1], text[last:]]


def _model(capabilities: Capabilities) -> Any:
    return capabilities.chat_model


def _added(usage: tuple[int, int], chunk: Any) -> tuple[int, int]:
    metadata = getattr(chunk, "usage_metadata", None) or {}
    return usage[0] + metadata.get("input_tokens", 0), usage[1] + metadata.get("output_tokens", 0)


def _handed_off(
    reason: HandoffReason, passages: Sequence[Document] = (), usage: tuple[int, int] = (0, 0)
) -> Iterator[AnswerEvent]:
    yield HandedOff(reason)
    yield Finished(Answer((), reason, tuple(passages), *usage))
