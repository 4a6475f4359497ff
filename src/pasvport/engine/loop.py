"""The event loop of a worker: epoll, a list of owners by descriptor, deadlines, and one more turn for the greedy.

Some facts about epoll that this file rests on:

- Edge-triggered registration (EPOLLET) needs one EPOLL_CTL_ADD per descriptor and no further call; in exchange a
  owner must read until the kernel has nothing more, or remember that it stopped early.
- Closing a descriptor removes it from the set only if no duplicate of it is open; we never duplicate.
- One batch of events may hold an event for a descriptor that an earlier owner of the batch closed. Were its number
  given to a new connection within the batch, that connection would get a stranger's EPOLLHUP. So descriptors are
  closed after the batch: their numbers cannot come back before every event of the batch was looked at.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from pasvport.engine.timers import Timers

INWARD: Final[int] = select.EPOLLIN | select.EPOLLPRI | select.EPOLLRDHUP | select.EPOLLET
EDGE: Final[int] = INWARD | select.EPOLLOUT
READABLE: Final[int] = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR | select.EPOLLPRI
_BATCH: Final = 512
_close: Final = os.close


class Owner(Protocol):
    """Whose one or more descriptors are."""

    def ready(self, descriptor: int, events: int) -> None:
        """epoll reported `events` on one of its descriptors."""

    def failed(self, error: Exception) -> None:
        """`ready` or a deferred turn raised: a bug; give up what this owner serves, and nothing else."""


class Deferred(Protocol):
    """Something that has more to do than one turn may take."""

    def resume(self) -> None:
        """Take another turn."""

    def failed(self, error: Exception) -> None:
        """`resume` raised."""


class Speaker(Protocol):
    """Something that keeps what it says until every event of a turn was looked at."""

    def speak(self) -> None:
        """Say it now."""

    def failed(self, error: Exception) -> None:
        """`speak` raised."""


class Loop:
    """One per worker. `now` is the monotonic time at the start of the current batch, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.now = clock()
        self.timers = Timers()
        self.owners: list[Owner | None] = [None] * 64
        self.turns = self.events = self.resumed = 0
        self.busy = self.longest = 0.0
        """Seconds of work: of all turns, of the longest."""
        self._epoll = select.epoll()
        self._deferred: deque[Deferred] = deque()
        self._speakers: list[Speaker] = []
        self._closing: list[int] = []
        self._running = False

    def add(self, descriptor: int, owner: Owner, events: int = EDGE) -> None:
        """Watch a descriptor. Edge-triggered in both directions unless `events` says otherwise."""
        if descriptor >= len(self.owners):
            self.owners.extend([None] * (descriptor + 64 - len(self.owners)))
        self.owners[descriptor] = owner
        self._epoll.register(descriptor, events)

    def modify(self, descriptor: int, events: int) -> None:
        """Change what is watched."""
        self._epoll.modify(descriptor, events)

    def remove(self, descriptor: int) -> None:
        """Stop watching a descriptor that stays open."""
        self.owners[descriptor] = None
        self._epoll.unregister(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a watched descriptor at the end of this batch; its owner hears nothing more of it at once."""
        self.owners[descriptor] = None
        self._closing.append(descriptor)

    def defer(self, task: Deferred) -> None:
        """Let `task` resume when its turn comes. One task a turn of the loop: whoever has little to do waits for one
        heap of bytes at most, not for as many as there are transfers."""
        self._deferred.append(task)

    def speak_later(self, speaker: Speaker) -> None:
        """Let `speaker` speak once, before this turn ends.

        What is sent to a peer on this machine wakes it: a burst at the end wakes it once, where a write for each event
        would wake it and let it fall asleep again.
        """
        self._speakers.append(speaker)

    def stop(self) -> None:
        """Return from run() after the current turn."""
        self._running = False

    def run(self) -> None:
        """Turn until stop()."""
        self._running = True
        while self._running:
            self.turn()

    def turn(self, longest: float = -1) -> None:
        """Wait for events (at most `longest` seconds; -1: no bound), handle them, then deadlines."""
        # The wait is counted from the last batch's time: a deadline may be met late by as long as that batch took,
        # and a turn with one event, which most are when there is little to do, costs one look at the clock.
        events = self._epoll.poll(0 if self._deferred else self._patience(longest), _BATCH)
        now = self.now = self.clock()
        owners = self.owners
        for descriptor, mask in events:
            owner = owners[descriptor]
            if owner is None:
                continue
            try:
                owner.ready(descriptor, mask)
            except Exception as error:
                owner.failed(error)
        if self._deferred:
            self._resume_deferred()
        self.timers.expire(now)
        if self._speakers:
            self._let_speak()
        if self._closing:
            self._close_now()
        self.turns += 1
        self.events += len(events)
        spent = self.clock() - now
        self.busy += spent
        if spent > self.longest:
            self.longest = spent

    def _patience(self, longest: float) -> float:
        wait = self.timers.wait(self.now)
        if longest < 0:
            return wait
        return longest if wait < 0 else min(wait, longest)

    def _resume_deferred(self) -> None:
        task = self._deferred.popleft()
        self.resumed += 1
        try:
            task.resume()
        except Exception as error:
            task.failed(error)

    def _let_speak(self) -> None:
        # Whom one of them makes speak comes behind it.
        for speaker in self._speakers:
            try:
                speaker.speak()
            except Exception as error:
                speaker.failed(error)
        self._speakers.clear()

    def _close_now(self) -> None:
        closing, self._closing = self._closing, []
        for descriptor in closing:
            _close(descriptor)

    def dispose(self) -> None:
        """Close the epoll descriptor and whatever waits to be closed."""
        self._close_now()
        self._epoll.close()
