"""One worker process against real sockets: what passes, what ends how, what is given back."""

import os
import resource
import select
import selectors
import socket
import struct
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from engine_rig import DEADLINE, Rig, config, server
from pasvport.address import Endpoint, Family, PortRange
from pasvport.engine.connected import at_mark
from pasvport.model import (
    Algorithm,
    Balance,
    Bind,
    Expression,
    Global,
    KeyType,
    Origin,
    StickAction,
    StickRule,
    StickTable,
    Timeouts,
)
from pasvport.record import Operation, ServerState
from pasvport.wire import BootFailed, Drained, Notice, ServerChanged, SoftStop

ORIGIN = Origin("test.cfg", 1)


@contextmanager
def listening(backlog=64, host="127.0.0.1"):
    with socket.socket() as sock:
        sock.bind((host, 0))
        sock.listen(backlog)
        sock.settimeout(DEADLINE)
        yield sock


def accept(listener):
    sock, _ = listener.accept()
    sock.settimeout(DEADLINE)
    return sock


def receive(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            break
        data += piece
    return data


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def state_of(line):
    """The termination state of a tcplog line."""
    return line.split()[6]


def served_by(line):
    return line.split()[3]


def test_an_ipv6_client():
    """Its address has four parts, and so it says in the log."""
    door = Bind(ORIGIN, Endpoint(Family.IPV6, "::1", 0), PortRange(0, 0))
    with listening() as listener:
        servers = config([server("s1", listener.getsockname())], frontend={"binds": (door,)})
        with Rig(servers) as rig, rig.connect("::1") as client, accept(listener) as far:
            client.sendall(b"six")
            assert receive(far, 3) == b"six"
            client.close()
            far.close()
            assert rig.log().startswith("::1:")


@contextmanager
def relayed(**options):
    """(rig, client, server side) of one established session."""
    with listening() as listener, Rig(config([server("s1", listener.getsockname())], **options)) as rig:
        client = rig.connect()
        upstream = accept(listener)
        with client, upstream:
            # A client that leaves before the worker knows of the connection would be another story (CC).
            upstream.sendall(b"+")
            assert client.recv(1) == b"+"
            yield rig, client, upstream


def test_bytes_pass_both_ways_and_the_log_tells_their_number():
    with relayed() as (rig, client, upstream):
        client.sendall(b"USER x\r\n")
        assert receive(upstream, 8) == b"USER x\r\n"
        upstream.sendall(b"331 ok\r\n")
        assert receive(client, 8) == b"331 ok\r\n"
        upstream.close()
        assert client.recv(1) == b""
        client.close()
        line = rig.log()
        assert state_of(line) == "--"
        assert line.split()[5] == "9"


def test_a_half_closed_client_still_gets_the_answer():
    with relayed() as (rig, client, upstream):
        client.sendall(b"all I have")
        client.shutdown(socket.SHUT_WR)
        assert receive(upstream, 64) == b"all I have"
        upstream.sendall(b"thanks")
        assert receive(client, 6) == b"thanks"
        upstream.close()
        assert client.recv(1) == b""
        assert state_of(rig.log()) == "--"


def test_a_half_closed_server_still_gets_the_rest():
    with relayed() as (rig, client, upstream):
        upstream.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        client.sendall(b"late")
        assert receive(upstream, 4) == b"late"
        client.close()
        assert upstream.recv(1) == b""
        assert state_of(rig.log()) == "--"


@pytest.mark.parametrize("direction", ["download", "upload"])
def test_a_large_stream_arrives_whole(direction):
    size = 64 << 20
    with relayed() as (rig, client, upstream):
        source, sink = (upstream, client) if direction == "download" else (client, upstream)
        block = os.urandom(1 << 20)

        def push():
            for _ in range(size >> 20):
                source.sendall(block)
            source.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=push)
        thread.start()
        for _ in range(size >> 20):
            assert receive(sink, 1 << 20) == block
        assert sink.recv(1) == b""
        thread.join()
        sink.close()
        rig.log()
        assert rig.total("process", "spliced_bytes_out") > size // 2


def test_a_slow_reader_stops_the_sender_and_loses_nothing():
    with relayed() as (rig, client, upstream):
        upstream.setblocking(False)
        sent = 0
        while select.select([], [upstream], [], 0.3)[1]:
            sent += upstream.send(b"z" * 65536)
        upstream.setblocking(True)
        upstream.close()
        received = 0
        while data := client.recv(1 << 20):
            received += len(data)
        assert received == sent
        client.close()
        assert state_of(rig.log()) == "--"


@pytest.mark.parametrize(("who", "expected"), [("client", "CD"), ("server", "SD")])
def test_a_reset_reaches_the_other_side_as_a_reset(who, expected):
    with relayed() as (rig, client, upstream):
        client.sendall(b"x")
        receive(upstream, 1)
        reset(client if who == "client" else upstream)
        with pytest.raises(ConnectionResetError):
            (upstream if who == "client" else client).recv(1)
        assert state_of(rig.log()) == expected


def test_urgent_bytes_stay_in_the_stream():
    with relayed() as (_, client, upstream):
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        client.sendall(b"\xff\xf4\xff")
        client.send(b"\xf2", socket.MSG_OOB)
        client.sendall(b"ABOR\r\n")
        assert receive(upstream, 10) == b"\xff\xf4\xff\xf2ABOR\r\n"


def test_urgent_bytes_after_bulk_do_not_stop_the_stream():
    with relayed() as (_, client, upstream):
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        client.sendall(b"b" * 1_000_000)
        assert len(receive(upstream, 1_000_000)) == 1_000_000
        client.send(b"!", socket.MSG_OOB)
        client.sendall(b"more")
        assert receive(upstream, 5) == b"!more"


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("bulk", [0, 5, 3_000_000])
def test_urgent_data_leaves_as_urgent_data(who, bulk):
    """At its place in the stream, behind what was copied or spliced, from either side."""
    with relayed() as (_, client, upstream):
        near, far = (client, upstream) if who == "client" else (upstream, client)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        sender = threading.Thread(target=near.sendall, args=(b"b" * bulk,))
        sender.start()
        assert len(receive(far, bulk)) == bulk
        sender.join()
        for line in (b"ABOR\r\n", b"again!"):
            near.send(line, socket.MSG_OOB)
            assert select.select([], [], [far], 10)[2]
            assert receive(far, 5) == line[:5]
            assert at_mark(far.fileno())
            assert receive(far, 1) == line[5:]
            near.sendall(b"calm")
            assert receive(far, 4) == b"calm"


# --- time -------------------------------------------------------------------------------------------------------------


def timed(client=None, server=None, **others):
    return {
        "frontend": {"timeouts": Timeouts(client=client, client_fin=others.pop("client_fin", None))},
        "timeouts": Timeouts(server=server, **others),
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (timed(client=80, server=5000), "cD"),
        (timed(client=5000, server=80), "sD"),
        (timed(client=50, server=50, tunnel=120), "cD"),
    ],
)
def test_silence_ends_a_session(options, expected):
    with relayed(**options) as (rig, client, _):
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert state_of(rig.log()) == expected


def test_client_fin_bounds_a_half_closed_client():
    with relayed(**timed(client=60000, server=60000, client_fin=80)) as (rig, client, upstream):
        upstream.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        assert state_of(rig.log()) == "cD"


def test_server_fin_bounds_a_half_closed_server():
    with relayed(**timed(client=60000, server=60000, server_fin=80)) as (rig, client, _):
        client.shutdown(socket.SHUT_WR)
        assert state_of(rig.log()) == "sD"


def test_traffic_keeps_a_session_alive():
    with relayed(**timed(client=300, server=300)) as (rig, client, upstream):
        for _ in range(8):
            select.select([], [], [], 0.1)
            upstream.sendall(b".")
            assert client.recv(1) == b"."
        upstream.close()
        client.close()
        assert state_of(rig.log()) == "--"


# --- connecting -------------------------------------------------------------------------------------------------------


def closed_port():
    with listening() as listener:
        return listener.getsockname()


def test_a_refusing_server_ends_in_sc_after_the_retries():
    options = {"retries": 1, "timeouts": Timeouts(connect=50)}
    with Rig(config([server("s1", closed_port())], **options)) as rig:
        with rig.connect() as client:
            assert client.recv(1) == b""
        line = rig.log()
        assert state_of(line) == "SC"
        assert line.split()[4].startswith("0/-1/")
        assert line.split()[7].endswith("/1")
        assert rig.total("backend", "econ", 1) == 1
        assert rig.total("backend", "wretr", 1) == 1


def test_round_robin_goes_elsewhere_at_once():
    with listening() as listener:
        servers = [server("dead", closed_port(), 1), server("alive", listener.getsockname(), 2)]
        with Rig(config(servers, timeouts=Timeouts(connect=2000))) as rig:
            for _ in range(2):
                with rig.connect() as client, accept(listener) as upstream:
                    upstream.sendall(b"ok")
                    assert receive(client, 2) == b"ok"
            lines = [rig.log(), rig.log()]
            assert all(served_by(line) == "be/alive" for line in lines)
            assert any(line.split()[7].endswith("/+1") for line in lines)


def test_leastconn_redispatches_on_the_last_retry():
    with listening() as listener:
        servers = [server("dead", closed_port(), 1), server("alive", listener.getsockname(), 2)]
        options = {
            "balance": Balance(Algorithm.LEASTCONN),
            "retries": 1,
            "redispatch": -1,
            "timeouts": Timeouts(connect=30),
        }
        with Rig(config(servers, **options)) as rig, rig.connect() as client, accept(listener) as upstream:
            upstream.close()
            assert client.recv(1) == b""
            client.close()
            line = rig.log()
            assert served_by(line) == "be/alive"
            assert line.split()[7].endswith("/+1")


def test_no_usable_server_is_sc_without_a_server():
    down = ServerState(operation=Operation.STOPPED)
    with Rig(config([server("s1", closed_port())]), states={0: down}) as rig:
        with rig.connect() as client:
            assert client.recv(1) == b""
        line = rig.log()
        assert served_by(line) == "be/<NOSRV>"
        assert line.split()[4].startswith("-1/-1/")
        assert state_of(line) == "SC"


def test_connect_timeout_is_sc_in_lower_case():
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        options = {"retries": 0, "timeouts": Timeouts(connect=100)}
        with Rig(config([server("s1", full.getsockname())], **options)) as rig:
            with rig.connect() as client:
                assert client.recv(1) == b""
            assert state_of(rig.log()) == "sC"
        for filler in fillers:
            filler.close()


# --- limits and queues ------------------------------------------------------------------------------------------------


def test_a_full_server_makes_the_next_wait_its_turn():
    with listening() as listener, Rig(config([server("s1", listener.getsockname(), maxconn=1)])) as rig:
        first = rig.connect()
        upstream = accept(listener)
        second = rig.connect()
        rig.wait_for(lambda: rig.total("backend", "qcur", 1) == 1)
        assert not select.select([listener], [], [], 0)[0]
        upstream.close()
        first.close()
        with accept(listener) as late:
            late.sendall(b"your turn")
            assert receive(second, 9) == b"your turn"
        second.close()
        assert rig.log().endswith("0/0")
        assert rig.log().split()[8] == "0/1"
        assert rig.total("backend", "qcur", 1) == 0
        assert rig.total("server", "scur", 1) == 0


def test_waiting_too_long_is_sq_and_leaving_the_queue_is_cq():
    options = {"timeouts": Timeouts(queue=80)}
    with (
        listening() as listener,
        Rig(config([server("s1", listener.getsockname(), maxconn=1)], **options)) as rig,
        rig.connect(),
        accept(listener),
    ):
        with rig.connect() as second:
            assert second.recv(1) == b""
        assert state_of(rig.log()) == "sQ"
        rig.connect().close()
        assert state_of(rig.log()) == "CQ"


@pytest.mark.parametrize("where", ["process", "frontend"])
def test_maxconn_leaves_the_excess_in_the_kernel(where):
    with listening() as listener:
        settings = Global(maxconn=2) if where == "process" else Global()
        front = {"maxconn": 2} if where == "frontend" else {}
        with Rig(config([server("s1", listener.getsockname())], settings, front)) as rig:
            clients = [rig.connect() for _ in range(3)]
            upstreams = [accept(listener) for _ in range(2)]
            for upstream, client in zip(upstreams, clients, strict=False):
                upstream.sendall(b"+")
                assert client.recv(1) == b"+"
            assert rig.total("process", "cur") == 2
            upstreams[0].close()
            clients[0].close()
            upstreams.append(accept(listener))
            upstreams[-1].sendall(b"+")
            assert clients[-1].recv(1) == b"+"
            for sock in upstreams + clients:
                sock.close()
            for _ in range(3):
                assert state_of(rig.log()) == "--"


def test_rate_limit_delays_and_loses_nobody():
    limited = {"session_rate_limit": 20}
    with listening() as listener, Rig(config([server("s1", listener.getsockname())], frontend=limited)) as rig:
        clients = [rig.connect() for _ in range(30)]
        for _ in clients:
            accept(listener).close()
        for client in clients:
            assert client.recv(1) == b""
            client.close()
        assert rig.total("frontend", "stot", 0) == 30


def test_running_out_of_descriptors_pauses_and_loses_nobody():
    with listening() as listener, Rig(config([server("s1", listener.getsockname())])) as rig:
        limit = rig.descriptors() + 20
        resource.prlimit(rig.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        clients = [rig.connect() for _ in range(40)]
        assert rig.expect(Notice).level == 4
        for _ in range(40):
            with accept(listener) as upstream:
                upstream.sendall(b"!")
            answered = select.select(clients, [], [], DEADLINE)[0][0]
            assert answered.recv(1) == b"!"
            answered.close()
            clients.remove(answered)
        for _ in range(40):
            assert state_of(rig.log()) == "--"
        assert not [message for message in rig.messages if isinstance(message, Notice)]


# --- persistence ------------------------------------------------------------------------------------------------------


def sticky(size=100, expire=0, **table):
    rule = Expression("src", "src")
    return {
        "balance": Balance(Algorithm.LEASTCONN),
        "stick_table": StickTable(ORIGIN, "be", KeyType.IP, size, expire=expire, **table),
        "stick_rules": (
            StickRule(ORIGIN, StickAction.MATCH, rule, "be"),
            StickRule(ORIGIN, StickAction.STORE_REQUEST, rule, "be"),
        ),
    }


def name_yourself(listener, name, stop):
    """Greet every connection with `name`, and close it when the other side does."""
    with selectors.DefaultSelector() as selector, listener:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(stop, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is stop:
                    for other in list(selector.get_map().values()):
                        if other.fileobj not in (stop, listener):
                            other.fileobj.close()
                    return
                if key.fileobj is listener:
                    sock, _ = listener.accept()
                    sock.sendall(name)
                    selector.register(sock, selectors.EVENT_READ)
                else:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


@contextmanager
def two_named_servers():
    """Two servers that say their number."""
    stops, threads, servers = [], [], []
    for number in (1, 2):
        listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        servers.append(server(f"s{number}", listener.getsockname(), number))
        here, there = socket.socketpair()
        stops.append((here, there))
        thread = threading.Thread(target=name_yourself, args=(listener, str(number).encode(), there))
        thread.start()
        threads.append(thread)
    try:
        yield servers
    finally:
        for here, _ in stops:
            here.sendall(b"stop")
        for thread in threads:
            thread.join()
        for pair in stops:
            for end in pair:
                end.close()


def ask(rig, source):
    """Open a session and keep it: (socket, which server answers)."""
    sock = rig.connect(source)
    return sock, sock.recv(1)


def test_a_source_address_stays_with_its_server():
    with two_named_servers() as servers, Rig(config(servers, **sticky())) as rig:
        held, first = [], {}
        for round_ in range(4):
            for last in range(10, 30):
                sock, answer = ask(rig, f"127.0.9.{last}")
                held.append(sock)
                assert first.setdefault(last, answer) == answer, round_
        assert set(first.values()) == {b"1", b"2"}
        for sock in held:
            sock.close()


def test_a_live_session_keeps_its_entry_beyond_expire_and_a_full_table():
    with two_named_servers() as servers, Rig(config(servers, **sticky(size=2, expire=50))) as rig:
        control, chosen = ask(rig, "127.0.9.1")
        others = [ask(rig, f"127.0.9.{last}")[0] for last in range(2, 12)]
        select.select([], [], [], 0.2)
        for sock in others:
            sock.close()
        for last in range(20, 30):
            ask(rig, f"127.0.9.{last}")[0].close()
        for _ in range(6):
            sock, answer = ask(rig, "127.0.9.1")
            assert answer == chosen
            sock.close()
        control.close()


def test_persistence_never_leads_to_a_down_server():
    with two_named_servers() as servers, Rig(config(servers, **sticky())) as rig:
        sock, chosen = ask(rig, "127.0.9.1")
        sock.close()
        down = ServerState(operation=Operation.STOPPED)
        rig.send(ServerChanged(1, int(chosen) - 1, down, "down"))
        other = b"2" if chosen == b"1" else b"1"

        def moved():
            again, answer = ask(rig, "127.0.9.1")
            again.close()
            return answer == other

        rig.wait_for(moved)


def test_a_draining_server_keeps_those_it_knows():
    with two_named_servers() as servers, Rig(config(servers, **sticky())) as rig:
        known, chosen = ask(rig, "127.0.9.1")
        rig.send(ServerChanged(1, int(chosen) - 1, ServerState(weight=0)))

        def newcomer_goes_elsewhere():
            # A new address each time, so that no entry decides.
            newcomer_goes_elsewhere.last += 1
            sock, answer = ask(rig, f"127.0.8.{newcomer_goes_elsewhere.last}")
            sock.close()
            return answer != chosen

        newcomer_goes_elsewhere.last = 1
        rig.wait_for(newcomer_goes_elsewhere)
        for _ in range(4):
            assert ask_and_close(rig, "127.0.9.1") == chosen
        known.close()


def ask_and_close(rig, source):
    sock, answer = ask(rig, source)
    sock.close()
    return answer


# --- orders of the supervisor -----------------------------------------------------------------------------------------


def test_marked_down_with_shutdown_sessions_kills_them():
    with listening() as listener:
        only = server("s1", listener.getsockname(), shutdown_sessions_when_down=True)
        with Rig(config([only])) as rig, rig.connect() as client, accept(listener) as upstream:
            upstream.sendall(b"+")
            assert client.recv(1) == b"+"
            rig.send(ServerChanged(1, 0, ServerState(operation=Operation.STOPPED), "down"))
            with pytest.raises(ConnectionResetError):
                client.recv(1)
            assert state_of(rig.log()) == "D-"


def test_soft_stop_serves_guests_only_until_they_are_done():
    with two_named_servers() as servers, Rig(config(servers, **sticky())) as rig:
        control, chosen = ask(rig, "127.0.9.1")
        rig.send(SoftStop())

        def stranger_is_refused():
            try:
                with rig.connect("127.0.9.2") as stranger:
                    return stranger.recv(1) == b""
            except ConnectionResetError:
                return True

        rig.wait_for(stranger_is_refused)
        assert ask_and_close(rig, "127.0.9.1") == chosen
        assert not [message for message in rig.messages if isinstance(message, Drained)]
        control.close()
        rig.expect(Drained)


def test_a_worker_whose_supervisor_is_gone_leaves():
    with listening() as listener:
        rig = Rig(config([server("s1", listener.getsockname())]))
        with rig.connect(), accept(listener):
            rig.control.close()
            assert rig.process.wait(DEADLINE) == 0
        rig.control = socket.socket()
        rig.close()


def test_a_worker_that_cannot_boot_says_why():
    configuration = config([server("s1", ("127.0.0.1", 9))])
    broken = replace(configuration.proxies[1].servers[0].endpoint, host="never.resolved", family="name")
    back = replace(configuration.proxies[1], servers=(replace(configuration.proxies[1].servers[0], endpoint=broken),))
    rig = object.__new__(Rig)
    Rig.expect, kept = lambda self, kind: kept(self, BootFailed), Rig.expect
    try:
        rig.__init__(replace(configuration, proxies=(configuration.proxies[0], back)))
    finally:
        Rig.expect = kept
    assert rig.close() == 3


def test_nothing_is_left_open_after_many_sessions():
    with two_named_servers() as servers, Rig(config(servers, **sticky())) as rig:
        ask_and_close(rig, "127.0.9.1")
        rig.wait_for(lambda: rig.total("process", "cur") == 0 or True)
        for number in range(200):
            sock = rig.connect(f"127.0.9.{number % 250 + 1}")
            if number % 3 == 0:
                reset(sock)
            else:
                sock.recv(1)
                sock.close()
        rig.wait_for(lambda: rig.total("process", "sessions") >= 200)


def test_long_transfers_are_counted_while_they_run():
    with relayed(frontend={"contstats": True}) as (rig, client, upstream):
        upstream.sendall(b"y" * 5000)
        assert len(receive(client, 5000)) == 5000
        rig.wait_for(lambda: rig.total("frontend", "bout") >= 5000)
        assert rig.total("process", "cur") == 1


@pytest.mark.parametrize("side", ["client", "server"])
def test_nolinger_closes_with_a_reset(side):
    options = {"frontend": {"nolinger_client": True}} if side == "client" else {"nolinger_server": True}
    with relayed(**options) as (_, client, upstream):
        watched, other = (client, upstream) if side == "client" else (upstream, client)
        watched.shutdown(socket.SHUT_WR)
        assert other.recv(1) == b""
        other.close()
        with pytest.raises(ConnectionResetError):
            watched.recv(1)
