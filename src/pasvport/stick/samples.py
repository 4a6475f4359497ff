"""Samples: what an expression's fetch takes from a connection and its converters make of it.

What is known here: the addresses and ports, constants, the FTP user and virtual host, masks, and maps.
Source: configuration manual, 7.3.1 (converters), 7.3.2 (internal states), 7.3.3 (layer 4). `ftp.*` is ours.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from pasvport.digits import is_number
from pasvport.errors import ConfigError
from pasvport.model import Converter, Expression, KeyType, MapFile
from pasvport.stick.casts import CASTS, Kind, Value
from pasvport.stick.patterns import LOOKUPS, Entries, Lookup


class Endpoints(Protocol):
    """The two ends of a client connection: packed addresses (4 or 16 bytes, empty when not IP) and ports.

    `user` is what USER said, `virtual_host` what HOST (RFC 7151) said; both empty until then, and outside `mode ftp`.
    """

    @property
    def source(self) -> bytes: ...

    @property
    def source_port(self) -> int: ...

    @property
    def destination(self) -> bytes: ...

    @property
    def destination_port(self) -> int: ...

    @property
    def user(self) -> bytes: ...

    @property
    def virtual_host(self) -> bytes: ...


Sample = Callable[[Endpoints], Value | None]
Step = Callable[[Value], Value | None]
Maps = tuple[MapFile, ...]


def compile_expression(expression: Expression, maps: Maps = ()) -> tuple[Kind, Sample]:
    """The type of an expression's result and the function that finds it (None: no sample).

    `maps` are the configuration's (Config.maps). Raises ConfigError for an unknown fetch or converter, wrong
    arguments, types that do not fit, or a map that is not among them.
    """
    kind, sample = _fetch(expression)
    for converter in expression.converters:
        kind, step = _converter(converter, kind, maps)
        sample = partial(_then, sample, step)
    return kind, sample


def _then(sample: Sample, step: Step, ends: Endpoints) -> Value | None:
    value = sample(ends)
    return None if value is None else step(value)


# --- fetches ------------------------------------------------------------------------------------------------------


def _source(ends: Endpoints) -> Value | None:
    return ends.source or None


def _destination(ends: Endpoints) -> Value | None:
    return ends.destination or None


def _source_port(ends: Endpoints) -> Value | None:
    return ends.source_port if ends.source else None


def _destination_port(ends: Endpoints) -> Value | None:
    return ends.destination_port if ends.destination else None


def _user(ends: Endpoints) -> Value | None:
    return ends.user or None


def _virtual_host(ends: Endpoints) -> Value | None:
    return ends.virtual_host or None


_ENDS: dict[str, tuple[Kind, Sample]] = {
    prefix + name: found
    for prefix in ("", "fc_")
    for name, found in {
        "src": (Kind.ADDRESS, _source),
        "dst": (Kind.ADDRESS, _destination),
        "src_port": (Kind.INTEGER, _source_port),
        "dst_port": (Kind.INTEGER, _destination_port),
    }.items()
}
_FETCHES: dict[str, tuple[Kind, Sample]] = _ENDS | {
    "ftp.user": (Kind.STRING, _user),
    "ftp.host": (Kind.STRING, _virtual_host),
}


def _constant(value: Value, _ends: Endpoints) -> Value:
    return value


def _boolean(text: str) -> int:
    values = {"true": 1, "1": 1, "false": 0, "0": 0}
    if text.lower() not in values:
        raise ValueError(text)
    return values[text.lower()]


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _v4(text: str) -> bytes:
    return ipaddress.IPv4Address(text).packed


def _v6(text: str) -> bytes:
    return ipaddress.IPv6Address(text).packed


_CONSTANTS: dict[str, tuple[Kind, Callable[[str], Value]]] = {
    "int": (Kind.INTEGER, int),
    "bool": (Kind.BOOLEAN, _boolean),
    "str": (Kind.STRING, _text),
    "bin": (Kind.BINARY, bytes.fromhex),
    "ipv4": (Kind.ADDRESS, _v4),
    "ipv6": (Kind.IPV6, _v6),
}


def _fetch(expression: Expression) -> tuple[Kind, Sample]:
    name, args = expression.fetch, expression.args
    if name in _FETCHES:
        if args:
            raise ConfigError(f"fetch method '{name}' takes no argument")
        return _FETCHES[name]
    if name in ("always_true", "always_false"):
        return Kind.BOOLEAN, partial(_constant, int(name == "always_true"))
    if name not in _CONSTANTS:
        raise ConfigError(f"fetch method '{name}' is not supported yet for keys")
    kind, parse = _CONSTANTS[name]
    try:
        (text,) = args
        value = parse(text)
    except ValueError:
        raise ConfigError(f"invalid argument in '{expression.text}'") from None
    return kind, partial(_constant, value)


# --- converters ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Conversion:
    """What a converter takes and gives, and how its arguments make it."""

    takes: tuple[Kind, ...]
    gives: Kind
    make: Callable[[tuple[str, ...], Maps], Step]


def _converter(converter: Converter, kind: Kind, maps: Maps) -> tuple[Kind, Step]:
    known = _CONVERTERS.get(converter.name)
    if known is None:
        raise ConfigError(f"converter '{converter.name}' is not supported yet for keys")
    if kind not in known.takes:
        raise ConfigError(f"converter '{converter.name}' cannot be applied to {kind.value} values")
    try:
        step = known.make(converter.args, maps)
    except (ValueError, re.error):
        raise ConfigError(f"invalid arguments for converter '{converter.name}'") from None
    if known.gives is Kind.STRING and kind is not Kind.STRING:
        step = partial(_of_text, CASTS[KeyType.STRING][kind], step)
    return known.gives, step


def _of_text(cast: Callable[[Value], bytes | None], step: Step, value: Value) -> Value | None:
    """What HAProxy does in silence: a converter of texts is given an address or a number as text."""
    text = cast(value)
    return None if text is None else step(text)


def _mask(text: str, bits: int) -> int:
    """A mask written as a prefix length or as an address."""
    if is_number(text):
        length = int(text)
        if length > bits:
            raise ValueError(text)
        return (1 << bits) - (1 << (bits - length))
    parse = ipaddress.IPv4Address if bits == 32 else ipaddress.IPv6Address
    return int(parse(text))


def _ipmask(args: tuple[str, ...], _maps: Maps) -> Step:
    if not 1 <= len(args) <= 2:
        raise ValueError
    v4 = _mask(args[0], 32)
    v6 = _mask(args[1], 128) if len(args) == 2 else None
    return partial(_masked, v4, v6)


def _masked(v4: int, v6: int | None, value: Value) -> Value | None:
    packed = value if isinstance(value, bytes) else b""
    if len(packed) == 4:
        return (int.from_bytes(packed, "big") & v4).to_bytes(4, "big")
    if v6 is None:
        return None
    return (int.from_bytes(packed, "big") & v6).to_bytes(16, "big")


def _changed_case(change: Callable[[bytes], bytes], args: tuple[str, ...], _maps: Maps) -> Step:
    if args:
        raise ValueError(args)
    return partial(_applied, change)


def _applied(change: Callable[[bytes], bytes | None], value: Value) -> Value | None:
    assert isinstance(value, bytes)
    return change(value)


def _map(prepare: Callable[[Entries], Lookup], args: tuple[str, ...], maps: Maps) -> Step:
    if not 1 <= len(args) <= 2:
        raise ValueError(args)
    found = next((item for item in maps if item.path == args[0]), None)
    if found is None:
        raise ConfigError(f"failed to open pattern file <{args[0]}>")
    lookup = prepare(tuple((_text(key), _text(value)) for key, value in found.entries))
    if len(args) == 1:
        return partial(_applied, lookup)
    return partial(_applied, partial(_or_else, lookup, _text(args[1])))


def _or_else(lookup: Lookup, default: bytes, text: bytes) -> bytes:
    found = lookup(text)
    return default if found is None else found


_TEXTS: dict[str, Callable[[tuple[str, ...], Maps], Step]] = {
    "lower": partial(_changed_case, bytes.lower),
    "upper": partial(_changed_case, bytes.upper),
    **{name: partial(_map, prepare) for name, prepare in LOOKUPS.items()},
}

_CONVERTERS: dict[str, _Conversion] = {
    "ipmask": _Conversion((Kind.ADDRESS, Kind.IPV6), Kind.ADDRESS, _ipmask),
    **{name: _Conversion(tuple(Kind), Kind.STRING, make) for name, make in _TEXTS.items()},
}
