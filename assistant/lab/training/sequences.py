"""Token sequences for training: the photo once, then several turns about it that do not attend to each other.

Each turn has the tokens and positions it would have on its own. So a photo is processed once per step, and training
matches serving.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import torch

from assistant.lab.training.architecture import IMAGE_TOKENS
from assistant.lab.training.patches import IGNORE
from assistant.lab.training.prompts import END, Turn

_PHOTO = "User:<fake_token_around_image><global-img>" + "<image>" * IMAGE_TOKENS + "<fake_token_around_image>"
# Loss weights of tokens: an answer in words has many, a decision has one letter.
_LETTER, _WORD = 3.0, 0.3
_OPTION = re.compile(r"^([A-Z])\. .*$", re.MULTILINE)


@dataclass(frozen=True)
class Packed:
    """``ids``, ``positions``, ``segments``, ``labels`` and ``weights`` are (n, length). Segment 0 is the photo, those
    from 1 the turns about it, and -1 padding.

    ``labels`` are the next tokens, `patches.IGNORE` where there is no loss. ``names``: for each label that is a
    decision, its row, its index and the question's name. ``options``: for each option of a choice and each claim of a
    yes-or-no question, its row, the index of its last token, the index where its question is answered, its letter's
    number (`patches.IGNORE` for a claim), and 1 if it is right. ``photo_end``: the index of the token that closes the
    photo, the same in every row.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    names: tuple[tuple[int, int, str], ...]
    options: tuple[tuple[int, int, int, int, int], ...]
    photo_end: int

    def sees(self, device: Any) -> torch.Tensor:
        """(n, 1, length, length) attention mask: earlier tokens of the photo and of the same turn. Padding attends to
        itself, so that no row is empty."""
        segments = self.segments.to(device)
        own, other = segments[:, :, None], segments[:, None, :]
        before = torch.ones(own.shape[1], own.shape[1], dtype=torch.bool, device=device).tril()
        seen = before & ((own == other) | ((other == 0) & (own > 0)))
        return (seen | torch.eye(own.shape[1], dtype=torch.bool, device=device)).unsqueeze(1)


def pack(tokenizer: Any, photos: Sequence[Sequence[Turn]]) -> Packed:
    rows = [_row(tokenizer, turns) for turns in photos]
    length = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), length), tokenizer.pad_token_id)
    positions, segments = torch.zeros_like(ids), torch.full_like(ids, -1)
    labels, weights = torch.full_like(ids, IGNORE), torch.zeros(ids.shape)
    for number, row in enumerate(rows):
        end = len(row.ids)
        ids[number, :end], positions[number, :end] = torch.tensor(row.ids), torch.tensor(row.positions)
        segments[number, :end], labels[number, :end] = torch.tensor(row.segments), torch.tensor(row.labels)
        weights[number, :end] = torch.tensor(row.weights)
    names = tuple((number, place, name) for number, row in enumerate(rows) for place, name in row.names)
    options = tuple((number, *option) for number, row in enumerate(rows) for option in row.options)
    return Packed(ids, positions, segments, labels, weights, names, options, rows[0].segments.count(0) - 1)


class _Row:
    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.segments: list[int] = []
        self.labels: list[int] = []
        self.weights: list[float] = []
        self.names: list[tuple[int, str]] = []
        self.options: list[tuple[int, int, int, int]] = []


def _row(tokenizer: Any, turns: Sequence[Turn]) -> _Row:
    row = _Row()
    start = _tokens(tokenizer, _PHOTO)
    row.ids, row.positions, row.segments = list(start), list(range(len(start))), [0] * len(start)
    row.labels, row.weights = [IGNORE] * len(start), [0.0] * len(start)
    for number, turn in enumerate(turns, start=1):
        encoded = tokenizer(f"{turn.text}{END}\nAssistant:", add_special_tokens=False, return_offsets_mapping=True)
        asked, offsets = list(encoded["input_ids"]), list(encoded["offset_mapping"])
        answer = _tokens(tokenizer, turn.answer + END)
        decided = len(answer) == 2 and len(turn.answer) in (1, 2, 3) and turn.text.endswith("only.")
        tokens = asked + answer[:-1]
        labels = [IGNORE] * (len(asked) - 1) + answer
        if decided:
            labels[-1] = IGNORE  # serving reads only the letter
            at = len(row.ids) + len(asked) - 1
            row.names.append((at, turn.name))
            row.options += [(len(row.ids) + end, at, letter, right) for end, letter, right in _options(turn, offsets)]
        row.ids += tokens
        row.positions += list(range(len(start), len(start) + len(tokens)))
        row.segments += [number] * len(tokens)
        row.labels += labels
        row.weights += [_LETTER if decided else _WORD] * len(tokens)
    return row


def _options(turn: Turn, offsets: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """For each option, or for the claim: (index of its last token in the turn, its letter's number, 1 if it is right).

    ``offsets``: start and end of each token in the turn's text."""
    ends = {
        match.end(): (ascii_uppercase.index(match[1]), int(match[1] == turn.answer))
        for match in _OPTION.finditer(turn.text)
    }
    if turn.claim:
        ends = {turn.text.index(turn.claim) + len(turn.claim): (IGNORE, int(turn.holds))}
    return [(place, *ends[end]) for place, (start, end) in enumerate(offsets) if end in ends and start < end]


def _tokens(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
