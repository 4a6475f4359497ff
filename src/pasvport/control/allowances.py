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

    def _collect(self, key: str) -> None:
        """A slot is free: it is one too many."""
        while self._surplus[key] and slots.take(self._descriptors[key]):
            self._surplus[key] -= 1
        if not self._surplus[key]:
            self._settle(key)

    def _settle(self, key: str) -> None:
        if self._surplus.pop(key, None) is not None:
            asyncio.get_running_loop().remove_reader(self._descriptors[key])

    def close(self) -> None:
        """Collect no more; the descriptors are about to be closed."""
        for key in list(self._surplus):
            self._settle(key)
