"""Failed logins to the pages: counted, delayed and told, by the network they come from. Pure: `now` is passed in.

A wrong password is answered late, later each time, and few of them at once, so that guessing is slow however many
connections a guesser opens. Who is right waits for nobody. Everything kept is bounded.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass

MOST_SOURCES = 4096
MOST_AT_ONCE = 4
"""Wrong passwords of one source that wait for their answer; while they do, it may try none that never was right."""
FIRST_DELAY, LONGEST_DELAY = 0.25, 4.0
"""Seconds until a wrong password is answered; doubled by each of the same source."""
FORGIVEN_AFTER = 600.0
"""Seconds without a wrong password after which a source begins anew."""
LINE_EVERY = 10.0
"""Seconds between two log lines about one source, and in which all sources together get MOST_LINES."""
MOST_LINES = 10
_MOST_REMEMBERED = 256
_V6_NETWORK = 64


@dataclass(slots=True)
class Source:
    """What is known of one network that failed. `unsaid` failures are not in the log yet; `user` is the last name."""

    failures: int = 0
    waiting: int = 0
    unsaid: int = 0
    last: float = 0.0
    said: float = float("-inf")
    user: str = ""


def source_of(remote: str | None) -> str:
    """Who one guesser is: an IPv4 address, the /64 network of an IPv6 address, or `unix`."""
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return "unix"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, _V6_NETWORK), strict=False))
    return str(address)


class Attempts:
    """Of all pages. `total` counts failures since the start."""

    def __init__(self) -> None:
        self.total = 0
        self._sources: OrderedDict[str, Source] = OrderedDict()
        self._right: OrderedDict[tuple[str, bytes], None] = OrderedDict()
        self._lines: tuple[float, int] = (float("-inf"), 0)
        self._forgotten = 0

    def may_try(self, source: str, credentials: bytes) -> bool:
        """Whether a password is looked at now. `credentials` is a digest: what was right before always is looked at."""
        known = self._sources.get(source)
        return known is None or known.waiting < MOST_AT_ONCE or (source, credentials) in self._right

    def succeeded(self, source: str, credentials: bytes) -> None:
        """These were right."""
        self._right[source, credentials] = None
        self._right.move_to_end((source, credentials))
        if len(self._right) > _MOST_REMEMBERED:
            self._right.popitem(last=False)

    def failed(self, source: str, user: str, now: float) -> float:
        """Count a wrong password; the seconds until it is to be answered. `answered` must follow."""
        known = self._sources.setdefault(source, Source())
        self._sources.move_to_end(source)
        if now - known.last > FORGIVEN_AFTER:
            known.failures = 0
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(known.failures, 16))
        known.failures += 1
        known.waiting += 1
        known.unsaid += 1
        known.last, known.user = now, user
        self.total += 1
        if len(self._sources) > MOST_SOURCES:
            self._forgotten += self._sources.popitem(last=False)[1].unsaid
        return delay

    def answered(self, source: str) -> None:
        """The answer to a wrong password leaves."""
        known = self._sources.get(source)
        if known is not None and known.waiting:
            known.waiting -= 1

    def lines(self, now: float) -> list[str]:
        """What the log should say now. To be asked after each failure and every second or so."""
        since, said = self._lines
        if now - since >= LINE_EVERY:
            since, said = now, 0
        found = []
        for source, known in self._sources.items():
            if said >= MOST_LINES:
                break
            if known.unsaid and now - known.said >= LINE_EVERY:
                found.append(_line(source, known))
                known.said, known.unsaid, said = now, 0, said + 1
        if self._forgotten and said < MOST_LINES:
            found.append(f"Statistics page: {self._forgotten} failed logins from further addresses.")
            self._forgotten, said = 0, said + 1
        self._lines = since, said
        return found


def _line(source: str, known: Source) -> str:
    logins = "failed login" if known.unsaid == 1 else f"{known.unsaid} failed logins, the last"
    return f"Statistics page: {logins} as {known.user!r} from {source}."
