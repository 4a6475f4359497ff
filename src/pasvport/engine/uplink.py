"""The worker's end of the wire to the supervisor: messages in by callback, messages out without blocking."""

from __future__ import annotations

import os
from collections.abc import Callable

from pasvport.engine.loop import READABLE, Loop
from pasvport.wire import Deframer, Message, encode

_CHUNK = 1 << 20
_MOST_WAITING = 4 << 20
"""Bytes that may wait for a supervisor that does not read; past that, messages are dropped and counted."""


class Uplink:
    """`received` gets every message; `lost` is called when the supervisor is gone."""

    def __init__(
        self, loop: Loop, descriptor: int, received: Callable[[Message], None], lost: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._descriptor = descriptor
        self._received = received
        self._lost = lost
        self._deframer = Deframer()
        self._waiting = bytearray()
        self.dropped = 0

    def open(self, deframer: Deframer) -> None:
        """Watch the wire; `deframer` holds what was read before."""
        self._deframer = deframer
        os.set_blocking(self._descriptor, False)
        self._loop.add(self._descriptor, self)
        # More than Start may have come in one piece.
        for message in deframer.feed(b""):
            self._received(message)

    @property
    def waiting(self) -> int:
        """Bytes that the supervisor has not read."""
        return len(self._waiting)

    def tell(self, message: Message) -> None:
        """Send now, or when the supervisor reads again."""
        if len(self._waiting) > _MOST_WAITING:
            self.dropped += 1
            return
        self._waiting += encode(message)
        self._flush()

    def _flush(self) -> None:
        while self._waiting:
            try:
                count = os.write(self._descriptor, self._waiting)
            except BlockingIOError:
                return
            except OSError:
                self._lost()
                return
            del self._waiting[:count]

    def ready(self, descriptor: int, events: int) -> None:
        """The wire can be read, or written again."""
        self._flush()
        if events & READABLE:
            self._read()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._descriptor, _CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._lost()
                return
            for message in self._deframer.feed(data):
                self._received(message)

    def failed(self, error: Exception) -> None:
        """Without the wire the worker is blind; better that it leaves and is replaced."""
        raise error
