"""THE table of log-format aliases, with their documentation: docs/logging.md is generated from it.

Source: HAProxy manual, section 8.2.6, as 2.6 prints them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter

from pasvport.logformat.dates import PerSecond, local_date, local_date_with_zone, utc_date
from pasvport.logformat.escape import escape_text
from pasvport.logformat.facts import FTP_FACTS, TRANSFER_FACTS, Fact, Sort, worded
from pasvport.logformat.items import Kind, Read, constant, missing_as_dash
from pasvport.record import SessionRecord


@dataclass(frozen=True, slots=True)
class Alias:
    """One `%name`. `reads` are the record's attributes it needs; `final`: known only when the session ends.

    `make` gives a reader (a new one per format, because some keep a cache). `plain` is the attribute that the reader
    gives, as it is, of a record that `is_plain` and has that part; "" where it does more than that.
    """

    name: str
    meaning: str
    kind: Kind
    reads: tuple[str, ...]
    make: Callable[[], Read]
    final: bool = False
    plain: str = ""


def is_plain(record: SessionRecord) -> bool:
    """Whether nothing about the session puts a mark (`+`, `~`) beside a value."""
    return not (record.in_progress or record.redispatched or record.tls_version)


def _plain(name: str, meaning: str, kind: Kind, attribute: str, *, final: bool = False) -> Alias:
    return Alias(name, meaning, kind, (attribute,), lambda: attrgetter(attribute), final, attribute)


def _optional(name: str, meaning: str, attribute: str, *, final: bool = False) -> Alias:
    return Alias(name, meaning, Kind.TEXT, (attribute,), lambda: missing_as_dash(attrgetter(attribute)), final)


def _early_marked(name: str, meaning: str, attribute: str) -> Alias:
    """A figure that `option logasap` marks with `+`, since it goes on growing."""

    def read(record: SessionRecord) -> str | int:
        value: int = getattr(record, attribute)
        return f"+{value}" if record.in_progress else value

    return Alias(name, meaning, Kind.NUMBER, (attribute, "in_progress"), lambda: read, True, attribute)


def _dated(name: str, meaning: str, write: Callable[[int], str]) -> Alias:
    def make() -> Read:
        stamp = PerSecond(write)
        return lambda record: stamp(int(record.accepted * 1000) // 1000)

    return Alias(name, meaning, Kind.VERBATIM, ("accepted",), make)


def _date_with_milliseconds() -> Read:
    stamp = PerSecond(local_date)

    def read(record: SessionRecord) -> str:
        seconds, milliseconds = divmod(int(record.accepted * 1000), 1000)
        return "%s.%03d" % (stamp(seconds), milliseconds)  # noqa: UP031 - faster than an f-string with a width

    return read


def _milliseconds(record: SessionRecord) -> str:
    return f"{int(record.accepted * 1000) % 1000:03d}"


def _seconds(record: SessionRecord) -> int:
    return int(record.accepted * 1000) // 1000


def _frontend(record: SessionRecord) -> str:
    return record.frontend + "~" if record.tls_version else record.frontend


def _retries(record: SessionRecord) -> str | int:
    return f"+{record.retries}" if record.redispatched else record.retries


def _of_fact(fact: Fact) -> Alias:
    """The alias of a fact of `mode ftp`; `-` on lines that know nothing of it."""

    def make() -> Read:
        read = worded(fact)
        if fact.sort in (Sort.FOREIGN, Sort.TEXT):
            # The renderer escapes lines that are not clean, but a quote in a stranger's word looks clean.
            return lambda record: escape_text(read(record)) or "-"
        return missing_as_dash(read)

    kind = Kind.NUMBER if fact.sort in (Sort.NUMBER, Sort.FLAG) else Kind.TEXT
    kind = Kind.VERBATIM if fact.sort is Sort.DATE else kind
    return Alias(fact.alias, fact.meaning, kind, (fact.scope,), make, True, fact.plain)


# The two aliases whose value belongs to the process: the compiler of a format replaces their readers.
HOSTNAME = "H"
PROCESS_ID = "pid"

_TABLE = (
    _early_marked("B", "bytes from server to client; `+` before it with `option logasap`", "bytes_out"),
    Alias(HOSTNAME, "this machine's host name", Kind.TEXT, (), lambda: constant("-")),
    _optional("ID", "unique id of the session (`unique-id-format`)", "unique_id", final=True),
    _dated("T", "date of the accept, UTC: `06/Feb/2009:12:12:51 +0000`", utc_date),
    _plain(
        "Tc", "ms to connect to the server, retries included; -1 not reached", Kind.NUMBER, "connect_time", final=True
    ),
    _plain("Td", "ms of data transfer; -1 not reached", Kind.NUMBER, "data_time", final=True),
    _plain("Th", "ms of handshakes on the client's connection", Kind.NUMBER, "handshake_time", final=True),
    _dated("Tl", "date of the accept, local with zone: `06/Feb/2009:13:12:51 +0100`", local_date_with_zone),
    Alias("Ts", "date of the accept, seconds since the epoch", Kind.HEX4, ("accepted",), lambda: _seconds),
    _early_marked("Tt", "ms from accept to the end; `+` before it with `option logasap`", "total_time"),
    _early_marked("Tu", "ms as the user felt it (as %Tt in TCP)", "total_time"),
    _plain("Tw", "ms waited in queues; -1 not reached", Kind.NUMBER, "queue_time", final=True),
    _plain("U", "bytes from client to server", Kind.NUMBER, "bytes_in", final=True),
    _plain(
        "ac", "connections of the whole process at the end of this one", Kind.NUMBER, "process_connections", final=True
    ),
    _plain("b", "backend", Kind.TEXT, "backend"),
    _plain("bc", "connections of the backend", Kind.NUMBER, "backend_connections", final=True),
    _plain("bi", "our address towards the server", Kind.ADDRESS, "source_address"),
    _plain("bp", "our port towards the server", Kind.PORT, "source_port"),
    _plain("bq", "sessions served before this one in the backend's queue", Kind.NUMBER, "backend_queue", final=True),
    _plain("ci", "client address; `unix` on a UNIX socket", Kind.ADDRESS, "client_address"),
    _plain("cp", "client port; the listener's id on a UNIX socket", Kind.CLIENT_PORT, "client_port"),
    _plain("f", "frontend", Kind.TEXT, "frontend"),
    _plain("fc", "connections of the frontend", Kind.NUMBER, "frontend_connections", final=True),
    _plain("fi", "address the client dialled", Kind.ADDRESS, "frontend_address"),
    _plain("fp", "port the client dialled", Kind.CLIENT_PORT, "frontend_port"),
    Alias(
        "ft",
        "frontend, with `~` after it when TLS ends here",
        Kind.TEXT,
        ("frontend", "tls_version"),
        lambda: _frontend,
        plain="frontend",
    ),
    _plain("lc", "number of lines this frontend logged before (in this worker)", Kind.HEX4, "log_number"),
    Alias("ms", "milliseconds of the accept date, three digits", Kind.HEX2, ("accepted",), lambda: _milliseconds),
    Alias(PROCESS_ID, "process id", Kind.HEX4, (), lambda: constant("0")),
    Alias(
        "rc",
        "connection retries; `+` before it when redispatched",
        Kind.NUMBER,
        ("retries", "redispatched"),
        lambda: _retries,
        True,
        "retries",
    ),
    _plain("rt", "number of the session", Kind.HEX4, "session_number"),
    _plain("s", "server, or `<NOSRV>`", Kind.TEXT, "server"),
    _plain("sc", "connections of the server", Kind.NUMBER, "server_connections", final=True),
    _plain("si", "address of the server", Kind.ADDRESS, "server_address"),
    _plain("sp", "port of the server", Kind.PORT, "server_port"),
    _plain("sq", "sessions served before this one in the server's queue", Kind.NUMBER, "server_queue", final=True),
    _optional("sslc", "TLS cipher of the client's connection; empty, for TLS does not end here yet", "tls_cipher"),
    _optional("sslv", "TLS version of the client's connection; likewise", "tls_version"),
    Alias(
        "t",
        "date of the accept, local, with ms: `06/Feb/2009:12:12:51.443`",
        Kind.VERBATIM,
        ("accepted",),
        _date_with_milliseconds,
    ),
    _plain("ts", "termination state, two letters", Kind.VERBATIM, "termination_state", final=True),
    Alias(
        "tsc",
        "termination state and two dashes (cookies belong to HTTP)",
        Kind.VERBATIM,
        ("termination_state",),
        lambda: lambda record: record.termination_state + "--",
    ),
    Alias("ST", "0 (status codes belong to HTTP)", Kind.VERBATIM, (), lambda: lambda record: 0),
)

_FTP = tuple(map(_of_fact, FTP_FACTS))
_TRANSFER = tuple(map(_of_fact, TRANSFER_FACTS))

ALIASES: dict[str, Alias] = {alias.name: alias for alias in (*_TABLE, *_FTP, *_TRANSFER)}

# Captured headers: nothing can be captured here, and HAProxy prints nothing then.
EMPTY_ALIASES = frozenset({"hr", "hrl", "hs", "hsl"})

HTTP_ALIASES = frozenset(
    {"CC", "CS", "HM", "HP", "HPO", "HQ", "HU", "HV", "Ta", "Ti", "TR", "Tq", "Tr", "r", "tr", "trg", "trl"}
)


def unsupported_reason(name: str) -> str:
    """Why `%name` is refused: of HTTP only, or unknown."""
    if name in HTTP_ALIASES:
        return f"format alias '%{name}' belongs to mode http"
    return f"unknown format alias '%{name}' (write '%%' for a percent sign)"
