"""Data ports of `mode ftp`: whose they are, who may come, how many there are, and when they are given back."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
from collections.abc import Callable, Iterator

import pytest

from farm.addresses import source_addresses
from farm.arena import reset
from farm.front import Front, Section
from farm.ports import free_port, free_range
from farm.raw_client import RawClient, read_to_end
from farm.scripted import Scripted
from farm.servers import Farm, Passive
from farm.waiting import until
from pasvport.address import packed
from pasvport.steering import worker_of

SERVERS = tuple(f"pyftpdlib-{number}" for number in range(1, 5))
STRANGERS = source_addresses(200)
WORKERS = 2
CLIENT = "127.0.0.1"
WILD = free_port("0.0.0.0")
WILD_POOL = free_range(50, ("0.0.0.0",))


def neighbour(count: int = 1) -> list[str]:
    """Addresses that are steered to the worker of CLIENT, so that both see the same doors."""
    home = worker_of(packed(CLIENT), WORKERS)
    return [host for host in STRANGERS if worker_of(packed(host), WORKERS) == home][:count]


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(SERVERS, passive=Passive.INSTALLED) as running:
        yield running


@pytest.fixture(scope="module")
def scripted() -> Iterator[Scripted]:
    with Scripted() as server:
        yield server


@pytest.fixture(scope="module")
def front(farm: Farm, scripted: Scripted) -> Iterator[Front]:
    servers = "\n".join(f"server {server.name} {server.host}:{server.port}" for server in farm.servers)
    one = f"server s {scripted.address}"
    narrow = "bind {host}:{port}\nbind {host}:50000-50001"
    with Front(
        Section("office", f"balance roundrobin\n{servers}"),
        Section("strict", f"server a {farm.servers[0].host}:{farm.servers[0].port}"),
        Section("network", f"ftp-data-peer network /24\n{one}"),
        Section("any", f"ftp-data-peer any\n{one}"),
        Section("one", one, binds="bind {host}:{port}\nbind {host}:50000 data"),
        Section("narrow", one, binds=narrow),
        Section("page", one, binds="bind {host}:{port}\nbind {host}:50000-50010"),
        Section("leases", one),
        Section("wild", one, binds=f"bind *:{WILD}\nbind *:%d-%d" % WILD_POOL),
        Section("counted", f'log-format "strangers: %Fst"\n{one}', binds="bind {host}:{port}\nbind {host}:50000 data"),
        Section("hasty", f"timeout ftp-data 200ms\n{one}"),
        threads=WORKERS,
    ) as running:
        yield running


@contextlib.contextmanager
def logged_in(front: Front, section: str, source: str = CLIENT, user: str = "farmer") -> Iterator[RawClient]:
    with front.client(section, source) as client:
        client.log_in(user)
        client.ask("TYPE I", 200)
        yield client


# --- an office behind one address ---------------------------------------------------------------------------------


def test_sixty_sessions_of_one_address(front: Front) -> None:
    chance = random.Random(60)
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(logged_in(front, "office")) for _ in range(60)]
        right = 0
        for turn in range(3):
            ports = [session.epsv() if turn else session.pasv()[1] for session in sessions]
            assert len(set(ports)) == len(sessions)
            order = list(zip(sessions, ports, strict=True))
            chance.shuffle(order)
            data = [(session, session.dial(port)) for session, port in order]
            chance.shuffle(data)
            for session, connection in data:
                session.ask("RETR pub/whoami.txt", 125, 150)
                right += read_to_end(connection) in session.banner
                session.expect(226)
        assert right == 180
        assert {session.banner for session in sessions} == {name.encode() for name in SERVERS}
    front.until_stat("office", "ftp_xfer", lambda count: count >= 180)
    assert front.stat("office", "ftp_xfer_fail") == 0


# --- strangers ----------------------------------------------------------------------------------------------------


class Raid:
    """Connections from foreign addresses to leased ports."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._chance = random.Random(10_000)
        self.refused = self.made = self.crossed = 0

    def knock(self, port: int, times: int, planted: bytes = b"") -> None:
        """That many strangers: each may get not one byte, and not one of theirs may arrive."""
        for _ in range(times):
            self.made += 1
            try:
                self.crossed += bool(self._knock_once(port, planted))
            except ConnectionRefusedError:
                self.refused += 1
            except ConnectionError:
                pass  # a reset may come before connect() has looked

    def _knock_once(self, port: int, planted: bytes) -> bytes:
        with socket.socket() as stranger:
            stranger.settimeout(20)
            stranger.bind((self._chance.choice(STRANGERS), 0))
            stranger.connect((self._host, port))
            if planted:
                stranger.sendall(planted)
            return stranger.recv(1000)


def test_ten_thousand_strangers(front: Front, farm: Farm) -> None:
    """Downloads that somebody else comes for, uploads that somebody else plants, transfers that were abandoned."""
    server = farm.servers[0]
    secret = b"only for whom it was asked " * 1000
    server.put("secret", secret)
    raid = Raid(front.host("strict"))
    before = front.stat("strict", "ftp_stranger")
    with logged_in(front, "strict") as client:
        for number in range(60):
            port = client.epsv()
            client.send("RETR pub/secret")
            raid.knock(port, 60)
            with client.dial(port) as data:
                client.expect(125, 150)
                assert read_to_end(data) == secret
            client.expect(226)
            port = client.epsv()
            client.send(f"STOR pub/own-{number % 5}")
            raid.knock(port, 60, b"planted")
            with client.dial(port) as data:
                client.expect(125, 150)
                data.sendall(b"own")
            client.expect(226)
            assert (server.pub / f"own-{number % 5}").read_bytes() == b"own"
            abandoned = client.epsv()
            raid.knock(abandoned, 50)
            client.epsv()  # gives the former back
            raid.knock(abandoned, 2)
        assert raid.made >= 10_000
        assert raid.crossed == 0
        client.quit()
    # Everybody is counted but those who came to a port that nobody listened on any more.
    assert raid.refused <= 120
    front.until_stat("strict", "ftp_stranger", lambda count: count - before == raid.made - raid.refused)


def test_a_session_tells_the_strangers_of_its_leases(front: Front) -> None:
    """Those of a lease that was used, of one that was given up, and of one with which the session ended."""
    with logged_in(front, "counted") as client:
        port = client.epsv()
        raid = Raid(front.host("counted"))
        raid.knock(port, 3)
        with client.dial(port) as data:
            client.ask("RETR x", 150)
            assert read_to_end(data) == b"scripted"
        client.expect(226)
        raid.knock(client.epsv(), 2)
        client.ask("ABOR", 225, 226, 502)
        raid.knock(client.epsv(), 1)
        client.quit()
    front.sink.until_text("strangers: 6")


def test_a_late_connection_does_not_get_the_next_lease(front: Front) -> None:
    """One port: who dials what was told to somebody before meets the lease of another address, and gets nothing."""
    other = neighbour()[0]
    with logged_in(front, "one") as first, logged_in(front, "one", other) as second:
        port = first.epsv()
        first.ask("ABOR", 225, 226, 502)
        assert second.epsv() == port
        second.send("RETR x")
        assert first.knock(port) == b""
        with second.dial(port) as data:
            second.expect(150)
            assert read_to_end(data) == b"scripted"
        second.expect(226)


def test_one_port_for_two_addresses_at_once(front: Front) -> None:
    other = neighbour()[0]
    with logged_in(front, "one") as first, logged_in(front, "one", other) as second:
        port = first.epsv()
        assert second.epsv() == port
        with second.dial(port) as data:
            second.ask("STOR x", 150)
            data.sendall(b"of the second")
        second.expect(226)
        with first.dial(port) as data:
            first.ask("RETR x", 150)
            assert read_to_end(data) == b"scripted"
        first.expect(226)


@pytest.mark.parametrize(
    ("section", "client", "peer", "admitted"),
    [
        ("network", "127.9.8.7", "127.9.8.250", True),
        ("network", "127.9.8.7", "127.9.9.7", False),
        ("any", "127.9.8.7", "127.200.1.1", True),
        ("strict", "127.9.8.7", "127.9.8.8", False),
    ],
)
def test_who_may_connect(front: Front, section: str, client: str, peer: str, admitted: bool) -> None:
    before = front.stat(section, "ftp_stranger")
    with logged_in(front, section, client) as session:
        session.send("EPSV")
        port = int(session.expect(229).text.split(b"|")[3])
        if not admitted:
            assert session.knock(port, peer) == b""
            front.until_stat(section, "ftp_stranger", lambda count: count == before + 1)
        data = session.dial(port, source=peer if admitted else "")
        session.ask("RETR pub/whoami.txt", 125, 150)
        assert read_to_end(data)
        session.expect(226)


# --- the pool -----------------------------------------------------------------------------------------------------


def test_an_exhausted_pool(front: Front) -> None:
    before = front.stat("narrow", "ftp_lease_fail")
    with contextlib.ExitStack() as stack:
        first, second, third = (stack.enter_context(logged_in(front, "narrow")) for _ in range(3))
        assert {first.epsv(), second.pasv()[1]} == {50000, 50001}
        third.ask("EPSV", 425)
        third.ask("PASV", 425)
        front.sink.until_text("frontend narrow: no data port for a client: the pool of data ports is exhausted (425)")
        assert front.stat("narrow", "ftp_lease_fail") == before + 2
        assert front.stat("narrow", "ftp_lease_cur") == 2
        assert front.open_ports("narrow") == {50000, 50001}
        # 425 is not the end of the session, and what comes free is free at once.
        first.quit()
        assert third.receive("RETR x") == b"scripted"
    front.until_stat("narrow", "ftp_lease_cur", lambda count: count == 0)


def test_one_address_cannot_starve_the_others(front: Front) -> None:
    """Whichever worker they are steered to."""
    with contextlib.ExitStack() as stack:
        greedy = [stack.enter_context(logged_in(front, "page", CLIENT)) for _ in range(12)]
        codes = [client.ask("EPSV").code for client in greedy]
        assert codes == [229] * 10 + [425] * 2
        for source in STRANGERS[:8]:
            with logged_in(front, "page", source) as client:
                assert client.receive("RETR x") == b"scripted"


def take_another(client: RawClient, port: int, scripted: Scripted) -> None:
    client.epsv()
    client.quit()


def hang_up(client: RawClient, port: int, scripted: Scripted) -> None:
    client.close()


def crash(client: RawClient, port: int, scripted: Scripted) -> None:
    reset(client.control)


def lose_the_server(client: RawClient, port: int, scripted: Scripted) -> None:
    scripted.hang_up()
    client.expect(421)


def abort(client: RawClient, port: int, scripted: Scripted) -> None:
    client.ask("ABOR")


def be_refused(client: RawClient, port: int, scripted: Scripted) -> None:
    client.ask("APPE x", 550)
    client.ask("NOOP", 200)


def be_cut_off(client: RawClient, port: int, scripted: Scripted) -> None:
    client.ask("XCUP", 421)
    client.expect_end()


def quit_politely(client: RawClient, port: int, scripted: Scripted) -> None:
    client.quit()


def transfer(client: RawClient, port: int, scripted: Scripted) -> None:
    client.dial(port)
    client.ask("RETR x", 150)


WAYS = (take_another, hang_up, crash, lose_the_server, abort, be_refused, be_cut_off, quit_politely, transfer)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_lease_is_given_back(
    front: Front, scripted: Scripted, way: Callable[[RawClient, int, Scripted], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(scripted.answers, "APPE", "550 No")
    monkeypatch.setitem(scripted.answers, "XCUP", "421 Go")
    monkeypatch.setitem(scripted.answers, "ABOR", "225 Nothing to do")
    assert front.open_ports("leases") == set()
    with logged_in(front, "leases") as client:
        port = client.epsv()
        assert front.open_ports("leases") == {port}
        way(client, port, scripted)
        until(lambda: front.open_ports("leases") == set(), f"{port} to be closed")
        front.until_stat("leases", "ftp_lease_cur", lambda count: count == 0)


def test_any_address(front: Front) -> None:
    """Listening on all addresses, ports are leased at the one that was dialled."""
    host = front.host("wild")
    with RawClient((host, WILD)) as client:
        client.log_in("u")
        told, port = client.pasv()
        assert told == host
        assert front.open_ports("wild") == {port}
        assert client.receive("RETR x", extended=False) == b"scripted"


def test_a_lease_expires(front: Front) -> None:
    with logged_in(front, "hasty") as client:
        port = client.epsv()
        until(lambda: front.open_ports("hasty") == set(), f"{port} to be closed")
        # The next transfer command is told why; the session goes on.
        assert client.ask("RETR x").code == 425
        assert client.receive("RETR x") == b"scripted"
        # Asked for before anybody came, the transfer itself is given up.
        client.epsv()
        client.ask("RETR x", 150)
        client.expect(425)
        client.ask("NOOP", 200)


def test_ports_are_not_foreseeable(front: Front) -> None:
    with logged_in(front, "leases") as client:
        ports = [client.epsv() for _ in range(24)]
    assert all(50000 <= port <= 50099 for port in ports)
    steps = {after - before for before, after in itertools.pairwise(ports)}
    assert len(set(ports)) > 10
    assert len(steps) > 10
