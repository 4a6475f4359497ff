"""`balance random[(N)]`: N draws on the consistent ring, the least loaded of them wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pasvport.balance.picker import Full, Load, Member
from pasvport.balance.ring import Ring

Draw = Callable[[int], int]
"""A random whole number from 0 to n - 1."""


class RandomDraws(Ring):
    """Loads are compared for their weight; of equals the later draw wins. A full winner means the backend's queue."""

    def __init__(
        self, members: Sequence[Member], ids: Sequence[int], load: Load, balance_factor: int, draws: int, draw: Draw
    ) -> None:
        super().__init__(members, ids, load, balance_factor)
        self._draws = max(1, draws)
        self._draw = draw

    def pick(self, key: bytes | None, avoid: int, full: Full) -> int:
        best = -1
        for _ in range(self._draws):
            drawn = self.at(self._draw(1 << 32), avoid)
            if drawn < 0:
                return -1
            if best < 0 or not self._busier(drawn, best):
                best = drawn
        return -1 if full(best) else best

    def _busier(self, one: int, other: int) -> bool:
        return self._load(one) * self._weights[other] > self._load(other) * self._weights[one]
