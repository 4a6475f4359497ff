"""Accepting: whom a listening socket lets in, and when it pauses."""

from __future__ import annotations

import _socket
import os
import select
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from pasvport import sockets
from pasvport.address import Family, unmapped
from pasvport.digits import is_number
from pasvport.engine.control_channel import ControlChannel
from pasvport.engine.data_ports import DataPorts
from pasvport.engine.dialer import OUT_OF_DESCRIPTORS
from pasvport.engine.frontends import Doorway
from pasvport.engine.plant import SlotWaiter
from pasvport.engine.session import Session
from pasvport.record import Culprit, Stage
from pasvport.slots import PROCESS, bind_key, frontend_key

_set_blocking: Final = os.set_blocking
_ACCEPTABLE: Final[int] = select.EPOLLIN
_SHARED: Final[int] = select.EPOLLIN | select.EPOLLEXCLUSIVE


class LiveListener:
    """One listening descriptor. Level-triggered: what is left in the queue is reported again."""

    session: type[Session] = Session
    """What a connection becomes, in `mode tcp`."""

    def __init__(self, doorway: Doorway, sock: _socket.socket) -> None:
        family = doorway.bind.endpoint.family
        self.doorway = doorway
        self.frontend = doorway.frontend
        self.plant = doorway.frontend.plant
        self.gates = doorway.gates
        self.bucket: int | None = None
        self._sock = sock
        self._descriptor = sock.fileno()
        self._events = _SHARED if family in (Family.UNIX, Family.ABNS, Family.FD) else _ACCEPTABLE
        self._is_unix = family in (Family.UNIX, Family.ABNS)
        self._listening = False
        self._wanted = False
        self._barred = False
        if self.frontend.ftp is not None and not doorway.bind.data:
            self.session = ControlChannel

    @property
    def descriptor(self) -> int:
        """The listening descriptor, by the number under which it was inherited."""
        return self._descriptor

    def open_gates(self, waiters: Mapping[str, SlotWaiter], bind_number: int) -> None:
        """Find the semaphores of the limits that apply here: process, frontend, bind."""
        index = self.frontend.proxy.index
        keys = (PROCESS, frontend_key(index), bind_key(index, bind_number))
        self.gates.extend(waiters[key] for key in keys if key in waiters)

    # --- pausing --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to accept."""
        self._wanted = True
        self.resume_accepting()

    def stop(self) -> None:
        """Accept no more until start()."""
        self._wanted = False
        self._pause()

    def bar(self, barred: bool) -> None:
        """An operator closed this frontend, or opened it again: whatever else is told, nothing is accepted before."""
        self._barred = barred
        if barred:
            self._pause()
        else:
            self.resume_accepting()

    def close(self) -> None:
        """Give the listening socket up for good."""
        self.stop()
        self._sock.close()

    def hand_over(self) -> None:
        """Give the socket up to a successor: serve what already waits in its queue, whoever it is."""
        self.stop()
        while True:
            try:
                client, address = self._sock._accept()  # type: ignore[attr-defined]
            except OSError:
                break
            self._welcome(client, address, admitted=True)
        self._sock.close()

    def resume_accepting(self) -> None:
        """The reason for a pause may be over."""
        if self._wanted and not self._barred and not self._listening:
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

    def _welcome(self, client: int, address: tuple[str | int, ...] | str | bytes, *, admitted: bool = False) -> None:
        """Count the connection and begin its session."""
        _set_blocking(client, False)
        host, port = ("unix", self._unix_label()) if self._is_unix else (address[0], address[1])
        assert isinstance(host, str)
        if host.startswith("::ffff:"):
            host = unmapped(host)
        frontend, plant = self.frontend, self.plant
        cells, counters = plant.cells, plant.counters
        cells[frontend.cells.conn_tot] += 1
        cells[plant.process.connections] += 1
        guests = frontend.guests
        if guests.is_stopping and not admitted and (frontend.ftp is not None or not guests.admits(host)):
            self._refuse(client)
            return
        for limit in frontend.rates:
            limit.count(plant.loop.now)
        counters.enter(frontend.cells)
        counters.enter(self.doorway.cells)
        cells[plant.process.cur] += 1
        number = cells[plant.process.sessions] = cells[plant.process.sessions] + 1
        if guests.is_stopping:
            guests.came(host)
        session = self.session(self.doorway, client, host, int(port), number)
        logger = frontend.logger
        if logger is not None and logger.at_accept:
            logger.session_started(session.record(Culprit.NONE, Stage.NONE))
        try:
            session.begin()
        except Exception as error:
            session.failed(error)

    def _unix_label(self) -> int:
        return int(self.doorway.label) if is_number(self.doorway.label) else 0

    def _refuse(self, client: int) -> None:
        """A new client during a soft stop."""
        self.plant.cells[self.plant.process.strangers_refused] += 1
        borrowed = sockets.borrow(client)
        sockets.reset_on_close(borrowed)
        borrowed.close()
        self._close_gates(len(self.gates))


def leased_ports(listeners: Iterable[LiveListener]) -> Iterator[DataPorts]:
    """The data ports of every frontend in `mode ftp` among those of the listeners, once each."""
    services = {id(each.frontend): each.frontend.ftp for each in listeners}
    return (service.ports for service in services.values() if service is not None)
