"""A thousand clients: every connection of a client address reaches the server of its first."""

from __future__ import annotations

import collections
import random
import socket

import pytest

from farm.addresses import source_addresses
from farm.crowd import PORTS, Crowd

CLIENTS = 1000


def data_port(chance: random.Random) -> int:
    return chance.randint(*PORTS)


@pytest.mark.slow
@pytest.mark.parametrize(("balancer", "workers"), [("haproxy", 2), ("pasvport", 1), ("pasvport", 2), ("pasvport", 4)])
def test_every_client_stays_on_its_server(balancer: str, workers: int) -> None:
    chance = random.Random(959)
    sources = source_addresses(CLIENTS)
    home: dict[str, str] = {}
    held: list[socket.socket] = []
    strays = []
    with Crowd(balancer, 4, workers) as crowd:
        try:
            for source in sources:
                control, home[source] = crowd.connect(source)
                held.append(control)
            visits = sources * 3
            chance.shuffle(visits)
            for source in visits:
                data, name = crowd.connect(source, data_port(chance))
                data.close()
                if name != home[source]:
                    strays.append((source, home[source], name))
        finally:
            for control in held:
                control.close()
    assert not strays
    # leastconn over open control connections shares them out evenly, however many workers decide.
    shares = collections.Counter(home.values())
    assert set(shares) == {"who0", "who1", "who2", "who3"}
    assert max(shares.values()) - min(shares.values()) <= CLIENTS // 10
