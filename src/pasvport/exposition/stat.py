"""Rows of `show stat` and its four forms. Source: HAProxy management guide, sections 9.1 to 9.3."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from pasvport.exposition.fields import Field, Value, quoted
from pasvport.exposition.stat_fields import MODULE_FIELDS, OF_BACKENDS, SEPARATOR, STAT_FIELDS, STATIC_FIELDS


class Kind(IntEnum):
    """What a row is about: the field `type`; `1 << kind` is its bit in the selector of `show stat IID TYPE SID`."""

    FRONTEND = 0
    BACKEND = 1
    SERVER = 2
    LISTENER = 3

    @property
    def letter(self) -> str:
        return "FBSL"[self]

    @property
    def title(self) -> str:
        return ("Frontend", "Backend", "Server", "Listener")[self]


@dataclass(frozen=True, slots=True)
class Row:
    """One object. `values` holds the fields that have a meaning for it, by name; all others stay empty."""

    kind: Kind
    proxy_id: int
    id: int
    values: Mapping[str, Value]

    def cells(self) -> Iterator[tuple[Field, str, Value]]:
        """(field, tags, value) of every field that is not empty, in order."""
        for field in STAT_FIELDS:
            value = self.values.get(field.name)
            if value is not None:
                tags = OF_BACKENDS.get(field.name, field.tags) if self.kind is Kind.BACKEND else field.tags
                yield field, tags, field.fit(value)


def csv(rows: Iterable[Row]) -> Iterator[str]:
    """The header and a line for each row, each ending in a comma."""
    names = [*(field.name for field in STATIC_FIELDS), SEPARATOR, *(field.name for field in MODULE_FIELDS)]
    yield "# " + "".join(f"{name}," for name in names) + "\n"
    for row in rows:
        static = "".join(f"{_csv_cell(field, row)}," for field in STATIC_FIELDS)
        yield static + SEPARATOR + "," + "".join(f"{_csv_cell(field, row)}," for field in MODULE_FIELDS) + "\n"


def _csv_cell(field: Field, row: Row) -> str:
    value = row.values.get(field.name)
    if value is None:
        return ""
    if not isinstance(value, str):
        return str(field.fit(value))
    # RFC 4180: only what would be misread is quoted.
    return quoted(value) if _MISREAD.search(value) else value


_MISREAD = re.compile(r'[,"\r\n]')


def typed(rows: Iterable[Row], *, desc: bool = False) -> Iterator[str]:
    """`S.3.1.7.stot.1:MCP:u64:5`, a line for each field that is not empty. `desc` adds `:"what it is"`."""
    for row in rows:
        place = f"{row.kind.letter}.{row.proxy_id}.{row.id}"
        for field, tags, value in row.cells():
            suffix = f":{quoted(field.doc)}" if desc else ""
            yield f"{place}.{field.position}.{field.name}.1:{tags}:{field.kind}:{value}{suffix}\n"


def as_json(rows: Iterable[Row]) -> Iterator[str]:
    """One array of arrays of fields, in one line."""
    yield "["
    for number, row in enumerate(rows):
        fields = [_json_field(row, field, tags, value) for field, tags, value in row.cells()]
        yield ("," if number else "") + json.dumps(fields, separators=(",", ":"))
    yield "]"


def _json_field(row: Row, field: Field, tags: str, value: Value) -> dict[str, object]:
    tagged = Field(field.position, field.name, tags, field.kind, field.doc)
    return {
        "objType": row.kind.title,
        "proxyId": row.proxy_id,
        "id": row.id,
        "field": {"pos": field.position, "name": field.name},
        "processNum": 1,
        "tags": tagged.json_tags(),
        "value": {"type": field.kind, "value": value},
    }
