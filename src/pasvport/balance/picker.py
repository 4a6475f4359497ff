"""What every balancing algorithm looks like to the pool, and the order the tree-based ones keep their servers in.

A picker knows one group (the active servers of a backend, or its backups) and holds only servers that are usable: the
pool adds and removes them. Weights here are effective weights, HAProxy's scale (see `weights`).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

Load = Callable[[int], int]
"""Sessions on server i now, queued ones included."""

Full = Callable[[int], bool]
"""Whether server i has no free connection slot."""

Member = tuple[int, int]
"""A usable server: its index in the backend and its effective weight (never 0)."""


class Picker(Protocol):
    """One algorithm over one group of usable servers."""

    def add(self, index: int, weight: int) -> None:
        """Server `index`, unknown or removed before, became usable with that weight (> 0)."""

    def remove(self, index: int) -> None:
        """A server of the group is not usable any more."""

    def reweigh(self, index: int, weight: int) -> None:
        """The weight (> 0) or the state of a server of the group changed and it stays usable."""

    def moved(self, index: int) -> None:
        """The load of a server changed; a server that is not in the group is ignored."""

    def pick(self, key: bytes | None, avoid: int, full: Full) -> int:
        """The server for a new session, or -1.

        `key` is what hashing algorithms hash. `avoid` is taken only when nothing else can be (-1: avoid none).
        """


class Ranks:
    """Servers sorted by a number, first come first among equals; the smallest is served first.

    The order of equals is part of HAProxy's algorithms (its trees keep duplicates in order of insertion).
    """

    __slots__ = ("_entries", "_next", "_where")

    def __init__(self) -> None:
        self._entries: list[tuple[int, int, int]] = []
        self._where: dict[int, tuple[int, int, int]] = {}
        self._next = 0

    def __contains__(self, index: int) -> bool:
        return index in self._where

    def __iter__(self) -> Iterator[int]:
        for entry in self._entries:
            yield entry[2]

    def __len__(self) -> int:
        return len(self._entries)

    def rank(self, index: int) -> int:
        """The number `index` is sorted by. Raises KeyError when it is not here."""
        return self._where[index][0]

    def first(self) -> int:
        """The server with the smallest number, -1 when there is none."""
        return self._entries[0][2] if self._entries else -1

    def put(self, index: int, rank: int) -> None:
        """Adds `index`, or moves it, behind all others with the same number."""
        self.drop(index)
        entry = (rank, self._next, index)
        self._next += 1
        self._where[index] = entry
        insort(self._entries, entry)

    def drop(self, index: int) -> None:
        """Takes `index` out; nothing happens when it is not here."""
        entry = self._where.pop(index, None)
        if entry is not None:
            del self._entries[bisect_left(self._entries, entry)]


def first_free(order: Iterator[int] | Sequence[int], avoid: int, full: Full) -> int:
    """The first server of `order` with a free slot, `avoid` only when there is no other; -1 when all are full."""
    fallback = -1
    for index in order:
        if full(index):
            continue
        if index != avoid:
            return index
        fallback = index
    return fallback
