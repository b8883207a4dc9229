"""Sampling one request's next token: greedy or random, constrained by a schema, with log-probabilities.

Every request has its own random generator: the same seed gives the same text whatever else is in the batch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from assistant.engine.batching.request import GenerationRequest, TokenLogprob
from assistant.errors import EngineFailed, Invalid

# Limits for strings and lists to which a schema sets none: a small model may never end them.
_MOST_CHARACTERS = 500
_MOST_ITEMS = 50


class Sampler:
    """Samples one request's tokens. ``defaults``: the checkpoint's generation configuration, for what the request does
    not specify."""

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
        self._top_logprobs = request.logprobs
        self._generator = torch.Generator()
        self._generator.manual_seed(request.seed) if request.seed is not None else self._generator.seed()
        self._is_random = request.temperature > 0
        self._warpers = LogitsProcessorList()
        penalty = getattr(defaults, "repetition_penalty", None)
        if penalty not in (None, 1.0):
            self._warpers.append(RepetitionPenaltyLogitsProcessor(penalty))
        if self._is_random:
            self._warpers.append(TemperatureLogitsWarper(float(request.temperature)))
            if top_k := getattr(defaults, "top_k", None):
                self._warpers.append(TopKLogitsWarper(top_k))
            if request.top_p < 1.0:
                self._warpers.append(TopPLogitsWarper(request.top_p))
        self.logprobs: list[TokenLogprob] = []

    @property
    def is_greedy(self) -> bool:
        """Whether it takes the likeliest token and nothing else: then all such rows are sampled in one operation."""
        return not self._warpers and self._constraint is None and self._top_logprobs is None

    @property
    def is_complete(self) -> bool:
        """Whether the text is complete under its schema, so that nothing may follow."""
        return self._constraint is not None and self._constraint.is_complete

    def sample(self, logits: torch.Tensor, previous: Sequence[int]) -> int:
        """The next token, from logits (vocabulary,) after the tokens ``previous``."""
        row = logits.float().cpu()[None]
        if self._constraint is not None:
            row = self._constraint.mask(row)
        if self._warpers:
            row = self._warpers(torch.as_tensor([list(previous)], dtype=torch.long), row)
        if self._is_random:
            token = int(torch.multinomial(row.softmax(-1)[0], 1, generator=self._generator))
        else:
            token = int(row.argmax())
        if self._constraint is not None:
            self._constraint.accept(token)
        if self._top_logprobs is not None:
            self.logprobs.append(self._logprob(logits, token))
        return token

    def _logprob(self, logits: torch.Tensor, token: int) -> TokenLogprob:
        logs = logits.float().log_softmax(-1)
        best = logs.topk(min(self._top_logprobs or 0, len(logs)))
        top = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        alternatives = tuple((self._tokenizer.decode([other]), value) for other, value in top)
        return TokenLogprob(self._tokenizer.decode([token]), float(logs[token]), alternatives)


class Constraint:
    """A JSON schema as a mask over the next token (llguidance)."""

    def __init__(self, grammar_tokenizer: Any, schema: Mapping[str, Any]) -> None:
        """Raises `Invalid` for an unsupported schema."""
        from llguidance import LLMatcher

        grammar = LLMatcher.grammar_from_json_schema(
            json.dumps(bounded(schema)), overrides={"whitespace_flexible": False}
        )
        self._matcher = LLMatcher(grammar_tokenizer, grammar)
        if self._matcher.is_error():
            raise Invalid(f"The schema is not supported: {self._matcher.get_error()}", field="schema")

    @property
    def is_complete(self) -> bool:
        return bool(self._matcher.is_stopped())

    def mask(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits (1, vocabulary) in which tokens that would violate the schema are impossible."""
        from llguidance.numpy import allocate_token_bitmask, apply_token_bitmask_inplace, fill_next_token_bitmask

        values = logits.numpy().copy()
        bits = allocate_token_bitmask(1, values.shape[1])
        fill_next_token_bitmask(self._matcher, bits)
        apply_token_bitmask_inplace(values, bits)
        return torch.from_numpy(values)

    def accept(self, token: int) -> None:
        if not self._matcher.consume_token(token):
            raise EngineFailed("The model violated the schema. Please try again.")


def grammar_tokenizer(tokenizer: Any, *, vocabulary: int, eos: Sequence[int]) -> Any:
    """The tokenizer in llguidance's form; takes a moment to build. ``vocabulary``: the number of the model's logits."""
    from llguidance.hf import from_tokenizer

    return from_tokenizer(tokenizer, n_vocab=max(vocabulary, len(tokenizer)), eos_token=list(eos) or None)


def bounded(schema: Any) -> Any:
    """A JSON schema whose strings and lists are limited, and whose objects have only the properties it names."""
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
