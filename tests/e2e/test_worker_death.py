"""A worker is killed in the middle of a transfer: the kernel closes for it, and what was cut short must not look whole.

And the other half of that promise: what did come to its end loses nothing of it, however slowly it is taken.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from farm.addresses import CONTROL_PORT, Subnet
from farm.arena import read_to_end
from farm.front import Front, Section
from farm.raw_client import RawClient
from farm.scripted import Conversation, Scripted
from farm.waiting import PATIENCE, until

PART = bytes(range(256)) * 1000
WHOLE = os.urandom(16_000)
"""More than a receiver takes whose buffer is TIGHT, and less than a sender's kernel keeps for it."""
TIGHT = 2048


def ending(data: socket.socket) -> str:
    """How a stream ends: by FIN or by a reset."""
    try:
        while data.recv(1 << 16):
            pass
    except ConnectionResetError:
        return "reset"
    return "end"


@dataclass
class Store:
    """A server's side of uploads."""

    begun: threading.Event = field(default_factory=threading.Event)
    may_read: threading.Event = field(default_factory=threading.Event)
    endings: list[str] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)

    def stor(self, talk: Conversation, argument: str) -> None:
        """Says when it has begun, and how it ended."""
        talk.say("150 Waiting")
        with talk.data() as data:
            data.recv(1000)
            self.begun.set()
            self.endings.append(ending(data))
        talk.say("226 Got it")

    def slow(self, talk: Conversation, argument: str) -> None:
        """Reads only when it is told to, from a connection that holds little."""
        talk.say("150 Waiting")
        with talk.data() as data:
            assert self.may_read.wait(PATIENCE)
            self.kept.append(read_to_end(data))
        talk.say("226 Got it")

    def retr(self, talk: Conversation, argument: str) -> None:
        """Sends a part, and has more to send."""
        talk.say("150 Coming")
        with talk.data() as data:
            data.sendall(PART)
            ending(data)
        talk.say("226 All there")

    def close(self) -> None:
        self.may_read.set()


class Tight(Conversation):
    """Data connections whose receive buffer is small, so that the sender's kernel keeps most of a file."""

    def listen(self) -> int:
        port = super().listen()
        assert self._listener is not None
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TIGHT)
        return port


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.close()


@pytest.fixture
def server(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    monkeypatch.setattr("farm.scripted.Conversation", Tight)
    answers = {"STOR": store.stor, "APPE": store.stor, "STOU": store.stor, "RETR": store.retr}
    with Scripted(answers=answers) as running:
        yield running


@pytest.fixture
def front(server: Scripted) -> Iterator[Front]:
    with Front(Section("fe", f"option ftp-active\nserver s {server.address}")) as running:
        yield running


def kill_workers(front: Front) -> None:
    for pid in front.balancer.workers():
        os.kill(pid, signal.SIGKILL)


def active(client: RawClient) -> socket.socket:
    """PORT, and the socket on which the balancer's connection will come."""
    with client.control.dup() as control:
        host = control.getsockname()[0]
    listener = socket.create_server((host, 0))
    listener.settimeout(PATIENCE)
    port = listener.getsockname()[1]
    client.ask(f"PORT {host.replace('.', ',')},{port >> 8},{port & 255}", 200)
    return listener


@pytest.mark.parametrize("command", ["STOR x", "APPE x", "STOU"])
def test_an_upload_that_was_cut_is_reset(front: Front, store: Store, command: str) -> None:
    with front.client("fe") as client:
        client.log_in("u")
        with client.passive() as data:
            client.ask(command, 150)
            data.sendall(PART)
            assert store.begun.wait(PATIENCE)
            kill_workers(front)
            until(lambda: store.endings, "the end of the upload")
    assert store.endings == ["reset"]


def test_an_active_upload_that_was_cut_is_reset(front: Front, store: Store) -> None:
    with front.client("fe") as client:
        client.log_in("u")
        with active(client) as listener:
            client.ask("STOR x", 150)
            data, _ = listener.accept()
            with data:
                data.sendall(PART)
                assert store.begun.wait(PATIENCE)
                kill_workers(front)
                until(lambda: store.endings, "the end of the upload")
    assert store.endings == ["reset"]


@pytest.mark.parametrize("is_active", [False, True])
def test_a_download_that_was_cut_is_reset(front: Front, is_active: bool) -> None:
    with front.client("fe") as client:
        client.log_in("u")
        if is_active:
            with active(client) as listener:
                client.ask("RETR x", 150)
                data, _ = listener.accept()
                data.settimeout(PATIENCE)
        else:
            data = client.passive()
            client.ask("RETR x", 150)
        with data:
            assert data.recv(1, socket.MSG_WAITALL)
            kill_workers(front)
            assert ending(data) == "reset"


def test_an_upload_that_has_ended_is_whole(front: Front, server: Scripted, store: Store) -> None:
    """Client and balancer have closed, and most of the file waits in a kernel for a server that is slow."""
    server.answers["STOR"] = store.slow
    with front.client("fe") as client:
        client.log_in("u")
        before = front.balancer.descriptors()
        with client.passive() as data:
            client.ask("STOR x", 150)
            data.sendall(WHOLE)
        until(lambda: front.balancer.descriptors() == before, "the balancer to have closed")
        store.may_read.set()
        client.expect(226)
    assert store.kept == [WHOLE]


# --- mode tcp -----------------------------------------------------------------------------------------------------


class Far:
    """A server in `mode tcp`: whoever dials a port of the balancer's range comes to the same port here."""

    def __init__(self, host: str, port: int) -> None:
        self.listener = socket.create_server((host, port))
        self.listener.settimeout(PATIENCE)

    def accept(self) -> socket.socket:
        connection, _ = self.listener.accept()
        connection.settimeout(PATIENCE)
        return connection


@pytest.fixture
def far() -> Iterator[Far]:
    running = Far(Subnet().host(1), 50001)
    yield running
    running.listener.close()


@pytest.fixture
def relay(far: Far) -> Iterator[Front]:
    host = far.listener.getsockname()[0]
    with Front(
        Section("few", f"server s {host}", "bind {host}:{port}\nbind {host}:50000-50003", "tcp"),
        Section("many", f"server s {host}", "bind {host}:{port}\nbind {host}:50000-50099", "tcp"),
    ) as running:
        yield running


@pytest.mark.parametrize("section", ["few", "many"])
def test_a_data_connection_of_mode_tcp_that_was_cut_is_reset(relay: Front, far: Far, section: str) -> None:
    with socket.create_connection((relay.host(section), 50001), PATIENCE) as client, far.accept() as server:
        client.sendall(b"up")
        server.sendall(b"down")
        assert (server.recv(2), client.recv(4)) == (b"up", b"down")
        kill_workers(relay)
        assert (ending(server), ending(client)) == ("reset", "reset")


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_side_of_mode_tcp_that_was_given_its_end_keeps_it(relay: Front, far: Far, first: str) -> None:
    with socket.create_connection((relay.host("few"), 50001), PATIENCE) as client, far.accept() as server:
        client.sendall(b"up")
        assert server.recv(2) == b"up"
        one, other = (client, server) if first == "client" else (server, client)
        one.sendall(WHOLE)
        one.shutdown(socket.SHUT_WR)
        got = other.recv(1, socket.MSG_WAITALL) + read_to_end(other)
        assert got == WHOLE
        kill_workers(relay)
        assert ending(one) == "reset"


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_stream_of_mode_tcp_that_has_ended_is_whole(relay: Front, far: Far, first: str) -> None:
    """Both have closed before the slower one reads."""
    far.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TIGHT)
    with socket.socket() as client:
        client.settimeout(PATIENCE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, TIGHT)
        client.connect((relay.host("few"), 50001))
        with far.accept() as server:
            # A client that ends before the server is connected is CC, here as in HAProxy.
            client.sendall(b"up")
            assert server.recv(2) == b"up"
            one, other = (client, server) if first == "client" else (server, client)
            one.sendall(WHOLE)
            one.shutdown(socket.SHUT_WR)
            other.shutdown(socket.SHUT_WR)
            assert one.recv(1) == b""
            until(lambda: relay.stat("few", "scur") == 0, "the relay to be over")
            assert read_to_end(other) == WHOLE
    assert CONTROL_PORT not in relay.open_ports("few")
