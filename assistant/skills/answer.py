"""Answering from passages: written by a model that is allowed to write, quoted otherwise; every sentence is cited.

`AnswerSkill` is a LangChain runnable (`invoke` an `AnswerRequest`, get an `Answer`) composed of a retriever, a prompt
and a chat model. `events` gives the same answer as a stream, which reaches the browser unchanged:

    (Token* Cited)*  [HandedOff]  Finished     or     Failed

A sentence is streamed only after a passage was found to support it: unsupported sentences are never said. Neither are
those with anything that is never to be said, be it in their source.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from assistant.errors import AssistantError, EngineFailed
from assistant.ports import Capabilities, HandoffReason, image_block
from assistant.skills import language, prompts
from assistant.skills.answer_request import AnswerRequest, build_query, products_of
from assistant.skills.answerability import Signals, best_signals, distinctive_stems, full_text, signals
from assistant.skills.extract import extract
from assistant.skills.grounding import SUPPORTED, best_support, support
from assistant.text.clusters import beginning
from assistant.text.languages import SURE
from assistant.text.phrases import first_in
from assistant.text.sentences import sentences
from assistant.text.units import Unit, units_of

_NO_ANSWER = "NO_ANSWER"
_REFERENCE = re.compile(r"\[(\d{1,2})\]")
_REVIEWS = re.compile(
    r"(?:(?:customer|user|product)s?['’]? )?(?:reviews|ratings|testimonials):?"
    r"|(?:(?:kunden)?(?:bewertungen|rezensionen|stimmen)|avis(?: clients)?|opiniones|reseñas|recensioni|avaliações):?",
    re.IGNORECASE,
)
_PHOTOS_TO_MODEL = 4
# Passages in the customer's language are preferred if one of them reaches this share of the best score.
NEARLY = 0.6


@dataclass(frozen=True)
class Citation:
    passage_id: str
    article_id: str
    article_title: str
    heading: str
    quote: str
    url: str | None
    support: float
    page: int | None = None


@dataclass(frozen=True)
class CitedSentence:
    index: int
    text: str
    citations: tuple[Citation, ...]


@dataclass(frozen=True)
class Withheld:
    """A sentence that would have been said but for a ``phrase`` that is never to be said."""

    text: str
    phrase: str


@dataclass(frozen=True)
class Answer:
    """Sentences with citations, or the reason to hand off; both if a person has to complete it.

    ``confidence``: the probability, 0 to 1, that the sentences answer the question; of an answer that was not given,
    what was too low. ``withheld``: what was left out of it.
    ``written``: by a model, as is its silence."""

    sentences: tuple[CitedSentence, ...] = ()
    handoff: HandoffReason | None = None
    passages: tuple[Document, ...] = ()
    input_tokens: int = 0
    output_tokens: int = 0
    confidence: float = 0.0
    withheld: tuple[Withheld, ...] = ()
    written: bool = False

    def made_by(self, capabilities: Capabilities) -> Capabilities:
        """What has answered: where a model writes answers, what is quoted instead, or handed over, is not its work."""
        return capabilities if self.written or not capabilities.writes_answers else capabilities.without_model

    @property
    def text(self) -> str:
        """The sentences joined; lists start on a new line."""
        joined = ""
        for sentence in self.sentences:
            joined += _separator(joined, sentence.text) + sentence.text
        return joined


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


@dataclass
class AnswerSkill(Runnable[AnswerRequest, Answer]):
    """See the module. Hands off if the confidence (0 to 1) that the passages answer is below ``threshold``.
    ``products_in``: the products that a text names. ``tone``: how what a model writes should sound. ``never_say``:
    words and phrases."""

    capabilities: Capabilities
    retriever: BaseRetriever
    products_in: Callable[[str], Sequence[str]] = lambda _text: ()
    company: str = "our shop"
    tone: str = ""
    never_say: Sequence[str] = ()
    threshold: float = 0.5
    context_tokens: int = 4096
    _retrieve: Runnable[AnswerRequest, list[Document]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._retrieve = RunnableLambda(self.find)

    def invoke(
        self,
        input: AnswerRequest,  # noqa: A002 - Runnable's name for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Answer:
        """The complete answer. Raises the error of a `Failed` event."""
        for event in self.events(input):
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Finished):
                return event.answer
        raise EngineFailed("The answer ended early. Please try again.")

    def events(self, request: AnswerRequest) -> Iterator[AnswerEvent]:
        if language.wants_person(request.text, self.capabilities):
            yield from _hand_off(HandoffReason.CUSTOMER_ASKED)
            return
        if named := self.products_in(request.text):
            request = request.about(named)
        try:
            passages = self._retrieve.invoke(request)
        except AssistantError as error:
            yield Failed(error)
            return
        chosen = self._choose(request, passages)
        found = best_signals(request, passages, chosen)
        sure = found.confidence if found is not None else 0.0
        if not chosen or sure < self.threshold:
            yield from _hand_off(HandoffReason.MISSING_KNOWLEDGE, passages, confidence=sure)
        elif self.capabilities.writes_answers:
            yield from self._write(request, passages, chosen, sure)
        else:
            yield from self._quote(request, passages, chosen, sure)

    def signals(self, request: AnswerRequest) -> Signals | None:
        """What the confidence in the answer to this request is made from; None if there is nothing to quote."""
        passages = self._retrieve.invoke(request)
        return best_signals(request, passages, self._choose(request, passages))

    def find(self, request: AnswerRequest) -> list[Document]:
        """Passages, best first and what did not help last, without customers' reviews and other products' passages."""
        products = products_of(request, self.products_in)
        found = self.retriever.invoke(build_query(request), products=products, photos=request.photos)
        found = [document for document in found if not _is_review(document)]
        found.sort(key=lambda one: (str(one.metadata["article_id"]), str(one.metadata["heading"])) in request.rejected)
        found = [document for document in found if document.metadata.get("fits") is not False] or found
        spoken, sure = request.language
        return _in_language(found, spoken) if sure > SURE else found

    def _choose(self, request: AnswerRequest, passages: Sequence[Document]) -> list[Unit]:
        """What would be quoted, by which it is judged whether there is an answer, even if a model then writes it."""
        names = {name for passage in passages for name in passage.metadata.get("names", ())}
        codes = [code for code in request.codes if code not in names]
        distinctive = set[str]().union(*distinctive_stems(request, passages))
        shown = " ".join(evidence.shows for evidence in request.evidence)
        embeddings = self.capabilities.embeddings
        return extract(build_query(request), codes, passages, embeddings, distinctive=distinctive, shown=shown)

    def _quote(
        self, request: AnswerRequest, passages: Sequence[Document], chosen: Sequence[Unit], sure: float
    ) -> Iterator[AnswerEvent]:
        # A customer who asks again was not helped by the earlier answer: say something else, or hand off.
        already = "\n".join(turn.text for turn in request.history if turn.author != "customer")
        fresh = [unit for unit in chosen if unit.text not in already]
        reason = HandoffReason.NOTHING_NEW if len(fresh) < len(chosen) else HandoffReason.MISSING_KNOWLEDGE
        chosen = fresh
        products = {passages[unit.passage].metadata.get("product") for unit in chosen}
        spoken = _Spoken(self.never_say)
        for unit in chosen:
            passage = passages[unit.passage]
            # Several products may have the same code: name the product that each row is about.
            lead = f"{passage.metadata['article_title']} – " if len(products) > 1 else ""
            citation = _citation(
                passage, quote=unit.cited, support=signals(request, passages, unit.passage, unit.quote).confidence
            )
            yield from spoken.say(lead + unit.text, citation)
        if not spoken.sentences:
            yield from spoken.hand_off(reason, passages)
            return
        yield Finished(spoken.answer(passages, confidence=sure))

    def _write(
        self, request: AnswerRequest, passages: Sequence[Document], chosen: Sequence[Unit], sure: float
    ) -> Iterator[AnswerEvent]:
        """Stream the model's answer; a finished sentence is said if a passage supports it."""
        spoken = _Spoken(self.never_say, written=True)
        pending, usage = "", (0, 0)
        model: Any = self.capabilities.chat_model
        try:
            for chunk in model.stream(self._messages(request, passages)):
                pending += str(chunk.text)
                used = getattr(chunk, "usage_metadata", None) or {}
                usage = (usage[0] + used.get("input_tokens", 0), usage[1] + used.get("output_tokens", 0))
                *done, pending = _split_sentences(pending)
                for sentence in done:
                    yield from _cite(sentence, request, passages, spoken)
        except Exception as error:
            if spoken.sentences:  # what was said so far is supported; a person completes the answer
                reason = HandoffReason.ENGINE_DOWN
                yield HandedOff(reason)
                yield Finished(spoken.answer(passages, usage, confidence=sure, handoff=reason))
            elif isinstance(error, GeneratorExit):
                raise
            else:
                yield from self._quote(request, passages, chosen, sure)
            return
        if _NO_ANSWER in pending and not spoken.sentences:
            yield from spoken.hand_off(HandoffReason.MISSING_KNOWLEDGE, passages, usage)
            return
        yield from _cite(pending, request, passages, spoken)
        if not spoken.sentences:
            yield from spoken.hand_off(HandoffReason.UNSUPPORTED_ANSWER, passages, usage)
            return
        yield Finished(spoken.answer(passages, usage, confidence=sure))

    def _messages(self, request: AnswerRequest, passages: Sequence[Document]) -> list[BaseMessage]:
        """The system rules; then passages, history, evidence and question, cut to the token budget; then the photos."""
        spoken, _ = request.language
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
        shown = request.photos[-_PHOTOS_TO_MODEL:] if self.capabilities.sees_photos else ()
        photos = [image_block(photo) for photo in shown]
        system = prompts.render("answer_system.j2", company=self.company, tone=self.tone, language=spoken)
        return [SystemMessage(system), HumanMessage(content=[{"type": "text", "text": text}, *photos])]


def _is_review(passage: Document) -> bool:
    """Whether the passage stands under a heading such as "Customer reviews": the company does not vouch for it."""
    heading = str(passage.metadata.get("heading", "")).rsplit(" > ", 1)[-1]
    return _REVIEWS.fullmatch(heading.strip()) is not None


def _in_language(found: Sequence[Document], spoken: str) -> list[Document]:
    """Only the passages in the customer's language, if one of them is nearly as good as the best overall."""
    fitting = [document for document in found if document.metadata.get("language") == spoken]
    best = max((_score(document) for document in found), default=0.0)
    if any(_score(document) >= NEARLY * best for document in fitting):
        return fitting
    return list(found)


def _score(document: Document) -> float:
    return float(document.metadata.get("score", 0.0))


def _citation(passage: Document, *, quote: str, support: float) -> Citation:
    metadata = passage.metadata
    return Citation(
        passage_id=str(metadata["passage_id"]),
        article_id=str(metadata["article_id"]),
        article_title=str(metadata["article_title"]),
        heading=str(metadata["heading"]),
        quote=quote,
        url=metadata.get("url"),
        support=support,
        page=metadata.get("page"),
    )


class _Spoken:
    """The one place where anything is said: the sentences so far, and what would have been said but for
    ``never_say``."""

    def __init__(self, never_say: Sequence[str], *, written: bool = False) -> None:
        self.sentences: list[CitedSentence] = []
        self._written = written
        self._never, self._withheld = never_say, list[Withheld]()

    def say(self, text: str, citation: Citation) -> Iterator[AnswerEvent]:
        """A sentence word by word, then as a whole with its source, which is shown with it."""
        shown = (text, citation.quote, citation.article_title, citation.heading)
        phrase = next((found for one in shown if (found := first_in(one, self._never)) is not None), None)
        if phrase is not None:
            self._withheld.append(Withheld(text, phrase))
            return
        before = Answer(tuple(self.sentences)).text
        self.sentences.append(CitedSentence(len(self.sentences), text, (citation,)))
        told = _separator(before, text) + text
        yield from (Token(word) for word in re.split(r"(?<=\S)(?=\s)", told))
        yield Cited(self.sentences[-1])

    def answer(
        self,
        passages: Sequence[Document],
        usage: tuple[int, int] = (0, 0),
        *,
        confidence: float = 0.0,
        handoff: HandoffReason | None = None,
    ) -> Answer:
        withheld = tuple(self._withheld)
        return Answer(
            tuple(self.sentences), handoff, tuple(passages), *usage, confidence, withheld, written=self._written
        )

    def hand_off(
        self, reason: HandoffReason, passages: Sequence[Document], usage: tuple[int, int] = (0, 0)
    ) -> Iterator[AnswerEvent]:
        """Nothing could be said, for this reason unless something was withheld."""
        reason = HandoffReason.NEVER_SAID if self._withheld else reason
        yield HandedOff(reason)
        yield Finished(self.answer(passages, usage, handoff=reason))


def _separator(before: str, text: str) -> str:
    if not before:
        return ""
    is_list = "\n" in text or re.match(r"(?:\d+[.)]|[-*•])\s", text) or "\n" in before.rsplit(". ", 1)[-1]
    return "\n" if is_list else " "


def _cite(
    sentence: str, request: AnswerRequest, passages: Sequence[Document], spoken: _Spoken
) -> Iterator[AnswerEvent]:
    """Say the sentence, citing the passage that the model named if that supports it, else another that does. Without
    any, say nothing."""
    text = " ".join(_REFERENCE.sub("", sentence).split())
    text = re.sub(r" ([.,!?;:])", r"\1", text)
    if not text or _NO_ANSWER in text:
        return
    named = [int(number) - 1 for number in _REFERENCE.findall(sentence)]
    scores = {number: support(text, full_text(passages[number])) for number in named if 0 <= number < len(passages)}
    number, score = max(scores.items(), key=lambda pair: pair[1], default=(-1, 0.0))
    if score < SUPPORTED:
        best = best_support(text, [full_text(passage) for passage in passages])
        number, score = best.passage, best.score
    if score < SUPPORTED:
        return
    passage = passages[number]
    content = passage.page_content
    units = units_of(content)
    nearest = best_support(text, [unit.quote for unit in units])
    quote = units[nearest.passage].cited if nearest.score > 0 else beginning(content, 300)
    # A sentence that a passage carries still answers only as well as that passage does.
    carried = min(score, signals(request, passages, number, text).confidence)
    yield from spoken.say(text, _citation(passage, quote=quote, support=carried))


def _split_sentences(text: str) -> list[str]:
    """The finished sentences, then the unfinished rest. A sentence is finished once the next one begins, so that a
    citation after its full stop still belongs to it."""
    parts = sentences(text)
    if len(parts) < 2:
        return [text]
    last = text.rindex(parts[-1])
    return [*parts[:-1], text[last:]]


def _hand_off(
    reason: HandoffReason, passages: Sequence[Document] = (), *, confidence: float = 0.0
) -> Iterator[AnswerEvent]:
    yield HandedOff(reason)
    yield Finished(Answer((), reason, tuple(passages), confidence=confidence))
