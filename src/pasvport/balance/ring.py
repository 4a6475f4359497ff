"""The consistent ring behind `hash-type consistent` and `balance random`.

A server stands on a circle of 32-bit numbers as many times as its effective weight says; occurrence n of the server
with id I stands at avalanche(I x 4096 + n). A value belongs to the nearest occurrence, the lower one when it is in
the middle. With `hash-balance-factor` (consistent hashing with bounded loads, arXiv:1608.01350) an overloaded server's
share goes on to the next one on the circle.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate

from pasvport.balance.hashing import avalanche
from pasvport.balance.picker import Full, Load, Member
from pasvport.balance.weights import MAXIMUM

_MASK = 0xFFFFFFFF


class Ring:
    """See the module: `at` for hashing, `following` for round robin. `ids` are the servers' numeric ids by index."""

    def __init__(self, members: Sequence[Member], ids: Sequence[int], load: Load, balance_factor: int = 0) -> None:
        self._ids = ids
        self._load = load
        self._factor = balance_factor
        self._weights: dict[int, int] = {}
        self._nodes: list[tuple[int, int]] = []
        self._last = -1
        # HAProxy counts these once, at start: servers that come later count from 0.
        self._before = dict(zip((i for i, _ in members), accumulate((w for _, w in members), initial=0), strict=False))
        for index, weight in members:
            self._weights[index] = weight
            self._nodes += self._occurrences(index, 0, weight)
        self._nodes.sort()

    def add(self, index: int, weight: int) -> None:
        self._stand(index, 0, weight)

    def remove(self, index: int) -> None:
        self._stand(index, self._weights[index], 0)
        del self._weights[index]

    def reweigh(self, index: int, weight: int) -> None:
        self._stand(index, self._weights[index], weight)

    def moved(self, index: int) -> None:
        """Loads are asked for when they matter."""

    def at(self, value: int, avoid: int) -> int:
        """The server nearest to a 32-bit value, -1 when there is none.

        From `avoid`, or an overloaded server, on along the circle; when that leads nowhere it is taken after all.
        """
        nodes = self._nodes
        if not nodes:
            return -1
        above = bisect_left(nodes, (value, -1)) % len(nodes)
        below = above - 1
        near = value - nodes[below][0] & _MASK, nodes[above][0] - value & _MASK
        start = below % len(nodes) if near[0] <= near[1] else above
        if not self._factor and nodes[start][1] != avoid:
            return nodes[start][1]
        return self._acceptable(start, avoid)

    def following(self, avoid: int, full: Full) -> int:
        """Round robin along the circle; `avoid` only when there is no other, -1 when all are full."""
        nodes = self._nodes
        start = bisect_right(nodes, (self._last, MAXIMUM * MAXIMUM))
        fallback = -1
        for step in range(len(nodes)):
            spot, index = nodes[(start + step) % len(nodes)]
            self._last = spot
            if full(index):
                continue
            if index != avoid:
                return index
            fallback = spot
        if fallback < 0:
            return -1
        self._last = fallback
        return avoid

    # --- the circle -----------------------------------------------------------------------------------------------

    def _occurrences(self, index: int, start: int, stop: int) -> list[tuple[int, int]]:
        base = self._ids[index] * MAXIMUM
        return [(avalanche(base + number & _MASK), index) for number in range(start, stop)]

    def _stand(self, index: int, old: int, new: int) -> None:
        """Changes how often a server stands on the circle, its highest numbers first."""
        self._weights[index] = new
        if new > old:
            # Sorting two sorted runs is linear.
            self._nodes += sorted(self._occurrences(index, old, new))
            self._nodes.sort()
            return
        gone = set(self._occurrences(index, new, old))
        self._nodes = [node for node in self._nodes if node not in gone]
        if (self._last, index) in gone:
            self._last = self._successor(self._last)

    def _successor(self, spot: int) -> int:
        """Where round robin stands when the occurrence it stood on is gone: one further, or at the start."""
        nodes = self._nodes
        return nodes[bisect_left(nodes, (spot, -1)) % len(nodes)][0] if nodes else -1

    def _acceptable(self, start: int, avoid: int) -> int:
        nodes = self._nodes
        total = sum(map(self._load, self._weights)) if self._factor else 0
        refused = {avoid}
        # Past the end for the second time means that nobody is acceptable.
        for position in range(start, 2 * len(nodes)):
            index = nodes[position % len(nodes)][1]
            if index in refused:
                continue
            if not self._factor or self._has_room(index, total):
                return index
            refused.add(index)
        return nodes[-1][1]

    def _has_room(self, index: int, total: int) -> bool:
        """Whether a server holds fewer sessions than its bounded share of all, the coming one included."""
        weight = sum(self._weights.values())
        slots = -(-(total + 1) * self._factor // 100)
        whole, rest = divmod(slots, weight)
        before, own = self._before.get(index, 0), self._weights[index]
        share = own * whole + (before + own) * rest // weight - before * rest // weight
        return self._load(index) < max(1, share)
