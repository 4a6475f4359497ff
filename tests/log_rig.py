"""Records, targets and sinks for the tests of logs, and a real HAProxy that logs what it is told to."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from farm.waiting import until
from pasvport.address import Endpoint, Family
from pasvport.model import Config, Global, Logging, LogTarget, LogTransport, Origin, Proxy
from pasvport.record import SessionRecord
from real_haproxy import HAPROXY

ORIGIN = Origin("test.cfg", 1)

RECORD = SessionRecord(
    accepted=1795403351.476,
    client_address="10.0.1.2",
    client_port="33312",
    frontend_address="10.0.3.31",
    frontend_port="8012",
    frontend="www",
    listener="ctl",
    backend="be",
    server="s1",
    source_address="10.0.0.9",
    source_port="40000",
    server_address="10.0.0.10",
    server_port="21",
    queue_time=1,
    connect_time=2,
    data_time=30,
    total_time=33,
    bytes_in=6,
    bytes_out=11,
    process_connections=1,
    frontend_connections=1,
)


def record(**changes: Any) -> SessionRecord:
    """A fresh record like RECORD."""
    return replace(RECORD, **changes)


def udp_target(port: int, **options: Any) -> LogTarget:
    return LogTarget(ORIGIN, LogTransport.UDP, Endpoint(Family.IPV4, "127.0.0.1", port), **options)


def tcp_target(port: int, **options: Any) -> LogTarget:
    return LogTarget(ORIGIN, LogTransport.TCP, Endpoint(Family.IPV4, "127.0.0.1", port), **options)


def unix_target(path: Path, **options: Any) -> LogTarget:
    return LogTarget(ORIGIN, LogTransport.UNIX_DATAGRAM, Endpoint(Family.UNIX, str(path)), **options)


def fd_target(descriptor: int, **options: Any) -> LogTarget:
    return LogTarget(ORIGIN, LogTransport.DESCRIPTOR, None, descriptor, **options)


def configuration(*targets: LogTarget, settings: Global | None = None, **logging: Any) -> Config:
    """A frontend with these targets; the global section has the same."""
    proxy = Proxy(ORIGIN, "www", 0, 1, True, False, logging=Logging(targets=targets, **logging))
    return Config(replace(settings or Global(), log_targets=targets), (proxy,))


@contextlib.contextmanager
def udp_sink() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(5)
        yield sink


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def waiting_lines(sink: socket.socket) -> list[bytes]:
    """Everything that has arrived; the sender has returned, so on loopback nothing is still under way."""
    lines = []
    patience = sink.gettimeout()
    sink.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            lines.append(sink.recv(65536))
    sink.settimeout(patience)
    return lines


# --- a real HAProxy -----------------------------------------------------------------------------------------------


class Greeter:
    """An FTP server as far as a log is concerned: greets, reads one line, closes."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = port_of(self._socket)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                connection.sendall(b"220 hello\r\n")
                connection.recv(100)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


@dataclass
class LoggingHaproxy:
    """HAProxy with one frontend per log format; every line goes to `sink` without a frame unless `logs` says else."""

    directory: Path
    frontends: Sequence[str]
    settings: str = ""
    logs: Sequence[str] = ("127.0.0.1:{sink} len 8000 format raw local0",)
    server_port: int = 1
    environment: dict[str, str] | None = None
    extra: dict[str, int] = field(default_factory=dict)

    def path(self, number: int) -> Path:
        return self.directory / f"fe{number}.sock"

    def text(self, sink: int) -> str:
        logs = "\n".join(f"  log {line.format(sink=sink, **self.extra)}" for line in self.logs)
        lines = ["global", self.settings, "defaults", "  mode tcp", "  timeout client 5s", "  timeout server 5s"]
        lines += ["  timeout connect 2s", "  retries 0", "  default_backend be", logs]
        for number, body in enumerate(self.frontends):
            lines += [f"frontend fe{number}", f"  bind 127.0.0.1:0 name ctl{number}"]
            lines += [f"  bind unix@{self.path(number)} name local{number}", body]
        lines += ["backend be", f"  server s1 127.0.0.1:{self.server_port}", ""]
        return "\n".join(lines)

    @contextlib.contextmanager
    def running(self, sink: int) -> Iterator[subprocess.Popen[bytes]]:
        file = self.directory / "haproxy.cfg"
        # Port 0 is refused by HAProxy: free ports are found first, and kept reserved until it binds them.
        text, self.ports = self._with_ports(self.text(sink))
        file.write_text(text)
        with (self.directory / "haproxy.out").open("wb") as out:
            process = subprocess.Popen([HAPROXY, "-db", "-f", str(file)], stdout=out, stderr=out, env=self.environment)
        try:
            until(lambda: self._up(process), "HAProxy to listen", 5.0)
            yield process
        finally:
            process.terminate()
            process.wait()

    def _up(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, (self.directory / "haproxy.out").read_text()
        return self.path(len(self.frontends) - 1).exists()

    def _with_ports(self, text: str) -> tuple[str, list[int]]:
        held = [socket.create_server(("127.0.0.1", 0)) for _ in self.frontends]
        ports = [port_of(sock) for sock in held]
        for sock in held:
            sock.close()
        for port in ports:
            text = text.replace("bind 127.0.0.1:0 ", f"bind 127.0.0.1:{port} ", 1)
        return text, ports

    def dial(self, number: int) -> None:
        """One session over TCP: greeting, one line, end."""
        with socket.create_connection(("127.0.0.1", self.ports[number]), 5) as client:
            _converse(client)

    def dial_unix(self, number: int) -> None:
        """The same over the frontend's UNIX socket."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(self.path(number)))
            _converse(client)


def _converse(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        if client.recv(100):
            client.sendall(b"QUIT\r\n")
            client.recv(100)
