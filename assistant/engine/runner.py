"""Running the model: messages and photos to tensors, tokens to text. Knows tensors, knows no queue.

Decoding is incremental: a piece of text goes out once no later token can change it, so a reader never sees half a
character or half a stop string.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from assistant.engine.loader import LoadedModel
from assistant.errors import EngineTimeout

if TYPE_CHECKING:
    from assistant.engine.scheduler import GenerationRequest, Task


def generate(loaded: LoadedModel, request: GenerationRequest, task: Task[Any]) -> None:
    """Run one request; pieces and the end go to ``task.outcome``."""
    import torch
    from transformers import StoppingCriteriaList

    from assistant.engine.scheduler import Done

    inputs = prepare(loaded, request.messages, request.images)
    input_tokens = int(inputs["input_ids"].shape[1])
    stream = _Stream(loaded.tokenizer, request.stop, task)
    options: dict[str, Any] = {"do_sample": False}
    if request.temperature > 0:
        options = {"do_sample": True, "temperature": request.temperature, "top_p": request.top_p}
    if request.seed is not None:
        torch.manual_seed(request.seed)
    with torch.inference_mode():
        loaded.model.generate(
            **inputs,
            max_new_tokens=request.max_new_tokens,
            streamer=stream,
            stopping_criteria=StoppingCriteriaList([_Stopping(task, stream)]),
            **options,
        )
    stream.end()
    if not task.cancelled.is_set() and task.should_stop() and not stream.stopped:
        raise EngineTimeout("The answer took too long. Please ask for something shorter.")
    reason = "cancelled" if task.cancelled.is_set() else stream.reason(request.max_new_tokens, _end_tokens(loaded))
    task.outcome.put(Done(reason, input_tokens, len(stream.tokens)))


def prepare(loaded: LoadedModel, messages: list[dict[str, Any]], images: list[Any]) -> dict[str, Any]:
    """Everything the processor makes of messages and photos, on the model's device: not the token ids alone, or the
    photos would silently vanish."""
    safe = [{**message, "content": [_safe(loaded, block) for block in message["content"]]} for message in messages]
    text = loaded.processor.apply_chat_template(safe, add_generation_prompt=True, tokenize=False)
    arguments: dict[str, Any] = {"text": [text], "return_tensors": "pt"}
    if images:
        arguments["images"] = [images]
    batch = loaded.processor(**arguments)
    device, dtype = loaded.model.device, loaded.model.dtype
    return {
        name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
        for name, value in batch.items()
        if hasattr(value, "to")
    }


def _safe(loaded: LoadedModel, block: dict[str, Any]) -> dict[str, Any]:
    return {**block, "text": loaded.without_control_tokens(block["text"])} if block["type"] == "text" else block


class _Stream:
    """transformers' streamer interface (`put`, `end`): token ids in, final pieces of text out."""

    def __init__(self, tokenizer: Any, stop: tuple[str, ...], task: Task[Any]) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._task = task
        self._sent = 0
        self._text = ""
        self._is_prompt = True
        self.tokens: list[int] = []
        self.stopped = False

    def put(self, value: Any) -> None:
        if self._is_prompt:  # the first call carries the prompt
            self._is_prompt = False
            return
        if not self.stopped:
            self.tokens += value.flatten().tolist()
            self._text = self._tokenizer.decode(self.tokens, skip_special_tokens=True)
            self._cut_at_stop()
            self._send(self._final_length())

    def end(self) -> None:
        if not self._task.cancelled.is_set():
            self._send(len(self._text))

    def reason(self, most: int, end_tokens: set[int]) -> str:
        ended = bool(self.tokens) and self.tokens[-1] in end_tokens
        return "stop" if self.stopped or ended or len(self.tokens) < most else "length"

    def _cut_at_stop(self) -> None:
        places = [place for stop in self._stop if (place := self._text.find(stop)) >= 0]
        if places:
            self._text = self._text[: min(places)]
            self.stopped = True

    def _final_length(self) -> int:
        """How much of the text later tokens cannot change."""
        if self.stopped:
            return len(self._text)
        if self._text.endswith("\ufffd"):  # half a character
            return self._sent
        held = max((_overlap(self._text, stop) for stop in self._stop), default=0)
        return len(self._text) - held

    def _send(self, length: int) -> None:
        from assistant.engine.scheduler import Piece

        if length > self._sent:
            self._task.outcome.put(Piece(self._text[self._sent : length]))
            self._sent = length


class _Stopping:
    """transformers' stopping criterion: asked after every token."""

    def __init__(self, task: Task[Any], stream: _Stream) -> None:
        self._task = task
        self._stream = stream

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        stop = self._task.should_stop() or self._stream.stopped
        return torch.full((input_ids.shape[0],), stop, dtype=torch.bool, device=input_ids.device)


def _overlap(text: str, stop: str) -> int:
    """The length of the longest end of ``text`` that ``stop`` begins with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


def _end_tokens(loaded: LoadedModel) -> set[int]:
    configured = loaded.model.generation_config.eos_token_id
    if configured is None:
        return set()
    return set(configured) if isinstance(configured, list) else {configured}
