"""Addresses as the configuration language writes them: parse, print, contain.

A name is never resolved here; that needs a network (`control` does it at start-up).
Sources: HAProxy configuration manual, section 11 (address formats); RFC 4291 section 2.2.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from pasvport.digits import whole_number
from pasvport.errors import AddressError

MAX_PORT = 65535


class Family(StrEnum):
    """Kind of endpoint. NAME is a host name that start-up must still resolve."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    UNIX = "unix"
    ABNS = "abns"
    FD = "fd"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class PortRange:
    """Inclusive range of TCP ports, 0 <= low <= high <= 65535. One port is a range of one."""

    low: int
    high: int

    def __contains__(self, port: int) -> bool:
        return self.low <= port <= self.high

    def __len__(self) -> int:
        return self.high - self.low + 1

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place to listen on, or to connect to.

    `host` is a literal IP without brackets, a UNIX path, an abstract name, a descriptor number (FD) or a
    host name (NAME); `port` is 0 where the family has none. For NAME, `prefer` says which family
    ipv4@/ipv6@ asked for (None: any).
    """

    family: Family
    host: str
    port: int = 0
    prefer: Family | None = None

    def __str__(self) -> str:
        if self.family in (Family.UNIX, Family.ABNS, Family.FD):
            prefix = {Family.UNIX: "", Family.ABNS: "abns@", Family.FD: "fd@"}[self.family]
            return prefix + self.host
        return f"{self.host}:{self.port}"

    def with_port(self, port: int) -> Endpoint:
        """The same host with another port."""
        return Endpoint(self.family, self.host, port, self.prefer)


_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_DOTTED = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
"""What most addresses are; the module `ipaddress` takes ten times as long to say so."""


@lru_cache(maxsize=4096)
def family_of(host: str) -> Family:
    """IPV4 or IPV6 for a literal, NAME for anything else."""
    if _DOTTED.fullmatch(host):
        return Family.IPV4
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return Family.NAME
    return Family.IPV4 if version == 4 else Family.IPV6


def parse_port(text: str, *, lowest: int = 1) -> int:
    """A decimal port, `lowest`..65535. Raises AddressError with HAProxy's words for it."""
    port = whole_number(text, MAX_PORT)
    if port is None or port < lowest:
        raise AddressError(f"invalid port '{text}'", text)
    return port


def parse_port_range(text: str, *, lowest: int = 1) -> PortRange:
    """`N` or `LO-HI` (inclusive, LO <= HI). Raises AddressError."""
    low_text, dash, high_text = text.partition("-")
    low = parse_port(low_text, lowest=lowest)
    high = parse_port(high_text, lowest=lowest) if dash else low
    if high < low:
        raise AddressError(f"invalid port range '{text}'", text)
    return PortRange(low, high)


def packed(host: str) -> bytes:
    """The 4 or 16 bytes of a literal address (network order). Raises AddressError for anything else."""
    try:
        return ipaddress.ip_address(host).packed
    except ValueError:
        raise AddressError(f"not an IP address: '{host}'", host) from None


def unmapped(host: str) -> str:
    """`::ffff:a.b.c.d` as `a.b.c.d`; every other literal unchanged."""
    if host.startswith("::ffff:") and "." in host:
        return host[7:]
    return host


@dataclass(frozen=True, slots=True)
class Network:
    """An IP network that can tell whether it contains an address (IPv4-mapped IPv6 counts as IPv4)."""

    text: str

    def __contains__(self, host: str) -> bool:
        network = ipaddress.ip_network(self.text, strict=False)
        address = ipaddress.ip_address(unmapped(host))
        return address.version == network.version and address in network
