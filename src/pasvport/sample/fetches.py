"""THE table of sample fetches. Source: configuration manual, 7.3.1 (constants), 7.3.2 and 7.3.3. `ftp.*` is ours.

What a fetch reads is its user's business (`stick.samples` of a connection, `logformat.fetches` of a record); a constant
is its own argument.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from pasvport.sample.casts import Kind, Value

_LARGEST = 2**63 - 1


class Since(Enum):
    """From when on there is a value."""

    ACCEPT = "the connection"
    SERVER = "the server"
    """Or the connection to it: too late for choosing one."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """One fetch. `constant` makes the value of its one argument (None: it takes none) and raises ValueError, whose text
    says what is expected.
    """

    name: str
    kind: Kind
    doc: str
    since: Since = Since.ACCEPT
    constant: Callable[[str], Value] | None = None
    syntax: str = ""


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,2000}", text):
        raise ValueError(f"'{text}' is not a number" if text else "expects one argument, got nothing")
    return max(-_LARGEST - 1, min(_LARGEST, int(text)))


def _boolean(text: str) -> int:
    values = {"true": 1, "1": 1, "false": 0, "0": 0}
    if text.lower() not in values:
        raise ValueError("expects 'true', 'false', '0' or '1'")
    return values[text.lower()]


def to_bytes(text: str) -> bytes:
    """The bytes of a text of the configuration."""
    return text.encode("utf-8", "surrogateescape")


def _binary(text: str) -> bytes:
    if not re.fullmatch(r"([0-9A-Fa-f]{2})+", text):
        raise ValueError(f"'{text}' is not a hexadecimal string" if text else "expects one argument, got nothing")
    return bytes.fromhex(text)


def _v4(text: str) -> bytes:
    try:
        return ipaddress.IPv4Address(text).packed
    except ValueError:
        raise ValueError(f"'{text}' is not an IPv4 address") from None


def _v6(text: str) -> bytes:
    try:
        return ipaddress.IPv6Address(text if "%" not in text else "").packed
    except ValueError:
        raise ValueError(f"'{text}' is not an IPv6 address") from None


def _constant(name: str, kind: Kind, make: Callable[[str], Value], argument: str) -> Fetch:
    return Fetch(name, kind, "a constant", constant=make, syntax=f"(<{argument}>)")


_USER = "`mode ftp`: what the client said in {}; the choice of a server waits"

FETCHES: Mapping[str, Fetch] = {
    fetch.name: fetch
    for fetch in (
        Fetch("src", Kind.ADDRESS, "address of the client"),
        Fetch("src_port", Kind.INTEGER, "port of the client"),
        Fetch("dst", Kind.ADDRESS, "address the client connected to"),
        Fetch("dst_port", Kind.INTEGER, "port the client connected to"),
        Fetch("fc_src", Kind.ADDRESS, "as `src`, of the connection itself"),
        Fetch("fc_src_port", Kind.INTEGER, "as `src_port`, of the connection itself"),
        Fetch("fc_dst", Kind.ADDRESS, "as `dst`, of the connection itself"),
        Fetch("fc_dst_port", Kind.INTEGER, "as `dst_port`, of the connection itself"),
        Fetch("bc_src", Kind.ADDRESS, "our address towards the server", Since.SERVER),
        Fetch("bc_src_port", Kind.INTEGER, "our port towards the server", Since.SERVER),
        Fetch("bc_dst", Kind.ADDRESS, "address of the server", Since.SERVER),
        Fetch("bc_dst_port", Kind.INTEGER, "port of the server", Since.SERVER),
        Fetch("fe_name", Kind.STRING, "frontend"),
        Fetch("be_name", Kind.STRING, "backend"),
        Fetch("srv_name", Kind.STRING, "server", Since.SERVER),
        Fetch("so_name", Kind.STRING, "name of the bind line"),
        Fetch("unique-id", Kind.STRING, "unique id of the session, made with its line", Since.SERVER),
        Fetch("fc_err_str", Kind.STRING, "`Success`: no handshake that could fail comes before a session"),
        Fetch("fc_err", Kind.INTEGER, "0, likewise"),
        Fetch("always_true", Kind.BOOLEAN, "true"),
        Fetch("always_false", Kind.BOOLEAN, "false"),
        _constant("bool", Kind.BOOLEAN, _boolean, "bool"),
        _constant("int", Kind.INTEGER, _integer, "integer"),
        _constant("str", Kind.STRING, to_bytes, "string"),
        _constant("bin", Kind.BINARY, _binary, "hex"),
        _constant("ipv4", Kind.ADDRESS, _v4, "ipv4"),
        _constant("ipv6", Kind.IPV6, _v6, "ipv6"),
        Fetch("ftp.user", Kind.STRING, _USER.format("USER")),
        Fetch("ftp.host", Kind.STRING, _USER.format("HOST (RFC 7151)")),
    )
}

FIXED: Mapping[str, Value] = {"always_true": 1, "always_false": 0, "fc_err": 0, "fc_err_str": b"Success"}
"""Fetches whose value is known before there is a session."""
