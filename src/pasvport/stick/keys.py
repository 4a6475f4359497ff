"""Keys: from an expression and a connection's addresses to the bytes a table stores or `balance hash` hashes.

Expressions are compiled once. Type conversions are HAProxy's (configuration manual, 7.3.1 and `stick-table type`):
- `ip` tables take IPv4, IPv4-mapped IPv6 and integers; any other IPv6 address has no key;
- `ipv6` tables take IPv6, IPv4 (mapped) and integers (mapped);
- `integer` tables take IPv4 and numbers, cut to 32 bits; `string` tables take text, cut to the key length;
- `binary` tables take anything as bytes (numbers as 8, network order), cut or zero-padded to the key length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from pasvport.errors import ConfigError
from pasvport.model import Expression, KeyType, StickTable
from pasvport.sample.casts import CASTS, Value, address_text, to_v4
from pasvport.sample.converters import Maps
from pasvport.stick import samples
from pasvport.stick.samples import Endpoints, Sample

_LONGEST_ADDRESS = 45


__all__ = ["Endpoints", "Key", "address_text", "compile_key", "compile_name", "compile_sample", "is_source_bound"]

Key = Callable[[Endpoints], bytes | None]


def compile_key(expression: Expression, table: StickTable, maps: Maps = ()) -> Key:
    """The function from a connection to its key, None where it has none. `maps` are the configuration's.

    Raises ConfigError for a fetch or converter that is not supported, wrong arguments, or a type that cannot become
    the table's.
    """
    kind, sample = samples.compile_sample(expression, maps)
    convert = CASTS[table.key_type].get(kind)
    if convert is None:
        raise ConfigError(f"type of fetch not usable with type of stick-table '{table.name}'.")
    if table.key_type is KeyType.STRING:
        convert = partial(_cut, convert, table.key_length)
    elif table.key_type is KeyType.BINARY:
        convert = partial(_padded, convert, table.key_length)
    if expression.fetch in _SOURCES and not expression.converters and table.key_type is KeyType.IP:
        return _source_v4
    return partial(_converted, sample, convert)


def compile_sample(expression: Expression, maps: Maps = ()) -> Key:
    """The function from a connection to the bytes `balance hash` hashes: the sample as binary, None without one.

    Raises ConfigError as `compile_key` does.
    """
    kind, sample = samples.compile_sample(expression, maps)
    return partial(_converted, sample, CASTS[KeyType.BINARY][kind])


def compile_name(expression: Expression, maps: Maps = ()) -> Callable[[Endpoints], str | None]:
    """The function from a connection to the name a `use_backend` or `use-server` rule gives it, None without one.

    The name need not be that of anything. Raises ConfigError as `compile_key` does.
    """
    kind, sample = samples.compile_sample(expression, maps)
    return partial(_named, partial(_converted, sample, CASTS[KeyType.STRING][kind]))


def _named(key: Key, ends: Endpoints) -> str | None:
    found = key(ends)
    return None if found is None else found.decode("utf-8", "surrogateescape")


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


# --- fast path ----------------------------------------------------------------------------------------------------

_SOURCES = ("src", "fc_src")


def _source_v4(ends: Endpoints) -> bytes | None:
    source = ends.source
    return source if len(source) == 4 else to_v4(source)


def _converted(sample: Sample, convert: Callable[[Value], bytes | None], ends: Endpoints) -> bytes | None:
    value = sample(ends)
    return None if value is None else convert(value)


def _cut(convert: Callable[[Value], bytes | None], length: int, value: Value) -> bytes | None:
    key = convert(value)
    return None if key is None else key[:length]


def _padded(convert: Callable[[Value], bytes | None], length: int, value: Value) -> bytes | None:
    key = convert(value)
    return None if key is None else key[:length].ljust(length, b"\0")
