"""A stick table whose key is not the source address is one table to all workers, for as long as a session uses it."""

import socket
import threading
import time
from contextlib import contextmanager

from farm.ports import free_ports
from process_rig import DEADLINE, DEFAULTS, Running, connect, source_for


def name_yourself(listener, name, held):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.sendall(name)
        held.append(connection)


@contextmanager
def two_servers():
    """Ports of two servers that say their number and keep the connection."""
    held, threads = [], []
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    for listener, name in zip(listeners, (b"1", b"2"), strict=True):
        thread = threading.Thread(target=name_yourself, args=(listener, name, held))
        thread.start()
        threads.append(thread)
    try:
        yield [listener.getsockname()[1] for listener in listeners]
    finally:
        for listener in listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in threads:
            thread.join(DEADLINE)
        for connection in held:
            connection.close()


def text(port, servers, expire):
    return (
        f"global\n    nbthread 2\n{DEFAULTS}"
        f"frontend fe\n    bind 127.0.0.1:{port}\n    default_backend be\n"
        f"backend be\n    balance roundrobin\n"
        f"    stick-table type integer size 10 expire {expire}\n    stick on dst_port\n"
        f"    server s1 127.0.0.1:{servers[0]}\n    server s2 127.0.0.1:{servers[1]}\n"
    )


def ask(port, worker):
    with connect(port, source_for(worker)) as client:
        return client.recv(1)


def test_what_one_worker_learns_the_other_knows(tmp_path):
    port = free_ports(1)[0]
    with two_servers() as servers, Running(tmp_path, text(port, servers, "1m")):
        answers = [ask(port, number % 2) for number in range(20)]
        assert len(set(answers)) == 1


def test_a_live_session_keeps_its_entry_in_every_worker(tmp_path):
    port = free_ports(1)[0]
    with (
        two_servers() as servers,
        Running(tmp_path, text(port, servers, "4s")),
        connect(port, source_for(0)) as control,
    ):
        wanted = control.recv(1)
        over = time.monotonic() + 6
        while time.monotonic() < over:
            # Nothing to wait for but time itself: longer than `expire`, without a connection in worker 1.
            time.sleep(0.5)
        assert ask(port, 1) == wanted
