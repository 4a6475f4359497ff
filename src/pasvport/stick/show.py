"""A stick table in the words of `show table` (management guide, 9.3)."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from msgspec import Meta

from pasvport import model
from pasvport.bounds import Count, Octets, Whole, Word
from pasvport.model import KeyType, StoredType
from pasvport.stick.data import DATA_TYPES, Kind, Rate, Value, ordered
from pasvport.stick.keys import address_text
from pasvport.stick.table import Entry, StickTable

_QUOTED = b"\\ ="

Number = Whole | Annotated[tuple[Whole, ...], Meta(max_length=1024)]


class Row(NamedTuple):
    """An entry as plain values. `left` is milliseconds until it expires (0: never, or now).

    `values` follow the table's stored types in the order of their ids, servers left out; an array is a tuple.
    """

    key: Octets
    pointer: Count
    users: Count
    left: Count
    server_id: Whole
    server_key: Word
    values: Annotated[tuple[Number, ...], Meta(max_length=64)]


def row(table: StickTable, entry: Entry, now: float) -> Row:
    """What the entry holds at `now` (seconds); rates are per period."""
    left = max(0, int((entry.expires - now) * 1000)) if entry.expires != float("inf") else 0
    moment = int(now * 1000)
    values = tuple(_read(store, value, moment) for store, value in zip(table.stores, entry.data, strict=True))
    return Row(entry.key, id(entry), entry.users, left, entry.server_id, entry.server_key, values)


def heading(table: model.StickTable, used: int) -> str:
    """`# table: NAME, type: T, size:N, used:N`."""
    return f"# table: {table.name}, type: {table.key_type}, size:{table.size}, used:{used}"


def text(table: model.StickTable, shown: Row) -> str:
    """`0xPTR: key=K use=N exp=MS TYPE=V ...`, types in the order of their ids; rates are per period."""
    words = [f"{shown.pointer:#x}: key={key_text(table, shown.key)} use={shown.users} exp={shown.left}"]
    by_number: list[tuple[int, str]] = _servers(table, shown)
    for store, value in zip(ordered(table.stores), shown.values, strict=True):
        by_number.append((DATA_TYPES[store.name].number, _stored(store, value)))
    return " ".join(words + [word for _, word in sorted(by_number)])


def key_text(table: model.StickTable, key: bytes) -> str:
    """A key as HAProxy prints it: address, unsigned number, escaped string, or upper-case hexadecimal."""
    if table.key_type in (KeyType.IP, KeyType.IPV6):
        return address_text(key)
    if table.key_type is KeyType.INTEGER:
        return str(int.from_bytes(key, "big"))
    if table.key_type is KeyType.STRING:
        return "".join(map(_escaped, key))
    return key.hex().upper()


def _escaped(byte: int) -> str:
    if byte in _QUOTED:
        return "\\" + chr(byte)
    if 0x20 < byte < 0x7F:
        return chr(byte)
    named = {9: "\\t", 10: "\\n", 13: "\\r", 27: "\\e"}
    return named.get(byte, f"\\x{byte:02x}")


def _servers(table: model.StickTable, shown: Row) -> list[tuple[int, str]]:
    texts = {"server_id": str(shown.server_id), "server_key": shown.server_key or "-"}
    return [
        (DATA_TYPES[store.name].number, f"{store.name}={texts[store.name]}")
        for store in table.stores
        if DATA_TYPES[store.name].kind is Kind.SERVER
    ]


def _stored(store: StoredType, value: Number) -> str:
    if not isinstance(value, tuple):
        return f"{_named(store, store.name)}={value}"
    stem, underscore, rest = store.name.partition("_")
    names = [_named(store, f"{stem}{place}{underscore}{rest}") for place in range(len(value))]
    return " ".join(f"{name}={one}" for name, one in zip(names, value, strict=True))


def _named(store: StoredType, name: str) -> str:
    return f"{name}({store.period})" if store.period else name


def _read(store: StoredType, value: Value, now: int) -> Number:
    if isinstance(value, list):
        return tuple(_number(one, store.period, now) for one in value)
    return _number(value, store.period, now)


def _number(value: int | Rate, period: int, now: int) -> int:
    return value.read(period, now) if isinstance(value, Rate) else value
