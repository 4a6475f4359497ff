"""Clients of `mode ftp` that break off anywhere, and talk nonsense: nothing stays behind, and the others are served."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import pytest

from farm.addresses import source_addresses
from farm.arena import reset
from farm.front import Front, Section
from farm.raw_client import DM, IAC, IP, RawClient
from farm.scripted import Scripted
from farm.waiting import until

SOURCES = source_addresses(100)
NONSENSE = [
    b"\0\0\0\r\n",
    b"\xff\xfd\x01\xff\xfb\x03",
    IAC + IP + IAC + DM,
    b"EPRT |1|10.0.0.1|80|\r\n",
    b"PORT 1,2,3\r\n",
    b"EPSV 9\r\n",
    b"ABOR\r\nABOR\r\nABOR\r\n",
    b"PASV\r\nPASV\r\nEPSV\r\nPASV\r\n",
    b"RETR\r\nRETR x\r\n",
    b"REIN\r\n",
    b"A" * 5000 + b"\r\n",
    b"NOOP\r\n" * 200,
    b"\r\n\r\n\r\n",
    b"AUTH TLS\r\n\x16\x03\x01\x02\x00\x01\r\n",
    b"QUIT\r\nNOOP\r\n",
]


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted(answers={"ABOR": "225 Nothing", "REIN": "220 Again"}) as running:
        running.content = bytes(2_000_000)
        yield running


@pytest.fixture
def front(server: Scripted) -> Iterator[Front]:
    limits = "timeout client 2s\ntimeout server 2s\ntimeout ftp-data 1s\ntimeout ftp-transfer 1s\noption ftp-active"
    with Front(Section("fe", f"{limits}\nserver s {server.address}")) as running:
        yield running


class Vandal:
    """One client; `chance` decides how far it goes."""

    def __init__(self, front: Front, chance: random.Random) -> None:
        self._front = front
        self._chance = chance

    def visit(self) -> None:
        with (
            contextlib.suppress(ConnectionError, AssertionError, ValueError, TimeoutError),
            self._front.client("fe", self._chance.choice(SOURCES), greeting=False, patience=0.2) as client,
        ):
            for step in (self._greet, self._talk, self._transfer):
                if self._chance.random() < 0.15:
                    break
                step(client)
            if self._chance.random() < 0.5:
                reset(client.control)

    def _greet(self, client: RawClient) -> None:
        client.expect(220)
        client.log_in("u")

    def _talk(self, client: RawClient) -> None:
        if self._chance.random() < 0.5:
            client.write(self._chance.choice(NONSENSE))
            if self._chance.random() < 0.5:
                client.reply()

    def _transfer(self, client: RawClient) -> None:
        data = client.passive(extended=self._chance.random() < 0.5)
        client.send(self._chance.choice(("RETR x", "STOR x", "LIST", "NLST")))
        turn = self._chance.random()
        if turn < 0.3:
            data.recv(1)
        elif turn < 0.5:
            reset(data)
        elif turn < 0.7:
            data.sendall(b"x" * 100)
            data.close()
        elif turn < 0.9:
            client.abort()
        if self._chance.random() < 0.3:
            client.reply()


def quiet(front: Front) -> dict[int, int]:
    """Descriptors of each worker once no session is left."""
    until(lambda: front.stat("fe", "scur") == 0, "all sessions to be over")
    return front.balancer.descriptors()


@pytest.mark.slow
def test_clients_that_break_off_anywhere(front: Front, server: Scripted) -> None:
    chance = random.Random(2577)
    for _ in range(100):
        Vandal(front, chance).visit()
    idle = quiet(front)
    for number in range(300):
        Vandal(front, chance).visit()
        if number % 50 == 0:
            with front.client("fe") as decent:
                decent.log_in("u")
                assert decent.receive("RETR x") == server.content
                decent.quit()
    assert quiet(front) == idle
    assert [front.stat("fe", name) for name in ("ftp_lease_cur", "ftp_xfer_cur")] == [0, 0]
    assert front.open_ports("fe") == set()
    assert front.stat("fe", "ftp_xfer_fail") > 50
    assert "internal error" not in front.balancer.output()
