"""One connection attempt after another: dial, fail, wait, try again or elsewhere, until connected or given up."""

from __future__ import annotations

import errno
import select
import socket
from typing import Final

from pasvport import sockets
from pasvport.engine.backends import LiveBackend, LiveServer
from pasvport.engine.connected import met_a_server
from pasvport.engine.dialer import OURS, OUT_OF_DESCRIPTORS, dial
from pasvport.engine.loop import READABLE
from pasvport.engine.pump import CERTAIN
from pasvport.engine.relay import SERVER
from pasvport.engine.seeker import ASSIGNING, CONNECTING, ESTABLISHED, QUEUED, RETRYING, Seeker
from pasvport.engine.timers import NEVER
from pasvport.model import Algorithm
from pasvport.record import Culprit, Stage

_GONE: Final[int] = select.EPOLLHUP | select.EPOLLERR
_ROOM: Final[int] = select.EPOLLOUT
_ANSWERED: Final[int] = _ROOM | _GONE
_AF_UNIX: Final[int] = socket.AF_UNIX
_RETRY_DELAY = 1.0
_ROUND_ROBIN_KIND = (Algorithm.ROUNDROBIN, Algorithm.STATIC_RR, Algorithm.RANDOM)
_STAGES = {
    ASSIGNING: Stage.CONNECT,
    QUEUED: Stage.QUEUE,
    CONNECTING: Stage.CONNECT,
    RETRYING: Stage.CONNECT,
    ESTABLISHED: Stage.DATA,
}


class Connector(Seeker):
    """What a session does between its choice of a server and its first byte."""

    __slots__ = ()

    # --- connecting -----------------------------------------------------------------------------------------------

    def dial(self) -> None:
        """Start one connection attempt to the chosen server."""
        server, backend, plant = self.pick, self.backend, self.plant
        assert server is not None
        assert backend is not None
        self.phase = CONNECTING
        try:
            self.server = self.open_connection(server)
        except OSError as error:
            self._could_not_dial(error.errno or errno.EIO)
            return
        plant.cells[backend.cells.connect] += 1
        plant.cells[server.cells.connect] += 1
        if server.family != _AF_UNIX:
            self.certain |= CERTAIN << SERVER
        plant.loop.add(self.server, self)
        self._wait_until(plant.loop.now + self.patience.connect)

    def open_connection(self, server: LiveServer) -> int:
        """A descriptor that is connecting to the server. Raises OSError when the attempt ended before it began."""
        return dial(self, server)

    def feed(self) -> None:
        """Descriptors may be free again."""
        if self.phase is RETRYING:
            self.dial()

    def _could_not_dial(self, code: int) -> None:
        """An attempt ended before it began: for want of a descriptor, by our fault, or because nobody is there."""
        self._return_source_port()
        if code in OUT_OF_DESCRIPTORS:
            self.phase = RETRYING
            self.deadline = NEVER
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
        elif events & _ANSWERED:
            self._connected(events)

    def _hang_up_server(self) -> None:
        if self.server >= 0:
            self.plant.loop.close(self.server)
            self.server = -1
        self._return_source_port()

    def _connected(self, events: int) -> None:
        server, backend = self.pick, self.backend
        assert server is not None
        assert backend is not None
        self.phase = ESTABLISHED
        self.connected_at = self.plant.loop.now
        if server.observed:
            backend.observe(server, good=True)
        self.establish()
        self.reached()
        if self.client_events:
            waiting, self.client_events = self.client_events, 0
            self.relay_events(self.client, waiting & ~_ROOM)
        if events & READABLE and self.phase is ESTABLISHED:
            self.relay_events(self.server, events)

    def reached(self) -> None:
        """The server is connected, and no byte has passed yet."""
        raise NotImplementedError

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
        self.phase = RETRYING
        if wait:
            self._wait_until(self.plant.loop.now + wait)
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

    # --- events ---------------------------------------------------------------------------------------------------

    def ready(self, descriptor: int, events: int) -> None:
        """Either descriptor has something to say."""
        if self.phase is ESTABLISHED:
            self.relay_events(descriptor, events)
        elif descriptor == self.client:
            self._client_before_connection(events)
        elif self.phase is CONNECTING:
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
        """Some deadline came due: this phase's, or one of a phase that is over."""
        if self.phase is ESTABLISHED:
            super().time_is_up(now)
            return
        self.due = NEVER
        if now < self.deadline:
            self.wake_by(self.deadline)
        elif self.phase is QUEUED:
            self._queue_timeout()
        elif self.phase is CONNECTING:
            self._hang_up_server()
            self._attempt_failed(timed_out=True)
        elif self.phase is RETRYING:
            self._retry()

    def _queue_timeout(self) -> None:
        if self.pick is not None:
            self._count_failure(self.pick)
        elif self.backend is not None:
            self.plant.cells[self.backend.cells.econ] += 1
        self._stop(Culprit.SERVER_TIMEOUT, Stage.QUEUE)
