"""What an operator may ask of a stick table: entries by key or content, values to set, all workers' entries as one.

Source: management guide, `show table`, `set table`, `clear table`; observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import ipaddress
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from pasvport.digits import whole_number
from pasvport.model import KeyType, StickTable
from pasvport.stick.data import DATA_TYPES, Kind, Rate, Value, ordered
from pasvport.stick.show import Number, Row
from pasvport.stick.table import Entry

OPERATORS: dict[str, Callable[[int, int], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "le": operator.le,
    "ge": operator.ge,
    "lt": operator.lt,
    "gt": operator.gt,
}
_LARGEST_WORD = 0xFFFFFFFF
_WIDE = frozenset({"bytes_in_cnt", "bytes_out_cnt"})
"""Types of 64 bits; the others have 32."""

Setting = tuple[str, int]
"""A stored type and the value that it shall have."""


class Filter(NamedTuple):
    """`data.NAME OPERATOR VALUE`."""

    name: str
    operator: str
    value: int


def key_of(table: StickTable, word: str) -> bytes | None:
    """The key that a word of a command names; None when it is no key of the table's type.

    Binary keys cannot be written in a command (HAProxy refuses them too): None. HAProxy takes a malformed IPv4
    address for 0.0.0.0.
    """
    reader = _READERS.get(table.key_type)
    return None if reader is None else reader(table, word)


def _ip(_table: StickTable, word: str) -> bytes | None:
    try:
        return ipaddress.IPv4Address(word).packed
    except ValueError:
        return None


def _ipv6(_table: StickTable, word: str) -> bytes | None:
    try:
        return ipaddress.IPv6Address(word).packed
    except ValueError:
        return None


def _integer(_table: StickTable, word: str) -> bytes | None:
    """The leading decimal digits, as strtoul(3) reads them."""
    digits = word[: len(word) - len(word.lstrip("0123456789"))]
    value = whole_number(digits, _LARGEST_WORD)
    return None if value is None else value.to_bytes(4, "big")


def _string(table: StickTable, word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")[: table.key_length]


_READERS: dict[KeyType, Callable[[StickTable, str], bytes | None]] = {
    KeyType.IP: _ip,
    KeyType.IPV6: _ipv6,
    KeyType.INTEGER: _integer,
    KeyType.STRING: _string,
}


# --- by content ---------------------------------------------------------------------------------------------------


def passes(table: StickTable, filters: Iterable[Filter], row: Row) -> bool:
    """Whether an entry has what all filters want. Of an array, the first element counts, as in HAProxy."""
    return all(OPERATORS[each.operator](_value(table, each.name, row), each.value) for each in filters)


def _value(table: StickTable, name: str, row: Row) -> int:
    if DATA_TYPES[name].kind is Kind.SERVER:
        # HAProxy compares the number of a key in a dictionary of its own; only 0, none, says anything.
        return row.server_id if name == "server_id" else -bool(row.server_key)
    value = row.values[_place(table, name)]
    return value[0] if isinstance(value, tuple) else value


def _place(table: StickTable, name: str) -> int:
    return next(place for place, store in enumerate(ordered(table.stores)) if store.name == name)


# --- setting ------------------------------------------------------------------------------------------------------


def apply(table: StickTable, entry: Entry, settings: Iterable[Setting], now: float) -> None:
    """Give an entry the values. A rate set to V stays V for a period and then fades; of an array, the first is set."""
    for name, value in settings:
        if name == "server_id":
            if entry.server_id != value:
                entry.server_key = ""
            entry.server_id = value
        elif name != "server_key":
            place = _place(table, name)
            wrapped = value & (0xFFFFFFFFFFFFFFFF if name in _WIDE else _LARGEST_WORD)
            entry.data[place] = _changed(entry.data[place], wrapped, int(now * 1000))


def _changed(old: Value, value: int, now: int) -> Value:
    if isinstance(old, list):
        return [_element(old[0], value, now), *old[1:]]
    return _element(old, value, now)


def _element(old: int | Rate, value: int, now: int) -> int | Rate:
    if not isinstance(old, Rate):
        return value
    old.started, old.current, old.previous = now, value, 0
    return old


# --- the workers' entries as one table ----------------------------------------------------------------------------


def merged(rows: Sequence[Row]) -> Row:
    """One entry of the same key's entries in several workers.

    Each worker counts its own sessions, so counters add up; the server is what was heard last.
    """
    if len(rows) == 1:
        return rows[0]
    latest = max(rows, key=lambda row: (row.server_id != 0, row.left))
    names = {row.server_key for row in rows if row.server_id == latest.server_id and row.server_key}
    return Row(
        latest.key,
        rows[0].pointer,
        sum(row.users for row in rows),
        max(row.left for row in rows),
        latest.server_id,
        latest.server_key or next(iter(names), ""),
        tuple(_sum(values) for values in zip(*(row.values for row in rows), strict=True)),
    )


def _sum(values: tuple[Number, ...]) -> Number:
    if isinstance(values[0], tuple):
        arrays = [value for value in values if isinstance(value, tuple)]
        return tuple(sum(column) for column in zip(*arrays, strict=True))
    return sum(value for value in values if isinstance(value, int))
