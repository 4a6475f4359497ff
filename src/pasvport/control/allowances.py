"""How many connection slots there are of each limit, and how an operator changes that while sessions hold some.

More are simply given. To have fewer, those that are free are taken away, and of those in use each one that comes back,
until enough are gone. See `slots`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from pasvport import slots

UNLIMITED = 1 << 20
"""What stands for no limit where there is one to be lifted: more connections than descriptors allow."""
_INACCURACY = 16
"""Slots by which the accounts of all workers may differ from what is free, without anybody to blame."""
_MOST_TAKEN = 20_000
"""Slots that are taken back at once; each is a system call."""


class Allowances:
    """`descriptors` are the eventfds of one generation, `sizes` how many slots each began with."""

    def __init__(self, descriptors: Mapping[str, int], sizes: Mapping[str, int]) -> None:
        self._descriptors = descriptors
        self._sizes = dict(sizes)
        self._surplus: dict[str, int] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._sizes

    def size(self, key: str) -> int:
        """Slots of a limit as ordered last. Raises KeyError where the configuration has no such limit."""
        return self._sizes[key]

    def resize(self, key: str, size: int) -> None:
        """Another number of slots; needs a running loop. Raises KeyError where there is no such limit."""
        change = size - self._sizes[key] - self._surplus.get(key, 0)
        self._sizes[key] = size
        self._settle(key)
        if change > 0:
            slots.give(self._descriptors[key], change)
        elif change < 0:
            self._surplus[key] = -change
            asyncio.get_running_loop().add_reader(self._descriptors[key], self._collect, key)
            # Those that are free are gone by the time the order is answered.
            self._collect(key)

    def _collect(self, key: str) -> None:
        """A slot is free: it is one too many."""
        while self._surplus[key] and slots.take(self._descriptors[key]):
            self._surplus[key] -= 1
        if not self._surplus[key]:
            self._settle(key)

    def _settle(self, key: str) -> None:
        if self._surplus.pop(key, None) is not None:
            asyncio.get_running_loop().remove_reader(self._descriptors[key])

    def bury(self, key: str, held: int, in_use: int) -> bool:
        """A worker died that held slots by its account; the others use `in_use` by theirs. False: the limit is gone.

        An account may be wrong, and slots may have been taken or given that nobody counted. So what is free afterwards
        is never more than the limit, and where it would be less than the others leave, that is made up. Between taking
        a slot and counting it a worker may be anywhere: small differences are left alone. What was given without limit
        cannot be taken back one by one.
        """
        if key in self._surplus:
            return True
        size, descriptor = self._sizes[key], self._descriptors[key]
        free, left = slots.free(descriptor), max(0, size - max(0, in_use))
        wanted = free + min(max(0, held), size)
        if wanted > size or wanted < left - _INACCURACY:
            wanted = left
        for _ in range(min(free - wanted, _MOST_TAKEN)):
            slots.take(descriptor)
        if wanted > free:
            slots.give(descriptor, wanted - free)
        return free - wanted <= _MOST_TAKEN

    def close(self) -> None:
        """Collect no more; the descriptors are about to be closed."""
        for key in list(self._surplus):
            self._settle(key)
