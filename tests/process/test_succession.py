"""`-sf` under load: one process after another takes the ports over, and no client notices."""

import socket
import threading

from farm.ports import free_ports
from process_rig import DEADLINE, Running, configuration, connect


class Load:
    """Clients that connect, read one byte and leave, over and over."""

    def __init__(self, port, clients):
        self.served = 0
        self.failures = []
        self._port = port
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._visit, args=(f"127.0.7.{n + 1}",)) for n in range(clients)]

    def _visit(self, source):
        while not self._over.wait(0.002):
            try:
                with connect(self._port, source) as client:
                    assert client.recv(1) == b"x"
                    self.served += 1
            except (OSError, AssertionError) as error:
                self.failures.append(error)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc):
        self._over.set()
        for thread in self._threads:
            thread.join()


def greet(listener):
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"x")


def test_no_client_notices_a_succession(tmp_path):
    port = free_ports(1)[0]
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        server = threading.Thread(target=greet, args=(listener,))
        server.start()
        text = configuration(port, listener.getsockname()[1])
        generations = [Running(tmp_path, text, name="first")]
        try:
            with Load(port, 6) as load:
                for number in range(3):
                    old = generations[-1]
                    generations.append(Running(tmp_path, text, "-sf", str(old.pid), name=f"next{number}"))
                    assert old.ends() == 0
            assert not load.failures
            assert load.served > 100
        finally:
            for each in generations:
                each.stop()
            listener.shutdown(socket.SHUT_RDWR)
    server.join(DEADLINE)
