"""Servers are killed at random moments under load: a client gets all its bytes or is told so, and nobody hangs."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from farm.front import Front, Section
from farm.raw_client import RawClient
from farm.servers import Farm, Passive, Server
from farm.waiting import until

SERVERS = ("pyftpdlib-1", "pyftpdlib-2", "pyftpdlib-3")
CLIENTS = 8
KILLS = 10
CONTENT = random.Random(8).randbytes(3_000_000)
UPLOAD = random.Random(9).randbytes(1_000_000)
LIMITS = """\
timeout connect 1s
timeout client 3s
timeout server 3s
timeout ftp-data 2s
timeout ftp-transfer 2s
retries 2
option redispatch
balance leastconn"""
PATIENCE = 12.0
"""Seconds, more than any of these timeouts one after another: whoever waits longer hangs."""


class ToldError(Exception):
    """The balancer said that it failed: a reply of 4xx."""


class Guest:
    """A client that takes nothing for granted."""

    def __init__(self, front: Front, number: int) -> None:
        self._front = front
        self._chance = random.Random(number)
        self._source = f"127.0.3.{number}"
        self._name = f"up-{number}"
        self.outcomes: collections.Counter[str] = collections.Counter()

    def visit(self, farm: Farm) -> None:
        """One session: what it was promised must be true."""
        try:
            with self._front.client("fe", self._source, greeting=False, patience=PATIENCE) as client:
                self._check(client, 220)
                self._log_in(client)
                for number in range(3):
                    self._one_more(client, farm, number)
        except ToldError as told:
            self.outcomes[str(told)] += 1

    def _one_more(self, client: RawClient, farm: Farm, number: int) -> None:
        try:
            self._chance.choice((self._download, self._upload))(client, farm)
        except ConnectionError:
            # The server died behind the 226 of the former one: the end, as directly, and nothing else behind it.
            assert number, "the end before the first transfer"
            raise ToldError("the end") from None

    def _check(self, client: RawClient, *codes: int) -> None:
        said = client.reply()
        if said.code in codes:
            return
        assert 400 <= said.code < 500, said
        raise ToldError(f"{said.code} {said.text.decode()}")

    def _ask(self, client: RawClient, line: str, *codes: int) -> None:
        with contextlib.suppress(ConnectionError):
            # It may have gone just now: its last words are still to be read.
            client.send(line)
        self._check(client, *codes)

    def _log_in(self, client: RawClient) -> None:
        self._ask(client, "USER farmer", 331)
        self._ask(client, "PASS plough", 230)
        self._ask(client, "TYPE I", 200)

    def _port(self, client: RawClient) -> int:
        client.send("EPSV")
        said = client.reply()
        if said.code != 229:
            assert 400 <= said.code < 500, said
            raise ToldError(f"{said.code} {said.text.decode()}")
        return int(said.text.split(b"|")[3])

    def _download(self, client: RawClient, farm: Farm) -> None:
        got = bytearray()
        with contextlib.suppress(ConnectionError), client.dial(self._port(client)) as data:
            client.send("RETR pub/content")
            while part := data.recv(1 << 16):
                got += part
        self._check(client, 125, 150)
        self._check(client, 226)
        assert got == CONTENT, "226 for a file that is not complete"
        self.outcomes["download"] += 1

    def _upload(self, client: RawClient, farm: Farm) -> None:
        with contextlib.suppress(ConnectionError), client.dial(self._port(client)) as data:
            client.send(f"STOR pub/{self._name}")
            data.sendall(UPLOAD)
        self._check(client, 125, 150)
        self._check(client, 226)
        assert any(self._has(server) for server in farm.servers), "226 for a file that is not there"
        self.outcomes["upload"] += 1

    def _has(self, server: Server) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return (server.pub / self._name).read_bytes() == UPLOAD
        return False


class Reaper(threading.Thread):
    """Kills a server every now and then, and brings it back."""

    def __init__(self, farm: Farm) -> None:
        super().__init__(daemon=True)
        self._farm = farm
        self._chance = random.Random(13)
        self._over = threading.Event()
        self.killed = 0

    def __enter__(self) -> Reaper:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.wait(self._chance.uniform(0.02, 0.3)):
            server = self._chance.choice(self._farm.servers)
            assert server.child is not None
            server.child.stop(signal.SIGKILL)
            self.killed += 1
            self._over.wait(self._chance.uniform(0, 0.3))
            server.start()
            server.until_ready()


@pytest.fixture
def farm() -> Iterator[Farm]:
    with Farm(SERVERS, passive=Passive.WRONG) as running:
        running.put("content", CONTENT)
        yield running


@pytest.fixture
def front(farm: Farm) -> Iterator[Front]:
    lines = "\n".join(f"server {each.name} {each.host}:{each.port} check inter 100ms" for each in farm.servers)
    with Front(Section("fe", f"{LIMITS}\n{lines}")) as running:
        yield running


def crowd(front: Front, farm: Farm, enough: Callable[[], bool]) -> collections.Counter[str]:
    """All clients at once, each at least twice, and how their sessions went."""
    guests = [Guest(front, number) for number in range(1, CLIENTS + 1)]

    def stay(guest: Guest) -> None:
        guest.visit(farm)
        guest.visit(farm)
        while not enough():
            guest.visit(farm)

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(stay, guest) for guest in guests]:
            done.result()
    return sum((guest.outcomes for guest in guests), collections.Counter())


@pytest.mark.slow
def test_servers_that_are_killed_under_load(front: Front, farm: Farm) -> None:
    crowd(front, farm, lambda: True)
    until(lambda: front.stat("fe", "scur") == 0, "quiet")
    before = front.balancer.descriptors()
    began = time.monotonic()
    with Reaper(farm) as reaper:
        outcomes = crowd(front, farm, lambda: reaper.killed >= KILLS)
    assert outcomes["download"] > CLIENTS
    assert outcomes["upload"] > CLIENTS
    assert sum(count for said, count in outcomes.items() if said[0] == "4") > 0, outcomes
    until(lambda: front.stat("fe", "scur") == 0, "quiet again")
    assert front.stat("fe", "ftp_lease_cur") == front.stat("fe", "ftp_xfer_cur") == 0
    until(lambda: front.balancer.descriptors() == before, f"{front.balancer.descriptors()} to be {before} again")
    print(f"{reaper.killed} killed in {time.monotonic() - began:.1f} s: {dict(outcomes)}")
