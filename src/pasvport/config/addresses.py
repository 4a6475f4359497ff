"""Addresses in every form a configuration may write them. Source: HAProxy configuration manual, section 11."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pasvport.address import MAX_PORT, Endpoint, Family, PortRange, family_of
from pasvport.config.scalars import lenient_int, strict_int
from pasvport.errors import AddressError
from pasvport.model import LogTransport, PortMap, ServerPort

MAX_UNIX_PATH = 97
MAX_ABSTRACT_NAME = 107
SYSLOG_PORT = 514


class PortUse(StrEnum):
    """Whether an address has a port."""

    FORBIDDEN = "forbidden"
    OPTIONAL = "optional"
    REQUIRED = "required"


class Transport(StrEnum):
    """Kind of socket an address prefix asks for."""

    STREAM = "stream"
    DATAGRAM = "datagram"


@dataclass(frozen=True, slots=True)
class Acceptable:
    """What one keyword takes for an address."""

    port: PortUse = PortUse.OPTIONAL
    range: bool = False
    offset: bool = False
    descriptor: bool = False
    transports: tuple[Transport, ...] = (Transport.STREAM,)


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address. `low`, `high` are its ports (0: none, or none of importance); `offset` when they had a sign."""

    endpoint: Endpoint
    low: int = 0
    high: int = 0
    offset: int | None = None
    transport: Transport = Transport.STREAM


@dataclass(frozen=True, slots=True)
class _Prefix:
    family: Family | None
    transport: Transport | None = None
    summary: str = ""


PREFIXES: dict[str, _Prefix] = {
    "ipv4": _Prefix(Family.IPV4, None, "an IPv4 address, or a name resolved to one"),
    "ipv6": _Prefix(Family.IPV6, None, "an IPv6 address, or a name resolved to one"),
    "ip": _Prefix(None, None, "an address of either family"),
    "unix": _Prefix(Family.UNIX, None, "the path of a UNIX socket"),
    "abns": _Prefix(Family.ABNS, None, "a name in Linux's abstract namespace of UNIX sockets"),
    "fd": _Prefix(Family.FD, None, "a descriptor inherited from the parent process"),
    "tcp": _Prefix(None, Transport.STREAM, "TCP, either family"),
    "tcp4": _Prefix(Family.IPV4, Transport.STREAM, "TCP over IPv4"),
    "tcp6": _Prefix(Family.IPV6, Transport.STREAM, "TCP over IPv6"),
    "udp": _Prefix(None, Transport.DATAGRAM, "UDP, either family"),
    "udp4": _Prefix(Family.IPV4, Transport.DATAGRAM, "UDP over IPv4"),
    "udp6": _Prefix(Family.IPV6, Transport.DATAGRAM, "UDP over IPv6"),
    "uxst": _Prefix(Family.UNIX, Transport.STREAM, "a UNIX stream socket"),
    "uxdg": _Prefix(Family.UNIX, Transport.DATAGRAM, "a UNIX datagram socket"),
}
_REFUSED_PREFIXES = {
    "quic4": "QUIC is not supported",
    "quic6": "QUIC is not supported",
    "sockpair": "socket pairs are not supported",
}
_KINDS = {"stream+": Transport.STREAM, "dgram+": Transport.DATAGRAM}
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
_NUMERIC_END = re.compile(r"(?:.*\.)?(?:0[xX][0-9A-Fa-f]*|[0-9]+)\.?")
_C_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]{1,8}|[0-9]{1,11}")


def expand(text: str, environment: Mapping[str, str]) -> str:
    """`$NAME` and `${NAME}` replaced: addresses do so even where the word stood outside double quotes."""
    return _VARIABLE.sub(lambda found: environment.get(found.group(1) or found.group(2), ""), text)


def unset_in(text: str, environment: Mapping[str, str]) -> list[str]:
    """The variables that `expand` takes as empty since they are not set."""
    names = (found.group(1) or found.group(2) for found in _VARIABLE.finditer(text))
    return [name for name in names if name not in environment]


def parse_address(text: str, accepts: Acceptable, environment: Mapping[str, str] | None = None) -> Address:
    """One address of any form. Raises AddressError with HAProxy's words; its `word` is the offending part.

    Names are checked for their characters and come back as Family.NAME.
    """
    expanded = expand(text, environment or {})
    if not expanded:
        raise AddressError(f"'{text}' resolves to an empty address (environment variable missing?)", text)
    transport, rest = _kind(expanded, accepts)
    prefix, rest = _prefix(rest, text)
    transport = prefix.transport or transport
    if prefix.family in _SPECIAL_FAMILIES:
        address = _special(prefix.family, rest, text, accepts)
    else:
        address = _internet(prefix.family, rest, text, accepts)
    if transport not in accepts.transports:
        name = "dgram" if transport is Transport.DATAGRAM else "stream"
        raise AddressError(f"{name}-type address not acceptable in '{text}'", text)
    return Address(address.endpoint, address.low, address.high, address.offset, transport)


_SPECIAL_FAMILIES = (Family.UNIX, Family.ABNS, Family.FD)


def _kind(text: str, accepts: Acceptable) -> tuple[Transport, str]:
    for start, transport in _KINDS.items():
        if text.startswith(start):
            return transport, text[len(start) :]
    return accepts.transports[0], text


def _prefix(text: str, whole: str) -> tuple[_Prefix, str]:
    if text.startswith("/"):
        return PREFIXES["unix"], text
    name, at, rest = text.partition("@")
    if at and name in _REFUSED_PREFIXES:
        raise AddressError(f"{_REFUSED_PREFIXES[name]} in '{whole}'", name)
    if at and name in PREFIXES:
        return PREFIXES[name], rest
    return PREFIXES["ip"], text


def _special(family: Family | None, rest: str, whole: str, accepts: Acceptable) -> Address:
    if family is Family.FD:
        return Address(Endpoint(Family.FD, str(_descriptor(rest, whole, accepts))))
    limit = MAX_UNIX_PATH if family is Family.UNIX else MAX_ABSTRACT_NAME
    if len(rest.encode("utf-8", "surrogateescape")) > limit:
        raise AddressError(f"socket path '{whole}' too long (max {limit})", rest)
    return Address(Endpoint(family or Family.UNIX, rest))


def _descriptor(text: str, whole: str, accepts: Acceptable) -> int:
    number = strict_int(text)
    if number is None or number < 0:
        raise AddressError(f"file descriptor '{text}' is not a valid integer in '{whole}'", text)
    if not accepts.descriptor:
        raise AddressError(f"a file descriptor is not acceptable here in '{whole}'", whole)
    return number


def _internet(family: Family | None, rest: str, whole: str, accepts: Acceptable) -> Address:
    host, port = rest, ""
    colon = rest.rfind(":")
    if colon >= 0 and "]" not in rest[colon:]:
        if accepts.port is PortUse.FORBIDDEN:
            raise AddressError(f"port specification not permitted here in '{whole}'", whole)
        host, port = rest[:colon], rest[colon + 1 :]
    low, high, offset = _ports(port, whole, accepts)
    return Address(_host(host, family, whole), low, high, offset)


def _ports(port: str, whole: str, accepts: Acceptable) -> tuple[int, int, int | None]:
    if not port:
        if accepts.port is PortUse.REQUIRED:
            raise AddressError(f"missing port specification in '{whole}'", whole)
        return 0, 0, None
    if port[0] in "+-":
        if not accepts.offset:
            raise AddressError(f"port offset not permitted here in '{whole}'", port)
        size = max(0, lenient_int(port[1:]))
        return 0, 0, size if port[0] == "+" else -size
    if port[0] not in "0123456789":
        raise AddressError(f"invalid character '{port[0]}' in port number '{port}' in '{whole}'", port)
    return *_port_range(port, whole, accepts), None


def _port_range(port: str, whole: str, accepts: Acceptable) -> tuple[int, int]:
    low_text, dash, high_text = port.partition("-")
    if dash and not accepts.range:
        raise AddressError(f"port range not permitted here in '{whole}'", port)
    lowest = 1 if accepts.port is PortUse.REQUIRED else 0
    low = _port(low_text, lowest)
    high = _port(high_text, lowest) if dash else low
    if low > high:
        raise AddressError(f"invalid port range '{low}-{high}'", port)
    return low, high


def _port(text: str, lowest: int) -> int:
    port = lenient_int(text)
    if not lowest <= port <= MAX_PORT:
        raise AddressError(f"invalid port '{text}'", text)
    return port


_ANY = {Family.IPV4: "0.0.0.0", Family.IPV6: "::"}


def _host(host: str, family: Family | None, whole: str) -> Endpoint:
    if host in ("", "*"):
        return Endpoint(family or Family.IPV4, _ANY[family or Family.IPV4])
    brackets = host.startswith("[") and host.endswith("]")
    dotted = family_of(host) is Family.IPV4
    bare = host[1:-1] if brackets else host if dotted else _classic_ipv4(host) or host
    found = family_of(bare)
    wrong_family = found is not Family.NAME and family not in (None, found)
    if wrong_family or (brackets and found is not Family.IPV6) or (found is Family.NAME and not _is_name(bare)):
        raise AddressError(f"invalid address: '{host}' in '{whole}'", host)
    return Endpoint(found, bare, 0, family if found is Family.NAME else None)


def _is_name(host: str) -> bool:
    """Whether a resolver could know it; a name whose last label is a number is a mistyped address (RFC 3696)."""
    return _HOST_NAME.fullmatch(host) is not None and _NUMERIC_END.fullmatch(host) is None


def _classic_ipv4(host: str) -> str | None:
    """The dotted form of `127.1`, `0x7f000001` and so on, which getaddrinfo() and so HAProxy take. None if not one."""
    parts = host.split(".")
    if not 1 <= len(parts) <= 4 or not all(_C_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        *leading, last = (int(part, 8 if part[0] == "0" and part[1:2] not in "xX" else 0) for part in parts)
    except ValueError:
        return None
    if any(number > 255 for number in leading) or last >= 256 ** (5 - len(parts)):
        return None
    value = sum(number << (24 - 8 * place) for place, number in enumerate(leading)) + last
    return ".".join(str(value >> shift & 255) for shift in (24, 16, 8, 0))


# --- the addresses of each keyword --------------------------------------------------------------------------------

_BIND = Acceptable(PortUse.REQUIRED, range=True, descriptor=True)
_SERVER = Acceptable(PortUse.OPTIONAL, offset=True)
_PLAIN = Acceptable(PortUse.OPTIONAL)
_HOST_ONLY = Acceptable(PortUse.FORBIDDEN)
_SOURCE_RANGE = Acceptable(PortUse.OPTIONAL, range=True)
_LOG = Acceptable(PortUse.OPTIONAL, descriptor=True, transports=(Transport.DATAGRAM, Transport.STREAM))


def bind_addresses(text: str, environment: Mapping[str, str] | None = None) -> list[tuple[Endpoint, PortRange]]:
    """`bind`: comma-separated addresses, each with a port or an inclusive range, or without for UNIX, abns and fd.

    Raises AddressError.
    """
    parts = text.split(",")
    if len(parts) > 1 and not parts[-1]:
        parts.pop()
    parsed = [parse_address(part, _BIND, environment) for part in parts]
    return [(address.endpoint.with_port(address.low), PortRange(address.low, address.high)) for address in parsed]


def server_address(text: str, environment: Mapping[str, str] | None = None) -> tuple[Endpoint, ServerPort]:
    """`server`: a port, `+N` or `-N` relative to the client's destination port, or none (or 0) for that very port.

    Host `*` or 0.0.0.0 means the client's destination address. Raises AddressError.
    """
    address = parse_address(text, _SERVER, environment)
    if address.offset:
        return address.endpoint, ServerPort(PortMap.OFFSET, address.offset)
    if address.low:
        return address.endpoint.with_port(address.low), ServerPort(PortMap.FIXED, address.low)
    return address.endpoint, ServerPort(PortMap.SAME)


def plain_address(text: str, environment: Mapping[str, str] | None = None) -> Endpoint:
    """One address with an optional port: `addr`, `agent-addr`, `usesrc`. Raises AddressError."""
    address = parse_address(text, _PLAIN, environment)
    return address.endpoint.with_port(address.low)


def host_only(text: str, environment: Mapping[str, str] | None = None) -> Endpoint:
    """One address that must not have a port. Raises AddressError."""
    return parse_address(text, _HOST_ONLY, environment).endpoint


def source_address(
    text: str, environment: Mapping[str, str] | None = None, *, ranges: bool = False
) -> tuple[Endpoint, PortRange | None]:
    """`source`: an address with an optional port, or with a range of ports where `ranges` (on server lines).

    Raises AddressError.
    """
    address = parse_address(text, _SOURCE_RANGE if ranges else _PLAIN, environment)
    ports = PortRange(address.low, address.high) if address.low else None
    return address.endpoint.with_port(address.low), ports


def log_address(text: str, environment: Mapping[str, str] | None = None) -> tuple[LogTransport, Endpoint | None, int]:
    """`log`: `stdout`, `stderr`, `fd@N`, a UNIX path, or an address (UDP unless tcp@ or stream+; port 514 if none).

    Returns the transport, the endpoint (None for descriptors) and the descriptor (-1 without). Raises AddressError.
    """
    standard = {"stdout": 1, "stderr": 2}.get(text)
    if standard is not None:
        return LogTransport.DESCRIPTOR, None, standard
    address = parse_address(text, _LOG, environment)
    endpoint = address.endpoint
    if endpoint.family is Family.FD:
        return LogTransport.DESCRIPTOR, None, int(endpoint.host)
    stream = address.transport is Transport.STREAM
    if endpoint.family in (Family.UNIX, Family.ABNS):
        return LogTransport.UNIX_STREAM if stream else LogTransport.UNIX_DATAGRAM, endpoint, -1
    return LogTransport.TCP if stream else LogTransport.UDP, endpoint.with_port(address.low or SYSLOG_PORT), -1
