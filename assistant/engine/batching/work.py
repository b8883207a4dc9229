"""Requests on their way: what was asked, by when, how far it has got, and where its outcome goes.

The engine thread works on them, the callers' threads wait for them; the outcome queue is all that both touch.
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

# The engine itself ends a request at its deadline; a step that is just running may take this many seconds more.
_GRACE = 2.0


class Work:
    """The part that every kind has. ``deadline`` and ``arrived_at`` are times of `monotonic`."""

    def __init__(self, *, deadline: float, priority: WorkPriority = WorkPriority.INTERACTIVE) -> None:
        self.deadline = deadline
        self.priority = priority
        self.arrived_at = monotonic()
        self.started = False
        self.cancelled = threading.Event()
        self._outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @property
    def late(self) -> bool:
        return monotonic() > self.deadline

    def interrupted(self) -> bool:
        return self.cancelled.is_set() or self.late

    def put(self, item: Any) -> None:
        """Give something to the reader, who may have gone: that never holds anybody up. Exceptions are raised there."""
        self._outcome.put(item)

    def next(self) -> Any:
        """The next thing that came out; raises the failure if the work failed, `EngineTimeout` past the deadline."""
        grace = _GRACE if self.started else 0.0
        try:
            item = self._outcome.get(timeout=max(0.0, self.deadline - monotonic()) + grace)
        except queue.Empty:
            self.cancelled.set()
            raise self.timeout() from None
        if isinstance(item, BaseException):
            raise item
        return item

    def timeout(self) -> EngineTimeout:
        if self.started:
            return EngineTimeout("The answer took too long. Please ask for something shorter.")
        return EngineTimeout("The model is loading or too busy to answer in time. Please try again in a moment.")


class Call(Work):
    """Something else to be done in the engine thread, with nothing else running."""

    def __init__(self, run: Callable[[LoadedModel], Any], *, deadline: float) -> None:
        super().__init__(deadline=deadline)
        self.run = run


class PromptWork(Work):
    """Work that begins with reading a prompt. ``cached``: how many of its tokens are in its slot."""

    def __init__(self, *, deadline: float, priority: WorkPriority) -> None:
        super().__init__(deadline=deadline, priority=priority)
        self.prompt: Prompt | None = None
        self.cached = 0
        self.reused = 0  # of the prompt, how many tokens an earlier request had read
        self.features: list[Features] = []

    @property
    def length(self) -> int:
        return len(self.known_prompt)

    @property
    def known_prompt(self) -> Prompt:
        """The prompt, once it has been prepared."""
        if self.prompt is None:
            raise RuntimeError("the prompt has not been prepared")
        return self.prompt

    def prepare(self, loaded: LoadedModel, *, capacity: int) -> None:
        """Make the prompt; a no-op if it is there. Raises `TooLarge` if it does not fit into a slot."""
        if self.prompt is None:
            self.prompt = self._make(loaded)
            check_room(len(self.prompt), capacity)

    def whole_blocks(self, end: int, *, start: int) -> int:
        return self.known_prompt.whole_blocks(end, start=start)

    @property
    def missing_photos(self) -> bool:
        """Whether photos that are still to be read have not been encoded."""
        prompt = self.known_prompt
        first, last = prompt.photo_tokens(self.cached, len(prompt))
        return last > first and len(self.features) < len(prompt.photos)

    def _make(self, loaded: LoadedModel) -> Prompt:
        raise NotImplementedError


class Writing(PromptWork):
    """A generation."""

    def __init__(self, request: GenerationRequest, *, deadline: float) -> None:
        super().__init__(deadline=deadline, priority=request.priority)
        self.request = request
        self.tokens: list[int] = []
        self.room = request.max_new_tokens
        self.sampler: Sampler | None = None
        self.stream: TextStream  # from `open` on
        self.first_token_at: float | None = None
        self._input_tokens = 0

    @property
    def length(self) -> int:
        """The prompt and what has been written."""
        return self._input_tokens + len(self.tokens)

    def prepare(self, loaded: LoadedModel, *, capacity: int) -> None:
        if self.prompt is None:
            super().prepare(loaded, capacity=capacity)
            self.open(loaded, input_tokens=len(self.known_prompt), capacity=capacity)

    def open(self, loaded: LoadedModel, *, input_tokens: int, capacity: int) -> None:
        """Be ready to write behind a prompt of so many tokens. Raises `TooLarge` if there is no room."""
        check_room(input_tokens, capacity)
        self._input_tokens = input_tokens
        self.room = max(0, min(self.request.max_new_tokens, capacity - input_tokens))
        self.stream = TextStream(loaded.tokenizer, self.request.stop, self.put)

    def begin_again(self) -> None:
        """Its slot was given to somebody else: what it has written is read anew, as part of the prompt."""
        known = self.known_prompt
        self.prompt = known.with_tail(self.tokens[len(known) - self._input_tokens :])

    @property
    def place(self) -> int:
        """The position of the newest token, which is not in the slot yet."""
        known = self.known_prompt
        return known.next_position + self.length - 1 - len(known)

    def identity(self) -> np.ndarray:
        """Of everything that is in the slot (`Prompt.identity`)."""
        known = self.known_prompt
        written = np.asarray(self.tokens[len(known) - self._input_tokens :], dtype=np.int64)
        return np.concatenate([known.identity, written])[: self.cached]

    def take(self, token: int, *, ends: bool) -> None:
        """The model's next token; ``ends``: it says that the text is over."""
        if self.first_token_at is None:
            self.first_token_at = monotonic()
        self.tokens.append(token)
        if not ends:
            self.stream.push([token])

    def choose(self, logits: Any) -> int:
        """The next token after all that there is, from logits (vocabulary,)."""
        if self.sampler is None:
            return int(logits.argmax())
        known = self.known_prompt.tokens.tolist()
        return self.sampler.choose(logits, [*known, *self.tokens[len(known) - self._input_tokens :]])

    @property
    def has_ended(self) -> bool:
        complete = self.sampler is not None and self.sampler.is_complete
        return self.stream.stopped or complete or len(self.tokens) >= self.room

    def done(self, *, by_model: bool) -> Done:
        """Give out what was held back, and say how it ended."""
        self.stream.end()
        stopped = by_model or self.stream.stopped or (self.sampler is not None and self.sampler.is_complete)
        logprobs = tuple(self.sampler.logprobs) if self.sampler is not None else ()
        reason = "stop" if stopped else "length"
        waited = (self.first_token_at or monotonic()) - self.arrived_at
        return Done(reason, self._input_tokens, len(self.tokens), self.reused, waited, logprobs)  # type: ignore[arg-type]

    def _make(self, loaded: LoadedModel) -> Prompt:
        return make_prompt(loaded, self.request.messages, self.request.images)


def check_room(tokens: int, capacity: int) -> None:
    """Raise `TooLarge` if a prompt leaves no room for an answer."""
    if tokens >= capacity:
        raise TooLarge("The text and photos are too long for the model. Send less.", limit=capacity)


@dataclass(frozen=True)
class Branches:
    """Several questions that begin alike: the common beginning, what follows in each, and for each the tokens of its
    options."""

    trunk: Prompt
    tails: Sequence[np.ndarray]
    labels: Sequence[Sequence[int]]


class Deciding(PromptWork):
    """Several questions about one state of affairs, which is read once. The outcome is a list with the probabilities
    of each question's options.

    ``branches``: makes the prompts; ``alone``: decides where a model cannot be run in a batch."""

    def __init__(
        self,
        branches: Callable[[LoadedModel], Branches],
        alone: Callable[[LoadedModel], list[list[float]]],
        *,
        deadline: float,
        priority: WorkPriority,
    ) -> None:
        super().__init__(deadline=deadline, priority=priority)
        self._branches = branches
        self.alone = alone
        self.branches: Branches  # from `prepare` on
        self._answered: dict[int, list[float]] = {}

    def next_tails(self, budget: int) -> list[int]:
        """Which questions to answer next, within a budget of tokens, padding included; the longest first, so that those
        of one pass are alike in length. Empty when all are answered."""
        left = [number for number in range(len(self.branches.tails)) if number not in self._answered]
        left.sort(key=lambda number: -len(self.branches.tails[number]))
        if not left:
            return []
        longest = len(self.branches.tails[left[0]])
        alike = [number for number in left if len(self.branches.tails[number]) >= longest / 2]
        return alike[: max(1, budget // longest)]

    def answer(self, numbers: Sequence[int], logits: Any) -> None:
        """Take the logits (rows, vocabulary) of these questions."""
        for number, row in zip(numbers, logits.float(), strict=True):
            scores = row[list(self.branches.labels[number])]
            if not bool(scores.isfinite().all()):
                raise EngineFailed("The model gave no sound probabilities. Please try again.")
            self._answered[number] = scores.softmax(-1).tolist()

    @property
    def scores(self) -> list[list[float]] | None:
        """The probabilities of each question's options; None while some are open."""
        done = len(self._answered) == len(self.branches.tails)
        return [self._answered[number] for number in range(len(self._answered))] if done else None

    def _make(self, loaded: LoadedModel) -> Prompt:
        self.branches = self._branches(loaded)
        return self.branches.trunk
