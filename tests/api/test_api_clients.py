"""Clients of a stats socket that are slow, many, loud or rude cost the others, and the sessions, nothing."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from contextlib import ExitStack

import pytest

from api_rig import Connection, ask, rows
from farm.ports import free_ports
from farm.waiting import until
from pasvport.control.information import version
from process_rig import DEADLINE, Running, Upstream, connect, kill, session, talk

SERVERS = "".join(f"    server s{number} 127.0.0.1:9\n" for number in range(400))


def configuration(folder, port, upstream, *extra):
    lines = "".join(f"    {line}\n" for line in extra)
    return (
        f"global\n    nbthread 2\n    stats socket {folder}/sock mode 600 level admin\n{lines}"
        "defaults\n    mode tcp\n    timeout client 20s\n    timeout server 20s\n    timeout connect 5s\n"
        f"frontend fe\n    bind 127.0.0.1:{port}\n    default_backend be\n"
        f"backend be\n    server s 127.0.0.1:{upstream}\n"
        f"backend crowd\n{SERVERS}"
    )


@pytest.fixture(scope="module")
def upstream():
    with Upstream() as server:
        yield server


@pytest.fixture
def serve(tmp_path, upstream):
    """Start pasvport; gives (its port, the path of its stats socket)."""
    running = []

    def start(*extra):
        (port,) = free_ports(1)
        running.append(Running(tmp_path, configuration(tmp_path, port, upstream.port, *extra)))
        return port, tmp_path / "sock"

    yield start
    for each in running:
        with each:
            pass


@pytest.fixture(scope="module")
def one(tmp_path_factory, upstream):
    """One that serves many tests: (its port, the path of its stats socket)."""
    folder = tmp_path_factory.mktemp("one")
    (port,) = free_ports(1)
    with Running(folder, configuration(folder, port, upstream.port)):
        yield port, folder / "sock"


def ends(connection):
    """Whether the other side has closed."""
    try:
        return connection.socket.recv(1) == b""
    except ConnectionResetError:
        return True


def test_permissions_of_a_unix_socket(one):
    _, path = one
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_over_tcp_and_with_a_level(serve, tmp_path):
    (api,) = free_ports(1)
    serve(f"stats socket ipv4@127.0.0.1:{api} level user")
    with socket.create_connection(("127.0.0.1", api), timeout=DEADLINE) as client:
        client.sendall(b"show cli level;show env\n")
        found = b""
        while data := client.recv(4096):
            found += data
    assert found == b"user\n\nPermission denied\n\n"


def test_silence_is_bounded_by_the_timeout(serve):
    _, path = serve("stats timeout 300ms")
    with Connection(path) as connection:
        assert ends(connection)
    with Connection(path) as connection:
        connection.send("prompt\n")
        connection.until("> ")
        assert ends(connection)


def test_a_client_may_ask_for_more_time(serve):
    _, path = serve("stats timeout 300ms")
    with Connection(path) as connection, Connection(path) as impatient:
        connection.send("prompt;set timeout cli 1h\n")
        connection.until("> ")
        connection.until("> ")
        assert ends(impatient)
        connection.send("show version\n")
        assert connection.until("> ") == f"{version()}\n\n> "


def test_who_does_not_read_is_closed_and_nobody_waits_for_it(serve, upstream):
    port, path = serve("stats timeout 500ms")
    with Connection(path) as deaf, session(port, upstream) as (client, server):
        deaf.send("prompt;" + "show stat;" * 200 + "\n")
        assert "fe,FRONTEND" in ask(path, "show stat")
        talk(client, server)

        def closed():
            deaf.socket.setblocking(True)
            try:
                return not deaf.socket.send(b"\n")
            except OSError:
                return True

        until(closed, "the deaf client to be closed")
        talk(client, server)


def test_more_clients_than_may_be_served_wait_for_their_turn(serve):
    _, path = serve("stats maxconn 2")
    with Connection(path) as first, Connection(path) as second:
        for each in (first, second):
            each.send("prompt\n")
            each.until("> ")
        with Connection(path) as third:
            third.send("show version\n")
            third.socket.settimeout(0.2)
            with pytest.raises(TimeoutError):
                third.socket.recv(1)
            third.socket.settimeout(DEADLINE)
            first.send("quit\n")
            assert ends(first)
            assert third.rest() == f"{version()}\n\n"


def test_a_crowd_is_served_in_turn(one, upstream):
    port, path = one
    with session(port, upstream) as (client, server):
        crowd = [Connection(path) for _ in range(100)]
        for connection in crowd:
            connection.send("show info\n")
        for connection in crowd:
            with connection:
                assert connection.rest().startswith("Name: HAProxy\n")
        talk(client, server)


@pytest.mark.parametrize(
    "junk", [b"\0\xff\xfe\n", b";" * 2000 + b"\n", b"show stat -1 -1 \xc3\x28\n", b"\\\n", b"<<\n\n"]
)
def test_junk_is_answered_and_does_no_harm(one, junk):
    _, path = one
    with Connection(path) as connection:
        connection.socket.sendall(junk)
        assert connection.rest().endswith("\n\n")
    assert ask(path, "show version") == f"{version()}\n\n"


def test_a_line_without_end_is_cut_off(one):
    _, path = one
    with Connection(path) as connection:
        try:
            for _ in range(1000):
                connection.socket.sendall(b"x" * 1000)
        except OSError:
            pass
        assert ends(connection)
    assert ask(path, "show version") == f"{version()}\n\n"


def test_a_client_that_leaves_in_the_middle_costs_nothing(one):
    _, path = one
    for _ in range(20):
        with Connection(path) as connection:
            connection.send("show stat;" * 50 + "\n")
            connection.socket.recv(10)
    assert ask(path, "show version") == f"{version()}\n\n"


# --- orders, as the sessions feel them ----------------------------------------------------------------------------


def is_refused(port):
    with socket.socket() as client:
        client.settimeout(DEADLINE)
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_a_disabled_frontend_refuses_until_it_is_enabled(serve, upstream):
    port, path = serve()
    with session(port, upstream) as (client, server):
        assert ask(path, "disable frontend fe") == "\n"
        assert is_refused(port)
        talk(client, server)
        assert ask(path, "enable frontend fe") == "\n"
        with session(port, upstream):
            pass
        assert ask(path, "shutdown frontend fe") == "\n"
        assert is_refused(port)
        talk(client, server)


def test_a_moved_server_gets_the_next_session(serve, upstream):
    port, path = serve()
    with Upstream() as other, session(port, upstream) as (client, server):
        answer = ask(path, f"set server be/s addr 127.0.0.1 port {other.port}")
        assert answer.startswith(f"no need to change the addr, port changed from '{upstream.port}' to '{other.port}'")
        with session(port, other):
            talk(client, server)
        assert rows(ask(path, "show stat"))["be", "s"]["addr"] == f"127.0.0.1:{other.port}"


def test_maintenance_and_drain_send_nobody_new(one, upstream):
    port, path = one
    for order in ("maint", "drain"):
        assert ask(path, f"set server be/s state {order}") == "\n"
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
            assert client.recv(1) == b""
        assert ask(path, "set server be/s state ready") == "\n"
        with session(port, upstream):
            pass


def waits(upstream):
    """Whether nobody reaches the server now."""
    upstream.listener.settimeout(0.3)
    try:
        upstream.listener.accept()[0].close()
    except TimeoutError:
        return True
    finally:
        upstream.listener.settimeout(DEADLINE)
    return False


@pytest.mark.parametrize("order", ["set maxconn global 1", "set maxconn frontend fe 1", "set maxconn server be/s 1"])
def test_fewer_connections_at_a_time(tmp_path, upstream, order):
    (port,) = free_ports(1)
    text = configuration(tmp_path, port, upstream.port, "maxconn 10")
    text = text.replace("frontend fe\n", "frontend fe\n    maxconn 10\n")
    text = text.replace(f"server s 127.0.0.1:{upstream.port}\n", f"server s 127.0.0.1:{upstream.port} maxconn 10\n")
    with Running(tmp_path, text):
        assert ask(tmp_path / "sock", order) == "\n"
        with session(port, upstream) as (client, server), connect(port) as second:
            second.sendall(b"ping")
            assert waits(upstream)
            client.close()
            server.close()
            with upstream.accept() as served:
                assert served.recv(4) == b"ping"
        assert ask(tmp_path / "sock", order.replace(" 1", " 9")) == "\n"
        with session(port, upstream), session(port, upstream):
            pass


def test_fewer_connections_a_second(serve, upstream):
    port, path = serve()
    assert ask(path, "set rate-limit connections global 1") == "\n"
    with ExitStack() as clients:
        for _ in range(6):
            clients.enter_context(connect(port))
        with upstream.accept():
            assert any(waits(upstream) for _ in range(4))
        assert "ConnRateLimit: 1\n" in ask(path, "show info")
        assert ask(path, "set rate-limit connections global 0") == "\n"


def test_a_socket_may_show_how_grave_remarks_are(serve, tmp_path):
    serve(f"stats socket {tmp_path}/graded level admin severity-output number")
    assert ask(tmp_path / "graded", "get weight be/zz") == "[3]: No such server.\n\n"


# --- over reloads and new workers ---------------------------------------------------------------------------------


def test_a_reload_keeps_opens_and_closes_stats_sockets(tmp_path, upstream):
    (port,) = free_ports(1)
    text = configuration(tmp_path, port, upstream.port, f"stats socket {tmp_path}/old level user")
    with Running(tmp_path, text) as balancer, Connection(tmp_path / "sock") as staying:
        staying.send("prompt\n")
        staying.until("> ")
        balancer.file.write_text(text.replace(f"{tmp_path}/old level user", f"{tmp_path}/new level user"))
        staying.send("reload\n")
        assert staying.until("> ") == "Success=1\n\n> "
        assert ask(tmp_path / "new", "show cli level") == "user\n\n"
        with pytest.raises(ConnectionRefusedError):
            ask(tmp_path / "old", "show cli level")
        balancer.file.write_text("nonsense\n")
        staying.send("reload\n")
        answer = staying.until("> ")
        assert answer.startswith("Success=0\n--\n")
        assert "nonsense" in answer
        with session(port, upstream):
            pass


def test_orders_hold_in_a_worker_that_starts_later(tmp_path, upstream):
    (port,) = free_ports(1)
    with Upstream() as other, Running(tmp_path, configuration(tmp_path, port, upstream.port)) as balancer:
        ask(tmp_path / "sock", f"set server be/s addr 127.0.0.1 port {other.port}")
        before = balancer.workers()
        for pid in before:
            kill(pid)
        until(lambda: len(set(balancer.workers()) - set(before)) == 2, "new workers")
        with session(port, other):
            pass
        ask(tmp_path / "sock", "disable frontend fe")
        before = balancer.workers()
        kill(before[0])
        until(lambda: set(balancer.workers()) - set(before), "a new worker")
        assert is_refused(port)


def test_what_was_said_at_the_start_can_be_read_later(tmp_path, upstream):
    """Also by whoever was not to hear it then; what came after the start is no part of it."""
    (port,) = free_ports(1)
    text = configuration(tmp_path, port, upstream.port).replace("    timeout client 20s\n", "")
    with Running(tmp_path, text, "-q", wait=False):
        until((tmp_path / "sock").exists, "the stats socket")
        # Who is served comes after the start.
        with session(port, upstream):
            said = ask(tmp_path / "sock", "show startup-logs")
        assert "[WARNING]" in said
        assert "missing timeouts for frontend 'fe'" in said
        ask(tmp_path / "sock", "disable frontend fe")
        assert ask(tmp_path / "sock", "show startup-logs") == said


@pytest.mark.parametrize(
    "head",
    [
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n\r\n",
        "POST /;disable%20server%20be/s HTTP/1.1\r\n\r\n",
        "GET /;disable server be/s;x HTTP/1.1\r\n",
        "post / http/1.0\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_a_browser_gives_no_commands(serve, tmp_path, head):
    (api,) = free_ports(1)
    _, path = serve(f"stats socket ipv4@127.0.0.1:{api} level admin")
    with socket.create_connection(("127.0.0.1", api), timeout=DEADLINE) as client:
        client.sendall(f"{head}disable server be/s\n\ndisable server be/s\n".encode())
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := client.recv(4096):
                answer += piece
    assert b"Unknown command" not in answer
    assert b"HTTP/1.0 400 " in answer or not answer
    assert rows(ask(path, "show stat"))["be", "s"]["status"] == "no check"
    assert "HTTP/1.1" not in ask(path, "show cli sockets; show version HTTP/1.1").splitlines()[0]
