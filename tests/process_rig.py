"""A whole pasvport process under test: configuration text in, signals in, messages, statuses and sessions out."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
from contextlib import contextmanager, suppress

from farm.balancers import until_serving
from farm.processes import Child, command_line, descendants, is_running, parents
from farm.waiting import until
from pasvport.address import packed
from pasvport.steering import worker_of

COMMAND = [sys.executable, "-m", "pasvport"]
DEADLINE = 10.0
DEFAULTS = """
defaults
    mode tcp
    timeout client 20s
    timeout server 20s
    timeout connect 5s
"""


def configuration(port, upstream, *, settings="", frontend="", server=""):
    """One frontend `fe` on `port` in front of one server, without checks."""
    return (
        f"global\n    nbthread 2\n{settings}{DEFAULTS}"
        f"frontend fe\n    bind 127.0.0.1:{port}\n{frontend}    default_backend be\n"
        f"backend be\n    server s 127.0.0.1:{upstream} {server}\n"
    )


class Upstream:
    """A server that the test itself plays: `accept()` gives the next connection the balancer opened."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(DEADLINE)
        self.port = self.listener.getsockname()[1]

    def accept(self):
        connection, _ = self.listener.accept()
        connection.settimeout(DEADLINE)
        return connection

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.listener.close()


def source_for(worker, workers=2):
    """A loopback address that is steered to that worker."""
    return next(host for n in range(2, 250) if worker_of(packed(host := f"127.0.0.{n}"), workers) == worker)


def connect(port, source="127.0.0.1", host="127.0.0.1"):
    return socket.create_connection((host, port), timeout=DEADLINE, source_address=(source, 0))


@contextmanager
def session(port, upstream, source="127.0.0.1"):
    """(client, server) of one relayed connection, proven by a byte each way."""
    with connect(port, source) as client, upstream.accept() as server:
        talk(client, server)
        yield client, server


def talk(client, server):
    """One exchange through the balancer."""
    client.sendall(b"ping")
    assert server.recv(4) == b"ping"
    server.sendall(b"pong")
    assert client.recv(4) == b"pong"


def is_cut(connection):
    """Whether the balancer ended this connection, one way or the other."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


class Running(Child):
    """`pasvport FLAGS -f FILE -p FILE` until every worker accepts; `messages()` is what it said."""

    def __init__(self, folder, text, *flags, name="one", wait=True, command=COMMAND, inherited=(), **environment):
        self.file = folder / f"{name}.cfg"
        self.file.write_text(text)
        self.pidfile = folder / f"{name}.pid"
        self.pidfile.unlink(missing_ok=True)
        words = [*command, "-p", str(self.pidfile), "-f", str(self.file), *flags]
        super().__init__(words, folder / f"{name}.log", env={**os.environ, **environment}, inherited=inherited)
        if wait:
            self.wait_until_serving()

    def wait_until_serving(self):
        until_serving(self, self.pidfile)

    def messages(self):
        return self.output()

    def wait_for(self, pattern):
        """The match of a message, when it comes."""
        return until(lambda: re.search(pattern, self.messages()), f"{pattern!r} in {self.messages()!r}", DEADLINE)

    def workers(self):
        """Process ids of the workers, oldest first."""
        return workers_of(self.pid)

    def signal(self, number):
        self.process.send_signal(number)

    def ends(self):
        """The exit status, once it has ended by itself."""
        return self.process.wait(DEADLINE)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.stop()
        assert not self.survivors, self.survivors


def workers_of(pid):
    found = [
        child for child in descendants(pid) if is_running(child) and b"pasvport.engine.worker" in command_line(child)
    ]
    return sorted(found)


def kill(pid, number=signal.SIGKILL):
    os.kill(pid, number)


def until_gone(pids):
    """Wait until none of these runs; our own children among them are reaped."""

    def gone():
        for pid in pids:
            if parents().get(pid) == os.getpid():
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)
        return not any(map(is_running, pids))

    until(gone, f"{pids} to end")
