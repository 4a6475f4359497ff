"""Where log lines go, and what a proxy's say."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pasvport.address import Endpoint
from pasvport.model.origin import Origin


class LogFormat(StrEnum):
    """Framing of a log message (`log ... format X`)."""

    LOCAL = "local"
    RFC3164 = "rfc3164"
    RFC5424 = "rfc5424"
    PRIORITY = "priority"
    SHORT = "short"
    TIMED = "timed"
    ISO = "iso"
    RAW = "raw"
    JSON = "json"
    """Ours: one JSON object a message, its fields by name instead of the line's text."""


class LogTransport(StrEnum):
    """How a log target is reached."""

    UDP = "udp"
    UNIX_DATAGRAM = "unix-datagram"
    TCP = "tcp"
    UNIX_STREAM = "unix-stream"
    DESCRIPTOR = "fd"


@dataclass(frozen=True, slots=True)
class LogTarget:
    """One `log ADDRESS [len N] [format F] [sample R:S] FACILITY [MAX [MIN]]` line.

    `endpoint` is None for DESCRIPTOR, where `descriptor` is 1 (stdout), 2 (stderr) or N (fd@N).
    `facility` 0..23, levels 0 (emerg)..7 (debug); messages less urgent than `level` are not sent, those more
    urgent than `minimum_level` are sent as that level. `sample_ranges` are inclusive, 1-based, over `sample_size`.
    """

    origin: Origin
    transport: LogTransport
    endpoint: Endpoint | None
    descriptor: int = -1
    length: int = 1024
    format: LogFormat = LogFormat.LOCAL
    facility: int = 16
    level: int = 7
    minimum_level: int = 0
    sample_ranges: tuple[tuple[int, int], ...] = ()
    sample_size: int = 0


@dataclass(frozen=True, slots=True)
class Logging:
    """A proxy's traffic log. `format` None: the one-line `Connect from` message at accept.

    `format` is a log-format string (the one of `option tcplog` when that was said); `error_format` likewise.
    """

    targets: tuple[LogTarget, ...] = ()
    format: str | None = None
    error_format: str | None = None
    structured_data: str | None = None
    tag: str | None = None
    dontlognull: bool = False
    dontlog_normal: bool = False
    separate_errors: bool = False
    logasap: bool = False
    log_health_checks: bool = False
    transfer_format: str | None = None
    """`mode ftp`: one more line for each transfer, with this log-format (`option ftplog` sets it)."""
    xferlog: str | None = None
    """`option ftp-xferlog FILE`: completed transfers in the wu-ftpd format."""
