"""Ten thousand ill-behaved connections: no worker dies, no descriptor stays, a decent session goes on."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable

import pytest

from farm.addresses import source_addresses
from farm.arena import reset
from farm.crowd import CONTROL, PORTS, Crowd
from farm.waiting import PATIENCE, until

SOURCES = source_addresses(400)
POOLED_PIPE_ENDS = 2 * 32


class Storm:
    """Ill-behaved clients of one crowd; what must stay open for the abuse to last is in `held`."""

    def __init__(self, crowd: Crowd, seed: int) -> None:
        self._host = crowd.host
        self._chance = random.Random(seed)
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Storm:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def _connect(self) -> socket.socket:
        client = socket.socket()
        client.settimeout(PATIENCE)
        client.bind((self._chance.choice(SOURCES), 0))
        client.connect((self._host, self._chance.choice([CONTROL, self._chance.randint(*PORTS)])))
        return client

    def random_bytes(self) -> None:
        with self._connect() as client, contextlib.suppress(ConnectionError):
            client.sendall(self._chance.randbytes(self._chance.randint(1, 5000)))

    def nothing(self) -> None:
        self._connect().close()

    def silence(self) -> None:
        """A connection that says nothing, and stays."""
        self._held.enter_context(self._connect())

    def reset_at_once(self) -> None:
        reset(self._connect())

    def reset_after_words(self) -> None:
        client = self._connect()
        with contextlib.suppress(ConnectionError):
            client.sendall(b"USER x\r\n")
        reset(client)

    def half_close(self) -> None:
        with self._connect() as client:
            client.shutdown(socket.SHUT_WR)

    def slow_reader(self) -> None:
        """Asks for a megabyte, reads nothing, and stays."""
        client = self._held.enter_context(self._connect())
        with contextlib.suppress(ConnectionError):
            client.sendall(b"FLOOD")

    def rage(self, count: int, breathe: Callable[[], None]) -> None:
        """`count` connections of every kind; `breathe` is called now and then."""
        kinds = [self.random_bytes, self.nothing, self.reset_at_once, self.reset_after_words, self.half_close]
        rare = [self.silence, self.slow_reader]
        for number in range(count):
            self._chance.choice(rare if number % 100 == 0 else kinds)()
            if number % 500 == 0:
                breathe()


@pytest.mark.slow
@pytest.mark.parametrize("balancer", ["haproxy", "pasvport"])
def test_abuse(balancer: str) -> None:
    with Crowd(balancer, 2, workers=2) as crowd, contextlib.ExitStack() as stack:
        assert crowd.balancer is not None
        decent, _ = crowd.connect("127.0.0.1")
        stack.enter_context(decent)

        def ping() -> None:
            decent.sendall(b"PING")
            assert decent.recv(4) == b"PONG"

        with Storm(crowd, 1) as storm:
            storm.rage(200, ping)
        idle = quiet(crowd)
        with Storm(crowd, 2) as storm:
            storm.rage(10_000, ping)
        ping()
        # What is opened at the first use may stay (pools, the log's socket); ten thousand more may add nothing.
        until(lambda: crowd.balancer.descriptors() == idle, f"{crowd.balancer.descriptors()} to be {idle} again")
        assert max(crowd.balancer.pipes().values()) <= POOLED_PIPE_ENDS


def quiet(crowd: Crowd) -> dict[int, int]:
    """Descriptors of each worker once every session but the decent one has ended: the same fifty times running."""
    assert crowd.balancer is not None
    seen: list[dict[int, int]] = []

    def settled() -> bool:
        seen.append(crowd.balancer.descriptors())
        return len(seen) >= 50 and all(each == seen[-1] for each in seen[-50:])

    until(settled, "the storm to be over")
    return seen[-1]
