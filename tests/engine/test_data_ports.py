"""Leases of data ports, without sessions: what a pool gives, to whom, and when its ports are free again."""

from __future__ import annotations

import random
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine_rig import ORIGIN, loopback
from farm.ports import free_ports
from pasvport.address import PortRange
from pasvport.engine import is_compiled
from pasvport.engine.data_ports import DataPorts, Pool
from pasvport.engine.loop import Loop
from pasvport.model import Bind, Ftp, Global, Mode, Proxy

pytestmark = pytest.mark.skipif(is_compiled(), reason="compiled code takes no stand-in for a Plant")

HERE, THERE = "127.0.0.1", "127.0.0.2"


class Holder:
    """Remembers who came."""

    def __init__(self) -> None:
        self.claims: list[str] = []
        self.is_ready = True

    def claimed(self, descriptor: int, host: str) -> bool:
        if self.is_ready:
            socket.socket(fileno=descriptor).close()
            self.claims.append(host)
        return self.is_ready


class Office:
    """The data ports of one frontend in one worker."""

    def __init__(self, ports: list[int], *, worker: int = 0, workers: int = 1, ftp: Ftp | None = None) -> None:
        self.loop = Loop(time.monotonic)
        binds = tuple(
            Bind(replace(ORIGIN, line=port), loopback(port, HERE), PortRange(port, port), data=True) for port in ports
        )
        proxy = Proxy(ORIGIN, "fe", 0, 2, True, False, mode=Mode.FTP, binds=binds, ftp=ftp or Ftp())
        config = SimpleNamespace(settings=Global())
        counters = SimpleNamespace(worker=worker, workers=workers)
        self.starved: list[object] = []
        plant = SimpleNamespace(
            loop=self.loop,
            config=config,
            counters=counters,
            report=pytest.fail,
            exhausted=lambda: None,
            starve=self.starved.append,
        )
        self.leased = self.turned_away = 0
        self.ports = DataPorts(plant, proxy, random.Random(1).randrange, self._count, self._turned_away)  # type: ignore[arg-type]

    def _count(self, step: int) -> None:
        self.leased += step

    def _turned_away(self) -> None:
        self.turned_away += 1

    def lease(self, client: str, holder: Holder | None = None):
        pool = self.ports.pool_for(HERE)
        assert pool is not None
        return self.ports.lease(pool, HERE, client, holder or Holder())

    def close(self) -> None:
        self.ports.close()
        self.loop.dispose()


@pytest.fixture
def office() -> Iterator[Office]:
    running = Office(free_ports(3))
    yield running
    running.close()


def test_single_ports_on_one_address_are_one_pool(office: Office) -> None:
    given_out = [office.lease("10.0.0.1") for _ in range(3)]
    assert len({lease.port for lease in given_out}) == 3
    assert office.lease("10.0.0.1") is None
    assert office.leased == 3


def test_clients_that_differ_share_a_port_and_are_told_apart(office: Office) -> None:
    here, there = Holder(), Holder()
    ports = {office.lease(HERE, here).port, *(office.lease(HERE).port for _ in range(2))}
    assert office.lease(THERE, there).port in ports
    port = next(port for (_, port), door in office.ports.doors.items() if THERE in door.leases)
    with socket.create_connection((HERE, port), source_address=(THERE, 0)):
        while not there.claims:
            office.loop.turn(5)
    assert there.claims == [THERE]
    assert not here.claims


def test_a_door_rests_while_descriptors_are_out(office: Office) -> None:
    """Who knocks cannot be taken, and must not wake the loop again and again; nor is it forgotten."""
    holder = Holder()
    port = office.lease(HERE, holder).port
    with socket.create_connection((HERE, port)) as client:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, hard))
        try:
            office.loop.turn(5)
            events = office.loop.events
            office.loop.turn(0)
            assert office.loop.events == events
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert not holder.claims
        office.starved.pop().feed()  # type: ignore[attr-defined]
        office.loop.turn(5)
    assert holder.claims == [HERE]


def test_a_stranger_consumes_nothing(office: Office) -> None:
    holder = Holder()
    lease = office.lease(HERE, holder)
    stranger_comes(office, lease.port)
    with socket.create_connection((HERE, lease.port)):
        while not holder.claims:
            office.loop.turn(5)
    assert (lease.strangers, holder.claims, office.turned_away, office.leased) == (1, [HERE], 1, 1)


def stranger_comes(office: Office, port: int) -> None:
    before = office.turned_away
    with socket.create_connection((HERE, port), source_address=(THERE, 0)) as stranger:
        while office.turned_away == before:
            office.loop.turn(5)
        with pytest.raises(ConnectionResetError):
            stranger.recv(1)


def test_who_comes_before_anybody_can_know_the_port_is_a_stranger(office: Office) -> None:
    holder = Holder()
    holder.is_ready = False
    lease = office.lease(HERE, holder)
    with socket.create_connection((HERE, lease.port)) as early:
        while not office.turned_away:
            office.loop.turn(5)
        with pytest.raises(ConnectionResetError):
            early.recv(1)
    assert (lease.strangers, lease.connected, office.leased) == (1, False, 1)


def test_a_lease_stands_while_others_come_for_it(office: Office) -> None:
    """Who of them is meant is for its holder to say."""
    holder = Holder()
    lease = office.lease(HERE, holder)
    with socket.create_connection((HERE, lease.port)), socket.create_connection((HERE, lease.port)):
        while len(holder.claims) < 2:
            office.loop.turn(5)
    assert (lease.connected, office.leased) == (True, 1)
    with socket.create_connection((HERE, lease.port)):
        # Before a transfer starts, who has come by then is looked for.
        lease.door.look()
    assert len(holder.claims) == 3
    lease.give_back()
    lease.door.look()


def test_each_lease_knows_the_strangers_of_its_own_time() -> None:
    office = Office(free_ports(1))
    try:
        first = office.lease("10.0.0.1")
        stranger_comes(office, first.port)
        second = office.lease("10.0.0.2")
        stranger_comes(office, first.port)
        assert (first.strangers, second.strangers) == (2, 1)
        first.give_back()
        assert first.strangers == 2
    finally:
        office.close()


def test_a_stranger_costs_the_same_however_many_wait() -> None:
    """Whoever waits on the port is neither asked nor told."""
    office = Office(free_ports(1))
    try:
        port = office.lease("10.0.0.1").port
        stranger_comes(office, port)
        alone = calls_of_a_stranger(office, port)
        for number in range(2000):
            assert office.lease(f"10.1.{number >> 8}.{number & 255}") is not None
        assert calls_of_a_stranger(office, port) == alone
    finally:
        office.close()


def calls_of_a_stranger(office: Office, port: int) -> int:
    """How many functions are called for one."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    with socket.create_connection((HERE, port), source_address=(THERE, 0)):
        before = office.turned_away
        sys.setprofile(count)
        try:
            office.loop.turn(5)
        finally:
            sys.setprofile(None)
        assert office.turned_away == before + 1
    return calls


def test_the_only_port_is_free_again_at_once() -> None:
    office = Office(free_ports(1))
    try:
        for _ in range(3):
            lease = office.lease(HERE)
            assert lease is not None
            lease.give_back()
    finally:
        office.close()


def test_a_port_that_another_worker_leases_is_passed_over() -> None:
    ports = free_ports(4)
    one, other = Office(ports, worker=0, workers=2), Office(ports, worker=1, workers=2)
    try:
        taken = [one.lease(HERE).port for _ in range(3)]
        assert other.lease(HERE).port not in taken
        assert other.lease(HERE) is None
    finally:
        one.close()
        other.close()


def test_nothing_listens_that_nobody_leases(office: Office) -> None:
    lease = office.lease(HERE)
    lease.give_back()
    office.loop.turn(0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HERE, lease.port))


def test_every_port_is_as_likely_as_any_other() -> None:
    """One client after the other, of several workers too, which is what anybody can watch from outside."""
    for workers in (1, 2):
        office = Office(free_ports(12), workers=workers)
        try:
            found = Counter[int]()
            for _ in range(3600):
                lease = office.lease(HERE)
                found[lease.port] += 1
                lease.give_back()
            expected = 3600 / (12 if workers == 1 else 11)
            assert len(found) == (12 if workers == 1 else 11)
            assert all(0.75 * expected < count < 1.25 * expected for count in found.values()), found
        finally:
            office.close()


def test_a_worker_opens_its_share_of_a_small_pool_and_then_lets_clients_share() -> None:
    ports = free_ports(11)
    one, other = Office(ports, worker=0, workers=2), Office(ports, worker=1, workers=2)
    try:
        for number in range(60):
            assert one.lease(f"10.0.0.{number}") is not None
        assert len(one.ports.doors) == 6
        # One address may have as many ports as the others leave.
        taken = [lease.port for _ in range(12) if (lease := other.lease(HERE)) is not None]
        assert len(set(taken)) == len(taken) == 5
        for each in list(one.ports.doors.values()):
            for lease in list(each.leases.values()):
                lease.give_back()
        assert one.ports.pools[0].opened == 0
        assert sum(other.lease(HERE) is not None for _ in range(12)) == 5
    finally:
        one.close()
        other.close()


@given(st.integers(1, 60), st.integers(1, 8), st.integers(0))
def test_a_pool_offers_every_port_but_keeps_one_for_each_worker(count: int, workers: int, seed: int) -> None:
    bind = Bind(ORIGIN, loopback(5000, HERE), PortRange(5000, 4999 + count), data=True)
    offered = [
        set(Pool(bind, range(5000, 5000 + count), number, workers).order(random.Random(seed).randrange))
        for number in range(workers)
    ]
    assert set().union(*offered) == set(range(5000, 5000 + count))
    if count >= 2 * workers:
        assert all(mine - set().union(*offered[:number], *offered[number + 1 :]) for number, mine in enumerate(offered))
        assert all(len(mine) == count - workers + 1 for mine in offered)
    else:
        assert all(len(mine) == count for mine in offered)


@pytest.mark.parametrize(
    ("ftp", "one", "other", "same"),
    [
        (Ftp(), "10.0.0.1", "10.0.0.2", False),
        (Ftp(data_peer_ipv4=24, data_peer_ipv6=64), "10.0.0.1", "10.0.0.200", True),
        (Ftp(data_peer_ipv4=24, data_peer_ipv6=64), "10.0.0.1", "10.0.1.1", False),
        (Ftp(data_peer_ipv4=24, data_peer_ipv6=64), "2001:db8::1", "2001:db8::2", True),
        (Ftp(data_peer_ipv4=0, data_peer_ipv6=0), "10.0.0.1", "192.0.2.1", True),
    ],
)
def test_whom_a_lease_is_for(ftp: Ftp, one: str, other: str, same: bool) -> None:
    office = Office(free_ports(1), ftp=ftp)
    try:
        (pool,) = office.ports.pools
        lease = office.ports.lease(pool, HERE, one, Holder())
        assert lease is not None
        assert (office.ports.awaited(HERE, lease.port, other) is not None) is same
    finally:
        office.close()
