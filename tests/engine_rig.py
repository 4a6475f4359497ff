"""A worker process of its own, driven without a supervisor: hand-made Config in, connections through, messages out."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from dataclasses import replace

from pasvport import slots, sockets
from pasvport.address import Endpoint, Family, PortRange
from pasvport.engine.counters import Counters
from pasvport.model import (
    Bind,
    Config,
    Global,
    Logging,
    LogTarget,
    LogTransport,
    Origin,
    PortMap,
    Proxy,
    Server,
    ServerPort,
)
from pasvport.record import CounterLayout, ServerState
from pasvport.wire import FROM_WORKER, Deframer, HardStop, Listener, Ready, Start, encode

ORIGIN = Origin("test.cfg", 1)
DEADLINE = 10.0


def loopback(port=0, host="127.0.0.1"):
    return Endpoint(Family.IPV4, host, port)


def bind(**options):
    return Bind(ORIGIN, loopback(), PortRange(0, 0), **options)


def server(name, address, number=1, **options):
    endpoint = loopback(address[1], address[0])
    return Server(ORIGIN, name, number, endpoint, ServerPort(PortMap.FIXED, address[1]), **options)


def config(servers, settings=None, frontend=None, **backend):
    """A frontend `fe` with one bind in front of a backend `be`."""
    front = Proxy(ORIGIN, "fe", 0, 2, is_frontend=True, is_backend=False, binds=(bind(),), default_backend="be")
    back = Proxy(ORIGIN, "be", 1, 3, is_frontend=False, is_backend=True, servers=tuple(servers), **backend)
    return Config(settings or Global(), (replace(front, **(frontend or {})), back), ("test.cfg",))


def udp_target(address):
    return LogTarget(ORIGIN, LogTransport.UDP, loopback(address[1], address[0]))


TCPLOG = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq"


class Rig:
    """One worker process. `connect()` reaches its first listener; `log()` waits for one line; close() reaps it."""

    def __init__(
        self,
        configuration,
        *,
        log_format=TCPLOG,
        log_options=None,
        states=None,
        program=("-m", "pasvport.engine.worker"),
    ):
        self.sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sink.bind(("127.0.0.1", 0))
        self.sink.settimeout(DEADLINE)
        logging = Logging(targets=(udp_target(self.sink.getsockname()),), format=log_format, **(log_options or {}))
        front = replace(configuration.proxies[0], logging=logging)
        self.config = replace(configuration, proxies=(front, *configuration.proxies[1:]))
        self.layout = CounterLayout(self.config)
        self.program = program
        self._open()
        self._spawn(states)

    def _open(self):
        settings = self.config.settings
        front = self.config.proxies[0]
        self.listener = sockets.listen(front.binds[0], 0, front, settings, reuse=False)
        self.address = self.listener.getsockname()[:2]
        self.memory = os.memfd_create("counters")
        os.ftruncate(self.memory, self.layout.size)
        self.counters = Counters([self.memory], self.layout, 0)
        self.slots = slots.create(self.config, process_maxconn=settings.maxconn)
        self.control, self._theirs = socket.socketpair()
        self._log_here, self._log_there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def _spawn(self, states):
        passed = [self.listener, self._theirs, self._log_there, self.memory, *self.slots.values()]
        self.process = subprocess.Popen(
            [sys.executable, *self.program, str(self._theirs.fileno())],
            pass_fds=[item if isinstance(item, int) else item.fileno() for item in passed],
        )
        log_descriptor = self._log_there.fileno()
        self._theirs.close()
        self._log_there.close()
        every = [
            (proxy.index, number, (states or {}).get(number) or ServerState(weight=each.weight))
            for proxy in self.config.proxies
            for number, each in enumerate(proxy.servers)
        ]
        self.send(
            Start(
                config=self.config,
                worker=0,
                workers=1,
                listeners=(Listener(0, 0, self.address[1], self.listener.fileno()),),
                counters=(self.memory,),
                logs=log_descriptor,
                slots=tuple(self.slots.items()),
                states=tuple(every),
                process_id=os.getpid(),
            )
        )
        self._deframer = Deframer(FROM_WORKER)
        self.messages = []
        self.expect(Ready)

    def send(self, message):
        self.control.sendall(encode(message))

    def expect(self, kind):
        """The next message of that kind; others are kept in `messages`."""
        deadline = time.monotonic() + DEADLINE
        while True:
            for message in self.messages:
                if isinstance(message, kind):
                    self.messages.remove(message)
                    return message
            if not select.select([self.control], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"no {kind.__name__} in time; got {self.messages}")
            data = self.control.recv(65536)
            assert data, "the worker left"
            self.messages.extend(self._deframer.feed(data))

    def connect(self, source="127.0.0.1", **options):
        sock = socket.create_connection(self.address, timeout=DEADLINE, source_address=(source, 0))
        for name, value in options.items():
            sock.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        return sock

    def log(self):
        """The fields of the next log line after the syslog header."""
        line = self.sink.recv(4096).decode()
        return line.split("]: ", 1)[1].strip()

    def total(self, kind, name, index=0, number=0):
        block = {
            "process": lambda: self.layout.process,
            "frontend": lambda: self.layout.frontend[index],
            "backend": lambda: self.layout.backend[index],
            "server": lambda: self.layout.server[index, number],
        }[kind]()
        return self.counters.total(block.slot(name))

    def wait_for(self, condition):
        """Poll the shared counters until `condition()` holds."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            assert time.monotonic() < deadline, "condition not met in time"
            select.select([], [], [], 0.002)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def close(self):
        with contextlib.suppress(OSError):
            self.send(HardStop())
        status = self.process.wait(DEADLINE)
        for item in (self.listener, self.control, self.sink, self._log_here):
            item.close()
        self.counters.dispose()
        for descriptor in (self.memory, *self.slots.values()):
            os.close(descriptor)
        return status

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
