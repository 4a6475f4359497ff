"""Processes that stand still or die while FTP is transferred: the others go on, and what is told of it stays true."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from abuse_rig import CONTENT, PATIENCE, Bystanders, Weight, until_quiet
from api_rig import Echo
from farm.front import Front, Section
from farm.raw_client import RawClient, read_to_end
from farm.servers import Farm, Passive
from farm.waiting import until
from process_rig import source_for, until_gone

MEGABYTES = 1024
BIG = CONTENT * 16
FTP_GAUGES = ("scur", "ftp_lease_cur", "ftp_xfer_cur")


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(("pyftpdlib-1",), passive=Passive.WRONG) as running:
        running.put("content", CONTENT)
        running.put("big", BIG)
        yield running


@pytest.fixture
def front(farm: Farm, tmp_path: Path) -> Iterator[Front]:
    server = farm.servers[0]
    lines = f"maxconn 6\noption ftp-xferlog {tmp_path}/xferlog\nserver {server.name} {server.host}:{server.port} check"
    with (
        Echo() as echo,
        Front(
            Section("fe", lines),
            Section("plain", f"server echo 127.0.0.1:{echo.port}", "bind {host}:{port}", "tcp"),
            settings="log stdout format raw local0",
        ) as running,
    ):
        until(lambda: len(running.balancer.workers()) == 2, "two workers")
        yield running


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def moving(front: Front, worker: int) -> Iterator[tuple[RawClient, socket.socket]]:
    """A session of that worker in the middle of a download."""
    with front.client("fe", source_for(worker), patience=PATIENCE) as client:
        client.log_in("farmer")
        client.ask("TYPE I", 200)
        data = client.passive()
        client.ask("RETR pub/big", 125, 150)
        assert data.recv(1) == BIG[:1]
        yield client, data


def visit(front: Front, source: str) -> None:
    with socket.create_connection(front.address("plain"), PATIENCE, (source, 0)) as each:
        each.sendall(b"x")
        assert each.recv(1) == b"x"


def ends_early(client: RawClient, data: socket.socket) -> bool:
    """Neither connection says that the file is complete."""
    try:
        received = len(read_to_end(data))
    except ConnectionResetError:
        received = -1
    try:
        client.reply()
    except ConnectionError:
        return received < len(BIG) - 1
    return False


# --- standing still -----------------------------------------------------------------------------------------------


def test_a_supervisor_that_stands_still(front: Front, farm: Farm) -> None:
    """Workers go on alone; what they have to tell is bounded; what was asked meanwhile is answered afterwards."""
    with Bystanders(front, farm) as decent:
        front.api("show stat")
        before = Weight(front)
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(front.api("show info")))
        with stopped(front.balancer.pid):
            asking.start()
            for number in range(300):
                visit(front, f"127.0.9.{number % 200 + 5}")
            decent.go_on(12)
        asking.join(PATIENCE)
        assert "Uptime" in answers[0]
        before.check_memory(4 * MEGABYTES)
        decent.go_on()
    until_quiet(front, "fe", "plain")
    assert front.stat("plain", "stot") >= 301
    before.until_descriptors()


def test_a_worker_that_stands_still(front: Front) -> None:
    """Answers come without its part, which is said; nothing of it is lost when it goes on."""
    first, second = sorted(front.balancer.workers())
    with moving(front, 0) as (still, its_data), moving(front, 1) as (lively, data):
        with stopped(first):
            seen = front.api("show ftp transfers")
            assert "worker 0" in seen
            assert lively.control.getsockname()[0] in seen
            assert front.stat("fe", "scur") == 2
            assert BIG[:1] + read_to_end(data) == BIG
            lively.expect(226)
            assert second in front.balancer.workers()
        assert BIG[:1] + read_to_end(its_data) == BIG
        still.expect(226)
        assert front.api("show sess").count("fe=fe ") == 2
    until_quiet(front, "fe")


# --- death --------------------------------------------------------------------------------------------------------


def test_a_worker_is_killed_in_the_middle_of_transfers(front: Front) -> None:
    """Its own sessions end; the other's transfers arrive whole; limits and gauges know nothing of the dead."""
    first, _ = sorted(front.balancer.workers())
    with contextlib.ExitStack() as stack:
        lost = [stack.enter_context(moving(front, 0)) for _ in range(3)]
        kept = [stack.enter_context(moving(front, 1)) for _ in range(2)]
        waiting = stack.enter_context(front.client("fe", source_for(0)))
        waiting.log_in("farmer")
        waiting.pasv()
        assert [front.stat("fe", name) for name in FTP_GAUGES] == [6, 1, 5]
        os.kill(first, signal.SIGKILL)
        assert all(ends_early(*each) for each in lost)
        until(lambda: len(front.balancer.workers() - {first}) == 2, "another worker")
        for name, count in zip(FTP_GAUGES, (2, 0, 2), strict=True):
            front.until_stat("fe", name, lambda seen, count=count: seen == count)
        # Four of six slots came back, and a server's count of sessions with them.
        again = [stack.enter_context(moving(front, 0)) for _ in range(4)]
        for client, data in kept + again:
            assert BIG[:1] + read_to_end(data) == BIG
            client.expect(226)
    until_quiet(front, "fe")
    assert front.open_ports("fe") == set()


def test_the_supervisor_is_killed_in_the_middle_of_transfers(front: Front) -> None:
    """Nobody is left, and the same configuration starts again on the same ports and sockets."""
    workers = front.balancer.workers()
    with moving(front, 0) as (_, data):
        os.kill(front.balancer.pid, signal.SIGKILL)
        until_gone(workers)
        with pytest.raises(ConnectionResetError):
            read_to_end(data)
    assert front.balancer.child is not None
    assert front.balancer.child.stop() == -signal.SIGKILL
    assert not front.balancer.child.survivors
    front.balancer.start()
    with moving(front, 1) as (client, data):
        assert BIG[:1] + read_to_end(data) == BIG
        client.expect(226)
    assert "Uptime" in front.api("show info")
