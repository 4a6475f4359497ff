"""`stats socket`, `stats timeout` and `stats maxconn` of the global section. Source: HAProxy manual, section 3.1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from pasvport.config.addresses import bind_addresses
from pasvport.config.arguments import count, duration
from pasvport.config.cursor import Cursor, LineError
from pasvport.config.draft import GlobalDraft
from pasvport.config.keywords import Keyword, Place, Table, not_supported
from pasvport.config.keywords_bind import BIND
from pasvport.config.keywords_file_access import access_rows, permissions_of
from pasvport.config.scalars import lenient_int
from pasvport.errors import AddressError
from pasvport.model import StatsLevel, StatsSocket

_ADMIN_LEVELS = ", ".join(StatsLevel)


@dataclass(slots=True)
class SocketDraft:
    """The options of one `stats socket` line."""

    level: StatsLevel = StatsLevel.OPERATOR
    expose_listeners: bool = False
    maxconn: int = 0
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    severity_output: str = "none"


Reader = Callable[[Cursor, SocketDraft], None]


def read_socket(cursor: Cursor, draft: GlobalDraft) -> None:
    """`stats socket ADDRESS[,ADDRESS]... [option]...`. Raises LineError."""
    word = cursor.argument("'stats socket' in global section expects an address or a path to a UNIX socket.")
    try:
        addresses = bind_addresses(word.text, cursor.environment)
    except AddressError as error:
        raise LineError(f"'stats socket' : {error}", word) from None
    if any(len(ports) > 1 for _, ports in addresses):
        raise LineError("'stats socket' : a range of ports is not supported here", word)
    options = SocketDraft()
    while cursor.more:
        _read_option(cursor, options)
    draft.values["stats_sockets"] = stats_sockets_of(draft) + tuple(
        StatsSocket(
            cursor.origin,
            endpoint,
            options.level,
            options.expose_listeners,
            options.maxconn,
            permissions_of(options),
            options.severity_output,
        )
        for endpoint, _ in addresses
    )


def stats_sockets_of(draft: GlobalDraft) -> tuple[StatsSocket, ...]:
    """The stats sockets that were read so far."""
    return cast("tuple[StatsSocket, ...]", draft.values.get("stats_sockets", ()))


def _read_option(cursor: Cursor, options: SocketDraft) -> None:
    word = cursor.take()
    row = SOCKET.find(word.text)
    if row is None and BIND.find(word.text) is not None:
        raise LineError(not_supported(f"stats socket ... {word}"), word)
    if row is None:
        raise LineError(f"'stats socket' : unknown keyword '{word}'", word, SOCKET.suggestion(word.text))
    assert row.read is not None
    row.read(cursor, options)


def read_timeout(cursor: Cursor, draft: GlobalDraft) -> None:
    """`stats timeout TIME`. Raises LineError."""
    word = cursor.argument("'stats timeout' in global section expects a timeout value.")
    value = duration(cursor, word, "stats timeout")
    if not value:
        raise LineError("'stats timeout' in global section expects a positive value.", word)
    draft.values["stats_timeout"] = value


def read_maxconn(cursor: Cursor, draft: GlobalDraft) -> None:
    """`stats maxconn NUMBER`. Raises LineError."""
    word = cursor.argument("'stats maxconn' in global section expects a numeric value.")
    value = lenient_int(word.text)
    if value <= 0:
        raise LineError("'stats maxconn' in global section expects a positive value.", word)
    draft.values["stats_maxconn"] = value


# --- options ------------------------------------------------------------------------------------------------------


def _level(cursor: Cursor, options: SocketDraft) -> None:
    word = cursor.argument(f"'level' : missing level (one of {_ADMIN_LEVELS})")
    try:
        options.level = StatsLevel(word.text)
    except ValueError:
        raise LineError(f"'level' only supports 'user', 'operator', and 'admin' (got '{word}')", word) from None


def _expose(cursor: Cursor, options: SocketDraft) -> None:
    word = cursor.argument("'expose-fd' : missing fd type")
    if word.text != "listeners":
        raise LineError("'expose-fd' only supports 'listeners'", word)
    options.expose_listeners = True


def _maxconn(cursor: Cursor, options: SocketDraft) -> None:
    options.maxconn = count(cursor)


def _severity(cursor: Cursor, options: SocketDraft) -> None:
    word = cursor.argument("'severity-output' : missing severity format, it takes 'none', 'number' or 'string'")
    if word.text not in ("none", "number", "string"):
        raise LineError("'severity-output' takes 'none', 'number' or 'string'", word)
    options.severity_output = word.text


def _option(name: str, syntax: str, doc: str, read: Reader, default: str = "") -> Keyword[SocketDraft]:
    return Keyword(name, syntax, doc, read, Place.WITHIN, "P0", default)


SOCKET: Table[SocketDraft] = Table(
    (
        _option("level", "user|operator|admin", "What its clients may do.", _level, "operator"),
        *access_rows(),
        _option("expose-fd", "listeners", "Give the listening sockets to a successor that asks (`-x`).", _expose),
        _option("severity-output", "none|number|string", "Severity in front of remarks.", _severity, "none"),
        _option("maxconn", "<number>", "Clients of this socket at a time.", _maxconn, "that of `stats maxconn`"),
    )
)

STATS_ROWS: tuple[Keyword[GlobalDraft], ...] = (
    Keyword(
        "stats socket",
        "<address> [level <level>] [mode <mode>] [user <user>] [group <group>] [expose-fd listeners] [maxconn <n>]",
        "A socket for the runtime API: a path, or an address and port.",
        read_socket,
        Place.GLOBAL,
        "P0",
    ),
    Keyword(
        "stats timeout",
        "<time>",
        "How long a client of the runtime API may be silent.",
        read_timeout,
        Place.GLOBAL,
        "P0",
        "10s",
        most=None,
    ),
    Keyword(
        "stats maxconn",
        "<number>",
        "Clients of the runtime API at a time.",
        read_maxconn,
        Place.GLOBAL,
        "P0",
        "10",
        most=None,
    ),
)
