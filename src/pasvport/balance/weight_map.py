"""The static map behind `balance static-rr` and `hash-type map-based`: one slot per unit of weight.

The slots interleave the servers smoothly; equal scores go to the server declared first. The map is computed anew
when a server comes or goes. Weights are effective weights of a static scale (see `weights.static_scale`).
"""

from __future__ import annotations

from collections.abc import Sequence

from pasvport.balance.picker import Full, Member


class Turn:
    """Where the round robin over a map stands; a backend's active and backup maps share it, as in HAProxy."""

    __slots__ = ("at",)

    def __init__(self) -> None:
        self.at = 0


class WeightMap:
    """See the module: `at` for hashing, `following` for round robin."""

    def __init__(self, members: Sequence[Member], turn: Turn) -> None:
        self._weights = dict(members)
        self._slots: list[int] | None = None
        self._turn = turn

    def add(self, index: int, weight: int) -> None:
        self._weights[index] = weight
        self._slots = None

    def remove(self, index: int) -> None:
        del self._weights[index]
        self._slots = None

    def reweigh(self, index: int, weight: int) -> None:
        self.add(index, weight)

    def moved(self, index: int) -> None:
        """Loads do not matter here."""

    def at(self, value: int, avoid: int) -> int:
        """The server of a hash value, -1 when there is none. A map has no second choice: `avoid` is ignored."""
        slots = self._built()
        return slots[value % len(slots)] if slots else -1

    def following(self, avoid: int, full: Full) -> int:
        """The next server in turn that has a free slot, `avoid` only when there is no other; -1 when all are full."""
        slots = self._built()
        size = len(slots)
        start = self._turn.at if self._turn.at < size else 0
        fallback = -1
        for step in range(size):
            position = (start + step) % size
            index = slots[position]
            if full(index):
                continue
            if index != avoid:
                self._turn.at = position + 1
                return index
            fallback = position
        if fallback < 0:
            return -1
        self._turn.at = fallback + 1
        return slots[fallback]

    def _built(self) -> list[int]:
        if self._slots is None:
            self._slots = _interleaved(sorted(self._weights.items()))
        return self._slots


def _interleaved(members: Sequence[Member]) -> list[int]:
    total = sum(weight for _, weight in members)
    if total == 1:
        return [members[0][0]]
    scores = {index: 0 for index, _ in members}
    slots: list[int] = []
    for _ in range(total):
        for index, weight in members:
            scores[index] += weight
        # Scores are compared in units of the whole weight, so small advantages do not beat the order of declaration.
        best = max(scores, key=lambda index: (scores[index] + total) // total)
        scores[best] -= total
        slots.append(best)
    return slots


class StaticRoundRobin(WeightMap):
    """`balance static-rr`."""

    def pick(self, key: bytes | None, avoid: int, full: Full) -> int:
        return self.following(avoid, full)
