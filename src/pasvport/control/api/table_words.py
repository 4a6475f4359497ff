"""The words after `show|set|clear table NAME`, read and refused as HAProxy 2.6.12 does.

Commands change nothing before all their words are understood; HAProxy applies those before the wrong one. A malformed
IPv4 address is refused; HAProxy takes it for 0.0.0.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from pasvport.control.api.commands import Refusal
from pasvport.digits import is_number
from pasvport.model import KeyType, StickTable
from pasvport.stick.data import DATA_TYPES
from pasvport.stick.orders import OPERATORS, Filter, Setting, key_of

_MOST_FILTERS = 4
_EXPECTED_OPERATOR = 'Require and operator among "eq", "ne", "le", "ge", "lt", "gt"'
_PREFIX = "data."


class Verb(Enum):
    """The command, with what it says of a binary key, and of words that make no sense."""

    SHOW = (
        "Showing keys from",
        'Optional argument only supports "data.<store_data_type>" <operator> <value> and key <key>',
    )
    SET = ("Inserting keys into", "Required arguments: <table> key <key> [data.<store_data_type> <value>]*")
    CLEAR = (
        "Removing keys from",
        'Required arguments: <table> "data.<store_data_type>" <operator> <value> or <table> key <key>',
    )

    @property
    def on_keys(self) -> str:
        return self.value[0]

    @property
    def usage(self) -> str:
        return self.value[1]


def key(verb: Verb, table: StickTable, words: Sequence[str]) -> bytes:
    """The key of `key K ...`. Raises Refusal."""
    if len(words) < 2:
        raise Refusal("Key value expected")
    if table.key_type is KeyType.BINARY:
        raise Refusal(f"{verb.on_keys} tables of type other than ip, ipv6, string and integer is not supported")
    found = key_of(table, words[1])
    if found is None:
        raise Refusal("Invalid key")
    return found


def settings(table: StickTable, words: Sequence[str]) -> tuple[Setting, ...]:
    """`data.X V data.Y V ...`. Raises Refusal."""
    pairs = [(words[place], words[place + 1] if place + 1 < len(words) else "") for place in range(0, len(words), 2)]
    return tuple(_setting(table, name, value) for name, value in pairs)


def _setting(table: StickTable, name: str, value: str) -> Setting:
    if not name.startswith(_PREFIX):
        raise Refusal('"data.<type>" followed by a value expected')
    kind = _kind(table, name, "")
    number = _number(value)
    if number is None:
        raise Refusal("Require a valid integer value to store")
    return kind, number


def _kind(table: StickTable, name: str, where: str) -> str:
    kind = name.removeprefix(_PREFIX)
    if kind not in DATA_TYPES:
        raise Refusal(f"{where}Unknown data type")
    if all(store.name != kind for store in table.stores):
        raise Refusal(f"{where}Data type not stored in this table")
    return kind


def _number(word: str) -> int | None:
    """A whole decimal number of at most 64 bits; None for anything else."""
    return int(word) if is_number(word.removeprefix("-")) else None


def filters(table: StickTable, words: Sequence[str]) -> tuple[Filter, ...]:
    """`data.X OPERATOR V`, up to four of them. Raises Refusal."""
    if len(words) > 3 * _MOST_FILTERS:
        extra = 3 * _MOST_FILTERS
        raise Refusal(f"Detected extra data in filter, {extra + 4}th word of input, after '{words[extra - 1]}'")
    return tuple(
        _filter(table, f"Filter entry #{place // 3 + 1}: ", words[place : place + 3])
        for place in range(0, len(words), 3)
    )


def _filter(table: StickTable, where: str, words: Sequence[str]) -> Filter:
    name, relation, value = (*words, "", "")[:3]
    kind = _kind(table, name, where)
    if relation not in OPERATORS:
        raise Refusal(where + _EXPECTED_OPERATOR)
    number = _number(value)
    if number is None:
        raise Refusal(f"{where}Require a valid integer value to compare against")
    return Filter(kind, relation, number)
