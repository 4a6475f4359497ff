"""Data ports that listen from the start, because sessions may go blind (`option ftp-auth-tls pass`).

Whoever comes is brought to the lease that waits for it, to the server of a blind session of the same address, or to the
one that the stick table names (a session that another worker, or the process before a reload, let go blind); everybody
else is turned away.

A session holds its slots of `maxconn` already: who is awaited takes none, for no session could transfer a file where
they are all taken. Nor does one connection of each blind session where none is left.
"""

from __future__ import annotations

import _socket
from collections.abc import Mapping

from pasvport.address import unmapped
from pasvport.engine.backends import LiveServer
from pasvport.engine.connected import dialled_address, local_address
from pasvport.engine.dialer import dial_data, literal_address
from pasvport.engine.frontends import Doorway
from pasvport.engine.listeners import LiveListener
from pasvport.engine.loop import INWARD
from pasvport.engine.plant import SlotWaiter
from pasvport.engine.session import Session
from pasvport.record import Culprit, SessionRecord, Stage


class BlindData(Session):
    """A data connection of a blind session: relayed as in `mode tcp`, to the same port of the session's server."""

    __slots__ = ()

    def begin(self) -> None:
        """Accepted and counted: the server is known."""
        plant, service = self.plant, self.doorway.frontend.ftp
        assert service is not None
        plant.loop.add(self.client, self, INWARD)
        session = service.blind_session(self.host)
        self.backend = backend = session.backend if session is not None else service.backend
        if backend is None:
            self._stop(Culprit.SERVER_ABORT, Stage.CONNECT)
            return
        plant.counters.enter(backend.cells)
        server = session.pick if session is not None else backend.persistent(self)
        if server is None:
            plant.cells[service.cells.ftp_stranger] += 1
            self._stop(Culprit.PROXY, Stage.CONNECT)
            return
        self.direct = True
        self._assign(server)

    def open_connection(self, server: LiveServer) -> int:
        """Whatever port the server line names: the client was told this one."""
        return dial_data(self, server, literal_address(self, server), self.destination_port)

    def over(self, culprit: Culprit, stage: Stage) -> None:
        """As every session; another one may borrow the slot."""
        Session.over(self, culprit, stage)
        service = self.doorway.frontend.ftp
        if self.doorway.borrows and service is not None:
            service.return_slot(self.host)

    def record(self, culprit: Culprit, stage: Stage) -> SessionRecord:
        """Whose it is only the encrypted dialogue knows; the record may have been another session's before."""
        record = Session.record(self, culprit, stage)
        record.backend = self.backend.proxy.name if self.backend is not None else self.doorway.frontend.proxy.name
        record.ftp = None
        return record


class StandingDoor(LiveListener):
    """One listening socket of the range."""

    session = BlindData

    def __init__(self, doorway: Doorway, sock: _socket.socket) -> None:
        LiveListener.__init__(self, doorway, sock)
        service = doorway.frontend.ftp
        assert service is not None
        self._service = service
        self._within = doorway
        self._beyond = Doorway(doorway.frontend, doorway.bind, doorway.number, doorway.port)
        self._beyond.borrows = True
        self.gates = []

    def open_gates(self, waiters: Mapping[str, SlotWaiter], bind_number: int) -> None:
        """Find the semaphores of the limits; none is asked before it is known who came."""
        LiveListener.open_gates(self, waiters, bind_number)
        self._within.gates, self.gates = self.gates, []

    def _may_accept(self) -> bool:
        return True

    def _welcome(self, client: int, address: tuple[str | int, ...] | str | bytes, *, admitted: bool = False) -> None:
        host = unmapped(str(address[0]))
        service, ports = self._service, self._service.ports
        here, port = dialled_address(client), local_address(client)[1]
        door = ports.awaited(here, port, host)
        if door is not None:
            ports.arrived(door, client, host)
        elif service.backend is None or not (service.blind_session(host) or service.backend.rules):
            ports.turn_away(client)
        else:
            # A soft stop refuses sessions in this mode, not what a session brings.
            admitted = admitted or service.blind_session(host) is not None
            doorway = self._doorway_for(host, refused=self.frontend.guests.is_stopping and not admitted)
            if doorway is None:
                ports.turn_away(client)
            else:
                self.doorway = doorway
                LiveListener._welcome(self, client, address, admitted=admitted)

    def _doorway_for(self, host: str, *, refused: bool) -> Doorway | None:
        """Where a session takes the slots, or borrows them; None where it may do neither."""
        if refused:
            return self._beyond
        gates = self._within.gates
        for number, gate in enumerate(gates):
            if not gate.take():
                for taken in gates[:number]:
                    taken.give()
                return self._beyond if self._service.borrow_slot(host) else None
        return self._within
