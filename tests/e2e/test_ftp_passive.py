"""Servers whose EPSV or PASV is forbidden, unknown, silent, deadly or leads nowhere, behind the balancer."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from farm.addresses import source_addresses
from farm.clients import CLIENTS, Target
from farm.front import Front, Section
from farm.ports import free_port
from farm.raw_client import RawClient
from farm.scripted import Answer, Conversation, Scripted, epsv, pasv
from farm.waiting import until
from pasvport.address import packed
from pasvport.steering import worker_of

CONTENT = b"what was wanted"
BOUNDS = "timeout server 8s\ntimeout connect 2s"
SHORT = "timeout server 4s\ntimeout connect 1s"
"""Silence is given up in less than a second, a port that does not answer after one."""


def silent(talk: Conversation, argument: str) -> None:
    """No answer at all."""


def refusing_port(talk: Conversation, argument: str) -> None:
    talk.say(f"229 Here (|||{free_port()}|)")


def refusing_pasv_port(talk: Conversation, argument: str) -> None:
    port = free_port()
    talk.say(f"227 Here (127,0,0,1,{port >> 8},{port & 255})")


class Deaf:
    """A port where SYNs get no answer: its queue is full."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self._listener = stack.enter_context(socket.socket())
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(self._listener.getsockname())

    def __call__(self, talk: Conversation, argument: str) -> None:
        talk.say(f"229 Here (|||{self._listener.getsockname()[1]}|)")


def form(text: str) -> Callable[[Conversation, str], None]:
    """A reply in which the data port stands in some form: {port}, {six}."""

    def answer(talk: Conversation, argument: str) -> None:
        port = talk.listen()
        talk.say(*text.format(port=port, six=f"127,0,0,1,{port >> 8},{port & 255}").split("\n"))

    return answer


@dataclass(frozen=True)
class Kind:
    """A server that has something about it; `asked` is what two clients' sessions, EPSV and PASV each, make it hear."""

    answers: dict[str, Answer]
    asked: str
    lines: str = BOUNDS
    known: dict[str, object] = field(default_factory=dict)


# EPSV, then PASV in one session; the same in a second one.
_LEARNT = "EPSV PASV PASV PASV PASV"
_FIRST_WAYS = "EPSV PASV EPSV PASV"
KINDS: dict[str, Kind] = {
    "sound": Kind({}, _FIRST_WAYS),
    "denied": Kind({"EPSV": "550 Permission denied."}, _LEARNT),
    "unknown": Kind({"EPSV": "500 What?"}, _LEARNT),
    "other-family": Kind({"EPSV": "522 Network protocol not supported, use (2)"}, _LEARNT),
    "login": Kind({"EPSV": "530 Not you"}, _LEARNT),
    "superfluous": Kind({"EPSV": "202 OK"}, _LEARNT),
    "odd": Kind({"EPSV": "200 OK"}, _LEARNT),
    "very-odd": Kind({"EPSV": "226 OK"}, _LEARNT),
    "no-port": Kind({"EPSV": "229 Entering Extended Passive Mode"}, _LEARNT),
    "not-now": Kind({"EPSV": "425 Not now"}, "EPSV PASV PASV EPSV PASV PASV"),
    "silent": Kind({"EPSV": silent}, _LEARNT, SHORT),
    "refusing-port": Kind({"EPSV": refusing_port}, _LEARNT),
    "no-pasv": Kind({"PASV": "550 Permission denied."}, "EPSV PASV EPSV EPSV EPSV"),
    "pasv-refusing-port": Kind({"PASV": refusing_pasv_port}, "EPSV PASV EPSV EPSV EPSV"),
    "pasv-silent": Kind({"PASV": silent}, "EPSV PASV EPSV EPSV EPSV", SHORT),
    "crossed": Kind({"EPSV": pasv, "PASV": epsv}, _FIRST_WAYS),
    "many-lines": Kind(
        {"EPSV": form("229-Here\n (|||{port}|)\n229 ok"), "PASV": form("227-Here\n ({six})\n227 ok")}, _FIRST_WAYS
    ),
    "bare": Kind({"EPSV": form("229 |||{port}|"), "PASV": form("227 {six}")}, _FIRST_WAYS),
    "addressed": Kind({"EPSV": form("229 (|1|127.0.0.1|{port}|)"), "PASV": form("227 ={six}")}, _FIRST_WAYS),
    "wget": Kind({"EPSV": "500 no", "PASV": form("200 ok ({six})")}, _LEARNT),
    "fixed-pasv": Kind({}, "PASV PASV PASV PASV", BOUNDS + "\noption ftp-passive pasv"),
    "fixed-epsv": Kind({}, "EPSV EPSV EPSV EPSV", BOUNDS + "\noption ftp-passive epsv"),
}


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Scripted]]:
    with contextlib.ExitStack() as stack:
        kinds = {name: kind.answers for name, kind in KINDS.items()}
        kinds["deaf-port"] = {"EPSV": Deaf(stack)}
        kinds["closes"] = {"EPSV": None}
        kinds["nothing"] = {"EPSV": "550 Not that", "PASV": "502 Nor that"}
        kinds["mute"] = {"EPSV": silent, "PASV": silent}
        kinds["by-server"] = {}
        made = {name: Scripted(name, answers=answers) for name, answers in kinds.items()}
        for server in made.values():
            server.content = CONTENT
            server.answers |= {"CWD": "250 Here", "SYST": "215 UNIX Type: L8", "SIZE": f"213 {len(CONTENT)}"}
            stack.enter_context(server)
        yield made


@pytest.fixture(scope="module")
def front(servers: dict[str, Scripted]) -> Iterator[Front]:
    lines = {name: kind.lines for name, kind in KINDS.items()}
    lines |= {"deaf-port": SHORT, "closes": BOUNDS, "nothing": BOUNDS, "mute": SHORT, "by-server": BOUNDS}
    words = {"by-server": "ftp-passive pasv"}
    with Front(
        *(
            Section(name, f"option ftp-active\n{said}\nserver s {servers[name].address} {words.get(name, '')}")
            for name, said in lines.items()
        ),
        threads=1,
    ) as running:
        yield running


@contextlib.contextmanager
def logged_in(front: Front, section: str) -> Iterator[RawClient]:
    with front.client(section) as client:
        client.log_in("u")
        yield client


def passive_commands(server: Scripted) -> str:
    return " ".join(line for line in server.heard if line in ("EPSV", "PASV"))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_server_serves_every_kind_of_client(
    front: Front, servers: dict[str, Scripted], kind: str
) -> None:
    server = servers[kind]
    for _ in range(2):
        with logged_in(front, kind) as client:
            for extended in (True, False):
                assert client.receive("RETR x", extended=extended) == CONTENT
                client.ask("NOOP", 200)
            client.quit()
    assert passive_commands(server) == KINDS[kind].asked
    with logged_in(front, kind) as client:
        client.store("STOR y", b"uploaded")
        assert server.stored[-1] == b"uploaded"


def test_a_port_that_does_not_answer(front: Front, servers: dict[str, Scripted]) -> None:
    for _ in range(2):
        with logged_in(front, "deaf-port") as client:
            assert client.receive("RETR x") == CONTENT
    assert passive_commands(servers["deaf-port"]) == "EPSV PASV PASV"


def test_a_server_that_hangs_up_at_epsv_costs_one_session(front: Front, servers: dict[str, Scripted]) -> None:
    with logged_in(front, "closes") as client:
        client.ask("EPSV", 421)
        client.expect_end()
    for _ in range(2):
        with logged_in(front, "closes") as client:
            assert client.receive("RETR x") == CONTENT
            assert client.receive("RETR x", extended=False) == CONTENT
    assert servers["closes"].count("EPSV") == 1


def test_what_one_worker_learnt_all_know_and_those_after_a_reload() -> None:
    """A server that hangs up at EPSV costs one session, whoever else serves it."""
    home = worker_of(packed("127.0.0.1"), 2)
    elsewhere = next(host for host in source_addresses(50) if worker_of(packed(host), 2) != home)
    with (
        Scripted("closes", answers={"EPSV": None}) as server,
        Front(Section("closes", f"server s {server.address}"), threads=2) as front,
    ):
        with front.client("closes", "127.0.0.1") as client:
            client.log_in("u")
            client.ask("EPSV", 421)

        def knows(source: str) -> bool:
            with front.client("closes", source) as client:
                client.log_in("u")
                return client.ask("EPSV").code == 229

        until(lambda: knows(elsewhere), "the other worker to know")
        learnt = server.count("EPSV")
        assert learnt <= 3, "each look at the other worker may cost a session until it knows"
        assert "Success=1" in front.api("reload")
        for source in ("127.0.0.1", elsewhere):
            assert knows(source)
        assert server.count("EPSV") == learnt


def test_a_server_without_either(front: Front) -> None:
    with logged_in(front, "nothing") as client:
        assert client.ask("EPSV", 502).text == b"Nor that"
        assert client.ask("PASV", 550).text == b"Not that"
        client.ask("NOOP", 200)


def test_a_server_that_answers_neither(front: Front) -> None:
    with logged_in(front, "mute") as client:
        client.ask("EPSV", 425)
        client.ask("PWD", 257)
        client.ask("NOOP", 200)
        client.quit()


def test_a_server_line_fixes_the_way(front: Front, servers: dict[str, Scripted]) -> None:
    with logged_in(front, "by-server") as client:
        assert client.receive("RETR x") == CONTENT
    assert passive_commands(servers["by-server"]) == "PASV"


@pytest.mark.parametrize("kind", ["denied", "refusing-port", "no-pasv"])
@pytest.mark.parametrize("extended", [True, False])
def test_the_transfer_command_meets_a_server_that_is_ready(
    front: Front, servers: dict[str, Scripted], kind: str, extended: bool
) -> None:
    """Sent ahead with everything else."""
    with logged_in(front, kind) as client:
        client.send("EPSV" if extended else "PASV", "RETR x", "NOOP")
        said = client.expect(227, 229)
        port = int(said.text.rpartition(b"|||")[2].strip(b"|)")) if extended else _port(said.text)
        with client.dial(port) as data:
            client.expect(150)
            assert data.recv(100) == CONTENT
        client.expect(226)
        client.expect(200)


def _port(text: bytes) -> int:
    high, low = text.strip(b".)").split(b",")[-2:]
    return int(high) << 8 | int(low)


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.parametrize("kind", ["denied", "superfluous", "silent", "refusing-port", "many-lines", "no-pasv"])
def test_real_clients(front: Front, kind: str, name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    client = CLIENTS[name]
    for extended in client.modes:
        to = tmp_path_factory.mktemp(name) / "x"
        host, port = front.address(kind)
        client.download(Target(host, port, "u", extended=extended), "x", to)
        assert to.read_bytes() == CONTENT
