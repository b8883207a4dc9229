"""Example messages, written by ourselves, for the cues that are recognised before any ticket has been labelled.

``seeds/`` holds a file a language, ``seeds/short/`` another with messages of few words and figures of speech. A section
is a kind of message (`KINDS`), a line one message with alternatives in braces. Kinds that sound alike stand side by
side: a battery that swells and a battery that is quickly empty, a lawyer and a law firm that orders. From the lines
come messages as people type them: without capitals or punctuation, misspelt, with a greeting before and thanks behind,
several in one mail.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from types import MappingProxyType

from assistant.skills.cues import FIELDS

SEEDS = Path(__file__).with_name("seeds")
_SHORT = SEEDS / "short"
_SLOT = re.compile(r"\{([^{}]*)\}")
_MAILS = 0.4  # share of the lines that become part of a longer message, too


@dataclass(frozen=True)
class Kind:
    """What a kind of message shows. None: it may be either, and nothing is learned from it."""

    signal: str | None = None
    priority: str | None = "normal"
    sentiment: str | None = "neutral"
    needs_human: str | None = "no"


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "danger": Kind("dangerous", "urgent", None, "yes"),
        "calm": Kind(),
        "legal": Kind("legal", "high", None, "yes"),
        "lawful": Kind(),
        "standstill": Kind(None, "urgent", None, "yes"),
        "decision": Kind(None, "high", None, "yes"),
        "severe": Kind(None, "high", "negative", None),
        "damaged": Kind(None, "high", None, "no"),
        "fault": Kind(),
        "question": Kind(),
        "task": Kind(),
        "low": Kind(None, "low"),
        "positive": Kind(None, "low", "positive"),
        "negative": Kind(None, "high", "negative"),
        "sarcasm": Kind(None, "high", "negative"),
        "polite_problem": Kind(None, None, "negative", None),
        "polite": Kind(),
        "thanks": Kind("courtesy", "low", "positive"),
        "okay": Kind("courtesy", "low", None),
        "greeting": Kind("courtesy", "low"),
        "bye": Kind("courtesy", "low", None),
        "person": Kind("wants_person", None, None, "yes"),
        "impersonal": Kind(),
        "rejects": Kind("rejects", "normal", None, None),
        "accepts": Kind(),
    }
)


@dataclass(frozen=True)
class Example:
    """``parts``: the messages it was made of, one or several; ``line``: the seed of the first, to keep what comes from
    one seed together."""

    text: str
    language: str
    line: str
    parts: tuple[str, ...]

    def shows(self, signal: str) -> bool | None:
        """None: unknown. A message shows what one of its parts does; it is a courtesy if all of them are."""
        kinds = [KINDS[part] for part in self.parts]
        if signal == "greets":
            return set(self.parts) == {"greeting"}
        if signal == "courtesy":
            return all(kind.signal == signal for kind in kinds)
        if any(kind.signal == signal for kind in kinds):
            return True
        # "Thanks, but it still blinks" may be said of an answer, or not.
        return None if signal == "rejects" and "polite_problem" in self.parts else False

    def label(self, field: str) -> str | None:
        """The field's value; None: unknown. A message is as urgent as its most urgent part."""
        kinds = [KINDS[part] for part in self.parts]
        if field == "sentiment":
            return _feeling(kinds)
        levels = FIELDS[field]
        labels = [getattr(kind, field) for kind in kinds]
        strongest = max((label for label in labels if label is not None), key=levels.index, default=None)
        return None if None in labels and strongest != levels[-1] else strongest


def _feeling(kinds: Sequence[Kind]) -> str | None:
    """Thanks and greetings around something else are manners, not feelings."""
    said = [kind.sentiment for kind in kinds if kind.signal != "courtesy"] or [kind.sentiment for kind in kinds]
    if "negative" in said or None in said:
        return "negative" if "negative" in said else None
    return "positive" if set(said) == {"positive"} else "neutral"


@cache
def languages() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in SEEDS.glob("*.toml")))


def examples(seed: int = 0) -> list[Example]:
    """All messages, the same for the same ``seed``. What is made from a line does not depend on those before it."""
    found: dict[tuple[str, str], Example] = {}
    for folder in (SEEDS, _SHORT):
        for language in languages():
            for example in _of(folder, language, seed):
                found.setdefault((language, example.text), example)
    return list(found.values())


@cache
def seeds(folder: Path, language: str) -> tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]]:
    """(lines of each kind, words of each slot)."""
    values = tomllib.loads((folder / f"{language}.toml").read_text(encoding="utf-8"))
    words = {name: text.split(", ") for name, text in values.pop("words", {}).items()}
    return {kind: text.strip().splitlines() for kind, text in values.items()}, words


def _of(folder: Path, language: str, seed: int) -> Iterator[Example]:
    lines, words = seeds(folder, language)
    for kind, some in lines.items():
        for line in some:
            random = Random(f"{seed} {language} {kind} {line}")
            # A line with alternatives is many messages, but not as many as it has combinations.
            for _ in range(1 + min(5, 2 * len(_SLOT.findall(line)))):
                text = _typed(_fill(line, words, random), random)
                yield Example(text, language, f"{language} {line}", (kind,))
            if folder == SEEDS and random.random() < _MAILS:
                yield _mail(language, kind, line, random)


def _mail(language: str, kind: str, line: str, random: Random) -> Example:
    """Greeting, the line, perhaps something else of another kind, thanks or a goodbye."""
    lines, words = seeds(SEEDS, language)
    parts = [(kind, line)]
    if random.random() < 0.6:
        other = random.choice([name for name in lines if name not in ("greeting", "bye", "okay", "accepts")])
        parts.insert(random.randrange(2), (other, random.choice(lines[other])))
    if random.random() < 0.6:
        parts.insert(0, ("greeting", random.choice(lines["greeting"])))
    if random.random() < 0.6:
        last = random.choice(("bye", "thanks"))
        parts.append((last, random.choice(lines[last])))
    sentences = [_closed(_fill(text, words, random), language) for _, text in parts]
    between = "\n" if random.random() < 0.3 else "" if language in ("ja", "zh") else " "
    return Example(between.join(sentences), language, f"{language} {line}", tuple(name for name, _ in parts))


def _fill(line: str, words: Mapping[str, Sequence[str]], random: Random) -> str:
    while found := _SLOT.search(line):
        inside = found[1]
        choice = random.choice(inside.split("|") if "|" in inside else words[inside])
        line = line[: found.start()] + choice + line[found.end() :]
    return re.sub(r" +", " ", line).strip()


def _closed(sentence: str, language: str) -> str:
    if sentence[-1].isalnum():
        sentence += "。" if language in ("ja", "zh") else "."
    return sentence[0].upper() + sentence[1:]


def _typed(text: str, random: Random) -> str:
    """As people type it."""
    chance = random.random()
    if chance < 0.2:
        return text.lower()
    if chance < 0.35:
        return re.sub(r"[.,!?;:'’¿¡。、！？،؟]+", "", text).lower() or text
    if chance < 0.45 and len(text) > 12 and text.isascii():
        at = random.randrange(1, len(text) - 2)
        swapped = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
        return random.choice((swapped, text[:at] + text[at + 1 :]))
    if chance < 0.55:
        return text.rstrip(".?!") + random.choice((".", "!", "!!", "..."))
    return text
