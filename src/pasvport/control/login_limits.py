"""`ftp-login-limit` over all workers, for networks whose clients several workers serve: each asks before a login.

What workers count themselves they tell, for the workers that start later, after a reload or in place of one that died.

What a worker says here is believed as far as it could do by logging in: it counts a failure only of a login that it
was allowed and has not finished, and what it holds ends with it. What it counts itself
is told to later workers, and locks nobody out for whom the supervisor is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

from pasvport.control.workers import Worker
from pasvport.ftp.login_limit import LoginLimit, login_limit
from pasvport.model import Config
from pasvport.wire import LoginAnswered, LoginAsked, LoginCounted, LoginFailed, LoginFinished, LoginsKnown

_MOST_LOGINS = 65_536
"""Logins of one worker that may wait or be under way; more are refused."""
_AT_ONCE = 500
"""Networks in one message."""
LoginMessage = LoginAsked | LoginFailed | LoginFinished | LoginCounted
_Login = tuple[int, str]
"""(proxy, network)."""


class LoginLimits:
    """Of one generation. `clock` gives monotonic seconds."""

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        self._clock = clock
        limited = [proxy for proxy in config.proxies if proxy.ftp.login_limit]
        self._limits = {proxy.index: login_limit(proxy.ftp) for proxy in limited}
        self._counted = {proxy.index: login_limit(proxy.ftp) for proxy in limited}
        """What workers count themselves."""
        self._names = {proxy.index: proxy.name for proxy in limited}
        self._under_way: dict[Worker, Counter[_Login]] = {}
        self._waiting: dict[Worker, set[_Applicant]] = {}
        self._logins: Counter[Worker] = Counter()

    def receive(self, worker: Worker, message: LoginMessage) -> bool:
        """Something that a worker says of a login; whether a failure was counted."""
        limit = self._limits.get(message.proxy)
        if limit is None:
            return False
        login = message.proxy, limit.network(message.network)
        under_way = self._under_way.setdefault(worker, Counter())
        if isinstance(message, LoginCounted):
            self._counted[message.proxy].count(message.network, self._clock())
        elif isinstance(message, LoginAsked):
            self._asked(worker, login, message.number, limit)
        elif not under_way[login]:
            return False
        elif isinstance(message, LoginFailed):
            limit.count(message.network, self._clock())
        else:
            under_way[login] -= 1
            self._logins[worker] -= 1
            if not under_way[login]:
                del under_way[login]
            limit.finish(message.network, self._clock())
        return isinstance(message, LoginCounted | LoginFailed)

    def _asked(self, worker: Worker, login: _Login, number: int, limit: LoginLimit) -> None:
        applicant = _Applicant(self, worker, login, number)
        self._logins[worker] += 1
        if self._logins[worker] > _MOST_LOGINS:
            applicant.login_refused()
            return
        self._waiting.setdefault(worker, set()).add(applicant)
        limit.begin(login[1], applicant, self._clock())

    def answer(self, applicant: _Applicant, *, allowed: bool) -> None:
        """Tell the worker."""
        worker, (proxy, network) = applicant.worker, applicant.login
        self._waiting.get(worker, set()).discard(applicant)
        if allowed:
            self._under_way.setdefault(worker, Counter())[applicant.login] += 1
        else:
            self._logins[worker] -= 1
        wait = 0.0 if allowed else self._limits[proxy].remaining(network, self._clock())
        worker.send(LoginAnswered(proxy, applicant.number, allowed, wait))

    # --- those that start later -----------------------------------------------------------------------------------

    def known(self) -> Iterator[LoginsKnown]:
        """What a worker that starts must hear."""
        for proxy, limit in self._counted.items():
            failed = limit.failed(self._clock())
            while some := tuple(islice(failed, _AT_ONCE)):
                yield LoginsKnown(proxy, some)

    def inherit(self, former: LoginLimits) -> Iterator[LoginsKnown]:
        """What failed at frontends of the same names. What workers must hear of it."""
        places = {name: proxy for proxy, name in self._names.items()}
        for proxy, name in former._names.items():
            place = places.get(name)
            if place is not None:
                _remember(self._limits[place], former._limits[proxy], self._clock())
                _remember(self._counted[place], former._counted[proxy], self._clock())
        return self.known()

    def failed_before(self, name: str, message: LoginCounted | LoginFailed) -> LoginsKnown | None:
        """A login of a former generation failed at the frontend called `name`. What workers must hear of it."""
        place = next((proxy for proxy, each in self._names.items() if each == name), None)
        if place is None:
            return None
        now, is_ours = self._clock(), isinstance(message, LoginFailed)
        (self._limits if is_ours else self._counted)[place].count(message.network, now)
        return None if is_ours else LoginsKnown(place, ((message.network, (now,)),))

    def ended(self, worker: Worker) -> None:
        """A worker is gone, and its sessions with it."""
        self._logins.pop(worker, None)
        for applicant in self._waiting.pop(worker, set()):
            proxy, network = applicant.login
            self._limits[proxy].leave(network, applicant)
        for (proxy, network), count in self._under_way.pop(worker, Counter()).items():
            for _ in range(count):
                self._limits[proxy].finish(network, self._clock())


def _remember(limit: LoginLimit, former: LoginLimit, now: float) -> None:
    for network, failed in former.failed(now):
        limit.remember(network, failed)


class _Applicant:
    """A login that a worker asked for."""

    __slots__ = ("limits", "login", "number", "worker")

    def __init__(self, limits: LoginLimits, worker: Worker, login: _Login, number: int) -> None:
        self.limits, self.worker, self.login, self.number = limits, worker, login, number

    def login_allowed(self) -> None:
        self.limits.answer(self, allowed=True)

    def login_refused(self) -> None:
        self.limits.answer(self, allowed=False)
