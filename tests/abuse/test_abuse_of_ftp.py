"""Peers of `mode ftp` that do what they should not: buffers stay bounded, waits end, nobody else notices."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from abuse_rig import CONTENT, PATIENCE, Bystanders, Weight, floods, raw, say_for_ever, until_quiet
from api_rig import Echo
from farm.arena import reset
from farm.front import Front, Section
from farm.ports import free_ports
from farm.raw_client import RawClient
from farm.scripted import Conversation, Scripted
from farm.servers import Farm, Passive
from farm.waiting import until

LIMITS = """\
timeout client 2s
timeout server 2s
timeout ftp-data 1s
timeout ftp-transfer 1s
retries 1"""
MEGABYTES = 1024
CHUNK = 1 << 18


def filled(pattern: bytes) -> bytes:
    return pattern * (CHUNK // len(pattern))


ENDLESS = {
    "a line": filled(b"a"),
    "NULs": filled(b"\0"),
    "binary": bytes(range(256)).replace(b"\n", b"") * (CHUNK // 255),
    "Telnet commands": filled(b"\xff\xf1"),
    "Telnet negotiations": filled(b"\xff\xfb\x01"),
    "Telnet marks": filled(b"\xff\xf4x\xff\xf2y"),
    "lines that are too long": filled(b"x" * 8190 + b"\r\n"),
    "commands": filled(b"NOOP\r\n"),
    "refused commands": filled(b"AUTH X\r\n"),
    "passive ports": filled(b"PASV\r\nEPSV\r\n"),
    "aborts": filled(b"\xff\xf4\xff\xf2ABOR\r\n"),
}


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(("pyftpdlib-1", "pyftpdlib-2"), passive=Passive.WRONG) as running:
        running.put("content", CONTENT)
        yield running


def replies_for_ever(talk: Conversation, argument: str) -> None:
    while True:
        talk.say(*["200 And again"] * 500)


def reply_without_end(talk: Conversation, argument: str) -> None:
    talk.say("211-This")
    while True:
        talk.say(*[" and that"] * 500)


def ports_for_ever(talk: Conversation, argument: str) -> None:
    while True:
        talk.say(*["227 There (127,0,0,1,9,9)"] * 500)


def half_a_line(talk: Conversation, argument: str) -> None:
    talk.control.sendall(b"257 half a li")
    talk.control.shutdown(socket.SHUT_RDWR)


def closed_port(talk: Conversation, argument: str) -> None:
    talk.say(f"229 Nobody (|||{free_ports(1)[0]}|)")


def never_reads(talk: Conversation, argument: str) -> None:
    """A STOR whose data connection is accepted and left alone, until the balancer gives up."""
    talk.say("150 Waiting")
    talk.data()
    with contextlib.suppress(OSError):
        talk.control.recv(1)


def says_on_and_on(talk: Conversation, argument: str) -> None:
    """The end of the download, and then replies that nobody asked for."""
    talk.say("150 Coming")
    with talk.data() as data:
        data.sendall(CONTENT)
    talk.say("226 There")
    replies_for_ever(talk, argument)


ODD = {
    "STAT": replies_for_ever,
    "HELP": reply_without_end,
    "SYST": ports_for_ever,
    "PWD": half_a_line,
    "APPE": never_reads,
    "NLST": says_on_and_on,
}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Scripted]]:
    with contextlib.ExitStack() as stack:
        found = {
            "odd": Scripted("odd", answers=ODD),
            "closed": Scripted("closed", answers={"EPSV": closed_port, "PASV": "500 PASV?"}),
        }
        yield {name: stack.enter_context(server) for name, server in found.items()}


def farm_line(farm: Farm, name: str) -> str:
    return f"server {name} {farm[name].host}:{farm[name].port}"


@pytest.fixture(scope="module")
def front(farm: Farm, servers: dict[str, Scripted]) -> Iterator[Front]:
    with Echo() as echo, contextlib.ExitStack() as stack:
        endless = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        front = Front(
            Section("fe", farm_line(farm, "pyftpdlib-1")),
            Section("abused", f"{LIMITS}\n{farm_line(farm, 'pyftpdlib-2')}"),
            Section("plain", f"server echo 127.0.0.1:{echo.port}", "bind {host}:{port}", "tcp"),
            Section("odd", f"{LIMITS}\nserver odd {servers['odd'].address}"),
            Section("patient", f"server odd {servers['odd'].address}"),
            Section("closed", f"{LIMITS}\nserver closed {servers['closed'].address}"),
            Section("endless", f"{LIMITS}\nserver endless 127.0.0.1:{endless.getsockname()[1]}"),
            threads=1,
        )
        front.endless = endless  # type: ignore[attr-defined]
        yield stack.enter_context(front)


@pytest.fixture
def decent(front: Front, farm: Farm) -> Iterator[Bystanders]:
    with Bystanders(front, farm) as beside:
        yield beside


@contextlib.contextmanager
def weighed(front: Front, *sections: str) -> Iterator[None]:
    """What comes here adds next to nothing to any process, and leaves no session, lease or transfer."""
    before = Weight(front)
    yield
    before.check_memory(6 * MEGABYTES)
    until_quiet(front, *sections)
    until_quiet(front, "fe", most=1)


def test_what_clients_say_without_end(front: Front, decent: Bystanders) -> None:
    """Each kind by two clients at once, logged in or not, none of whom reads an answer."""
    with weighed(front, "abused"):
        clients = []
        for number in range(2 * len(ENDLESS)):
            clients.append(raw(front, section="abused", size=4096))
            # Now, since who waits for the others to come may have waited for `timeout client`.
            if number % 2:
                clients[-1].log_in("farmer")
        with floods(*((client.control, ENDLESS[name]) for name, client in zip([*ENDLESS] * 2, clients, strict=True))):
            decent.go_on()
        for client in clients:
            client.close()


def test_a_client_that_reads_no_answers(front: Front, decent: Bystanders) -> None:
    """Answers that need no server are not piled up: it is not read on until it reads, and then all goes on."""
    question, room, more = b"AUTH X\r\n", 64 * 1024, 16 * MEGABYTES * 1024
    with weighed(front, "patient"), raw(front, section="patient", size=room) as client:
        client.control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
        client.control.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < more:
                sent += client.control.send(question * 8192)
        assert sent < more
        decent.go_on()
        client.control.settimeout(PATIENCE)
        rest = b"QUIT\r\n" if not (over := sent % len(question)) else question[over:] + b"QUIT\r\n"
        sender = threading.Thread(target=client.write, args=(rest,))
        sender.start()
        for _ in range(-(-sent // len(question))):
            client.expect(504)
        client.expect(221)
        sender.join()


def test_a_flood_takes_turns(front: Front, decent: Bystanders) -> None:
    """What a client sends faster than it is looked at does not hold the loop."""
    with raw(front, section="abused") as client, floods((client.control, ENDLESS["Telnet commands"])):
        before = turns(front)
        until(lambda: turns(front) > before + 20, "the flood to wait for its turn")
        decent.go_on(2)


def turns(front: Front) -> int:
    """How often something that had more to do waited for its turn."""
    words = front.api("show activity").split()
    return int(words[words.index("deferred:") + 1])


def test_clients_that_say_little(front: Front, decent: Bystanders) -> None:
    """Nothing, half a line, a line without its LF: each ends by `timeout client`, with a 421."""
    with contextlib.ExitStack() as stack, weighed(front, "abused"):
        clients = [stack.enter_context(raw(front, section="abused")) for _ in range(60)]
        for number, client in enumerate(clients):
            client.write((b"", b"USER far", b"USER farmer\r", b"\xff")[number % 4])
        for client in clients:
            client.expect(421)
            client.expect_end()
        decent.go_on()


def test_ten_thousand_commands_ahead(front: Front, decent: Bystanders) -> None:
    """They are obeyed in order, as far as they are read."""
    with raw(front, section="abused") as client, weighed(front, "abused"):
        client.log_in("farmer")
        sender = threading.Thread(target=client.write, args=(b"NOOP\r\n" * 9_999 + b"PWD\r\n",))
        sender.start()
        for _ in range(9_999):
            client.expect(200)
        client.expect(257)
        sender.join()
        client.quit()
        decent.go_on()


def test_ports_that_nobody_uses(front: Front, decent: Bystanders) -> None:
    """One lease a session, however often it is asked for; it ends with the session or by `timeout ftp-data`."""
    with contextlib.ExitStack() as stack, weighed(front, "abused"):
        clients = [stack.enter_context(raw(front, section="abused")) for _ in range(4)]
        # All at once, since nobody may wait for a turn longer than `timeout client`.
        with ThreadPoolExecutor(len(clients)) as together:
            assert list(together.map(ask_for_ports, clients)) == [500] * len(clients)
        assert front.stat("abused", "ftp_lease_cur") <= len(clients)
        assert len(front.open_ports("abused")) <= len(clients)
        decent.go_on()


def ask_for_ports(client: RawClient) -> int:
    """How many it was told."""
    client.log_in("farmer")
    sender = threading.Thread(target=client.write, args=(b"PASV\r\nEPSV\r\n" * 250,))
    sender.start()
    told = [client.expect(code) for _ in range(250) for code in (227, 229)]
    sender.join()
    return len(told)


def test_data_connections_that_lead_nowhere(front: Front, decent: Bystanders) -> None:
    """Silent ones, resets, one that is never used, one that reads next to nothing."""
    with weighed(front, "abused"):
        for _ in range(20):
            with raw(front, section="abused") as client:
                client.log_in("farmer")
                reset(client.passive())
                client.passive()
                reset(client.passive())
                client.ask("LIST pub", 125, 150)
                said = client.expect(426, 226, 421, 451)
                assert said.code
                client.ask("NOOP", 200)
        with raw(front, section="abused") as client:
            client.log_in("farmer")
            client.ask("TYPE I", 200)
            with client.passive() as data:
                data.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                decent.go_on()
        with raw(front, section="abused") as client:
            client.log_in("farmer")
            with client.passive():
                client.ask("STOR pub/nothing", 125, 150)
                client.expect(426, 421)


def test_servers_that_talk_on(front: Front, decent: Bystanders) -> None:
    """Replies nobody asked for are thrown away, one reply without an end is the end of the session."""
    with weighed(front, "odd"):
        clients = [raw(front, section="odd") for _ in range(3)]
        for client, verb in zip(clients, ("STAT", "HELP", "SYST"), strict=True):
            client.log_in("farmer")
            client.send(verb)
        decent.go_on()
        told = clients[2].expect(421)
        assert b"rotocol" in told.text
        for client in clients:
            client.close()


def test_a_server_that_talks_on_while_its_data_is_awaited(front: Front, decent: Bystanders) -> None:
    with weighed(front, "patient"), raw(front, section="patient") as client:
        client.log_in("farmer")
        with client.passive() as data:
            client.send("NLST")
            decent.go_on()
            got = bytearray()
            while part := data.recv(1 << 16):
                got += part
            assert bytes(got) == CONTENT


def test_a_server_that_stops_reading(front: Front, decent: Bystanders) -> None:
    """An upload without end: `timeout ftp-transfer` cuts it."""
    with weighed(front, "odd"), raw(front, section="odd") as client:
        client.log_in("farmer")
        data = client.passive()
        client.ask("APPE all", 150)
        with floods((data, filled(b"x"))):
            decent.go_on()
            client.expect(426)


def test_a_server_that_ends_in_mid_line(front: Front) -> None:
    with weighed(front, "odd"), raw(front, section="odd") as client:
        client.log_in("farmer")
        client.ask("PWD", 421)
        client.expect_end()


def test_a_server_whose_data_port_is_closed(front: Front) -> None:
    with weighed(front, "closed"), raw(front, section="closed") as client:
        client.log_in("farmer")
        for _ in range(20):
            client.ask("EPSV", 425, 229)
        client.ask("NOOP", 200)


@pytest.mark.parametrize("words", [b"220-and more\r\n", b"220", b"\n", b"\0"])
def test_a_banner_without_end(front: Front, decent: Bystanders, words: bytes) -> None:
    """Every server does it: the client is told."""
    with weighed(front, "endless"), Chatterbox(front.endless, words):  # type: ignore[attr-defined]
        with RawClient(front.address("endless"), greeting=False) as client:
            client.expect(421)
            client.expect_end()
        decent.go_on(2)


def test_a_promise_without_end(front: Front, decent: Bystanders) -> None:
    """120 is passed on, as far as the client reads."""
    with weighed(front, "endless"), Chatterbox(front.endless, b"120 Soon\r\n"):  # type: ignore[attr-defined]
        client = RawClient(front.address("endless"), greeting=False)
        decent.go_on(2)
        client.expect(120)
        client.close()


class Chatterbox(threading.Thread):
    """Whoever connects to `listener` is told `words` without end, until he leaves. Use as a context manager."""

    def __init__(self, listener: socket.socket, words: bytes) -> None:
        super().__init__(daemon=True)
        self._listener = listener
        self._words = words * 1000
        self._over = threading.Event()

    def __enter__(self) -> None:
        self._listener.settimeout(0.05)
        self.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        with contextlib.ExitStack() as stack:
            while not self._over.is_set():
                with contextlib.suppress(TimeoutError):
                    talk = stack.enter_context(self._listener.accept()[0])
                    threading.Thread(target=say_for_ever, args=(talk, self._words, self._over), daemon=True).start()


def test_nothing_is_left(front: Front, farm: Farm) -> None:
    """After all of that, once more: the same again leaves the same."""
    until_quiet(front, "fe", "abused", "odd", "patient", "closed", "endless")
    before = Weight(front)
    with Bystanders(front, farm) as again:
        again.go_on(2)
        with contextlib.ExitStack() as stack:
            for _ in range(30):
                client = stack.enter_context(raw(front, section="abused"))
                client.log_in("farmer")
                client.pasv()
                stack.enter_context(client.passive())
    until_quiet(front, "fe", "abused")
    before.until_descriptors()
    before.check_memory(4 * MEGABYTES)
    assert front.open_ports("fe") == front.open_ports("abused") == set()
