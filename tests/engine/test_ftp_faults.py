"""Bugs of ours in `mode ftp`: what one costs, and what it leaves behind."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine_rig import ORIGIN, Rig, bind, config, loopback, server
from farm.raw_client import RawClient
from farm.scripted import Conversation, Scripted
from pasvport.address import PortRange
from pasvport.engine import is_compiled
from pasvport.model import Bind, Mode
from pasvport.wire import Notice

pytestmark = pytest.mark.skipif(is_compiled(), reason="a fault cannot be put into compiled functions")

WORKER = str(Path(__file__).parents[1] / "faulty_worker.py")
HERE = "127.0.0.1"
LEVELS = (("frontend", 0), ("backend", 1), ("server", 1))


class Halting(Scripted):
    """Sends half a file, and the rest when `go` is set."""

    def __init__(self) -> None:
        super().__init__(answers={"RETR": self._halt, "STAT": "211 Fine"})
        self.go = threading.Event()

    def _halt(self, talk: Conversation, argument: str) -> None:
        talk.say("150 Coming")
        with talk.data() as data:
            data.sendall(b"half")
            self.go.wait(20)
            data.sendall(b"rest")
        talk.say("226 All there")


@pytest.fixture
def halting() -> Iterator[Halting]:
    with Halting() as running:
        yield running
        running.go.set()


@pytest.fixture
def rig(halting: Halting) -> Iterator[Rig]:
    pool = Bind(ORIGIN, loopback(), PortRange(24310, 24349), data=True)
    frontend = {"mode": Mode.FTP, "binds": (bind(), pool)}
    with Rig(
        config([server("s", (HERE, halting.port))], frontend=frontend, mode=Mode.FTP), program=(WORKER,)
    ) as running:
        yield running


def all_is_given_back(rig: Rig, sessions: int = 0) -> None:
    """As many sessions as are said, no transfer, no lease."""
    rig.wait_for(lambda: rig.total("process", "cur") == sessions)
    for kind, index in LEVELS:
        assert rig.total(kind, "scur", index) == sessions
        assert rig.total(kind, "ftp_xfer_cur", index) == 0
    assert rig.total("frontend", "ftp_lease_cur") == 0


def test_what_a_fault_cuts_short_does_not_look_complete(rig: Rig) -> None:
    with RawClient(rig.address) as other, RawClient(rig.address) as client:
        for each in (other, client):
            each.log_in("u")
        data = client.passive()
        client.ask("RETR x", 150)
        assert data.recv(4) == b"half"
        rig.wait_for(lambda: rig.total("server", "ftp_xfer_cur", 1) == 1)
        client.send("STAT fault")
        with pytest.raises(ConnectionResetError):
            data.recv(1)
        assert "ZeroDivisionError" in rig.expect(Notice).text
        assert " ID " in rig.log()
        all_is_given_back(rig, sessions=1)
        other.ask("STAT", 211)


def test_a_fault_in_what_a_data_connection_tells(rig: Rig) -> None:
    """The door that told of it goes on; the session does not stay without a word."""
    before = rig.descriptors()
    with RawClient(rig.address) as client:
        client.log_in("u")
        port = client.epsv()
        client.send("RETR fault")
        client.expect(150)
        with client.dial(port) as data, contextlib.suppress(ConnectionResetError):
            assert data.recv(1) == b""
        client.expect_end()
        assert "ZeroDivisionError" in rig.expect(Notice).text
        assert " ID " in rig.log()
        all_is_given_back(rig)
    for _ in range(3):
        with RawClient(rig.address) as client:
            client.log_in("u")
            client.epsv()
            client.quit()
    all_is_given_back(rig)
    rig.wait_for(lambda: rig.descriptors() == before)
