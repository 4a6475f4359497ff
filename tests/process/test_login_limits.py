"""`ftp-login-limit` over several workers: what the supervisor allows them, and what a worker that dies gives back."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from engine_rig import bind, config, server
from pasvport.address import Endpoint, Family
from pasvport.control import login_limits
from pasvport.control.login_limits import LoginLimits
from pasvport.engine.logins import Logins
from pasvport.ftp import login_limit
from pasvport.model import Ftp, Mode
from pasvport.wire import LoginAnswered, LoginAsked, LoginCounted, LoginFailed, LoginFinished, LoginsKnown

NETWORK = "2001:db8::"
LIMITED = Ftp(login_limit=2, login_limit_period=60_000)


class FakeWorker:
    def __init__(self) -> None:
        self.told: list[LoginAnswered] = []

    def send(self, message: LoginAnswered) -> None:
        self.told.append(message)


def limits(ftp: Ftp = LIMITED) -> Any:
    farm = config([server("s", ("127.0.0.1", 21))], frontend={"mode": Mode.FTP, "ftp": ftp})
    return LoginLimits(farm, lambda: 0.0)


def ask(found: Any, worker: Any, *numbers: int) -> None:
    for number in numbers:
        found.receive(worker, LoginAsked(0, NETWORK, number))


def test_workers_share_a_limit() -> None:
    found, one, two = limits(), FakeWorker(), FakeWorker()
    ask(found, one, 1)
    ask(found, two, 1, 2)
    assert one.told == two.told == [LoginAnswered(0, 1, allowed=True)]
    for worker in (one, two):
        found.receive(worker, LoginFailed(0, NETWORK))
        found.receive(worker, LoginFinished(0, NETWORK))
    assert two.told[1:] == [LoginAnswered(0, 2, allowed=False, wait=60.0)]


def test_a_worker_that_dies_gives_back_what_it_held() -> None:
    found, dying, waiting = limits(), FakeWorker(), FakeWorker()
    ask(found, dying, 1, 2, 3)
    ask(found, waiting, 1)
    assert not waiting.told
    found.ended(dying)
    assert waiting.told == [LoginAnswered(0, 1, allowed=True)]
    assert len(dying.told) == 2


def test_a_worker_speaks_for_its_own_logins_only() -> None:
    """One that was taken over locks nobody out, and lets nobody in."""
    found, evil, sound = limits(), FakeWorker(), FakeWorker()
    for _ in range(5):
        found.receive(evil, LoginFailed(0, NETWORK))
        found.receive(evil, LoginFinished(0, NETWORK))
        found.receive(evil, LoginFinished(7, NETWORK))
    ask(found, sound, 1, 2, 3)
    assert [each.allowed for each in sound.told] == [True, True]


def test_a_worker_that_asks_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept for it is bounded, waiting and under way together, and others ask on."""
    monkeypatch.setattr(login_limits, "_MOST_LOGINS", 10)
    monkeypatch.setattr(login_limit, "MOST_NETWORKS", 20)
    found, evil, sound = limits(), FakeWorker(), FakeWorker()
    for number in range(100):
        found.receive(evil, LoginAsked(0, f"2001:db8:0:{number:x}::", number))
    assert [each.allowed for each in evil.told] == [True] * 10 + [False] * 90
    for number in range(1000):
        network = f"2001:db8:1:{number:x}::"
        for message in (LoginAsked(0, network, number), LoginFailed(0, network), LoginFinished(0, network)):
            found.receive(sound, message)
    assert all(each.allowed for each in sound.told)
    assert len(found._limits[0]) <= 30
    # What it finishes makes room.
    found.receive(evil, LoginFinished(0, "2001:db8:0:0::"))
    found.receive(evil, LoginAsked(0, NETWORK, 200))
    assert evil.told[-1].allowed
    found.ended(evil)
    found.ended(sound)
    assert not found._logins
    assert all(source.is_at_rest for source in found._limits[0]._sources.values())


def test_those_that_start_later_hear_what_failed() -> None:
    """What workers count themselves, and what the supervisor counts, at the frontend of the same name."""
    found, worker = limits(), FakeWorker()
    found.receive(worker, LoginCounted(0, "192.0.2.1"))
    found.receive(worker, LoginCounted(7, "192.0.2.1"))
    assert list(found.known()) == [LoginsKnown(0, (("192.0.2.1", (0.0,)),))]
    # What one worker counts locks nobody out for whom the supervisor is asked.
    for _ in range(5):
        found.receive(worker, LoginCounted(0, NETWORK))
    ask(found, worker, 1, 2)
    assert [each.allowed for each in worker.told] == [True, True]
    for _ in range(2):
        found.receive(worker, LoginFailed(0, NETWORK))
        found.receive(worker, LoginFinished(0, NETWORK))
    later, another = limits(), FakeWorker()
    told = list(later.inherit(found))
    assert told == list(later.known()) == [LoginsKnown(0, (("192.0.2.1", (0.0,)), (NETWORK, (0.0, 0.0))))]
    ask(later, another, 1)
    assert [each.allowed for each in another.told] == [False]
    assert not list(limits(Ftp()).inherit(found))


@pytest.mark.parametrize(
    ("host", "workers", "ftp", "scatters", "family", "asks"),
    [
        ("192.0.2.1", 2, LIMITED, False, Family.IPV4, False),
        ("2001:db8::1", 2, LIMITED, False, Family.IPV6, True),
        ("2001:db8::1", 1, LIMITED, True, Family.IPV6, False),
        ("2001:db8::1", 2, replace(LIMITED, login_limit_ipv6=128), False, Family.IPV6, False),
        ("192.0.2.1", 2, replace(LIMITED, login_limit_ipv4=24), False, Family.IPV4, True),
        ("192.0.2.1", 2, LIMITED, True, Family.IPV4, True),
        ("192.0.2.1", 2, LIMITED, False, Family.FD, True),
        ("2001:db8::1", 2, Ftp(), True, Family.IPV6, False),
    ],
)
def test_who_counts(host: str, workers: int, ftp: Ftp, scatters: bool, family: Family, asks: bool) -> None:
    """The supervisor, where steering does not bring all of a network to one worker."""
    told: list[object] = []
    plant: Any = SimpleNamespace(
        tell=told.append, scatters=scatters, counters=SimpleNamespace(workers=workers), loop=SimpleNamespace(now=0.0)
    )
    listening = replace(bind(), endpoint=Endpoint(family, "::", 21))
    farm = config([server("s", ("127.0.0.1", 21))], frontend={"mode": Mode.FTP, "ftp": ftp, "binds": (listening,)})
    logins, applicant = Logins(plant, farm.proxies[0]), Applicant()
    logins.begin(host, applicant, 0.0)
    assert bool(told) is asks
    if asks:
        logins.answered(LoginAnswered(0, 1, allowed=False, wait=5.0))
        assert applicant.told == "refused"
        assert logins.exceeded(host, 4.9)
        assert not logins.exceeded(host, 5.0)
        logins.begin(host, applicant, 6.0)
        logins.leave(host, applicant)
        logins.answered(LoginAnswered(0, 2, allowed=True))
        assert isinstance(told[-1], LoginFinished)
    assert applicant.told == ("refused" if asks else "allowed")


class Applicant:
    def __init__(self) -> None:
        self.told = ""

    def login_allowed(self) -> None:
        self.told = "allowed"

    def login_refused(self) -> None:
        self.told = "refused"
