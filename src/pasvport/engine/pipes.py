"""A pool of pipes for splice: a direction that flows borrows one, and gives it back empty."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable

DEFAULT_CAPACITY = 1024 * 1024
_KEEP = 32
"""Idle pipes kept open; more are closed when they come back."""


class Pipe:
    """Both ends of a pipe and how much it may hold (bytes)."""

    __slots__ = ("capacity", "reading", "writing")

    def __init__(self, wanted: int) -> None:
        self.reading, self.writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # An unprivileged process may be over its share of pipe memory (pipe-user-pages-soft); a small pipe works too.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, wanted)
        self.capacity = fcntl.fcntl(self.writing, fcntl.F_GETPIPE_SZ)

    def close(self) -> None:
        os.close(self.reading)
        os.close(self.writing)


class Pipes:
    """The pool. `count` tells the shared counters how many are in use and how many idle."""

    def __init__(self, capacity: int = 0, count: Callable[[int, int], None] | None = None) -> None:
        self._capacity = capacity or DEFAULT_CAPACITY
        self._idle: list[Pipe] = []
        self._used = 0
        self._count = count or (lambda used, idle: None)

    def borrow(self) -> Pipe | None:
        """An empty pipe, or None when descriptors have run out (the caller copies instead)."""
        try:
            pipe = self._idle.pop() if self._idle else Pipe(self._capacity)
        except OSError:
            return None
        self._used += 1
        self._count(self._used, len(self._idle))
        return pipe

    def give_back(self, pipe: Pipe, held: int) -> None:
        """Return a pipe that still holds `held` bytes; one that is not empty is closed, never reused."""
        self._used -= 1
        if held or len(self._idle) >= _KEEP:
            pipe.close()
        else:
            self._idle.append(pipe)
        self._count(self._used, len(self._idle))

    def dispose(self) -> None:
        """Close the idle ones."""
        for pipe in self._idle:
            pipe.close()
        self._idle.clear()
