"""`ftp-login-limit N PERIOD`: how many logins of a source network may fail, whatever its sessions did before.

Sessions that were opened beforehand could all send a password before the first of them is refused. So a login is begun
and finished, and of one network no more may be under way than may still fail; the others wait their turn.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Protocol

from pasvport.model import Ftp

MOST_NETWORKS = 65_536
"""Networks whose failures are remembered; beyond, the one that failed longest ago is forgotten."""
_MOST_LOOKS = 8
"""Networks looked at, for those to forget, when there is one more."""


class Applicant(Protocol):
    """A session that wants to log in; one of these is called once, at once or later."""

    def login_allowed(self) -> None:
        """Go on, and say `finish` when the server has answered."""

    def login_refused(self) -> None:
        """The network failed too often."""


class _Source:
    """One network: when its logins failed, how many are under way, who waits for those."""

    __slots__ = ("failed", "under_way", "waiting")

    def __init__(self) -> None:
        self.failed: list[float] = []
        self.under_way = 0
        self.waiting: OrderedDict[Applicant, None] | None = None

    @property
    def is_at_rest(self) -> bool:
        return not self.under_way and not self.waiting


def login_limit(ftp: Ftp) -> LoginLimit:
    """`ftp-login-limit` of a frontend."""
    period = ftp.login_limit_period / 1000
    return LoginLimit(ftp.login_limit, period, ftp.login_limit_ipv4, ftp.login_limit_ipv6)


class LoginLimit:
    """`limit` failures in `period` seconds (0: no limit); `ipv4` and `ipv6` are the leading bits of a network."""

    def __init__(self, limit: int, period: float, ipv4: int = 32, ipv6: int = 64) -> None:
        self._limit = limit
        self._period = period
        self._bits = ipv4, ipv6
        self._sources: OrderedDict[str, _Source] = OrderedDict()

    def __len__(self) -> int:
        """How many networks are remembered."""
        return len(self._sources)

    def network(self, host: str) -> str:
        """Whose failures count together with those of a literal address; what is no address stands for itself."""
        bits, full = (self._bits[1], 128) if ":" in host else (self._bits[0], 32)
        if bits == full:
            return host
        try:
            return str(ipaddress.ip_network(f"{host.partition('%')[0]}/{bits}", strict=False).network_address)
        except ValueError:
            return host

    def exceeded(self, host: str, now: float) -> bool:
        """Whether the network of `host` failed as often as it may."""
        source = self._sources.get(self.network(host)) if self._limit else None
        return source is not None and self._failures(source, now) >= self._limit

    def remaining(self, host: str, now: float) -> float:
        """Seconds until the network of `host` may try again, 0 if it may."""
        source = self._sources.get(self.network(host))
        if source is None or self._failures(source, now) < self._limit:
            return 0.0
        return source.failed[0] + self._period - now

    def begin(self, host: str, applicant: Applicant, now: float) -> None:
        """A login is to begin: the applicant is told whether it may, perhaps once others have finished."""
        if not self._limit:
            applicant.login_allowed()
            return
        source = self._source(self.network(host))
        failures = self._failures(source, now)
        if failures >= self._limit:
            applicant.login_refused()
        elif failures + source.under_way >= self._limit:
            if source.waiting is None:
                source.waiting = OrderedDict()
            source.waiting[applicant] = None
        else:
            source.under_way += 1
            applicant.login_allowed()

    def count(self, host: str, now: float) -> None:
        """A login failed. Said before `finish`, so that nobody slips in between."""
        if not self._limit:
            return
        network = self.network(host)
        source = self._source(network)
        self._failures(source, now)
        source.failed.append(now)
        del source.failed[: -self._limit]
        self._sources.move_to_end(network)

    def failed(self, now: float) -> Iterator[tuple[str, tuple[float, ...]]]:
        """Networks whose logins failed in the period before `now`, and when."""
        for network, source in self._sources.items():
            if self._failures(source, now):
                yield network, tuple(source.failed)

    def remember(self, network: str, failed: Iterable[float]) -> None:
        """Logins that failed elsewhere."""
        network = self.network(network)
        if self._limit:
            source = self._source(network)
            source.failed = sorted([*source.failed, *failed])[-self._limit :]
            self._tidy(network, source)

    def finish(self, host: str, now: float) -> None:
        """A login that was allowed is over: whoever waits has its turn, or waited in vain."""
        network = self.network(host)
        source = self._sources.get(network)
        if source is None:
            return
        source.under_way -= 1
        self._next(source, now)
        self._tidy(network, source)

    def leave(self, host: str, applicant: Applicant) -> None:
        """Somebody who waits has gone."""
        network = self.network(host)
        source = self._sources.get(network)
        if source is not None and source.waiting is not None:
            source.waiting.pop(applicant, None)
            self._tidy(network, source)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _source(self, network: str) -> _Source:
        source = self._sources.get(network)
        if source is None:
            source = self._sources[network] = _Source()
            self._forget_some()
        return source

    def _forget_some(self) -> None:
        # Who has sessions under way stays: there are no more of those than sessions. They are not gone through each
        # time, but some at each new source.
        for _ in range(_MOST_LOOKS):
            if len(self._sources) <= MOST_NETWORKS:
                return
            network, source = next(iter(self._sources.items()))
            if source.is_at_rest and source.failed:
                del self._sources[network]
            else:
                self._sources.move_to_end(network)

    def _failures(self, source: _Source, now: float) -> int:
        failed = source.failed
        while failed and failed[0] <= now - self._period:
            del failed[0]
        return len(failed)

    def _next(self, source: _Source, now: float) -> None:
        waiting = source.waiting
        while waiting:
            failures = self._failures(source, now)
            if failures >= self._limit:
                waiting.popitem(last=False)[0].login_refused()
            elif failures + source.under_way < self._limit:
                source.under_way += 1
                waiting.popitem(last=False)[0].login_allowed()
            else:
                return
        source.waiting = None

    def _tidy(self, network: str, source: _Source) -> None:
        if source.is_at_rest and not source.failed and self._sources.get(network) is source:
            del self._sources[network]
