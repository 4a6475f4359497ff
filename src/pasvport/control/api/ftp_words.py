"""`show ftp sessions|transfers|leases|pools`: columns for people and programs, or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from pasvport.control.api.session_words import human_time, printable
from pasvport.sight import FtpSessionSight, LeaseSight, TransferSight


class Column(NamedTuple):
    """A field by its name, and its heading in the table."""

    field: str
    heading: str


class PoolSight(NamedTuple):
    """The data ports of one frontend, over all workers; `leased`, `failed` and `conflicts` since the start.

    `used` have a transfer, or their client, or its transfer command, is `awaited`.
    """

    frontend: str
    size: int
    used: int
    leased: int
    failed: int
    awaited: int = 0
    conflicts: int = 0


class Listing(NamedTuple):
    """A subject of `show ftp`: the question asked of the workers ("": none is), the rows' type, what is shown."""

    question: str
    row: type[FtpSessionSight] | type[TransferSight] | type[LeaseSight] | type[PoolSight]
    columns: Sequence[Column]


LISTINGS = {
    "sessions": Listing(
        "ftp sessions",
        FtpSessionSight,
        (
            Column("identity", "id"),
            Column("client", "client"),
            Column("user", "user"),
            Column("failed_user", "failed_user"),
            Column("frontend", "fe"),
            Column("backend", "be"),
            Column("server", "srv"),
            Column("phase", "phase"),
            Column("age", "age"),
            Column("idle", "idle"),
            Column("commands", "commands"),
            Column("last_command", "last"),
            Column("transfers", "transfers"),
            Column("bytes_in", "bytes_in"),
            Column("bytes_out", "bytes_out"),
            Column("worker", "worker"),
            Column("doing", "doing"),
        ),
    ),
    "transfers": Listing(
        "ftp transfers",
        TransferSight,
        (
            Column("session", "session"),
            Column("client", "client"),
            Column("user", "user"),
            Column("frontend", "fe"),
            Column("backend", "be"),
            Column("server", "srv"),
            Column("direction", "direction"),
            Column("verb", "verb"),
            Column("path", "path"),
            Column("size", "bytes"),
            Column("expected", "expected"),
            Column("started", "started"),
            Column("client_mode", "client_mode"),
            Column("server_mode", "server_mode"),
            Column("port", "port"),
            Column("worker", "worker"),
        ),
    ),
    "leases": Listing(
        "ftp leases",
        LeaseSight,
        (
            Column("frontend", "fe"),
            Column("port", "port"),
            Column("network", "client"),
            Column("age", "age"),
            Column("connected", "state"),
            Column("worker", "worker"),
        ),
    ),
    "pools": Listing(
        "",
        PoolSight,
        (
            Column("frontend", "fe"),
            Column("size", "ports"),
            Column("used", "used"),
            Column("leased", "leased"),
            Column("failed", "failed"),
            Column("awaited", "awaited"),
            Column("conflicts", "conflicts"),
        ),
    ),
}

_NUMBERS = ("identity", "session")
_KEYS = {"identity": "id"}
"""Fields whose key in JSON is another word."""


def piece(listing: Listing, row: tuple[object, ...], mark: int, *, is_json: bool, is_first: bool) -> str:
    """A row as a line, or as an element of a JSON array. `mark` is added to sessions' numbers."""
    named = listing.row._make(row)
    for field in _NUMBERS:
        if field in named._fields:
            named = named._replace(**{field: getattr(named, field) + mark})
    if is_json:
        return ("" if is_first else ",\n") + as_json(listing, named)
    return f"{line(listing, named)}\n"


def heading(listing: Listing) -> str:
    """`# id client user ...`."""
    return "# " + " ".join(column.heading for column in listing.columns)


def line(listing: Listing, row: tuple[object, ...]) -> str:
    """A row as words without blanks inside, in the order of the heading."""
    named = listing.row._make(row)
    return " ".join(_word(column.field, getattr(named, column.field)) for column in listing.columns)


def _word(field: str, value: object) -> str:
    if field in _NUMBERS and isinstance(value, int):
        return f"{value:#x}"
    if field == "connected":
        return "connected" if value else "waiting"
    if field == "started" and isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, float):
        return human_time(value)
    return printable(value) if isinstance(value, bytes) else str(value) or "-"


def as_json(listing: Listing, row: tuple[object, ...]) -> str:
    """A row as a JSON object. Ages are seconds, `started` seconds since the epoch; bytes are read as UTF-8."""
    named = listing.row._make(row)
    return json.dumps(
        {
            _KEYS.get(column.field, column.field): _json(column.field, getattr(named, column.field))
            for column in listing.columns
        }
    )


def _json(field: str, value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if field in _NUMBERS and isinstance(value, int):
        return f"{value:#x}"
    return round(value, 3) if isinstance(value, float) else value
