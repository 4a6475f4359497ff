"""Sample expressions: a fetch and its converters. Source: HAProxy configuration manual, chapter 7.

Those that pasvport evaluates stand in FETCHES and CONVERTERS; every other name HAProxy 2.6 knows is told from a typo by
KNOWN_FETCHES and KNOWN_CONVERTERS.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from pasvport.config.cursor import LineError
from pasvport.config.diagnostics import nearest
from pasvport.config.sample_names import KNOWN_CONVERTERS, KNOWN_FETCHES
from pasvport.config.syntax import Word
from pasvport.errors import ConfigError
from pasvport.model import Converter, Expression, KeyType


class SampleType(StrEnum):
    """What a fetch gives or a converter takes."""

    ADDRESS = "ip"
    IPV6 = "ipv6"
    INTEGER = "integer"
    STRING = "string"
    BINARY = "binary"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class Fetch:
    """A fetch method: its type, what it gives, and the check of its arguments (None: it takes none)."""

    name: str
    type: SampleType
    doc: str
    check: Callable[[tuple[str, ...]], None] | None = None
    syntax: str = ""


def _one(args: tuple[str, ...]) -> str:
    if len(args) != 1:
        raise ConfigError(f"expects one argument, got {len(args)}")
    return args[0]


def _integer(args: tuple[str, ...]) -> None:
    if not re.fullmatch(r"[+-]?[0-9]+", _one(args)):
        raise ConfigError(f"'{args[0]}' is not a number")


def _string(args: tuple[str, ...]) -> None:
    _one(args)


def _binary(args: tuple[str, ...]) -> None:
    if not re.fullmatch(r"([0-9A-Fa-f]{2})*", _one(args)):
        raise ConfigError(f"'{args[0]}' is not a hexadecimal string")


def _boolean(args: tuple[str, ...]) -> None:
    if _one(args).lower() not in ("true", "false", "1", "0"):
        raise ConfigError(f"'{args[0]}' is not a boolean")


def _address(version: int) -> Callable[[tuple[str, ...]], None]:
    def check(args: tuple[str, ...]) -> None:
        text = _one(args)
        try:
            found: int | None = ipaddress.ip_address(text).version
        except ValueError:
            found = None
        if found != version:
            raise ConfigError(f"'{text}' is not an IPv{version} address")

    return check


def _mask(args: tuple[str, ...]) -> None:
    if not 1 <= len(args) <= 2:
        raise ConfigError(f"expects one or two arguments, got {len(args)}")
    for text, version in zip(args, (4, 6), strict=False):
        try:
            any_address = "0.0.0.0" if version == 4 else "::"
            ipaddress.ip_network(f"{any_address}/{text}", strict=False)
        except ValueError:
            raise ConfigError(f"'{text}' is not an IPv{version} mask") from None


FETCHES: Mapping[str, Fetch] = {
    fetch.name: fetch
    for fetch in (
        Fetch("src", SampleType.ADDRESS, "address of the client"),
        Fetch("src_port", SampleType.INTEGER, "port of the client"),
        Fetch("dst", SampleType.ADDRESS, "address the client connected to"),
        Fetch("dst_port", SampleType.INTEGER, "port the client connected to"),
        Fetch("fc_src", SampleType.ADDRESS, "as `src`, of the connection itself"),
        Fetch("fc_src_port", SampleType.INTEGER, "as `src_port`, of the connection itself"),
        Fetch("fc_dst", SampleType.ADDRESS, "as `dst`, of the connection itself"),
        Fetch("fc_dst_port", SampleType.INTEGER, "as `dst_port`, of the connection itself"),
        Fetch("always_true", SampleType.BOOLEAN, "true"),
        Fetch("always_false", SampleType.BOOLEAN, "false"),
        Fetch("bool", SampleType.BOOLEAN, "a constant", _boolean, "(<bool>)"),
        Fetch("int", SampleType.INTEGER, "a constant", _integer, "(<integer>)"),
        Fetch("str", SampleType.STRING, "a constant", _string, "(<string>)"),
        Fetch("bin", SampleType.BINARY, "a constant", _binary, "(<hex>)"),
        Fetch("ipv4", SampleType.ADDRESS, "a constant", _address(4), "(<ipv4>)"),
        Fetch("ipv6", SampleType.IPV6, "a constant", _address(6), "(<ipv6>)"),
        Fetch("ftp.user", SampleType.STRING, "`mode ftp`: what the client said in USER; the choice of a server waits"),
        Fetch("ftp.host", SampleType.STRING, "`mode ftp`: what the client said in HOST (RFC 7151); likewise"),
    )
}


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converter: what it takes, its result, and the check of its arguments."""

    name: str
    takes: tuple[SampleType, ...]
    type: SampleType
    doc: str
    check: Callable[[tuple[str, ...]], None]
    syntax: str = ""


_MAP = "(<file>[,<default>])"


def _nothing(args: tuple[str, ...]) -> None:
    if args:
        raise ConfigError(f"no argument expected, got '{args[0]}'")


def _map(args: tuple[str, ...]) -> None:
    if not args or not args[0]:
        raise ConfigError("failed to open pattern file <>")
    if len(args) > 2:
        raise ConfigError(f"expects a file and a default, got {len(args)} arguments")


CONVERTERS: Mapping[str, Conversion] = {
    **{
        name: Conversion(name, tuple(SampleType), SampleType.STRING, doc, check, syntax)
        for name, doc, check, syntax in (
            ("lower", "the text in lower case", _nothing, ""),
            ("upper", "the text in upper case", _nothing, ""),
            ("map", "as `map_str`", _map, _MAP),
            ("map_str", "the value of the key that is the text, in a map file", _map, _MAP),
            ("map_beg", "the value of the longest key that the text begins with", _map, _MAP),
            ("map_end", "the value of the first key that the text ends with", _map, _MAP),
            ("map_sub", "the value of the first key that is part of the text", _map, _MAP),
            ("map_reg", "the value of the first key that, as a regular expression, is found in the text", _map, _MAP),
        )
    },
    "ipmask": Conversion(
        "ipmask",
        (SampleType.ADDRESS, SampleType.IPV6),
        SampleType.ADDRESS,
        "the network of an address",
        _mask,
        "(<mask4>[,<mask6>])",
    ),
}

_PIECE = re.compile(r"([A-Za-z0-9_.-]+)(?:\(([^()]*)\))?")


def parse_expression(word: Word) -> Expression:
    """`fetch[(args)][,converter[(args)]...]` in one word. Raises LineError in HAProxy's words."""
    pieces = _pieces(word)
    fetch, args = pieces[0]
    _check_fetch(fetch, args, word)
    kind, converters = FETCHES[fetch].type, []
    for name, given in pieces[1:]:
        converters.append(_converter(name, given, kind, word))
        kind = CONVERTERS[name].type
    return Expression(word.text, fetch, args, tuple(converters))


def _pieces(word: Word) -> list[tuple[str, tuple[str, ...]]]:
    found: list[tuple[str, tuple[str, ...]]] = []
    at, text = 0, word.text
    while True:
        piece = _PIECE.match(text, at)
        if piece is None:
            raise LineError(
                "missing fetch method." if not found else f"missing conv method after '{found[-1][0]}'", word
            )
        found.append((piece.group(1), _arguments(piece.group(2))))
        at = piece.end()
        if at == len(text):
            return found
        if text[at] != ",":
            raise LineError(f"syntax error after '{piece.group(1)}': unexpected '{text[at]}'.", word)
        at += 1


def _arguments(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",")) if text else ()


def _check_fetch(name: str, args: tuple[str, ...], word: Word) -> None:
    fetch = FETCHES.get(name)
    if fetch is None and name in KNOWN_FETCHES:
        raise LineError(f"fetch method '{name}' is not supported yet.", word)
    if fetch is None:
        raise LineError(f"unknown fetch method '{name}'.", word, nearest(name, FETCHES) or "")
    _check_arguments(f"fetch method '{name}'", fetch.check, args, word)


def _converter(name: str, args: tuple[str, ...], kind: SampleType, word: Word) -> Converter:
    conversion = CONVERTERS.get(name)
    if conversion is None and name in KNOWN_CONVERTERS:
        raise LineError(f"converter '{name}' is not supported yet.", word)
    if conversion is None:
        raise LineError(f"unknown converter '{name}'.", word, nearest(name, CONVERTERS) or "")
    if kind not in conversion.takes:
        raise LineError(f"converter '{name}' cannot be applied to {kind} values.", word)
    _check_arguments(f"converter '{name}'", conversion.check, args, word)
    return Converter(name, args)


def _check_arguments(
    what: str, check: Callable[[tuple[str, ...]], None] | None, args: tuple[str, ...], word: Word
) -> None:
    if check is None and args:
        raise LineError(f"{what} : no argument expected, got '{args[0]}'.", word)
    if check is None:
        return
    try:
        check(args)
    except ConfigError as error:
        raise LineError(f"{what} : invalid args: {error}.", word) from None


def needs_ftp(expression: Expression) -> bool:
    """Whether only a session in `mode ftp` has a sample for it."""
    return expression.fetch.startswith("ftp.")


def result_type(expression: Expression) -> SampleType:
    """The type of what the expression gives."""
    if expression.converters:
        return CONVERTERS[expression.converters[-1].name].type
    return FETCHES[expression.fetch].type


def fits(expression: Expression, key: KeyType) -> bool:
    """Whether a table with such keys can hold the result; only an IPv6 literal has no integer form."""
    return not (result_type(expression) is SampleType.IPV6 and key is KeyType.INTEGER)
