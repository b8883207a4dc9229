"""A cross-encoder that reads question and passage together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from time import monotonic
from typing import Any

from assistant.engine.models import pretrained
from assistant.engine.models.pretrained import OnFirstUse
from assistant.errors import NotReady

# Pairs between two looks at the clock.
_BATCH = 4
_MOST_TOKENS = 512
_SETTING = "ASSISTANT_RERANKER"


class CrossEncoderReranker:
    """`Reranker`. Thread-safe: one call at a time."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        """``model``: see `pretrained`; a sequence classifier with one label."""
        self._source = model
        self._model = OnFirstUse(partial(_load, model, device))

    @cached_property
    def name(self) -> str:
        return pretrained.identity(self._source)

    def scores(self, question: str, passages: Sequence[str], *, seconds: float) -> list[float]:
        """See `assistant.ports.Reranker`. Loading counts: the first question may find no time left."""
        until = monotonic() + seconds
        scores: list[float] = []
        with self._model.use(wait_seconds=seconds) as model:
            if model is None:
                return scores
            for start in range(0, len(passages), _BATCH):
                if monotonic() >= until:
                    break
                pairs = [(question, passage) for passage in passages[start : start + _BATCH]]
                scores += model.predict(pairs, batch_size=_BATCH, show_progress_bar=False).tolist()
        return scores


def _load(model: str, device: str) -> Any:
    loaded = pretrained.load("CrossEncoder", model, device=device, setting=_SETTING, max_length=_MOST_TOKENS)
    if loaded.num_labels != 1:
        raise NotReady(f"{model!r} gives {loaded.num_labels} numbers. Name a model that gives one in {_SETTING}.")
    return loaded
