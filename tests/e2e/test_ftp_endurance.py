"""What a session survives in `mode ftp`, and what HAProxy, which sees no session, loses of it in the same place."""

from __future__ import annotations

import contextlib
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from farm.front import Front, Section
from farm.raw_client import RawClient, read_to_end
from farm.servers import Farm, Passive
from farm.waiting import PATIENCE, until

BIG = bytes(range(256)) * 80_000
SLOWLY = 2.5
SOURCES = [f"127.0.2.{number}" for number in range(1, 8)]
MODES = {"haproxy": "tcp", "pasvport": "ftp"}


@pytest.fixture(scope="module")
def farm() -> Iterator[Farm]:
    with Farm(("pyftpdlib-1", "pyftpdlib-2"), passive=Passive.AGREED) as running:
        running.put("big", BIG)
        yield running


def sections(farm: Farm, mode: str) -> tuple[Section, ...]:
    """`stick on src` as on the page, with what makes the page lose sessions."""
    # The control port is mapped, data ports are not: as on the page.
    lines = "\n".join(f"server {server.name} {server.host}" for server in farm.servers)
    stick = "stick-table type ip size {} expire {}\nstick on src\n"
    binds = "bind {host}:{port}\nbind {host}:50000-50049"
    short = "timeout client 1s\ntimeout server 1s\n"
    port = "" if mode == "tcp" else ":" + str(farm.servers[0].port)
    servers = "\n".join(line + port for line in lines.splitlines())
    return (
        Section("long", f"{short}{stick.format('1k', '1h')}{servers}", binds, mode),
        Section("idle", f"{stick.format('1k', '500ms')}{servers}", binds, mode),
        Section("full", f"{stick.format('2', '1h')}{servers}", binds, mode),
    )


@pytest.fixture(scope="module", params=MODES)
def front(farm: Farm, request: pytest.FixtureRequest) -> Iterator[Front]:
    mode = MODES[request.param]
    with Front(*sections(farm, mode), kind=request.param, threads=2) as running:
        running.is_haproxy = mode == "tcp"  # type: ignore[attr-defined]
        yield running


@contextlib.contextmanager
def logged_in(front: Front, section: str, source: str = "", patience: float = PATIENCE) -> Iterator[RawClient]:
    with front.client(section, source, patience=patience) as client:
        client.log_in("farmer")
        client.ask("TYPE I", 200)
        yield client


@contextlib.contextmanager
def lost_by_haproxy(front: Front) -> Iterator[None]:
    """What follows fails through HAProxy, and not through us."""
    if front.is_haproxy:  # type: ignore[attr-defined]
        with pytest.raises((ConnectionError, AssertionError, TimeoutError)):
            yield
    else:
        yield


def patience(front: Front) -> float:
    """What is lost is lost at once; what is not may take its time."""
    return 2.0 if front.is_haproxy else PATIENCE  # type: ignore[attr-defined]


# --- beside HAProxy -----------------------------------------------------------------------------------------------


def begun(client: RawClient, order: str) -> socket.socket:
    """The data connection of a transfer that the server has announced."""
    data = client.passive()
    client.ask(order, 125, 150)
    return data


def test_the_control_connection_during_a_long_transfer(front: Front, farm: Farm) -> None:
    """Longer than `timeout client` and `timeout server`: nobody says anything on the control connection meanwhile.

    The download has begun before the other client logs in, which may take longer than `timeout client`, too.
    """
    with (
        logged_in(front, "long", SOURCES[0]) as down,
        begun(down, "RETR pub/big") as source,
        logged_in(front, "long", SOURCES[1]) as up,
        begun(up, "STOR pub/up") as sink,
    ):
        got = bytearray()
        with lost_by_haproxy(front):
            for _ in range(10):
                time.sleep(SLOWLY / 10)
                got += source.recv(65536)
                sink.sendall(b"slowly")
            assert bytes(got) + read_to_end(source) == BIG
            down.expect(226)
            sink.close()
            up.expect(226)
            home = next(server for server in farm.servers if server.name.encode() in up.banner)
            assert (home.pub / "up").read_bytes() == b"slowly" * 10


def test_a_session_that_outlives_its_table_entry(front: Front) -> None:
    with logged_in(front, "idle", SOURCES[2], patience(front)) as client:
        time.sleep(0.7)
        with lost_by_haproxy(front):
            for _ in range(2):
                assert client.receive("RETR pub/whoami.txt") in client.banner


def test_a_full_table(front: Front) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(logged_in(front, "full", source, patience(front))) for source in SOURCES]
        with lost_by_haproxy(front):
            for client in clients:
                assert client.receive("RETR pub/whoami.txt") in client.banner


# --- standstill ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hasty(farm: Farm) -> Iterator[Front]:
    server = farm.servers[0]
    lines = f"timeout ftp-transfer 500ms\ntimeout client 10s\nserver s {server.host}:{server.port}"
    with Front(Section("fe", lines)) as running:
        yield running


def test_a_client_that_takes_nothing(hasty: Front) -> None:
    with logged_in(hasty, "fe") as client:
        data = client.passive()
        client.ask("RETR pub/big", 125, 150)
        client.expect(426)
        with pytest.raises(ConnectionResetError):
            read_to_end(data)
        assert client.receive("RETR pub/whoami.txt") in client.banner


def test_a_client_that_sends_nothing(hasty: Front) -> None:
    with logged_in(hasty, "fe") as client, client.passive() as data:
        client.ask("STOR pub/never", 125, 150)
        data.sendall(b"begun")
        client.expect(426)
        client.ask("NOOP", 200)


@pytest.mark.parametrize("size", [2_000_000, len(BIG)])
def test_a_client_that_is_slow_but_steady(hasty: Front, farm: Farm, size: int) -> None:
    """Also when the kernels hold everything already and only the client's acknowledgements are awaited."""
    farm.servers[0].put("some", BIG[:size])
    with logged_in(hasty, "fe") as client:
        data = client.passive()
        client.ask("RETR pub/some", 125, 150)
        got = bytearray()
        for _ in range(12):
            time.sleep(0.1)
            got += data.recv(150_000)
        got += read_to_end(data)
        client.expect(226)
        assert bytes(got) == BIG[:size]


# --- the end of the service ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def alone(farm: Farm, settings: str = "") -> Iterator[Front]:
    """A balancer that is to be ended."""
    lines = "\n".join(f"server {server.name} {server.host}:{server.port}" for server in farm.servers)
    with Front(Section("fe", f"balance roundrobin\n{lines}"), settings=settings) as running:
        yield running


def ended(front: Front) -> int | None:
    assert front.balancer.child is not None
    return front.balancer.child.process.poll()


def refuses(front: Front) -> bool:
    try:
        front.client("fe").close()
    except ConnectionError:
        return True
    return False


def test_soft_stop(farm: Farm) -> None:
    """Transfers finish, whoever is about to do something does it; idle sessions, and then all, end with 421."""
    with alone(farm) as front, contextlib.ExitStack() as stack:
        moving, pending, idle = (stack.enter_context(logged_in(front, "fe")) for _ in range(3))
        arriving = stack.enter_context(front.client("fe"))
        data = moving.passive()
        moving.ask("RETR pub/big", 125, 150)
        port = pending.epsv()
        arriving.ask("USER farmer", 331)
        front.balancer.signal(signal.SIGUSR1)
        until(lambda: refuses(front), "no new session")
        with pending.dial(port) as late:
            pending.ask("RETR pub/whoami.txt", 125, 150)
            assert read_to_end(late) in pending.banner
        pending.expect(226)
        arriving.ask("PASS plough", 230)
        assert arriving.receive("RETR pub/whoami.txt") in arriving.banner
        idle.expect(421)
        idle.expect_end()
        assert read_to_end(data) == BIG
        moving.expect(226)
        for client in (moving, pending, arriving):
            client.expect(421)
            client.expect_end()
        until(lambda: ended(front) is not None, "the end")
        assert ended(front) == 0


def test_hard_stop_after(farm: Farm) -> None:
    """A transfer that would take for ever is cut, and its client told."""
    with alone(farm, "hard-stop-after 1s") as front, logged_in(front, "fe") as client:
        data = client.passive()
        client.ask("RETR pub/big", 125, 150)
        assert data.recv(1) == BIG[:1]
        front.balancer.signal(signal.SIGUSR1)
        client.expect(421)
        client.expect_end()
        with pytest.raises(ConnectionResetError):
            read_to_end(data)
        until(lambda: ended(front) is not None, "the end")


def test_reload(farm: Farm) -> None:
    """Nobody is refused, transfers finish, former sessions stay with the old text, new ones have the new text."""
    with alone(farm) as front, contextlib.ExitStack() as stack:
        moving, pending = (stack.enter_context(logged_in(front, "fe")) for _ in range(2))
        data = moving.passive()
        moving.ask("RETR pub/big", 125, 150)
        port = pending.epsv()
        former = front.balancer.workers()
        front.balancer.settings.write_text(front.text().replace("listen fe", "listen fe\n    ftp-deny-commands SITE"))
        front.balancer.signal(signal.SIGUSR2)

        def is_new() -> bool:
            with logged_in(front, "fe") as client:
                assert client.receive("RETR pub/whoami.txt") in client.banner
                return client.ask("SITE HELP").code == 502

        until(is_new, "the new text to be obeyed")
        assert client_of(pending, port) in pending.banner
        assert read_to_end(data) == BIG
        moving.expect(226)
        assert moving.receive("RETR pub/whoami.txt") in moving.banner
        for client in (moving, pending):
            assert client.ask("SITE HELP").code != 502
            client.quit()
        until(lambda: not former & front.balancer.workers(), "the former workers' end")
        assert is_new()


def test_sessions_of_former_generations_stay(farm: Farm) -> None:
    """Over several reloads, silent for longer than a drain waits; data ports work, and so do orders about servers."""
    lines = "\n".join(f"server {server.name} {server.host}:{server.port}" for server in farm.servers)
    sections = Section("fe", f"balance roundrobin\n{lines}"), Section("short", f"ftp-drain-idle 2500ms\n{lines}")
    with Front(*sections) as front, contextlib.ExitStack() as stack:
        staying = [stack.enter_context(logged_in(front, "fe")) for _ in range(4)]
        bounded = stack.enter_context(logged_in(front, "short"))
        former = front.balancer.workers()
        generations = [former]
        for _ in range(3):
            assert "Success=1" in front.api("reload")
            generations.append(front.balancer.workers() - set().union(*generations))
            assert len(generations[-1]) == 2
        bounded.expect(421)
        bounded.expect_end()
        assert former & front.balancer.workers()
        for client in staying:
            client.ask("NOOP", 200)
            assert client.receive("RETR pub/whoami.txt") in client.banner
        _a_server_leaves_and_comes_back(front, staying)
        for client in staying:
            assert client.receive("RETR pub/whoami.txt", extended=False) in client.banner
        front.balancer.signal(signal.SIGUSR1)
        for client in staying:
            client.expect(421)
            client.expect_end()
        until(lambda: ended(front) is not None, "the end")


def _a_server_leaves_and_comes_back(front: Front, sessions: list[RawClient]) -> None:
    """`drain` ends a former generation's sessions at that server, which leave the list; the others stay."""
    server = "pyftpdlib-1"
    front.api(f"set server fe/{server} state drain")
    leaving = [client for client in sessions if server.encode() in client.banner]
    assert 0 < len(leaving) < len(sessions)
    for client in leaving:
        client.expect(421)
        client.expect_end()
        sessions.remove(client)
    front.api(f"set server fe/{server} state ready")


def test_a_soft_stop_that_leaves_idle_sessions_alone(farm: Farm) -> None:
    """`ftp-drain-idle never`: they stay as they would with HAProxy, until `hard-stop-after`."""
    server = farm.servers[0]
    lines = f"server {server.name} {server.host}:{server.port}"
    sections = Section("fe", lines), Section("patient", f"ftp-drain-idle never\n{lines}")
    with Front(*sections) as front, contextlib.ExitStack() as stack:
        going = stack.enter_context(logged_in(front, "fe"))
        staying = stack.enter_context(logged_in(front, "patient"))
        front.balancer.signal(signal.SIGUSR1)
        going.expect(421)
        assert staying.receive("RETR pub/whoami.txt") in staying.banner
        staying.quit()
        until(lambda: ended(front) is not None, "the end")


def client_of(client: RawClient, port: int) -> bytes:
    with client.dial(port) as data:
        client.ask("RETR pub/whoami.txt", 125, 150)
        content = read_to_end(data)
    client.expect(226)
    return content
