"""The OpenAPI document: paths and responses as APIFlask collects them, the rest as each `Operation` declares it."""

from __future__ import annotations

import json
import re
from typing import Any

from flask import current_app
from pydantic import BaseModel

from assistant.desk.site_context import NAME
from assistant.web import samples
from assistant.web.operations import IDEMPOTENCY_KEY, IF_MATCH, Operation, operation_of
from assistant.web.repeats import REPLAYED
from assistant.web.schemas import Problem

_ABOUT = (
    "Errors are problem documents (RFC 9457, `application/problem+json`) with a stable `code`. Whatever a model read, "
    "decided or wrote names the `model` and its `mode`: `no_vlm`, `small_vlm`, `full_vlm` or `remote`. Times are UTC, "
    "ids are opaque strings, and every field is always present, `null` where there is no value."
)
_TAGS = {
    "Tickets": "Customers' requests, their messages and attachments.",
    "Triage": "What the assistant proposes for a ticket's fields, with probabilities.",
    "Drafts": "Proposed replies with citations, waiting to be sent.",
    "Knowledge": "The articles that answers are based on.",
    "People": "Customers, agents, and what tickets are sorted by.",
    "Events": "What happens to tickets, for whoever asks.",
    "Webhooks": "What happens to tickets, sent to whoever wants to be told.",
    "Settings": "What triage chooses from, and what it has learned.",
    "Keys": "What a key may do.",
    "Health": "For monitoring.",
}
_PROBLEMS = {
    400: "The body is not valid JSON, or the form is malformed.",
    401: "The API key is missing, unknown or revoked.",
    403: "The API key lacks the required scope.",
    404: "It does not exist, or you may not see it.",
    405: "This path does not support the method; `Allow` lists those it supports.",
    409: "It is no longer in the state this requires, or the Idempotency-Key was used for a different request.",
    410: "The file existed, but is lost, withdrawn or removed; `condition` says which.",
    412: "It has been changed since it was read.",
    413: "A file or the whole request is too large.",
    415: "The content type or image format is not supported.",
    422: "A value is invalid; `field` names it.",
    429: "Too many requests; retry after the seconds given in `Retry-After`.",
    503: "A part of the installation is unavailable; `detail` says which. Nothing was changed: try again later.",
    504: "The model did not answer in time.",
}
_METHODS = ("get", "post", "put", "patch", "delete")
_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
_PUBLIC_ID = {"type": "string", "pattern": "^[a-z]{3,4}_[0-9a-z]{20}$"}


def complete(document: dict[str, Any] | str) -> dict[str, Any] | str:
    """APIFlask's document (a dict, as we ask for JSON) with bodies, parameters, problems and the security scheme."""
    assert isinstance(document, dict)  # noqa: S101
    document = _with_shared_schemas(document)
    document["info"]["description"] = _ABOUT
    document["security"] = [{"key": []}]
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items()]
    components = document["components"]
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key from `assistant keys add`."}
    }
    components["responses"] = {f"Problem{status}": _problem(status, text) for status, text in _PROBLEMS.items()}
    models = components["schemas"]
    _add_schema(models, Problem)
    for rule in current_app.url_map.iter_rules():
        view = current_app.view_functions[rule.endpoint]
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in _METHODS:
            described, declared = document["paths"].get(path, {}).get(method), operation_of(view)
            if described is not None and declared is not None and method.upper() in (rule.methods or ()):
                described["operationId"] = _camel_case(view.__name__)
                _complete_operation(described, declared, path, method, models)
    components["schemas"] = dict(sorted(models.items()))
    return document


def _with_shared_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """One component for each model: APIFlask makes a copy, `Ticket.Message`, for every model that refers to it."""
    text = re.sub(r"(?<=#/components/schemas/)\w+\.", "", json.dumps(document))
    shared: dict[str, Any] = json.loads(text)
    models = shared["components"]["schemas"]
    shared["components"]["schemas"] = {name.rpartition(".")[2]: model for name, model in models.items()}
    return shared


def _camel_case(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _complete_operation(
    described: dict[str, Any], declared: Operation, path: str, method: str, models: dict[str, Any]
) -> None:
    described["tags"] = [declared.tag]
    if declared.scope is not None:
        scopes = " or ".join(f"`{scope}`" for scope in declared.scopes)
        described["description"] = f"{described.get('description', '')}\n\nScope: {scopes}.".strip()
    if declared.optional_key or not declared.needs_key:
        described["security"] = [{}, {"key": []}] if declared.optional_key else []
    parameters = described.setdefault("parameters", [])
    for parameter in parameters:
        if parameter["name"].endswith("_id"):
            parameter["schema"] = _PUBLIC_ID
    parameters.extend(_parameters(declared, method, models))
    if declared.takes_body:
        described["requestBody"] = _request_body(declared.body, models, files=declared.files)
    responses = described["responses"]
    if declared.repeatable:
        responses["200"] = {**responses["201"], "description": "A repetition: what was done before."}
    if declared.is_repeatable(method):
        replayed = {"schema": {"type": "string", "const": "true"}, "description": "The request was sent before."}
        for status in responses.keys() & {"200", "201", "202", "204"}:
            responses[status].setdefault("headers", {})[REPLAYED] = replayed
    for status in _problem_statuses(declared, path, method):
        responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    described["x-codeSamples"] = [{"lang": "Shell", "source": samples.curl(declared, path, method, responses)}]


def _problem_statuses(declared: Operation, path: str, method: str) -> list[int]:
    possible = {
        401: declared.needs_key,
        403: declared.scope is not None,
        404: "{" in path,
        409: declared.is_repeatable(method),
        410: "/attachments/" in path or "/figures/" in path,
        412: declared.versioned,
        422: declared.is_repeatable(method) or declared.takes_body or declared.query is not None,
        429: path.startswith("/api/"),
        503: declared.needs_key or declared.unavailable,
        504: declared.runs_model,
    }
    possible |= dict.fromkeys((400, 413, 415), declared.takes_body) | dict.fromkeys(declared.refuses, True)
    return sorted(status for status, applies in possible.items() if applies)


def _problem(status: int, description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    response: dict[str, Any] = {"description": description, "content": content}
    if status == 429:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "required": True}}
    return response


def _request_body(model: type[BaseModel] | None, models: dict[str, Any], *, files: bool) -> dict[str, Any]:
    if model is None:
        form = {"type": "object", "properties": {"files": _FILES}, "required": ["files"], "additionalProperties": False}
        return {"required": True, "content": {"multipart/form-data": {"schema": form}}}
    content: dict[str, Any] = {"application/json": {"schema": _add_schema(models, model)}}
    if files:
        content["multipart/form-data"] = {"schema": _form_schema(model, models)}
    return {"required": bool(model.model_json_schema().get("required")), "content": content}


def _form_schema(model: type[BaseModel], models: dict[str, Any]) -> dict[str, Any]:
    """The fields as form fields; `requester.name` is `requester_name`, custom fields are `fields.KEY`, context is
    `context.NAME`."""
    schema = _schema_of(model, models)
    fields: dict[str, Any] = {}
    patterns: dict[str, Any] = {}
    for name, definition in schema["properties"].items():
        if name == "requester":
            requester = models["NewRequester"]["properties"]
            fields |= {f"requester_{part}": _without_null(inner) for part, inner in requester.items()}
        elif name == "fields":
            patterns[r"^fields\.[a-z][a-z0-9_]{0,39}$"] = {"type": "string", "description": definition["description"]}
        elif name == "context":
            patterns[rf"^context\.{NAME}$"] = {"type": "string", "description": definition["description"]}
        else:
            fields[name] = _without_null(definition)
    fields["photos"] = _FILES
    form: dict[str, Any] = {"type": "object", "properties": fields, "additionalProperties": False}
    if patterns:
        form["patternProperties"] = patterns
    return {**form, "required": schema["required"]} if "required" in schema else form


def _without_null(definition: dict[str, Any]) -> dict[str, Any]:
    """Forms and queries have no null: what may be null may be left out."""
    options = [option for option in definition.get("anyOf", ()) if option.get("type") != "null"]
    outer = {key: value for key, value in definition.items() if key not in ("anyOf", "title") and value is not None}
    return {**outer, **options[0]} if options else outer


def _parameters(declared: Operation, method: str, models: dict[str, Any]) -> list[dict[str, Any]]:
    schema = _schema_of(declared.query, models) if declared.query is not None else {"properties": {}}
    parameters: list[dict[str, Any]] = []
    for name, definition in schema["properties"].items():
        shape = _without_null(definition)
        text, required = shape.pop("description", ""), name in schema.get("required", [])
        parameter = {"name": name, "in": "query", "required": required, "description": text, "schema": shape}
        commas = {"style": "form", "explode": False} if shape.get("type") == "array" else {}
        parameters.append(parameter | commas)
    if declared.is_repeatable(method):
        text = (
            "A key of your own for this request: however often it is sent with it within 24 hours, it is done once and "
            "answered as the first time. Later, 409 tells the `id` of what was made."
        )
        shape = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"}
        header = {"name": IDEMPOTENCY_KEY, "in": "header", "required": False, "description": text, "schema": shape}
        parameters.append(header)
    if declared.versioned:
        text = "The `ETag` with which you read it: 412 if it has been changed since."
        shape = {"type": "string", "pattern": r'^("\d{1,19}"|\*)$'}
        parameters.append({"name": IF_MATCH, "in": "header", "required": False, "description": text, "schema": shape})
    return parameters


def _add_schema(models: dict[str, Any], model: type[BaseModel]) -> dict[str, str]:
    """Put a model under components; returns the reference."""
    models[model.__name__] = _schema_of(model, models)
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _schema_of(model: type[BaseModel], models: dict[str, Any]) -> dict[str, Any]:
    """A model's schema; what it refers to is put under components."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, definition in schema.pop("$defs", {}).items():
        known = models.setdefault(name, definition)
        if known.get("properties", {}).keys() != definition.get("properties", {}).keys():
            raise ValueError(f"two models are called {name}: one would be described by the other's fields")
    return schema
