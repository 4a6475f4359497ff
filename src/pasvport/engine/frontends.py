"""A frontend at work in one worker: its listening sockets, whom it lets in, and when it pauses."""

from __future__ import annotations

import _socket
import os
import select
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pasvport import sockets
from pasvport.address import Family, unmapped
from pasvport.engine.account import record_of
from pasvport.engine.counters import FrontendCells, ListenerCells, RateLimit
from pasvport.engine.dialer import OUT_OF_DESCRIPTORS
from pasvport.engine.guests import Guests
from pasvport.engine.plant import Plant, SlotWaiter
from pasvport.engine.relay import Patience, patience
from pasvport.engine.session import Session
from pasvport.model import Bind, Proxy
from pasvport.record import Culprit, Stage
from pasvport.slots import PROCESS, bind_key, frontend_key

if TYPE_CHECKING:
    from pasvport.engine.backends import LiveBackend
    from pasvport.engine.logger import ProxyLogger

_ACCEPTABLE = select.EPOLLIN
_SHARED = select.EPOLLIN | select.EPOLLEXCLUSIVE
_EXPENSIVE = frozenset({"frontend_address", "server_address", "server_port", "source_address", "source_port"})
"""Fields of a record that are filled only when a log format asks for one of them."""
_DEFAULT_BATCH = 64
_WILDCARDS = ("*", "", "0.0.0.0", "::")


class LiveFrontend:
    """What all listeners of one frontend share."""

    def __init__(
        self,
        plant: Plant,
        proxy: Proxy,
        backend: LiveBackend | None,
        logger: ProxyLogger | None,
        guests: Guests,
    ) -> None:
        self.plant = plant
        self.proxy = proxy
        self.backend = backend
        self.logger = logger
        self.guests = guests
        self.log_needs = frozenset() if logger is None else logger.needs & _EXPENSIVE
        self.cells = FrontendCells(plant.counters.layout.frontend[proxy.index], plant.counters.offset)
        self.patience: Patience = patience(proxy, backend.proxy if backend is not None else proxy)
        self.batch = plant.config.settings.maxaccept or _DEFAULT_BATCH
        self.rates = _rates(plant, self.cells, proxy)

    def session_over(self, session: Session) -> None:
        """A session of this frontend ended: give back what it held."""
        cells = self.plant.cells
        cells[self.cells.scur] -= 1
        cells[session.listener.cells.scur] -= 1
        cells[self.plant.process.cur] -= 1
        for gate in session.listener.gates:
            gate.give()
        self.guests.left(session.host)


def _rates(plant: Plant, cells: FrontendCells, proxy: Proxy) -> list[RateLimit]:
    settings, process, counters = plant.config.settings, plant.process, plant.counters
    limits = (
        (process.conn_rate_tick, settings.maxconnrate),
        (process.sess_rate_tick, settings.maxsessrate),
        (cells.sess_rate_tick, proxy.session_rate_limit),
    )
    return [RateLimit(counters, tick, limit) for tick, limit in limits if limit]


class LiveListener:
    """One listening descriptor. Level-triggered: what is left in the queue is reported again."""

    def __init__(self, frontend: LiveFrontend, bind: Bind, number: int, port: int, sock: _socket.socket) -> None:
        plant = frontend.plant
        self.frontend = frontend
        self.plant = plant
        self.port = port
        self.label = bind.label(port)
        self.address = "" if bind.endpoint.host in _WILDCARDS else bind.endpoint.host
        self.cells = ListenerCells(plant.counters.layout.listener[frontend.proxy.index, number], plant.counters.offset)
        self.gates: list[SlotWaiter] = []
        self.bucket: int | None = None
        self._sock = sock
        self._descriptor = sock.fileno()
        self._events = _SHARED if bind.endpoint.family in (Family.UNIX, Family.ABNS, Family.FD) else _ACCEPTABLE
        self._unix = bind.endpoint.family in (Family.UNIX, Family.ABNS)
        self._listening = False
        self._wanted = False

    def open_gates(self, waiters: Mapping[str, SlotWaiter], bind_number: int) -> None:
        """Find the semaphores of the limits that apply here: process, frontend, bind."""
        index = self.frontend.proxy.index
        keys = (PROCESS, frontend_key(index), bind_key(index, bind_number))
        self.gates = [waiters[key] for key in keys if key in waiters]

    # --- pausing --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to accept."""
        self._wanted = True
        self.resume_accepting()

    def stop(self) -> None:
        """Accept no more until start()."""
        self._wanted = False
        self._pause()

    def close(self) -> None:
        """Give the listening socket up for good."""
        self.stop()
        self._sock.close()

    def resume_accepting(self) -> None:
        """The reason for a pause may be over."""
        if self._wanted and not self._listening:
            self._listening = True
            for gate in self.gates:
                gate.rest(self.resume_accepting)
            self.plant.loop.add(self._descriptor, self, self._events)

    def _pause(self) -> None:
        if self._listening:
            self._listening = False
            self.plant.loop.remove(self._descriptor)

    def time_is_up(self, now: float) -> None:
        """A rate limit allows the next connection."""
        self.resume_accepting()

    def feed(self) -> None:
        """Descriptors may be free again."""
        self.resume_accepting()

    def failed(self, error: Exception) -> None:
        """A bug met while accepting: the listener goes on with the next connection."""
        self.plant.report(error)

    # --- accepting ------------------------------------------------------------------------------------------------

    def ready(self, descriptor: int, events: int) -> None:
        """Connections wait: take as many as one batch allows."""
        accept = self._sock._accept  # type: ignore[attr-defined]
        for _ in range(self.frontend.batch):
            if not self._may_accept():
                return
            try:
                client, address = accept()
            except BlockingIOError:
                self._close_gates(len(self.gates))
                return
            except OSError as error:
                self._close_gates(len(self.gates))
                if error.errno in OUT_OF_DESCRIPTORS:
                    self._out_of_descriptors()
                    return
                continue
            self._welcome(client, address)

    def _may_accept(self) -> bool:
        """Take a slot of every limit, or pause until the one that is full, or a rate, lets go on."""
        for limit in self.frontend.rates:
            delay = limit.pause(self.plant.loop.now)
            if delay:
                self._pause()
                self.plant.loop.timers.file(self, self.plant.loop.now + delay, self.plant.loop.now)
                return False
        for number, gate in enumerate(self.gates):
            if not gate.take():
                self._close_gates(number)
                self._pause()
                gate.wait(self.resume_accepting)
                return False
        return True

    def _close_gates(self, count: int) -> None:
        for gate in self.gates[:count]:
            gate.give()

    def _out_of_descriptors(self) -> None:
        self._pause()
        self.plant.exhausted()
        self.plant.starve(self)

    def _welcome(self, client: int, address: tuple[str, int] | str | bytes) -> None:
        """Count the connection and begin its session."""
        os.set_blocking(client, False)
        host, port = ("unix", self._unix_label()) if self._unix else (address[0], address[1])
        assert isinstance(host, str)
        if host.startswith("::ffff:"):
            host = unmapped(host)
        frontend, plant = self.frontend, self.plant
        cells, counters = plant.cells, plant.counters
        cells[frontend.cells.conn_tot] += 1
        cells[plant.process.connections] += 1
        if not frontend.guests.admits(host):
            self._refuse(client)
            return
        for limit in frontend.rates:
            limit.count(plant.loop.now)
        for current, total, most in (
            (frontend.cells.scur, frontend.cells.stot, frontend.cells.smax),
            (self.cells.scur, self.cells.stot, self.cells.smax),
        ):
            cells[current] += 1
            cells[total] += 1
            counters.raise_maximum(most, counters.total(current))
        cells[plant.process.cur] += 1
        cells[plant.process.sessions] += 1
        frontend.guests.came(host)
        session = Session(self, client, host, int(port))
        session.number = cells[plant.process.sessions]
        self._announce(session)
        try:
            session.begin()
        except Exception as error:
            session.failed(error)

    def _unix_label(self) -> int:
        return int(self.label) if self.label.isdigit() else 0

    def _announce(self, session: Session) -> None:
        logger = self.frontend.logger
        if logger is not None and logger.at_accept:
            logger.session_started(record_of(session, Culprit.NONE, Stage.NONE))

    def _refuse(self, client: int) -> None:
        """A new client during a soft stop."""
        self.plant.cells[self.plant.process.strangers_refused] += 1
        borrowed = sockets.borrow(client)
        sockets.reset_on_close(borrowed)
        borrowed.close()
        self._close_gates(len(self.gates))
