"""A port of the web server: a bounded number of connections, each with a bounded patience.

Nothing that clients do here may cost the data plane anything: the door takes no more connections than its limit, the
one that was silent longest makes room for a new one, and none lives longer than its patience without a new request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

_ACCEPTS = 16
"""Connections taken in one turn of the loop."""
_PAUSE = 0.2
"""Seconds until the next try where accepting failed (no descriptors, or the port is paused)."""


@dataclass(slots=True)
class Guest:
    """One connection. `mark` is when it was accepted, or last sent a request (the loop's clock)."""

    transport: asyncio.Transport
    mark: float
    requests: int = 0


@dataclass(slots=True)
class Door:
    """`listener` listens already; the door holds a duplicate of it. `protocol` makes a connection's protocol.

    `most` connections at a time; `patience` seconds from one request to the next, answer included.
    """

    listener: socket.socket
    protocol: Callable[[], asyncio.BaseProtocol]
    most: int
    patience: float
    refused: int = 0
    guests: dict[asyncio.BaseTransport, Guest] = field(default_factory=dict)
    _socket: socket.socket = field(init=False)
    _arrivals: set[asyncio.Task[None]] = field(default_factory=set)
    _timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self._socket = self.listener.dup()
        self._socket.setblocking(False)

    @property
    def is_served(self) -> bool:
        """False when whoever owns the listening socket has closed it."""
        return self.listener.fileno() != -1

    def open(self) -> None:
        """Accept from now on."""
        self._timer = None
        if self._socket.fileno() != -1:
            asyncio.get_running_loop().add_reader(self._socket.fileno(), self._ready)

    def _ready(self) -> None:
        for _ in range(_ACCEPTS):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                self._rest()
                return
            connection.setblocking(False)
            self._admit(connection)

    def _rest(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket.fileno())
        self._timer = loop.call_later(_PAUSE, self.open)

    def _admit(self, connection: socket.socket) -> None:
        if len(self.guests) + len(self._arrivals) >= self.most:
            self.refused += 1
            if not self._make_room():
                connection.close()
                return
        task = asyncio.get_running_loop().create_task(self._welcome(connection), name="web connection")
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)

    def _make_room(self) -> bool:
        if not self.guests:
            return False
        longest = min(self.guests.values(), key=lambda guest: guest.mark)
        self._end(longest)
        return True

    async def _welcome(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.connect_accepted_socket(self.protocol, connection)
        except OSError:
            connection.close()
            return
        self.guests[transport] = Guest(transport, loop.time())

    def requested(self, transport: asyncio.BaseTransport | None) -> None:
        """A request came over this connection: its patience begins anew."""
        guest = self.guests.get(transport) if transport is not None else None
        if guest is not None:
            guest.mark = asyncio.get_running_loop().time()
            guest.requests += 1

    def look(self) -> None:
        """Forget connections that ended, end those that are out of patience. To be called every second or so."""
        now = asyncio.get_running_loop().time()
        for guest in list(self.guests.values()):
            if guest.transport.is_closing():
                self.guests.pop(guest.transport, None)
            elif now - guest.mark > self.patience:
                self._end(guest)

    def _end(self, guest: Guest) -> None:
        self.guests.pop(guest.transport, None)
        # Aborted, not closed: what a slow reader has not taken yet must not be kept for it.
        guest.transport.abort()

    async def close(self) -> None:
        """Accept no more and end every connection."""
        if self._timer is not None:
            self._timer.cancel()
        if self._socket.fileno() != -1:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
        for task in list(self._arrivals):
            task.cancel()
        await asyncio.gather(*self._arrivals, return_exceptions=True)
        for guest in list(self.guests.values()):
            self._end(guest)


def identity(listener: socket.socket) -> int:
    """What tells one listening socket from another, also through duplicates; -1 for a closed one."""
    with contextlib.suppress(OSError):
        return os.fstat(listener.fileno()).st_ino
    return -1
