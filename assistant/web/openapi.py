"""The OpenAPI document: what APIFlask cannot see in the views is put in here."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from assistant.web import schemas
from assistant.web.schemas import Problem

# (path, method) to the model of the request body, and whether it may come as a form with photos.
_BODIES: dict[tuple[str, str], tuple[type[BaseModel], bool]] = {
    ("/api/v1/tickets", "post"): (schemas.TicketIn, True),
    ("/api/v1/tickets/{ticket_id}", "patch"): (schemas.TicketChange, False),
    ("/api/v1/tickets/{ticket_id}/messages", "post"): (schemas.MessageIn, True),
    ("/api/v1/tickets/{ticket_id}/triage/{name}", "patch"): (schemas.FieldDecision, False),
    ("/api/v1/tickets/{ticket_id}/drafts/{draft_id}/send", "post"): (schemas.DraftDecision, False),
    ("/api/v1/triage", "post"): (schemas.TriageIn, True),
}
_QUERIES: dict[str, type[BaseModel]] = {
    "/api/v1/tickets": schemas.TicketQuery,
    "/api/v1/articles": schemas.ArticleQuery,
}
# Opening and adding answer 200 instead of 201 when they have been done before.
_REPEATABLE = ("/api/v1/tickets", "/api/v1/tickets/{ticket_id}/messages")
_PROBLEMS = {
    400: "The request cannot be understood, e.g. malformed JSON.",
    401: "No valid API key.",
    403: "The key lacks the scope.",
    404: "There is no such thing, or it is not yours.",
    405: "This address does not take this method.",
    409: "It is no longer in the state that this needs, or an Idempotency-Key was used for another request.",
    413: "A file or the whole request is too large.",
    415: "A content type or image format that is not taken.",
    422: "A value breaks a rule; `field` names it.",
    429: "Too many requests; `Retry-After` says when to come back.",
    503: "A part of the installation cannot answer now; `detail` says which.",
    504: "The model did not answer in time.",
}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """APIFlask's document with request bodies, query parameters, problems and the security scheme."""
    components = document.setdefault("components", {})
    components["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key, made by `assistant keys add`."}
    }
    document["security"] = [{"key": []}]
    models = components.setdefault("schemas", {})
    _add_schema(models, Problem)
    for path, operations in document.get("paths", {}).items():
        for method, operation in operations.items():
            if method in ("get", "post", "patch", "put", "delete"):
                _complete_operation(operation, path, method, models)
    return document


def _complete_operation(operation: dict[str, Any], path: str, method: str, models: dict[str, Any]) -> None:
    if (path, method) in _BODIES:
        model, with_photos = _BODIES[path, method]
        operation["requestBody"] = _request_body(model, models, with_photos=with_photos)
    if path in _QUERIES and method == "get":
        operation.setdefault("parameters", []).extend(_parameters(_QUERIES[path], models))
    if (path, method) == ("/api/v1/tickets", "post"):
        operation.setdefault("parameters", []).append(_header("Idempotency-Key"))
    if path == "/api/v1/attachments/{attachment_id}":
        operation.setdefault("parameters", []).append(
            {"name": "thumbnail", "in": "query", "schema": {"type": "string", "enum": ["0", "1"]}}
        )
        binary = {"schema": {"type": "string", "format": "binary"}}
        kinds = ("image/jpeg", "image/png", "application/octet-stream")
        operation["responses"]["200"] = {"description": "The bytes", "content": dict.fromkeys(kinds, binary)}
    responses = operation.setdefault("responses", {})
    if method == "post" and path in _REPEATABLE and "201" in responses:
        responses["200"] = {**responses["201"], "description": "It had been done before; this is the same answer."}
    for status, description in _PROBLEMS.items():
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        responses[str(status)] = {"description": description, "content": content}


def _request_body(model: type[BaseModel], models: dict[str, Any], *, with_photos: bool) -> dict[str, Any]:
    reference = {"schema": _add_schema(models, model)}
    content: dict[str, Any] = {"application/json": reference}
    if with_photos:
        content["multipart/form-data"] = {"schema": _form_schema(model)}
    needed = bool(model.model_json_schema().get("required"))
    return {"required": needed, "content": content}


def _form_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The fields as form fields; `requester.name` is `requester_name`."""
    schema = model.model_json_schema()
    properties: dict[str, Any] = {}
    for name in schema["properties"]:
        if name == "requester":
            properties |= {f"requester_{part}": {"type": "string"} for part in ("name", "email", "external_id")}
        else:
            properties[name] = {"type": "string"}
    photos = {"type": "array", "items": {"type": "string", "format": "binary"}}
    return {"type": "object", "properties": {**properties, "photos": photos}, "required": schema.get("required", [])}


def _parameters(model: type[BaseModel], models: dict[str, Any]) -> list[dict[str, Any]]:
    schema = model.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", []),
            "description": definition.get("description", ""),
            "schema": {key: value for key, value in definition.items() if key != "description"},
        }
        for name, definition in schema["properties"].items()
    ]


def _header(name: str) -> dict[str, Any]:
    schema = {"type": "string", "minLength": 1, "maxLength": 200}
    return {"name": name, "in": "header", "required": False, "schema": schema}


def _add_schema(models: dict[str, Any], model: type[BaseModel]) -> dict[str, str]:
    """Put a model and what it refers to under components; returns the reference."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, definition in schema.pop("$defs", {}).items():
        models.setdefault(name, definition)
    models[model.__name__] = schema
    return {"$ref": f"#/components/schemas/{model.__name__}"}
