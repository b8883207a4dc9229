"""What `assistant.client` says of the API's answers: typed dictionaries, written from the OpenAPI document, by
`make client`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

_HEAD = '''"""What the API answers, as plain dictionaries: written from its OpenAPI document by `make client`.

Times are texts as ISO 8601 has them, in UTC; `datetime.fromisoformat` reads them.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict
'''
_SIMPLE = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
_FEW = 5  # fields that two models may share by chance
Schema = Mapping[str, Any]
Fields = dict[str, str]


def render(document: Schema) -> str:
    """The module's text, not formatted yet."""
    models: Schema = document["components"]["schemas"]
    names = sorted(_answers(document))
    shapes = {name: _fields(models[name]) for name in names if "properties" in models[name]}
    literals = [f"{name} = {_type(models[name])}" for name in names if name not in shapes]
    # The smaller ones first: what others extend stands before them.
    ordered = sorted(shapes, key=lambda name: (len(shapes[name]), name))
    return "\n".join([_HEAD, *literals, *(_class(name, shapes) for name in ordered)])


def _answers(document: Schema) -> set[str]:
    """Names of the models that anything but a check of health answers with, and of those in them."""
    models, found = document["components"]["schemas"], set[str]()
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    answers = [
        operation["responses"][status]
        for operation in operations
        if operation.get("tags") != ["Health"]
        for status in operation["responses"]
        if status.startswith("2")
    ]
    waiting = set(_references(answers))
    while waiting:
        found |= waiting
        waiting = {name for one in waiting for name in _references(models[one])} - found
    return found


def _references(part: object) -> Iterator[str]:
    if isinstance(part, Mapping):
        if "$ref" in part:
            yield part["$ref"].rpartition("/")[2]
        for inner in part.values():
            yield from _references(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _references(inner)


def _fields(model: Schema) -> Fields:
    return {name: _type(schema) for name, schema in model["properties"].items()}


def _class(name: str, shapes: Mapping[str, Fields]) -> str:
    """It extends the largest of those that have nothing but what it has."""
    own = shapes[name]
    within = [one for one, has in shapes.items() if _FEW <= len(has) < len(own) and has.items() <= own.items()]
    base = max(within, key=lambda one: len(shapes[one]), default=None)
    inherited = shapes[base] if base is not None else {}
    lines = [f"    {field}: {kind}" for field, kind in own.items() if field not in inherited]
    return "\n".join([f"\n\nclass {name}({base or 'TypedDict'}):", *lines])


def _type(schema: Schema) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(map(_type, schema["anyOf"])))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return f"Literal[{', '.join(json.dumps(value) for value in values)}]"
    if schema.get("type") == "array":
        parts = [_type(part) for part in schema.get("prefixItems", [schema.get("items", {})])]
        return f"list[{' | '.join(dict.fromkeys(parts))}]"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {_type(values) if isinstance(values, Mapping) else 'Any'}]"
    return _SIMPLE.get(schema.get("type", ""), "Any")


if __name__ == "__main__":
    sys.stdout.write(render(json.load(sys.stdin)) + "\n")
