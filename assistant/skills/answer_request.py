"""What the assistant is asked to answer: the customer's message with its conversation, photos and evidence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from assistant.skills.read_photo import PhotoEvidence
from assistant.text.identifiers import spot
from assistant.text.languages import detect, expected
from assistant.text.words import count_words

# A message with fewer words is searched for together with the previous one.
_SHORT_MESSAGE = 6
# Words of visible text that go into the query of a short message. Beside a longer one, as many as it has itself: more
# would drown out the question.
_QUERY_WORDS_FROM_PHOTOS = 40


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
    rejected: frozenset[tuple[str, str]] = frozenset()  # (article id, heading) of passages that did not help
    browser: str | None = None  # what the customer's page or browser speaks

    @property
    def question(self) -> str:
        """Subject and message, the customer's own words."""
        return f"{self.subject}\n{self.text}"

    @property
    def expected_languages(self) -> dict[str, float]:
        """How likely each language is before the message is read: of earlier messages and the browser."""
        return expected(self.browser, "\n".join(turn.text for turn in self.history if turn.author == "customer"))

    @cached_property
    def language(self) -> tuple[str, float]:
        """The language of the message and how probable it is."""
        return detect(self.text, self.expected_languages)

    @property
    def codes(self) -> list[str]:
        """Canonical identifiers in the question, then those in the photos, each once."""
        from_photos = [code for evidence in self.evidence for code in evidence.codes]
        return list(dict.fromkeys([*spot(self.question), *from_photos]))

    def about(self, products: Collection[str]) -> AnswerRequest:
        """Without the evidence of photos that show other products: their codes and lights are those of others."""
        return replace(self, evidence=tuple(one for one in self.evidence if one.shown_product in (None, *products)))


def build_query(request: AnswerRequest) -> str:
    """The search query: subject, message and the photos' visible text, lines with identifiers first. A short message
    is joined by the customer's previous one and by the lights and faults seen in the photos."""
    parts = [request.subject, request.text]
    length = count_words(request.text)
    most = length
    if length < _SHORT_MESSAGE:
        parts.insert(1, next((turn.text for turn in reversed(request.history) if turn.author == "customer"), ""))
        parts += [evidence.shows for evidence in request.evidence]
        most = _QUERY_WORDS_FROM_PHOTOS
    lines = [line.text for evidence in request.evidence for line in evidence.visible_text]
    lines.sort(key=lambda line: not spot(line))
    words = " ".join(lines).split()[:most]
    return "\n".join(dict.fromkeys(part for part in (*parts, " ".join(words)) if part.strip()))


def products_of(request: AnswerRequest, products_in: Callable[[str], Sequence[str]]) -> tuple[str, ...]:
    """What is asked about: the products that the message names; else the ticket's; else the one in the newest photo
    that shows one; else those that the subject or the last messages name."""
    shown = [one.shown_product for one in reversed(request.evidence) if one.shown_product is not None]
    known = [request.product] if request.product else shown[:1]
    earlier = [turn.text for turn in reversed(request.history) if turn.author == "customer"]
    named = (products_in(text) for text in (request.subject, *earlier))
    return tuple(products_in(request.text)) or tuple(known) or next((tuple(keys) for keys in named if keys), ())
