"""Choosing the next token of one request: greedily or by chance, within a schema, with log-probabilities.

A request's chance is its own: the same seed gives the same text whoever else is being answered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from assistant.engine.batching.request import GenerationRequest, TokenLogprob
from assistant.errors import EngineFailed, Invalid

# Of strings that a schema leaves open, so many characters at most: a small model may never end one.
_MOST_CHARACTERS = 500
_MOST_ITEMS = 50


class Sampler:
    """One request's choices. ``defaults``: the checkpoint's generation configuration, for what the request leaves
    open."""

    def __init__(
        self, request: GenerationRequest, defaults: Any, tokenizer: Any, constraint: Constraint | None
    ) -> None:
        from transformers import (
            LogitsProcessorList,
            RepetitionPenaltyLogitsProcessor,
            TemperatureLogitsWarper,
            TopKLogitsWarper,
            TopPLogitsWarper,
        )

        self._tokenizer = tokenizer
        self._constraint = constraint
        self._wanted = request.logprobs
        self._random = torch.Generator()
        self._random.manual_seed(request.seed) if request.seed is not None else self._random.seed()
        self._samples = request.temperature > 0
        self._warpers = LogitsProcessorList()
        penalty = getattr(defaults, "repetition_penalty", None)
        if penalty not in (None, 1.0):
            self._warpers.append(RepetitionPenaltyLogitsProcessor(penalty))
        if self._samples:
            self._warpers.append(TemperatureLogitsWarper(float(request.temperature)))
            if top_k := getattr(defaults, "top_k", None):
                self._warpers.append(TopKLogitsWarper(top_k))
            if request.top_p < 1.0:
                self._warpers.append(TopPLogitsWarper(request.top_p))
        self.logprobs: list[TokenLogprob] = []

    @property
    def is_plain(self) -> bool:
        """Whether the likeliest token is all it wants: then rows can be chosen together."""
        return not self._warpers and self._constraint is None and self._wanted is None

    @property
    def is_complete(self) -> bool:
        """Whether a schema has been filled in and nothing may follow."""
        return self._constraint is not None and self._constraint.is_complete

    def choose(self, logits: torch.Tensor, before: Sequence[int]) -> int:
        """The next token, from logits (vocabulary,) after the tokens ``before``."""
        row = logits.float().cpu()[None]
        if self._constraint is not None:
            row = self._constraint.masked(row)
        if self._warpers:
            row = self._warpers(torch.as_tensor([list(before)], dtype=torch.long), row)
        if self._samples:
            token = int(torch.multinomial(row.softmax(-1)[0], 1, generator=self._random))
        else:
            token = int(row.argmax())
        if self._constraint is not None:
            self._constraint.accept(token)
        if self._wanted is not None:
            self.logprobs.append(self._told(logits, token))
        return token

    def _told(self, logits: torch.Tensor, token: int) -> TokenLogprob:
        logs = logits.float().log_softmax(-1)
        best = logs.topk(min(self._wanted or 0, len(logs)))
        top = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        named = tuple((self._tokenizer.decode([other]), value) for other, value in top)
        return TokenLogprob(self._tokenizer.decode([token]), float(logs[token]), named)


class Constraint:
    """A JSON schema as a mask over the next token (llguidance)."""

    def __init__(self, grammar_tokenizer: Any, schema: Mapping[str, Any]) -> None:
        """Raises `Invalid` for a schema that cannot be followed."""
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_json_schema(
            json.dumps(bounded(schema)), overrides={"whitespace_flexible": False}
        )
        self._matcher = LLMatcher(grammar_tokenizer, grammar)
        if self._matcher.is_error():
            raise Invalid(f"The schema cannot be followed: {self._matcher.get_error()}", field="schema")

    @property
    def is_complete(self) -> bool:
        return bool(self._matcher.is_stopped())

    def masked(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits (1, vocabulary) with what would break the schema made impossible."""
        from llguidance.numpy import allocate_token_bitmask, apply_token_bitmask_inplace, fill_next_token_bitmask

        values = logits.numpy().copy()
        bits = allocate_token_bitmask(1, values.shape[1])
        fill_next_token_bitmask(self._matcher, bits)
        apply_token_bitmask_inplace(values, bits)
        return torch.from_numpy(values)

    def accept(self, token: int) -> None:
        if not self._matcher.consume_token(token):
            raise EngineFailed("The model left the schema it was to follow. Please try again.")


def grammar_tokenizer(tokenizer: Any, *, vocabulary: int, end: Sequence[int]) -> Any:
    """The tokenizer as llguidance wants it; takes a moment to make. ``vocabulary``: how many logits the model has."""
    from llguidance.hf import from_tokenizer

    return from_tokenizer(tokenizer, n_vocab=max(vocabulary, len(tokenizer)), eos_token=list(end) or None)


def bounded(schema: Any) -> Any:
    """A JSON schema with an end to every string and list, and no properties but those it names."""
    if isinstance(schema, list):
        return [bounded(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    inner = {name: bounded(part) for name, part in schema.items()}
    kind = schema.get("type")
    if kind == "string" and not {"enum", "const", "pattern", "format"} & schema.keys():
        inner.setdefault("maxLength", _MOST_CHARACTERS)
    elif kind == "array":
        inner.setdefault("maxItems", _MOST_ITEMS)
    elif kind == "object" and "properties" in schema:
        inner.setdefault("additionalProperties", False)
    return inner
