"""The forms of `show info`. Source: HAProxy management guide, section 9.3 (`show info`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pasvport.exposition.fields import Field, Value, quoted
from pasvport.exposition.info_fields import INFO_FIELDS


@dataclass(frozen=True, slots=True)
class InfoStyle:
    """Which words followed `show info`."""

    typed: bool = False
    json: bool = False
    desc: bool = False
    float: bool = False


def write(values: Mapping[str, Value], style: InfoStyle) -> Iterator[str]:
    """All fields that `values` has. `float` keeps the decimals of times; else they are cut."""
    cells = [(field, _fit(field, values[field.name], style)) for field in INFO_FIELDS if field.name in values]
    if style.json:
        yield json.dumps([_json_field(field, value) for field, value in cells], separators=(",", ":"))
        return
    for field, value in cells:
        suffix = f":{quoted(field.doc)}" if style.desc else ""
        if style.typed:
            kind = "flt" if isinstance(value, float) else field.kind
            yield f"{field.position}.{field.name}.1:{field.tags}:{kind}:{_plain(value)}{suffix}\n"
        else:
            yield f"{field.name}: {_plain(value)}{suffix}\n"


def _fit(field: Field, value: Value, style: InfoStyle) -> Value:
    return value if style.float and isinstance(value, float) else field.fit(value)


def _plain(value: Value) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _json_field(field: Field, value: Value) -> dict[str, object]:
    return {
        "field": {"pos": field.position, "name": field.name},
        "processNum": 1,
        "tags": field.json_tags(),
        "value": {"type": "flt" if isinstance(value, float) else field.kind, "value": value},
    }


def uptime(seconds: int) -> str:
    """`0d 1h02m03s`."""
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    return f"{days}d {hour}h{minute:02d}m{second:02d}s"
