"""Rewriting a draft: shorter, friendlier or in another language, by a model that may write; without one, shorter only.

A draft is rewritten sentence by sentence, so that each new sentence can be held against those that it stands for. One
that says more or something else gives way to its originals; a translation whose numbers, identifiers or addresses
differ, or that adds an offer or a sentence, is refused as a whole: half of one is of no use. So a rewritten draft cites
what the first one cited.

Without a model nothing is worded anew. A shorter draft then has the better supported half of its quotes, each whole and
verbatim. That is a choice of what to say, as quoting always is, and an agent reads it before it goes out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage

from assistant.errors import AssistantError, Conflict, EngineFailed
from assistant.ports import Capabilities
from assistant.skills import prompts
from assistant.skills.grounding import SUPPORTED, support
from assistant.skills.verbatim import addresses, binding
from assistant.text.identifiers import canonical
from assistant.text.phrases import first_in
from assistant.text.sentences import sentences as cut

_MARKED = re.compile(r"(?m)^[ \t]*((?:\[\d{1,3}\][ \t]*)+)")
_NUMBER = re.compile(r"\d+")
# Translations are seldom longer by more than this.
_LONGER = 1.6
_CODE = re.compile(r"\b[A-Z][A-Za-z]*-?\d[\w-]*")


class Wish(StrEnum):
    SHORTER = "shorter"
    FRIENDLIER = "friendlier"
    TRANSLATED = "translated"


@dataclass(frozen=True)
class Sentence:
    """A sentence of a draft. ``lead``: the blanks before it; ``quotes``: what it cites, and ``support``: how well the
    best of that supports it; None of an agent's own words."""

    text: str
    lead: str = " "
    quotes: tuple[str, ...] = ()
    support: float | None = None


@dataclass(frozen=True)
class Rewritten:
    """A sentence in the place of others: the numbers ``of`` those it stands for, of the first draft."""

    text: str
    of: tuple[int, ...]


@dataclass(frozen=True)
class Rewriting:
    sentences: tuple[Rewritten, ...]
    input_tokens: int = 0
    output_tokens: int = 0


def can_shorten(capabilities: Capabilities, quoted: int) -> bool:
    """Whether a draft of so many ``quoted`` sentences can be made shorter."""
    return capabilities.writes_answers or quoted > 1


def rewrite(
    sentences: Sequence[Sentence],
    wish: Wish,
    capabilities: Capabilities,
    *,
    language: str,
    never_say: Sequence[str] = (),
) -> Rewriting:
    """``language``: what the result is written in. ``never_say``: words and phrases. Raises `Conflict` if there is no
    rewriting that says the same, and an error of the model's if it fails."""
    if capabilities.writes_answers:
        answer = _ask(sentences, wish, capabilities, language)
        lines = [one for one in _lines(str(answer.text)) if first_in(one.text, never_say) is None]
        check = _translated if wish is Wish.TRANSLATED else _reworded
        rewriting = Rewriting(tuple(check(lines, sentences)), *_usage(answer))
    elif wish is Wish.SHORTER:
        rewriting = Rewriting(tuple(_fewer(sentences)))
    else:
        raise Conflict("No model that writes is installed, so drafts can only be quoted.")
    if [one.text for one in rewriting.sentences] == [one.text for one in sentences]:
        raise Conflict("That would leave the draft as it is.")
    if wish is Wish.SHORTER and _length(rewriting.sentences) >= _length(sentences):
        raise Conflict("It cannot be said in fewer words.")
    return rewriting


def _ask(sentences: Sequence[Sentence], wish: Wish, capabilities: Capabilities, language: str) -> Any:
    model: Any = capabilities.chat_model
    system = prompts.render("rewrite_system.j2", wish=wish.value, language=language)
    question = prompts.render("rewrite.j2", sentences=[one.text for one in sentences])
    try:
        return model.invoke([SystemMessage(system), HumanMessage(question)])
    except AssistantError:
        raise
    except Exception as error:
        raise EngineFailed("The model gave no answer. Try again, or edit the draft.") from error


def _usage(answer: Any) -> tuple[int, int]:
    used = getattr(answer, "usage_metadata", None) or {}
    return used.get("input_tokens", 0), used.get("output_tokens", 0)


def _lines(text: str) -> list[Rewritten]:
    """What the model wrote, by the numbers before it, from 0."""
    marks = list(_MARKED.finditer(text))
    ends = [*(mark.start() for mark in marks), len(text)][1:]
    found = [
        Rewritten(text[mark.end() : end].strip(), tuple(int(one) - 1 for one in _NUMBER.findall(mark[1])))
        for mark, end in zip(marks, ends, strict=False)
    ]
    return [one for one in found if one.text]


def _reworded(lines: Sequence[Rewritten], sentences: Sequence[Sentence]) -> list[Rewritten]:
    """The lines, with the originals in place of those that say something that these do not."""
    kept: list[Rewritten] = []
    for line in lines:
        of = tuple(number for number in line.of if 0 <= number < len(sentences))
        originals = "\n".join(text for number in of for text in (sentences[number].text, *sentences[number].quotes))
        if of and support(line.text, originals) >= SUPPORTED:
            kept.append(Rewritten(line.text, of))
        else:
            kept += [Rewritten(sentences[number].text, (number,)) for number in of]
    if not kept:
        raise Conflict("The model wrote nothing that the draft says. The draft is as it was.")
    return kept


def _translated(lines: Sequence[Rewritten], sentences: Sequence[Sentence]) -> list[Rewritten]:
    """The lines, if they stand for all sentences, each with the same numbers and identifiers."""
    told = Counter(number for line in lines for number in line.of)
    if told != Counter(range(len(sentences))):
        raise Conflict("The translation leaves something out. The draft is as it was.")
    for line in lines:
        original = "\n".join(sentences[number].text for number in line.of)
        if _facts(line.text) != _facts(original):
            raise Conflict("The translation has other numbers than the draft. The draft is as it was.")
        if _adds(line.text, original):
            raise Conflict("The translation says more than the draft. The draft is as it was.")
    return sorted(lines, key=lambda line: line.of)


def _adds(text: str, original: str) -> bool:
    """Whether a translation has other addresses, an offer or a secret where the original has none, or another sentence:
    more of them, and much longer. Points of abbreviations look like ends."""
    if addresses(text) != addresses(original) or (binding(text) and not binding(original)):
        return True
    return len(cut(text)) > len(cut(original)) and len(text) > _LONGER * len(original)


def _facts(text: str) -> tuple[Counter[str], set[str]]:
    return Counter(_NUMBER.findall(text)), {canonical(code) for code in _CODE.findall(text)}


def _fewer(sentences: Sequence[Sentence]) -> list[Rewritten]:
    """The better supported half of what is quoted, and all of an agent's own words, in their order."""
    quoted = {number: one.support for number, one in enumerate(sentences) if one.support is not None}
    if len(quoted) < 2:
        raise Conflict("It is one quote, which cannot be cut without a model that writes.")
    best = sorted(quoted, key=lambda number: -(quoted[number] or 0.0))[: (len(quoted) + 1) // 2]
    kept = [number for number in range(len(sentences)) if number not in quoted or number in best]
    return [Rewritten(sentences[number].text, (number,)) for number in kept]


def _length(sentences: Sequence[Sentence | Rewritten]) -> int:
    return sum(len(one.text) for one in sentences)
