"""What every session of a worker shares: the loop, the pipes, the counters, the logs."""

from __future__ import annotations

import os
import resource
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pasvport import slots
from pasvport.engine.counters import Counters, ProcessCells
from pasvport.engine.loop import Loop
from pasvport.engine.pipes import Pipes
from pasvport.model import Config
from pasvport.sight import LoginFailureSight
from pasvport.wire import Message, Notice

RETRY_DESCRIPTORS = 0.1
"""Seconds between tries while descriptors have run out and nobody gave one back."""


_EPISODE = 10.0
"""Seconds without exhaustion after which the next is a new episode, worth a new warning."""
_OWN_DESCRIPTORS = "/proc/self/fd"
_MOST_TRIED = 65536
_RECENT = 50
"""Failed logins that a worker remembers, for whoever asks."""


class Starved(Protocol):
    """Something that needs a descriptor before it can go on."""

    def feed(self) -> None:
        """Try again; may call `Plant.starve` again."""

    def failed(self, error: Exception) -> None:
        """`feed` raised."""


class Plant:
    """One per worker."""

    def __init__(self, config: Config, loop: Loop, counters: Counters, tell: Callable[[Message], None]) -> None:
        self.config = config
        self.loop = loop
        self.counters = counters
        self.cells = counters.cells
        self.process = ProcessCells(counters.layout.process)
        self.tell = tell
        self.read_size = config.settings.bufsize
        self.ftp_held = 0
        """Bytes that the sessions of `mode ftp` hold for their peers, counted where any outlast a turn of the loop."""
        self.most_ftp_held = config.settings.ftp_held
        self.pipes = Pipes(config.settings.pipesize, self._count_pipes)
        self.splicing: Pipes | None = None if config.settings.nosplice else self.pipes
        self.epoch_offset = time.time() - loop.clock()
        """Added to a monotonic moment it gives seconds since the epoch; set right once a second (`tell_time`)."""
        self.login_failures: deque[LoginFailureSight] = deque(maxlen=_RECENT)
        self.descriptors = OpenDescriptors()
        self.scatters = False
        """Connections of one address may come to several workers."""
        self.bucket: int | None = None
        self._hungry: deque[Starved] = deque()
        self._exhausted_at = -_EPISODE

    def _count_pipes(self, used: int, idle: int) -> None:
        self.cells[self.process.pipes_used] = used
        self.cells[self.process.pipes_free] = idle

    def tell_time(self) -> None:
        """Follow the clock on the wall, should it have been set."""
        self.epoch_offset = time.time() - self.loop.clock()

    # A process without a free descriptor must not lose the session that it was about to connect, nor spin on accept:
    # whoever needs one waits here until somebody closes one, or for a moment.

    def starve(self, starved: Starved) -> None:
        """Call `starved.feed()` when descriptors may be free again."""
        self._hungry.append(starved)
        if self.bucket is None:
            self.loop.timers.file(self, self.loop.now + RETRY_DESCRIPTORS, self.loop.now)

    def time_is_up(self, now: float) -> None:
        """Feed everybody who waits; those for whom there is still nothing come back by themselves."""
        hungry, self._hungry = self._hungry, deque()
        for starved in hungry:
            try:
                starved.feed()
            except Exception as error:
                starved.failed(error)

    def failed(self, error: Exception) -> None:
        """Nothing to give up: `time_is_up` guards each of those it feeds."""

    def exhausted(self) -> None:
        """accept() found no descriptor: count it, and say so once per episode."""
        self.cells[self.process.fd_exhausted] += 1
        now = self.loop.now
        if now - self._exhausted_at > _EPISODE:
            self.tell(Notice(4, "out of file descriptors: accepting is paused until some are free (see ulimit-n)"))
        self._exhausted_at = now

    def report(self, error: Exception) -> None:
        """A bug that cost at most one connection."""
        where = traceback.extract_tb(error.__traceback__)[-1:]
        place = f" at {Path(where[0].filename).name}:{where[0].lineno}" if where else ""
        self.tell(Notice(3, f"internal error: {error!r}{place}"))

    def dispose(self) -> None:
        """Close pooled pipes, and what counts descriptors."""
        self.pipes.dispose()
        self.descriptors.close()


class SlotWaiter:
    """One limit's semaphore in this worker: takes and gives slots, and wakes those who wait for one."""

    __slots__ = ("_loop", "_report", "_waiting", "descriptor")

    def __init__(self, loop: Loop, descriptor: int, report: Callable[[Exception], None]) -> None:
        self._loop = loop
        self._report = report
        self._waiting: dict[Callable[[], None], None] = {}
        self.descriptor = descriptor

    def take(self) -> bool:
        """Take a slot now, or not at all."""
        return slots.take(self.descriptor)

    def give(self) -> None:
        """Give one back."""
        slots.give(self.descriptor)

    def wait(self, wake: Callable[[], None]) -> None:
        """Call `wake` at every slot given back from now on (and soon, if one is free now) until rest(wake)."""
        if not self._waiting:
            self._loop.add(self.descriptor, self, _SLOT_FREED)
        self._waiting[wake] = None

    def rest(self, wake: Callable[[], None]) -> None:
        """`wake` waits no more; nothing happens if it did not."""
        if self._waiting.pop(wake, self) is not self and not self._waiting:
            self._loop.remove(self.descriptor)

    def ready(self, descriptor: int, events: int) -> None:
        for wake in list(self._waiting):
            wake()

    def failed(self, error: Exception) -> None:
        """A bug in somebody who was woken; the others are woken again by the next slot."""
        self._report(error)


_SLOT_FREED = 0x001 | (1 << 31)  # EPOLLIN | EPOLLET: an edge for every slot given back, by whichever worker


class OpenDescriptors:
    """Counts the descriptors of this process. To be made before a chroot, in which there is no /proc."""

    __slots__ = ("_folder",)

    def __init__(self) -> None:
        try:
            self._folder = os.open(_OWN_DESCRIPTORS, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            self._folder = -1

    def count(self) -> int:
        """How many are open, but for the one that counts."""
        if self._folder >= 0:
            # Listing needs a descriptor of its own for a moment.
            with os.scandir(self._folder) as found:
                return sum(1 for _ in found) - 2
        return sum(map(_is_open, range(min(_MOST_TRIED, resource.getrlimit(resource.RLIMIT_NOFILE)[0]))))

    def close(self) -> None:
        """Count no more."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
