"""Requests in flight: what was asked, its deadline, how far it has got, and where its results go.

The engine thread advances them, callers' threads wait for them; the result queue and the cancellation flag are all that
both touch.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from assistant.engine.batching.prompt import Prompt, make_prompt
from assistant.engine.batching.request import Done, GenerationRequest
from assistant.engine.batching.text import TextStream
from assistant.errors import EngineFailed, EngineTimeout, TooLarge
from assistant.ports import WorkPriority

if TYPE_CHECKING:
    from assistant.engine.batching.cache import Features
    from assistant.engine.batching.sampling import Sampler
    from assistant.engine.loader import LoadedModel

# The engine ends a request at its deadline; a step that is already running may take this many seconds longer.
_GRACE = 2.0


class QueuedRequest:
    """What every kind of request has. ``deadline`` and ``arrived_at`` are `monotonic` times."""

    def __init__(self, *, deadline: float, priority: WorkPriority = WorkPriority.INTERACTIVE) -> None:
        self.deadline = deadline
        self.priority = priority
        self.arrived_at = monotonic()
        self.started = False
        self.cancelled = threading.Event()
        self._results: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @property
    def is_late(self) -> bool:
        return monotonic() > self.deadline

    @property
    def is_interrupted(self) -> bool:
        return self.cancelled.is_set() or self.is_late

    def put(self, result: Any) -> None:
        """Hand a result to the reader, who may have gone; never blocks. Exceptions are raised there."""
        self._results.put(result)

    def next(self) -> Any:
        """The next result. Raises the failure if the request failed, `EngineTimeout` past the deadline."""
        grace = _GRACE if self.started else 0.0
        try:
            result = self._results.get(timeout=max(0.0, self.deadline - monotonic()) + grace)
        except queue.Empty:
            self.cancelled.set()
            raise self.timeout() from None
        if isinstance(result, BaseException):
            raise result
        return result

    def timeout(self) -> EngineTimeout:
        if self.started:
            return EngineTimeout("The answer took too long. Please ask for something shorter.")
        return EngineTimeout("The model is loading or too busy to answer in time. Please try again in a moment.")


class CallRequest(QueuedRequest):
    """A function to run in the engine thread, between two steps."""

    def __init__(self, run: Callable[[LoadedModel], Any], *, deadline: float) -> None:
        super().__init__(deadline=deadline)
        self.run = run


class PromptSequence(QueuedRequest):
    """A request that starts by prefilling a prompt into a slot. ``cached``: how many of its tokens the slot holds."""

    def __init__(self, *, deadline: float, priority: WorkPriority) -> None:
        super().__init__(deadline=deadline, priority=priority)
        self._prompt: Prompt | None = None
        self.cached = 0
        self.reused = 0  # prompt tokens that came from the prefix cache
        self.features: list[Features] = []

    @property
    def prompt(self) -> Prompt:
        """Raises `RuntimeError` before `prepare`."""
        if self._prompt is None:
            raise RuntimeError("the prompt has not been prepared")
        return self._prompt

    @property
    def length(self) -> int:
        return len(self.prompt)

    def prepare(self, loaded: LoadedModel, *, capacity: int) -> None:
        """Build the prompt unless it is there. Raises `TooLarge` if it does not fit into a slot."""
        if self._prompt is None:
            self._prompt = self._build_prompt(loaded)
            check_room(len(self._prompt), capacity)

    def chunk_end(self, end: int, *, start: int) -> int:
        return self.prompt.chunk_end(end, start=start)

    @property
    def needs_encoding(self) -> bool:
        """Whether photos in the rest of the prompt still have to go through the vision tower."""
        prompt = self.prompt
        first, last = prompt.photo_tokens(self.cached, len(prompt))
        return last > first and len(self.features) < len(prompt.photos)

    def _build_prompt(self, loaded: LoadedModel) -> Prompt:
        raise NotImplementedError


class GenerationSequence(PromptSequence):
    """A generation: prompt, then output tokens, one a decode step."""

    def __init__(self, request: GenerationRequest, *, deadline: float) -> None:
        super().__init__(deadline=deadline, priority=request.priority)
        self.request = request
        self.output: list[int] = []  # token ids
        self.max_output = request.max_new_tokens
        self.sampler: Sampler | None = None
        self.stream: TextStream  # set by `open`
        self.first_token_at: float | None = None
        self._input_tokens = 0

    @property
    def length(self) -> int:
        """Prompt and output tokens."""
        return self._input_tokens + len(self.output)

    def prepare(self, loaded: LoadedModel, *, capacity: int) -> None:
        if self._prompt is None:
            super().prepare(loaded, capacity=capacity)
            self.open(loaded, input_tokens=len(self.prompt), capacity=capacity)

    def open(self, loaded: LoadedModel, *, input_tokens: int, capacity: int) -> None:
        """Get ready to generate after ``input_tokens`` of prompt. Raises `TooLarge` if there is no room left."""
        check_room(input_tokens, capacity)
        self._input_tokens = input_tokens
        self.max_output = max(0, min(self.request.max_new_tokens, capacity - input_tokens))
        self.stream = TextStream(loaded.tokenizer, self.request.stop, self.put)

    def preempt(self) -> None:
        """The slot goes to another request: the output so far joins the prompt, to be recomputed with it."""
        self._prompt = self.prompt.with_tail(self._output_after_prompt())

    @property
    def position(self) -> int:
        """Of the newest token, whose keys and values are not in the slot yet."""
        return self.prompt.next_position + self.length - 1 - len(self.prompt)

    def identity(self) -> np.ndarray:
        """`Prompt.identity` of everything that is in the slot."""
        output = np.asarray(self._output_after_prompt(), dtype=np.int64)
        return np.concatenate([self.prompt.identity, output])[: self.cached]

    def append(self, token: int, *, is_eos: bool) -> None:
        """Append a sampled token; an end-of-sequence token adds no text."""
        if self.first_token_at is None:
            self.first_token_at = monotonic()
        self.output.append(token)
        if not is_eos:
            self.stream.push([token])

    def sample(self, logits: Any) -> int:
        """The next token, from logits (vocabulary,)."""
        if self.sampler is None:
            return int(logits.argmax())
        return self.sampler.sample(logits, [*self.prompt.tokens.tolist(), *self._output_after_prompt()])

    @property
    def is_finished(self) -> bool:
        """Whether it has met a stop string, its schema or its length limit."""
        return self._is_stopped or len(self.output) >= self.max_output

    def finish(self, *, is_eos: bool) -> Done:
        """Flush the text held back, and say how the generation ended."""
        self.stream.end()
        return Done(
            reason="stop" if is_eos or self._is_stopped else "length",
            input_tokens=self._input_tokens,
            output_tokens=len(self.output),
            cached_tokens=self.reused,
            first_token_seconds=(self.first_token_at or monotonic()) - self.arrived_at,
            logprobs=tuple(self.sampler.logprobs) if self.sampler is not None else (),
        )

    @property
    def _is_stopped(self) -> bool:
        return self.stream.stopped or (self.sampler is not None and self.sampler.is_complete)

    def _output_after_prompt(self) -> list[int]:
        """Output tokens that `preempt` has not made part of the prompt."""
        return self.output[len(self.prompt) - self._input_tokens :]

    def _build_prompt(self, loaded: LoadedModel) -> Prompt:
        return make_prompt(loaded, self.request.messages, self.request.images)


def check_room(tokens: int, capacity: int) -> None:
    """Raise `TooLarge` if a prompt leaves no room for an answer."""
    if tokens >= capacity:
        raise TooLarge("The text and photos are too long for the model. Send less.", limit=capacity)


@dataclass(frozen=True)
class DecisionPrompts:
    """Prompts of several questions: the prefix they share, each one's suffix (token ids), and for each question the
    token ids of its options' labels."""

    prefix: Prompt
    suffixes: Sequence[np.ndarray]
    labels: Sequence[Sequence[int]]


class DecisionSequence(PromptSequence):
    """Several questions about the same ticket and photos, which are prefilled once. Its result is a list with the
    probabilities of each question's options.

    ``make_prompts`` builds the prompts; ``decide_serially`` decides where a model cannot be batched."""

    def __init__(
        self,
        make_prompts: Callable[[LoadedModel], DecisionPrompts],
        decide_serially: Callable[[LoadedModel], list[list[float]]],
        *,
        deadline: float,
        priority: WorkPriority,
    ) -> None:
        super().__init__(deadline=deadline, priority=priority)
        self._make_prompts = make_prompts
        self.decide_serially = decide_serially
        self.prompts: DecisionPrompts  # set by `prepare`
        self._answers: dict[int, list[float]] = {}

    def next_questions(self, budget: int) -> list[int]:
        """Indices of the questions to score next, within ``budget`` tokens, padding included. Longest first, so that
        those of one pass have similar lengths. Empty when all are answered."""
        suffixes = self.prompts.suffixes
        pending = [number for number in range(len(suffixes)) if number not in self._answers]
        pending.sort(key=lambda number: -len(suffixes[number]))
        if not pending:
            return []
        longest = len(suffixes[pending[0]])
        similar = [number for number in pending if len(suffixes[number]) >= longest / 2]
        return similar[: max(1, budget // longest)]

    def answer(self, numbers: Sequence[int], logits: Any) -> None:
        """Take the logits (rows, vocabulary) of these questions. Raises `EngineFailed` if they are not finite."""
        for number, row in zip(numbers, logits.float(), strict=True):
            scores = row[list(self.prompts.labels[number])]
            if not bool(scores.isfinite().all()):
                raise EngineFailed("The model computed invalid probabilities. Please try again.")
            self._answers[number] = scores.softmax(-1).tolist()

    @property
    def probabilities(self) -> list[list[float]] | None:
        """Of each question's options; None while questions are open."""
        is_complete = len(self._answers) == len(self.prompts.suffixes)
        return [self._answers[number] for number in range(len(self._answers))] if is_complete else None

    def _build_prompt(self, loaded: LoadedModel) -> Prompt:
        self.prompts = self._make_prompts(loaded)
        return self.prompts.prefix
