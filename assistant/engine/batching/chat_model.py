"""The model in this process as a LangChain chat model."""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ConfigDict

from assistant.engine.batching.engine import Engine
from assistant.engine.batching.request import Done, GenerationRequest, TextDelta, TokenLogprob
from assistant.errors import Invalid
from assistant.ports import current_priority
from assistant.tracing import model_call


class EngineChatModel(BaseChatModel):
    """Text and images in, text out, streamed. Images: LangChain's image blocks or OpenAI's ``image_url`` with a
    ``data:`` URL; other URLs are refused, never fetched.

    ``response_format`` (OpenAI's ``json_schema``) constrains the text to a schema; ``logprobs`` and ``top_logprobs``
    return log-probabilities in ``response_metadata``. Requests have the caller's priority (`ports.at_priority`)."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    engine: Engine
    model_name: str
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    timeout: float | None = None
    stop: list[str] | None = None

    @property
    def _llm_type(self) -> str:
        return "assistant-engine"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "max_tokens": self.max_tokens, "temperature": self.temperature}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return LangSmithParams(
            ls_provider="assistant",
            ls_model_name=kwargs.get("model", self.model_name),
            ls_model_type="chat",
            ls_temperature=kwargs.get("temperature", self.temperature),
            ls_max_tokens=kwargs.get("max_tokens", self.max_tokens),
            ls_stop=stop or self.stop or [],
        )

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = list(self._stream(messages, stop, run_manager, **kwargs))
        text = "".join(str(chunk.message.text) for chunk in chunks)
        last = chunks[-1].message
        usage = last.usage_metadata if isinstance(last, AIMessageChunk) else None
        message = AIMessage(content=text, usage_metadata=usage, response_metadata=last.response_metadata)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request = self._request(messages, stop, kwargs)
        timeout = kwargs.get("timeout", self.timeout)
        # A reader that stops cancels it.
        with model_call(self.model_name), self.engine.generate(request, timeout=timeout) as generation:
            for item in generation:
                chunk = _chunk(item, self.model_name)
                if run_manager is not None and isinstance(item, TextDelta):
                    run_manager.on_llm_new_token(item.text, chunk=chunk)
                yield chunk

    def _request(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, options: dict[str, Any]
    ) -> GenerationRequest:
        images: list[Any] = []
        return GenerationRequest(
            messages=[_chat_message(message, images) for message in messages],
            images=images,
            max_new_tokens=options.get("max_tokens", self.max_tokens),
            temperature=options.get("temperature", self.temperature),
            top_p=options.get("top_p", self.top_p),
            seed=options.get("seed", self.seed),
            stop=tuple(stop or self.stop or ()),
            schema=_schema(options.get("response_format")),
            logprobs=options.get("top_logprobs", 0) if options.get("logprobs") else None,
            priority=current_priority(),
        )

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Answers that match ``schema``, a JSON schema or a pydantic class: every token that would not is masked."""
        if include_raw or kwargs.get("method", "json_schema") != "json_schema":
            raise Invalid("Only the method json_schema is supported, without the raw answer.", field="method")
        parser: Any = JsonOutputParser()
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            parser = PydanticOutputParser(pydantic_object=schema)
            schema = schema.model_json_schema()
        bound = self.bind(response_format={"type": "json_schema", "json_schema": {"schema": schema}})
        structured: Runnable[LanguageModelInput, dict[str, Any] | BaseModel] = bound | parser
        return structured


def _chunk(item: TextDelta | Done, model_name: str) -> ChatGenerationChunk:
    if isinstance(item, TextDelta):
        return ChatGenerationChunk(message=AIMessageChunk(content=item.text))
    usage = UsageMetadata(
        input_tokens=item.input_tokens,
        output_tokens=item.output_tokens,
        total_tokens=item.input_tokens + item.output_tokens,
        input_token_details=InputTokenDetails(cache_read=item.cached_tokens),
    )
    ending: dict[str, Any] = {"finish_reason": item.reason, "model_name": model_name}
    if item.logprobs:
        ending["logprobs"] = {"content": [_logprob_json(token) for token in item.logprobs]}
    message = AIMessageChunk(content="", usage_metadata=usage, response_metadata=ending, chunk_position="last")
    return ChatGenerationChunk(message=message, generation_info={"finish_reason": item.reason})


def _logprob_json(token: TokenLogprob) -> dict[str, Any]:
    """In OpenAI's form."""
    top = [{"token": text, "logprob": value} for text, value in token.top]
    return {"token": token.token, "logprob": token.logprob, "top_logprobs": top}


def _schema(response_format: Any) -> dict[str, Any] | None:
    if response_format is None or response_format.get("type") == "text":
        return None
    schema = response_format.get("json_schema", {}).get("schema")
    if response_format.get("type") != "json_schema" or not isinstance(schema, dict):
        raise Invalid("response_format must have type json_schema and contain a schema.", field="response_format")
    return schema


def _chat_message(message: BaseMessage, images: list[Any]) -> dict[str, Any]:
    """The message in transformers' form; its photos are appended to ``images``."""
    role = "assistant" if isinstance(message, AIMessage) else "system" if isinstance(message, SystemMessage) else "user"
    if not isinstance(message, HumanMessage | SystemMessage | AIMessage):
        role = "user"  # tool and other messages are input like any other
    if isinstance(message.content, str):
        return {"role": role, "content": [{"type": "text", "text": message.content}]}
    content: list[dict[str, Any]] = []
    for block in message.content:
        if isinstance(block, str):
            content.append({"type": "text", "text": block})
        elif block.get("type") == "text":
            content.append({"type": "text", "text": block["text"]})
        elif block.get("type") in ("image", "image_url"):
            images.append(open_image(_image_bytes(block)))
            content.append({"type": "image"})
        # Other blocks (tool calls, reasoning, citations) hold nothing that this model can read.
    return {"role": role, "content": content}


def _image_bytes(block: dict[str, Any]) -> bytes:
    data = block.get("base64") or block.get("data")
    if data is None:
        inner = block.get("image_url", block.get("url"))
        url = inner.get("url") if isinstance(inner, dict) else inner
        if not isinstance(url, str) or not url.startswith("data:"):
            raise Invalid("Images must be base64 data; URLs are not fetched.", field="content")
        data = url.partition(",")[2]
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("An image is not valid base64.", field="content") from error


def open_image(data: bytes) -> Any:
    """An encoded image as an RGB PIL image."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise Invalid("An image cannot be decoded.", field="content") from error
