"""The frame around a log message, byte for byte as HAProxy 2.6 writes it, and who gets which message.

Sources: RFC 3164 section 4, RFC 5424 section 6, HAProxy manual (`log`, `log-tag`, `log-send-hostname`, section 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from pasvport.address import Endpoint
from pasvport.logformat.dates import iso_date, syslog_date
from pasvport.logformat.json_lines import Fields, encoded, iso_moment, message_fields
from pasvport.model import Config, LogFormat, LogTarget, LogTransport, Origin

FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2", "ftp", "ntp", "audit",
    "alert", "cron2", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

EMERG, ALERT, CRIT, ERR, WARNING, NOTICE, INFO, DEBUG = range(8)

NO_STRUCTURED_DATA = b"-"

_STREAMS = (LogTransport.TCP, LogTransport.UNIX_STREAM, LogTransport.DESCRIPTOR)
_FRACTIONAL = (LogFormat.RFC5424, LogFormat.TIMED, LogFormat.ISO)
_WITH_FACILITY = (LogFormat.LOCAL, LogFormat.RFC3164, LogFormat.RFC5424, LogFormat.PRIORITY)
_WITH_LEVEL = (LogFormat.SHORT, LogFormat.TIMED)
_NOWHERE = Origin("", 0)

# All targets of a process are asked about the same second, one after the other.
_syslog_date = lru_cache(maxsize=2)(syslog_date)
_iso_date = lru_cache(maxsize=2)(iso_date)


def stream_targets(config: Config) -> tuple[LogTarget, ...]:
    """The targets that only the supervisor writes to, each once; its place is its number between the processes."""
    every = [*config.settings.log_targets]
    for proxy in config.proxies:
        every.extend(proxy.logging.targets)
    return tuple(dict.fromkeys(stream_key(target) for target in every if is_stream(target)))


def path_targets(config: Config) -> tuple[Endpoint, ...]:
    """The UNIX datagram sockets, each once: the supervisor sends what a worker in a chroot cannot."""
    every = [*config.settings.log_targets, *(target for proxy in config.proxies for target in proxy.logging.targets)]
    return tuple(
        dict.fromkeys(
            target.endpoint
            for target in every
            if target.transport is LogTransport.UNIX_DATAGRAM and target.endpoint is not None
        )
    )


def is_stream(target: LogTarget) -> bool:
    """Reached through a stream or a descriptor, which may block, hence through the supervisor."""
    return target.transport in _STREAMS


def stream_key(target: LogTarget) -> LogTarget:
    """What makes two targets one stream: where it leads. Framing, levels and samples are applied before."""
    return LogTarget(
        origin=_NOWHERE,
        transport=target.transport,
        endpoint=target.endpoint,
        descriptor=target.descriptor,
    )


@dataclass(frozen=True, slots=True)
class Sender:
    """Who speaks: the tag, the process id and the host name (None: not told, HAProxy's placeholders are used).

    `machine` is the name that a JSON line gives where no host name is told.
    """

    tag: str = "pasvport"
    process_id: int = 0
    hostname: str | None = None
    machine: str | None = None


class Sampler:
    """`sample RANGES:SIZE` (SIZE at least 1): of every SIZE messages, those whose number (1..SIZE) lies in a range."""

    __slots__ = ("_chosen", "_next")

    def __init__(self, target: LogTarget) -> None:
        self._chosen = tuple(
            any(low <= number <= high for low, high in target.sample_ranges)
            for number in range(1, target.sample_size + 1)
        )
        self._next = 0

    def take(self) -> bool:
        """True when the message at hand is to be sent; every call counts one message."""
        taken = self._chosen[self._next]
        self._next = (self._next + 1) % len(self._chosen)
        return taken


class Framing:
    """Messages for one target: `wants` selects, `frame` gives the bytes to send, end of line included.

    The line before its end never exceeds the target's `len`. Whatever changes once per second is kept.
    """

    __slots__ = ("_fractional", "_heads", "_sampler", "_second", "_sender", "_tail", "_target")

    def __init__(self, target: LogTarget, sender: Sender) -> None:
        self._sampler = Sampler(target) if target.sample_size else None
        self._target = target
        self._sender = sender
        self._fractional = target.format in _FRACTIONAL
        self._second = -1
        self._heads: tuple[bytes, ...] = ()
        self._tail = b""

    def wants(self, level: int) -> bool:
        """True when a message of this level is to be sent. Call once per message: samples are counted here."""
        return level <= self._target.level and (self._sampler is None or self._sampler.take())

    def frame(self, level: int, body: bytes, now: float, structured: bytes = NO_STRUCTURED_DATA) -> bytes:
        """`body` at syslog `level`, said at `now` (seconds since the epoch)."""
        if self._target.format is LogFormat.JSON:
            return self.frame_object(level, message_fields(body), now)
        second = int(now)
        if second != self._second:
            self._turn(second)
        head = self._heads[level]
        if self._fractional:
            head = b"%b%06d%b" % (head, int((now - second) * 1_000_000), self._tail)
            if self._target.format is LogFormat.RFC5424:
                head = self._with_structured(head, structured)
        return (head + body)[: self._target.length] + b"\n"

    def frame_object(self, level: int, fields: Fields, now: float) -> bytes:
        """One JSON object: when, who and how urgent, and `fields`, of which the first is the type."""
        target, sender = self._target, self._sender
        head = {
            "type": fields["type"],
            "time": iso_moment(now),
            "severity": LEVELS[max(level, target.minimum_level)],
            "facility": FACILITIES[target.facility],
            "host": sender.hostname or sender.machine,
            "process": sender.tag,
            "pid": sender.process_id,
        }
        return encoded({**head, **fields}, target.length) + b"\n"

    def _with_structured(self, head: bytes, structured: bytes) -> bytes:
        # Half an element is no element: what does not fit as a whole would make the line unreadable.
        fits = len(head) + len(structured) < self._target.length
        return b"%b%b " % (head, structured if fits else NO_STRUCTURED_DATA)

    def _turn(self, second: int) -> None:
        self._second = second
        if self._fractional:
            date, zone = _iso_date(second)
            middle, tail = f"{date}.", f"{zone} "
            if self._target.format is LogFormat.RFC5424:
                middle, tail = "1 " + middle, tail + self._rfc5424_sender()
            self._tail = tail.encode()
        else:
            middle = self._date_and_sender(second)
        self._heads = tuple((self._priority(level) + middle).encode() for level in range(8))

    def _priority(self, level: int) -> str:
        target = self._target
        number = max(level, target.minimum_level)
        if target.format in _WITH_FACILITY:
            return f"<{target.facility * 8 + number}>"
        return f"<{number}>" if target.format in _WITH_LEVEL else ""

    def _rfc5424_sender(self) -> str:
        sender = self._sender
        return f"{sender.hostname or '-'} {sender.tag} {sender.process_id} - "

    def _date_and_sender(self, second: int) -> str:
        sender = self._sender
        if self._target.format is LogFormat.LOCAL:
            return f"{_syslog_date(second)} {sender.tag}[{sender.process_id}]: "
        if self._target.format is LogFormat.RFC3164:
            return f"{_syslog_date(second)} {sender.hostname or 'localhost'} {sender.tag}[{sender.process_id}]: "
        return ""
