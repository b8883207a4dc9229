"""The server's model as a LangChain chat model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import PrivateAttr

from assistant.engine.remote.server import ModelServer
from assistant.tracing import headers


class RemoteChatModel(ChatOpenAI):
    """LangChain's client, going through `ModelServer`. Images, ``response_format``, ``logprobs``, ``stop`` and usage
    work as usual; ``timeout`` is in seconds, for the whole answer. Created by `remote_chat_model`."""

    _server: ModelServer = PrivateAttr()

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        ask = partial(super()._generate, messages, stop, run_manager, extra_headers=headers(), **kwargs)
        return self._server.call(lambda limits: ask(timeout=limits), timeout=timeout)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        *,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        ask = partial(super()._stream, messages, stop, run_manager, extra_headers=headers(), **kwargs)
        return self._server.stream(lambda limits: ask(timeout=limits), is_last=_is_last, timeout=timeout)

    # In a thread, through the above: the client's own methods would bypass the breaker.
    _agenerate = BaseChatModel._agenerate
    _astream = BaseChatModel._astream


def remote_chat_model(server: ModelServer) -> RemoteChatModel:
    model = RemoteChatModel(
        model=server.model,
        base_url=server.url,
        api_key=server.key,
        max_retries=0,  # `ModelServer` has its own
        temperature=0.0,
        stream_usage=True,
        use_responses_api=False,
    )
    model._server = server
    return model


def _is_last(chunk: ChatGenerationChunk) -> bool:
    return (chunk.generation_info or {}).get("finish_reason") is not None
