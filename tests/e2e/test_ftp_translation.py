"""What a client can do in `mode ftp` onto what a server can do: IPv4, IPv6, PASV, EPSV, PORT, EPRT, in any pairing."""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import farm
from farm import journal
from farm.front import Front, Section
from farm.ports import free_port, free_range
from farm.processes import Child
from farm.raw_client import RawClient, read_to_end
from farm.scripted import Scripted, pasv
from farm.servers import PASSWORD
from farm.waiting import listening, until

CONTENT = bytes(range(256)) * 2000
EXTENDED = {"EPSV": True, "PASV": False}


class Place:
    """pyftpdlib at any address, without some commands."""

    def __init__(self, name: str, host: str, folder: Path, *without: str) -> None:
        self.family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.name, self.host, self.port = name, host, free_port(host)
        self.home = folder / name
        self.home.mkdir()
        (self.home / "content").write_bytes(name.encode() + CONTENT)
        self._wish = {
            "name": name,
            "host": host,
            "port": self.port,
            "advertise": "",
            "ports": [0, 0],
            "home": str(self.home),
            "user": "u",
            "password": PASSWORD,
            "security": "PLAIN",
            "without": without,
        }

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if self.family is socket.AF_INET6 else f"{self.host}:{self.port}"

    @contextlib.contextmanager
    def running(self) -> Iterator[Place]:
        log = self.home.with_suffix(".log")
        program = Path(farm.__file__).with_name("pyftpd.py")
        child = Child([sys.executable, str(program), json.dumps(self._wish)], log)
        journal.watch(self.name, log)
        try:
            until(lambda: (self.host, self.port) in listening(self.family), f"{self.name} to listen")
            yield self
        finally:
            child.stop()
            journal.forget(self.name)


PLACES = {
    "both": ("127.0.0.1", ()),
    "old": ("127.0.0.1", ("EPSV", "EPRT")),
    "new": ("127.0.0.1", ("PASV", "PORT")),
    "six": ("::1", ()),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    folder = tmp_path_factory.mktemp("places")
    with contextlib.ExitStack() as stack:
        planned = [Place(name, host, folder, *without) for name, (host, without) in PLACES.items()]
        yield {place.name: stack.enter_context(place.running()) for place in planned}


@pytest.fixture(scope="module")
def old() -> Iterator[Scripted]:
    """Knows PASV only."""
    with Scripted("old", answers={"EPSV": "500 What?"}) as server:
        yield server


@pytest.fixture(scope="module")
def moody() -> Iterator[Scripted]:
    """EPSV fails now and then."""
    with Scripted("moody") as server:
        yield server


SIX_PORTS = {name: free_port("::1") for name in PLACES}


DUAL = free_port("::")
SIX_POOL = free_range(100, ("::1",))
DUAL_POOL = free_range(50, ("::",))


@pytest.fixture(scope="module")
def front(places: dict[str, Place], old: Scripted, moody: Scripted) -> Iterator[Front]:
    both = "bind {host}:{port}\nbind {host}:50000-50099\nbind [::1]:%d\nbind [::1]:%d-%d data"
    one = f"server s {places['both'].address}"
    told = "bind {host}:{port} advertise 192.0.2.1 for 127.9.0.0/16 advertise 192.0.2.2 for 127.8.0.0/16"
    with Front(
        *(
            Section(name, f"option ftp-active\nserver s {place.address}", binds=both % (SIX_PORTS[name], *SIX_POOL))
            for name, place in places.items()
        ),
        Section("passive", one),
        Section("dual", one, binds=f"bind :::{DUAL} v4v6\nbind :::%d-%d v4v6" % DUAL_POOL),
        Section("learns", f"server s {old.address}"),
        Section("forgets", f"server s {moody.address}"),
        Section("advertise", one, binds="bind {host}:{port} advertise 192.0.2.7\nbind {host}:50000-50009"),
        Section("networks", one, binds=f"{told}\nbind {{host}}:50000-50009"),
        Section("pool", one, binds="bind {host}:{port}\nbind {host}:50000-50009 advertise 192.0.2.9"),
        threads=2,
    ) as running:
        yield running


@contextlib.contextmanager
def logged_in(front: Front, section: str, family: str = "ipv4", source: str = "") -> Iterator[RawClient]:
    address = front.address(section) if family == "ipv4" else ("::1", SIX_PORTS[section])
    with RawClient(address, source) as client:
        client.log_in("u")
        client.ask("TYPE I", 200)
        yield client


# --- passive ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("server", "family", "mode"),
    [each for each in itertools.product(PLACES, ("ipv4", "ipv6"), EXTENDED) if each[1:] != ("ipv6", "PASV")],
)
def test_any_pairing(front: Front, places: dict[str, Place], server: str, family: str, mode: str) -> None:
    with logged_in(front, server, family) as client:
        extended = EXTENDED[mode]
        assert client.receive("RETR content", extended=extended) == server.encode() + CONTENT
        client.store("STOR stored", CONTENT, extended=extended)
        assert (places[server].home / "stored").read_bytes() == CONTENT
        assert b"content" in client.receive("NLST", extended=extended)
        client.store("STOR empty", b"", extended=extended)
        assert client.receive("RETR empty", extended=extended) == b""
        client.quit()


@pytest.mark.parametrize(("host", "modes"), [("127.0.0.1", ("EPSV", "PASV")), ("::1", ("EPSV",))])
def test_one_socket_for_both_families(front: Front, host: str, modes: tuple[str, ...]) -> None:
    with RawClient((host, DUAL)) as client:
        client.log_in("u")
        client.ask("TYPE I", 200)
        for mode in modes:
            assert client.receive("RETR content", extended=EXTENDED[mode]) == b"both" + CONTENT


def test_pasv_over_ipv6(front: Front) -> None:
    with logged_in(front, "both", "ipv6") as client:
        assert client.ask("PASV", 425).text == b"PASV cannot name an IPv6 address: use EPSV."
        assert client.receive("RETR content") == b"both" + CONTENT


def test_epsv_names_families(front: Front) -> None:
    with logged_in(front, "old") as client:
        client.ask("EPSV 1", 229)
        assert client.ask("EPSV 2", 522).text.endswith(b"(1)")
        assert client.ask("EPSV 3", 522).text.endswith(b"(1)")
        client.ask("EPSV x", 501)
    with logged_in(front, "six", "ipv6") as client:
        client.ask("EPSV 2", 229)
        assert client.ask("EPSV 1", 522).text.endswith(b"(2)")


def test_epsv_all(front: Front) -> None:
    """The server, which knows no EPSV, never hears of it."""
    with logged_in(front, "old") as client:
        client.ask("EPSV ALL", 200)
        client.ask("PASV", 501)
        client.ask("PORT 127,0,0,1,200,200", 501)
        client.ask("EPRT |1|127.0.0.1|40000|", 501)
        assert client.receive("RETR content") == b"old" + CONTENT


def test_what_a_server_cannot_do_is_learnt(front: Front, old: Scripted) -> None:
    for _ in range(5):
        with logged_in(front, "learns", source="127.0.0.9") as client:
            assert client.receive("RETR x") == b"old"
            assert client.receive("RETR x", extended=False) == b"old"
    assert old.count("EPSV") == 1
    assert old.count("PASV") == 10


def test_a_passing_failure_is_not_learnt(front: Front, moody: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    with logged_in(front, "forgets", source="127.0.0.9") as client:
        with monkeypatch.context() as patch:
            patch.setitem(moody.answers, "EPSV", "425 Not now")
            assert client.receive("RETR x") == b"moody"
        assert client.receive("RETR x") == b"moody"
        with monkeypatch.context() as patch:
            patch.setitem(moody.answers, "EPSV", "425 Not now")
            patch.setitem(moody.answers, "PASV", "425 Not at all")
            assert client.ask("EPSV", 425).text == b"Not at all"
        assert client.receive("RETR x") == b"moody"
    assert [line for line in moody.heard if line in ("EPSV", "PASV")] == [
        "EPSV",
        "PASV",
        "EPSV",
        "EPSV",
        "PASV",
        "EPSV",
    ]


def test_a_server_that_names_a_strange_address(front: Front, moody: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """`ftp-data-host server`: the address of a 227 is not followed."""
    monkeypatch.setitem(moody.answers, "EPSV", "502 No")
    monkeypatch.setitem(moody.answers, "PASV", pasv)
    with logged_in(front, "forgets", source="127.0.0.8") as client:
        assert client.receive("RETR x", extended=False) == b"moody"


# --- active -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def waiting(client: RawClient, mode: str) -> Iterator[socket.socket]:
    """A listening socket of the client's, made known."""
    host = client.control.getsockname()[0]
    family = client.control.family
    with socket.socket(family) as listener:
        listener.settimeout(20)
        listener.bind((host, 0))
        listener.listen(1)
        port = listener.getsockname()[1]
        if mode == "PORT":
            client.ask(f"PORT {host.replace('.', ',')},{port >> 8},{port & 255}", 200)
        else:
            client.ask(f"EPRT |{2 if family is socket.AF_INET6 else 1}|{host}|{port}|", 200)
        yield listener


@pytest.mark.parametrize(
    ("server", "family", "mode"),
    [each for each in itertools.product(PLACES, ("ipv4", "ipv6"), ("PORT", "EPRT")) if each[1:] != ("ipv6", "PORT")],
)
def test_active_clients(front: Front, places: dict[str, Place], server: str, family: str, mode: str) -> None:
    with logged_in(front, server, family) as client:
        with waiting(client, mode) as listener:
            client.send("RETR content")
            data, peer = listener.accept()
            with data:
                assert peer[0] == (front.host(server) if family == "ipv4" else "::1")
                assert read_to_end(data) == server.encode() + CONTENT
            client.expect(125, 150)
            client.expect(226)
        with waiting(client, mode) as listener:
            client.send("STOR actively")
            data, _ = listener.accept()
            with data:
                data.sendall(CONTENT)
            client.expect(125, 150)
            client.expect(226)
        assert (places[server].home / "actively").read_bytes() == CONTENT


def test_active_clients_may_not_point_elsewhere(front: Front) -> None:
    with logged_in(front, "both", source="127.0.0.9") as client:
        client.ask("PORT 127,0,0,1,200,200", 504)
        client.ask("PORT 127,0,0,9,0,25", 504)
        client.ask("PORT 127,0,0,9,200", 501)
        client.ask("EPRT |1|127.0.0.1|40000|", 504)
        client.ask("EPRT |1|127.0.0.9|1023|", 504)
        client.ask("EPRT |2|::1|40000|", 522)
        client.ask("EPRT |1|127.0.0.9|99999|", 501)
        client.ask("RETR content", 425)
        assert client.receive("RETR content") == b"both" + CONTENT


def test_an_active_client_that_does_not_listen(front: Front) -> None:
    with logged_in(front, "both") as client:
        port = free_port()
        client.ask(f"PORT 127,0,0,1,{port >> 8},{port & 255}", 200)
        client.ask("RETR content", 425)
        assert client.receive("RETR content") == b"both" + CONTENT


def test_active_is_off_by_default(front: Front) -> None:
    with logged_in(front, "passive") as client:
        client.ask("PORT 127,0,0,1,200,200", 502)
        client.ask("EPRT |1|127.0.0.1|40000|", 502)
        assert b"EPRT" not in b"".join(client.ask("FEAT", 211).lines)


# --- advertised addresses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "source", "expected"),
    [
        ("advertise", "127.0.0.1", "192.0.2.7"),
        ("networks", "127.9.1.1", "192.0.2.1"),
        ("networks", "127.8.1.1", "192.0.2.2"),
        ("networks", "127.7.1.1", ""),
        ("pool", "127.0.0.1", "192.0.2.9"),
        ("both", "127.0.0.1", ""),
    ],
)
def test_the_advertised_address(front: Front, section: str, source: str, expected: str) -> None:
    with logged_in(front, section, source=source) as client:
        host, port = client.pasv()
        assert host == (expected or front.host(section))
        with client.dial(port) as data:
            client.ask("RETR content", 125, 150)
            assert read_to_end(data) == b"both" + CONTENT
        client.expect(226)
