"""The two data connections of one path of an FTP session: awaited or dialled, then pumped in one direction.

Nothing is read from either before the transfer starts. Until then the client's port stays open: two connections from
its address are one too many, and neither is served; one that was given up before the other came is a client that tries
again.

A transfer ends as a stream of bytes should: the sender's FIN becomes the receiver's FIN, after the last byte; anything
else resets both sides, so that what was cut short never looks complete. That holds for the death of this process too:
until the sender's FIN was met, the receiver's connection is one that close() resets. A download is over when the
client's kernel has every byte, because 226 must not overtake them (`ftp-balancing` point 24); an upload when the server
was given FIN, because only then does it say 226.
"""

from __future__ import annotations

import os
import select
from typing import Final, Protocol

from pasvport.engine.connected import (
    ORDERLY,
    connect_error,
    finish_on_close,
    peer_gone,
    reset_on_close,
    shut_writing,
    unacknowledged,
    withdrawn,
)
from pasvport.engine.data_ports import Lease
from pasvport.engine.loop import READABLE
from pasvport.engine.plant import Plant
from pasvport.engine.pump import CERTAIN, CLOGGED, ENDED, GREEDY, IDLE, MAYBE, SOURCE_BROKEN, Pump
from pasvport.engine.timers import NEVER
from pasvport.errors import Side
from pasvport.ftp.events import (
    ClientDataConnected,
    ClientDataFailed,
    DataFinished,
    Event,
    ServerDataConnected,
    ServerDataFailed,
)
from pasvport.record import DataEnding, Direction

_GONE: Final[int] = select.EPOLLHUP | select.EPOLLERR
_HUNG_UP: Final[int] = select.EPOLLRDHUP | _GONE
_ROOM: Final[int] = select.EPOLLOUT
_LOOK_AGAIN, _LOOK_SELDOM, _LOOK_SLOWER = 0.005, 0.25, 0.1
"""Seconds between looks at what the client's kernel has not acknowledged yet: first, most, per second waited."""
_FIN = 1
"""Our own FIN counts as one byte that is not acknowledged."""


class Owner(Protocol):
    """The session, as its data connections see it."""

    plant: Plant

    def tell(self, event: Event) -> None:
        """Something happened."""

    def met_strangers(self, count: int) -> None:
        """So many came to the leased port who were not awaited; they were dropped."""

    def is_announced(self, path: int) -> bool:
        """Whether the client was told the port of `path`."""

    def met_conflict(self, path: int, host: str) -> None:
        """Two connections came to the port of `path` for one; both were reset."""


class DataConnections:
    """Of one path. `path` is its number in the dialogue; times are monotonic seconds, 0.0: not yet."""

    __slots__ = (
        "bucket",
        "client",
        "client_came",
        "contested",
        "deadline",
        "dialling_client",
        "direction",
        "ended",
        "finished_at",
        "has_come",
        "is_over",
        "lease",
        "may_be_empty",
        "moved_at",
        "opened_at",
        "owner",
        "path",
        "peer",
        "plant",
        "pump",
        "rest",
        "sent_at",
        "server",
        "server_came",
        "server_dialled",
        "settling",
        "started_at",
        "turn_pending",
    )

    def __init__(self, owner: Owner, path: int) -> None:
        self.owner = owner
        self.plant = owner.plant
        self.path = path
        self.lease: Lease | None = None
        self.client = self.server = -1
        self.dialling_client = False
        self.pump: Pump | None = None
        self.direction = Direction.DOWNLOAD
        self.peer = "-"
        self.opened_at = self.plant.loop.now
        self.client_came = self.server_dialled = self.server_came = self.started_at = self.finished_at = 0.0
        self.moved_at = self.sent_at = 0.0
        self.rest = 0
        """Bytes that the receiver's kernel had not acknowledged when it was asked last."""
        self.ended = 0
        """What is known of the source's end: MAYBE or CERTAIN of `pump`."""
        self.has_come = False
        """Bytes of the server, or its end, were reported before the transfer started; no edge tells of them again."""
        self.settling = False
        """Every byte was given to the client's kernel; its acknowledgement is awaited."""
        self.is_over = self.turn_pending = self.contested = self.may_be_empty = False
        self.deadline = NEVER
        self.bucket: int | None = None

    # --- the client's side ----------------------------------------------------------------------------------------

    def claimed(self, descriptor: int, host: str) -> bool:
        """The client, or somebody with its address, reached the leased port."""
        if not self.owner.is_announced(self.path):
            return False
        former = self.client
        if former < 0:
            self.plant.loop.add(descriptor, self)
            self._client_connected(descriptor, host)
        elif withdrawn(former):
            self._close_client()
            self.plant.loop.add(descriptor, self)
            self.client, self.peer = descriptor, host
        elif withdrawn(descriptor):
            os.close(descriptor)
        else:
            self.contested = True
            reset_on_close(descriptor)
            os.close(descriptor)
            self._end_lease()
            self._close_client(reset=True)
            self.owner.met_conflict(self.path, host)
        return True

    def _end_lease(self) -> None:
        lease = self.lease
        if lease is not None:
            self.lease = None
            lease.give_back()
            if lease.strangers:
                self.owner.met_strangers(lease.strangers)

    def _client_connected(self, descriptor: int, host: str) -> None:
        self.client = descriptor
        self.peer = host
        self.client_came = self.plant.loop.now
        self.owner.tell(ClientDataConnected(self.path, host))

    def client_dialled(self, descriptor: int, host: str, limit: float) -> None:
        """A connection to an active client is under way."""
        self.client, self.peer, self.dialling_client = descriptor, host, True
        self.plant.loop.add(descriptor, self)
        self._wake_at(self.plant.loop.now + limit)

    # --- the server's side ----------------------------------------------------------------------------------------

    def dialled_server(self, descriptor: int, limit: float) -> None:
        """A connection to the server's data port is under way; it may take `limit` seconds."""
        self.server = descriptor
        self.server_dialled = self.plant.loop.now
        self.plant.loop.add(descriptor, self)
        self._wake_at(self.server_dialled + limit)

    # --- events ---------------------------------------------------------------------------------------------------

    def ready(self, descriptor: int, events: int) -> None:
        """Either descriptor has something to say."""
        if self.is_over:
            return
        if descriptor == self.server and not self.server_came:
            self._server_answered(events)
        elif descriptor == self.client and self.dialling_client:
            self._client_answered(events)
        elif self.settling:
            self._look_at_the_rest()
        else:
            self._note_end(descriptor, events)
            if self.pump is not None:
                self._move_because(self.pump, descriptor, events)
            else:
                self._note_arrival(descriptor, events)

    def _server_answered(self, events: int) -> None:
        if events & _GONE and (code := connect_error(self.server)):
            self._close_server()
            self.owner.tell(ServerDataFailed(self.path, os.strerror(code)))
        elif events & (_ROOM | READABLE):
            self.server_came = self.plant.loop.now
            self._note_end(self.server, events)
            self._note_arrival(self.server, events)
            self.owner.tell(ServerDataConnected(self.path))

    def _client_answered(self, events: int) -> None:
        if events & _GONE and (code := connect_error(self.client)):
            self._close_client()
            self.owner.tell(ClientDataFailed(self.path, os.strerror(code)))
        elif events & (_ROOM | READABLE):
            self.dialling_client = False
            self._client_connected(self.client, self.peer)

    def _note_end(self, descriptor: int, events: int) -> None:
        if events & _HUNG_UP and descriptor == self._source_so_far():
            self.ended = MAYBE if events & _GONE else CERTAIN

    def _note_arrival(self, descriptor: int, events: int) -> None:
        if events & READABLE and descriptor == self.server:
            self.has_come = True

    def _source_so_far(self) -> int:
        """Before the start both sides may turn out to be the source; what is noted of the other does no harm."""
        if self.pump is not None:
            return self.pump.source
        return self.server

    def time_is_up(self, now: float) -> None:
        """A connection attempt took too long, or it is time to look again at what the client has."""
        if self.is_over:
            return
        if self.settling:
            self._look_at_the_rest()
        elif now < self.deadline:
            self._wake_at(self.deadline)
        elif self.dialling_client:
            self._close_client()
            self.owner.tell(ClientDataFailed(self.path, "timeout connect"))
        elif self.server >= 0 and not self.server_came:
            self._close_server()
            self.owner.tell(ServerDataFailed(self.path, "timeout connect"))

    def failed(self, error: Exception) -> None:
        """A bug met while this path was served: the transfer is cut, the session goes on."""
        self.plant.report(error)
        if self.pump is not None and not self.is_over:
            self._finish(DataEnding.CUT)

    def _wake_at(self, moment: float) -> None:
        self.deadline = moment
        self.plant.loop.timers.file(self, moment, self.plant.loop.now)

    # --- the transfer ---------------------------------------------------------------------------------------------

    def start(self, direction: Direction, *, may_be_empty: bool = False) -> None:
        """Both connections stand: move the bytes, unless a second client waits at the door."""
        self.direction = direction
        self.may_be_empty = may_be_empty
        if self.lease is not None:
            self.lease.door.look()
            if self.contested:
                return
            self._end_lease()
        down = direction is Direction.DOWNLOAD
        self.pump = Pump(self.server, self.client) if down else Pump(self.client, self.server)
        if not down:
            self.ended = MAYBE
        # Were this process killed, the kernel would close for it, and FIN would make a whole file of what had arrived.
        reset_on_close(self.pump.sink)
        self.started_at = self.moved_at = self.plant.loop.now
        # What is not reported yet will be, and then its end with it: last bytes and end leave in one segment.
        if self.has_come or not down:
            self._run(self.pump)

    @property
    def size(self) -> int:
        """Bytes that the receiver was given."""
        return self.pump.total if self.pump is not None else 0

    @property
    def arrived(self) -> int:
        """The same without what waits in our kernel for a receiver that is slow: megabytes, which leave by and by."""
        pump = self.pump
        if pump is None or pump.shut or self.is_over:
            return self.size
        return max(0, pump.total - unacknowledged(pump.sink))

    @property
    def slow_side(self) -> Side:
        """Who keeps a transfer from moving."""
        pump = self.pump
        waits_for_sink = self.settling or (pump is not None and pump.state is CLOGGED)
        down = self.direction is Direction.DOWNLOAD
        return Side.CLIENT if waits_for_sink is down else Side.SERVER

    def _move_because(self, pump: Pump, descriptor: int, events: int) -> None:
        if descriptor == pump.source:
            if events & select.EPOLLPRI:
                pump.announce_mark()
            if events & READABLE and pump.state in (IDLE, GREEDY):
                self._run_or_queue(pump)
        elif events & select.EPOLLERR and pump.state is not CLOGGED:
            # Nothing is on its way to the receiver, so no write would tell that it has reset the connection.
            self._broken(pump, source=False)
        elif events & _ROOM and pump.state is CLOGGED:
            self._run_or_queue(pump)

    def _run_or_queue(self, pump: Pump) -> None:
        """Transfers take turns, so that small exchanges wait for one heap of bytes at most."""
        if pump.pipe is None:
            self._run(pump)
            return
        pump.state = GREEDY
        self._queue_up()

    def _queue_up(self) -> None:
        if not self.turn_pending:
            self.turn_pending = True
            self.plant.loop.defer(self)

    def resume(self) -> None:
        """The next turn."""
        self.turn_pending = False
        if self.pump is not None and not self.is_over and self.pump.state is GREEDY:
            self._run(self.pump)

    def _run(self, pump: Pump) -> None:
        plant, before = self.plant, pump.taken + pump.total
        state = pump.flow(self.ended, plant.read_size, plant.splicing)
        if pump.taken + pump.total != before:
            self.moved_at = plant.loop.now
        if state is GREEDY:
            self._queue_up()
        elif state is ENDED or (state is SOURCE_BROKEN and self.may_be_empty and not pump.taken):
            self._sent_all(pump)
        elif state is CLOGGED:
            self.rest = unacknowledged(pump.sink)
        elif state not in (IDLE, CLOGGED):
            self._broken(pump, source=state is SOURCE_BROKEN)

    def _broken(self, pump: Pump, *, source: bool) -> None:
        by_server = source is (self.direction is Direction.DOWNLOAD)
        self._finish(DataEnding.SERVER_ABORT if by_server else DataEnding.CLIENT_ABORT)

    def _sent_all(self, pump: Pump) -> None:
        if not pump.shut:
            pump.shut = True
            shut_writing(pump.sink)
        # A close that resets would throw away what the kernel has not sent yet.
        finish_on_close(pump.sink)
        if self.direction is Direction.UPLOAD:
            self._finish(DataEnding.COMPLETE)
            return
        # ProFTPD says 226 only after its own connection is closed at our end too.
        self._close_server()
        self.settling, self.sent_at = True, self.plant.loop.now
        self.rest = unacknowledged(pump.sink)
        self._look_at_the_rest()

    def _look_at_the_rest(self) -> None:
        """Whether the client's kernel has every byte; a client that closes says so, too."""
        pump = self.pump
        assert pump is not None
        gone = peer_gone(self.client)
        if gone and gone != ORDERLY:
            self._broken(pump, source=False)
        elif gone == ORDERLY or unacknowledged(self.client) <= _FIN:
            self._finish(DataEnding.COMPLETE)
        else:
            now = self.plant.loop.now
            self._wake_at(now + min(max((now - self.sent_at) * _LOOK_SLOWER, _LOOK_AGAIN), _LOOK_SELDOM))

    def note_progress(self) -> None:
        """A slow receiver empties much of the kernel's buffer before anything wakes us: bytes move all the same."""
        pump = self.pump
        if pump is not None and not self.is_over and (self.settling or pump.state is CLOGGED):
            rest = unacknowledged(pump.sink)
            if rest < self.rest:
                self.rest, self.moved_at = rest, self.plant.loop.now

    def cut(self) -> DataFinished:
        """Reset both connections of a started transfer; what there is to tell of it."""
        self._end(reset=True)
        return DataFinished(self.path, self.size, DataEnding.CUT)

    def _finish(self, how: DataEnding) -> None:
        self._end(reset=how is not DataEnding.COMPLETE)
        self.owner.tell(DataFinished(self.path, self.size, how))

    # --- the end --------------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Give everything back; nothing is told. Where bytes were moved, they shall not look complete.

        Nor shall an upload that the server may have been asked for be stored as an empty file.
        """
        if self.server >= 0 and self.server_came:
            reset_on_close(self.server)
        self._end(reset=self.pump is not None)

    def _end(self, *, reset: bool) -> None:
        if self.is_over:
            return
        self.is_over = True
        self.finished_at = self.plant.loop.now
        if self.bucket is not None:
            self.plant.loop.timers.cancel(self)
        self._end_lease()
        if self.pump is not None:
            self.pump.dispose(self.plant.pipes)
        self._close_server(reset=reset)
        self._close_client(reset=reset)

    def _close_server(self, *, reset: bool = False) -> None:
        if self.server >= 0:
            if reset:
                reset_on_close(self.server)
            self.plant.loop.close(self.server)
            self.server = -1

    def _close_client(self, *, reset: bool = False) -> None:
        if self.client >= 0:
            if reset:
                reset_on_close(self.client)
            self.plant.loop.close(self.client)
            self.client = -1
            self.dialling_client = False
