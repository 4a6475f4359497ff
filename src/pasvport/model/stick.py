"""Stick tables and the rules that fill and ask them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pasvport.model.expressions import Expression
from pasvport.model.origin import Origin


class KeyType(StrEnum):
    """`type` of a stick-table key. `ipv4` is written back as `ip`, as HAProxy does."""

    IP = "ip"
    IPV6 = "ipv6"
    INTEGER = "integer"
    STRING = "string"
    BINARY = "binary"


@dataclass(frozen=True, slots=True)
class StoredType:
    """One `store NAME[(PERIOD)]` of a table; `period` in ms for rates, else 0; `count` for arrays, else 1."""

    name: str
    period: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class StickTable:
    """`stick-table ...`; `key_length` for string (default 32) and binary keys; `expire` 0 means never."""

    origin: Origin
    name: str
    key_type: KeyType
    size: int
    key_length: int = 0
    expire: int = 0
    nopurge: bool = False
    stores: tuple[StoredType, ...] = ()
    server_key: str = "name"


class StickAction(StrEnum):
    """What a stick rule does: `stick on` is compiled to MATCH plus STORE_REQUEST."""

    MATCH = "match"
    STORE_REQUEST = "store-request"


@dataclass(frozen=True, slots=True)
class StickRule:
    """One half of a stick line; `table` is the name of the proxy that owns the table."""

    origin: Origin
    action: StickAction
    expression: Expression
    table: str
