"""From accept to a slot: a session chooses a server by stick table or algorithm, and waits where all are full.

A session is made of floors: `Relay` moves bytes, `Seeker` finds a server, `Connector` reaches it, `Session` counts and
records the end.
"""

from __future__ import annotations

import socket
from enum import IntEnum
from typing import Final

from pasvport.engine.backends import LiveBackend, LiveServer
from pasvport.engine.connected import local_address
from pasvport.engine.frontends import Doorway
from pasvport.engine.loop import INWARD
from pasvport.engine.relay import Relay
from pasvport.engine.tables import LiveTable
from pasvport.engine.timers import NEVER
from pasvport.record import Culprit, Stage
from pasvport.stick.table import Entry

_NO_QUEUES = (0, 0)


class Phase(IntEnum):
    """Where a session stands."""

    ASSIGNING = 0
    QUEUED = 1
    CONNECTING = 2
    RETRYING = 3
    ESTABLISHED = 4
    OVER = 5


# As in `pump`: named for every event, and cheaper by these names.
ASSIGNING: Final = Phase.ASSIGNING
QUEUED: Final = Phase.QUEUED
CONNECTING: Final = Phase.CONNECTING
RETRYING: Final = Phase.RETRYING
ESTABLISHED: Final = Phase.ESTABLISHED
OVER: Final = Phase.OVER


class Seeker(Relay):
    """Satisfies stick.keys.Endpoints, so that keys are computed from it directly; backends.Waiting; dialer.Caller."""

    __slots__ = (
        "_source",
        "accepted_at",
        "backend",
        "client_events",
        "connected_at",
        "deadline",
        "direct",
        "doorway",
        "entries",
        "failures",
        "host",
        "learnt",
        "phase",
        "pick",
        "port",
        "queue_owner",
        "queued_at",
        "queues",
        "redispatched",
        "served",
        "source_port_used",
        "taken_at",
    )

    def __init__(self, doorway: Doorway, descriptor: int, host: str, port: int) -> None:
        frontend = doorway.frontend
        Relay.__init__(self, frontend.plant, descriptor, frontend.patience)
        self.certain = doorway.certain
        self.doorway = doorway
        self.backend: LiveBackend | None = frontend.backend
        self.host = host
        self.port = port
        self._source: bytes | None = None
        self.accepted_at = self.client_seen
        self.queued_at = self.taken_at = self.connected_at = 0.0
        self.deadline = NEVER
        """When what this phase waits for must have happened."""
        self.phase: Phase = ASSIGNING
        self.pick: LiveServer | None = None
        """The server last chosen; `served` tells whether its slot and counters are ours."""
        self.served = False
        self.direct = False
        self.failures = 0
        self.redispatched = False
        self.client_events = 0
        self.queue_owner: LiveServer | None = None
        self.queues = _NO_QUEUES
        self.entries: list[tuple[LiveTable, Entry]] | None = None
        self.learnt = False
        self.source_port_used = 0

    # --- endpoints ------------------------------------------------------------------------------------------------

    @property
    def source(self) -> bytes:
        """The client's packed address (empty for a UNIX client)."""
        if self._source is None:
            self._source = _pack(self.host)
        return self._source

    @property
    def source_port(self) -> int:
        return self.port

    @property
    def destination(self) -> bytes:
        return _pack(local_address(self.client)[0])

    @property
    def destination_port(self) -> int:
        return self.doorway.port or local_address(self.client)[1]

    @property
    def user(self) -> bytes:
        return b""

    @property
    def virtual_host(self) -> bytes:
        return b""

    @property
    def listener(self) -> str:
        return self.doorway.bind.name or ""

    def names(self) -> tuple[str, str, str]:
        """Of the frontend, the backend and the server; "" for what is not chosen yet."""
        backend, server = self.backend, self.pick
        return (
            self.doorway.frontend.proxy.name,
            backend.proxy.name if backend is not None else "",
            server.model.name if server is not None else "",
        )

    # --- choosing a server ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Accepted and counted: find a server."""
        plant = self.plant
        plant.loop.add(self.client, self, INWARD)
        backend = self.backend
        if backend is None:
            self._stop(Culprit.SERVER_ABORT, Stage.CONNECT)
            return
        plant.counters.enter(backend.cells)
        server = backend.persistent(self) if backend.rules else None
        self.direct = server is not None
        self._assign(server)

    def _assign(self, server: LiveServer | None) -> None:
        """Connect to `server`, or to whom the algorithm chooses, or wait for a slot."""
        backend = self.backend
        assert backend is not None
        if server is None:
            before = self.pick
            if not backend.has_usable:
                self._stop(Culprit.SERVER_ABORT, Stage.CONNECT)
                return
            server = backend.choose(self, before.index if before is not None else -1)
            if server is None:
                self._wait_for(None)
                return
            self._count_change(before, server)
        if server.queue or not backend.claim(server):
            self._wait_for(server)
            return
        self._take(server)

    def _count_change(self, before: LiveServer | None, server: LiveServer) -> None:
        backend = self.backend
        assert backend is not None
        if before is None:
            return
        cells = self.plant.cells
        if before is server:
            cells[backend.cells.wretr] += 1
            cells[server.cells.wretr] += 1
            return
        self.redispatched = True
        cells[backend.cells.wredis] += 1
        cells[before.cells.wredis] += 1

    def _wait_for(self, server: LiveServer | None) -> None:
        backend = self.backend
        assert backend is not None
        if server is not None and server.model.maxqueue and len(server.queue) >= server.model.maxqueue:
            if self.direct and backend.proxy.redispatch:
                self.direct = False
                self.pick = server
                self._assign(None)
            else:
                self.pick = server
                self._count_failure(server)
                self._stop(Culprit.SERVER_ABORT, Stage.QUEUE)
            return
        now = self.plant.loop.now
        self.phase = QUEUED
        self.queue_owner = server
        self.queued_at = self.queued_at or now
        waiting = len(backend.queue if server is None else server.queue)
        self.queues = (self.queues[0], waiting + 1) if server is None else (waiting + 1, self.queues[1])
        backend.enqueue(self, server)
        self._wait_until(self.queued_at + self.patience.queue)
        backend.serve_queues()

    def slot_granted(self, server: LiveServer) -> None:
        """A queue gave this session its turn: the slot is taken already."""
        self.queue_owner = None
        self._take(server)

    def requeue(self) -> None:
        """The server that this session waited for is gone."""
        self.phase = ASSIGNING
        self.queue_owner = None
        self.direct = False
        self._assign(None)

    def _take(self, server: LiveServer) -> None:
        """The server's slot is ours: count it, remember the choice, connect."""
        plant, backend = self.plant, self.backend
        assert backend is not None
        self.pick = server
        self.served = True
        plant.counters.enter(server.cells)
        if server.moved is not None:
            server.moved(server.index)
        if not self.taken_at:
            self.taken_at = plant.loop.now
        if backend.rules and not (self.direct and backend.learns_what_it_matches):
            backend.learn(self, server)
        self.dial()

    def use_entry(self, table: LiveTable, entry: Entry) -> None:
        """Keep a stick entry alive as long as this session; each at most once."""
        if self.entries is None:
            self.entries = [(table, entry)]
        elif any(held is entry for _, held in self.entries):
            return
        else:
            self.entries.append((table, entry))
        table.table.pin(entry)
        if table.table.counts:
            table.table.session_started(entry, self.plant.loop.now)

    def ready(self, descriptor: int, events: int) -> None:
        """epoll reported events on one of the two descriptors."""
        raise NotImplementedError

    def dial(self) -> None:
        """Start one connection attempt to `pick`."""
        raise NotImplementedError

    def _count_failure(self, server: LiveServer) -> None:
        backend = self.backend
        assert backend is not None
        self.plant.cells[backend.cells.econ] += 1
        self.plant.cells[server.cells.econ] += 1

    def _wait_until(self, deadline: float) -> None:
        self.deadline = deadline
        self.wake_by(deadline)

    def is_served_by(self, server: LiveServer) -> bool:
        """Whether the session has a slot of that server."""
        return self.served and self.pick is server

    def is_on_backup_of(self, backend: LiveBackend) -> bool:
        """Whether a backup server of that backend serves the session."""
        return self.served and self.backend is backend and self.pick is not None and self.pick.model.backup

    # --- giving up what it holds ----------------------------------------------------------------------------------

    def _stop(self, culprit: Culprit, stage: Stage) -> None:
        if self.phase is not OVER:
            self.end(culprit, stage)

    def _release_server(self) -> None:
        server, backend = self.pick, self.backend
        if not self.served or server is None or backend is None:
            return
        self.served = False
        self.plant.cells[server.cells.scur] -= 1
        if server.moved is not None:
            server.moved(server.index)
        if server.slot is not None:
            server.slot.give()

    def _return_source_port(self) -> None:
        if self.source_port_used and self.pick is not None and self.pick.ports is not None:
            self.pick.ports.append(self.source_port_used)
        self.source_port_used = 0

    def leave(self) -> None:
        """Give back queue place, source port and the server's slot, and leave the backend."""
        backend = self.backend
        if backend is not None and self.phase is QUEUED:
            backend.leave_queue(self, self.queue_owner)
            self.taken_at = self.plant.loop.now
        if self.source_port_used:
            self._return_source_port()
        self._release_server()
        if backend is not None:
            self.plant.cells[backend.cells.scur] -= 1

    def release_entries(self, bytes_in: int, bytes_out: int) -> None:
        """The stick entries of this session may expire again."""
        now = self.plant.loop.now
        for table, entry in self.entries or ():
            if table.table.counts:
                table.table.session_ended(entry, bytes_in, bytes_out, now)
            table.table.release(entry, now)
            if self.learnt and not self.connected_at and not entry.users:
                # We named a server that we never reached: the client's next try is free to choose.
                table.table.forget(entry.key)
        self.entries = None


def _pack(host: str) -> bytes:
    if ":" not in host:
        return socket.inet_aton(host) if "." in host else b""
    if "%" in host:
        host = host.partition("%")[0]
    return socket.inet_pton(socket.AF_INET6, host)
