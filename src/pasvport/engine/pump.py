"""One direction of a relay: bytes from a source socket to a sink socket, in order, until the source ends.

Small exchanges are read and written; a direction whose reads keep filling the buffer is given a pipe and spliced from
then on, so that nothing of a transfer enters Python. Half-close is the normal end: the pump says ENDED once the
source has finished and the sink has taken everything, and its owner passes the end on.

About splice: EAGAIN from the filling side may mean an empty socket or a full pipe (a pipe counts pages, not bytes).
The pump fills only an empty pipe, so there it always means an empty socket.

Urgent data (RFC 793 section 3.7) leaves as it came: at the same place of the stream, and urgent. A source announces it
(EPOLLPRI); a read then stops in front of the mark, and splice does so without a word, or with the word that means the
end. So a pump that was told of a mark reads up to it, and sends what stood before it and the urgent byte in one
segment: an ABOR whose LF is urgent shall come to the server as it was sent.
"""

from __future__ import annotations

import errno
import os
import socket
from enum import IntEnum
from typing import Final

from pasvport import sockets
from pasvport.engine.connected import at_mark, keep_urgent_inline
from pasvport.engine.pipes import Pipe, Pipes

_FULL_READS_BEFORE_SPLICE: Final = 2
_TURN: Final = 256 * 1024
"""Bytes one direction may copy before the others get their turn; a spliced one has moved a pipe full by then."""
_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK

# What is known of a source's end (bits; MAYBE beside CERTAIN takes the certainty away).
MAYBE: Final = 1
"""It may be waiting behind the last bytes: read until the kernel says what there is."""
CERTAIN: Final = 2
"""The kernel has said that everything has arrived: whatever a short read leaves behind is the end."""


# What a pump knows of urgent data (bits).
_AHEAD: Final = 1
"""The source has announced some that was not read yet."""
_HELD: Final = 2
"""The last byte of what is held is urgent."""


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


# A member of an enumeration costs two look-ups each time it is named, and these are named for every piece of data.
IDLE: Final = Flow.IDLE
CLOGGED: Final = Flow.CLOGGED
GREEDY: Final = Flow.GREEDY
ENDED: Final = Flow.ENDED
SOURCE_BROKEN: Final = Flow.SOURCE_BROKEN
SINK_BROKEN: Final = Flow.SINK_BROKEN

_read: Final = os.read
_write: Final = os.write
_splice: Final = os.splice
_borrow: Final = sockets.borrow
_MSG_MORE: Final[int] = socket.MSG_MORE
_MSG_OOB: Final[int] = socket.MSG_OOB
_SHUT_WR: Final[int] = socket.SHUT_WR


class Pump:
    """One direction. `total` counts bytes the sink took, `taken` bytes read from the source."""

    __slots__ = (
        "ended",
        "full_reads",
        "held",
        "pipe",
        "shut",
        "sink",
        "source",
        "spliced",
        "state",
        "taken",
        "total",
        "urgent",
    )

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self.sink = sink
        self.held: bytes | int = b""
        """What was read and not yet taken: bytes, or their number while a pipe holds them."""
        self.pipe: Pipe | None = None
        self.ended = False
        self.shut = False
        """The end has been passed on already, in one segment with the last bytes."""
        self.full_reads = 0
        self.state = IDLE
        self.taken = 0
        self.total = 0
        self.spliced = 0
        self.urgent = 0

    def flow(self, end: int, size: int, pipes: Pipes | None) -> Flow:
        """Move what can be moved now. `end`: what is known of the source's end (0, MAYBE, CERTAIN).

        `size` is how much one read asks for; without `pipes` everything is copied.
        """
        if self.urgent:
            state = self._flow_around_mark(end, size, pipes)
        elif self.pipe is not None:
            state = self._splice()
        elif self.held:
            state = self._offer(self.held) or (ENDED if self.ended else self._copy(end, size, pipes))
        else:
            state = self._copy(end, size, pipes)
        self.state = state
        return state

    def _copy(self, end: int, size: int, pipes: Pipes | None) -> Flow:
        enough = self.taken + _TURN
        while self.taken < enough:
            try:
                data = _read(self.source, size)
            except BlockingIOError:
                return IDLE
            except OSError:
                return SOURCE_BROKEN
            count = len(data)
            self.taken += count
            if not count:
                self.ended = True
                return ENDED
            if end == CERTAIN and count < size:
                return self._offer_last(data)
            state = self._offer(data)
            if state is not None:
                return state
            if count < size and not end:
                # A short read has emptied the socket; another would only be told so (epoll(7), question 9).
                return self._pause()
            if count == size and self._turns_to_bulk(pipes):
                return self._splice()
        return GREEDY

    def _pause(self) -> Flow:
        if self.full_reads > 0:
            self.full_reads = 0
        return IDLE

    def _offer(self, data: bytes | int) -> Flow | None:
        """Offer bytes to the sink and keep what it does not take; None when it took them all."""
        assert isinstance(data, bytes)
        try:
            count = _write(self.sink, data)
        except BlockingIOError:
            self.held = data
            return CLOGGED
        except OSError:
            self.held = data
            return SINK_BROKEN
        self.total += count
        if count < len(data):
            self.held = data[count:]
            return CLOGGED
        self.held = b""
        return None

    def _offer_last(self, data: bytes) -> Flow:
        """The last bytes and the end behind them, which leave in one segment."""
        self.ended = True
        borrowed = _borrow(self.sink)
        try:
            count = borrowed.send(data, _MSG_MORE)
            self.total += count
            if count < len(data):
                self.held = data[count:]
                return CLOGGED
            borrowed.shutdown(_SHUT_WR)
            self.shut = True
        except BlockingIOError:
            self.held = data
            return CLOGGED
        except OSError:
            return SINK_BROKEN
        finally:
            borrowed.detach()
        return ENDED

    def _turns_to_bulk(self, pipes: Pipes | None) -> bool:
        self.full_reads += 1
        if pipes is None or self.full_reads < _FULL_READS_BEFORE_SPLICE:
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
                    return ENDED
                try:
                    count = _splice(self.source, pipe.writing, pipe.capacity, flags=_FLAGS)
                except BlockingIOError:
                    return IDLE
                except OSError:
                    return SOURCE_BROKEN
                if not count:
                    return self._spliced_up_to_mark_or_end()
                self.taken += count
                self.held = count
            state = self._drain(pipe)
            if state is not None:
                return state
        return GREEDY

    def _spliced_up_to_mark_or_end(self) -> Flow:
        if at_mark(self.source):
            self.announce_mark()
            return GREEDY
        self.ended = True
        return ENDED

    def _drain(self, pipe: Pipe) -> Flow | None:
        """Move the pipe's bytes to the sink; None when it took them all."""
        held = self.held
        assert isinstance(held, int)
        while held:
            try:
                count = _splice(pipe.reading, self.sink, held, flags=_FLAGS)
            except BlockingIOError:
                self.held = held
                return CLOGGED
            except OSError:
                self.held = held
                return SINK_BROKEN
            held -= count
            self.total += count
            self.spliced += count
        self.held = 0
        return None

    # --- urgent data ----------------------------------------------------------------------------------------------

    def announce_mark(self) -> None:
        """The source has urgent data (EPOLLPRI), which the next flow will come to."""
        if not self.urgent & _AHEAD:
            self.urgent |= _AHEAD
            keep_urgent_inline(self.source)

    def _flow_around_mark(self, end: int, size: int, pipes: Pipes | None) -> Flow:
        state = self._empty_hands(pipes)
        if state is None and self.urgent & _AHEAD:
            state = self._read_up_to_mark(size)
        if state is not None:
            return state
        return ENDED if self.ended else self._copy(end, size, pipes)

    def _empty_hands(self, pipes: Pipes | None) -> Flow | None:
        """Offer what is held, and go back to copying; None when the sink took it all."""
        pipe = self.pipe
        if pipe is not None:
            assert pipes is not None
            state = self._drain(pipe)
            if state is None:
                pipes.give_back(pipe, 0)
                self.pipe = None
                self.held = b""
                self.full_reads = 0
            return state
        if not self.held:
            return None
        return self._offer_marked(self.held) if self.urgent & _HELD else self._offer(self.held)

    def _read_up_to_mark(self, size: int) -> Flow | None:
        """Move everything up to the mark and the urgent byte itself; None when it is behind us, or was none."""
        data, enough = b"", self.taken + _TURN
        while not at_mark(self.source):
            state = self._offer(data) if data else None
            if state is not None:
                return state
            if self.taken >= enough:
                return GREEDY
            try:
                data = _read(self.source, size)
            except BlockingIOError:
                self.urgent &= ~_AHEAD
                return None
            except OSError:
                return SOURCE_BROKEN
            if not data:
                self.urgent &= ~_AHEAD
                self.ended = True
                return ENDED
            self.taken += len(data)
        return self._pass_mark(data)

    def _pass_mark(self, before: bytes) -> Flow | None:
        """Offer what was read up to the mark, and the urgent byte behind it if it has come."""
        self.urgent &= ~_AHEAD
        try:
            last = _read(self.source, 1)
        except OSError:
            # Announced, but still on its way; or broken, as the next read will find.
            last = b""
        self.taken += len(last)
        if last:
            return self._offer_marked(before + last)
        return self._offer(before) if before else None

    def _offer_marked(self, data: bytes | int) -> Flow | None:
        """Offer bytes of which the last is urgent; None when the sink took them all.

        It is sent by itself, since the kernel would mark the last byte of whatever part it took.
        """
        assert isinstance(data, bytes)
        borrowed = _borrow(self.sink)
        self.urgent |= _HELD
        self.held = data
        try:
            if len(data) > 1:
                count = borrowed.send(data[:-1], _MSG_MORE)
                self.total += count
                self.held = data = data[count:]
            if len(data) > 1:
                return CLOGGED
            borrowed.send(data, _MSG_OOB)
        except BlockingIOError:
            return CLOGGED
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                return SINK_BROKEN
            # A UNIX socket of a kind, or of a kernel, that has no urgent data.
            self.urgent &= ~_HELD
            return self._offer(data)
        finally:
            borrowed.detach()
        self.total += 1
        self.held = b""
        self.urgent &= ~_HELD
        return None

    def dispose(self, pipes: Pipes) -> None:
        """Give the pipe back, if any; the pump is not used again."""
        if self.pipe is not None:
            assert isinstance(self.held, int)
            pipes.give_back(self.pipe, self.held)
            self.pipe = None
            self.held = b""
