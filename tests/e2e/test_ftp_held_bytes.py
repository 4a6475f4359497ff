"""What sessions of `mode ftp` hold for their peers is bounded: who sends ahead, or reads no answers, is not read."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator

import pytest

from farm.front import Front, Section
from farm.raw_client import RawClient
from farm.scripted import Conversation, Scripted
from farm.waiting import PATIENCE, until

LINE = b"SITE " + b"x" * 4000 + b"\r\n"
COMMANDS = 33
ONE_SESSION = 24 * 1024
"""Two lines of `ftp-max-line` and what is read at a time, twice, behind them."""
LIMIT = 256 * 1024
ANSWER = b"200-" + b"y" * 4000 + b"\r\n200 so\r\n"


@pytest.fixture(scope="module")
def go() -> Iterator[threading.Event]:
    """Until then the server answers no SITE."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(scope="module")
def front(go: threading.Event) -> Iterator[Front]:
    def late(talk: Conversation, argument: str) -> None:
        assert go.wait(PATIENCE)
        talk.say("200 so")

    def long(talk: Conversation, argument: str) -> None:
        talk.control.sendall(ANSWER)

    with Scripted(answers={"SITE": late, "STAT": long}) as server:
        line = f"server s {server.address}"
        with Front(Section("fe", line), threads=1, settings=f"tune.ftp.maxheld {LIMIT}") as running:
            yield running


@contextlib.contextmanager
def ahead(front: Front, line: bytes, times: int) -> Iterator[RawClient]:
    """A client that has said that line so often, as far as anybody would take it."""
    with front.client("fe") as client:
        client.log_in("joe")
        client.control.setblocking(False)
        rest = line * times
        with contextlib.suppress(BlockingIOError):
            while rest:
                rest = rest[client.control.send(rest) :]
        client.control.settimeout(PATIENCE)
        feeder = threading.Thread(target=fed, args=(client.control, rest))
        feeder.start()
        yield client
        feeder.join()


def fed(control: socket.socket, rest: bytes) -> None:
    with contextlib.suppress(OSError):
        control.sendall(rest)


def heard(front: Front) -> list[int]:
    """Bytes that were read of each client."""
    return [session["bytes_in"] for session in json.loads(front.api("show ftp sessions json"))]


def settled(front: Front, count: int) -> list[int]:
    """The same, once `count` have been heard and nobody is read any more."""
    seen: list[list[int]] = [[]]

    def rests() -> bool:
        seen.append(heard(front))
        with front.client("fe") as other:
            # The loop has turned, so whoever is read was.
            other.ask("NOOP", 200)
        return len(seen[-1]) == count and seen[-1] == seen[-2]

    until(rests, "nobody to be read")
    return seen[-1]


def test_commands_ahead_are_bounded_in_a_session_and_in_all(front: Front, go: threading.Event) -> None:
    """33 commands of 4 kB without an answer, of one client and of thirty; then all are answered."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(ahead(front, LINE, COMMANDS))
        (size,) = settled(front, 1)
        assert size <= ONE_SESSION
        clients = [first, *(stack.enter_context(ahead(front, LINE, COMMANDS)) for _ in range(29))]
        sizes = settled(front, 30)
        assert sum(sizes) <= LIMIT + len(sizes) * 2 * len(LINE)
        assert sum(sizes) < len(sizes) * size
        with front.client("fe") as other:
            other.log_in("jane")
            assert other.receive("RETR x") == b"scripted"
            # Half a line is not held up: only its rest makes it go.
            other.write(b"NO")
            other.ask("OP", 200)
        go.set()
        for client in clients:
            for _ in range(COMMANDS):
                assert client.expect(200).text == b"so"
            client.ask("NOOP", 200)


def test_answers_that_are_not_read_are_bounded(front: Front) -> None:
    """The server is not read on, and so is not the client; then every answer comes."""
    times = 2000
    with ahead(front, b"STAT\r\n", times) as client:
        for _ in range(times):
            client.expect(200)
        client.ask("NOOP", 200)
