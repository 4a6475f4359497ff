"""`balance first`: the server with the lowest id that has a free connection slot."""

from __future__ import annotations

from collections.abc import Sequence

from pasvport.balance.picker import Full, Member, Ranks, first_free


class First:
    """`ids` are the servers' numeric ids by index. Weights matter only in that 0 is not usable."""

    def __init__(self, members: Sequence[Member], ids: Sequence[int]) -> None:
        self._ids = ids
        self._order = Ranks()
        for index, weight in members:
            self.add(index, weight)

    def add(self, index: int, weight: int) -> None:
        self._order.put(index, self._ids[index])

    def remove(self, index: int) -> None:
        self._order.drop(index)

    def reweigh(self, index: int, weight: int) -> None:
        """Weights do not matter here."""

    def moved(self, index: int) -> None:
        """Loads matter through `full` only."""

    def pick(self, key: bytes | None, avoid: int, full: Full) -> int:
        return first_free(iter(self._order), avoid, full)
