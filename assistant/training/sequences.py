"""Tokens for training: the photo once, then several turns about it that do not see each other.

Each turn sees what it would see if it were asked alone: same tokens, same positions. So a photo is read once a step,
as is the text that turns begin with alike, and what is learned is what is served.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import torch

from assistant.training.architecture import IMAGE_TOKENS
from assistant.training.patches import IGNORE
from assistant.training.prompts import END, Turn

_PHOTO = "User:<fake_token_around_image><global-img>" + "<image>" * IMAGE_TOKENS + "<fake_token_around_image>"
# Words of an answer in text weigh less than the one letter of a decision: there are many of them.
_LETTER, _WORD = 3.0, 0.3
# Turns that begin with fewer tokens alike are read apart.
_LEAST_ALIKE = 8
_OPTION = re.compile(r"^([A-Z])\. .*$", re.MULTILINE)


@dataclass(frozen=True)
class Packed:
    """``ids``, ``positions``, ``segments``, ``origins``, ``labels`` and ``weights`` are (n, length). A segment is the
    photo, 0, or from 1 a turn about it or what several turns begin with; padding is none. The origin of a segment is
    the one that it goes on from.

    ``labels`` are those of the next token, `patches.IGNORE` where nothing is asked. ``names`` has, for each label that
    is a decision, the row, the place and the question's name; ``options``, for each option of a choice and each
    claim of a yes or no, its row, the place of its last token, the place where its question is answered, its letter's
    number (`patches.IGNORE` of a claim), and 1 if it is right. ``photo_end`` is the place of the token that closes the
    photo, the same in each row.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor
    origins: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    names: tuple[tuple[int, int, str], ...]
    options: tuple[tuple[int, int, int, int, int], ...]
    photo_end: int

    def sees(self, device: Any) -> torch.Tensor:
        """(n, 1, length, length): what is before, in the photo, in the same segment or in its origin; padding sees
        itself alone, so that no row is empty."""
        segments, origins = self.segments.to(device), self.origins.to(device)
        own, other = segments[:, :, None], segments[:, None, :]
        before = torch.ones(own.shape[1], own.shape[1], dtype=torch.bool, device=device).tril()
        seen = before & (own >= 0) & ((own == other) | (other == origins[:, :, None]) | (other == 0))
        return (seen | torch.eye(own.shape[1], dtype=torch.bool, device=device)).unsqueeze(1)


def pack(tokenizer: Any, photos: Sequence[Sequence[Turn]]) -> Packed:
    rows = [_row(tokenizer, turns) for turns in photos]
    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), tokenizer.pad_token_id)
    positions, segments, origins = torch.zeros_like(ids), torch.full_like(ids, -1), torch.full_like(ids, -1)
    labels, weights = torch.full_like(ids, IGNORE), torch.zeros(ids.shape)
    for number, row in enumerate(rows):
        end = len(row.ids)
        ids[number, :end], positions[number, :end] = torch.tensor(row.ids), torch.tensor(row.positions)
        segments[number, :end], origins[number, :end] = torch.tensor(row.segments), torch.tensor(row.origins)
        labels[number, :end], weights[number, :end] = torch.tensor(row.labels), torch.tensor(row.weights)
    names = tuple((number, place, name) for number, row in enumerate(rows) for place, name in row.names)
    options = tuple((number, *option) for number, row in enumerate(rows) for option in row.options)
    photo_end = rows[0].segments.count(0) - 1
    return Packed(ids, positions, segments, origins, labels, weights, names, options, photo_end)


class _Row:
    def __init__(self, photo: list[int]) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.segments: list[int] = []
        self.origins: list[int] = []
        self.labels: list[int] = []
        self.weights: list[float] = []
        self.names: list[tuple[int, str]] = []
        self.options: list[tuple[int, int, int, int]] = []
        self.photo = self._add(photo, start=0, origin=0)

    def _add(self, tokens: Sequence[int], *, start: int, origin: int) -> int:
        """A segment that nothing is asked in, from position ``start`` on. Returns its number."""
        number = self.segments[-1] + 1 if self.segments else 0
        self.ids += tokens
        self.positions += range(start, start + len(tokens))
        self.segments += [number] * len(tokens)
        self.origins += [origin] * len(tokens)
        self.labels += [IGNORE] * len(tokens)
        self.weights += [0.0] * len(tokens)
        return number

    def begin(self, tokens: Sequence[int]) -> int:
        """What several turns begin with."""
        return self._add(tokens, start=self.segments.count(self.photo), origin=self.photo)

    def turn(self, turn: Turn, spoken: _Spoken, *, begun: int, origin: int) -> None:
        """All of the turn but its first ``begun`` tokens, which stand in the segment ``origin``."""
        # Of the answer's last token nothing follows.
        tokens = (spoken.asked + spoken.answer[:-1])[begun:]
        at = len(self.ids) + len(spoken.asked) - begun - 1
        self._add(tokens, start=self.segments.count(self.photo) + begun, origin=origin)
        labels = list(spoken.answer)
        if spoken.decided:
            labels[-1] = IGNORE  # only the letter is ever read
            self.names.append((at, turn.name))
            start = at - len(spoken.asked) + 1
            ends = [option for option in _options(turn, spoken.offsets) if option[0] >= begun]
            self.options += [(start + end, at, letter, right) for end, letter, right in ends]
        self.labels[at:] = labels
        self.weights[-len(tokens) :] = [_LETTER if spoken.decided else _WORD] * len(tokens)


@dataclass(frozen=True)
class _Spoken:
    """A turn's tokens: what is asked, where each of its tokens begins and ends in the text, and the answer."""

    asked: list[int]
    offsets: list[tuple[int, int]]
    answer: list[int]
    decided: bool


def _row(tokenizer: Any, turns: Sequence[Turn]) -> _Row:
    row = _Row(_tokens(tokenizer, _PHOTO))
    spoken = [_spoken(tokenizer, turn) for turn in turns]
    beginning, origin = list[int](), row.photo
    for number, (turn, one) in enumerate(zip(turns, spoken, strict=True)):
        if not beginning or one.asked[: len(beginning)] != beginning:
            beginning = _beginning(one, spoken[number + 1 :])
            origin = row.begin(beginning) if beginning else row.photo
        row.turn(turn, one, begun=len(beginning), origin=origin)
    return row


def _beginning(first: _Spoken, others: Sequence[_Spoken]) -> list[int]:
    """The tokens that the ``first`` turn and others begin with alike; none if they are too few for a segment."""
    counts = [count for other in others if (count := _alike(first.asked, other.asked)) >= _LEAST_ALIKE]
    return first.asked[: min(counts)] if counts else []


def _alike(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens are the same before the first that differs; 0 if none differs."""
    return next((number for number, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)


def _spoken(tokenizer: Any, turn: Turn) -> _Spoken:
    asked, offsets = _placed(tokenizer, f"{turn.text}{END}\nAssistant:")
    answer = _tokens(tokenizer, turn.answer + END)
    decided = len(answer) == 2 and len(turn.answer) in (1, 2, 3) and turn.text.endswith("only.")
    return _Spoken(asked, offsets, answer, decided)


def _options(turn: Turn, offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Of each option, or of the claim: its last token in the turn, its letter's number and whether it is right.

    ``offsets``: where each token of the turn begins and ends in its text."""
    ends = {
        match.end(): (ascii_uppercase.index(match[1]), int(match[1] == turn.answer))
        for match in _OPTION.finditer(turn.text)
    }
    if turn.claim:
        ends = {turn.text.index(turn.claim) + len(turn.claim): (IGNORE, int(turn.holds))}
    return [(place, *ends[end]) for place, (start, end) in enumerate(offsets) if end in ends and start < end]


def _placed(tokenizer: Any, text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Tokens, and where each begins and ends in the text."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(encoded["input_ids"]), list(encoded["offset_mapping"])


def _tokens(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
