"""One direction of a relay: bytes from a source socket to a sink socket, in order, until the source ends.

Small exchanges are read and written; a direction whose reads keep filling the buffer is given a pipe and spliced from
then on, so that nothing of a transfer enters Python. Half-close is the normal end: the pump says ENDED once the
source has finished and the sink has taken everything, and its owner passes the end on.

About splice: EAGAIN from the filling side may mean an empty socket or a full pipe (a pipe counts pages, not bytes).
The pump fills only an empty pipe, so there it always means an empty socket. And splice stops in front of urgent data
without a word; a source that announced some (EPOLLPRI) is read from then on.
"""

from __future__ import annotations

import os
from enum import IntEnum

from pasvport.engine.pipes import Pipe, Pipes

_FULL_READS_BEFORE_SPLICE = 2
_TURN = 4 * 1024 * 1024
"""Bytes one direction may move before the others get their turn."""
_EMPTY, _BROKEN = -1, -2
_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


class Flow(IntEnum):
    """Why a pump stopped."""

    IDLE = 0
    """The source has nothing more for now."""
    CLOGGED = 1
    """The sink takes nothing more for now; something is held."""
    GREEDY = 2
    """Used up its turn; there may be more."""
    ENDED = 3
    """The source has ended and the sink has everything."""
    SOURCE_BROKEN = 4
    SINK_BROKEN = 5


class Pump:
    """One direction. `total` counts bytes the sink took, `taken` bytes read from the source."""

    __slots__ = ("ended", "full_reads", "held", "pipe", "sink", "source", "spliced", "state", "taken", "total")

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self.held: bytes | int = b""
        """What was read and not yet taken: bytes, or their number while a pipe holds them."""
        self.pipe: Pipe | None = None
        self.ended = False
        self.full_reads = 0
        self.state = Flow.IDLE
        self.taken = 0
        self.total = 0
        self.spliced = 0

    def flow(self, hung_up: bool, size: int, pipes: Pipes | None) -> Flow:
        """Move what can be moved now. `hung_up`: the source's end may be waiting behind its last bytes.

        `size` is how much one read asks for; without `pipes` everything is copied.
        """
        state = self._splice() if self.pipe is not None else self._copy(hung_up, size, pipes)
        self.state = state
        return state

    def _copy(self, hung_up: bool, size: int, pipes: Pipes | None) -> Flow:
        enough = self.taken + _TURN
        while self.taken < enough:
            if self.held and (state := self._write()) is not None:
                return state
            if self.ended:
                return Flow.ENDED
            count = self._read(size)
            if count < 0:
                return Flow.IDLE if count == _EMPTY else Flow.SOURCE_BROKEN
            if count == size:
                if self._turns_to_bulk(pipes):
                    return self._splice()
            elif count:
                self.full_reads = 0
                if not hung_up:
                    # A short read has emptied the socket; another would only be told so (epoll(7), question 9).
                    return self._write() or Flow.IDLE
        return Flow.GREEDY

    def _read(self, size: int) -> int:
        """Bytes read into `held`; 0 at the end of the source; _EMPTY or _BROKEN."""
        try:
            data = os.read(self.source, size)
        except BlockingIOError:
            return _EMPTY
        except OSError:
            return _BROKEN
        self.held = data
        self.taken += len(data)
        self.ended = not data
        return len(data)

    def _write(self) -> Flow | None:
        """Offer the held bytes to the sink; None when it took them all."""
        held = self.held
        assert isinstance(held, bytes)
        try:
            count = os.write(self.sink, held)
        except BlockingIOError:
            return Flow.CLOGGED
        except OSError:
            return Flow.SINK_BROKEN
        self.total += count
        if count < len(held):
            self.held = held[count:]
            return Flow.CLOGGED
        self.held = b""
        return None

    def _turns_to_bulk(self, pipes: Pipes | None) -> bool:
        self.full_reads += 1
        if pipes is None or self.full_reads < _FULL_READS_BEFORE_SPLICE:
            return False
        if self._write() is not None:
            return False
        self.pipe = pipes.borrow()
        if self.pipe is None:
            self.full_reads = 0
            return False
        self.held = 0
        return True

    def _splice(self) -> Flow:
        pipe = self.pipe
        assert pipe is not None
        enough = self.spliced + _TURN
        while self.spliced < enough:
            if not self.held:
                if self.ended:
                    return Flow.ENDED
                try:
                    count = os.splice(self.source, pipe.writing, pipe.capacity, flags=_FLAGS)
                except BlockingIOError:
                    return Flow.IDLE
                except OSError:
                    return Flow.SOURCE_BROKEN
                if not count:
                    self.ended = True
                    return Flow.ENDED
                self.taken += count
                self.held = count
            state = self._drain(pipe)
            if state is not None:
                return state
        return Flow.GREEDY

    def _drain(self, pipe: Pipe) -> Flow | None:
        """Move the pipe's bytes to the sink; None when it took them all."""
        held = self.held
        assert isinstance(held, int)
        while held:
            try:
                count = os.splice(pipe.reading, self.sink, held, flags=_FLAGS)
            except BlockingIOError:
                self.held = held
                return Flow.CLOGGED
            except OSError:
                self.held = held
                return Flow.SINK_BROKEN
            held -= count
            self.total += count
            self.spliced += count
        self.held = 0
        return None

    def leave_pipe(self, pipes: Pipes) -> None:
        """Go back to copying (urgent data ahead); only while the pipe is empty."""
        if self.pipe is not None and not self.held:
            pipes.give_back(self.pipe, 0)
            self.pipe = None
            self.held = b""
            self.full_reads = -(1 << 62)

    def dispose(self, pipes: Pipes) -> None:
        """Give the pipe back, if any; the pump is not used again."""
        if self.pipe is not None:
            assert isinstance(self.held, int)
            pipes.give_back(self.pipe, self.held)
            self.pipe = None
            self.held = b""
