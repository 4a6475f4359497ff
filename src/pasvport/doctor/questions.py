"""Single questions to an FTP server, each with an answer that is a plain value. All raise ProbeError."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
from dataclasses import dataclass, field, replace
from typing import Protocol

from pasvport.doctor.client import Control, Patience, ProbeError, protect, read_all
from pasvport.doctor.listing import read_listing
from pasvport.doctor.visit import Listing, LoginSeen, PassiveSeen
from pasvport.errors import ProtocolError
from pasvport.ftp.grammar import Reply
from pasvport.ftp.passive import Target, named_target
from pasvport.record import DataMode

_ASKS = 12
"""PASV and EPSV each: a range that is wrong by half is missed once in sixteen million times."""
_MOST_PRELIMINARY = 5
_LISTING_LIMIT = 262_144
_SHOWN = 160
_CODE = re.compile("[0-9]{3}[ -]")
_PLAIN = str.maketrans(dict.fromkeys((*range(32), *range(127, 160)), "?"))


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user of the servers; the password is shown nowhere."""

    user: str
    password: str = field(repr=False)


class Wrap(Protocol):
    """Protects a data connection, which it takes over."""

    def __call__(self, connection: socket.socket, patience: Patience) -> socket.socket: ...


@dataclass(frozen=True, slots=True)
class Protection:
    """TLS on data connections: with the control connection's session when `resume`, else with a new one."""

    control: Control
    context: ssl.SSLContext
    resume: bool = True

    def __call__(self, connection: socket.socket, patience: Patience) -> socket.socket:
        return protect(connection, self.context, patience, self.control.session if self.resume else None)


def greet(control: Control) -> tuple[Reply, bool]:
    """The greeting, and whether the server first said that it is not ready (120)."""
    waited = False
    for _ in range(_MOST_PRELIMINARY):
        reply = control.reply("greeting")
        if not reply.is_preliminary:
            return reply, waited
        waited = True
    raise ProbeError("greeting: only preliminary replies", protocol=True)


def ask_features(control: Control) -> frozenset[str] | None:
    """The lines of FEAT in capitals (RFC 2389); None where the server has no FEAT, or not yet."""
    reply = control.ask("FEAT")
    if not 200 <= reply.code < 300:
        return None
    listed = (_CODE.sub("", _text(line), count=1).strip().upper() for line in reply.lines)
    return frozenset(line for line in listed if line)


def log_in(control: Control, login: Credentials) -> LoginSeen:
    """USER and PASS."""
    reply = control.ask("USER", login.user)
    if 300 <= reply.code < 400:
        reply = control.ask("PASS", login.password)
    return LoginSeen(login.user, 200 <= reply.code < 300, words(reply))


def ask_passive(control: Control) -> PassiveSeen:
    """What PASV answers, asked several times, and EPSV where PASV names no port. The last answer's port is left open.

    Where PASV works EPSV is for `ask_extended`, at the end of the session: there are servers that never answer it, or
    hang up.
    """
    targets, pasv, rubbish = _asked(control, DataMode.PASV)
    if targets:
        named = tuple(target for target in targets if target.host)
        return PassiveSeen(named, pasv, tuple(target.port for target in targets if not target.host))
    extended, epsv, also = _asked(control, DataMode.EPSV)
    if not extended and (rubbish or also):
        raise ProbeError(rubbish or also, protocol=True)
    return PassiveSeen((), pasv, tuple(target.port for target in extended), epsv)


def ask_extended(control: Control, seen: PassiveSeen) -> PassiveSeen:
    """`seen` with what EPSV answers, asked several times. The session may not be usable afterwards."""
    try:
        found, refusal, rubbish = _asked(control, DataMode.EPSV)
    except ProbeError as error:
        return replace(seen, epsv_trouble=str(error))
    ports = (*seen.ports, *(target.port for target in found))
    return replace(seen, ports=ports, epsv_refusal=refusal, epsv_trouble=rubbish)


def _asked(control: Control, mode: DataMode) -> tuple[list[Target], str, str]:
    """The ports named, the refusal that ended them, and what was no answer to that command."""
    targets: list[Target] = []
    for _ in range(_ASKS):
        reply = control.ask(mode)
        if reply.code not in (227, 229):
            return targets, words(reply), ""
        try:
            targets.append(named_target(reply, mode))
        except ProtocolError as error:
            return targets, "", f"{mode}: {error}: {words(reply)}"
    return targets, "", ""


def open_port(control: Control) -> int:
    """The port of a new passive transfer, whichever way the server gives one."""
    reply = None
    for mode in (DataMode.PASV, DataMode.EPSV):
        reply = control.ask(mode)
        with contextlib.suppress(ProtocolError):
            return named_target(reply, mode).port
    assert reply is not None
    raise ProbeError(words(reply))


def list_directory(control: Control, connection: socket.socket, patience: Patience, wrap: Wrap | None) -> Listing:
    """LIST over a data connection that has just been dialled; it is closed."""
    with connection:
        reply = control.ask("LIST")
        if reply.code >= 400:
            return Listing(trouble=words(reply))
        data, trouble = _read_data(connection, patience, wrap)
    if reply.is_preliminary:
        reply = control.reply("end of LIST")
    if reply.code >= 400 and len(data) < _LISTING_LIMIT:
        return Listing(trouble=words(reply))
    return Listing(trouble=trouble) if trouble else read_listing(data)


def _read_data(connection: socket.socket, patience: Patience, wrap: Wrap | None) -> tuple[bytes, str]:
    try:
        protected = wrap(connection, patience) if wrap is not None else connection
        with protected:
            return read_all(protected, patience, _LISTING_LIMIT), ""
    except ProbeError as error:
        return b"", str(error)


def words(reply: Reply) -> str:
    """The last line as a person may see it: no control characters, not endless."""
    return _text(b"".join(reply.lines[-1:]))[:_SHOWN]


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").translate(_PLAIN)
