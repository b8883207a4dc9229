"""The OpenAPI document: APIFlask collects paths and answers from the views, what it cannot see is put in here."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import BaseModel

from assistant.web import schemas
from assistant.web.schemas import Problem

# (path, method) to the model of the request body, and whether it may come as a form with photos.
_BODIES: dict[tuple[str, str], tuple[type[BaseModel], bool]] = {
    ("/api/v1/tickets", "post"): (schemas.NewTicket, True),
    ("/api/v1/tickets/{ticket_id}", "patch"): (schemas.TicketChange, False),
    ("/api/v1/tickets/{ticket_id}/messages", "post"): (schemas.NewMessage, True),
    ("/api/v1/tickets/{ticket_id}/triage/{name}", "patch"): (schemas.FieldDecision, False),
    ("/api/v1/tickets/{ticket_id}/drafts/{draft_id}/send", "post"): (schemas.DraftDecision, False),
    ("/api/v1/triage", "post"): (schemas.TicketText, True),
}
_QUERIES: dict[str, type[BaseModel]] = {
    "/api/v1/tickets": schemas.TicketQuery,
    "/api/v1/articles/search": schemas.ArticleQuery,
    "/api/v1/attachments/{attachment_id}": schemas.AttachmentQuery,
    "/api/v1/figures/{figure_id}": schemas.AttachmentQuery,
}
# Opening and adding answer 200 instead of 201 when they have been done before.
_REPEATABLE = {"/api/v1/tickets", "/api/v1/tickets/{ticket_id}/messages"}
# These run a model while the caller waits.
_SLOW = {("/api/v1/triage", "post"), ("/api/v1/tickets/{ticket_id}/triage", "post")}
_PROBLEMS = {
    400: "The request cannot be understood: malformed JSON or form.",
    401: "No API key, or one that is unknown or revoked.",
    403: "The key lacks the scope that this needs.",
    404: "There is no such thing, or it is not yours.",
    405: "This address does not take this method; `Allow` names those that it takes.",
    409: "It is no longer in the state that this needs, or the Idempotency-Key was used for another request.",
    413: "A file or the whole request is too large.",
    415: "A content type or image format that is not taken.",
    422: "A value breaks a rule; `field` names it.",
    429: "Too many requests; `Retry-After` says in how many seconds to come back.",
    503: "A part of the installation cannot answer now; `detail` says which.",
    504: "The model did not answer in time.",
}
_TAGS = {
    "Tickets": "What customers wrote and sent, and where it stands.",
    "Triage": "What the assistant proposes for a ticket, each field with a probability.",
    "Drafts": "Proposed replies with citations, waiting to be sent.",
    "Knowledge": "The articles that answers stand on.",
    "Health": "For whatever watches over the installation.",
}
# Who may ask without a key: everyone, or this machine.
_OPEN: dict[str, list[dict[str, list[str]]]] = {"/livez": [], "/readyz": [], "/metrics": [{}, {"key": []}]}
_METHODS = ("get", "post", "put", "patch", "delete")
_ABOUT = (
    "Every refusal is a problem document (RFC 9457, `application/problem+json`) with a stable `code`. A method that an "
    "address does not take is answered with 405, an unknown address with 404. What a model read, decided or wrote says "
    "which `model` in which `mode` it was: `no_vlm`, `small_vlm`, `full_vlm` or `remote`."
)


def complete(document: dict[str, Any] | str) -> dict[str, Any] | str:
    """APIFlask's document (a dict, as we ask for JSON) with bodies, parameters, problems and the security scheme."""
    assert isinstance(document, dict)  # noqa: S101
    document = _with_shared_schemas(document)
    document["info"]["description"] = _ABOUT
    document["security"] = [{"key": []}]
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items()]
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key, made by `assistant keys add`."}
    }
    models = components.setdefault("schemas", {})
    _add_schema(models, Problem)
    components["responses"] = {f"Problem{status}": _problem(status, text) for status, text in _PROBLEMS.items()}
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                _complete_operation(operations[method], path, method, models)
    return document


def _with_shared_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """One component for each model: APIFlask makes a copy, `Ticket.Message`, for every model that refers to it."""
    text = re.sub(r"(?<=#/components/schemas/)\w+\.", "", json.dumps(document))
    shared: dict[str, Any] = json.loads(text)
    models = shared["components"]["schemas"]
    shared["components"]["schemas"] = {name.rpartition(".")[2]: models[name] for name in sorted(models)}
    return shared


def _complete_operation(operation: dict[str, Any], path: str, method: str, models: dict[str, Any]) -> None:
    parameters, responses = operation.setdefault("parameters", []), operation["responses"]
    if (path, method) in _BODIES:
        model, with_photos = _BODIES[path, method]
        operation["requestBody"] = _request_body(model, models, with_photos=with_photos)
    if path in _QUERIES and method == "get":
        parameters.extend(_parameters(_QUERIES[path]))
    if method == "post" and path in _REPEATABLE:
        responses["200"] = {**responses["201"], "description": "It had been done before: the same answer as then."}
    if (path, method) == ("/api/v1/tickets", "post"):
        parameters.append(_idempotency_key())
        replayed = {"schema": {"type": "string", "const": "true"}, "description": "It had been sent before."}
        responses["200"] = {**responses["200"], "headers": {"Idempotent-Replayed": replayed}}
    for parameter in parameters:
        if parameter["in"] == "path" and parameter["name"].endswith("_id"):
            parameter["schema"] = {"type": "string", "pattern": "^[a-z]{3,4}_[0-9a-z]{20}$"}
    if path in _OPEN:
        operation["security"] = _OPEN[path]
    for status in _problems_of(operation, path, method):
        responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}


def _problems_of(operation: dict[str, Any], path: str, method: str) -> list[int]:
    """The statuses of problems that this operation can answer with."""
    if not path.startswith("/api/"):
        return {"/livez": [], "/readyz": [503], "/metrics": [401, 403, 503]}[path]
    statuses = {401, 403, 429, 503}
    if "{" in path:
        statuses.add(404)
    if any(parameter["in"] == "query" for parameter in operation["parameters"]):
        statuses.add(422)
    if method != "get" and path != "/api/v1/triage":
        statuses.add(409)
    if "requestBody" in operation:
        statuses |= {400, 413, 415, 422}
    if (path, method) in _SLOW:
        statuses.add(504)
    return sorted(statuses)


def _problem(status: int, description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    response: dict[str, Any] = {"description": description, "content": content}
    if status == 429:
        response["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "required": True}}
    return response


def _request_body(model: type[BaseModel], models: dict[str, Any], *, with_photos: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"application/json": {"schema": _add_schema(models, model)}}
    if with_photos:
        content["multipart/form-data"] = {"schema": _form_schema(model)}
    return {"required": bool(model.model_json_schema().get("required")), "content": content}


def _form_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The fields as form fields; `requester.name` is `requester_name`."""
    schema = model.model_json_schema()
    fields: dict[str, Any] = {}
    for name, definition in schema["properties"].items():
        if name == "requester":
            requester = schema["$defs"]["Requester"]["properties"]
            fields |= {f"requester_{part}": _not_null(inner) for part, inner in requester.items()}
        else:
            fields[name] = _not_null(definition)
    fields["photos"] = {"type": "array", "items": {"type": "string", "format": "binary"}}
    form = {"type": "object", "properties": fields, "additionalProperties": False}
    return {**form, "required": schema["required"]} if "required" in schema else form


def _not_null(definition: dict[str, Any]) -> dict[str, Any]:
    """A form has no null: what may be null may be left out."""
    options = [option for option in definition.get("anyOf", ()) if option.get("type") != "null"]
    outer = {key: value for key, value in definition.items() if key not in ("anyOf", "title") and value is not None}
    return {**outer, **options[0]} if options else outer


def _parameters(model: type[BaseModel]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", []),
            "description": definition.get("description", ""),
            "schema": {key: value for key, value in _not_null(definition).items() if key != "description"},
        }
        for name, definition in schema["properties"].items()
    ]


def _idempotency_key() -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"}
    text = "Your own id of this request: sent again under it, the same request opens one ticket."
    return {"name": "Idempotency-Key", "in": "header", "required": False, "description": text, "schema": schema}


def _add_schema(models: dict[str, Any], model: type[BaseModel]) -> dict[str, str]:
    """Put a model and what it refers to under components; returns the reference."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, definition in schema.pop("$defs", {}).items():
        models.setdefault(name, definition)
    models[model.__name__] = schema
    return {"$ref": f"#/components/schemas/{model.__name__}"}
