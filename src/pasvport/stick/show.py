"""A stick table in the words of `show table` (management guide, 9.3)."""

from __future__ import annotations

from pasvport import model
from pasvport.model import KeyType, StoredType
from pasvport.stick.data import DATA_TYPES, Kind, Rate, Value
from pasvport.stick.keys import address_text
from pasvport.stick.table import Entry, StickTable

_QUOTED = b"\\ ="


def header(table: StickTable) -> str:
    """`# table: NAME, type: T, size:N, used:N`."""
    shown = table.model
    return f"# table: {shown.name}, type: {shown.key_type}, size:{shown.size}, used:{len(table)}"


def line(table: StickTable, entry: Entry, now: float) -> str:
    """`0xPTR: key=K use=N exp=MS TYPE=V ...`, types in the order of their ids; rates are per period."""
    left = max(0, int((entry.expires - now) * 1000)) if entry.expires != float("inf") else 0
    words = [f"{id(entry):#x}: key={key_text(table.model, entry.key)} use={entry.users} exp={left}"]
    by_number: list[tuple[int, str]] = _servers(table.model, entry)
    for store, value in zip(table.stores, entry.data, strict=True):
        by_number.append((DATA_TYPES[store.name].number, _stored(store, value, int(now * 1000))))
    return " ".join(words + [text for _, text in sorted(by_number)])


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


def _servers(table: model.StickTable, entry: Entry) -> list[tuple[int, str]]:
    shown = {"server_id": str(entry.server_id), "server_key": entry.server_key or "-"}
    return [
        (DATA_TYPES[store.name].number, f"{store.name}={shown[store.name]}")
        for store in table.stores
        if DATA_TYPES[store.name].kind is Kind.SERVER
    ]


def _stored(store: StoredType, value: Value, now: int) -> str:
    if not isinstance(value, list):
        return f"{_named(store, store.name)}={_number(value, store.period, now)}"
    stem, underscore, rest = store.name.partition("_")
    names = [_named(store, f"{stem}{place}{underscore}{rest}") for place in range(len(value))]
    return " ".join(f"{name}={_number(one, store.period, now)}" for name, one in zip(names, value, strict=True))


def _named(store: StoredType, name: str) -> str:
    return f"{name}({store.period})" if store.period else name


def _number(value: int | Rate, period: int, now: int) -> int:
    return value.read(period, now) if isinstance(value, Rate) else value
