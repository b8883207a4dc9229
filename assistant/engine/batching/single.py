"""One request after the other with transformers' own `generate`: for architectures that cannot be run in a batch."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from assistant.engine.batching.batch import as_engine_error, end_tokens, sweep
from assistant.engine.batching.prompt import processed, rendered, to_model
from assistant.engine.batching.request import GenerationRequest
from assistant.engine.batching.scheduler import Moves, Scheduler
from assistant.engine.batching.stats import Counters
from assistant.engine.batching.work import Deciding, PromptWork, Writing
from assistant.engine.loader import LoadedModel
from assistant.errors import EngineFailed, Invalid


class Single:
    """As `Batch`, with one slot and nothing kept."""

    def __init__(
        self, loaded: LoadedModel, scheduler: Scheduler, *, lock: AbstractContextManager[Any], counters: Counters
    ) -> None:
        self.loaded = loaded
        self._scheduler = scheduler
        self._lock = lock
        self._counters = counters
        self._ends = end_tokens(loaded)
        positions = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
        self._capacity = positions or 1_000_000
        scheduler.slots = 1
        scheduler.moves = Moves(lambda *_: None, lambda *_: None)

    def prepare(self, work: PromptWork) -> None:
        """Nothing can be done beforehand."""

    def step(self) -> None:
        """Do the next request, to its end."""
        sweep(self._scheduler, self._lock, self._counters)
        with self._lock:
            work = next(self._scheduler.admit(0.0), None)
        if work is None:
            return
        work.started = True
        try:
            outcome = self._outcome(work)
            self._counters.finished += 1
        except Exception as error:
            self._counters.failed += 1
            outcome = as_engine_error(error)
        self._end(work, outcome)

    def fail_all(self, error: Exception) -> None:
        with self._lock:
            rows = self._scheduler.clear()
        for work in rows:
            work.put(error)

    def _end(self, work: PromptWork, outcome: Any) -> None:
        with self._lock:
            self._scheduler.remove(work)
        work.put(outcome)

    def _outcome(self, work: PromptWork) -> Any:
        if isinstance(work, Deciding):
            return work.alone(self.loaded)
        if not isinstance(work, Writing):
            raise TypeError(type(work).__name__)
        interrupted = self._generate(work)
        if interrupted and not work.cancelled.is_set():
            raise work.timeout()
        if interrupted:
            raise EngineFailed("The request was cancelled.")
        return work.done(by_model=bool(work.tokens) and work.tokens[-1] in self._ends)

    def _generate(self, work: Writing) -> bool:
        """Run `generate`; True if it was interrupted."""
        import torch
        from transformers import StoppingCriteriaList

        request = work.request
        if request.schema is not None or request.logprobs is not None:
            raise Invalid("This model can neither follow a schema nor tell log-probabilities here.", field="schema")
        inputs = to_model(self.loaded, processed(self.loaded, rendered(self.loaded, request.messages), request.images))
        work.open(self.loaded, input_tokens=inputs["input_ids"].shape[1], capacity=self._capacity)
        stopping = _Stopping(work)
        if request.seed is not None:
            torch.manual_seed(request.seed)
        with torch.inference_mode():
            self.loaded.model.generate(
                **inputs,
                generation_config=_generation_config(request, work.room),
                streamer=_Streamer(work, self._ends, self._counters),
                stopping_criteria=StoppingCriteriaList([stopping]),
            )
        return stopping.interrupted


def _generation_config(request: GenerationRequest, room: int) -> Any:
    """The request's limits; what it leaves open is filled in from the checkpoint's own configuration."""
    from transformers import GenerationConfig

    if request.temperature > 0:
        return GenerationConfig(
            max_new_tokens=room, do_sample=True, temperature=request.temperature, top_p=request.top_p
        )
    # The neutral values say that the checkpoint's are not meant; else each request would be warned about.
    return GenerationConfig(max_new_tokens=room, do_sample=False, temperature=1.0, top_p=1.0, top_k=50)


class _Streamer:
    """transformers' streamer interface: token ids in."""

    def __init__(self, work: Writing, ends: set[int], counters: Counters) -> None:
        self._work = work
        self._ends = ends
        self._counters = counters
        self._is_prompt = True

    def put(self, value: Any) -> None:
        if self._is_prompt:  # the first call carries the prompt
            self._is_prompt = False
            self._counters.prompt_tokens_read += value.numel()
            return
        for token in value.flatten().tolist():
            self._work.take(token, ends=token in self._ends)
            self._counters.tokens_written += 1

    def end(self) -> None:
        """What is held back goes out with the end (`Writing.done`)."""


class _Stopping:
    """transformers' stopping criterion: asked after every token."""

    def __init__(self, work: Writing) -> None:
        self._work = work
        self.interrupted = False

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        ended = self._work.has_ended
        self.interrupted = not ended and self._work.interrupted()
        return torch.full((input_ids.shape[0],), ended or self.interrupted, dtype=torch.bool, device=input_ids.device)
