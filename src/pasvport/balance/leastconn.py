"""`balance leastconn`: the server with the fewest sessions for its weight, in turn among equals.

HAProxy 2.6's key: an idle server counts 0, any other (sessions + 1) x 4096 / effective weight; a server whose load
changes goes behind all others with its new key.

Where several processes serve one backend, a load may change without `moved`. Up to RESCANNED servers are all looked
at again before each choice; of more, the best candidate is always checked, and a few others in turn, so that a load
that fell elsewhere is noticed after at most servers / SLICE choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pasvport.balance.picker import Full, Load, Member, Ranks, first_free
from pasvport.balance.weights import MAXIMUM

RESCANNED = 64
SLICE = 16


class LeastConnections:
    """See the module. `shared` is False when nobody else serves the backend: then `moved` tells everything."""

    def __init__(self, members: Sequence[Member], load: Load, *, shared: bool = True) -> None:
        self._moved: dict[int, None] = {}
        self._load = load
        self._shared = shared
        self._weights: dict[int, int] = {}
        self._order = Ranks()
        self._turn: list[int] = []
        for index, weight in members:
            self.add(index, weight)

    def add(self, index: int, weight: int) -> None:
        self.reweigh(index, weight)
        self._turn.append(index)

    def remove(self, index: int) -> None:
        self._settle()
        del self._weights[index]
        self._order.drop(index)
        self._turn.remove(index)

    def reweigh(self, index: int, weight: int) -> None:
        self._settle()
        self._weights[index] = weight
        self._order.put(index, self._rank(index))

    # Most sessions know their server from a stick table, so loads change far more often than somebody asks. Ranks are
    # computed when somebody does, in the order of each server's last change: the result is the same.

    def moved(self, index: int) -> None:
        self._moved.pop(index, None)
        self._moved[index] = None

    def _settle(self) -> None:
        for index in self._moved:
            if index in self._weights:
                self._order.put(index, self._rank(index))
        self._moved.clear()

    def pick(self, key: bytes | None, avoid: int, full: Full) -> int:
        self._settle()
        if not self._shared:
            return first_free(iter(self._order), avoid, full)
        if len(self._turn) <= RESCANNED:
            self._refresh(self._turn)
            return first_free(iter(self._order), avoid, full)
        self._refresh(self._turn[:SLICE])
        self._turn = self._turn[SLICE:] + self._turn[:SLICE]
        return self._present_best(avoid, full)

    def _rank(self, index: int) -> int:
        sessions = self._load(index)
        return (sessions + 1) * MAXIMUM // self._weights[index] if sessions > 0 else 0

    def _refresh(self, indexes: Iterable[int]) -> None:
        for index in indexes:
            rank = self._rank(index)
            if rank != self._order.rank(index):
                self._order.put(index, rank)

    def _present_best(self, avoid: int, full: Full) -> int:
        """The best server whose load is known to be the present one: a stale candidate is moved and chosen anew."""
        for _ in range(len(self._turn)):
            index = first_free(iter(self._order), avoid, full)
            if index < 0 or self._rank(index) == self._order.rank(index):
                return index
            self._order.put(index, self._rank(index))
        return first_free(iter(self._order), avoid, full)
