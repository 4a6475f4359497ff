"""THE table of converters. Source: configuration manual, 7.3.1, as HAProxy 2.6 does them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from pasvport.digits import is_number
from pasvport.errors import ConfigError
from pasvport.model import MapFile
from pasvport.sample.casts import Kind, Value
from pasvport.sample.fetches import to_bytes
from pasvport.sample.patterns import LOOKUPS, Entries, Lookup

Step = Callable[[Value], Value | None]
Maps = tuple[MapFile, ...]
"""The configuration's (Config.maps)."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a converter takes (whatever can become it in silence) and gives.

    `check` raises ValueError for arguments that are wrong, whose text says why; `make` is given right ones, and raises
    LookupError for a map that was not read.
    """

    name: str
    takes: Kind
    gives: Kind
    doc: str
    check: Callable[[tuple[str, ...]], None]
    make: Callable[[tuple[str, ...], Maps], Step]
    syntax: str = ""


def _no_argument(args: tuple[str, ...]) -> None:
    if args:
        raise ValueError(f"no argument expected, got '{args[0]}'")


def _applied(change: Callable[[bytes], bytes | None], value: Value) -> Value | None:
    assert isinstance(value, bytes)
    return change(value)


# --- ipmask -------------------------------------------------------------------------------------------------------


def _mask(text: str, bits: int) -> int:
    """A mask written as a prefix length or as an address. Raises ValueError."""
    if is_number(text):
        length = int(text)
        if length <= bits:
            return (1 << bits) - (1 << (bits - length))
    else:
        parse = ipaddress.IPv4Address if bits == 32 else ipaddress.IPv6Address
        try:
            return int(parse(text))
        except ValueError:
            pass
    raise ValueError(f"'{text}' is not an IPv{4 if bits == 32 else 6} mask")


def _masks(args: tuple[str, ...]) -> tuple[int, int | None]:
    if not 1 <= len(args) <= 2:
        raise ValueError(f"expects one or two arguments, got {len(args)}")
    return _mask(args[0], 32), _mask(args[1], 128) if len(args) == 2 else None


def _check_masks(args: tuple[str, ...]) -> None:
    _masks(args)


def _ipmask(args: tuple[str, ...], _maps: Maps) -> Step:
    v4, v6 = _masks(args)
    return partial(_masked, v4, v6)


def _masked(v4: int, v6: int | None, value: Value) -> Value | None:
    packed = value if isinstance(value, bytes) else b""
    if len(packed) == 4:
        return (int.from_bytes(packed, "big") & v4).to_bytes(4, "big")
    if v6 is None:
        return None
    return (int.from_bytes(packed, "big") & v6).to_bytes(16, "big")


# --- text and maps ------------------------------------------------------------------------------------------------


def _changed(change: Callable[[bytes], bytes]) -> Callable[[tuple[str, ...], Maps], Step]:
    return lambda _args, _maps: partial(_applied, change)


def _check_map(args: tuple[str, ...]) -> None:
    if not args or not args[0]:
        raise ValueError("failed to open pattern file <>")
    if len(args) > 2:
        raise ValueError(f"expects a file and a default, got {len(args)} arguments")


def _map(prepare: Callable[[Entries], Lookup], args: tuple[str, ...], maps: Maps) -> Step:
    found = next((item for item in maps if item.path == args[0]), None)
    if found is None:
        raise LookupError(f"failed to open pattern file <{args[0]}>")
    try:
        lookup = prepare(tuple((to_bytes(key), to_bytes(value)) for key, value in found.entries))
    except ConfigError as error:
        raise LookupError(f"a regular expression of <{args[0]}> is wrong: {error}") from None
    if len(args) == 1:
        return partial(_applied, lookup)
    return partial(_applied, partial(_or_else, lookup, to_bytes(args[1])))


def _or_else(lookup: Lookup, default: bytes, text: bytes) -> bytes:
    found = lookup(text)
    return default if found is None else found


def _text(name: str, doc: str, change: Callable[[bytes], bytes]) -> Conversion:
    return Conversion(name, Kind.STRING, Kind.STRING, doc, _no_argument, _changed(change))


_MAPS = {
    "map": "as `map_str`",
    "map_str": "the value of the key that is the text, in a map file",
    "map_beg": "the value of the longest key that the text begins with",
    "map_end": "the value of the first key that the text ends with",
    "map_sub": "the value of the first key that is part of the text",
    "map_reg": "the value of the first key that, as a regular expression, is found in the text",
}
MAP_CONVERTERS = tuple(_MAPS)

CONVERTERS: Mapping[str, Conversion] = {
    conversion.name: conversion
    for conversion in (
        _text("lower", "the text in lower case", bytes.lower),
        _text("upper", "the text in upper case", bytes.upper),
        *(
            Conversion(
                name, Kind.STRING, Kind.STRING, doc, _check_map, partial(_map, LOOKUPS[name]), "(<file>[,<default>])"
            )
            for name, doc in _MAPS.items()
        ),
        Conversion(
            "ipmask",
            Kind.ADDRESS,
            Kind.ADDRESS,
            "the network of an address",
            _check_masks,
            _ipmask,
            "(<mask4>[,<mask6>])",
        ),
    )
}
