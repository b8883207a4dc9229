"""Fakes at the seams of the product: chat model, embeddings, OCR, typed decisions, clock.

Each is deterministic, needs no model and no network, and remembers what it was asked. Everything between the seams is
real in the tests.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import PrivateAttr

from assistant.ports import Box, Capabilities, Decision, Found, Looks, Mode, Question, Scale, Seen, Sought, TextLine


@dataclass(frozen=True)
class BreaksOff:
    """A reply that fails: ``text`` is streamed, then ``error`` is raised."""

    text: str
    error: Exception


Reply = str | Exception | BreaksOff | Callable[[Sequence[BaseMessage]], str]


class ScriptedChatModel(BaseChatModel):
    """Says what was enqueued, in order, word by word with usage metadata at the end.

    ``history`` holds the messages of every call. A call with nothing enqueued gets ``default``, or fails the test.
    """

    default: str | None = None

    _replies: deque[Reply] = PrivateAttr(default_factory=deque)
    _history: list[list[BaseMessage]] = PrivateAttr(default_factory=list)

    @property
    def history(self) -> list[list[BaseMessage]]:
        return self._history

    @property
    def prompts(self) -> list[str]:
        """The text of every call, messages joined by blank lines; images left out."""
        return ["\n\n".join(str(message.text) for message in messages) for messages in self._history]

    def enqueue(self, *replies: Reply) -> ScriptedChatModel:
        """A text, an exception to raise, `BreaksOff`, or a function of the messages. Returns itself."""
        self._replies.extend(replies)
        return self

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = [chunk.message for chunk in self._stream(messages, stop, run_manager, **kwargs)]
        text = "".join(str(chunk.content) for chunk in chunks)
        message = AIMessage(content=text, usage_metadata=_usage(messages, text))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        text, error = self._next(messages)
        for word in re.findall(r"\s*\S+|\s+$", text):
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        if error is not None:
            raise error
        last = AIMessageChunk(content="", usage_metadata=_usage(messages, text), chunk_position="last")
        yield ChatGenerationChunk(message=last)

    def _next(self, messages: list[BaseMessage]) -> tuple[str, Exception | None]:
        self._history.append(list(messages))
        if not self._replies and self.default is None:
            raise AssertionError("The chat model was called more often than replies were enqueued.")
        reply = self._replies.popleft() if self._replies else self.default
        if isinstance(reply, BreaksOff):
            return reply.text, reply.error
        if isinstance(reply, Exception):
            return "", reply
        return (reply(messages), None) if callable(reply) else (str(reply), None)


class HashEmbeddings(Embeddings):
    """Unit vectors from hashed word stems and character trigrams: texts that share words lie near each other."""

    def __init__(self, dimensions: int = 512) -> None:
        self.dimensions = dimensions
        self.embedded = 0  # texts so far

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded += len(texts)
        return [self._vector(text).tolist() for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    def _vector(self, text: str) -> np.ndarray:
        vector = np.zeros(self.dimensions, dtype=np.float32)
        for word in re.findall(r"\w+", text.lower()):
            stem = re.sub(r"(?:ing|ed|es|s|e|ly)$", "", word) if len(word) > 4 else word
            weight = 0.15 if word in _SMALL_WORDS else 1.0
            self._add(vector, stem, weight)
            padded = f"^{word}$"
            for start in range(len(padded) - 2):
                self._add(vector, padded[start : start + 3], 0.25 * weight)
        length = float(np.linalg.norm(vector))
        if length == 0:
            vector[0] = length = 1.0
        scaled: np.ndarray = vector / length
        return scaled

    def _add(self, vector: np.ndarray, feature: str, weight: float) -> None:
        number = zlib.crc32(feature.encode())
        vector[number % self.dimensions] += weight if number & 0x10000 else -weight


_SMALL_WORDS = frozenset(
    "a an and are as at be by do for from i in is it my of on or that the this to was with you".split()
)


class FakeOCR:
    """Reads the given lines in every photo, or those that ``by_sha256`` has for it; ``photos``: what it got."""

    def __init__(
        self,
        *lines: str | TextLine,
        by_sha256: Mapping[str, Sequence[str | TextLine]] | None = None,
        error: Exception | None = None,
    ) -> None:
        self._lines = lines
        self._by_sha256 = dict(by_sha256 or {})
        self._error = error
        self.photos: list[bytes] = []

    @property
    def name(self) -> str:
        return "fake-ocr 1"

    def read(self, photo: bytes) -> list[TextLine]:
        self.photos.append(photo)
        if self._error is not None:
            raise self._error
        lines = self._by_sha256.get(hashlib.sha256(photo).hexdigest(), self._lines)
        height = 1 / max(len(lines), 1)
        return [
            line if isinstance(line, TextLine) else TextLine(line, 0.95, Box(0.1, n * height, 0.9, (n + 1) * height))
            for n, line in enumerate(lines)
        ]


class FakeDecisions:
    """Answers by question key: an option (probability 0.9) or probabilities. Questions it was not told: all alike.

    ``asked`` holds (state, photos, questions) of every call.
    """

    def __init__(
        self, answers: Mapping[str, str | Mapping[str, float]] | None = None, *, error: Exception | None = None
    ) -> None:
        self.answers = dict(answers or {})
        self.error = error
        self.asked: list[tuple[str, tuple[bytes, ...], tuple[Question, ...]]] = []

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        self.asked.append((state, tuple(photos), tuple(questions)))
        if self.error is not None:
            raise self.error
        return [Decision(question.key, self._probabilities(question)) for question in questions]

    def _probabilities(self, question: Question) -> dict[str, float]:
        options = question.options
        answer = self.answers.get(question.key)
        if answer is None:
            return dict.fromkeys(options, 1 / len(options))
        if not isinstance(answer, str):
            return {option: float(answer.get(option, 0.0)) for option in options}
        if answer not in options:
            raise AssertionError(f"{answer!r} is no option of {question.key}: {options}")
        rest = 0.1 / (len(options) - 1) if len(options) > 1 else 0.0
        return {option: (0.9 if rest else 1.0) if option == answer else rest for option in options}


@dataclass(frozen=True)
class FakeSight:
    """Sees the same in every photo, in the middle of it."""

    seen: Seen
    error: Exception | None = None
    sought: list[Sought] = field(default_factory=list)

    def look(self, photo: bytes) -> FakeSight:
        if self.error is not None:
            raise self.error
        return self

    def locate(self, sought: Sequence[Sought]) -> list[Found | None]:
        self.sought.extend(sought)
        middle = Found(Box(0.4, 0.4, 0.6, 0.6), 0.8, ("09", "90"))
        return [middle for _ in sought]


class ColourFeatures:
    """`PhotoFeatures`: how much of each of 64 colours there is in a picture."""

    name = "colours"

    def look(self, pictures: Sequence[np.ndarray]) -> Looks:
        places = np.stack([self._places(picture) for picture in pictures])
        return Looks(np.sqrt(places.mean(axis=(1, 2))), places)

    def _places(self, picture: np.ndarray) -> np.ndarray:
        """(4, 4, 64): of each sixteenth."""
        coded = (picture[::3, ::3].astype(int) // 64 * np.array([16, 4, 1])).sum(axis=2)
        parts = [part for row in np.array_split(coded, 4) for part in np.array_split(row, 4, axis=1)]
        counts = [np.bincount(part.ravel(), minlength=64) / max(1, part.size) for part in parts]
        return np.array(counts, dtype=np.float32).reshape(4, 4, 64)


@dataclass
class ManualClock:
    """A clock that stands still until it is moved: ``desk.now = ManualClock()``."""

    at: datetime = field(default_factory=lambda: datetime(2026, 11, 24, 9, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.at

    def advance(self, by: timedelta) -> datetime:
        self.at += by
        return self.at


@dataclass
class SetClock:
    """A clock that goes, and can be set forward: ``desk.now = SetClock()``."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, by: timedelta) -> None:
        self.ahead += by


def fake_capabilities(mode: Mode = Mode.NO_VLM, **parts: Any) -> Capabilities:
    """Capabilities with hash embeddings and an OCR that reads nothing; ``parts`` replace or add any field."""
    defaults: dict[str, Any] = {
        "mode": mode,
        "model": "scripted" if "chat_model" in parts else "none",
        "revision": "fake-1",
        "embeddings": HashEmbeddings(),
        "embedding_model": "hash-512",
        "embedding_scale": Scale(),
        "ocr": FakeOCR(),
    }
    return Capabilities(**{**defaults, **parts})


def _usage(messages: Sequence[BaseMessage], text: str) -> UsageMetadata:
    words_in = sum(len(str(message.text).split()) for message in messages)
    words_out = len(text.split())
    return UsageMetadata(input_tokens=words_in, output_tokens=words_out, total_tokens=words_in + words_out)
