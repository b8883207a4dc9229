"""One request at a time by transformers' own `generate`, for architectures that cannot be batched."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from assistant.engine.batching.batch import as_engine_error, drop_interrupted, eos_tokens
from assistant.engine.batching.prompt import processed, rendered, to_model
from assistant.engine.batching.request import GenerationRequest
from assistant.engine.batching.scheduler import NoSlots, Scheduler
from assistant.engine.batching.sequence import DecisionSequence, GenerationSequence, PromptSequence
from assistant.engine.batching.stats import Counters
from assistant.engine.loader import LoadedModel
from assistant.errors import EngineFailed, Invalid


class Single:
    """Like `Batch`, with one slot and no caches."""

    def __init__(
        self, loaded: LoadedModel, scheduler: Scheduler, *, lock: AbstractContextManager[Any], counters: Counters
    ) -> None:
        self.loaded = loaded
        self._scheduler = scheduler
        self._lock = lock
        self._counters = counters
        self._eos = eos_tokens(loaded)
        positions = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
        self._capacity = positions or 1_000_000
        scheduler.slots = 1
        scheduler.cache = NoSlots()

    def prepare(self, sequence: PromptSequence) -> None:
        """Nothing can be done beforehand."""

    def step(self) -> None:
        """Serve the next request to its end."""
        drop_interrupted(self._scheduler, self._lock, self._counters)
        with self._lock:
            sequence = next(self._scheduler.admit(0.0), None)
        if sequence is None:
            return
        sequence.started = True
        try:
            result = self._run(sequence)
            self._counters.finished += 1
        except Exception as error:
            self._counters.failed += 1
            result = as_engine_error(error)
        with self._lock:
            self._scheduler.remove(sequence)
        sequence.put(result)

    def fail_all(self, error: Exception) -> None:
        with self._lock:
            running = self._scheduler.clear()
        for sequence in running:
            sequence.put(error)

    def _run(self, sequence: PromptSequence) -> Any:
        if isinstance(sequence, DecisionSequence):
            return sequence.decide_serially(self.loaded)
        if not isinstance(sequence, GenerationSequence):
            raise TypeError(type(sequence).__name__)
        is_interrupted = self._generate(sequence)
        if is_interrupted and not sequence.cancelled.is_set():
            raise sequence.timeout()
        if is_interrupted:
            raise EngineFailed("The request was cancelled.")
        return sequence.finish(is_eos=bool(sequence.output) and sequence.output[-1] in self._eos)

    def _generate(self, sequence: GenerationSequence) -> bool:
        """Run `generate`. Returns whether it was interrupted."""
        import torch
        from transformers import StoppingCriteriaList

        request = sequence.request
        if request.schema is not None or request.logprobs is not None:
            raise Invalid("This model supports neither schemas nor log-probabilities here.", field="schema")
        inputs = to_model(self.loaded, processed(self.loaded, rendered(self.loaded, request.messages), request.images))
        sequence.open(self.loaded, input_tokens=inputs["input_ids"].shape[1], capacity=self._capacity)
        stopping = _Stopping(sequence)
        if request.seed is not None:
            torch.manual_seed(request.seed)
        with torch.inference_mode():
            self.loaded.model.generate(
                **inputs,
                generation_config=_generation_config(request, sequence.max_output),
                streamer=_Streamer(sequence, self._eos, self._counters),
                stopping_criteria=StoppingCriteriaList([stopping]),
            )
        return stopping.is_interrupted


def _generation_config(request: GenerationRequest, max_new_tokens: int) -> Any:
    """The request's parameters; `generate` fills in the rest from the checkpoint's own configuration."""
    from transformers import GenerationConfig

    if request.temperature > 0:
        return GenerationConfig(
            max_new_tokens=max_new_tokens, do_sample=True, temperature=request.temperature, top_p=request.top_p
        )
    # Neutral values override the checkpoint's; without them every request would log a warning.
    return GenerationConfig(max_new_tokens=max_new_tokens, do_sample=False, temperature=1.0, top_p=1.0, top_k=50)


class _Streamer:
    """transformers' streamer interface: receives token ids."""

    def __init__(self, sequence: GenerationSequence, eos: set[int], counters: Counters) -> None:
        self._sequence = sequence
        self._eos = eos
        self._counters = counters
        self._is_prompt = True

    def put(self, value: Any) -> None:
        if self._is_prompt:  # the first call carries the prompt
            self._is_prompt = False
            self._counters.prompt_tokens += value.numel()
            return
        for token in value.flatten().tolist():
            self._sequence.append(token, is_eos=token in self._eos)
            self._counters.generation_tokens += 1

    def end(self) -> None:
        """`GenerationSequence.finish` flushes the text held back."""


class _Stopping:
    """transformers' stopping criterion: called after every token."""

    def __init__(self, sequence: GenerationSequence) -> None:
        self._sequence = sequence
        self.is_interrupted = False

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        is_finished = self._sequence.is_finished
        self.is_interrupted = not is_finished and self._sequence.is_interrupted
        stop = is_finished or self.is_interrupted
        return torch.full((input_ids.shape[0],), stop, dtype=torch.bool, device=input_ids.device)
