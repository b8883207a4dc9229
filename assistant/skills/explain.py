"""Why triage says so: what changes a field most when it is taken away.

Occlusion (M. Zeiler and R. Fergus, Visualizing and understanding convolutional networks, ECCV 2014; for words,
J. Li, W. Monroe and D. Jurafsky, Understanding neural networks through representation erasure, 2016): the ticket is
triaged again without one of its words, sentences, photos, or readings of a photo, and each field's loss of probability
is what that part is worth. Nothing is estimated: every number is the difference of two whole runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.embeddings import Embeddings

from assistant.skills.priors import Place
from assistant.skills.read_photo import (
    CANNOT_TELL,
    FAULTS,
    PhotoEvidence,
    Reading,
    caption_from,
    text_in_caption,
)
from assistant.skills.triage import TriagedField
from assistant.text.sentences import sentences
from assistant.text.words import places_of_words

SHOWN = 5
_SENTENCES, _LINES = 12, 8  # that are tried, of a long ticket and of a photo
_WORDS, _FEWEST_WORDS = 40, 6
_READ = 6000  # characters in all while words are tried: a run takes the longer, the longer the ticket is
_LEAST = 0.005
_READINGS = ("product", "lights", "condition")


@dataclass(frozen=True)
class Influence:
    """``words`` of the text; or of the ``photo`` (which of them, from 0) all, one ``field`` of its evidence, or one
    ``line`` of its text. ``change``: by how much the value's probability falls without it, -1 to 1."""

    change: float
    words: Place | None = None
    photo: int | None = None
    field: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class Ticket:
    """What triage gets. ``photos``: bytes, of as many as there is ``evidence`` of, or none."""

    text: str
    evidence: tuple[PhotoEvidence, ...] = ()
    photos: tuple[bytes, ...] = ()


class Remembering(Embeddings):
    """Embeds every text once, for as long as it lives: runs that differ in a word have most sentences in common. Not
    thread-safe."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self._known: dict[str, list[float]] = {}

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known |= zip(new, self._embeddings.embed_documents(new), strict=True)
        return [self._known[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


Run = Callable[[Ticket], Sequence[TriagedField]]


def explain(ticket: Ticket, run: Run, *, by_words: bool = True) -> dict[str, tuple[Influence, ...]]:
    """Up to `SHOWN` influences on the value that ``run`` gives each field of the whole ticket, the weightiest first.
    Not ``by_words``: of the text, sentences alone, for a ``run`` that is dear."""
    fields = run(ticket)
    tried = [(part, _changes(fields, run(rest))) for part, rest in _parts(ticket)]
    if by_words:
        words = _words_worth_trying(ticket.text, [(part.words, changes) for part, changes in tried])
        tried += [(Influence(0, words=one), _changes(fields, run(_without(ticket, one)))) for one in words]
    return {field.name: _weightiest(field.name, tried) for field in fields}


Changes = dict[str, float]


def _changes(whole: Sequence[TriagedField], rest: Sequence[TriagedField]) -> Changes:
    left = {field.name: field.probabilities for field in rest}
    return {field.name: field.probability - left[field.name].get(field.value, 0.0) for field in whole}


def _parts(ticket: Ticket) -> Iterator[tuple[Influence, Ticket]]:
    """Sentences, photos and what was read in them, each with what remains without it."""
    said = list(_sentences(ticket.text))
    if len(said) > 1 or ticket.evidence:
        for place in said[:_SENTENCES]:
            yield Influence(0, words=place), _without(ticket, place)
    for number, read in enumerate(ticket.evidence):
        yield Influence(0, photo=number), _without_photo(ticket, number)
        for name in _READINGS:
            reading = getattr(read, name)
            if reading is not None and reading.value != CANNOT_TELL:
                yield (
                    Influence(0, photo=number, field=name),
                    _with_evidence(ticket, number, without_reading(read, name)),
                )
        for line in range(min(len(read.visible_text), _LINES)):
            yield Influence(0, photo=number, line=line), _with_evidence(ticket, number, without_line(read, line))


def _sentences(text: str) -> Iterator[Place]:
    end = 0
    for sentence in sentences(text):
        start = text.find(sentence, end)
        if start >= 0:
            end = start + len(sentence)
            yield Place(sentence, start, end)


def _words_worth_trying(text: str, tried: Sequence[tuple[Place | None, Changes]]) -> list[Place]:
    """All words or, of a long text, those of its weightiest sentences."""
    words = [Place(text[start:end], start, end) for start, end in places_of_words(text)]
    most = min(_WORDS, max(_FEWEST_WORDS, _READ // max(1, len(text))))
    if len(words) <= most:
        return words
    weights = [(max(map(abs, changes.values())), place) for place, changes in tried if place is not None]
    chosen: list[Place] = []
    for _, sentence in sorted(weights, key=lambda pair: -pair[0]):
        chosen += [word for word in words if sentence.start <= word.start and word.end <= sentence.end]
        if len(chosen) >= most:
            break
    return (chosen or words)[:most]


def _without(ticket: Ticket, place: Place) -> Ticket:
    return replace(ticket, text=ticket.text[: place.start] + ticket.text[place.end :])


def _without_photo(ticket: Ticket, number: int) -> Ticket:
    evidence = (*ticket.evidence[:number], *ticket.evidence[number + 1 :])
    photos = ticket.photos
    if len(photos) == len(ticket.evidence):  # else some of them are lost
        photos = (*photos[:number], *photos[number + 1 :])
    return replace(ticket, evidence=evidence, photos=photos)


def _with_evidence(ticket: Ticket, number: int, read: PhotoEvidence) -> Ticket:
    evidence = tuple(read if place == number else one for place, one in enumerate(ticket.evidence))
    return replace(ticket, evidence=evidence)


def _weightiest(name: str, tried: Sequence[tuple[Influence, Changes]]) -> tuple[Influence, ...]:
    """No two of the same words or photo: the smaller one, if it is worth half of the larger one."""
    found = [replace(part, change=changes[name]) for part, changes in tried if abs(changes[name]) >= _LEAST]
    small = [
        one
        for one in found
        if not any(_is_part(other, one) and abs(other.change) >= abs(one.change) / 2 for other in found)
    ]
    chosen: list[Influence] = []
    for one in sorted(small, key=lambda one: -abs(one.change)):
        if not any(_is_part(one, other) or _is_part(other, one) for other in chosen):
            chosen.append(one)
    return tuple(chosen[:SHOWN])


def _is_part(one: Influence, whole: Influence) -> bool:
    """Whether one is within the other and smaller."""
    if one.words is not None and whole.words is not None:
        inside = whole.words.start <= one.words.start and one.words.end <= whole.words.end
        return inside and one.words != whole.words
    is_whole_photo = whole.field is None and whole.line is None
    return one.photo is not None and one.photo == whole.photo and is_whole_photo and one != whole


def without_line(evidence: PhotoEvidence, number: int) -> PhotoEvidence:
    """What would have been read if one line of the visible text were not in the photo."""
    line = evidence.visible_text[number]
    lines = tuple(one for place, one in enumerate(evidence.visible_text) if place != number)
    caption, product = evidence.caption, evidence.product
    if caption.value == caption_from(evidence.visible_text, None).value:
        caption = caption_from(lines, None)
    elif caption.composed is not None:
        before, after = text_in_caption(evidence.visible_text), text_in_caption(lines)
        if _is_of_sight(caption):
            before, after = f"; text: {before}", f"; text: {after}" if after else ""
        caption = replace(caption, value=caption.value.replace(before, after))
    is_seen = _is_of_sight(caption) and "thing" not in (caption.composed or {})
    if product.region == line.box:  # it is named there
        product = replace(product, region=None) if is_seen else Reading(CANNOT_TELL, 1.0)
    rest = replace(evidence, visible_text=lines, caption=caption, product=product)
    return replace(rest, condition=Reading("intact", evidence.condition.confidence)) if _shows_no_fault(rest) else rest


def _shows_no_fault(evidence: PhotoEvidence) -> bool:
    """Whether a fault that a model has told by a code has none any more, nor a light; see `_condition`."""
    if not _is_of_sight(evidence.caption) or (evidence.caption.composed or {}).get("thing") == "error dialog":
        return False
    is_lit = any(light.colour in FAULTS for light in evidence.each_light)
    return evidence.condition.value == "fault light or code" and not is_lit and not evidence.codes


def without_reading(evidence: PhotoEvidence, name: str) -> PhotoEvidence:
    """What would have been read if nobody could tell the product, the lights or the condition. A composed caption does
    not name it then either; text in the photo stays."""
    reading: Reading = getattr(evidence, name)
    caption = evidence.caption
    if _is_of_sight(caption):
        caption = replace(caption, value=_unnamed(caption.value, caption.composed or {}, name, reading.value))
    unread: dict[str, Any] = {name: Reading(CANNOT_TELL, 1.0)}
    return replace(evidence, caption=caption, **unread)


def _is_of_sight(caption: Reading) -> bool:
    """Whether it is one of `_caption_of`, that names what a model has seen."""
    of_text = ("A photo that shows the text: ", "A photo in which no text", "A photo. ")
    return caption.composed is not None and not caption.value.startswith(of_text)


def _unnamed(caption: str, composed: Mapping[str, str], name: str, value: str) -> str:
    """The caption of `_caption_of` without its part about a field."""
    thing, damage = composed.get("thing", ""), composed.get("damage", "")
    match name:
        case "product" if thing:
            return re.sub(rf"^(An? {re.escape(thing)}) of a .*?(?=; |\.$)", r"\1", caption)
        case "product":
            return re.sub(r"^An? .*?(?=; |\.$)", "A photo", caption)
        case "lights":
            return caption.replace(f"; lights: {value}", "", 1)
    return caption.replace(f"; {damage}", "", 1) if damage else caption
