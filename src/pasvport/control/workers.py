"""One worker process: launched, spoken to over the wire, watched, reaped.

Its end is seen through a pidfd, so that no SIGCHLD is needed and no other child is touched.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from pasvport.bounds import LONGEST_TEXT, visible
from pasvport.control.launcher import Launcher, reap
from pasvport.errors import WireError
from pasvport.wire import FROM_WORKER, Deframer, Message, Ready, Start, encode

_CHUNK = 256 << 10
_TURN = 200
"""Messages taken in one turn of the loop; more wait, and with them whoever tells so much."""
_REST = 0.01
"""Seconds between two such turns: what a worker tells can take the supervisor's time only so far."""
_LARGEST_BACKLOG = 64 << 20
"""Bytes that may wait for a worker that does not read its wire; past that it is taken for dead and killed."""
_LONGEST_COMPLAINT = 64 << 10
"""Bytes of stderr looked at together; what a worker writes faster than that is cut."""
_LONGEST_FAULT = 200
_MOST_LAST_WORDS = 16
"""Reads of what a worker left behind, more than a pipe or socket holds: a child of its own could go on for ever."""
_LEAVING = 2.0
"""Seconds that a worker which closed its wire may still take to exit."""

Received = Callable[["Worker", Message], None]
Left = Callable[["Worker", int], None]
Complained = Callable[["Worker", str], None]


class Worker:
    """A running worker. `received` gets its messages, `left` its exit status (negative: the signal), once, last of all.

    `complained` gets each line it writes to stderr, which is the interpreter's word on a crash: a worker never holds
    the terminal, so that the one of a daemon is free when the start is over.
    Needs a running event loop. Raises OSError when the process cannot be started.
    """

    def __init__(
        self,
        number: int,
        descriptors: Sequence[int],
        *,
        received: Received,
        left: Left,
        complained: Complained,
        launcher: Launcher,
    ) -> None:
        self.number = number
        self._received = received
        self._left = left
        self._complained = complained
        self._loop = asyncio.get_running_loop()
        self.born = self._loop.time()
        self._outgoing = bytearray()
        self._deframer = Deframer(FROM_WORKER)
        self._messages: Iterator[Message] = iter(())
        self._resting: asyncio.TimerHandle | None = None
        self.fault = ""
        """What it told that no sound worker tells, for which it was killed."""
        self._held: list[Message] | None = []
        self._complaint = bytearray()
        self._wire, self.pid, self._pidfd, self._stderr = _launch(launcher, descriptors)
        self._is_gone = False
        self.is_suspect = False
        """Whether its event loop seems to stand still (`control.watchdog`)."""
        self._loop.add_reader(self._wire, self._readable)
        self._loop.add_reader(self._stderr, self._hear)
        self._loop.add_reader(self._pidfd, self._ended)

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return self._loop.time() - self.born

    @property
    def is_ready(self) -> bool:
        """Whether it has begun to accept."""
        return self._held is None

    @property
    def backlog(self) -> int:
        """Bytes that it has not read yet."""
        return len(self._outgoing)

    def start(self, message: Start) -> None:
        """Send the first message."""
        self._write(message)

    def send(self, message: Message) -> None:
        """Send a message now, or as soon as the worker reads; one that is not ready yet gets it when it is."""
        if self._held is None:
            self._write(message)
        else:
            self._held.append(message)

    def _write(self, message: Message) -> None:
        was_empty = not self._outgoing
        self._outgoing += encode(message)
        if len(self._outgoing) > _LARGEST_BACKLOG:
            self.kill(signal.SIGKILL)
        elif was_empty:
            self._writable()

    def kill(self, number: signal.Signals) -> None:
        """Send a signal; a worker that is gone already is left alone."""
        if not self._is_gone:
            signal.pidfd_send_signal(self._pidfd, number)

    def _writable(self) -> None:
        try:
            count = self._wire.send(self._outgoing)
        except BlockingIOError:
            count = 0
        except OSError:
            # Its end is closed: it is about to exit, which the pidfd will tell.
            count = len(self._outgoing)
        del self._outgoing[:count]
        if self._outgoing:
            self._loop.add_writer(self._wire, self._writable)
        else:
            self._loop.remove_writer(self._wire)

    def _readable(self) -> None:
        try:
            data = self._wire.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._wire)
            self._loop.call_later(_LEAVING, self.kill, signal.SIGKILL)
            return
        self._messages = self._deframer.feed(data)
        self._take()

    def _take(self) -> None:
        """Some messages; while there are more, nothing is read."""
        self._resting = None
        if self._obey(_TURN):
            self._loop.remove_reader(self._wire)
            self._resting = self._loop.call_later(_REST, self._take)
        elif not self.fault:
            self._loop.add_reader(self._wire, self._readable)

    def _obey(self, most: int) -> bool:
        """Take messages, at most so many; whether there may be more."""
        try:
            for message in islice(self._messages, most):
                most -= 1
                if isinstance(message, Ready):
                    self._release()
                self._received(self, message)
        except WireError as error:
            self._distrust(str(error))
        except Exception as error:
            # A bug of ours, which what the worker told has found: it may not keep the worker from being reaped.
            self._distrust(f"internal error: {error!r}")
            self._loop.call_exception_handler({"message": "a worker's message", "exception": error})
        return not most and not self.fault

    def _distrust(self, fault: str) -> None:
        """A worker that talks nonsense cannot be trusted with clients either."""
        self.fault = self.fault or visible(fault, _LONGEST_FAULT)
        self._messages = iter(())
        self._loop.remove_reader(self._wire)
        self.kill(signal.SIGKILL)

    def _hear(self) -> bool:
        """Take what stderr has, line by line; whether there may be more."""
        try:
            data = os.read(self._stderr, _CHUNK)
        except BlockingIOError:
            return False
        self._complaint += data
        *lines, rest = bytes(self._complaint[:_LONGEST_COMPLAINT]).split(b"\n")
        if not data:
            self._loop.remove_reader(self._stderr)
            lines.append(rest)
            rest = b""
        self._complaint[:] = rest
        for line in filter(None, lines):
            self._complained(self, visible(line.decode("utf-8", "replace"), LONGEST_TEXT))
        return bool(data)

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for message in held:
            self._write(message)

    def _ended(self) -> None:
        self._loop.remove_reader(self._pidfd)
        self._is_gone = True
        status = reap(self._pidfd)
        self._last_words()
        for _ in range(_MOST_LAST_WORDS):
            if not self._hear():
                break
        self._loop.remove_reader(self._stderr)
        os.close(self._stderr)
        self._loop.remove_writer(self._wire)
        self._loop.remove_reader(self._wire)
        self._wire.close()
        os.close(self._pidfd)
        self._left(self, status)

    def _last_words(self) -> None:
        # BootFailed and the like are written just before the exit and may be seen after it.
        if self._resting is not None:
            self._resting.cancel()
        for _ in range(_MOST_LAST_WORDS):
            while self._obey(_TURN):
                pass
            if self.fault:
                return
            try:
                data = self._wire.recv(_CHUNK)
            except OSError:
                return
            if not data:
                return
            self._messages = self._deframer.feed(data)


def _launch(launcher: Launcher, descriptors: Sequence[int]) -> tuple[socket.socket, int, int, int]:
    """(our end of the wire, the process, its pidfd, its stderr). Raises OSError and leaves nothing behind."""
    with contextlib.ExitStack() as undo:
        ours, theirs = socket.socketpair()
        undo.callback(ours.close)
        stderr, its_stderr = os.pipe()
        undo.callback(os.close, stderr)
        with theirs:
            try:
                pid, pidfd = launcher.launch(theirs.fileno(), its_stderr, descriptors)
            finally:
                os.close(its_stderr)
        ours.setblocking(False)
        os.set_blocking(stderr, False)
        undo.pop_all()
    return ours, pid, pidfd, stderr


def describe(status: int) -> str:
    """`code 3 (Exit)` or `code 137 (Killed)`: an exit as HAProxy's master words it."""
    if status >= 0:
        return f"code {status} (Exit)"
    return f"code {128 - status} ({signal.strsignal(-status)})"
