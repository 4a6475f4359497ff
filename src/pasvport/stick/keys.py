"""Keys: from an expression and a connection's addresses to the bytes a table stores or `balance hash` hashes.

Expressions are compiled once. Type conversions are HAProxy's (configuration manual, 7.3.1 and `stick-table type`):
- `ip` tables take IPv4, IPv4-mapped IPv6 and integers; any other IPv6 address has no key;
- `ipv6` tables take IPv6, IPv4 (mapped) and integers (mapped);
- `integer` tables take IPv4 and numbers, cut to 32 bits; `string` tables take text, cut to the key length;
- `binary` tables take anything as bytes (numbers as 8, network order), cut or zero-padded to the key length.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import partial

from pasvport.errors import ConfigError
from pasvport.model import Expression, KeyType, StickTable
from pasvport.stick.samples import Endpoints, Kind, Sample, Value, compile_expression

_MAPPED = bytes(10) + b"\xff\xff"
_LONGEST_ADDRESS = 45


__all__ = ["Endpoints", "Key", "compile_key", "compile_sample", "is_source_bound"]

Key = Callable[[Endpoints], bytes | None]


def compile_key(expression: Expression, table: StickTable) -> Key:
    """The function from a connection to its key, None where it has none.

    Raises ConfigError for a fetch or converter that is not supported, wrong arguments, or a type that cannot become
    the table's.
    """
    kind, sample = compile_expression(expression)
    convert = _CASTS[table.key_type].get(kind)
    if convert is None:
        raise ConfigError(f"type of fetch not usable with type of stick-table '{table.name}'.")
    if table.key_type is KeyType.STRING:
        convert = partial(_cut, convert, table.key_length)
    elif table.key_type is KeyType.BINARY:
        convert = partial(_padded, convert, table.key_length)
    if expression.fetch in _SOURCES and not expression.converters and table.key_type is KeyType.IP:
        return _source_v4
    return partial(_converted, sample, convert)


def compile_sample(expression: Expression) -> Key:
    """The function from a connection to the bytes `balance hash` hashes: the sample as binary, None without one.

    Raises ConfigError as `compile_key` does.
    """
    kind, sample = compile_expression(expression)
    return partial(_converted, sample, _CASTS[KeyType.BINARY][kind])


def is_source_bound(expression: Expression, table: StickTable | None = None) -> bool:
    """Whether each key belongs to one source address only, so that workers steered by source need not share the table.

    False for anything lossy: `src,ipmask(24)` gives clients of different workers one key, and so does a text or
    binary key too short for an address.
    """
    if expression.fetch not in _SOURCES or expression.converters:
        return False
    if table is None or table.key_type in (KeyType.IP, KeyType.IPV6, KeyType.INTEGER):
        return True
    needed = _LONGEST_ADDRESS if table.key_type is KeyType.STRING else 16
    return table.key_length >= needed


def address_text(packed: bytes) -> str:
    """An address as inet_ntop(3) writes it."""
    if len(packed) == 4:
        return str(ipaddress.IPv4Address(packed))
    embedded = packed[:12] == _MAPPED or (not any(packed[:12]) and any(packed[12:14]))
    if embedded:
        prefix = "::ffff:" if packed[10] else "::"
        return prefix + str(ipaddress.IPv4Address(packed[12:]))
    return str(ipaddress.IPv6Address(packed))


# --- fast path ----------------------------------------------------------------------------------------------------

_SOURCES = ("src", "fc_src")


def _source_v4(ends: Endpoints) -> bytes | None:
    source = ends.source
    return source if len(source) == 4 else _to_v4(source)


# --- conversions --------------------------------------------------------------------------------------------------


def _converted(sample: Sample, convert: Callable[[Value], bytes | None], ends: Endpoints) -> bytes | None:
    value = sample(ends)
    return None if value is None else convert(value)


def _cut(convert: Callable[[Value], bytes | None], length: int, value: Value) -> bytes | None:
    key = convert(value)
    return None if key is None else key[:length]


def _padded(convert: Callable[[Value], bytes | None], length: int, value: Value) -> bytes | None:
    key = convert(value)
    return None if key is None else key[:length].ljust(length, b"\0")


def _number(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _bytes(value: Value) -> bytes:
    assert isinstance(value, bytes)
    return value


def _to_v4(value: Value) -> bytes | None:
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
    return _word(sign * int(leading or "0"))


def _address_words(value: Value) -> bytes:
    return address_text(_bytes(value)).encode()


def _decimal(value: Value) -> bytes:
    return str(_number(value)).encode()


def _octets(value: Value) -> bytes:
    return (_number(value) & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "big")


def _up_to_nul(value: Value) -> bytes:
    return _bytes(value).partition(b"\0")[0]


_CASTS: dict[KeyType, dict[Kind, Callable[[Value], bytes | None]]] = {
    KeyType.IP: {Kind.ADDRESS: _to_v4, Kind.IPV6: _to_v4, Kind.INTEGER: _word, Kind.STRING: _parsed_v4},
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
