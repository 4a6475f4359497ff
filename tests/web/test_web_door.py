"""Many clients, slow clients, silent clients: the door stays open for others, and traffic does not notice."""

from __future__ import annotations

import asyncio
import socket

import pytest

import web_rig
from farm.waiting import until
from pasvport.control.web.door import Door, identity
from web_rig import ask

PATIENCE = 10


class Silence(asyncio.Protocol):
    """A protocol that never answers."""


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0), backlog=64) as found:
        yield found


async def when(fact):
    async with asyncio.timeout(PATIENCE):
        while not fact():
            await asyncio.sleep(0.005)


def dial(listener):
    client = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
    client.setblocking(False)
    return client


def is_closed(client):
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_the_longest_silent_makes_room(listener) -> None:
    async def story():
        door = Door(listener, Silence, most=3, patience=60)
        door.open()
        clients = []
        for number in range(3):
            clients.append(dial(listener))
            await when(lambda number=number: len(door.guests) == number + 1)
        first = next(iter(door.guests))
        door.requested(first)
        clients.append(dial(listener))
        await when(lambda: is_closed(clients[1]))
        assert not is_closed(clients[0])
        await when(lambda: len(door.guests) == 3)
        assert door.refused == 1
        await door.close()
        for client in clients:
            client.close()

    asyncio.run(story())


def test_a_hundred_at_once_never_exceed_the_limit(listener) -> None:
    async def story():
        door = Door(listener, Silence, most=5, patience=60)
        door.open()
        clients = [dial(listener) for _ in range(50)]
        await when(lambda: door.refused == 45 and len(door.guests) == 5)
        await door.close()
        await when(lambda: all(map(is_closed, clients)))
        for client in clients:
            client.close()

    asyncio.run(story())


def test_patience_ends(listener) -> None:
    async def story():
        door = Door(listener, Silence, most=5, patience=0)
        door.open()
        client = dial(listener)
        await when(lambda: door.guests)
        await asyncio.sleep(0)
        await when(lambda: door.look() or not door.guests)
        await when(lambda: is_closed(client))
        await door.close()
        client.close()

    asyncio.run(story())


def test_a_closed_listener_is_noticed(listener) -> None:
    async def story():
        door = Door(listener, Silence, most=5, patience=60)
        door.open()
        assert door.is_served
        assert identity(listener) != -1
        listener.close()
        assert not door.is_served
        assert identity(listener) == -1
        await door.close()
        await door.close()

    asyncio.run(story())


def test_a_paused_port_is_taken_up_again(listener) -> None:
    async def story():
        door = Door(listener, Silence, most=5, patience=60)
        door.open()
        listener.shutdown(socket.SHUT_RD)
        await when(lambda: door._timer is not None)
        listener.listen(5)
        client = dial(listener)
        await when(lambda: door.guests)
        await door.close()
        client.close()

    asyncio.run(story())


# --- a running pasvport -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowded(tmp_path_factory, alive):
    with web_rig.pasvport(tmp_path_factory.mktemp("crowded"), alive) as found:
        yield found


def test_silent_clients_are_sent_away_and_others_served(crowded) -> None:
    running, places = crowded
    before = running.descriptors()
    silent = [socket.create_connection(("127.0.0.1", places.open), timeout=PATIENCE) for _ in range(300)]
    for number, client in enumerate(silent):
        if number % 3:
            with web_rig.suppressed():
                client.sendall(b"GET /stats;csv HTTP/1.1\r\nHost: x\r\n" if number % 3 == 1 else b"G")
    assert ask(places.open, "/stats;csv").status == 200
    assert ask(places.open, "/health").status in (200, 503)
    with socket.create_connection(("127.0.0.1", places.tcp), timeout=PATIENCE):
        pass
    assert running.descriptors() <= before + 150
    for client in silent:
        with web_rig.suppressed():
            client.settimeout(PATIENCE)
            while client.recv(65536):
                pass
        client.close()
    until(lambda: running.descriptors() <= before + 2, "the connections to be given back", PATIENCE)


def test_clients_that_never_read_are_cut(crowded) -> None:
    running, places = crowded
    before = running.descriptors()
    greedy = []
    for _ in range(20):
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", places.open))
        with web_rig.suppressed():
            client.sendall(b"GET /stats;json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        greedy.append(client)
    assert ask(places.open, "/stats;csv").status == 200
    until(lambda: running.descriptors() <= before + 2, "the greedy to be cut", PATIENCE)
    for client in greedy:
        client.close()


def test_a_dashboard_left_open_costs_nothing_more(crowded) -> None:
    """A few thousand polls over one connection: what an hour of an open page is. Memory stays where it was."""
    running, places = crowded
    poll = f"GET /dashboard/data?after=0 HTTP/1.1\r\nHost: 127.0.0.1:{places.open}\r\n\r\n".encode()
    sizes = []
    with socket.create_connection(("127.0.0.1", places.open), timeout=PATIENCE) as client:
        stream = client.makefile("rb")
        for _ in range(4):
            for _ in range(200):
                client.sendall(poll)
                _read_answer(stream)
            sizes.append(_resident(running.pid))
    # The first round warms caches; what comes after may not add up.
    assert sizes[-1] - sizes[0] < 4 << 20, sizes


def _read_answer(stream):
    length = 0
    while (line := stream.readline()) not in (b"\r\n", b""):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    assert len(stream.read(length)) == length > 0


def _resident(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096
