"""Where data connections go: 227, 229, PORT, EPRT, EPSV's argument, read and written.

RFC 959 section 4.1.2, RFC 1123 section 4.1.2.6 (the text of 227 is not fixed), RFC 2428, RFC 2577 (bounce).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import NamedTuple

from pasvport.address import MAX_PORT, Family, family_of, unmapped
from pasvport.digits import is_number, whole_number
from pasvport.errors import ProtocolError, Side

LOWEST_ACTIVE_PORT = 1024
_NUMBER = rb"([0-9]{1,3})"
_SIX = rb"\s*,\s*".join([_NUMBER] * 6)
_SIX_ANYWHERE = re.compile(rb"(?<![0-9])" + _SIX + rb"(?![0-9])")
_SIX_ONLY = re.compile(rb"\s*" + _SIX + rb"\s*")
_EXTENDED = re.compile(rb"([!-/:-~])\1\1([0-9]{1,5})\1")
_NUMBER_OF = {Family.IPV4: b"1", Family.IPV6: b"2"}
_FAMILY_OF = {number: family for family, number in _NUMBER_OF.items()}


class Target(NamedTuple):
    """A place to dial: a literal address and a port."""

    host: str
    port: int


class ArgumentError(ProtocolError):
    """A client's argument must be answered with `code` and the message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message, Side.CLIENT)
        self.code = code


# --- what servers say ---------------------------------------------------------------------------------------------


def parse_227(text: bytes) -> Target:
    """The six numbers in any text around them; each 0..255, port not 0. Raises ProtocolError (the server's)."""
    found = _SIX_ANYWHERE.search(text)
    target = _six(found) if found is not None else None
    if target is None:
        raise ProtocolError("no address in the reply to PASV", Side.SERVER)
    return target


def parse_229(text: bytes) -> int:
    """The port of `(|||port|)`, with any printable delimiter that is no digit. Raises ProtocolError (the server's)."""
    found = _EXTENDED.search(text)
    if found is None or not 1 <= int(found[2]) <= MAX_PORT:
        raise ProtocolError("no port in the reply to EPSV", Side.SERVER)
    return int(found[2])


# --- what clients say ---------------------------------------------------------------------------------------------


def parse_port(argument: bytes) -> Target:
    """The argument of PORT. Raises ArgumentError 501."""
    found = _SIX_ONLY.fullmatch(argument)
    target = _six(found) if found is not None else None
    if target is None:
        raise ArgumentError(501, "PORT needs six numbers from 0 to 255.")
    return target


def parse_eprt(argument: bytes, family: Family) -> Target:
    """The argument of EPRT from a client whose control connection is of `family`. Raises ArgumentError 501 or 522."""
    delimiter = argument[:1]
    parts = argument.split(delimiter) if delimiter else []
    if len(parts) != 5 or parts[4] or not b"!" <= delimiter <= b"~":
        raise ArgumentError(501, "EPRT needs |family|address|port|.")
    if _FAMILY_OF.get(parts[1]) is not family:
        raise refused_family(family)
    host, port = _text(parts[2]), _text(parts[3])
    if family_of(host) is not family or not whole_number(port, MAX_PORT):
        raise ArgumentError(501, "EPRT needs an address of its family and a port.")
    return Target(host, int(port))


def wants_epsv_all(argument: bytes, family: Family) -> bool:
    """Reads EPSV's argument: True for ALL, False for a port of `family`. Raises ArgumentError 501 or 522."""
    asked = argument.strip().upper()
    if not asked or asked == _NUMBER_OF[family]:
        return False
    if asked == b"ALL":
        return True
    if is_number(asked):
        raise refused_family(family)
    raise ArgumentError(501, "EPSV takes 1, 2 or ALL.")


def refused_family(family: Family) -> ArgumentError:
    """522 with the list of what can be used (RFC 2428 section 2)."""
    return ArgumentError(522, f"Network protocol not supported, use ({_text(_NUMBER_OF[family])})")


def check_bounce(target: Target, peer: str) -> None:
    """The balancer dials nobody but the control connection's peer, and no privileged port (RFC 2577 section 3).

    Raises ArgumentError 504.
    """
    if not same_host(target.host, peer):
        raise ArgumentError(504, "The data connection must go to the address of the control connection.")
    if target.port < LOWEST_ACTIVE_PORT:
        raise ArgumentError(504, f"Ports below {LOWEST_ACTIVE_PORT} are not dialled.")


# --- what we say --------------------------------------------------------------------------------------------------


def rendered_227(host: str, port: int) -> bytes:
    """`host` is a literal IPv4 address."""
    numbers = f"{host.replace('.', ',')},{port >> 8},{port & 255}"
    return b"227 Entering Passive Mode (%s).\r\n" % numbers.encode("ascii")


def rendered_229(port: int) -> bytes:
    return b"229 Entering Extended Passive Mode (|||%d|)\r\n" % port


# --- who may connect ----------------------------------------------------------------------------------------------


Claim = str
"""What a data connection is recognised by."""


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """`ftp-data-peer`: how many leading bits of the control peer's address a data peer must share.

    strict is 32 and 128, any is 0 and 0.
    """

    ipv4: int = 32
    ipv6: int = 128

    def claim(self, host: str) -> Claim:
        """What of a peer's literal address is compared: with equal claims one may connect for the other."""
        bits, full = (self.ipv6, 128) if ":" in host else (self.ipv4, 32)
        if bits == full:
            return host
        if not (self.ipv4 or self.ipv6):
            return ""
        return str(ipaddress.ip_network(f"{host.partition('%')[0]}/{bits}", strict=False).network_address)


def same_host(one: str, other: str) -> bool:
    """Whether two literals name one address."""
    return one == other or _address(one) == _address(other)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(unmapped(host).partition("%")[0])


def _six(found: re.Match[bytes]) -> Target | None:
    numbers = [int(number) for number in found.groups()]
    port = numbers[4] << 8 | numbers[5]
    if max(numbers) > 255 or not port:
        return None
    return Target(".".join(map(str, numbers[:4])), port)


def _text(data: bytes) -> str:
    return data.decode("latin-1")
