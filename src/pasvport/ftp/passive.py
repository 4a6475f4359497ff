"""Where data connections go: 227, 229, PORT, EPRT, EPSV's argument, read and written.

RFC 959 section 4.1.2, RFC 1123 section 4.1.2.6 (the text of 227 is not fixed), RFC 2428, RFC 2577 (bounce). Servers'
replies are read as leniently as the most lenient of curl, lftp, wget and ftplib does, each of which differs: lftp and
ftplib read a port behind a protocol and an address, lftp needs no delimiter behind the port and no parentheses, ftplib
looks into every line of the reply, wget takes any 2xx for 227.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import NamedTuple

from pasvport.address import MAX_PORT, Family, family_of, unmapped
from pasvport.digits import is_number, whole_number
from pasvport.errors import ProtocolError, Side
from pasvport.ftp.grammar import Reply
from pasvport.record import DataMode

LOWEST_ACTIVE_PORT = 1024
_NUMBER = rb"([0-9]{1,3})"
_LENIENT_NUMBER = rb"0{0,9}([0-9]{1,3})"
_SIX = rb"\s*,\s*".join([_NUMBER] * 6)
_LENIENT_SIX = rb"[ \t]{0,9},[ \t]{0,9}".join([_LENIENT_NUMBER] * 6)
# Looking ahead, so that of seven numbers the last six are found too.
_SIX_ANYWHERE = (
    re.compile(rb"\([ \t]{0,9}(?=" + _LENIENT_SIX + rb"[ \t]{0,9}\))"),
    re.compile(rb"(?<![0-9])(?=" + _LENIENT_SIX + rb"(?![0-9]))"),
)
_SIX_ONLY = re.compile(rb"\s*" + _SIX + rb"\s*")
_EXTENDED_ANYWHERE = (
    re.compile(rb"\([ \t]{0,9}([!-/:-~])\1\1[ \t]{0,9}0{0,9}([0-9]{1,5})[ \t]{0,9}\1"),
    re.compile(rb"\(([!-/:-~])[12]?\1[0-9A-Fa-f:.]{0,64}\1([0-9]{1,5})\1"),
    re.compile(rb"([!-/:-~])\1\1[ \t]{0,9}0{0,9}([0-9]{1,5})\1"),
    re.compile(rb"([!-/:-~])\1\1[ \t]{0,9}0{0,9}([0-9]{1,5})(?![0-9])"),
)
"""The forms of 229, the usual ones first: what else in the text looks like a port is not taken for one."""
_EXTENDED_IN_FULL = _EXTENDED_ANYWHERE[:2]
"""What must be there in a reply that is not 229."""
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
    for form in _SIX_ANYWHERE:
        for found in form.finditer(text):
            target = _six(found)
            if target is not None:
                return target
    raise ProtocolError("no address in the reply to PASV", Side.SERVER)


def parse_229(text: bytes) -> int:
    """The port of `(|||port|)`, with any printable delimiter that is no digit, in any text around it.

    Parentheses and the last delimiter may be missing, a protocol and an address may be there. Raises ProtocolError
    (the server's).
    """
    return _extended(text, _EXTENDED_ANYWHERE)


def _extended(text: bytes, forms: tuple[re.Pattern[bytes], ...]) -> int:
    for form in forms:
        for found in form.finditer(text):
            if 1 <= int(found[2]) <= MAX_PORT:
                return int(found[2])
    raise ProtocolError("no port in the reply to EPSV", Side.SERVER)


def named_target(reply: Reply, asked: DataMode) -> Target:
    """Where a server says it listens, in answer to `asked` (PASV or EPSV); the host is empty where it names none.

    227 and 229 count whichever was asked, and so does any other 2xx with a port in it. Every line is looked into.
    Raises ProtocolError (the server's).
    """
    if not 200 <= reply.code < 300:
        raise ProtocolError(f"{reply.code} in answer to {asked}", Side.SERVER)
    # Codes stay in it: no form has a number, then a space or a hyphen.
    text = reply.raw
    forms = _EXTENDED_ANYWHERE if reply.code in _SAYS else _EXTENDED_IN_FULL
    extended = _SAYS.get(reply.code, asked) is DataMode.EPSV
    try:
        return Target("", _extended(text, forms)) if extended else parse_227(text)
    except ProtocolError as first:
        try:
            return parse_227(text) if extended else Target("", _extended(text, forms))
        except ProtocolError:
            raise first from None


_SAYS = {227: DataMode.PASV, 229: DataMode.EPSV}


class KnownPassive:
    """What is known of the ways in which one server opens data ports; shared by its sessions, which keep it true.

    `fixed` is what the configuration says (`option ftp-passive`), NONE for auto. `works` is the way that worked where
    the other failed. `closes` is the way at which the server closed its control connection; it is asked no more as long
    as the other works.
    """

    __slots__ = ("closes", "fixed", "works")

    def __init__(self, works: DataMode = DataMode.NONE, fixed: DataMode = DataMode.NONE) -> None:
        self.works = works
        self.fixed = fixed
        self.closes = DataMode.NONE

    def ways(self, asked: DataMode, *, ipv6: bool) -> list[DataMode]:
        """By which commands to ask for a port, in order, for a client that said `asked`; to an IPv6 server only EPSV.

        The client's own way is first where nothing else is known: PASV for PASV and PORT, EPSV for EPSV and EPRT.
        """
        if ipv6:
            return [DataMode.EPSV]
        if self.fixed is not DataMode.NONE:
            return [self.fixed]
        first = self.works if self.works is not DataMode.NONE else _OWN_WAY[asked]
        other = OTHER_WAY[first]
        return [first] if self.closes is other else [first, other]


OTHER_WAY = {DataMode.EPSV: DataMode.PASV, DataMode.PASV: DataMode.EPSV}
_OWN_WAY = {
    DataMode.PASV: DataMode.PASV,
    DataMode.PORT: DataMode.PASV,
    DataMode.EPSV: DataMode.EPSV,
    DataMode.EPRT: DataMode.EPSV,
}


def names_port(text: bytes) -> bool:
    """Whether a client could read a data port in the text of a 227 or a 229."""
    for read in (parse_227, parse_229):
        try:
            read(text)
        except ProtocolError:
            continue
        return True
    return False


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
