"""What an API operation takes: declared beside its view, read before the view runs, documented by `openapi`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, TypeVar, get_origin

from flask import request
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from assistant.desk import idempotency
from assistant.desk.access import Scope
from assistant.desk.idempotency import AlreadyDone, Once
from assistant.errors import Invalid, Unsupported
from assistant.media.files import Upload
from assistant.web import auth, bodies, repeats

Model = TypeVar("Model", bound=BaseModel)
View = Callable[..., Any]

IDEMPOTENCY_KEY = "Idempotency-Key"
IF_MATCH = "If-Match"
_VERSION = re.compile(r'"\d{1,19}"')
MAPS = ("fields.", "context.")  # what the names of parts of a form begin with
_KEY = re.compile(r"[!-~]{1,200}")
# Kinds of errors in words of JSON instead of Python's.
_SAID = {
    "tuple_type": "Input should be a list",
    "dict_type": "Input should be an object",
    "model_type": "Input should be an object",
}


@dataclass(frozen=True)
class Operation:
    """A decorator for views, which get what it declares as keyword arguments.

    * ``scope``: the view gets the ``machine`` whose key has it, or one of several; None: no key is needed.
    * ``any_key``: the view gets the ``machine``, whatever scopes its key has.
    * ``optional_key``: the view itself decides whether a key is needed.
    * ``body``, ``query``: the view gets one of these models.
    * ``files``: the body may be a form, and the view gets its ``files``; without a ``body``, it must be one.
    * ``makes``: the view makes something, and gets what it must note in the same transaction: ``once``, or None.
    * ``stores``: whether it stores anything. What does so may be sent again with the same Idempotency-Key.
    * ``repeatable``: a repetition is answered with 200 instead of 201.
    * ``versioned``: the view gets the ``expected`` version of what it changes, or None.
    * ``runs_model``: a model runs while the caller waits.
    * ``unavailable``: may answer 503 although it needs no key.
    * ``refuses``: statuses of refusals that do not follow from the rest.
    """

    tag: Literal[
        "Tickets", "Triage", "Drafts", "Knowledge", "People", "Events", "Webhooks", "Settings", "Keys", "Health"
    ]
    scope: Scope | tuple[Scope, ...] | None = None
    any_key: bool = False
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    files: bool = False
    makes: bool = False
    stores: bool = True
    repeatable: bool = False
    versioned: bool = False
    runs_model: bool = False
    optional_key: bool = False
    unavailable: bool = False
    refuses: tuple[int, ...] = ()

    def __call__(self, view: View) -> View:
        @wraps(view)
        def run(**path: str) -> Any:
            arguments = self._arguments()
            once = self._once(arguments)
            if once is not None:
                answer = repeats.answer_of(once, path)
                if answer is not None:
                    return answer
            if self.makes:
                arguments["once"] = once
            try:
                return view(**arguments, **path)
            except AlreadyDone:
                if once is None:
                    raise
                return repeats.awaited(once, path)

        vars(run)["operation"] = self
        return run

    def _arguments(self) -> dict[str, Any]:
        """The key is checked first: a caller without the scope learns nothing else."""
        arguments: dict[str, Any] = {}
        if self.needs_key and not self.optional_key:
            arguments["machine"] = auth.machine(*self.scopes)
        if self.query is not None:
            arguments["query"] = _validate(self.query, request.args.to_dict())
        if self.body is not None:
            arguments["body"] = _read_body(self.body, files=self.files)
        if self.files:
            if self.body is None:
                _require_form_of_files()
            arguments["files"] = _read_uploads()
        if self.versioned:
            arguments["expected"] = _read_version()
        return arguments

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The key needs one of them."""
        return (self.scope,) if isinstance(self.scope, Scope) else self.scope or ()

    @property
    def needs_key(self) -> bool:
        return self.scope is not None or self.any_key

    @property
    def takes_body(self) -> bool:
        return self.body is not None or self.files

    def is_repeatable(self, method: str) -> bool:
        """Whether it heeds an Idempotency-Key."""
        return self.scope is not None and self.stores and method.upper() in ("POST", "PUT", "PATCH", "DELETE")

    def _once(self, arguments: Mapping[str, Any]) -> Once | None:
        """What makes this request the same as another. None if its client does not care."""
        if not self.is_repeatable(request.method) or (key := _read_idempotency_key()) is None:
            return None
        body: BaseModel | None = arguments.get("body")
        uploads: Sequence[Upload] = arguments.get("files", ())
        files = ((one.filename, hashlib.sha256(one.data).digest()) for one in uploads)
        # What is not given is left out, so that a field that a new version knows does not make it another request.
        said = body.model_dump_json(exclude_defaults=True) if body is not None else None
        parts = (request.method, request.path, said, *files)
        return Once(arguments["machine"].key_id, key, idempotency.fingerprint(parts))


def operation_of(view: View) -> Operation | None:
    return getattr(view, "operation", None)


def _read_body(model: type[Model], *, files: bool) -> Model:
    """The request's JSON, or form where ``files``."""
    if request.mimetype != bodies.FORM:
        return _validate(model, bodies.read_json(or_form=files))
    if not files:
        raise Unsupported("Send application/json.")
    return _validate(model, _read_form(model))


def _require_form_of_files() -> None:
    if request.mimetype != bodies.FORM:
        raise Unsupported(f"Send {bodies.FORM}.")
    for name in request.form:
        raise Invalid(f"{name}: only files are taken here.", field=name or None)


def _read_form(model: type[BaseModel]) -> dict[str, Any]:
    """The form's fields in the JSON's shape: ``requester_name`` is ``requester.name``; ``fields.paid`` and
    ``context.order`` as they say; a list's values are as many fields of its name."""
    data: dict[str, Any] = {}
    for name, value in request.form.items():
        if not name:  # None where a part of the form has no name
            raise Invalid("Every part of the form needs a name.")
        if name in model.model_fields and is_list(model.model_fields[name]):
            data[name] = request.form.getlist(name)
            continue
        owner, _, part = name.partition("." if name.startswith(MAPS) else "_")
        if part and owner in ("requester", "fields", "context"):
            data.setdefault(owner, {})[part] = value
        else:
            data[name] = value
    return data


def is_list(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple


def _read_uploads() -> tuple[Upload, ...]:
    """Every file of the form, whatever its field is called: none is silently ignored."""
    return tuple(
        Upload(file.filename or "photo", file.mimetype or None, file.read())
        for _, file in request.files.items(multi=True)
    )


def _read_version() -> str | None:
    given = request.headers.get(IF_MATCH)
    if given is None or given.strip() == "*":
        return None
    if not _VERSION.fullmatch(given.strip()):
        raise Invalid(f"{IF_MATCH} must be the ETag that came with what you read.", field=IF_MATCH)
    return given.strip().strip('"')


def _read_idempotency_key() -> str | None:
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not _KEY.fullmatch(key):
        raise Invalid(f"{IDEMPOTENCY_KEY} must be 1 to 200 visible ASCII characters.", field=IDEMPOTENCY_KEY)
    return key


def _validate(model: type[Model], data: dict[str, Any]) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:100]
        reason = _SAID.get(first["type"], first["msg"].removeprefix("Value error, "))
        raise Invalid(f"{field}: {reason}.", field=field or None) from error
