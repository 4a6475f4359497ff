"""A session: one client connection from accept to its log line. Chooses a server, waits, connects, relays, ends."""

from __future__ import annotations

import errno
import random
import select
import socket
from enum import IntEnum
from typing import TYPE_CHECKING

from pasvport import sockets
from pasvport.engine.account import count_end, count_times, record_of
from pasvport.engine.backends import LiveBackend, LiveServer, LiveTable
from pasvport.engine.dialer import OURS, OUT_OF_DESCRIPTORS, dial, local_address, met_a_server
from pasvport.engine.loop import READABLE
from pasvport.engine.relay import Relay
from pasvport.model import Algorithm
from pasvport.record import Culprit, Stage
from pasvport.stick.table import Entry

if TYPE_CHECKING:
    from pasvport.engine.frontends import LiveFrontend, LiveListener

_GONE = select.EPOLLHUP | select.EPOLLERR
_RETRY_DELAY = 1.0
_ROUND_ROBIN_KIND = (Algorithm.ROUNDROBIN, Algorithm.STATIC_RR, Algorithm.RANDOM)


class Phase(IntEnum):
    """Where a session stands."""

    ASSIGNING = 0
    QUEUED = 1
    CONNECTING = 2
    RETRYING = 3
    ESTABLISHED = 4
    OVER = 5


_STAGES = {
    Phase.ASSIGNING: Stage.CONNECT,
    Phase.QUEUED: Stage.QUEUE,
    Phase.CONNECTING: Stage.CONNECT,
    Phase.RETRYING: Stage.CONNECT,
    Phase.ESTABLISHED: Stage.DATA,
}


class Session(Relay):
    """Satisfies stick.keys.Endpoints, so that keys are computed from it directly."""

    __slots__ = (
        "_source",
        "accepted_at",
        "backend",
        "client_events",
        "connected_at",
        "counted",
        "direct",
        "entries",
        "failures",
        "frontend",
        "host",
        "learnt",
        "listener",
        "logged",
        "number",
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

    def __init__(self, listener: LiveListener, descriptor: int, host: str, port: int) -> None:
        frontend = listener.frontend
        super().__init__(frontend.plant, descriptor, frontend.patience)
        self.frontend: LiveFrontend = frontend
        self.listener = listener
        self.backend: LiveBackend | None = frontend.backend
        self.host = host
        self.port = port
        self._source: bytes | None = None
        self.accepted_at = self.client_seen
        self.queued_at = self.taken_at = self.connected_at = 0.0
        self.phase = Phase.ASSIGNING
        self.pick: LiveServer | None = None
        """The server last chosen; `served` tells whether its slot and counters are ours."""
        self.served = False
        self.direct = False
        self.failures = 0
        self.redispatched = False
        self.client_events = 0
        self.counted = (0, 0)
        self.queue_owner: LiveServer | None = None
        self.queues = (0, 0)
        self.entries: list[tuple[LiveTable, Entry]] | None = None
        self.learnt = False
        self.logged = False
        self.source_port_used = 0
        self.number = 0

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
    def bytes_in(self) -> int:
        """Bytes the client sent."""
        return self.upload.taken if self.upload is not None else 0

    @property
    def bytes_out(self) -> int:
        """Bytes the server sent."""
        return self.download.taken if self.download is not None else 0

    @property
    def destination(self) -> bytes:
        return _pack(local_address(self.client)[0])

    @property
    def destination_port(self) -> int:
        return self.listener.port or local_address(self.client)[1]

    # --- choosing a server ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Accepted and counted: find a server."""
        plant = self.plant
        plant.loop.add(self.client, self)
        backend = self.backend
        if backend is None:
            self._stop(Culprit.SERVER_ABORT, Stage.CONNECT)
            return
        cells, counters = plant.cells, plant.counters
        cells[backend.cells.scur] += 1
        cells[backend.cells.stot] += 1
        counters.raise_maximum(backend.cells.smax, counters.total(backend.cells.scur))
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
        self.phase = Phase.QUEUED
        self.queue_owner = server
        self.queued_at = self.queued_at or now
        waiting = len(backend.queue if server is None else server.queue)
        self.queues = (self.queues[0], waiting + 1) if server is None else (waiting + 1, self.queues[1])
        backend.enqueue(self, server)
        self.plant.loop.timers.file(self, self.queued_at + self.patience.queue, now)
        backend.serve_queues()

    def slot_granted(self, server: LiveServer) -> None:
        """A queue gave this session its turn: the slot is taken already."""
        self.queue_owner = None
        self._take(server)

    def requeue(self) -> None:
        """The server that this session waited for is gone."""
        self.phase = Phase.ASSIGNING
        self.queue_owner = None
        self.direct = False
        self._assign(None)

    def _take(self, server: LiveServer) -> None:
        """The server's slot is ours: count it, remember the choice, connect."""
        plant, backend = self.plant, self.backend
        assert backend is not None
        self.pick = server
        self.served = True
        cells, counters = plant.cells, plant.counters
        cells[server.cells.scur] += 1
        cells[server.cells.stot] += 1
        counters.raise_maximum(server.cells.smax, counters.total(server.cells.scur))
        backend.pool.took(server.index)
        if not self.taken_at:
            self.taken_at = plant.loop.now
        if backend.rules:
            backend.learn(self, server)
        self.dial()

    def use_entry(self, table: LiveTable, entry: Entry) -> None:
        """Keep a stick entry alive as long as this session; each at most once."""
        if self.entries is None:
            self.entries = []
        elif any(held is entry for _, held in self.entries):
            return
        table.table.pin(entry)
        table.table.session_started(entry, self.plant.loop.now)
        self.entries.append((table, entry))

    # --- connecting -----------------------------------------------------------------------------------------------

    def dial(self) -> None:
        """Start one connection attempt to the chosen server."""
        server, backend, plant = self.pick, self.backend, self.plant
        assert server is not None
        assert backend is not None
        self.phase = Phase.CONNECTING
        try:
            self.server = dial(self, server)
        except OSError as error:
            self._could_not_dial(error.errno or errno.EIO)
            return
        plant.cells[backend.cells.connect] += 1
        plant.cells[server.cells.connect] += 1
        plant.loop.add(self.server, self)
        plant.loop.timers.file(self, plant.loop.now + self.patience.connect, plant.loop.now)

    def feed(self) -> None:
        """Descriptors may be free again."""
        if self.phase is Phase.RETRYING:
            self.dial()

    def _could_not_dial(self, code: int) -> None:
        """An attempt ended before it began: for want of a descriptor, by our fault, or because nobody is there."""
        self._return_source_port()
        if code in OUT_OF_DESCRIPTORS:
            self.phase = Phase.RETRYING
            self.plant.loop.timers.cancel(self)
            self.plant.starve(self)
        elif code in OURS:
            assert self.pick is not None
            self._count_failure(self.pick)
            self._stop(Culprit.RESOURCE, Stage.CONNECT)
        else:
            self._attempt_failed(timed_out=False)

    def _connecting_events(self, events: int) -> None:
        if events & _GONE and not met_a_server(self.server):
            self._hang_up_server()
            self._attempt_failed(timed_out=False)
        elif events & (select.EPOLLOUT | _GONE):
            self._connected(events)

    def _hang_up_server(self) -> None:
        if self.server >= 0:
            self.plant.loop.close(self.server)
            self.server = -1
        self._return_source_port()

    def _return_source_port(self) -> None:
        if self.source_port_used and self.pick is not None and self.pick.ports is not None:
            self.pick.ports.append(self.source_port_used)
        self.source_port_used = 0

    def _connected(self, events: int) -> None:
        server, backend = self.pick, self.backend
        assert server is not None
        assert backend is not None
        self.phase = Phase.ESTABLISHED
        self.connected_at = self.plant.loop.now
        backend.observe(server, good=True)
        self.establish()
        logger = self.frontend.logger
        if logger is not None and logger.at_connect:
            self.logged = True
            logger.session_connected(record_of(self, Culprit.NONE, Stage.NONE))
        if self.client_events:
            waiting, self.client_events = self.client_events, 0
            self.relay_events(self.client, waiting & ~select.EPOLLOUT)
        if events & READABLE and self.phase is Phase.ESTABLISHED:
            self.relay_events(self.server, events)

    # --- failing and trying again ---------------------------------------------------------------------------------

    def _attempt_failed(self, *, timed_out: bool) -> None:
        """One attempt failed: try again as `retries` and `option redispatch` allow, else give up (SC or sC)."""
        server, backend = self.pick, self.backend
        assert server is not None
        assert backend is not None
        backend.observe(server, good=False)
        self.failures += 1
        if self.failures > backend.proxy.retries:
            self.failures = backend.proxy.retries
            self._count_failure(server)
            self._stop(Culprit.SERVER_TIMEOUT if timed_out else Culprit.SERVER_ABORT, Stage.CONNECT)
            return
        elsewhere = self._may_go_elsewhere(backend)
        wait = 0.0 if timed_out else self._retry_delay(backend, elsewhere)
        if elsewhere:
            self._release_server()
            self.direct = False
        self.phase = Phase.RETRYING
        if wait:
            self.plant.loop.timers.file(self, self.plant.loop.now + wait, self.plant.loop.now)
        else:
            self._retry()

    def _may_go_elsewhere(self, backend: LiveBackend) -> bool:
        proxy = backend.proxy
        every = proxy.redispatch if proxy.redispatch >= 0 else proxy.retries + 1 + proxy.redispatch
        # HAProxy 2.6 counts the retries before this one: with any interval the first retry already goes elsewhere.
        if proxy.redispatch and every > 0 and (self.failures - 1) % every == 0:
            return True
        return not self.direct and backend.pool.active > 1 and proxy.balance.algorithm in _ROUND_ROBIN_KIND

    def _retry_delay(self, backend: LiveBackend, elsewhere: bool) -> float:
        """A server that refused would likely refuse again at once: wait a second, or the connect timeout if shorter."""
        round_robin = backend.proxy.balance.algorithm in _ROUND_ROBIN_KIND
        if elsewhere and round_robin and backend.pool.active > 1:
            return 0.0
        return min(_RETRY_DELAY, self.patience.connect)

    def _retry(self) -> None:
        backend, server = self.backend, self.pick
        assert backend is not None
        if self.served:
            assert server is not None
            self.plant.cells[backend.cells.wretr] += 1
            self.plant.cells[server.cells.wretr] += 1
            self.dial()
        else:
            self._assign(None)

    def _count_failure(self, server: LiveServer) -> None:
        backend = self.backend
        assert backend is not None
        self.plant.cells[backend.cells.econ] += 1
        self.plant.cells[server.cells.econ] += 1

    # --- events ---------------------------------------------------------------------------------------------------

    def ready(self, descriptor: int, events: int) -> None:
        """Either descriptor has something to say."""
        if self.phase is Phase.ESTABLISHED:
            self.relay_events(descriptor, events)
        elif descriptor == self.client:
            self._client_before_connection(events)
        elif self.phase is Phase.CONNECTING:
            self._connecting_events(events)

    def _client_before_connection(self, events: int) -> None:
        """What the client does while it waits: bytes are left in the kernel, a departure ends the session."""
        self.client_events |= events
        if events & _GONE:
            # A reset is a read error to HAProxy, which files those under data transfer whatever the phase.
            self._stop(Culprit.CLIENT_ABORT, Stage.DATA)
        elif events & select.EPOLLRDHUP and self._client_left():
            self._stop(Culprit.CLIENT_ABORT, _STAGES[self.phase])

    def _client_left(self) -> bool:
        """A client that finished without a byte has left; with bytes ahead it may only have half-closed."""
        backend = self.backend
        assert backend is not None
        if backend.proxy.abortonclose:
            return True
        borrowed = sockets.borrow(self.client)
        try:
            return not borrowed.recv(1, socket.MSG_PEEK)
        except OSError:
            return True
        finally:
            borrowed.detach()

    def time_is_up(self, now: float) -> None:
        """The deadline of whatever this session waits for."""
        if self.phase is Phase.ESTABLISHED:
            super().time_is_up(now)
        elif self.phase is Phase.QUEUED:
            self._queue_timeout(now)
        elif self.phase is Phase.CONNECTING:
            self._hang_up_server()
            self._attempt_failed(timed_out=True)
        elif self.phase is Phase.RETRYING:
            self._retry()

    def _queue_timeout(self, now: float) -> None:
        if self.pick is not None:
            self._count_failure(self.pick)
        elif self.backend is not None:
            self.plant.cells[self.backend.cells.econ] += 1
        self._stop(Culprit.SERVER_TIMEOUT, Stage.QUEUE)

    def kill(self, culprit: Culprit) -> None:
        """End at once because somebody outside decided so (DOWN, UP, KILLED), which names no stage."""
        self._stop(culprit, Stage.NONE)

    def is_served_by(self, server: LiveServer) -> bool:
        """Whether the session has a slot of that server."""
        return self.served and self.pick is server

    def is_on_backup_of(self, backend: LiveBackend) -> bool:
        """Whether a backup server of that backend serves the session."""
        return self.served and self.backend is backend and self.pick is not None and self.pick.model.backup

    def failed(self, error: Exception) -> None:
        if self.phase is not Phase.OVER:
            super().failed(error)

    # --- the end --------------------------------------------------------------------------------------------------

    def _stop(self, culprit: Culprit, stage: Stage) -> None:
        if self.phase is not Phase.OVER:
            self.end(culprit, stage)

    def close_both(self, *, reset_client: bool, reset_server: bool) -> None:
        """As every relay, and by `option nolinger` always with a reset."""
        backend = self.backend
        super().close_both(
            reset_client=reset_client or self.frontend.proxy.nolinger_client,
            reset_server=reset_server or (backend is not None and backend.proxy.nolinger_server),
        )

    def over(self, culprit: Culprit, stage: Stage) -> None:
        """Both descriptors are given up: release everything else, count, and write the log line."""
        phase, self.phase = self.phase, Phase.OVER
        backend = self.backend
        if phase is Phase.QUEUED and backend is not None:
            backend.leave_queue(self, self.queue_owner)
            self.taken_at = self.plant.loop.now
        self._return_source_port()
        self._release_server()
        if backend is not None:
            self._leave_backend(backend)
        count_end(self, culprit, established=phase is Phase.ESTABLISHED)
        count_times(self)
        logger = self.frontend.logger
        if logger is not None and not self.logged:
            logger.session_ended(record_of(self, culprit, stage))
        self.frontend.session_over(self)

    def _release_server(self) -> None:
        server, backend = self.pick, self.backend
        if not self.served or server is None or backend is None:
            return
        self.served = False
        self.plant.cells[server.cells.scur] -= 1
        backend.pool.dropped(server.index)
        if server.slot is not None:
            server.slot.give()

    def _leave_backend(self, backend: LiveBackend) -> None:
        now = self.plant.loop.now
        self.plant.cells[backend.cells.scur] -= 1
        if self.entries is not None:
            for table, entry in self.entries:
                table.table.session_ended(entry, self.bytes_in, self.bytes_out, now)
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


def draw(bound: int) -> int:
    """A random whole number below `bound`, for `balance random`."""
    return random.randrange(bound)
