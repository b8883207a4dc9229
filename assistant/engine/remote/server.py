"""One OpenAI-compatible model server (vLLM, llama.cpp, `transformers serve`), and the only way to it.

`ModelServer` stands between the product and the network: every request has a deadline, passing failures are retried,
and a server that keeps failing is left alone for a while, during which every call fails at once, so answers are quoted
without delay. Whatever goes wrong is an `EngineError`. What is asked, and what is done instead, is up to the caller.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from itertools import chain
from typing import Any, TypeVar

import openai
import structlog
import tenacity

from assistant.engine.remote.breaker import Breaker, Permit, State
from assistant.errors import EngineBusy, EngineError, EngineFailed, EngineTimeout
from assistant.settings import Settings
from assistant.tracing import model_call

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Seconds to connect: a machine that is up answers within milliseconds, even through a VPN.
_CONNECT = 3.0
_ATTEMPTS = 3
# Full jitter: a random wait of up to 0.5 s, then up to 1 s (Brooker, "Exponential Backoff and Jitter", AWS 2015).
_BACK_OFF = tenacity.wait_random_exponential(multiplier=0.5, max=4.0)
# If the server asks for a longer pause than this, the customer gets a quoted answer instead.
_PATIENCE = 5.0
# One call to a dead server and half of the next one open the breaker.
_FAILURES = 5
_COOL_DOWN = 15.0
# The result of a check of the server holds for so many seconds.
_CHECKED = 10.0
_TRY_AGAIN = " Please try again."


class RequestRejected(EngineFailed):
    """The server works, but rejects this request: it is too long, or has options that the server does not know."""


class ModelServer:
    """Deadlines, retries and the circuit breaker for one server. Safe to use from several threads."""

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
        """What ``ask`` returns; it makes one request within the time it is given. Raises `EngineError`."""
        with model_call(self.model):
            permit, result = self._attempt(ask, _Deadline(timeout or self.timeout))
        self._record_success(permit)
        return result

    def stream(
        self,
        ask: Callable[[openai.Timeout], Iterator[T]],
        *,
        is_last: Callable[[T], bool],
        timeout: float | None = None,
    ) -> Iterator[T]:
        """The same, piece by piece. Retried only before the first piece; a stream that ends without its last piece has
        broken off. Raises `EngineTimeout` at the first piece after the deadline."""
        with model_call(self.model):
            yield from self._stream(ask, is_last, _Deadline(timeout or self.timeout))

    def _stream(
        self, ask: Callable[[openai.Timeout], Iterator[T]], is_last: Callable[[T], bool], deadline: _Deadline
    ) -> Iterator[T]:
        permit, (first, pieces) = self._attempt(lambda limits: _start(ask(limits)), deadline)
        try:
            with closing(pieces):
                yield from _until_last(chain([first], pieces), deadline, is_last)
        except GeneratorExit:  # the reader left; the server was answering
            self._record_success(permit)
            raise
        except Exception as error:
            raise self._record_failure(permit, error) from error
        self._record_success(permit)

    def trouble(self) -> str | None:
        """Why the model cannot answer now, or None. Asks the server, briefly and rarely, if nothing is known."""
        wait = self.breaker.wait()
        if self.breaker.state is not State.CLOSED:
            again = f"Next attempt in {math.ceil(wait)} s." if wait else "The next request is another attempt."
            return f"{self._last_failure} Answers are quoted meanwhile. {again}"
        checked_at, found = self._checked
        if time.monotonic() - checked_at < _CHECKED:
            return found
        self._checked = (time.monotonic(), found)  # other callers meanwhile get the previous result
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
                return []  # servers need not offer this list
            raise _as_engine_error(error) from error
        except Exception as error:
            raise _as_engine_error(error) from error

    def close(self) -> None:
        self._client.close()

    @cached_property
    def _client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.url, api_key=self.key, max_retries=0)

    def _attempt(self, ask: Callable[[openai.Timeout], T], deadline: _Deadline) -> tuple[Permit, T]:
        """Ask until it succeeds or may not be retried. The outcome for the permit is still to be recorded."""
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS) | tenacity.stop_before_delay(deadline.left()),
            wait=_pause,
            retry=tenacity.retry_if_exception(self._is_worth_retrying),
            sleep=self._sleep,
            reraise=True,
        )
        return retrying(self._once, ask, deadline)

    def _once(self, ask: Callable[[openai.Timeout], T], deadline: _Deadline) -> tuple[Permit, T]:
        permit = self._enter()
        try:
            if permit.is_trial:
                self.models()  # a quick request: no customer's question waits to learn that the server is down
            left = deadline.left()
            return permit, ask(openai.Timeout(left, connect=min(_CONNECT, left)))
        except Exception as error:
            raise self._record_failure(permit, error) from error
        except BaseException:
            self.breaker.gave_up(permit)
            raise

    def _enter(self) -> Permit:
        permit = self.breaker.enter()
        if permit is None:
            wait = max(self.breaker.wait(), 0.1)
            raise EngineBusy(f"{self._last_failure} Next attempt in {math.ceil(wait)} s.", retry_after=wait)
        return permit

    def _is_worth_retrying(self, error: BaseException) -> bool:
        """The connection or the server failed, the server does not ask for a long pause, and the breaker is closed."""
        cause = error.__cause__
        if self.breaker.state is not State.CLOSED:
            return False
        if isinstance(cause, openai.APIStatusError):
            is_temporary = cause.status_code == 429 or cause.status_code >= 500
            return is_temporary and (_retry_after(cause) or 0.0) <= _PATIENCE
        return isinstance(cause, openai.APIConnectionError)

    def _record_success(self, permit: Permit) -> None:
        if self.breaker.succeeded(permit):
            log.info("remote.recovered")

    def _record_failure(self, permit: Permit, error: Exception) -> EngineError:
        """Tell the breaker; the failure in our own terms."""
        typed = _as_engine_error(error)
        if isinstance(typed, RequestRejected):
            self._record_success(permit)
            return typed
        self._last_failure = typed.message.removesuffix(_TRY_AGAIN)
        if isinstance(typed, EngineBusy):
            if typed.retry_after > _PATIENCE:
                self.breaker.rest(permit, typed.retry_after)
            else:
                self._record_success(permit)
        elif self.breaker.failed(permit):
            log.warning("remote.breaker_opened", reason=self._last_failure, error=type(error).__name__)
        return typed


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds; never zero, with which a request could not even fail."""
        return max(0.01, self._at - time.monotonic())

    def check(self) -> None:
        if time.monotonic() >= self._at:
            raise EngineTimeout(f"The model server did not finish in time.{_TRY_AGAIN}")


def _start(pieces: Iterator[T]) -> tuple[T, Any]:
    """The first piece and the rest. Once there is a first piece, the server is known to answer."""
    try:
        return next(pieces), pieces
    except StopIteration:
        raise EngineFailed(f"The model server sent an empty answer.{_TRY_AGAIN}") from None


def _until_last(pieces: Iterator[T], deadline: _Deadline, is_last: Callable[[T], bool]) -> Iterator[T]:
    """The pieces; an error if they are late or the last one is missing."""
    complete = False
    for piece in pieces:
        deadline.check()
        complete = complete or is_last(piece)
        yield piece
    if not complete:
        raise EngineFailed(f"The model server broke off its answer.{_TRY_AGAIN}")


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds until the next attempt: what the server asks for, plus the back-off."""
    cause = state.outcome.exception().__cause__ if state.outcome is not None else None  # type: ignore[union-attr]
    asked = _retry_after(cause) if isinstance(cause, openai.APIStatusError) else None
    return (asked or 0.0) + _BACK_OFF(state)


def _retry_after(error: openai.APIStatusError) -> float | None:
    """Seconds, from the header of that name: a number or a date (RFC 9110, 10.2.3)."""
    value = error.response.headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _as_engine_error(error: Exception) -> EngineError:
    """Any failure in our own terms, safe to show: no address, no key, none of the server's text."""
    if isinstance(error, EngineError):
        return error
    if isinstance(error, openai.APITimeoutError):
        return EngineTimeout(f"The model server did not respond in time.{_TRY_AGAIN}")
    if isinstance(error, openai.APIStatusError):
        return _of_status(error)
    if isinstance(error, openai.APIConnectionError):
        return EngineFailed(f"The model server cannot be reached.{_TRY_AGAIN}")
    if isinstance(error, openai.LengthFinishReasonError | openai.ContentFilterFinishReasonError):
        return RequestRejected("The model server did not finish its answer.")
    return EngineFailed(f"The model server sent an answer that cannot be understood.{_TRY_AGAIN}")


def _of_status(error: openai.APIStatusError) -> EngineError:
    if error.status_code == 429:
        return EngineBusy("The model server is overloaded.", retry_after=_retry_after(error) or 1.0)
    if error.status_code in (401, 403):
        return EngineFailed("The model server rejects the key in ASSISTANT_REMOTE_API_KEY.")
    if error.status_code == 404:
        return EngineFailed("The model server does not know the model in ASSISTANT_REMOTE_MODEL.")
    if error.status_code < 500:
        return RequestRejected("The model server rejected the request.")
    return EngineFailed(f"The model server failed.{_TRY_AGAIN}")
