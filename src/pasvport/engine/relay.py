"""A relay: two sockets, two pumps, and the rules by which the pair lives and ends.

Half-close passes through: when one side has finished and the other has all its bytes, only that direction is shut,
and the relay ends when both are. An abnormal end (a reset, a timeout, a killed session) resets both sides: a stream
that was cut short must never look complete to the peer that is still there.
"""

from __future__ import annotations

import contextlib
import select
import socket
from typing import NamedTuple

from pasvport import sockets
from pasvport.engine.loop import READABLE
from pasvport.engine.plant import Plant
from pasvport.engine.pump import Flow, Pump
from pasvport.engine.timers import NEVER
from pasvport.model import Proxy
from pasvport.record import Culprit, Stage

_HUNG_UP = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_CLIENT, _SERVER = 1, 2


class Patience(NamedTuple):
    """Inactivity limits in seconds (NEVER: none) for one pair of frontend and backend."""

    client: float
    server: float
    client_fin: float
    server_fin: float
    connect: float
    queue: float
    shortest: float
    """The smaller of `client` and `server`."""


def patience(frontend: Proxy, backend: Proxy) -> Patience:
    """The limits that HAProxy would apply in TCP mode.

    `timeout tunnel` replaces both inactivity limits of an established TCP session; the -fin limits replace the limit
    of a side that we have shut; `timeout queue` defaults to `timeout connect`.
    """
    front, back = frontend.timeouts, backend.timeouts
    client, server = _seconds(front.client), _seconds(back.server)
    if back.tunnel is not None:
        client = server = _seconds(back.tunnel)
    queue = back.queue if back.queue is not None else back.connect
    return Patience(
        client,
        server,
        client if front.client_fin is None else _seconds(front.client_fin),
        server if back.server_fin is None else _seconds(back.server_fin),
        _seconds(back.connect),
        _seconds(queue),
        min(client, server),
    )


def _seconds(milliseconds: int | None) -> float:
    return milliseconds / 1000 if milliseconds else NEVER


class Relay:
    """Two connected descriptors, owned: both are closed when the relay ends."""

    __slots__ = (
        "bucket",
        "client",
        "client_seen",
        "download",
        "due",
        "hung_up",
        "patience",
        "plant",
        "server",
        "server_seen",
        "turn_pending",
        "upload",
    )

    def __init__(self, plant: Plant, client: int, limits: Patience) -> None:
        self.plant = plant
        self.client = client
        self.server = -1
        self.patience = limits
        self.upload: Pump | None = None
        self.download: Pump | None = None
        self.client_seen = self.server_seen = plant.loop.now
        self.hung_up = 0
        self.bucket: int | None = None
        self.due = NEVER
        """The deadline that is filed; an earlier one is filed anew, a later one waits until this one rings."""
        self.turn_pending = False

    def over(self, culprit: Culprit, stage: Stage) -> None:
        """The relay has ended; both descriptors are given up by the time this is called."""
        raise NotImplementedError

    # --- established ----------------------------------------------------------------------------------------------

    def establish(self) -> None:
        """Both sides are connected and watched: start to relay."""
        self.upload = Pump(self.client, self.server)
        self.download = Pump(self.server, self.client)
        self.client_seen = self.server_seen = self.plant.loop.now
        self.watch_the_clock()

    def relay_events(self, descriptor: int, events: int) -> None:
        """Move bytes because of `events` on one of the two descriptors."""
        upload, download = self.upload, self.download
        assert upload is not None
        assert download is not None
        if descriptor == self.client:
            inward, outward, side = upload, download, _CLIENT
        else:
            inward, outward, side = download, upload, _SERVER
        if events & _HUNG_UP:
            self.hung_up |= side
        if events & READABLE and not self._inflow(inward, events, side):
            return
        if events & select.EPOLLOUT and outward.state is Flow.CLOGGED:
            self._run(outward, self.hung_up & (_SERVER if side == _CLIENT else _CLIENT))

    def _inflow(self, inward: Pump, events: int, side: int) -> bool:
        """Read from a side that has something; False when that ended the relay."""
        if events & select.EPOLLPRI:
            # A read stops short at the urgent mark with more behind it: read this side until it is empty from now on.
            self.hung_up |= side
            inward.leave_pipe(self.plant.pipes)
        state = inward.state
        if events & select.EPOLLERR and (state is Flow.CLOGGED or state is Flow.ENDED):
            # Nobody reads this side just now, so nobody would learn that it has been reset.
            self.end(Culprit.CLIENT_ABORT if side == _CLIENT else Culprit.SERVER_ABORT)
            return False
        if state is Flow.CLOGGED or state is Flow.ENDED:
            return True
        return self._run(inward, self.hung_up & side)

    def _run(self, pump: Pump, hung_up: int) -> bool:
        """One turn of one direction; False when that ended the relay."""
        taken, total = pump.taken, pump.total
        plant = self.plant
        state = pump.flow(bool(hung_up), plant.read_size, plant.splicing)
        if pump.taken != taken:
            self._seen(pump is self.upload)
        if pump.total != total:
            self._seen(pump is not self.upload)
        if state <= Flow.CLOGGED:
            return True
        return self._react(pump, state)

    def _seen(self, client: bool) -> None:
        if client:
            self.client_seen = self.plant.loop.now
        else:
            self.server_seen = self.plant.loop.now

    def _react(self, pump: Pump, state: Flow) -> bool:
        if state is Flow.GREEDY:
            if not self.turn_pending:
                self.turn_pending = True
                self.plant.loop.defer(self)
            return True
        if state is Flow.ENDED:
            return self._pass_the_end_on(pump)
        from_client = pump is self.upload
        client_broke = from_client if state is Flow.SOURCE_BROKEN else not from_client
        self.end(Culprit.CLIENT_ABORT if client_broke else Culprit.SERVER_ABORT)
        return False

    def _pass_the_end_on(self, pump: Pump) -> bool:
        other = self.download if pump is self.upload else self.upload
        assert other is not None
        if other.state is Flow.ENDED:
            self.end(Culprit.NONE)
            return False
        shut_writing(pump.sink)
        self.watch_the_clock()
        return True

    def resume(self) -> None:
        """The next turn of a direction that did not finish in one."""
        self.turn_pending = False
        # Either direction may end the relay, which forgets both pumps.
        if self.upload is not None and self.upload.state is Flow.GREEDY:
            self._run(self.upload, self.hung_up & _CLIENT)
        if self.download is not None and self.download.state is Flow.GREEDY:
            self._run(self.download, self.hung_up & _SERVER)

    def failed(self, error: Exception) -> None:
        """A bug met while this relay was served: it ends, the others go on."""
        self.plant.report(error)
        self.end(Culprit.INTERNAL)

    # --- time -----------------------------------------------------------------------------------------------------

    def watch_the_clock(self) -> None:
        """Look at the deadlines when the first may be due."""
        limits = self.patience
        shortest = limits.shortest if self._nobody_is_shut() else min(self._client_limit(), self._server_limit())
        if shortest != NEVER:
            self.wake_by(self.plant.loop.now + shortest)

    def _nobody_is_shut(self) -> bool:
        upload, download = self.upload, self.download
        return (upload is None or not upload.ended) and (download is None or not download.ended)

    def wake_by(self, deadline: float) -> None:
        """Call time_is_up at `deadline`, or before."""
        if deadline < self.due:
            self.due = deadline
            self.plant.loop.timers.file(self, deadline, self.plant.loop.now)

    def _client_limit(self) -> float:
        download = self.download
        shut = download is not None and download.state is Flow.ENDED
        return self.patience.client_fin if shut else self.patience.client

    def _server_limit(self) -> float:
        upload = self.upload
        shut = upload is not None and upload.state is Flow.ENDED
        return self.patience.server_fin if shut else self.patience.server

    def time_is_up(self, now: float) -> None:
        """End the relay if a side was silent for too long, else look again when it may be."""
        self.due = NEVER
        if self.upload is None:
            return
        client_due = self.client_seen + self._client_limit() if self._waits_for_client() else NEVER
        server_due = self.server_seen + self._server_limit() if self._waits_for_server() else NEVER
        if client_due <= now and client_due <= server_due:
            self.end(Culprit.CLIENT_TIMEOUT)
        elif server_due <= now:
            self.end(Culprit.SERVER_TIMEOUT)
        else:
            # A direction may come unclogged before the one that is due next, with its own, shorter limit.
            soonest = min(client_due, server_due)
            limit = min(self._client_limit(), self._server_limit())
            self.wake_by(min(soonest, now + limit))

    # A side is waited for when it may send and we would read it, or when it does not take what we hold for it.
    # While the other side is clogged we do not read this one, and its silence is not its fault.

    def _waits_for_client(self) -> bool:
        upload, download = self.upload, self.download
        assert upload is not None
        assert download is not None
        return download.state is Flow.CLOGGED or not (upload.ended or upload.state is Flow.CLOGGED)

    def _waits_for_server(self) -> bool:
        upload, download = self.upload, self.download
        assert upload is not None
        assert download is not None
        return upload.state is Flow.CLOGGED or not (download.ended or download.state is Flow.CLOGGED)

    # --- the end --------------------------------------------------------------------------------------------------

    def end(self, culprit: Culprit, stage: Stage | None = None) -> None:
        """Close both sides. `stage` None: data transfer for an abnormal end, nothing for a normal one."""
        if stage is None:
            stage = Stage.NONE if culprit is Culprit.NONE else Stage.DATA
        # Before a server was reached nothing was cut short: an ordinary close says all there is to say.
        cut_short = culprit is not Culprit.NONE and self.upload is not None
        self.close_both(reset_client=cut_short, reset_server=cut_short)
        self.over(culprit, stage)
        self.upload = self.download = None

    def close_both(self, *, reset_client: bool, reset_server: bool) -> None:
        """Give pipes and descriptors back; a side that is reset sees RST instead of FIN."""
        plant = self.plant
        plant.loop.timers.cancel(self)
        for pump in (self.upload, self.download):
            if pump is not None:
                pump.dispose(plant.pipes)
        for descriptor, reset in ((self.client, reset_client), (self.server, reset_server)):
            if descriptor < 0:
                continue
            if reset:
                reset_on_close(descriptor)
            plant.loop.close(descriptor)


def shut_writing(descriptor: int) -> None:
    """Pass an end of stream on. A peer that is gone already needs none."""
    borrowed = sockets.borrow(descriptor)
    with contextlib.suppress(OSError):
        borrowed.shutdown(socket.SHUT_WR)
    borrowed.detach()


def reset_on_close(descriptor: int) -> None:
    """Make the coming close() of a TCP connection send RST (no effect on UNIX sockets)."""
    borrowed = sockets.borrow(descriptor)
    with contextlib.suppress(OSError):
        sockets.reset_on_close(borrowed)
    borrowed.detach()
