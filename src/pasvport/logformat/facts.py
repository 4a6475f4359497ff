"""THE table of what `mode ftp` can say of a session and of a transfer: aliases, fetches and JSON keys are made of it.

A fact of a session `NAME` is the alias in its row, the fetch `ftp.NAME` and the JSON key `ftp_NAME`; one of a transfer
is `ftp.transfer.NAME` and `transfer_NAME`. No alias begins with `F` or `X` in HAProxy 2.6, so none changes its meaning.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any

from pasvport.digits import is_number
from pasvport.logformat.dates import PerSecond, local_date
from pasvport.record import SessionRecord, TransferRecord


class Sort(StrEnum):
    """What a value is, in words that the documentation uses."""

    TEXT = "text"
    FOREIGN = "text that a peer sent"
    NUMBER = "number"
    FLAG = "1 or 0"
    DATE = "date"


class Scope(StrEnum):
    """Of which part of a SessionRecord (its attribute) a fact tells; "" is the record itself."""

    SESSION = ""
    FTP = "ftp"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a record can say. `value` reads the scope's object; None, "", b"" and "-" mean: nothing to say.

    `plain` is the record's attribute (dotted) that a log line says as it is; "" where it takes more than that.
    """

    scope: Scope
    alias: str
    name: str
    sort: Sort
    meaning: str
    value: Callable[[Any], Any]
    plain: str = ""

    @property
    def fetch(self) -> str:
        """The fetch's name."""
        return f"ftp.{'transfer.' if self.scope is Scope.TRANSFER else ''}{self.name}"

    @property
    def key(self) -> str:
        """The JSON key."""
        return f"{self.scope}_{self.name}" if self.scope else self.name


def worded(fact: Fact) -> Callable[[SessionRecord], str]:
    """A reader of the fact as text, unescaped; "" where the record has no such part or nothing to say."""
    part, value, word = attrgetter(fact.scope), fact.value, _WORDINGS[fact.sort]()

    def read(record: SessionRecord) -> str:
        holder = part(record)
        found = None if holder is None else value(holder)
        return "" if found is None or found == "-" else word(found)

    return read


def rate(transfer: TransferRecord) -> int | None:
    """Bytes a second; a transfer shorter than the clock's tick took 1 ms. None when it did not take place."""
    if transfer.duration < 0:
        return None
    return transfer.size * 1000 // max(transfer.duration, 1)


def _date() -> Callable[[float], str]:
    stamp = PerSecond(local_date)

    def word(moment: float) -> str:
        if not moment:
            return ""
        seconds, milliseconds = divmod(int(moment * 1000), 1000)
        return f"{stamp(seconds)}.{milliseconds:03d}"

    return word


def _text_of_bytes(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


_WORDINGS: dict[Sort, Callable[[], Callable[[Any], str]]] = {
    Sort.TEXT: lambda: str,
    Sort.FOREIGN: lambda: _text_of_bytes,
    Sort.NUMBER: lambda: str,
    Sort.FLAG: lambda: lambda flag: "1" if flag else "0",
    Sort.DATE: _date,
}


_ALWAYS_SAID = frozenset(
    {"verb", "direction", "server", "data_type", "client_mode", "server_mode", "ending", "termination_state", "peer"}
)
"""Texts of a transfer that are never empty: `-` at the least."""


def _session(alias: str, name: str, sort: Sort, meaning: str, attribute: str = "") -> Fact:
    return _fact(Scope.FTP, alias, name, sort, meaning, attribute or name)


def _transfer(alias: str, name: str, sort: Sort, meaning: str, attribute: str = "") -> Fact:
    return _fact(Scope.TRANSFER, alias, name, sort, meaning, attribute or name)


def _fact(scope: Scope, alias: str, name: str, sort: Sort, meaning: str, attribute: str) -> Fact:
    is_plain = sort is Sort.NUMBER or (scope is Scope.TRANSFER and attribute in _ALWAYS_SAID)
    plain = f"{scope}.{attribute}" if is_plain else ""
    return Fact(scope, alias, name, sort, meaning, attrgetter(attribute), plain)


FTP_FACTS: tuple[Fact, ...] = (
    _session("Fu", "user", Sort.FOREIGN, "the user who is logged in: whose name a server accepted last"),
    _session("Fl", "logged_in", Sort.FLAG, "whether anybody is"),
    _session("Ffu", "failed_user", Sort.FOREIGN, "user name of the last login that was refused, or came to no end"),
    _session("Fh", "virtual_host", Sort.FOREIGN, "name given with HOST (RFC 7151)"),
    _session("Fc", "commands", Sort.NUMBER, "commands the client sent"),
    _session("Frf", "refused_commands", Sort.NUMBER, "of them, refused by the balancer"),
    _session("Fx", "transfers", Sort.NUMBER, "transfers, listings included"),
    _session("Fxf", "failed_transfers", Sort.NUMBER, "of them, those that were not complete"),
    _session("FU", "bytes_in", Sort.NUMBER, "bytes uploaded on data connections"),
    _session("FB", "bytes_out", Sort.NUMBER, "bytes downloaded on data connections"),
    _session("Flf", "login_failures", Sort.NUMBER, "logins that were refused"),
    _session("Fst", "strangers", Sort.NUMBER, "data connections refused because of where they came from"),
    _session("Fcf", "conflicts", Sort.NUMBER, "data ports to which two connections came for one; neither was served"),
    _session("Fry", "strays", Sort.NUMBER, "replies of the server that nobody had asked for"),
    _session("Frd", "redispatches", Sort.NUMBER, "servers given up for another before the login"),
    _session("Fb", "blind", Sort.FLAG, "whether the session was encrypted end to end (AUTH TLS), unreadable here"),
    _session("FR", "reason", Sort.TEXT, "why the session ended, in words"),
)

TRANSFER_FACTS: tuple[Fact, ...] = (
    _transfer("Xn", "number", Sort.NUMBER, "number of the data path within its session"),
    _transfer("Xv", "verb", Sort.TEXT, "the command: `RETR`, `STOR`, `LIST` ...; `-` where a conflict came before it"),
    _transfer("Xp", "path", Sort.FOREIGN, "its argument, as the client sent it"),
    _transfer("Xd", "direction", Sort.TEXT, "`download` (listings too) or `upload`"),
    _transfer("Xu", "user", Sort.FOREIGN, "the user who was logged in"),
    _transfer("Xs", "server", Sort.TEXT, "server, or `<NOSRV>`"),
    _transfer("Xty", "type", Sort.TEXT, "`A` or `I`", "data_type"),
    _transfer("Xr", "restart", Sort.NUMBER, "offset given with REST"),
    _transfer("XB", "size", Sort.NUMBER, "bytes moved"),
    _transfer("Xcm", "client_mode", Sort.TEXT, "the client's way to its data connection: `PASV` `EPSV` `PORT` `EPRT`"),
    _transfer("Xsm", "server_mode", Sort.TEXT, "the same towards the server"),
    _transfer("Xdp", "port", Sort.NUMBER, "the balancer's data port for the client; 0 none"),
    _transfer("Xc", "code", Sort.NUMBER, "reply code that the client was told; 0 none"),
    _transfer("Xsc", "server_code", Sort.NUMBER, "reply code that the server gave; 0 none"),
    _transfer(
        "Xe", "ending", Sort.TEXT, "how the bytes ended: `complete` `client-abort` `server-abort` `cut` `conflict`"
    ),
    _transfer("Xts", "termination_state", Sort.TEXT, "termination state of the transfer, two letters"),
    _transfer("Xci", "peer", Sort.TEXT, "address of the client's data connection"),
    _transfer("Xt", "date", Sort.DATE, "date of its start, local, with ms: `06/Feb/2009:12:12:51.443`", "started"),
    _transfer("XTw", "client_wait", Sort.NUMBER, "ms until the client's data connection was there; -1 not reached"),
    _transfer("XTc", "connect_time", Sort.NUMBER, "ms to connect to the server's data port; -1 not reached"),
    _transfer("XTt", "duration", Sort.NUMBER, "ms from its start to its end; -1 not reached"),
    Fact(Scope.TRANSFER, "XR", "rate", Sort.NUMBER, "bytes a second", rate),
)


def _plain(name: str, sort: Sort, meaning: str, attribute: str = "") -> Fact:
    return Fact(Scope.SESSION, "", name, sort, meaning, attrgetter(attribute or name))


def _port(name: str, meaning: str) -> Fact:
    # A UNIX socket's id stands in the same place of a record, and is a number too.
    def read(record: SessionRecord) -> int | None:
        text: str = getattr(record, name)
        return int(text) if is_number(text) else None

    return Fact(Scope.SESSION, "", name, Sort.NUMBER, meaning, read)


IDENTITY_FACTS: tuple[Fact, ...] = (
    _plain("client_address", Sort.TEXT, "client address; `unix` on a UNIX socket"),
    _port("client_port", "client port; the listener's id on a UNIX socket"),
    _plain("frontend", Sort.TEXT, "frontend"),
    _plain("backend", Sort.TEXT, "backend"),
    _plain("server", Sort.TEXT, "server"),
    _plain("accepted", Sort.DATE, "date of the accept"),
    _plain("session_number", Sort.NUMBER, "number of the session"),
    _plain("unique_id", Sort.TEXT, "unique id of the session (`unique-id-format`)"),
    _plain("frontend_address", Sort.TEXT, "address the client dialled"),
    _port("frontend_port", "port the client dialled"),
    _plain("listener", Sort.TEXT, "name of the bind line, or its id"),
)
"""JSON only: which session it was. On lines of transfers too."""

SESSION_FACTS: tuple[Fact, ...] = (
    _plain("termination_state", Sort.TEXT, "termination state, two letters"),
    _plain("bytes_in", Sort.NUMBER, "bytes from client to server (`mode ftp`: commands and uploads)"),
    _plain("bytes_out", Sort.NUMBER, "bytes from server to client (`mode ftp`: replies and downloads)"),
    _plain("total_time", Sort.NUMBER, "ms from accept to the end"),
    _plain("queue_time", Sort.NUMBER, "ms waited in queues"),
    _plain("connect_time", Sort.NUMBER, "ms to connect to the server"),
    _plain("data_time", Sort.NUMBER, "ms of data transfer"),
    _plain("handshake_time", Sort.NUMBER, "ms of handshakes on the client's connection"),
    _plain("server_address", Sort.TEXT, "address of the server"),
    _port("server_port", "port of the server"),
    _plain("source_address", Sort.TEXT, "our address towards the server"),
    _port("source_port", "our port towards the server"),
    _plain("retries", Sort.NUMBER, "connection retries"),
    _plain("redispatched", Sort.FLAG, "whether another server was tried"),
    _plain("process_connections", Sort.NUMBER, "connections of the whole process at the end of this one"),
    _plain("frontend_connections", Sort.NUMBER, "connections of the frontend"),
    _plain("backend_connections", Sort.NUMBER, "connections of the backend"),
    _plain("server_connections", Sort.NUMBER, "connections of the server"),
    _plain("server_queue", Sort.NUMBER, "sessions served before this one in the server's queue"),
    _plain("backend_queue", Sort.NUMBER, "sessions served before this one in the backend's queue"),
    _plain("tls_version", Sort.TEXT, "TLS version of the client's connection; null, for TLS does not end here yet"),
    _plain("tls_cipher", Sort.TEXT, "its cipher; null, likewise"),
)
"""JSON only: how the session went."""
