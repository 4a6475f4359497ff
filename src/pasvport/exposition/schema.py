"""`show schema json`: a JSON schema (draft 4) of what `show info json` and `show stat json` print."""

from __future__ import annotations

import json

from pasvport.exposition.fields import NATURES, ORIGINS, SCOPES
from pasvport.exposition.stat import Kind

_LARGEST_EXACT = (1 << 53) - 1
"""JavaScript's numbers hold no larger whole number exactly."""
_KINDS = {
    "s32": (-(1 << 31), (1 << 31) - 1),
    "s64": (-_LARGEST_EXACT, _LARGEST_EXACT),
    "u32": (0, (1 << 32) - 1),
    "u64": (0, _LARGEST_EXACT),
}


def schema() -> str:
    """The whole schema, in one line."""
    document = {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "oneOf": [_list("Info", {}), _list("Stat", _OBJECT), _ERROR],
        "definitions": _definitions(),
    }
    return json.dumps(document, separators=(",", ":"))


_OBJECT: dict[str, object] = {
    "objType": {"enum": [kind.title for kind in Kind] + ["Unknown"]},
    "proxyId": {"type": "integer", "minimum": 0},
    "id": {"type": "integer", "minimum": 0},
}
_ERROR: dict[str, object] = {
    "title": "Error",
    "type": "object",
    "properties": {"errorStr": {"type": "string"}},
    "required": ["errorStr"],
}


def _list(title: str, extra: dict[str, object]) -> dict[str, object]:
    properties = extra | {
        "field": _reference("field"),
        "processNum": _reference("processNum"),
        "tags": _reference("tags"),
        "value": _reference("typedValue"),
    }
    item: dict[str, object] = {"type": "object", "properties": properties, "required": list(properties)}
    # `show info` is a list of fields, `show stat` a list of objects with a list of fields each.
    items = {"type": "array", "items": item} if extra else item
    return {"title": title, "type": "array", "items": items}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/definitions/{name}"}


def _words(words: dict[str, str]) -> dict[str, object]:
    return {"type": "string", "enum": [*words.values(), "Unknown"]}


def _definitions() -> dict[str, object]:
    field = {"pos": {"type": "integer", "minimum": 0}, "name": {"type": "string"}}
    tags = {"origin": _words(ORIGINS), "nature": _words(NATURES), "scope": _words(SCOPES)}
    return {
        "field": {"type": "object", "properties": field, "required": list(field)},
        "processNum": {"type": "integer", "minimum": 1},
        "tags": {"type": "object", "properties": tags, "required": list(tags)},
        "typedValue": {"type": "object", "oneOf": [_typed(kind) for kind in (*_KINDS, "flt", "str")]},
    }


def _typed(kind: str) -> dict[str, object]:
    value: dict[str, object] = {"type": {"str": "string", "flt": "number"}.get(kind, "integer")}
    if kind in _KINDS:
        value["minimum"], value["maximum"] = _KINDS[kind]
    return {"properties": {"type": {"type": "string", "enum": [kind]}, "value": value}, "required": ["type", "value"]}
