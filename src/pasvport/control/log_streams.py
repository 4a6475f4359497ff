"""Log targets that may block: a bounded backlog each, emptied by a task (network) or a thread (descriptors).

Whoever puts a line in never waits: what does not fit is lost and counted, and said once the target takes lines again.
Source: HAProxy manual, section 4.2 (`log`); a TCP log server gets lines ended by LF, as from 2.6.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pasvport.address import Endpoint, Family
from pasvport.sockets import sockaddr

BATCH = 64 * 1024


@dataclass(frozen=True, slots=True)
class Pace:
    """Bounds of a stream. Seconds, except `backlog`, in bytes.

    `write` is how long a target may take for one batch before it is dialled anew; `notice` how often losses are said.
    """

    backlog: int = 1024 * 1024
    connect: float = 5.0
    write: float = 10.0
    first_pause: float = 0.5
    longest_pause: float = 5.0
    notice: float = 10.0


class Backlog:
    """Lines that wait, bounded in bytes; safe between threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._unsaid = 0
        self._changed = threading.Condition()
        self.dropped = 0

    def __len__(self) -> int:
        return self._size

    def put(self, line: bytes) -> bool:
        """Append a line; False when there was no room and it was counted as lost."""
        with self._changed:
            if self._size + len(line) > self._limit:
                self._lose(1)
                return False
            self._lines.append(line)
            self._size += len(line)
            self._changed.notify()
            return True

    def take(self) -> list[bytes]:
        """The oldest lines, up to BATCH bytes but at least one if there is one."""
        with self._changed:
            taken: list[bytes] = []
            size = 0
            while self._lines and (not taken or size + len(self._lines[0]) <= BATCH):
                taken.append(self._lines.popleft())
                size += len(taken[-1])
            self._size -= size
            return taken

    def give_back(self, lines: list[bytes]) -> None:
        """Put lines that could not be written back in front."""
        with self._changed:
            self._lines.extendleft(reversed(lines))
            self._size += sum(map(len, lines))

    def lose(self, lines: int) -> None:
        """Count lines that were taken and could not be written."""
        with self._changed:
            self._lose(lines)

    def lose_all(self) -> None:
        """Count everything that waits as lost: nobody will write it."""
        with self._changed:
            self._lose(len(self._lines))
            self._lines.clear()
            self._size = 0

    def claim_lost(self) -> int:
        """How many lines were lost since the last call."""
        with self._changed:
            unsaid, self._unsaid = self._unsaid, 0
            return unsaid

    def wait(self, seconds: float) -> None:
        """Return when a line is there, or after `seconds`. For threads only."""
        with self._changed:
            if not self._lines:
                self._changed.wait(seconds)

    def _lose(self, lines: int) -> None:
        self.dropped += lines
        self._unsaid += lines


class Losses:
    """Words a backlog's losses for its own target, at most once per `every` seconds."""

    def __init__(self, backlog: Backlog, every: float, word: Callable[[int], bytes]) -> None:
        self._backlog = backlog
        self._every = every
        self._word = word
        self._next = 0.0

    def due(self) -> bytes:
        """The line to write now, or nothing."""
        now = time.monotonic()
        if now < self._next or not (lost := self._backlog.claim_lost()):
            return b""
        self._next = now + self._every
        return self._word(lost)


class Stream(Protocol):
    """A target behind a backlog."""

    backlog: Backlog

    def put(self, line: bytes) -> None:
        """Queue a line, or lose it; never waits."""

    async def close(self, deadline: float) -> None:
        """Write what waits until `deadline` (loop time), then let go."""


class NetworkStream:
    """A log server over TCP or a UNIX stream socket: dialled at the start or with the first line, and dialled anew.

    `complain` is told why it cannot be reached, once until it is.
    """

    def __init__(
        self, endpoint: Endpoint, pace: Pace, word_losses: Callable[[int], bytes], complain: Callable[[str], None]
    ) -> None:
        self.backlog = Backlog(pace.backlog)
        self._endpoint = endpoint
        self._pace = pace
        self._losses = Losses(self.backlog, pace.notice, word_losses)
        self._complain = complain
        self._has_complained = False
        self._filled = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def put(self, line: bytes) -> None:
        """Queue a line, or lose it; never waits. Must be called in the loop's thread."""
        if not self.backlog.put(line):
            return
        self._idle.clear()
        self.look()

    def look(self) -> None:
        """Dial, unless that is done."""
        self._filled.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"log {self._endpoint}")

    async def close(self, deadline: float) -> None:
        """Write what waits until `deadline` (loop time), then disconnect."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await self._idle.wait()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self.backlog.lose_all()

    async def _run(self) -> None:
        pause = self._pace.first_pause
        while True:
            await self._filled.wait()
            try:
                async with asyncio.timeout(self._pace.connect):
                    reader, writer = await self._connect()
                self._has_complained = False
                await self._serve(reader, writer)
                pause = self._pace.first_pause
                await asyncio.sleep(pause)
            except (OSError, TimeoutError) as error:
                self._tell(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, self._pace.longest_pause)

    def _tell(self, error: OSError) -> None:
        if not self._has_complained:
            self._has_complained = True
            self._complain(os.strerror(error.errno) if error.errno else "no answer in time")

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        endpoint = self._endpoint
        if endpoint.family in (Family.UNIX, Family.ABNS):
            path = sockaddr(endpoint)
            assert not isinstance(path, tuple)
            return await asyncio.open_unix_connection(path)  # type: ignore[arg-type] # abstract names are bytes
        return await asyncio.open_connection(endpoint.host, endpoint.port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Write until the connection fails or the server closes it."""
        closed = asyncio.create_task(_discard(reader))
        # drain() then waits until the kernel has everything, so that a batch is either written or given back.
        writer.transport.set_write_buffer_limits(high=0)
        try:
            while not closed.done():
                if batch := self.backlog.take():
                    await self._write(writer, batch)
                else:
                    await self._rest(closed)
        finally:
            closed.cancel()
            await asyncio.gather(closed, return_exceptions=True)
            writer.transport.abort()

    async def _write(self, writer: asyncio.StreamWriter, batch: list[bytes]) -> None:
        try:
            writer.write(b"".join([*batch, self._losses.due()]))
            async with asyncio.timeout(self._pace.write):
                await writer.drain()
        except BaseException:
            self.backlog.give_back(batch)
            raise

    async def _rest(self, closed: asyncio.Task[None]) -> None:
        self._idle.set()
        self._filled.clear()
        filled = asyncio.create_task(self._filled.wait())
        try:
            await asyncio.wait((filled, closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            filled.cancel()


class DescriptorStream:
    """stdout, stderr or an inherited descriptor, written by a thread of its own: it may be blocking, and shared with
    others, so its flags are not ours to change. The thread starts with the first line."""

    def __init__(self, descriptor: int, pace: Pace, word_losses: Callable[[int], bytes]) -> None:
        self.backlog = Backlog(pace.backlog)
        self._descriptor = descriptor
        self._pace = pace
        self._losses = Losses(self.backlog, pace.notice, word_losses)
        self._thread: threading.Thread | None = None
        self._stopping = False

    def put(self, line: bytes) -> None:
        """Queue a line, or lose it; never waits."""
        if self.backlog.put(line) and self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"log fd@{self._descriptor}", daemon=True)
            self._thread.start()

    async def close(self, deadline: float) -> None:
        """Write what waits until `deadline` (loop time). A thread that a full pipe holds is left behind."""
        if self._thread is None:
            return
        self._stopping = True
        seconds = max(0.0, deadline - asyncio.get_running_loop().time())
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join, seconds)
        self.backlog.lose_all()

    def _run(self) -> None:
        while True:
            if batch := self.backlog.take():
                self._write(batch)
            elif self._stopping:
                return
            else:
                self.backlog.wait(0.2)

    def _write(self, batch: list[bytes]) -> None:
        data = memoryview(b"".join([*batch, self._losses.due()]))
        try:
            while data:
                data = data[self._write_some(data) :]
        except OSError:
            self.backlog.lose(len(batch))

    def _write_some(self, data: memoryview) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            # Somebody made it non-blocking; asking again now and then is all that can be done without its flags.
            if self._stopping:
                raise
            time.sleep(0.02)
            return 0


async def _discard(reader: asyncio.StreamReader) -> None:
    """Read what a log server may say, until it closes; a syslog server says nothing."""
    with contextlib.suppress(OSError):
        while await reader.read(4096):
            pass
