"""Running the model: messages and photos to tensors, tokens to text. Knows tensors, knows no queue.

Decoding is incremental: a piece of text goes out once no later token can change it, so a reader never sees half a
character or half a stop string.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from assistant.engine.loader import LoadedModel
from assistant.errors import TooLarge


@dataclass(frozen=True)
class GenerationRequest:
    """Chat messages in transformers' form, the photos they refer to (PIL images, in order), and limits."""

    messages: list[dict[str, Any]]
    images: list[Any] = field(default_factory=list)
    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Piece:
    """Text that is final: no broken characters, no part of a stop string."""

    text: str


@dataclass(frozen=True)
class Done:
    """The end of a generation: the model ended it, it reached its length, or it was interrupted."""

    reason: Literal["stop", "length", "interrupted"]
    input_tokens: int
    output_tokens: int


def generate(
    loaded: LoadedModel,
    request: GenerationRequest,
    *,
    emit: Callable[[Piece], None],
    interrupted: Callable[[], bool],
) -> Done:
    """Run one request. ``interrupted`` is asked after every token; what was emitted until then stays."""
    import torch
    from transformers import StoppingCriteriaList

    inputs = prepare(loaded, request.messages, request.images)
    input_tokens = int(inputs["input_ids"].shape[1])
    room = _room(loaded, input_tokens, request.max_new_tokens)
    stream = _Stream(loaded.tokenizer, request.stop, emit)
    stopping = _Stopping(interrupted, stream)
    if request.seed is not None:
        torch.manual_seed(request.seed)
    with torch.inference_mode():
        loaded.model.generate(
            **inputs,
            generation_config=_generation_config(request, room),
            streamer=stream,
            stopping_criteria=StoppingCriteriaList([stopping]),
        )
    if stopping.interrupted:
        return Done("interrupted", input_tokens, stream.tokens)
    ended = stream.stopped or stream.tokens < room or stream.last_token in _end_tokens(loaded)
    return Done("stop" if ended else "length", input_tokens, stream.tokens)


def prepare(loaded: LoadedModel, messages: list[dict[str, Any]], images: list[Any]) -> dict[str, Any]:
    """Everything the processor makes of messages and photos, on the model's device: not the token ids alone, or the
    photos would silently vanish."""
    text = _rendered(loaded, _alternating([_safe(loaded, message) for message in messages]))
    arguments: dict[str, Any] = {"text": [text], "return_tensors": "pt"}
    start = loaded.tokenizer.bos_token
    if start and text.startswith(start):  # the template wrote it: the tokenizer must not write it again
        arguments["add_special_tokens"] = False
    if images:
        arguments["images"] = [images]
    return to_model(loaded, loaded.processor(**arguments))


def to_model(loaded: LoadedModel, batch: Any) -> dict[str, Any]:
    """Tensors on the model's device, pixels in its precision."""
    device, dtype = loaded.model.device, loaded.model.dtype
    return {
        name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
        for name, value in batch.items()
        if hasattr(value, "is_floating_point")
    }


def _safe(loaded: LoadedModel, message: dict[str, Any]) -> dict[str, Any]:
    content = [
        {**block, "text": loaded.without_control_tokens(block["text"])} if block["type"] == "text" else block
        for block in message["content"]
    ]
    return {**message, "content": content}


def _alternating(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbours of the same role as one message: several templates refuse two in a row."""
    merged: list[dict[str, Any]] = []
    for message in messages:
        if merged and merged[-1]["role"] == message["role"]:
            between = [{"type": "text", "text": "\n\n"}]
            merged[-1] = {**message, "content": [*merged[-1]["content"], *between, *message["content"]]}
        else:
            merged.append(message)
    return merged


def _rendered(loaded: LoadedModel, messages: list[dict[str, Any]]) -> str:
    """The prompt in the model's own template; instructions go into the first turn where it knows no system role."""
    from jinja2 import TemplateError

    # Reasoning before the answer would be streamed to the reader.
    options = {"enable_thinking": False} if "enable_thinking" in str(loaded.processor.chat_template) else {}

    def render(turns: list[dict[str, Any]]) -> str:
        return str(loaded.processor.apply_chat_template(turns, add_generation_prompt=True, tokenize=False, **options))

    try:
        return render(messages)
    except TemplateError:
        if messages[0]["role"] != "system":
            raise
        return render(_alternating([{**messages[0], "role": "user"}, *messages[1:]]))


def _room(loaded: LoadedModel, input_tokens: int, wanted: int) -> int:
    """How many tokens may be written: no more than the model has positions for."""
    positions: int | None = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    if positions is None:
        return wanted
    if input_tokens >= positions:
        raise TooLarge("The text and photos are too long for the model. Send less.", limit=positions)
    return min(wanted, positions - input_tokens)


def _generation_config(request: GenerationRequest, room: int) -> Any:
    """The request's limits; what it leaves open is filled in from the checkpoint's own configuration."""
    from transformers import GenerationConfig

    if request.temperature > 0:
        return GenerationConfig(
            max_new_tokens=room, do_sample=True, temperature=request.temperature, top_p=request.top_p
        )
    # The neutral values say that the checkpoint's are not meant; else each request would be warned about.
    return GenerationConfig(max_new_tokens=room, do_sample=False, temperature=1.0, top_p=1.0, top_k=50)


def _end_tokens(loaded: LoadedModel) -> set[int]:
    configured = loaded.model.generation_config.eos_token_id
    if configured is None:
        return set()
    return set(configured) if isinstance(configured, list) else {configured}


class _Stream:
    """transformers' streamer interface (`put`, `end`): token ids in, final pieces of text out."""

    def __init__(self, tokenizer: Any, stop: tuple[str, ...], emit: Callable[[Piece], None]) -> None:
        self._detokenizer = Detokenizer(tokenizer)
        self._stop = stop
        self._emit = emit
        self._pending = ""  # text that a stop string may have begun in
        self._is_prompt = True
        self.tokens = 0
        self.last_token: int | None = None
        self.stopped = False

    def put(self, value: Any) -> None:
        if self._is_prompt:  # the first call carries the prompt
            self._is_prompt = False
            return
        tokens = value.flatten().tolist()
        self.tokens += len(tokens)
        self.last_token = tokens[-1]
        if not self.stopped:
            self._take(self._detokenizer.add(tokens))
            self._send(len(self._pending) - max((overlap(self._pending, stop) for stop in self._stop), default=0))

    def end(self) -> None:
        if not self.stopped:
            self._take(self._detokenizer.rest())
            self._send(len(self._pending))

    def _take(self, text: str) -> None:
        self._pending += text
        places = [place for stop in self._stop if (place := self._pending.find(stop)) >= 0]
        if places:
            self._send(min(places))
            self._pending = ""
            self.stopped = True

    def _send(self, length: int) -> None:
        if length > 0:
            self._emit(Piece(self._pending[:length]))
            self._pending = self._pending[length:]


class Detokenizer:
    """Tokens to text, a few at a time. The pieces joined are what decoding all tokens at once gives.

    Decoding starts at the last piece's first token, because some tokenizers write a word differently at the beginning
    of a text than inside it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._known = 0  # how many of them are text already

    def add(self, tokens: list[int]) -> str:
        """The text that these tokens complete; empty while the last character is not whole."""
        self._tokens += tokens
        new = self._new()
        if not new or new.endswith("\ufffd"):
            return ""
        self._tokens = self._tokens[self._known :]
        self._known = len(self._tokens)
        return new

    def rest(self) -> str:
        """What is left at the end, whole or not."""
        return self._new()

    def _new(self) -> str:
        return self._decode(self._tokens)[len(self._decode(self._tokens[: self._known])) :]

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True)) if tokens else ""


class _Stopping:
    """transformers' stopping criterion: asked after every token."""

    def __init__(self, should_stop: Callable[[], bool], stream: _Stream) -> None:
        self._should_stop = should_stop
        self._stream = stream
        self.interrupted = False

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        self.interrupted = not self._stream.stopped and self._should_stop()
        stop = self.interrupted or self._stream.stopped
        return torch.full((input_ids.shape[0],), stop, dtype=torch.bool, device=input_ids.device)


def overlap(text: str, stop: str) -> int:
    """The length of the longest end of ``text`` that ``stop`` begins with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
