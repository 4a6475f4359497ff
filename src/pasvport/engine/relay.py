"""A relay: two sockets, two pumps, and the rules by which the pair lives and ends.

Half-close passes through: when one side has finished and the other has all its bytes, only that direction is shut,
and the relay ends when both are. An abnormal end (a reset, a timeout, a killed session) resets both sides: a stream
that was cut short must never look complete to the peer that is still there. A `guarded` relay keeps that promise beyond
the death of this process: the kernel, which then closes for it, resets what has not been given its end.
"""

from __future__ import annotations

import select
import socket
from typing import Final, NamedTuple

from pasvport import sockets
from pasvport.engine.connected import finish_on_close, reset_on_close, shut_writing
from pasvport.engine.loop import EDGE, READABLE
from pasvport.engine.plant import Plant
from pasvport.engine.pump import CLOGGED, ENDED, GREEDY, IDLE, MAYBE, SOURCE_BROKEN, Flow, Pump
from pasvport.engine.timers import NEVER
from pasvport.model import Proxy
from pasvport.record import Culprit, Stage

_HUNG_UP: Final[int] = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
_ODD: Final[int] = select.EPOLLPRI | select.EPOLLERR
_ROOM: Final[int] = select.EPOLLOUT
_SHUT_WR: Final[int] = socket.SHUT_WR
_borrow: Final = sockets.borrow
CLIENT: Final = 0
SERVER: Final = 2
"""The two sides, as places of their bits in `Relay.ends` and `Relay.certain`."""
_BITS: Final = 3


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
        "certain",
        "client",
        "client_seen",
        "download",
        "due",
        "ends",
        "guarded",
        "patience",
        "plant",
        "server",
        "server_seen",
        "turn_pending",
        "upload",
        "watches_room",
    )

    def __init__(self, plant: Plant, client: int, limits: Patience) -> None:
        self.plant = plant
        self.client = client
        self.server = -1
        self.patience = limits
        self.upload: Pump | None = None
        self.download: Pump | None = None
        self.client_seen = self.server_seen = plant.loop.now
        self.ends = 0
        """What is known of each side's end: MAYBE and CERTAIN of `pump`, shifted by CLIENT or SERVER."""
        self.certain = 0
        """CERTAIN for each side that is TCP. On other sockets a short read before the end says nothing."""
        self.watches_room = self.guarded = False
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
        if self.guarded:
            reset_on_close(self.client)
            reset_on_close(self.server)
        now = self.client_seen = self.server_seen = self.plant.loop.now
        if now + self.patience.shortest < self.due:
            self.wake_by(now + self.patience.shortest)

    def relay_events(self, descriptor: int, events: int) -> None:
        """Move bytes because of `events` on one of the two descriptors."""
        upload, download = self.upload, self.download
        assert upload is not None
        assert download is not None
        if descriptor == self.client:
            inward, outward, side = upload, download, CLIENT
        else:
            inward, outward, side = download, upload, SERVER
        if events & _HUNG_UP:
            self.ends |= MAYBE << side if events & _ODD else self.certain & _BITS << side or MAYBE << side
        if events & READABLE:
            if events & _ODD and not self._odd_events(inward, events, side):
                return
            state = inward.state
            if state is IDLE or state is GREEDY:
                if inward.pipe is not None:
                    self._queue_up(inward)
                elif not self._run(inward, self.ends >> side & _BITS):
                    return
        if events & _ROOM and outward.state is CLOGGED:
            if outward.pipe is not None:
                self._queue_up(outward)
            else:
                self._run(outward, self.ends >> (SERVER - side) & _BITS)

    def _queue_up(self, pump: Pump) -> None:
        """A transfer waits for its turn among the transfers; small exchanges do not wait behind all of them."""
        pump.state = GREEDY
        if not self.turn_pending:
            self.turn_pending = True
            self.plant.loop.defer(self)

    def _odd_events(self, inward: Pump, events: int, side: int) -> bool:
        """Urgent data, or an error; False when that ended the relay."""
        if events & select.EPOLLPRI:
            inward.announce_mark()
        if events & select.EPOLLERR and (inward.state is CLOGGED or inward.state is ENDED):
            # Nobody reads this side just now, so nobody would learn that it has been reset.
            self.end(Culprit.CLIENT_ABORT if side == CLIENT else Culprit.SERVER_ABORT)
            return False
        return True

    def _run(self, pump: Pump, end: int) -> bool:
        """One turn of one direction; False when that ended the relay."""
        taken, total, plant = pump.taken, pump.total, self.plant
        state = pump.flow(end, plant.read_size, plant.splicing)
        came, went = pump.taken != taken, pump.total != total
        if came and went:
            self.client_seen = self.server_seen = plant.loop.now
        elif came or went:
            self._seen(came is (pump is self.upload))
        return True if state is IDLE else self._react(pump, state)

    def _seen(self, client: bool) -> None:
        if client:
            self.client_seen = self.plant.loop.now
        else:
            self.server_seen = self.plant.loop.now

    def _react(self, pump: Pump, state: Flow) -> bool:
        if state is ENDED:
            return self._pass_the_end_on(pump)
        if state is CLOGGED:
            if pump is self.download and not self.watches_room:
                # Few clients ever let their window fill up; for the others the edges would be for nothing.
                self.watches_room = True
                self.plant.loop.modify(self.client, EDGE)
            return True
        if state is GREEDY:
            self._queue_up(pump)
            return True
        from_client = pump is self.upload
        client_broke = from_client if state is SOURCE_BROKEN else not from_client
        self.end(Culprit.CLIENT_ABORT if client_broke else Culprit.SERVER_ABORT)
        return False

    def _pass_the_end_on(self, pump: Pump) -> bool:
        other = self.download if pump is self.upload else self.upload
        assert other is not None
        if self.guarded:
            # A close that resets would throw away what the kernel has not sent yet.
            finish_on_close(pump.sink)
        if other.state is ENDED:
            self.end(Culprit.NONE)
            return False
        if not pump.shut:
            pump.shut = True
            shut_writing(pump.sink)
        self.watch_the_clock()
        return True

    def resume(self) -> None:
        """The next turn of a direction that did not finish in one."""
        self.turn_pending = False
        # Either direction may end the relay, which forgets both pumps.
        if self.upload is not None and self.upload.state is GREEDY:
            self._run(self.upload, self.ends >> CLIENT & _BITS)
        if self.download is not None and self.download.state is GREEDY:
            self._run(self.download, self.ends >> SERVER & _BITS)

    def failed(self, error: Exception) -> None:
        """A bug met while this relay was served: it ends, the others go on."""
        self.plant.report(error)
        self.end(Culprit.INTERNAL)

    # --- time -----------------------------------------------------------------------------------------------------

    def watch_the_clock(self) -> None:
        """Look at the deadlines when the first may be due."""
        limits = self.patience
        shortest = limits.shortest if self._nobody_is_shut() else min(self._client_limit(), self._server_limit())
        if self.plant.loop.now + shortest < self.due:
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
        shut = download is not None and download.state is ENDED
        return self.patience.client_fin if shut else self.patience.client

    def _server_limit(self) -> float:
        upload = self.upload
        shut = upload is not None and upload.state is ENDED
        return self.patience.server_fin if shut else self.patience.server

    def limits(self) -> tuple[float, float]:
        """Seconds of silence that client and server are allowed now."""
        return self._client_limit(), self._server_limit()

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
        return download.state is CLOGGED or not (upload.ended or upload.state is CLOGGED)

    def _waits_for_server(self) -> bool:
        upload, download = self.upload, self.download
        assert upload is not None
        assert download is not None
        return upload.state is CLOGGED or not (download.ended or download.state is CLOGGED)

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
        plant, client, server = self.plant, self.client, self.server
        if self.bucket is not None:
            plant.loop.timers.cancel(self)
        for pump in (self.upload, self.download):
            if pump is not None and pump.pipe is not None:
                pump.dispose(plant.pipes)
        if client >= 0:
            if reset_client:
                reset_on_close(client)
            plant.loop.close(client)
        if server >= 0:
            if reset_server:
                reset_on_close(server)
            plant.loop.close(server)
