"""Every error the product raises deliberately.

    AssistantError
    +- Invalid 422            a value breaks a rule; ``field`` names it
    +- Unauthenticated 401    no valid key, token or session
    +- NotAllowed 403         authenticated, but not permitted to do this
    +- NotFound 404           does not exist, or is not yours: deliberately not told apart
    |  +- Gone 410         a file that existed: missing, damaged or withdrawn; ``condition`` says which
    +- Conflict 409           the object is not in a state that allows this
    +- PreconditionFailed 412 it has been changed since it was read
    +- TooLarge 413           over a limit; ``limit`` is its value
    +- Unsupported 415        a content type or file format that is not accepted
    +- Undeliverable 422      a mail that its server will never take
    +- RateLimited 429        too many requests; ``retry_after`` seconds
    +- DeadlinePassed 503     it was not done by the time that whoever asked had set; ``retry_after`` seconds
    +- EngineError 503        the model cannot answer now
       +- EngineBusy 503      the queue is full; ``retry_after`` seconds
       +- EngineTimeout 504   the deadline passed
       +- EngineFailed 503    this generation failed
    +- NotReady 503           a part of the installation is missing; the message says what to do
       +- Unavailable 503     a passing fault: disk full, database locked, storage away; ``retry_after`` seconds

Messages are safe to show to the caller: they never contain a path, a secret or another caller's data. They say what is
wrong and what to do about it.
"""

from __future__ import annotations

from typing import Any, ClassVar

from assistant.wording import Notice


class AssistantError(Exception):
    """Base of the tree. ``code`` is stable and machine-readable, ``status`` the HTTP status.

    Where a customer may read it, the message is a `Notice`, so that it can be told in their language."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str | Notice, **fields: Any) -> None:
        self.notice = message if isinstance(message, Notice) else None
        self.message = str(message)
        super().__init__(self.message)
        self.fields = {name: value for name, value in fields.items() if value is not None}


class Invalid(AssistantError):
    code = "invalid"
    status = 422

    def __init__(self, message: str | Notice, *, field: str | None = None) -> None:
        super().__init__(message, field=field)


class Unauthenticated(AssistantError):
    code = "unauthenticated"
    status = 401


class Unbegun(Unauthenticated):
    """Nobody has begun a session with this token, which is good for one."""

    code = "session_unknown"


class NotAllowed(AssistantError):
    code = "forbidden"
    status = 403


class NotFound(AssistantError):
    code = "not_found"
    status = 404


class Gone(NotFound):
    code = "gone"
    status = 410

    def __init__(self, message: str | Notice, *, condition: str) -> None:
        super().__init__(message, condition=condition)
        self.condition = condition


class Conflict(AssistantError):
    code = "conflict"
    status = 409


class PreconditionFailed(AssistantError):
    code = "precondition_failed"
    status = 412


class TooLarge(AssistantError):
    code = "too_large"
    status = 413

    def __init__(self, message: str | Notice, *, limit: int | None = None) -> None:
        super().__init__(message, limit=limit)


class Unsupported(AssistantError):
    code = "unsupported_media_type"
    status = 415


class Undeliverable(AssistantError):
    code = "undeliverable"
    status = 422


class RateLimited(AssistantError):
    code = "rate_limited"
    status = 429

    def __init__(self, message: str | Notice, *, retry_after: float) -> None:
        super().__init__(message, retry_after=retry_after)
        self.retry_after = retry_after


class NotReady(AssistantError):
    code = "not_ready"
    status = 503


class Unavailable(NotReady):
    """``cause`` is one stable word for operators, e.g. ``disk_full``."""

    code = "unavailable"

    def __init__(self, message: str | Notice, *, cause: str, retry_after: float = 5.0) -> None:
        super().__init__(message, cause=cause, retry_after=retry_after)
        self.cause = cause
        self.retry_after = retry_after


class DeadlinePassed(AssistantError):
    """Whoever asked does not wait any longer."""

    code = "deadline"
    status = 503

    def __init__(self, message: str, *, retry_after: float = 5.0) -> None:
        super().__init__(message, retry_after=retry_after)


class EngineError(AssistantError):
    code = "model_error"
    status = 503


class EngineBusy(EngineError):
    code = "model_busy"

    def __init__(self, message: str | Notice, *, retry_after: float) -> None:
        super().__init__(message, retry_after=retry_after)
        self.retry_after = retry_after


class EngineTimeout(EngineError):
    code = "model_timeout"
    status = 504


class EngineFailed(EngineError):
    code = "model_failed"
