"""`ftp-login-limit` in one worker: counted here where steering brings a network to one worker, else by the supervisor.

All addresses of an IPv6 /64 are one source, and steering spreads them over the workers; so does a wider `ipmask`, a
socket without a group, and a reload that changed `nbthread`. There the supervisor is asked before each login: to tell
one another of failures would let each worker's share through before the others have heard.
"""

from __future__ import annotations

from collections import OrderedDict

from pasvport.address import Family
from pasvport.engine.plant import Plant
from pasvport.ftp.login_limit import MOST_NETWORKS, Applicant, LoginLimit, login_limit
from pasvport.model import Proxy
from pasvport.wire import LoginAnswered, LoginAsked, LoginCounted, LoginFailed, LoginFinished, LoginsKnown

_UNSTEERED = (Family.FD, Family.UNIX, Family.ABNS)


class Logins:
    """Of one frontend. As `LoginLimit`, which see; times are monotonic seconds."""

    def __init__(self, plant: Plant, proxy: Proxy) -> None:
        self._plant = plant
        self._proxy = proxy.index
        self._limit: LoginLimit = login_limit(proxy.ftp)
        ftp = proxy.ftp
        scattered = plant.scatters or any(bind.endpoint.family in _UNSTEERED for bind in proxy.binds)
        several = plant.counters.workers > 1 and ftp.login_limit > 0
        self._asks_for_ipv4 = several and (scattered or ftp.login_limit_ipv4 < 32)
        self._asks_for_ipv6 = several and (scattered or ftp.login_limit_ipv6 < 128)
        self._asked: dict[int, tuple[str, Applicant]] = {}
        self._number_of: dict[Applicant, int] = {}
        self._last = 0
        self._refused: OrderedDict[str, float] = OrderedDict()
        """Until when the supervisor refuses a network."""

    def _asks(self, host: str) -> bool:
        return self._asks_for_ipv6 if ":" in host else self._asks_for_ipv4

    def exceeded(self, host: str, now: float) -> bool:
        """Whether it is known that the network of `host` failed as often as it may."""
        if not self._asks(host):
            return self._limit.exceeded(host, now)
        return self._refused.get(self._limit.network(host), now) > now

    def begin(self, host: str, applicant: Applicant, now: float) -> None:
        """A login is to begin: the applicant is told whether it may, at once or later."""
        if not self._asks(host):
            self._limit.begin(host, applicant, now)
            return
        self._last += 1
        self._asked[self._last] = host, applicant
        self._number_of[applicant] = self._last
        self._plant.tell(LoginAsked(self._proxy, self._limit.network(host), self._last))

    def answered(self, message: LoginAnswered) -> None:
        """The supervisor's answer."""
        host, applicant = self._asked.pop(message.number, ("", None))
        if applicant is None:
            return
        self._number_of.pop(applicant, None)
        if message.allowed:
            applicant.login_allowed()
            return
        network = self._limit.network(host)
        self._refused[network] = self._plant.loop.now + message.wait
        self._refused.move_to_end(network)
        if len(self._refused) > MOST_NETWORKS:
            self._refused.popitem(last=False)
        applicant.login_refused()

    def count(self, host: str, now: float) -> None:
        """A login failed; said before `finish`."""
        if self._asks(host):
            self._plant.tell(LoginFailed(self._proxy, self._limit.network(host)))
        else:
            self._limit.count(host, now)
            self._plant.tell(LoginCounted(self._proxy, self._limit.network(host)))

    def remember(self, message: LoginsKnown) -> None:
        """Logins failed before this worker, or in another one."""
        for network, failed in message.failed:
            self._limit.remember(network, failed)

    def finish(self, host: str, now: float) -> None:
        """A login that was allowed is over."""
        if self._asks(host):
            self._plant.tell(LoginFinished(self._proxy, self._limit.network(host)))
        else:
            self._limit.finish(host, now)

    def leave(self, host: str, applicant: Applicant) -> None:
        """Somebody who waits has gone."""
        if not self._asks(host):
            self._limit.leave(host, applicant)
            return
        number = self._number_of.pop(applicant, 0)
        if number in self._asked:
            # The answer is on its way: whatever it is, nobody needs it any more.
            self._asked[number] = host, _Gone(self, host)


class _Gone:
    """Stands for a session that has left: what it is allowed is over at once."""

    def __init__(self, logins: Logins, host: str) -> None:
        self._logins = logins
        self._host = host

    def login_allowed(self) -> None:
        self._logins.finish(self._host, 0.0)

    def login_refused(self) -> None:
        """Nobody is there to be told."""
