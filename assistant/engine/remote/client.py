"""The model on an OpenAI-compatible server (vLLM, llama.cpp, `transformers serve`), behind the interfaces that the
engine in this process has.

`ModelServer` stands between the product and the network: every request has a deadline, what may pass is tried again,
and a server that keeps failing is left alone for a while, in which every call fails at once, so that answers are quoted
without waiting. Whatever goes wrong is an `EngineError`. What is asked, and what is done without it, is not its matter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from itertools import chain
from string import ascii_uppercase
from typing import Any, TypeVar

import openai
import structlog
import tenacity
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from pydantic import PrivateAttr

from assistant.engine.batching.decisions import check_questions, normalised
from assistant.engine.remote.breaker import Breaker, Permit, State
from assistant.errors import EngineBusy, EngineError, EngineFailed, EngineTimeout
from assistant.ports import Decision, Question, image_block
from assistant.settings import Settings

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Seconds to connect in: a machine that is there answers within milliseconds, also through a VPN.
_CONNECT = 3.0
_ATTEMPTS = 3
# Full jitter: a random wait of up to 0.5 s, then up to 1 s (Brooker, "Exponential Backoff and Jitter", AWS 2015).
_BACK_OFF = tenacity.wait_random_exponential(multiplier=0.5, max=4.0)
# A server that wants to be left alone for longer is: the customer gets the quoted answer instead.
_PATIENCE = 5.0
# One call to a dead server and half of the next open the breaker.
_FAILURES = 5
_COOL_DOWN = 15.0
# What a check of the server says is believed for so many seconds.
_CHECKED = 10.0
# What the chosen option gets when a server tells its choice but not how sure it is.
_UNSTATED = 0.7
# So much of the probability must lie on the letters of options for it to mean anything.
_LEAST_MASS = 0.05
# Requests to a server at a time: it batches them.
_AT_ONCE = 8


class NotTaken(EngineFailed):
    """The server is well, but does not take this request: too long, or with options that it does not know."""


class ModelServer:
    """The way to one server: deadlines, retries, and the breaker. Safe to use from several threads."""

    def __init__(
        self, settings: Settings, *, breaker: Breaker | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.url = settings.remote_url
        self.model = settings.remote_model or ""
        key = settings.remote_api_key
        self.key = key.get_secret_value() if key is not None else "none"
        self.timeout = settings.engine_timeout
        self.breaker = breaker or Breaker(failures=_FAILURES, cool_down=_COOL_DOWN)
        self._sleep = sleep
        self._last_failure = ""
        self._checked: tuple[float, str | None] = (-math.inf, None)

    def call(self, ask: Callable[[openai.Timeout], T], *, timeout: float | None = None) -> T:
        """What ``ask`` returns, which makes one request within the time it is given. Raises `EngineError`."""
        permit, result = self._attempt(ask, _Deadline(timeout or self.timeout))
        self._succeeded(permit)
        return result

    def stream(
        self,
        ask: Callable[[openai.Timeout], Iterator[T]],
        *,
        is_last: Callable[[T], bool],
        timeout: float | None = None,
    ) -> Iterator[T]:
        """The same, piece by piece. Tried again only before the first piece; a stream that ends without its last one
        has broken off. Ends with `EngineTimeout` at the first piece after the deadline."""
        deadline = _Deadline(timeout or self.timeout)
        permit, (first, pieces) = self._attempt(lambda limits: _begun(ask(limits)), deadline)
        try:
            with closing(pieces):
                yield from _complete(chain([first], pieces), deadline, is_last)
        except GeneratorExit:  # the reader went away, from a server that answered
            self._succeeded(permit)
            raise
        except Exception as error:
            raise self._failed(permit, error) from error
        self._succeeded(permit)

    def trouble(self) -> str | None:
        """Why the model cannot answer now, or None. Asks the server, briefly and seldom, if nothing is known of it."""
        wait = self.breaker.wait()
        if self.breaker.state is not State.CLOSED:
            again = f"It is asked again in {math.ceil(wait)} s." if wait else "The next request tries it again."
            return f"{self._last_failure} Answers are quoted meanwhile. {again}"
        checked_at, found = self._checked
        if time.monotonic() - checked_at < _CHECKED:
            return found
        self._checked = (time.monotonic(), found)  # whoever else asks in this moment gets what was known before
        try:
            self.models()
            found = None
        except EngineError as error:
            found = f"{error.message} Answers are quoted meanwhile."
        self._checked = (time.monotonic(), found)
        return found

    def models(self) -> list[str]:
        """The names of the models it serves; none if it does not say. Raises `EngineError` if it does not answer."""
        try:
            reply = self._client.models.with_raw_response.list(timeout=openai.Timeout(_CONNECT)).parse()
            return [model.id for model in reply.data or []]
        except openai.APIStatusError as error:
            if error.status_code < 500 and error.status_code not in (401, 403):
                return []  # it need not know this question
            raise _typed(error) from error
        except Exception as error:
            raise _typed(error) from error

    def close(self) -> None:
        self._client.close()

    @cached_property
    def _client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=0)

    def _attempt(self, ask: Callable[[openai.Timeout], T], deadline: _Deadline) -> tuple[Permit, T]:
        """Ask until it succeeds, or can no longer. What came of the permit is still to be told."""
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS) | tenacity.stop_before_delay(deadline.left()),
            wait=_pause,
            retry=tenacity.retry_if_exception(self._may_pass),
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(self._once, ask, deadline)

    def _once(self, ask: Callable[[openai.Timeout], T], deadline: _Deadline) -> tuple[Permit, T]:
        permit = self._enter()
        try:
            if permit.is_trial:
                self.models()  # a customer's question need not find out, at length, that nobody is there
            left = deadline.left()
            return permit, ask(openai.Timeout(left, connect=min(_CONNECT, left)))
        except Exception as error:
            raise self._failed(permit, error) from error
        except BaseException:
            self.breaker.gave_up(permit)
            raise

    def _enter(self) -> Permit:
        permit = self.breaker.enter()
        if permit is None:
            wait = max(self.breaker.wait(), 0.1)
            raise EngineBusy(f"{self._last_failure} It is asked again in {math.ceil(wait)} s.", retry_after=wait)
        return permit

    def _may_pass(self, error: BaseException) -> bool:
        """Whether a failed attempt is worth another: the line or the server failed, it does not want to be left alone
        for long, and is not left alone."""
        cause = error.__cause__
        if self.breaker.state is not State.CLOSED:
            return False
        if isinstance(cause, openai.APIStatusError):
            passing = cause.status_code == 429 or cause.status_code >= 500
            return passing and (_retry_after(cause) or 0.0) <= _PATIENCE
        return isinstance(cause, openai.APIConnectionError)

    def _succeeded(self, permit: Permit) -> None:
        if self.breaker.succeeded(permit):
            log.info("remote.back")

    def _failed(self, permit: Permit, error: Exception) -> EngineError:
        """Tell the breaker, and say it in our own terms."""
        typed = _typed(error)
        if isinstance(typed, NotTaken):
            self._succeeded(permit)
            return typed
        self._last_failure = typed.message.removesuffix(" Please try again.")
        if isinstance(typed, EngineBusy):
            if typed.retry_after > _PATIENCE:
                self.breaker.rest(permit, typed.retry_after)
            else:
                self._succeeded(permit)
        elif self.breaker.failed(permit):
            log.warning("remote.left_alone", reason=self._last_failure, error=type(error).__name__)
        return typed


class RemoteChatModel(ChatOpenAI):
    """The server's model, by LangChain's client. Images, ``response_format``, ``logprobs``, ``stop`` and usage are as
    there; ``timeout`` is in seconds, for the whole answer. Make one by `remote_chat_model`."""

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
        ask = partial(super()._generate, messages, stop, run_manager, **kwargs)
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
        ask = partial(super()._stream, messages, stop, run_manager, **kwargs)
        return self._server.stream(lambda limits: ask(timeout=limits), is_last=_has_ended, timeout=timeout)

    # In a thread, through the above: the client's own ways would go past the breaker.
    _agenerate = BaseChatModel._agenerate
    _astream = BaseChatModel._astream


def remote_chat_model(server: ModelServer) -> RemoteChatModel:
    model = RemoteChatModel(
        model=server.model,
        base_url=server.url,
        api_key=server.key,
        max_retries=0,  # the server's way has its own
        temperature=0.0,
        stream_usage=True,
        use_responses_api=False,
    )
    model._server = server
    return model


class RemoteDecisions:
    """A `DecisionModel` on an OpenAI-compatible server: one short completion a question."""

    def __init__(self, chat_model: BaseChatModel) -> None:
        self._model = chat_model
        self._takes_logprobs = True

    def decide(self, state: str, photos: Sequence[bytes], questions: Sequence[Question]) -> list[Decision]:
        """Raises `Invalid` for questions that cannot be asked, `EngineError` for the server."""
        check_questions(questions)
        replies = self._letters([[_by_letter(state, photos, question)] for question in questions])
        return [
            by_logprobs(question, reply.response_metadata.get("logprobs"))
            or _by_said(question, str(reply.text))
            or self._by_json(state, photos, question)
            for question, reply in zip(questions, replies, strict=True)
        ]

    def _letters(self, messages: list[list[BaseMessage]]) -> list[BaseMessage]:
        """The first token of each answer, with its log-probabilities if the server takes a request for them."""
        asking = self._model.bind(max_tokens=1)
        together: Any = {"max_concurrency": _AT_ONCE}
        if self._takes_logprobs:
            try:
                return list(asking.bind(logprobs=True, top_logprobs=20).batch(list(messages), together))
            except NotTaken:
                replies = asking.batch(list(messages), together)  # if these are not taken either, it was not for that
                self._takes_logprobs = False
                return list(replies)
        return list(asking.batch(list(messages), together))

    def _by_json(self, state: str, photos: Sequence[bytes], question: Question) -> Decision:
        """By the option that is named in JSON, which says nothing of how sure the model is."""
        schema = {
            "title": "decision",
            "type": "object",
            "properties": {"choice": {"type": "string", "enum": list(question.options)}},
            "required": ["choice"],
            "additionalProperties": False,
        }
        asking = self._model.with_structured_output(schema, method="json_schema")
        try:
            answer = asking.invoke([_by_name(state, photos, question)])
        except OutputParserException as error:
            raise EngineFailed("The model server named none of the options.") from error
        chosen = answer.get("choice") if isinstance(answer, Mapping) else None
        if chosen not in question.options:
            raise EngineFailed("The model server named none of the options.")
        return _unstated(question, chosen)


def by_logprobs(question: Question, logprobs: Any) -> Decision | None:
    """Log-probabilities in OpenAI's form to a decision; None if they are missing or lie on no option's letter."""
    places = (logprobs or {}).get("content") or [{}]
    weights = dict.fromkeys(question.options, 0.0)
    for token in places[0].get("top_logprobs") or []:
        option = _option(question, str(token["token"]))
        if option is not None:
            weights[option] += math.exp(token["logprob"])
    return normalised(question, weights) if sum(weights.values()) >= _LEAST_MASS else None


def _by_said(question: Question, text: str) -> Decision | None:
    """By the letter alone, which says nothing of how sure the model is."""
    option = _option(question, text)
    return _unstated(question, option) if option is not None else None


def _option(question: Question, token: str) -> str | None:
    """The option of a letter, however it is written: " a", "A.", "(A)"."""
    letters = dict(zip(ascii_uppercase, question.options, strict=False))
    return letters.get(token.strip().strip(".()").upper())


def _unstated(question: Question, chosen: str) -> Decision:
    rest = (1 - _UNSTATED) / (len(question.options) - 1)
    return Decision(question.key, {option: _UNSTATED if option == chosen else rest for option in question.options})


def _by_letter(state: str, photos: Sequence[bytes], question: Question) -> HumanMessage:
    last = ascii_uppercase[len(question.options) - 1]
    return _message(state, photos, question, f"Answer with the letter of the best option (A to {last}) only.")


def _by_name(state: str, photos: Sequence[bytes], question: Question) -> HumanMessage:
    return _message(state, photos, question, 'Answer with JSON only: {"choice": "…"}, naming the best option.')


def _message(state: str, photos: Sequence[bytes], question: Question, how: str) -> HumanMessage:
    descriptions = question.descriptions or ("",) * len(question.options)
    lines = [
        f"{letter}. {option}: {described}" if described else f"{letter}. {option}"
        for letter, option, described in zip(ascii_uppercase, question.options, descriptions, strict=False)
    ]
    text = "\n".join([state, "", question.text, *lines, how])
    return HumanMessage(content=[*(image_block(photo) for photo in photos), {"type": "text", "text": text}])


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds; never none at all, with which a request could not even fail."""
        return max(0.01, self._at - time.monotonic())

    def check(self) -> None:
        if time.monotonic() >= self._at:
            raise EngineTimeout("The model server did not finish in time. Please try again.")


def _begun(pieces: Iterator[T]) -> tuple[T, Any]:
    """The first piece and the rest: whoever has it knows that the server answers."""
    try:
        return next(pieces), pieces
    except StopIteration:
        raise EngineFailed("The model server answered with nothing. Please try again.") from None


def _complete(pieces: Iterator[T], deadline: _Deadline, is_last: Callable[[T], bool]) -> Iterator[T]:
    """The pieces in time, or an error if the last one is missing."""
    complete = False
    for piece in pieces:
        deadline.check()
        complete = complete or is_last(piece)
        yield piece
    if not complete:
        raise EngineFailed("The model server broke off. Please try again.")


def _has_ended(chunk: ChatGenerationChunk) -> bool:
    return (chunk.generation_info or {}).get("finish_reason") is not None


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: as long as the server asks for, and the back-off."""
    cause = state.outcome.exception().__cause__ if state.outcome is not None else None  # type: ignore[union-attr]
    asked = _retry_after(cause) if isinstance(cause, openai.APIStatusError) else None
    return (asked or 0.0) + _BACK_OFF(state)


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds, by the header of that name: a number or a date (RFC 9110, 10.2.3)."""
    said = error.response.headers.get("retry-after", "").strip()
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(said) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _typed(error: Exception) -> EngineError:
    """Any failure in our own terms, safe to show: no address, no key, no word of the server's."""
    if isinstance(error, EngineError):
        return error
    if isinstance(error, openai.APITimeoutError):
        return EngineTimeout("The model server did not answer in time. Please try again.")
    if isinstance(error, openai.APIStatusError):
        return _of_status(error)
    if isinstance(error, openai.APIConnectionError):
        return EngineFailed("The model server cannot be reached. Please try again.")
    if isinstance(error, openai.LengthFinishReasonError | openai.ContentFilterFinishReasonError):
        return NotTaken("The model server did not finish its answer.")
    return EngineFailed("The model server did not answer as such servers do. Please try again.")


def _of_status(error: openai.APIStatusError) -> EngineError:
    if error.status_code == 429:
        return EngineBusy("The model server has too much to do.", retry_after=_retry_after(error) or 1.0)
    if error.status_code in (401, 403):
        return EngineFailed("The model server refuses the key in ASSISTANT_REMOTE_API_KEY.")
    if error.status_code == 404:
        return EngineFailed("The model server does not know the model in ASSISTANT_REMOTE_MODEL.")
    if error.status_code < 500:
        return NotTaken("The model server does not take this request.")
    return EngineFailed("The model server failed. Please try again.")
