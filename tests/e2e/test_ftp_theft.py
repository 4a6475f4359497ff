"""Who has the client's address can connect to its data port: nobody is given a file that two came for.

What clear FTP cannot promise is in docs/mode-ftp.md, "Whose connection it is".
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from farm.arena import reset, until_closed
from farm.front import Front, Section
from farm.raw_client import RawClient, read_to_end
from farm.scripted import Conversation, Scripted, epsv, retr, stor
from farm.waiting import PATIENCE, until

SECRET = b"for the owner alone " * 1000
CLIENT = "127.0.0.1"


class Slow:
    """A server that answers EPSV, or a transfer command, only when it is told to."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.is_asked = threading.Event()

    def epsv(self, talk: Conversation, argument: str) -> None:
        self._wait()
        epsv(talk, argument)

    def retr(self, talk: Conversation, argument: str) -> None:
        self._transfer(retr, talk)

    def stor(self, talk: Conversation, argument: str) -> None:
        self._transfer(stor, talk)

    def _transfer(self, what: Callable[[Conversation, str], None], talk: Conversation) -> None:
        self._wait()
        try:
            what(talk, "")
        except ConnectionError:
            talk.say("426 Broken")

    def _wait(self) -> None:
        self.is_asked.set()
        assert self.may_answer.wait(PATIENCE)

    def hold(self) -> None:
        self.may_answer.clear()
        self.is_asked.clear()


@pytest.fixture
def slow() -> Iterator[Slow]:
    made = Slow()
    yield made
    made.may_answer.set()


@pytest.fixture
def server(slow: Slow) -> Iterator[Scripted]:
    answers = {"EPSV": slow.epsv, "RETR": slow.retr, "STOR": slow.stor, "ABOR": "225 Nothing"}
    with Scripted(answers=answers) as running:
        running.content = SECRET
        yield running


@pytest.fixture
def front(server: Scripted) -> Iterator[Front]:
    page = "bind {host}:{port}\nbind {host}:50000-50010"
    log = 'log-format-transfer "%Xv %Xe %Xts %Xc %XB"\nlog-format "conflicts: %Fcf"'
    with Front(Section("fe", f"{log}\nserver s {server.address}", page)) as running:
        yield running


@pytest.fixture
def owner(front: Front) -> Iterator[RawClient]:
    with front.client("fe") as client:
        client.log_in("u")
        yield client


def is_reset(connection: socket.socket) -> bool:
    """Without a byte before, and not by an end that looks like an empty file."""
    with connection:
        try:
            connection.recv(1)
        except ConnectionResetError:
            return True
        return False


def a_second_is_reset(client: RawClient, port: int) -> bool:
    """Perhaps before connect() has looked."""
    try:
        return is_reset(client.dial(port))
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("command", ["RETR x", "STOR x", "LIST"])
def test_two_came_before_the_transfer_command(front: Front, server: Scripted, owner: RawClient, command: str) -> None:
    port = owner.epsv()
    first = owner.dial(port)
    assert a_second_is_reset(owner, port)
    assert is_reset(first)
    assert b"Two data connections" in owner.ask(command, 425).text
    # The server was not asked, so that nothing there was replaced by an empty file.
    assert server.count(command.split()[0]) == 0
    front.sink.until_text(f"{command.split()[0]} conflict PC 425 0")
    assert front.stat("fe", "ftp_conflict") == 1
    assert front.api("show ftp pools").splitlines()[1].split()[-1] == "1"
    assert front.stat("fe", "ftp_lease_cur") == 0
    # Once more, undisturbed.
    assert owner.receive("RETR x") == SECRET
    owner.quit()
    front.sink.until_text("conflicts: 1")


@pytest.mark.parametrize("command", ["RETR x", "STOR x"])
def test_two_came_after_the_transfer_command(
    front: Front, server: Scripted, slow: Slow, owner: RawClient, command: str
) -> None:
    port = owner.epsv()
    slow.hold()
    first = owner.dial(port)
    owner.send(command)
    assert slow.is_asked.wait(PATIENCE)
    assert a_second_is_reset(owner, port)
    assert is_reset(first)
    owner.expect(425)
    slow.may_answer.set()
    front.sink.until_text(f"{command.split()[0]} conflict PC 425 0")
    # What the server says to it now is not for the client, and an upload was reset, not stored as an empty file.
    owner.ask("NOOP", 200)
    assert server.stored == []
    assert owner.receive("RETR x") == SECRET


@pytest.mark.parametrize("end", ["another", "ABOR", "QUIT"])
def test_a_conflict_without_a_transfer_command_is_logged_too(front: Front, owner: RawClient, end: str) -> None:
    port = owner.epsv()
    first = owner.dial(port)
    assert a_second_is_reset(owner, port)
    assert is_reset(first)
    if end == "another":
        owner.epsv()
    else:
        owner.ask(end, 221, 225)
    front.sink.until_text("- conflict PC")


@pytest.mark.parametrize("way", ["closed", "reset"])
def test_a_client_that_tries_again(front: Front, owner: RawClient, way: str) -> None:
    """EPSV, connect, drop, connect: what it dropped is no rival."""
    port = owner.epsv()
    for _ in range(3):
        dropped = owner.dial(port)
        if way == "closed":
            dropped.close()
        else:
            reset(dropped)
    with owner.dial(port) as data:
        owner.ask("RETR x", 150)
        assert read_to_end(data) == SECRET
    owner.expect(226)
    assert front.stat("fe", "ftp_conflict") == 0


def test_nobody_comes_before_the_port_was_told(front: Front, slow: Slow, owner: RawClient) -> None:
    """Who connects while the server is still asked for its port has guessed, from whatever address."""
    slow.hold()
    owner.send("EPSV")
    assert slow.is_asked.wait(PATIENCE)
    (port,) = front.open_ports("fe")
    assert owner.knock(port) == b""
    front.until_stat("fe", "ftp_stranger", lambda count: count == 1)
    slow.may_answer.set()
    assert int(owner.expect(229).text.split(b"|")[3]) == port
    with owner.dial(port) as data:
        owner.ask("RETR x", 150)
        assert read_to_end(data) == SECRET


def test_the_port_is_open_until_the_transfer_starts(front: Front, slow: Slow, owner: RawClient) -> None:
    port = owner.epsv()
    slow.hold()
    with owner.dial(port) as data:
        until(lambda: "connected" in front.api("show ftp leases"), "the connection to be seen")
        assert front.open_ports("fe") == {port}
        owner.send("RETR x")
        assert slow.is_asked.wait(PATIENCE)
        assert front.open_ports("fe") == {port}
        slow.may_answer.set()
        owner.expect(150)
        assert read_to_end(data) == SECRET
        assert front.open_ports("fe") == set()
    owner.expect(226)


class Thief(threading.Thread):
    """Connects to every port of the pool, again and again, from the client's own address."""

    def __init__(self, host: str) -> None:
        super().__init__(daemon=True)
        self._host = host
        self._over = threading.Event()
        self.stolen = b""
        self.came = 0

    def __enter__(self) -> Thief:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while not self._over.is_set():
            for port in range(50000, 50011):
                try:
                    with socket.create_connection((self._host, port), 5) as data:
                        self.came += 1
                        self.stolen += until_closed(data)
                except OSError:
                    continue


def fetch(owner: RawClient) -> int:
    """The last reply to a download; 226 means that all of it is here."""
    port, got = owner.epsv(), b""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ConnectionResetError):
            data = stack.enter_context(owner.dial(port))
        if owner.ask("RETR x", 150, 425).code == 425:
            return 425
        got = until_closed(data)
    code = owner.expect(226, 425).code
    assert code == 425 or got == SECRET
    return code


def test_a_thief_behind_the_same_address(front: Front, owner: RawClient) -> None:
    """It may keep the owner from its files for as long as it stays, and gets none of them."""
    outcomes = {226: 0, 425: 0}
    with Thief(front.host("fe")) as thief:
        while thief.came < 20 or sum(outcomes.values()) < 60:
            outcomes[fetch(owner)] += 1
    assert thief.stolen == b""
    assert outcomes[425] > 0
    front.until_stat("fe", "ftp_conflict", lambda count: count == outcomes[425])
