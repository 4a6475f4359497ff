"""The types of samples, and one as another: what a table's key, a hash, a log line or a converter needs of it.

The conversions are HAProxy's (configuration manual, 7.3.1 and `stick-table type`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from enum import Enum

from pasvport.model import KeyType

Value = bytes | int

_MAPPED = bytes(10) + b"\xff\xff"


class Kind(Enum):
    """Type of a sample as far as it is known before there is one.

    ADDRESS is packed, 4 or 16 bytes; IPV6 is known to have 16. BOOLEAN is 0 or 1.
    """

    ADDRESS = "address"
    IPV6 = "ipv6"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    STRING = "string"
    BINARY = "binary"


def address_text(packed: bytes) -> str:
    """An address as inet_ntop(3) writes it."""
    if len(packed) == 4:
        return str(ipaddress.IPv4Address(packed))
    embedded = packed[:12] == _MAPPED or (not any(packed[:12]) and any(packed[12:14]))
    if embedded:
        prefix = "::ffff:" if packed[10] else "::"
        return prefix + str(ipaddress.IPv4Address(packed[12:]))
    return str(ipaddress.IPv6Address(packed))


def _number(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _bytes(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value


def to_v4(value: Value) -> bytes | None:
    """The IPv4 address of a packed one, None for an IPv6 address that holds none."""
    packed = _bytes(value)
    if len(packed) == 4:
        return packed
    return packed[12:] if packed[:12] == _MAPPED else None


def _to_v6(value: Value) -> bytes | None:
    packed = _bytes(value)
    return _MAPPED + packed if len(packed) == 4 else packed


def _word(value: Value) -> bytes:
    return (_number(value) & 0xFFFFFFFF).to_bytes(4, "big")


def _mapped_word(value: Value) -> bytes:
    return _MAPPED + _word(value)


def _v4_only(value: Value) -> bytes | None:
    packed = _bytes(value)
    return packed if len(packed) == 4 else None


def _parsed_v4(value: Value) -> bytes | None:
    try:
        return ipaddress.IPv4Address(_bytes(value).decode("latin-1")).packed
    except ipaddress.AddressValueError:
        return None


def _parsed_v6(value: Value) -> bytes | None:
    try:
        return ipaddress.IPv6Address(_bytes(value).decode("latin-1")).packed
    except ipaddress.AddressValueError:
        return None


def _parsed_word(value: Value) -> bytes:
    digits = _bytes(value).decode("latin-1")
    sign = -1 if digits[:1] == "-" else 1
    rest = digits[1:] if digits[:1] in ("-", "+") else digits
    leading = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    # Of 32 bits the digits further to the left say nothing, and there may be thousands.
    return _word(sign * int(leading[-32:] or "0"))


def _address_words(value: Value) -> bytes:
    return address_text(_bytes(value)).encode()


def _decimal(value: Value) -> bytes:
    return str(_number(value)).encode()


def _octets(value: Value) -> bytes:
    return (_number(value) & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")


def _up_to_nul(value: Value) -> bytes:
    return _bytes(value).partition(b"\0")[0]


CASTS: Mapping[KeyType, Mapping[Kind, Callable[[Value], bytes | None]]] = {
    KeyType.IP: {Kind.ADDRESS: to_v4, Kind.IPV6: to_v4, Kind.INTEGER: _word, Kind.STRING: _parsed_v4},
    KeyType.IPV6: {Kind.ADDRESS: _to_v6, Kind.IPV6: _to_v6, Kind.INTEGER: _mapped_word, Kind.STRING: _parsed_v6},
    KeyType.INTEGER: {Kind.ADDRESS: _v4_only, Kind.BOOLEAN: _word, Kind.INTEGER: _word, Kind.STRING: _parsed_word},
    KeyType.STRING: {
        Kind.ADDRESS: _address_words,
        Kind.IPV6: _address_words,
        Kind.BOOLEAN: _decimal,
        Kind.INTEGER: _decimal,
        Kind.STRING: _bytes,
        Kind.BINARY: _up_to_nul,
    },
    KeyType.BINARY: {
        Kind.ADDRESS: _bytes,
        Kind.IPV6: _bytes,
        Kind.BOOLEAN: _octets,
        Kind.INTEGER: _octets,
        Kind.STRING: _bytes,
        Kind.BINARY: _bytes,
    },
}


def _any_address(value: Value) -> bytes | None:
    return _parsed_v4(value) or _parsed_v6(value)


INTO: Mapping[Kind, Mapping[Kind, Callable[[Value], Value | None]]] = {
    Kind.STRING: CASTS[KeyType.STRING],
    Kind.ADDRESS: {Kind.ADDRESS: _bytes, Kind.IPV6: _bytes, Kind.INTEGER: _word, Kind.STRING: _any_address},
}
"""By what a converter takes: how it is made, in silence, of each type that can become it."""
